"""As an administrator I read the plan before I let anything happen. What it announces is what then
happens, on a bare node as well as on one that somebody has been at with twenty different tools.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.rehearsal import record
from tests.rehearsal.record import Entry

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("first")]


class Drift(NamedTuple):
    """What somebody did on a node, and a piece of what a plan must say about it."""

    name: str
    node: str
    script: str
    says: str


FLIP = r"""
file=/srv/models/tiny/tiny.gguf
touch -r $file /root/stamp
byte=$(tail -c 1 $file | od -An -tu1)
printf "\\x$(printf %x $(( (byte + 1) % 256 )))" |
    dd of=$file bs=1 seek=$(( $(stat -c %s $file) - 1 )) conv=notrunc status=none
touch -r /root/stamp $file; rm /root/stamp
"""

DRIFTS = [
    Drift("a mode", "n1", "chmod 0666 /etc/chrony.conf", "/etc/chrony.conf"),
    Drift("an owner", "n1", "chown 1234 /etc/containers/policy.json", "/etc/containers/policy"),
    Drift("a folder's mode", "n1", "chmod 0777 /etc/holdfast", "/etc/holdfast"),
    Drift("a key removed", "n1", "rpm -e --allmatches gpg-pubkey", "trust key"),
    Drift(
        "signatures no longer checked",
        "n1",
        "sed -i s/gpgcheck=1/gpgcheck=0/ /etc/yum.repos.d/holdfast.repo",
        "/etc/yum.repos.d/holdfast.repo",
    ),
    Drift(
        "a port opened for good",
        "n1",
        "firewall-cmd -q --permanent --add-port=9999/tcp",
        "no longer let in port 9999/tcp",
    ),
    Drift(
        "another default zone", "n1", "firewall-cmd -q --set-default-zone=trusted", "default zone"
    ),
    Drift("a unit masked", "n1", "systemctl mask -q --now chronyd", "unmask chronyd.service"),
    Drift("a unit stopped", "n1", "systemctl stop firewalld", "start firewalld.service"),
    Drift("a unit disabled", "n2", "systemctl disable -q firewalld", "enable firewalld.service"),
    Drift("a package removed", "n2", "rpm -e --nodeps chrony 2>/dev/null", "install chrony"),
    Drift("a model with one other byte", "n1", FLIP, "fetch /srv/models/tiny/tiny.gguf"),
    Drift(
        "a secret removed",
        "n1",
        "podman secret rm holdfast-inference-api-key >/dev/null",
        "secret",
    ),
    Drift(
        "another repository",
        "n2",
        "printf '[other]\\nname=o\\nbaseurl=http://192.0.2.1/o\\nenabled=1\\ngpgcheck=0\\n'"
        " >/etc/yum.repos.d/other.repo",
        "other",
    ),
    Drift(
        "a key file edited",
        "n2",
        "echo x >>/etc/pki/rpm-gpg/RPM-GPG-KEY-holdfast-rehearsal",
        "RPM-GPG-KEY-holdfast-rehearsal",
    ),
    Drift("another version of a package", "n2", "", "crun"),
    Drift(
        "a rule taken away until the next start",
        "n2",
        "firewall-cmd -q --remove-rich-rule='rule family=ipv4 source address=192.0.2.0/24 "
        "port port=8443 protocol=tcp accept'",
        "let in rich-rule",
    ),
    Drift("an image removed", "n2", "podman rmi -f -a >/dev/null 2>&1", "load image"),
    Drift(
        "a container's unit edited",
        "n2",
        "sed -i /NoNewPrivileges/d /etc/containers/systemd/holdfast-inference.container",
        "/etc/containers/systemd/holdfast-inference.container",
    ),
    Drift(
        "another registry",
        "n2",
        "echo 'unqualified-search-registries = [\"example.com\"]' >/etc/containers/registries.conf",
        "/etc/containers/registries.conf",
    ),
    Drift(
        "the journal's settings edited",
        "n2",
        "echo Storage=none >>/etc/systemd/journald.conf.d/50-holdfast.conf",
        "/etc/systemd/journald.conf.d/50-holdfast.conf",
    ),
    Drift("the record removed", "n2", "rm /etc/holdfast/stack.json", "/etc/holdfast/stack.json"),
    Drift(
        "a model that may be written",
        "n2",
        "chmod 0666 /srv/models/tiny/tiny.gguf",
        "make /srv/models/tiny/tiny.gguf read-only",
    ),
]

OTHER_VERSION = """
Name: crun
Version: 99
Release: 1
Summary: another version
License: none
AutoReqProv: no
%description
%files
"""


def test_every_drift_is_announced_and_mended_and_nothing_else(
    rack: SimulatedRack, tmp_path: Path
) -> None:
    assert len(DRIFTS) >= 20
    package = another_crun(tmp_path)
    for node in rack.nodes:
        scripts = [drift.script for drift in DRIFTS if drift.node == node.name]
        rack.ssh(node.name, "set -e\n" + "\n".join(scripts))
    (rack.node("n2").root / "root/crun.rpm").write_bytes(package.read_bytes())
    install = "rpm --upgrade --justdb --nodeps --nosignature --oldpackage /root/crun.rpm"
    rack.ssh("n2", f"{install} && rm /root/crun.rpm")

    planned = rack.holdfast("plan", rack.inventory, "--json")
    assert planned.code == 0, planned.said()
    plan = planned.document["plan"]
    said = record.announced(plan)
    for drift in DRIFTS:
        found = [entry for entry in said[drift.node] if drift.says in entry.change]
        assert found, f"{drift.name} on {drift.node} is not announced:\n{listed(said)}"
    assert plan["counts"]["depends"] == 0

    mended = rack.holdfast("up", rack.inventory, "--json")
    print(f"plan {planned.seconds:.0f} s, up {mended.seconds:.0f} s, {plan['counts']}")
    run = Path(mended.document["folder"])
    did = record.changed(run)
    assert did == said, differing(said, did)
    again = record.announced(json.loads((run / "plan.json").read_text()))
    assert again == said, differing(said, again)
    assert mended.code == 0, mended.said()


def test_what_is_announced_for_a_bare_node_is_what_happens(rack: SimulatedRack) -> None:
    run = record.first_up(rack.rehearsal.name)
    plan = json.loads((run / "plan.json").read_text())
    certain = record.announced(plan, "change")
    open_ = record.announced(plan, "depends")
    did = record.changed(run)
    print(plan["counts"])
    for node in rack.nodes:
        own = certain[node.name]
        tasks = {entry[:2] for entry in open_[node.name]}
        settled = {entry for entry in did[node.name] if entry[:2] not in tasks}
        assert settled == own, differing({node.name: own}, {node.name: settled})
        # What depends on an earlier change did come, in whatever words.
        assert tasks <= {entry[:2] for entry in did[node.name]}
        assert len(own) >= 20
        assert len(open_[node.name]) <= 0.1 * (len(own) + len(open_[node.name]))


def another_crun(folder: Path) -> Path:
    """A package that claims to be another version of the container runtime."""
    spec = folder / "crun.spec"
    spec.write_text(OTHER_VERSION)
    done = subprocess.run(
        ["rpmbuild", "-bb", "--target", os.uname().machine, "--define", f"_topdir {folder}", spec],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next((folder / "RPMS").rglob("*.rpm"))


def listed(found: dict[str, set[Entry]]) -> str:
    """Entries for a person who reads why a test failed."""
    return "\n".join(f"{node}: {' | '.join(e)}" for node in found for e in sorted(found[node]))


def differing(said: dict[str, set[Entry]], did: dict[str, set[Entry]]) -> str:
    """What was only announced, and what was only done."""
    only = {node: said[node] - did.get(node, set()) for node in said}
    more = {node: did[node] - said.get(node, set()) for node in did}
    return f"announced and not done:\n{listed(only)}\ndone and not announced:\n{listed(more)}"
