"""The list of decisions."""

from pathlib import Path

import pytest

from generate import decisions


def test_a_decision_is_listed_with_status_and_day(tmp_path: Path) -> None:
    """With a link to its page."""
    (tmp_path / "0007-short.md").write_text(
        "# 0007 Buckets are short\n\nStatus: superseded, 2026-11-23\n\n## Context\n"
    )
    assert "| 0007 | [Buckets are short](0007-short.md) | superseded | 2026-11-23 |" in decisions.listed(tmp_path)


@pytest.mark.parametrize("head", ["# 0007 Undated\n", "# 0008 Misnumbered\n\nStatus: accepted, 2026-11-23\n"])
def test_a_decision_without_status_or_of_another_number_is_refused(tmp_path: Path, head: str) -> None:
    """The message says which page, and what it has to begin with."""
    (tmp_path / "0007-page.md").write_text(head)
    with pytest.raises(ValueError, match=r"0007-page\.md has to begin with"):
        decisions.listed(tmp_path)
