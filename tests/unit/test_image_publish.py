"""Channels name verified images whose gate passed, and nothing else; rolling back is one move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from provision.cli.main import main
from provision.core.problems import HoldfastError
from provision.image.keys import fingerprint, open_signer, read_public
from provision.image.manifest import GateFacts, Manifest
from provision.image.publishing import pointer, pointers, publish, roll_back
from provision.image.secureboot import NAMES
from provision.image.secureboot import fingerprint as certificate_of
from tests.unit.signed_support import digest, make_image, make_key


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys") / "image.key")


def image(folder: Path, keys: tuple[Path, Path], text: str = "one", **more) -> Manifest:
    return make_image(folder, keys[0], documents={"results.json": text}, **more)


@pytest.fixture
def store(tmp_path, keys) -> Path:
    """A store whose dev channel has named two images."""
    for text in ("one", "two"):
        image(tmp_path / text, keys, text)
        publish(tmp_path / text, tmp_path / "store", "dev", read_public(keys[1]))
    return tmp_path / "store"


def digests(tmp_path: Path) -> list[str]:
    return [digest((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two")]


def test_a_channel_names_what_was_published_last(store, tmp_path):
    one, two = digests(tmp_path)
    found = pointer(store, "gpu-node", "dev")
    assert found is not None
    assert (found.digest, found.before) == (two, (one,))
    assert pointers(store) == [found]
    assert not [path for path in store.rglob("*") if path.is_symlink()]
    assert {path.name for path in (store / "images").iterdir()} == {one, two}


def test_publishing_again_changes_nothing(store, tmp_path, keys):
    before = (store / "channels/gpu-node/dev.json").read_bytes()
    publish(tmp_path / "two", store, "dev", read_public(keys[1]))
    assert (store / "channels/gpu-node/dev.json").read_bytes() == before


def test_rolling_back_and_forth(store, tmp_path, keys):
    one, two = digests(tmp_path)
    public = read_public(keys[1])
    assert roll_back(store, "gpu-node", "dev", public).digest == one
    assert roll_back(store, "gpu-node", "dev", public).digest == two
    assert roll_back(store, "gpu-node", "dev", public, one[:12]).digest == one
    with pytest.raises(HoldfastError, match="named no image ffff before"):
        roll_back(store, "gpu-node", "dev", public, "ffff")
    with pytest.raises(HoldfastError, match="prod names no image 'gpu-node'"):
        roll_back(store, "gpu-node", "prod", public)


@pytest.mark.parametrize(
    "gate", [GateFacts(passed=False), GateFacts(passed=False, forced="in a hurry"),
             GateFacts(passed=True, forced="odd")],
)  # fmt: skip
def test_an_image_whose_gate_did_not_pass_is_not_published(tmp_path, keys, gate):
    image(tmp_path / "image", keys, gate=gate)
    with pytest.raises(HoldfastError, match="is not published") as caught:
        publish(tmp_path / "image", tmp_path / "store", "dev", read_public(keys[1]))
    assert caught.value.exit_code == 1
    assert not (tmp_path / "store").exists()


def test_an_image_that_does_not_verify_is_not_published(store, tmp_path, keys):
    before = (store / "channels/gpu-node/dev.json").read_bytes()
    image(tmp_path / "three", keys, "three")
    (tmp_path / "three/gpu-node.raw").write_bytes(b"other")
    with pytest.raises(HoldfastError, match=r"gpu-node\.raw"):
        publish(tmp_path / "three", store, "dev", read_public(keys[1]))
    _, other = make_key(tmp_path / "other.key")
    with pytest.raises(HoldfastError, match="another key"):
        publish(tmp_path / "one", store, "dev", read_public(other))
    assert (store / "channels/gpu-node/dev.json").read_bytes() == before
    assert len(list((store / "images").iterdir())) == 2


def test_what_changed_in_the_store_is_named_no_more(store, tmp_path, keys):
    one, _ = digests(tmp_path)
    (store / "images" / one / "gpu-node.raw").write_bytes(b"other")
    for act in (
        lambda: roll_back(store, "gpu-node", "dev", read_public(keys[1])),
        lambda: publish(tmp_path / "one", store, "prod", read_public(keys[1])),
    ):
        with pytest.raises(HoldfastError, match="not as it was signed"):
            act()


@pytest.mark.parametrize("text", ["", "{", '{"schema":"holdfast.image-channel/2"}', "null"])
def test_a_damaged_pointer_is_no_empty_one(store, text):
    (store / "channels/gpu-node/dev.json").write_text(text)
    with pytest.raises(HoldfastError, match="cannot be read"):
        pointer(store, "gpu-node", "dev")


def test_a_pointer_of_another_channel_is_refused(store):
    folder = store / "channels/gpu-node"
    shutil.copy(folder / "dev.json", folder / "prod.json")
    with pytest.raises(HoldfastError, match="another channel"):
        pointer(store, "gpu-node", "prod")


# The verbs.


def test_the_verbs_from_key_to_rollback(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PHRASE", "a long one")
    folder, store = tmp_path / "keys", tmp_path / "store"
    assert main(["image", "key", str(folder), "--secret", "env:PHRASE", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["fingerprint"] == fingerprint(read_public(folder / "image.pub"))
    assert (folder / "image.key").stat().st_mode & 0o777 == 0o600
    assert main(["image", "key", str(folder)]) == 2  # never over one that is there
    assert "is there already" in capsys.readouterr().err

    plain = make_key(tmp_path / "plain.key")
    manifest = image(tmp_path / "image", plain)
    words = ["--key", str(plain[1])]
    assert main(["image", "verify", str(tmp_path / "image"), *words]) == 0
    assert "all 4 files are as they were signed" in capsys.readouterr().out
    channel = ["--store", str(store), "--channel", "prod", *words]
    assert main(["image", "publish", str(tmp_path / "image"), *channel, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == manifest.digest
    assert main(["image", "rollback", "gpu-node", *channel]) == 2
    (tmp_path / "image/gpu-node.raw").write_bytes(b"x")
    assert main(["image", "verify", str(tmp_path / "image"), *words, "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["where"].endswith("gpu-node.raw")


def test_keys_for_secure_boot(tmp_path, capsys):
    assert main(["image", "key", str(tmp_path), "--secure-boot", "Ours"]) == 0
    assert len(certificate_of(tmp_path)) == 64
    for name in NAMES:
        assert (tmp_path / f"{name}.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(HoldfastError, match="no ECDSA key"):
        open_signer(str(tmp_path / "db.key"))
    with pytest.raises(HoldfastError, match="there is no certificate"):
        certificate_of(tmp_path / "nowhere")
