"""Hardens a node on which somebody works, before and after, and takes the hardening back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rehearsal import killing
from tests.rehearsal.conftest import Ran, SimulatedRack
from tests.rehearsal.standing import Standing, remains, stand

ADOPTED = "[{name: gpu_host, owner: a journey, expires: 2099-01-01}]"
TOUCHED = ("/etc/login.defs", "/etc/authselect/password-auth")
"""What every profile writes, and what somebody writes too in these journeys, after it."""

BEFORE = """
echo 'session optional pam_permit.so' >>/etc/authselect/system-auth
for name in guest visitor; do
    id $name >/dev/null 2>&1 || useradd -m $name
    passwd -d $name >/dev/null
    chage -d 20001 $name
done
"""
"""Somebody edited a file that authselect made, before it was hardened: it makes it again then.

And two accounts have no password, as on nodes that were put up in a hurry.
"""
AFTER = "usermod -p '$6$a$b' visitor"
"""One of them gets a password, after it."""
PEOPLE = {"accounts: shadow visitor"}
"""What of that is not as it was as long as the password stays."""


def inventory(rack: SimulatedRack, profile: str, waived: Mapping[str, str]) -> Path:
    """An inventory that asks for a profile, but for some controls, each with a reason."""
    words = f"holdfast_profile: {profile}\n    holdfast_overlays: {ADOPTED}"
    if waived:
        words += "\n    holdfast_waivers:"
    for control, reason in waived.items():
        words += f"\n      - {{control: {control}, reason: {reason}, owner: a journey,"
        words += " expires: 2099-01-01}"
    path = rack.edited(
        f"{profile}-{len(waived)}.yml", lambda text: text.replace("holdfast_profile: none", words)
    )
    assert words in path.read_text()
    return path


@dataclass(frozen=True)
class Tried:
    """A node that a run hardened, and on which somebody then worked.

    `announced` is what the plan said that no restore takes back.
    """

    rack: SimulatedRack
    node: str
    path: Path
    before: Standing
    run: Path
    announced: Sequence[str]
    ended: Ran
    edited: Standing

    def restore(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Go back before the run; exit code, and what is said of the node."""
        ran = self.rack.holdfast(
            "profile", "restore", self.path, "--limit", self.node, "--to", self.run.name,
            "--json", *words, timeout=1800,
        )  # fmt: skip
        assert ran.code in (0, 1), ran.said()
        (node,) = ran.document["nodes"]
        assert node["failed"] is None, ran.said()
        return ran.code, node

    def remains(self, since: Standing) -> list[str]:
        """What is not as it was."""
        return remains(since, stand(self.rack, self.node))

    def told(self) -> str:
        """How the run ended, in a line; what is not good in lines of its own."""
        findings = (self.ended.document.get("verdict") or {}).get("findings", [])
        bad = [f for f in findings if f["status"] in ("fail", "unknown")]
        lines = [f"  {f['status']} {f['check']}: {f['seen'][:150]}" for f in bad]
        first = f"{len(self.changes())} changes, up ended with {self.ended.code}"
        return "\n".join([first, *lines])

    def changes(self) -> list[str]:
        """What the run hardened on the node, in words."""
        events = killing.journal_of(self.run)
        done = [e for e in events if e.kind == "task.end" and not e.data.get("check")]
        return [
            change
            for event in done
            if event.node == self.node and event.phase in ("hardening", "access")
            for change in event.data["changes"]
        ]


def harden(rack: SimulatedRack, node: str, path: Path) -> Tried:
    """Bring a node up by an inventory, whatever the verdict is; then somebody changes files."""
    rack.ssh(node, BEFORE)
    before = stand(rack, node)
    ran = rack.holdfast("up", path, "--limit", node, "--json", timeout=2400)
    assert ran.code in (0, 1), ran.said()
    assert [n["status"] for n in ran.document["nodes"] if n["node"] == node] == ["ok"], ran.said()
    (planned,) = [n for n in ran.document["plan"]["nodes"] if n["node"] == node]
    said, run = planned["cannot_be_undone"], Path(ran.document["folder"])
    rack.ssh(node, "\n".join([AFTER, *(f"echo '# mine' >>{path}" for path in TOUCHED)]))
    return Tried(rack, node, path, before, run, said, ran, stand(rack, node))


def look_and_restore(tried: Tried) -> dict[str, Any]:
    """A look says exactly what is then done, and changes nothing; what somebody changed stays."""
    code, told = tried.restore("--check")
    assert code == 1
    assert tried.remains(tried.edited) == []
    stays = [*TOUCHED, "lock visitor, which has no password"]
    assert set(told["left"]) == {f"{what}: somebody changed it since" for what in stays}
    code, done = tried.restore()
    assert code == 1
    assert done == told
    left = tried.remains(tried.before)
    wanted = {f"files: {path}" for path in TOUCHED} | PEOPLE
    assert {": ".join(line.split(": ")[:2]) for line in left} == wanted, left
    said = tried.rack.ssh(tried.node, f"tail -qn 1 {' '.join(TOUCHED)}").out
    assert said == "# mine\n" * len(TOUCHED)
    return done


def restore_by_force(tried: Tried) -> None:
    """What was left comes back too when it is asked for, and then nothing is left to do."""
    code, done = tried.restore("--force")
    assert (code, done["left"]) == (0, [])
    assert set(done["changes"]) >= {f"put back {path}" for path in TOUCHED}
    assert tried.remains(tried.before) == []
    code, again = tried.restore("--force")
    assert (code, again["changes"], again["left"]) == (0, [], [])
