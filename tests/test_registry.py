"""PluginRegistry as a host uses it: the life of plugins from load to close."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest

from plugreg import (
    Plugin,
    PluginActiveError,
    PluginBlockedError,
    PluginFailure,
    PluginFaultError,
    PluginMandatoryError,
    PluginNotActiveError,
    PluginNotFoundError,
    PluginRegistry,
    PluginRequiredError,
    PluginSlugError,
    PluginState,
    RegistryNotReady,
    SettingError,
    Stage,
    StorageUnavailableError,
    hookimpl,
    hookspec,
)
from plugreg._lifecycle.change_queue import _has_ended
from plugreg.mixins import EventMixin, MixinSpec, SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage


class Hooks:
    @hookspec
    def price(self, item: str) -> float | None:
        """Return a price."""

    @hookspec(historic=True)
    def opened(self, shop: str) -> None:
        """The shop has opened."""


class Tea(Plugin):
    NAME = "Tea"

    @hookimpl
    def price(self, item: str) -> float | None:
        return 2.0


class Coffee(SettingsMixin, Plugin):
    NAME = "Coffee"
    TITLE = "Coffee bar"
    VERSION = "1.2"
    SETTINGS = {"PER_CENT": {"name": "Per cent", "default": 10, "validator": int}}

    @hookimpl
    def price(self, item: str) -> float | None:
        return float(self.get_setting("PER_CENT"))


class Broken(Plugin):
    NAME = "Broken"

    def __init__(self) -> None:
        raise ValueError("no beans")


def make(**options: Any) -> PluginRegistry:
    options.setdefault("builtin", [Tea, Coffee, Broken])
    return PluginRegistry("shop", hookspecs=[Hooks], **options)


@pytest.fixture
def registry() -> Any:
    with make() as registry:
        registry.load()
        yield registry


class TestReadiness:
    def test_reads_before_load_are_refused(self) -> None:
        """A registry that was not loaded says so, and gives no empty answer."""
        registry = make()

        for read in (
            lambda: registry.plugins,
            lambda: registry.active,
            lambda: registry.get("tea"),
            lambda: registry.with_mixin("base"),
            lambda: registry.settings("tea"),
            lambda: registry.metadata("tea"),
            lambda: registry.status(),
            lambda: registry.ui_features("panel"),
            lambda: registry.admin("tea"),
            lambda: registry.activate("tea"),
            lambda: registry.errors,
            lambda: registry.call(Hooks.price, item="tea"),
            lambda: registry.first(Hooks.price, item="tea"),
            lambda: registry.outcomes(Hooks.price, item="tea"),
        ):
            with pytest.raises(RegistryNotReady, match=r"call registry\.load\(\) first"):
                read()

    def test_with_does_not_load(self) -> None:
        """Entering the context manager leaves loading to the host."""
        with make() as registry, pytest.raises(RegistryNotReady):
            registry.get("tea")

    def test_closing_ends_everything_and_can_be_repeated(self) -> None:
        """After close no plugin is called, reads are refused, and closing again does nothing."""
        registry = make()
        registry.load()
        registry.activate("tea")
        registry.close()
        registry.close()

        assert registry.hook.price(item="tea") == []
        assert registry.call(Hooks.price, item="tea") == []
        assert registry.errors == ()
        with pytest.raises(RegistryNotReady, match="closed"):
            registry.get("tea")
        with pytest.raises(RegistryNotReady, match="closed"):
            registry.reload()

    def test_closing_tears_down_in_reverse(self) -> None:
        """The plugin that was activated last is let go first."""
        order = []

        class Noting(Plugin):
            @hookimpl
            def plugreg_deactivating(self) -> None:
                order.append(self.slug)

        registry = make(builtin=[("a", Noting), ("b", Noting)], new_plugins="active")
        registry.load()
        registry.close()

        assert order == ["b", "a"]

    def test_a_storage_that_was_passed_in_stays_open(self) -> None:
        """Whoever makes a storage closes it: another registry may be using it."""
        storage = MemoryStorage()
        with make(storage=storage) as registry:
            registry.load()
            registry.activate("tea")

        with make(storage=storage) as again:
            again.load()
            assert again.get("tea").active

    def test_loading_twice_is_reloading(self, registry: PluginRegistry) -> None:
        """The second load keeps the plugin objects that are in service."""
        plugin = registry.activate("tea").plugin
        registry.load()

        assert registry.get("tea").plugin is plugin

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"host_version": "two"}, "host_version 'two'"),
            ({"new_plugins": "on"}, "new_plugins must be"),
            ({"mandatory": {"tea"}, "blocked": {"tea"}}, "'tea' is in mandatory="),
            ({"mandatory": {"tea"}, "allowed": {"coffee"}}, "'tea' is in mandatory="),
            ({"switches": {"event": False}}, "did you mean 'events'"),
            ({"mixins": [MixinSpec("events", "Events", EventMixin)]}, "'events' is taken"),
        ],
    )
    def test_wrong_arguments_are_refused(self, options: dict[str, Any], message: str) -> None:
        """A contradiction is reported when the registry is made, not when it bites."""
        with pytest.raises(ValueError, match=message):
            make(**options)

    def test_a_text_is_no_collection_of_slugs(self) -> None:
        """``mandatory="tea"`` would mean three plugins of one letter each."""
        with pytest.raises(TypeError, match="mandatory must be a collection"):
            make(mandatory="tea")


class TestWishes:
    def test_new_plugins_are_off(self, registry: PluginRegistry) -> None:
        """A new plugin is found, stored with a number, and left off."""
        records = registry.plugins

        assert [record.state for record in records.values()] == [PluginState.INACTIVE] * 3
        assert sorted(record.pk for record in records.values()) == [1, 2, 3]
        assert not registry.active

    def test_new_plugins_can_be_on(self) -> None:
        """A host that says so gets them active, builtins included."""
        with make(new_plugins="active") as registry:
            registry.load()

            assert list(registry.active) == ["tea", "coffee"]

    def test_activation_is_carried_out_and_remembered(self) -> None:
        """The desired state outlives the registry, and the record has it beside the result."""
        storage = MemoryStorage()
        with make(storage=storage) as registry:
            registry.load()
            record = registry.activate("coffee")
            assert (record.wanted, record.state) == (True, PluginState.ACTIVE)
            assert record.active
            assert isinstance(record.plugin, Coffee)
            assert (record.title, record.version) == ("Coffee bar", "1.2")
            assert dict(record.mixins) == {"base": "base", "settings": "Settings"}
        with make(storage=storage) as again:
            again.load()
            assert list(again.active) == ["coffee"]
            assert again.get("coffee").pk == record.pk

    def test_a_failing_plugin_stays_wanted(self) -> None:
        """A result never overwrites a desired state: once the plugin can, it loads again."""
        storage = MemoryStorage()
        with make(storage=storage) as registry:
            registry.load()
            record = registry.activate("broken")
            assert (record.wanted, record.state) == (True, PluginState.FAILED)
            assert [failure.stage for failure in record.errors] == [Stage.INIT]
            assert record.plugin is None
        repaired = type("Broken", (Plugin,), {"NAME": "Broken"})
        with make(storage=storage, builtin=[repaired]) as again:
            report = again.load()
            assert again.get("broken").state is PluginState.ACTIVE
            assert report.failures == ()

    def test_unknown_plugins_are_refused_with_a_near_name(self, registry: PluginRegistry) -> None:
        """A slip of the pen is reported, with the probable meaning."""
        for method in (registry.activate, registry.deactivate, registry.get, registry.delete):
            with pytest.raises(PluginNotFoundError, match="did you mean 'coffee'"):
                method("cofee")

    def test_a_desired_state_can_wait_for_its_plugin(self, registry: PluginRegistry) -> None:
        """With ``allow_missing`` the desired state is stored for a plugin that is not there yet."""
        with pytest.raises(PluginNotFoundError):
            registry.activate("milk")
        record = registry.activate("milk", allow_missing=True)

        assert (record.state, record.wanted) == (PluginState.MISSING, True)
        assert not record.is_installed
        with pytest.raises(PluginSlugError, match="it is no slug"):
            registry.activate("Milk!", allow_missing=True)

    def test_a_stored_desired_state_whose_package_is_gone_is_missing(self) -> None:
        """The record keeps number and desired state, and comes back with the package."""
        storage = MemoryStorage()
        with make(storage=storage) as registry:
            registry.load()
            pk = registry.activate("tea").pk
        with make(storage=storage, builtin=[]) as without:
            without.load()
            record = without.get("tea")
            assert (record.state, record.wanted, record.pk) == (PluginState.MISSING, True, pk)
            with pytest.raises(PluginNotFoundError, match="not installed"):
                without.activate("tea")
            assert not without.deactivate("tea").wanted
            without.activate("tea", allow_missing=True)
        with make(storage=storage) as back:
            back.load()
            assert back.get("tea").active
            assert back.get("tea").pk == pk

    def test_blocked_plugins_stay_off_and_take_no_desired_state(self) -> None:
        """A forbidden plugin is not loaded whatever is stored, and cannot be switched on."""
        storage = MemoryStorage()
        with make(storage=storage) as registry:
            registry.load()
            registry.activate("tea")
        with make(storage=storage, blocked={"tea"}) as registry:
            registry.load()
            assert registry.get("tea").state is PluginState.BLOCKED
            assert registry.get("tea").wanted
            with pytest.raises(PluginBlockedError, match="'tea' is blocked"):
                registry.activate("tea")
        with make(storage=storage, allowed={"coffee"}) as registry:
            registry.load()
            assert registry.get("tea").state is PluginState.BLOCKED
            assert registry.get("coffee").state is PluginState.INACTIVE

    def test_mandatory_plugins_are_on_and_stay_on(self) -> None:
        """They are active right after load, and no public path switches them off."""
        with make(mandatory={"tea"}) as registry:
            registry.load()
            assert registry.get("tea").active
            assert registry.get("tea").is_mandatory
            for method in (registry.deactivate, registry.delete):
                with pytest.raises(PluginMandatoryError):
                    method("tea")
            assert registry.get("tea").active

    def test_a_mandatory_plugin_that_is_not_there_is_a_failure(self) -> None:
        """The host expects it, so its absence is reported by name."""
        with make(mandatory={"till"}) as registry:
            report = registry.load()

            assert registry.get("till").state is PluginState.MISSING
            assert [(e.stage, e.slug) for e in report.failures] == [(Stage.RESOLVE, "till")]

    def test_safe_mode_loads_nothing_and_writes_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Mandatory plugins too stay off; changes by an operator count at the next start."""
        monkeypatch.setenv("PLUGREG_SAFE_MODE", "1")
        storage = MemoryStorage()
        with make(storage=storage, mandatory={"coffee"}) as registry:
            registry.load()
            assert storage.revision() == 0
            assert not registry.active
            assert [plugin.pk for plugin in registry.plugins.values()] == [0, 0, 0]
            assert registry.activate("tea").state is PluginState.INACTIVE
            assert registry.get("tea").wanted
            assert "safe mode" in registry.get("tea").reason
        monkeypatch.delenv("PLUGREG_SAFE_MODE")
        with make(storage=storage, mandatory={"coffee"}) as normal:
            normal.load()
            assert list(normal.active) == ["tea", "coffee"]

    def test_deleting_forgets_all_but_the_number(self, registry: PluginRegistry) -> None:
        """Desired state, settings and metadata are gone; the number is never given again."""
        pk = registry.activate("coffee").pk
        registry.settings("coffee").set("PER_CENT", 5)
        registry.set_metadata("coffee", {"shelf": 1})
        with pytest.raises(PluginActiveError):
            registry.delete("coffee")
        registry.deactivate("coffee")
        registry.delete("coffee")
        registry.reload(collect=True)

        assert registry.metadata("coffee") == {}
        assert registry.activate("coffee").pk > pk
        assert registry.settings("coffee")["PER_CENT"] == 10


