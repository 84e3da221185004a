"""Controls of a whole image undone one by one: each engine that judges it names its own, and the
build stops.

The tree is gpu-node's, made of a rehearsal's packages by the roles themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.core.problems import HoldfastError
from provision.image import gate, stage_scan, stages
from provision.image.build import Built, build
from provision.image.definition import Definition
from provision.image.load import load, ours
from provision.image.sandbox import Sandbox
from provision.image.work import Given, Work
from provision.rehearsal.image_base import image_base

pytestmark = [pytest.mark.soak, pytest.mark.needs("user_namespaces")]
_SSHD = "/etc/ssh/sshd_config.d/00-holdfast.conf"


@dataclass(frozen=True)
class Undone:
    """A shell line that undoes a control in the tree; what each engine must name, "" for none."""

    line: str
    rule: str
    control: str


UNDONE = {
    "root may log in": Undone(
        f"sed -i 's/^PermitRootLogin.*/PermitRootLogin yes/' {_SSHD}",
        "openscap.sshd_disable_root_login",
        "sshd-no-root-login",
    ),
    "who may not log in is forgotten": Undone(
        f"sed -i '/^DenyUsers/d' {_SSHD}", "openscap.sshd_limit_user_access", "sshd-limit-users"
    ),
    # Any text that tells nothing of the system satisfies OpenSCAP; this one tells its kernel.
    "the banner tells of the system": Undone(
        "echo 'Kernel \\r on \\m' >/etc/issue",
        "openscap.banner_etc_issue_cis",
        "banner-before-local-login",
    ),
    "guesses are not counted": Undone(
        "sed -i '/^deny/d' /etc/security/faillock.conf",
        "openscap.accounts_passwords_pam_faillock_deny",
        "faillock-deny",
    ),
    "empty passwords are let in": Undone(
        "sed -i 's/pam_unix.so/pam_unix.so nullok/' /etc/authselect/system-auth"
        " /etc/authselect/password-auth",
        "openscap.no_empty_passwords",
        "pam-no-empty-passwords",
    ),
    "shadow may be read": Undone(
        "chmod 0644 /etc/shadow", "openscap.file_permissions_etc_shadow", "shadow"
    ),
    "USB disks are let in": Undone(
        "grep -rl usb.storage /etc/modprobe.d | xargs rm",
        "openscap.kernel_module_usb-storage_disabled",
        "module-usb-storage",
    ),
    "a package is gone": Undone(
        "rpm -e --justdb --nodeps --noscripts aide",
        "openscap.package_aide_installed",
        "aide-installed",
    ),
    "addresses are not shuffled": Undone(
        "grep -rl randomize_va_space /etc/sysctl.d | xargs sed -i '/randomize_va_space/d'",
        "",
        "address-space-layout",
    ),
    "the firewall does not start": Undone(
        "systemctl --root=/ disable firewalld", "", "firewall-one-manager"
    ),
    "a mount is without nodev": Undone(
        "sed -i '/ \\/home /s/nodev,//; / \\/home /s/,nodev//' /etc/fstab", "", "home"
    ),
    "members of the group for su": Undone(
        "gpasswd -a daemon sugroup", "openscap.ensure_pam_wheel_group_empty", "su-needs-group"
    ),
}
"""Where OpenSCAP is to name nothing, its rule asks a running system."""


@pytest.fixture(scope="module")
def definition() -> Definition:
    return load(ours()["gpu-node"]).definition.model_copy(
        update={"base": "rehearsal", "formats": ("tar",)}
    )


@pytest.fixture(scope="module")
def given(definition: Definition) -> Given:
    return Given(base=image_base(str(definition.release), definition.epoch, NullSink()))


@pytest.fixture(scope="module")
def built(definition: Definition, given: Given) -> Built:
    return build(definition, given, NullSink(), until="seal", environ={})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for trees whose files belong to many owners."""
    yield tmp_path
    for name in ("seal", "scan"):
        Sandbox().remove(tmp_path / name)


def judge(built: Built, given: Given, seal: Path, out: Path) -> None:
    """Run the stage on a tree."""
    out.mkdir()
    known = stages.known()["scan"]
    options = known.stage.options(built.definition, given)
    sandbox = Sandbox((out,), built.epoch)
    stage_scan.run(
        Work("scan", known.fields(built.definition), options, {"seal": seal}, out, built.epoch,
             sandbox, NullSink(), given)
    )  # fmt: skip


def test_the_image_as_the_roles_make_it_passes(built: Built, given: Given, place: Path) -> None:
    seal = built.outputs["seal"]
    judge(built, given, seal, place / "scan")
    verdict = gate.accepted(place / "scan", seal / "files.tsv")
    assert verdict.passed
    told = json.loads((place / "scan/results.json").read_text())
    assert told["own"]["judged"] == told["own"]["controls"] > 100
    results = [rule["result"] for rule in told["rules"].values()]
    assert results.count("pass") > 150


@pytest.mark.parametrize("name", UNDONE)
def test_a_control_undone_is_named_by_both(
    built: Built, given: Given, place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    undone = UNDONE[name]
    seal = place / "seal"
    seal.mkdir()
    sandbox = Sandbox((place,), built.epoch)
    sandbox.copy(built.outputs["seal"] / "root", seal / "root")
    (seal / "files.tsv").write_bytes((built.outputs["seal"] / "files.tsv").read_bytes())
    sandbox.run(["/bin/sh", "-ec", undone.line], root=seal / "root")
    with pytest.raises(HoldfastError) as caught:
        judge(built, given, seal, place / "scan")
    assert caught.value.exit_code == 1
    told = str(caught.value)
    assert undone.control in told
    named = {problem.code for problem in caught.value.problems}
    if undone.rule:
        assert undone.rule in named
    assert not any(code.startswith("lint.") for code in named), named
