"""The reference page of simulated GPUs, out of the models and the faults."""

from __future__ import annotations

from provision.rehearsal.gpu import models
from provision.rehearsal.gpu.faults import FAULTS
from provision.rehearsal.gpu.state import PLACE, VARIABLE

_INTRODUCTION = f"""\
# Simulated GPUs

`holdfast rehearse --gpus MODEL` gives the nodes of a rack GPUs that are not there: on the PCI bus,
under /proc and /dev, in NVML, and in the kernel's log. No part of the simulation comes from NVIDIA
and nothing computes. What every surface shows comes from one file, `{PLACE}` on the node, which
only the host can write; `{VARIABLE}` names another one to the libraries. Its schema is
[state.schema.json](../../provision/rehearsal/gpu/state.schema.json).

As on hardware, the driver is not there before its packages are installed and the node has started
since. The module is an object file that `modinfo` reads and no kernel would load. A container has
its host's kernel, so `lsmod` and /proc/modules do not show it; /sys/module does.

The simulated `nvidia-smi` knows `-L`, `-q -x`, `--query-gpu` and `--query-compute-apps`; it changes
nothing, so MIG cannot be set up with it. Models are files in `provision/rehearsal/gpu/models`.

"""

_FAULTS = """
## Faults

`holdfast rehearse --fault FAULT[:GPU] --on RACK/NODE` puts one into a node of a kept rack, and
`--fault none` takes all out again. What the kernel wrote to its log stays. *Surface* is where a
fault shows first, *action* what an audit should ask for.

"""


def page() -> str:
    """The page as Markdown."""
    rows = ["## Models\n", "| model | what it is | GPUs | PCI id | driver |",
            "|---|---|---|---|---|"]  # fmt: skip
    for name in models.names():
        one = models.load(name)
        count = len(one.slots)
        rows.append(
            f"| `{name}` | {one.title} | {count} x {one.gpu.name} | `{one.pci_id}` "
            f"| {one.driver.version} |"
        )
    listed = ["| fault | what goes wrong | surface | action |", "|---|---|---|---|"]
    listed += [f"| `{f.id}` | {f.says} | {f.surface} | {f.action} |" for f in FAULTS.values()]
    return _INTRODUCTION + "\n".join(rows) + "\n" + _FAULTS + "\n".join(listed) + "\n"
