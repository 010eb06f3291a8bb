"""The report as a person has it: opened from a file in a real Chromium."""

import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Error

from detectors.backtest.outcome import Outcome, Place
from detectors.backtest.report import render
from tests.detectors.backtest.browser import Visit, chromium, colours, visit
from tests.detectors.backtest.outcomes import MADE, THRESHOLDS, month, nothing, quality, timeline

A4_WIDTH = 703
"""CSS pixels of an A4 page between margins of 12 mm."""

HOSTILE = (
    "</script><script>window.taken = 1</script>",
    "</style></title><img src=x onerror='window.taken = 1'>",
    '" onmouseover="window.taken = 1" x="',
    "' autofocus onfocus='window.taken = 1",
    "<svg onload=window.taken=1>",
    "javascript:window.taken=1",
    "<!-- ]]> &lt;b&gt; &amp; {{7*7}} ${7*7}",
    "line\u2028and\u2029paragraph\nand\r\n\ttab",
    "turned \u202egpj.exe, hidden \u200b, cut \x00 \x1b[31m, half \ud800",
    "x" * 3_000,
)

CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [, , , alpha = 1] = channels(getComputedStyle(at).backgroundColor);
      if (alpha > 0) return getComputedStyle(at).backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.closest("script, title")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(element.ownerSVGElement ? style.fill : style.color), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push({text: texts.currentNode.data.slice(0, 40), ratio});
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for these tests."""
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def closed(browser: Browser) -> Iterator[None]:
    """Pages do not outlive their test."""
    yield
    for context in browser.contexts:
        context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the report of a month."""
    return write(tmp_path_factory.mktemp("report") / "month.html", month())


def write(path: Path, outcome: Outcome) -> Path:
    """Return the report in a file."""
    path.write_text(render(outcome, MADE), encoding="utf-8")
    return path


def column(opened: Visit, number: int) -> list[str]:
    """Return the texts of a column of the episodes' table, first lines only."""
    cells = opened.page.locator(f"#episodes tbody td:nth-child({number})")
    return [text.strip().split("\n")[0] for text in cells.all_inner_texts()]


def boxes(opened: Visit, selector: str) -> list[dict[str, float]]:
    """Return the places and sizes of what is there, in CSS pixels."""
    found = [each.bounding_box() for each in opened.page.locator(selector).all()]
    return [{"width": box["width"], "height": box["height"]} if box else {} for box in found]


def test_it_opens_without_complaint_and_asks_for_nothing_else(browser: Browser, report: Path) -> None:
    """A page that loads anything tells somebody that the backtest was read, and breaks where there is no network."""
    opened = visit(browser, report)
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]
    assert opened.page.title() == "Backtest of LLM abuse detections"


@pytest.mark.parametrize("script", [True, False])
def test_every_chart_is_drawn_with_script_and_without(browser: Browser, report: Path, script: bool) -> None:  # noqa: FBT001 - a case
    """Twelve timelines and three curves are there and have a size: charts are made before the page is opened."""
    opened = visit(browser, report, script=script)
    drawn = boxes(opened, ".timeline .plot") + boxes(opened, ".curve-chart .plot")
    assert len(drawn) == 15
    assert all(box["width"] > 200 and box["height"] > 100 for box in drawn)
    shapes = boxes(opened, ".timeline .values") + boxes(opened, ".timeline .episode") + boxes(opened, ".curve")
    assert len(shapes) == 12 + 5 + 3
    assert all(box["width"] > 0 and box["height"] > 0 for box in shapes)


def test_a_column_of_numbers_sorts_by_number_and_back(browser: Browser, report: Path) -> None:
    """Sorted as text, 31 windows would come before 7."""
    opened = visit(browser, report)
    head = opened.page.locator("#episodes th", has_text="Windows")
    assert column(opened, 7) == ["9", "31", "7", "7", "9"]
    assert opened.page.locator("#episodes th[aria-sort]").all_inner_texts() == ["First window"]
    head.locator("button").click()
    assert (head.get_attribute("aria-sort"), column(opened, 7)) == ("ascending", ["7", "7", "9", "9", "31"])
    head.locator("button").press("Enter")
    assert (head.get_attribute("aria-sort"), column(opened, 7)) == ("descending", ["31", "9", "9", "7", "7"])
    assert opened.page.locator("#episodes th[aria-sort]").count() == 1


def test_a_column_of_texts_sorts_by_what_it_shows(browser: Browser, report: Path) -> None:
    """Resources by name; episodes of one resource stay in the order they had."""
    opened = visit(browser, report)
    opened.page.get_by_role("button", name="Resource").first.click()
    assert column(opened, 4) == ["aoai-chat", "aoai-evaluation", "aoai-prod", "aoai-prod", "aoai-search"]
    assert column(opened, 1) == ["5", "4", "1", "3", "2"]


