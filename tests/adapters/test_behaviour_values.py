"""Writing settings through every adapter: conversion, validation, hooks and secrets."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from plugreg import Plugin, PluginRegistry, SettingError
from plugreg.api import Actor
from plugreg.mixins import SettingsMixin

USER = Actor(7)
STAFF = Actor(8, is_staff=True)
SUPERUSER = Actor(9, is_superuser=True)
PATH = "/api/plugins/discount/settings/"
SECRET = "canary-5f2e"


def even(value):
    if value % 2:
        raise ValueError("Only even numbers")


def strange(value):
    raise KeyError(value)


def no_choices():
    raise TypeError("of the function itself")


def refuse_no(change):
    if change.value == "no":
        raise ValueError("Not today")


def fail_after(change):
    raise OSError("nobody listens")


class Discount(SettingsMixin, Plugin):
    SETTINGS = {
        "PERCENT": {"default": 10, "validator": int},
        "RATE": {"default": 1.5, "validator": float},
        "ENABLED": {"default": True, "validator": bool},
        "TITLE": {},
        "NEEDED": {"required": True, "default": "x"},
        "SIZE": {"choices": [("s", "Small"), ("l", "Large")]},
        "COUNT": {"choices": [(1, "One"), (2, "Two")]},
        "BROKEN": {"choices": no_choices},
        "EVEN": {"validator": [int, even]},
        "STRANGE": {"validator": strange},
        "PART": {"model": "part.part"},
        "TOKEN": {"protected": True},
        "PIN": {"protected": True, "validator": [int, even]},
        "BEFORE": {"before_save": refuse_no},
        "AFTER": {"after_save": fail_after},
        "FIXED": {"default": "a"},
        "TAGS": {"type": list[int], "default": [1]},
        "PLACE": {"type": Literal["in", "out"], "default": "in"},
        "CALLED": {"default": lambda: "3", "validator": int},
    }


@pytest.fixture
def registry():
    with PluginRegistry(
        "shop",
        builtin=[Discount],
        new_plugins="active",
        overrides={"discount": {"FIXED": "of the host"}},
    ) as registry:
        registry.load()
        yield registry


@pytest.fixture
def values(registry):
    """Return the native values of the plugin."""
    return registry.settings("discount")


def write(client, key, value, method="PATCH"):
    return client(method, f"{PATH}{key}/", STAFF, json={"value": value})


def read(client, key):
    return client("GET", f"{PATH}{key}/", USER).body["value"]


class TestAccepted:
    @pytest.mark.parametrize(
        ("key", "value", "kept"),
        [
            ("PERCENT", 42, ("42", 42)),
            ("PERCENT", "-7", ("-7", -7)),
            ("RATE", 0.25, ("0.25", 0.25)),
            ("RATE", "2", ("2.0", 2.0)),
            ("ENABLED", False, ("False", False)),
            ("ENABLED", "oFF", ("False", False)),
            ("ENABLED", "ok", ("True", True)),
            ("ENABLED", 0, ("False", False)),
            ("TITLE", True, ("True", "True")),
            ("TITLE", 5, ("5", "5")),
            ("TITLE", "<b>Ünï\n", ("<b>Ünï\n", "<b>Ünï\n")),
            ("TITLE", '{"$env": "HOME"}', ('{"$env": "HOME"}', '{"$env": "HOME"}')),
            ("TITLE", "***", ("***", "***")),
            ("TITLE", "x" * 2000, ("x" * 2000, "x" * 2000)),
            ("SIZE", "l", ("l", "l")),
            ("EVEN", "4", ("4", 4)),
            ("PART", 17, ("17", "17")),
        ],
    )
    def test_a_value_is_shown_as_text(self, client, values, key, value, kept):
        """The answer has the value as it is then; Python has it in its type."""
        text, native = kept
        for method in ("PATCH", "PUT"):
            values.set(key, None)
            answer = write(client, key, value, method)
            assert (answer.status, answer.body["value"]) == (200, text)
            assert read(client, key) == text
            assert (values[key], type(values[key])) == (native, type(native))

    def test_choices_are_compared_as_text(self, client):
        """Numbers among the choices are met by their text, and by the number."""
        assert write(client, "COUNT", "2").body["value"] == "2"
        assert write(client, "COUNT", 1).body["value"] == "1"
        assert write(client, "COUNT", "3").status == 400

    @pytest.mark.parametrize("blank", ["", None])
    @pytest.mark.parametrize(
        ("key", "value", "default"),
        [
            ("PERCENT", "5", "10"),
            ("RATE", "5", "1.5"),
            ("ENABLED", "no", "True"),
            ("SIZE", "l", ""),
        ],
    )
    def test_blank_means_the_default(self, client, key, value, default, blank):
        """Numbers and choices too can be emptied again."""
        write(client, key, value)
        answer = write(client, key, blank)

        assert (answer.status, answer.body["value"]) == (200, default)

    def test_only_the_value_counts(self, client):
        """A value that was read can be sent back as it is, with another value."""
        whole = client("GET", f"{PATH}PERCENT/", USER).body
        sent = {**whole, "value": "12", "key": "RATE", "type": "string", "required": True, "pk": 1}
        answer = client("PUT", f"{PATH}PERCENT/", STAFF, json=sent)

        assert (answer.status, answer.body) == (200, {**whole, "value": "12"})
        assert read(client, "RATE") == "1.5"

    def test_put_needs_a_value_and_patch_does_not(self, client):
        """PUT without one is 400; PATCH without one answers the setting as it is."""
        write(client, "PERCENT", "12")
        answer = client("PUT", f"{PATH}PERCENT/", STAFF, json={})
        assert (answer.status, answer.body) == (400, {"value": ["This field is required."]})

        for sent in ({"json": {}}, {"form": {"x": "1"}}, {}):
            answer = client("PATCH", f"{PATH}PERCENT/", STAFF, **sent)
            assert (answer.status, answer.body["value"]) == (200, "12")

    def test_values_of_other_types(self, client, values):
        """A value that is no string or number is sent as JSON; a Literal has choices."""
        answer = write(client, "TAGS", "[2, 3]")
        assert (answer.status, json.loads(answer.body["value"])) == (200, [2, 3])
        assert answer.body["type"] == "string"
        assert values["TAGS"] == [2, 3]
        answer = write(client, "PLACE", "out")
        assert (answer.status, answer.body["value"]) == (200, "out")
        assert [choice["value"] for choice in answer.body["choices"]] == ["in", "out"]

        for key, wrong in (("TAGS", '["x"]'), ("TAGS", "2"), ("TAGS", [2]), ("PLACE", "up")):
            answer = write(client, key, wrong)
            assert (answer.status, set(answer.body)) == (400, {"value"})
        assert (values["TAGS"], values["PLACE"]) == ([2, 3], "out")


class TestRefused:
    @pytest.mark.parametrize(
        ("key", "value", "sentence"),
        [
            ("PERCENT", "many", "Provided value is not a valid integer"),
            ("PERCENT", "1.5", "Provided value is not a valid integer"),
            ("RATE", "many", "Provided value is not a valid float"),
            ("RATE", "nan", "Provided value is not a valid float"),
            ("RATE", "1e999", "Provided value is not a valid float"),
            ("SIZE", "m", "Chosen value is not a valid option"),
            ("NEEDED", "", "This setting is required"),
            ("NEEDED", None, "This setting is required"),
            ("NEEDED", "  ", "This setting is required"),
            ("EVEN", 3, "Only even numbers"),
            ("STRANGE", "x", "Value does not pass validation checks"),
            (
                "TITLE",
                "x" * 2001,
                "Ensure this value has at most 2000 characters (it has 2001).",
            ),
            ("BEFORE", "no", "Not today"),
        ],
    )
    def test_the_sentence_is_under_value(self, client, values, key, value, sentence):
        """Each is 400 with one reason, and the value is unchanged."""
        before = values[key]
        for method in ("PATCH", "PUT"):
            answer = write(client, key, value, method)
            assert (answer.status, answer.body) == (400, {"value": [sentence]})
        assert values[key] == before

    def test_a_wrong_boolean_is_refused(self, client, values):
        """A value that is neither true nor false never becomes False."""
        for wrong in ("maybe", "2", "falsch", "tru", 1.5):
            answer = write(client, "ENABLED", wrong)
            assert (answer.status, answer.body) == (
                400,
                {"value": ["Value must be a boolean value"]},
            )
        assert values["ENABLED"] is True

    @pytest.mark.parametrize("value", [[], ["a"], {}, {"$env": "HOME"}, {"$file": "/etc/passwd"}])
    def test_a_value_is_text_or_a_number(self, client, values, value):
        """Lists and objects are refused; nobody can make a setting refer to a file of the host."""
        answer = write(client, "TITLE", value)

        assert (answer.status, set(answer.body)) == (400, {"value"})
        assert values["TITLE"] == ""

    def test_python_is_refused_the_same(self, client, values):
        """The length is checked wherever a value comes from."""
        with pytest.raises(SettingError, match="at most 2000 characters"):
            values.set("TITLE", "x" * 2001)
        assert read(client, "TITLE") == ""

    def test_choices_that_fail_are_refused(self, client):
        """A TypeError of the function is its own, and no choice can be made."""
        answer = write(client, "BROKEN", "a")

        assert (answer.status, set(answer.body)) == (400, {"value"})
        assert "of the function itself" in answer.body["value"][0]

    def test_what_the_host_fixes_cannot_be_written(self, client, values):
        """The setting shows the host's value, and a write is refused."""
        assert read(client, "FIXED") == "of the host"
        answer = write(client, "FIXED", "b")

        assert (answer.status, set(answer.body)) == (400, {"value"})
        assert values["FIXED"] == "of the host"


