"""Runs on a node, as root, and reads a job from standard input: audits the node once.

For nodes that have no audit installed. Program and declaration lie in a folder that only root can
enter and that is gone afterwards; nothing stays on the node. Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

PAUSE_S = 5.0
"""Between two looks: the first has nothing to compare counters with."""
SITE = "/etc/holdfast/health/checks.d"
OK, FINDINGS = 0, 1


def main() -> int:
    """Audit the node; the result goes to standard output."""
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGHUP, _ended)
    job = json.load(sys.stdin)
    os.umask(0o077)
    place = "/run" if Path("/run").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="holdfast-audit.", dir=place) as folder:
        return audited(job, Path(folder))


def _ended(number: int, frame: Any) -> NoReturn:
    del number, frame
    raise SystemExit(143)


def audited(job: dict[str, Any], folder: Path) -> int:
    """Run the program that the job holds, twice where the first look leaves rates open."""
    program, declaration = folder / "audit.pyz", folder / "expect.json"
    program.write_bytes(base64.b64decode(job["program"]))
    declaration.write_text(json.dumps(expected(job["expect"])), encoding="utf-8")
    argv = [
        sys.executable, "-I", str(program), "--json", "--expect", str(declaration),
        "--state", str(folder / "state"), "--patience", str(job["patience"]),
    ]  # fmt: skip
    if Path(SITE).is_dir():
        argv += ["--site", SITE]
    if job["under_load"]:
        _run(argv)  # what counters are before
        out = _run([*argv, "--under-load"])
    else:
        out = _usual(job, argv)
    sys.stdout.buffer.write(out[: job["most"] + 1])
    sys.stdout.flush()
    return OK


def _usual(job: dict[str, Any], argv: list[str]) -> bytes:
    out = _run(argv)
    if any(f["status"] == "unknown" for f in json.loads(out)["findings"]):
        time.sleep(PAUSE_S * job["patience"])
        out = _run(argv)
    return out


def _run(argv: list[str]) -> bytes:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            out, _ = process.communicate()
        except BaseException:
            process.terminate()  # which ends its probes, and what they started
            raise
    if process.returncode not in (OK, FINDINGS):
        raise SystemExit(process.returncode if process.returncode > 0 else 3)
    return out


def expected(declared: dict[str, Any]) -> dict[str, Any]:
    """What is declared for what this node is."""
    told = {}
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _, value = line.strip().partition("=")
        told[name] = value.strip("\"'")
    name = f"el{told.get('VERSION_ID', '').partition('.')[0]}-{platform.machine()}"
    if name not in declared:
        raise SystemExit(f"the stack lock has nothing for {name}, which the node is")
    found: dict[str, Any] = declared[name]
    return found


if __name__ == "__main__":
    sys.exit(main())
