"""HTTP without a framework: routing, bodies, queries, answers, refusals and files of plugins."""

from __future__ import annotations

import cProfile
import json
import logging
import sys
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg.api import (
    Actor,
    APIError,
    InvalidError,
    Operation,
    PluginAPI,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from plugreg.api.access import READ
from plugreg.api.bodies import (
    DEEPEST,
    LONGEST,
    LONGEST_HEADER,
    LONGEST_TYPE,
    MOST_FIELDS,
    read_body,
    read_json,
    read_pairs,
)
from plugreg.api.http import Request, Responder, as_prefix
from plugreg.mixins import SettingsMixin, UserInterfaceMixin

READER = Actor(2)
SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
METADATA = "/api/plugins/tea/metadata/"


class Tea(UserInterfaceMixin, SettingsMixin, Plugin):
    NAME = "Tea"
    SETTINGS = {"CUPS": {"name": "Cups", "default": 1, "validator": int}}

    def get_ui_panels(self, request, context, **_):
        return [{"key": "all", "context": dict(context)}]


class Coffee(Plugin):
    NAME = "Coffee"


class Water(Plugin):
    NAME = "Water"


def unreadable():
    """Read a body that the framework has refused."""
    raise TooLargeError


@pytest.fixture
def registry(make):
    return make(Tea, Coffee, Water)


@pytest.fixture
def ask(registry):
    """Return a function that makes a request and gives status, headers, and the JSON answered."""
    responder = Responder(registry)

    def ask(method, path, actor=SUPERUSER, **fields):
        response = responder.respond(Request(method=method, path=path, **fields), actor)
        return response.status, response.headers, response.body and json.loads(response.body)

    return ask


class TestRouting:
    def test_every_row_of_the_table_is_reached_by_its_path(self, registry):
        """A path with its names filled in, and its method, is the operation of that row alone."""
        reached = []

        def reach(call):
            reached.append((call.operation.id, dict(call.parameters)))

        rows = {row.id: replace(row, handler=reach) for row in PluginAPI.operations}
        api = type("ReachedAPI", (PluginAPI,), {**rows, "operations": tuple(rows.values())})
        responder = Responder(api(registry))
        for row in PluginAPI.operations:
            names = {name: f"some {name}" for name in row.path_parameters}
            path = row.path.format(**names)
            responder.respond(Request(method=row.method, path=path), SUPERUSER)

            assert reached.pop() == (row.id, names)
            assert reached == []

    @pytest.mark.parametrize(
        "path",
        [
            "/api/plugins",
            "/api/plugins/tea",
            "/api/plugins//",
            "/api/plugins/tea/nothing/",
            "/api/plugins/tea/settings/CUPS/anything",
            "/api/plugins/tea/settings/CUPS/anything/",
            "/api/plugins/\n",
            "/api/plugins/tea/\n",
            "/api/other/",
            "/static/plugins/tea/",
            "/x/api/plugins/",
            "",
        ],
    )
    def test_an_unknown_path_is_not_found_whoever_asks(self, ask, path):
        """A pattern is closed at its end, and a slash that is missing is not added."""
        for actor in (SUPERUSER, None):
            status, headers, body = ask("GET", path, actor)

            assert (status, body) == (404, {"detail": "Not found."})
            assert "Location" not in headers

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("POST", "/api/plugins/", "GET, HEAD, OPTIONS"),
            ("TRACE", "/api/plugins/tea/", "DELETE, GET, HEAD, OPTIONS"),
            ("FOO", METADATA, "GET, HEAD, OPTIONS, PATCH, PUT"),
            ("get", "/api/plugins/", "GET, HEAD, OPTIONS"),
            ("OPTIONS", "/static/plugins/tea/x.js", "GET, HEAD"),
            ("DELETE", "/static/plugins/tea/x.js", "GET, HEAD"),
        ],
    )
    def test_another_method_is_refused_with_those_that_there_are(self, ask, method, path, allowed):
        """405 names the methods of the path, and comes before the question of who asks."""
        status, headers, body = ask(method, path, None)

        assert (status, headers["Allow"]) == (405, allowed)
        assert body == {"detail": f'Method "{method}" not allowed.'}

    @pytest.mark.parametrize("key", ["CUP\u017f", "cup\u017f", "C\u1d1cPS"])
    def test_a_setting_is_named_in_ascii(self, ask, key):
        """Other letters name none, even where their upper case is one of ASCII."""
        path = "/api/plugins/tea/settings"

        assert ask("GET", f"{path}/cupS/")[0] == 200
        for method in ("GET", "PUT"):
            status, _, body = ask(method, f"{path}/{key}/")
            assert status == 404
            assert body == {"detail": f"Plugin 'tea' has no setting matching '{key}'"}

    @pytest.mark.parametrize("rest", ["", "settings/", "settings/KEY/", "metadata/", "admin/"])
    def test_a_name_is_looked_up_uncut(self, rest, make):
        """A string that only begins like the longest name is another, though it is shortened."""
        longest = "x" * 255

        class Long(SettingsMixin, Plugin):
            SLUG = longest
            SETTINGS = {"KEY": {}}

        registry = make(Long)

        def ask(path):
            request = Request(method="GET", path=f"/api/plugins/{path}")
            response = Responder(registry).respond(request, SUPERUSER)
            return response.status, json.loads(response.body)

        assert ask(f"{longest}/{rest}")[0] == 200
        status, body = ask(f"{longest}xyz/{rest}")
        assert status == 404
        assert f"'{longest}'" in body["detail"]

    @pytest.mark.parametrize("name", ["install", "reload"])
    def test_a_fixed_name_wins_over_a_plugin(self, ask, name):
        """A name at the place of a plugin is no plugin."""
        status, headers, _ = ask("GET", f"/api/plugins/{name}/")

        assert (status, headers["Allow"]) == (405, "OPTIONS, POST")

    def test_head_is_get_without_the_body(self, registry):
        """Status and headers are the same, the length included."""
        responder = Responder(registry)
        got = responder.respond(Request(method="GET", path="/api/plugins/tea/"), READER)
        head = responder.respond(Request(method="HEAD", path="/api/plugins/tea/"), READER)

        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
        assert got.headers["Content-Length"] == str(len(got.body))

    @pytest.mark.parametrize(
        ("given", "expected"), [("", ""), ("/", ""), ("a", "/a"), ("/a/b/", "/a/b")]
    )
    def test_a_prefix_may_be_written_with_slashes_or_without(self, given, expected):
        """One slash stands before it and none behind."""
        assert as_prefix(given) == expected


