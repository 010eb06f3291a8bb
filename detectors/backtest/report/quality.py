"""What was wrong with the data, and what that means for the findings."""

from xml.etree.ElementTree import Element

from detectors.backtest.outcome import Place, Quality
from detectors.backtest.report.markup import Column, cell, element, empty, note, row, section, table, warning
from detectors.counting import Selected
from detectors.presentation import clipped, counted, duration, number
from detectors.rules import BY_ID
from detectors.rules.rule import Rule

_MAX_EXAMPLES = 5
_MAX_PLACE = 200
_PROBLEMS = (Column("Reason"), Column("Count", is_number=True), Column("For example"))


def quality(read: Quality, rules: list[str]) -> Element:
    """The section of data quality."""
    return section(
        "quality",
        "Data quality",
        element("h3", "Problems"),
        _problems(read),
        element("h3", "Response lengths"),
        *(
            _lengths(BY_ID[rule_id], read.selected.get(rule_id, Selected()))
            for rule_id in rules
            if _length_thresholds(BY_ID[rule_id])
        ),
        element("h3", "Duplicates"),
        note(_duplicates(read.duplicates)),
        element("h3", "Delays"),
        _delays(read),
    )


def dead(read: Quality, rules: list[str]) -> list[tuple[Rule, list[str]]]:
    """Rules that selected records of which none told its response length, with the thresholds that cannot fire."""
    return [
        (BY_ID[rule_id], names)
        for rule_id in rules
        if (selected := read.selected.get(rule_id, Selected())).records
        and not selected.with_length
        and (names := _length_thresholds(BY_ID[rule_id]))
    ]


def _length_thresholds(rule: Rule) -> list[str]:
    return [threshold.name for threshold in rule.thresholds if threshold.measure == "max_response_length"]


def _problems(read: Quality) -> Element:
    if not read.problems:
        return empty("No problems: every line and every record could be read.")
    by_reason: dict[str, list[Place]] = {reason: [] for reason in read.problems}
    for place in read.examples:
        by_reason.setdefault(place.reason, []).append(place)
    ranked = sorted(by_reason.items(), key=lambda item: -read.problems.get(item[0], 0))
    rows = (
        row(
            _PROBLEMS,
            [
                cell(element("code", clipped(reason))),
                cell(number(read.problems.get(reason))),
                cell(*map(_example, places[:_MAX_EXAMPLES])),
            ],
        )
        for reason, places in ranked
    )
    return table("Lines and records that could not be read, or not in full", _PROBLEMS, rows)


def _example(place: Place) -> Element:
    where = f"{place.file}:{place.line}" if place.line else place.file
    shown = where if len(where) <= _MAX_PLACE else f"…{where[-_MAX_PLACE:]}"  # its end tells files and lines apart
    return element("span", element("code", shown, title=where), f" {clipped(place.detail)}", class_="example")


def _lengths(rule: Rule, selected: Selected) -> Element:
    names = _length_thresholds(rule)
    of = counted(selected.records, "selected record")
    text = f"{rule.name}: {selected.with_length:,} of {of} told how long the response was."
    if not names or selected.with_length or not selected.records:
        return note(f"{rule.name}: it selected no record." if not selected.records else text)
    return warning(f"{text} {cannot_fire(rule, names)}")


def cannot_fire(rule: Rule, names: list[str]) -> str:
    """What it means for a rule that no record tells its response length."""
    dead_names, plural = " and ".join(names), "thresholds" if len(names) > 1 else "threshold"
    others = [threshold.name for threshold in rule.thresholds if threshold.name not in names]
    rest = f"only {' or '.join(others)} can." if others and rule.requires == "any" else "so the rule cannot."
    return f"On such logs the {plural} {dead_names} cannot fire, whatever the number; {rest}"


def _duplicates(count: int) -> str:
    if not count:
        return "No captured event came twice."
    were = "was" if count == 1 else "were"
    return f"{counted(count, 'captured event')} came a second time and {were} not counted again."


def _delays(read: Quality) -> Element:
    if read.delays is None:
        return empty("Not known: no file tells when its messages arrived, so a record's own time was taken.")
    columns = tuple(Column(name, is_number=True) for name in ("Messages", "Median", "95 %", "Largest"))
    values = [read.delays.median, read.delays.p95, read.delays.largest]
    cells = [cell(number(read.delays.messages)), *(cell(duration(value)) for value in values)]
    caption = "From a message's newest record to its arrival in the hub"
    return element("div", table(caption, columns, [row(columns, cells)]), class_="slim")
