"""A real Chromium for tests: pages opened from files, with all that they complained about and asked for."""

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
_FIND = Path(__file__).parents[3] / "local" / "find-chromium"

_COLOURS = """async (png) => {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  return new Set(new Uint32Array(canvas.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer)).size;
}"""


@dataclass(slots=True)
class Visit:
    """A page that was opened.

    Attributes:
        page: to look at and act on.
        complaints: what the console said, and errors of scripts.
        requests: addresses that the page asked for, its own first.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def ask(self, script: str) -> Any:  # noqa: ANN401 - what a script gives is JSON
        """Return the value of a JavaScript expression in the page."""
        return self.page.evaluate(script)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window, in a new profile that is thrown away.

    While it runs there is an event loop in this thread: keep it to one test module.
    """
    found = subprocess.run(["sh", _FIND], capture_output=True, text=True, check=False)  # noqa: S603, S607 - our own script
    assert found.returncode == 0, found.stderr
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found.stdout.strip(), args=FLAGS)
        yield running
        running.close()


def visit(
    browser: Browser,
    path: Path,
    *,
    scheme: Literal["light", "dark"] = "light",
    media: Literal["screen", "print"] = "screen",
    width: int = 1280,
    script: bool = True,
) -> Visit:
    """Open a file as a person would; the width is in CSS pixels."""
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=script
    )
    made = Visit(context.new_page())
    made.page.on("console", lambda message: made.complaints.append(message.text))
    made.page.on("pageerror", lambda error: made.complaints.append(f"{error}"))
    made.page.on("request", lambda request: made.requests.append(request.url))
    made.page.emulate_media(media=media)
    made.page.goto(path.as_uri())
    return made


def colours(browser: Browser, picture: Path) -> int:
    """How many colours a PNG file has: a page that stayed empty has one."""
    page = browser.new_page()
    count: int = page.evaluate(_COLOURS, base64.b64encode(picture.read_bytes()).decode())
    page.close()
    return count
