"""What existing servers need so that a rack's nodes start an image from the network.

A folder for any HTTP server, a configuration for dnsmasq, and a script for iPXE. Nothing in them is
secret, and nothing is served from here.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import HoldfastError, Problem, fail
from provision.image.manifest import Artefact, Manifest
from provision.image.verification import Verified
from provision.rack.model import Node, Rack

_FIRMWARE = {"x86_64": 16, "aarch64": 19}
"""What firmware that boots over HTTP calls itself in DHCP (IANA: processor architecture types)."""
_LEASE = "12h"


@dataclass(frozen=True)
class Site:
    """What neither the inventory nor the image knows.

    Args:
        url: the address of the folder `http/`, as nodes reach it.
        network: the network that the nodes start in.
    """

    url: str
    network: ipaddress.IPv4Network


def site(url: str, network: str) -> Site:
    """The site as it is given on a command line.

    Raises:
        HoldfastError: one of them is none (exit code 2).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or any(
        sign.isspace() or not sign.isprintable() or sign in "\"'," for sign in url
    ):  # fmt: skip
        raise fail("bad-url", f"{url!r} is no address of a folder", where="--url",
                   hint="as in http://192.0.2.1/boot", exit_code=ExitCode.USAGE)  # fmt: skip
    try:
        return Site(url.rstrip("/"), ipaddress.IPv4Network(network))
    except ValueError as error:
        raise fail("bad-network", f"{network!r} is no network: {error}", where="--network",
                   hint="as in 192.0.2.0/24", exit_code=ExitCode.USAGE) from error  # fmt: skip


def write(rack: Rack, image: Verified, place: Site, out: Path) -> list[Path]:
    """Write everything into `out`; the files, with those that were copied.

    Raises:
        HoldfastError: with a problem for each node that cannot be served, or because the image has
            nothing to start from the network (exit code 2).
    """
    manifest = image.manifest
    artefacts = netboot_of(manifest, image.folder)
    problems = [problem for node in rack.nodes for problem in _wrong(node, place)]
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    served = out / "http" / manifest.name
    (served / "nodes").mkdir(parents=True, exist_ok=True)
    written = []
    for one in artefacts:
        target = served / Path(one.name).name
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(image.folder / one.name, part)
        part.replace(target)
        written.append(target)
    texts = {
        out / "http/boot.ipxe": ipxe(manifest, place),
        out / "dnsmasq.conf": dnsmasq(rack, manifest, place),
    }
    for path, text in texts.items():
        write_whole(path, text)
    return [*written, *texts]


def netboot_of(manifest: Manifest, where: Path) -> list[Artefact]:
    """The files that a node fetches: what firmware starts, the root, and what proves it.

    Raises:
        HoldfastError: the image has none, or nothing proves its root (exit code 2).
    """
    found = [one for one in manifest.artefacts if one.format == "netboot"]
    wanted = ("uki.efi", "rootfs.erofs", "rootfs.verity")
    chosen = [one for name in wanted for one in found if Path(one.name).name == name]
    if len(chosen) == len(wanted):
        return chosen
    why = "its root is not proven" if found else "nothing of it starts from the network"
    raise fail("not-netboot", f"{manifest.name} cannot be served: {why}", where=str(where),
               hint="build it with `formats: [netboot]` and `root: {verity: true}`",
               exit_code=ExitCode.USAGE)  # fmt: skip


def _wrong(node: Node, place: Site) -> Iterator[Problem]:
    if node.mac is None:
        yield Problem("missing-mac", "nobody says which network card it starts from",
                      where=node.name, hint="add `holdfast_mac`, or leave it out with --limit"
                      )  # fmt: skip
    try:
        inside = ipaddress.IPv4Address(node.address) in place.network
    except ValueError:
        inside = False
    if not inside:
        yield Problem("bad-address", f"{node.address} is no address in {place.network}",
                      where=node.name, hint="set ansible_host, or another --network"
                      )  # fmt: skip


def dnsmasq(rack: Rack, manifest: Manifest, place: Site) -> str:
    """The configuration of dnsmasq: addresses for the rack's nodes, and what each starts."""
    base = f"{place.url}/{manifest.name}"
    return _lines(
        [
            f"# The nodes of {rack.name} start {manifest.name} (sha256:{manifest.digest[:16]}).",
            "# By `holdfast image netboot`; only machines that the inventory names are answered.",
            f"dhcp-range={place.network.network_address},static,{place.network.netmask},{_LEASE}",
            "# Firmware and system of one card call themselves differently: the card alone counts.",
            *(f"dhcp-host={node.mac},id:*,{node.address},{_name(node)}" for node in rack.nodes),
            "# Firmware that starts over HTTP takes an answer only from who calls itself so.",
            f"dhcp-match=set:http,option:client-arch,{_FIRMWARE[manifest.arch]}",
            "dhcp-option-force=tag:http,60,HTTPClient",
            f"dhcp-boot=tag:http,{base}/uki.efi",
            "# iPXE, in a card or from a stick.",
            "dhcp-userclass=set:ipxe,iPXE",
            f"dhcp-boot=tag:ipxe,{place.url}/boot.ipxe",
            "# Where the initial RAM disk finds the root; what it finds is proven.",
            f"dhcp-option-force=option:root-path,{base}/rootfs.erofs",
        ]
    )


def ipxe(manifest: Manifest, place: Site) -> str:
    """The script for iPXE: the one signed file, whose own command line says what its root is."""
    return _lines(
        [
            "#!ipxe",
            f"# {manifest.name} (sha256:{manifest.digest[:16]}), by `holdfast image netboot`.",
            f"kernel {place.url}/{manifest.name}/uki.efi",
            "boot",
        ]
    )


def _name(node: Node) -> str:
    # A name in DHCP has no underscores, and its first part is the host's.
    return node.name.split(".")[0].replace("_", "-")


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