class TestSlugs:
    def test_names_that_differ_in_an_accent_are_two_plugins(self) -> None:
        """Each letter counts as the letter under its accent, and both plugins are in service."""
        with make(builtin=[("Möller", Tea()), ("Müller", Tea())], new_plugins="active") as registry:
            registry.load()
            assert list(registry.active) == ["moller", "muller"]
            assert registry.errors == ()

    def test_what_an_older_version_stored_under_another_slug_stays(self) -> None:
        """The row of the old slug is a missing plugin; nothing is moved, changed or deleted."""
        storage = MemoryStorage()
        old = {"pk": 1, "active": True, "name": "Müller", "distribution": None}
        with storage.transaction() as transaction:
            transaction.put("plugins", "m-ller", old)
            transaction.put("counters", "pk", {"last": 1})
        with PluginRegistry("shop", builtin=[("Müller", Tea())], storage=storage) as registry:
            registry.load()
            assert registry.get("m-ller").state is PluginState.MISSING
            new = registry.get("muller")
            assert (new.state, new.pk) == (PluginState.INACTIVE, 2)
            assert storage.read("plugins")["m-ller"] == old

    def test_a_name_without_latin_letters_is_refused_unless_slug_is_set(self) -> None:
        """The record names the remedy; with SLUG the plugin is found."""

        class Japanese(Plugin):
            NAME = "日本語"

        class Named(Japanese):
            SLUG = "nihongo"

        with PluginRegistry("shop", builtin=[Japanese, Named]) as registry:
            registry.load()
            (failure,) = registry.errors
            assert failure.stage is Stage.DISCOVERY
            assert "'日本語' gives an empty slug; set SLUG" in failure.message
            assert list(registry.plugins) == ["nihongo"]


