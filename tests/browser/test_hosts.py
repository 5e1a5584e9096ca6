"""The page in each framework, at each place, from several processes, and with many plugins."""

from __future__ import annotations

import re
from contextlib import closing
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest


@pytest.fixture(scope="module", params=["starlette", "fastapi", "flask", "django"])
def framework(request, start_host):
    """Yield the name of each framework, and the address of the page that it serves."""
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


@pytest.mark.parametrize("case", ["a new store", "safe mode", "a store that cannot be written"])
def test_a_form_of_one_worker_is_accepted_by_another(start_host, tmp_path, case):
    """As a proxy does that sends the next request to another worker: also before any change."""
    options = {"store": str(tmp_path / "store.json"), "safe_mode": case == "safe mode"}
    if "written" in case:
        # With Django no key is stored.
        with start_host(**options, framework="django"):
            pass
        for file in tmp_path.iterdir():
            file.chmod(0o400)
        tmp_path.chmod(0o500)
    with (
        start_host(**options, process="web-1") as first,
        start_host(**options, process="web-2", framework="flask") as second,
    ):
        cookies = {"who": "superuser"}

        def ask(address, fields=None):
            """Send one request as a browser does, and return its status, Location and body."""
            target = urlsplit(address)
            headers = {"Cookie": "; ".join(f"{name}={cookies[name]}" for name in cookies)}
            if fields:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields) if fields else None
            with closing(HTTPConnection(target.netloc, timeout=60)) as connection:
                connection.request("POST" if fields else "GET", target.path, body, headers)
                answer = connection.getresponse()
                for name, morsel in SimpleCookie(answer.headers["Set-Cookie"]).items():
                    cookies[name] = morsel.value
                return answer.status, answer.headers["Location"], answer.read().decode()

        _, _, form = ask(f"{first}plugins/audit/activate/")
        token = re.search('name="csrf_token" value="([^"]+)"', form)[1]
        fields = {"csrf_token": token, "to": "activate", "confirmed": "yes", "plugin:audit": "on"}

        assert ask(f"{second}switch/", {**fields, "csrf_token": token[:-1]})[0] == 403
        assert ask(f"{second}switch/", fields)[:2] == (303, "/admin/#switch-audit")

        # Any worker shows its result, too.
        _, _, page = ask(first)
        assert re.search(r'role="(status|alert)">\s*<p>audit ', page)[1] == (
            "alert" if "written" in case else "status"
        )
        if case == "a new store":
            _, _, page = ask(f"{second}processes/")
            assert "web-1" in page
            assert "web-2" in page


def test_a_thousand_plugins(start_host, open_page):
    """The table has pages, all of it can be searched, and one page can be ticked at once."""
    with start_host(many=1_000) as address:
        page = open_page(address + "?search=plugin-")

        assert page.get_by_text("1000 plugins match.").count() == 1
        assert page.get_by_role("row").count() == 501

        page.get_by_role("link", name="2", exact=True).click()

        page.get_by_role("link", name="plugin-0999", exact=True).wait_for()

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
