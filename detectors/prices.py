"""What quantities cost: dated inputs from a TOML file, and multiplication."""

import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from detectors.cost import QUANTITIES, Load, Quantity
from detectors.errors import DetectorError

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Divisor = Annotated[float, msgspec.Meta(gt=0, le=1e12)]


class PricesError(DetectorError):
    """The price file cannot be read, or says what no price file says."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One price.

    Attributes:
        price: for `per` units, in the file's currency.
        per: how many units that is for.
        unit: what is counted.
        source: the page whose word counts.
        seen: where the number was read.
        confirmed: whether Azure's price list was seen to say so, for the file's region.
    """

    price: Amount
    per: Divisor
    unit: str
    source: str
    seen: str
    confirmed: bool

    def of(self, units: float) -> float:
        """The cost of that many units."""
        return units * self.price / self.per


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every price there is a meter for, and when and where they held."""

    date: date
    currency: str
    region: str
    ingress_events: Price
    throughput_units: Price
    executions: Price
    gb_seconds: Price
    table_operations: Price
    blob_operations: Price
    queue_operations: Price
    log_gigabytes: Price

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """The meters whose price nobody has confirmed."""
        meters = {name: getattr(self, name) for name in self.__struct_fields__}
        return tuple(name for name, price in meters.items() if isinstance(price, Price) and not price.confirmed)


class Line(NamedTuple):
    """A quantity of a load: a day's amount (or units), and what a month of 30 days costs; None if it is not billed."""

    quantity: Quantity
    amount: float
    monthly_cost: float | None


def read(path: Path | None = None) -> Prices:
    """The prices of a file, or the list prices that come with the detector.

    Raises:
        PricesError: the file is not there, no TOML, or not these prices; the message says where.
    """
    try:
        text = (path or files("detectors") / "prices.toml").read_text(encoding="utf-8")
        return msgspec.convert(tomllib.loads(text), Prices)
    except (OSError, ValueError) as error:  # msgspec's and tomllib's errors are ValueErrors
        raise PricesError(f"{path or 'prices.toml'}: {error}") from error


def bill(load: Load, prices: Prices) -> list[Line]:
    """Every quantity of a load, with its cost."""
    return [_line(quantity, load, prices) for quantity in QUANTITIES]


def total(lines: list[Line]) -> float:
    """What a month costs altogether."""
    return sum(line.monthly_cost or 0 for line in lines)


def _line(quantity: Quantity, load: Load, prices: Prices) -> Line:
    amount = quantity.of(load)
    if quantity.meter is None:
        return Line(quantity, amount, None)
    price: Price = getattr(prices, quantity.meter)
    return Line(quantity, amount, price.of(amount * quantity.monthly))