class TestOrderOfRefusals:
    BAD = {"headers": {"content-type": JSON}, "body": b"{"}

    def test_the_actor_comes_first(self, ask):
        """Who may not ask learns nothing of plugins, queries and bodies."""
        path = "/api/plugins/unknown/metadata/"

        assert ask("PUT", path, None, query=b"%", **self.BAD)[0] == 401
        assert ask("PUT", path, READER, query=b"%", **self.BAD)[0] == 403

    def test_then_the_query_then_the_plugin_then_the_body(self, ask):
        """A body that cannot be read is refused only where its plugin is there."""
        unknown = "/api/plugins/unknown/metadata/"

        assert ask("PUT", unknown, query=b"%", **self.BAD)[0] == 400
        assert ask("PUT", unknown, **self.BAD)[0] == 404
        assert ask("PUT", unknown, body=b"x", headers={"content-type": "text/plain"})[0] == 404
        assert ask("PUT", METADATA, **self.BAD)[0] == 400

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/api/plugins/tea/", 200), ("DELETE", "/api/plugins/unknown/", 404)],
    )
    def test_a_body_that_nobody_asked_for_is_ignored(self, ask, method, path, status):
        """Operations without a body do not look at it, whatever it is."""
        assert ask(method, path, **self.BAD)[0] == status
        assert ask(method, path, body=unreadable)[0] == status


