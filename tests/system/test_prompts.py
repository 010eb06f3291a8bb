"""No prompt and no answer leaves the hub, to a table, a posted row or a log, however a message is broken."""

import logging
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from detectors.storage import quarantine
from detectors.storage.tables import MemoryTable
from tests.builders import START, bedrock, list_key, message
from tests.deployment import Deployment

PROMPT = "how-to-pick-a-lock"
TEXTS = {"messages": [{"content": [{"text": PROMPT}]}]}
RECORDS = (
    bedrock(input={"inputBodyJson": TEXTS}, output={"outputBodyJson": TEXTS}),
    bedrock(input=PROMPT, output=[PROMPT], operation=7, time=5),
    {"shipped": PROMPT, "body": {"inputBodyJson": TEXTS}},
)


def _broken() -> Iterator[bytes]:
    """Yield sound messages, and each of them broken at many places, in many ways."""
    for record in RECORDS[:2]:
        body = message(record, list_key())
        yield body
        for place in range(0, len(body), 11):
            yield body[:place]
            for piece in (b'"', b"}", b"\0", b"x", b""):
                yield body[:place] + piece + body[place + 1 :]


def _stored(table: MemoryTable) -> Iterator[str]:
    """Yield what a table holds, unpacked."""
    for row in table.query("0", "z"):
        yield row.key
        for value in row.values.values():
            text = value
            if isinstance(value, bytes):
                with suppress(zlib.error):
                    text = zlib.decompress(value)
            yield str(text)


def test_no_prompt_is_stored_posted_or_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With long excerpts of every flaw in quarantine, and everything that may be logged."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(quarantine, "MAX_ROWS", 10**6)
    deployment = Deployment()
    for number, body in enumerate(_broken()):
        deployment.bring(START + timedelta(seconds=number / 10), body)
    deployment.bring(START + timedelta(minutes=9), message(RECORDS[2]))
    deployment.tick(START + timedelta(minutes=10))
    tables = (deployment.buckets, deployment.journal, deployment.quarantine)
    kept = [text for table in tables for text in _stored(table)]
    assert len(kept) > 100
    assert [text for text in kept if PROMPT in text] == []
    assert PROMPT not in str(deployment.posted.rows)
    assert PROMPT not in caplog.text
