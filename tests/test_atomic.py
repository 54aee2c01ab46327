"""Files are written whole or not at all: full disks, permissions, links of other users."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import sys
import types

import pytest

from jitprop import Trainer
from jitprop.files import atomic
from jitprop.files.atomic import replacing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net"


def written(path, data=b"new"):
    with replacing(path) as file:
        file.write(data)


# A full disk.

FULL = """
import resource, signal, sys
from jitprop import Checkpoint, Trainer

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
trainer = Trainer([100, 100, 2], seed=0, backend="numpy")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
X, y, path = [[0.0] * 100], [[0, 1]], sys.argv[1]
for save in (trainer.save, lambda path: trainer.fit(X, y, 3, callbacks=Checkpoint(path))):
    try:
        save(path)
    except OSError as error:
        print(error)
"""


@pytest.mark.parametrize("limit", [100, 4096, 5000, 50_000])
def test_a_full_disk_leaves_the_old_file_and_no_other(path, limit):
    """Closing the file writes the rest of the buffer, which fails again."""
    path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == [f"[Errno {errno.EFBIG}] File too large: '{path}'"] * 2
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimeoutError("mine")])
def test_what_ends_the_writing_is_told_and_not_the_full_disk_behind_it(path, error):

    def write():
        with replacing(path) as file:
            file.write(b"in the buffer")
            os.close(file.fileno())  # the rest of the buffer cannot be written now
            raise error

    with pytest.raises((KeyboardInterrupt, TimeoutError)) as caught:
        write()
    assert caught.value is error
    assert getattr(error, "filename", None) is None
    assert os.listdir(path.parent) == []


def test_an_error_names_the_file_and_not_the_one_beside_it(path, monkeypatch):
    with pytest.raises(FileNotFoundError) as caught:
        written(path / "missing" / "net")
    assert caught.value.filename == str(path / "missing" / "net")
    for call in ("fsync", "replace", "chmod"):
        path.write_bytes(b"old")

        def fail(first, *others):
            names = [name for name in (first, None, *others) if not isinstance(name, int)]
            raise OSError(errno.ENOSPC, "No space left on device", *names[: 2 * len(others) + 1])

        monkeypatch.setattr(f"jitprop.files.atomic.os.{call}", fail)
        with pytest.raises(OSError, match="No space left") as caught:
            written(path)
        assert str(caught.value).endswith(f"device: '{path}'")
        monkeypatch.undo()


# Permissions.


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o200, 0o666])
def test_nobody_else_reads_what_replaces_a_file(path, mode):
    path.write_bytes(b"secret")
    path.chmod(mode)
    before = os.umask(0)
    try:
        with replacing(path) as file:
            (beside,) = (p for p in path.parent.iterdir() if p != path)
            assert stat.S_IMODE(beside.stat().st_mode) == mode & 0o600
            file.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone gives away")
@pytest.mark.parametrize("mode", [0o640, 0o4750, 0o666])
def test_what_replaces_a_file_keeps_its_owner_and_group(path, mode):
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    path.chmod(mode)
    written(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 5678, mode)


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o640, 0o600), (0o664, 0o644), (0o606, 0o666), (0o6755, 0o755)]
)
def test_where_the_group_cannot_be_kept_another_gets_the_rights_of_all(
    path, monkeypatch, mode, kept
):
    """Otherwise the saver's group could read the new file though it could not read the old one."""
    path.write_bytes(b"old")
    path.chmod(mode)
    asked = []

    def refused(handle, owner, group):
        asked.append((owner, group))
        raise PermissionError(errno.EPERM, "Operation not permitted")

    old, fstat = path.stat(), os.fstat
    monkeypatch.setattr(atomic.os, "fchown", refused)
    monkeypatch.setattr(
        atomic.os,
        "fstat",
        lambda handle: types.SimpleNamespace(st_uid=fstat(handle).st_uid, st_gid=old.st_gid + 1),
    )
    written(path)
    monkeypatch.undo()
    assert asked == [(old.st_uid, old.st_gid), (-1, old.st_gid)]
    assert stat.S_IMODE(path.stat().st_mode) == kept


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Linux")
@pytest.mark.parametrize("allowed", [True, False])
def test_an_access_control_list_is_kept_or_the_group_gets_nothing(path, monkeypatch, allowed):
    """The mode is 0640 though the group has no rights: the 4 is the right of user 1234."""
    path.write_bytes(b"old")
    entries = (1, 6, -1), (2, 4, 1234), (4, 0, -1), (16, 4, -1), (32, 0, -1)
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, atomic.ACL, acl)
    except OSError:
        pytest.skip("the file system has no access control lists")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    if not allowed:

        def refused(*arguments):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(atomic.os, "setxattr", refused)
    written(path)
    assert stat.S_IMODE(path.stat().st_mode) == (0o640 if allowed else 0o600)
    if allowed:
        assert os.getxattr(path, atomic.ACL) == acl


