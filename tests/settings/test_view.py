"""Settings: typed values out of stored text, and every way in which a write can go."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator, JsonValue

from plugreg import Plugin, hookimpl
from plugreg._support.redact import MASK
from plugreg.exceptions import SettingError, StorageUnavailableError
from plugreg.mixins import SettingsMixin
from plugreg.records import Stage
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import Declared
from plugreg.settings.view import SettingsView
from plugreg.storage import MemoryStorage

SECRET = "canary-7f3a"


class Store:
    """A settings store on a storage, and the changes that it has reported."""

    def __init__(self, storage=None):
        self.storage = storage or MemoryStorage()
        self.reported = []
        self.failures = []
        self.settings = SettingsStore(
            self.storage, lambda *change: self.reported.append(change), record=self.failures.append
        )

    def view(self, definitions, slug="tea", user=None):
        parsed, faults = parse_definitions(definitions, "SETTINGS")
        assert faults == ()
        return SettingsView(self.settings, slug, parsed, user)

    def declared(self, definitions, slug="tea", user=None, version=1):
        """Declare settings and return a view of them, as of a loaded plugin."""
        parsed, faults = parse_definitions(definitions, "SETTINGS")
        assert faults == ()
        self.settings.declare(slug, Declared(parsed, parsed, version))
        return SettingsView(self.settings, slug, parsed, user, version)

    def rows(self, table="settings"):
        return {key: row["value"] for key, row in self.storage.read(table).items()}


@pytest.fixture
def store():
    return Store()


def raising(error=None):
    def method(*_, **__):
        raise error or OSError("no")

    return method


def counted(calls):
    """Return a type of whole numbers that adds to ``calls`` each text that is converted."""
    return Annotated[int, BeforeValidator(lambda given: calls.append(given) or given)]


class TestView:
    def test_values_are_native(self, store):
        """Bool, int and float come back as such, everything else as text."""
        view = store.view(
            {
                "FLAG": {"validator": bool},
                "COUNT": {"validator": int},
                "RATE": {"validator": float},
                "TEXT": {},
            }
        )
        for key, value in (("FLAG", "yes"), ("COUNT", "42"), ("RATE", "1.5"), ("TEXT", 7)):
            view.set(key, value)
        assert dict(view) == {"FLAG": True, "COUNT": 42, "RATE": 1.5, "TEXT": "7"}
        assert [type(value) for value in view.values()] == [bool, int, float, str]
        assert store.rows() == {
            "tea:COUNT": "42",
            "tea:FLAG": "True",
            "tea:RATE": "1.5",
            "tea:TEXT": "7",
        }

    def test_is_live(self, store):
        """A view reads at once the values that another view has written."""
        definitions = {"COUNT": {"validator": int, "default": 1}}
        view, other = store.view(definitions), store.view(definitions)
        assert view["COUNT"] == 1
        other.set("COUNT", 2)
        assert view["COUNT"] == 2
        store.settings.forget("tea")
        assert view["COUNT"] == 1

    def test_defaults(self, store):
        """An unset setting reads as its default in its type; without one as an empty string."""
        calls = []
        view = store.view(
            {
                "PLAIN": {"default": "5", "validator": int},
                "CALLED": {"default": lambda: len(calls), "validator": int},
                "NONE": {},
            }
        )
        assert view["PLAIN"] == 5
        assert view["NONE"] == ""
        assert view["CALLED"] == 0
        calls.append(1)
        assert view["CALLED"] == 1
        assert store.storage.revision() == 0

    def test_a_stored_text_that_no_longer_converts_reads_as_the_default(self, store):
        """A plugin may change a setting's type while a value is stored."""
        store.view({"COUNT": {}}).set("COUNT", "many")
        view = store.view({"COUNT": {"validator": int, "default": 3}})
        assert view["COUNT"] == 3
        assert view.is_set("COUNT")

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    def test_a_default_that_raises_costs_its_own_setting_alone(self, store, error):
        """It is a SettingError with the key, whether nothing or nothing usable is stored."""
        store.view({"BAD": {}, "GOOD": {}}).set("BAD", "many")
        view = store.view(
            {
                "BAD": {"validator": int, "default": raising(error)},
                "ALSO_BAD": {"default": raising(error)},
                "GOOD": {"default": "fine"},
            }
        )
        for key in ("BAD", "ALSO_BAD"):
            with pytest.raises(SettingError) as caught:
                view[key]
            assert caught.value.field == key
            assert type(error).__name__ in caught.value.reason
        assert view["GOOD"] == "fine"

    def test_keys_are_those_of_the_definitions_in_their_order(self, store):
        """Stored values of other keys, leftovers of an older version, are not seen."""
        store.view({"OLD": {}, "A": {}}).set("OLD", "x")
        view = store.view({"Z": {}, "A": {}, "M": {}})
        assert list(view) == ["Z", "A", "M"]
        assert len(view) == 3
        assert "OLD" not in view
        assert store.rows() == {"tea:OLD": "x"}

    @pytest.mark.parametrize("key", ["PER_CENT", "per_cent", "Per_Cent"])
    def test_keys_are_taken_in_any_case(self, store, key):
        """Reading, writing and asking do not look at case."""
        view = store.view({"per_cent": {"validator": int}})
        view.set(key, 7)
        assert view[key] == 7
        assert view.is_set(key)
        assert key in view
        assert store.rows() == {"tea:PER_CENT": "7"}

    def test_an_unknown_key_names_a_near_one(self, store):
        """KeyError, with the plugin and the nearest key; nothing is created."""
        view = store.view({"PER_CENT": {}})
        for access in (view.__getitem__, view.is_set, lambda key: view.set(key, 1)):
            with pytest.raises(KeyError, match=r"'tea' has no setting 'percent'.*'PER_CENT'"):
                access("percent")
        assert view.get("percent") is None
        assert 5 not in view
        assert store.storage.revision() == 0

    @pytest.mark.parametrize("key", [5, None, ("A",), b"A"])
    def test_what_is_no_text_is_an_unknown_key(self, store, key):
        """As in every mapping: KeyError, and the default of get()."""
        view = store.view({"A": {}})
        for access in (view.__getitem__, view.is_set, view.fault, lambda key: view.set(key, 1)):
            with pytest.raises(KeyError, match="has no setting"):
                access(key)
        assert view.get(key, "other") == "other"

    @pytest.mark.parametrize("kind", [None, Any, list[Any]])
    def test_a_default_is_every_readers_own(self, store, kind):
        """A change by one reader is seen neither by others nor in the plugin's definition."""
        default = [{"a": [1]}]
        definition = {"default": default} if kind is None else {"default": default, "type": kind}
        view = store.view({"A": definition})
        view["A"][0]["a"].append(2)
        view["A"].append(3)
        assert view["A"] == default == [{"a": [1]}]

    def test_a_default_that_cannot_be_copied_costs_its_own_setting_alone(self, store):
        """It is the plugin's object, and may refuse anything."""
        odd = type("Odd", (list,), {"__deepcopy__": raising()})()
        view = store.view({"A": {"default": odd}, "B": {"default": "fine"}})
        with pytest.raises(SettingError, match="its default is not available") as caught:
            view["A"]
        assert caught.value.field == "A"
        assert view["B"] == "fine"

    def test_repr_shows_no_value(self, store):
        """Plugin and keys only, set or not, protected or not."""
        view = store.view({"TOKEN": {"protected": True}, "OTHER": {}, "DEF": {"default": SECRET}})
        view.set("TOKEN", SECRET)
        view.set("OTHER", SECRET)
        assert view["TOKEN"] == SECRET
        assert repr(view) == "<settings of 'tea': TOKEN, OTHER, DEF>"
        assert SECRET not in repr(store.settings)

    def test_load_reads_what_others_wrote(self, store):
        """A view in hand shows another process's values after the next load, not before."""
        view = store.view({"A": {}})
        user = store.view({"A": {}}, user=7)
        other = Store(store.storage)
        other.view({"A": {}}).set("A", "x")
        other.view({"A": {}}, user=7).set("A", "y")
        assert (view["A"], user["A"]) == ("", "")
        store.settings.load()
        assert (view["A"], user["A"]) == ("x", "y")


