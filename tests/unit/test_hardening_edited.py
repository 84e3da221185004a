"""Files that authselect makes and that people edit: what they wrote outlives a restore."""

from __future__ import annotations

import pytest

from tests.unit.hardening_support import Run, System, control, rescue, snapshot

PAM = "auth required pam_unix.so\n"
MADE = "/etc/authselect/system-auth"
MINE = "# mine\n"
WANTS = [control({"type": "authselect", "features": ["with-faillock"]})]


class Selecting(System):
    """A node whose authselect writes the files of the profile, as the real one does."""

    def _authselect(self, argv, data):
        if argv[0] == "test":
            return super()._authselect(argv, data)
        super()._authselect(argv, data)
        features = [word for word in argv[2:] if not word.startswith("--")]
        self.write(MADE, PAM + "".join(f"auth required {name}\n" for name in features))
        return None


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    found = Selecting(root)
    found.program("authselect")
    found.write("/usr/share/authselect/default/local/system-auth", PAM)
    found.write("/etc/authselect/authselect.conf", "local\n")
    found.write(MADE, PAM)
    return found


def harden(system):
    run = Run(system, WANTS)
    assert run.commit() == []
    assert system.read(MADE) == PAM + "auth required with-faillock\n"
    return run


def test_what_somebody_wrote_before_comes_back_to_the_byte(system):
    system.write(MADE, PAM + MINE)
    before = snapshot(system.root)
    report = harden(system).undo()
    assert (report.left, report.wrong) == ([], [])
    assert snapshot(system.root) == before


def test_what_somebody_wrote_since_stays_and_is_named(system):
    run = harden(system)
    system.write(MADE, PAM + MINE)
    told = run.undo(check=True)
    assert system.read(MADE) == PAM + MINE
    report = run.undo()
    assert told.left == report.left == [f"{MADE}: somebody changed it since"]
    assert system.read(MADE) == PAM + MINE
    assert system.read("/etc/authselect/authselect.conf") == "local\n"


def test_force_takes_it_back_too(system):
    before = snapshot(system.root)
    run = harden(system)
    system.write(MADE, PAM + MINE)
    assert run.undo(force=True).left == []
    assert snapshot(system.root) == before


def test_what_stayed_is_named_again_until_it_is_forced(system):
    before = snapshot(system.root)
    run = harden(system)
    system.write(MADE, PAM + MINE)
    run.undo()

    def again(**given):
        report, only = rescue.Undone(**given), frozenset({MADE})
        folder, tree = run.passed.entry.folder, run.node.tree
        return rescue.undo(folder, tree, report, command=system.raising, only=only)

    assert again().left == [f"{MADE}: somebody changed it since"]
    assert again(check=True, force=True).done[0] == f"put back {MADE}"
    assert system.read(MADE) == PAM + MINE
    assert again(force=True).left == []
    assert snapshot(system.root) == before
    assert again().done == []


def test_two_runs_that_nobody_disturbed_leave_nothing(system):
    before = snapshot(system.root)
    first = harden(system)
    more = [*WANTS, control({"type": "authselect", "features": ["with-mkhomedir"]}, name="more")]
    second = Run(system, more)
    assert second.commit("r2") == []
    for run in (second, first):
        told, done = run.undo(check=True), run.undo()
        assert told.left == done.left == []
    assert snapshot(system.root) == before