class TestJSON:
    @pytest.mark.parametrize(
        "content_type",
        [
            JSON,
            "APPLICATION/JSON",
            f"{JSON}; charset=utf-8",
            "application/merge-patch+json",
            f" {JSON} ;",
        ],
    )
    def test_media_types_that_are_json(self, content_type):
        """Parameters, blanks and case do not count, and a structured suffix does."""
        assert read_body(content_type, b'{"a": 1}') == {"a": 1}

    @pytest.mark.parametrize(
        "content_type", ["", "text/plain", "application/jsonx", "application/+json", "json"]
    )
    def test_other_media_types_are_refused_by_name(self, content_type):
        """415 repeats the media type."""
        with pytest.raises(UnsupportedMediaTypeError, match=f'"{content_type.replace("+", ".")}"'):
            read_body(content_type, b"{}")

    @pytest.mark.parametrize("content_type", ["", JSON, FORM, "multipart/form-data", "text/plain"])
    def test_an_empty_body_is_an_empty_object(self, content_type):
        """So a request without a body needs no media type."""
        assert read_body(content_type, b"") == {}

    def test_a_byte_order_mark_is_passed_over(self):
        """Some clients write one before the UTF-8."""
        assert read_body(JSON, b'\xef\xbb\xbf{"\xc3\xa9": 1}') == {"é": 1}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"{'a': 1}",
            b"\xff",
            b'{"a": NaN}',
            b"[Infinity]",
            b"-Infinity",
            b"1e999",
            b"1" * 5000,
            b"[" * 100_000,
            b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2),
            b'{"a":' * (DEEPEST + 2) + b"1" + b"}" * (DEEPEST + 2),
            b'{"a": "\x00"}',
            b"{} {}",
        ],
        ids=repr,
    )
    def test_what_is_no_json_is_refused(self, body):
        """All of it is a parse error, and none of it ends the reader."""
        with pytest.raises(InvalidError) as caught:
            read_body(JSON, body)

        assert list(caught.value.body) == ["detail"]
        assert caught.value.body["detail"].startswith("JSON parse error - ")

    def test_null_is_no_body_that_says_anything(self, ask, registry):
        """It is not taken for an empty object, which would switch a plugin on."""
        registry.deactivate("tea")
        status, _, body = ask(
            "PATCH", "/api/plugins/tea/activate/", headers={"content-type": JSON}, body=b"null"
        )

        assert status == 400
        assert body == {"non_field_errors": ["Invalid data. Expected a dictionary, but got null."]}
        assert not registry.get("tea").wanted

    def test_the_deepest_that_is_read(self):
        """The limit itself is allowed."""
        value = read_json("[" * DEEPEST + "1" + "]" * DEEPEST)
        for _ in range(DEEPEST):
            (value,) = value

        assert value == 1

    def test_the_last_of_equal_names_counts(self):
        """As with forms."""
        assert read_body(JSON, b'{"a": 1, "a": 2}') == {"a": 2}

    def test_a_body_that_is_too_long_is_refused(self, ask):
        """413 names the limit; a body that a framework did not read is the same."""
        for body in (b" " * (LONGEST + 1), unreadable):
            status, _, answer = ask("PUT", METADATA, headers={"content-type": JSON}, body=body)

            assert status == 413
            assert answer == {"detail": "The body is too large."}

    @given(st.binary(max_size=60), st.sampled_from([JSON, FORM, "multipart/form-data; boundary=b"]))
    def test_any_bytes_are_read_or_refused(self, body, content_type):
        """Nothing but a refusal comes out of any body."""
        try:
            read_body(content_type, body)
        except APIError as refusal:
            assert refusal.status == 400