class TestWhatIsConverted:
    """A text is converted when it is asked for, and once."""

    def test_is_one_setting_at_a_time(self, store):
        """Reading one converts no other, and the second read converts nothing."""
        store.view({"A": {}, "B": {}}).set("A", "1")
        store.view({"A": {}, "B": {}}).set("B", "2")
        calls = []
        view = store.view({"A": {"type": counted(calls)}, "B": {"type": counted(calls)}})
        assert (view["A"], view["a"], view["A"]) == (1, 1, 1)
        assert calls == ["1"]
        assert view["B"] == 2
        assert calls == ["1", "2"]

    def test_a_plain_default_is_kept(self, store):
        """It is converted once, as a stored value is, and reads again once that is unset."""
        calls = []
        view = store.view({"A": {"type": counted(calls), "default": 5}})
        calls.clear()
        assert (view["A"], view["A"], view["A"]) == (5, 5, 5)
        assert calls == [5]
        view.set("A", 6)
        assert view["A"] == 6
        view.set("A", None)
        assert view["A"] == 5

    def test_no_write_of_another_user_costs_anything(self, store):
        """Neither the plugin's own values nor those of other users are converted again."""
        calls = []
        definitions = {"A": {"type": counted(calls)}}
        own, one, two = (store.view(definitions, user=user) for user in (None, 1, 2))
        own.set("A", 5)
        one.set("A", 6)
        assert (own["A"], one["A"], two["A"]) == (5, 6, None)
        two.set("A", 7)
        calls.clear()
        assert (own["A"], one["A"]) == (5, 6)
        assert calls == []
        assert two["A"] == 7
        own.set("A", 8)
        assert (own["A"], one["A"], two["A"]) == (8, 6, 7)

    def test_a_default_that_stands_in_is_called_each_time(self, store):
        """Also for a text that no longer converts."""
        store.view({"A": {}}).set("A", "many")
        calls = []
        view = store.view({"A": {"validator": int, "default": lambda: calls.append(1) or 3}})
        for count in (1, 2, 3):
            assert view["A"] == 3
            assert len(calls) == count


