"""What simulated GPUs show beside NVML: trees, the kernel's log, packages' plans, the inventory."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import jsonschema
import pytest
import yaml

from provision.core.problems import HoldfastError
from provision.rehearsal.gpu import faults, journal, models, onnode, state, tree
from provision.rehearsal.inventory import write_inventory
from provision.rehearsal.node import Node
from tests.unit import gpus_support as gpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MODULE_UTILS = ROOT / "provision/collections/ansible_collections/holdfast/core/plugins/module_utils"

as_root = pytest.mark.needs("root")


def laid(folder, shown):
    tree.lay(shown, folder)
    return folder


@as_root
def test_preflight_counts_the_gpus_of_the_tree(tmp_path):
    """Through the code that the node's own preflight runs."""
    laid(tmp_path / "gpus", gpus.healthy())
    bus = tmp_path / "root/sys/bus/pci"
    bus.mkdir(parents=True)
    (bus / "devices").symlink_to(tmp_path / "gpus/pci")
    code = f"import probe, json; print(json.dumps(probe.gpus({str(tmp_path / 'root')!r})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=MODULE_UTILS, capture_output=True,
                          text=True, check=True)  # fmt: skip
    found = json.loads(done.stdout)
    assert [one["address"] for one in found] == [gpu.pci.address for gpu in gpus.healthy().gpus]
    assert {(one["vendor"], one["device"]) for one in found} == {("10de", "2330")}


@as_root
def test_what_the_trees_hold(tmp_path):
    laid(tmp_path, gpus.healthy())
    gpu = tmp_path / "pci/0000:1b:00.0"
    assert (gpu / "class").read_text() == "0x030200\n"
    assert (gpu / "current_link_speed").read_text() == "32.0 GT/s PCIe\n"
    assert (gpu / "config").read_bytes()[:4] == bytes.fromhex("de103023")
    assert (gpu / "driver").readlink().name == "nvidia"
    assert (tmp_path / "pci/0000:05:00.0/class").read_text() == "0x068000\n"
    assert (tmp_path / "module/nvidia/version").read_text() == "580.105.08\n"
    version = (tmp_path / "driver/nvidia/version").read_text()
    assert "NVIDIA UNIX Open Kernel Module" in version
    assert "580.105.08" in version
    assert "simulated" in version
    device = (tmp_path / "dev/nvidia7").stat()
    assert stat.S_ISCHR(device.st_mode)
    assert (os.major(device.st_rdev), os.minor(device.st_rdev)) == (195, 7)


@as_root
@pytest.mark.parametrize("name", models.names())
def test_laying_changes_only_what_differs(tmp_path, name):
    laid(tmp_path, gpus.healthy(name))
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}
    broken = state.changed(gpus.healthy(name), {"gpus.2.on_bus": False, "gpus.1.pci.width": 8})
    laid(tmp_path, broken)
    gone = tmp_path / "pci" / broken.gpus[2].pci.address
    width = tmp_path / "pci" / broken.gpus[1].pci.address / "current_link_width"
    assert not gone.exists()
    assert width.read_text() == "8\n"
    kept = {path: inode for path, inode in before.items()
            if path not in (width, gone) and gone not in path.parents}  # fmt: skip
    assert {path: path.lstat().st_ino for path in tmp_path.rglob("*") if path != width} == kept
    laid(tmp_path, gpus.healthy(name))
    assert set(tmp_path.rglob("*")) == set(before)


@as_root
def test_without_a_module_only_the_bus_is_left(tmp_path):
    laid(tmp_path, state.changed(gpus.healthy(), {"module.loaded": False}))
    assert not any(any((tmp_path / top).iterdir()) for top in ("module", "driver", "dev"))
    assert not (tmp_path / "pci/0000:1b:00.0/driver").exists()
    assert len(list((tmp_path / "pci").iterdir())) == 12


def _lines(boot, count, start=1_795_431_000):
    return [
        journal.Line((start + n) * 10**6, (100 + n) * 10**6, boot, {
            "MESSAGE": f"NVRM: Xid (PCI:0000:1b:00): {n}, {'x' * n}", "PRIORITY": "3",
            "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel", "_TRANSPORT": "kernel",
            "_BOOT_ID": boot.hex,
        })
        for n in range(count)
    ]  # fmt: skip


