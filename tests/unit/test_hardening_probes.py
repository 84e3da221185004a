"""The probes of hardening read files and listings as the programs that own them do."""

from __future__ import annotations

import pytest

from provision.checks.hardened import access, audit, files, system
from provision.checks.hardened.outcome import NotHere, Waits
from provision.checks.probes import hardening, hardening_access, hardening_files
from tests.unit.hardening_fixtures import looker


@pytest.fixture
def pam(tmp_path, monkeypatch):
    folder = tmp_path / "pam.d"
    folder.mkdir()
    monkeypatch.setattr(hardening_access, "PAM", (f"{folder}/",))
    return folder


def test_pam_s_stack_follows_includes_in_their_place(pam):
    (pam / "su").write_text(
        "#%PAM-1.0\nauth sufficient pam_rootok.so\nauth substack system-auth\n"
        "account include system-auth\nauth required /lib/security/pam_wheel.so use_uid # why\n"
    )
    (pam / "system-auth").write_text(
        "auth [default=1 success=ok] pam_localuser.so\n-auth required \\\n  pam_unix.so nullok\n"
        "account required pam_unix.so\n"
    )
    assert hardening_access._pam(["su", "gone"]) == {
        "su": [
            ["auth", "sufficient", "pam_rootok.so", ""],
            ["auth", "[default=1 success=ok]", "pam_localuser.so", ""],
            ["auth", "required", "pam_unix.so", "nullok"],
            ["account", "required", "pam_unix.so", ""],
            ["auth", "required", "pam_wheel.so", "use_uid"],
        ],
        "gone": None,
    }


def test_a_stack_that_cannot_be_followed_is_not_seen(pam):
    (pam / "su").write_text("auth include su\n")
    assert "error" in hardening_access.look({"pam": ["su"]})["pam"]


def test_a_module_on_the_wrong_side_of_its_neighbour_is_named():
    rows = [["password", "sufficient", "pam_unix.so", ""]]
    rows.append(["password", "requisite", "pam_pwquality.so", ""])
    look = looker({("hardening_access", "pam"): {"system-auth": rows}})
    wanted = {
        "service": ["system-auth"],
        "facility": "password",
        "module": "pam_pwquality.so",
        "control": "requisite",
        "before": "pam_unix.so",
    }
    assert access.pam(wanted, look) == [
        "system-auth: pam_pwquality.so does not run before pam_unix.so"
    ]


def test_names_of_match_lines_are_asked_about(tmp_path, monkeypatch):
    main = tmp_path / "sshd_config"
    main.write_text("Match User ann,b* Address 192.0.2.1\n PermitRootLogin yes\n")
    (tmp_path / "sshd_config.d").mkdir()
    (tmp_path / "sshd_config.d/1.conf").write_text("match=user open\n")
    monkeypatch.setattr(hardening_access, "SSHD", str(main))
    assert hardening_access._matches() == [
        ("user", "ann"),
        ("address", "192.0.2.1"),
        ("user", "open"),
    ]


def test_what_a_match_line_opens_is_named_with_whom():
    seen = [
        {"who": "anybody", "options": {"permitrootlogin": ["no"]}},
        {"who": "user root", "options": {"permitrootlogin": ["yes"]}},
    ]
    found = access.sshd(
        {"option": "PermitRootLogin", "value": "no"}, looker({("hardening_access", "sshd"): seen})
    )
    assert found == ["PermitRootLogin is yes, not no (for user root)"]


@pytest.mark.parametrize(
    ("option", "seen", "wanted", "right"),
    [
        ("RekeyLimit", "1073741824 3600", "1G 1h", True),
        ("RekeyLimit", "1073741824 0", "1G 1h", False),
        ("LoginGraceTime", "60", "1m", True),
        ("MACs", "hmac-sha2-512,hmac-md5", "-hmac-md5,umac-64", False),
        ("MACs", "hmac-sha2-512", "-hmac-md5,umac-64", True),
        ("MACs", "a,b,c", "a,b", False),
        ("MACs", "a,b", "a,b,c", True),
        ("LogLevel", "VERBOSE", "verbose", True),
    ],
)
def test_sshd_s_values_in_any_form(option, seen, wanted, right):
    sight = [{"who": "anybody", "options": {option.lower(): [seen]}}]
    found = access.sshd(
        {"option": option, "value": wanted}, looker({("hardening_access", "sshd"): sight})
    )
    assert (found == []) is right


def test_boot_entries_with_what_grub_saved(tmp_path, monkeypatch):
    (tmp_path / "a.conf").write_text("title A\noptions root=/dev/vda audit=1 quiet\n")
    (tmp_path / "b.conf").write_text("options $kernelopts\n")
    (tmp_path / "grubenv").write_text("saved_entry=a\nkernelopts=ro audit=0\n")
    monkeypatch.setattr(hardening, "ENTRIES", tmp_path)
    monkeypatch.setattr(hardening, "GRUBENV", str(tmp_path / "grubenv"))
    seen = hardening._kernel_arguments(["audit"])
    assert seen["entries"] == {"a.conf": ["audit=1"], "b.conf": ["audit=0"]}