class TestSettingsWithoutTheMixin:
    @pytest.mark.parametrize(
        "names", [("SETTINGS",), ("USER_SETTINGS",), ("SETTINGS", "USER_SETTINGS")]
    )
    def test_are_recorded_at_load(self, names, make):
        """The record names attribute and mixin; the plugin is in service."""
        plugin = type("Tea", (Plugin,), {name: {"A": {}} for name in names})
        registry = make(plugin, fails=True)
        (failure,) = registry.errors
        assert (failure.stage, failure.slug) == (Stage.ACTIVATE, "tea")
        assert failure.message.startswith(f"{' and '.join(names)} cannot be used")
        assert "SettingsMixin" in failure.message
        assert registry.get("tea").active
        registry.reload()
        assert registry.errors == (failure,)
        registry.deactivate("tea")
        assert registry.errors == ()

    def test_a_plugin_that_is_none_of_ours_may_call_anything_so(self, make):
        """An object of another host may use the name for something else."""

        class Plain:
            SETTINGS = {"A": {}}

            @hookimpl
            def plugreg_health(self):
                return True

        class Empty(Plugin):
            SETTINGS = {}

        registry = make(Plain, Empty)
        assert list(registry.active) == ["plain", "empty"]
        assert registry.errors == ()

    def test_an_attribute_that_raises_costs_nothing(self, make):
        """Whether there are settings is asked of the plugin's own code."""

        class Tea(Plugin):
            @property
            def SETTINGS(self):
                raise OSError("no")

        registry = make(Tea)
        assert registry.get("tea").active
        assert registry.errors == ()


class TestValuesWithoutATextOfTheirOwn:
    DEFINITIONS = {
        "JSON": {"type": JsonValue},
        "PORT": {"type": int | str},
        "NAMES": {"type": list[str] | str, "default": "all"},
    }

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("JSON", {"a": [1, None, "5", {"b": True}]}),
            ("JSON", 5),
            ("JSON", '{"a": 1}'),
            ("PORT", 80),
            ("PORT", "80"),
            ("NAMES", ["a", "80"]),
            ("NAMES", '["a"]'),
        ],
    )
    def test_are_read_as_they_were_set(self, store, key, value):
        """With their type, also by another process; where there is none, as before."""
        store.view(self.DEFINITIONS).set(key, value)
        again = Store(store.storage)
        again.settings.load()
        other = again.view(self.DEFINITIONS)

        assert (other[key], other.layer(key)) == (value, "stored")
        assert type(other[key]) is type(value)
        assert other.fault(key) is None
        other.set(key, None)
        assert other[key] == ("all" if key == "NAMES" else None)

    def test_a_scalar_is_converted_once(self, store):
        """It is converted once, like a string."""
        calls = []
        view = store.view({"A": {"type": counted(calls) | str}})
        view.set("A", 5)
        assert view["A"] == 5
        calls.clear()
        assert [view["A"], view["A"]] == [5, 5]
        assert calls == []

    @pytest.mark.parametrize("later", [{"type": int}, {"validator": int}, {}, {"type": list[int]}])
    def test_one_that_fits_a_later_type_no_more_reads_as_the_default(self, store, later):
        """As a string does; the stored value stays."""
        store.view(self.DEFINITIONS).set("NAMES", ["a"])
        view = store.view({"NAMES": {**later, "default": None}})

        assert view["NAMES"] == (None if "type" in later else "")
        assert view.fault("NAMES") is not None
        assert store.view(self.DEFINITIONS)["NAMES"] == ["a"]

    def test_a_reference_within_is_looked_up(self, store, monkeypatch):
        """It may stand beside numbers and lists, and resolves to a string."""
        monkeypatch.setenv("TEA_NAME", "assam")
        view = store.view(self.DEFINITIONS)
        view.set("JSON", {"a": [{"$env": "TEA_NAME"}, 5]})
        assert view["JSON"] == {"a": ["assam", 5]}
        monkeypatch.setenv("TEA_NAME", "ceylon")
        assert view["JSON"] == {"a": ["ceylon", 5]}


