"""How long a profile's settings take, beside the playbook that the SCAP content itself ships.

    python benchmarks/hardening.py --ansible ANSIBLE --playbook PLAYBOOK

Two nodes that are twins: same base, same packages, AIDE's first database made beforehand. On one
the three roles that apply a profile run twice; on the other the content's playbook runs, as it is
but for `ignore_errors`, so that one task that fails there does not end it. One ansible-playbook and
one callback time both, so that what is compared is the ratio of one run, not two clocks.

ANSIBLE is an `ansible-playbook` of the package `ansible`, whose collections the content's playbook
needs: `python -m venv V && V/bin/pip install ansible`. PLAYBOOK is
rhel10-playbook-cis_server_l1.yml of scap-security-guide 0.1.76: on EL in
/usr/share/scap-security-guide/ansible, in Debian 13 in the package ssg-nondebian; or the site.yml
of another project for the same profile. Package transactions are left out on both sides. Run it on
a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
OURS, THEIRS = "n1", "n2"
PACKAGES = {"package", "dnf", "yum", "dnf5", "holdfast.core.packages"}
"""Actions that are package transactions, without the name of Ansible's own collection."""
LEFT_OUT = ("repositories", "base", "time", "container_runtime", "model_store", "inference")


@dataclass(frozen=True)
class Task:
    """A task as one node ended it: seconds of wall time, and its status."""

    name: str
    action: str
    seconds: float
    status: str
    result: dict[str, Any]

    @property
    def is_setting(self) -> bool:
        """Whether it is no package transaction."""
        return self.action.removeprefix("ansible.builtin.") not in PACKAGES


