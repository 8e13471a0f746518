"""report.html in a real browser: it opens from disk, and a click on a heading sorts."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import limit

from iwae_cli.reports.page import Page, Picture, Section, Table, bold, link, render

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f8"
    "0f00010101001bb6ee560000000049454e44ae426082"
)
ROWS = [["9.50 ± 0.10 (3)", "b", "–"], ["10.20 (25)", "a", "+0.30"], ["–", "c", "-0.10"]]


TABLE = Table("Table", ["NLL", "name", "difference"], ROWS)


def page(**changes: Any) -> Page:
    content: dict[str, Any] = {
        "title": "A report",
        "lead": "Three runs.",
        "sections": [Section("Results", [TABLE], ["results.csv", "results.tex"])],
        "missing": ["one cell"],
        "unreadable": ["<b>file</b>: reason"],
        "pictures": [
            Picture(
                "Samples", "A picture", PIXEL, {"png": "figures/a.png", "pdf": "figures/a.pdf"}
            ),
            Picture("DReG k=50", "Weights", PIXEL, {"pdf": "figures/b.pdf"}, run="digits-dreg-k50"),
            Picture("VAE k=5", "Weights", PIXEL, {}, run="digits-vae-k5"),
        ],
    }
    return Page(**{**content, **changes})


def test_the_page_opens_from_disk_without_network() -> None:
    text = render(page())
    assert set(re.findall(r"<img src=\"(.{10})", text)) == {"data:image"}
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert text.count("data:image/png;base64,") == 3


def test_contents_lead_to_every_section_and_links_to_the_files() -> None:
    text = render(page())
    anchors = re.findall(r"href=\"#([^\"]+)", text)
    assert anchors == ["results", "figures-samples", "pictures-of-runs", "missing"]
    assert set(anchors) <= set(re.findall(r"id=\"([^\"]+)", text))
    files = {"results.csv", "results.tex", "figures/a.png", "figures/a.pdf", "figures/b.pdf"}
    assert files <= set(re.findall(r"href=\"([^\"#]+)", text))


def test_links_and_bold_are_markup_and_their_texts_are_not() -> None:
    assert link("<i>", 'a"b') == '<a href="a&#34;b">&lt;i&gt;</a>'
    assert bold("**1** <2>") == "<b>1</b> &lt;2&gt;"


def test_what_runs_say_is_text_and_not_markup() -> None:
    assert "&lt;b&gt;file&lt;/b&gt;" in render(page())


class Browser:
    """Headless Chromium through chromedriver's own HTTP interface."""

    def __init__(self, port: int, profile: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/session"
        options = {"binary": BROWSER, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("", {"capabilities": {"alwaysMatch": wanted}})
        self.url += f"/{session['sessionId']}"

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=limit(60)) as answer:
            return json.load(answer)["value"]

    def script(self, text: str) -> Any:
        return self.call("/execute/sync", {"script": text, "args": []})

    def click(self, selector: str) -> None:
        found = self.call("/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self.call(f"/element/{element}/click", {})


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if not (BROWSER and DRIVER):
        pytest.skip("no chromium and chromedriver on the PATH")
    command = [DRIVER, "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        started = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
        port = next(match.group(1) for match in started if match)
        opened = None
        try:
            opened = Browser(int(port), tmp_path / "profile")
            yield opened
        finally:
            if opened:
                opened.call("", method="DELETE")
            driver.terminate()


def test_a_click_on_a_heading_sorts_the_table(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render(page()))
    browser.call("/url", {"url": (tmp_path / "report.html").as_uri()})

    def names() -> str:
        return str(
            browser.script(
                "return [...document.querySelectorAll('tbody td:nth-child(2)')]"
                ".map(cell => cell.textContent).join('')"
            )
        )

    assert names() == "bac"
    browser.click("th:nth-child(2)")
    assert names() == "abc"
    browser.click("th:nth-child(2)")
    assert names() == "cba"
    browser.click("th:nth-child(1)")
    assert names() == "bac", "9.50 is less than 10.20, and a dash is last"
    browser.click("th:nth-child(1)")
    assert names() == "abc", "a dash is last in either direction"
    browser.click("th:nth-child(3)")
    assert names() == "cab", "-0.10 is less than +0.30"
    assert browser.script("return document.querySelector('img').naturalWidth") == 1
    errors = browser.call("/se/log", {"type": "browser"})
    assert [entry for entry in errors if entry["level"] == "SEVERE"] == []


def open_page(browser: Browser, folder: Path) -> None:
    (folder / "figures").mkdir()
    (folder / "figures" / "a.png").write_bytes(PIXEL)
    (folder / "report.html").write_text(render(page()))
    browser.call("/url", {"url": (folder / "report.html").as_uri()})


def test_the_filter_shows_the_runs_that_have_all_words(browser: Browser, tmp_path: Path) -> None:
    open_page(browser, tmp_path)
    shown = "return [...document.querySelectorAll('.run')].filter(run => !run.hidden).length"
    typed = "f = document.getElementById('filter'); f.value = '{}'; "
    typed += "f.dispatchEvent(new Event('input')); "
    for words, count in (
        ("", 2),
        ("dreg", 1),
        ("k=5", 1),
        ("k=", 2),
        ("vae K=5", 1),
        ("k=50 vae", 0),
    ):
        assert browser.script(typed.format(words) + shown) == count, words


def test_a_click_makes_a_picture_large_and_another_closes_it(
    browser: Browser, tmp_path: Path
) -> None:
    open_page(browser, tmp_path)
    state = "d = document.getElementById('large'); return [d.open, d.querySelector('img').src]"
    assert browser.script(state)[0] is False
    browser.click("a.large")
    is_open, source = browser.script(state)
    assert is_open
    assert source.endswith("figures/a.png")
    browser.click("dialog img")
    assert browser.script(state)[0] is False


@pytest.mark.parametrize("width", [400, 800, 1400])
def test_no_width_of_a_window_needs_scrolling_sideways(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    open_page(browser, tmp_path)
    frame = f"e = document.documentElement; e.style.width = '{width}px'; "
    assert browser.script(frame + "return document.body.scrollWidth") <= width
