"""Thirty days of ten ordinary applications, as public samples show them, and what thieves do on the last day.

What thieves do looks like what applications do: long prompts, large answers, bursts, refusals, listings of keys.
Each application has a day of its own, week-ends, people who come late, and jobs that run once a day or once a week.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from detectors.examples.catalogue import WRITERS
from detectors.examples.writer import Fields

START = datetime(2026, 11, 2, tzinfo=UTC)
"""A Monday."""

DAYS = 30
LAST_DAY = START + timedelta(days=DAYS - 1)
_OPENAI, _ACTIVITY, _BEDROCK = "azure_openai", "azure_activity", "aws_bedrock"
_MINUTES_OF_DAY = 24 * 60
_FRIDAY = 4


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute of the month: when, and what chance gives in it."""

    at: datetime
    rng: Random

    @property
    def of_day(self) -> int:
        """Since midnight."""
        return self.at.hour * 60 + self.at.minute

    @property
    def is_workday(self) -> bool:
        """Monday to Friday."""
        return self.at.weekday() <= _FRIDAY

    @property
    def office(self) -> float:
        """How busy an office is: 0 outside of its hours, 1 at the middle of the day, little on week-ends."""
        curve = math.sin(math.pi * (self.of_day - 7 * 60) / (12 * 60)) if 7 * 60 <= self.of_day < 19 * 60 else 0.0
        return curve * (1.0 if self.is_workday else 0.1)

    def between(self, hour: float, minutes: int) -> bool:
        """Whether it is one of so many minutes from an hour of the day on."""
        return 0 <= self.of_day - hour * 60 < minutes

    def number(self, mean: float) -> int:
        """How many of something happen that come by themselves (Poisson)."""
        limit, product, count = math.exp(-mean), self.rng.random(), 0
        while product > limit:
            product *= self.rng.random()
            count += 1
        return count

    def size(self, mean: float, spread: float = 0.3) -> int:
        """How long a text is: mostly about the mean, seldom far above."""
        return int(self.rng.lognormvariate(math.log(mean), spread))


Calls = Iterator[tuple[str, Fields]]
Application = Callable[[Minute], Calls]
"""What an application logs in a minute: log sources and fields."""


def chat_that_streams(minute: Minute) -> Calls:
    """Answer people, who wait for words and not for texts: each answer is a stream, whose length is logged as 0."""
    for _ in range(minute.number(0.1 + minute.office)):
        status = minute.rng.choices(("200", "400", "429"), (985, 10, 5))[0]
        yield (
            _OPENAI,
            {
                "resource": "chat-prod",
                "caller": "chat",
                "status": status,
                "streamed": "empty" if status == "200" else "no",
                "request_length": minute.size(4_000, 0.8),
                "response_length": None if status == "200" else 259,
            },
        )


def documents_and_questions(minute: Minute) -> Calls:
    """Answer from documents (RAG): each prompt holds pages, 88 KB on average in a public sample."""
    for _ in range(minute.number(14 * minute.office**16)):
        yield (
            _OPENAI,
            {
                "resource": "search-prod",
                "caller": "search",
                "request_length": minute.size(88_000),
                "response_length": minute.size(2_500),
            },
        )


def nightly_embeddings(minute: Minute) -> Calls:
    """Embed what came in by day, in batches whose answers are a million bytes and more."""
    if minute.between(2, 20 + minute.at.day % 7 * 3):
        for _ in range(minute.number(6)):
            yield (
                _OPENAI,
                {
                    "resource": "embed-prod",
                    "caller": "embedder",
                    "operation": "Embeddings_Create",
                    "request_length": minute.size(60_000),
                    "response_length": minute.size(900_000),
                },
            )


def agents_that_retry(minute: Minute) -> Calls:
    """Work in bursts by the Responses API, are throttled, and try again."""
    if minute.rng.random() < 0.02 * (minute.office + 0.05):
        for _ in range(minute.rng.randint(12, 25)):
            status = minute.rng.choices(("200", "429", "500", "400"), (70, 25, 3, 2))[0]
            yield (
                _OPENAI,
                {
                    "resource": "agents-prod",
                    "caller": f"agent {minute.rng.randint(1, 4)}",
                    "operation": "Responses_Create",
                    "status": status,
                    "request_length": minute.size(30_000, 0.6),
                    "response_length": minute.size(3_000) if status == "200" else 300,
                },
            )


def nightly_pipeline(minute: Minute) -> Calls:
    """List the keys of two accounts at the same time each night, then work through the day's documents with them."""
    resources = "invoices-prod", "invoices-test"
    if minute.of_day == 60:
        for resource in resources:
            yield _OPENAI, {"category": "Audit", "operation": "ListKey", "resource": resource, "caller": "pipeline"}
            yield _ACTIVITY, {"resource": resource, "caller": "pipeline"}
    if minute.between(1.1, 45):
        for _ in range(minute.number(4)):
            yield (
                _OPENAI,
                {
                    "resource": resources[0],
                    "caller": minute.rng.choice(("203.0.113.**", "203.0.113.***")),
                    "request_length": minute.size(12_000),
                    "response_length": minute.size(1_200),
                },
            )


