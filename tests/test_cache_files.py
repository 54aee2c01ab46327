"""The cache's file format, its key, and its choice of folders and files; nothing is compiled."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jitprop_kernels import _trust, compilers, entry, loading, stored, tidying
from jitprop_kernels import target as target_module
from jitprop_kernels.layout import RecordKind
from jitprop_kernels.target import Target, host, settings

CODE = b"machine code"
TARGET = Target("triple", "processor", "features")

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rules")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three possible folders, none of which exists yet. The user names none."""
    found = [tmp_path / name for name in ("first", "second", "third")]
    monkeypatch.setattr(stored, "folders", lambda: [str(folder) for folder in found])
    monkeypatch.setattr(stored, "_said", set())
    name_folder("", monkeypatch)
    return found


def name_folder(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set NUMBA_CACHE_DIR."""
    given = settings()._replace(cache_folder=folder)
    monkeypatch.setattr(stored, "settings", lambda: given)


@pytest.fixture
def kept() -> stored.Stored:
    return stored.Stored("kernel", "f8", TARGET)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


# The key


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("triple", "aarch64-unknown-linux-gnu"),
        ("cpu", "other"),
        ("features", "-avx512f"),
        ("opt", 2),
        ("debugged", "DEBUG_JIT"),
    ],
)
def test_the_processor_belongs_to_the_key(field: str, value: Any) -> None:
    other = TARGET._replace(**{field: value})
    assert stored.stamp_of(TARGET) == stored.stamp_of(TARGET) != stored.stamp_of(other)


@pytest.mark.parametrize(
    "version", ["jitprop_kernels.stored.numba_version", "llvmlite.__version__"]
)
def test_versions_belong_to_the_key(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored.stamp_of(TARGET)
    monkeypatch.setattr(version, "0" if "__" in version else lambda: "0")
    assert stored.stamp_of(TARGET) != before


def test_the_version_of_numba_is_that_of_what_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numba

    find = stored.numba_version.__wrapped__
    assert find() == numba.__version__
    elsewhere = SimpleNamespace(origin=str(tmp_path / "__init__.py"))  # without such a file
    monkeypatch.setattr("importlib.util.find_spec", lambda name: elsewhere)
    assert find() == numba.__version__
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find() == ""


def test_the_name_and_the_kinds_belong_to_the_key() -> None:
    codes = [stored.Stored(*names, TARGET) for names in (("a", "f4"), ("a", "f8"), ("b", "f4"))]
    assert len({code.key for code in codes}) == len({code._file for code in codes}) == 3


def unset(prefix: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}


OPTIONS = [
    {},
    {"NUMBA_OPT": "max"},
    {"NUMBA_OPT": "1"},
    {"NUMBA_OPT": "4"},  # numba warns of it
    {"NUMBA_CPU_NAME": "generic"},
    {"NUMBA_CPU_NAME": "Generic", "NUMBA_CPU_FEATURES": "+sse4.2"},
    {"NUMBA_CPU_NAME": "sandybridge"},
    {"NUMBA_ENABLE_AVX": "0", "NUMBA_CACHE_DIR": "folder"},
    {"NUMBA_DEBUG_JIT": "1", "NUMBA_DEBUGINFO": "0"},
    {"NUMBA_ENABLE_PROFILING": "1"},
]
SAY = """
import sys, warnings
warnings.simplefilter("ignore")
from jitprop_kernels.target import host, settings
print(host(), settings().cache_folder)
import numba
print(host(), settings().cache_folder)
"""


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options) or "none")
def test_numba_and_jitprop_read_options_alike(options: dict[str, str]) -> None:
    said = subprocess.check_output(
        [sys.executable, "-c", SAY], env=unset("NUMBA_") | options, text=True, timeout=100
    )
    before, after = said.splitlines()
    assert before == after


def test_options_set_by_a_program_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import config

    before = host()
    monkeypatch.setattr(config, "OPT", 1)
    monkeypatch.setattr(config, "DEBUG_JIT", 1)
    assert host() == before._replace(opt=1, debugged="DEBUG_JIT")
    monkeypatch.setattr(config, "CACHE_DIR", "folder")
    assert stored.folders()[0] == os.path.join("folder", "jitprop_kernels")


def test_options_in_a_file_count(tmp_path: Path) -> None:
    (tmp_path / ".numba_config.yaml").write_text("opt: '1'\n")
    pytest.importorskip("yaml")  # numba reads the file with it
    said = subprocess.check_output(
        [sys.executable, "-c", SAY], cwd=tmp_path, env=unset("NUMBA_"), text=True, timeout=100
    )
    assert said.count("opt=1") == 2


# Files


def test_each_changed_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = stored.sealed(CODE, "key")
    stored._write(str(path), content)
    assert stored._read(str(path), "key") == CODE
    for i in range(8 * len(content)):
        changed = bytearray(content)
        changed[i // 8] ^= 1 << i % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="its hash does not fit"):
            stored._read(str(path), "key")


@pytest.mark.parametrize("n", [0, 1, len(stored.MAGIC), len(stored.MAGIC) + stored.HASH_SIZE])
def test_a_short_file_is_seen(n: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(stored.sealed(CODE, "key")[:n])
    with pytest.raises(ValueError, match="its hash does not fit"):
        stored._read(str(path), "key")


def test_a_block_of_zeros_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(len(stored.sealed(CODE, "key"))))
    with pytest.raises(ValueError, match="its hash does not fit"):
        stored._read(str(path), "key")


def test_code_of_another_key_is_seen(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    stored._write(path, stored.sealed(CODE, "key"))
    with pytest.raises(ValueError, match="its hash does not fit"):
        stored._read(path, "other key")


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
        stored._write(str(path), b"after")
    assert files(tmp_path) == [path]
    assert path.read_bytes() == b"before"


@posix
def test_others_may_not_write_to_what_is_written(folders: list[Path], kept: stored.Stored) -> None:
    before = os.umask(0)
    try:
        kept.save(CODE)
    finally:
        os.umask(before)
    (file,) = files(folders[0])
    assert stat.S_IMODE(folders[0].stat().st_mode) == 0o755
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


# Folders


@pytest.mark.parametrize("i", range(3))
def test_it_is_read_from_each_folder(i: int, folders: list[Path], kept: stored.Stored) -> None:
    assert not list(kept.found())
    kept.save(CODE)
    if i:
        folders[0].rename(folders[i])
    other = stored.Stored("kernel", "f8", TARGET)
    assert next(other.found()) == CODE
    assert other.folder == str(folders[i].resolve())
    assert [len(files(folder)) for folder in folders] == [j == i for j in range(3)]


def test_it_is_written_to_the_first_folder_that_can_be(
    folders: list[Path], kept: stored.Stored
) -> None:
    folders[0].touch()  # a file here prevents a folder
    kept.save(CODE)
    assert [len(files(folder)) for folder in folders] == [0, 1, 0]
    assert next(kept.found()) == CODE


def test_the_folder_that_the_user_names_gets_a_copy(
    folders: list[Path], kept: stored.Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.save(CODE)
    folders[0].rename(folders[1])
    name_folder(str(folders[0]), monkeypatch)
    assert next(kept.found()) == CODE
    assert kept.folder == str(folders[0].resolve())
    assert [len(files(folder)) for folder in folders] == [1, 1, 0]


def test_a_named_folder_that_is_not_used_is_told_once(
    folders: list[Path], kept: stored.Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders[0].touch()
    name_folder(str(folders[0]), monkeypatch)
    with pytest.warns(RuntimeWarning, match="does not use NUMBA_CACHE_DIR: .*first"):
        kept.save(CODE)
    kept.save(CODE)


def test_one_warning_where_nothing_can_be_written(
    folders: list[Path], kept: stored.Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(stored, "_write", fail)
    with pytest.warns(RuntimeWarning, match="cannot keep its kernels") as caught:
        kept.save(CODE)
    kept.save(CODE)  # a second warning would be an error
    for words in ("No space left", *map(str, folders), "belongs to you", "nobody else can write"):
        assert words in str(caught[0].message)
    assert not list(kept.found())


def test_a_damaged_file_is_replaced_and_told(folders: list[Path], kept: stored.Stored) -> None:
    kept.save(CODE)
    (file,) = files(folders[0])
    file.write_bytes(b"damaged")
    assert not list(kept.found())
    # With -W error the warning is an error. The file is repaired before it is raised.
    with pytest.raises(RuntimeWarning, match=r"compiled a kernel .*first.* is damaged"):
        kept.save(CODE)
    assert files(folders[0]) == [file]
    assert next(kept.found()) == CODE
    kept.save(CODE)  # no warning is left


def test_a_damaged_file_is_mended_by_one_from_another_folder(
    folders: list[Path], kept: stored.Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.save(CODE)
    (file,) = files(folders[0])
    whole = file.read_bytes()
    folders[1].mkdir()
    file.rename(folders[1] / file.name)
    file.write_bytes(b"damaged")
    name_folder(str(folders[0]), monkeypatch)
    assert next(kept.found()) == CODE
    assert file.read_bytes() == whole


@pytest.mark.parametrize("kind", [RuntimeError, OSError])
def test_code_that_cannot_be_loaded_is_told_once_with_the_reason(
    kind: type[Exception], folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(code: bytes) -> int:
        raise kind("no such relocation")

    train, no_arguments = entry.Entry("module", "train"), RecordKind(None, ())
    compiler = compilers.in_use()
    stored.Stored("train", train.key(no_arguments), host(), compiler).save(CODE)
    monkeypatch.setattr(loading, "load", fail)
    for _ in range(2):  # a second warning would be an error
        assert train._loaded(no_arguments) is None
        if not stored._said:
            with pytest.warns(
                RuntimeWarning, match=r"first.*cannot be loaded: .*no such relocation"
            ):
                train._files[compiler].save(CODE)
        train._files[compiler].save(CODE)


# Files of versions that are gone


NOW = 1_800_000_000.0
"""The time in these tests; the file system's own is years before."""


class Tidied:
    """A folder with files of other versions, of 1000 bytes each; one version has room for four."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.kept = folder, stored.Stored("kernel", "f8", TARGET)
        monkeypatch.setattr(tidying, "LIMIT", 4000)
        monkeypatch.setattr(tidying.time, "time", lambda: NOW)

    def add(self, name: str, days: float, content: bytes | None = None) -> Path:
        """Write a file that was last used some days ago."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_bytes(stored.sealed(bytes(951), "key") if content is None else content)
        os.utime(path, (NOW - days * tidying.DAY,) * 2)
        return path

    def others(self, *days: float) -> list[Path]:
        """Write files of another version, numbered, each as many days old as given."""
        return [self.add(f"kernel-{i:016x}-{9:032x}.kernel", day) for i, day in enumerate(days)]

    def save(self) -> Path:
        """Write a file of this version, as after a compile."""
        self.kept.save(bytes(951))
        (path,) = self.folder.glob(self.kept._file)
        os.utime(path, (NOW, NOW))
        return path


@pytest.fixture
def tidied(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> Tidied:
    return Tidied(folders[0], monkeypatch)


def test_the_sizes_of_these_tests(tidied: Tidied) -> None:
    (path,) = tidied.others(0)
    assert path.stat().st_size == tidied.save().stat().st_size == 1000


def test_files_stay_while_there_is_room(tidied: Tidied) -> None:
    others = tidied.others(300, 200, 100)
    own = tidied.save()
    assert files(tidied.folder) == sorted([*others, own])


def test_the_longest_unused_files_are_removed_first(tidied: Tidied) -> None:
    others = tidied.others(100, 300, 50, 400, 200)
    own = tidied.save()
    assert files(tidied.folder) == sorted([others[0], others[2], others[4], own])


def test_files_in_use_stay_however_many(tidied: Tidied) -> None:
    end = stored.ending(TARGET)
    own = [tidied.add(f"other-{i:016x}{end}", days=900) for i in range(9)]
    recent = tidied.others(0, 1, 5, 7.9, 8.1)
    own.append(tidied.save())
    assert files(tidied.folder) == sorted([*own, *recent[:-1]])


def test_a_file_that_is_read_counts_as_used(tidied: Tidied) -> None:
    path = tidied.save()
    for days, is_noted in ((0.9, False), (1.1, True)):  # once a day
        before = NOW - days * tidying.DAY
        os.utime(path, (before, before))
        assert next(tidied.kept.found()) == bytes(951)
        assert (path.stat().st_mtime != before) == is_noted


def test_it_is_read_where_its_use_cannot_be_noted(
    tidied: Tidied, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(tidied.save(), (0, 0))

    def refuse(path: str) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system", path)

    monkeypatch.setattr(os, "utime", refuse)
    assert next(tidied.kept.found()) == bytes(951)


def test_only_our_files_are_removed(tidied: Tidied, tmp_path: Path) -> None:
    tidied.others(*[100] * 9)
    theirs = [
        tidied.add("_jit.cpython-311.pyc", 900),
        tidied.add("notes.kernel", 900),
        tidied.add(f"kernel-{0:016x}.kernel", 900),  # as prebuilt code is named
        tidied.add(f"kernel-{20:016x}-{9:032x}.kernel", 900, b"not machine code"),
        tidied.add(f"kernel-{21:016x}-{9:032x}.kernel.bak", 900),
        tidied.add("notes.tmp", 900),
    ]
    away = tmp_path / "away"
    away.write_bytes(bytes(1000))
    link = tidied.folder / f"kernel-{22:016x}-{9:032x}.kernel"
    link.symlink_to(away)
    own = tidied.save()
    left = set(files(tidied.folder))
    assert left > {*theirs, link, own}
    assert len(left - {*theirs, link, own}) == 2  # they, `own` and what has another content: four


def test_what_killed_writers_left_is_removed(tidied: Tidied) -> None:
    name = f"kernel-{0:016x}-{9:032x}.kernel.{7:016x}.tmp"
    left = tidied.add(name, 1.5, b"")
    at_work = tidied.add(name.replace("7.tmp", "8.tmp"), 0.5, b"half")
    assert files(tidied.folder) == [left, at_work]
    own = tidied.save()
    assert files(tidied.folder) == sorted([at_work, own])


@pytest.mark.parametrize("moment", ["stat", "open", "unlink"])
def test_two_processes_tidy_at_once(
    moment: str, tidied: Tidied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one removes the oldest file just before this one looks at it."""
    others = tidied.others(300, 200, 100, 50)
    removed = []

    def first(function: Any, is_it: Any) -> Any:
        def call(path: Any, *arguments: Any) -> Any:
            if not removed and is_it(path):
                removed.append(os.remove(others[0]))
            return function(path, *arguments)

        return call

    if moment == "stat":
        monkeypatch.setattr(tidying, "_files", first(tidying._files, lambda folder: True))
    else:
        module = tidying if moment == "open" else os
        function = open if moment == "open" else os.unlink
        patched = first(function, lambda path: path == str(others[0]))
        monkeypatch.setattr(module, moment, patched, raising=False)
    own = tidied.save()
    assert removed
    assert files(tidied.folder) == sorted([*others[1:], own])


def test_a_file_that_is_used_meanwhile_stays(
    tidied: Tidied, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tidied.others(300, 200, 100, 50)
    find = tidying._files

    def used_then(folder: str) -> Any:
        found = find(folder)
        os.utime(others[0], (NOW, NOW))
        return found

    monkeypatch.setattr(tidying, "_files", used_then)
    own = tidied.save()
    assert files(tidied.folder) == sorted([others[0], *others[2:], own])


@pytest.mark.parametrize("error", [PermissionError(13, "open on Windows"), OSError(5, "I/O")])
def test_a_file_that_cannot_be_removed_stays_and_raises_nothing(
    error: OSError, tidied: Tidied, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tidied.others(300, 200, 100, 50)
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path == str(others[0]):
            raise error
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    own = tidied.save()
    assert files(tidied.folder) == sorted([others[0], *others[2:], own])


# Trust


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_a_folder_that_others_can_write_to_is_not_used(
    mode: int, folders: list[Path], kept: stored.Stored
) -> None:
    kept.save(CODE)
    folders[0].chmod(mode)
    assert not list(kept.found())
    kept.save(CODE)
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
    folders: list[Path], kept: stored.Stored
) -> None:
    kept.save(CODE)
    (file,) = files(folders[0])
    file.chmod(0o646)
    assert not list(kept.found())
    kept.save(CODE)
    assert next(kept.found()) == CODE


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
    folders: list[Path], kept: stored.Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(f"others may write to {path}")

    monkeypatch.setattr(_trust, "folder", refuse)
    with pytest.warns(RuntimeWarning, match="others may write to"):
        kept.save(CODE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not list(kept.found())
    assert not any(files(folder) for folder in folders)


# What came with the wheel


@pytest.fixture
def wheel(folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's prebuilt file for this processor."""
    monkeypatch.setattr(stored, "level_of", lambda target: "level")
    monkeypatch.setattr(stored, "PREBUILT", tmp_path / "prebuilt")
    (tmp_path / "prebuilt" / "level").mkdir(parents=True)
    (tmp_path / "prebuilt" / stored.VERSION).write_text(stored.fingerprint())
    file, seal = stored.prebuilt_file("kernel", "f8", "level")
    path = tmp_path / "prebuilt" / "level" / file
    path.write_bytes(stored.sealed(b"prebuilt", seal))
    return path


def test_prebuilt_code_is_read_first(wheel: Path, kept: stored.Stored) -> None:
    kept.save(CODE)
    assert [(code, kept.source) for code in kept.found()] == [
        (b"prebuilt", "prebuilt"),
        (CODE, "cache"),
    ]
    assert stored.any_for(TARGET)


def test_damaged_prebuilt_code_is_not_run_and_told_once(wheel: Path, kept: stored.Stored) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-1])
    assert not list(kept.found())
    with pytest.warns(RuntimeWarning, match=r"compiled a kernel .*prebuilt.* is damaged"):
        kept.save(CODE)
    assert list(kept.found()) == [CODE]
    kept.save(CODE)  # a second warning would be an error


def test_prebuilt_code_of_another_version_is_not_run_and_told(
    wheel: Path, kept: stored.Stored
) -> None:
    (wheel.parents[1] / stored.VERSION).write_text("other")
    assert not list(kept.found())
    assert not stored.any_for(TARGET)
    with pytest.warns(RuntimeWarning, match=r"prebuilt is of another version of jitprop"):
        kept.save(CODE)


def test_prebuilt_code_of_another_kernel_is_not_run(wheel: Path, kept: stored.Stored) -> None:
    _, seal = stored.prebuilt_file("kernel", "f4", "level")
    wheel.write_bytes(stored.sealed(b"prebuilt", seal))
    assert not list(kept.found())


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_prebuilt_code_that_others_can_write_to_is_not_read(
    what: str, wheel: Path, kept: stored.Stored
) -> None:
    (wheel if what == "file" else wheel.parent).chmod(0o777)
    assert not list(kept.found())


def test_without_sources_no_prebuilt_code_is_read(
    wheel: Path, kept: stored.Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "fingerprint", lambda: "")
    assert not list(kept.found())


def test_numba_options_that_change_code_get_no_prebuilt_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target_module, "best_level", lambda: "level")
    usual = target_module._host(target_module.DEFAULTS)
    assert target_module.level_of(usual) == "level"
    for changed in {"opt": 1}, {"cpu": "generic"}, {"debugged": "DEBUG_JIT"}:
        assert target_module.level_of(usual._replace(**changed)) is None


ALL = dict.fromkeys(target_module.V3 + target_module.V4, True)


@pytest.mark.parametrize(
    ("triple", "features", "level"),
    [
        ("x86_64-unknown-linux-gnu", ALL, "x86-64-v4"),
        ("x86_64-pc-linux-musl", ALL, "x86-64-v4"),
        ("x86_64-unknown-linux-gnu", ALL | {"avx512vl": False}, "x86-64-v3"),
        ("x86_64-unknown-linux-gnu", ALL | {"bmi2": False}, None),
        ("x86_64-unknown-linux-gnu", {}, None),
        ("aarch64-unknown-linux-gnu", {}, "aarch64"),
        ("arm64-apple-darwin23", {}, None),
        ("x86_64-apple-darwin23", ALL, None),
        ("x86_64-pc-windows-msvc", ALL, None),
        ("riscv64-unknown-linux-gnu", {}, None),
    ],
)
def test_levels(
    triple: str, features: dict[str, bool], level: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_module.llvm, "get_process_triple", lambda: triple)
    monkeypatch.setattr(target_module, "_features", lambda: features)
    assert target_module.best_level() == level
    assert level is None or level in target_module.LEVELS