class Bench:
    """A rack of two twins, and one ansible-playbook that changes them."""

    def __init__(self, rack: dict[str, Any], ansible: Path, folder: Path) -> None:
        self.rack = rack
        self.ansible = ansible
        self.folder = folder
        self.inventory = Path(rack["inventory"])
        known = folder / "known_hosts"
        declared = yaml.safe_load(self.inventory.read_text(encoding="utf-8"))
        known.write_text("".join(_host_keys(declared)), encoding="utf-8")
        # By Ansible's own default this comes after the path of the checkout.
        collections = f"{ROOT / 'provision/collections'}:~/.ansible/collections"
        self.environment = {
            **os.environ,
            "NO_COLOR": "1",
            "ANSIBLE_CONFIG": os.fspath(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_ROLES_PATH": os.fspath(ROOT / "roles"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s"
            f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}",
        }

    def holdfast(self, *words: str) -> None:
        """Run holdfast inside the rack's network; its failure ends the benchmark."""
        argv = [*self.rack["inside"], sys.executable, "-m", "provision.cli.main", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def controls(self) -> Path:
        """The profile's controls for our node, rendered as `holdfast up` does."""
        argv = [sys.executable, "-m", "provision.cli.render"]
        argv += [os.fspath(self.inventory), OURS, "el10"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
        path = self.folder / "controls.json"
        path.write_text(done.stdout, encoding="utf-8")
        return path

    def play(self, playbook: str, node: str, **variables: Any) -> list[Task]:
        """Run a playbook on one node; its tasks in order."""
        values = self.folder / "variables.json"
        values.write_text(json.dumps(variables), encoding="utf-8")
        argv = [
            *self.rack["inside"], os.fspath(self.ansible), "-i", os.fspath(self.inventory),
            "--limit", node, "--become", "--extra-vars", f"@{values}", playbook,
        ]  # fmt: skip
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, cwd=ROOT, env=self.environment
        )
        begin = done.stdout.find("{")
        if begin < 0:
            sys.exit(f"{' '.join(argv)} said no JSON:\n{done.stdout}{done.stderr}")
        document = json.JSONDecoder().raw_decode(done.stdout[begin:])[0]
        return [task for play in document["plays"] for task in _tasks(play, node)]


def _host_keys(declared: dict[str, Any]) -> list[str]:
    found = []
    waiting = [declared]
    while waiting:
        group = waiting.pop()
        for name, host in (group.get("hosts") or {}).items():
            if isinstance(host, dict) and "holdfast_host_keys" in host:
                where = host.get("ansible_host", name)
                found += [f"{where} {key}\n" for key in host["holdfast_host_keys"]]
        waiting += [g for g in (group.get("children") or {}).values() if isinstance(g, dict)]
        waiting += [g for k, g in group.items() if k not in ("hosts", "children", "vars")
                    and isinstance(g, dict)]  # fmt: skip
    return found


def _tasks(play: dict[str, Any], node: str) -> list[Task]:
    found = []
    for task in play["tasks"]:
        result = task["hosts"].get(node)
        if result is None:
            continue
        begin, end = (_seconds(task["task"]["duration"].get(k)) for k in ("start", "end"))
        status = next((s for s in ("skipped", "failed", "unreachable") if result.get(s)), "done")
        action = str(result.get("action", ""))
        found.append(Task(task["task"]["name"], action, max(0.0, end - begin), status, result))
    return found


def _seconds(stamp: str | None) -> float:
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def settings(tasks: list[Task]) -> float:
    """Seconds of the tasks that are settings, skipped ones too: they cost their conditions."""
    return sum(task.seconds for task in tasks if task.is_setting)


def told(title: str, tasks: list[Task]) -> None:
    """Print what became of a run."""
    counts = Counter(task.status for task in tasks if task.is_setting)
    node = [task.result["seconds"] for task in tasks if "seconds" in task.result]
    passes = f"; the passes themselves {sum(node):.2f} s on the node" if node else ""
    words = ", ".join(f"{counts[s]} {s}" for s in ("done", "skipped", "failed") if counts[s])
    print(f"{title}: {settings(tasks):.1f} s, tasks {words}{passes}", flush=True)


def ours(bench: Bench) -> list[Task]:
    """The three roles that apply the profile."""
    phases = dict.fromkeys(LEFT_OUT, "!all")
    controls = {OURS: {"el10": os.fspath(bench.controls())}}
    tasks = bench.play(
        "holdfast.core.site", OURS, engine_phase_hosts=phases, engine_controls=controls
    )
    failed = [task for task in tasks if task.status in ("failed", "unreachable")]
    if failed:
        sys.exit(f"{failed[0].name}: {failed[0].result.get('msg')}")
    return tasks


def theirs(bench: Bench, playbook: Path) -> list[Task]:
    """The other playbook, as it is but for `ignore_errors`."""
    plays = yaml.safe_load(playbook.read_text(encoding="utf-8"))
    for play in plays:
        play["ignore_errors"] = True
    return bench.play(_written(bench, plays), THEIRS)


def _written(bench: Bench, plays: list[dict[str, Any]]) -> str:
    path = bench.folder / "playbook.yml"
    path.write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    return os.fspath(path)


def wanted(controls: Path) -> list[str]:
    """The packages that controls ask for."""
    rendered = json.loads(controls.read_text(encoding="utf-8"))
    resources = [r for control in rendered for r in control["resources"]]
    kept = [r for r in resources if r["type"] == "package" and r.get("state") != "absent"]
    return sorted({r["name"] for r in kept})


def twins(bench: Bench) -> None:
    """Bring both to where only settings differ: packages and AIDE's database are there."""
    bench.holdfast("up", os.fspath(bench.inventory))
    text = bench.inventory.read_text(encoding="utf-8")
    adopted = "[{name: gpu_host, owner: a benchmark, expires: 2099-01-01}]"
    bench.inventory.write_text(
        text.replace(
            "holdfast_profile: none",
            f"holdfast_profile: cis_l1_server\n    holdfast_overlays: {adopted}",
        ),
        encoding="utf-8",
    )
    names = [*wanted(bench.controls()), "scap-security-guide"]
    make = "test -e /var/lib/aide/aide.db.gz || { aide --init && mv /var/lib/aide/aide.db.new.gz "
    make += "/var/lib/aide/aide.db.gz; }"
    tasks = [
        {"name": "Packages", "ansible.builtin.dnf": {"name": names, "state": "present"}},
        {"name": "AIDE", "ansible.builtin.shell": make},
    ]
    for node in (OURS, THEIRS):
        found = bench.play(_written(bench, [{"hosts": "all", "tasks": tasks}]), node)
        failed = [task for task in found if task.status == "failed"]
        if failed:
            sys.exit(f"{node}: {failed[0].name}: {failed[0].result.get('msg')}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--ansible", type=Path, required=True)
    parser.add_argument("--playbook", type=Path, required=True)
    args = parser.parse_args()
    argv = [sys.executable, "-m", "provision.cli.main", "rehearse", "--start-only", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    rack = json.loads(done.stdout)
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(rack, args.ansible.absolute(), Path(folder))
            twins(bench)
            first = ours(bench)
            told("Holdfast, first run", first)
            told("Holdfast, second run", ours(bench))
            other = theirs(bench, args.playbook)
            told("the other playbook", other)
            print(f"ratio: {settings(other) / settings(first):.1f}")
    finally:
        subprocess.run([*argv[:4], "--down", rack["name"]], check=False, cwd=ROOT)


if __name__ == "__main__":
    main()
