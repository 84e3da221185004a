"""Which driver a CUDA toolkit or a container image needs. Pure data and rules.

Sources: CUDA Toolkit release notes, table "CUDA Toolkit and Corresponding Driver Versions"
(`TOOLKITS`); CUDA Compatibility, "Minor Version Compatibility", table 1 (`MAJORS`) and "Forward
Compatibility"; NVIDIA Data Center Drivers, "Supported Drivers and CUDA Toolkit Versions" (which
branches are long-term or production: `FORWARD_BRANCHES`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOOLKITS: dict[str, str] = {
    "11.8": "520.61.05",
    "12.0": "525.60.13",
    "12.1": "530.30.02",
    "12.2": "535.54.03",
    "12.3": "545.23.06",
    "12.4": "550.54.14",
    "12.5": "555.42.02",
    "12.6": "560.28.03",
    "12.8": "570.26",
    "12.9": "575.51.03",
    "13.0": "580.65.06",
    "13.1": "590.44.01",
}
"""The driver that came with a toolkit (Linux): with it, or a newer one, every feature works."""

MAJORS: dict[int, str] = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""The oldest driver that runs a program of any toolkit of this major version, with the features
that this driver has."""

FORWARD_BRANCHES = (535, 570, 580)
"""Branches on which an image may bring a newer user-space driver of its own (cuda-compat)."""

CONSUMER = re.compile(r"\b(GeForce|TITAN|Quadro|RTX)\b")
"""GPUs on which cuda-compat does not work, or not surely: it is for data center GPUs."""


@dataclass(frozen=True)
class Needs:
    """What a toolkit or an image asks for.

    `version` is CUDA's (``12.8``); `forward` says that the image holds cuda-compat of that
    version and uses it.
    """

    version: str
    forward: bool = False


@dataclass(frozen=True)
class Answer:
    """Whether a driver will do; `reason` and, where it will not, `action` in words.

    `limited` when it runs without the features that came with newer drivers.
    """

    ok: bool
    reason: str
    action: str = ""
    limited: bool = False


def gate(needs: Needs, driver: str, gpu: str | None = None) -> Answer:
    """Whether `driver` (``580.105.08``) runs what needs CUDA so; `gpu` is the model's name.

    Raises:
        ValueError: a version is not one.
    """
    wanted = _cuda(needs.version)
    have = numbers(driver)
    least = MAJORS.get(wanted[0])
    if least is None:
        return Answer(
            False,
            f"CUDA {wanted[0]} is not known here, so nothing says which driver it needs",
            "use a release of Holdfast that knows it, or an image of another CUDA",
        )
    if have >= numbers(least):
        return _new_enough(needs.version, driver, have)
    if needs.forward:
        return _forward(needs.version, driver, have[0], gpu)
    return Answer(
        False,
        f"CUDA {needs.version} needs driver {least} or newer, the lock has {driver}",
        "lock a newer driver, or an image of an older CUDA",
    )


def numbers(version: str) -> tuple[int, ...]:
    """A driver's version as numbers, to be compared.

    Raises:
        ValueError: it is not one.
    """
    if not re.fullmatch(r"\d+(\.\d+)+", version):
        raise ValueError(f"{version!r} is not a driver's version, such as 580.105.08")
    return tuple(int(part) for part in version.split("."))


def _cuda(version: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)*", version)
    if found is None:
        raise ValueError(f"{version!r} is not a version of CUDA, such as 12.8")
    return int(found[1]), int(found[2])


def _new_enough(version: str, driver: str, have: tuple[int, ...]) -> Answer:
    own = TOOLKITS.get(".".join(version.split(".")[:2]))
    if own is not None and have >= numbers(own):
        return Answer(True, f"driver {driver} has all that CUDA {version} asks for")
    came = f"came with driver {own}" if own else "is newer than this table"
    return Answer(
        True,
        f"CUDA {version} {came}; driver {driver} runs it by minor-version compatibility, without"
        " the features of newer drivers",
        limited=True,
    )


def _forward(version: str, driver: str, branch: int, gpu: str | None) -> Answer:
    if gpu is None or CONSUMER.search(gpu):
        return Answer(
            False,
            f"cuda-compat works on data center GPUs only, and this is {gpu or 'an unknown one'}",
            "lock a newer driver",
        )
    if branch not in FORWARD_BRANCHES:
        known = ", ".join(map(str, FORWARD_BRANCHES))
        return Answer(
            False,
            f"cuda-compat {version} does not run on driver branch {branch} ({known} are known)",
            "lock a driver of one of those branches",
        )
    return Answer(
        True,
        f"the image brings cuda-compat {version}, which runs on branch {branch} ({driver})",
        limited=True,
    )
