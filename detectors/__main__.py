"""The product's command line: `python -m detectors <command>`.

A command is a function that adds its parser, in `COMMANDS`, and one that runs it and gives the exit code. Output is
plain text on standard output: `rich` is a developer's tool that is not installed where the detector runs, an aligned
table is a few lines, and what is printed should survive a pipe, a log and a README.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from detectors import __version__
from detectors.cost import (
    MAX_EVENT_BYTES,
    MAX_EVENTS_PER_BATCH,
    MAX_STANDARD_UNITS,
    Basis,
    Load,
    throughput_units,
)
from detectors.errors import DetectorError
from detectors.prices import Line, Prices, bill, read, total

TAKEN, REFUSED = 0, 2

EXAMPLES = """examples:
  python -m detectors cost
  python -m detectors cost --help
"""

COST = """How cost grows with the records of a day: executions, storage operations, throughput units, log bytes.

Quantities are for a day, costs for a month of 30 days. Each quantity is computed from what is given, measured on this
code, or an estimate of what Azure's own parts do. Prices are inputs: check their date and region, and give your own.
"""

COST_EXAMPLES = """examples:
  python -m detectors cost
  python -m detectors cost --records-per-day 5M,50M --partitions 8
  python -m detectors cost --records-per-day 1B --events-per-batch 25     # with smaller batches in host.json
  python -m detectors cost --prices my-prices.toml --format ndjson        # from a copy of detectors/prices.toml
"""

_MULTIPLES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_MAX_RECORDS = 10**15

Rows = Sequence[Sequence[str]]


class Parser(argparse.ArgumentParser):
    """Answers a call that it cannot take with the whole help: whoever mistypes wants to see what there is."""

    def error(self, message: str) -> NoReturn:
        """Explain, and exit with 2."""
        self.print_help(sys.stderr)
        self.exit(REFUSED, f"\n{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, or 2 for a call that cannot be taken (which argparse raises)."""
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
    except DetectorError as error:
        sys.stderr.write(f"python -m detectors {options.command}: error: {error}\n")
        return REFUSED
    except (
        BrokenPipeError
    ):  # the reader, such as `head`, has seen enough: https://docs.python.org/3/library/signal.html
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TAKEN
    return code


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = Parser(
        prog="python -m detectors",
        description="Detects abuse of LLM services on Azure. The functions run in Azure; these commands go with them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in COMMANDS:
        add(commands)
    return parser


def _add_cost(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type of subparsers to itself
    cost = commands.add_parser(
        "cost",
        help="how cost grows with the records of a day",
        description=COST,
        epilog=COST_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = cost.add_argument
    add("--records-per-day", type=_loads, default="1M,100M,1B", metavar="N,N", help="default: 1M,100M,1B")
    add("--record-bytes", type=_positive, default=800, metavar="N", help="of one record (default: 800)")
    add("--records-per-message", type=_positive, default=50, metavar="N", help="in an Event Hub event (default: 50)")
    add(
        "--events-per-batch",
        type=_batch,
        default=MAX_EVENTS_PER_BATCH,
        metavar="N",
        help="in an invocation when traffic is dense (default: 100, as in host.json)",
    )
    add("--partitions", type=_positive, default=4, metavar="N", help="of the Event Hub, at least (default: 4)")
    add("--findings-per-day", type=_positive, default=70, metavar="N", help="rows posted (default: 70)")
    add(
        "--instance-memory",
        type=int,
        default=2_048,
        choices=(512, 2_048, 4_096),
        help="of a Flex Consumption instance, MB (default: 2048)",
    )
    add("--prices", type=Path, metavar="FILE", help="TOML; default: the list prices in detectors/prices.toml")
    add("--format", choices=("table", "ndjson", "markdown"), default="table", help="default: table")
    cost.set_defaults(run=_cost, refuse=cost.error)


COMMANDS = (_add_cost,)


def _cost(options: argparse.Namespace) -> int:
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
        lines = _ndjson(bills, prices)
    else:
        layout = _markdown if options.format == "markdown" else _aligned
        lines = [*layout(_cost_rows(bills, prices)), "", *_cost_notes(loads, prices)]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return TAKEN


def _cost_rows(bills: Sequence[tuple[Load, list[Line]]], prices: Prices) -> Rows:
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


def _cost_notes(loads: Sequence[Load], prices: Prices) -> Iterable[str]:
    """What a reader must know who acts on the numbers."""
    yield f"List prices of {prices.date}, {prices.region}, {prices.currency}; free grants not deducted. Check them."
    if prices.unconfirmed:
        yield f"Not confirmed: {', '.join(prices.unconfirmed)}."
    if any(throughput_units(load) > MAX_STANDARD_UNITS for load in loads):
        yield f"More than {MAX_STANDARD_UNITS} throughput units: one Standard namespace does not carry that."


def _ndjson(bills: Sequence[tuple[Load, list[Line]]], prices: Prices) -> Iterable[str]:
    """A JSON object for each quantity of each load."""
    for load, lines in bills:
        for quantity, amount, cost in lines:
            yield json.dumps(
                {
                    "records_per_day": load.records_per_day,
                    "quantity": quantity.name,
                    "basis": quantity.basis,
                    "amount": amount,
                    "monthly_cost": cost if cost is None else round(cost, 6),
                    "currency": prices.currency,
                    "prices_date": prices.date.isoformat(),
                }
            )


def _aligned(rows: Rows) -> Iterable[str]:
    """Columns as wide as their widest cell, the first to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()


def _markdown(rows: Rows) -> Iterable[str]:
    """The same as a Markdown table."""
    header, *body = rows
    for row in [header, ["---"] + ["---:"] * (len(header) - 1), *body]:
        yield f"| {' | '.join(row)} |"


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


if __name__ == "__main__":
    sys.exit(main())
