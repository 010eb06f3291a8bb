"""What is fuzzed: functions that take any bytes, and raise if what must hold of them does not.

`TARGETS` lists them by name.
"""

import json
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from detectors.backtest.exports import Captured, Document, Lines, ReadError, read_stream
from detectors.configuration import tuning
from detectors.configuration.settings import Settings
from detectors.errors import SettingsError, StorageError
from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.rules import reading
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.crowds import merge_bounded
from detectors.rules.tally import Key
from detectors.sources.catalogue import SOURCES
from detectors.sources.decoding import EXCERPT_CHARACTERS, Message, decode
from detectors.sources.structure import Structure
from detectors.sources.wrappers import SHORTEST, unwrap
from detectors.storage import baseline_table, buckets, journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable
from tests.builders import SOURCE, START, canonical_id, list_key
from tests.fuzz.json_twin import elements_of, says_the_same

type Target = Callable[[bytes], None]
"""Takes any bytes; an exception is a finding."""

HERE = Path(__file__).parent
SOUND = json.dumps(list_key()).encode()
_LISTED = Key("model_theft", (canonical_id(),))
_EVERY, _ONE = BatchCounter(CATALOGUE), BatchCounter([BY_ID["model_theft"]])
_NO_BRACKETS = bytes.maketrans(b"", b"")
_STRUCTURAL = b"{}[]\"'\\"
_SECRET = "=;?&@"


def _count(body: bytes, counter: BatchCounter = _EVERY) -> Delta:
    """Count a message; its flaws must be such that a table takes them."""
    delta = counter.count([Event(1, START, body)], START)
    Quarantine(MemoryTable(), excerpt_characters=EXCERPT_CHARACTERS).keep(SOURCE, START, delta.flaws, already=0)
    return delta


def _listings(body: bytes) -> int:
    """How many sound key listings a message holds, by what is counted."""
    tally = _count(body, _ONE).tallies.get(_LISTED)
    return tally.count if tally else 0


def messages(body: bytes) -> None:
    """Read a message: as `json` does where it is JSON, and without an exception where it is none."""
    message, delta = decode(body), _count(body)
    _is_consistent(message)
    assert delta.counters.messages == 1
    told = elements_of(body)
    if told is None:
        return
    assert len(message.records) == len(told)
    for element, record in zip(told, message.records, strict=True):
        if isinstance(element, dict):
            assert says_the_same(record, element), (record, element)
    respelled = _count(json.dumps({"records": told}).encode())
    assert respelled.tallies == delta.tallies
    assert respelled.counters.quarantined == delta.counters.quarantined


def _is_consistent(message: Message) -> None:
    places = range(len(message.records))
    for flaw in message.flaws:
        assert flaw.index in places
        flaw.excerpt.encode()
    for index, found in message.unreadable.items():
        assert index in places
        found.excerpt.encode()


def neighbours(damage: bytes) -> None:
    """Never lose a sound record: one ahead of whatever it is, and one behind what holds no quote and no bracket."""
    ahead = b'{"records":[' + SOUND + b"," + damage
    text = ahead.strip(b"\0 \t\r\n").decode(errors="replace")
    if Structure(text).end(0) < len(text):  # else a second `records` may replace the first
        assert _listings(ahead) >= 1
    behind = b'{"records":[' + damage.translate(_NO_BRACKETS, _STRUCTURAL) + b"," + SOUND + b"]}"
    assert _listings(behind) == 1


