"""What an image needs so that its nodes claim their identity: the program, its unit, the keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from provision.image.enrolment import program

UNIT = "holdfast-enrolment.service"
_UNITS = "/usr/lib/systemd/system"
_UNIT_TEXT = f"""\
[Unit]
Description=Claims this node's identity, once
After=network.target sshd-keygen.service sshd-keygen.target
Wants=sshd-keygen.target
ConditionPathExists=!{program.DONE}

[Service]
ExecStart=/usr/bin/python3 -I {program.PROGRAM}
Restart=on-failure
RestartSec=10
UMask=0022

[Install]
WantedBy=multi-user.target
"""


class Planted(NamedTuple):
    """A file of root's, or a link where `mode` is None; `path` begins with a slash."""

    path: str
    text: str
    mode: int | None = None


def planted(keys: Sequence[str]) -> list[Planted]:
    """The files of an image whose nodes obey answers that one of `keys` signed; none without."""
    if not keys:
        return []
    rule = f'{program.SIGNER} namespaces="{program.NAMESPACE}"'
    return [
        Planted(program.PROGRAM, Path(program.__file__).read_text(encoding="utf-8"), 0o755),
        Planted(program.SIGNERS, "".join(f"{rule} {key}\n" for key in keys), 0o644),
        Planted(f"{_UNITS}/{UNIT}", _UNIT_TEXT, 0o644),
        # Its vendor's link: an administrator may mask the unit, and nothing has to enable it.
        Planted(f"{_UNITS}/multi-user.target.wants/{UNIT}", f"../{UNIT}"),
    ]
