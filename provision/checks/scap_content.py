"""Which SCAP content judges a node: its distribution's own, by what the node says of itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

FOLDER = PurePosixPath("/usr/share/xml/scap/ssg/content")
"""Where scap-security-guide puts its content, on every EL."""


@dataclass(frozen=True)
class Choice:
    """The content for a node, and why it is this one."""

    path: PurePosixPath
    why: str


class NoContent(Exception):
    """There is no content for the node; the message says what was looked for."""


# By ID of os-release, what the file is called before and after the major release. The first that is
# on the node is taken. Rocky's package names its content rl; upstream has none for it.
_OWN = {
    "rhel": ("rhel",),
    "rocky": ("rl",),
    "almalinux": ("almalinux",),
    "centos": ("cs",),
    "ol": ("ol",),
}


def choose(release: dict[str, str], present: Collection[str]) -> Choice:
    """The content for a node.

    Args:
        release: its os-release.
        present: the names of the files in `FOLDER` on it.

    Raises:
        NoContent: it has none for its distribution and release.
    """
    name = release.get("ID", "")
    major = release.get("VERSION_ID", "").partition(".")[0]
    said = release.get("PRETTY_NAME") or f"{name} {major}"
    if not major.isdigit():
        raise NoContent(f"its os-release says no release: {said!r}")
    if "rehearsal" in name:
        own, why = ("rhel",), "a rehearsal is judged as the RHEL that it stands for"
    elif name in _OWN:
        own, why = _OWN[name], f"the distribution's own, for {said}"
    else:
        raise NoContent(
            f"no content is known for {said}; known are {', '.join(sorted(_OWN))}, and a release "
            "that is judged by another's content would be judged by the wrong rules"
        )
    wanted = [f"ssg-{one}{major}-ds.xml" for one in own]
    for file in wanted:
        if file in present:
            return Choice(FOLDER / file, why)
    there = ", ".join(sorted(present)) or "no content at all"
    raise NoContent(
        f"{' or '.join(wanted)} is not in {FOLDER} (there: {there}); "
        "the package scap-security-guide brings it"
    )
