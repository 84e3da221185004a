"""The reference page of the lint, out of what its checks say of themselves."""

from __future__ import annotations

from provision.image.lint.checks import CHECKS

FILE = "docs/reference/image-lint.md"
_INTRODUCTION = """\
# What must not be in an image

`holdfast image lint IMAGE|DIR` looks for it in a tree or in a built artefact (raw, qcow2, tar,
OCI), and the gate of every build looks for the same. A check that could not look counts like one
that found something. `--skip ID --because TEXT` leaves one out, and the reason stands in the
report; in a build none can be left out.

The programs that may run with another's rights are recorded for each image under
`images/privileged/`; `holdfast image lint IMAGE --of NAME --record` writes the list, which is then
looked at like any other change.

| check | holds when | severity |
|---|---|---|
"""


def page() -> str:
    """The page."""
    rows = [
        f"| [`{one.id}`](#{one.id}) | {one.title} | "
        f"{one.severity.value}{', never gates' if one.notes else ''} |"
        for one in CHECKS.values()
    ]
    parts = [
        f"\n## {one.id}\n\n{one.title}.\n\n**Why.** {one.why}\n\n"
        f"**What to do.** {_sentence(one.fix)}"
        for one in CHECKS.values()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n" + "\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    first = text[0].upper() if text[0].isalpha() else text[0]
    return f"{first}{text[1:]}."
