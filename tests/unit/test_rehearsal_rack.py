"""A rehearsal's rack beside its nodes: its inventory, who owns it, sweeping up, and the verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from provision.cli import rehearse
from provision.cli.inputs import load_rack
from provision.cli.main import main
from provision.core.events import ListSink, NullSink
from provision.core.locks import FileLock
from provision.core.problems import HoldfastError
from provision.policy.load import load_policy
from provision.rehearsal import artefacts, inventory, model, rack, repodata
from provision.rehearsal import node as nodes
from provision.rehearsal.node import Node
from provision.rehearsal.recipe import load_recipe
from provision.rehearsal.secrets import make_secrets
from tests.unit.rehearsal_support import Commands, engine_archive, node


def test_its_inventory_is_one_that_every_verb_reads(tmp_path, monkeypatch):
    nodes = [node(tmp_path, index) for index in (1, 2, 3)]
    make_secrets(tmp_path / "secrets", nodes)
    model.write_model(tmp_path / "tiny.gguf")
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    with repodata.short_way(home) as way:
        filled = repodata.Filled([], {repodata.KEY_NAME: repodata.make_key(way)})
    image = engine_archive(tmp_path / "image", monkeypatch)
    lock = artefacts._lock("10", filled, image, tmp_path / "tiny.gguf")
    (tmp_path / "stack.lock.json").write_text(json.dumps(lock))
    inventory.write_inventory(tmp_path / "inventory.yml", "hf-000000", nodes)

    found = load_rack(tmp_path / "inventory.yml")
    assert [one.name for one in found.rack.nodes] == ["n1", "n2", "n3"]
    assert [one.address for one in found.rack.nodes] == ["192.0.2.11", "192.0.2.12", "192.0.2.13"]
    assert {one.kind for one in found.rack.nodes} == {"container"}
    served = found.rack.nodes[0].inference
    assert served is not None
    assert found.lock.model(served.model).entry == "tiny.gguf"
    assert found.lock.image(served.image, os.uname().machine).digest == image.digest


def test_an_inventory_with_a_profile_says_what_the_nodes_do_without(tmp_path):
    nodes = [node(tmp_path, 1)]
    make_secrets(tmp_path / "secrets", nodes)
    waived = load_recipe().waived["stig"]
    place = tmp_path / "inventory.yml"
    inventory.write_inventory(place, "hf-000000", nodes, profile="stig", waived=waived)
    said = yaml.safe_load(place.read_text())["all"]["vars"]
    assert said["holdfast_profile"] == "stig"
    assert [one["name"] for one in said["holdfast_overlays"]] == ["gpu_host"]
    assert {one["control"] for one in said["holdfast_waivers"]} == {*waived}
    assert {*waived} <= {*load_policy().controls}


def test_only_an_emulated_machine_is_waited_for_longer(tmp_path):
    nodes = [node(tmp_path, 1)]
    make_secrets(tmp_path / "secrets", nodes)
    place = tmp_path / "inventory.yml"
    for emulated, patience in ((False, None), (True, inventory.EMULATED)):
        inventory.write_inventory(place, "hf-000000", nodes, "vm", emulated=emulated)
        (host,) = yaml.safe_load(place.read_text())["all"]["children"]["gpu_nodes"][
            "hosts"
        ].values()
        assert host.get("holdfast_patience") == patience
        assert host["holdfast_kind"] == "vm"


# -- racks, their owners and their remains ---------------------------------------------------------


@pytest.fixture
def taken_down(monkeypatch):
    """Names of the nodes that were removed and of the networks that were deleted."""
    seen: list[str] = []
    monkeypatch.setattr(rack.node, "remove", lambda one: seen.append(one.name))
    monkeypatch.setattr(rack.network, "delete", seen.append)
    return seen


HOLD = """
import sys, time
from pathlib import Path
from provision.core.locks import FileLock
FileLock(Path(sys.argv[1])).__enter__()
print("held", flush=True)
time.sleep(600)
"""


def plant(name: str, *, keep: bool, count: int = 2) -> Path:
    """A rack as its owner leaves it when it is killed."""
    folder = rack.racks_home() / name
    folder.mkdir(parents=True)
    nodes = [Node(f"n{i}", i, folder / "nodes" / f"n{i}", name) for i in range(1, count + 1)]
    made = rack.Rehearsal(name, folder, Path("/base"), Path("/made"), nodes, keep, "made of tests")
    (folder / "rehearsal.json").write_text(json.dumps(rack._record(made)))
    rack.lock_path(name).touch()
    return folder


def test_sweep_takes_down_what_a_killed_owner_left(taken_down):
    left, kept, used = (plant(f"hf-00000{i}", keep=i == 2) for i in (1, 2, 3))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, rack.lock_path("hf-000003")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert rack.sweep() == ["hf-000001"]
        assert taken_down == ["n1", "n2", "hf-000001"]
        assert [one.exists() for one in (left, kept, used)] == [False, True, True]
        assert not rack.lock_path("hf-000001").exists()
    finally:
        holder.kill()
        holder.communicate()
    # The lock goes with its owner, however that ended.
    assert rack.sweep() == ["hf-000003"]
    assert rack.sweep() == []
    assert kept.exists()


def test_sweep_removes_what_was_killed_before_anything_ran(taken_down):
    folder = rack.racks_home() / "hf-000001"
    folder.mkdir(parents=True)
    rack.lock_path("hf-000001").touch()
    rack.lock_path("hf-000002").touch()
    assert rack.sweep() == []
    assert list(rack.racks_home().iterdir()) == []
    assert taken_down == []


def test_sweep_leaves_what_it_cannot_read(taken_down):
    folder = plant("hf-000001", keep=False)
    (folder / "rehearsal.json").write_text("{}")
    assert rack.sweep() == []
    assert folder.exists()
    with pytest.raises(HoldfastError, match="its record cannot be read"):
        rack.load("hf-000001")


@pytest.fixture
def no_machines(monkeypatch, taken_down):
    """`build` without root, artefacts and nodes; returns what `_start` is to do."""
    todo: list[object] = []
    monkeypatch.setattr(rack.os, "geteuid", lambda: 0)
    monkeypatch.setattr(rack, "node_base", lambda *args: Path("/base"))
    monkeypatch.setattr(rack, "artefacts", lambda *args: Path("/made"))

    def start(made: rack.Rehearsal, *asked: object, **more: object) -> None:
        for one in made.nodes:
            one.folder.mkdir(parents=True)
        for step in todo:
            step()

    monkeypatch.setattr(rack, "_start", start)
    return todo


def build(*, keep: bool = False, events=None) -> rack.Rehearsal:
    return rack.build(release="10", count=2, events=events or NullSink(), keep=keep, base="compat")


def test_a_rack_is_owned_before_it_is_there(no_machines, taken_down):
    """A rehearsal that starts at the same time must not take it for a killed one's."""
    no_machines.append(lambda: swept.extend(rack.sweep()))
    swept: list[str] = []
    made = build()
    assert swept == []
    assert rack.sweep() == []
    with rack.owned(made):
        pass
    assert list(rack.racks_home().iterdir()) == []
    assert taken_down[-1] == made.name