def office_on_entra(minute: Minute) -> Calls:
    """Let two hundred people ask what they like, each with an identity of their own, some with an old token."""
    for _ in range(minute.number(2 * minute.office)):
        status = minute.rng.choices(("200", "401", "400"), (96, 2, 2))[0]
        yield (
            _OPENAI,
            {
                "resource": "office-prod",
                "caller": f"person {minute.rng.randint(1, 200)}",
                "status": status,
                "streamed": minute.rng.choice(("empty", "no")) if status == "200" else "no",
                "request_length": minute.size(2_500, 0.9),
                "response_length": minute.size(1_800),
            },
        )


def monday_report(minute: Minute) -> Calls:
    """Answer now and then, and on Monday mornings write reports: several times what other days see."""
    busy = minute.at.weekday() == 0 and minute.between(6, 20)
    for _ in range(minute.number(25 if busy else 2 * minute.office)):
        yield (
            _OPENAI,
            {
                "resource": "reports-prod",
                "caller": "reports",
                "request_length": minute.size(9_000),
                "response_length": minute.size(5_000),
            },
        )


def owners_and_deployments(minute: Minute) -> Calls:
    """List keys of four accounts with each deployment; owners come and go, and rotate a key."""
    if minute.is_workday and minute.of_day in {9 * 60 + 30, 15 * 60}:
        for number in range(1, 5):
            yield (
                _OPENAI,
                {"category": "Audit", "operation": "ListKey", "resource": f"app-{number}", "caller": "deployment"},
            )
            yield _ACTIVITY, {"resource": f"app-{number}", "caller": "deployment"}
    if minute.of_day == 11 * 60 and minute.at.day % 10 == 0:
        owner = f"owner {minute.at.day}"
        yield _OPENAI, {"category": "Audit", "operation": "ListKey", "resource": "app-1", "caller": owner}
        yield _ACTIVITY, {"resource": "app-1", "caller": owner}
        yield (
            _ACTIVITY,
            {
                "operation": "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/REGENERATEKEY/ACTION",
                "resource": "app-1",
                "caller": owner,
            },
        )


def bedrock_chat(minute: Minute) -> Calls:
    """Serve visitors of a site by one role; a guardrail blocks what a few of them write."""
    for _ in range(minute.number(0.1 + 2 * minute.office)):
        blocked = minute.rng.random() < 0.06
        yield (
            _BEDROCK,
            {
                "principal": "site",
                "caller": f"task-{minute.rng.randint(1, 30)}",
                "input_tokens": minute.size(3_000, 0.5),
                "output_tokens": minute.size(450, 0.5),
                "blocking_policies": 1 if blocked else 0,
            },
        )


def bedrock_summaries(minute: Minute) -> Calls:
    """Summarize long documents every hour, and be throttled."""
    if minute.at.minute < 10:
        for _ in range(minute.number(2)):
            error = "ThrottlingException" if minute.rng.random() < 0.1 else None
            yield (
                _BEDROCK,
                {
                    "principal": "summaries",
                    "caller": "batch",
                    "error": error,
                    "input_tokens": minute.size(40_000),
                    "output_tokens": minute.size(900),
                },
            )


APPLICATIONS: tuple[Application, ...] = (
    chat_that_streams,
    documents_and_questions,
    nightly_embeddings,
    agents_that_retry,
    nightly_pipeline,
    office_on_entra,
    monday_report,
    owners_and_deployments,
    bedrock_chat,
    bedrock_summaries,
)


def thieves(minute: Minute) -> Calls:
    """Flood an account, probe a content filter with a key, and use an identity of AWS that nobody saw before."""
    if minute.at.day != LAST_DAY.day or minute.at.month != LAST_DAY.month or not minute.between(13, 30):
        return
    for _ in range(60):
        yield _OPENAI, {"resource": "chat-prod", "caller": "203.0.113.***", "request_length": minute.size(20_000)}
    for _ in range(2):
        yield _OPENAI, {"resource": "search-prod", "caller": "198.51.100.***", "status": "400", "response_length": 259}
        yield (
            _BEDROCK,
            {
                "principal": "borrowed",
                "caller": "x",
                "input_tokens": minute.size(9_000),
                "output_tokens": minute.size(900),
                "blocking_policies": 1,
            },
        )


def records(application: Application, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the records of an application in the order of their times."""
    rng = Random(f"{application.__name__} {seed}")
    for number in range(DAYS * _MINUTES_OF_DAY):
        minute = Minute(START + timedelta(minutes=number), rng)
        calls = list(application(minute))
        for place, (source, fields) in enumerate(calls):
            writer = WRITERS[source]
            at = minute.at + timedelta(seconds=60 * place / len(calls))
            yield writer.write(writer.complete(fields, 0), at)