class TestSet:
    def test_a_row_with_an_empty_string_reads_as_the_default(self, store):
        """Another program has written it; plugreg removes the row instead."""
        with store.storage.transaction() as transaction:
            transaction.put("settings", "tea:A", {"value": "", "protected": False})
        store.settings.load()
        assert store.view({"A": {"default": "x"}})["A"] == "x"

    def test_blank_unsets(self, store):
        """None and an empty text remove the row, so that the default holds again."""
        view = store.view({"COUNT": {"validator": int, "default": 3}})
        for blank in (None, "", "  "):
            view.set("COUNT", 5)
            view.set("COUNT", blank)
            assert view["COUNT"] == 3
            assert not view.is_set("COUNT")
            assert store.rows() == {}

    def test_required_is_not_left_blank(self, store):
        """The old value stays."""
        view = store.view({"URL": {"required": True}})
        view.set("URL", "x")
        for blank in (None, "", "  "):
            with pytest.raises(SettingError, match="This setting is required"):
                view.set("URL", blank)
        assert view["URL"] == "x"

    @pytest.mark.parametrize("value", ["many", "1.5", object(), "1\x00"])
    def test_what_does_not_convert_is_refused(self, store, value):
        """SettingError with the key; neither store nor memory has changed."""
        view = store.view({"COUNT": {"validator": int}})
        view.set("COUNT", 1)
        revision = store.storage.revision()
        with pytest.raises(SettingError) as caught:
            view.set("count", value)
        assert caught.value.field == "COUNT"
        assert view["COUNT"] == 1
        assert store.storage.revision() == revision
        assert len(store.reported) == 1

    def test_the_mask_written_back_changes_nothing(self, store):
        """Of a protected setting only; elsewhere three asterisks are a text."""
        view = store.view({"TOKEN": {"protected": True}, "STARS": {}})
        view.set("TOKEN", SECRET)
        revision = store.storage.revision()
        view.set("TOKEN", MASK)
        assert view["TOKEN"] == SECRET
        assert store.storage.revision() == revision
        view.set("STARS", MASK)
        assert view["STARS"] == MASK

    def test_protection_is_stored_with_the_value(self, store):
        """A value stays protected when the plugin that declares it is gone."""
        view = store.view({"TOKEN": {"protected": True}, "OTHER": {}})
        view.set("TOKEN", SECRET)
        view.set("OTHER", "x")
        rows = store.storage.read("settings")
        assert rows["tea:TOKEN"]["protected"] is True
        assert rows["tea:OTHER"]["protected"] is False

    def test_a_change_is_reported_once_and_only_if_it_is_one(self, store):
        """Slug and key, after the value can be read; nothing for the same text again."""
        view = store.view({"A": {}, "COUNT": {"validator": int}})
        view.set("COUNT", "05")
        view.set("COUNT", 5)
        view.set("A", "")
        view.set("COUNT", "")
        view.set("COUNT", "")
        assert store.reported == [(("tea", None), frozenset({"COUNT"}))] * 2

    def test_a_change_is_reported_after_it_was_made(self, store):
        """A listener reads the new value, and may write another setting."""
        seen = []

        def changed(scope, keys):
            seen.append((dict(view), store.rows()))
            if keys == {"A"}:
                view.set("B", "2")

        store.settings = SettingsStore(store.storage, changed)
        view = store.view({"A": {}, "B": {}})
        view.set("A", "1")
        assert seen == [
            ({"A": "1", "B": ""}, {"tea:A": "1"}),
            ({"A": "1", "B": "2"}, {"tea:A": "1", "tea:B": "2"}),
        ]


