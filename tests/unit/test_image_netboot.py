"""What is rendered for dnsmasq, iPXE and an HTTP server, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.cli.main import main
from provision.image import manifest as manifests
from provision.image.manifest import Artefact
from tests.unit.signed_support import make_image, make_key

LOCK = Path(__file__).resolve().parents[1] / "data/example/stack.lock.json"
PARTS = ("uki.efi", "rootfs.erofs", "rootfs.verity", "vmlinuz", "initrd")


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys") / "image.key")


def netboot_image(folder: Path, keys: tuple[Path, Path], parts: tuple[str, ...] = PARTS) -> Path:
    """A signed image whose format netboot has these files."""
    aside = folder.with_name("aside")
    (aside / "netboot").mkdir(parents=True)
    (aside / "gpu-node.raw").write_bytes(b"\x55\xaa" * 2048)
    for name in parts:
        (aside / "netboot" / name).write_text(name)
    about = [Artefact(**manifests.part_of(aside / "gpu-node.raw"), format="raw")]
    for name in parts:
        part = manifests.part_of(aside / "netboot" / name)
        about.append(Artefact(**{**part, "name": f"netboot/{name}"}, format="netboot"))
    make_image(folder, keys[0], artefacts=tuple(about))
    (aside / "netboot").rename(folder / "netboot")
    return folder


@pytest.fixture
def given(tmp_path: Path, keys) -> dict[str, Any]:
    """An inventory, an image and the words that render for them."""
    hosts = {
        "gpu-01.lab": {"ansible_host": "192.0.2.11", "holdfast_mac": "52:54:00:12:34:01"},
        "gpu_02": {"ansible_host": "192.0.2.12", "holdfast_mac": "52:54:00:12:34:02"},
    }
    rack = {"holdfast_schema": 1, "holdfast_rack": "lab-a", "holdfast_stack": str(LOCK)}
    body = {"all": {"vars": rack, "hosts": hosts}}
    (tmp_path / "inventory.yml").write_text(json.dumps(body))
    image = netboot_image(tmp_path / "image", keys)
    words = ["image", "netboot", str(tmp_path / "inventory.yml"), "--image", str(image), "--key",
             str(keys[1]), "--url", "http://192.0.2.1/boot/", "--network", "192.0.2.0/24", "--out",
             str(tmp_path / "out")]  # fmt: skip
    return {"folder": tmp_path, "body": body, "words": words, "image": image}


def test_nodes_that_have_no_host_key_yet_are_served(given, capsys):
    assert main(given["words"]) == 0
    out = given["folder"] / "out"
    served = out / "http/gpu-node"
    assert sorted(path.name for path in served.iterdir()) == [
        "nodes", "rootfs.erofs", "rootfs.verity", "uki.efi",
    ]  # fmt: skip
    assert (served / "uki.efi").read_text() == "uki.efi"
    text = (out / "dnsmasq.conf").read_text()
    for line in (
        "dhcp-range=192.0.2.0,static,255.255.255.0,12h",
        "dhcp-host=52:54:00:12:34:01,id:*,192.0.2.11,gpu-01",
        "dhcp-host=52:54:00:12:34:02,id:*,192.0.2.12,gpu-02",
        "dhcp-match=set:http,option:client-arch,16",
        "dhcp-boot=tag:http,http://192.0.2.1/boot/gpu-node/uki.efi",
        "dhcp-boot=tag:ipxe,http://192.0.2.1/boot/boot.ipxe",
        "dhcp-option-force=option:root-path,http://192.0.2.1/boot/gpu-node/rootfs.erofs",
    ):
        assert line in text.splitlines()
    script = (out / "http/boot.ipxe").read_text()
    assert script.startswith("#!ipxe\n")
    assert "kernel http://192.0.2.1/boot/gpu-node/uki.efi\n" in script
    assert str(out / "dnsmasq.conf") in capsys.readouterr().out


def test_it_is_rendered_the_same_again(given):
    assert main(given["words"]) == 0
    files = {p: p.read_bytes() for p in (given["folder"] / "out").rglob("*") if p.is_file()}
    (given["folder"] / "out/http/gpu-node/nodes/52-54-00-12-34-01.json").write_text("{}")
    assert main(given["words"]) == 0
    assert {p: p.read_bytes() for p in files} == files


@pytest.mark.needs("dnsmasq")
def test_dnsmasq_takes_it(given):
    assert main(given["words"]) == 0
    path = given["folder"] / "out/dnsmasq.conf"
    done = subprocess.run(["dnsmasq", "--test", f"--conf-file={path}"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    path.write_text(path.read_text() + "dhcp-host=,,\nno-such-word\n")
    done = subprocess.run(["dnsmasq", "--test", f"--conf-file={path}"], check=False)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"holdfast_mac": None}, "which network card"),
        ({"ansible_host": "198.51.100.1"}, "no address in 192.0.2.0/24"),
        ({"ansible_host": "gpu-01.example.org"}, "no address in 192.0.2.0/24"),
    ],
)
def test_a_node_that_cannot_be_served_is_named(given, change, why, capsys):
    node = given["body"]["all"]["hosts"]["gpu-01.lab"]
    node.update(change)
    given["body"]["all"]["hosts"]["gpu-01.lab"] = {k: v for k, v in node.items() if v}
    (given["folder"] / "inventory.yml").write_text(json.dumps(given["body"]))
    assert main(given["words"]) == 2
    said = capsys.readouterr().err
    assert "gpu-01.lab" in said
    assert why in said
    assert not (given["folder"] / "out").exists()
    assert main([*given["words"], "--limit", "gpu_02"]) == 0


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--url", "ftp://192.0.2.1/boot"),
        ("--url", "http://192.0.2.1/a b"),
        ("--url", "http://192.0.2.1/a\ndhcp-script=/bin/sh"),
        ("--url", "http:///boot"),
        ("--network", "192.0.2.1/24"),
        ("--network", "2001:db8::/64"),
    ],
)
def test_what_a_site_gives_is_judged(given, word, value, capsys):
    words = list(given["words"])
    words[words.index(word) + 1] = value
    assert main(words) == 2
    assert word in capsys.readouterr().err


def test_an_image_that_was_changed_is_not_served(given, capsys):
    (given["image"] / "netboot/uki.efi").write_text("another")
    assert main(given["words"]) == 1
    assert "uki.efi" in capsys.readouterr().err
    assert not (given["folder"] / "out").exists()


@pytest.mark.parametrize(
    ("parts", "why"),
    [(("uki.efi", "rootfs.erofs"), "its root is not proven"), ((), "nothing of it starts")],
)
def test_an_image_whose_root_nothing_proves_is_not_served(given, keys, parts, why, capsys):
    folder = given["folder"] / "other"
    folder.mkdir()
    image = netboot_image(folder / "image", keys, parts)
    words = [str(image) if word == str(given["image"]) else word for word in given["words"]]
    assert main(words) == 2
    assert why in capsys.readouterr().err
