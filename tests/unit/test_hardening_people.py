"""Accounts and groups that a pass changed and somebody else since: a restore takes nothing else."""

from __future__ import annotations

import pytest

from tests.unit.hardening_support import Run, System, control, journal, rescue
from tests.unit.roles_support import run_module

SHADOW = "/etc/shadow"
OPEN = "open::20001:0:99999:7:::"


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    found = System(root)
    found.user("open:x:1005:1005::/home/open:/bin/bash", OPEN)
    found.write("/etc/group", "root:x:0:\nwheel:x:10:ann\n")
    return found


def harden(system, *resources, run="r1"):
    found = Run(system, [control(*resources)])
    assert found.commit(run) == []
    return found


def account(what, value=None):
    return {"type": "account", "what": what, "value": value}


def test_an_account_without_password_is_as_it_was(system):
    run = harden(system, account("lock_empty"))
    assert system.read(SHADOW) == "open:!:20780:0:99999:7:::\n"
    run.undo()
    assert system.read(SHADOW) == OPEN + "\n"


def test_a_password_that_somebody_gave_since_does_not_vanish(system):
    run = harden(system, account("lock_empty"))
    given = "open:$6$a$b:20781:0:99999:7:::\n"
    system.write(SHADOW, given, 0o600)
    words = "lock open, which has no password: somebody changed it since"
    assert run.undo(check=True).left == run.undo().left == [words]
    assert system.read(SHADOW) == given
    assert run.undo(force=True).left == []
    assert system.read(SHADOW) == OPEN + "\n"


def test_what_was_left_is_named_again_until_it_is_forced(system):
    harden(system, account("lock_empty"))
    system.write(SHADOW, "open:$6$a$b:20781:0:99999:7:::\n", 0o600)
    folder = str(system.path("/var/lib/holdfast/hardening"))

    def again(**given):
        (entry,) = journal.entries(folder)
        tree, report = rescue.Tree(str(system.root)), rescue.Undone(**given)
        only = entry.left if entry.undone else None
        rescue.undo(entry.folder, tree, report, command=system.raising, only=only)
        if not report.check:
            entry.mark("undone", left=report.left)
        return report

    named = ["lock open, which has no password: somebody changed it since"]
    assert again().left == named
    assert again().left == named
    told = again(check=True, force=True)
    assert told.done == again(force=True).done == ["undo: lock open, which has no password"]
    assert system.read(SHADOW) == OPEN + "\n"
    assert again(force=True).done == []


@pytest.mark.parametrize(
    ("resource", "path", "line", "words"),
    [
        (
            account("password_max_days", "365"),
            SHADOW,
            "open:$6$a$b:20001:0:30:7:::",
            "set password max days of open to 365",
        ),
        (
            account("nologin_system"),
            "/etc/passwd",
            "open:x:105:1005::/home/open:/bin/zsh",
            "take the shell from open",
        ),
        ({"type": "group", "name": "wheel"}, "/etc/group", "wheel:x:10:bob", "group wheel"),
        ({"type": "group", "name": "new"}, "/etc/group", "new:x:990:bob", "group new"),
    ],
    ids=["age", "shell", "members", "group"],
)
def test_what_somebody_set_since_stays_and_is_named(system, resource, path, line, words):
    before = line.split(":")
    if path == SHADOW:
        system.write(SHADOW, "open:$6$a$b:20001:0:99999:7:::\n", 0o600)
    if path == "/etc/passwd":
        system.write(path, "open:x:105:1005::/home/open:/bin/bash\n")
    run = harden(system, resource)
    kept = [row for row in system.read(path).splitlines() if row.split(":")[0] != before[0]]
    system.write(path, "".join(row + "\n" for row in [*kept, line]), 0o644)
    calls = len(system.calls)
    report = run.undo()
    assert report.left == [f"{words}: somebody changed it since"]
    assert system.calls[calls:] == []
    assert line in system.read(path).splitlines()
    assert run.undo(force=True).left == []
    assert line not in system.read(path).splitlines()


def test_an_account_that_is_gone_is_nothing_to_take_back(system):
    run = harden(system, account("lock_empty"))
    system.write(SHADOW, "", 0o600)
    report = run.undo()
    assert (report.done, report.left, report.wrong) == ([], [], [])


def test_a_look_over_several_runs_says_what_is_then_done(system):
    system.write(SHADOW, "open:$6$a$b:20001:0:99999:7:::\n", 0o600)
    before = system.read(SHADOW)
    for number, days in enumerate(("365", "60"), 1):
        harden(system, account("password_max_days", days), run=f"r{number}")
    arguments = {"to": "r1", "root": str(system.root)}
    told = run_module("hardening_restore", arguments, check=True)
    assert told["holdfast_left"] == []
    assert told.changes == [
        "undo: set password max days of open to 60",
        "undo: set password max days of open to 365",
    ]
    assert system.read(SHADOW) != before
