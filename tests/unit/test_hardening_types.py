"""Each type of resource: wrong before, right after, quiet the second time, and back again."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from provision.policy.resources import TYPES as IN_POLICY
from tests.unit.hardening_support import Run, System, control, snapshot
from tests.unit.roles_support import plugin

TYPES = plugin("module_utils.hardening", "registry").TYPES
Type = plugin("module_utils.hardening", "base").Type
EL10 = "root:x:0:0:root:/root:/bin/bash\n"


@dataclass(frozen=True)
class Case:
    """A resource on a node that lacks it; `says` are pieces of the announcement, in order."""

    type: str
    resource: dict[str, Any]
    says: list[str]
    files: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[System], None] = lambda system: None
    calls: list[list[str]] = field(default_factory=list)
    name: str = ""
    phase: str = "hardening"


def units(system: System) -> None:
    system.unit("bad.service", file="enabled", active="active")
    system.unit("good.service")


def people(system: System) -> None:
    system.user("ann:x:1001:1001::/home/ann:/bin/bash", "ann:$6$x:19000:0:99999:7:::")
    system.user("daemon:x:2:2::/sbin:/bin/sh", "daemon:$6$y:19000:0:99999:7:::")
    system.user("open:x:1002:1002::/home/open:/bin/bash", "open::19000:0:99999:7:::")


def homes(system: System) -> None:
    me, group = os.getuid(), os.getgid()
    uid = me if me >= 1000 else 1001
    system.user(f"ann:x:{uid}:{group}::/home/ann:/bin/bash")
    system.write("/home/ann/.profile", "x", 0o666)
    system.path("/home/ann").chmod(0o755)


def tmp_mount(system: System) -> None:
    system.write(
        "/usr/lib/systemd/system/tmp.mount",
        "[Mount]\nWhat=tmpfs\nOptions=mode=1777,strictatime\n",
    )
    system.write("/proc/self/mounts", "tmpfs /tmp tmpfs rw,mode=1777 0 0\n")


def authselect(system: System) -> None:
    system.program("authselect")
    system.write("/usr/share/authselect/default/local/system-auth", PAM)
    system.write("/usr/share/authselect/default/local/nsswitch.conf", "passwd: files\n")
    system.write("/etc/authselect/authselect.conf", "local\nwith-mkhomedir\n")
    system.write("/etc/authselect/system-auth", PAM)
    system.path("/etc/pam.d").mkdir(parents=True)
    system.path("/etc/pam.d/system-auth").symlink_to("/etc/authselect/system-auth")


def walk(system: System) -> None:
    system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
    system.write("/srv/open", "x", 0o666)
    folder = system.path("/srv/shared")
    folder.mkdir()
    folder.chmod(0o777)


PAM = """\
auth        required                                     pam_env.so
auth        sufficient                                   pam_unix.so nullok
password    requisite                                    pam_pwquality.so retry=3
password    sufficient                                   pam_unix.so sha512 use_authtok
"""

CASES = [
    Case(
        "sysctl",
        {"name": "net.ipv4.conf.all.log_martians", "value": "1"},
        [
            "set net.ipv4.conf.all.log_martians = 1 (was 0)",
            "keep net.ipv4.conf.all.log_martians = 1 in",
            "put net.ipv4.conf.all.log_martians out of force in /etc/sysctl.conf",
            "override net.ipv4.conf.all.log_martians of /usr/lib/sysctl.d/99-vendor.conf",
        ],
        files={
            "/proc/sys/net/ipv4/conf/all/log_martians": "0\n",
            "/etc/sysctl.conf": "# mine\nnet.ipv4.conf.all.log_martians=0\nother.key = 5\n",
            "/usr/lib/sysctl.d/99-vendor.conf": "-net.ipv4.conf.all.log_martians = 0\nx.y=1\n",
        },
        after={
            "/proc/sys/net/ipv4/conf/all/log_martians": "1\n",
            "/etc/sysctl.conf": "# mine\n# net.ipv4.conf.all.log_martians=0  # put out of force by"
            " Holdfast\nother.key = 5\n",
            "/etc/sysctl.d/99-vendor.conf": "# -net.ipv4.conf.all.log_martians = 0  # put out of"
            " force by Holdfast\nx.y=1\n",
        },
    ),
    Case(
        "sshd",
        {"option": "PermitRootLogin", "value": "no"},
        ["set PermitRootLogin no in", "put another PermitRootLogin out of force", "reload sshd"],
        files={
            "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n"
            "PermitRootLogin yes\nMatch User x\n  PermitRootLogin yes\n",
        },
        after={
            "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n"
            "# PermitRootLogin yes  # put out of force by Holdfast\n"
            "Match User x\n  PermitRootLogin yes\n",
        },
        calls=[["sshd", "-t"], ["systemctl", "try-reload-or-restart", "sshd.service"]],
        phase="access",
    ),
    Case(
        "sshd",
        {"option": "MaxAuthTries", "value": "4", "main": "4"},
        ["MaxAuthTries 4 in /etc/ssh/sshd_config.d", "MaxAuthTries 4 in /etc/ssh/sshd_config",
         "read /etc/ssh/sshd_config.d before"],
        files={"/etc/ssh/sshd_config": "UsePAM yes\n"},
        after={
            "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n"
            "MaxAuthTries 4\n"
        },
        name="sshd-main",
        phase="access",
    ),
    Case(
        "setting",
        {"path": "/etc/login.defs", "key": "PASS_MAX_DAYS", "value": "365", "style": "space"},
        ["set PASS_MAX_DAYS to 365 in /etc/login.defs"],
        files={"/etc/login.defs": "# PASS_MAX_DAYS is\nPASS_MAX_DAYS\t99999\nUMASK 022\n"},
        after={"/etc/login.defs": "# PASS_MAX_DAYS is\nPASS_MAX_DAYS 365\nUMASK 022\n"},
    ),
    Case(
        "setting",
        {"path": "/etc/x.conf", "key": "a", "state": "absent"},
        ["put a out of force in /etc/x.conf"],
        files={"/etc/x.conf": "a = 1\nb = 2\n"},
        after={"/etc/x.conf": "# a = 1  # put out of force by Holdfast\nb = 2\n"},
        name="setting-absent",
    ),
    Case(
        "line",
        {"path": "/etc/profile", "line": "TMOUT=900", "match": "^TMOUT="},
        ["write TMOUT=900 into /etc/profile"],
        files={"/etc/profile": "TMOUT=1\nx\nTMOUT=2\n"},
        after={"/etc/profile": "TMOUT=900\nx\n"},
    ),
    Case(
        "content",
        {"path": "/etc/issue", "text": "hello\n", "mode": "0640"},
        ["write /etc/issue"],
        after={"/etc/issue": "hello\n"},
        prepare=lambda system: system.path("/etc/issue").symlink_to("../usr/lib/issue"),
    ),
    Case(
        "file",
        {"path": "/etc/cron*", "mode": "0700", "kind": "dir"},
        ["set mode 0700 on /etc/cron.d"],
        files={"/etc/cron.d/x": "", "/etc/crontab": ""},
    ),
    Case(
        "file",
        {"path": "/etc/shosts", "state": "absent"},
        ["remove /etc/shosts"],
        files={"/etc/shosts": "x"},
        name="file-absent",
    ),
    Case(
        "aide_groups",
        {"present": ["sha512", "acl"], "absent": ["sha1", "md5"]},
        ["set NORMAL = p+u+sha512+acl in /etc/aide.conf", "set PERMS = p+sha512+acl in"],
        files={"/etc/aide.conf": "NORMAL = p+u+sha1+sha512\nPERMS = p\nLOG = >\n/etc NORMAL\n"},
        after={
            "/etc/aide.conf": "NORMAL = p+u+sha512+acl\nPERMS = p+sha512+acl\n"
            "LOG = >\n/etc NORMAL\n"
        },
    ),
    Case(
        "service",
        {"name": "bad.service", "state": "masked"},
        ["mask bad.service", "stop bad.service"],
        prepare=units,
    ),
    Case(
        "service",
        {"name": "bad.service", "state": "disabled"},
        ["disable bad.service", "stop bad.service"],
        prepare=units,
        name="service-disabled",
    ),
    Case(
        "service",
        {"name": "good.service", "state": "enabled"},
        ["enable good.service", "start good.service"],
        prepare=units,
        name="service-enabled",
    ),
    Case(
        "default_target",
        {"name": "multi-user.target"},
        ["start multi-user.target by default (was graphical.target)"],
        files={"/usr/lib/systemd/system/multi-user.target": ""},
        prepare=lambda s: s.path("/usr/lib/systemd/system/default.target").symlink_to(
            "graphical.target"
        ),
    ),
    Case(
        "module",
        {"name": "usb-storage"},
        ["keep module usb-storage from being loaded", "unload module usb-storage"],
        files={"/proc/modules": "usb_storage 4096 0 - Live 0x0\n"},
        after={
            "/etc/modprobe.d/60-holdfast.conf": "# Written by Holdfast; what is changed here does"
            " not last.\ninstall usb-storage /bin/false\nblacklist usb-storage\n"
        },
    ),
    Case(
        "mount",
        {"path": "/home", "options": ["nodev", "nosuid"]},
        ["mount /home with nosuid by /etc/fstab", "mount /home again with nosuid"],
        files={
            "/etc/fstab": "# x\n/dev/vdb /home xfs defaults,nodev 0 0\n",
            "/proc/self/mounts": "/dev/vdb /home xfs rw,nodev 0 0\n",
        },
        after={"/etc/fstab": "# x\n/dev/vdb\t/home\txfs\tdefaults,nodev,nosuid\t0\t0\n"},
    ),
    Case(
        "mount",
        {"path": "/tmp", "options": ["noexec"]},
        ["mount /tmp with noexec by /etc/systemd/system/tmp.mount.d", "mount /tmp again"],
        prepare=tmp_mount,
        after={
            "/etc/systemd/system/tmp.mount.d/60-holdfast.conf": "[Mount]\n"
            "Options=mode=1777,strictatime,noexec\n"
        },
        name="mount-unit",
    ),
    Case(
        "mount",
        {"path": "/dev/shm", "options": ["noexec"]},
        ["mount /dev/shm with noexec by /etc/fstab", "again with noexec"],
        files={"/proc/self/mounts": "tmpfs /dev/shm tmpfs rw,seclabel,nosuid 0 0\n"},
        after={"/etc/fstab": "tmpfs\t/dev/shm\ttmpfs\trw,nosuid,noexec\t0\t0\n"},
        name="mount-new",
    ),
    Case(
        "audit_rule",
        {"key": "time", "rules": ["-a always,exit -F arch={arch} -S adjtimex -k time"]},
        ["write /etc/audit/rules.d/60-holdfast-time.rules", "load the audit rules"],
        prepare=lambda system: system.program("augenrules"),
        after={
            "/etc/audit/rules.d/60-holdfast-time.rules": "".join(
                f"-a always,exit -F arch={arch} -S adjtimex -k time\n" for arch in ("b32", "b64")
            )
        },
        calls=[["augenrules", "--load"]],
    ),
    Case(
        "audit_privileged",
        {"key": "privileged"},
        ["write /etc/audit/rules.d/60-holdfast-privileged.rules"],
        files={"/proc/self/mounts": "/dev/vda / xfs rw 0 0\n"},
        prepare=lambda system: system.write("/usr/bin/su", "", 0o4755),
        after={
            "/etc/audit/rules.d/60-holdfast-privileged.rules": "-a always,exit -F path=/usr/bin/su"
            " -F perm=x -F auid>=1000 -F auid!=unset -k privileged\n"
        },
    ),
    Case(
        "pam",
        {
            "service": ["su"],
            "facility": "auth",
            "module": "pam_unix.so",
            "args": {"present": {"try_first_pass": None}, "absent": ["nullok"]},
        },
        ["set pam_unix.so of auth in su"],
        files={"/etc/pam.d/su": PAM},
        after={
            "/etc/pam.d/su": PAM.replace(
                "auth        sufficient                                   pam_unix.so nullok",
                "auth        sufficient                                    "
                "pam_unix.so try_first_pass",
            )
        },
    ),
    Case(
        "pam",
        {
            "service": ["system-auth"],
            "facility": "password",
            "module": "pam_pwhistory.so",
            "control": "requisite",
            "before": "pam_unix.so",
        },
        ["set pam_pwhistory.so of password in system-auth"],
        prepare=authselect,
        calls=[
            ["authselect", "select", "custom/holdfast", "with-mkhomedir", "--force", "--quiet"]
        ],
        name="pam-authselect",
    ),
    Case(
        "authselect",
        {"features": ["with-faillock", "with-mkhomedir"]},
        ["enable authselect feature with-faillock"],
        prepare=authselect,
        after={"/etc/authselect/authselect.conf": "local\nwith-mkhomedir\nwith-faillock\n"},
    ),
    Case(
        "crypto_policy",
        {"policy": "DEFAULT", "modules": ["NO-SHA1"]},
        ["set crypto policy DEFAULT (was LEGACY)", "add module NO-SHA1"],
        files={
            "/etc/crypto-policies/config": "# x\nLEGACY\n",
            "/etc/crypto-policies/state/current": "LEGACY\n",
            "/usr/share/crypto-policies/policies/DEFAULT.pol": "",
            "/usr/share/crypto-policies/policies/modules/NO-SHA1.pmod": "",
        },
        prepare=lambda system: system.program("update-crypto-policies"),
        after={"/etc/crypto-policies/state/current": "DEFAULT:NO-SHA1\n"},
    ),
    Case(
        "kernel_argument",
        {"name": "audit", "value": "1"},
        ["set kernel argument audit=1"],
        files={"/proc/cmdline": "ro quiet\n"},
        prepare=lambda system: system.program("grubby"),
    ),
    Case(
        "selinux",
        {"state": "enforcing", "policy": "targeted"},
        ["set SELinux to enforcing", "set SELinux policy targeted", "enforce SELinux"],
        files={
            "/etc/selinux/config": "SELINUX=permissive\nSELINUXTYPE=mls\n",
            "/sys/fs/selinux/enforce": "0",
            "/etc/selinux/targeted/policy/policy.33": "",
        },
        after={
            "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
            "/sys/fs/selinux/enforce": "1",
        },
    ),
    Case(
        "umask",
        {"value": "0027"},
        ["umask 027 in /etc/bashrc", "umask 027 in /etc/login.defs", "umask 027 in /etc/profile"],
        files={
            "/etc/bashrc": "if x; then\n  umask 002\nelse\n  umask 077\nfi\n",
            "/etc/profile": "# umask 022\n",
            "/etc/login.defs": "UMASK 022\n",
        },
        after={
            "/etc/bashrc": "if x; then\n  umask 027\nelse\n  umask 077\nfi\n",
            "/etc/profile": "# umask 022\numask 027\n",
            "/etc/login.defs": "UMASK 027\n",
        },
    ),
    Case(
        "group",
        {"name": "sugroup", "members": ["ann"]},
        ["make group sugroup", "set members of group sugroup: ann"],
    ),
    Case(
        "account",
        {"what": "password_max_days", "value": "365"},
        ["set password max days of ann to 365", "set password max days of daemon to 365"],
        prepare=people,
    ),
    Case(
        "account",
        {"what": "inactive_days", "value": "30"},
        ["set inactive days of ann to 30"],
        prepare=people,
        name="account-inactive",
    ),
    Case(
        "account",
        {"what": "lock_empty"},
        ["lock open, which has no password"],
        prepare=people,
        name="account-empty",
    ),
    Case(
        "account",
        {"what": "lock_system"},
        ["lock daemon"],
        prepare=people,
        name="account-lock",
    ),
    Case(
        "account",
        {"what": "nologin_system"},
        ["take the shell from daemon"],
        prepare=people,
        name="account-shell",
    ),
    Case(
        "account",
        {"what": "home_mode", "value": "0750"},
        ["set 0750"],
        prepare=homes,
        name="account-home",
    ),
    Case(
        "account",
        {"what": "dotfile_mode", "value": "0740"},
        ["set 0640"],
        prepare=homes,
        name="account-dotfile",
    ),
    Case(
        "aide_database",
        {},
        ["make the first database of AIDE"],
        files={"/etc/aide.conf": "@@define DBDIR /var/lib/aide\n"
               "database_in=file:@@{DBDIR}/aide.db.gz\n"
               "database_out=file:@@{DBDIR}/aide.db.new.gz\n"},
        prepare=lambda system: system.program("aide"),
        after={"/var/lib/aide/aide.db.gz": "db"},
    ),
    Case("sweep", {"what": "sticky"}, ["set mode 1777 on /srv/shared"], prepare=walk),
    Case(
        "sweep",
        {"what": "no_world_write"},
        ["set mode 0664 on /srv/open"],
        prepare=walk,
        name="sweep-files",
    ),
]  # fmt: skip
IDS = [case.name or case.type for case in CASES]


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return System(root)


def prepared(system: System, case: Case) -> list[dict[str, Any]]:
    for path, text in case.files.items():
        system.write(path, text)
    case.prepare(system)
    system.path("/etc/systemd/system").mkdir(parents=True, exist_ok=True)
    return [control({"type": case.type, **case.resource}, phase=case.phase)]


def test_every_type_of_the_policy_is_here_and_has_a_case():
    assert set(TYPES) == set(IN_POLICY)
    assert set(TYPES) - {"package"} == {case.type for case in CASES}


@pytest.mark.parametrize("lacks", ["read", "diff", "write"])
def test_a_type_that_lacks_a_part_cannot_be_made(lacks):
    parts = {"read", "diff", "write"} - {lacks}
    half = type("Half", (Type,), dict.fromkeys(parts, lambda *_: None))
    with pytest.raises(TypeError, match=f"abstract method '?{lacks}"):
        half(node=None)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_resource_is_announced_written_and_then_quiet(system, case):
    controls = prepared(system, case)
    before = snapshot(system.root)
    planned = Run(system, controls, phase=case.phase)
    assert planned.wrong == []
    assert snapshot(system.root) == before, "a look changes nothing"
    for piece, said in zip(case.says, planned.said, strict=False):
        assert piece in said
    assert len(planned.said) >= len(case.says), planned.said

    run = Run(system, controls, phase=case.phase)
    assert run.said == planned.said
    assert run.commit() == []
    for path, text in case.after.items():
        assert system.read(path) == text
    for argv in case.calls:
        assert argv in system.calls

    again = Run(system, controls, phase=case.phase)
    assert again.wrong == []
    assert again.said == []


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_undo_brings_back_every_byte_right_and_state(system, case):
    controls = prepared(system, case)
    before = snapshot(system.root), copy.deepcopy(system.units), list(system.kernels)
    run = Run(system, controls, phase=case.phase)
    assert run.commit() == []
    told = run.undo(check=True)
    changed = snapshot(system.root), copy.deepcopy(system.units), list(system.kernels)
    assert changed != before
    report = run.undo()
    assert told.done == report.done
    assert (report.left, report.wrong) == ([], [])
    after = snapshot(system.root), system.units, [" ".join(k.split()) for k in system.kernels]
    assert {n: v for n, v in after[0].items() if before[0].get(n) != v} == {}
    assert set(before[0]) <= set(after[0]), "nothing is lost"
    assert set(after[0]) - set(before[0]) == set(), "nothing stays"
    assert after[1:] == before[1:]
    again = run.undo()
    assert (again.left, again.wrong) == ([], [])


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_resource_that_is_not_as_it_must_be_is_refused(system, name):
    wrong = Run(system, [control({"type": name, "colour": "green"})])
    assert any("unknown field colour" in what for what in wrong.wrong)


def test_an_unknown_type_is_refused_before_anything_is_looked_at(system):
    run = Run(system, [control({"type": "magic"})])
    assert run.wrong == ["c: unknown type magic"]
    assert system.calls == []


class TestSysctl:
    def test_switching_forwarding_off_says_the_rest_again_and_takes_it_back_in_that_order(
        self, system
    ):
        for name, value in (("ip_forward", 1), ("conf/all/log_martians", 1)):
            system.write(f"/proc/sys/net/ipv4/{name}", f"{value}\n")
        wants = [
            {"type": "sysctl", "name": "net.ipv4.conf.all.log_martians", "value": "1"},
            {"type": "sysctl", "name": "net.ipv4.ip_forward", "value": "0"},
        ]
        run = Run(system, [control(*wants)])
        order = [step["put"] for step in run.node.acts[0].do]
        assert order[0] == ["/proc/sys/net/ipv4/ip_forward", "0"]
        assert order[1] == ["/proc/sys/net/ipv4/conf/all/log_martians", "1"]
        assert run.node.acts[0].undo[0]["put"] == ["/proc/sys/net/ipv4/ip_forward", "1"]

    def test_two_controls_that_want_different_values_are_refused(self, system):
        system.write("/proc/sys/a/b", "0\n")
        one = control({"type": "sysctl", "name": "a.b", "value": "1"}, name="one")
        two = control({"type": "sysctl", "name": "a.b", "value": "2"}, name="two")
        assert "one and two want different values of a.b" in Run(system, [one, two]).wrong[0]

    def test_what_no_control_wants_any_more_leaves_our_file_and_what_others_want_stays(
        self, system
    ):
        first = control(
            {"type": "sysctl", "name": "a.b", "value": "1"},
            {"type": "sysctl", "name": "a.c", "value": "1"},
        )
        Run(system, [first]).commit()
        later = control({"type": "sysctl", "name": "a.c", "value": "1"}, phase="audit_trail")
        run = Run(system, [later])
        # The other phase cleans up, because there the type is still wanted.
        assert run.said == []
        run = Run(system, [later], phase="audit_trail")
        assert run.said == ["no longer keep a.b in /etc/sysctl.d/60-holdfast.conf"]
        run.commit()
        assert "a.c = 1" in system.read("/etc/sysctl.d/60-holdfast.conf")
        run = Run(system, [control()])
        assert run.said == ["no longer keep a.c in /etc/sysctl.d/60-holdfast.conf"]
        run.commit()
        assert not system.path("/etc/sysctl.d/60-holdfast.conf").exists()

    def test_a_blank_or_a_bit_that_somebody_changed_in_our_file_is_mended(self, system):
        wants = [control({"type": "sysctl", "name": "a.b", "value": "1"})]
        Run(system, wants).commit()
        path = system.path("/etc/sysctl.d/60-holdfast.conf")
        path.write_text(path.read_text() + "\n# hello\n")
        assert Run(system, wants).said == [
            f"write /{path.relative_to(system.root)} as it has to be"
        ]
        Run(system, wants).commit("r2")
        path.chmod(0o666)
        run = Run(system, wants)
        assert run.said == ["set 0644 root:root on /etc/sysctl.d/60-holdfast.conf"]
        run.commit("r3")
        assert Run(system, wants).said == []


class TestAideDatabase:
    def test_it_may_take_as_long_as_a_large_disk_needs(self, system):
        """It reads the whole system, which takes minutes on a slow disk or an emulated machine."""
        system.program("aide")
        system.write("/etc/aide.conf", "database_out=file:/var/lib/aide/aide.db.new.gz\n")
        Run(system, [control({"type": "aide_database"})]).commit()
        assert system.allowed["aide"] >= 3600
        assert system.allowed["mv"] < 3600


class TestPackage:
    def test_what_could_not_be_installed_is_refused(self, system):
        wants = [control({"type": "package", "name": "aide", "state": "present"})]
        assert "aide is not installed" in Run(system, wants).wrong[0]
        system.packages.add("aide")
        assert Run(system, wants).wrong == []

    def test_a_plan_counts_what_an_earlier_task_installs_and_says_so(self, system):
        wants = [control({"type": "content", "path": "/etc/x", "text": ""}, when={"package": "a"})]
        assert Run(system, wants).passed.not_applicable == {"c": "there is no package a"}
        planned = Run(system, wants, pending=frozenset({"a"}))
        assert planned.said == ["c: write /etc/x"]
        assert set(planned.node.depends) == {"a"}


class TestService:
    def test_units_that_are_not_there_are_no_trouble_unless_they_shall_run(self, system):
        absent = control({"type": "service", "name": "no.service", "state": "masked"})
        assert Run(system, [absent]).said == []
        wanted = control({"type": "service", "name": "no.service", "state": "enabled"})
        assert "there is no unit no.service" in Run(system, [wanted]).wrong[0]

    def test_many_units_are_one_look_and_one_command_for_each_verb(self, system):
        names = [f"u{number}.service" for number in range(20)]
        for name in names:
            system.unit(name, file="enabled", active="active")
        wants = [{"type": "service", "name": name, "state": "masked"} for name in names]
        Run(system, [control(*wants)]).commit()
        verbs = [argv[1] for argv in system.calls if argv[0] == "systemctl"]
        assert verbs == ["show", "mask", "stop"]

    def test_one_that_a_condition_holds_back_is_not_started_again_and_again(self, system):
        system.unit(
            "x.service",
            file="enabled",
            ConditionResult="no",
            ConditionTimestampMonotonic="5",
        )
        wants = [control({"type": "service", "name": "x.service", "state": "enabled"})]
        assert Run(system, wants).said == []


class TestReboot:
    def test_what_takes_effect_later_is_waited_for(self, system):
        system.write("/proc/modules", "cramfs 4096 1 - Live 0x0\n")
        run = Run(system, [control({"type": "module", "name": "cramfs"})])
        assert run.node.waiting == ["c: module cramfs is in use"]
        run = Run(system, [control({"type": "content", "path": "/x", "text": ""}, reboot=True)])
        assert run.node.waiting == ["c: write /x"]

    def test_locked_audit_rules_are_not_loaded_in_vain(self, system):
        system.program("augenrules")
        system.audit = "enabled 2\nfailure 1\n"
        wants = [control({"type": "audit_rule", "key": "a", "rules": ["-w /x -p wa -k a"]})]
        run = Run(system, wants)
        assert run.said == ["c: write /etc/audit/rules.d/60-holdfast-a.rules"]
        assert run.node.waiting == ["the audit rules are locked until the next start"]

    def test_an_option_of_the_trail_is_read_after_the_package_s_own(self, system):
        system.write("/etc/audit/rules.d/audit.rules", "-D\n-b 8192\n-f 1\n")
        # As an earlier Holdfast called it: read first, so that the package's line won.
        system.write("/etc/audit/rules.d/60-holdfast-stops.rules", "-f 2\n")
        rules = {"type": "audit_rule", "key": "k", "rules": ["-w /etc/x -p wa -k k"]}
        option = {"type": "audit_rule", "key": "stops", "rules": ["-f 2"]}
        run = Run(system, [control(rules), control(option)])
        run.commit()
        folder = system.path("/etc/audit/rules.d")
        assert sorted(p.name for p in folder.iterdir()) == [
            "60-holdfast-k.rules", "audit.rules", "zz-holdfast-stops.rules",
        ]  # fmt: skip
        assert any(said.endswith("remove /etc/audit/rules.d/60-holdfast-stops.rules")
                   for said in run.said)  # fmt: skip
        assert Run(system, [control(rules), control(option)]).said == []

    def test_a_kernel_without_audit_loads_no_rules_and_says_so(self, system):
        system.program("augenrules")
        system.failing = {"auditctl"}
        wants = [control({"type": "audit_rule", "key": "a", "rules": ["-w /x -p wa -k a"]})]
        run = Run(system, wants)
        assert run.said == ["c: write /etc/audit/rules.d/60-holdfast-a.rules"]
        assert run.node.waiting == []
        assert "no audit here" in run.node.skipped[0]

    def test_selinux_that_was_switched_off_is_labelled_and_not_enforced_at_once(self, system):
        system.write("/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=targeted\n")
        run = Run(system, [control({"type": "selinux", "state": "enforcing"})])
        run.commit()
        assert system.path("/.autorelabel").exists()
        assert not any(argv[0] == "setenforce" for argv in system.calls)
        assert run.node.waiting

    def test_permissive_never_lowers_enforcing(self, system):
        system.write("/etc/selinux/config", "SELINUX=enforcing\n")
        system.write("/sys/fs/selinux/enforce", "1")
        assert Run(system, [control({"type": "selinux", "state": "permissive"})]).said == []


class TestSweep:
    def test_what_another_control_closes_gets_no_sticky_bit(self, system):
        homes(system)
        walk(system)
        system.path("/home/ann").chmod(0o777)
        wants = [
            control({"type": "account", "what": "home_mode", "value": "0750"}),
            control({"type": "sweep", "what": "sticky"}),
        ]
        assert Run(system, wants).commit() == []
        assert system.path("/home/ann").stat().st_mode & 0o7777 == 0o750
        assert Run(system, wants).said == []


class TestAuthselect:
    def test_what_it_wrote_and_somebody_edited_is_written_again(self, system):
        authselect(system)
        wants = [
            control(
                {
                    "type": "pam",
                    "service": ["system-auth"],
                    "facility": "auth",
                    "module": "pam_unix.so",
                    "args": {"absent": ["nullok"]},
                },
                name="no-empty",
            ),
            control({"type": "authselect", "features": ["with-mkhomedir"]}, name="features"),
        ]
        Run(system, wants).commit()
        # The real one would write it from the profile.
        system.write("/etc/authselect/system-auth", PAM.replace(" nullok", ""))
        assert Run(system, wants).said == []
        system.write("/etc/authselect/system-auth", PAM)
        system.edited_by_hand = True
        run = Run(system, wants)
        assert sorted(run.said) == [
            "features: write the files of authselect profile custom/holdfast again",
            "no-empty: set pam_unix.so of auth in system-auth",
        ]
        assert run.commit("r2") == []
        assert [
            "authselect",
            "select",
            "custom/holdfast",
            "with-mkhomedir",
            "--force",
            "--quiet",
        ] in (system.calls)
        assert not system.edited_by_hand


class TestNotHere:
    @pytest.mark.parametrize(
        ("resource", "why"),
        [
            ({"type": "authselect", "features": ["with-faillock"]}, "there is no authselect"),
            ({"type": "kernel_argument", "name": "audit", "value": "1"}, "grubby"),
            ({"type": "selinux", "state": "enforcing"}, "/etc/selinux/config"),
            ({"type": "selinux", "policy": "targeted"}, "/etc/selinux/config"),
            ({"type": "crypto_policy", "policy": "DEFAULT"}, "crypto policies"),
            ({"type": "aide_database"}, "there is no aide"),
            (
                {"type": "pam", "service": ["su"], "facility": "auth", "module": "pam_unix.so"},
                "there is no su",
            ),
        ],
    )
    def test_a_resource_without_its_subject_is_not_applicable(self, system, resource, why):
        run = Run(system, [control(resource)])
        assert run.wrong == []
        assert run.said == []
        assert why in run.passed.not_applicable["c"]

    def test_a_policy_that_is_not_there_is_never_named(self, system):
        """Its system would not start again."""
        system.write("/etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=default\n")
        run = Run(system, [control({"type": "selinux", "policy": "targeted"})])
        assert run.wrong == []
        assert run.said == []
        assert "the policy targeted is not installed" in run.passed.not_applicable["c"]

    def test_a_mount_that_is_none_is_nothing_to_do(self, system):
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        assert (
            Run(system, [control({"type": "mount", "path": "/home", "options": ["nodev"]})]).said
            == []
        )

    def test_fips_stays(self, system):
        system.program("update-crypto-policies")
        system.write("/etc/crypto-policies/config", "FIPS\n")
        system.write("/etc/crypto-policies/state/current", "FIPS\n")
        assert Run(system, [control({"type": "crypto_policy", "policy": "DEFAULT"})]).said == []