def test_a_rack_that_did_not_start_leaves_nothing(no_machines, taken_down):
    no_machines.append(lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build()
    assert list(rack.racks_home().iterdir()) == []
    assert len(taken_down) == 3


def test_a_kept_rack_stays_until_it_is_taken_down(no_machines, taken_down, capsys):
    events = ListSink()
    with rack.owned(build(keep=True, events=events)) as made:
        pass
    assert events.seen[0].kind == "rehearsal.base"
    assert events.seen[0].data["base"] == "compat"
    assert rack.load(made.name).made_of == made.made_of == "EL-compatible, made of Debian packages"
    assert taken_down == []
    assert main(["rehearse", "--down", made.name]) == 0
    assert capsys.readouterr().out == f"{made.name} is down; nothing of it is left\n"
    assert list(rack.racks_home().iterdir()) == []


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_rack_whose_node_has_lost_its_folder_is_taken_down_all_the_same(capsys, words):
    folder = plant("hf-00000a", keep=True)
    lost, kept = (Node(f"n{i}", i, folder / "nodes" / f"n{i}", "hf-00000a") for i in (1, 2))
    keepers = []
    for one in (lost, kept):
        one.folder.mkdir(parents=True)
        group = str(folder / "group")
        argv = ["bash", "-c", nodes._KEEP_RUNNING, "node", str(one.folder), group, "sleep", "60"]
        keepers.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
    (kept.folder / "pid").write_text(f"{keepers[1].pid}\n")
    lost.folder.rmdir()
    assert main(["rehearse", "--down", "hf-00000a", *words]) == 0
    assert [keeper.wait(10) for keeper in keepers] == [-9, -9]
    assert not folder.exists()
    out = capsys.readouterr().out
    if words:
        assert json.loads(out)["gone"] == ["n1"]
    else:
        last = "gone before, with all their files: n1\n"
        assert out == f"hf-00000a is down; nothing of it is left\n{last}"


def test_only_root_rehearses(monkeypatch):
    monkeypatch.setattr(rack.os, "geteuid", lambda: 1000)
    with pytest.raises(HoldfastError, match="needs root"):
        build()


# -- the verb --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", ["0", "51", "-1", "two", "1.5", ""])
def test_a_bad_number_of_nodes_is_refused(count, capsys):
    assert main(["rehearse", f"--nodes={count}"]) == 2
    assert f"{count!r} is not a number of nodes from 1 to 50" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--base=rocky", "--release=8"])
def test_other_choices_are_refused(option, capsys):
    assert main(["rehearse", option]) == 2
    assert "valid: " in capsys.readouterr().err


def test_taking_down_what_is_not_there_names_the_nearest(capsys):
    assert main(["rehearse", "--down", "hf-abc123"]) == 2
    assert "no rack is there" in capsys.readouterr().err
    plant("hf-abc124", keep=True)
    plant("hf-999999", keep=True)
    assert main(["rehearse", "--down", "hf-abc123", "--json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["message"] == "there is no rehearsal rack 'hf-abc123'"
    assert problem["hint"] == "did you mean 'hf-abc124'?"
    assert main(["rehearse", "--down", "hf-abc124.lock"]) == 2
    assert "hint: did you mean 'hf-abc124'?" in capsys.readouterr().err
    for outside in ("../rehearsal/hf-abc124", ".", "hf-abc124/"):
        assert main(["rehearse", "--down", outside]) == 2


@pytest.fixture
def built(monkeypatch, tmp_path):
    """A rack that the verb gets from `build`, whose holdfast only writes down its words."""
    commands = Commands(tmp_path / "bin", monkeypatch)
    commands.add("up")
    made = SimpleNamespace(
        name="hf-000001", folder=tmp_path, inventory=tmp_path / "inventory.yml", outlive=False,
        made_of="made of tests", kind="container", nodes=[Node("n1", 1, tmp_path, "hf-000001")],
        inside=lambda: ["nsenter", "--net=/run/netns/hf-000001", "--"],
        holdfast=lambda *words: list(words), take_down=lambda: asked.append("down"),
    )  # fmt: skip
    asked: list[object] = []

    def build(**words):
        asked.append(words)
        made.outlive, made.kind = words["keep"], words["kind"]
        return made

    monkeypatch.setattr(rack, "build", build)
    monkeypatch.setattr(rehearse.signal, "signal", lambda *args: None)
    return SimpleNamespace(asked=asked, commands=commands)


def test_the_last_line_says_what_the_nodes_were_made_of(built, capsys):
    assert main(["rehearse", "--nodes", "3", "--release", "9", "--base", "compat"]) == 0
    words, down = built.asked
    assert (words["count"], words["release"], words["base"]) == (3, "9", "compat")
    assert down == "down"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("rehearsed in ")
    assert last.endswith("s on simulated nodes (made of tests; not hardware)")
    assert len(built.commands.said) == 1


@pytest.mark.parametrize(("more", "count"), [((), 1), (("--nodes", "2"), 2)])
def test_a_rack_of_virtual_machines_has_one_unless_told(built, capsys, more, count):
    assert main(["rehearse", "--kind", "vm", *more]) == 0
    assert (built.asked[0]["kind"], built.asked[0]["count"]) == ("vm", count)
    assert "s on virtual machines (made of tests" in capsys.readouterr().out


def test_what_up_says_is_what_rehearse_says(built):
    built.commands.add("up", "exit 1")
    assert main(["rehearse"]) == 1
    assert built.asked[-1] == "down"


def test_start_only_provisions_nothing_and_keeps(built, capsys):
    assert main(["rehearse", "--start-only", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == "hf-000001"
    assert document["made_of"] == "made of tests"
    assert document["nodes"] == {"n1": "192.0.2.11"}
    assert built.commands.said == []
    assert len(built.asked) == 1


def test_kept_racks_are_not_swept_while_their_owner_works(taken_down):
    plant("hf-000001", keep=True)
    with FileLock(rack.lock_path("hf-000001")):
        assert rack.sweep() == []


# -- nodes -----------------------------------------------------------------------------------------


@pytest.fixture
def mounts(monkeypatch):
    """Says what is mounted."""
    read_text = Path.read_text
    lines: list[str] = []

    def read(self: Path, *args, **kwargs) -> str:
        mine = str(self) == "/proc/self/mounts"
        return "".join(lines) if mine else read_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read)
    return lines


def test_no_two_nodes_share_a_control_group(mounts, tmp_path):
    mounts.append("cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n")
    with pytest.raises(HoldfastError, match="the unified control group hierarchy is not mounted"):
        nodes._control_group(Node("n1", 1, tmp_path, "hf-000001"))
    mounts.append("cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n")
    places = [
        nodes._control_group(Node(f"n{index}", index, tmp_path, name))
        for name in ("hf-000001", "hf-000002")
        for index in (1, 2)
    ]
    assert len(set(places)) == 4
    assert places[0] == Path("/sys/fs/cgroup/unified/holdfast-hf-000001-1")
