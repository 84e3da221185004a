"""What no committed file may hold: a registry's host, a machine's paths, marks of loose ends."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in parts, so that this file does not hold what it looks for.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "deb.deb" + "ian.org",
    "registry.npm" + "js",
    "docker" + ".io",
    "quay" + ".io",
    "ghcr" + ".io",
    "nvcr" + ".io",
    "hugging" + "face.co",
)
MACHINE_PATHS = re.compile(
    r"(?<![\w.-])/(?:work/(?:main|shared)|opt/pypi|opt/wheels|home/(?!(?:a|ann|open|rack|robot)\b)[a-z]+|root/\.pyenv)\b"
)
LOOSE_ENDS = re.compile(
    r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|# *no" + r"qa|type: *ig" + r"nore"
)


def committed_text() -> list[tuple[str, str]]:
    """Every committed text file: its path in the checkout, and its text."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    found = []
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        raw = path.read_bytes()
        if b"\0" not in raw[:4096]:
            found.append((name, raw.decode("utf-8", "replace")))
    return found


def registry_hosts(text: str) -> list[str]:
    return [host for host in REGISTRIES if host in text]


def hits(pattern: re.Pattern[str], files: list[tuple[str, str]]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in files
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_registry_host():
    assert [(n, h) for n, text in committed_text() for h in registry_hosts(text)] == []


def test_no_path_of_this_machine():
    files = [(n, t) for n, t in committed_text() if n != "tests/unit/test_committed_files.py"]
    assert hits(MACHINE_PATHS, files) == []


def test_no_loose_ends():
    code = [(n, t) for n, t in committed_text() if n.endswith((".py", ".yml", ".j2", ".sh"))]
    assert hits(LOOSE_ENDS, code) == []


@pytest.mark.parametrize("line", ["cd /work" + "/main", "x = '/root/.py" + "env/bin'"])
def test_planted_path_is_found(line):
    assert hits(MACHINE_PATHS, [("planted", line)])


@pytest.mark.parametrize("line", ["x = 1  # no" + "qa", "# TO" + "DO: later"])
def test_planted_loose_end_is_found(line):
    assert hits(LOOSE_ENDS, [("planted", line)])


def test_planted_host_is_found():
    assert registry_hosts("https://pypi" + ".org/simple")


def test_lock_has_a_hash_for_every_package():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [i for i, line in enumerate(lines) if "==" in line]
    assert len(pins) > 50
    assert [lines[i] for i in pins if "--hash=sha256:" not in lines[i + 1]] == []


def test_lock_names_every_dependency():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    for group in project["dependency-groups"].values():
        wanted += [entry for entry in group if isinstance(entry, str)]
    names = {re.split(r"[<>=~! \[]", w)[0].lower().replace("_", "-") for w in wanted}
    locked = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    assert names - locked == set()
