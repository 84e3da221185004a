"""One rehearsal node: a tree over the shared base, started and stopped with systemd-nspawn."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provision.core.problems import fail
from provision.rehearsal import identity, network
from provision.rehearsal.cache import remove_tree
from provision.rehearsal.gpu import onnode
from provision.rehearsal.gpu.state import State
from provision.rehearsal.shell import run

# Without these a node could set its host's clock, load modules or reach raw hardware.
_WITHHELD = "CAP_SYS_TIME,CAP_SYS_BOOT,CAP_SYS_MODULE,CAP_SYS_RAWIO"

# Starts the node again whenever it ends, as hardware does after a reboot, until it is told to stop.
# Should the rehearsal itself be killed, the kernel ends this loop and the node with it.
# Only the node enters its control group, not the loop: a group is split into parts for the node,
# and one that is split may hold no process itself.
_KEEP_RUNNING = """
while [ ! -e "$1/stopped" ]; do
    mkdir -p "$2"
    (echo "$BASHPID" >"$2/cgroup.procs" && exec "${@:3}")
    sleep 0.2
done
"""


@dataclass(frozen=True)
class Node:
    """A node's place: `folder` holds everything that is its own."""

    name: str
    index: int
    folder: Path
    namespace: str
    kind: str = "container"

    @property
    def address(self) -> str:
        """The node's address inside the rehearsal's network."""
        return network.node_address(self.index)

    @property
    def root(self) -> Path:
        """The node's file system as the host sees it."""
        return self.folder / "root"

    @property
    def host_key(self) -> str:
        """The node's public host key, without a comment."""
        text = (self.folder / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text()
        return " ".join(text.split()[:2])


def create(node: Node, base: Path, peers: dict[str, str], login_key: str) -> None:
    """Lay out the node's own files over `base`.

    Args:
        node: the node; its folder must not hold one yet.
        base: the folder of the node base.
        peers: name to address of all machines, for /etc/hosts.
        login_key: the public key that may log in as the rehearsal's user.
    """
    for name in ("upper", "work", "root", "containers"):
        (node.folder / name).mkdir(parents=True)
    upper = node.folder / "upper"
    hosts = "".join(f"{address} {name}\n" for name, address in peers.items())
    machine = uuid.uuid4().hex
    own = {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{hosts}",
        "etc/machine-id": f"{machine}\n",
        # The host may keep the pids controller in its first hierarchy, out of a node's reach.
        "etc/containers/containers.conf.d/10-rehearsal.conf": "[containers]\npids_limit = 0\n",
    }
    for path, text in own.items():
        _write(upper / path, text)
    _give_address(upper, base / "root", node.address)
    for folder in ("etc/ssh", f"home/{identity.USER}/.ssh"):
        (upper / folder).mkdir(parents=True, exist_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f",
         upper / "etc/ssh/ssh_host_ed25519_key"])  # fmt: skip
    home = upper / "home" / identity.USER
    account = next(
        line.split(":")
        for line in (base / "root/etc/passwd").read_text().splitlines()
        if line.startswith(f"{identity.USER}:")
    )
    (home / ".ssh/authorized_keys").write_text(login_key)
    for own_path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
        os.chown(own_path, int(account[2]), int(account[3]))
        own_path.chmod(0o600 if own_path.is_file() else 0o700)


