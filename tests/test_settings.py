"""Settings: typed values out of stored text, and every way in which a write can go."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from plugreg._scrub import MASK
from plugreg.declarations import parse_definitions
from plugreg.exceptions import SettingError, StorageError, StorageUnavailableError
from plugreg.records import Stage
from plugreg.settings import SettingsView
from plugreg.storage import MemoryStorage
from plugreg.values import Declared, SettingsStore

SECRET = "canary-7f3a"


class Store:
    """A settings store on a storage, and what it told of changes."""

    def __init__(self, storage=None):
        self.storage = storage or MemoryStorage()
        self.told = []
        self.failures = []
        self.settings = SettingsStore(
            self.storage, lambda *change: self.told.append(change), record=self.failures.append
        )

    def view(self, definitions, slug="tea", user=None):
        parsed, faults = parse_definitions(definitions, "SETTINGS")
        assert faults == ()
        return SettingsView(self.settings, slug, parsed, user)

    def declared(self, definitions, slug="tea"):
        """Give a view of what was declared before, as a loaded plugin's settings are."""
        parsed, faults = parse_definitions(definitions, "SETTINGS")
        assert faults == ()
        self.settings.declare(slug, Declared(parsed))
        return SettingsView(self.settings, slug, parsed)

    def rows(self, table="settings"):
        return {key: row["value"] for key, row in self.storage.read(table).items()}


@pytest.fixture
def store():
    return Store()


def raising(error=None):
    def method(*_, **__):
        raise error or OSError("no")

    return method


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
        assert [type(each) for each in view.values()] == [bool, int, float, str]
        assert store.rows() == {
            "tea:COUNT": "42",
            "tea:FLAG": "True",
            "tea:RATE": "1.5",
            "tea:TEXT": "7",
        }

    def test_is_live(self, store):
        """A view in hand shows what another view has written, at once."""
        definitions = {"COUNT": {"validator": int, "default": 1}}
        view, other = store.view(definitions), store.view(definitions)
        assert view["COUNT"] == 1
        other.set("COUNT", 2)
        assert view["COUNT"] == 2
        store.settings.forget("tea")
        assert view["COUNT"] == 1

    def test_defaults(self, store):
        """What was never set reads as its default, in its type; without one as an empty text."""
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
        """A plugin may change a setting's type over what is stored."""
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
        """KeyError, with the plugin and what may have been meant; nothing is created."""
        view = store.view({"PER_CENT": {}})
        for access in (view.__getitem__, view.is_set, lambda key: view.set(key, 1)):
            with pytest.raises(KeyError, match=r"'tea' has no setting 'percent'.*'PER_CENT'"):
                access("percent")
        assert view.get("percent") is None
        assert 5 not in view
        assert store.storage.revision() == 0

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


class TestSet:
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
        assert len(store.told) == 1

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

    def test_the_change_is_told_once_and_only_if_it_is_one(self, store):
        """Slug and key, after the value can be read; nothing for the same text again."""
        view = store.view({"A": {}, "COUNT": {"validator": int}})
        view.set("COUNT", "05")
        view.set("COUNT", 5)
        view.set("A", "")
        view.set("COUNT", "")
        view.set("COUNT", "")
        assert store.told == [("tea", frozenset({"COUNT"}))] * 2

    def test_the_change_is_told_after_it_was_made(self, store):
        """Whoever is told reads the new value, and may write another setting."""
        seen = []

        def changed(slug, keys):
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
        """Its words are the reason, and nothing has changed or been told."""
        view = store.view({"COUNT": {"before_save": raising(error), "after_save": pytest.fail}})
        with pytest.raises(SettingError) as caught:
            view.set("COUNT", 5)
        assert (caught.value.field, caught.value.reason) == ("COUNT", reason)
        assert caught.value.__cause__ is error
        assert view["COUNT"] == ""
        assert store.rows() == {}
        assert store.told == []

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1)])
    def test_after_save_is_recorded_and_the_value_stands(self, store, error):
        """What it raises is a failure of this plugin in a call, which names the setting."""
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
        told = []
        try:
            view.set("TOKEN", SECRET)
            store.settings.forget("tea")
            view["TOKEN"]
        except SettingError as error:
            told += [str(error), repr(error), str(error.__cause__)]
        assert told or hook == "after_save"
        told += [caplog.text]
        assert SECRET not in "".join(told)

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
        """It shows what is read."""
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
    """Hidden settings, and those whose key begins with an underscore (behaviour.md, 4.2)."""
    view = store.view({"B": {}, "A": {"hidden": True}, "_C": {}, "D": {"hidden": False}})
    assert [each.key for each in view.visible()] == ["B", "D"]
    assert list(view) == ["B", "A", "_C", "D"]


