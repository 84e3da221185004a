"""A real Slurm cluster on loopback: controller, two nodes' daemons, munge, all in a network of
their own, in one temporary folder. Everything that is started is ended by its own process id.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ALL = 20
# Slurm resolves names only where there is an address beside 127.0.0.0/8; this one is for examples.
_NETWORK = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec sleep 86400"
_CONF = """\
ClusterName=holdfast
SlurmctldHost=localhost(192.0.2.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={at}/munge/socket
CredType=cred/munge
StateSaveLocation={at}/state
SlurmctldPidFile={at}/slurmctld.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdSpoolDir={at}/spool-%n
SlurmdPidFile={at}/slurmd-%n.pid
SlurmdLogFile={at}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/linear
SchedulerParameters=sched_interval=1,bf_interval=1
SchedulerType=sched/backfill
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MessageTimeout=5
SlurmdTimeout=300
SwitchType=switch/none
HealthCheckInterval={interval}
HealthCheckNodeState=ANY
HealthCheckProgram={at}/health
Prolog={at}/prolog
Epilog={at}/epilog
NodeName=DEFAULT CPUs=1 RealMemory=100
NodeName=n[1-{all}] NodeHostname=localhost NodeAddr=192.0.2.1 Port=[17001-{last}]
PartitionName=all Nodes=ALL Default=YES MaxTime=5 State=UP
PartitionName=few Nodes=n[1-3] MaxTime=5 State=UP
"""


@dataclass
class Cluster:
    """The cluster.

    Args:
        at: its folder.
        programs: the scripts that slurm.conf names: health, prolog, epilog.
        living: nodes whose slurmd runs; the controller knows the others by configuration only.
        interval: HealthCheckInterval, in seconds.
    """

    at: Path
    programs: dict[str, str]
    living: Sequence[str] = ("n1", "n2")
    interval: int = 0
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start everything, and wait until the living nodes have registered."""
        for name in ("state", "munge", *(f"spool-{n}" for n in self.living)):
            (self.at / name).mkdir(mode=0o755, parents=True)
        (self.at / "slurm.conf").write_text(
            _CONF.format(at=self.at, interval=self.interval, all=ALL, last=17000 + ALL)
        )
        for name, text in self.programs.items():
            (self.at / name).write_text(text)
            (self.at / name).chmod(0o755)
        key = self.at / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self._start("network", "unshare", "--net", "sh", "-c", _NETWORK)
        inside = Path(f"/proc/{self.running['network'].pid}/ns/net")
        own = Path("/proc/self/ns/net").readlink()
        until(lambda: inside.readlink() != own, "a network of its own")
        until(lambda: self.inside("ip", "-o", "addr").stdout.count("192.0.2.1"), "loopback")
        munge = self.at / "munge"
        self._daemon("munged", "-F", "--force", f"--socket={munge}/socket", f"--key-file={key}",
                     f"--pid-file={munge}/pid", f"--log-file={munge}/log",
                     f"--seed-file={munge}/seed")  # fmt: skip
        until((munge / "socket").exists, "munge")
        self.start_controller()
        for name in self.living:
            self._daemon("slurmd", "-D", "-N", name)
        until(lambda: all(self.state(n) in ("IDLE", "IDLE+DRAIN") for n in self.living), "nodes")

    def start_controller(self) -> None:
        """Start the controller and wait until it answers."""
        self._daemon("slurmctld", "-D")
        until(lambda: self._answers("slurmctld", "scontrol", "ping"), "the controller")

    def stop_controller(self) -> None:
        """End the controller."""
        self._end("slurmctld")

    def stop(self) -> None:
        """End everything."""
        for name in list(reversed(self.running)):
            self._end(name)

    def inside(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the cluster's network with its configuration."""
        return subprocess.run(
            self._argv(argv), env={**self.environment, **environment}, capture_output=True,
            text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """What commands get."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_CONF": str(self.at / "slurm.conf")}

    def scontrol(self, *words: str) -> str:
        """What scontrol says; it must succeed, but may be asked again on a slow machine."""
        for _ in range(10):
            ran = self.inside("scontrol", *words)
            if "timed out" not in ran.stderr + ran.stdout:
                break
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran.stdout

    def field(self, node: str, name: str) -> str:
        """A field of a node."""
        lines = [x.strip() for x in self.scontrol("show", "node", node).splitlines()]
        return next((x.partition("=")[2] for x in lines if x.startswith(f"{name}=")), "")

    def state(self, node: str) -> str:
        """A node's state and flags."""
        return (self.field(node, "State").split() or [""])[0]

    def reason(self, node: str) -> str:
        """Why a node is drained, without who and when."""
        return self.field(node, "Reason").rpartition(" [")[0]

    def drained(self, node: str) -> bool:
        """Whether a node is drained."""
        return "DRAIN" in self.state(node)

    def _answers(self, daemon: str, *argv: str) -> bool:
        out = (self.at / f"{daemon}.out").read_text(errors="replace")
        assert self.running[daemon].poll() is None, f"{daemon} has ended: {out}"
        return self.inside(*argv).returncode == 0

    def _argv(self, argv: tuple[str, ...]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.running['network'].pid}/ns/net", *argv]

    def _daemon(self, *argv: str) -> None:
        name = " ".join(argv[-2:]) if argv[0] == "slurmd" else argv[0]
        self._start(name, *self._argv(argv))

    def _start(self, name: str, *argv: str) -> None:
        with (self.at / f"{name.replace(' ', '')}.out").open("ab") as out:
            self.running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv], env=self.environment, stdout=out,
                stderr=out, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def _end(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            return
        process.kill()
        process.wait(timeout=5)


def until(holds: Callable[[], object], what: str, patience: float = 300.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"waited {patience:g} s for {what}"
        time.sleep(0.1)