def _give_address(upper: Path, tree: Path, address: str) -> None:
    """Configure the node's interface for whichever manager its base has."""
    if (tree / "usr/sbin/NetworkManager").exists():
        keyfile = upper / "etc/NetworkManager/system-connections/host0.nmconnection"
        _write(
            keyfile,
            "[connection]\nid=host0\ntype=ethernet\ninterface-name=host0\n\n"
            f"[ipv4]\nmethod=manual\naddress1={address}/24\n\n[ipv6]\nmethod=disabled\n",
        )
        # It ignores a connection that others can read.
        keyfile.chmod(0o600)
        return
    # Sorts before the 80-container-host0.network that systemd ships.
    _write(
        upper / "etc/systemd/network/10-host0.network",
        "[Match]\nName=host0\n\n[Network]\n"
        f"Address={address}/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def start(node: Node, base: Path, *, outlive: bool) -> int:
    """Mount the node's tree and boot it; returns the process id of what keeps it running.

    Args:
        node: a node that `create` laid out.
        base: the folder of the node base.
        outlive: whether the node goes on when this process ends.
    """
    if not os.path.ismount(node.root):
        # nodev: a device file that the node makes among its own files opens nothing of the host's.
        layers = (
            f"nodev,lowerdir={base}/root,upperdir={node.folder}/upper,workdir={node.folder}/work"
        )
        run(["mount", "-t", "overlay", "overlay", "-o", layers, node.root])
    argv = [
        "systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--boot",
        f"--directory={node.root}", f"--machine={node.namespace}-{node.index}",
        f"--hostname={node.name}", f"--network-bridge={network.bridge()}", "--capability=all",
        f"--drop-capability={_WITHHELD}", "--system-call-filter=@keyring bpf",
        f"--bind={node.folder}/containers:/var/lib/containers", "--console=pipe",
        *onnode.arguments(node.folder),
    ]  # fmt: skip
    return keep_running(node, argv, outlive=outlive)


def machine_id(node: Node) -> uuid.UUID:
    """What the node calls itself."""
    return uuid.UUID((node.folder / "upper/etc/machine-id").read_text().strip())


def boot_id(node: Node) -> uuid.UUID | None:
    """Names the node's present start; None while it does not run."""
    pid = _pid(node)
    own = machine_id(node).hex
    for one in _family(pid) if pid is not None else []:
        root = Path(f"/proc/{one}/root")
        try:
            if (root / "etc/machine-id").read_text().strip() == own:
                return uuid.UUID((root / "proc/sys/kernel/random/boot_id").read_text().strip())
        except OSError:
            continue
    return None


def show_gpus(node: Node, gpus: State) -> None:
    """Let the node see these simulated GPUs from now on; it must have been made with some."""
    onnode.show(node.folder, machine_id(node), boot_id(node), gpus)


def keep_running(node: Node, argv: Sequence[str], *, outlive: bool) -> int:
    """Run what the node is, inside the rack's network, and again whenever it ends.

    Args:
        node: a node that is not running.
        argv: the command; one of its words is `mark`'s, or names the node's root.
        outlive: whether it goes on when this process ends.
    """
    (node.folder / "stopped").unlink(missing_ok=True)
    tied = [] if outlive else ["setpriv", "--pdeathsig", "KILL"]
    child = ["setpriv", "--pdeathsig", "TERM"]
    with (node.folder / "console.log").open("ab") as console:
        process = subprocess.Popen(
            [*tied, *network.inside(node.namespace), "bash", "-c", _KEEP_RUNNING, "node",
             os.fspath(node.folder), os.fspath(_control_group(node)), *child, *argv],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            start_new_session=True,
        )  # fmt: skip
    (node.folder / "pid").write_text(f"{process.pid}\n")
    return process.pid


def mark(node: Node) -> str:
    """The file that a machine writes its process id to, by which its processes are known."""
    return os.fspath(node.folder / "machine.pid")


def wait_for_ssh(node: Node, deadline: float) -> None:
    """Wait until the node's SSH port accepts a connection.

    Args:
        node: a node that was started.
        deadline: when to give up, on the clock of `time.monotonic`.

    Raises:
        HoldfastError: it did not by then; the console log says more.
    """
    probe = f"exec 3<>/dev/tcp/{node.address}/22 && read -r -t 2 line <&3"
    while time.monotonic() < deadline:
        done = subprocess.run(
            [*network.inside(node.namespace), "bash", "-c", probe],
            stderr=subprocess.DEVNULL, check=False, timeout=10,
        )  # fmt: skip
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise fail(
        "node-start",
        "the node did not answer on its SSH port",
        where=node.name,
        hint=f"its console is in {node.folder / 'console.log'}",
    )


def stop(node: Node) -> None:
    """Stop the node at once, as a power cut does, and unmount its tree. Nothing is removed.

    A node whose folder is gone is stopped as well: its processes are known by their words.
    """
    with suppress(FileNotFoundError):
        (node.folder / "stopped").write_text("")
    pid = _pid(node)
    for first in [pid] if pid is not None else _members(node):
        for found in _family(first):
            _signal(found, signal.SIGKILL)
    end = time.monotonic() + 10
    while time.monotonic() < end and any(_alive(one) for one in _members(node)):
        for one in _members(node):
            _signal(one, signal.SIGKILL)
        time.sleep(0.05)
    (node.folder / "pid").unlink(missing_ok=True)
    _end_control_group(_control_group(node))
    if os.path.ismount(node.root):
        run(["umount", "--lazy", node.root])


def remove(node: Node) -> None:
    """Stop the node and remove everything it wrote."""
    stop(node)
    remove_tree(node.folder)


def _control_group(node: Node) -> Path:
    """The node's own control group.

    In a common one, units of the same name would share their groups over all nodes, and one
    node would now and then remove a group that another was about to start its unit in.
    """
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place) / f"holdfast-{node.namespace}-{node.index}"
    raise fail(
        "no-cgroup2",
        "the unified control group hierarchy is not mounted, and nodes need it",
        hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
    )


def _end_control_group(group: Path) -> None:
    """Kill what is left in a control group, and remove it."""
    end = time.monotonic() + 10
    while group.exists():
        try:
            (group / "cgroup.kill").write_text("1")
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _pid(node: Node) -> int | None:
    try:
        return int((node.folder / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _members(node: Node) -> list[int]:
    """Processes that belong to the node: their command line names its folder.

    What keeps it running comes first, or it would start what was ended again.
    """
    marks = {f"--directory={node.root}", mark(node)}
    keeper = ["bash", "-c", _KEEP_RUNNING, "node", os.fspath(node.folder)]
    keepers = []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if words[: len(keeper)] == keeper:
                keepers.append(int(entry.name))
            elif marks & set(words):
                found.append(int(entry.name))
    return keepers + found


def _family(pid: int) -> list[int]:
    """`pid` and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop(0)
        found.append(one)
        queue += children.get(one, [])
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
