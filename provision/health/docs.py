"""The reference pages of the audit, out of the data that the checks carry. Controller only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provision.health.checks.all import known
from provision.health.codes import table
from provision.health.probes.nvml import CODES
from provision.health.words import Check, Limit

FOLDER = "docs/reference/audit"
_NAMES = {"gpu": "GPUs", "log": "The kernel's log", "container": "Containers", "net": "Network",
          "host": "The host", "scheduler": "The scheduler", "security": "Security",
          "load": "Under load, by request"}  # fmt: skip
_KINDS = {
    "hardware": "gates",
    "decides": "gates when the line says Fatal",
    "notice": "is shown, never gates",
    "application": "is shown, never gates: a program was at fault",
}


def pages() -> dict[str, str]:
    """Every page by its path: an index, one for each check, and the tables of codes."""
    found = {f"{FOLDER}/README.md": index()}
    for check in known():
        found[f"{FOLDER}/{check.id}.md"] = page(check)
    for name in ("xid", "sxid"):
        found[f"{FOLDER}/{name}-codes.md"] = codes_page(name)
    return found


def index() -> str:
    """What the audit looks at, and how to read what it says."""
    lines = [_INTRODUCTION]
    group = ""
    for check in known():
        area = check.id.split(".")[0]
        if area != group:
            group = area
            lines += [
                f"\n## {_NAMES[area]}\n",
                "| check | holds when | severity |",
                "|---|---|---|",
            ]
        lines.append(f"| [{check.id}]({check.id}.md) | {check.title} | {check.severity} |")
    lines += ["\n## Answers of NVML\n", "| code | what the audit makes of it |", "|---|---|"]
    lines += [f"| {code} | {words} ({kind.replace('_', ' ')}) |"
              for code, (kind, words) in CODES.items()]  # fmt: skip
    return "\n".join(lines) + "\n"


def page(check: Check) -> str:
    """One check."""
    advice = f"{check.action.replace('_', ' ')}. {_sentence(check.advice)}"
    lines = [
        f"# {check.id}\n",
        f"Holds when {check.title}.\n",
        f"**What.** {check.what}\n",
        f"**Why.** {check.why}\n",
        f"**Signal.** `{check.signal}`\n",
        f"**When it fails.** Severity {check.severity}; action: {advice}\n",
        f"**What clears it.** {_sentence(check.clears)}",
    ]
    if check.limits:
        lines += ["\n**Limits.** A site sets its own under `limits` in the node's declaration.\n",
                  "| limit | value | range | for single models | source |",
                  "|---|---|---|---|---|"]  # fmt: skip
        lines += [_row(limit) for limit in check.limits]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _row(limit: Limit) -> str:
    models = ", ".join(f"{name}: {value:g}" for name, value in limit.models.items())
    return (
        f"| `{limit.name}` | {limit.value:g} {limit.unit} | {limit.least:g} to {limit.most:g} |"
        f" {models} | {limit.source} |"
    )


def codes_page(name: str) -> str:
    """A table of codes."""
    called = {"xid": "XID", "sxid": "SXid"}[name]
    lines = [
        f"# {called} codes\n",
        "What the audit makes of each code. A code that is not here is unknown, and gates.\n",
        *([_COMPARED] if name == "xid" else [_SAID]),
        "| code | what happened | what it does | severity | action |",
        "|---|---|---|---|---|",
    ]
    for code in table(name).values():
        cells = (str(code.code), code.says, _KINDS[code.kind], code.severity, code.action)
        lines.append(f"| {' | '.join(cells)} |".replace("_", " "))
    if name == "xid":
        lines += _compared()
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Published:
    """A code in NVIDIA's catalogue, and why ours is another where it is."""

    immediate: str
    look_into: str
    why: str

    @property
    def meant(self) -> tuple[str, str] | None:
        """Our kind and action with the same meaning; None where the catalogue leaves it open."""
        return _SAME.get(self.immediate)


def catalogue() -> dict[int, Published]:
    """NVIDIA's published catalogue, by code."""
    lines = Path(__file__).with_name("xid_catalogue.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {int(row[0]): Published(*row[1:]) for row in rows}


def _compared() -> list[str]:
    lines = [
        "\n## Beside NVIDIA's catalogue\n",
        "| code | NVIDIA: at once | NVIDIA: look into | ours | why another |",
        "|---|---|---|---|---|",
    ]
    ours = table("xid")
    for number, told in catalogue().items():
        cells = (str(number), f"`{told.immediate}`" if told.immediate else "none named",
                 f"`{told.look_into}`" if told.look_into else "",
                 ours[number].action.replace("_", " "), told.why)  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


_SAME = {
    "RESTART_APP": ("application", "restart_application"), "IGNORE": ("notice", "none"),
    "RESET_GPU": ("hardware", "reset_gpu"), "RESTART_BM": ("hardware", "reboot"),
    "RESTART_VM": ("hardware", "reboot"), "CONTACT_SUPPORT": ("hardware", "inspect"),
    "CHECK_MECHANICALS": ("hardware", "inspect"), "UPDATE_SWFW": ("hardware", "inspect"),
    "CHECK_UVM": ("hardware", "inspect"),
}  # fmt: skip
_COMPARED = """\
[Below](#beside-nvidias-catalogue) each code stands beside NVIDIA's published catalogue, with the
reason where ours says something else. NVIDIA itself says to read the driver's recovery action
rather than to interpret codes: `gpu.recovery` does, and is the graver of the two where both fail.
"""
_SAID = """\
A line that the switch's driver itself calls Fatal gates, whatever stands here.
"""


_INTRODUCTION = """\
# The node audit

`holdfast-health.pyz` looks at one node and says what fails, what to do about it, and what clears
it. It is one file for any Python from 3.9 on; nvidia-ml-py is inside, with its licence.

- Each probe looks in a process of its own with a deadline. One that hangs is stopped; one that the
  kernel does not let go of is reported and left behind, and no second one is started beside it.
- What could not be seen is `unknown`, and gates like a failure. NotSupported counts as not
  applicable only where the declared model does not have the feature.
- Rates need two audits of the same boot, and a folder to keep the first (`--state`). A counter
  that is zero passes at once; another one is unknown until the second audit.
- It looks at the node as it is. That says nothing about the node under load, which is tested by
  request only (`--under-load`, [how](../../how-to/audit-fleet.md#under-load)).

Exit codes: 0 nothing fails, 1 something fails or is unknown, 2 bad input, 3 could not run,
130 interrupted. `--format nagios` has Nagios' own: 0, 1, 2, 3. `--format slurm` prints one line
that begins with `holdfast:`, for HealthCheckProgram, prolog and epilog, and `--least` says from
which severity on a finding counts. `--from` shows a kept result, and refuses an old one.
`--textfile` is for Prometheus: a missing run shows as an old
`holdfast_audit_last_run_timestamp_seconds`.

A site's own checks are executables in a folder (`--site`), owned by root and writable by no one
else. Each prints one JSON object: `status` (pass, fail, not_applicable, unknown), `seen`, and what
else of `title`, `severity`, `expected`, `action`, `advice`, `clears`, `reason` it wants to say.
Its id is `site.` and the file's name without suffix; of two that come to one id none is run.
It has 10 s and 64 KiB for that, all of them together have 60 s; what takes more is unknown.

[XID codes](xid-codes.md) and [SXid codes](sxid-codes.md) say what each code of the driver means;
[the table of fixtures](fixtures.md) says on which nodes each check is seen to fail.
[The fault campaign](../../measurements/audit-campaign.tsv) puts faults into a node and lists what
the audit as it ships says of each."""
