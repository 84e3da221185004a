"""`holdfast stack` and the comparison of files with their pins."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from provision.cli.main import main
from provision.cli.stack import size_text
from provision.supply.artefacts import check_files, pinned_files
from provision.supply.lock import load_lock
from provision.verdict.model import Status

EXAMPLE = Path(__file__).resolve().parents[1] / "data/example/stack.lock.json"
OPEN = '"licence_class": "open"'
COUNT = 78
"""Files that the example pins."""


@pytest.fixture
def site(tmp_path):
    """A lock whose files are all there: (path of the lock, folder of the files)."""
    data = json.loads(EXAMPLE.read_text())
    lock, _ = load_lock(EXAMPLE)
    folder = tmp_path / "files"
    digests = {}
    for pinned in pinned_files(lock):
        content = f"the bytes of {pinned.path}".encode()
        path = folder / pinned.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests[pinned.sha256] = (hashlib.sha256(content).hexdigest(), len(content))
    for entry in [
        *data["rpms"],
        *(i["archive"] for i in data["images"]),
        *(f for m in data["models"] for f in m["files"]),
        *data["wheels"],
    ]:
        sha256, size = digests[entry["sha256"]]
        entry["sha256"] = sha256
        if "size" in entry:
            entry["size"] = size
    path = tmp_path / "stack.lock.json"
    path.write_text(json.dumps(data, indent=2))
    return path, folder


def check(lock, folder, capsys):
    """Exit code and document of `stack check --files --json`."""
    code = main(["stack", "check", str(lock), "--files", str(folder), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_all_files_are_what_the_lock_pins(site, capsys):
    code, document = check(*site, capsys)
    assert code == 0
    assert document["schema"] == "holdfast.stack-check/1"
    assert document["status"] == "pass"
    assert len(document["artefacts"]) == COUNT
    assert {a["status"] for a in document["artefacts"]} == {"pass"}


def test_one_other_byte_is_found(site, capsys):
    lock, folder = site
    path = folder / "models/tiny/tiny.gguf"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    code, document = check(lock, folder, capsys)
    assert code == 1
    assert document["status"] == "fail"
    (bad,) = [a for a in document["artefacts"] if a["status"] != "pass"]
    assert bad["path"] == "models/tiny/tiny.gguf"
    assert bad["status"] == "fail"
    assert bad["seen"] != bad["expected"]


def test_other_size_is_found_without_reading(site, capsys):
    lock, folder = site
    path = folder / "images/llama-cpp.tar"
    path.write_bytes(path.read_bytes() + b"!")
    code, document = check(lock, folder, capsys)
    assert code == 1
    (bad,) = [a for a in document["artefacts"] if a["status"] != "pass"]
    assert "bytes instead of" in bad["seen"]


def test_missing_file_is_unknown_and_gates(site, capsys):
    lock, folder = site
    (folder / "images/llama-cpp.tar").unlink()
    code, document = check(lock, folder, capsys)
    assert code == 1
    assert document["status"] == "unknown"


def test_file_that_cannot_be_read_is_unknown(site):
    lock_path, folder = site
    path = folder / "images/llama-cpp.tar"
    size = path.stat().st_size
    path.unlink()
    path.mkdir()
    lock, _ = load_lock(lock_path)
    pins = lock.images[0].archive.model_copy(update={"size": path.stat().st_size})
    image = lock.images[0].model_copy(update={"archive": pins})
    (seen,) = [
        c
        for c in check_files(lock.model_copy(update={"images": (image,)}), folder)
        if c.pinned.kind == "image"
    ]
    assert size > 0
    assert seen.status is Status.UNKNOWN
    assert "cannot be read" in seen.seen


def test_nothing_there_is_unknown(tmp_path, capsys):
    assert main(["stack", "check", str(EXAMPLE), "--files", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert f"{COUNT} unknown" in text
    assert "0 pass" in text


def test_check_without_files_says_that_none_was_looked_at(capsys):
    assert main(["stack", "check", str(EXAMPLE)]) == 0
    assert "no file was looked at" in capsys.readouterr().out
    assert main(["stack", "check", str(EXAMPLE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files_looked_at"] is False


def test_folder_that_is_not_there(capsys):
    assert main(["stack", "check", str(EXAMPLE), "--files", "/nowhere"]) == 2
    assert "/nowhere is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["check", "show"])
def test_bad_lock_is_bad_input(action, tmp_path, capsys):
    path = tmp_path / "bad.json"
    path.write_text(EXAMPLE.read_text().replace(OPEN, '"licence_class": "x"'))
    assert main(["stack", action, str(path)]) == 2
    text = capsys.readouterr().err
    wrong = text.count("'x' is not 'open', 'redistributable' or 'proprietary'")
    assert wrong == EXAMPLE.read_text().count(OPEN)
    assert f"{path}:" in text


def test_show_lists_everything_with_licence_and_reason(capsys):
    assert main(["stack", "show", str(EXAMPLE)]) == 0
    text = capsys.readouterr().out
    lock, _ = load_lock(EXAMPLE)
    for part in (*lock.rpms, *lock.images, *lock.models, *lock.wheels):
        assert part.name in text
        assert part.licence in text
        assert part.reason in text
    assert "rpms: container_runtime (6)" in text
    assert "rpms: GPU unit h100-el10 (9)" in text
    assert "dependencies only (2)" in text
    assert "4.6 GiB" in text


def test_show_as_json_is_the_lock(capsys):
    assert main(["stack", "show", str(EXAMPLE), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "holdfast.stack-show/1"
    assert document["stack"] == json.loads(EXAMPLE.read_text())


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 40, "3072.0 GiB"),
    ],
)
def test_size_text(size, text):
    assert size_text(size) == text


def test_a_folder_and_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["stack", "check", str(tmp_path)]) == 2
    assert "this is a folder" in capsys.readouterr().err
    assert main(["stack", "check", str(tmp_path / "absent.json")]) == 2
    assert "this file does not exist" in capsys.readouterr().err
