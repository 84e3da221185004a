"""Who supplies the GPU driver's module, what is locked with it, and which driver CUDA needs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.supply.gpu.cuda import MAJORS, TOOLKITS, Needs, gate, numbers
from provision.supply.gpu.pages import page
from provision.supply.gpu.providers import (
    PROVIDERS,
    Cell,
    cells,
    decide,
    distribution_of,
    kernel_kind,
)
from provision.supply.gpu.unit import release_of
from provision.supply.lock import load_lock
from provision.supply.model import Rpm
from tests.unit.gpu_support import DRIVER, ROOT, gpu_lock, nevra, rpm, without_units
from tests.unit.roles_support import plugin

pytestmark = pytest.mark.slow

TABLE = [
    line.split("\t")
    for line in (ROOT / "tests/data/gpu/supply.tsv").read_text().splitlines()
    if not line.startswith("#")
]
CELLS = list(cells())


def expected(cell: Cell) -> tuple[tuple[str, ...], str | None]:
    """What the table written by hand says."""
    parts = (
        cell.distribution,
        cell.release,
        cell.arch,
        cell.secure_boot,
        cell.origin,
        cell.kernel,
    )
    for *patterns, choices, refusal in TABLE:
        if all(p == "*" or v in p.split("|") for p, v in zip(patterns, parts, strict=True)):
            found = () if choices == "-" else tuple(choices.split(","))
            return found, None if refusal == "-" else refusal
    raise AssertionError(f"the table says nothing of {cell}")


class TestProviders:
    def test_the_table_is_about_every_kind_of_node(self):
        assert len(CELLS) == len(set(CELLS)) == 7 * 2 * 2 * 4 * 3 * 3

    @pytest.mark.parametrize("cell", CELLS, ids=str)
    def test_every_kind_of_node_is_resolved_or_refused_with_a_reason(self, cell):
        decision = decide(cell)
        choices, refusal = expected(cell)
        assert decision.choices == choices
        assert (decision.refusal.code if decision.refusal else None) == refusal
        for provider in PROVIDERS:
            against = decision.against(provider)
            assert (against is None) == (provider in choices)
            if against is not None:
                assert against.reason
                assert against.action

    def test_every_provider_is_the_best_one_somewhere(self):
        assert {decide(cell).provider for cell in CELLS} == {None, *PROVIDERS}

    def test_nothing_untrusted_is_loaded_where_secure_boot_is_on(self):
        wrong = [c for c in CELLS if c.secure_boot == "enabled"]
        assert wrong
        assert not [c for c in wrong if "cuda_open_dkms" in decide(c).choices]

    def test_a_release_that_nobody_supports_is_refused(self):
        cell = Cell("rocky", "8", "x86_64", "disabled", "mirror", "distribution")
        assert decide(cell).refusal.code == "unsupported-platform"

    @pytest.mark.parametrize(
        ("os_id", "kernel", "wanted"),
        [
            ("rhel", "6.12.0-124.20.1.el10_1.x86_64", "rhel"),
            ("ol", "6.12.0-124.el10uek.x86_64", "oracle"),
            ("rocky", "6.12.0-124.20.1.el10_1_ciq.x86_64", "ciq"),
            ("holdfast-rehearsal-el", "6.1.0", "other"),
        ],
    )
    def test_the_distribution(self, os_id, kernel, wanted):
        assert distribution_of(os_id, kernel) == wanted

    @pytest.mark.parametrize(
        ("release", "wanted"),
        [
            ("5.14.0-611.5.1.el9_7.x86_64", "distribution"),
            ("5.14.0-611.5.1.el9_7.aarch64+64k", "64k"),
            ("5.14.0-611.5.1.el9_7.x86_64+rt", "other"),
            ("5.14.0-611.5.1.el9_7.aarch64+rt-64k", "other"),
            ("5.15.0-300.el9uek.x86_64", "other"),
            ("6.17.1-1.elrepo.x86_64", "other"),
            ("6.1.0-40-cloud-amd64", "other"),
        ],
    )
    def test_the_kind_of_kernel(self, release, wanted):
        assert kernel_kind(release) == wanted


@pytest.fixture
def judge(tmp_path):
    """Problems of a lock by code, each with the text at its position."""

    def write(data):
        path = tmp_path / "stack.lock.json"
        path.write_text(json.dumps(data, indent=1))
        _, problems = load_lock(path, "stack.lock.json")
        lines = path.read_text().splitlines()
        return [(p.code, lines[p.position.line - 1].strip(), p.message, p.hint) for p in problems]

    return write


@dataclass(frozen=True)
class Spoilt:
    """What is done to a good lock, the problem's code, and how the line begins where it stands."""

    how: Callable[[dict[str, Any]], object]
    code: str
    line: str
    provider: str = "site_signed"


