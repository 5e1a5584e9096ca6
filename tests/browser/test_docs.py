"""The documentation in Chromium, from the disk: accessible, and searched without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "build" / "docs"
PAGES = ("index.html", "tutorials/fastapi.html", "reference/errors.html", "host/documenting.html")


@pytest.fixture(scope="module")
def site():
    """Return the address of the built documentation."""
    if not (SITE / "index.html").is_file():
        pytest.skip(f"no documentation is built in {SITE}; run: make docs")
    return SITE.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_an_accessibility_fault(site, open_page, axe, theme):
    """axe-core finds nothing, in both themes."""
    page = open_page("about:blank", None, color_scheme=theme)
    faults = []
    for name in PAGES:
        page.goto(f"{site}/{name}")
        page.evaluate(axe)
        for violation in page.evaluate("axe.run()")["violations"]:
            faults.append((name, violation["id"], [n["html"] for n in violation["nodes"]][:3]))

    assert faults == []


def test_the_search_needs_no_server(site, open_page):
    """A reader of the files alone finds the page of an error."""
    page = open_page(f"{site}/search.html?q=StorageLockedError", None)
    page.get_by_role("link", name="StorageLockedError").first.click()

    assert "reference/errors.html" in page.url
