"""The command on the node: ``holdfast-health.pyz`` or ``python -m provision.health``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from provision.health import calls, ended, render
from provision.health.audit import Options, audit, boot_id
from provision.health.checks.all import checks, known
from provision.health.expect import Expected, read_file
from provision.health.places import Mistake
from provision.health.probes.all import PROBES
from provision.health.slurm import cli as slurm
from provision.health.state import Busy, write_whole
from provision.health.words import PASS, SEVERITIES, NotIdle

OK, FINDINGS, BAD_INPUT, NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130
FORMATS = ("text", "json", "nagios", "slurm", "prometheus")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = _Parser(
        prog="holdfast-health",
        description="Look at this GPU node's health: what fails, what to do, what clears it.",
        epilog="`holdfast-health slurm --help` tells of the adapters for Slurm,"
        " `holdfast-health calls --help` of a list of all calls of NVML."
        " Exit codes: 0 nothing fails, 1 something fails or is unknown, 2 bad input,"
        " 3 could not run, 130 interrupted. --format nagios has Nagios' own: 0, 1, 2, 3.",
    )
    add = made.add_argument
    add("--expect", type=Path, metavar="FILE", help="what the node should be, as JSON")
    add("--format", choices=FORMATS, default="text", help="what is printed (default: %(default)s)")
    add("--json", action="store_const", const="json", dest="format", help="same as --format json")
    add("--all", action="store_true", help="text: show passing checks too")
    add(
        "--only",
        action="append",
        default=[],
        metavar="CHECK",
        help="judge only checks whose id begins so; may be given again",
    )
    add("--list", action="store_true", help="show every check and look at nothing")
    add(
        "--state",
        type=Path,
        metavar="DIR",
        help="keep counters for rates here; without it no rate is known",
    )
    add("--site", type=Path, metavar="DIR", help="executables with a site's own checks")
    add("--out", type=Path, metavar="FILE", help="write the JSON result here too, as a whole")
    add("--textfile", type=Path, metavar="FILE", help="write Prometheus metrics here, as a whole")
    add(
        "--from",
        type=Path,
        metavar="FILE",
        dest="kept",
        help="show a result that --out wrote instead of looking",
    )
    add(
        "--max-age",
        type=float,
        default=render.MAX_AGE_S,
        metavar="S",
        help="a result of this age does not count any more, for --from and in --textfile"
        " (default: %(default)g s)",
    )
    add(
        "--least",
        choices=SEVERITIES,
        default="info",
        help="slurm: findings below this severity do not count (default: %(default)s)",
    )
    add(
        "--under-load",
        action="store_true",
        help="before looking, put the GPUs under load with dcgmi, nvbandwidth and all_reduce_perf"
        " where they are installed, and judge what they say; takes many minutes, and is refused"
        " while anybody uses a GPU",
    )
    add(
        "--patience",
        type=float,
        default=1.0,
        metavar="N",
        help="stretch every deadline by this factor (default: %(default)g)",
    )
    add(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="look at this recorded tree instead of the running system",
    )
    add(
        "--nvml",
        default=os.environ.get("HOLDFAST_NVML_LIBRARY", ""),
        metavar="FILE",
        help="another libnvidia-ml.so.1 than the system's",
    )
    add(
        "--journal",
        default="",
        metavar="FILE",
        help="another journal: a file of journald (*.journal), or below --root a file with lines"
        " of `journalctl -k -o json`",
    )
    return made  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["slurm"]:
        return slurm.main(words[1:])
    if words[:1] == ["ended"]:
        return _ended(words[1:])
    if words[:1] == ["calls"]:
        return calls.main(words[1:])
    asked = parser().parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(asked)
    except Mistake as error:
        return _refuse(asked, BAD_INPUT, error.problems)
    except (Busy, NotIdle, OSError) as error:
        return _refuse(asked, NOT_RUN, [str(error)])
    except KeyboardInterrupt:
        return _refuse(asked, INTERRUPTED, ["interrupted"])


def _ended(words: list[str]) -> int:
    """For systemd: note how an audit ended."""
    made = _Parser(prog="holdfast-health ended", description="Note how an audit ended.")
    made.add_argument("--state", type=Path, required=True, metavar="DIR")
    try:
        ended.note(made.parse_args(words).state)
    except OSError as error:
        sys.stderr.write(f"holdfast-health: {error}\n")
        return NOT_RUN
    return OK


def _run(asked: argparse.Namespace) -> int:
    if asked.list:
        return _list(asked)
    if not 0.1 <= asked.patience <= 100:
        raise Mistake([f"--patience is {asked.patience:g}; it must be from 0.1 to 100"])
    result = _kept(asked) if asked.kept else _looked(asked)
    if asked.out:
        write_whole(asked.out, json.dumps(result) + "\n")
    if asked.textfile:
        write_whole(asked.textfile, render.as_textfile(result, asked.max_age))
    return _show(asked, result)


def _looked(asked: argparse.Namespace) -> dict[str, Any]:
    expected = read_file(asked.expect) if asked.expect else Expected()
    meant = known() if asked.under_load else checks()
    for prefix in asked.only:
        if not prefix.startswith("site.") and not any(c.id.startswith(prefix) for c in meant):
            raise Mistake([f"--only {prefix}: no check's id begins so"])
    options = Options(
        root=asked.root,
        library=asked.nvml,
        journal=asked.journal,
        state=asked.state,
        only=tuple(asked.only),
        site=asked.site,
        patience=asked.patience,
        under_load=asked.under_load,
    )
    return audit(checks(), PROBES, expected, options).to_json()


def _kept(asked: argparse.Namespace) -> dict[str, Any]:
    try:
        result = json.loads(asked.kept.read_text(encoding="utf-8"))
        old = render.stale(result, asked.max_age) or _earlier(asked, result)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OSError(f"{asked.kept}: there is no result of an earlier audit: {error}") from error
    if old:
        cut = ended.last_failure(asked.kept.parent)
        raise OSError(f"{asked.kept}: {old}" + (f"; {cut}" if cut else ""))
    found: dict[str, Any] = result
    return found


def _earlier(asked: argparse.Namespace, result: dict[str, Any]) -> str:
    """Why a result is not about this start of this node; a person may look at any."""
    if asked.format in ("nagios", "slurm") and result["boot"] != boot_id(asked.root):
        return "the last audit was before the node's last start"
    return ""


def _show(asked: argparse.Namespace, result: dict[str, Any]) -> int:
    status = OK if result["status"] == PASS else FINDINGS
    if asked.format == "json":
        text = json.dumps(result, indent=1) + "\n"
    elif asked.format == "nagios":
        text, status = render.as_nagios(result)
    elif asked.format == "slurm":
        text = render.as_reason(result, asked.least) + "\n"
        status = FINDINGS if render.gating(result, asked.least) else OK
    elif asked.format == "prometheus":
        text = render.as_textfile(result, asked.max_age)
    else:
        text = render.as_text(result, everything=asked.all)
    sys.stdout.write(text)
    sys.stdout.flush()
    return status


def _list(asked: argparse.Namespace) -> int:
    listed = known() if asked.under_load else checks()
    if asked.format == "json":
        told = [{"id": c.id, "title": c.title, "severity": c.severity} for c in listed]
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        sys.stdout.writelines(f"{c.id:28}{c.title}\n" for c in listed)
    return OK


def _refuse(asked: argparse.Namespace, status: int, problems: list[str]) -> int:
    """Say why there is no result, in the words of whoever asked."""
    text = "\n".join(problems)
    if asked.format == "json":
        sys.stdout.write(json.dumps({"error": text, "exit": status}, indent=1) + "\n")
    elif asked.format == "nagios":
        sys.stdout.write(f"HOLDFAST UNKNOWN - {problems[0]}\n")
        return render.NAGIOS["unknown"]
    elif asked.format == "slurm":
        sys.stdout.write(f"{render.TAG} the audit did not run: {problems[0]}\n")
    sys.stderr.write(f"holdfast-health: {text}\n")
    return status