class TestHooksOfADefinition:
    def test_are_given_the_change(self, store):
        """before_save sees the old value in force, after_save the new one."""
        seen = []

        def hook(change):
            seen.append((change.slug, change.user, change.key, change.value, view["COUNT"]))
            assert "5" not in repr(change)

        view = store.view({"COUNT": {"validator": int, "before_save": hook, "after_save": hook}})
        view.set("COUNT", 5)
        assert seen == [("tea", None, "COUNT", "5", ""), ("tea", None, "COUNT", "5", 5)]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ValueError("not on Sundays"), "not on Sundays"),
            (SettingError("COUNT", "not on Sundays"), "not on Sundays"),
            (SystemExit(1), "1"),
            (ValueError(), "Value was refused"),
            (type("Bad", (Exception,), {"__str__": raising()})(), "Value was refused"),
        ],
    )
    def test_before_save_may_veto(self, store, error, reason):
        """Its message is the reason, and nothing has changed or was reported."""
        view = store.view({"COUNT": {"before_save": raising(error), "after_save": pytest.fail}})
        with pytest.raises(SettingError) as caught:
            view.set("COUNT", 5)
        assert (caught.value.field, caught.value.reason) == ("COUNT", reason)
        assert caught.value.__cause__ is error
        assert view["COUNT"] == ""
        assert store.rows() == {}
        assert store.reported == []

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1)])
    def test_after_save_is_recorded_and_the_value_stands(self, store, error):
        """Its exception is a failure of this plugin at stage call, which names the setting."""
        view = store.view({"COUNT": {"after_save": raising(error)}})
        view.set("COUNT", 5)
        assert view["COUNT"] == "5"
        (failure,) = store.failures
        assert (failure.stage, failure.slug) == (Stage.CALL, "tea")
        assert failure.subject == "after_save"
        assert failure.message.startswith("after_save of setting 'COUNT': ")
        assert failure.exception_type == type(error).__name__

    def test_its_words_are_scrubbed_of_other_protected_values(self, store):
        """Of a setting that is not protected itself, and without the error as its cause."""
        definitions = {
            "TOKEN": {"protected": True},
            "NOTE": {"before_save": raising(ValueError(f"no {SECRET} here"))},
            "CHECKED": {"validator": raising(ValueError(f"no {SECRET} here"))},
        }
        view = store.declared(definitions)
        view.set("TOKEN", SECRET)
        for key in ("NOTE", "CHECKED"):
            with pytest.raises(SettingError) as caught:
                view.set(key, "x")
            assert caught.value.reason == "no *** here"
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None

    @pytest.mark.parametrize("hook", ["before_save", "after_save", "default"])
    def test_quote_no_protected_value(self, store, hook, caplog):
        """A hook that quotes the secret in its error brings it into no error and no log."""
        fault = raising(ValueError(f"bad token {SECRET}"))
        view = store.view({"TOKEN": {"protected": True, hook: fault}})
        shown = []
        try:
            view.set("TOKEN", SECRET)
            store.settings.forget("tea")
            view["TOKEN"]
        except SettingError as error:
            shown += [str(error), repr(error), str(error.__cause__)]
        assert shown or hook == "after_save"
        shown += [caplog.text]
        assert SECRET not in "".join(shown)

    def test_before_save_may_write_another_setting(self, store):
        """No lock is held while it runs."""
        view = store.view(
            {"A": {"before_save": lambda change: view.set("B", change.value)}, "B": {}}
        )
        view.set("A", "x")
        assert dict(view) == {"A": "x", "B": "x"}


class TestShown:
    """The text of a value for clients."""

    def test_is_the_text_that_is_stored(self, store):
        """Of every type, in the form in which it would be stored; the default's likewise."""
        view = store.view(
            {
                "FLAG": {"validator": bool},
                "COUNT": {"validator": int, "default": 3},
                "LIST": {"type": list[int], "default": [1, 2]},
                "CALLED": {"default": lambda: 1.5, "validator": float},
                "NONE": {},
            }
        )
        assert [view.shown(key) for key in view] == ["", "3", "[1,2]", "1.5", ""]
        for key, value in (("FLAG", True), ("COUNT", "05"), ("LIST", [3]), ("NONE", "x")):
            view.set(key, value)
        assert [view.shown(key) for key in view] == ["True", "5", "[3]", "1.5", "x"]
        assert view.shown("flag") == "True"

    def test_of_a_text_that_no_longer_fits_is_the_default(self, store):
        """It shows the value that is read."""
        store.view({"COUNT": {}}).set("COUNT", "many")
        assert store.view({"COUNT": {"validator": int, "default": 3}}).shown("COUNT") == "3"

    def test_of_a_protected_value_is_the_mask_where_one_is_set(self, store):
        """A default is none that was set."""
        view = store.view({"TOKEN": {"protected": True, "default": SECRET}})
        assert view.shown("TOKEN") == ""
        view.set("TOKEN", "x")
        assert view.shown("TOKEN") == MASK

    def test_of_a_value_that_was_protected_is_the_mask(self, store):
        """An update of the plugin that forgets to protect it does not show it to everyone."""
        store.view({"TOKEN": {"protected": True}}).set("TOKEN", SECRET)
        view = store.view({"TOKEN": {}})
        assert view.shown("TOKEN") == MASK
        view.set("TOKEN", MASK)
        assert view["TOKEN"] == SECRET
        view.set("TOKEN", "plain")
        assert view.shown("TOKEN") == "plain"

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    def test_is_empty_where_the_value_cannot_be_had(self, store, error):
        """No fault of the plugin passes; an unknown key is the caller's."""
        view = store.view({"A": {"default": raising(error)}})
        assert view.shown("A") == ""
        with pytest.raises(KeyError):
            view.shown("B")


def test_visible_leaves_out_what_is_hidden(store):
    """Hidden settings, and those whose key begins with an underscore."""
    view = store.view({"B": {}, "A": {"hidden": True}, "_C": {}, "D": {"hidden": False}})
    assert [definition.key for definition in view.visible()] == ["B", "D"]
    assert list(view) == ["B", "A", "_C", "D"]


def test_a_list_is_every_readers_own(store):
    """A change by one reader is seen by no other reader."""
    view = store.view({"KEYS": {"type": list[str]}})
    view.set("KEYS", ["a"])
    view["KEYS"].append("b")
    assert view["KEYS"] == ["a"]


