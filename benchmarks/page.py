"""What was measured, as a page of the documentation: `speed.md` with tables, and a picture of them, `speed.svg`."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from benchmarks.report import Section, text_of

PICTURED, COMPARED = "records_per_second", "ratio"
"""The column that the picture shows, of the sections that compare contenders: these have the other one, too."""

_TOP = """# Speed

`make bench ARGS="--page docs"` measures, and writes this page. Rates hold for one machine; what one contender takes
beside another holds for others too. [Operate](operate.md#speed) says what it means.

![Records a second of each contender, as in the tables below](speed.svg)
"""

_WIDTH, _LABELS, _BAR, _ROW, _GAP = 810, 310, 400, 22, 14
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333; } .title { font-weight: 600; } rect { fill: #5c6bc0; }
@media (prefers-color-scheme: dark) { text { fill: #ddd; } rect { fill: #7986cb; } }
"""


def write(folder: Path, sections: Sequence[Section]) -> None:
    """Write the page and its picture into a folder."""
    folder.joinpath("speed.md").write_text("\n".join([_TOP, *map(_markdown, sections)]))
    folder.joinpath("speed.svg").write_text(_picture([one for one in sections if _is_pictured(one)]))


def _markdown(section: Section) -> str:
    """Return a section as a table."""
    first = section.rows[0]
    lines = [
        "| " + " | ".join(column.heading or column.key for column in section.columns) + " |",
        "|" + "|".join("---" if isinstance(first[column.key], str) else "---:" for column in section.columns) + "|",
        *("| " + " | ".join(text_of(row[one.key], one) for one in section.columns) + " |" for row in section.rows),
    ]
    note = f"\n{section.note[:1].upper()}{section.note[1:]}.\n" if section.note else ""
    return f"## {section.title}\n\n" + "\n".join(lines) + f"\n{note}"


def _is_pictured(section: Section) -> bool:
    return {PICTURED, COMPARED} <= {column.key for column in section.columns}


def _picture(sections: Iterable[Section]) -> str:
    """Draw a bar for each contender: its rate, beside the highest of its section."""
    drawn: list[str] = []
    y = _ROW
    for section in sections:
        drawn.append(f'<text class="title" x="0" y="{y}">{escape(section.title)}</text>')
        most = max(float(row[PICTURED]) for row in section.rows)
        for row in section.rows:
            y += _ROW
            name, rate = str(row[section.columns[0].key]), float(row[PICTURED])
            length = _BAR * rate / most
            drawn += [
                f'<text x="{_LABELS - 8}" y="{y}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LABELS}" y="{y - 13}" width="{length:.0f}" height="16" rx="2"/>',
                f'<text x="{_LABELS + length + 8:.0f}" y="{y}">{rate:,.0f}</text>',
            ]
        y += _ROW + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y - _ROW}" role="img">'
        f"<style>{_STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )
