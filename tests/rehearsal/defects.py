"""Defects to plant on a node: how to break it, which checks must say so, how to put it back.

Defects of one round are planted together and judged by one `verify`; the checks that do not pass
must then be exactly those that the round names, on this node and on no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FAIL, UNKNOWN = "fail", "unknown"
UNIT = "/etc/containers/systemd/holdfast-inference.container"
KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-holdfast-rehearsal"
REPOSITORY = "/etc/yum.repos.d/holdfast.repo"
# Many starts in a row are what the unit refuses, and what these defects need.
RESTART = (
    "systemctl daemon-reload; systemctl reset-failed holdfast-inference || true; "
    "systemctl restart holdfast-inference"
)


@dataclass(frozen=True)
class Defect:
    """One defect. `plant` and `mend` are shell scripts that run as root on the node."""

    plant: str
    mend: str
    checks: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def statuses(self) -> dict[str, str]:
        """What each check must say that does not pass."""
        return {**dict.fromkeys(self.checks, FAIL), **dict.fromkeys(self.unknown, UNKNOWN)}


@dataclass(frozen=True)
class Round:
    """Defects that do not disturb each other."""

    name: str
    defects: tuple[Defect, ...]
    statuses: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        whole: dict[str, str] = {}
        for defect in self.defects:
            assert not whole.keys() & defect.statuses.keys(), defect
            whole |= defect.statuses
        object.__setattr__(self, "statuses", whole)


def edited(path: str, script: str, *checks: str) -> Defect:
    """A file changed by a sed script, and put back with its time."""
    copy = f"/root/{path.replace('/', '_')}"
    # A copy of the link itself, as os-release is one, would be emptied by putting it back.
    plant = f"cp -pL {path} {copy}; sed -i --follow-symlinks '{script}' {path}"
    return Defect(plant, f"cat {copy} > {path}; touch -r {copy} {path}", checks)


def container(script: str, *checks: str, unknown: tuple[str, ...] = ()) -> Defect:
    """The inference container started from a changed description."""
    copy = "/root/container"
    return Defect(
        f"cp -p {UNIT} {copy}; sed -i '{script}' {UNIT}; {RESTART}",
        f"cp -p {copy} {UNIT}; {RESTART}",
        checks,
        unknown,
    )


ROUNDS = (
    Round(
        "repositories and packages",
        (
            Defect(
                "printf '[stray]\\nname=stray\\nbaseurl=http://192.0.2.1:8000/el10/x86_64\\n"
                f"enabled=1\\ngpgcheck=1\\nrepo_gpgcheck=1\\ngpgkey=file://{KEY}\\n'"
                " > /etc/yum.repos.d/stray.repo",
                "rm /etc/yum.repos.d/stray.repo",
                ("repositories.only_locked",),
            ),
            edited(
                REPOSITORY, "s/^repo_gpgcheck=1/repo_gpgcheck=0/", "repositories.signatures_checked"
            ),
            Defect(
                f"cp -p {KEY} /root/key; : > {KEY}; "
                "cp -a /var/lib/rpm /root/rpm; rpm -e --allmatches gpg-pubkey",
                f"cp -p /root/key {KEY}; rm -rf /var/lib/rpm; mv /root/rpm /var/lib/rpm",
                ("repositories.keys", "repositories.trusted"),
            ),
            Defect(
                "rpm -e --justdb --nodeps --noscripts --notriggers firewalld chrony crun; "
                "rpm -i --justdb --nodeps --nosignature /root/other.rpm",
                "rm /root/other.rpm",
                (
                    "base.packages",
                    "time.packages",
                    "container_runtime.packages",
                    "base.packages_locked",
                    "base.packages_signed",
                ),
            ),
            Defect(
                "chmod o+w /usr/bin/podman", "chmod 755 /usr/bin/podman", ("base.packages_intact",)
            ),
            edited("/etc/os-release", "s/^ID_LIKE=.*/ID_LIKE=debian/", "base.release"),
        ),
    ),
    Round(
        "units, ports and files",
        (
            Defect(
                "systemd-run -q --unit=broken false; sleep 1",
                "systemctl reset-failed broken",
                ("base.units",),
            ),
            Defect("journalctl --relinquish-var", "journalctl --flush", ("base.journal",)),
            edited("/etc/holdfast/stack.json", 's/"rack".*/"rack": "another",/', "base.record"),
            Defect(
                "mkdir -p /run/holdfast/reboot-required; "
                "echo kernel > /run/holdfast/reboot-required/test",
                "rm /run/holdfast/reboot-required/test",
                ("base.reboot",),
            ),
            Defect(
                "systemd-run -q --unit=stray python3 -m http.server 9998; sleep 1",
                "systemctl stop stray",
                ("base.listeners",),
            ),
            Defect(
                "firewall-cmd -q --add-port=9999/tcp",
                "firewall-cmd -q --remove-port=9999/tcp",
                ("base.firewall_openings",),
            ),
            Defect(
                "printf '[Service]\\nExecStart=/usr/bin/sleep 600\\n'"
                " > /run/systemd/system/ntpd.service; systemctl daemon-reload; "
                "systemctl start ntpd",
                "systemctl stop ntpd; rm /run/systemd/system/ntpd.service; systemctl daemon-reload",
                ("time.alone",),
            ),
            Defect(
                "systemctl -q disable chronyd", "systemctl -q enable chronyd", ("time.service",)
            ),
            Defect("chronyc add server 192.0.2.99", "chronyc delete 192.0.2.99", ("time.servers",)),
            edited(
                "/etc/containers/registries.conf",
                's/^unqualified.*/unqualified-search-registries = ["registry.example"]/',
                "container_runtime.no_search",
            ),
            edited(
                "/etc/containers/policy.json",
                's/"default": .*/"default": [{"type": "insecureAcceptAnything"}],/',
                "container_runtime.trust",
            ),
            Defect(
                "systemctl -q start podman-auto-update.timer",
                "systemctl -q stop podman-auto-update.timer",
                ("container_runtime.no_auto_update",),
            ),
            Defect(
                f"cp -p {UNIT} /root/unit; sed -i 's/^ReadOnly=.*/ReadOnlee=true/' {UNIT}; "
                f"touch -r /root/unit {UNIT}",
                f"cp -p /root/unit {UNIT}",
                ("container_runtime.units",),
            ),
            Defect(
                "cp -p /srv/models/tiny/tiny.gguf /root/model; "
                "printf x >> /srv/models/tiny/tiny.gguf",
                "cp -p /root/model /srv/models/tiny/tiny.gguf",
                ("model_store.digests",),
            ),
            Defect(
                "install -m 0444 /dev/null /srv/models/tiny/extra.gguf",
                "rm /srv/models/tiny/extra.gguf",
                ("model_store.nothing_else",),
            ),
            Defect(
                "chmod 0775 /srv/models/tiny",
                "chmod 0755 /srv/models/tiny",
                ("model_store.read_only",),
            ),
            Defect(
                f"touch {UNIT}",
                f"cp -p /root/unit {UNIT}; systemctl daemon-reload",
                ("inference.service",),
            ),
        ),
    ),
    Round(
        "a container with every guard off",
        (
            container(
                "s/^ReadOnly=.*/ReadOnly=false/; /^DropCapability/d; s/^User=.*/User=0/; "
                "s/^Group=.*/Group=0/; s/^NoNewPrivileges=.*/NoNewPrivileges=false\\n"
                "SeccompProfile=unconfined\\nSecurityLabelDisable=true/; "
                "s/^Pull=.*/Pull=missing/; s/:ro$/:rw/; s/--predict 256/--predict 999/; "
                "/^Health/d; /^Notify/d; /^ExecStartPre/d; s/^Restart=.*/Restart=no/; "
                "s/--port 8443/--port 8444/; s/^Entrypoint=/Environment=LEAK=@KEY@\\nEntrypoint=/",
                "inference.read_only_root",
                "inference.mounts",
                "inference.no_capabilities",
                "inference.no_new_privileges",
                "inference.not_root",
                "inference.label_kept",
                "inference.secrets_hidden",
                "inference.never_pulls",
                "inference.bounded",
                "inference.model_checked",
                "inference.healthy",
                "inference.service",
                "inference.port",
                "base.listeners",
                "inference.answers",
                unknown=("inference.refuses_wrong_key", "inference.refuses_plain_http"),
            ),
        ),
    ),
    Round(
        "an engine without a key",
        (container("s/--api-key-file [^ ]*//", "inference.refuses_wrong_key"),),
    ),
    Round(
        "an engine without TLS",
        (
            container(
                "s/--ssl-key-file [^ ]*//; s/--ssl-cert-file [^ ]*//; /^Health/d; /^Notify/d",
                "inference.answers",
                "inference.refuses_plain_http",
                "inference.healthy",
                unknown=("inference.refuses_wrong_key",),
            ),
        ),
    ),
    Round(
        "a packet filter that lets everything in, and no time server",
        (
            Defect(
                "firewall-cmd -q --add-rich-rule="
                "'rule family=ipv4 source address=0.0.0.0/0 accept'",
                "firewall-cmd -q --reload",
                ("base.firewall", "base.firewall_openings"),
            ),
            Defect(
                "chronyc delete 192.0.2.1",
                "systemctl restart chronyd; chronyc waitsync 30 0 0 1",
                ("time.servers", "time.synchronised"),
            ),
        ),
    ),
    Round(
        "a runtime that does not run",
        (
            Defect(
                # Its health checks are timers of their own, and would fail as units.
                "systemctl stop $(systemctl list-units --plain --no-legend --type=timer"
                " | grep -oE '^[0-9a-f]{64}[^ ]*'); mv /usr/bin/podman /usr/bin/podman.gone",
                f"mv /usr/bin/podman.gone /usr/bin/podman; {RESTART}",
                ("base.packages_intact",),
                (
                    "container_runtime.podman",
                    "container_runtime.no_search",
                    "container_runtime.image",
                    "inference.image",
                    "inference.healthy",
                    "inference.mounts",
                    "inference.read_only_root",
                    "inference.no_capabilities",
                    "inference.no_new_privileges",
                    "inference.not_root",
                    "inference.label_kept",
                    "inference.secrets_hidden",
                    "inference.port",
                    "inference.bounded",
                ),
            ),
        ),
    ),
)