class TestDeactivation:
    def test_no_call_reaches_a_plugin_that_is_off(self, registry: PluginRegistry) -> None:
        """Neither through call, nor the relay, nor a mixin look-up."""
        registry.activate("tea")
        registry.activate("coffee")
        record = registry.deactivate("tea")

        assert (record.state, record.plugin, record.wanted) == (PluginState.INACTIVE, None, False)
        assert registry.call(Hooks.price, item="tea") == [10.0]
        assert registry.hook.price(item="tea") == [10.0]
        assert len(registry.with_mixin("base")) == 1

    def test_one_that_is_needed_is_kept_unless_cascading(self, registry: PluginRegistry) -> None:
        """The plugins that a plugin brought need it: it goes with them, or not at all."""

        class Mother(Plugin):
            @hookimpl
            def plugreg_plugins(self) -> list[tuple[str, object]]:
                return [("child", Tea)]

        with make(builtin=[Mother], new_plugins="active") as registry:
            registry.load()
            assert list(registry.active) == ["mother", "child"]
            with pytest.raises(PluginRequiredError, match="needed by 'child'") as caught:
                registry.deactivate("mother")
            assert caught.value.needed_by == ("child",)
            assert list(registry.active) == ["mother", "child"]
            registry.deactivate("mother", cascade=True)
            assert not registry.active

    def test_errors_of_a_plugin_go_with_it(self, registry: PluginRegistry) -> None:
        """A plugin that is off on purpose has nothing to explain."""
        registry.activate("broken")
        assert registry.errors
        registry.deactivate("broken")

        assert registry.errors == ()

    def test_a_hundred_cycles_leave_nothing_behind(self, registry: PluginRegistry) -> None:
        """Hooks, mixins, records, failures and objects are as before."""
        import gc
        import weakref

        objects = []
        for _ in range(100):
            objects.append(weakref.ref(registry.activate("coffee").plugin))
            registry.deactivate("coffee")
        gc.collect()

        assert [reference for reference in objects if reference() is not None] == []
        assert registry.errors == ()
        assert registry.manager.hook.price.get_hookimpls() == []
        assert registry.manager.list_name_plugin() == []
        assert registry.with_mixin("settings") == ()


