"""The emulator that runs virtual machines, and whether this machine's processor helps it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from provision.core.problems import fail

QUIET = ("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none")
"""A machine that has nothing but what it is given."""

_PROBE_S = 5.0


@dataclass(frozen=True)
class Accelerator:
    """What runs the machine's instructions. `why` says why not KVM ("" where it is)."""

    words: tuple[str, ...]
    why: str = ""

    @property
    def emulated(self) -> bool:
        """Whether each instruction is translated, which is many times slower."""
        return bool(self.why)

    @property
    def says(self) -> str:
        """For people."""
        return f"emulated, because {self.why}" if self.emulated else "run by KVM"


def accelerator(kernel: Path) -> Accelerator:
    """KVM where a guest really runs under it, else emulation.

    Decided by starting one: the device can be there and every guest hang or be refused.

    Args:
        kernel: the kernel that is started to see it, for this machine's architecture.

    Raises:
        HoldfastError: the emulator is not installed.
    """
    return _tried(emulator(), kernel)


def emulator() -> str:
    """The emulator of this machine's architecture.

    Raises:
        HoldfastError: it is not installed.
    """
    name = f"qemu-system-{os.uname().machine}"
    found = shutil.which(name)
    if found is None:
        raise fail("missing-tool", f"{name} is not installed, and a machine needs it",
                   hint="install qemu-system-x86 or qemu-system-arm")  # fmt: skip
    return found


def console() -> str:
    """What a guest's kernel calls its first serial port."""
    return "ttyAMA0" if os.uname().machine == "aarch64" else "ttyS0"


def _kind() -> tuple[str, ...]:
    return ("-machine", "virt" if os.uname().machine == "aarch64" else "q35")


@cache
def _tried(program: str, image: Path) -> Accelerator:
    words = (*_kind(), "-accel", "kvm", "-cpu", "host")
    argv = [program, *words, "-m", "512", *QUIET, "-serial", "stdio", "-no-reboot",
            "-kernel", os.fspath(image), "-append", f"console={console()} panic=-1"]  # fmt: skip
    try:
        tried = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                               timeout=_PROBE_S)  # fmt: skip
    except subprocess.TimeoutExpired:
        return _emulated("a guest that KVM was to run hung")
    # Without a root it ends in a panic, which is as far as it has to come.
    if tried.returncode == 0 and b"Kernel panic" in tried.stdout:
        return Accelerator((*words, "-smp", "2"))
    said = tried.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    return _emulated(f"KVM does not run a guest here ({said[0].rpartition(': ')[2]})")


def _emulated(why: str) -> Accelerator:
    # Some emulators leave wrong flags behind when this instruction is interrupted, and kernels use
    # it where they are told that it is there: they crashed in every other start.
    # Tables of five levels cost each access that misses, and a machine of this size needs none.
    cpu = "max" if os.uname().machine == "aarch64" else "max,la57=off,cx16=off"
    words = (*_kind(), "-accel", "tcg,thread=multi,tb-size=512", "-cpu", cpu, "-smp", "2")
    return Accelerator(words, why)