_WRAPPERS: Sequence[Callable[[str], object]] = (
    lambda text: {"message": text},
    lambda text: {"@timestamp": 1, "log": f"{text}\n"},
    lambda text: {"schema": None, "payload": text},
    lambda text: {"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "message": text}]},
)


def wrapped(body: bytes) -> None:
    """Count of a message in a wrapper what is counted of it alone; the first byte chooses which wrapper."""
    text = body[1:].decode(errors="replace").strip()
    bare = decode(text.encode())
    if len(text) < SHORTEST or text[0] not in "{[" or any(unwrap(record) for record in bare.records):
        return
    wrap = _WRAPPERS[body[0] % len(_WRAPPERS)]
    outside, inside = _count(json.dumps({"records": [wrap(text)]}).encode()), _count(text.encode())
    assert outside.tallies == inside.tallies
    assert outside.counters.records == inside.counters.records
    broken_line = b'{"message": "cut off'
    salvaged = _count(broken_line + b"\n" + json.dumps(_WRAPPERS[0](SOUND.decode())).encode() + b"\n", _ONE)
    assert salvaged.tallies[_LISTED].count == 1


_RECORDS = [json.loads(path.read_text()) for path in sorted((HERE / "records").glob("*.json"))]
_NAMES = sorted({field.encode_name for source in SOURCES for field in msgspec.structs.fields(source.record)})


def sources(written: bytes) -> None:
    """Read a record of each source with any value in any field; two bytes choose which. Its neighbour counts."""
    if len(written) < 3:
        return
    record, name = _RECORDS[written[0] % len(_RECORDS)], _NAMES[written[1] % len(_NAMES)]
    odd = json.dumps(record)[:-1].encode() + f', "{name}": '.encode() + written[2:] + b"}"
    body = b'{"records":[' + odd + b"," + SOUND + b"]}"
    _is_consistent(decode(body))
    told = elements_of(body)
    if told is not None and told[1:] == [json.loads(SOUND)]:
        assert _listings(body) >= 1
    _count(body)


def exports(data: bytes) -> None:
    """Read an exported log: text or Avro, packed or not. Whatever is wrong with it is a `ReadError`."""
    for block in read_stream(BytesIO(data), "fuzz"):
        match block:
            case Lines():
                for line in block.data.splitlines()[:50]:
                    _is_consistent(decode(line))
            case Document():
                _is_consistent(decode(block.body))
            case Captured():
                assert block.events
            case ReadError():
                assert block.reason.isidentifier()
                assert block.detail.isprintable()


_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, zlib.error, StorageError)
_MSGPACK: Sequence[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = (
    (buckets._unpack_tallies, buckets._pack),  # noqa: SLF001 - what rows hold
    (buckets._unpack_counters, buckets._pack),  # noqa: SLF001
    (journal._unpack, journal._pack),  # noqa: SLF001
    (baseline_table.MEMBERS.decode, baseline_table._pack),  # noqa: SLF001
    (baseline_table.PEAKS.decode, baseline_table._pack),  # noqa: SLF001
)


def rows(packed: bytes) -> None:
    """Read what a row of storage holds; the first byte chooses which. What can be read comes back as it is stored."""
    unpack, pack = _MSGPACK[packed[0] % len(_MSGPACK)] if packed else _MSGPACK[0]
    with suppress(*_REFUSED):
        zlib.decompress(packed[1:])
    try:
        value = unpack(packed[1:])
    except _REFUSED:
        return
    assert pack(unpack(pack(value))) == pack(value)
    if unpack is _MSGPACK[0][0]:
        held: dict[Key, Any] = {}
        merge_bounded(held, value)
        pack(list(held.items()))


def rules(text: bytes) -> None:
    """Read a rule's file: it is a rule that counts, or a list of problems that name the file."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        path = Path(folder) / "fuzzed.toml"
        path.write_bytes(text)
        problems: list[str] = []
        rule = reading.read(path, problems)
    assert (rule is None) == bool(problems)
    assert all("fuzzed.toml" in problem for problem in problems)
    if rule is not None:
        _count(b'{"records":[' + SOUND + b"]}", BatchCounter([rule]))


def tunings(text: bytes) -> None:
    """Read a tuning file: changes, and problems that name the file."""
    with suppress(UnicodeDecodeError):
        read = tuning.parse(text.decode(), "tuning.toml")
        assert all("tuning.toml" in problem for problem in read.problems)


def settings(lines: bytes) -> None:
    """Read settings, one a line: they are usable, or every problem is told; no secret is shown."""
    text = lines.decode(errors="replace").replace("\0", "")
    env = {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}
    try:
        Settings.from_env(env)
    except SettingsError as error:
        told = str(error)
        for value in env.values():
            if len(value) > 12 and not {*_SECRET}.isdisjoint(value):  # shorter ones may stand in any text
                assert value.strip() not in told, value


TARGETS: dict[str, Target] = {
    one.__name__: one for one in (messages, neighbours, wrapped, sources, exports, rows, rules, tunings, settings)
}


def planted(data: bytes) -> None:
    """Break for one word, letter by letter: only a fuzzer that follows coverage finds it."""
    if data[:1] == b"f":  # noqa: SIM102 - each is a branch of its own
        if data[1:2] == b"o":  # noqa: SIM102
            if data[2:3] == b"u":  # noqa: SIM102
                if data[3:4] == b"n":
                    assert data[4:5] != b"d"


def feeds(name: str) -> list[Path]:
    """Return the folders of what a target is fed first."""
    others = {"messages": [HERE / "records"], "rules": [Path(reading.__file__).parent]}
    return [folder for folder in [HERE / "corpus" / name, *others.get(name, [])] if folder.is_dir()]


BY_NAME: dict[str, Target] = {**TARGETS, planted.__name__: planted}
"""All of them, and one that is broken on purpose."""
