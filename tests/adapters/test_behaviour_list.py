"""GET /api/plugins/ through every adapter: rows, filters, search, order and pages."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage

USER = Actor(7)
PATH = "/api/plugins/"


class Counted(Plugin):
    """Counts how often an object of it is made, and how often it is asked for its author."""

    made = 0
    asked = 0

    def __init__(self):
        type(self).made += 1

    @property
    def AUTHOR(self):
        type(self).asked += 1
        return "Ann"


class Zebra(SettingsMixin, UserInterfaceMixin, Counted):
    SLUG, NAME = "zebra", "apple"
    SETTINGS = {"CUPS": {}}


class Acorn(UserInterfaceMixin, Plugin):
    SLUG, NAME = "acorn", "Banana"


class Must(Plugin):
    SLUG, NAME = "must", "cherry tree"


class Figs(UserInterfaceMixin, Plugin):
    SLUG, NAME = "figs", "Banana"


class Date(Plugin):
    SLUG, NAME = "date", "apple"


class Gone(Plugin):
    SLUG, NAME = "gone", "Cola"


@pytest.fixture
def registry():
    """Return six plugins: two active, one mandatory, two off (one a sample), one not there."""
    storage = MemoryStorage()
    with PluginRegistry("shop", builtin=[Gone], storage=storage) as before:
        before.load()
    Zebra.made = Zebra.asked = 0
    with PluginRegistry(
        "shop",
        builtin=[Zebra, Acorn, Must, Date],
        samples=[Figs],
        mandatory={"must"},
        storage=storage,
    ) as registry:
        registry.load()
        registry.activate("zebra")
        registry.activate("acorn")
        yield registry


def keys(client, query=()):
    answer = client("GET", PATH, USER, query=query)
    assert answer.status == 200, answer
    assert answer.body["count"] == len(answer.body["results"])
    return [row["key"] for row in answer.body["results"]]


def link(address):
    """Return the part of an address before the query, and the query."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query))


DEFAULT = ["zebra", "acorn", "must", "date", "figs", "gone"]


class TestRows:
    def test_every_plugin_has_a_row(self, client, registry):
        """Without a limit all are in one page, also those that are not there."""
        answer = client("GET", PATH, USER)

        assert set(answer.body) == {"count", "next", "previous", "results"}
        assert answer.body["count"] == 6
        assert answer.body["next"] is None
        assert answer.body["previous"] is None
        assert [row["key"] for row in answer.body["results"]] == DEFAULT

    def test_a_row_is_what_the_plugin_itself_answers(self, client):
        """Lists and single plugins say the same."""
        for row in client("GET", PATH, USER).body["results"]:
            assert row == client("GET", f"{PATH}{row['key']}/", USER).body

    def test_a_list_is_read_from_what_is_there(self, client):
        """Lists, whatever filters them, neither make nor ask a plugin object."""
        made, asked = Zebra.made, Zebra.asked
        for query in ({}, {"mixin": "settings"}, {"builtin": "1"}, {"sample": "0", "search": "a"}):
            assert "zebra" in keys(client, query)

        assert (Zebra.made, Zebra.asked) == (made, asked)
        assert made == 1


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"active": "true"}, ["zebra", "acorn", "must"]),
            ({"active": "False"}, ["date", "figs", "gone"]),
            ({"builtin": "1"}, ["zebra", "acorn", "must", "date"]),
            ({"builtin": "0"}, ["figs", "gone"]),
            ({"sample": "TRUE"}, ["figs"]),
            ({"sample": "false"}, ["zebra", "acorn", "must", "date", "gone"]),
            ({"installed": "false"}, ["gone"]),
            ({"installed": "true"}, ["zebra", "acorn", "must", "date", "figs"]),
            ({"mandatory": "true"}, ["must"]),
            ({"mandatory": "0"}, ["zebra", "acorn", "date", "figs", "gone"]),
            ({"active": "false", "installed": "true"}, ["date", "figs"]),
            ({"active": "true", "mandatory": "false", "mixin": "settings"}, ["zebra"]),
        ],
    )
    def test_booleans(self, client, query, expected):
        """True, false, 1 and 0 in any case; several filters must all hold."""
        assert keys(client, query) == expected

    @pytest.mark.parametrize("name", ["active", "builtin", "installed", "mandatory", "sample"])
    def test_what_is_no_boolean_is_refused(self, client, name):
        """It is 400 under the parameter's name, not an unfiltered list."""
        for value in ("yes", "2", "None", "true "):
            answer = client("GET", PATH, USER, query={name: value})
            assert (answer.status, set(answer.body)) == (400, {name})

    @pytest.mark.parametrize(
        ("mixin", "expected"),
        [
            ("ui", ["zebra", "acorn"]),
            ("UI", ["zebra", "acorn"]),
            (" settings , ui ", ["zebra"]),
            ("base", ["zebra", "acorn", "must"]),
            ("barcode", []),
            ("ui,barcode", []),
            ("", DEFAULT),
        ],
    )
    def test_mixins(self, client, mixin, expected):
        """The plugin has all of them; one that is off shows none, unknown ones are nobody's."""
        assert keys(client, {"mixin": mixin}) == expected

    @pytest.mark.parametrize(
        ("search", "expected"),
        [
            ("BANANA", ["acorn", "figs"]),
            ("fig", ["figs"]),
            ("a p", ["zebra", "date"]),
            ("apple,date", ["date"]),
            ('"cherry tree"', ["must"]),
            ('"tree cherry"', []),
            ("tree cherry", ["must"]),
            ("", DEFAULT),
        ],
    )
    def test_search(self, client, search, expected):
        """Every word must be in key or name, whatever the case; quotes hold words together."""
        assert keys(client, {"search": search}) == expected

    def test_parameters_that_are_not_offered_do_nothing(self, client):
        """There is no search beside the one."""
        for name in ("search_notes", "search_regex", "search_whole", "x"):
            assert keys(client, {name: "true", "search": "fig."}) == []
            assert keys(client, {name: "true"}) == DEFAULT


