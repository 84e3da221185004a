"""The kickstart of an image: the same partitions, packages and arguments, for EL's own installer.

What differs from the image is what only an installer can do, and what it cannot: it installs from
the site's repositories, asks nobody anything, and leaves a system that `holdfast up` can log in to.
The roles have not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, Problem
from provision.image.definition import Definition
from provision.image.layout import fstab, layout_of

_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( [\w.@+-]+)?")
_URL = re.compile(r"(https?|ftp|nfs)://[^\s\"'\\]+|hmc|cdrom")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_DISK = re.compile(r"[A-Za-z0-9/_.:-]+")


@dataclass(frozen=True)
class Site:
    """What the definition does not know.

    Args:
        url: where the installer finds packages; ``cdrom`` for its own medium.
        user: whom `holdfast up` logs in as.
        key: that user's public SSH key, one line.
        disk: the disk that is written over, as Linux calls it (``nvme0n1``); any when empty.
        repositories: more package repositories by name.
    """

    url: str
    user: str
    key: str
    disk: str = ""
    repositories: tuple[tuple[str, str], ...] = ()


def render(definition: Definition, site: Site) -> str:
    """The kickstart as text.

    Raises:
        HoldfastError: something of the site is not what it must be (exit code 2), or the definition
            has no root file system.
    """
    _judge(site)
    blocks = (
        _head(definition),
        _source(site),
        _system(definition, site),
        _disk(definition, site),
        _packages(definition),
        _post(definition, site),
    )
    return "\n".join("\n".join(block) + "\n" for block in blocks)


def _judge(site: Site) -> None:
    wrong = [("url", "--url", site.url, _URL), ("user", "--user", site.user, _USER)]
    wrong += [("disk", "--disk", site.disk, _DISK)] if site.disk else []
    for name, url in site.repositories:
        wrong += [("repository", "--repo", name, _DISK), ("url", "--repo", url, _URL)]
    problems = [
        Problem(f"bad-{what}", f"{value!r} is no {what} that an installer takes", where=option)
        for what, option, value, pattern in wrong
        if not pattern.fullmatch(value)
    ]
    if not _KEY.fullmatch(site.key):
        # Not what it says: it may be the secret half.
        problems.append(
            Problem("bad-key", "this is no public SSH key of one line", where="--ssh-key",
                    hint="give the file that ends in .pub")
        )  # fmt: skip
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)


def _head(definition: Definition) -> list[str]:
    return [
        f"# {definition.name}: {definition.title}",
        f"# For Enterprise Linux {definition.release}, by `holdfast image kickstart`.",
        "# What is changed here is not in the definition.",
        "text",
        "reboot",
    ]


def _source(site: Site) -> list[str]:
    first = "cdrom" if site.url == "cdrom" else f'url --url="{site.url}"'
    return [first, *(f'repo --name="{name}" --baseurl="{url}"' for name, url in site.repositories)]


def _system(definition: Definition, site: Site) -> list[str]:
    arguments = " ".join(definition.kernel.arguments)
    append = f' --append="{arguments}"' if arguments else ""
    return [
        "lang en_US.UTF-8",
        "keyboard --vckeymap=us",
        "timezone Etc/UTC --utc",
        "network --bootproto=dhcp --device=link --activate --onboot=on",
        "firewall --enabled --service=ssh",
        "selinux --enforcing",
        "services --enabled=sshd",
        "firstboot --disable",
        # Nobody has a password: whoever administers the node comes with a key.
        "rootpw --lock",
        f"user --name={site.user} --groups=wheel --lock",
        f'sshkey --username={site.user} "{site.key}"',
        f"bootloader --timeout=1{append}",
    ]


def _disk(definition: Definition, site: Site) -> list[str]:
    only = [f"ignoredisk --only-use={site.disk}"] if site.disk else []
    drives = f" --drives={site.disk}" if site.disk else ""
    slots = layout_of(definition).slots
    # An image is as small as it may be; a disk is as large as it is.
    grown = next((one.mount for one in slots if one.mount == "/var"), "/")
    lines = []
    for one in slots:
        kind = "efi" if one.filesystem == "vfat" else one.filesystem
        options = ",".join(("defaults", *one.options))
        grow = " --grow" if one.mount == grown else ""
        lines.append(f'part {one.mount} --fstype="{kind}" --size={one.size // (1 << 20)}'
                     f'{grow} --fsoptions="{options}"')  # fmt: skip
    return [*only, "zerombr", f"clearpart --all --initlabel --disklabel=gpt{drives}", *lines]


def _packages(definition: Definition) -> list[str]:
    names = sorted({*definition.packages, "openssh-server", "python3", "sudo"})
    return ["%packages --exclude-weakdeps", "@core", *names, "%end"]


def _post(definition: Definition, site: Site) -> list[str]:
    memory = fstab(definition, "", disks=False).splitlines()
    return [
        "%post --erroronfail --log=/root/holdfast-post.log",
        "set -eu",
        # Nobody has a password that sudo could ask for.
        f"echo '{site.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/10-{site.user}",
        f"chmod 0440 /etc/sudoers.d/10-{site.user}",
        *(f"echo '{line}' >> /etc/fstab" for line in memory),
        "rm -f /root/anaconda-ks.cfg /root/original-ks.cfg",
        "%end",
    ]
