"""A small real tree with everything that formats must keep, and stages run on it by hand."""

from __future__ import annotations

import importlib
import os
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.core.events import NullSink
from provision.image.definition import Definition
from provision.image.sandbox import Sandbox
from provision.image.work import Given, Work

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service, permitted and effective, as linux/capability.h lays out version 2."""

_FILES = {
    "usr/bin/tool": ("#!/bin/sh\n", 0o755),
    "usr/bin/su": ("set-user-id\n", 0o4755),
    "usr/bin/ping": ("may open raw sockets\n", 0o755),
    "usr/lib/os-release": ('ID="rocky"\nVERSION_ID="9.4"\n', 0o644),
    "usr/lib/modules/6.1.0/modules.dep": ("", 0o644),
    "usr/lib/modules/6.1.0/vmlinuz": ("a kernel" * 4000, 0o755),
    'usr/share/a "quoted" name': ("quotes\n", 0o644),
    "usr/share/größe": ("more than ASCII\n", 0o644),
    "usr/share/big": ("x" * 3_000_000, 0o640),
    "etc/passwd": ("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n", 0o644),
    "etc/shadow": ("root:$6$salt$hash:20000:0:99999:7:::\nann:!:99999:0:99999:7:::\n", 0o000),
    "etc/shadow-": ("root:$6$older$hash:20000:0:99999:7:::\n", 0o000),
    "etc/fstab": ("# by hand\ntmpfs /dev/shm tmpfs nodev 0 0\n/dev/sda1 / xfs ro 0 0\n", 0o644),
    "home/ann/notes": ("hers\n", 0o600),
    "var/log/audit/.keep": ("", 0o600),
    "boot/efi/EFI/vendor/grub.cfg": ("menu\n", 0o700),
}
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "var/lib/rpm", "var/cache/dnf")


def plant(folder: Path) -> Path:
    """The folder of a stage `configure` whose root has files of several owners and kinds."""
    root = folder / "root"
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name, (text, mode) in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    (root / "tmp").chmod(0o1777)
    (root / "bin").symlink_to("usr/bin")
    (root / "etc/dangling").symlink_to("./nowhere/")
    os.link(root / "usr/bin/tool", root / "usr/bin/tool-too")
    os.mkfifo(root / "run-queue")
    os.setxattr(root / "usr/bin/ping", "security.capability", CAPABILITY)
    for name in ("home/ann", "home/ann/notes"):
        os.chown(root / name, 1000, 1000)
    return folder


def definition(**given: Any) -> Definition:
    """A definition with two disks' file systems, a memory one, and what a test wants otherwise."""
    partitions = [
        {"mount": "/", "size_mib": 24},
        {"mount": "/boot/efi", "size_mib": 40, "filesystem": "vfat", "options": ["umask=0077"]},
        {"mount": "/var", "size_mib": 8, "options": ["nodev"]},
        {"mount": "/var/log/audit", "size_mib": 8},
        {"mount": "/tmp", "size_mib": 64, "filesystem": "tmpfs", "options": ["nodev", "nosuid"]},
    ]
    values: dict[str, Any] = {
        "name": "small-node", "title": "A small tree", "date": "2026-01-02", "release": 9,
        "profile": "cis_l1_server", "partitions": partitions, "formats": ["raw"],
        "kernel": {"arguments": ["console=ttyS0"]}, "root": {"verity": True},
    }  # fmt: skip
    return Definition.model_validate({**values, **given})


def run_stage(name: str, out: Path, inputs: Mapping[str, Path], wanted: Definition) -> Path:
    """Run one stage into the new folder `out`, which is returned."""
    stage = importlib.import_module(f"provision.image.stage_{name}")
    out.mkdir(parents=True)
    scratch = out.parent / f".scratch-{name}"
    scratch.mkdir(exist_ok=True)
    kept = wanted.model_copy()
    for field in set(type(wanted).model_fields) - set(stage.READS):
        kept.__dict__.pop(field)
    sandbox = Sandbox((out,), epoch=wanted.epoch, scratch=scratch)
    stage.run(Work(name, kept, stage.options(wanted, Given()), inputs, out, wanted.epoch, sandbox,
                   NullSink()))  # fmt: skip
    return out


def kernel_stage(folder: Path) -> Path:
    """What stage kernel leaves, without a kernel in it."""
    folder.mkdir(parents=True)
    for name, text in (("vmlinuz", "kernel"), ("initrd", "initrd"), ("uki.efi", "both" * 9000)):
        (folder / name).write_text(text)
    (folder / "kver").write_text("6.1.0\n")
    return folder


def stub(folder: Path) -> Path:
    """A PE program that does nothing, to be what systemd's stub is."""
    source = folder / "stub.c"
    source.write_text("int efi_main(void) { return 0; }\nint held = 1;\n")
    made = folder / "stub.so"
    subprocess.run(["gcc", "-nostdlib", "-shared", "-fPIC", "-o", made, source], check=True)
    target = folder / "linuxx64.efi.stub"
    subprocess.run(["objcopy", "-j", ".text", "-j", ".data", "--target=efi-app-x86_64", made,
                    target], check=True)  # fmt: skip
    return target