def test_a_list_is_every_readers_own(store):
    """What one reader does to it no other one sees."""
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
        assert store.told == [("tea", frozenset({"COUNT"}))]

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
        view = store.view({"A": {}, "MAP": {"type": dict[str, str]}})
        text = '{"$env": "TEA_KEY"}'
        for key in view:
            view.set(key, text)
        assert dict(view) == {"A": text, "MAP": {"$env": "TEA_KEY"}}
        assert "reference" not in str(store.storage.read("settings"))
        store.settings.load()
        assert view["A"] == text

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
        """A default in place of what was asked for would be dangerous."""
        monkeypatch.setenv("TEA_COUNT", "many")
        view = store.view({"COUNT": {"validator": int, "default": 3}})
        view.set("COUNT", {"$env": "TEA_COUNT"})
        with pytest.raises(SettingError, match="not a valid integer"):
            view["COUNT"]

    def test_a_row_that_is_no_json_is_told_of_by_place(self, store):
        """Somebody has changed it by hand."""
        with store.storage.transaction() as transaction:
            transaction.put(
                "settings", "tea:A", {"value": "{", "protected": True, "reference": True}
            )
        with pytest.raises(StorageError, match="'tea:A' of table 'settings'"):
            store.settings.load()


class TestUsers:
    def test_each_user_has_values_of_their_own(self, store):
        """A value of one user is neither another's nor the plugin's, in no direction."""
        definitions = {"BADGE": {"default": "none"}}
        everybody = store.view(definitions)
        users = {user: store.view(definitions, user=user) for user in (1, 2, 12)}
        everybody.set("BADGE", "all")
        assert {each["BADGE"] for each in users.values()} == {"none"}
        users[1].set("BADGE", "gold")
        assert [users[each]["BADGE"] for each in (1, 2, 12)] == ["gold", "none", "none"]
        assert everybody["BADGE"] == "all"
        users[2].set("BADGE", "tin")
        users[2].set("BADGE", "")
        assert users[1]["BADGE"] == "gold"
        assert store.rows("user_settings") == {"tea:1:BADGE": "gold"}
        assert "user 1" in repr(users[1])

    def test_hooks_and_choices_are_told_the_user(self, store):
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
        view = store.view({"A": {"after_save": store.told.append}})
        view.set("A", "old")
        store.told.clear()
        store.storage.fails = True
        for value in ("new", ""):
            with pytest.raises(StorageUnavailableError):
                view.set("A", value)
        assert view["A"] == "old"
        assert store.rows() == {"tea:A": "old"}
        assert store.told == []
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
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []


class TestThreads:
    def test_writes_to_distinct_keys_lose_none(self, store):
        """8 threads with 200 writes each: memory and store have all of them, each told of."""
        view = store.view({f"K{n}_{m}": {} for n in range(8) for m in range(200)})

        def work(number):
            for n in range(200):
                view.set(f"K{number}_{n}", f"{number}-{n}")
                assert view[f"K{number}_{n}"] == f"{number}-{n}"

        in_threads(8, work)
        assert dict(view) == {f"K{n}_{m}": f"{n}-{m}" for n in range(8) for m in range(200)}
        assert store.rows() == {f"tea:{key}": value for key, value in view.items()}
        assert len(store.told) == 1600

    def test_writes_to_one_key_are_never_mixed(self, store):
        """Whoever was last: what is read is what is stored, and a whole value of one writer."""
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
