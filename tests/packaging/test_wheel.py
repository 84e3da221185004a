"""The built wheel: what is in it, and that it works in an empty environment, off the checkout.

Nothing is fetched: the wheel's dependencies come from the wheels that scripts/setup left behind,
each checked against its hash there.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from provision.cli.main import whole_parser
from provision.cli.registry import VERBS

ROOT = Path(__file__).resolve().parents[2]
WHEELS = Path(sys.prefix) / "wheels"
DATA = ("images", "profiles", "roles")
PLANTED = ("roles/vault_pass.txt", "profiles/secrets/api-key", "provision/__pycache__/x.pyc")
"""Files that .gitignore names: a build from the wrong place packs them."""

pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path, **more: str) -> str:
    """Run a command without anything of this environment, and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**environment, "XDG_STATE_HOME": str(cwd / "state"), **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{words} exited {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def source_files() -> list[str]:
    """What git tracks, and what it would track when added."""
    listing = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT
    ).split("\0")
    return sorted({name for name in listing if name and (ROOT / name).is_file()})


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """What the wheel is built from, listed once: a checkout may change while this runs."""
    return source_files()


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory) -> Path:
    """A wheel built through the sdist from a copy of the checkout with planted ignored files."""
    work = tmp_path_factory.mktemp("build")
    for name in sources:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, work / name)
    for name in PLANTED:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("must never leave this machine")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", work, cwd=work)
    (found,) = (work / "dist").glob("*.whl")
    assert len(list((work / "dist").glob("*.tar.gz"))) == 1
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of an empty environment into which only the wheel was installed."""
    assert WHEELS.is_dir(), "run scripts/setup: it keeps the wheels that this test installs from"
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=venv.parent)
    pip = (venv / "bin/python", "-m", "pip", "--isolated", "--disable-pip-version-check", "-qq")
    options = ("install", "--no-index", "--find-links", WHEELS, "--no-compile")
    run(*pip, *options, wheel, cwd=venv.parent)
    return venv / "bin"


def words_of(parser, *words):
    """What may stand between `holdfast` and options: each verb, and each word below one."""
    yield words
    for action in parser._actions:
        if type(action).__name__ == "_SubParsersAction":
            for name, child in action.choices.items():
                yield from words_of(child, *words, name)


STARTED = """
import contextlib, io, json, provision
from provision.cli.main import main, whole_parser
said = {"file": provision.__file__}
for words in words_of(whole_parser()):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*words, "--help"])
    said[" ".join(words)] = [code, out.getvalue()]
print(json.dumps(said))
"""


def test_wheel_holds_what_git_holds(sources, wheel):
    expected = set()
    for name in sources:
        top = name.split("/")[0]
        if top == "provision":
            expected.add(name)
        elif top in DATA:
            expected.add(f"provision/_data/{name}")
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    assert names == expected
    assert any(n.startswith("provision/_data/roles/") for n in names)


def test_planted_files_are_not_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert [n for n in archive.namelist() if "vault_pass" in n or "secrets/" in n] == []
        assert all(b"must never leave" not in archive.read(n) for n in archive.namelist())


def test_wheel_says_its_licences_and_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        head = Parser().parsestr(archive.read(metadata).decode())
        licences = {n.rsplit("/", 1)[-1] for n in archive.namelist() if "/licenses/" in n}
    assert head["License-Expression"] == "Apache-2.0 AND GPL-3.0-or-later"
    assert head["Requires-Python"] == ">=3.11"
    assert {"LICENSE", "GPL-3.0-or-later.txt"} <= licences


def test_installed_command_works_off_the_checkout(installed, tmp_path):
    text = run(installed / "holdfast", "--help", cwd=tmp_path)
    assert "verbs:" in text
    code = (
        "import json, provision; from provision.core import paths; "
        "print(json.dumps([provision.__file__, *(str(paths.data_dir(n)) for n in "
        f"{DATA!r}), str(paths.playbook('site'))]))"
    )
    places = json.loads(run(installed / "python", "-I", "-c", code, cwd=tmp_path))
    for place in places:
        assert place.startswith(str(installed.parent))
        assert Path(place).exists()


def test_installed_command_judges_inventory_and_lock(installed, tmp_path):
    lock = "tests/data/example/stack.lock.json"
    (tmp_path / lock).parent.mkdir(parents=True)
    shutil.copy(ROOT / lock, tmp_path / lock)
    shutil.copy(ROOT / "inventory.example.yml", tmp_path)
    run(installed / "holdfast", "inventory", "check", "inventory.example.yml", cwd=tmp_path)
    run(installed / "holdfast", "stack", "check", lock, cwd=tmp_path)


def test_every_verb_of_the_installed_command_starts(installed, tmp_path):
    """Each verb and each word below it, in one process: a module that stayed behind shows."""
    source = inspect.getsource(words_of) + STARTED
    said = json.loads(run(installed / "python", "-I", "-c", source, cwd=tmp_path))
    assert said.pop("file").startswith(str(installed.parent))
    assert said.keys() == {" ".join(words) for words in words_of(whole_parser())}
    assert {words.split(" ")[0] for words in said} == {"", *VERBS}
    assert len(said) > 2 * len(VERBS)
    for words, (code, text) in said.items():
        assert code == 0, (words, text)
        assert text.startswith(f"usage: holdfast {words}".rstrip()), words


def test_installed_ansible_finds_the_collection(installed, tmp_path):
    code = "from provision.core import paths; print(paths.collections_dir())"
    collections = run(installed / "python", "-I", "-c", code, cwd=tmp_path).strip()
    text = run(
        *(installed / "ansible-doc", "-t", "module", "holdfast.core.preflight"),
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=collections,
    )
    assert "holdfast.core.preflight" in text.lower()
