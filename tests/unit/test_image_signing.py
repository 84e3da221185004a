"""An image is what was signed, to the last bit, or it is refused and the file is named."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.core.problems import HoldfastError
from provision.image import manifest as manifests
from provision.image.dsse import opened, sealed
from provision.image.keys import fingerprint, holds, open_signer, read_public
from provision.image.manifest import parse_manifest, read_manifest
from provision.image.statement import statement
from provision.image.verification import verify_image
from provision.rack.secrets import SecretRef
from tests.unit.signed_support import digest, make_image, make_key, sign_again

# Debian's place, and EL's.
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
SOFTHSM = next((p for p in map(Path, _MODULES) if p.exists()), Path(_MODULES[0]))


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A signed image, its key and its public key."""
    folder = tmp_path_factory.mktemp("image")
    key, public = make_key(folder / "image.key")
    make_image(folder / "out", key)
    return folder / "out", key, public


def refusal(folder: Path, public: Path) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        verify_image(folder, read_public(public))
    assert all(p.hint for p in caught.value.problems)
    return caught.value


def test_what_was_signed_is_verified(image):
    folder, _, public = image
    found = verify_image(folder, read_public(public))
    assert found.manifest.name == "gpu-node"
    assert found.bytes == sum((folder / p.name).stat().st_size for p in found.manifest.parts)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bit_flipped_is_refused_and_the_file_is_named(image, data):
    folder, _, public = image
    names = sorted(path.name for path in folder.iterdir())
    path = folder / data.draw(st.sampled_from(names))
    raw = path.read_bytes()
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    bad = bytearray(raw)
    bad[at // 8] ^= 1 << at % 8
    path.write_bytes(bytes(bad))
    try:
        error = refusal(folder, public)
    finally:
        path.write_bytes(raw)
    assert error.exit_code == 1
    assert [p.where for p in error.problems] == [str(path)]


@pytest.mark.parametrize("name", [manifests.MANIFEST, manifests.STATEMENT, "gpu-node.raw",
                                  manifests.FILES])  # fmt: skip
@pytest.mark.parametrize("harm", ["gone", "longer", "shorter", "link"])
def test_a_file_that_is_not_the_one_is_named(image, tmp_path, name, harm):
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    path = folder / name
    raw = path.read_bytes()
    path.unlink()
    if harm == "link":
        (tmp_path / "other").write_bytes(raw + b"x")
        path.symlink_to(tmp_path / "other")
    elif harm != "gone":
        path.write_bytes(raw + b"\0" if harm == "longer" else raw[:-1])
    assert [p.where for p in refusal(folder, image[2]).problems] == [str(path)]


def test_a_file_that_nobody_signed_is_named(image, tmp_path):
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    (folder / "gpu-node.qcow2").write_text("more")
    (problem,) = refusal(folder, image[2]).problems
    assert (problem.code, problem.where) == ("unsigned-file", str(folder / "gpu-node.qcow2"))


def test_every_file_that_differs_is_named_at_once(image, tmp_path):
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    for name in ("gpu-node.raw", manifests.GATE):
        (folder / name).write_text("other")
    named = {Path(p.where or "").name for p in refusal(folder, image[2]).problems}
    assert named == {"gpu-node.raw", manifests.GATE}


def test_another_key_is_refused_and_both_are_named(image, tmp_path):
    _, public = make_key(tmp_path / "other.key")
    error = refusal(image[0], public)
    assert fingerprint(read_public(public))[:16] in str(error)
    assert fingerprint(read_public(image[2]))[:16] in str(error)


def test_a_manifest_that_names_more_than_was_signed_is_refused(image, tmp_path):
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    whole = read_manifest(folder)
    less = whole.model_copy(update={"artefacts": ()})
    # The statement of the smaller one, signed by the right key, and the bigger manifest beside it.
    payload = json.loads(statement(less))
    for subject in payload["subject"]:
        if subject["name"] == manifests.MANIFEST:
            subject["digest"]["sha256"] = whole.digest
    text = json.dumps(payload)
    (folder / manifests.STATEMENT).write_text(text)
    (folder / manifests.ENVELOPE).write_text(sealed(text.encode(), open_signer(str(image[1]))))
    assert "names other files" in str(refusal(folder, image[2]))


def test_a_statement_of_another_kind_is_refused(image, tmp_path):
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    text = (folder / manifests.STATEMENT).read_text().replace("slsa.dev/provenance", "x.test/y")
    (folder / manifests.STATEMENT).write_text(text)
    (folder / manifests.ENVELOPE).write_text(sealed(text.encode(), open_signer(str(image[1]))))
    assert "another type" in str(refusal(folder, image[2]))


def test_the_same_image_has_the_same_envelope(image, tmp_path):
    make_image(tmp_path / "again", image[1])
    for path in image[0].iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "{",
        '{"payload":"","signatures":[]}',
        '{"payload":1,"signatures":[{"sig":"","keyid":""}]}',
    ],
)
def test_no_envelope(image, text):
    with pytest.raises(HoldfastError, match="this is no envelope"):
        opened(text, read_public(image[2]), "x")


