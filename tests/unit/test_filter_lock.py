"""The filters that read a stack lock, and the lookup that reads secrets."""

from __future__ import annotations

import hashlib
import json

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from tests.unit.roles_support import plugin

lock = plugin("filter", "lock")
secret = plugin("lookup", "secret")

BODY = {
    "schema": "holdfast.stack/1",
    "name": "test",
    "origins": {
        "near": {"kind": "mirror", "address": "http://mirror.test:8000/"},
        "rhsm": {"kind": "subscription", "address": ""},
    },
    "keys": {"k": {"fingerprint": "AB", "armored": "text"}},
    "repositories": [
        {"id": "b10", "name": "B", "origin": "near", "path": "el10/", "key": "k", "release": "10"},
        {"id": "b9", "name": "B", "origin": "near", "path": "el9", "key": "k", "release": "9"},
        {"id": "rhel", "name": "R", "origin": "rhsm", "path": "", "key": "k", "release": "10.1"},
    ],
    "rpms": [
        {"name": "a", "el": "10", "arch": "x86_64", "roles": ["base"], "key": "k"},
        {"name": "b", "el": "10", "arch": "noarch", "roles": [], "key": "k"},
        {"name": "c", "el": "9", "arch": "x86_64", "roles": ["base"], "key": "k"},
        {"name": "d", "el": "10", "arch": "aarch64", "roles": ["base"], "key": "k"},
    ],
    "images": [
        {
            "name": "llama",
            "arch": "x86_64",
            "reference": "localhost/l",
            "digest": "sha256:1",
            "origin": "near",
            "archive": {"path": "images/l.tar", "sha256": "2", "size": 3},
        }
    ],
    "models": [
        {
            "name": "tiny",
            "entry": "t.gguf",
            "path": "models/tiny",
            "origin": "near",
            "files": [{"path": "t.gguf", "sha256": "4", "size": 5, "note": "left out"}],
        }
    ],
}


def test_packages_are_those_of_the_role_release_and_architecture():
    assert [p["name"] for p in lock.lock_packages(BODY, "base", "10", "x86_64")] == ["a"]
    assert [p["name"] for p in lock.lock_locked(BODY, 10, "x86_64")] == ["a", "b"]
    assert lock.lock_installed(BODY, ["base", "none"], "10", "x86_64") == ["a"]


def test_repositories_get_their_address_and_one_variable_overrides_it():
    (found,) = lock.lock_repositories(BODY, "10", "x86_64")
    assert found["baseurl"] == "http://mirror.test:8000/el10"
    found = lock.lock_repositories(BODY, "10", "x86_64", "http://bundle/")
    assert [e["baseurl"] for e in found] == ["http://bundle/el10", "http://bundle"]


def test_what_a_subscription_brings_stays():
    assert lock.lock_subscribed(BODY, "10", "x86_64") == ["rhel"]
    assert lock.lock_subscribed(BODY, "10", "x86_64", "http://bundle") == []


def test_keys_images_and_models():
    assert lock.lock_keys(BODY, "10", "x86_64")[0]["fingerprint"] == "AB"
    image = lock.lock_image(BODY, "llama", "x86_64")
    assert image["archive_url"] == "http://mirror.test:8000/images/l.tar"
    model = lock.lock_model(BODY, "tiny", "file:///bundle")
    assert model["url"] == "file:///bundle/models/tiny"
    assert model["files"] == [{"path": "t.gguf", "sha256": "4", "size": 5}]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: lock.lock_image(BODY, "llama", "aarch64"),
        lambda: lock.lock_model(BODY, "huge"),
        lambda: lock.lock_keys({**BODY, "keys": {}}, "10", "x86_64"),
        lambda: lock.lock_image({**BODY, "origins": {}}, "llama", "x86_64"),
        lambda: lock.lock_model("/nowhere/stack.lock.json", "tiny"),
    ],
)
def test_what_is_missing_is_an_error(ask):
    with pytest.raises(ValueError, match="stack lock"):
        ask()


def test_a_path_is_read_and_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "stack.lock.json"
    path.write_text(json.dumps(BODY))
    assert lock.lock_model(str(path), "tiny")["entry"] == "t.gguf"
    summary = lock.lock_summary(str(path), "lab")
    assert summary["stack_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(json.dumps({**BODY, "models": []}))
    with pytest.raises(ValueError, match="no model"):
        lock.lock_model(str(path), "tiny")


@pytest.fixture
def look():
    def ask(reference, base, **more):
        found = secret.LookupModule(loader=DataLoader())
        found._load_name = "holdfast.core.secret"
        options = {"base": str(base), "private": True, **more}
        found.set_options = lambda **words: None
        found.get_option = options.get
        return found.run([reference], {})[0]

    return ask


def test_secrets_come_from_files_and_the_environment(look, tmp_path, monkeypatch):
    (tmp_path / "key").write_text("one\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "pem").write_text("a\nb\n")
    (tmp_path / "pem").chmod(0o600)
    monkeypatch.setenv("HOLDFAST_TEST_KEY", "two")
    assert look("file:key", tmp_path) == "one"
    assert look("file:pem", tmp_path) == "a\nb\n"
    assert look("env:HOLDFAST_TEST_KEY", tmp_path) == "two"


def test_a_file_that_everyone_reads_is_refused_unless_it_is_public(look, tmp_path):
    (tmp_path / "key").write_text("canary")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(AnsibleError, match="everyone") as caught:
        look("file:key", tmp_path)
    assert "canary" not in str(caught.value)
    assert look("file:key", tmp_path, private=False) == "canary"


@pytest.mark.parametrize("text", ["canary", "canary:", "http://canary", "file:"])
def test_a_literal_is_refused_and_not_shown(look, tmp_path, text):
    with pytest.raises(AnsibleError) as caught:
        look(text, tmp_path)
    assert "canary" not in str(caught.value)


def test_a_vault_value_in_the_clear_is_refused(look, tmp_path):
    (tmp_path / "vault.yml").write_text("name: canary\n")
    with pytest.raises(AnsibleError, match="in the clear") as caught:
        look("vault:vault.yml#name", tmp_path)
    assert "canary" not in str(caught.value)
