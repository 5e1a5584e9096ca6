"""The built site: every link leads somewhere, nothing comes from elsewhere, machines can read it.

``make docs`` builds it. These tests are skipped where that was not done.
"""

from __future__ import annotations

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "docs"


@pytest.fixture(autouse=True)
def built():
    """Return the folder of the site."""
    if not (SITE / "index.html").is_file():
        reason = f"no documentation is built in {SITE}; run: make docs"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return SITE


class Page(HTMLParser):
    """The parts of a page: ids, links, and resources that a browser loads for it."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given.get("id"), given.get("name")} - {None}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload"}:
            self.loaded.append(given["href"])
        if tag in {"script", "img", "iframe"} and given.get("src"):
            self.loaded.append(given["src"])


@cache
def _pages():
    return {file.relative_to(SITE).as_posix(): Page(file) for file in SITE.rglob("*.html")}


def test_every_link_leads_to_a_page_and_a_place_on_it(built):
    """Whoever follows a link of the site arrives."""
    broken = []
    for name, page in _pages().items():
        for link in page.links:
            url = urlsplit(urljoin(name, link))
            if url.scheme or url.netloc:
                continue
            target, place = unquote(url.path) or name, unquote(url.fragment)
            if target in _pages():
                if place and place not in _pages()[target].ids:
                    broken.append((name, link))
            elif not (built / target).is_file():
                broken.append((name, link))

    assert len(_pages()) > 60
    assert broken == []


def test_nothing_is_loaded_from_elsewhere():
    """A reader without a network has everything, the search included, and nobody is told of it."""
    elsewhere = {
        (name, place)
        for name, page in _pages().items()
        for place in page.loaded
        if urlsplit(place).netloc
    }

    assert elsewhere == set()
    assert (SITE / "searchindex.js").is_file()


def test_machines_find_each_page_as_text(built):
    """``llms.txt`` lists each page with a sentence, and each has a twin in Markdown."""
    listed = re.findall(r"^- \[.+\]\((.+)\): \S", (built / "llms.txt").read_text("utf-8"), re.M)

    sources = {file.relative_to(ROOT / "docs") for file in (ROOT / "docs").rglob("*.md")}
    assert {Path(name) for name in listed} >= {
        name for name in sources if name.parent != Path("reference/api")
    }
    for name in listed:
        text = (built / name).read_text(encoding="utf-8")
        assert text.strip()
        assert "<!-- table:" not in text


def test_each_error_s_page_is_there():
    """The page of an error has the place that the error names."""
    from plugreg import StorageCorruptError
    from plugreg.install.exceptions import InstallBusyError

    for error in (StorageCorruptError("a", "b"), InstallBusyError(["c"])):
        page, _, place = error.page.partition("#")
        assert place in _pages()[page].ids


def _targets(name):
    """Return the pages of the site that a page links to."""
    for link in _pages()[name].links:
        url = urlsplit(urljoin(name, link))
        if not url.scheme and not url.netloc and unquote(url.path) in _pages():
            yield unquote(url.path)


def test_each_question_is_answered_within_three_clicks():
    """A reader who begins at the first page finds the answer to every written question."""
    clicks, reached = {"index.html": 0}, ["index.html"]
    for name in reached:
        for target in _targets(name):
            if target not in clicks:
                clicks[target] = clicks[name] + 1
                reached.append(target)
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    questions = dict(re.findall(r"^\*\*(.+?\?.*?)\*\*(.*?)(?=^\*\*|\Z)", text, re.M | re.S))
    answers = {
        question: [f"{page}.html" for page in re.findall(r"\]\(([\w/]+)\.md\)", answer)]
        for question, answer in questions.items()
    }

    assert len(answers) >= 20
    assert [question for question, pages in answers.items() if not pages] == []
    assert {page for row in answers.values() for page in row if clicks.get(page, 9) > 3} == set()