class TestPython:
    def test_a_plugin_sees_every_failure(self, registry):
        """A value that its ``set_setting`` cannot store raises, whatever the cause."""
        plugin = registry.get("discount").plugin
        for key, value in (("PERCENT", "many"), ("BEFORE", "no"), ("FIXED", "x")):
            with pytest.raises(SettingError):
                plugin.set_setting(key, value)
        with pytest.raises(KeyError):
            plugin.set_setting("NONE", "x")

    def test_all_values_at_once(self, values):
        """All are native, and a default that is a function is called."""
        values.set("PERCENT", "7")
        found = dict(values)

        assert list(found) == list(Discount.SETTINGS)
        assert (found["PERCENT"], found["RATE"], found["ENABLED"]) == (7, 1.5, True)
        assert found["CALLED"] == 3


class TestHooks:
    def test_before_save_may_refuse(self, client):
        """It is 400 with its words; a value that it lets through is stored."""
        assert write(client, "BEFORE", "yes").body["value"] == "yes"
        answer = write(client, "BEFORE", "no")

        assert (answer.status, answer.body) == (400, {"value": ["Not today"]})
        assert read(client, "BEFORE") == "yes"

    def test_what_fails_afterwards_is_recorded(self, client):
        """The write stands, and the status has the fault."""
        answer = write(client, "AFTER", "x")

        assert (answer.status, answer.body["value"]) == (200, "x")
        assert read(client, "AFTER") == "x"
        (error,) = client("GET", "/api/plugins/status/", SUPERUSER).body["registry_errors"]
        assert (error["stage"], error["name"]) == ("call", "discount")
        assert "OSError: nobody listens" in error["message"]


