"""What the fleet view says: in words, as JSON, as a page, as metrics. It believes no old result."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as textfile_families

from provision.checks.audit_result import read
from provision.core.exitcodes import ExitCode
from provision.fleet import html, metrics, pull, report, terminal
from provision.fleet.history import DAY_S, History
from provision.fleet.kept import Visit
from provision.fleet.repeats import rule_of, rules
from provision.fleet.report import FleetReport
from provision.health.render import as_textfile
from provision.verdict.model import Status
from provision.verdict.text import clean
from tests.unit.fleet_support import rack, raw, result

pytestmark = pytest.mark.slow

T0 = 1_790_000_000.0


@pytest.fixture
def history(tmp_path):
    with History(tmp_path / "lab.sqlite") as found:
        yield found


def visit(kind: str, node: str, at: float = T0, age: float = 60.0, **given: Any) -> Visit:
    told = result(kind, node, ended=at - age, **given)
    (declared,) = rack(node).nodes
    return pull.judged(declared, raw(told), at)


def sent(what: bytes) -> Visit:
    return pull.judged(rack("n02").nodes[0], what, T0)


def made(history: History, *visits: Visit, at: float = T0, **given: Any) -> FleetReport:
    recorded = history.record(visits, at=at, verb="report")
    nodes = rack(*(v.node for v in visits))
    return report.make(nodes, visits, recorded, history, at=at, source="pulled over SSH", **given)


def hostile(node: str = "n09", at: float = T0) -> Visit:
    """A result whose every text tries to act on its reader."""
    told = result("two", node, ended=at - 60)
    evil = "\x1b[2J\x1b]0;pwned\x07\u202e</td></style><script>alert(1)</script>\"'{{7*7}}\n# EOF\n"

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if k in KEEP else spoil(v) for k, v in value.items()}
        if isinstance(value, list):
            return [spoil(v) for v in value]
        return evil + value if isinstance(value, str) else value

    told = spoil(told)
    told["versions"] = {evil: evil}
    (declared,) = rack(node).nodes
    return pull.judged(declared, raw(told), at)


KEEP = {"schema", "node", "status", "severity", "action", "check"}


def test_a_healthy_rack_passes(history):
    found = made(history, visit("healthy", "n01"), visit("healthy", "n02"))
    assert (found.verdict.status, found.verdict.exit_code) == (Status.PASS, ExitCode.OK)
    assert found.counts() == {"pass": 2, "fail": 0, "unknown": 0}
    said = terminal.render(found)
    assert "the audit passes on 2 nodes" in said
    assert "not tested under load" in said


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: visit("healthy", "n02", age=901), "15 min old"),
        (lambda: visit("pcie", "n02", age=7200), "1 check failed then"),
        (lambda: Visit("n02", "unreachable", "no route to host"), "no route to host"),
        (lambda: Visit("n02", "absent", "result.json is not there"), "is not there"),
        (lambda: sent(b"{}"), "not a result"),
        (lambda: sent(raw(result("healthy", "n01"))), "of the node 'n01'"),
        (lambda: visit("healthy", "n02", age=-3600), "clock was set back"),
    ],
    ids=["stale", "failed-then", "away", "none", "empty", "of-another", "future"],
)  # fmt: skip
def test_what_proves_nothing_is_unknown(history, bad, says):
    found = made(history, visit("healthy", "n01"), bad())
    assert found.nodes[1].status is Status.UNKNOWN
    assert found.verdict.exit_code is ExitCode.FINDINGS
    (finding,) = found.nodes[1].findings
    assert (finding.check, finding.action != "") == ("audit.result", True)
    assert says in finding.seen
    assert found.nodes[1].counts == {
        "pass": 0, "fail": 0, "waived": 0, "not_applicable": 0, "unknown": 1,
    }  # fmt: skip
    assert says in " ".join(terminal.render(found, width=300).split())


def test_a_result_is_as_old_as_its_schedule_allows():
    told = read(raw(result("healthy", "n01")), "n01")
    (often,) = rack("n01").nodes
    hourly = often.model_copy(
        update={"audit": often.audit.model_copy(update={"every_minutes": 60})}
    )
    assert pull.aged(often, told, 899).outcome == "fresh"
    assert pull.aged(often, told, 901).outcome == "stale"
    assert pull.aged(hourly, told, 10_000).outcome == "fresh"
    assert pull.aged(hourly, told, 10_801).outcome == "stale"


def test_what_changed_is_said_once_for_many_nodes(history):
    names = [f"n{i:02}" for i in range(12)]
    made(history, *(visit("healthy", n) for n in names))
    found = made(history, *(visit("pcie", n, T0 + 300) for n in names), at=T0 + 300)
    said = terminal.render(found, width=160)
    assert len(found.changes) == 12
    assert said.count("+ n00, n01, n02 and 9 more: gpu.pcie.width") == 1
    back = made(history, *(visit("healthy", n, T0 + 600) for n in names), at=T0 + 600)
    assert {(c.kind, c.what) for c in back.changes} == {("better", "no longer fails")}
    still = made(history, *(visit("healthy", n, T0 + 900) for n in names), at=T0 + 900)
    assert "nothing changed since" in terminal.render(still)


def again_and_again(history: History, kinds: list[str], step: float) -> FleetReport:
    for number, kind in enumerate(kinds):
        at = T0 + number * step
        found = made(history, visit(kind, "n01", at), visit("healthy", "n02", at), at=at)
    return found


def test_what_fails_again_and_again_is_found_with_its_gpu(history):
    found = again_and_again(history, ["pcie", "healthy", "pcie", "healthy", "pcie"], 6 * 3600)
    (repeat,) = found.repeats
    assert (repeat.node, repeat.check, repeat.times) == ("n01", "gpu.pcie.width", 3)
    assert repeat.board == "1652260436019"
    said = terminal.render(found, width=200)
    assert "began to fail 3 times within 7 days on the GPU with serial 1652260436019" in said
    told = found.to_json()["repeats"][0]
    assert told["gpu_serial"] == repeat.board
    assert told["rule"]["source"]


def test_what_only_lasts_or_lies_long_ago_is_no_repeat_offender(history, tmp_path):
    assert again_and_again(history, ["pcie"] * 8, 3600).repeats == ()
    with History(tmp_path / "other.sqlite") as other:
        kinds = ["pcie", "healthy"] * 4
        assert again_and_again(other, kinds, 2.5 * DAY_S).repeats == ()


def test_a_gpu_is_followed_to_another_slot(history):
    """Its serial number, not its bus, is what repeats."""
    kinds = ["pcie", "healthy", "pcie", "healthy", "pcie"]
    for number, kind in enumerate(kinds):
        at = T0 + number * 3600
        one = visit(kind, "n01", at)
        if number >= 2:
            told = json.loads(
                json.dumps(one.result.document).replace("0000:45:00.0", "0000:f5:00.0")
            )
            one = pull.judged(rack("n01").nodes[0], raw(told), at)
        found = made(history, one, at=at)
    (repeat,) = found.repeats
    assert {s.entity for s in repeat.spells} == {"0000:45:00.0", "0000:f5:00.0"}


def test_what_is_unknown_for_one_cause_is_said_once(history):
    """A driver that hangs leaves many checks without an answer, again and again."""
    found = again_and_again(history, ["lost", "healthy"] * 3, 3600)
    unseen = [r for r in found.repeats if r.also]
    assert len(unseen) == 1
    assert len(unseen[0].also) > 5
    assert f"and {len(unseen[0].also)} more checks began" in terminal.render(found, width=200)
    failed = {r.check for r in found.repeats if not r.also}
    assert {"gpu.presence.pci", "gpu.presence.driver"} <= failed


def test_rules_have_a_source_and_the_most_special_one_holds():
    assert all(len(rule.source) > 40 for rule in rules())
    assert rules()[-1].check == ""
    assert rule_of("gpu.ecc.uncorrected").times == 2
    assert rule_of("gpu.ecc.uncorrected2").check == ""
    assert rule_of("gpu.presence.driver").check == "gpu.presence"


def test_the_json_counts_what_passes_and_tells_the_rest(history):
    found = made(history, visit("two", "n01"), visit("healthy", "n02"), off=["n03"])
    told = json.loads(json.dumps(found.to_json()))
    assert (told["schema"], told["status"], told["off"]) == ("holdfast.audit/1", "fail", ["n03"])
    first, second = told["nodes"]
    assert {f["check"] for f in first["findings"]} == {"gpu.pcie.width", "gpu.temperature.core"}
    assert (first["counts"]["fail"], second["findings"]) == (2, [])
    assert len(second["gpus"]) == 8


def test_trends_show_what_was_not_known(history):
    made(history, visit("healthy", "n01"), visit("two", "n02"))
    away = Visit("n01", "unreachable", "gone")
    made(history, away, visit("pcie", "n02", T0 + 300), at=T0 + 300)
    found = made(history, away, visit("healthy", "n02", T0 + 600), at=T0 + 600)
    assert [n.trend for n in found.nodes] == [(0, None, None), (2, 1, 0)]
    assert found.fleet_trend() == ((1, 2), (2, 2), (1, 2))
    assert terminal.spark(found.nodes[0].trend) == "▁··"
    assert terminal.spark(found.nodes[1].trend, unicode=False) == "94_"


def test_many_nodes_are_counted_and_those_that_are_not_well_listed(history):
    names = [f"n{i:03}" for i in range(60)]
    found = made(history, visit("pcie", "n000"), *(visit("healthy", n) for n in names[1:]))
    said = terminal.render(found)
    assert "pass on 59 more nodes" in said
    assert "n000" in said
    assert "n017" not in said


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_lines_fit_the_terminal(history, width):
    made(history, visit("healthy", "n01"), hostile(), visit("lost", "n02"))
    away = Visit("n01", "unreachable", "no route " * 30)
    found = made(history, away, hostile(at=T0 + 300), visit("pcie", "n02", T0 + 300), at=T0 + 300)
    for unicode in (True, False):
        said = terminal.render(found, width=width, unicode=unicode)
        assert max(len(line) for line in said.splitlines()) <= max(width, 66)
        assert unicode or said.isascii()


def test_a_hostile_node_cannot_act_on_a_terminal(history):
    made(history, visit("healthy", "n09"))
    found = made(history, hostile(at=T0 + 300), at=T0 + 300)
    assert found.nodes[0].status is Status.FAIL
    said = terminal.render(found, width=120)
    assert clean(said) == said
    assert "\\x1b[2J" in said
    past = terminal.history(history.spells())
    assert clean(past) == past


class Page(HTMLParser):
    """What a browser would make of a page, as far as it matters here."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        told = dict(attrs)
        self.ids += [told["id"]] if told.get("id") else []
        if tag == "a":
            self.links.append(told["href"] or "")