class TestForms:
    def test_the_last_value_of_a_name_counts_and_blanks_are_kept(self):
        """A form is a mapping of names to texts."""
        assert read_body(FORM, b"a=1&a=2&b=&c=%C3%A9+x") == {"a": "2", "b": "", "c": "é x"}

    @pytest.mark.parametrize("body", [b"a=%FF", b"a=%zz", b"a=%", b"\xff=1"])
    def test_broken_escapes_and_bytes_are_refused(self, body):
        """They are not read as something else."""
        with pytest.raises(InvalidError, match="Form parse error"):
            read_body(FORM, body)

    def test_a_box_that_was_not_ticked_is_false(self, ask):
        """In a form alone, read here or by the framework before."""
        install = "/api/plugins/install/"
        form = ask("POST", install, headers={"content-type": FORM}, body=b"packagename=x")
        read = ask(
            "POST", install, headers={"content-type": FORM}, body=lambda: {"packagename": "x"}
        )
        sent = ask("POST", install, headers={"content-type": JSON}, body=b'{"packagename": "x"}')

        assert form[2] == read[2] == {"confirm": ["Installation not confirmed"]}
        assert sent[2] == {"confirm": ["This field is required."]}

    @given(
        st.lists(
            st.sampled_from(
                ["a", "=", "&", "+", "é", "\n", "\\", "\\x41", "%5C", "%25", "%C3%A9", "%ff", "%00"]
            )
        )
    )
    def test_forms_are_read_as_the_standard_library_reads_them(self, pieces):
        """Names, values and refusals are the same, and reading is only faster."""
        text = "".join(pieces)
        try:
            expected = parse_qsl(text, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            with pytest.raises(InvalidError, match="it must be UTF-8"):
                read_pairs(text.encode())
        else:
            assert read_pairs(text.encode()) == expected

    def test_a_form_of_escapes_alone_costs_no_step_for_each(self):
        """The longest body is read with as many calls as a short one."""

        def calls(body):
            profile = cProfile.Profile()
            profile.runcall(read_pairs, body)
            return sum(entry.callcount for entry in profile.getstats())

        assert calls(b"a=" + b"%25" * 800_000) == calls(b"a=%25")

    def test_too_many_fields_are_refused(self):
        """The limit itself is allowed."""
        assert len(read_pairs(b"&".join([b"a=1"] * MOST_FIELDS))) == MOST_FIELDS
        with pytest.raises(InvalidError, match=f"{MOST_FIELDS} fields"):
            read_pairs(b"&".join([b"a=1"] * (MOST_FIELDS + 1)))


def multipart(*parts, boundary="b", end="--b--\r\n"):
    return "".join(f"--{boundary}\r\n{item}\r\n" for item in parts).encode() + end.encode()


def part(name, text):
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'


class TestMultipart:
    TYPE = "multipart/form-data; boundary=b"

    @pytest.mark.parametrize(
        "text", ["", "x", "é\nx\r\ny", " a ", "-----BEGIN KEY-----\n--bx\n --b", "\r\n"]
    )
    def test_texts_come_through_unchanged(self, text):
        """Blanks, newlines and strings that only look like a boundary belong to the value."""
        body = multipart(part("a", text), part("b", "2"))

        assert read_body(self.TYPE, body) == {"a": text, "b": "2"}

    def test_the_last_of_equal_names_counts(self):
        """As with other forms."""
        assert read_body(self.TYPE, multipart(part("a", "1"), part("a", "2"))) == {"a": "2"}

    @pytest.mark.parametrize(
        "boundary", ["a b", "-----------------------------123", "a'()+_,./:=?z"]
    )
    def test_boundaries_as_clients_write_them(self, boundary):
        """Whatever a boundary may hold, in quotes."""
        body = multipart(part("a", "1"), boundary=boundary, end=f"--{boundary}--\r\n")

        assert read_body(f'multipart/form-data; boundary="{boundary}"', body) == {"a": "1"}

    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
    def test_any_texts_come_through_unchanged(self, texts):
        """Whatever is in them; the boundary is too long to come up."""
        fields = {str(number): text for number, text in enumerate(texts)}
        boundary = "-----------------------------123"
        parts = [part(*field) for field in fields.items()]
        body = multipart(*parts, boundary=boundary, end=f"--{boundary}--")

        assert read_body(f"multipart/form-data; boundary={boundary}", body) == fields

    def test_what_only_looks_like_a_boundary_is_no_field(self):
        """It stands in a value as often as it likes."""
        text = "\r\n--bx" * (MOST_FIELDS + 2)

        assert read_body(self.TYPE, multipart(part("a", text))) == {"a": text}

    @pytest.mark.parametrize(
        "body",
        [
            b'--b\nContent-Disposition: form-data; name="a"\n\n1\n--b--',
            multipart(
                "content-type: text/plain\r\nCONTENT-DISPOSITION: form-data; NAME=a\r\n\r\n1"
            ),
            multipart('Content-Disposition: form-data;\r\n\tname = "a" \r\n\r\n1'),
            b"before\r\n" + multipart(part("a", "1")) + b"behind",
            multipart(part("a", "1")).replace(b"--b\r", b"--b \t\r"),
        ],
        ids=repr,
    )
    def test_headers_and_lines_as_clients_write_them(self, body):
        """Newlines without a return, folded lines, any case, and text around the form."""
        assert read_body(self.TYPE, body) == {"a": "1"}

    def test_a_name_in_quotes_may_have_any_character(self):
        """A backslash stands before a quote or another one."""
        body = multipart(part('a;b=\\"c\\"\\\\', "1"))

        assert read_body(self.TYPE, body) == {'a;b="c"\\': "1"}

    def test_a_part_without_content_is_an_empty_text(self):
        """Then headers and boundary have one empty line between them (RFC 2046, 5.1.1)."""
        body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n--b--'

        assert read_body(self.TYPE, body) == {"a": ""}

    @pytest.mark.parametrize("filler", ["; a=b", "; name*0=a", ";", '"', "\\", " ", "\r\nX: y"])
    def test_headers_are_read_to_a_limit(self, filler):
        """The limit itself is allowed; a longer body is refused before anything looks into it."""
        head = 'Content-Disposition: form-data; name="a"' + filler * 500 + "\r\nY: "
        # The newline between boundary and headers counts.
        longest = head.ljust(LONGEST_HEADER - len("\r\n"), "y")

        assert read_body(self.TYPE, multipart(f"{longest}\r\n\r\n1")) == {"a": "1"}
        for longer in (f"{longest}x", head + filler * 100_000):
            with pytest.raises(InvalidError, match=f"headers of {LONGEST_HEADER} bytes at most"):
                read_body(self.TYPE, multipart(f"{longer}\r\n\r\n1"))

    def test_the_content_type_is_read_to_a_limit(self):
        """The limit itself is allowed."""
        longest = self.TYPE.ljust(LONGEST_TYPE, ";")

        assert read_body(longest, multipart(part("a", "1"))) == {"a": "1"}
        with pytest.raises(InvalidError, match=f"{LONGEST_TYPE} characters at most"):
            read_body(f"{longest};", multipart(part("a", "1")))

    def test_a_form_without_fields_is_empty(self):
        """Nothing but its end."""
        assert read_body(self.TYPE, b"--b--\r\n") == {}

    @pytest.mark.parametrize("said", ['filename="x.txt"', "filename=", "filename*=utf-8''x"])
    def test_a_file_is_refused_by_the_name_of_its_field(self, said):
        """Even one without content."""
        head = f'Content-Disposition: form-data; name="url"; {said}\r\n\r\n'
        with pytest.raises(InvalidError) as caught:
            read_body(self.TYPE, multipart(head))

        assert caught.value.body == {"url": ["Must be text, not a file."]}

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("multipart/form-data", multipart(part("a", "1"))),
            ("multipart/form-data; boundary=", multipart(part("a", "1"))),
            ("multipart/form-data; boundary=é", multipart(part("a", "1"))),
            (TYPE, multipart(part("a", "1"), end="")),
            (TYPE, b"x"),
            (TYPE, multipart("\r\nx")),
            (TYPE, multipart("x")),
            (TYPE, multipart("")),
            (TYPE, multipart('Content-Disposition: form-data; name="a"')),
            (TYPE, multipart("Content-Disposition: form-data; name*=utf-8''a\r\n\r\nx")),
            (TYPE, multipart("Content-Disposition: form-data\r\n\r\nx")),
            (TYPE, multipart(*[part("a", "1")] * (MOST_FIELDS + 1))),
        ],
    )
    def test_what_is_no_form_is_refused(self, content_type, body):
        """All of it is a parse error."""
        with pytest.raises(InvalidError, match="Multipart form parse error"):
            read_body(content_type, body)

    @pytest.mark.parametrize(
        "body",
        [
            multipart(part("a", "\udcff").encode("utf-8", "surrogateescape").decode("latin-1"))
            .decode()
            .encode("latin-1"),
            multipart(
                'Content-Disposition: form-data; name="a"\r\n'
                "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--"
            ),
            multipart(
                'Content-Disposition: form-data; name="a"\r\n'
                "Content-Transfer-Encoding: base64\r\n\r\neA=="
            ),
        ],
    )
    def test_what_is_no_text_is_refused_by_the_name_of_its_field(self, body):
        """Neither other encodings nor forms within forms are guessed at."""
        with pytest.raises(InvalidError) as caught:
            read_body(self.TYPE, body)

        assert caught.value.body == {"a": ["Must be text in UTF-8."]}


