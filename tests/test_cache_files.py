"""The cache's file format, its key, and its choice of folders and files; nothing is compiled."""

from __future__ import annotations

import errno
import os
import stat
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jitprop_kernels import _trust
from jitprop_kernels._private import cache as _cache

CODE = b"machine code"
SIGNATURE = "(float64)"
CODEGEN = SimpleNamespace(magic_tuple=lambda: ("triple", "processor", "features"))
TARGET = SimpleNamespace(codegen=lambda: CODEGEN)

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rules")


def kernel(x: float) -> float:
    return x


def compiled(result: str) -> Any:
    library = SimpleNamespace(has_dynamic_globals=False)
    return SimpleNamespace(library=library, codegen=CODEGEN, _reduce=lambda: (result,))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three possible folders, none of which exists yet; loading returns what was saved."""
    found = [tmp_path / name for name in ("first", "second", "third")]
    monkeypatch.setattr(_cache, "_folders", lambda: [str(folder) for folder in found])
    monkeypatch.setattr(_cache, "_said", set())
    monkeypatch.setattr(_cache, "rtsys", SimpleNamespace(initialize=lambda target: None))
    rebuilding = SimpleNamespace(_rebuild=lambda target, result: result)
    monkeypatch.setattr(_cache, "CompileResult", rebuilding)
    monkeypatch.setattr(_cache.config, "CACHE_DIR", "")
    return found


@pytest.fixture
def cache() -> _cache.KernelCache:
    return _cache.KernelCache(kernel, {})


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


# The key


@pytest.mark.parametrize("name", _cache.CODE_OPTIONS)
def test_options_belong_to_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _cache._key("", SIGNATURE, CODEGEN)
    assert before == _cache._key("", SIGNATURE, CODEGEN)
    monkeypatch.setattr(_cache.config, name, "other", raising=False)
    assert _cache._key("", SIGNATURE, CODEGEN) != before


@pytest.mark.parametrize(
    "name",
    ["numba.__version__", "llvmlite.__version__", "np.__version__", "platform.python_version"],
)
def test_versions_belong_to_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _cache._key("", SIGNATURE, CODEGEN)
    module, attribute = name.split(".")
    other = "0" if attribute == "__version__" else lambda: "0"
    monkeypatch.setattr(getattr(_cache, module), attribute, other)
    assert _cache._key("", SIGNATURE, CODEGEN) != before


def test_the_layout_of_objects_belongs_to_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _cache._key("", SIGNATURE, CODEGEN)
    suffixes = [".cpython-313t-x86_64-linux-gnu.so"]  # a Python without the GIL
    monkeypatch.setattr(_cache.importlib.machinery, "EXTENSION_SUFFIXES", suffixes)
    assert _cache._key("", SIGNATURE, CODEGEN) != before


NO_MATTER = """
    CACHE_DIR CACHE_LOCATOR_CLASSES DEBUG_ARRAY_OPT_RUNTIME DISABLE_CUDA DISABLE_JIT
    DISABLE_TYPEINFER_FAIL_CACHE ENABLE_CUDASIM ENABLE_SYS_MONITORING FORCE_CUDA_CC
    FUNCTION_CACHE_SIZE IS_32BITS IS_OSX IS_WIN32 MACHINE_BITS NUMBA_DEFAULT_NUM_THREADS
    NUMBA_NUM_THREADS PARFOR_MAX_TUPLE_SIZE PYVERSION RUNNING_UNDER_PROFILER THREADING_LAYER
    THREADING_LAYER_PRIORITY USE_LLVMLITE_MEMORY_MANAGER

    ALWAYS_WARN_UNINIT_VAR ANNOTATE CAPTURED_ERRORS CHROME_TRACE COLOR_SCHEME DEBUG DEBUG_ARRAY_OPT
    DEBUG_ARRAY_OPT_STATS DEBUG_CACHE DEBUG_FRONTEND DEBUG_INLINE_CLOSURE DEBUG_NRT_STACK_LIMIT
    DEBUG_PRINT_AFTER DEBUG_PRINT_BEFORE DEBUG_PRINT_WRAP DEBUG_TYPEINFER DEVELOPER_MODE
    DISABLE_PERFORMANCE_WARNINGS DUMP_ASSEMBLY DUMP_BYTECODE DUMP_CFG DUMP_FUNC_OPT DUMP_IR
    DUMP_LLVM DUMP_OPTIMIZED DUMP_SSA FULL_TRACEBACKS GDB_BINARY HIGHLIGHT_DUMPS HTML
    LLVM_PASS_TIMINGS PARALLEL_DIAGNOSTICS SHOW_HELP TRACE
