"""The page in each framework, at each place, from several processes, and with many plugins."""

from __future__ import annotations

from urllib.request import Request, urlopen

import pytest


@pytest.fixture(scope="module", params=["starlette", "fastapi", "flask", "django"])
def framework(request, start_host):
    """Give the name of each framework, and the address of the page that it serves."""
    with start_host(framework=request.param) as address:
        yield request.param, address


@pytest.mark.parametrize("prefix", ["", "x/y/"])
def test_every_adapter_serves_it_anywhere(framework, open_page, prefix):
    """Links, styles, forms, redirects and messages work behind any prefix."""
    name, root = framework
    address = root.replace("/admin/", f"/{prefix}admin/")
    page = open_page("about:blank")
    failed = []
    page.on("response", lambda r: failed.append(r.url) if r.status >= 400 else None)
    page.goto(address.removesuffix("/"))

    assert page.url == address
    assert page.locator("body").evaluate("e => getComputedStyle(e).margin") == "0px"

    token = "csrfmiddlewaretoken" if name == "django" else "csrf_token"
    assert page.locator(f"input[type=hidden][name={token}]").count() == 1

    done = "Deactivate" if prefix else "Activate"
    if prefix:
        page.goto(f"{address}plugins/dashboard/")
        page.get_by_text("Takings are shown in EUR.").wait_for()
    page.goto(f"{address}plugins/dashboard/{done.lower()}/")
    page.get_by_role("button", name=done).click()

    state = "inactive" if prefix else "active"
    assert page.get_by_role("status").first.inner_text() == f"dashboard is {state}."
    assert page.url.startswith(address)

    for screen in ("Needs attention", "Processes", "My settings", "Plugins"):
        page.get_by_role("link", name=screen, exact=True).click()
        page.get_by_role("heading", level=1, name=screen).wait_for()

    assert failed == []


def test_a_form_of_one_worker_is_accepted_by_another(start_host, open_page, tmp_path):
    """The key of the tokens lies in the store: any process accepts any token."""
    store = str(tmp_path / "store.json")
    with (
        start_host(store=store, process="web-1") as first,
        start_host(store=store, process="web-2", framework="flask") as second,
    ):
        page = open_page(first + "plugins/audit/activate/")
        # As a proxy does that sends the next request to the other worker.
        token = page.locator("input[name=csrf_token]").get_attribute("value")
        body = f"csrf_token={token}&to=activate&confirmed=yes&plugin:audit=on".encode()
        headers = {"Cookie": "who=superuser"}
        with urlopen(Request(second + "switch/", body, headers)) as answer:
            assert answer.url == f"{second}#switch-audit"
        with urlopen(Request(f"{second}processes/", headers=headers)) as answer:
            text = answer.read().decode()

        assert "web-1" in text
        assert "web-2" in text


def test_a_thousand_plugins(start_host, open_page):
    """The table has pages, all of it can be searched, and one page can be ticked at once."""
    with start_host(many=1_000) as address:
        page = open_page(address + "?search=plugin-")

        assert page.get_by_text("1000 plugins match.").count() == 1
        assert page.get_by_role("row").count() == 501

        page.get_by_role("link", name="2", exact=True).click()

        assert page.get_by_role("link", name="plugin-0999", exact=True).count() == 1

        page.get_by_role("searchbox", name="Search").fill("plugin-099")
        page.get_by_text("10 plugins match.").wait_for()
        page.get_by_role("checkbox", name="Select", exact=True).check()
        # Each is loaded in a child process first.
        page.get_by_role("button", name="Activate selected", exact=True).click(timeout=120_000)
        page.get_by_role("status").first.wait_for(timeout=120_000)

        assert "10 of 10" in page.get_by_role("status").first.inner_text()


def test_the_first_page_is_small(start_host):
    """Without its rows the first screen, with style and script, is at most 40 kB."""
    with start_host(active=()) as address:
        total = 0
        for path in ("?search=no-such-plugin", "static/admin.css", "static/admin.js"):
            with urlopen(Request(address + path, headers={"Cookie": "who=superuser"})) as answer:
                total += len(answer.read())

    assert total <= 40_000