class TestQuery:
    def test_an_unknown_parameter_is_ignored_and_the_last_value_counts(self, ask):
        """Only parameters that an operation declares have an effect."""
        status, _, body = ask("GET", "/api/plugins/", query=b"x=1&search=nothing&search=tea")

        assert status == 200
        assert [row["key"] for row in body["results"]] == ["tea"]

    def test_the_path_wins_over_the_query(self, ask):
        """A parameter that is named like a part of the path does not replace it."""
        assert ask("GET", "/api/plugins/tea/", query=b"plugin=coffee")[2]["key"] == "tea"

    def test_ui_features_are_given_all_parameters(self, ask):
        """Undeclared parameters are the context of the features, except the part of the path."""
        path = "/api/plugins/ui/features/panel/"
        _, _, body = ask("GET", path, query=b"target=part&id=7&feature=x")

        assert [(row["feature_type"], row["context"]) for row in body] == [
            ("panel", {"target": "part", "id": "7"})
        ]

    @pytest.mark.parametrize("query", [b"a=%FF", b"a=%", b"\xff", b"&".join([b"a"] * 2000)])
    def test_what_cannot_be_read_is_refused(self, ask, query):
        """400, and in words."""
        status, _, body = ask("GET", "/api/plugins/", query=query)

        assert status == 400
        assert body["detail"].startswith("Query parse error - ")


