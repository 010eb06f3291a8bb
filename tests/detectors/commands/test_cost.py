"""`python -m detectors cost`: what it prints, and which loads it refuses."""

import json
import re
from pathlib import Path

import pytest

from detectors.__main__ import main
from detectors.cost import QUANTITIES
from local.host import ROOT


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_the_table_shows_quantities_and_costs_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """A column pair for each load, numbers under each other, and the prices' date."""
    header, *rows = _printed(capsys, "cost")
    assert re.split(r"\s{2,}", header) == ["A day", *(cell for n in ("1M", "100M", "1B") for cell in _pair(n))]
    labels = [row.split("  ")[0].removesuffix(" (estimate)") for row in rows[: len(QUANTITIES)]]
    assert labels == [quantity.label for quantity in QUANTITIES]
    ends = {len(row) for row in rows[: len(QUANTITIES) + 1] if re.search(r"\d\.\d\d$", row)}
    assert ends == {len(header)}
    assert rows[-2].startswith("List prices of 2026-11-23, East US, USD")
    assert rows[-1].startswith("Not confirmed: ")


def _pair(number: str) -> list[str]:
    return [f"{number} records", "USD a month"]


def test_each_line_of_ndjson_is_a_quantity(capsys: pytest.CaptureFixture[str]) -> None:
    """For each load, each quantity once; nothing else is on standard output."""
    lines = [
        json.loads(line) for line in _printed(capsys, "cost", "--format", "ndjson", "--records-per-day", "1k,2.5M")
    ]
    names = [quantity.name for quantity in QUANTITIES]
    assert [(line["records_per_day"], line["quantity"]) for line in lines] == [
        (records, name) for records in (1_000, 2_500_000) for name in names
    ]
    assert {(line["currency"], line["prices_date"]) for line in lines} == {("USD", "2026-11-23")}


def test_markdown_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Every row has as many cells as the header; the second row says how they are aligned."""
    lines = _printed(capsys, "cost", "--format", "markdown", "--records-per-day", "250K,1234567")
    table = [line for line in lines if line.startswith("|")]
    assert lines[: len(table)] == table
    assert {line.count("|") for line in table} == {6}
    assert all(line.endswith("|") for line in table)
    assert table[0] == "| A day | 250K records | USD a month | 1,234,567 records | USD a month |"
    assert table[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert len(table) == 2 + len(QUANTITIES) + 1
    assert lines[len(table)] == ""  # else the notes would be a row


def test_the_total_is_the_sum_of_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Within the cents that rounding hides."""
    *rows, footer = (
        line for line in _printed(capsys, "cost", "--format", "markdown", "--records-per-day", "1B") if "|" in line
    )
    shown = [row.split("|")[3].strip().replace(",", "") for row in rows[2:]]
    total = float(footer.split("|")[3].replace(",", ""))
    assert sum(float(cell) for cell in shown if cell) == pytest.approx(total, abs=0.05)


def test_options_reach_the_formula(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them changes something that is printed."""
    usual = _printed(capsys, "cost")
    for option in (
        ["--records-per-day", "2M,100M,1B"],
        ["--record-bytes", "900"],
        ["--records-per-message", "40"],
        ["--events-per-batch", "25"],
        ["--partitions", "8"],
        ["--findings-per-day", "70000"],
        ["--instance-memory", "512"],
    ):
        assert _printed(capsys, "cost", *option) != usual, option


def test_prices_are_inputs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Another file: another date, currency and sum."""
    text = (ROOT / "detectors/prices.toml").read_text()
    (tmp_path / "ours.toml").write_text(
        text.replace("2026-11-23", "2026-12-01")
        .replace('"USD"', '"EUR"')
        .replace("confirmed = false", "confirmed = true")
    )
    header, *_, note = _printed(capsys, "cost", "--prices", str(tmp_path / "ours.toml"))
    assert "EUR a month" in header
    assert note.startswith("List prices of 2026-12-01, East US, EUR")


def test_more_than_a_namespace_carries_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The table goes on as if there were one that did."""
    assert "40 throughput units" in _printed(capsys, "cost", "--records-per-day", "10B")[-1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["cost", "--records-per-day", "many"], "'many' is no number of records"),
        (["cost", "--records-per-day", "1M,"], "'' is no number of records"),
        (["cost", "--records-per-day", "0"], "'0' is no number of records"),
        (["cost", "--records-per-day", "0.5"], "'0.5' is no number of records"),
        (["cost", "--records-per-day", "-1M"], "expected one argument"),
        (["cost", "--records-per-day", "inf"], "'inf' is no number of records"),
        (["cost", "--records-per-day", "nan"], "'nan' is no number of records"),
        (["cost", "--records-per-day", "1e300T"], "no number of records"),
        (["cost", "--record-bytes", "0"], "no whole number"),
        (["cost", "--partitions", "1.5"], "no whole number"),
        (["cost", "--events-per-batch", "101"], "from 1 to 100"),
        (["cost", "--instance-memory", "1024"], "invalid choice"),
        (["cost", "--record-bytes", "100000"], "lower --records-per-message"),
    ],
)
def test_a_load_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """Exit code 2; standard output stays empty for whoever reads it."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    printed = capsys.readouterr()
    assert exited.value.code == 2
    assert printed.out == ""
    assert "examples:" in printed.err
    assert complaint in printed.err.splitlines()[-1]


def test_prices_that_cannot_be_read_are_said_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The call was understood, so it is not explained again."""
    assert main(["cost", "--prices", str(tmp_path / "nowhere.toml")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nowhere.toml" in printed.err
    assert len(printed.err.splitlines()) == 1