def test_what_is_set_but_not_in_force_waits():
    seen = {"running": [], "entries": {"a.conf": ["audit=1"]}}
    wanted = {"name": "audit", "value": "1"}
    with pytest.raises(Waits, match="not with audit=1"):
        system.kernel_argument(wanted, looker({("hardening", "kernel_arguments"): seen}))
    locked = {"rules": [], "kept": ["-w /x -p wa -k a"], "status": {"enabled": "2"}}
    look = looker({("hardening", "audit"): {**locked, "machine": "x86_64"}})
    with pytest.raises(Waits):
        audit.audit_rule({"rules": ["-w /x -p wa -k a"]}, look)
    assert audit.audit_rule({"rules": ["-w /y -p wa -k a"]}, look)


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        ("-w /etc/sudoers.d/ -p wa -k s", "-w /etc/sudoers.d -p wa -k s"),
        (
            "-a always,exit -F arch=b64 -S chmod,fchmod -F auid>=1000 -F auid!=unset -k p",
            "-a always,exit -F arch=b64 -S fchmod,chmod,chown -F auid>=1000 -F auid!=-1 -F key=p",
        ),
        (
            "-a always,exit -F path=/usr/bin/su -F perm=x -F auid!=unset -k p",
            "-a exit,always -S all -F path=/usr/bin/su -F perm=x -F auid!=4294967295 -F key=p",
        ),
        (
            "-a always,exit -F arch=b64 -S execve -C euid!=uid -F auid!=unset -k p",
            "-a always,exit -F arch=b64 -S execve -C uid!=euid -F auid!=-1 -F key=p",
        ),
        (
            "-a always,exit -F arch=b64 -S clock_settime -F a0=0x0 -k c",
            "-a always,exit -F arch=b64 -S clock_settime -F a0=0 -F key=c",
        ),
    ],
)
def test_the_kernel_writes_a_rule_in_its_own_form(wanted, listed):
    held = [rule for rule in [audit.parse(listed)] if rule]
    assert not audit.lacking(wanted, held, "x86_64")
    assert audit.lacking(wanted, [], "x86_64")
    assert audit.lacking(wanted.replace("-k ", "-k other"), held, "x86_64")


def test_a_call_that_arm_never_had_is_not_missed_there():
    rules = ["-a always,exit -F arch={arch} -S rmdir -k d"]
    assert len(audit.expanded(rules, "x86_64")) == 2
    assert audit.expanded(rules, "aarch64") == ["-a always,exit -F arch=b32 -S rmdir -k d"]


def test_rights_are_told_by_groups_and_hidden_names_only_when_asked(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.conf").write_text("")
    (tmp_path / ".hidden.conf").write_text("")
    (tmp_path / "open.conf").touch(0o600)
    (tmp_path / "open.conf").chmod(0o666)
    (tmp_path / "link.conf").symlink_to("0.conf")
    (seen,) = hardening_files._files([{"path": f"{tmp_path}/*.conf", "recurse": False}])
    counts = {(row[0], row[1]): (row[4], len(row[5])) for row in seen["found"]}
    assert counts[("file", "0666")] == (1, 1)
    assert sum(count for (kind, _), (count, _) in counts.items() if kind == "file") == 10
    assert max(shown for _, shown in counts.values()) == hardening_files.EXAMPLES
    assert hardening_files._fitting(f"{tmp_path}/.h*") == [f"{tmp_path}/.hidden.conf"]


def test_the_last_of_several_settings_counts_where_its_reader_takes_it():
    texts = {"/etc/login.defs": "UMASK 022\nUMASK\t077\n", "/etc/x.conf": "a = 1\na = 2\n"}
    look = looker({("hardening_files", "texts"): texts})
    login = {"path": "/etc/login.defs", "key": "UMASK", "style": "space", "value": "077"}
    assert files.setting(login, look) == []
    # Of a reader that is not known, no line may say something else.
    assert files.setting({"path": "/etc/x.conf", "key": "a", "value": "2"}, look)


def test_sudo_s_defaults_for_everybody_and_for_somebody():
    said = '{"Defaults": [{"Options": [{"timestamp_timeout": 5.0}]}, {"Binding": [{"username":'
    said += ' "ann"}], "Options": [{"timestamp_timeout": -1}]}]}'
    look = looker({("hardening_files", "views"): {"sudoers": {"value": said}}})
    wanted = {"path": "/etc/sudoers.d/00-holdfast", "line": "Defaults timestamp_timeout=5"}
    assert "for [{'username': 'ann'}]" in files.line(wanted, look)[0]


def test_a_unit_that_its_own_condition_holds_back_is_as_wanted():
    unit = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "inactive"}
    held = {**unit, "ConditionResult": "no", "ConditionTimestampMonotonic": "5"}
    for seen, right in ((unit, False), (held, True)):
        look = looker({("hardening", "units"): {"a.service": seen}})
        assert (system.service({"name": "a.service", "state": "enabled"}, look) == []) is right
    gone = looker({("hardening", "units"): {"a.service": {"LoadState": "not-found"}}})
    with pytest.raises(NotHere):
        system.service({"name": "a.service", "state": "masked"}, gone)
    assert system.service({"name": "a.service", "state": "enabled"}, gone)
