"""A small tree that every check of the lint passes, and what breaks it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

KERNEL = "6.12.0-55.el10.x86_64"
MODULES = f"usr/lib/modules/{KERNEL}/kernel"
_SPEC = """
Name: rpm
Version: 4.19
Release: 1.el10
Summary: Stands for rpm
License: MIT
BuildArch: noarch
%description
Stands for rpm.
%install
mkdir -p %{buildroot}/usr/bin
echo rpm > %{buildroot}/usr/bin/rpm
%files
/usr/bin/rpm
"""


def run(*argv: object, stdin: bytes = b"") -> bytes:
    """Run a tool of this machine."""
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True,
                          input=stdin).stdout  # fmt: skip


def put(root: Path, path: str, text: str | bytes = "", mode: int = 0o644) -> Path:
    """Write a file of the tree."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    raw = text if isinstance(text, bytes) else text.encode()
    place.write_bytes(raw)
    place.chmod(mode)
    return place


def make(folder: Path) -> Path:
    """The tree, with a real rpm database and a signed kernel module."""
    root = folder / "root"
    me, group = os.getuid(), os.getgid()
    root.mkdir(parents=True)
    passwd = f"root:x:0:0::/root:/bin/sh\nann:x:{me or 1000}:{group or 1000}::/home/ann:/bin/sh\n"
    put(root, "etc/passwd", passwd)
    put(root, "etc/group", f"root:x:0:\nann:x:{group or 1000}:\n")
    put(root, "etc/shadow", "root:!:20000:0:99999:7:::\nann:!*:20000:0:99999:7:::\n", 0o600)
    put(root, "etc/machine-id", "uninitialized\n")
    put(root, "etc/os-release", 'ID="rhel"\nVERSION_ID="10.0"\nPRETTY_NAME="RHEL 10.0"\n')
    put(root, "etc/hostname", "localhost\n")
    put(root, "etc/resolv.conf")
    put(root, "var/log/wtmp")
    put(root, "usr/lib/systemd/system/sshd.service", "[Service]\n")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "sshd.service").symlink_to("/usr/lib/systemd/system/sshd.service")
    (root / "etc/systemd/system/ctrl-alt-del.target").symlink_to("/dev/null")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    put(root, "usr/bin/su", "su", 0o4755)
    put(root, f"{MODULES}/fine.ko", module(folder, "fine"))
    spec = folder / "rpm.spec"
    spec.write_text(_SPEC)
    run("rpmbuild", "--quiet", "-bb", f"--define=_topdir {folder}/build",
        f"--define=_rpmdir {folder}/rpms", spec)  # fmt: skip
    database = root / "usr/lib/sysimage/rpm"
    database.mkdir(parents=True)
    rpm = next((folder / "rpms").rglob("*.rpm"))
    run("rpm", "--dbpath", database, "-i", "--justdb", "--nodeps", rpm)
    put(root, "usr/bin/rpm", "rpm\n")
    return root


def module(
    folder: Path, name: str, *, kernel: str = KERNEL, version: str = "", signed: bool = True
) -> bytes:
    """A kernel module as modinfo reads it, with a signature as the kernel's own tools append it."""
    fields = {
        "license": "GPL",
        "name": name,
        "vermagic": f"{kernel} SMP mod_unload",
        "version": version,
    }
    info = "".join(f'.asciz "{key}={value}"\n' for key, value in fields.items() if value)
    place = folder / f"{name}.o"
    run("gcc", "-c", "-x", "assembler", "-o", place, "-",
        stdin=f'.section .modinfo,"a"\n{info}'.encode())  # fmt: skip
    raw = place.read_bytes()
    if not signed:
        return raw
    key, certificate = folder / "key.pem", folder / "cert.pem"
    if not key.exists():
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Modules",
            "-keyout", key, "-out", certificate, "-days", "10")  # fmt: skip
    signature = run("openssl", "cms", "-sign", "-binary", "-noattr", "-nosmimecap", "-outform",
                    "DER", "-signer", certificate, "-inkey", key, "-md", "sha256",
                    stdin=raw)  # fmt: skip
    tail = struct.pack(">BBBBBxxxI", 0, 0, 2, 0, 0, len(signature))
    return raw + signature + tail + b"~Module signature appended~\n"


def copied(root: Path, target: Path) -> Path:
    """A copy that shares no file with the tree."""
    shutil.copytree(root, target, symlinks=True)
    return target


Break = Callable[[Path], object]


def _append(path: str, line: str) -> Break:
    def work(root: Path) -> None:
        put(root, path, ((root / path).read_text() if (root / path).exists() else "") + line,
            (root / path).stat().st_mode & 0o7777 if (root / path).exists() else 0o644)  # fmt: skip

    return work


def _file(path: str, text: str | bytes = "x\n", mode: int = 0o644) -> Break:
    return lambda root: put(root, path, text, mode)


def _link(path: str, target: str) -> Break:
    def work(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)

    return work


def _mode(path: str, mode: int) -> Break:
    def work(root: Path) -> None:
        (root / path).mkdir(parents=True, exist_ok=True) if "." not in path else None
        (root / path).chmod(mode)

    return work