class TestReload:
    def test_nothing_changed_means_nothing_made_anew(self, registry: PluginRegistry) -> None:
        """Class and object identity survive a plain reload."""
        plugin = registry.activate("tea").plugin
        registry.reload()
        registry.reload(collect=True)

        assert registry.get("tea").plugin is plugin

    def test_force_makes_every_object_anew(self, registry: PluginRegistry) -> None:
        """The class stays the same, the object does not."""
        plugin = registry.activate("tea").plugin
        registry.reload(force=True)

        assert registry.get("tea").plugin is not plugin
        assert type(registry.get("tea").plugin) is type(plugin)

    def test_full_tells_mixins_so(self) -> None:
        """A host's row learns that everything is done again."""
        seen = []
        row = MixinSpec("log", "Log", Tea, activate=lambda plugin, full: seen.append(full), order=5)
        with make(builtin=[Tea], mixins=[row], new_plugins="active") as registry:
            registry.load()
            registry.reload(full=True)

        assert seen == [False, True]

    def test_failures_are_counted_and_cleared(self) -> None:
        """The same failure is one record with a count; a load that works clears it."""

        class Moody(Plugin):
            angry = True

            def __init__(self) -> None:
                if self.angry:
                    raise ValueError("not now")

        new: list[PluginFailure] = []
        with make(builtin=[Moody], new_plugins="active", on_failure=new.append) as registry:
            registry.load()
            registry.reload()
            (failure,) = registry.errors
            assert failure.count == 2
            assert failure.first_seen <= failure.last_seen
            assert failure.exception_type == "ValueError"
            assert "not now" in failure.traceback
            assert len(new) == 1
            Moody.angry = False
            report = registry.reload()
            assert report.active == ("moody",)
            assert registry.errors == ()

    def test_strict_raises_after_publishing(self) -> None:
        """A host that wants a hard stop gets every failure in one group, and is loaded."""
        with make(new_plugins="active") as registry:
            with pytest.raises(ExceptionGroup) as caught:
                registry.load(strict=True)
            (fault,) = caught.value.exceptions
            assert isinstance(fault, PluginFaultError)
            assert (fault.stage, fault.slug) == ("init", "broken")
            assert list(registry.active) == ["tea", "coffee"]

    def test_a_reload_that_fails_keeps_the_old_snapshot(self) -> None:
        """A storage that is away stops the reload, not the plugins in service."""

        class Away(MemoryStorage):
            away = False

            def read(self, table: str) -> Any:
                if self.away:
                    raise StorageUnavailableError("memory", "it is away")
                return super().read(table)

        storage = Away()
        with make(storage=storage) as registry:
            registry.load()
            plugin = registry.activate("tea").plugin
            storage.away = True
            with pytest.raises(StorageUnavailableError):
                registry.reload(force=True)
            assert registry.get("tea").plugin is plugin
            assert registry.call(Hooks.price, item="tea") == [2.0]
            storage.away = False
            registry.reload(force=True)
            assert registry.get("tea").plugin is not plugin

    def test_load_without_its_storage_is_refused(self) -> None:
        """Starting without desired states would switch everything off, so it does not start."""

        class Away(MemoryStorage):
            def read(self, table: str) -> Any:
                raise StorageUnavailableError("memory", "it is away")

        with make(storage=Away()) as registry:
            with pytest.raises(StorageUnavailableError):
                registry.load()
            with pytest.raises(RegistryNotReady):
                registry.get("tea")

    def test_what_interrupts_a_load_leaves_no_trace(self, registry: PluginRegistry) -> None:
        """Ctrl-C in a constructor ends the reload; new objects are released, old ones stay."""
        let_go = []

        class First(Plugin):
            @hookimpl
            def plugreg_deactivating(self) -> None:
                let_go.append(self)

        class Second(Plugin):
            stop = False

            def __init__(self) -> None:
                if self.stop:
                    raise KeyboardInterrupt

        with make(builtin=[First, Second], new_plugins="active") as registry:
            registry.load()
            before = dict(registry.active.items())
            Second.stop = True
            with pytest.raises(KeyboardInterrupt):
                registry.reload(force=True)
            assert dict(registry.active.items()) == before
            assert len(let_go) == 1
            assert let_go[0] is not before["first"].plugin
            Second.stop = False
            assert registry.reload(force=True).active == ("first", "second")

    def test_a_reload_asked_for_by_a_plugin_is_done_after(self) -> None:
        """Plugin code cannot start a load inside a load; that load follows right after."""
        seen = []

        class Impatient(Plugin):
            @hookimpl
            def plugreg_activated(self) -> None:
                if not seen:
                    seen.append(registry.reload(force=True).active)

        with make(builtin=[Impatient, Tea], new_plugins="active") as registry:
            registry.load()
            made = registry.get("impatient").plugin
            registry.deactivate("impatient")
            seen.clear()
            registry.activate("impatient")

            assert seen == [()]
            assert registry.get("impatient").plugin is not made

    def test_callers_that_wait_share_one_reload(self) -> None:
        """Requests that come while one runs are carried out once, after it, for all of them."""
        running, go_on = threading.Event(), threading.Event()
        loads = []

        class Slow(Plugin):
            def __init__(self) -> None:
                loads.append(self)
                if len(loads) == 2:
                    running.set()
                    assert go_on.wait(60)

        with make(builtin=[Slow], new_plugins="active") as registry:
            registry.load()
            reports = []
            threads = [
                threading.Thread(target=lambda: reports.append(registry.reload(force=True)))
                for _ in range(6)
            ]
            threads[0].start()
            assert running.wait(60)
            for thread in threads[1:]:
                thread.start()
            # The reload that runs is held until the other five have asked for theirs.
            code = _has_ended.__code__
            deadline = time.monotonic() + 60
            while sum(frame.f_code is code for frame in sys._current_frames().values()) < 5:
                assert time.monotonic() < deadline
                threading.Event().wait(0.001)
            go_on.set()
            for thread in threads:
                thread.join(60)

            assert len(loads) == 3
            assert len({id(report) for report in reports}) == 2


