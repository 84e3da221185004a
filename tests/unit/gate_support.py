"""A small image with SCAP content of its own, judged by a real OpenSCAP, and its gate."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.checks import scap_verdict
from provision.core.events import NullSink
from provision.core.problems import HoldfastError
from provision.image import stage_scan
from provision.image.definition import Definition, Partition
from provision.image.lint import privileged
from provision.image.lint.tree import Tree
from provision.image.sandbox import Sandbox
from provision.image.scan import scanner
from provision.image.scan.examining import Asked
from provision.image.work import Given, Work
from provision.policy import baseline as baselines
from provision.policy.model import Waiver
from provision.policy.resolve import Selection, Target, resolve
from provision.policy.tailoring import tailor
from tests.unit.lint_support import put, run
from tests.unit.policy_support import control, controls, policy

DAY = dt.date(2026, 11, 1)
STREAM = "usr/share/xml/scap/ssg/content/ssg-rhel10-ds.xml"
_RULE = "xccdf_org.ssgproject.content_rule_"
_OVAL = "http://oval.mitre.org/XMLSchema/oval-definitions-5"

RULES = {
    "login_root": ("text", "/etc/ssh/sshd_config", r"^PermitRootLogin no$"),
    "login_empty": ("text", "/etc/ssh/sshd_config", r"^PermitEmptyPasswords no$"),
    "long_passwords": ("text", "/etc/security/pwquality.conf", r"^minlen = 14$"),
    "shadow_private": ("mode", "/etc/shadow", ""),
    "banner": ("text", "/etc/issue", r"^Authorized"),
    "telnet_gone": ("text", "/etc/telnet.conf", r"^never$"),
    "kernel_setting": ("sysctl", "kernel.randomize_va_space", "2"),
}
"""Rule: the kind of its test, what it looks at, and what it wants. `telnet_gone` fails always."""

FILES = {
    "etc/ssh/sshd_config": "PermitRootLogin no\nPermitEmptyPasswords no\n",
    "etc/security/pwquality.conf": "minlen = 14\n",
    "etc/issue": "Authorized uses only.\n",
}


def _tests() -> str:
    parts = {"definitions": "", "tests": "", "objects": "", "states": ""}
    for number, (name, (kind, path, wanted)) in enumerate(RULES.items(), start=1):
        parts["definitions"] += (
            f'<definition class="compliance" id="oval:tiny:def:{number}" version="1"><metadata>'
            f"<title>{name}</title><description>d</description></metadata>"
            f'<criteria><criterion test_ref="oval:tiny:tst:{number}"/></criteria></definition>'
        )
        space, test = {
            "text": ("independent", "textfilecontent54"),
            "mode": ("unix", "file"),
            "sysctl": ("unix", "sysctl"),
        }[kind]
        xmlns = f'xmlns="{_OVAL}#{space}"'
        state = "" if kind == "text" else f'<state state_ref="oval:tiny:ste:{number}"/>'
        parts["tests"] += (
            f'<{test}_test {xmlns} id="oval:tiny:tst:{number}" version="1" check="all"'
            f' check_existence="at_least_one_exists" comment="c">'
            f'<object object_ref="oval:tiny:obj:{number}"/>{state}</{test}_test>'
        )
        body = {
            "text": f"<filepath>{path}</filepath><pattern operation='pattern match'>{wanted}"
            "</pattern><instance datatype='int'>1</instance>",
            "mode": f"<filepath>{path}</filepath>",
            "sysctl": f"<name>{path}</name>",
        }[kind]
        parts["objects"] += (
            f'<{test}_object {xmlns} id="oval:tiny:obj:{number}" version="1">{body}</{test}_object>'
        )
        if kind != "text":
            want = (
                "<oread datatype='boolean'>false</oread>"
                if kind == "mode"
                else f"<value datatype='int'>{wanted}</value>"
            )
            parts["states"] += (
                f'<{test}_state {xmlns} id="oval:tiny:ste:{number}" version="1">{want}'
                f"</{test}_state>"
            )
    return "".join(f"<{name}>{body}</{name}>" for name, body in parts.items())


def stream(
    folder: Path, *, version: str = "1.0", without: str = "", apart: str = "", unchecked: str = ""
) -> bytes:
    """A data stream with a profile of all rules, made by OpenSCAP's own tool.

    `without` is left out of it, `apart` applies to no system, `unchecked` has no check.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rules, selects = "", ""
    for number, name in enumerate(RULES, start=1):
        if name == without:
            continue
        selects += "\n" + f'<select idref="{_RULE}{name}" selected="true"/>'
        platform = '<platform idref="cpe:/o:nobody:nothing:1"/>' if name == apart else ""
        check = (
            f'<check system="{_OVAL}"><check-content-ref href="tiny-oval.xml"'
            f' name="oval:tiny:def:{number}"/></check>'
        )
        rules += (
            f'\n<Rule id="{_RULE}{name}" selected="false" severity="medium"><title>{name}</title>'
            f"{platform}\n{'' if name == unchecked else check}\n</Rule>\n"
        )
    (folder / "tiny-oval.xml").write_text(
        f'<?xml version="1.0"?><oval_definitions xmlns="{_OVAL}">'
        '<generator><schema_version xmlns="http://oval.mitre.org/XMLSchema/oval-common-5">5.11'
        '</schema_version><timestamp xmlns="http://oval.mitre.org/XMLSchema/oval-common-5">'
        f"2026-01-01T00:00:00</timestamp></generator>{_tests()}</oval_definitions>"
    )
    (folder / "tiny-xccdf.xml").write_text(
        '<?xml version="1.0"?><Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2"'
        ' id="xccdf_org.ssgproject.content_benchmark_TINY" xml:lang="en">'
        '<status date="2026-01-01">accepted</status><title>t</title><description>d</description>'
        f"<version>{version}</version>"
        f'<Profile id="xccdf_a_profile_basic"><title>p</title>{selects}\n</Profile>\n'
        f"{rules}</Benchmark>"
    )
    made = folder / "ds.xml"
    made.unlink(missing_ok=True)
    run("oscap", "ds", "sds-compose", folder / "tiny-xccdf.xml", made)
    return made.read_bytes()