class TestSecrets:
    def test_a_client_sees_whether_a_secret_is_set(self, client):
        """It is an empty text until it is set, then the mask, then empty again."""
        assert read(client, "TOKEN") == ""
        assert write(client, "TOKEN", SECRET).body["value"] == "***"
        assert read(client, "TOKEN") == "***"
        assert write(client, "TOKEN", "").body["value"] == ""
        assert read(client, "TOKEN") == ""

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_the_mask_written_back_keeps_the_secret(self, client, values, method):
        """A form sent back as it was read changes nothing."""
        write(client, "TOKEN", SECRET)
        whole = client("GET", f"{PATH}TOKEN/", STAFF).body
        answer = client(method, f"{PATH}TOKEN/", STAFF, json=whole)

        assert (answer.status, answer.body["value"]) == (200, "***")
        assert values["TOKEN"] == SECRET

    def test_a_refusal_does_not_repeat_a_secret(self, client):
        """A wrong secret is refused, and nothing of it is shown."""
        for wrong in (f"{SECRET}", 3):
            answer = write(client, "PIN", wrong)
            assert (answer.status, set(answer.body)) == (400, {"value"})
            assert SECRET not in str(answer.body)

    def test_no_answer_shows_it(self, client):
        """Every read of this API, asked by a superuser, keeps it in."""
        write(client, "TOKEN", SECRET)
        client("PUT", "/api/plugins/discount/metadata/", STAFF, json={"metadata": {"a": 1}})
        for path in (
            "/api/plugins/",
            "/api/plugins/settings/",
            "/api/plugins/status/",
            "/api/plugins/discount/",
            "/api/plugins/discount/admin/",
            "/api/plugins/discount/metadata/",
            PATH,
            f"{PATH}TOKEN/",
        ):
            answer = client("GET", path, SUPERUSER)
            assert answer.status == 200
            assert SECRET not in str(answer.body), path
