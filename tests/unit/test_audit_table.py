"""The fault campaign's committed table says of each fault what the campaign asks for."""

from __future__ import annotations

from pathlib import Path

from tests.soak.audit_faults import INJECTED
from tests.soak.audit_table import HEAD, row

TABLE = Path(__file__).resolve().parents[2] / "docs/measurements/audit-campaign.tsv"


def cells(line: str) -> list[set[str]]:
    return [set(cell.replace(",", " ,").split()) for cell in line.split("\t")]


def test_the_table_is_of_this_campaign():
    head, *lines = TABLE.read_text(encoding="utf-8").splitlines()
    assert head.split("\t") == list(HEAD)
    wanted = {i.id: row(i, i.found) for i in INJECTED}
    told = {line.split("\t")[0]: line for line in lines}
    assert set(told) <= set(wanted)
    assert len([line for line in lines if "no finding" not in line]) >= 60
    assert [name for name, line in told.items() if cells(line) != cells(wanted[name])] == []
