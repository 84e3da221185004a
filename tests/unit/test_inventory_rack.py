"""From files to a rack: the example, Ansible's precedence, ranges, limits, digests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.cli.inputs import load_rack
from provision.cli.main import main
from provision.core.problems import HoldfastError
from provision.rack.inventory import KnownNames, load_inventory
from provision.rack.model import Rack
from provision.rack.ranges import expand

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "inventory.example.yml"
LOCK = ROOT / "tests" / "data" / "example" / "stack.lock.json"
KEYS = [line.split('"')[1] for line in EXAMPLE.read_text().splitlines() if '"ssh-ed25519' in line]
HEAD = "all:\n  vars:\n    holdfast_schema: 1\n    holdfast_rack: lab-a\n"
HEAD += "    holdfast_stack: stack.lock.json\n"


def load(folder: Path, text: str, **files: str) -> tuple[Rack | None, list[str]]:
    """Load an inventory with files beside it; problems as `code line:column`."""
    (folder / "inventory.yml").write_text(text)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    rack, problems = load_inventory(folder / "inventory.yml", KnownNames())
    return rack, [f"{p.code} {p.position.line}:{p.position.column}" for p in problems if p.position]


def test_the_example_is_a_believable_rack():
    rack = load_rack(EXAMPLE).rack
    assert rack.name == "lab-a"
    assert [n.name for n in rack.nodes] == ["head-01", *(f"gpu-0{i}" for i in range(1, 9))]
    node = rack.node("gpu-03")
    assert node.hardware is not None
    assert node.hardware.gpus is not None
    assert (node.hardware.gpus.model, node.hardware.gpus.count) == ("NVIDIA H100 80GB HBM3", 8)
    assert node.position is not None
    assert list(node.position.units) == [9, 10, 11, 12]
    assert str(node.tls_key) == "vault:secrets/vault.yml#gpu_tls_key"
    assert rack.node("head-01").inference is None
    assert rack.stack == LOCK
    with pytest.raises(KeyError):
        rack.node("gpu-09")


def test_a_copy_of_the_example_needs_its_own_lock(tmp_path: Path):
    shutil.copy(EXAMPLE, tmp_path / "inventory.yml")
    with pytest.raises(HoldfastError) as raised:
        load_rack(tmp_path / "inventory.yml")
    assert [p.code for p in raised.value.problems] == ["missing-lock"]
    assert raised.value.problems[0].position is not None
    text = EXAMPLE.read_text().replace("tests/data/example/", "")
    (tmp_path / "inventory.yml").write_text(text)
    shutil.copy(LOCK, tmp_path / "stack.lock.json")
    assert len(load_rack(tmp_path / "inventory.yml").rack.nodes) == 9


def test_problems_of_inventory_and_lock_come_together(tmp_path: Path):
    text = EXAMPLE.read_text().replace("tests/data/example/", "").replace("unit: 40", "unit: 99")
    (tmp_path / "inventory.yml").write_text(text)
    (tmp_path / "stack.lock.json").write_text('{"schema": "holdfast.stack/1"}')
    with pytest.raises(HoldfastError) as raised:
        load_rack(tmp_path / "inventory.yml")
    files = {p.position.file for p in raised.value.problems if p.position}
    assert files == {str(tmp_path / "inventory.yml"), str(tmp_path / "stack.lock.json")}


PRECEDENCE = (
    HEAD
    + """\
    site: all
    deep: all
  children:
    outer:
      vars: {site: outer, deep: outer, ansible_port: 1000, both: outer}
      children:
        inner:
          vars: {site: inner, ansible_port: 1001}
          hosts:
            n[1:3]: {from_range: yes}
    second:
      vars: {site: second, ansible_group_priority: 10, both: second}
      hosts:
        n2: {ansible_host: 192.0.2.2}
        n3: {ansible_port: 1003}
    zebra:
      vars: {both: zebra}
      hosts: {n1: {}}
  hosts:
    lone:
      site: lone
