"""Simulated GPUs on a rehearsal node.

Everything lies in one folder of the host, which the node has as `PLACE` and cannot write. A unit in
the node mounts the trees to where a kernel would show them, and again whenever they change: systemd
mounts /sys and /proc itself, after whatever it was asked to mount there from outside.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from provision.core.files import write_whole
from provision.rehearsal.gpu import journal, models, state, tree
from provision.rehearsal.gpu.models import DriverKind
from provision.rehearsal.gpu.state import State

PLACE = Path(state.PLACE).parent
UNIT = "holdfast-simulated-gpus"
FOLDER = f"/usr/lib/{UNIT}"
PROGRAM = f"{FOLDER}/show"

_SHOW = f"""\
#!/bin/sh
# Shows this rehearsal node its simulated GPUs, as a kernel shows real ones. Made by Holdfast.
set -eu
from={PLACE}

# What lies here are device files without a device; on this mount they open nothing.
mount -o remount,bind,ro,nodev,nosuid,noexec "$from"

# A kernel loads the module of the GPUs that it finds when it starts, if there is one.
once=/run/{UNIT}
if [ ! -e "$once" ]; then
    module=$(ls -t /usr/lib/modules/*/extra/nvidia.ko 2>/dev/null | head -n 1)
    if [ -n "$module" ]; then
        # What follows is that driver's, where the rack has more than one.
        version=$(modinfo -F version "$module")
        if [ -d "$from/drivers/$version" ]; then
            mount --bind "$from/drivers/$version" "$from"
            mount -o remount,bind,ro,nodev,nosuid,noexec "$from"
        fi
    fi
    mount --bind "$from/pci" /sys/bus/pci/devices
    if [ -n "$module" ]; then
        mount --bind "$from/driver" /proc/driver
        mount --bind "$from/module" /sys/module
        echo loaded >"$once"
    else
        : >"$once"
    fi
fi
[ -s "$once" ] && dev=$from/dev || dev=/nonexistent

for node in "$dev"/*; do
    [ -c "$node" ] || continue
    [ -e "/dev/${{node##*/}}" ] || : >"/dev/${{node##*/}}"
    mountpoint -q "/dev/${{node##*/}}" || mount --bind "$node" "/dev/${{node##*/}}"
done
for node in /dev/nvidia*; do
    [ -e "$node" ] && [ ! -e "$dev/${{node##*/}}" ] || continue
    umount "$node" 2>/dev/null || :
    rm -f "$node"
done

kept=/run/log/journal/$(cat /etc/machine-id)
mkdir -p "$kept"
[ -e "$kept/{UNIT}-start.journal" ] || python3 -I {FOLDER}/journal.py "$kept/{UNIT}-start.journal"
ln -sfn "$from/journal/kernel.journal" "$kept/{UNIT}.journal"
"""

_SERVICE = f"""\
[Unit]
Description=Simulated GPUs of a Holdfast rehearsal
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh {PROGRAM}

[Install]
WantedBy=sysinit.target
"""

_PATH = f"""\
[Unit]
Description=Changes to the simulated GPUs of a Holdfast rehearsal
# Its service comes after it, and before sysinit.target.
DefaultDependencies=no

[Path]
PathChanged={PLACE}/shown

[Install]
WantedBy=sysinit.target
"""


def folder_of(node: Path) -> Path:
    """The folder of a node's simulated GPUs."""
    return node / "gpus"


def prepare(
    node: Path, machine: uuid.UUID, shown: State, drivers: Sequence[DriverKind] = ()
) -> None:
    """Give a node that does not run yet its GPUs.

    Args:
        node: the node's own folder, with its layer `upper`.
        machine: the node's machine id.
        shown: the state to begin with.
        drivers: the driver that it is of, and others that its packages may bring; the module that
            is there when the node starts says which one it is.
    """
    upper = node / "upper"
    units = upper / "etc/systemd/system"
    files = {
        upper / PROGRAM.lstrip("/"): _SHOW,
        upper / FOLDER.lstrip("/") / "journal.py": Path(journal.__file__).read_text(),
        units / f"{UNIT}.service": _SERVICE,
        units / f"{UNIT}.path": _PATH,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for unit in ("service", "path"):
        wants = units / f"sysinit.target.wants/{UNIT}.{unit}"
        wants.parent.mkdir(parents=True, exist_ok=True)
        wants.symlink_to(f"/etc/systemd/system/{UNIT}.{unit}")
    for driver in drivers[1:]:
        (folder_of(node) / "drivers" / driver.version).mkdir(parents=True)
    if len(drivers) > 1:
        kept = json.dumps([one.model_dump(mode="json") for one in drivers])
        write_whole(folder_of(node) / "drivers.json", kept)
    show(node, machine, None, shown)


def arguments(node: Path) -> list[str]:
    """What systemd-nspawn is told of a node's GPUs; nothing for a node without."""
    folder = folder_of(node)
    if not folder.exists():
        return []
    # Its /sys has no folder of modules, and cannot get one once it runs.
    return [f"--bind={folder}:{PLACE}", "--tmpfs=/sys/module:mode=755"]


def show(node: Path, machine: uuid.UUID, boot: uuid.UUID | None, shown: State) -> None:
    """Let a node see this state from now on.

    Args:
        node: the node's own folder.
        machine: the node's machine id.
        boot: its boot id, None while it does not run.
        shown: the state.
    """
    if boot is not None:
        log = (line.model_copy(update={"boot": line.boot or boot.hex}) for line in shown.log)
        shown = shown.model_copy(update={"log": tuple(log)})
    folder = folder_of(node)
    drivers = _drivers(folder)
    for other in drivers[1:]:
        _lay(folder / "drivers" / other.version, machine, models.driven(shown, drivers[0], other))
    _lay(folder, machine, shown)


def _drivers(folder: Path) -> list[DriverKind]:
    """The drivers that a node may have; none where it has only the one of its model."""
    path = folder / "drivers.json"
    if not path.exists():
        return []
    return [DriverKind.model_validate(one) for one in json.loads(path.read_text(encoding="utf-8"))]


def _lay(folder: Path, machine: uuid.UUID, shown: State) -> None:
    """Everything that a node sees of a state, into one folder."""
    (folder / "journal").mkdir(parents=True, exist_ok=True)
    tree.lay(shown, folder)
    write_whole(folder / "journal/kernel.journal", journal.render(machine, kernel_lines(shown)))
    state.write(folder / "state.json", shown)
    write_whole(folder / "shown", f"{time.time_ns()}\n")


def kernel_lines(shown: State) -> Sequence[journal.Line]:
    """The state's log lines as the kernel's own, in order of time.

    A line that was written while the node did not run is of no start, and nobody saw it.
    """
    started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return [
        journal.Line(
            realtime_us=int(line.at * 1e6),
            monotonic_us=max(0, int((line.at - started) * 1e6)),
            boot=uuid.UUID(line.boot),
            fields=journal.kernel_fields(line.text, line.priority, uuid.UUID(line.boot)),
        )
        for line in sorted(shown.log, key=lambda line: line.at)
        if line.boot is not None
    ]


def current(node: Path) -> State:
    """What the node sees now.

    Raises:
        OSError: it has no simulated GPUs.
    """
    return state.read(folder_of(node) / "state.json")
