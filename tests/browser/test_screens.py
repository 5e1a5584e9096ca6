"""Every screen in Chromium: accessible, in both themes, at any width, for each grade."""

from __future__ import annotations

from importlib.metadata import distributions
from urllib.parse import urlsplit

import pytest


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 320)])
def test_no_screen_has_an_accessibility_fault(host, open_page, axe, screens, look):
    """axe-core finds nothing, nothing is wider than the window, and one heading names each."""
    theme, width = look
    page = open_page(host, color_scheme=theme, viewport={"width": width, "height": 900})
    faults = []
    for name, path in screens.items():
        page.goto(host + path)
        page.evaluate(axe)
        for violation in page.evaluate("axe.run()")["violations"]:
            faults.append((name, violation["id"], [n["html"] for n in violation["nodes"]][:3]))
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            faults.append((name, "wider than the window", wide))
        assert page.locator("h1").count() == 1, name
        assert page.locator("main").count() == 1, name
        assert page.locator("a").first.inner_text() == "Skip to content", name

    assert faults == []


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 320)])
def test_no_answer_to_a_form_has_an_accessibility_fault(start_host, wheels, open_page, axe, look):
    """The same of screens that a form leads to, in safe mode too: plans, results and refusals."""
    theme, width = look
    options = {"color_scheme": theme, "viewport": {"width": width, "height": 900}}
    faults = []

    def check(page, name):
        page.evaluate(axe)
        for violation in page.evaluate("axe.run()")["violations"]:
            faults.append((name, violation["id"], [n["html"] for n in violation["nodes"]][:3]))
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            faults.append((name, "wider than the window", wide))

    with start_host(wheels=str(wheels)) as address:
        page = open_page(f"{address}install/", **options)
        for requirement in ("shop-nothing", "shop-stars"):
            page.get_by_role("textbox", name="Requirement").fill(requirement)
            page.get_by_role("button", name="Plan").click()
            check(page, requirement)
        page.get_by_role("button", name="Install").click()
        page.get_by_role("heading", name="shop-stars is installed").wait_for(timeout=90_000)
        check(page, "result")
        page.goto(f"{address}install/")
        check(page, "generations")
        page.goto(f"{address}plugins/stars/uninstall/")
        check(page, "uninstall")
        page.goto(f"{address}plugins/broken-exit/activate/")
        page.get_by_role("button", name="Activate").click()
        page.get_by_role("alert").wait_for()
        check(page, "refused")
        page.goto(f"{address}plugins/courier/activate/")
        page.get_by_role("button", name="Activate").click()
        page.goto(f"{address}plugins/courier/settings/")
        page.get_by_label("Parcels a day").fill("0")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("alert").wait_for()
        check(page, "wrong value")
    with start_host(safe_mode=True) as address:
        page = open_page(f"{address}plugins/courier/activate/", **options)
        page.get_by_role("button", name="Activate").click()
        page.get_by_role("status").wait_for()
        check(page, "safe mode")

    assert faults == []


@pytest.mark.parametrize("options", [{"forced_colors": "active"}, {"reduced_motion": "reduce"}])
def test_forced_colours_and_no_motion(host, open_page, axe, screens, options):
    """Where a user has colours of their own, every state still has its word."""
    page = open_page(host, **options)
    page.evaluate(axe)

    assert page.evaluate("axe.run()")["violations"] == []
    assert page.get_by_role("row", name="broken-init").get_by_text("failed", exact=True).count()


def test_nothing_is_fetched_from_elsewhere(host, open_page, screens):
    """Each request goes to the page itself, and the browser has nothing to complain of."""
    page = open_page("about:blank")
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    for name, path in screens.items():
        if name != "no such page":
            page.goto(host + path, wait_until="load")
    own = urlsplit(host).netloc

    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {own}
    assert [words for words in complaints if "autocomplete" not in words] == []


@pytest.mark.parametrize("who", ["superuser", "staff", "reader", ""])
def test_each_grade_sees_what_it_may(host, open_page, screens, canary, who):
    """Nobody sees a frame without content; nobody sees the secret, and readers see no button."""
    page = open_page(host, who)
    for name, path in screens.items():
        response = page.goto(host + path)
        status = response.status
        body = response.text()

        assert canary not in body, name
        assert "Traceback (most" not in body or name == "failures", name
        if not who:
            assert status == (404 if name == "no such page" else 401), name
            assert page.get_by_role("navigation", name="Main").count() == 0
        if who == "reader" and status == 200 and name != "my settings":
            buttons = page.get_by_role("button").all_inner_texts()
            assert set(buttons) <= {"Show"}, name


def test_a_plugins_own_panel_is_drawn(host, open_page):
    """The script of the plugin runs under the page's policy, and gets its context."""
    page = open_page(host + "plugins/dashboard/")
    page.get_by_text("Takings are shown in EUR.").wait_for()


def test_every_plugin_is_broken_and_the_page_is_not(host, open_page, samples):
    """With every sample on, each has its row, its state, and its reason."""
    page = open_page(host)
    found = [
        entry_point
        for distribution in distributions(path=[str(samples)])
        for entry_point in distribution.entry_points
        if entry_point.group == "shop.plugins"
    ]

    # One row has the heads of the columns.
    assert page.get_by_role("row").count() == len(found) + 1 > 19
    for slug in ("bad-actor", "broken-exit", "broken-import", "broken-init", "broken-mixin"):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=slug, exact=True))
        assert "failed" in row.inner_text()
        assert row.get_by_role("link", name=f"Deactivate {slug}").count() == 1
