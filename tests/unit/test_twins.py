"""What is written twice agrees: nodes and plain Ansible cannot import `provision`, so some
judgements stand in the collection once more. Each pair gets the same input here.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret, VaultSecretsContext

from provision.core.problems import HoldfastError
from provision.rack.secrets import SecretRef, read_secret
from provision.supply import openpgp
from provision.supply.model import Rpm, StackLock
from tests.unit.roles_support import plugin

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "tests/data/example/stack.lock.json"

node_openpgp = plugin("module_utils", "openpgp")
node_rpm = plugin("module_utils", "rpm")
lock_filter = plugin("filter", "lock")
secret = plugin("lookup", "secret")


def packet(tag: int, body: bytes) -> bytes:
    """An OpenPGP packet with a header of today's form."""
    size = bytes([len(body)]) if len(body) < 192 else b"\xff" + len(body).to_bytes(4, "big")
    return bytes([0xC0 | tag]) + size + body


def armour(data: bytes) -> str:
    return (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
        f"{base64.b64encode(data).decode()}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


V4, V6 = b"\x04" + bytes(range(60)), b"\x06" + bytes(220)
KEY, OTHER = packet(6, V4), packet(6, b"\x04other")
USER, SUBKEY = packet(13, b"someone"), packet(14, b"\x04" + bytes(40))
OLD = b"\x99" + len(V4).to_bytes(2, "big") + V4
TWO_OCTETS = bytes([0xC6, 192, 8]) + b"\x04" + bytes(199)
ONE_KEY = {
    "version 4": armour(KEY),
    "version 6": armour(packet(6, V6)),
    "old header": armour(OLD + USER),
    "length of two octets": armour(TWO_OCTETS),
    "with a subkey": armour(KEY + USER + SUBKEY),
    "with space around": f"\n  {armour(KEY)}\n\n",
    "with a header": armour(KEY).replace("BLOCK-----\n\n", "BLOCK-----\nComment: x\n\n"),
}
NO_KEY = {
    "nothing": "",
    "words before": "trust me\n" + armour(KEY),
    "words after": armour(KEY) + "and me\n",
    "two blocks": armour(KEY) + armour(OTHER),
    "a block where headers stand": armour(OTHER).replace("BLOCK-----\n\n", "BLOCK-----\n", 1)
    + armour(KEY),
    "an end of line that gpg does not know": armour(KEY).replace("\n\n", "\n\f\n"),
    "two keys in a block": armour(KEY + USER + OTHER),
    "cut short": armour(KEY[:-3]),
    "cut short behind the key": armour(KEY + USER[:-3]),
    "junk behind the key": armour(KEY + b"\x00\x00"),
    "no key first": armour(USER + KEY),
    "empty packet": armour(packet(6, b"")),
    "empty block": armour(b""),
    "version 3": armour(packet(6, b"\x03" + bytes(20))),
    "version 5": armour(packet(6, b"\x05" + bytes(20))),
    "in parts": armour(bytes([0xC6, 0xE1]) + bytes(10)),
    "no length": armour(b"\x9b" + V4),
    "not base64": armour(KEY).replace("AAEC", "A!EC"),
    "not ASCII": armour(KEY).replace("AAEC", "AéEC"),
}


@pytest.mark.parametrize("text", ONE_KEY.values(), ids=ONE_KEY)
def test_a_key_has_one_fingerprint_everywhere(text: str):
    assert openpgp.fingerprint(text) == node_openpgp.fingerprint(text)


@pytest.mark.parametrize("text", NO_KEY.values(), ids=NO_KEY)
def test_what_is_no_single_key_is_refused_everywhere(text: str):
    """`rpm --import` would take every key of it; a fingerprint vouches for one."""
    for fingerprint in (openpgp.fingerprint, node_openpgp.fingerprint):
        with pytest.raises(ValueError, match=r"\w"):
            fingerprint(text)


def example() -> StackLock:
    return StackLock.model_validate_json(LOCK.read_bytes())


def test_a_package_has_one_name_everywhere():
    rpms = json.loads(LOCK.read_text())["rpms"]
    rpms.append({**rpms[0], "epoch": 3})
    assert [node_rpm.nevra(r) for r in rpms] == [
        Rpm.model_validate_json(json.dumps(r)).nevra for r in rpms
    ]


def test_a_role_gets_the_packages_that_the_lock_names():
    lock, seen = example(), 0
    for role in ("base", "time", "container_runtime", "no_such_role"):
        for el in ("9", "10"):
            for arch in ("x86_64", "aarch64"):
                found = lock_filter.lock_packages(str(LOCK), role, el, arch)
                assert [p["name"] for p in found] == [r.name for r in lock.packages(role, el, arch)]
                seen += len(found)
    assert seen


def test_an_origin_has_one_address_everywhere():
    lock, body = example(), json.loads(LOCK.read_text())
    for origin in lock.origins:
        for override in (None, "http://bundle.example/x/"):
            assert lock_filter.address(body, origin, override) == lock.origin_address(
                origin, override
            )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    """A folder with secrets of every kind, good and bad."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "password").write_text("open sesame\n")
    texts = {
        "line": "one\n",
        "no-newline": "one",
        "crlf": "one\r\n",
        "lines": "-----BEGIN X-----\nabc\n-----END X-----\n",
        "spaces": "  one  \n",
        "empty": "",
        "blank": " \n\n",
        "nul": "a\0b",
        "open": "one\n",
        "large": "x" * (1024 * 1024 + 1),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, newline="")
        (folder / name).chmod(0o644 if name == "open" else 0o600)
    (folder / "bytes").write_bytes(b"\xff\xfe\xfa")
    (folder / "bytes").chmod(0o600)
    (folder / "folder").mkdir()
    (folder / "clear.yml").write_text("key: one\n")
    whole = folder / "whole.yml"
    whole.write_text('key: one\nnumber: 12\nflag: yes\nlist: [a]\nempty: ""\nlines: "a\\nb\\n"\n')
    vault = [Path(sys.executable).parent / "ansible-vault"]
    words = ["--vault-password-file", folder / "password"]
    subprocess.run([*vault, "encrypt", *words, whole], check=True, capture_output=True)
    said = subprocess.run(
        [*vault, "encrypt_string", *words, "--stdin-name", "key"],
        input=b"one",
        check=True,
        capture_output=True,
    )
    (folder / "single.yml").write_bytes(said.stdout + b"\nplain: one\n")
    return folder


REFERENCES = [
    *("file:line", "file:no-newline", "file:crlf", "file:lines", "file:spaces", "file:empty"),
    *("file:blank", "file:nul", "file:open", "file:large", "file:bytes", "file:folder"),
    *("file:absent", "env:HOLDFAST_TEST_KEY", "env:HOLDFAST_TEST_EMPTY", "env:HOLDFAST_TEST_NONE"),
    *("vault:clear.yml#key", "vault:whole.yml#key", "vault:whole.yml#none"),
    *("vault:whole.yml#number", "vault:whole.yml#flag", "vault:whole.yml#list"),
    *("vault:whole.yml#empty", "vault:whole.yml#lines", "vault:single.yml#key"),
    *("vault:single.yml#plain", "vault:absent.yml#key", "vault:whole.yml", "http:x", "file:"),
]

READABLE = {
    *((f"file:{name}", True) for name in ("line", "no-newline", "crlf", "lines", "spaces")),
    ("env:HOLDFAST_TEST_KEY", True),
    *((f"vault:{name}", True) for name in ("whole.yml#key", "whole.yml#lines", "single.yml#key")),
    ("file:open", False),
}


@pytest.mark.parametrize(
    ("text", "private"), [*((t, True) for t in REFERENCES), ("file:open", False)]
)
def test_a_secret_is_read_alike_by_holdfast_and_by_ansible(text, private, secrets, monkeypatch):
    monkeypatch.setenv("HOLDFAST_TEST_KEY", "one")
    monkeypatch.setenv("HOLDFAST_TEST_EMPTY", "")
    monkeypatch.delenv("HOLDFAST_TEST_NONE", raising=False)
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(secrets / "password"))
    ansible = by_ansible(text, secrets, monkeypatch, private=private)
    assert ansible == by_holdfast(text, secrets, private=private)
    assert (ansible is not None) == ((text, private) in READABLE)


def by_holdfast(text: str, base: Path, *, private: bool) -> str | None:
    """The secret as `provision.rack.secrets` reads it; None: refused."""
    try:
        return read_secret(SecretRef.parse(text), base, private=private)
    except (HoldfastError, ValueError):
        return None


def by_ansible(
    text: str, base: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> str | None:
    """The secret as the lookup reads it; None: refused."""
    loader = DataLoader()
    known = [("default", VaultSecret((base / "password").read_bytes().strip()))]
    loader.set_vault_secrets(known)
    monkeypatch.setattr(VaultSecretsContext, "_current", VaultSecretsContext(known))
    lookup = secret.LookupModule(loader=loader)
    lookup._load_name = "holdfast.core.secret"
    lookup.set_options = lambda **words: None
    lookup.get_option = {"base": str(base), "private": private}.get
    try:
        return str(lookup.run([text], {})[0])
    except AnsibleError:
        return None