def test_pointing_at_a_timeline_tells_time_value_and_episode(browser: Browser, report: Path) -> None:
    """In the middle of the second episode: the column's windows, its largest value, and which episode it is."""
    opened = visit(browser, report)
    figure = opened.page.locator(".timeline", has_text="aoai-search")
    assert not figure.locator(".tip").is_visible()
    figure.locator(".episode").hover(force=True)  # the threshold runs over it
    tip = figure.locator(".tip").inner_text()
    assert re.search(r"2026-10-15 0[12]:\d0 to 2026-10-15 0[123]:\d0 UTC: at most 6,\d{3} records", tip)
    assert "Episode 2, 2026-10-14 23:40 to 2026-10-15 04:40 UTC, closed" in tip
    opened.page.mouse.move(0, 0)
    assert not figure.locator(".tip").is_visible()


def test_the_keyboard_walks_through_a_timeline(browser: Browser, report: Path) -> None:
    """Whoever uses no pointer reads the same values: arrows go from one window with records to the next."""
    opened = visit(browser, report)
    figure = opened.page.locator(".timeline").first
    figure.locator(".plot").focus()
    opened.page.keyboard.press("ArrowRight")
    first = figure.locator(".tip").inner_text()
    opened.page.keyboard.press("ArrowRight")
    second = figure.locator(".tip").inner_text()
    opened.page.keyboard.press("ArrowLeft")
    assert first.startswith("2026-10-01 ")
    assert first < second
    assert figure.locator(".tip").inner_text() == first
    opened.page.keyboard.press("Escape")
    assert not figure.locator(".tip").is_visible()


def test_charts_say_in_words_what_they_show(browser: Browser, report: Path) -> None:
    """Without script each chart and band has a title, which is what is read aloud."""
    opened = visit(browser, report, script=False)
    title = opened.page.locator(".timeline .plot > title").nth(1).text_content()
    assert title == (
        "aoai-search, Potential Azure OpenAI Model Theft: records in the hour (log scale). "
        "Peak 6,240 records at 2026-10-15 02:10; 31 windows at or above 100."
    )
    assert opened.page.locator(".timeline .episode > title").count() == 5
    assert opened.page.locator(".curve-chart title").first.text_content() == (
        "Findings by threshold in records: 1,904 at 25, 312 at 50, 96 at 75, 65 at 100, 37 at 200, 24 at 500"
    )


def test_a_number_on_a_timeline_leads_to_its_episode(browser: Browser, report: Path) -> None:
    """From a band to the row that tells more."""
    opened = visit(browser, report)
    opened.page.get_by_role("link", name="Episode 4").click()
    assert opened.ask("document.querySelector(':target').cells[3].innerText").startswith("aoai-evaluation")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_page(browser: Browser, tmp_path: Path, width: int) -> None:
    """On a phone tables scroll in their own boxes, even with names that no line can hold."""
    for outcome in (month(), hostile(), nothing()):
        opened = visit(browser, write(tmp_path / "page.html", outcome), width=width)
        assert opened.ask("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, report: Path, scheme: Literal["light", "dark"]) -> None:
    """WCAG AA asks for a contrast of 4.5 to 1 for text of this size, in both schemes."""
    found: list[dict[str, Any]] = visit(browser, report, scheme=scheme).ask(CONTRASTS)
    assert len(found) > 300
    assert [each for each in found if each["ratio"] < 4.5] == []


def test_the_scheme_of_the_system_is_followed(browser: Browser, report: Path) -> None:
    """A dark page in a dark system."""
    script = "getComputedStyle(document.body).backgroundColor"
    light, dark = (visit(browser, report, scheme=scheme).ask(script) for scheme in ("light", "dark"))
    assert (light, dark) == ("rgb(247, 247, 245)", "rgb(20, 23, 26)")


def test_print_shows_everything_on_white(browser: Browser, report: Path, tmp_path: Path) -> None:
    """On paper nothing can be scrolled, so nothing may be cut off; from a dark system too."""
    opened = visit(browser, report, scheme="dark", media="print", width=A4_WIDTH)
    assert opened.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [each for each in opened.ask(CONTRASTS) if each["ratio"] < 4.5] == []
    assert opened.ask("document.documentElement.scrollWidth") <= A4_WIDTH
    beyond = "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
    assert opened.ask(f"{beyond}.map((e) => e.outerHTML.slice(0, 80))") == []
    assert opened.ask("[...document.querySelectorAll('.scroll')].map((e) => getComputedStyle(e).overflowX)") == [
        "visible" for _ in boxes(opened, ".scroll")
    ]
    parts = boxes(opened, "section, table, figure, tbody tr")
    assert len(parts) > 40
    assert all(box["height"] > 0 for box in parts)
    printed = tmp_path / "report.pdf"
    opened.page.pdf(path=printed, prefer_css_page_size=True)
    streams = re.findall(rb"stream\r?\n(.+?)\r?\nendstream", printed.read_bytes(), re.DOTALL)
    assert len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) > 2
    assert sum(is_text(stream) for stream in streams) > 2


