"""Between two logins: in which order things happen, and what happens when one does not."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from ansible.errors import AnsibleConnectionFailure

from tests.unit.roles_support import COLLECTION, plugin

access = plugin("action", "access")
restore = plugin("action", "hardening_restore")
SHARED = "-C -o ControlMaster=auto -o ControlPersist=60s"
CHANGE = {"changed": True, "holdfast_changes": ["set MaxAuthTries 4"]}


class Connection:
    """An SSH connection: its options, and how many are shared."""

    become = SimpleNamespace(get_option=lambda name: None)
    _shell = SimpleNamespace(tmpdir="made already")

    def __init__(self) -> None:
        self.options: dict[str, Any] = {"ssh_args": SHARED, "remote_user": "rack"}

    def get_option(self, name):
        return self.options[name]

    def set_option(self, name, value):
        self.options[name] = value


class Node(access.ActionModule):
    """The action, with a node that answers as a test wants."""

    ASKED: ClassVar[dict[str, Any]] = {"controls": []}

    def __init__(self, *, check: bool = False, **args: Any) -> None:
        self._task = SimpleNamespace(
            args={**self.ASKED, "deadline": 60, **args},
            check_mode=check,
            async_val=0,
            action="holdfast.core.access",
        )
        self._connection = Connection()
        self._play_context = SimpleNamespace(remote_user="rack")
        self.did: list[str] = []
        self.logins: list[Any] = []
        self.kept: list[Any] = [{"kept": True}]
        self.undone: Any = {"changed": True}
        self.look: dict[str, Any] = CHANGE
        self.applied: dict[str, Any] = {**CHANGE, "journal": "/var/lib/holdfast/hardening/1/access"}

    def go(self) -> dict[str, Any]:
        return self.run(task_vars={})

    def _fresh_now(self) -> str:
        return "" if self._connection.get_option("ssh_args") == SHARED else " (fresh)"

    def _low_level_execute_command(self, command, *more, **given):
        self.did.append("login" + self._fresh_now())
        answer = self.logins.pop(0) if self.logins else 0
        if isinstance(answer, Exception):
            raise answer
        return {"rc": 0, "stdout": f"{answer}\n", "stderr": ""}

    def _execute_module(self, module_name, module_args, task_vars=None):
        short = module_name.rpartition(".")[2]
        what = module_args.get("state", "look" if self._task.check_mode else "apply")
        self.did.append(f"{short} {what}{self._fresh_now()}")
        self.arguments = module_args
        if short != "hardening_guard":
            return dict(self.look if self._task.check_mode else self.applied)
        answer = self.undone if what == "undone" else self.kept.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Restoring(Node, restore.ActionModule):
    """The same for what puts a run back."""

    ASKED: ClassVar[dict[str, Any]] = {"to": "r1", "by": "b1", "force": False}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waited = []
    monkeypatch.setattr(access.time, "sleep", waited.append)
    return waited


def test_a_change_lies_between_two_fresh_logins():
    node = Node()
    done = node.go()
    assert done["holdfast_changes"] == ["set MaxAuthTries 4"]
    assert node.did == [
        "hardening look",
        "login (fresh)",
        "hardening apply",
        "hardening_guard kept (fresh)",
    ]
    assert node._connection.get_option("ssh_args") == SHARED


def test_what_only_keeps_an_earlier_change_armed_nothing():
    node = Node()
    node.applied = {"changed": True, "holdfast_changes": ["keep the access changes of run 1"]}
    assert node.go() == node.applied
    assert node.did == ["hardening look", "login (fresh)", "hardening apply"]


def test_nothing_to_change_is_one_look():
    node = Node()
    node.look = {"changed": False}
    assert node.go() == {"changed": False}
    assert node.did == ["hardening look"]


def test_a_plan_only_looks_and_says_how_the_node_is_reached():
    node = Node(check=True)
    assert node.go()["changed"]
    assert node.did == ["hardening look"]
    assert node.arguments["guard"] == {
        "user": "rack",
        "become": True,
        "become_password": False,
        "password": False,
        "port": 22,
    }


@pytest.mark.parametrize("deadline", [0, "0", -5, 9, 10**9, "soon", True])
@pytest.mark.parametrize("check", [True, False])
def test_a_change_that_nobody_would_put_back_is_refused_in_the_plan_already(deadline, check):
    node = Node(deadline=deadline, check=check)
    assert "access_deadline_s from 10 to 86400 seconds" in node.go()["msg"]
    assert node.did == []


@pytest.mark.parametrize(
    ("deadline", "seconds"), [(None, 120), ("", 120), ("60", 60), (86400, 86400)]
)
def test_the_node_is_told_how_long_it_waits(deadline, seconds, monkeypatch):
    node = Node(deadline=deadline)
    told = []
    module = node._execute_module

    def execute(module_name, module_args, task_vars=None):
        told.append(module_args.get("deadline"))
        return module(module_name, module_args, task_vars)

    monkeypatch.setattr(node, "_execute_module", execute)
    assert not node.go().get("failed")
    assert told == [None, seconds, None]


def test_a_refusal_ends_it():
    node = Node()
    node.look = {"failed": True, "msg": "the inventory logs in as root"}
    assert node.go()["msg"] == "the inventory logs in as root"
    assert node.did == ["hardening look"]


@pytest.mark.parametrize("answer", [AnsibleConnectionFailure("Permission denied"), 1000])
def test_without_a_second_login_nothing_is_changed(answer):
    node = Node()
    node.logins = [answer]
    done = node.go()
    assert done["failed"]
    assert done["msg"].startswith("nothing was changed, because a second login failed already")
    assert "hardening apply" not in node.did


def test_a_pass_that_failed_has_put_itself_back():
    node = Node()
    node.applied = {"failed": True, "msg": "no; all was put back"}
    assert node.go()["msg"] == "no; all was put back"
    assert node.did[-1] == "hardening apply"


def test_a_login_that_needs_a_moment_is_tried_again(no_waiting):
    node = Node()
    node.kept = [AnsibleConnectionFailure("refused"), {"kept": True}]
    assert node.go()["changed"]
    assert no_waiting == [access.PAUSE]


def test_when_the_login_fails_the_change_is_put_back_over_the_open_connection(no_waiting):
    node = Node()
    node.kept = [AnsibleConnectionFailure("Permission denied")] * access.TRIES
    done = node.go()
    assert done["failed"]
    assert "Permission denied); it was put back at once, and a login works again" in done["msg"]
    assert node.did[-2:] == ["hardening_guard undone", "login (fresh)"]
    assert max(no_waiting) == access.PAUSE


def test_when_that_is_gone_too_the_node_is_waited_for(no_waiting):
    node = Node()
    node.kept = [AnsibleConnectionFailure("refused")] * access.TRIES
    node.undone = AnsibleConnectionFailure("refused")
    done = node.go()
    assert "the node put it back by itself, and a login works again" in done["msg"]
    assert 50 < max(no_waiting) <= 60 + access.PAUSE


def test_an_undo_that_had_begun_is_no_success():
    node = Node()
    node.kept = [{"kept": False, "armed": ""}]
    assert "the undo had begun already" in node.go()["msg"]


def test_an_image_proves_no_login():
    node = Node(offline=True)
    node.go()
    assert node.did == ["hardening look", "hardening apply"]


def test_an_option_that_nobody_knows_is_refused():
    assert "unknown option colour" in Node(colour="green").go()["msg"]


def test_what_the_inventory_says_of_the_deadline_counts(tmp_path):
    site = yaml.safe_load((COLLECTION / "playbooks/site.yml").read_text())
    (play,) = [p for p in site if p.get("name") == "Access"]
    told = {"ansible.builtin.debug": {"msg": "told {{ inventory_hostname }} {{ deadline }}"}}
    mine = {"hosts": "all", "gather_facts": False, "vars": {}, "tasks": [told]}
    mine["vars"]["access_deadline_s"] = play["vars"]["access_deadline_s"]
    mine["vars"]["deadline"] = "{{ access_deadline_s }}"
    (tmp_path / "play.yml").write_text(yaml.safe_dump([mine]))
    hosts = {"a": {"access_deadline_s": 77}, "b": {"holdfast_patience": 3}, "c": {}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    ran = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "-c", "local", "play.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Hosts answer in any order.
    found = sorted(re.findall(r"told (\w) (\d+)", ran.stdout))
    assert found == [("a", "77"), ("b", "360"), ("c", "120")]


class TestRestore:
    """What an access change gets, a restore gets too, by the same code."""

    def test_it_lies_between_two_fresh_logins(self):
        node = Restoring()
        assert not node.go().get("failed")
        assert node.did == [
            "hardening_restore look",
            "login (fresh)",
            "hardening_restore apply",
            "hardening_guard kept (fresh)",
        ]

    def test_the_node_is_told_how_it_is_reached_and_how_long_it_waits(self):
        node = Restoring(deadline="77")
        node.kept = []
        node.applied = {"failed": True, "msg": "no"}
        assert node.go()["msg"] == "no"
        told = node.arguments
        assert {key: told[key] for key in ("to", "by", "force", "deadline")} == {
            "to": "r1", "by": "b1", "force": False, "deadline": 77,
        }  # fmt: skip
        assert told["guard"]["user"] == "rack"
        assert "phase" not in told

    def test_a_look_is_a_look(self):
        node = Restoring(check=True)
        assert node.go() == CHANGE
        assert node.did == ["hardening_restore look"]

    def test_a_refusal_ends_it(self):
        node = Restoring()
        node.look = {"failed": True, "msg": "nothing was put back: AllowUsers"}
        assert node.go()["msg"] == "nothing was put back: AllowUsers"
        assert node.did == ["hardening_restore look"]

    def test_where_nothing_comes_back_the_journals_are_marked_without_a_login(self):
        node = Restoring()
        node.look = {"changed": False}
        node.applied = {"changed": False, "holdfast_left": []}
        assert node.go() == node.applied
        assert node.did == ["hardening_restore look", "hardening_restore apply"]
        assert "deadline" not in node.arguments

    @pytest.mark.parametrize("answer", [AnsibleConnectionFailure("Permission denied"), 1000])
    def test_without_a_second_login_nothing_is_put_back(self, answer):
        node = Restoring()
        node.logins = [answer]
        assert "a second login failed already" in node.go()["msg"]
        assert "hardening_restore apply" not in node.did

    def test_when_the_login_fails_all_is_as_it_was_before_the_restore(self, no_waiting):
        node = Restoring()
        node.kept = [AnsibleConnectionFailure("Permission denied")] * access.TRIES
        done = node.go()
        assert done["msg"].startswith("the login failed after the restore (Permission denied)")
        assert "it was put back at once, and a login works again" in done["msg"]
        assert node.did[-2:] == ["hardening_guard undone", "login (fresh)"]

    def test_what_could_not_be_put_back_is_told_once_the_rest_is_proven(self):
        node = Restoring()
        node.applied = {**node.applied, "wrong": ["/etc/x: its copy is damaged"]}
        done = node.go()
        assert node.did[-1] == "hardening_guard kept (fresh)"
        assert done["failed"]
        assert "not everything was put back: /etc/x: its copy is damaged" in done["msg"]
        assert done["holdfast_changes"] == CHANGE["holdfast_changes"]

    def test_options_of_the_other_action_are_refused(self):
        assert "unknown option controls" in Restoring(controls=[]).go()["msg"]