"""
"""Options of features that kernels do not use, and options that only print something."""


def test_each_option_of_numba_is_known() -> None:
    found = {name for name in vars(_cache.config) if name.isupper()}
    found = {name for name in found if not name.startswith(("CUDA_", "_"))}
    new = found - {*_cache.CODE_OPTIONS, *NO_MATTER.split()}
    assert not new, "to be added to CODE_OPTIONS if they change machine code, else to NO_MATTER"


@pytest.mark.parametrize("level", ["max", 0])
def test_levels_of_optimisation_differ(level: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a number, "max" equals 3.
    monkeypatch.setattr(_cache.config, "OPT", _cache.config._OptLevel(3))
    before = _cache._key("", SIGNATURE, CODEGEN)
    monkeypatch.setattr(_cache.config, "OPT", _cache.config._OptLevel(level))
    assert _cache._key("", SIGNATURE, CODEGEN) != before


# Files


def test_each_changed_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = _cache._sealed(CODE, "key")
    _cache._write(str(path), content)
    assert _cache._read(str(path), "key") == CODE
    for i in range(8 * len(content)):
        changed = bytearray(content)
        changed[i // 8] ^= 1 << i % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="its hash does not fit"):
            _cache._read(str(path), "key")


@pytest.mark.parametrize("n", [0, 1, len(_cache.MAGIC), len(_cache.MAGIC) + _cache.HASH_SIZE])
def test_a_short_file_is_seen(n: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(_cache._sealed(CODE, "key")[:n])
    with pytest.raises(ValueError, match="its hash does not fit"):
        _cache._read(str(path), "key")


def test_a_block_of_zeros_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(len(_cache._sealed(CODE, "key"))))
    with pytest.raises(ValueError, match="its hash does not fit"):
        _cache._read(str(path), "key")


def test_code_of_another_key_is_seen(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    _cache._write(path, _cache._sealed(CODE, "key"))
    with pytest.raises(ValueError, match="its hash does not fit"):
        _cache._read(path, "other key")


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(
    function: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        _cache._write(str(path), b"after")
    assert files(tmp_path) == [path]
    assert path.read_bytes() == b"before"


@posix
def test_others_may_not_write_to_what_is_written(
    folders: list[Path], cache: _cache.KernelCache
) -> None:
    before = os.umask(0)
    try:
        cache.save_overload(SIGNATURE, compiled("code"))
    finally:
        os.umask(before)
    (file,) = files(folders[0])
    assert stat.S_IMODE(folders[0].stat().st_mode) == 0o755
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


# Folders


@pytest.mark.parametrize("i", range(3))
def test_it_is_read_from_each_folder(
    i: int, folders: list[Path], cache: _cache.KernelCache
) -> None:
    assert cache.load_overload(SIGNATURE, TARGET) is None
    cache.save_overload(SIGNATURE, compiled("code"))
    if i:
        folders[0].rename(folders[i])
    other = _cache.KernelCache(kernel, {})
    assert other.load_overload(SIGNATURE, TARGET) == "code"
    assert other.cache_path == str(folders[i].resolve())
    assert [len(files(folder)) for folder in folders] == [j == i for j in range(3)]


def test_it_is_written_to_the_first_folder_that_can_be(
    folders: list[Path], cache: _cache.KernelCache
) -> None:
    folders[0].touch()  # a file here prevents a folder
    cache.save_overload(SIGNATURE, compiled("code"))
    assert [len(files(folder)) for folder in folders] == [0, 1, 0]
    assert cache.load_overload(SIGNATURE, TARGET) == "code"


def test_the_folder_that_the_user_names_gets_a_copy(
    folders: list[Path], cache: _cache.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.save_overload(SIGNATURE, compiled("code"))
    folders[0].rename(folders[1])
    monkeypatch.setattr(_cache.config, "CACHE_DIR", str(folders[0]))
    assert cache.load_overload(SIGNATURE, TARGET) == "code"
    assert cache.cache_path == str(folders[0].resolve())
    assert [len(files(folder)) for folder in folders] == [1, 1, 0]


def test_a_named_folder_that_is_not_used_is_told_once(
    folders: list[Path], cache: _cache.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders[0].touch()
    monkeypatch.setattr(_cache.config, "CACHE_DIR", str(folders[0]))
    with pytest.warns(RuntimeWarning, match="does not use NUMBA_CACHE_DIR: .*first"):
        cache.save_overload(SIGNATURE, compiled("code"))
    cache.save_overload(SIGNATURE, compiled("code"))


def test_one_warning_where_nothing_can_be_written(
    folders: list[Path], cache: _cache.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(_cache, "_write", fail)
    with pytest.warns(RuntimeWarning, match="cannot keep its kernels") as caught:
        cache.save_overload(SIGNATURE, compiled("code"))
    cache.save_overload(SIGNATURE, compiled("code"))  # a second warning would be an error
    for words in ("No space left", *map(str, folders), "belongs to you", "nobody else can write"):
        assert words in str(caught[0].message)
    assert cache.load_overload(SIGNATURE, TARGET) is None


def test_a_damaged_file_is_replaced_and_told(
    folders: list[Path], cache: _cache.KernelCache
) -> None:
    cache.save_overload(SIGNATURE, compiled("code"))
    (file,) = files(folders[0])
    file.write_bytes(b"damaged")
    assert cache.load_overload(SIGNATURE, TARGET) is None
    # With -W error the warning is an error. The file is repaired before it is raised.
    with pytest.raises(RuntimeWarning, match=r"compiled a kernel .*first.* is damaged"):
        cache.save_overload(SIGNATURE, compiled("code"))
    assert files(folders[0]) == [file]
    assert cache.load_overload(SIGNATURE, TARGET) == "code"
    cache.save_overload(SIGNATURE, compiled("code"))  # no warning is left


def test_a_damaged_file_is_mended_by_one_from_another_folder(
    folders: list[Path], cache: _cache.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.save_overload(SIGNATURE, compiled("code"))
    (file,) = files(folders[0])
    whole = file.read_bytes()
    folders[1].mkdir()
    file.rename(folders[1] / file.name)
    file.write_bytes(b"damaged")
    monkeypatch.setattr(_cache.config, "CACHE_DIR", str(folders[0]))
    assert cache.load_overload(SIGNATURE, TARGET) == "code"
    assert file.read_bytes() == whole


@pytest.mark.parametrize("kind", [AttributeError, OSError])
def test_code_that_cannot_be_loaded_is_told_once_with_the_reason(
    kind: type[Exception],
    folders: list[Path],
    cache: _cache.KernelCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(target: Any, result: Any) -> None:
        raise kind("no such part of numba")

    cache.save_overload(SIGNATURE, compiled("code"))
    monkeypatch.setattr(_cache.CompileResult, "_rebuild", fail)
    assert cache.load_overload(SIGNATURE, TARGET) is None
    with pytest.warns(RuntimeWarning, match=r"first.*cannot be loaded: .*no such part of numba"):
        cache.save_overload(SIGNATURE, compiled("code"))
    assert cache.load_overload(SIGNATURE, TARGET) is None
    cache.save_overload(SIGNATURE, compiled("code"))  # a second warning would be an error


# Trust


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_a_folder_that_others_can_write_to_is_not_used(
    mode: int, folders: list[Path], cache: _cache.KernelCache
) -> None:
    cache.save_overload(SIGNATURE, compiled("code"))
    folders[0].chmod(mode)
    assert cache.load_overload(SIGNATURE, TARGET) is None
    cache.save_overload(SIGNATURE, compiled("code"))
    assert len(files(folders[1])) == 1


@posix
def test_a_folder_below_one_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "folder").mkdir(parents=True)
    for folder in (above / "folder", above / "not" / "there"):
        above.chmod(0o755)
        assert _trust.folder(str(folder)) == str(folder.resolve())
        above.chmod(0o1777)  # like /tmp
        assert _trust.folder(str(folder)) == str(folder.resolve())
        above.chmod(0o777)
        with pytest.raises(PermissionError, match=r"others may write to .*above$"):
            _trust.folder(str(folder))


@posix
def test_a_link_is_as_good_as_what_it_leads_to(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    assert _trust.folder(str(link)) == str(folder.resolve())
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write to"):
        _trust.folder(str(link))


@posix
def test_a_file_that_others_can_write_to_is_not_read(
    folders: list[Path], cache: _cache.KernelCache
) -> None:
    cache.save_overload(SIGNATURE, compiled("code"))
    (file,) = files(folders[0])
    file.chmod(0o646)
    assert cache.load_overload(SIGNATURE, TARGET) is None
    cache.save_overload(SIGNATURE, compiled("code"))
    assert cache.load_overload(SIGNATURE, TARGET) == "code"


@posix
@pytest.mark.parametrize(
    ("mode", "uid", "own_group", "is_above", "trusted"),
    [
        (0o755, 1000, False, False, True),  # owned by the user
        (0o755, 0, False, False, True),  # owned by root
        (0o755, 1001, False, False, False),
        (0o700, 1001, False, True, False),
        (
            0o1777,
            1001,
            False,
            True,
            False,
        ),  # the owner of a sticky folder can rename all files in it
        (0o1777, 0, False, True, True),
        (0o1777, 0, False, False, False),
        (0o775, 1000, True, False, True),
        (0o775, 1000, False, False, False),
        (0o777, 1000, True, False, False),
    ],
)
def test_whose_folders_are_used(
    mode: int,
    uid: int,
    own_group: bool,
    is_above: bool,
    trusted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(_trust, "_own_group", lambda found: own_group)
    found = os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, uid, 5, 0, 0, 0, 0))
    if trusted:
        _trust._check("a folder", found, is_above=is_above)
    else:
        with pytest.raises(PermissionError, match="a folder"):
            _trust._check("a folder", found, is_above=is_above)


@posix
def test_who_owns_the_root_folder_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a user namespace without root, as in Apptainer, / belongs to nobody."""

    def folder_of(uid: int) -> os.stat_result:
        return os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, uid, 5, 0, 0, 0, 0))

    def look(path: Any, **options: Any) -> os.stat_result:
        return folder_of(nobody) if path == "/" else found(path, **options)

    nobody, other, found = 65534, 1001, os.stat
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "stat", look)
    _trust._check("/home", folder_of(nobody), is_above=True)
    with pytest.raises(PermissionError, match="/home belongs to another user"):
        _trust._check("/home", folder_of(other), is_above=True)


