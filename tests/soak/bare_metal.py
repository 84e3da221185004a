"""A rack of machines with nothing on them, and the site that serves it: dnsmasq, an HTTP server.

Everything is in a network namespace of the rack's own, which nothing leaves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from provision.cli.main import main
from provision.core import emulator
from provision.core.emulator import Accelerator
from provision.core.events import NullSink
from provision.core.locks import FileLock
from provision.image import qemu
from provision.image.load import find
from provision.rehearsal import machine, network
from provision.rehearsal.artefacts import artefacts
from provision.rehearsal.base import node_base
from provision.rehearsal.choice import choose
from provision.rehearsal.inventory import write_inventory
from provision.rehearsal.node import Node
from provision.rehearsal.rack import Rehearsal, lock_path, racks_home
from provision.rehearsal.recipe import load_recipe
from provision.rehearsal.secrets import make_secrets
from tests.rehearsal.conftest import Ran, SimulatedRack

ROOT = Path(__file__).resolve().parents[2]
MAC = "52:54:00:00:02:01"
HTTP, CLAIMS = 8080, 8017
MEMORY_MIB = 6144
_FINGERPRINT = re.compile(r"has the host key (SHA256:[A-Za-z0-9+/]{43})")


def make_image(folder: Path, signers: Sequence[str]) -> Path:
    """A signed image of a node without a disk, which obeys answers that `signers` signed.

    What `image key` makes lies in `folder`/keys, the image in `folder`/image.
    """
    keys = folder / "keys"
    assert main(["image", "key", str(keys)]) == 0
    assert main(["image", "key", str(keys), "--secure-boot", "Soak"]) == 0
    body = yaml.safe_load(find("gpu-node").read_text(encoding="utf-8"))
    body |= {"enrolment_keys": list(signers), "formats": ["netboot"]}
    # Its root is a file system over another one, and containers cannot lie on such a one.
    body["partitions"].append({"mount": "/var/lib/containers", "size_mib": 5120,
                               "filesystem": "tmpfs"})  # fmt: skip
    definition = folder / "gpu-node.yml"
    definition.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
    assert main(["image", "build", str(definition), "--base", "rehearsal", "--key",
                 str(keys / "image.key"), "--secure-boot", str(keys), "--out",
                 str(folder / "image")]) == 0  # fmt: skip
    return folder / "image"


class BareRack(SimulatedRack):
    """One machine without a disk, whose inventory knows its network card and no host key."""

    def __init__(self, rehearsal: Rehearsal, state: Path, stack: ExitStack) -> None:
        super().__init__(rehearsal, state)
        self.serial = rehearsal.folder / "serial"
        self._stack = stack

    @property
    def known_hosts(self) -> Path:
        return self.inventory.with_name("known_hosts")

    def begin(self, *words: str | os.PathLike[str], log: str) -> subprocess.Popen[bytes]:
        """Start a program in the rack's network; it ends with the rack."""
        argv = ["setpriv", "--pdeathsig", "KILL", *self.rehearsal.inside(), *words]
        with (self.rehearsal.folder / log).open("wb") as stream:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream,
                                       stderr=stream, env=self.environment, cwd=ROOT
                                       )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def serve(self, rendered: Path) -> None:
        """Start what a site has already, with what was rendered for it and nothing else."""
        self.begin("dnsmasq", "--keep-in-foreground", "--port=0", "--log-dhcp", "--user=root",
                   f"--conf-file={rendered}/dnsmasq.conf", f"--interface={network.bridge()}",
                   f"--dhcp-leasefile={self.rehearsal.folder}/leases", "--log-facility=-",
                   "--pid-file=", log="dnsmasq.log")  # fmt: skip
        self.begin(sys.executable, "-m", "http.server", str(HTTP), "--bind", network.CONTROLLER,
                   "--directory", rendered / "http", log="http.log")  # fmt: skip

    def switch_on(self, runs: Accelerator, keys: Path) -> subprocess.Popen[bytes]:
        """Start the machine: firmware, memory, a network card, and nothing else."""
        flash, folder = "if=pflash,format=raw", self.rehearsal.folder
        firmware = qemu.firmware(folder, keys)
        words = ["ip", "-netns", self.rehearsal.name]
        for more in (["tuntap", "add", "mode", "tap", "name", "vm1"],
                     ["link", "set", "vm1", "master", network.bridge(), "up"]):  # fmt: skip
            subprocess.run([*words, *more], check=True)
        return self.begin(
            emulator.emulator(), *runs.words, "-machine", "smm=on", "-m", str(MEMORY_MIB),
            *emulator.QUIET, "-no-reboot",
            "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"{flash},readonly=on,file={firmware.code}",
            "-drive", f"{flash},file={firmware.variables}",
            "-netdev", "tap,id=rack,ifname=vm1,script=no,downscript=no",
            # Without a program of its own in the card: firmware's own drivers are what is seen.
            "-device", f"virtio-net-pci,netdev=rack,mac={MAC},romfile=,bootindex=0",
            "-device", "virtio-rng-pci", "-serial", f"file:{self.serial}",
            # Firmware tries these first, and waits a minute for each.
            "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
            "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n",
            log="machine.log",
        )  # fmt: skip

    def console(self) -> str:
        """What came over the serial port until now."""
        return qemu.serial_text(self.serial) if self.serial.exists() else ""

    def shown(self, wanted: str, within_s: float, running: subprocess.Popen[bytes]) -> str:
        """Wait for a line of the console that holds `wanted`, which is returned."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            for line in self.console().splitlines():
                if wanted in line:
                    return line
            assert running.poll() is None, self.console()[-3000:]
            time.sleep(1)
        raise AssertionError(f"the console did not show {wanted!r}:\n{self.console()[-3000:]}")

    def fingerprint(self) -> str:
        """The host key that the console shows."""
        found = _FINGERPRINT.search(self.console())
        assert found, self.console()[-3000:]
        return found[1]

    def root(self, script: str, *, check: bool = True) -> Ran:
        """Run a script as root on the node, by the keys that the inventory knows."""
        ran = self.run(
            [*self.rehearsal.inside(), "ssh", "-q", "-i",
             os.fspath(self.rehearsal.folder / "secrets/login"), "-o",
             f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes", "-o",
             "ConnectTimeout=60", f"rack@{self.nodes[0].address}", "sudo bash -s"],
            stdin=script, timeout=600,
        )  # fmt: skip
        if check:
            assert ran.code == 0, ran.said()
        return ran


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def bare_rack(state: Path) -> Iterator[BareRack]:
    """A rack of one machine that has nothing, and the origin of what its stack lock pins."""
    recipe, choice = load_recipe(), choose("compat", "10")
    base = node_base(recipe, choice.release, NullSink())
    made = artefacts(recipe, choice, base, NullSink())
    name = f"hf-{os.urandom(3).hex()}"
    folder = racks_home() / name
    node = Node("n1", 1, folder / "nodes/n1", name, "vm")
    lock = FileLock(lock_path(name), {"rack": name})
    lock.__enter__()
    rack = Rehearsal(name, folder, base, made, [node], False, choice.made_of, "vm", None, lock)
    with ExitStack() as stack:
        stack.callback(rack.take_down)
        folder.mkdir(parents=True, mode=0o700)
        (folder / "rehearsal.json").write_text("{}")
        make_secrets(folder / "secrets", rack.nodes)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f",
                        folder / "secrets/login"], check=True)  # fmt: skip
        shutil.copyfile(made / "stack.lock.json", folder / "stack.lock.json")
        network.create(name)
        rack.start_origin()
        _inventory(rack, node)
        yield BareRack(rack, state, stack)


def _inventory(rack: Rehearsal, node: Node) -> None:
    """A rehearsal's inventory, which knows a card where others know a host key."""
    key = node.folder / "upper/etc/ssh/ssh_host_ed25519_key.pub"
    key.parent.mkdir(parents=True)
    shutil.copyfile(rack.folder / "secrets/login.pub", key)
    slow = machine.accelerator(rack.base).emulated
    write_inventory(rack.inventory, rack.name, rack.nodes, "vm", emulated=slow,
                    lacks=machine.lacks("compat"))  # fmt: skip
    body: dict[str, Any] = yaml.safe_load(rack.inventory.read_text(encoding="utf-8"))
    host: dict[str, Any] = body["all"]["children"]["gpu_nodes"]["hosts"]["n1"]
    del host["holdfast_host_keys"]
    host["holdfast_mac"] = MAC
    body["all"]["vars"]["holdfast_known_hosts"] = "known_hosts"
    # It serves nothing: a model and its engine would have to lie in its memory as well.
    del body["all"]["children"]["gpu_nodes"]["vars"]["holdfast_inference"]
    for name in ("api_key", "tls_ca"):
        del body["all"]["vars"][f"holdfast_{name}"]
    for name in ("tls_certificate", "tls_key"):
        del host[f"holdfast_{name}"]
    rack.inventory.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")


def statuses(document: Mapping[str, Any]) -> Mapping[str, str]:
    """Each check's status in a verdict."""
    return {found["check"]: found["status"] for found in document["findings"]}


def claims_of(ran: Ran) -> list[dict[str, Any]]:
    """What `enroll --json` says of each node."""
    found: list[dict[str, Any]] = json.loads(ran.out)["nodes"]
    return found