def unit(key, value):
    """Give a field of the unit this value."""
    return lambda lock: lock["gpu"][0].update({key: value})


def other(package, **values):
    """Name another version of a package."""
    return lambda lock: replaced(lock, package, **values)


def lacking(package):
    """Take a package away."""
    return lambda lock: without(lock, package)


def replaced(lock, package, **values):
    """Another version of a package, in the unit too."""
    entry = next(r for r in lock["rpms"] if r["name"] == package and r["el"] == "10")
    before = nevra(entry)
    entry.update(values)
    unit = json.dumps(lock["gpu"]).replace(json.dumps(before), json.dumps(nevra(entry)))
    lock["gpu"] = json.loads(unit)


def without(lock, name):
    lock["rpms"] = [r for r in lock["rpms"] if r["name"] != name]


def another_kernel(lock):
    entry = rpm("kernel-64k-core", "6.12.0", "124.21.1.el10_1")
    entry.update({k: lock["rpms"][-1][k] for k in ("key", "repository")})
    lock["rpms"].append(entry)


def image(lock, **cuda):
    lock["images"][0].update(cuda=cuda, arch="x86_64")


SPOILT = {
    "a kernel without its module": Spoilt(
        another_kernel, "kernel-without-module", '"name": "kernel-64k-core"'
    ),
    "a fabric manager of another version": Spoilt(
        other("nvidia-fabricmanager", version="580.95.05"),
        "wrong-driver-version",
        '"fabric_manager": "nvidia-fabricmanager-0:580.95.05',
    ),
    "an NSCQ of another version": Spoilt(
        other("libnvidia-nscq", version="580.95.05"), "wrong-driver-version", '"nscq"'
    ),
    "an IMEX of another version": Spoilt(
        other("nvidia-imex", version="595.71.05"), "wrong-driver-version", '"imex"'
    ),
    "a module of another version": Spoilt(
        other("kmod-nvidia-open", version="580.95.05"), "wrong-driver-version", '"module"'
    ),
    "a library of another version": Spoilt(
        other("nvidia-driver-cuda-libs", version="580.95.05"),
        "wrong-driver-version",
        '"nvidia-driver-cuda-libs-3:580.95.05',
    ),
    "a toolkit of two versions": Spoilt(
        other("nvidia-container-toolkit-base", version="1.19.0"), "toolkit-versions", '"toolkit"'
    ),
    "a signer that nobody named": Spoilt(
        unit("signer", None), "unknown-signer", '"provider": "site_signed"'
    ),
    "a provider that does not build for the release": Spoilt(
        unit("el", "9"), "wrong-provider", '"provider": "ciq_signed"', "ciq_signed"
    ),
    "DKMS without the kernel's headers": Spoilt(
        lambda lock: lock["gpu"][0]["kernels"][0].update(devel=None),
        "cannot-build",
        '"kernel": "kernel-core',
        "cuda_open_dkms",
    ),
    "DKMS with another kernel's headers": Spoilt(
        other("kernel-devel-matched", release="124.19.1.el10_1"),
        "wrong-kernel",
        '"devel": "kernel-devel-matched',
        "cuda_open_dkms",
    ),
    "DKMS without the C++ compiler": Spoilt(
        lacking("gcc-c++"), "cannot-build", '"provider": "cuda_open_dkms"', "cuda_open_dkms"
    ),
    "a module for another kernel": Spoilt(
        other("kernel-core", version="6.13.0"), "wrong-kernel", '"module"', "rhel_signed"
    ),
    "a kernel that no provider knows": Spoilt(
        other("kernel-core", name="kernel-rt-core"),
        "wrong-provider",
        '"kernel": "kernel-rt-core',
        "rhel_signed",
    ),
    "something that is no kernel": Spoilt(
        lambda lock: lock["gpu"][0]["kernels"][0].update(kernel=lock["gpu"][0]["userspace"][0]),
        "not-a-kernel",
        '"kernel": "nvidia-driver-cuda',
    ),
    "a package that the lock does not have": Spoilt(
        lacking("nvidia-persistenced"), "unknown-rpm", '"nvidia-persistenced-3:'
    ),
    "a stream where there are none": Spoilt(unit("stream", "580-open"), "no-streams", '"stream"'),
    "two units for one kind of node": Spoilt(
        lambda lock: lock["gpu"].append(lock["gpu"][0]), "duplicate-pin", '"name": "h100"'
    ),
    "an image that needs a newer driver": Spoilt(
        lambda lock: (image(lock, version="14.0"),), "driver-too-old", '"cuda"'
    ),
    "a toolkit that needs a newer driver": Spoilt(
        other("make", name="cuda-toolkit-14-0", version="14.0.1"),
        "driver-too-old",
        '"version": "14.0.1"',
    ),
    "a lock that says it is of the first version": Spoilt(
        lambda lock: lock.update(schema="holdfast.stack/1"), "newer-key", '"gpu"'
    ),
    "an image's CUDA in a lock of the first version": Spoilt(
        lambda lock: (lock.update(schema="holdfast.stack/1", gpu=[]), image(lock, version="12.8")),
        "newer-key",
        '"cuda"',
    ),
    "a driver that is no version": Spoilt(unit("driver", "latest"), "wrong-value", '"driver"'),
    "a unit without a kernel": Spoilt(unit("kernels", []), "wrong-value", '"kernels"'),
}