class TestByHand:
    def test_an_object_is_active_at_once_and_outlives_reloads(
        self, registry: PluginRegistry
    ) -> None:
        """It has no number and no stored desired state."""
        plugin = Tea()
        record = registry.register(plugin, slug="mine")
        registry.reload(force=True, collect=True)

        assert (record.pk, record.active, record.wanted) == (0, True, True)
        assert registry.get("mine").plugin is plugin
        assert registry.call(Hooks.price, item="tea") == [2.0]
        assert registry.activate("mine").active
        with pytest.raises(PluginSlugError, match=r"use unregister\(\)"):
            registry.deactivate("mine")
        registry.unregister("mine")
        assert registry.call(Hooks.price, item="tea") == []
        with pytest.raises(PluginNotFoundError):
            registry.get("mine")
        with pytest.raises(PluginNotFoundError, match="registered by hand"):
            registry.unregister("tea")

    def test_a_storage_that_cannot_be_written_matters_to_none(self) -> None:
        """Nothing is stored of an object, so that no transaction is begun for it."""

        class ReadOnly(MemoryStorage):
            is_open = True

            def transaction(self) -> Any:
                assert self.is_open
                return super().transaction()

        storage = ReadOnly()
        with make(storage=storage) as registry:
            registry.load()
            storage.is_open = False
            assert registry.register(Tea(), slug="mine").active
            registry.unregister("mine")
            assert "mine" not in registry.plugins
            storage.is_open = True

    @pytest.mark.parametrize(
        ("slug", "reason"), [("tea", "known plugin"), ("!", "empty"), ("settings", "reserved")]
    )
    def test_a_slug_that_does_not_do_is_refused(
        self, registry: PluginRegistry, slug: str, reason: str
    ) -> None:
        """A known, an empty and a reserved slug change nothing."""
        with pytest.raises(PluginSlugError, match=reason):
            registry.register(Tea(), slug=slug)

        assert not registry.active

    def test_a_blocked_one_is_refused(self) -> None:
        """A forbidden plugin cannot come in by hand either."""
        with make(blocked={"mine"}) as registry:
            registry.load()
            with pytest.raises(PluginBlockedError):
                registry.register(Tea(), slug="mine")

    def test_a_fault_of_the_object_is_a_record(self, registry: PluginRegistry) -> None:
        """Its class failing is the plugin's fault, not the host's."""
        record = registry.register(Broken, slug="mine")

        assert record.state is PluginState.FAILED
        assert [failure.stage for failure in record.errors] == [Stage.INIT]

    def test_what_a_host_registers_on_the_manager_is_left_alone(
        self, registry: PluginRegistry
    ) -> None:
        """It is called alike, has no record, no reload touches it, and its name is taken."""
        own = ModuleType("own")
        own.price = hookimpl(lambda item: 9.0)  # type: ignore[attr-defined]
        registry.manager.register(own, "tea")
        record = registry.activate("tea")
        registry.reload(force=True)

        assert record.state is PluginState.FAILED
        assert "taken or blocked" in record.errors[0].message
        assert registry.call(Hooks.price, item="tea") == [9.0]
        registry.manager.unregister(own)
        registry.reload()
        assert registry.call(Hooks.price, item="tea") == [2.0]


