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
    """Give the folder of the site."""
    if not (SITE / "index.html").is_file():
        reason = f"no documentation is built in {SITE}; run: make docs"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return SITE


class Page(HTMLParser):
    """What a page has: ids, links, and what a browser loads for it."""

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
    """What an error calls its page has that place."""
    from plugreg import StorageCorruptError
    from plugreg.install.exceptions import InstallBusyError

    for error in (StorageCorruptError("a", "b"), InstallBusyError(["c"])):
        page, _, place = error.page.partition("#")
        assert place in _pages()[page].ids
