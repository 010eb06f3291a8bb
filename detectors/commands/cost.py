"""`cost`: how cost grows with the records of a day."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from detectors.commands.layout import Rows, aligned, markdown, ndjson, write
from detectors.commands.parser import TAKEN, Commands, add_command, add_format
from detectors.cost import (
    MAX_EVENT_BYTES,
    MAX_EVENTS_PER_BATCH,
    MAX_STANDARD_UNITS,
    Basis,
    Load,
    throughput_units,
)
from detectors.prices import Line, Prices, bill, read, total

ABOUT = """How cost grows with the records of a day: executions, storage operations, throughput units, log bytes.

Quantities are for a day, costs for a month of 30 days. Each quantity is computed from what is given, measured on this
code, or an estimate of what Azure's own parts do. Prices are inputs: check their date and region, and give your own.
"""

EXAMPLES = """examples:
  python -m detectors cost
  python -m detectors cost --records-per-day 5M,50M --partitions 8
  python -m detectors cost --records-per-day 1B --events-per-batch 25     # with smaller batches in host.json
  python -m detectors cost --prices my-prices.toml --format ndjson        # from a copy of detectors/prices.toml
"""

_MULTIPLES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_MAX_RECORDS = 10**15


def add(commands: Commands) -> None:
    """Describe the command."""
    cost = add_command(
        commands, "cost", _run, summary="how cost grows with the records of a day", about=ABOUT, examples=EXAMPLES
    )
    cost.add_argument("--records-per-day", type=_loads, default="1M,100M,1B", metavar="N,N", help="default: 1M,100M,1B")
    cost.add_argument("--record-bytes", type=_positive, default=800, metavar="N", help="of one record (default: 800)")
    cost.add_argument(
        "--records-per-message", type=_positive, default=50, metavar="N", help="in an Event Hub event (default: 50)"
    )
    cost.add_argument(
        "--events-per-batch",
        type=_batch,
        default=MAX_EVENTS_PER_BATCH,
        metavar="N",
        help="in an invocation when traffic is dense (default: 100, as in host.json)",
    )
    cost.add_argument(
        "--partitions", type=_positive, default=4, metavar="N", help="of the Event Hub, at least (default: 4)"
    )
    cost.add_argument("--findings-per-day", type=_positive, default=70, metavar="N", help="rows posted (default: 70)")
    cost.add_argument(
        "--instance-memory",
        type=int,
        default=2_048,
        choices=(512, 2_048, 4_096),
        help="of a Flex Consumption instance, MB (default: 2048)",
    )
    cost.add_argument(
        "--prices", type=Path, metavar="FILE", help="TOML; default: the list prices in detectors/prices.toml"
    )
    add_format(cost, "table", "ndjson", "markdown")


def _run(options: argparse.Namespace) -> int:
    loads = [
        Load(
            records_per_day=records,
            record_bytes=options.record_bytes,
            records_per_message=options.records_per_message,
            events_per_batch=options.events_per_batch,
            partitions=options.partitions,
            findings_per_day=options.findings_per_day,
            instance_memory_mb=options.instance_memory,
        )
        for records in options.records_per_day
    ]
    if loads[0].message_bytes > MAX_EVENT_BYTES:
        options.refuse(
            f"a message of {loads[0].message_bytes:,} bytes: an Event Hub event holds {MAX_EVENT_BYTES:,};"
            " lower --records-per-message"
        )
    prices = read(options.prices)
    bills = [(load, bill(load, prices)) for load in loads]
    if options.format == "ndjson":
        write(ndjson(_objects(bills, prices)))
    else:
        layout = markdown if options.format == "markdown" else aligned
        write([*layout(_rows(bills, prices)), "", *_notes(loads, prices)])
    return TAKEN


def _rows(bills: Sequence[tuple[Load, list[Line]]], prices: Prices) -> Rows:
    """A row for each quantity; for each load an amount and a cost."""
    header = ["A day"]
    for load, _ in bills:
        header += [f"{_short(load.records_per_day)} records", f"{prices.currency} a month"]
    rows = [header]
    for across in zip(*(lines for _, lines in bills), strict=True):
        quantity = across[0].quantity
        row = [f"{quantity.label} (estimate)" if quantity.basis is Basis.ESTIMATE else quantity.label]
        for line in across:
            row += [_amount(line.amount), "" if line.monthly_cost is None else f"{line.monthly_cost:,.2f}"]
        rows.append(row)
    footer = ["Total"]
    for _, lines in bills:
        footer += ["", f"{total(lines):,.2f}"]
    return [*rows, footer]


def _notes(loads: Sequence[Load], prices: Prices) -> Iterable[str]:
    """What a reader must know who acts on the numbers."""
    yield f"List prices of {prices.date}, {prices.region}, {prices.currency}; free grants not deducted. Check them."
    if prices.unconfirmed:
        yield f"Not confirmed: {', '.join(prices.unconfirmed)}."
    if any(throughput_units(load) > MAX_STANDARD_UNITS for load in loads):
        yield f"More than {MAX_STANDARD_UNITS} throughput units: one Standard namespace does not carry that."


def _objects(bills: Sequence[tuple[Load, list[Line]]], prices: Prices) -> Iterable[Mapping[str, object]]:
    """A JSON object for each quantity of each load."""
    for load, lines in bills:
        for quantity, amount, cost in lines:
            yield {
                "records_per_day": load.records_per_day,
                "quantity": quantity.name,
                "basis": quantity.basis,
                "amount": amount,
                "monthly_cost": cost if cost is None else round(cost, 6),
                "currency": prices.currency,
                "prices_date": prices.date.isoformat(),
            }


def _amount(amount: float) -> str:
    """Whole from 100 on, one digit after the point from 1 on, two below; nothing after the point of a whole number."""
    if amount == round(amount) or amount >= 100:  # noqa: PLR2004 - as the docstring says
        return f"{amount:,.0f}"
    return f"{amount:.1f}" if amount >= 1 else f"{amount:.2f}"


def _short(number: int) -> str:
    """The inverse of `_number`: 1M for 1000000."""
    for suffix, multiple in reversed(_MULTIPLES.items()):
        if number >= multiple and number % (multiple // 10) == 0:
            return f"{number / multiple:g}{suffix}"
    return f"{number:,}"


def _loads(text: str) -> list[int]:
    return [_number(part) for part in text.split(",")]


def _number(text: str) -> int:
    """A whole number above 0, with K, M, B or T for thousands: 1M, 2.5B."""
    digits, multiple = text.strip(), 1
    if digits[-1:].upper() in _MULTIPLES:
        digits, multiple = digits[:-1], _MULTIPLES[digits[-1].upper()]
    try:
        number = float(digits) * multiple
    except ValueError:
        number = 0
    if not 1 <= number <= _MAX_RECORDS or number != round(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of records such as 250K, 1M or 2.5B")
    return round(number)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_EVENT_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_EVENT_BYTES:,}")
    return int(text)


def _batch(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_EVENTS_PER_BATCH:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_EVENTS_PER_BATCH} (host.json)")
    return int(text)