class TestAnswers:
    URL = "http://shop.example/api/plugins/"

    def test_json_is_not_kept_and_not_guessed_at(self, ask):
        """Answers and refusals alike."""
        for path in ("/api/plugins/", "/api/plugins/unknown/"):
            _, headers, _ = ask("GET", path)

            assert headers["Content-Type"] == "application/json"
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Content-Type-Options"] == "nosniff"

    def test_a_refusal_names_the_scheme(self, ask):
        """401 names the scheme (RFC 9110, section 11.6.1)."""
        status, headers, body = ask("GET", "/api/plugins/", None)

        assert (status, headers["WWW-Authenticate"]) == (401, "Token")
        assert body == {"detail": "Authentication credentials were not provided."}

    def test_no_content_has_neither_body_nor_type(self, ask, registry):
        """204 after a plugin is forgotten."""
        registry.deactivate("coffee")
        status, headers, body = ask("DELETE", "/api/plugins/coffee/")

        assert (status, body) == (204, b"")
        assert not {"Content-Type", "Content-Length"} & set(headers)

    def test_a_plugin_that_was_switched_on_meanwhile_stays(self):
        """Its refusal has one form, whenever it was found out."""

        class Busy(PluginRegistry):
            def delete(self, slug):
                self.activate(slug)
                super().delete(slug)

        with Busy("shop", builtin=[Tea]) as registry:
            registry.load()
            request = Request(method="DELETE", path="/api/plugins/tea/")
            response = Responder(registry).respond(request, SUPERUSER)

            assert response.status == 400
            assert json.loads(response.body) == {
                "detail": "Plugin cannot be deleted as it is currently active"
            }
            assert registry.get("tea").active

    def page(self, ask, query):
        return ask("GET", "/api/plugins/", url=self.URL, query=query)[2]

    def test_pages_are_linked_with_all_else_kept(self, ask):
        """The links follow one another there and back."""
        first = self.page(ask, b"active=true&x=a+b&x=%26&limit=1")
        kept = f"{self.URL}?active=true&x=a+b&x=%26&limit=1"

        assert (first["previous"], first["next"]) == (None, f"{kept}&offset=1")
        second = self.page(ask, first["next"].partition("?")[2].encode())
        assert (second["previous"], second["next"]) == (kept, f"{kept}&offset=2")
        third = self.page(ask, second["next"].partition("?")[2].encode())
        assert (third["previous"], third["next"]) == (f"{kept}&offset=1", None)
        keys = [item["results"][0]["key"] for item in (first, second, third)]
        assert keys == ["coffee", "tea", "water"]

    def test_without_a_limit_there_is_one_page(self, ask):
        """All rows, and no links."""
        body = self.page(ask, b"offset=1")

        assert (body["count"], body["next"], body["previous"]) == (3, None, None)

    def test_a_bare_list_where_the_host_wants_it(self, registry):
        """With the option a list without a limit is an array, and a page stays an object."""
        responder = Responder(PluginAPI(registry, bare_list_without_limit=True))

        def asked(path, query=b""):
            request = Request(method="GET", path=path, query=query)
            return json.loads(responder.respond(request, SUPERUSER).body)

        assert [item["key"] for item in asked("/api/plugins/")] == ["coffee", "tea", "water"]
        assert [item["key"] for item in asked("/api/plugins/settings/", b"limit=")] == ["CUPS"]
        assert asked("/api/plugins/", b"limit=1")["count"] == 3

    def test_an_unforeseen_fault_is_answered_without_its_message(self, registry, caplog):
        """Neither the answer nor the log has the exception's message; the log says where it was."""

        def fail(call):
            raise OSError("the password is swordfish")

        class FailingAPI(PluginAPI):
            plugins_fail = Operation(
                method="GET", path="/api/fail/", access=READ, summary="", handler=fail, answer=None
            )
            operations = (plugins_fail,)

        request = Request(method="GET", path="/api/fail/")
        with caplog.at_level(logging.DEBUG):
            response = Responder(FailingAPI(registry)).respond(request, SUPERUSER)

        assert response.status == 500
        assert json.loads(response.body) == {
            "error": "OSError",
            "error_class": "OSError",
            "detail": "The request failed; the log of the server says where.",
            "path": "/api/fail/",
            "status_code": 500,
        }
        (record,) = caplog.records
        assert "swordfish" not in caplog.text
        assert "OSError" in record.getMessage()
        assert f"{__file__}:{fail.__code__.co_firstlineno + 1} fail" in record.getMessage()