WAIVER = Waiver(control="telnet-gone", reason="It is needed.", owner="a@example.org",
                expires=dt.date(2099, 1, 1))  # fmt: skip


def definition(*waivers: Waiver) -> Definition:
    """The definition of the small image."""
    return Definition(
        name="tiny",
        title="A small image",
        date=DAY,
        release=10,
        base="rehearsal",
        profile="basic",
        waivers=waivers,
        partitions=(Partition(mount="/", size_mib=64),),
        formats=("tar",),
    )


@dataclass
class Site:
    """A sealed tree, and what it is judged by."""

    folder: Path
    waivers: tuple[Waiver, ...] = (WAIVER,)
    keep_privileged: bool = True

    @property
    def seal(self) -> Path:
        """The output of stage seal."""
        return self.folder / "seal"

    @property
    def root(self) -> Path:
        """The tree."""
        return self.seal / "root"

    @property
    def baselines(self) -> Path:
        """The folder of baselines."""
        return self.folder / "baselines"

    def asked(self) -> Asked:
        """What the tree is judged by: a policy whose controls something else provides."""
        known = policy(
            self.folder / "policy",
            controls(
                *(
                    control(name.replace("_", "-"), resources="", provided_by="the test")
                    for name in RULES
                )
            ),
        )
        image = definition(*self.waivers)
        target = Target("el10", "image")
        found = resolve(known, Selection("basic", (), self.waivers), target)
        rows = self.folder / "privileged.tsv"
        return Asked(
            image,
            known,
            found,
            (self.baselines,),
            privileged.read(rows) if self.keep_privileged else None,
            made=dt.datetime.combine(DAY, dt.time(), dt.UTC),
        )

    def record(self) -> None:
        """Record what the tree says now as what is accepted."""
        asked = self.asked()
        privileged.write(self.folder / "privileged.tsv", privileged.rows(Tree(self.root)))
        out = self.folder / "recording"
        made = tailor(asked.policy.profiles["basic"], asked.resolution, evaluate_waived=True)
        found = scanner.scan(self.root, Sandbox(writable=(self.folder,)), made, image="tiny",
                             release="el10", keep=out)  # fmt: skip
        assert found.scanned.scan is not None, found.scanned.problem
        view, _ = scap_verdict.judge_scan(found.scanned, asked.resolution, [])
        self.baselines.mkdir(exist_ok=True)
        baselines.write(scap_verdict.record(view, "xccdf_a_profile_basic", {}, DAY), self.baselines)
        shutil.rmtree(out)

    def build(self, *, force: str = "") -> Path:
        """Run the stage; its output.

        Raises:
            HoldfastError: the gate refused the tree.
        """
        asked = self.asked()
        (self.seal / "files.tsv").write_text(_listed(self.root))
        out = self.folder / "scan"
        if out.exists():
            shutil.rmtree(out)
        out.mkdir()
        options = stage_scan.Options(day=DAY.isoformat(), controls="", baseline="", privileged="",
                                     canaries="", force=force)  # fmt: skip
        sandbox = Sandbox(writable=(out,), epoch=0)
        work = Work("scan", asked.definition, options, {"seal": self.seal}, out, 0, sandbox,
                    NullSink(), Given())  # fmt: skip
        stage_scan.judge(work, asked)
        return out


def _listed(root: Path) -> str:
    """Something that differs when the tree differs."""
    return "".join(
        f"{entry.path}\t{entry.mode}\t{entry.size}\n" for entry in Tree(root).entries.values()
    )


def site(folder: Path, tree: Path, content: bytes) -> Site:
    """A site whose image is as it should be, with everything recorded."""
    made = Site(folder)
    made.seal.mkdir(parents=True)
    shutil.copytree(tree, made.root, symlinks=True)
    for path, text in FILES.items():
        put(made.root, path, text)
    put(made.root, STREAM, content)
    made.record()
    return made


def copy(of: Site, folder: Path) -> Site:
    """The same site elsewhere; no file is shared."""
    shutil.copytree(of.folder, folder, symlinks=True)
    return Site(folder)


def refused(made: Site) -> str:
    """What the build is refused with."""
    with pytest.raises(HoldfastError) as caught:
        made.build()
    assert caught.value.exit_code == 1
    return str(caught.value)