class TestBringing:
    def test_brought_plugins_are_off_until_wanted_and_need_their_bringer(self) -> None:
        """They are found after the entry points, each with a record of its own."""

        class Mother(Plugin):
            @hookimpl
            def plugreg_plugins(self) -> list[tuple[str, object]]:
                return [("child", Tea)]

        storage = MemoryStorage()
        with make(builtin=[Mother], storage=storage) as registry:
            registry.load()
            assert list(registry.plugins) == ["mother"]
            registry.activate("mother")
            assert registry.get("child").state is PluginState.INACTIVE
            registry.activate("child")
            assert list(registry.active) == ["mother", "child"]
        with make(builtin=[Mother], storage=storage) as again:
            again.load()
            assert list(again.active) == ["mother", "child"]

    def test_a_wrong_answer_costs_no_more_than_itself(self) -> None:
        """The plugin stays active, and the fault is reported."""

        class Mother(Plugin):
            @hookimpl
            def plugreg_plugins(self) -> list[object]:
                return ["child"]

        with make(builtin=[Mother], new_plugins="active") as registry:
            (failure,) = registry.load().failures
            assert registry.get("mother").active
            assert (failure.stage, failure.slug) == (Stage.ACTIVATE, "mother")
            assert "pairs" in failure.message


class TestHooksOfPlugreg:
    def test_activated_and_deactivating_once_for_each_object(
        self, registry: PluginRegistry
    ) -> None:
        """A plugin that stays as it is hears nothing of a reload."""
        seen = []

        class Noting(Plugin):
            @hookimpl
            def plugreg_activated(self) -> None:
                seen.append("on")

            @hookimpl
            def plugreg_deactivating(self) -> None:
                seen.append("off")

            @hookimpl
            def plugreg_plugins_loaded(self, report: Any) -> None:
                seen.append(report.active)

        with make(builtin=[Noting], new_plugins="active") as registry:
            registry.load()
            registry.reload()
            registry.deactivate("noting")

        assert seen == ["on", ("noting",), ("noting",), "off"]

    def test_settings_changed_is_reported_to_that_plugin_alone(self) -> None:
        """It gets the keys that have changed, and nothing when nothing has."""
        seen = []

        class Other(Plugin):
            @hookimpl
            def plugreg_settings_changed(self, changed: frozenset[str]) -> None:
                raise AssertionError("not mine")

        class Noting(Coffee):
            NAME = "Noting"

            @hookimpl
            def plugreg_settings_changed(self, changed: frozenset[str]) -> None:
                seen.append(changed)

        with make(builtin=[Noting, Other], new_plugins="active") as registry:
            registry.load()
            registry.settings("noting").set("per_cent", 20)
            registry.settings("noting").set("PER_CENT", 20)
            assert registry.errors == ()

        assert seen == [{"PER_CENT"}]

    def test_a_historic_call_reaches_each_object_once(self, registry: PluginRegistry) -> None:
        """A module that is let go and comes back has had its call; a new object has not."""
        opened = []
        module = ModuleType("till")
        module.opened = hookimpl(lambda shop: opened.append(shop))  # type: ignore[attr-defined]
        with make(builtin=[("till", module)]) as registry:
            registry.load()
            registry.hook.opened.call_historic(kwargs={"shop": "one"})
            registry.activate("till")
            registry.reload(force=True)
            registry.deactivate("till")
            registry.hook.opened.call_historic(kwargs={"shop": "two"})
            registry.activate("till")

        assert opened == ["one", "two"]

    def test_an_unknown_hook_is_reported_and_harms_nobody(self, registry: PluginRegistry) -> None:
        """The plugin stays active; a later spec for the hook settles it."""

        class Typo(Plugin):
            @hookimpl
            def prize(self) -> None:
                pass

        with make(builtin=[Typo], new_plugins="active") as registry:
            (failure,) = registry.load().failures
            assert registry.get("typo").active
            assert (failure.stage, failure.slug) == (Stage.ACTIVATE, "typo")
            assert "did you mean 'price'" in failure.message

            class More:
                @hookspec
                def prize(self) -> None:
                    """Return a prize."""

            registry.manager.add_hookspecs(More)
            registry.reload()
            assert registry.errors == ()