def _journalctl(path, *words):
    done = subprocess.run(["journalctl", f"--file={path}", "-o", "json", *words],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_start_has_lines_of_the_kernel_of_its_own(tmp_path):
    """As the node runs it: the file alone, without what lies beside it."""
    boot, machine = tmp_path / "boot_id", tmp_path / "machine-id"
    boot.write_text(f"{uuid.uuid4()}\n")
    machine.write_text(f"{uuid.uuid4().hex}\n")
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.1\nGCC\n")
    text = Path(journal.__file__).read_text()
    for place, there in ((str(journal.BOOT), boot), ("/etc/machine-id", machine),
                         (str(journal.DRIVER), version)):  # fmt: skip
        assert place in text
        text = text.replace(place, str(there))
    alone, made = tmp_path / "journal.py", tmp_path / "start.journal"
    alone.write_text(text)
    subprocess.run([sys.executable, "-I", alone, made], check=True, cwd=tmp_path)
    subprocess.run(["journalctl", f"--file={made}", "--verify"], check=True, capture_output=True)
    found = _journalctl(made, "-k")
    assert found[0]["MESSAGE"].startswith("Linux version ")
    assert found[-1]["MESSAGE"] == "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.1"
    own = uuid.UUID(boot.read_text().strip())
    assert {line["_BOOT_ID"] for line in found} == {own.hex}
    # What the driver says later comes later, though its file counts from 1 again.
    later = int(found[-1]["__REALTIME_TIMESTAMP"]) + 10**6, 10**15
    fields = journal.kernel_fields("NVRM: Xid", 3, own)
    beside = journal.render(
        uuid.UUID(machine.read_text().strip()), [journal.Line(*later, own, fields)]
    )
    (tmp_path / "kernel.journal").write_bytes(beside)
    both = _journalctl(tmp_path / "*.journal", "-k", f"--after-cursor={found[-1]['__CURSOR']}")
    assert [line["MESSAGE"] for line in both] == ["NVRM: Xid"]


@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_systemd_reads_and_verifies_the_journal(tmp_path, count):
    path, boot, other = tmp_path / "kernel.journal", uuid.uuid4(), uuid.uuid4()
    lines = _lines(boot, count) + _lines(other, 2, start=1_795_440_000)
    path.write_bytes(journal.render(uuid.uuid4(), lines))
    subprocess.run(["journalctl", f"--file={path}", "--verify"], check=True, capture_output=True)
    found = _journalctl(path, "_TRANSPORT=kernel", f"_BOOT_ID={boot.hex}")
    assert [row["MESSAGE"] for row in found] == [line.fields["MESSAGE"] for line in lines[:count]]
    assert {row["_BOOT_ID"] for row in found} == {boot.hex}
    assert len(_journalctl(path)) == count + 2


def test_a_cursor_stays_good_when_lines_are_added(tmp_path):
    path, boot, machine = tmp_path / "kernel.journal", uuid.uuid4(), uuid.uuid4()
    path.write_bytes(journal.render(machine, _lines(boot, 3)))
    cursor = _journalctl(path)[-1]["__CURSOR"]
    path.write_bytes(journal.render(machine, _lines(boot, 5)))
    assert [row["MESSAGE"][:32] for row in _journalctl(path, f"--after-cursor={cursor}")] == [
        "NVRM: Xid (PCI:0000:1b:00): 3, x", "NVRM: Xid (PCI:0000:1b:00): 4, x",
    ]  # fmt: skip


def test_a_journal_that_was_damaged_is_found_out(tmp_path):
    path = tmp_path / "kernel.journal"
    raw = bytearray(journal.render(uuid.uuid4(), _lines(uuid.uuid4(), 3)))
    place = raw.index(b"MESSAGE=NVRM")
    raw[place + 10] ^= 1
    path.write_bytes(raw)
    done = subprocess.run(["journalctl", f"--file={path}", "--verify"], check=False,
                          capture_output=True)  # fmt: skip
    assert done.returncode != 0


@as_root
def test_lines_keep_the_start_that_they_were_written_in(tmp_path):
    """A restart does not bring yesterday's XID into today's log."""
    machine, first, second = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    shown = faults.inject(gpus.healthy(), "xid-79", 3, now=time.time())
    onnode.show(tmp_path, machine, first, shown)
    again = faults.inject(onnode.current(tmp_path), "xid-48", 3, now=time.time())
    onnode.show(tmp_path, machine, second, again)
    lines = onnode.kernel_lines(onnode.current(tmp_path))
    assert [line.boot for line in lines] == [first, first, second]
    assert lines[0].fields["MESSAGE"].startswith("NVRM: Xid (PCI:0000:4e:00): 79, ")


@as_root
def test_a_node_without_gpus_is_told_nothing_of_them(tmp_path):
    assert onnode.arguments(tmp_path) == []
    (tmp_path / "upper").mkdir()
    onnode.prepare(tmp_path, uuid.uuid4(), gpus.healthy())
    assert f"--bind={tmp_path}/gpus:{onnode.PLACE}" in onnode.arguments(tmp_path)
    wants = tmp_path / "upper/etc/systemd/system/sysinit.target.wants"
    assert len(list(wants.iterdir())) == 2


def test_another_driver_brings_its_cuda_and_firmware():
    model = models.with_driver(models.load("h100-sxm"), "590.44.01")
    driver = model.driver
    assert (driver.nvml, driver.cuda, driver.branch) == ("13.590.44.01", 13010, "r590_00")
    assert model.gpu.firmware.gsp == "590.44.01"
    assert models.with_driver(models.load("h100-sxm"), "570.86.15").driver.cuda == 12080


@as_root
def test_a_node_shows_the_driver_whose_module_it_starts_with(tmp_path):
    first = models.load("h100-sxm")
    other = models.with_driver(first, "590.44.01")
    (tmp_path / "upper").mkdir()
    shown, machine = models.fresh(first), uuid.uuid4()
    onnode.prepare(tmp_path, machine, shown, [first.driver, other.driver])
    base = onnode.folder_of(tmp_path)
    place = base / "drivers/590.44.01"

    def versions(folder):
        told = state.read(folder / "state.json")
        banner = (folder / "driver/nvidia/version").read_text()
        return told.module.version, told.gpus[0].firmware.gsp, told.module.version in banner

    assert versions(base) == (first.driver.version, first.driver.version, True)
    assert versions(place) == ("590.44.01", "590.44.01", True)
    # What is broken is broken under both; a module of an earlier version stays one.
    lost = faults.inject(shown, "gpu-lost", 5, now=time.time())
    broken = faults.inject(lost, "module-older", now=time.time())
    onnode.show(tmp_path, machine, None, broken)
    for folder in (base, place):
        told = state.read(folder / "state.json")
        assert told.module.version == broken.module.version != first.driver.version
        assert told.faults == broken.faults != ()


def test_the_inventory_declares_what_the_model_has(tmp_path):
    node = Node("n1", 1, tmp_path / "nodes/n1", "hf-000000")
    key = node.folder / "upper/etc/ssh/ssh_host_ed25519_key.pub"
    key.parent.mkdir(parents=True)
    key.write_text("ssh-ed25519 AAAA\n")
    for name, fabric in (("l40s", "none"), ("h100-sxm", "nvswitch")):
        path = tmp_path / "inventory.yml"
        write_inventory(path, "hf-000000", [node], gpus=models.load(name))
        declared = yaml.safe_load(path.read_text())["all"]["children"]["gpu_nodes"]["vars"]
        model = models.load(name)
        assert declared["holdfast_hardware"]["gpus"] == {
            "model": model.gpu.name, "pci_id": model.pci_id, "count": 8,
        }  # fmt: skip
        assert declared["holdfast_gpu"]["fabric"] == fabric


@pytest.mark.parametrize("name", models.names())
def test_nodes_of_a_model_differ_and_each_is_always_the_same(name):
    model = models.load(name)
    one, again, other = (models.fresh(model, seed) for seed in ("a", "a", "b"))
    assert one == again
    uuids = {gpu.uuid for shown in (one, other) for gpu in shown.gpus}
    assert len(uuids) == 2 * len(model.slots)


@pytest.mark.parametrize(
    ("line", "change", "says"),
    [
        ("count: 18", "count: 99", "at most 36"),
        ("subsystem: 0x16c1", "subsystem: many", "whole number"),
        ("arch", None, "lacks 'architecture'"),
        ("vbios:", "vbois:", "has no key 'vbois'"),
        ("0000:29:00.0", "0000:1b:00.0", "has this address too"),
        ("switches:", None, "links lead to switches"),
    ],
)
def test_a_mistake_in_a_model_is_shown_at_its_place(tmp_path, line, change, says):
    document = (models.FOLDER / "h100-sxm.yml").read_text()
    if line == "switches:":
        start, end = document.index("switches:"), document.index('slots:\n  - {address: "0000:1b')
        document = document[:start] + document[end:]
    elif change is None:
        document = "".join(x for x in document.splitlines(True) if line not in x or "#" in x)
    else:
        document = document.replace(line, change)
    path = tmp_path / "model.yml"
    path.write_text(document)
    with pytest.raises(HoldfastError) as caught:
        models.load_file(path)
    problem = caught.value.problems[0]
    assert says in problem.message
    assert problem.position is not None
    assert problem.position.line > 1


def test_a_model_that_is_not_there_names_the_nearest():
    with pytest.raises(HoldfastError, match="h100-sxm"):
        models.load("h100-sxn")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gpus.0.pci.width": -3}, "pci.width"),
        ({"gpus.0.pci.address": "here"}, "pci.address"),
        ({"gpus.0.temperature.gpu": "hot"}, "temperature.gpu"),
        ({"gpus.0.nothing": 1}, "leads nowhere"),
        ({"gpus.9.minor": 1}, "leads nowhere"),
    ],
)
def test_a_state_that_cannot_be_is_refused(changes, says):
    with pytest.raises(HoldfastError, match=says):
        state.changed(gpus.healthy(), changes)


def test_the_schema_describes_the_state():
    schema = json.loads((ROOT / "provision/rehearsal/gpu/state.schema.json").read_text())
    assert schema == state.json_schema()
    check = jsonschema.Draft202012Validator(schema)
    for name in models.names():
        shown = faults.inject(gpus.healthy(name), "pci-replays", now=1.0)
        assert not list(check.iter_errors(shown.to_json()))
    broken = gpus.healthy().to_json()
    broken["gpus"][0]["colour"] = "green"
    assert list(check.iter_errors(broken))