class TestUnit:
    @pytest.mark.parametrize("provider", ["site_signed", "rhel_signed", "cuda_open_dkms"])
    def test_a_good_unit_is_read(self, provider, tmp_path):
        path = tmp_path / "lock"
        path.write_text(json.dumps(gpu_lock(provider)))
        lock, problems = load_lock(path)
        assert [p.render() for p in problems] == []
        unit = lock.unit("10", "x86_64")
        assert unit.driver == DRIVER
        assert lock.unit("9", "x86_64") is None
        assert {r.nevra for r in lock.rpms} >= set(unit.packages)

    def test_a_lock_of_the_first_version_is_still_read(self, tmp_path):
        path = tmp_path / "lock"
        path.write_text(json.dumps(without_units()))
        assert json.loads(path.read_text())["schema"] == "holdfast.stack/1"
        lock, problems = load_lock(path)
        assert problems == []
        assert lock.gpu == ()
        assert lock.images[0].cuda is None

    @pytest.mark.parametrize("case", SPOILT)
    def test_what_does_not_fit_is_named_where_it_stands(self, case, judge):
        spoilt = SPOILT[case]
        lock = gpu_lock(spoilt.provider)
        spoilt.how(lock)
        found = [entry for entry in judge(lock) if entry[0] == spoilt.code]
        assert found, judge(lock)
        assert any(entry[1].startswith(spoilt.line) for entry in found), found
        assert all(hint for *_, hint in found if spoilt.code != "wrong-value")

    def test_roles_get_the_unit_by_parts(self):
        lock_gpu = plugin("filter", "lock").lock_gpu
        found = lock_gpu(gpu_lock("cuda_open_dkms"), "10", "x86_64")
        names = {part: [p["name"] for p in found[part]] for part in ("packages", "fabric")}
        assert names["packages"][:3] == [
            "kernel-core",
            "kernel-devel-matched",
            "kmod-nvidia-open-dkms",
        ]
        assert names["fabric"] == ["nvidia-fabricmanager", "libnvidia-nscq"]
        assert len(found["pinned"]) == 11
        assert found["kernels"] == ["6.12.0-124.20.1.el10_1.x86_64"]
        with pytest.raises(ValueError, match="no GPU unit for EL 9"):
            lock_gpu(gpu_lock(), "9", "x86_64")

    @pytest.mark.parametrize("name", ["kernel-core", "kernel-64k-core", "kernel-rt-core"])
    def test_both_say_the_same_release_of_a_kernel(self, name):
        entry = rpm(name, "6.12.0", "1.el10")
        model = Rpm.model_validate_json(json.dumps(entry))
        assert plugin("filter", "lock")._release(entry) == release_of(model)

    def test_the_release_of_a_kernel_is_what_uname_says(self):
        def of(name):
            return release_of(Rpm.model_validate_json(json.dumps(rpm(name, "6.12.0", "1.el10"))))

        assert of("kernel-core") == "6.12.0-1.el10.x86_64"
        assert of("kernel-64k-core") == "6.12.0-1.el10.x86_64+64k"
        assert of("kernel-rt-core") == "6.12.0-1.el10.x86_64+rt"


