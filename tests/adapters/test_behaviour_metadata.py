"""Metadata through every adapter."""

from __future__ import annotations

import json
import threading
import time

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.storage import MemoryStorage

STAFF = Actor(8, is_staff=True)
PATH = "/api/plugins/tea/metadata/"
NO_OBJECT = {"metadata": ["Metadata must be a python dict object"]}


class Tea(Plugin): ...


class Milk(Plugin): ...


@pytest.fixture
def registry():
    """Yield one plugin that is off, and one that is no longer there."""
    storage = MemoryStorage()
    with PluginRegistry("shop", builtin=[Milk], storage=storage) as before:
        before.load()
    with PluginRegistry("shop", builtin=[Tea], storage=storage) as registry:
        registry.load()
        yield registry


def put(client, data):
    return client("PUT", PATH, STAFF, json={"metadata": data})


def patch(client, data):
    return client("PATCH", PATH, STAFF, json={"metadata": data})


def stored(client):
    answer = client("GET", PATH, STAFF)
    assert answer.status == 200, answer
    return answer.body["metadata"]


class TestReading:
    def test_there_is_none_at_first(self, client):
        """It is an empty object, also of a plugin that is not installed."""
        for slug in ("tea", "milk"):
            answer = client("GET", f"/api/plugins/{slug}/metadata/", STAFF)
            assert (answer.status, answer.body) == (200, {"metadata": {}})

    @pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
    def test_an_unknown_plugin(self, client, method):
        """It is 404, whatever is sent."""
        body = {} if method == "GET" else {"json": {"metadata": 5}}
        answer = client(method, "/api/plugins/none/metadata/", STAFF, **body)

        assert (answer.status, set(answer.body)) == (404, {"detail"})


class TestWriting:
    def test_put_replaces_everything(self, client, registry):
        """The answer is the metadata stored then."""
        put(client, {"a": 1, "b": 2})
        answer = put(client, {"b": {"c": [1, None, "x"]}})

        assert (answer.status, answer.body) == (200, {"metadata": {"b": {"c": [1, None, "x"]}}})
        assert stored(client) == {"b": {"c": [1, None, "x"]}}
        assert registry.metadata("tea") == stored(client)

    def test_patch_merges_at_the_first_level(self, client):
        """Nested objects are replaced whole, nothing is removed, and null is a value."""
        put(client, {"a": 1, "b": {"x": 1, "y": 2}, "c": 3})
        answer = patch(client, {"b": {"z": 0}, "c": None, "d": []})

        assert answer.status == 200
        assert answer.body == {"metadata": {"a": 1, "b": {"z": 0}, "c": None, "d": []}}
        assert stored(client) == answer.body["metadata"]

    def test_an_empty_object(self, client):
        """PATCH with one changes nothing, PUT with one removes everything."""
        put(client, {"a": 1})
        assert patch(client, {}).body == {"metadata": {"a": 1}}
        assert put(client, {}).body == {"metadata": {}}

    def test_put_needs_the_key_and_patch_does_not(self, client):
        """PUT without it is 400; PATCH without it changes nothing."""
        put(client, {"a": 1})
        for sent in ({"json": {}}, {}, {"form": {"x": "1"}}, {"json": {"a": 2}}):
            answer = client("PUT", PATH, STAFF, **sent)
            assert (answer.status, answer.body) == (400, {"metadata": ["This field is required."]})
            answer = client("PATCH", PATH, STAFF, **sent)
            assert (answer.status, answer.body) == (200, {"metadata": {"a": 1}})

    @pytest.mark.parametrize("send", [put, patch])
    def test_null_is_refused(self, client, send):
        """It is 400 with its own sentence, and nothing changes."""
        put(client, {"a": 1})
        answer = send(client, None)

        assert (answer.status, answer.body) == (
            400,
            {"metadata": ["This field may not be null."]},
        )
        assert stored(client) == {"a": 1}

    @pytest.mark.parametrize("send", [put, patch])
    def test_metadata_is_an_object(self, client, send):
        """A list, text, number or boolean is 400 for PUT and PATCH alike."""
        put(client, {"a": 1})
        for wrong in ([], [["a", 1]], "text", "", 5, 0, True, 1.5):
            answer = send(client, wrong)
            assert (answer.status, answer.body) == (400, NO_OBJECT), wrong
        assert stored(client) == {"a": 1}

    @pytest.mark.parametrize("how", ["form", "multipart"])
    def test_a_form_has_it_as_json(self, client, how):
        """A form knows texts alone, so an object is sent as its JSON; anything else is 400."""
        data = {"a": [1, "é"], "b": {"c": None}}
        answer = client("PUT", PATH, STAFF, **{how: {"metadata": json.dumps(data)}})
        assert (answer.status, answer.body) == (200, {"metadata": data})

        for wrong in ("[1]", "5", '"text"'):
            answer = client("PATCH", PATH, STAFF, **{how: {"metadata": wrong}})
            assert (answer.status, answer.body) == (400, NO_OBJECT)
        answer = client("PATCH", PATH, STAFF, **{how: {"metadata": "{"}})
        assert (answer.status, set(answer.body)) == (400, {"metadata"})
        assert stored(client) == data

    def test_a_plugin_that_is_not_installed(self, client):
        """Metadata may be written of every plugin that is known."""
        answer = client("PUT", "/api/plugins/milk/metadata/", STAFF, json={"metadata": {"a": 1}})

        assert (answer.status, answer.body) == (200, {"metadata": {"a": 1}})
        assert stored(client) == {}

    def test_what_cannot_be_stored(self, client):
        """Control characters, half a character and huge numbers are 400, at any depth."""
        for wrong in ({"a": "x\x00"}, {"a\x01": 1}, {"a": 10**4000}):
            answer = put(client, wrong)
            assert (answer.status, set(answer.body)) == (400, {"metadata"}), wrong
        answer = put(client, {"a": [{"b": "\ud800"}]})
        assert answer.status == 400
        assert answer.body["detail"].startswith("JSON parse error")
        assert stored(client) == {}


class Slow(MemoryStorage):
    """Lets others go before each write."""

    def transaction(self):
        time.sleep(0.001)
        return super().transaction()


class TestTwoWriters:
    @pytest.fixture
    def registry(self):
        with PluginRegistry("shop", builtin=[Tea], storage=Slow()) as registry:
            registry.load()
            yield registry

    def test_no_writer_loses_what_another_wrote(self, registry):
        """Each merges under the store's lock, so that every key is there."""
        api = PluginAPI(registry)
        start = threading.Barrier(8)

        def write(number):
            start.wait(30)
            for at in range(10):
                api.plugins_metadata_partial_update(
                    STAFF, plugin="tea", body={"metadata": {f"{number}-{at}": at}}
                )

        threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert registry.metadata("tea") == {
            f"{number}-{at}": at for number in range(8) for at in range(10)
        }