class TestReferences:
    """Values from Python that stand elsewhere."""

    def test_are_stored_as_given_and_read_resolved(self, store, monkeypatch):
        """Never resolved in the store; each read looks again."""
        monkeypatch.setenv("TEA_COUNT", "5")
        view = store.view({"COUNT": {"validator": int, "protected": True}})
        view.set("count", {"$env": "TEA_COUNT"})
        assert store.storage.read("settings") == {
            "tea:COUNT": {"value": '{"$env": "TEA_COUNT"}', "protected": True, "reference": True}
        }
        assert (view["COUNT"], view.layer("COUNT"), view.shown("COUNT")) == (5, "stored", MASK)
        monkeypatch.setenv("TEA_COUNT", "6")
        assert view["COUNT"] == 6
        other = Store(store.storage)
        other.settings.load()
        assert other.view({"COUNT": {"validator": int}})["COUNT"] == 6
        assert store.reported == [(("tea", None), frozenset({"COUNT"}))]

    def test_at_any_depth(self, store, monkeypatch):
        """Of a type that can hold them."""
        monkeypatch.setenv("TEA_KEY", "x")
        view = store.view({"MAP": {"type": dict[str, list[str]]}})
        view.set("MAP", {"a": ["y", {"$env": "TEA_KEY"}]})
        assert view["MAP"] == {"a": ["y", "x"]}
        assert view.shown("MAP") == '{"a":["y","x"]}'

    def test_a_text_that_looks_like_one_is_a_text(self, store, monkeypatch):
        """Or whoever may write a setting could read every variable and file of the host."""
        monkeypatch.setenv("TEA_KEY", SECRET)
        view = store.view({"A": {}})
        text = '{"$env": "TEA_KEY"}'
        view.set("A", text)
        assert view["A"] == text
        # A plugin that changes a value that it has read and writes it back passes a string again.
        view.set("A", view["A"])
        assert view["A"] == text
        assert "reference" not in str(store.storage.read("settings"))
        store.settings.load()
        assert view["A"] == text

    @pytest.mark.parametrize(
        "text",
        [
            '{"$env": "TEA_KEY"}',
            ' {"$file": "/etc/hostname"}',
            '{"a": [{"$env": "TEA_KEY"}]}',
            '{"$env": "TEA_KEY", "or": 1}',
        ],
    )
    def test_a_text_that_is_read_as_one_is_refused(self, store, monkeypatch, text):
        """Of a type that makes a dict of it: written back, it would be the host's reference."""
        monkeypatch.setenv("TEA_KEY", SECRET)
        view = store.view({"MAP": {"type": dict[str, Any]}})
        view.set("MAP", '{"a": 1}')
        revision = store.storage.revision()
        with pytest.raises(SettingError, match="must not hold a reference") as caught:
            view.set("MAP", text)
        assert caught.value.field == "MAP"
        assert store.storage.revision() == revision
        # A plugin adds to a value that it has read.
        view.set("MAP", {**view["MAP"], "b": 2})
        assert view["MAP"] == {"a": 1, "b": 2}
        assert "reference" not in str(store.storage.read("settings"))

    def test_a_list_of_texts_that_look_like_ones_stays_one(self, store, monkeypatch):
        """Its items are strings, which are no references when they are written back."""
        monkeypatch.setenv("TEA_KEY", SECRET)
        view = store.view({"KEYS": {"type": list[str]}})
        text = '{"$env": "TEA_KEY"}'
        view.set("KEYS", json.dumps([text]))
        view.set("KEYS", [*view["KEYS"], "b"])
        assert view["KEYS"] == [text, "b"]

    @pytest.mark.parametrize("error", [OSError(SECRET), SystemExit(1), RecursionError()])
    @pytest.mark.parametrize(("kind", "method"), [(dict, "__contains__"), (list, "__iter__")])
    def test_a_value_that_refuses_to_be_looked_at(self, store, kind, method, error):
        """SettingError with the key, whatever its class does; nothing of it is shown."""
        value = type("Odd", (kind,), {method: raising(error)})()
        view = store.view({"A": {}, "TOKEN": {"protected": True}, "MAP": {"type": dict[str, Any]}})
        for key in view:
            with pytest.raises(SettingError) as caught:
                view.set(key, value)
            assert caught.value.field == key
            assert SECRET not in str(caught.value)
        assert store.storage.revision() == 0

    @pytest.mark.parametrize(
        "value",
        [{"$env": 5}, {"$env": "X", "or": 1}, [{"$env": "X"}, object()], [{"$env": "X" * 2000}]],
    )
    def test_what_cannot_be_stored_is_refused(self, store, value):
        """SettingError with the key; nothing has changed."""
        view = store.view({"A": {}})
        with pytest.raises(SettingError) as caught:
            view.set("A", value)
        assert caught.value.field == "A"
        assert store.storage.revision() == 0

    def test_what_leads_nowhere_costs_its_own_setting_alone(self, store):
        """SettingError with the key, the name and the remedy; others are read."""
        view = store.view({"A": {"default": "x"}, "B": {"default": "y"}})
        view.set("A", {"$env": "NO_SUCH_TEA"})
        with pytest.raises(SettingError, match="'NO_SUCH_TEA' is not set; set it") as caught:
            view["A"]
        assert caught.value.field == "A"
        assert view["B"] == "y"
        assert view.shown("A") == ""
        view.set("A", None)
        assert view["A"] == "x"

    def test_what_does_not_fit_is_no_default(self, store, monkeypatch):
        """A default in place of the intended value would be dangerous."""
        monkeypatch.setenv("TEA_COUNT", "many")
        view = store.view({"COUNT": {"validator": int, "default": 3}})
        view.set("COUNT", {"$env": "TEA_COUNT"})
        with pytest.raises(SettingError, match="not a valid integer"):
            view["COUNT"]

    def test_a_row_that_is_no_json_is_reported_with_its_place(self, store):
        """Somebody has changed it by hand."""
        with store.storage.transaction() as transaction:
            transaction.put(
                "settings", "tea:A", {"value": "{", "protected": True, "reference": True}
            )
        store.settings.load()
        (error,) = store.settings.damaged
        assert "'tea:A' of table 'settings'" in str(error)


