"""Builds the simulated libraries with the host's C compiler, once for each source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from provision.core.events import EventSink, NullSink
from provision.rehearsal.cache import digest_of, made_once
from provision.rehearsal.shell import run

SOURCES = Path(__file__).with_name("c")
NVML = "libnvidia-ml.so.1"
CUDA = "libcuda.so.1"
SMI = "nvidia-smi"
FLAGS = (
    "-std=gnu11", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden",
    "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """Where the simulated driver's files lie: two libraries and a program in one folder."""

    folder: Path
    version: str

    @property
    def nvml(self) -> Path:
        """The library with NVML's ABI."""
        return self.folder / NVML

    @property
    def cuda(self) -> Path:
        """The library with the few calls of the CUDA driver that a proof needs."""
        return self.folder / CUDA

    @property
    def smi(self) -> Path:
        """The program."""
        return self.folder / SMI

    def environment(self, state: Path) -> dict[str, str]:
        """Variables by which a program finds the libraries and they find their state."""
        return {"LD_LIBRARY_PATH": str(self.folder), "HOLDFAST_GPUS_STATE": str(state)}


def build(version: str, *, lacks: Iterable[str] = (), events: EventSink | None = None) -> Built:
    """Build the driver's userland, or find it in the cache.

    Args:
        version: what the library says it is.
        lacks: functions that it does not export, because the real one of that age does not.
        events: is told when there is something to build.

    Raises:
        HoldfastError: there is no gcc, or it refused.
    """
    missing = sorted(set(lacks))
    texts = [path.read_bytes() for path in sorted(SOURCES.iterdir())]
    key = digest_of(
        [*texts, Path(__file__).read_bytes(), version.encode(), *map(str.encode, missing)]
    )

    def make(part: Path) -> None:
        hidden = part / "hidden"
        names = "".join(f"{name}; " for name in missing)
        hidden.write_text(f"{{ local: {names}}};\n" if missing else "{ };\n")
        define = f'-DSIMULATED_VERSION="{version}"'
        common = ["gcc", *FLAGS, define]
        shared = [*common, "-shared", f"-Wl,--version-script={hidden}"]
        run([*shared, f"-Wl,-soname,{NVML}", "-o", part / NVML, *sorted(SOURCES.glob("nvml*.c")),
             SOURCES / "sim.c", "-lm", "-lpthread"])  # fmt: skip
        run([*shared, f"-Wl,-soname,{CUDA}", "-o", part / CUDA, SOURCES / "cuda.c",
             SOURCES / "sim.c", "-lm", "-lpthread"])  # fmt: skip
        run([*common, "-o", part / SMI, SOURCES / "smi.c", "-ldl"])
        hidden.unlink()

    folder = made_once(f"gpu-driver-{version}", key, make, events or NullSink(),
                       says="building the simulated GPU driver")  # fmt: skip
    return Built(folder, version)