def is_text(stream: bytes) -> bool:
    """Whether a stream of a PDF file draws letters."""
    try:
        return b" Tj" in zlib.decompress(stream)
    except zlib.error:  # a font, not compressed
        return False


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_a_picture_of_it_is_not_empty(
    browser: Browser, report: Path, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    """What is painted, not only what is laid out: text, lines and areas have many colours."""
    picture = tmp_path / f"{scheme}-{width}.png"
    visit(browser, report, scheme=scheme, width=width).page.screenshot(path=picture, full_page=True)
    assert colours(browser, picture) > 100


def hostile() -> Outcome:
    """Return a month in which whoever names things attacks the reader of the report."""
    outcome = month()
    for index, text in enumerate(HOSTILE):
        attacked = outcome.episodes[index % 5]
        attacked.resource = text
        attacked.callers = [
            {"ObjectId": text, "IpAddress": text, "Count": 7},
            {"ObjectId": "", "IpAddress": text, "Count": 1},
        ]
        outcome.timelines.append(timeline("aoai-prod"))
        outcome.timelines[-1].resource = text
    outcome.quality = quality(
        problems=dict.fromkeys(HOSTILE, 1), examples=[Place(text, 3, text, text) for text in HOSTILE]
    )
    return outcome


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    """Attackers choose resource names, caller ids and what broken lines hold; the page shows them and runs nothing."""
    opened = visit(browser, write(tmp_path / "hostile.html", hostile()))
    assert opened.complaints == []
    assert len(opened.requests) == 1
    assert opened.ask("window.taken") is None
    assert opened.ask("[document.scripts.length, document.querySelectorAll('img, iframe, object, embed').length]") == [
        1,
        0,
    ]
    attributes = "[...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())"
    assert opened.ask(f"{attributes}.filter((name) => name.startsWith('on') || name === 'style')") == []
    assert opened.ask("[...document.links].every((link) => link.getAttribute('href').startsWith('#'))")
    shown = opened.page.locator("#quality").inner_text()
    for text in HOSTILE[:7]:
        assert shown.count(text) == 3, text


def test_characters_that_hide_or_turn_text_are_spelled_out(browser: Browser, tmp_path: Path) -> None:
    r"""`\u202e` turns what follows: `exe.jpg` could be shown for `gpj.exe`."""
    shown = visit(browser, write(tmp_path / "hostile.html", hostile())).page.locator("#quality").inner_text()
    assert r"turned \u202egpj.exe, hidden \u200b, cut \x00 \x1b[31m, half \ud800" in shown
    assert r"line\u2028and\u2029paragraph\nand\r\n\ttab" in shown


def test_the_page_may_not_reach_the_network_nor_run_anything_else(browser: Browser, report: Path) -> None:
    """Should a text ever become script after all, the policy keeps it from running, and data from leaving."""
    opened = visit(browser, report)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(Error, match="Failed to fetch"):
            opened.ask(f"fetch('{address}', {{mode: 'no-cors', signal: AbortSignal.timeout(2000)}})")
        opened.ask(f"document.body.append(Object.assign(new Image(), {{src: '{address}'}}))")
        with pytest.raises(TimeoutError):
            server.accept()
    opened.ask("document.body.append(Object.assign(document.createElement('script'), {text: 'window.taken = 1'}))")
    assert opened.ask("window.taken") is None


def test_where_there_is_nothing_the_page_says_why(browser: Browser, tmp_path: Path) -> None:
    """An empty box could be a fault of the page; each section says that it is empty and why."""
    opened = visit(browser, write(tmp_path / "nothing.html", nothing()))
    assert opened.page.locator(".empty").all_inner_texts() == [
        "No episodes: no record was read.",
        "No timelines: no rule selected a record.",
        "No sweep: no other numbers were tried.",
        "No callers: there are no episodes.",
        "No problems: every line and every record could be read.",
        "Not known: no file tells when its messages arrived, so a record's own time was taken.",
    ]
    assert opened.page.locator("svg").count() == 0
    assert opened.page.locator("header .warning").inner_text() == "Attention: no record was read."
    assert opened.complaints == []


def test_the_number_in_force_is_marked_among_those_tried(browser: Browser, report: Path) -> None:
    """One line and one bold name on each curve, at the same place, and one row of the table."""
    opened = visit(browser, report)
    figures = opened.page.locator(".curve-chart")
    assert figures.locator(".in-force-line").count() == 3
    assert figures.locator("text.in-force").all_text_contents() == ["100", "100", "100"]
    for figure in figures.all():
        places = [
            figure.locator(".in-force-line").get_attribute("x1"),
            figure.locator("circle.in-force").get_attribute("cx"),
        ]
        assert places[0] == places[1] == figure.locator("text.in-force").get_attribute("x")
    assert opened.page.locator("tr.in-force").all_inner_texts() == ["in force 100 records\t65\t5\t4"]


def test_thresholds_are_those_in_force(browser: Browser, tmp_path: Path) -> None:
    """Not the catalogue's: in the table of rules and on the timelines."""
    in_force = {"model_theft": {**THRESHOLDS["model_theft"], "count": 42}}
    outcome = month(thresholds=in_force, timelines=[timeline("aoai-chat", at_least=42)])
    opened = visit(browser, write(tmp_path / "page.html", outcome))
    assert "count ≥ 42 records or response_length ≥ 1,000,000 bytes" in opened.page.locator("header table").inner_text()
    assert opened.page.locator(".threshold-name").text_content() == "threshold 42"