"""
)
BESIDE = {
    "group_vars/all/a.yml": "deep: file-all\nsite: file-all\n",
    "group_vars/all/b.yml": "ansible_port: 999\n",
    "group_vars/inner": "site: file-inner\n",
    "group_vars/second.yaml": "seen: [1, 2]\n",
    "host_vars/n3.yml": "site: file-n3\nansible_host: 192.0.2.3\n",
    "host_vars/n1.json": '{"ansible_user": "ops"}',
    "group_vars/README.md": "what belongs where",
}


def test_precedence_is_ansibles_own(tmp_path: Path):
    """What we resolve is what `ansible-inventory` resolves, variable by variable."""
    from provision.rack.declaration import open_inventory

    load(tmp_path, PRECEDENCE, **BESIDE)
    declaration, problems = open_inventory(tmp_path / "inventory.yml")
    assert declaration is not None
    assert problems == []
    ours: dict[str, dict[str, Any]] = {
        name: {n: d.value for n, d in declaration.effective(host).items()}
        for name, host in declaration.tree.hosts.items()
    }
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", "inventory.yml"]
    environment = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "0", "HOME": str(tmp_path)}
    said = subprocess.run(
        [*command, "--list"], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    theirs = json.loads(said.stdout)["_meta"]["hostvars"]
    for variables in ours.values():
        variables.pop("ansible_group_priority", None)
    for variables in theirs.values():
        variables.pop("ansible_group_priority", None)
    assert ours == theirs


def test_groups_are_ansibles_own(tmp_path: Path):
    keys = "".join(
        f"host_vars/n{i}.yml;holdfast_host_keys: ['{KEYS[i]}']\n;" for i in (1, 2, 3)
    ).split(";")[:-1]
    files = dict(zip(keys[::2], keys[1::2], strict=True))
    files["host_vars/lone.yml"] = f"holdfast_host_keys: ['{KEYS[4]}']\n"
    rack, problems = load(tmp_path, PRECEDENCE, **files)
    assert problems == []
    assert rack is not None
    assert rack.node("n1").groups == ("inner", "outer", "zebra")
    assert rack.node("lone").groups == ("ungrouped",)
    assert (rack.node("n1").port, rack.node("n3").port, rack.node("lone").port) == (1001, 1003, 22)
    assert rack.node("n2").address == "192.0.2.2"


def test_a_port_in_a_pattern_is_the_hosts_own(tmp_path: Path):
    body = f"  hosts:\n    n1:2222: {{holdfast_host_keys: ['{KEYS[0]}']}}\n"
    rack, problems = load(tmp_path, HEAD + "    ansible_port: 99\n" + body)
    assert problems == []
    assert rack is not None
    assert rack.node("n1").port == 2222


@pytest.mark.parametrize(
    ("pattern", "names", "port"),
    [
        ("n1", ["n1"], None),
        ("n[1:3]", ["n1", "n2", "n3"], None),
        ("n[08:10]", ["n08", "n09", "n10"], None),
        ("n[1:5:2]x", ["n1x", "n3x", "n5x"], None),
        ("r[a:b]-n[1:2]", ["ra-n1", "ra-n2", "rb-n1", "rb-n2"], None),
        ("n[:2]", ["n0", "n1", "n2"], None),
        ("n[1:2]:2222", ["n1", "n2"], 2222),
    ],
)
def test_ranges(pattern: str, names: list[str], port: int | None):
    from ansible.plugins.inventory import expand_hostname_range

    assert expand(pattern) == (names, port)
    if "[" in pattern:
        bare = pattern.removesuffix(":2222")
        assert list(expand_hostname_range(bare)) == names, "as Ansible expands it"


@pytest.mark.parametrize(
    "pattern",
    [
        "n[",
        "n[1",
        "n[1:",
        "n[1:2",
        "n[]",
        "n[3:1]",
        "n[b:a]",
        "n[a:1]",
        "n[1:2:0]",
        "n[01:1]",
        "n[1:9999999999]",
        "n[0:9][0:9][0:9][0:9]",
        "n1:0",
        "n1:65536",
    ],
)
def test_bad_ranges(pattern: str):
    with pytest.raises(ValueError, match=r"\w"):
        expand(pattern)


def names(rack: Rack) -> list[str]:
    return [node.name for node in rack.nodes]


def test_limit():
    rack = load_rack(EXAMPLE).rack
    assert names(rack.limit("gpu-02")) == ["gpu-02"]
    assert names(rack.limit("head, gpu-0[12]")) == ["head-01", "gpu-01", "gpu-02"]
    assert len(names(rack.limit("gpu,!gpu-01"))) == 7
    assert names(rack.limit("!gpu")) == ["head-01"]
    assert len(names(rack.limit("all"))) == 9
    assert rack.limit("gpu").sha256 == rack.sha256


@pytest.mark.parametrize(
    ("pattern", "code", "hint"),
    [
        ("gpu-011", "unknown-node", "gpu-01"),
        ("heads", "unknown-node", "head"),
        ("", "no-nodes", "name"),
        ("gpu,!gpu", "no-nodes", "name"),
    ],
)
def test_limit_that_names_nothing(pattern: str, code: str, hint: str):
    with pytest.raises(HoldfastError) as raised:
        load_rack(EXAMPLE).rack.limit(pattern)
    assert raised.value.exit_code == 2
    assert raised.value.problems[0].code == code
    assert hint in (raised.value.problems[0].hint or "")


def test_the_digest_covers_every_file(tmp_path: Path):
    body = f"  hosts:\n    n1: {{holdfast_host_keys: ['{KEYS[0]}']}}\n"

    def digest(**files: str) -> str:
        rack, problems = load(tmp_path, HEAD + body, **files)
        assert problems == []
        assert rack is not None
        return rack.sha256

    first = digest()
    assert digest() == first
    second = digest(**{"group_vars/all.yml": "site: a\n"})
    third = digest(**{"group_vars/all.yml": "site: b\n"})
    assert len({first, second, third}) == 3
    assert digest(**{"group_vars/all.yml": "site: b\n", "group_vars/.swp": "x"}) == third


def test_encrypted_files_are_ansibles_alone(tmp_path: Path):
    body = f"  hosts:\n    n1: {{holdfast_host_keys: ['{KEYS[0]}']}}\n"
    vault = "$ANSIBLE_VAULT;1.1;AES256\n616263\n"
    rack, problems = load(tmp_path, HEAD + body, **{"group_vars/all/vault.yml": vault})
    assert problems == []
    assert rack is not None


def test_check_and_show(capsys: pytest.CaptureFixture[str]):
    assert main(["inventory", "check", str(EXAMPLE)]) == 0
    assert "9 nodes, 8 serving" in capsys.readouterr().out
    assert main(["inventory", "check", str(EXAMPLE), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["nodes"]) == ("holdfast.inventory-check/1", 9)
    assert main(["inventory", "show", str(EXAMPLE), "--limit", "gpu-01"]) == 0
    text = capsys.readouterr().out
    assert "file:secrets/api-key" in text
    assert "gpu-02" not in text
    assert main(["inventory", "show", str(EXAMPLE), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema"] == "holdfast.inventory/1"
    assert shown["nodes"][1]["api_key"] == "file:secrets/api-key"
    assert set(shown["inputs"]) == {"inventory", "stack"}


def test_names_that_a_terminal_would_obey(tmp_path: Path):
    text = HEAD + '    site: {"\\e]0;_password": x}\n  hosts:\n    "n\\e]0;": {}\n'
    (tmp_path / "inventory.yml").write_text(text)
    _, problems = load_inventory(tmp_path / "inventory.yml", KnownNames())
    assert {p.code for p in problems} >= {"literal-secret", "bad-name"}
    assert "\x1b" not in "".join(p.render() for p in problems)


def test_a_large_rack_is_read_quickly(tmp_path: Path):
    import time

    hosts = "".join(f"    n{i}: {{ansible_host: 10.0.{i // 250}.{i % 250}}}\n" for i in range(400))
    (tmp_path / "known_hosts").write_text(f"10.* {KEYS[0]}\n")
    started = time.monotonic()
    rack, problems = load(
        tmp_path, HEAD + "    holdfast_known_hosts: known_hosts\n  hosts:\n" + hosts
    )
    assert problems == []
    assert rack is not None
    assert len(rack.nodes) == 400
    assert time.monotonic() - started < 5
