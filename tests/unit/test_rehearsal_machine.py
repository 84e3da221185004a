"""Rehearsal nodes that are virtual machines: their disk, what runs them, and the verb's options."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provision.core import emulator as qemu
from provision.core.problems import HoldfastError
from provision.rehearsal import disk, machine
from tests.unit.rehearsal_support import Commands

ROOT_MIB = disk.PARTS[0].mib


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A node base with two kernels."""
    boot = tmp_path / "base/root/boot"
    boot.mkdir(parents=True)
    for version in ("6.12.9-cloud", "6.12.10-cloud"):
        (boot / f"vmlinuz-{version}").write_text("kernel")
    return tmp_path / "base"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    qemu._tried.cache_clear()
    return Commands(tmp_path / "bin", monkeypatch)


def emulator() -> str:
    return f"qemu-system-{os.uname().machine}"


def test_the_disk_has_the_file_systems_that_benchmarks_ask_for(tmp_path: Path) -> None:
    starts = disk._partition(tmp_path / "disk", disk.PARTS)
    assert starts[:2] == [disk.MIB, (ROOT_MIB + 1) * disk.MIB]
    with (tmp_path / "disk").open("rb") as image:
        record = image.read(1024)
        image.seek(-512, os.SEEK_END)
        last = image.read(512)
    assert record[510:512] == b"\x55\xaa"
    assert record[512:520] == last[:8] == b"EFI PART"
    # Only what is used takes space on the host.
    assert (tmp_path / "disk").stat().st_blocks * 512 < disk.MIB
    paths = [line.split()[1] for line in disk.fstab("/dev/x").splitlines()]
    assert paths == ["/", "/home", "/tmp", "/var", "/var/log", "/var/log/audit", "/var/tmp",
                     "/dev/shm"]  # fmt: skip


def test_the_partition_table_is_one_that_others_read(tmp_path: Path) -> None:
    disk._partition(tmp_path / "disk", disk.PARTS)
    argv = ["sfdisk", "--verify", tmp_path / "disk"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "No errors detected" in done.stdout


def test_kvm_is_used_where_a_guest_ran(base: Path, commands: Commands) -> None:
    commands.add(emulator(), 'echo "Kernel panic - not syncing: VFS"')
    chosen = machine.accelerator(base)
    assert "kvm" in chosen.words
    assert chosen.says == "run by KVM"
    assert len(commands.said) == 1
    assert "vmlinuz-6.12.10-cloud" in commands.said[0] or "6.12.9" in commands.said[0]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('echo "qemu: error: failed to set MSR 0x10a" >&2; exit 134', "failed to set MSR 0x10a"),
        ("exit 0", "it said nothing"),
        ("sleep 9", "hung"),
    ],
)
def test_a_device_is_no_proof_of_kvm(
    base: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(qemu, "_PROBE_S", 0.5)
    commands.add(emulator(), script.replace("sleep", "exec sleep"))
    chosen = machine.accelerator(base)
    assert not any("kvm" in word for word in chosen.words)
    assert any(word.startswith("tcg") for word in chosen.words)
    assert why in chosen.says


def test_a_base_without_a_kernel_says_so(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="no kernel to start a machine with"):
        machine.kernel(tmp_path)


def test_a_missing_emulator_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HoldfastError, match="is not installed, and a machine needs it"):
        machine.accelerator(base)