class TestCuda:
    @pytest.mark.parametrize(
        ("asked", "forward", "locked", "verdict", "says"),
        [
            ("12.8", False, ("570.26", None), "full", "all that"),
            ("12.8.1", False, ("570.124.06", None), "full", "all that"),
            ("12.9", False, ("525.60.13", None), "limited", "minor-version"),
            ("12.9", False, ("525.60.12", None), "refused", "525.60.13"),
            ("13.0", False, ("575.51.03", None), "refused", "580.65.06"),
            ("13.1", False, ("580.105.08", None), "limited", "590.44.01"),
            ("13.7", False, ("610.57.04", None), "limited", "newer than this table"),
            ("14.0", False, ("999.1", None), "refused", "not known"),
            ("13.0", True, ("570.172.08", "NVIDIA H100 80GB HBM3"), "limited", "cuda-compat"),
            ("13.0", True, ("570.172.08", "NVIDIA GeForce RTX 4090"), "refused", "data center"),
            ("13.0", True, ("570.172.08", None), "refused", "data center"),
            ("13.0", True, ("560.28.03", "NVIDIA H100 80GB HBM3"), "refused", "branch 560"),
            ("11.8", False, ("580.105.08", None), "full", "all that"),
        ],
    )
    def test_which_driver_will_do(self, asked, forward, locked, verdict, says):
        answer = gate(Needs(asked, forward), *locked)
        assert (answer.ok, answer.limited) == (verdict != "refused", verdict == "limited")
        assert says in answer.reason
        assert bool(answer.action) == (verdict == "refused")

    @pytest.mark.parametrize("bad", ["", "12", "latest", "12.x"])
    def test_a_version_that_is_none_is_an_error(self, bad):
        with pytest.raises(ValueError, match="version of CUDA"):
            gate(Needs(bad), "580.105.08")
        with pytest.raises(ValueError, match="driver's version"):
            numbers(bad)

    def test_the_table_is_in_itself_true(self):
        """A toolkit never came with a driver that its own major does not run on."""
        drivers = [numbers(d) for d in TOOLKITS.values()]
        assert drivers == sorted(drivers)
        for version, driver in TOOLKITS.items():
            assert numbers(driver) >= numbers(MAJORS[int(version.split(".")[0])])


def test_the_page_shows_every_refusal_and_every_provider():
    text = page()
    assert text.count("\n| ") > 100
    for provider in PROVIDERS:
        assert f"| `{provider}` |" in text
    for code in set(re.findall(r"- `([a-z-]+)` \|", text)):
        assert f"\n- `{code}`: " in text


def test_the_page_is_where_it_should_be():
    assert Path(ROOT / "docs/reference/gpu-supply.md").is_file()