class TestAssets:
    @pytest.fixture
    def registry(self, site, monkeypatch):
        modules = {
            "http_panel/__init__.py": "from plugreg import Plugin\nclass Panel(Plugin): ...\n",
            "http_panel/static/panel.js": "export {}",
            "http_panel/static/img/logo.svg": "<svg/>",
            "http_panel/static/page.html": "<p>",
        }
        entry = {"shop.plugins": {"panel": "http_panel:Panel"}}
        site.dist("http-panel", entry_points=entry, modules=modules)
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop", new_plugins="active") as registry:
            registry.load()
            yield registry
        del sys.modules["http_panel"]

    @pytest.fixture
    def get(self, registry):
        responder = Responder(registry)

        def get(path, actor=READER, method="GET", **fields):
            path = f"/static/plugins/{path}"
            return responder.respond(Request(method=method, path=path, **fields), actor)

        return get

    def test_a_file_is_answered_whole_with_its_tag(self, get, registry):
        """Kept by the client alone, revalidated each time, and taken by its type."""
        response = get("panel/panel.js")

        assert (response.status, response.body) == (200, b"export {}")
        assert response.headers == {
            "Content-Type": "text/javascript; charset=utf-8",
            "Content-Length": "9",
            "ETag": registry.assets("panel", "panel.js").etag,
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        }

    @pytest.mark.parametrize("path", ["panel/page.html", "panel/img/logo.svg"])
    def test_a_document_runs_nothing_in_the_hosts_name(self, get, path):
        """Opened itself it would have the origin of the host."""
        assert get(path).headers["Content-Security-Policy"] == "sandbox"

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '"x",W/{} , "y"', "*"])
    def test_what_the_client_has_is_not_sent_again(self, get, form):
        """304 has the tag and neither body nor type (RFC 9110, section 13.1.2)."""
        tag = get("panel/panel.js").headers["ETag"]
        response = get("panel/panel.js", headers={"if-none-match": form.format(tag)})

        assert (response.status, response.body, response.headers["ETag"]) == (304, b"", tag)
        assert not {"Content-Type", "Content-Length"} & set(response.headers)

    @pytest.mark.parametrize("form", ["", '"x"', "x", '"*"'])
    def test_other_tags_change_nothing(self, get, form):
        """The file is sent."""
        assert get("panel/panel.js", headers={"if-none-match": form}).status == 200

    @pytest.mark.parametrize(
        "path",
        [
            "panel/none.js",
            "panel/../__init__.py",
            "panel/img",
            "panel/\0",
            "none/panel.js",
            "panel//panel.js",
        ],
    )
    def test_all_else_is_not_found(self, get, path):
        """Unknown plugins, files and folders, and paths that lead out of the folder."""
        response = get(path)

        assert response.status == 404
        assert json.loads(response.body) == {"detail": "Not found."}

    def test_a_plugin_that_is_off_shows_no_files(self, get, registry):
        """As none that is unknown."""
        registry.deactivate("panel")

        assert get("panel/panel.js").status == 404

    def test_a_registry_that_is_not_loaded_has_none_yet(self):
        """503, as for operations: asking again may help."""
        registry = PluginRegistry("shop")
        for path in ("/static/plugins/panel/panel.js", "/api/plugins/"):
            response = Responder(registry).respond(Request(method="GET", path=path), READER)

            assert response.status == 503
            assert json.loads(response.body) == {"detail": "Plugin registry is not loaded"}

    def test_files_need_an_actor(self, get):
        """Nobody gets none, and does not learn which there are; a token needs the scope to read."""
        assert get("panel/panel.js", None).status == 401
        assert get("panel/none.js", None).status == 401
        assert get("panel/panel.js", Actor(2, scopes=frozenset())).status == 403

    def test_head_has_the_length_alone(self, get):
        """As with operations."""
        response = get("panel/panel.js", method="HEAD")

        assert (response.status, response.headers["Content-Length"], response.body) == (
            200,
            "9",
            b"",
        )
