"""No test is left out unseen: a skip that no need of `tests/needs.py` accounts for is a failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import NEEDS

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """\
import pytest
from tests.needs import NEEDS, Need

NEEDS["met"] = Need(lambda: True, "there is this", "shown here")
NEEDS["unmet"] = Need(lambda: False, "there is no that", "shown there")
"""
CASES = {
    "in_the_test": ("def test_x(): pytest.skip('not today')", "failed"),
    "by_a_mark": ("@pytest.mark.skip(reason='not today')\ndef test_x(): pass", "failed"),
    "by_a_condition": ("@pytest.mark.skipif(True, reason='not today')\ndef test_x(): 1", "failed"),
    "in_a_fixture": (
        "@pytest.fixture\ndef f(): pytest.skip('not today')\ndef test_x(f): pass",
        "failed",
    ),
    "a_file": ("pytest.skip('not today', allow_module_level=True)", "failed"),
    "a_library": ("pytest.importorskip('no_such_library')", "failed"),
    "a_need_that_is_met": ("def test_x(): pytest.skip(NEEDS['met'].says)", "failed"),
    "met": ("@pytest.mark.needs('met')\ndef test_x(): pass", "passed"),
    "unmet": ("@pytest.mark.needs('met', 'unmet')\ndef test_x(): assert False", "skipped"),
    "a_need_that_nobody_knows": ("@pytest.mark.needs('moon')\ndef test_x(): pass", "failed"),
    "expected_to_fail": (
        "@pytest.mark.xfail(strict=True)\ndef test_x(): assert False",
        "xfailed",
    ),
}
"""Files of tests, and what comes of them."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """What came of each file, as pytest with this checkout's settings says it."""
    folder = tmp_path_factory.mktemp("cases")
    for name, (text, _) in CASES.items():
        (folder / f"test_{name}.py").write_text(f"{BEGIN}\n{text}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider",
         "-p", "no:xdist", "--continue-on-collection-errors", "-rA", folder],
        cwd=ROOT, env={**os.environ, "COLUMNS": "1000"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    found: dict[str, str] = {}
    for line in done.stdout.partition("short test summary info")[2].splitlines():
        said = re.match(r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b.*?test_(\w+)\.py", line)
        if said:
            found[said[2]] = line
    return found


WORDS = {
    "passed": "PASSED",
    "failed": ("FAILED", "ERROR"),
    "skipped": "SKIPPED",
    "xfailed": "XFAIL",
}


@pytest.mark.parametrize("name", CASES)
def test_only_a_need_that_is_not_met_skips(outcomes, name):
    ends = CASES[name][1]
    assert outcomes[name].startswith(WORDS[ends])
    if ends == "failed":
        assert "skipped without a need" in outcomes[name]
    if ends == "skipped":
        assert outcomes[name].endswith("there is no that; shown there")


def test_each_need_says_why_and_what_shows_it_elsewhere():
    assert all(need.why and need.elsewhere for need in NEEDS.values())
