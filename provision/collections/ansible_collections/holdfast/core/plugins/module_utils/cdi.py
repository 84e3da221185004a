# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""CDI specifications: what they offer, and whether that is what the node has. Runs nothing.

The files are YAML as nvidia-ctk writes it, read line by line: nodes have no YAML library.
"""

from __future__ import annotations

import re

KIND = "nvidia.com/gpu"
_KIND = re.compile(r"^\s*[\"']?kind[\"']?\s*:\s*[\"']?nvidia\.com/gpu\b", re.MULTILINE)
_DEVICES = re.compile(r"^(\s*-?\s*)devices\s*:", re.MULTILINE)
_NAME = re.compile(r"^(\s*-?\s*)name\s*:\s*[\"']?([^\"'\s]+)")
_LIBRARY = re.compile(r"libcuda\.so\.(\d+(?:\.\d+){1,2})\b")
_GPU = re.compile(r"^GPU (\d+):")
_PART = re.compile(r"^\s+MIG \S+\s+Device\s+(\d+):")


def is_ours(text: str) -> bool:
    """Whether a specification is about GPUs of NVIDIA."""
    return bool(_KIND.search(text))


def devices(text: str) -> set[str]:
    """Names of the devices of a specification, but those by UUID."""
    found, inside, depth = set(), False, -1
    for line in text.splitlines():
        if line and not line[0].isspace() and not line.startswith("-"):
            inside = line.startswith("devices:")
            continue
        name = _NAME.match(line) if inside else None
        if name is None:
            continue
        at = len(name.group(1))
        depth = at if depth < 0 else depth
        # Deeper names are those of environment variables, hooks and mounts.
        if at == depth and not name.group(2).startswith(("GPU-", "MIG-")):
            found.add(name.group(2))
    return found


def versions(text: str) -> set[str]:
    """Versions of the driver whose library the specification mounts."""
    return set(_LIBRARY.findall(text))


def wanted(listed: str) -> set[str]:
    """Names that the devices of ``nvidia-smi -L`` have in a specification."""
    parts: dict[str, list[str]] = {}
    index = ""
    for line in listed.splitlines():
        gpu, part = _GPU.match(line), _PART.match(line)
        if gpu:
            index = gpu.group(1)
            parts[index] = []
        elif part and index:
            parts[index].append("{0}:{1}".format(index, part.group(1)))
    names = {name for gpu, own in parts.items() for name in (own or [gpu])}
    return names | {"all"} if names else names


def stale(text: str, driver: str, names: set[str]) -> list[str]:
    """Why a specification does not describe the node; empty when it does."""
    if not text:
        return ["there is none"]
    if not is_ours(text):
        return ["it is not about {0}".format(KIND)]
    found = []
    if versions(text) != {driver}:
        seen = ", ".join(sorted(versions(text))) or "no driver"
        found.append("it is of {0}, {1} runs".format(seen, driver))
    offered = devices(text)
    if names - offered:
        found.append("it lacks {0}".format(", ".join(sorted(names - offered))))
    if offered - names:
        found.append("it has {0}".format(", ".join(sorted(offered - names))))
    return found
