"""Each action in Chromium: by keyboard alone, and without JavaScript."""

from __future__ import annotations

import json
import re
from urllib.request import Request, urlopen

import pytest

PLAIN = {"java_script_enabled": False}


@pytest.fixture(scope="module")
def shop(start_host, wheels):
    """Yield the page of a host whose plugins these tests switch and set."""
    active = ["audit", "discount", "loyalty", "greeting", "broken-init", "broken-call"]
    with start_host(active=active, wheels=str(wheels)) as address:
        yield address


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def visit(request, shop, open_page):
    """Return a function that opens a screen as a superuser, with JavaScript and without."""
    options = {} if request.param == "with JavaScript" else PLAIN
    return lambda path="": open_page(shop + path, **options)


def ask(shop, method, path, body=None):
    """Ask the API of the host."""
    address = shop.replace("/admin/", f"/api/plugins/{path}")
    headers = {"Cookie": "who=superuser", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(address, data, headers, method=method)) as answer:
        return json.loads(answer.read() or "null")


def want(shop, slug, active):
    ask(shop, "PATCH", f"{slug}/activate/", {"active": active})


def tab_to(page, role, name):
    """Press Tab until the control has the focus, and return it."""
    control = page.get_by_role(role, name=name, exact=True)
    for _ in range(200):
        page.keyboard.press("Tab")
        if control.evaluate("element => element === document.activeElement"):
            return control
    raise AssertionError(f"Tab does not lead to {role} {name!r}")


def said(page, role="status"):
    """Return the answer to a change."""
    return page.get_by_role(role).first.inner_text()


def test_a_plugin_is_switched_by_keyboard(visit, shop):
    """Tab and Enter lead through the question, and the focus is back at the row's control."""
    want(shop, "report", False)
    page = visit("?search=report")
    tab_to(page, "link", "Activate report")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Activate report?").wait_for()
    tab_to(page, "button", "Activate")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Deactivate report").wait_for()

    assert said(page) == "report is active."
    focused = page.evaluate("document.activeElement.id")
    assert focused == "switch-report"
    assert page.url.endswith("/admin/?search=report#switch-report")
    assert ask(shop, "GET", "report/")["active"] is True


def test_a_question_names_what_depends_on_it(visit, shop):
    """Discount is needed by loyalty: both go, or none."""
    want(shop, "discount", True)
    want(shop, "loyalty", True)
    page = visit()
    page.get_by_role("link", name="Deactivate discount").click()

    assert "loyalty" in page.get_by_role("main").inner_text()

    page.get_by_role("button", name="Deactivate").click()

    assert "discount" in said(page, "alert")
    assert ask(shop, "GET", "discount/")["active"] is True

    page.get_by_role("link", name="Deactivate discount").click()
    page.get_by_label(re.compile("Deactivate these too")).check()
    page.get_by_role("button", name="Deactivate").click()

    assert "2 of 2" in said(page)
    assert ask(shop, "GET", "loyalty/")["active"] is False


def test_selected_plugins_are_switched(visit, shop):
    """Space ticks a box, and one button switches the ticked plugins."""
    for slug in ("audit", "tax-table"):
        want(shop, slug, False)
    page = visit()
    for slug in ("audit", "tax-table"):
        tab_to(page, "checkbox", f"Select {slug}")
        page.keyboard.press("Space")
    page.get_by_role("button", name="Activate selected", exact=True).press("Enter")

    words = said(page)
    assert "2 of 2" in words
    assert "tax-table is active." in words


def test_the_filter_is_in_the_address(visit):
    """Typed and chosen values are in the address, which shows the same again."""
    page = visit()
    page.get_by_role("searchbox", name="Search").fill("broken")
    page.get_by_role("combobox", name="State").select_option("failed")
    page.get_by_role("button", name="Show").press("Enter")
    page.wait_for_url(re.compile(r"search=broken.*state=failed|state=failed.*search=broken"))
    page.get_by_role("main").get_by_text(re.compile("plugin matches|plugins match")).wait_for()

    rows = page.get_by_role("row")
    assert rows.count() == 2
    assert page.get_by_role("columnheader", name="Plugin").get_attribute("aria-sort") == "ascending"
    page.get_by_role("columnheader", name="Plugin").get_by_role("link").click()
    assert (
        page.get_by_role("columnheader", name="Plugin").get_attribute("aria-sort") == "descending"
    )
    assert "search=broken" in page.url


