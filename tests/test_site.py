"""The site, as `make docs` builds it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.host import ROOT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the built site; a link or an anchor that leads nowhere fails it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(  # noqa: S603 - mkdocs of this environment
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page_of_the_site(site: Path) -> None:
    """The generated ones too."""
    documents = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert documents == {path.relative_to(site) for path in site.rglob("*.html")} - {Path("404.html")}


def test_a_page_loads_nothing_from_the_network(site: Path) -> None:
    """No fonts, scripts, styles or pictures from elsewhere; links may lead there."""
    loaded = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]+)")
    assert [found for page in site.rglob("*.html") for found in loaded.findall(page.read_text())] == []