def test_where_the_owner_cannot_be_kept_the_group_is(path, monkeypatch):
    path.write_bytes(b"old")
    path.chmod(0o4660)
    old, fstat, given = path.stat(), os.fstat, []

    def given_to(handle, owner, group):
        if owner != -1:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        given.append(group)

    monkeypatch.setattr(atomic.os, "fchown", given_to)
    monkeypatch.setattr(
        atomic.os,
        "fstat",
        lambda handle: types.SimpleNamespace(st_uid=old.st_uid + 1, st_gid=fstat(handle).st_gid),
    )
    written(path)
    monkeypatch.undo()
    assert given == [old.st_gid]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o000, 0o555])
def test_a_file_that_may_not_be_written_to_is_not_replaced(path, mode):
    path.write_bytes(b"old")
    path.chmod(mode)
    with pytest.raises(PermissionError) as caught:
        Trainer([2, 1], seed=0).save(path)
    assert caught.value.filename == str(path)
    assert os.listdir(path.parent) == [path.name]
    path.chmod(0o600)
    assert path.read_bytes() == b"old"


def test_a_file_that_the_user_may_not_write_to_is_not_replaced(path, monkeypatch):
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic.os, "access", lambda *args, **kwargs: False)
    monkeypatch.setattr(atomic.os, "supports_effective_ids", {atomic.os.access})
    with pytest.raises(PermissionError, match="Permission denied"):
        written(path)
    assert path.read_bytes() == b"old"


# Links.


@pytest.fixture
def others(monkeypatch):
    """Return a function that makes another user the owner of a path."""
    owned, lstat = set(), os.lstat

    def pretended(path):
        status = lstat(path)
        if str(path) not in owned:
            return status
        return types.SimpleNamespace(st_mode=status.st_mode, st_uid=os.geteuid() + 1)

    monkeypatch.setattr(atomic.os, "lstat", pretended)
    return lambda path: owned.add(str(path))


def test_links_of_others_in_a_folder_that_others_may_write_to_are_not_followed(tmp_path, others):
    shared, own = tmp_path / "shared", tmp_path / "own"
    for folder in (shared, own):
        folder.mkdir()
    (own / "net").write_bytes(b"old")
    link, way = shared / "net", shared / "way"
    link.symlink_to(own / "net")
    way.symlink_to(own)
    for folder in (link, way):
        others(folder)
    for mode in (0o1777, 0o777, 0o775, 0o2770):
        shared.chmod(mode)
        for path in (link, way / "net"):
            with pytest.raises(PermissionError, match="another user's symbolic link") as caught:
                written(path)
            assert caught.value.filename == str(shared / path.relative_to(shared).parts[0])
    assert (own / "net").read_bytes() == b"old"
    shared.chmod(0o755)
    for data, path in ((b"1", link), (b"2", way / "net")):
        written(path, data)
        assert (own / "net").read_bytes() == data
    assert link.is_symlink()


def test_ones_own_links_lead_where_realpath_says(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    tmp_path.chmod(0o1777)
    (tmp_path / "up").symlink_to("a/../b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "net").symlink_to("./c")
    monkeypatch.chdir(tmp_path)
    for path in ("net", "./net", "up/net", "b/net", "a/../a/net", f"{tmp_path}/up/new", "a//net"):
        assert atomic._resolved(path) == os.path.realpath(path)
        written(path)
        assert os.path.isfile(os.path.realpath(path))


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links") as caught:
        written(tmp_path / "a")
    assert caught.value.errno == errno.ELOOP