class TestOrder:
    @pytest.mark.parametrize(
        ("ordering", "expected"),
        [
            ("key", ["acorn", "date", "figs", "gone", "must", "zebra"]),
            ("-key", ["zebra", "must", "gone", "figs", "date", "acorn"]),
            ("name", ["date", "zebra", "acorn", "figs", "must", "gone"]),
            ("-name", ["gone", "must", "acorn", "figs", "date", "zebra"]),
            ("active", ["date", "figs", "gone", "acorn", "must", "zebra"]),
            ("-active", ["acorn", "must", "zebra", "date", "figs", "gone"]),
            ("active,-name", ["gone", "figs", "date", "must", "acorn", "zebra"]),
            ("-active,name", DEFAULT),
            ("", DEFAULT),
        ],
    )
    def test_order(self, client, ordering, expected):
        """Names without regard to case, and equal names by key."""
        assert keys(client, {"ordering": ordering}) == expected

    def test_an_unknown_order_is_refused(self, client):
        """It is 400 under ``ordering``, also behind one that is known."""
        for ordering in ("pk", "name,pk", "--name", "meta"):
            answer = client("GET", PATH, USER, query={"ordering": ordering})
            assert (answer.status, set(answer.body)) == (400, {"ordering"})


class TestPages:
    def test_from_the_first_page_to_the_last(self, client):
        """The links lead through all rows once; ``count`` is that of all pages."""
        seen, query = [], {"limit": "4", "ordering": "key"}
        answer = client("GET", PATH, USER, query=query)
        assert answer.body["previous"] is None
        seen += [row["key"] for row in answer.body["results"]]
        address, query = link(answer.body["next"])
        assert address == f"http://testserver{PATH}"
        assert query == {"limit": "4", "offset": "4", "ordering": "key"}

        answer = client("GET", PATH, USER, query=query)
        seen += [row["key"] for row in answer.body["results"]]
        assert answer.body["count"] == 6
        assert answer.body["next"] is None
        assert link(answer.body["previous"])[1] == {"limit": "4", "ordering": "key"}
        assert seen == ["acorn", "date", "figs", "gone", "must", "zebra"]

    def test_the_page_before(self, client):
        """It begins a page earlier, and without an offset where that is the first row."""
        for offset, before in ((3, {"offset": "1"}), (2, {}), (1, {})):
            answer = client("GET", PATH, USER, query={"limit": 2, "offset": offset})
            assert link(answer.body["previous"])[1] == {"limit": "2", **before}

    def test_links_keep_the_rest_of_the_query(self, client):
        """Filters and unknown parameters stay, and are encoded again."""
        query = {"search": "a&b é", "active": "true", "x": "", "limit": "1"}
        answer = client("GET", PATH, USER, query={**query, "search": "a", "colour": "a&b é"})

        assert link(answer.body["next"])[1]["colour"] == "a&b é"
        assert link(answer.body["next"])[1]["search"] == "a"
        assert link(answer.body["next"])[1]["active"] == "true"

    def test_beyond_the_end(self, client):
        """There are no rows, and the count is true."""
        answer = client("GET", PATH, USER, query={"limit": 2, "offset": 50})

        assert answer.status == 200
        assert (answer.body["count"], answer.body["results"]) == (6, [])
        assert answer.body["next"] is None

    def test_the_count_is_that_of_what_was_filtered(self, client):
        """Filters come before pages."""
        answer = client("GET", PATH, USER, query={"limit": 1, "search": "banana"})

        assert answer.body["count"] == 2
        assert [row["key"] for row in answer.body["results"]] == ["acorn"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "0"),
            ("limit", "-1"),
            ("limit", "ten"),
            ("limit", "1.5"),
            ("limit", "9" * 5000),
            ("offset", "-1"),
            ("offset", "ten"),
            ("offset", "1e3"),
        ],
    )
    def test_numbers_that_are_none_are_refused(self, client, name, value):
        """They are 400 under their name, and never make a list of another form."""
        answer = client("GET", PATH, USER, query={"limit": "2", name: value})

        assert answer.status == 400
        assert set(answer.body) == {name}

    def test_a_huge_limit_gives_what_there_is(self, client):
        """There is no greatest limit, and none is needed for rows in memory."""
        assert keys(client, {"limit": str(10**18)}) == DEFAULT

    def test_a_plain_array_where_the_host_wants_it(self, make_client, registry):
        """With the option a list without a limit is an array, one with a limit a page."""
        client = make_client(PluginAPI(registry, bare_list_without_limit=True))

        bare = client("GET", PATH, USER, query={"offset": 2})
        assert [row["key"] for row in bare.body] == DEFAULT
        assert set(client("GET", PATH, USER, query={"limit": 2}).body) == {
            "count",
            "next",
            "previous",
            "results",
        }
