"""Secrets by reference, and SSH that accepts declared host keys only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import sys
from pathlib import Path

import pytest

from provision.cli.inputs import load_rack
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError
from provision.rack.hostkeys import has_key
from provision.rack.secrets import SecretRef, read_secret
from provision.rack.ssh import SshSettings, ssh_arguments, write_known_hosts
from provision.rack.wallet import unreadable_secrets

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-3f9a1c"


@pytest.mark.parametrize(
    "text", ["file:a", "file:/a b/c", "env:NAME", "vault:a.yml#name", "vault:dir/a#b.yml#name"]
)
def test_references_are_read_back(text: str):
    assert str(SecretRef.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(CANARY, "", "file:", "file: a", "file:~nobody/x", "file:a/", "file:a\nb"),
        *("env:1a", "env:a-b", "vault:a", "vault:#a", "vault:a#", "http:a"),
        "file:" + "a" * 300,
    ],
)
def test_what_is_no_reference(text: str):
    with pytest.raises(ValueError, match=r"\w") as raised:
        SecretRef.parse(text)
    assert CANARY not in str(raised.value), "the text may be the secret itself"


def read(text: str, base: Path, *, private: bool = True) -> str:
    return read_secret(SecretRef.parse(text), base, private=private)


def refusal(text: str, base: Path) -> str:
    with pytest.raises(HoldfastError) as raised:
        read(text, base)
    assert raised.value.exit_code is ExitCode.USAGE
    assert CANARY not in str(raised.value)
    return raised.value.problems[0].message


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_files(tmp_path: Path):
    secret_file(tmp_path / "key", CANARY + "\n")
    assert read("file:key", tmp_path) == CANARY
    assert read(f"file:{tmp_path}/key", Path("/")) == CANARY
    pem = "-----BEGIN X-----\nabc\n-----END X-----\n"
    secret_file(tmp_path / "pem", pem)
    assert read("file:pem", tmp_path) == pem


def test_files_that_are_refused(tmp_path: Path):
    secret_file(tmp_path / "open", CANARY, 0o644)
    assert "everyone" in refusal("file:open", tmp_path)
    assert read("file:open", tmp_path, private=False) == CANARY, "certificates are public"
    secret_file(tmp_path / "empty", "\n")
    assert "empty" in refusal("file:empty", tmp_path)
    assert "cannot be read" in refusal("file:absent", tmp_path)
    (tmp_path / "folder").mkdir()
    assert "cannot be read" in refusal("file:folder", tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "bytes").chmod(0o600)
    assert "UTF-8" in refusal("file:bytes", tmp_path)


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_TEST_KEY", CANARY)
    assert read("env:HOLDFAST_TEST_KEY", tmp_path) == CANARY
    monkeypatch.delenv("HOLDFAST_TEST_KEY")
    assert "not set" in refusal("env:HOLDFAST_TEST_KEY", tmp_path)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that is encrypted whole and one with an encrypted value."""
    secret_file(tmp_path / "password", "open sesame\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("HOME", str(tmp_path))
    command = Path(sys.executable).parent / "ansible-vault"
    (tmp_path / "whole.yml").write_text(f"api_key: {CANARY}\nnumber: 12\n")
    subprocess.run([command, "encrypt", tmp_path / "whole.yml"], check=True, capture_output=True)
    value = subprocess.run(
        [command, "encrypt_string", "--stdin-name", "api_key"],
        input=CANARY.encode(),
        check=True,
        capture_output=True,
    )
    (tmp_path / "single.yml").write_bytes(value.stdout + f"\nplain: {CANARY}\n".encode())
    return tmp_path


def test_vault(vault: Path, monkeypatch: pytest.MonkeyPatch):
    assert read("vault:whole.yml#api_key", vault) == CANARY
    assert read("vault:single.yml#api_key", vault) == CANARY
    assert "api_keys" in refusal("vault:whole.yml#api_keys", vault)
    assert "not text" in refusal("vault:whole.yml#number", vault)
    assert "in the clear" in refusal("vault:single.yml#plain", vault)
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    assert "ansible-vault refused" in refusal("vault:whole.yml#api_key", vault)


def test_secrets_that_cannot_be_read_are_said_once(tmp_path: Path):
    rack = load_rack(ROOT / "inventory.example.yml").rack
    rack = rack.model_copy(update={"path": tmp_path / "inventory.yml"})
    problems = unreadable_secrets(rack)
    assert [p.where for p in problems] == [
        "file:secrets/api-key",
        "file:secrets/tls/gpu.pem",
        "vault:secrets/vault.yml#gpu_tls_key",
        "file:secrets/tls/ca.pem",
    ]
    assert all("gpu-01 and 7 more" in p.message for p in problems)
    (tmp_path / "secrets" / "tls").mkdir(parents=True)
    secret_file(tmp_path / "secrets" / "tls" / "ca.pem", CANARY, 0o644)
    secret_file(tmp_path / "secrets" / "api-key", CANARY, 0o644)
    left = {p.where: p.message for p in unreadable_secrets(rack)}
    assert "file:secrets/tls/ca.pem" not in left, "certificates are public"
    assert "everyone" in left["file:secrets/api-key"]


def test_ssh_accepts_declared_keys_only(tmp_path: Path):
    rack = load_rack(ROOT / "inventory.example.yml").rack
    path = tmp_path / "known hosts"
    write_known_hosts(rack, path)
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert len(lines) == 9
    assert lines[1].startswith("192.0.2.11 ssh-ed25519 AAAA")
    words = ssh_arguments(rack, rack.node("gpu-01"), path)
    assert words[:2] == ["-o", "StrictHostKeyChecking=yes"]
    assert f'UserKnownHostsFile="{path}"' in words
    assert words[words.index("-l") + 1] == "rocky"
    assert words[words.index("-p") + 1] == "22"
    both = SshSettings(path, control_dir=tmp_path).arguments(rack, rack.node("gpu-01"))
    assert "ConnectTimeout=10" in both
    # What ssh itself makes of them.
    said = subprocess.run(
        ["ssh", "-G", *both, "192.0.2.11"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    settings = dict(line.split(" ", 1) for line in said if " " in line)
    assert settings["stricthostkeychecking"] == "true"
    assert settings["userknownhostsfile"].strip('"') == str(path)
    assert settings["globalknownhostsfile"] == "/dev/null"
    assert settings["batchmode"] == "yes"


def test_a_declared_key_is_not_widened_by_a_file(tmp_path: Path):
    known = tmp_path / "known_hosts"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    known.write_text(f"192.0.2.11 {key}\n203.0.113.9 {key}\n")
    rack = load_rack(ROOT / "inventory.example.yml").rack
    rack = rack.model_copy(update={"known_hosts": known})
    write_known_hosts(rack, tmp_path / "out")
    lines = (tmp_path / "out").read_text().splitlines()
    assert [line for line in lines if line.endswith(key)] == [f"203.0.113.9 {key}"]


def hashed(name: str) -> str:
    salt = b"twenty bytes of salt"  # the same each time: workers must agree on the tests' names
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("field", "fits"),
    [
        ("[192.0.2.1]:2222", True),
        ("a,[192.0.2.1]:2222", True),
        ("[192.0.2.*]:2222", True),
        ("192.0.2.1", False),
        ("[192.0.2.*]:2222,![192.0.2.1]:2222", False),
        ("@cert-authority [192.0.2.1]:2222", True),
        ("@revoked [192.0.2.1]:2222", False),
        ("# [192.0.2.1]:2222", False),
        (hashed("[192.0.2.1]:2222"), True),
        (hashed("192.0.2.1"), False),
        ("|1|!!|", False),
    ],
)
def test_known_hosts_lines(field: str, fits: bool):
    assert has_key(f"{field} ssh-ed25519 AAAA\n", "192.0.2.1", 2222) is fits
