"""A rack starts from nothing: a machine without a disk becomes a node that `up` provisions.

As an operator I want to switch on machines that have nothing on them, and to end with nodes whose
identity I have seen, without a secret in an image or on the wire.

Firmware fetches the signed boot program over HTTP, that program fetches and proves the root, the
node claims its identity, its key is compared with its console, and `up` and `verify` do as with any
node. Emulated it takes most of an hour. `HOLDFAST_SOAK_NETBOOT` names a folder that an earlier run
left, with `keys/`, `image/` and `sign`, so that no image is built.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.image import qemu
from provision.image.sandbox import Sandbox
from tests.rehearsal.conftest import left_of
from tests.soak import bare_metal
from tests.soak.bare_metal import BareRack, bare_rack, statuses

pytestmark = [pytest.mark.soak, pytest.mark.needs("ovmf", "root", "dnsmasq")]

START_S = 3600.0
UP_S = 7200.0


@dataclass
class Site:
    """What an operator has made before the first machine is switched on."""

    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "image"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def sign(self) -> Path:
        return self.folder / "sign"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    kept = os.environ.get("HOLDFAST_SOAK_NETBOOT")
    if kept and (Path(kept) / "image/manifest.json").exists():
        return Site(Path(kept))
    folder = Path(kept) if kept else tmp_path_factory.mktemp("site")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f",
                    folder / "sign"], check=True)  # fmt: skip
    public = " ".join((folder / "sign.pub").read_text().split()[:2])
    bare_metal.make_image(folder, [public])
    return Site(folder)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareRack]:
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", os.fspath(state))
        with bare_rack(state) as found:
            yield found
        assert left_of(found.rehearsal.name, state) == []


@pytest.fixture(scope="module")
def started(rack: BareRack, site: Site) -> subprocess.Popen[bytes]:
    """The machine, switched on while a window is open; its console says that it is n1."""
    from provision.core import emulator

    out = rack.rehearsal.folder / "boot"
    url = f"http://192.0.2.1:{bare_metal.HTTP}"
    ran = rack.holdfast("image", "netboot", rack.inventory, "--image", site.image, "--key",
                        site.keys / "image.pub", "--url", url, "--network", "192.0.2.0/24",
                        "--out", out)  # fmt: skip
    assert ran.code == 0, ran.said()
    rack.serve(out)
    kernel = qemu.kernel_of(site.image / "netboot/uki.efi", Sandbox((out,)), out)
    process = rack.switch_on(emulator.accelerator(kernel), site.keys)
    rack.shown("has the host key", START_S, process)
    return process


def test_a_machine_with_nothing_starts_the_signed_image_over_http(
    rack: BareRack, started: subprocess.Popen[bytes]
) -> None:
    log = (rack.rehearsal.folder / "http.log").read_text()
    for name in ("uki.efi", "rootfs.erofs", "rootfs.verity"):
        assert f"GET /gpu-node/{name}" in log


def test_nobody_gets_in_before_it_has_its_identity(
    rack: BareRack, started: subprocess.Popen[bytes]
) -> None:
    rack.known_hosts.write_text("")
    assert rack.root("true", check=False).code == 255
    assert "holdfast: this node is now" not in rack.console()


def test_it_gets_its_identity_once(
    rack: BareRack, site: Site, started: subprocess.Popen[bytes]
) -> None:
    out = rack.rehearsal.folder / "boot"
    ran = rack.holdfast("enroll", "open", rack.inventory, "--listen",
                        f"192.0.2.1:{bare_metal.CLAIMS}", "--tokens", out / "http/gpu-node/nodes",
                        "--sign", site.sign, "--minutes", "30", "--json", timeout=START_S
                        )  # fmt: skip
    assert ran.code == 0, ran.said()
    [found] = bare_metal.claims_of(ran)
    assert found["claimed"] == [rack.fingerprint()]
    rack.shown("this node is now n1", START_S, started)
    # The claim alone makes nobody a node.
    assert rack.root("true", check=False).code == 255
    wrong = rack.fingerprint()[:-1] + "x"
    assert rack.holdfast("enroll", "accept", rack.inventory, f"n1={wrong}").code == 1
    ran = rack.holdfast("enroll", "accept", rack.inventory, f"n1={rack.fingerprint()}")
    assert ran.code == 0, ran.said()
    said = rack.root("hostname; cat /var/lib/holdfast/enrolled.json").out.splitlines()
    assert said[0] == "n1"
    assert json.loads(said[1])["mac"] == bare_metal.MAC


def test_its_root_is_proven_and_it_came_from_the_image(
    rack: BareRack, site: Site, started: subprocess.Popen[bytes]
) -> None:
    said = rack.root("dmsetup status root; findmnt -no FSTYPE /; cat /etc/holdfast/image.json;"
                     " od -An -t u1 -j 4 -N 1 /sys/firmware/efi/efivars/SecureBoot-*"
                     ).out.splitlines()  # fmt: skip
    assert "verity V" in said[0]
    assert said[1] == "overlay"
    manifest = json.loads((site.image / "manifest.json").read_text())
    assert json.loads(said[2])["files"] == manifest["tree"]["files"]
    assert said[3].strip() == "1"


KNOWN = {
    "base.packages_signed": "the RPMs of a rehearsal's images are pinned by digest and not signed",
    "base.units": "a first start enables what the distribution's presets name: open",
    "container_runtime.no_auto_update": "the same: open",
}
"""What `verify` finds on such a node, and why."""


def test_it_is_provisioned_and_verified_like_any_node(
    rack: BareRack, started: subprocess.Popen[bytes]
) -> None:
    ran = rack.holdfast("up", rack.inventory, "--json", timeout=UP_S)
    assert ran.code in (0, 1), ran.said()
    found = statuses(ran.document["verdict"])
    bad = {check for check, status in found.items() if status not in ("pass", "not_applicable")}
    assert bad <= set(KNOWN), ran.said()
    assert "pass" in found.values()