def page_of(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    return page


def test_a_hostile_node_cannot_act_on_a_browser(history):
    made(history, visit("healthy", "n09"))
    text = html.render(made(history, hostile(at=T0 + 300), at=T0 + 300))
    page = page_of(text)
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "49" not in re.findall(r"\{\{7\*7\}\}|>49<", text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    policy = next(v for k, v in page.attributes if k == "content" and v and "default-src" in v)
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_the_page_shows_nodes_changes_trends_and_repeat_offenders(history):
    found = again_and_again(history, ["pcie", "healthy", "pcie", "healthy", "pcie"], 6 * 3600)
    text = html.render(found)
    page = page_of(text)
    assert "the audit fails on 1 of 2 nodes" in text
    assert "Changed since" in text
    assert "Again and again" in text
    assert text.count('<svg class="trend') == 3
    assert "serial 1652260436019" in text
    assert page.tags.count("rect") >= 3 * 5
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"(src|href)=\"(?!#)", text)


def samples(families: Any) -> dict[str, list[Any]]:
    return {f.name: list(f.samples) for f in families}


def exposed(found: FleetReport) -> str:
    return metrics.openmetrics(found, {n.name: 900.0 for n in found.nodes})


def test_openmetrics_is_what_prometheus_reads(history):
    made(history, visit("healthy", "n01"), hostile(), Visit("n08", "absent", "none"))
    found = again_and_again(history, ["pcie", "healthy"] * 3 + ["two"], 3600)
    text = exposed(made(history, *(n.visit for n in found.nodes), hostile(at=T0 + 30000),
                        Visit("n08", "absent", "none"), at=T0 + 30000))  # fmt: skip
    families = samples(text_string_to_metric_families(text))
    assert text.endswith("# EOF\n")
    healthy = {s.labels["node"]: s.value for s in families["holdfast_audit_healthy"]}
    assert healthy["n09"] == healthy["n01"] == 0
    assert families["holdfast_fleet_repeats"][0].value >= 3
    assert families["holdfast_fleet_repeats"][0].labels["serial"] == "1652260436019"


def test_old_results_give_no_checks_to_prometheus_but_say_how_old_they_are(history):
    text = exposed(made(history, visit("pcie", "n01", age=7200), visit("pcie", "n02")))
    families = samples(text_string_to_metric_families(text))
    assert {s.labels["node"] for s in families["holdfast_audit_check"]} == {"n02"}
    runs = {
        s.labels["node"]: s.value for s in families["holdfast_audit_last_run_timestamp_seconds"]
    }
    assert runs["n01"] == T0 - 7200
    unknown = [s for s in families["holdfast_audit_findings"] if s.labels["status"] == "unknown"]
    assert {s.labels["node"]: s.value for s in unknown} == {"n01": 1, "n02": 0}


def test_a_check_without_result_is_not_healthy_to_prometheus(history):
    told = result("healthy", "n01", ended=T0 - 60)
    told["findings"] = told["findings"][1:]
    told["counts"]["pass"] -= 1
    one = pull.judged(rack("n01").nodes[0], raw(told), T0)
    families = samples(text_string_to_metric_families(exposed(made(history, one))))
    assert [s.value for s in families["holdfast_audit_healthy"]] == [0]


def expressions() -> list[str]:
    board = json.loads(metrics.dashboard())
    told = [t["expr"] for p in board["panels"] for t in p["targets"]]
    return told + [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]


def test_the_dashboard_shows_only_metrics_and_labels_that_exist(history):
    """Both in the file of the fleet view and in the textfile of a node."""
    found = made(history, visit("two", "n01"), visit("unknown", "n02"))
    told = result("two", "n01")
    sources = {
        "fleet": samples(text_string_to_metric_families(exposed(found))),
        "node": samples(textfile_families(as_textfile(told))),
    }
    wanted = {name for e in expressions() for name in re.findall(r"\bholdfast_\w+", e)}
    assert len(wanted) >= 7
    for source, families in sources.items():
        assert wanted <= set(families), source
        for expression in expressions():
            for name, inner in re.findall(r"(holdfast_\w+)\{([^}]*)\}", expression):
                labels = set(re.findall(r"(\w+)=~?\"", inner)) - {"job"}
                assert labels <= set(families[name][0].labels), (source, expression)


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads(metrics.dashboard())
    numbers = [p["id"] for p in board["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
    assert {v["name"] for v in board["templating"]["list"]} == {"datasource", "job", "node"}