class TestVersions:
    """A view in hand may be of settings that the plugin no longer has."""

    @pytest.mark.parametrize("user", [None, 7])
    @pytest.mark.parametrize("text", ["5", ""])
    def test_an_older_view_writes_nothing(self, store, user, text):
        """SettingError that names both versions, over new values and where there are none."""
        old = store.declared({"MINUTES": {"before_save": pytest.fail}}, user=user)
        new = store.declared({"MINUTES": {}}, user=user, version=2)
        for value in ("1", ""):
            new.set("MINUTES", value)
            rows = store.rows("settings"), store.rows("user_settings")
            with pytest.raises(SettingError, match=r"version 1.* version 2") as caught:
                old.set("MINUTES", text)
            assert caught.value.field == "MINUTES"
            assert old["MINUTES"] == value
            assert (store.rows("settings"), store.rows("user_settings")) == rows
        new.set("MINUTES", "3")
        assert store.storage.read("versions") == {"tea": {"settings": 2}}

    def test_is_asked_again_where_the_value_is_stored(self, store):
        """The plugin may be reloaded after the first look, by ``before_save``."""
        old = store.declared({"A": {"before_save": lambda _: store.declared({"A": {}}, version=2)}})
        with pytest.raises(SettingError, match=r"version 1.* version 2"):
            old.set("A", "x")
        assert store.rows() == {}

    def test_a_newer_view_writes_nothing_either(self, store):
        """The plugin of now could only read it."""
        new = store.declared({"A": {}}, version=2)
        store.declared({"A": {}})
        with pytest.raises(SettingError, match=r"version 2.* version 1"):
            new.set("A", "x")
        assert store.rows() == {}

    def test_a_view_from_before_the_setting_was_protected(self, store):
        """It stores the value as protected, as the current plugin declares it."""
        old, users = store.declared({"A": {}, "B": {}}), store.view({"A": {}}, user=7)
        store.declared({"A": {"protected": True}, "B": {}})
        old.set("A", SECRET)
        old.set("B", "x")
        users.set("A", SECRET)
        rows = {**store.storage.read("settings"), **store.storage.read("user_settings")}
        assert {key: row["protected"] for key, row in rows.items()} == {
            "tea:A": True,
            "tea:B": False,
            "tea:7:A": True,
        }
        assert old.shown("A") == MASK

    def test_an_older_plugin_may_write_where_nothing_is_stored_any_more(self, store):
        """The version row alone keeps nobody from anything."""
        new = store.declared({"A": {}}, version=2)
        new.set("A", "x")
        old = store.declared({"A": {}})
        assert "version 2" in store.settings.version_fault("tea")
        with pytest.raises(SettingError, match=r"version 2.* version 1"):
            old.set("A", "y")
        store.declared({"A": {}}, version=2).set("A", None)
        old = store.declared({"A": {}})
        assert store.settings.version_fault("tea") is None
        old.set("A", "y")
        assert store.rows() == {"tea:A": "y"}
        assert store.storage.read("versions") == {"tea": {"settings": 1}}

    def test_a_registrys_views_are_those_of_the_plugin_as_it_was_loaded(self, make):
        """Those in hand over a reload are old, whoever asks for one later gets a new one."""
        cls = type(
            "Tea", (SettingsMixin, Plugin), {"SETTINGS": {"A": {}}, "USER_SETTINGS": {"B": {}}}
        )
        registry = make(tea=cls)
        old = registry.settings("tea"), registry.user_settings("tea", 7)
        cls.SETTINGS_VERSION = 2
        registry.reload(force=True)
        for view, key in zip(old, "AB", strict=True):
            with pytest.raises(SettingError, match=r"version 1.* version 2"):
                view.set(key, "x")
        plugin = registry.get("tea").plugin
        registry.settings("tea").set("A", "1")
        registry.user_settings("tea", 7).set("B", "2")
        plugin.set_setting("A", "3")
        plugin.set_user_setting("B", "4", 7)
        assert (old[0]["A"], old[1]["B"]) == ("3", "4")
        assert registry.errors == ()