@posix
@pytest.mark.parametrize(
    ("name", "members", "primary", "own"),
    [
        ("ann", [], {}, True),  # many systems create such a group for each user
        ("ann", ["ann"], {"ann": 5}, True),
        ("ann", ["ann", "bob"], {}, False),
        ("staff", [], {"ann": 5, "bob": 6}, True),
        ("staff", ["ann"], {"bob": 6}, True),
        ("staff", [], {"ann": 5, "bob": 5}, False),
        ("staff", ["bob"], {"ann": 5}, False),
        ("staff", [], {}, False),  # a directory service that does not list its users
    ],
)
def test_a_group_of_ones_own(
    name: str,
    members: list[str],
    primary: dict[str, int],
    own: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import grp
    import pwd

    users = [SimpleNamespace(pw_name=user, pw_gid=gid) for user, gid in primary.items()]
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ann"))
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    group = SimpleNamespace(gr_name=name, gr_mem=members)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    found = os.stat_result((stat.S_IFDIR | 0o775, 0, 0, 1, 1000, 5, 0, 0, 0, 0))
    assert _trust._own_group(found) == own


@posix
@pytest.mark.parametrize(("gid", "own"), [(0, True), (5, False)])
def test_groups_where_users_have_no_names(
    gid: int, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    found = os.stat_result((stat.S_IFDIR | 0o775, 0, 0, 1, 1000, gid, 0, 0, 0, 0))
    assert _trust._own_group(found) == own


def test_windows_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    _trust._check("a folder", os.stat_result((0o777, 0, 0, 1, 9, 9, 0, 0, 0, 0)), is_above=False)


def test_a_folder_that_is_refused_raises_nothing(
    folders: list[Path], cache: _cache.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(f"others may write to {path}")

    monkeypatch.setattr(_trust, "folder", refuse)
    with pytest.warns(RuntimeWarning, match="others may write to"):
        cache.save_overload(SIGNATURE, compiled("code"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.load_overload(SIGNATURE, TARGET) is None
    assert not any(files(folder) for folder in folders)