def test_a_manifest_has_one_form(image):
    raw = (image[0] / manifests.MANIFEST).read_bytes()
    assert parse_manifest(raw, "x").digest == digest(raw.decode())
    with pytest.raises(HoldfastError, match="not as it was written"):
        parse_manifest(raw.replace(b'"arch"', b' "arch"'), "x")
    with pytest.raises(HoldfastError, match=r"artefacts\.0\.name"):
        parse_manifest(raw.replace(b'"gpu-node.raw"', b'"../node.raw"'), "x")
    with pytest.raises(HoldfastError, match="schema"):
        parse_manifest(raw.replace(b"holdfast.image/1", b"holdfast.image/9"), "x")


def test_no_image_is_a_usage_error(tmp_path, image):
    error = refusal(tmp_path, image[2])
    assert error.exit_code == 2


# Keys.


def test_a_key_with_a_passphrase(tmp_path, monkeypatch):
    key, public = make_key(tmp_path / "image.key", "a long one")
    with pytest.raises(HoldfastError, match="has a passphrase") as caught:
        open_signer(str(key))
    assert "--secret" in str(caught.value)
    monkeypatch.setenv("PHRASE", "a long one")
    signer = open_signer(str(key), SecretRef.parse("env:PHRASE"))
    assert holds(read_public(public), signer.sign(b"x"), b"x")
    assert not holds(read_public(public), signer.sign(b"x"), b"y")
    monkeypatch.setenv("PHRASE", "another")
    with pytest.raises(HoldfastError, match="the passphrase is wrong") as caught:
        open_signer(str(key), SecretRef.parse("env:PHRASE"))
    assert "another" not in str(caught.value)


