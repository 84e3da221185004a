# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep what a firewalld zone lets in."""

from __future__ import annotations

import glob
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.firewalld import (
    announce,
    options,
    parse_zone,
    plan,
    wanted,
    words,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: firewall
short_description: Keep what a firewalld zone lets in, by owner
version_added: 0.1.0
description:
  - Each role that needs something let in is an owner with a list of its own. What an owner asked
    for earlier and no longer asks for is taken away again; what other owners ask for stays.
  - An exclusive owner also takes away what nobody asked for, so that a port that somebody opened
    by hand is found and closed.
  - Permanent and running configuration are compared one by one. Entries are added before others
    are removed.
options:
  owner:
    description: Who asks, a short name.
    type: str
    required: true
  zone:
    description: The zone.
    type: str
    default: public
  services:
    description: Services of firewalld to let in from everywhere.
    type: list
    elements: str
    default: []
  ports:
    description: Ports to let in from everywhere, as port/protocol.
    type: list
    elements: str
    default: []
  rules:
    description: Ports to let in from some networks only.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      protocol:
        description: The protocol.
        type: str
        default: tcp
      sources:
        description: The networks and addresses that may reach it. Empty lets nobody in.
        type: list
        elements: str
        required: true
  exclusive:
    description: Take away what no owner asked for.
    type: bool
    default: false
  default_zone:
    description: Make the zone the default one.
    type: bool
    default: false
  expected:
    description: In check mode firewalld may not be running yet; an earlier task starts it.
    type: bool
    default: false
  offline:
    description: Only change the permanent configuration, for an image build.
    type: bool
    default: false
  records:
    description: Where is written down which owner asked for what.
    type: path
    default: /etc/holdfast/firewall.d
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names what would be let in and what no longer.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: el
    description: Needs firewalld.
"""

EXAMPLES = r"""
- name: Let the campus reach the engine
  holdfast.core.firewall:
    owner: inference
    rules:
      - port: 8443
        sources: ["{{ campus }}"]
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, let in or no longer let in.
  returned: when changed
  type: list
  elements: str
holdfast_depends:
  description: Why the change is not certain yet.
  returned: in check mode, when firewalld does not run yet
  type: str
"""

ARGUMENTS = {
    "owner": {"type": "str", "required": True},
    "zone": {"type": "str", "default": "public"},
    "services": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "list", "elements": "str", "default": []},
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "port": {"type": "int", "required": True},
            "protocol": {"type": "str", "default": "tcp"},
            "sources": {"type": "list", "elements": "str", "required": True},
        },
    },
    "exclusive": {"type": "bool", "default": False},
    "default_zone": {"type": "bool", "default": False},
    "expected": {"type": "bool", "default": False},
    "offline": {"type": "bool", "default": False},
    "records": {"type": "path", "default": "/etc/holdfast/firewall.d"},
}
_CONFIG = "/etc/firewalld/firewalld.conf"


def records(folder: str, owner: str, zone: str) -> tuple[set[Any], set[Any]]:
    """What the owner asked for last time, and what all others ask for, in this zone."""
    own: set[Any] = set()
    others: set[Any] = set()
    for path in glob.glob(os.path.join(folder, "*.json")):
        try:
            with open(path, encoding="utf-8") as stream:
                body = json.load(stream)
            entries = {(str(kind), str(value)) for kind, value in body["entries"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if body.get("zone") != zone:
            continue
        if os.path.basename(path) == "{0}.json".format(owner):
            own = entries
        else:
            others |= entries
    return own, others


def record(outcome: Outcome, params: dict[str, Any], want: set[Any]) -> None:
    """Write down what the owner asks for."""
    path = os.path.join(params["records"], "{0}.json".format(params["owner"]))
    body = {"zone": params["zone"], "entries": [list(entry) for entry in sorted(want)]}
    text = json.dumps(body, indent=2) + "\n"
    if Seen(path).text() == text:
        return
    if not outcome.changes:
        outcome.add("write {0}".format(path))
    if not outcome.check_mode:
        make_directories(outcome.module, params["records"])
        write(outcome.module, path, text.encode(), mode="0644", owner="root", group="root")


def default_zone() -> str:
    """The default zone in firewalld's configuration; empty when there is none."""
    for line in Seen(_CONFIG).text().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "DefaultZone":
            return value.strip()
    return ""


class Side:
    """The permanent or the running configuration of one zone."""

    def __init__(self, outcome: Outcome, argv: list[str], zone: str, label: str) -> None:
        self.outcome = outcome
        self.argv = argv
        self.zone = zone
        self.label = label

    def call(self, words_: list[str]) -> str:
        """Run firewalld's command; its standard output."""
        argv = [*self.argv, "--zone={0}".format(self.zone), *words_]
        code, out, err = run(self.outcome.module, argv)
        if code != 0:
            self.outcome.fail(
                "{0} refuses {1}: {2}".format(self.argv[0], " ".join(words_), err or out),
                "check the zone and the values",
            )
        return out

    def have(self) -> set[tuple[str, str]]:
        """What the zone lets in."""
        return parse_zone(self.call(["--list-all"]))

    def apply(self, add: list[tuple[str, str]], remove: list[tuple[str, str]]) -> None:
        """Let entries in, then take others away."""
        offline = self.argv[0] == "firewall-offline-cmd"
        for group in options("add", add, offline) + options("remove", remove, offline):
            self.call(group)


def sides(outcome: Outcome, params: dict[str, Any]) -> list[Side]:
    """The configurations to look at; none where firewalld is not installed yet."""
    zone = params["zone"]
    if params["offline"]:
        return [Side(outcome, ["firewall-offline-cmd"], zone, "permanent")]
    code, _, err = run(outcome.module, ["firewall-cmd", "--state"])
    if code not in (0, 127) and outcome.may_come:
        # An earlier task starts it, with its permanent configuration.
        return [Side(outcome, ["firewall-offline-cmd"], zone, "permanent")]
    if code == 0:
        return [
            Side(outcome, ["firewall-cmd", "--permanent"], zone, "permanent"),
            Side(outcome, ["firewall-cmd"], zone, "running"),
        ]
    if not outcome.may_come:
        outcome.fail(
            "firewalld does not run: {0}".format(err), "start it: systemctl start firewalld"
        )
    return []


def set_default(outcome: Outcome, params: dict[str, Any], known: bool) -> None:
    """Make the zone the default one."""
    if not params["default_zone"] or default_zone() == params["zone"]:
        return
    if not known:
        return
    outcome.add("make {0} the default zone".format(params["zone"]))
    if outcome.check_mode:
        return
    tool = "firewall-offline-cmd" if params["offline"] else "firewall-cmd"
    code, out, err = run(outcome.module, [tool, "--set-default-zone={0}".format(params["zone"])])
    if code != 0:
        outcome.fail("{0} refuses the zone: {1}".format(tool, err or out), "check the zone's name")


def treat(outcome: Outcome, params: dict[str, Any], want: set[tuple[str, str]]) -> None:
    """Compare every side with what is wanted, and change what differs."""
    owned, others = records(params["records"], params["owner"], params["zone"])
    found = sides(outcome, params)
    set_default(outcome, params, bool(found))
    plans = {
        side.label: plan(side.have(), want, owned, others, params["exclusive"]) for side in found
    }
    for line in announce(plans):
        outcome.add(line)
    if not outcome.check_mode:
        for side in found:
            side.apply(*plans[side.label])
    if not found:
        for entry in sorted(want):
            outcome.add("let in {0}".format(words(entry)))
        if params["exclusive"]:
            outcome.depends = "what else is let in shows when firewalld is installed"
    record(outcome, params, want)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    try:
        want = wanted(module.params)
    except ValueError as error:
        outcome.fail("not a network: {0}".format(error), "write it as address/prefix")
        return
    treat(outcome, module.params, want)
    outcome.exit()


if __name__ == "__main__":
    main()
