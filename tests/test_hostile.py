"""Hostile plugin objects: whatever they do, it costs them alone, and the registry goes on."""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import threading
from contextlib import closing
from typing import Any

import pytest

from plugreg import Plugin, PluginState, SettingError, StorageUnavailableError, hookimpl, hookspec
from plugreg.mixins import SettingsMixin
from plugreg.registry import PluginRegistry
from plugreg.storage import MemoryStorage, TinyDBStorage

LONGEST = 1_100
"""A message is cut at 1000 characters, and a mark stands where its middle was."""


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


class Good(Plugin):
    NAME = "good"

    @hookimpl
    def price(self, item):
        return 1


class Configured(SettingsMixin, Plugin):
    """Its calls need the binding: a plugin object that lost it raises."""

    SETTINGS = {"PRICE": {"default": 5, "validator": int}}

    @hookimpl
    def price(self, item):
        return self.get_setting("PRICE")


@pytest.fixture
def make():
    """Make registries that are closed after the test."""
    made = []

    def make(*builtin, **options):
        options = {"hookspecs": [Hooks], "new_plugins": "active", **options}
        made.append(PluginRegistry("hostile", builtin=builtin, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def load(make):
    """Make and load registries that are closed after the test."""

    def load(*builtin, **options):
        registry = make(*builtin, **options)
        registry.load()
        return registry

    return load


def check(registry):
    """Assert that the good plugin serves, and that data on the others can be sent."""
    assert registry.get("good").active
    assert 1 in registry.call("price", item="tea")
    told = json.dumps(registry.status(), ensure_ascii=False).encode()
    assert told
    for each in registry.plugins.values():
        f"{each.name}{each.title}{each.version}{each.reason}".encode()
    for failure in registry.errors:
        assert max(len(failure.slug), len(failure.message), len(failure.subject)) <= LONGEST


def plugin(name: Any, **members: Any) -> type[Plugin]:
    return type("Hostile", (Plugin,), {"NAME": name, **members})


def bringing(*pairs: Any) -> type[Plugin]:
    return plugin("bringer", plugreg_plugins=hookimpl(lambda self: list(pairs)))


def errors_of(registry, slug):
    return [each for each in registry.errors if each.slug == slug]


class Flaky(MemoryStorage):
    """Fails once, at the read with this number from now on, or at each one while it is shut."""

    fails_at = 0
    is_shut = False

    def read(self, table):
        self.fails_at -= 1
        if self.fails_at == 0 or self.is_shut:
            raise StorageUnavailableError("disk", "gone")
        return super().read(table)


class Moody:
    """Neither true nor false."""

    def __bool__(self):
        raise RuntimeError("bool")


class Unprintable(str):
    __slots__ = ()

    def __repr__(self):
        raise RuntimeError("repr")


class TestNames:
    """Names that no store or answer could hold are refused, and told of in ones that it can."""

    @pytest.mark.parametrize(
        "name", ["b\ud800", "\udcff", "x" * 300, "x" + " " * 2_000, "x" * 100_000, "日", "ui"]
    )
    def test_of_a_class(self, load, tmp_path, name):
        """A name that states nothing usable costs its class, whatever the store is."""
        with closing(TinyDBStorage(tmp_path / "store.json")) as storage:
            registry = load(Good, plugin(name), storage=storage)
            check(registry)
            assert list(registry.plugins) == ["good"]
            assert len(registry.errors) == 1
            registry.reload()
            check(registry)

    @pytest.mark.parametrize("attribute", ["NAME", "TITLE", "VERSION"])
    def test_that_are_made_at_run_time(self, load, tmp_path, attribute):
        """The value of a property that cannot be stored is reported and does not count."""
        bad = plugin("bad", **{attribute: property(lambda self: "b\ud800")})
        with closing(TinyDBStorage(tmp_path / "store.json")) as storage:
            registry = load(Good, ("bad", bad), storage=storage)
            check(registry)
            assert registry.get("bad").active
            assert [each.subject for each in errors_of(registry, "bad")] == [attribute]

    @pytest.mark.parametrize("name", ["b\ud800", "x" * 300, "x" + " " * 2_000])
    def test_of_what_a_plugin_brings(self, load, tmp_path, name):
        """The provider stays in service, the provided plugin is refused."""
        with closing(TinyDBStorage(tmp_path / "store.json")) as storage:
            registry = load(Good, bringing((name, Configured)), storage=storage)
            check(registry)
            assert list(registry.active) == ["good", "bringer"]
            assert len(registry.errors) == 1

    @pytest.mark.parametrize("value", [5, ["x"], {"a": 1}, "\ud800", "x" * 100_000, b"x"])
    @pytest.mark.parametrize("attribute", ["NAME", "TITLE", "VERSION", "MIN_VERSION"])
    def test_that_are_odd_literals_of_a_file(self, load, tmp_path, attribute, value):
        """Before it is imported and after, name, title and version are texts or None."""
        (tmp_path / "odd.py").write_text(
            "from plugreg import Plugin\n"
            f"class Odd(Plugin):\n    SLUG = 'odd'\n    {attribute} = {value!a}\n"
        )
        registry = load(Good, directories=[tmp_path], new_plugins="inactive", host_version="2.4")
        registry.activate("good")
        check(registry)
        if "odd" in registry.plugins:
            registry.activate("odd")
            record = registry.get("odd")
            assert {type(record.name), type(record.title)} == {str}
            assert record.version is None or type(record.version) is str
        check(registry)


class TestTheManager:
    @pytest.mark.parametrize("victim", ["bad", "aaa", "zzz"])
    @pytest.mark.parametrize("act", ["register", "block"])
    def test_names_taken_while_being_activated(self, make, victim, act):
        """A name that plugin code takes or blocks costs the plugin of that name, and its own."""

        def activated(self):
            if act == "register":
                registry.manager.register(object(), name=victim)
            else:
                registry.manager.set_blocked(victim)

        bad = plugin("bad", plugreg_activated=hookimpl(activated))
        registry = make(Good, bad, ("aaa", Configured), ("zzz", Configured))
        registry.load()
        check(registry)
        assert registry.get(victim).state is PluginState.FAILED
        assert "taken or blocked" in registry.get(victim).reason
        others = {"aaa", "zzz"} - {victim}
        assert all(registry.get(each).active for each in others)
        assert all(registry.manager.is_taken_in(each) for each in registry.active)

    def test_what_a_plugin_takes_off_comes_back(self, make):
        """Hooks that were unregistered on the manager are in service after the next reload."""
        bad = plugin(
            "zzz", price=hookimpl(lambda self, item: registry.manager.unregister(name="good") and 2)
        )
        registry = make(Good, bad)
        registry.load()
        registry.call("price", item="tea")
        assert registry.call("price", item="tea") == []
        registry.deactivate("zzz")
        registry.reload()
        check(registry)


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            {"tryfirst": Moody()},
            {"trylast": Moody()},
            {"wrapper": Moody()},
            {"hookwrapper": Moody()},
            {"optionalhook": Moody()},
            {"specname": 5},
            {"specname": Unprintable("pricey")},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_of_an_implementation(self, load, options):
        """An option that fails when it is looked at costs its plugin, at load and ever after."""
        bad = plugin("bad", price=hookimpl(**options)(lambda self, item: 2))
        registry = load(Good, bad)
        for act in (lambda: None, registry.reload, lambda: registry.reload(force=True)):
            act()
            check(registry)
            assert registry.call("price", item="tea") == [1]
            assert registry.get("bad").errors


class TestResults:
    @pytest.mark.parametrize("second", [False, True])
    @pytest.mark.parametrize("kind", ["failing list", "liar"])
    def test_of_a_wrapper_that_are_no_plain_list(self, load, kind, second):
        """A wrapper that hands over a list that fails, or no list, costs only itself."""

        class FailingList(list):
            def __iter__(self):
                raise RuntimeError("iter")

            def copy(self):
                raise RuntimeError("copy")

        class Liar:
            @property
            def __class__(self):
                return list

            def __iter__(self):
                return iter([7])

        def hostile(self, item):
            yield
            return FailingList() if kind == "failing list" else Liar()

        def honest(self, item):
            return (yield)

        plugins = [Good, plugin("bad", price=hookimpl(wrapper=True)(hostile))]
        if second:
            plugins.append(plugin("a", price=hookimpl(wrapper=True)(honest)))
            plugins.append(plugin("z", price=hookimpl(wrapper=True)(honest)))
        registry = load(*plugins)
        assert registry.call("price", item="tea") == [1]
        assert registry.first("price", item="tea") == 1
        assert {each.slug for each in registry.errors} == {"bad"}
        check(registry)

    def test_of_a_wrapper_are_handed_on_as_a_plain_list(self, load):
        """A list of a wrapper's own class does not do later work."""

        class Own(list):
            pass

        def wrapper(self, item):
            return Own((yield))

        registry = load(Good, plugin("own", price=hookimpl(wrapper=True)(wrapper)))
        assert type(registry.call("price", item="tea")) is list
        assert registry.errors == ()

    def test_that_are_coroutines(self, load):
        """A plain function that returns a coroutine is refused, and nobody is warned of it."""

        async def later(item):
            return 4

        class Later:
            async def __call__(self, item):
                return 3

        registry = load(
            Good,
            plugin("bad", price=hookimpl(lambda self, item: later(item))),
            plugin("worse", price=hookimpl(staticmethod(Later()))),
        )
        assert registry.call("price", item="tea") == [1]
        assert registry.first("price", item="tea") == 1
        found = registry.outcomes("price", item="tea")
        assert {each.slug: each.value for each in found if each.error is None} == {"good": 1}
        assert {each.slug for each in registry.errors} == {"bad", "worse"}
        assert all("async" in each.message for each in registry.errors)
        gc.collect()  # A coroutine that nobody closed would warn here.

    def test_that_raise_what_is_huge(self, load):
        """Message and traceback are cut."""

        def price(self, item):
            raise ValueError("x\n" * 500_000)

        registry = load(Good, plugin("bad", price=hookimpl(price)))
        check(registry)
        (failure,) = errors_of(registry, "bad")
        assert failure.message.endswith("ValueError: x")
        assert len(failure.traceback) <= 51_000

    @pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
    def test_that_raise_what_generators_raise(self, load, error):
        """An exception that means something to the language keeps its name in the record."""

        def fail(self, **_):
            raise error("x")

        bad = plugin(
            "bad",
            price=hookimpl(lambda self, item: fail(self)),
            plugreg_plugins=hookimpl(lambda self: fail(self)),
        )
        worse = plugin("worse", plugreg_activated=hookimpl(lambda self: fail(self)))
        registry = load(Good, bad, worse)
        check(registry)
        assert [each.exception_type for each in registry.errors] == [error.__name__] * 3


class TestSettings:
    @pytest.fixture
    def settings(self, load):
        def leave(*_, **__):
            raise SystemExit(3)

        class Refusal(Exception):
            @property
            def __class__(self):
                raise RuntimeError("class")

        def refuse(*_):
            raise Refusal

        class Bad(SettingsMixin, Plugin):
            NAME = "bad"
            SETTINGS = {
                "CHOICES": {"choices": leave},
                "VALIDATOR": {"validator": leave},
                "REFUSAL": {"validator": refuse},
                "BEFORE": {"before_save": leave},
                "AFTER": {"after_save": leave},
                "DEFAULT": {"default": leave},
            }

        return load(Good, Bad).settings("bad")

    @pytest.mark.parametrize("key", ["CHOICES", "VALIDATOR", "REFUSAL", "BEFORE"])
    def test_a_callable_that_leaves_refuses_the_value(self, settings, key):
        """SystemExit in a callable of a definition ends no process; nothing is stored."""
        with pytest.raises(SettingError) as caught:
            settings.set(key, "1")
        assert caught.value.field == key
        assert ("choices" in caught.value.reason) is (key == "CHOICES")
        assert not settings.is_set(key)

    def test_after_the_value_was_stored_it_is_logged(self, settings, caplog):
        """The value stands."""
        settings.set("AFTER", "1")
        assert settings["AFTER"] == "1"
        assert "SystemExit" in caplog.text

    def test_a_default_that_leaves_fails_the_read_of_it_alone(self, settings):
        """The setting can be set all the same."""
        with pytest.raises(SettingError, match="SystemExit"):
            settings["DEFAULT"]
        settings.set("DEFAULT", "1")
        assert settings["DEFAULT"] == "1"
        settings.set("VALIDATOR", "")


class TestReloads:
    def test_readers_miss_no_instance(self, load):
        """An object that cannot be made anew serves, bound, through each forced reload."""
        registry = load(("inst", Configured()), Good)
        results = set()
        stop = threading.Event()

        def read():
            while not stop.is_set():
                results.add(tuple(registry.call("price", item="tea")))

        threads = [threading.Thread(target=read) for _ in range(4)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for each in threads:
                each.start()
            for _ in range(50):
                registry.reload(force=True)
        finally:
            stop.set()
            for each in threads:
                each.join()
            sys.setswitchinterval(interval)
        assert results == {(1, 5)}
        assert registry.errors == ()

    def test_a_storage_that_fails_at_any_read_leaves_the_old_snapshot(self, load):
        """Whichever read fails, old objects go on serving, bound, and were told nothing."""
        born, told = [], []

        class Told(Configured):
            def __init__(self):
                born.append(id(self))
                made.append(self)

            @hookimpl
            def plugreg_deactivating(self):
                told.append(id(self))

        made: list[Any] = []  # Kept, so that no two of them have the same id.
        storage = Flaky()
        instance = Told()
        registry = load(("inst", instance), ("made", Told), Good, storage=storage)
        old = {slug: each.plugin for slug, each in registry.active.items()}
        failed_at = []
        for number in itertools.count(1):
            storage.fails_at = number
            try:
                registry.reload(force=True)
            except StorageUnavailableError:
                failed_at.append(number)
            else:
                break
            storage.fails_at = 0
            assert {slug: each.plugin for slug, each in registry.active.items()} == old
            assert sorted(registry.call("price", item="tea")) == [1, 5, 5]
            # New objects are released, once, and plugins in service are not.
            assert sorted(told) == sorted({*born} - {id(each) for each in old.values()})
        assert len(failed_at) > 1
        assert told.count(id(old["made"])) == 1
        assert id(instance) not in told
        check(registry)

    def test_by_hand_nothing_changes_while_the_storage_fails(self, load):
        """Neither register() nor unregister() leaves a half of itself behind."""
        storage = Flaky()
        registry = load(Good, storage=storage)
        storage.is_shut = True
        assert registry.register(Configured(), "mine").active  # It asks no storage.
        with pytest.raises(StorageUnavailableError):
            registry.unregister("mine")
        storage.is_shut = False
        assert sorted(registry.call("price", item="tea")) == [1, 5]
        registry.unregister("mine")
        assert list(registry.plugins) == ["good"]

    def test_discovery_failures_are_not_counted_by_single_changes(self, load):
        """Switching one plugin off and on finds nothing anew, so it counts nothing up."""
        registry = load(Good, plugin("good"))
        before = [(each.stage, each.count) for each in registry.errors]
        for _ in range(3):
            registry.deactivate("good")
            registry.activate("good")
        assert [(each.stage, each.count) for each in registry.errors] == before
        assert len(before) == 1
        registry.reload()
        assert [each.count for each in registry.errors] == [2]

    def test_all_that_is_asked_for_while_loading_is_carried_out(self, make):
        """Thirty plugins switched on by the one that is told of the load are all on."""
        slugs = [f"p{number}" for number in range(30)]

        def loaded(self, report):
            for each in slugs:
                registry.activate(each)

        boss = plugin("boss", plugreg_plugins_loaded=hookimpl(loaded))
        registry = make(
            boss,
            *[(each, Good) for each in slugs],
            new_plugins="inactive",
            mandatory=["boss"],
        )
        registry.load()
        assert sorted(registry.active) == sorted(["boss", *slugs])


class TestBringing:
    def test_what_is_wished_comes_with_its_bringer(self, load):
        """A brought plugin that was wished before is in service once its bringer is."""
        registry = load(bringing(("brought", Good)), new_plugins="inactive")
        registry.activate("brought", allow_missing=True)
        assert registry.get("brought").state is PluginState.MISSING
        registry.activate("bringer")
        assert registry.get("brought").active
        assert registry.call("price", item="tea") == [1]

    def test_nothing_at_all(self, load):
        """None is an answer."""
        registry = load(Good, plugin("bringer", plugreg_plugins=hookimpl(lambda self: None)))
        assert registry.get("bringer").active
        assert registry.errors == ()

    def test_without_end(self, load):
        """An answer that never ends is refused, and its plugin stays in service."""

        def plugins(self):
            return (("a", Good) for _ in itertools.count())

        registry = load(Good, plugin("bringer", plugreg_plugins=hookimpl(plugins)))
        check(registry)
        assert list(registry.active) == ["good", "bringer"]
        assert [each.subject for each in registry.errors] == ["plugreg_plugins"]

    def test_a_chain_without_end(self, load):
        """Plugins that bring plugins that bring plugins are stopped, and one failure says so."""
        numbers = itertools.count()

        def link():
            return plugin(
                None, plugreg_plugins=hookimpl(lambda self: [(f"link-{next(numbers)}", link())])
            )

        registry = load(Good, ("first", link()))
        check(registry)
        assert registry.get("first").active
        assert [each.message for each in registry.errors if "without end" in each.message]


class TestTheProcess:
    def test_another_asyncio(self, load, monkeypatch):
        """An object that a plugin puts in asyncio's place decides nothing."""

        def leave(self):
            sys.modules["asyncio"] = object()
            raise SystemExit

        monkeypatch.setitem(sys.modules, "asyncio", sys.modules.get("asyncio"))
        registry = load(Good, plugin("bad", __init__=leave))
        check(registry)
        assert [each.exception_type for each in registry.errors] == ["SystemExit"]

    def test_another_current_folder(self, make, tmp_path, monkeypatch):
        """Relative folders are those of the moment when the registry was made."""
        (tmp_path / "plugins").mkdir()
        (tmp_path / "plugins" / "inside.py").write_text(
            "from plugreg import Plugin\nclass Inside(Plugin):\n    NAME = 'inside'\n"
        )
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        elsewhere = tmp_path / "elsewhere"
        bad = plugin("bad", __init__=lambda self: os.chdir(elsewhere))
        registry = make(Good, bad, directories=["plugins"])
        registry.load()
        registry.reload(force=True)
        check(registry)
        assert list(registry.active) == ["good", "bad", "inside"]
        assert registry.errors == ()