def _private_key() -> str:
    # Written in parts, or this file would be taken for a secret itself.
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n"
    return "-----BEGIN " + "PRIVATE KEY-----\n" + body + "-----END " + "PRIVATE KEY-----\n"


KEY = _private_key()
CANARY = "the-site-s-own-secret"

BREAKS: dict[str, tuple[str, Break]] = {
    "machine-id": (
        "/etc/machine-id",
        _file("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ),
    "machine-id dbus": ("/var/lib/dbus/machine-id", _file("var/lib/dbus/machine-id", "01234567\n")),
    "ssh-host-keys": ("/etc/ssh/ssh_host_ed25519_key", _file("etc/ssh/ssh_host_ed25519_key")),
    "random-seed": ("/var/lib/systemd/random-seed", _file("var/lib/systemd/random-seed")),
    "logs": ("/var/log/dnf.log", _file("var/log/dnf.log")),
    "caches": ("/var/cache/dnf/x.solv", _file("var/cache/dnf/x.solv")),
    "caches history": ("/var/lib/dnf/history.sqlite", _file("var/lib/dnf/history.sqlite")),
    "secrets key": (
        "/etc/pki/tls/private/site.key",
        _file("etc/pki/tls/private/site.key", KEY, 0o600),
    ),
    "secrets key in usr": ("/usr/lib/site/key", _file("usr/lib/site/key", KEY)),
    "secrets token": ("/etc/environment", _file("etc/environment", "T=" + "hf_" + "a" * 34 + "\n")),
    "secrets netrc": (
        "/root/.netrc",
        _file("root/.netrc", "machine a login b password c\n", 0o600),
    ),
    "secrets docker": (
        "/root/.docker/config.json",
        _file("root/.docker/config.json", '{"auths": {"a": {"auth": "Zm9v"}}}'),
    ),
    "secrets repository": (
        "/etc/yum.repos.d/a.repo",
        _file("etc/yum.repos.d/a.repo", "[a]\nusername=u\npassword=p\n"),
    ),
    "secrets canary": ("/opt/tool", _file("opt/tool", b"\x7fELF\x00" + CANARY.encode(), 0o755)),
    "secrets canary far": (
        "/opt/large",
        _file("opt/large", b"\x00" * ((4 << 20) - 9) + CANARY.encode() + b"\x00" * 64),
    ),
    "login-keys": (
        "/root/.ssh/authorized_keys",
        _file("root/.ssh/authorized_keys", "ssh-ed25519 AAAA robot\n", 0o600),
    ),
    "password-hashes": ("/etc/shadow", _append("etc/shadow", "you:$6$salt$hash:20000::::::\n")),
    "password-hashes locked": (
        "/etc/shadow",
        _append("etc/shadow", "you:!$6$salt$h:20000::::::\n"),
    ),
    "resolv-conf": ("/etc/resolv.conf", _file("etc/resolv.conf", "nameserver 192.0.2.1\n")),
    "host-identity": ("/etc/hostname", _file("etc/hostname", "builder\n")),
    "host-identity nvme": ("/etc/nvme/hostnqn", _file("etc/nvme/hostnqn", "nqn.2014-08\n")),
    "privileged-programs new": ("/usr/bin/found", _file("usr/bin/found", "x", 0o4755)),
    "privileged-programs changed": (
        "/usr/bin/su",
        lambda root: (root / "usr/bin/su").chmod(0o6755),
    ),
    "privileged-programs gone": ("/usr/bin/su", lambda root: (root / "usr/bin/su").chmod(0o755)),
    "world-writable": ("/etc/hostname", lambda root: (root / "etc/hostname").chmod(0o666)),
    "world-writable dir": ("/tmp", lambda root: (root / "tmp").chmod(0o777)),
    "empty-passwords": ("/etc/shadow", _append("etc/shadow", "root2::20000::::::\n")),
    "empty-passwords passwd": ("/etc/passwd", _append("etc/passwd", "eve::1002:1002::/:/bin/sh\n")),
    "uid-zero": ("/etc/passwd", _append("etc/passwd", "toor:x:0:0::/:/bin/sh\n")),
    "scheduled": ("/var/spool/cron/root", _file("var/spool/cron/root", "* * * * * true\n")),
    "unit-links": (
        "/etc/systemd/system/multi-user.target.wants/gone.service",
        _link("etc/systemd/system/multi-user.target.wants/gone.service", "/usr/lib/gone.service"),
    ),
    "build-leftovers": ("/tmp/left", _file("tmp/left")),
    "build-leftovers history": ("/root/.bash_history", _file("root/.bash_history")),
    "build-leftovers rpmnew": ("/etc/ssh/sshd_config.rpmnew", _file("etc/ssh/sshd_config.rpmnew")),
    "one-kernel": (
        "/usr/lib/modules/6.12.0-99.el10.x86_64",
        _file("usr/lib/modules/6.12.0-99.el10.x86_64/vmlinuz"),
    ),
    "one-kernel boot": ("/boot/vmlinuz-6.12.0-1", _file("boot/vmlinuz-6.12.0-1")),
}
"""By check, and what of it where there are several: the path to be named, and what breaks it."""
BREAKS["empty-passwords"] = (
    "/etc/shadow",
    lambda root: put(root, "etc/shadow", "root::20000:0:99999:7:::\nann:!*:20000:::::\n", 0o600),
)