def test_a_passphrase_for_a_key_that_has_none_is_a_mistake(tmp_path, monkeypatch):
    key, _ = make_key(tmp_path / "image.key")
    monkeypatch.setenv("PHRASE", "x")
    with pytest.raises(HoldfastError, match="has no passphrase"):
        open_signer(str(key), SecretRef.parse("env:PHRASE"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_key_that_others_can_read_is_not_used(tmp_path, mode):
    key, _ = make_key(tmp_path / "image.key")
    key.chmod(mode)
    with pytest.raises(HoldfastError, match="others than you can read") as caught:
        open_signer(str(key))
    assert "chmod 0600" in str(caught.value)


def test_keys_that_are_none(tmp_path):
    rsa_key = rsa.generate_private_key(65537, 2048)
    curve = ec.generate_private_key(ec.SECP384R1())
    for number, key in enumerate((rsa_key, curve)):
        path = tmp_path / f"{number}.key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
        with pytest.raises(HoldfastError, match="no ECDSA key"):
            open_signer(str(path))
    (tmp_path / "text").write_text("nothing")
    (tmp_path / "text").chmod(0o600)
    for words in (str(tmp_path / "text"), str(tmp_path), str(tmp_path / "gone")):
        with pytest.raises(HoldfastError, match="cannot be used") as caught:
            open_signer(words)
        assert caught.value.exit_code == 2


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path):
    key, _ = make_key(tmp_path / "image.key")
    with pytest.raises(HoldfastError, match="this is a private key"):
        read_public(key)


@pytest.fixture
def token(tmp_path, monkeypatch) -> str:
    """A software token with a key on P-256, and its PIN in the environment."""
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    monkeypatch.setenv("PIN", "135790")
    _tool("softhsm2-util", "--init-token", "--free", "--label", "Images", "--so-pin", "1234",
          "--pin", "135790")  # fmt: skip
    _tool("pkcs11-tool", "--module", str(SOFTHSM), "--token-label", "Images", "--login", "--pin",
          "env:PIN", "--keypairgen", "--key-type", "EC:prime256v1", "--label", "sign",
          "--id", "01")  # fmt: skip
    return f"pkcs11:token=Images;object=sign?module-path={SOFTHSM}"


def _tool(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def test_a_token_signs_and_gives_its_key_to_nobody(token, tmp_path):
    signer = open_signer(token, SecretRef.parse("env:PIN"))
    signature = signer.sign(b"words")
    assert holds(signer.public, signature, b"words")
    envelope = sealed(b"words", signer)
    assert opened(envelope, signer.public, "x") == b"words"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("pkcs11:token=Images", "it names no key"),
        ("pkcs11:object=sign;colour=red", "'colour' is not used here"),
        ("pkcs11:token=Images;object=other", ""),
        ("pkcs11:token=Other;object=sign", ""),
    ],
)
def test_a_token_that_cannot_sign(token, uri, said):
    with pytest.raises(HoldfastError, match=said or "cannot be used") as caught:
        open_signer(f"{uri}?module-path={SOFTHSM}", SecretRef.parse("env:PIN"))
    assert caught.value.exit_code == 2


def test_a_wrong_pin_is_said_and_not_shown(token, monkeypatch):
    monkeypatch.setenv("PIN", "987654321")
    with pytest.raises(HoldfastError) as caught:
        open_signer(token, SecretRef.parse("env:PIN"))
    assert "987654321" not in str(caught.value)


def test_openssl_verifies_by_the_commands_of_the_docs(image, tmp_path):
    text = Path("docs/how-to/verify-images.md").read_text(encoding="utf-8")
    script = text.split("```sh\n")[1].split("```")[0]
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    shutil.copy(image[2], tmp_path / "image.pub")

    def verifies() -> bool:
        argv = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(argv, cwd=folder, capture_output=True, check=False)
        return done.returncode == 0

    assert verifies()
    for name in ("gpu-node.raw", manifests.MANIFEST, manifests.GATE, manifests.ENVELOPE):
        raw = (folder / name).read_bytes()
        at = len(raw) // 2
        (folder / name).write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert not verifies(), name
        (folder / name).write_bytes(raw)
    other = json.loads((folder / manifests.ENVELOPE).read_text())
    other["signatures"][0]["sig"] = base64.b64encode(b"no signature").decode()
    (folder / manifests.ENVELOPE).write_text(json.dumps(other, separators=(",", ":")) + "\n")
    assert not verifies()


def test_signing_again_after_a_change_verifies(image, tmp_path):
    folder = tmp_path / "image"
    shutil.copytree(image[0], folder)
    forced = read_manifest(folder)
    gate = forced.gate.model_copy(update={"passed": False, "forced": "a trial"})
    sign_again(folder, forced.model_copy(update={"gate": gate}), image[1])
    found = verify_image(folder, read_public(image[2]))
    assert found.manifest.gate.forced == "a trial"
    assert "a trial" in (folder / manifests.STATEMENT).read_text()
