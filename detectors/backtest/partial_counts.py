"""Counts one chunk of an export. Runs in any process, with the same result in each.

The arrival is the enqueued time if the input has one, else a record's own `time`. The place of a record is its event's
sequence number, or its line number.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from typing import Any

import msgspec

from detectors.backtest.deduplication import SeenEvents
from detectors.backtest.exports import Block, Captured, Document, Lines, ReadError
from detectors.events import Event, Source
from detectors.ingestion.columns import Columns
from detectors.ingestion.counting import BatchCounter, Problem
from detectors.ingestion.delta import Delta, QuarantinedRecord
from detectors.rules.counters import Counters
from detectors.rules.rule import Rule
from detectors.rules.tally import Key, Tally
from detectors.sources.decoding import TIMES, Message, decode, own_time, record_type
from detectors.windows import BUCKET_MICROSECONDS, MINUTE_MICROSECONDS, microseconds, record_times

_PLAUSIBLE = range(microseconds(datetime(1970, 1, 1, tzinfo=UTC)), microseconds(datetime(9000, 1, 1, tzinfo=UTC)))
"""Times outside this range do not count: windows around them could not even be named."""

_TIMELESS = ("no_time", "not counted: nothing tells when it arrived, its time cannot be read")
_HOUR, _MINUTE = len("2026-11-23T08:"), len("2026-11-23T08:00")

_RECORDS_AT_ONCE = 1 << 15
"""Records that are added up together: the more, the less each costs, and the more memory they take."""

MAX_EXAMPLES = 5
"""Flaws of one reason that are kept with their place."""


class BucketRange(msgspec.Struct):
    """The requested buckets, in microseconds since 1970: `first` is included, `end` is not."""

    first: int
    end: int


@dataclass(slots=True)
class PartialCounts:
    """The counts of one chunk.

    Attributes:
        tallies: by bucket start in microseconds, by partition or file and key.
        counters: the counters of its records.
        examples: the first flaws of each reason.
        lines: the number of lines read, so that the next chunk of the file can continue the count.
        first_time: the earliest arrival in microseconds; a record's own time counts to the minute; None without any.
        last_time: the latest.
        seen: the captured events.
        duplicates: captured events that were read again, and left out.
        delays: messages by whole seconds from their newest record to their arrival.
        read_error: why reading ended early.
    """

    tallies: dict[int, dict[tuple[Source, Key], Tally]] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    examples: list[QuarantinedRecord] = field(default_factory=list)
    lines: int = 0
    first_time: int | None = None
    last_time: int | None = None
    seen: SeenEvents = field(default_factory=SeenEvents)
    duplicates: int = 0
    delays: Counter[int] = field(default_factory=Counter)
    read_error: ReadError | None = None

    def move(self, lines: int) -> None:
        """Renumber lines from the beginning of the file; `lines` lines came before this chunk."""
        for tallies in self.tallies.values():
            for place, tally in tallies.items():
                tallies[place] = msgspec.structs.replace(
                    tally,
                    first_sequence=lines + (tally.first_sequence or 0),
                    last_sequence=lines + (tally.last_sequence or 0),
                )
        self.examples = [flawed._replace(sequence=flawed.sequence + lines) for flawed in self.examples]


def line_decoder(attributes: Collection[str]) -> Callable[[bytes], list[Any]]:
    """Make a decoder of lines of NDJSON, each a record, or a message if it has `records`."""
    record = record_type(attributes)
    fields: list[Any] = [("records", list[record] | msgspec.UnsetType, msgspec.UNSET)]  # type: ignore[valid-type]
    line = msgspec.defstruct("Line", fields, bases=(record,), module=__name__, gc=False)
    return msgspec.json.Decoder(line).decode_lines


_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


_as_written = msgspec.json.Decoder(msgspec.Raw).decode_lines
"""Tell JSON values apart as decoders of lines do: several may stand on a line, and one on several."""


class _Written(Sequence[Any]):
    """Lines that are a record each, read with all of their fields when one is asked for."""

    def __init__(self, data: bytes) -> None:
        self._lines = _as_written(data)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - a record of no static type, at a place
        return _records_of(self._lines[index])[0]


def _records_of(line: bytes | msgspec.Raw) -> Sequence[Any]:
    return decode(bytes(line)).records


def _line_count(data: bytes) -> int:
    """Count lines, of which the last may lack its newline; `count` would take four times as long."""
    return len(data) - len(data.replace(b"\n", b"")) + (not data.endswith(b"\n"))


def count(
    blocks: Iterable[Block], name: str, rules: Sequence[Rule], span: BucketRange, known: SeenEvents | None = None
) -> PartialCounts:
    """Count blocks.

    Args:
        blocks: the blocks of one chunk, in order.
        name: the name of the file, for evidence.
        rules: the rules to evaluate.
        span: the buckets to count; other records are left out.
        known: events of other chunks, which are left out.
    """
    counting = _Counting(name, rules, span, known or SeenEvents())
    for block in blocks:
        counting.add(block)
    return counting.result()


def _decoded(decode_lines: Callable[[bytes], list[Any]], data: bytes, count: int) -> Sequence[Any]:
    """Decode lines; none if some are broken, or blank."""
    try:
        lines = decode_lines(data)
    except _REFUSED:
        return ()
    return lines if len(lines) == count else ()


def _are_records(lines: Sequence[Any]) -> bool:
    """Tell whether decoded lines are a record each, and none is a message."""
    return [line.records for line in lines].count(msgspec.UNSET) == len(lines)


def _first_and_last(texts: Sequence[str]) -> Sequence[str]:
    """Return times among which are the first and the last of some, to the minute."""
    if texts and {text[-1] for text in texts} == {"Z"}:
        both = [f"{text[:_MINUTE]}Z" for text in (min(texts), max(texts))]
        if both[0][:_HOUR] == both[1][:_HOUR] and None not in record_times(both):
            return both  # whatever stands between them is of the same hour
    return [f"{text[:_MINUTE]}Z" if text[-1] == "Z" and len(text) > _MINUTE else text for text in set(texts)]


class _Counting:
    """Builds the counts of one chunk."""

    def __init__(self, name: str, rules: Sequence[Rule], span: BucketRange, known: SeenEvents) -> None:
        self._counts = PartialCounts()
        self._counter = BatchCounter(rules)
        self._delta = Delta()
        self._buckets: defaultdict[tuple[int, Source], Columns] = defaultdict(Columns)
        self._file = Source("", name, "")
        self._span = span
        self._known = known
        self._examples: Counter[str] = Counter()
        self._next_sum = _RECORDS_AT_ONCE
        self._decode_lines = line_decoder(self._counter.attributes.union(TIMES))
        self._skim_lines = line_decoder(self._counter.first_attributes.union(TIMES))
        self._is_skimming = False

    def add(self, block: Block) -> None:
        """Count one block."""
        match block:
            case Lines(data):
                self._add_lines(data)
            case Document(body):
                self._counts.lines += 1
                self._add_message(1, decode(body))
            case Captured(source, events):
                for event in events:
                    self._add_event(source, event)
            case ReadError():
                self._counts.read_error = block
        if self._delta.counters.records >= self._next_sum:
            self._keep_tallies()
        self._keep_examples()

    def result(self) -> PartialCounts:
        """Return the counts, once every block was added."""
        self._keep_tallies()
        self._counts.counters = self._counts.counters.merged(self._delta.counters)
        return self._counts

    def _add_lines(self, data: bytes) -> None:
        first, count = self._counts.lines + 1, _line_count(data)
        self._counts.lines += count
        if self._is_skimming:
            message = Message(_decoded(self._skim_lines, data, count))
            self._is_skimming = self._lets_go(message)
            if self._is_skimming:
                self._delta.counters.records += count
                self._widen(message.records)
                return
        if lines := _decoded(self._decode_lines, data, count):
            self._add_decoded(first, lines, data)
            return
        for number, line in enumerate(data.split(b"\n"), first):  # some are broken, or blank
            if line.strip():
                self._add_message(number, decode(line))

    def _lets_go(self, message: Message) -> bool:
        """Tell whether no rule reads any line of a block, and each is a record."""
        return bool(message.records) and _are_records(message.records) and self._counter.lets_go(message)

    def _add_decoded(self, first: int, lines: Sequence[Any], data: bytes) -> None:
        """Count decoded lines: all at once if none of them is a message, which is a third faster."""
        if _are_records(lines):
            message = Message(lines, body=data, read_whole=partial(_Written, data))
            self._counter.count_message(self._delta, first, message, self._by_own_times, step=1)
            self._widen(lines)
            self._is_skimming = self._lets_go(message)
            return
        for number, (line, body) in enumerate(zip(lines, _as_written(data), strict=True), first):
            records = [line] if line.records is msgspec.UNSET else line.records
            self._add_message(number, Message(records, body=bytes(body), read_whole=partial(_records_of, body)))

    def _add_message(self, place: int, message: Message) -> None:
        self._counter.count_message(self._delta, place, message, self._by_own_times)
        self._widen(message.records)

    def _add_event(self, source: Source, event: Event) -> None:
        """Count a captured event at its enqueued time, unless it was counted before."""
        arrival = microseconds(event.enqueued)
        if self._known.holds(source, event.sequence, arrival) or not self._counts.seen.add(
            source, event.sequence, arrival
        ):
            self._counts.duplicates += 1
            return
        message = decode(event.body)
        columns = self._at(arrival, source)
        self._counter.count_message(
            self._delta, event.sequence, message, columns or (lambda times: repeat(None, len(times)))
        )
        self._extend(arrival, arrival)
        newest = max(filter(None, record_times(list(map(own_time, message.records)))), default=None)
        if newest is not None:
            self._counts.delays[max(arrival - microseconds(newest), 0) // 1_000_000] += 1

    def _by_own_times(self, times: Sequence[datetime | None]) -> Iterable[Columns | Problem | None]:
        """Find the columns for records by their own times; a record without one is a problem."""
        known = [time for time in times if time is not None]
        if len(known) == len(times):
            first, last = self._by_own_time(min(known)), self._by_own_time(max(known))
            if first is last and isinstance(first, Columns):  # as mostly: then all of them are in one bucket
                return repeat(first, len(times))
        return map(self._by_own_time, times)

    def _by_own_time(self, at: datetime | None) -> Columns | Problem | None:
        time = None if at is None else microseconds(at)
        if time is None or time not in _PLAUSIBLE:
            return _TIMELESS
        minute = time - time % MINUTE_MICROSECONDS
        self._extend(minute, minute)  # the line may be a wrapper, which tells no time
        return self._at(time, self._file)

    def _at(self, arrival: int, source: Source) -> Columns | None:
        """Find the columns for a record that arrived at a time; None if the bucket was not requested."""
        bucket = arrival - arrival % BUCKET_MICROSECONDS
        return self._buckets[bucket, source] if self._span.first <= bucket < self._span.end else None

    def _widen(self, records: Iterable[Any]) -> None:
        """Widen the first and last time, to the minute."""
        texts = [text for record in records if (text := record.time or own_time(record))]
        known = [microseconds(time) for time in record_times(_first_and_last(texts)) if time is not None]
        plausible = [time for time in known if time in _PLAUSIBLE]
        if plausible:
            self._extend(min(plausible), max(plausible))

    def _extend(self, first: int, last: int) -> None:
        counts = self._counts
        counts.first_time = first if counts.first_time is None else min(first, counts.first_time)
        counts.last_time = last if counts.last_time is None else max(last, counts.last_time)

    def _keep_tallies(self) -> None:
        """Sum up what was added since the last time: a chunk may be a whole day."""
        self._next_sum = self._delta.counters.records + _RECORDS_AT_ONCE
        for (bucket, source), columns in self._buckets.items():
            held = self._counts.tallies.setdefault(bucket, {})
            tallies, selected = columns.add_up()
            for key, tally in tallies.items():
                place = source, key
                held[place] = held[place].merged(tally) if place in held else tally
            self._counts.counters = self._counts.counters.merged(selected)
        self._buckets.clear()

    def _keep_examples(self) -> None:
        """Keep the first flaws of each reason, and drop the others: a file may be nothing but flaws."""
        for flawed in self._delta.take_flaws():
            self._examples[flawed.flaw.reason] += 1
            if self._examples[flawed.flaw.reason] <= MAX_EXAMPLES:
                self._counts.examples.append(flawed)
