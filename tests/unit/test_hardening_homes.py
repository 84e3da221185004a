"""What people do in their homes neither stops a pass nor hides from a verdict."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.checks.declare import CouldNotLook
from provision.checks.hardened import access, files
from provision.checks.probes import hardening_access, hardening_files
from provision.checks.probes.common import Unseen
from tests.unit.hardening_fixtures import looker
from tests.unit.hardening_support import Run, System, control
from tests.unit.roles_support import plugin

DETACH = 2
RHOSTS = {"type": "file", "path": "/home/*/.rhosts", "state": "absent"}
HOME_MODE = {"type": "account", "what": "home_mode", "value": "0750"}
DOT_MODE = {"type": "account", "what": "dotfile_mode", "value": "0755"}
Close = Callable[[Path], None]


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    found = System(root)
    for name in ("ann", "a"):
        found.user(f"{name}:x:1000:1000::/home/{name}:/bin/bash")
        found.path(f"/home/{name}").mkdir(parents=True)
    found.path("/home/ann").chmod(0o777)
    found.write("/home/ann/.rhosts", "+ +\n")
    return found


@pytest.fixture
def close() -> Iterator[Close]:
    """Mounts a file system of a user's own over a folder, which then lets not even root in."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted: list[tuple[Path, int]] = []

    def mount(folder: Path) -> None:
        handle = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={handle},rootmode=40000,user_id=1000,group_id=1000".encode()
        code = libc.mount(b"users", os.fsencode(folder), b"fuse", 0, options)
        assert code == 0, os.strerror(ctypes.get_errno())
        mounted.append((folder, handle))
        with pytest.raises(PermissionError):
            folder.stat()

    yield mount
    for folder, handle in mounted:
        libc.umount2(os.fsencode(folder), DETACH)
        os.close(handle)


@pytest.mark.needs("root")
@pytest.mark.needs("fuse")
@pytest.mark.parametrize("where", ["/home/a", "/home/a/.far"])
@pytest.mark.parametrize("wanted", [RHOSTS, HOME_MODE, DOT_MODE], ids=["file", "home", "dotfile"])
def test_a_mount_that_lets_nobody_in_stops_no_pass(system, close, where, wanted):
    system.path(where).mkdir(exist_ok=True)
    close(system.path(where))
    run = Run(system, [control(wanted)])
    assert any("/home/ann" in said for said in run.said) == (wanted is not DOT_MODE)
    assert run.commit() == []
    if wanted is DOT_MODE or where == "/home/a":
        assert any(told.startswith(where) for told in run.node.skipped)


@pytest.mark.needs("root")
@pytest.mark.needs("fuse")
def test_a_home_that_nobody_can_look_into_is_no_pass(tmp_path, close):
    for name in ("ann", "a"):
        (tmp_path / name).mkdir()
    path = f"{tmp_path}/*/.rhosts"
    wanted = {"type": "file", "path": path, "state": "absent"}

    def judged():
        seen = hardening_files._files([{"path": path, "recurse": False}])
        return files.file(wanted, looker({("hardening_files", "files"): seen}))

    assert judged() == []
    close(tmp_path / "a")
    with pytest.raises(CouldNotLook, match="/a"):
        judged()
    (tmp_path / "ann/.rhosts").touch()
    assert judged() == [f"{path} is there: {tmp_path}/ann/.rhosts"]


@pytest.mark.needs("root")
@pytest.mark.needs("fuse")
def test_the_ages_of_passwords_are_judged_beside_such_a_home(tmp_path, close):
    entry = {"name": "bob", "uid": 1000, "gid": 1000, "home": str(tmp_path), "shell": "/bin/bash"}
    entry |= {"password": "usable", "ages": ["0", "99999", "7", ""]}
    close(tmp_path)
    look = looker(
        {("hardening_access", "accounts"): [{**entry, **hardening_access._home(str(tmp_path))}]}
    )
    age = {"what": "password_max_days", "value": 365}
    assert access.account(age, look) == ["bob has password max days 99999, not 365"]
    with pytest.raises(CouldNotLook, match="Permission denied"):
        access.account(HOME_MODE, look)


@pytest.fixture
def few_files() -> Iterator[None]:
    """A process may open few files, as in a login."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
def test_folders_in_folders_without_end_stop_no_pass(system, monkeypatch):
    """Deeper than a program may open files, and with a path longer than it may say."""
    system.write("/usr/local/bin/tool", "", 0o777)
    monkeypatch.chdir(system.path("/usr/local/bin"))
    for _ in range(300):
        Path("d" * 40).mkdir()
        os.chdir("d" * 40)
    monkeypatch.undo()
    wanted = {"type": "file", "path": "/usr/local/bin", "mode": "0755", "recurse": True}
    run = Run(system, [control(wanted)])
    assert run.said[-1] == "c: set mode 0755 on /usr/local/bin/tool"
    assert len(run.node.skipped) == 1
    (seen,) = hardening_files._files(
        [{"path": str(system.path("/usr/local/bin")), "recurse": True}]
    )
    assert seen["unseen"].endswith("File name too long")


def test_dot_files_without_end_end_somewhere(system, monkeypatch):
    monkeypatch.setattr(plugin("module_utils.hardening", "account"), "MOST", 3)
    for number in range(5):
        system.write(f"/home/a/.{number}", "", 0o666)
    run = Run(system, [control({**DOT_MODE, "value": "0644"})])
    assert len(run.said) == 3
    assert run.node.skipped == ["/home/a: more than 3 dot files; the rest is left"]


def test_a_list_that_was_cut_is_not_taken_for_the_whole(monkeypatch):
    """Whoever makes files without end would else hide those that come after them."""
    rows = "f 0666 /home/a/file\n" * 10
    mounts = "1 0 8:1 / / rw - ext4 /dev/vda rw\n"
    monkeypatch.setattr(hardening_files, "read", lambda path: mounts)
    monkeypatch.setattr(hardening_files, "run", lambda argv, ok: rows)
    assert len(hardening_files._walk(None)["found"]) == 10
    monkeypatch.setattr(hardening_files, "MAX_OUTPUT", len(rows))
    with pytest.raises(Unseen, match="more such files"):
        hardening_files._walk(None)
