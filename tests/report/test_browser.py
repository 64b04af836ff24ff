"""The report as a reader has it: opened from disk in headless Chromium, on a phone and on a desk, in light and dark."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.report.names import slug

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.slow


def must_run() -> bool:
    """Whether a missing browser is a failure: on CI it is."""
    return bool(os.environ.get("CI") or os.environ.get("BENCH_REQUIRE_BROWSER"))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium; nothing is downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert not must_run(), "CI needs a browser: apt-get install chromium"
        pytest.skip("no chromium on the PATH (apt-get install chromium)")
    if not must_run():
        pytest.importorskip("playwright", reason="playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox cannot be had by root, which CI runs as; only our own pages are opened.
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


class Watched:
    """A window that notes whatever a page complains of or asks for."""

    def __init__(self, browser: "Browser", site: Path, **options: Any) -> None:
        self.site = site
        self.context = browser.new_context(**{"viewport": DESK, "color_scheme": "light"} | options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", self._failed)

    def _failed(self, request: "Request") -> None:
        if request.failure != "net::ERR_ABORTED":  # which is what leaving a page does to what it still loads
            self.complaints.append(f"{request.url}: {request.failure}")

    def open(self, name: str) -> "Page":
        self.page.goto((self.site / f"{name}.html").as_uri())
        return self.page


@pytest.fixture
def desk(browser: "Browser", site: Path) -> Iterator[Watched]:
    watched = Watched(browser, site)
    yield watched
    watched.context.close()


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_every_page_loads_without_complaint_and_from_disk_alone(
    browser: "Browser", site: Path, viewport: dict[str, int]
) -> None:
    watched = Watched(browser, site, viewport=viewport)
    for path in sorted(site.glob("*.html")):
        page = watched.open(path.stem)
        wide, shown = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= shown, f"{path.name} scrolls sideways: {wide} > {shown}"
        assert page.evaluate("Array.from(document.images).every((each) => each.alt.length > 8)"), path.name
    assert watched.complaints == []
    home = site.resolve().as_uri()
    assert all(request.startswith(home) for request in watched.requests)
    watched.context.close()


def test_pictures_are_really_there(desk: Watched) -> None:
    page = desk.open(f"pictures-{slug('ade20k-upernet')}")
    for picture in page.locator("img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("(each) => each.decode()")
        assert picture.evaluate("(each) => each.naturalWidth") == int(picture.get_attribute("width") or 0)


def column(page: "Page", table: int, at: int) -> list[str]:
    script = "(rows, at) => rows.map((row) => row.cells[at].querySelector('.value').firstElementChild.textContent)"
    found: list[str] = page.locator("table").nth(table).locator("tbody tr").evaluate_all(script, at)
    return found


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if re.fullmatch(r"-?[\d.]+", text)]


def test_tables_sort_numbers_as_numbers_and_say_so(desk: Watched) -> None:
    page = desk.open("tables")
    table = page.locator("table").first
    heading = table.locator("thead th", has_text="ADE20K linear")
    at = heading.evaluate("(each) => each.cellIndex")
    original = column(page, 0, at)
    assert heading.get_attribute("aria-sort") == "none"

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = column(page, 0, at)
    assert numbers(falling) == sorted(numbers(original), reverse=True) != numbers(original)
    assert falling[-1] == "–", "what is missing comes last"
    assert page.locator("#status").inner_text() == "Sorted by ADE20K linear, descending"

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    rising = column(page, 0, at)
    assert numbers(rising) == sorted(numbers(original)) and rising[-1] == "–"

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "none"
    assert column(page, 0, at) == original


def test_tables_sort_texts_and_only_one_column_at_a_time(desk: Watched) -> None:
    page = desk.open("tables")
    table = page.locator("table").first
    by_value = table.locator("thead th", has_text="COCO AP box")
    by_name = table.locator("thead th", has_text="method")
    by_value.get_by_role("button").click()
    by_name.get_by_role("button").click()
    assert (by_value.get_attribute("aria-sort"), by_name.get_attribute("aria-sort")) == ("none", "ascending")
    names = column(page, 0, 0)
    assert names == sorted(names, key=str.casefold)


def test_tables_sort_from_the_keyboard(desk: Watched) -> None:
    page = desk.open("tables")
    heading = page.locator("table").first.locator("thead th", has_text="COCO AP box")
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"


def test_long_tables_can_be_filtered(desk: Watched) -> None:
    page = desk.open(f"benchmark-{slug('zeroshot/dtd')}")
    box = page.get_by_role("searchbox").first
    table = page.locator("div:has(> .filter) > .scroll table").first
    box.fill("kind 3")
    shown = table.locator("tbody tr:visible")
    assert 0 < shown.count() < table.locator("tbody tr").count()
    assert all("kind 3" in text for text in shown.all_inner_texts())
    box.fill("")
    assert table.locator("tbody tr:visible").count() == table.locator("tbody tr").count()


def background(page: "Page") -> str:
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


def test_the_theme_follows_the_system_and_then_the_reader(browser: "Browser", site: Path) -> None:
    dark = Watched(browser, site, color_scheme="dark")
    light = Watched(browser, site)
    of_dark, of_light = background(dark.open("index")), background(light.open("index"))
    assert of_dark != of_light

    button = light.page.get_by_role("button", name="Dark theme")
    button.click()
    assert background(light.page) == of_dark
    assert background(light.open("tables")) == of_dark, "it is remembered on other pages"
    light.page.reload()
    assert background(light.page) == of_dark
    light.page.get_by_role("button", name="Light theme").click()
    assert background(light.page) == of_light
    dark.page.get_by_role("button", name="Light theme").click()
    assert background(dark.open("tables")) == of_light, "the reader's choice is above the system's"
    dark.context.close()
    light.context.close()


def test_the_keyboard_comes_to_the_content_first(desk: Watched) -> None:
    page = desk.open("index")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_focus_is_seen_and_wide_tables_can_be_scrolled_from_the_keyboard(browser: "Browser", site: Path) -> None:
    phone = Watched(browser, site, viewport=PHONE)
    page = phone.open("tables")
    region = page.locator(".scroll").first
    page.locator(".theme").focus()
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.scroll').scrollLeft > 0")
    phone.context.close()


CONTRAST = """
() => {
  const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const bad = new Set();
  document.querySelectorAll('body *').forEach((element) => {
    const own = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest('.hidden')) return;
    const style = getComputedStyle(element);
    const ink = parse(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [high, low] = [light(ink), light(behind(element))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) bad.add(element.outerHTML.slice(0, 120) + ' ' + ratio.toFixed(2));
  });
  return Array.from(bad);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(browser: "Browser", site: Path, scheme: str) -> None:
    watched = Watched(browser, site, color_scheme=scheme)
    names = ["index", "tables", "comparison", "pictures", "pretraining", f"pictures-{slug('coco-cascade')}"]
    names += [f"benchmark-{slug(name)}" for name in ("ade20k-upernet", "zeroshot/dtd", "coco-retrieval")]
    for name in [*names, *sorted(path.stem for path in site.glob("run-*.html"))[:2]]:
        assert watched.open(name).evaluate(CONTRAST) == [], name
    watched.context.close()


def test_without_scripts_everything_is_there_but_the_buttons(browser: "Browser", site: Path) -> None:
    plain = Watched(browser, site, java_script_enabled=False)
    page = plain.open("tables")
    assert page.locator("table").count() >= 4
    assert page.locator("button:visible").count() == 0
    plain.context.close()


def test_screenshots_can_be_taken_for_a_look(browser: "Browser", site: Path, tmp_path: Path) -> None:
    """They land in pytest's temporary folder, whole pages, for whoever changes the design."""
    for viewport in (PHONE, DESK):
        watched = Watched(browser, site, viewport=viewport)
        for name in ("index", "tables"):
            target = tmp_path / f"{name}-{viewport['width']}.png"
            watched.open(name).screenshot(path=target, full_page=True)
            assert target.stat().st_size > 20_000
        watched.context.close()
