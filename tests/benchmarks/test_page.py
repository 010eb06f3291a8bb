"""The page of measurements: tables that Markdown reads, and a picture whose bars are as long as the rates are high."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks import page
from benchmarks.report import Cell, Column, Section

RATES = (Column("contender", "who"), Column(page.PICTURED, "records/s", ",.0f"))
ROWS: Sequence[Mapping[str, Cell]] = (
    {"contender": "ours", page.PICTURED: 500_000.0, page.COMPARED: 0.5},
    {"contender": "<theirs> & others", page.PICTURED: 1_000_000.0, page.COMPARED: 1.0},
)
COMPARED = Section("decode", "Decode", (*RATES, Column(page.COMPARED, number=".1%")), ROWS, "best of two")
LISTED = Section("scale", "Rates that are given, and compare nothing", RATES, ROWS)
_SVG = "{http://www.w3.org/2000/svg}"


def test_each_section_is_a_table_and_what_compares_rates_is_pictured(tmp_path: Path) -> None:
    """Names are text in both, whatever they hold."""
    page.write(tmp_path, [COMPARED, LISTED])
    text = (tmp_path / "speed.md").read_text()
    assert "## Decode\n\n| who | records/s | ratio |\n|---|---:|---:|\n| ours | 500,000 | 50.0% |\n" in text
    assert f"## {LISTED.title}\n\n| who | records/s |\n" in text
    assert "\nBest of two.\n" in text
    picture = ET.parse(tmp_path / "speed.svg").getroot()  # noqa: S314 - our own
    bars = [float(one.get("width") or 0) for one in picture.iter(f"{_SVG}rect")]
    assert [bar / max(bars) for bar in bars] == [0.5, 1]
    shown = [one.text for one in picture.iter(f"{_SVG}text")]
    assert shown == ["Decode", "ours", "500,000", "<theirs> & others", "1,000,000"]