def test_settings_are_saved_and_refused_beside_their_field(visit, shop):
    """A wrong value is marked, described and announced; a right one is stored."""
    page = visit("plugins/greeting/settings/")
    number = page.get_by_label(re.compile("^Say it .times"))
    # A field for numbers takes no letters.
    number.evaluate("element => element.type = 'text'")
    number.fill("often")
    page.get_by_role("button", name="Save").press("Enter")

    assert "greeting" in said(page, "alert")
    field = page.locator("[aria-invalid=true]")
    assert field.count() == 1
    described = field.get_attribute("aria-describedby").split()
    assert "valid integer" in page.locator(f"#{described[0]}").inner_text()
    assert field.input_value() == "often"

    page.get_by_label(re.compile("^Say it .times")).fill("3")
    page.get_by_role("button", name="Save").press("Enter")

    assert said(page) == "greeting: saved REPEAT."
    page.get_by_role("button", name=re.compile("^Use the default for Say it")).press("Enter")
    assert said(page) == "greeting: saved REPEAT."


def test_enter_in_a_field_saves(visit):
    """A form that is sent from a field acts like Save, and resets nothing."""
    page = visit("plugins/greeting/settings/")
    field = page.get_by_label(re.compile("^Greeting"))
    value = "Good evening" if field.input_value() == "Good morning" else "Good morning"
    field.fill(value)
    field.press("Enter")

    assert said(page) == "greeting: saved TEXT."


def test_a_circuit_is_reset(visit, shop):
    """The button closes the circuit, and the answer names the plugin."""
    page = visit("plugins/broken-call/runtime/")
    page.get_by_role("button", name="Reset").press("Enter")

    assert "broken-call" in said(page)


def test_a_repair_is_carried_out(visit, shop):
    """A broken plugin is tried again, is still broken, and that is said."""
    want(shop, "broken-init", True)
    page = visit("attention/")
    page.get_by_role("button", name="Try broken-init again").press("Enter")

    assert "broken-init" in said(page, "alert")
    assert page.get_by_role("link", name="Deactivate broken-init").count() == 1


def test_a_plugin_is_probed(visit):
    """A probe runs in a child process, and its outcome stands there afterwards."""
    page = visit("plugins/courier/")
    page.get_by_role("button", name="Probe").press("Enter")

    assert said(page) == "courier was probed: it loads."


def test_own_settings_are_saved(visit):
    """Each user has values of their own."""
    page = visit("my-settings/")
    form = page.locator("#settings-greeting")
    field = form.get_by_label(re.compile("^What to call you"))
    value = "Ada" if field.input_value() != "Ada" else "Countess"
    field.fill(value)
    form.get_by_role("button", name="Save").press("Enter")

    assert "greeting" in said(page)
    assert page.locator("#settings-greeting input[type=text]").input_value() == value


def test_all_processes_are_reloaded(visit):
    """The button reports its result."""
    page = visit("processes/")
    page.get_by_role("button", name="Reload all processes").press("Enter")

    assert page.get_by_role("status").count()


def test_from_a_requirement_to_a_plugin_and_back(start_host, wheels, open_page, request):
    """Pip makes a plan, the page follows the installation, and a roll-back undoes it."""
    with start_host(wheels=str(wheels)) as address:
        for options in ({}, PLAIN):
            page = open_page(address + "install/", **options)
            page.get_by_role("textbox", name="Requirement").fill("shop-stars")
            page.get_by_role("button", name="Plan").press("Enter")
            page.get_by_role("heading", name="Install shop-stars?").wait_for()
            page.get_by_role("button", name="Install").press("Enter")
            page.get_by_role("heading", name="shop-stars is installed").wait_for(timeout=90_000)
            page.get_by_role("link", name="Install", exact=True).click()

            assert page.get_by_role("button", name="Roll back").count() >= (options is PLAIN)

            page.goto(address + "plugins/stars/files/")
            page.get_by_role("link", name=re.compile("^Uninstall stars")).click()
            page.get_by_role("button", name="Uninstall").press("Enter")

            assert "stars" in said(page)

        page.goto(address + "install/")
        page.get_by_role("button", name=re.compile("^Roll back")).first.press("Enter")

        assert "Generation" in said(page)
        assert ask(address, "GET", "?search=stars")["count"] == 1