class TestLookUp:
    def test_errors_in_call_are_counted_by_plugin_and_hook(self) -> None:
        """A thousand faults of one hook are one record."""

        class Bad(Plugin):
            @hookimpl
            def price(self, item: str) -> float:
                raise SystemExit(f"no {item}")

        with make(builtin=[Bad, Tea], new_plugins="active") as registry:
            registry.load()
            for number in range(1000):
                assert registry.call(Hooks.price, item=str(number)) == [2.0]
            (failure,) = registry.errors
            assert (failure.stage, failure.slug, failure.count) == (Stage.CALL, "bad", 1000)
            assert failure.message == "hook 'price': SystemExit: no 999"
            assert registry.get("bad").errors == (failure,)

    def test_status_is_data(self, registry: PluginRegistry) -> None:
        """It counts plugins in service, and every failure is three strings."""
        registry.activate("tea")
        registry.activate("broken")

        assert registry.status() == {
            "active_plugins": 1,
            "registry_errors": [
                {"stage": "init", "name": "broken", "message": "ValueError: no beans"}
            ],
        }

    def test_views_show_one_moment(self, registry: PluginRegistry) -> None:
        """A mapping in hand is not changed by later activations."""
        before = registry.active
        registry.activate("tea")

        assert (list(before), len(before), "tea" in before) == ([], 0, False)
        assert list(registry.active) == ["tea"]
        assert repr(registry.active) == "<plugins: tea>"
        with pytest.raises(KeyError):
            before["tea"]

    def test_settings_need_an_active_plugin(self, registry: PluginRegistry) -> None:
        """The refusal names the plugin and its state."""
        with pytest.raises(PluginNotActiveError, match="'coffee' is inactive"):
            registry.settings("coffee")
        with pytest.raises(PluginNotFoundError):
            registry.settings("milk")
        registry.activate("coffee")
        assert registry.settings("coffee")["per_cent"] == 10
        with pytest.raises(SettingError, match="integer"):
            registry.settings("coffee").set("PER_CENT", "many")
        assert dict(registry.user_settings("coffee", user=7)) == {}

    def test_failures_and_reports_are_plain_data(self, registry: PluginRegistry) -> None:
        """They can be pickled, so that a worker can send them."""
        registry.activate("broken")
        report = registry.reload()

        assert pickle.loads(pickle.dumps(report)) == report
        assert pickle.loads(pickle.dumps(registry.errors)) == registry.errors

    def test_with_mixin_follows_switch_and_order(self) -> None:
        """Objects in activation order; a capability that is switched off has none."""

        class Listening(EventMixin, Plugin):
            def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
                pass

        builtin = [("b", Listening), ("a", Listening)]
        with make(builtin=builtin, new_plugins="active") as registry:
            registry.load()
            assert registry.with_mixin(" Events ") == tuple(
                registry.get(slug).plugin for slug in ("b", "a")
            )
            assert registry.with_mixin("nothing") == ()
        with make(builtin=builtin, new_plugins="active", switches={"events": False}) as registry:
            registry.load()
            assert registry.with_mixin("events") == ()
            assert "events" in registry.get("a").mixins

    def test_one_ui_fault_costs_one_feature(self) -> None:
        """All other features are returned, and the fault is a record."""

        class Panels(UserInterfaceMixin, Plugin):
            def get_ui_panels(self, request: Any, context: Any, **kwargs: Any) -> list[Any]:
                return [{"key": "good", "title": "Good"}, {"title": "no key"}]

        class Raises(UserInterfaceMixin, Plugin):
            def get_ui_panels(self, request: Any, context: Any, **kwargs: Any) -> list[Any]:
                raise RuntimeError("no panel today")

        with make(builtin=[Panels, Raises], new_plugins="active") as registry:
            registry.load()
            features = registry.ui_features("panel", context={"target": "part"})
            assert [(feature.plugin_name, feature.key) for feature in features] == [
                ("panels", "good")
            ]
            assert sorted((failure.stage, failure.slug) for failure in registry.errors) == [
                (Stage.CALL, "panels"),
                (Stage.CALL, "raises"),
            ]
            assert registry.admin("panels").source is None


