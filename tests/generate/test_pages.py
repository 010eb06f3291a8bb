"""Generated pages: what they are made from has to be described."""

from pathlib import Path

import msgspec
import pytest

from detectors.reporting.finding import Finding
from detectors.rules.catalogue import BY_ID
from generate import __main__ as command
from generate import columns, detections
from generate.pages import SHIPPED


def test_a_column_that_nobody_describes_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """So no table has an empty cell."""
    more = msgspec.defstruct("More", [("tokens", int)], bases=(Finding,), rename="pascal", kw_only=True)
    more.__doc__ = Finding.__doc__
    monkeypatch.setattr(columns, "Finding", more)
    with pytest.raises(KeyError, match="tokens"):
        columns.findings()


def test_the_page_of_a_rule_holds_its_numbers_its_file_and_its_guide() -> None:
    """And not what is for other readers: the alert's texts stand in Sentinel."""
    page = detections.page(BY_ID["denial_of_service"])
    assert "| `request_length` | 5,000 | bytes in a prompt, on average | `DENIAL_OF_SERVICE__REQUEST_LENGTH` |" in page
    assert 'per = "minute"' in page
    assert "\n## Triage\n\n### What fired\n" in page
    assert "[alert]" not in page


def test_a_selection_is_told_in_words() -> None:
    """With its source, and every condition."""
    page = detections.page(BY_ID["bedrock_guardrail_violations"])
    assert "| Counts | AWS Bedrock model invocation logs with blocking policies at least `2` |" in page


def test_a_table_of_rules_links_to_their_pages_from_where_it_stands() -> None:
    """In the folder of the pages, and above it."""
    assert "](model_theft.md)" in detections.rules(SHIPPED, ".")
    assert "](docs/detections/model_theft.md)" in detections.rules(SHIPPED, "docs/detections")


def test_pages_of_rules_that_are_gone_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is up to date is left alone."""
    gone, kept = tmp_path / "gone.md", tmp_path / "kept.md"
    gone.touch()
    kept.write_text("kept")
    monkeypatch.setattr(command, "DETECTIONS", tmp_path)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "pages", lambda: {kept: "kept", tmp_path / "new.md": "new"})
    command.main()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept.md": "kept", "new.md": "new"}
