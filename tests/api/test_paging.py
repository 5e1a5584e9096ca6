"""Lists in pages, in Python and over HTTP."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, InvalidError, PluginAPI
from plugreg.api.http import Request, Responder
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

STAFF = Actor(7, is_staff=True)
ROWS = 7
URL = "http://x.test/shop/api/plugins/"


class Row(SettingsMixin, Plugin):
    SETTINGS = {"VALUE": {}}


def named(number):
    return f"row-{number}", Row


def serve(count):
    """Return the API of a registry of so many active plugins, each with one setting."""
    registry = PluginRegistry("shop", builtin=list(map(named, range(count))), new_plugins="active")
    registry.load()
    return PluginAPI(registry)


@pytest.fixture(scope="module")
def api():
    return serve(ROWS)


LISTS = ("plugins_list", "plugins_settings_list_all")


def rows_of(page):
    """Return the identities of the rows of a page."""
    return [row.key if hasattr(row, "mixins") else row.plugin for row in page.results]


@pytest.fixture(params=LISTS)
def ask(request, api):
    """Return a function that asks for a page of one of the two lists."""
    return lambda **query: getattr(api, request.param)(STAFF, **query)


ALL = [f"row-{number}" for number in range(ROWS)]


class TestInPython:
    def test_without_a_limit_all(self, ask):
        """All rows come as one page, whatever the offset."""
        for query in ({}, {"offset": 2}, {"offset": 100}, {"limit": None}, {"limit": ""}):
            page = ask(**query)
            assert (page.count, rows_of(page)) == (ROWS, ALL)
            assert (page.next, page.previous) == (None, None)

    @pytest.mark.parametrize(
        ("limit", "offset", "following", "before"),
        [
            (3, 0, (3, 3), None),
            (3, None, (3, 3), None),
            (3, 3, (3, 6), (3, 0)),
            (3, 4, None, (3, 1)),
            (3, 6, None, (3, 3)),
            (3, 1, (3, 4), (3, 0)),
            (ROWS, 0, None, None),
            (ROWS + 1, 0, None, None),
            (1, ROWS, None, (1, ROWS - 1)),
            (2, 50, None, (2, 48)),
        ],
    )
    def test_neighbours(self, ask, limit, offset, following, before):
        """Next is there while rows follow; previous after the first row, from 0 on at least."""
        page = ask(limit=limit, offset=offset)

        assert page.count == ROWS
        assert rows_of(page) == ALL[offset or 0 :][:limit]
        assert (page.next, page.previous) == (following, before)

    def test_numbers_as_text(self, ask):
        """Over HTTP numbers are text, and mean the same."""
        assert ask(limit="3", offset="3") == ask(limit=3, offset=3)

    @pytest.mark.parametrize("name", ["limit", "offset"])
    def test_bad_numbers(self, ask, name):
        """A limit that is no whole number is refused, and so is a page of nothing."""
        wrong = ["x", "-1", -1, 1.0, True, "1.5", *(["0", 0] if name == "limit" else [])]
        for value in wrong:
            with pytest.raises(InvalidError) as caught:
                ask(**{name: value})
            least = 1 if name == "limit" else 0
            assert caught.value.errors == {name: [f"Must be a whole number, {least} or more."]}

    def test_count_is_of_the_filtered(self, api):
        """Rows that a filter leaves out are not counted, and are on no page."""
        page = api.plugins_list(STAFF, search="row-1", limit=1)
        assert (page.count, rows_of(page), page.next) == (1, ["row-1"], None)
        page = api.plugins_settings_list_all(STAFF, plugin__key="row-1", limit=1)
        assert (page.count, rows_of(page), page.next) == (1, ["row-1"], None)

    @given(
        count=st.integers(0, 12),
        limit=st.integers(1, 15),
        ordering=st.sampled_from(["", "-key", "name", "active,-name"]),
    )
    def test_walking(self, count, limit, ordering):
        """From the first page on, next gives each row once, in the order of the whole list.

        And previous leads back from the last page to the first.
        """
        api = serve(count)
        for operation, query in (
            ("plugins_list", {"ordering": ordering}),
            ("plugins_settings_list_all", {}),
        ):
            ask = getattr(api, operation)
            pages = [ask(STAFF, limit=limit, **query)]
            while pages[-1].next is not None:
                size, offset = pages[-1].next
                pages.append(ask(STAFF, limit=size, offset=offset, **query))
            walked = [row for page in pages for row in page.results]
            assert walked == ask(STAFF, **query).results
            assert len(walked) == count == pages[0].count
            assert all(len(page.results) == limit for page in pages[:-1])

            page = pages[-1]
            for earlier in reversed(pages[:-1]):
                size, offset = page.previous
                page = ask(STAFF, limit=size, offset=offset, **query)
                assert page == earlier
            assert page.previous is None

    def test_ten_thousand(self):
        """A host that knows 10,000 plugins has its list, its pages and its settings."""
        storage = MemoryStorage()
        with storage.transaction() as transaction:
            for number in range(10_000):
                row = {"value": "1", "protected": False}
                transaction.put("settings", f"row-{number}:VALUE", row)
        registry = PluginRegistry("shop", builtin=map(named, range(10_000)), storage=storage)
        registry.load()
        api = PluginAPI(registry)

        for operation in LISTS:
            ask = getattr(api, operation)
            whole = ask(STAFF).results
            assert len({item.pk for item in whole}) == 10_000
            page = ask(STAFF, limit=100, offset=9_950)
            assert (page.results, page.count) == (whole[9_950:], 10_000)
            assert (page.next, page.previous) == (None, (100, 9_850))


def answered(api, query="", path="/api/plugins/"):
    """Return the answer over HTTP."""
    url = URL if path == "/api/plugins/" else f"{URL}settings/"
    request = Request(method="GET", path=path, url=url, query=query.encode())
    response = Responder(api).respond(request, STAFF)
    assert response.status == 200
    return json.loads(response.body)


class TestOverHTTP:
    @pytest.mark.parametrize("path", ["/api/plugins/", "/api/plugins/settings/"])
    def test_links_are_addresses(self, api, path):
        """Next and previous are the address asked for, with other numbers; 0 is left out."""
        page = answered(api, "limit=2&offset=2", path)
        next_page, previous = urlsplit(page["next"]), urlsplit(page["previous"])

        for item in (next_page, previous):
            assert f"{item.scheme}://{item.netloc}" == "http://x.test"
            assert item.path == f"/shop{path}"
        assert parse_qs(next_page.query) == {"limit": ["2"], "offset": ["4"]}
        assert parse_qs(previous.query) == {"limit": ["2"]}

    def test_other_parameters_are_kept(self, api):
        """Filters, names that are not known, doubles and blanks: all come back as they were."""
        others = [("ordering", "-key"), ("note", "é &=+%"), ("x", ""), ("x", "2"), ("é", "")]
        page = answered(api, urlencode([("limit", "3"), *others, ("offset", "2"), ("limit", "2")]))

        for link, own in (
            (page["next"], [("limit", "2"), ("offset", "4")]),
            (page["previous"], [("limit", "2")]),
        ):
            assert parse_qsl(urlsplit(link).query, keep_blank_values=True) == [*others, *own]

    def test_walking(self, api):
        """Following the links as they are gives every row once, in order."""
        query, walked = "limit=2&ordering=-key&note=%C3%A9", []
        while True:
            page = answered(api, query)
            walked += [row["key"] for row in page["results"]]
            if page["next"] is None:
                break
            query = urlsplit(page["next"]).query
            assert ("note", "é") in parse_qsl(query)

        assert walked == ALL[::-1]

    def test_without_a_limit(self, api):
        """The object is always the same: all rows, and both links null."""
        page = answered(api, "offset=3")

        assert (page["count"], page["next"], page["previous"]) == (ROWS, None, None)
        assert [row["key"] for row in page["results"]] == ALL

    def test_bare_lists(self, api):
        """A host may want a plain array where no limit was given, as its old clients do."""
        bare = PluginAPI(api.service.registry, bare_list_without_limit=True)

        for path in ("/api/plugins/", "/api/plugins/settings/"):
            for query in ("", "limit=", "offset=2"):
                assert answered(bare, query, path) == answered(api, "", path)["results"]
            assert answered(bare, "limit=2", path) == answered(api, "limit=2", path)


def test_pages_read_only():
    """A page writes nothing and is of one moment, however often it is asked for."""
    storage = MemoryStorage()
    registry = PluginRegistry("shop", builtin=[named(1)], storage=storage, new_plugins="active")
    with registry:
        registry.load()
        before = storage.revision()
        for _ in range(3):
            PluginAPI(registry).plugins_settings_list_all(STAFF, limit=1)
            PluginAPI(registry).plugins_list(STAFF, limit=1)
        assert storage.revision() == before