def test_a_plugin_that_reloads_whenever_it_was_loaded_is_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Changes that ask for changes come to an end, and the host goes on."""
    loads = []

    class Restless(Plugin):
        @hookimpl
        def plugreg_plugins_loaded(self, report: Any) -> None:
            loads.append(report)
            registry.reload()

    with make(builtin=[Restless, Tea], new_plugins="active") as registry:
        assert registry.load().active == ("restless", "tea")
        assert len(loads) == 21
        assert "without end" in caplog.text
        assert registry.call(Hooks.price, item="tea") == [2.0]


def test_a_full_reload_takes_the_neighbours_of_a_folder_along(tmp_path: Any) -> None:
    """A module that a plugin imports from beside itself is imported again with it."""
    (tmp_path / "one.py").write_text(
        "from plugreg import Plugin\n"
        "from . import helper\n"
        "class One(Plugin):\n"
        "    ANSWER = helper.X\n"
    )
    (tmp_path / "helper.py").write_text("X = 1\n")
    with make(builtin=[], directories=[tmp_path], new_plugins="active") as registry:
        registry.load()
        assert registry.get("one").plugin.ANSWER == 1
        (tmp_path / "helper.py").write_text("X = 2\n")
        registry.reload(force=True)
        assert registry.get("one").plugin.ANSWER == 1
        registry.reload(full=True)
        assert registry.get("one").plugin.ANSWER == 2
