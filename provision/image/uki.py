"""One file that firmware starts: kernel, initial RAM disk and command line in a PE image.

The parts become sections behind those of systemd's stub, as systemd-stub(7) reads them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

from provision.core.problems import fail
from provision.image.sandbox import Sandbox

_PAGE = 4096
_SECTION = re.compile(r"^\s*\d+ (\S+)\s+([0-9a-f]+)\s+([0-9a-f]+)", re.MULTILINE)
STUBS = {"x86_64": "linuxx64.efi.stub", "aarch64": "linuxaa64.efi.stub"}
"""The file name of the stub by architecture."""
PLACE = "usr/lib/systemd/boot/efi"
"""Where systemd's stub lies in a system."""


def find_stub(root: Path, arch: str) -> Path:
    """The stub of the image's own system, else of this one.

    Raises:
        HoldfastError: neither has it.
    """
    for base in (root, Path("/")):
        found = base / PLACE / STUBS[arch]
        if found.is_file():
            return found
    raise fail("no-stub", f"neither the image nor this machine has {PLACE}/{STUBS[arch]}",
               hint="install systemd-boot-unsigned (EL) or systemd-boot-efi (Debian)")  # fmt: skip


def write_uki(sandbox: Sandbox, stub: Path, sections: Mapping[str, Path], target: Path) -> None:
    """Write `target` from the stub and sections by name (``.linux``), in the order given.

    Raises:
        HoldfastError: objcopy is missing or failed.
    """
    end = max(at + size for size, at in _sections(sandbox, stub))
    words: list[str] = []
    for name, source in sections.items():
        end = -(-end // _PAGE) * _PAGE
        words += [f"--add-section={name}={source}", f"--set-section-flags={name}=data,readonly",
                  f"--change-section-vma={name}={end:#x}"]  # fmt: skip
        end += source.stat().st_size
    sandbox.run(["objcopy", *words, stub, target])
    _settle(target)


def _sections(sandbox: Sandbox, image: Path) -> list[tuple[int, int]]:
    """Size and address of each section, in bytes."""
    listed = sandbox.run(["objdump", "--section-headers", image])
    return [(int(size, 16), int(at, 16)) for _, size, at in _SECTION.findall(listed)]


def _settle(image: Path) -> None:
    """Set the time of linking and the checksum to zero; nobody checks them in an application."""
    with image.open("r+b") as stream:
        stream.seek(0x3C)
        (header,) = struct.unpack("<I", stream.read(4))
        stream.seek(header)
        if stream.read(4) != b"PE\0\0":
            raise fail("bad-uki", "objcopy wrote no PE image", where=str(image))
        # Microsoft's PE format: 4 bytes signature, then TimeDateStamp at 4 of the file header of 20
        # bytes, then CheckSum at 64 of the optional header.
        for at in (header + 4 + 4, header + 4 + 20 + 64):
            stream.seek(at)
            stream.write(bytes(4))
