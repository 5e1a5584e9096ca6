"""Bad input over HTTP, in every way that a request can come: refused by name, and nothing changes.

Values that only Python can pass are in tests/api/test_bad_input.py.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.api.http import Request, Responder
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage

SUPERUSER = Actor(7, is_superuser=True)
TABLES = ("plugins", "metadata", "counters", "settings", "user_settings", "versions")
RESERVED = ("ui", "reload", "install", "status", "settings")
FIXED = [f"/api/plugins/{name}/" for name in RESERVED if name != "ui"]
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WRITES = [row for row in PluginAPI.operations if row.body is not None]
KNOWN = {"detail", "non_field_errors"}
KNOWN |= {item.name for row in PluginAPI.operations for item in row.query}
KNOWN |= {name for row in WRITES for name in row.input.model_fields}


class Tea(SettingsMixin, UserInterfaceMixin, Plugin):
    SETTINGS = {"CUPS": {"validator": int, "default": 1}, "NOTE": {}, "TAGS": {"type": list[str]}}
    USER_SETTINGS = {"NOTE": {}}


class Milk(Plugin):
    pass


class Shop:
    """A registry of an active and an inactive plugin, in which something is stored."""

    def __init__(self):
        self.storage = MemoryStorage()
        self.registry = PluginRegistry("shop", builtin=[Tea, Milk], storage=self.storage)
        self.registry.load()
        self.registry.activate("tea")
        self.registry.settings("tea").set("NOTE", "hot")
        self.registry.user_settings("tea", 7).set("NOTE", "mine")
        self.registry.set_metadata("tea", {"a": {"b": 1}})

    def state(self):
        """Return all stored rows, and the records of the registry."""
        plugins = self.registry.plugins
        return (
            {table: dict(self.storage.read(table)) for table in TABLES},
            self.storage.revision(),
            {slug: (e.wanted, e.state, id(e.plugin), e.errors) for slug, e in plugins.items()},
            self.registry.errors,
        )


@pytest.fixture
def shop():
    shop = Shop()
    with shop.registry:
        yield shop


@pytest.fixture
def registry(shop):
    return shop.registry


@pytest.fixture
def refused(shop, client):
    """Return a function that sends a bad request, and returns the body of the answer."""

    def refused(status, method, path, **request):
        before = shop.state()
        answer = client(method, path, SUPERUSER, **request)
        assert answer.status == status, (method, path[:80], answer.body)
        assert set(answer.body) <= KNOWN
        assert shop.state() == before
        return answer.body

    return refused


def path_of(row, plugin="tea", key="NOTE", feature="panel"):
    return row.path.format(plugin=plugin, key=key, feature=feature)


class TestPaths:
    def test_plugins_that_are_not_there(self, refused):
        """Whatever stands in the place of a plugin is not found: odd, long or reserved."""
        names = ["nobody", "TEA", "tea%00", "tea%0A", "%1B", "%ED%A0%80", "%FF", "x" * 300]
        for row in PluginAPI.operations:
            if "plugin" in row.path_parameters:
                for name in (*names, *RESERVED):
                    path = path_of(row, plugin=name)
                    if path not in FIXED:
                        assert refused(404, row.method, path)["detail"]

    def test_fixed_paths(self, refused):
        """They win over a plugin of that name, and have their own methods alone."""
        for path in FIXED:
            assert refused(405, "DELETE", path)["detail"] == 'Method "DELETE" not allowed.'

    def test_settings_that_are_not_there(self, refused):
        """The same holds for keys."""
        for row in PluginAPI.operations:
            if "key" in row.path_parameters:
                for key in ("MILK", "NOTE%00", "NOTE%0A", "%FF", "NOTE%2Fx", "x" * 300, "*"):
                    assert refused(404, row.method, path_of(row, key=key))["detail"]

    def test_very_long(self, refused):
        """Of a name of megabytes no more is repeated than helps to recognise it."""
        for path in ("/api/plugins/{}/", "/api/plugins/tea/settings/{}/", "/api/plugins/{}"):
            assert len(refused(404, "GET", path.format("x" * 1_000_000))["detail"]) < 400

    def test_features(self, shop, client):
        """A type of feature that nobody has is no error, and any query is handed on."""
        before = shop.state()
        for feature in ("nothing", "%00", "%F0%9F%8D%B5", "x" * 5000):
            answer = client("GET", f"/api/plugins/ui/features/{feature}/", SUPERUSER)
            assert (answer.status, answer.body) == (200, [])
        query = [("%00", "\x00"), ("context", "1"), ("feature", "x"), ("", ""), ("plugin", "milk")]
        answer = client("GET", "/api/plugins/ui/features/panel/", SUPERUSER, query=query)
        assert (answer.status, answer.body) == (200, [])
        assert shop.state() == before


class TestQueries:
    WRONG = {
        bool: ["maybe", "2", "-1", "True ", "tru", "\x00", "1" * 5000, "\u0661"],
        int: ["-1", "1.5", "1e3", "0x10", " 1", "x", "\x00", "1" * 20, "1" * 5000, "\u0661", "NaN"],
        str: ["\x00", "a\x00b", "\x1b[31m", "\x7f\x01"],
    }

    def test_wrong_values(self, refused):
        """Each parameter of each list names its type; a number of 20 digits is too large."""
        for row in PluginAPI.operations:
            for parameter in row.query:
                for value in self.WRONG[parameter.type]:
                    query = {parameter.name: value}
                    (field, sentences), *rest = refused(400, "GET", row.path, query=query).items()
                    assert (field, rest) == (parameter.name, [])
                    assert sentences[0].startswith("Must be")

    def test_limit_of_nothing(self, refused):
        """A page has a row at least."""
        for path in ("/api/plugins/", "/api/plugins/settings/"):
            assert list(refused(400, "GET", path, query={"limit": "0"})) == ["limit"]

    @pytest.mark.parametrize(
        "query", ["limit=%", "limit=%2", "limit=%zz", "search=%FF", "%ED%A0%80=1", "&" * 1001]
    )
    def test_queries_that_cannot_be_read(self, refused, query):
        """Broken escapes, bytes that are no UTF-8 and masses of fields are refused as such."""
        for path in ("/api/plugins/", "/api/plugins/ui/features/panel/"):
            assert refused(400, "GET", path, query=query)["detail"].startswith("Query parse error")

    def test_unknown_and_twice(self, client):
        """Names that are not known are ignored; of a name that comes twice the last counts."""
        query = "limit=x&%00=%00&search_notes=1&limit=1&search_regex=%28"
        answer = client("GET", "/api/plugins/", SUPERUSER, query=query)

        assert (answer.status, len(answer.body["results"])) == (200, 1)


BROKEN_JSON = {
    "open": b'{"value": "1"',
    "two": b'{"value": "1"}{}',
    "single quotes": b"{'value': '1'}",
    "comma": b'{"value": "1",}',
    "comment": b'{"value": "1"} // x',
    "blank": b" ",
    "latin-1": '{"value": "é"}'.encode("latin-1"),
    "utf-16": '{"value": "1"}'.encode("utf-16"),
    "half a character": b'{"value": "\xf0\x9f"}',
    "surrogate in utf-8": b'{"value": "\xed\xa0\x80"}',
    "null byte": b"\x00",
    "raw null": b'{"value": "\x00"}',
    "raw newline": b'{"value": "a\nb"}',
    "NaN": b'{"value": NaN}',
    "Infinity": b'{"metadata": {"a": [Infinity]}}',
    "-Infinity": b'{"other": -Infinity}',
    "1e400": b'{"value": 1e400}',
    "-1e400": b'{"metadata": {"a": -1e400}}',
    "5000 digits": b'{"value": 1' + b"0" * 5000 + b"}",
    "brackets": b"[" * 100_000,
    "closed brackets": b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}
NO_OBJECT = {"list": b"[]", "text": b'"{}"', "number": b"1", "true": b"true", "list of it": b"[{}]"}
NO_MEDIA = [
    "",
    "text/plain",
    "application/xml",
    "json",
    "application/jsonp",
    "multipart/mixed",
    "/",
]
PART = b'--x\r\nContent-Disposition: form-data; name="value"\r\n\r\n1\r\n'
BROKEN_FORMS = {
    "no boundary": ("multipart/form-data", PART + b"--x--\r\n"),
    "empty boundary": ("multipart/form-data; boundary=", PART + b"--x--\r\n"),
    "odd boundary": ('multipart/form-data; boundary="a\x01"', PART + b"--x--\r\n"),
    "other boundary": ("multipart/form-data; boundary=y", PART + b"--x--\r\n"),
    "not closed": ("multipart/form-data; boundary=x", PART),
    "in the middle": ("multipart/form-data; boundary=x", PART[:30]),
    "rubbish": ("multipart/form-data; boundary=x", b"\x00\xff" * 100),
    "broken escape": ("application/x-www-form-urlencoded", b"value=%zz"),
    "no utf-8": ("application/x-www-form-urlencoded", b"value=%FF"),
    "raw bytes": ("application/x-www-form-urlencoded", b"value=\xff"),
    "many fields": ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 1001)),
    "many parts": ("multipart/form-data; boundary=x", PART * 1001 + b"--x--\r\n"),
}


class TestBodies:
    @pytest.mark.parametrize("content", BROKEN_JSON.values(), ids=BROKEN_JSON)
    def test_json_that_cannot_be_read(self, refused, content):
        """A body that is no JSON of RFC 8259, or would change when read, is refused as such."""
        for row in WRITES:
            answer = refused(400, row.method, path_of(row), content=content, headers=JSON)
            assert answer["detail"].startswith("JSON parse error - ")

    def test_json_that_is_no_object(self, refused):
        """A body is an object."""
        for row in WRITES:
            for content in NO_OBJECT.values():
                answer = refused(400, row.method, path_of(row), content=content, headers=JSON)
                assert answer["non_field_errors"][0].startswith("Invalid data. Expected a dict")

    @pytest.mark.parametrize(("kind", "content"), BROKEN_FORMS.values(), ids=BROKEN_FORMS)
    def test_forms_that_cannot_be_read(self, refused, kind, content):
        """Half a form is none."""
        for row in WRITES:
            request = {"content": content, "headers": {"Content-Type": kind}}
            assert "parse error - " in refused(400, row.method, path_of(row), **request)["detail"]

    def test_media_types(self, refused):
        """A body that is neither JSON nor a form is not read."""
        for row in WRITES:
            for kind in NO_MEDIA:
                request = {"content": b'{"value": "1"}', "headers": {"Content-Type": kind}}
                assert "media type" in refused(415, row.method, path_of(row), **request)["detail"]

    def test_files(self, refused):
        """A file in the place of a field is refused under its name."""
        request = {"multipart": {"value": ("a.txt", b"1")}}
        path = "/api/plugins/tea/settings/NOTE/"

        assert list(refused(400, "PUT", path, **request)) == ["value"]

    def test_very_long(self, refused):
        """A body of 10 MB is refused, whatever it is."""
        long = "x" * 10_000_000
        for request in ({"json": {"value": long}}, {"form": {"value": long}}):
            for path in ("tea/settings/NOTE/", "tea/user-settings/NOTE/", "tea/metadata/"):
                assert "detail" in refused(413, "PUT", f"/api/plugins/{path}", **request)
        long = "x" * 100_000
        for path in ("tea/settings/NOTE/", "tea/user-settings/NOTE/"):
            answer = refused(400, "PUT", f"/api/plugins/{path}", form={"value": long})
            assert answer == {
                "value": ["Ensure this value has at most 2000 characters (it has 100000)."]
            }

    def test_metadata_in_forms(self, refused):
        """There the object is a text of JSON, under the same rules."""
        for text in ("", "{", "[1]", "1", "NaN", '{"a": NaN}', '{"a": 1e400}', "[" * 100_000):
            for kind in ("form", "multipart"):
                request = {kind: {"metadata": text}}
                assert list(refused(400, "PUT", "/api/plugins/tea/metadata/", **request)) == [
                    "metadata"
                ]

    def test_characters(self, refused):
        """Escapes bring in no characters that may not stand for themselves."""
        for text in ("\x00", "a\x1bb"):
            for path in ("tea/settings/NOTE/", "tea/user-settings/NOTE/"):
                answer = refused(400, "PUT", f"/api/plugins/{path}", json={"value": text})
                assert answer["value"][0].startswith("Value must not contain control characters")
            for metadata in ({"a": [text]}, {text: 1}, {"a": {text: 1}}):
                body = {"metadata": metadata}
                answer = refused(400, "PATCH", "/api/plugins/tea/metadata/", json=body)
                assert answer["metadata"][0].startswith("Value must")
            body = {"confirm": True, "packagename": text}
            assert list(refused(400, "POST", "/api/plugins/install/", json=body)) == ["packagename"]
        for text in ("\ud800", "\udfff\ud800"):
            for body in ({"value": text}, {"metadata": {text: 1}}):
                answer = refused(400, "PUT", "/api/plugins/tea/settings/NOTE/", json=body)
                assert answer["detail"].startswith("JSON parse error")

    def test_what_is_fine(self, client):
        """A byte order mark, an empty body, a field that comes twice: read as they are meant."""
        path = "/api/plugins/tea/settings/NOTE/"
        request = {"headers": JSON, "content": b'\xef\xbb\xbf{"value": "1", "value": "2", "x": 3}'}
        assert client("PUT", path, SUPERUSER, **request).body["value"] == "2"
        form = {"headers": FORM, "content": b"value=3&value=4&pk=5&plugin=milk"}
        assert client("PUT", path, SUPERUSER, **form).body["value"] == "4"
        assert client("PATCH", path, SUPERUSER, headers=JSON).body["value"] == "4"
        assert client("PUT", path, SUPERUSER).body == {"value": ["This field is required."]}


# -- anything ---------------------------------------------------------------------------------


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(), inner, max_size=3)
    ),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
kinds = st.sampled_from(
    ["application/json", FORM["Content-Type"], "multipart/form-data; boundary=x", "text/plain"]
)
query_names = st.sampled_from(sorted(KNOWN)).map(str.encode) | st.binary(max_size=5)
queries = st.lists(st.tuples(query_names, st.binary(max_size=5)), max_size=5).map(
    lambda pairs: b"&".join(b"=".join(pair) for pair in pairs)
)
fields = st.lists(st.tuples(query_names, st.binary(max_size=5)), max_size=3).map(
    lambda pairs: b"".join(PART.replace(b"value", n).replace(b"1", v) for n, v in pairs) + b"--x--"
)


@given(
    row=st.sampled_from(PluginAPI.operations),
    plugin=st.sampled_from(["tea", "milk"]) | st.text(),
    key=st.sampled_from(["cups", "TAGS"]) | st.text(),
    query=queries | st.binary(),
    request=st.tuples(kinds | st.text(), json_texts | queries | fields | st.binary()),
)
def test_anything(row, plugin, key, query, request):
    """Any query and any body are carried out, or refused by name without a change."""
    shop = Shop()
    before = shop.state()
    kind, body = request
    response = Responder(shop.registry).respond(
        Request(
            method=row.method,
            path=path_of(row, plugin=plugin, key=key),
            query=query,
            headers={"content-type": kind},
            body=body,
        ),
        SUPERUSER,
    )
    if response.status >= 400:
        assert response.status in (400, 404, 405, 415)
        assert set(json.loads(response.body)) <= KNOWN
        assert shop.state() == before
    else:
        assert row.method != "GET" or shop.state() == before
