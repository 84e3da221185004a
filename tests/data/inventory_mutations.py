"""Mutated inventories: bytes changed at random, and structures changed at random.

The same seed gives the same inventories on every machine and Python.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "inventory.example.yml"
LOCK = ROOT / "tests" / "data" / "example" / "stack.lock.json"

BESIDE = {
    "group_vars/all.yml": "holdfast_firewall: {enabled: true}\nsite_name: lab\n",
    "group_vars/gpu/a.yml": "holdfast_kind: metal\nsite_mounts: [/srv, /var]\n",
    "host_vars/gpu-01.yml": "ansible_port: 22\n",
}

NASTY = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\x1b[2J",
    b"\t",
    b"\r",
    b"\n---\n",
    b"\n...\n",
    b": ",
    b"- ",
    b"? ",
    b"& ",
    b"*a",
    b"&a ",
    b"<<: ",
    b"!!python/object:os.system ",
    b"!vault |\n ",
    b"%YAML 1.2\n",
    b"%TAG ! x\n",
    b"{{ x }}",
    b"{",
    b"}",
    b"[",
    b"]",
    b"'",
    b'"',
    b"#",
    b"|",
    b">",
    b"@",
    b"`",
    b"[" * 200,
    b"{a: " * 60,
    b"- " * 80,
    b"9" * 5000,
    b"0x" + b"f" * 3000,
    b"1e999",
    b".nan",
    b"~",
    b"=",
    b"2001-99-99",
    b"1:30",
    b"0o17",
    b'"\\ud800"',
    b'"\\x1b]0;x\\a"',
    b"a" * 70000,
    "\u202e".encode(),
    b"*x\n",
    b"&x [*x]",
    b"node[1:999999]",
    b"n[[1:2]:3]",
    b"n[a:1]",
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    2**900,
    -(2**70),
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\x00",
    "\n",
    "{{ x }}",
    "{% x %}",
    "file:",
    "file:\x00",
    "env:",
    "env:1",
    "vault:a",
    "vault:#b",
    "vault:a#b",
    "file:/dev/zero",
    "..",
    "/",
    "/dev/zero",
    "/dev/stdin",
    "~",
    "~nobody/x",
    "~no-such-user/x",
    "file:~no-such-user/x",
    "n" * 250,
    "../" * 40,
    "\U0001f600",
    "\u202e",
    "a" * 9000,
    "\ud83d",
    "node[1:3]",
    "n[1:9999999]",
    "[1:2]",
    "n:99999",
    "::1",
    "[::1]:22",
    "1.2.3",
    "fe80::1%eth0",
    "http://[",
    "http://a:b/",
    "file://",
    "http://u:p@h",
    "ssh-ed25519",
    "ssh-ed25519 =",
    "ssh-ed25519 AAAA",
    "-o ProxyCommand=id",
    "'",
    [],
    {},
    [[]],
    [None],
    {"a": None},
    {1: 2},
    {None: 1},
    {True: 1},
    ["a"] * 50,
    {"all": {}},
    [[[[[[[[[[]]]]]]]]]],
)

KEYS: tuple[Any, ...] = (
    "all",
    "ungrouped",
    "hosts",
    "vars",
    "children",
    "gpu",
    "head",
    "gpu-01",
    "localhost",
    "n[1:3]",
    "n:22",
    "",
    " ",
    "plugin",
    "holdfast_",
    "holdfast_kind",
    "holdfast_inference",
    "holdfast_known_hosts",
    "holdfast_origin",
    "holdfast_api_key",
    "holdfast_hardware",
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_user",
    "ansible_password",
    "ansible_connection",
    "ansible_ssh_common_args",
    "ansible_ssh_private_key_file",
    "ansible_group_priority",
    "ansible_host_key_checking",
    "sizes",
    "engine",
    "gpus",
    "nics",
    "port",
    "a/b",
    "../x",
    None,
    True,
    1,
    1.5,
    "\u202e",
    "x" * 300,
    "x" * 250,
    "{{ x }}",
    "<<",
    "=",
)


def mutations(seed: int, count: int) -> Iterator[dict[str, bytes]]:
    """`count` inventories as files by relative path; each differs from the example."""
    dice = random.Random(seed)
    example = EXAMPLE.read_text(encoding="utf-8")
    example = example.replace("tests/data/example/stack.lock.json", "stack.lock.json")
    originals = {"inventory.yml": example, **BESIDE}
    names = list(originals)
    for _ in range(count):
        files = {name: text.encode() for name, text in originals.items()}
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            name = names[0] if dice.random() < 0.8 else dice.choice(names)
            change = _bytes if dice.random() < 0.5 else _structure
            files[name] = change(dice, files[name])
        yield files


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write one mutated inventory below `folder`, which is emptied first; returns its path."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    shutil.copy(LOCK, folder / "stack.lock.json")
    return folder / "inventory.yml"


def _bytes(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.choice((1, 1, 2, 8, 40, 400)))
    kind = dice.randrange(9)
    if kind == 0:
        return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:at] + dice.choice(NASTY) + data[at:]
    if kind == 3:
        return data[:at] + data[at:end] * dice.choice((2, 3, 20)) + data[end:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        return data[:at] + dice.randbytes(dice.choice((1, 3, 30))) + data[end:]
    lines = data.split(b"\n")
    one, two = dice.randrange(len(lines)), dice.randrange(len(lines))
    if kind == 6:
        lines[one], lines[two] = lines[two], lines[one]
    elif kind == 7:
        lines.insert(two, lines[one])
    else:
        lines[one] = b" " * dice.choice((1, 2, 4)) + lines[one] if one % 2 else lines[one].lstrip()
    return b"\n".join(lines)


def _structure(dice: random.Random, data: bytes) -> bytes:
    try:
        tree = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return _bytes(dice, data)
    places = list(_places(tree))
    if not places:
        return _bytes(dice, data)
    holder, key = dice.choice(places)
    kind = dice.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = dice.choice(VALUES)
    elif kind == 2 and isinstance(holder, dict):
        holder[dice.choice(KEYS)] = holder.pop(key)
    elif kind == 3:
        other, name = dice.choice(places)
        holder[key] = other[name]
    elif kind == 4:
        holder[key] = [holder[key]] if dice.random() < 0.5 else {dice.choice(KEYS): holder[key]}
    elif isinstance(holder, dict):
        holder[dice.choice(KEYS)] = dice.choice(VALUES)
    try:
        text = yaml.dump(tree, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return _bytes(dice, data)
    return str(text).encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place that holds a value, as its holder and key."""
    waiting, seen = [tree], set()
    while waiting:
        holder = waiting.pop()
        if id(holder) in seen or not isinstance(holder, dict | list):
            continue
        seen.add(id(holder))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        for key in keys:
            yield holder, key
            waiting.append(holder[key])
