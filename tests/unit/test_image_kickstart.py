"""A kickstart is one that the installer takes, and says what the definition says."""

from __future__ import annotations

import json
import re

import pytest
from pykickstart.errors import KickstartError, KickstartParseError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from provision.cli.main import main
from provision.core.problems import HoldfastError
from provision.image.kickstart import Site, render
from provision.image.layout import layout_of
from provision.image.load import find, load, ours
from tests.unit.image_tree_support import definition

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Jz3f robot@rack"
SITE = Site("https://mirror.example.org/BaseOS", "robot", KEY, "nvme0n1",
            (("appstream", "https://mirror.example.org/AppStream"),))  # fmt: skip


def parsed(text: str, release: int):
    """What the installer of a release makes of it; a word that it warns of is a mistake."""
    parser = KickstartParser(makeVersion(f"RHEL{release}"), errorsAreFatal=True)
    parser.readKickstartFromString(text)
    return parser.handler


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("release", [9, 10])
@pytest.mark.parametrize("name", sorted(ours()))
def test_the_installer_takes_it(name, release):
    wanted = load(find(name)).definition.model_copy(update={"release": release})
    handler = parsed(render(wanted, SITE), release)
    sizes = {one.mountpoint: one.size for one in handler.partition.partitions}
    slots = layout_of(wanted).slots
    assert sizes == {one.mount: one.size >> 20 for one in slots}
    assert set(wanted.packages) <= set(handler.packages.packageList)
    assert handler.bootloader.appendLine.split() == list(wanted.kernel.arguments)
    assert handler.rootpw.lock
    assert sum(one.grow for one in handler.partition.partitions) == 1


def test_the_judge_can_refuse():
    with pytest.raises((KickstartError, KickstartParseError)):
        parsed(render(definition(), SITE).replace("--disklabel=gpt", "--no-such-option"), 9)


def test_options_and_memory_are_those_of_the_definition():
    text = render(definition(), SITE)
    assert re.search(r"^part /var .*--grow --fsoptions=\"defaults,nodev\"$", text, re.MULTILINE)
    assert "tmpfs /tmp tmpfs defaults,mode=1777,size=64m,nodev,nosuid 0 0" in text
    assert "--drives=nvme0n1" in text
    assert "password" not in text.lower()


@pytest.mark.parametrize(
    ("site", "word"),
    [
        (Site("https://x/ --bad", "robot", KEY), "url"),
        (Site('https://x/"\nrootpw x', "robot", KEY), "url"),
        (Site("https://x/", "robot; reboot", KEY), "user"),
        (Site("https://x/", "robot", KEY + '"\nrootpw x'), "key"),
        (Site("https://x/", "robot", "-----BEGIN OPENSSH PRIVATE KEY-----"), "key"),
        (Site("https://x/", "robot", KEY, "sda --x"), "disk"),
        (Site("https://x/", "robot", KEY, "", (("a b", "https://x/"),)), "repository"),
    ],
)
def test_what_a_site_gives_cannot_say_more_than_it_may(site, word):
    with pytest.raises(HoldfastError) as caught:
        render(definition(), site)
    assert caught.value.problems[0].code == f"bad-{word}"
    assert caught.value.exit_code == 2
    assert "PRIVATE" not in caught.value.problems[0].render()


def test_the_verb_writes_it(tmp_path, capsys):
    key, out = tmp_path / "key.pub", tmp_path / "ks.cfg"
    key.write_text(f"{KEY}\n")
    words = ["image", "kickstart", "gpu-node", "--url", SITE.url, "--user", "robot",
             "--ssh-key", str(key)]  # fmt: skip
    assert main([*words, "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kickstart"] == out.read_text()
    assert main([*words, "--repo", "nothing"]) == 2
    assert main([*words[:-1], str(tmp_path / "absent")]) == 2
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "absent/ks.cfg")]) == 2
    assert "--out" in capsys.readouterr().err