class TestUsers:
    def test_each_user_has_values_of_their_own(self, store):
        """A value of one user is neither another's nor the plugin's, in no direction."""
        definitions = {"BADGE": {"default": "none"}}
        everybody = store.view(definitions)
        users = {user: store.view(definitions, user=user) for user in (1, 2, 12)}
        everybody.set("BADGE", "all")
        assert {view["BADGE"] for view in users.values()} == {"none"}
        users[1].set("BADGE", "gold")
        assert [users[user]["BADGE"] for user in (1, 2, 12)] == ["gold", "none", "none"]
        assert everybody["BADGE"] == "all"
        users[2].set("BADGE", "tin")
        users[2].set("BADGE", "")
        assert users[1]["BADGE"] == "gold"
        assert store.rows("user_settings") == {"tea:1:BADGE": "gold"}
        assert "user 1" in repr(users[1])

    def test_hooks_and_choices_get_the_user(self, store):
        """A definition can offer each user something else."""
        seen = []
        view = store.view(
            {
                "A": {
                    "choices": lambda user: [(str(user), "yours")],
                    "before_save": lambda change: seen.append(change.user),
                }
            },
            user=7,
        )
        view.set("A", "7")
        with pytest.raises(SettingError):
            view.set("A", "8")
        assert seen == [7]

    def test_plugins_do_not_share_a_key(self, store):
        """The same key of two plugins, one's slug the beginning of the other's, is two values."""
        tea, teapot = store.view({"A": {}}), store.view({"A": {}}, slug="tea-pot")
        tea.set("A", "1")
        teapot.set("A", "2")
        store.settings.forget("tea")
        assert (tea["A"], teapot["A"]) == ("", "2")
        store.settings.load()
        assert (tea["A"], teapot["A"]) == ("1", "2")


class Failing(MemoryStorage):
    """A store whose disk is full when ``fails``: everything goes well until the commit."""

    fails = False

    @contextmanager
    def transaction(self):
        with super().transaction() as transaction:
            yield transaction
            if self.fails:
                raise StorageUnavailableError("memory", "disk full")


class TestFailingStore:
    def test_the_old_value_stays_readable(self):
        """StorageError passes; memory, disk and the plugin know nothing of the new value."""
        store = Store(Failing())
        view = store.view({"A": {"after_save": store.reported.append}})
        view.set("A", "old")
        store.reported.clear()
        store.storage.fails = True
        for value in ("new", ""):
            with pytest.raises(StorageUnavailableError):
                view.set("A", value)
        assert view["A"] == "old"
        assert store.rows() == {"tea:A": "old"}
        assert store.reported == []
        store.storage.fails = False
        view.set("A", "newer")
        assert view["A"] == "newer"

    def test_a_read_needs_no_store(self):
        """A closed store can be read from memory."""
        store = Store()
        view = store.view({"A": {}})
        view.set("A", "x")
        store.storage.close()
        assert view["A"] == "x"


def in_threads(count, work):
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


class TestThreads:
    def test_writes_to_distinct_keys_lose_none(self, store):
        """8 threads with 200 writes each: memory and store have all of them, each reported."""
        view = store.view({f"K{n}_{m}": {} for n in range(8) for m in range(200)})

        def work(number):
            for n in range(200):
                view.set(f"K{number}_{n}", f"{number}-{n}")
                assert view[f"K{number}_{n}"] == f"{number}-{n}"

        in_threads(8, work)
        assert dict(view) == {f"K{n}_{m}": f"{n}-{m}" for n in range(8) for m in range(200)}
        assert store.rows() == {f"tea:{key}": value for key, value in view.items()}
        assert len(store.reported) == 1600

    def test_writes_to_one_key_are_never_mixed(self, store):
        """The value that is read is the stored one, and a whole value of one writer."""
        view = store.view({"A": {}})
        values = {f"{number}" * 50 for number in range(8)}

        def work(number):
            for _ in range(100):
                view.set("A", f"{number}" * 50)
                assert view["A"] in values

        in_threads(8, work)
        assert store.rows() == {"tea:A": view["A"]}

    def test_what_was_written_is_read_from_then_on(self, store):
        """A view that many threads read never goes back to an older value."""
        view = store.view({"COUNT": {"validator": int, "default": 0}})
        written = [0]
        ended = threading.Event()

        def read_or_write(number):
            if number == 0:
                for n in range(1, 1001):
                    view.set("COUNT", n)
                    written[0] = n
                ended.set()
            while not ended.is_set():
                least = written[0]
                assert view["COUNT"] >= least

        in_threads(5, read_or_write)
