"""A rehearsal node and the image that it would have come from: the base that it started from."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from provision.image import manifest as manifests
from provision.image.filelist import parse_files
from provision.image.manifest import KernelFacts
from provision.image.onnode import Walk
from provision.image.stage_sbom.packages import copy_database, packages_of
from provision.rehearsal.shell import run
from tests.unit.signed_support import make_image, make_key

IGNORED = """\
# What a rehearsal puts on its nodes.
added\t/etc/containers/containers.conf.d/10-rehearsal.conf\tthe rehearsal's own
added\t/etc/NetworkManager/system-connections/host0.nmconnection\tthe rehearsal's own
added\t/etc/systemd/network/10-host0.network\tthe rehearsal's own
all\t/home/rack/.ssh/**\tthe key of the rehearsal's user
"""


def image_of(tree: Path, folder: Path) -> tuple[Path, Path]:
    """A signed image of a tree as it lies there, and the public key."""
    key, public = make_key(folder / "image.key")
    lines = "".join(Walk(str(tree), {}, []).lines())
    packages = packages_of(copy_database(tree, folder / "rpm"), run)
    components = [
        {
            "type": "library", "name": p.name, "version": f"{p.epoch}:{p.version}-{p.release}",
            "properties": [{"name": "holdfast:rpm:nevra", "value": p.nevra}],
            "components": [{"type": "file", "name": path} for path in p.paths],
        }
        for p in packages
    ]  # fmt: skip
    make_image(
        folder / "image", key, files=parse_files(lines, "tree"),
        documents={manifests.CYCLONEDX: json.dumps({"components": components})},
        kernel=KernelFacts(version="6.12.0-1.el10.x86_64", arguments="quiet"),
    )  # fmt: skip
    return folder / "image", public


def says_its_image(image: Path) -> str:
    """The shell script that lets a node say which image it came from."""
    manifest = json.loads((image / manifests.MANIFEST).read_text())
    told = {"schema": "holdfast.node-image/1", "name": manifest["name"], "release": "10",
            "arch": "x86_64", "files": manifest["tree"]["files"]}  # fmt: skip
    return f"mkdir -p /etc/holdfast && echo '{json.dumps(told)}' >/etc/holdfast/image.json"


WANTS = "/etc/systemd/system"
PLANTED: tuple[tuple[str, str, str], ...] = (
    ("content", "/etc/login.defs", "echo '# x' >>/etc/login.defs"),
    ("content", "/etc/services", "sed -i '1s/./X/' /etc/services"),
    ("content", "/etc/passwd", "echo 'toor:x:0:0::/:/bin/sh' >>/etc/passwd"),
    ("missing", "/etc/ethertypes", "rm /etc/ethertypes"),
    ("missing", "/etc/skel", "rm -r /etc/skel"),
    ("added", "/etc/cron.d/planted", "touch /etc/cron.d/planted"),
    ("added", "/etc/ld.so.preload", "touch /etc/ld.so.preload"),
    ("added", "/root/.ssh/authorized_keys2", "touch /root/.ssh/authorized_keys2"),
    ("added", "/opt/strange", "mkdir -p /opt/strange/deep"),
    ("added", "/etc/pipe", "mkfifo /etc/pipe"),
    ("mode", "/etc/protocols", "chmod 0666 /etc/protocols"),
    ("mode", "/usr/bin/diff", "chmod 4755 /usr/bin/diff"),
    ("mode", "/usr/bin/chage", "chmod 0755 /usr/bin/chage"),
    ("mode", "/etc/profile.d", "chmod 1777 /etc/profile.d"),
    ("owner", "/etc/rpc", "chown 1 /etc/rpc"),
    ("owner", "/etc/networks", "chgrp 7 /etc/networks"),
    ("owner", "/etc/mtab", "chown -h 7 /etc/mtab"),
    ("target", "/etc/localtime", "ln -sfn /nowhere /etc/localtime"),
    ("type", "/etc/issue", "ln -sfn /etc/hosts /etc/issue"),
    ("type", "/etc/xdg", "rm -r /etc/xdg && touch /etc/xdg"),
    ("capability", "/usr/bin/cat", "setcap cap_net_raw=ep /usr/bin/cat"),
    ("attribute", "/etc/motd",
     "python3 -c \"import os; os.setxattr('/etc/motd', 'user.x', b'1')\""),
    ("unit-enabled", f"{WANTS}/sysinit.target.wants/debug-shell.service",
     f"ln -s /usr/lib/systemd/system/debug-shell.service {WANTS}/sysinit.target.wants/"),
    ("unit-disabled", f"{WANTS}/multi-user.target.wants/crond.service",
     f"rm {WANTS}/multi-user.target.wants/crond.service"),
    ("unit-masked", f"{WANTS}/logrotate.service", f"ln -s /dev/null {WANTS}/logrotate.service"),
    ("package-missing", "acl", "rpm -e --nodeps acl"),
    ("package-added", "planted-0:1-1.noarch", "rpm -i --nodeps /root/planted-1-1.noarch.rpm"),
    ("package-version", "less", "rpm -U --justdb --nodeps --force /root/less-9999-1.x86_64.rpm"),
)  # fmt: skip
"""What is planted: the kind of drift, what it is found on (or begins with), the shell command."""


def packed(folder: Path) -> str:
    """The shell script that brings the two packages that are planted."""
    lines = []
    for name, version, arch in (("planted", "1", "noarch"), ("less", "9999", "x86_64")):
        spec = folder / f"{name}.spec"
        noarch = "BuildArch: noarch\n" if arch == "noarch" else ""
        spec.write_text(f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: MIT\n"
                        f"{noarch}%description\nx\n%install\nmkdir -p %{{buildroot}}/opt/{name}\n"
                        f"%files\n/opt/{name}\n")  # fmt: skip
        run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}/build", "--define",
             "_build_id_links none", spec])  # fmt: skip
        built = folder / f"build/RPMS/{arch}/{name}-{version}-1.{arch}.rpm"
        text = base64.b64encode(built.read_bytes()).decode()
        lines.append(f"base64 -d >/root/{built.name} <<'END'\n{text}\nEND")
    return "\n".join(lines)
