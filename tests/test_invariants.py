"""Guarantees that always hold, as docs/reference/guarantees.md has them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugreg import Plugin, PluginRegistry, PluginState, Stage, hookimpl, hookspec
from plugreg.mixins import MixinSpec, ScheduleMixin
from plugreg.storage import MemoryStorage


class Hooks:
    @hookspec
    def price(self, item: str) -> float | None:
        """Return a price."""


class Good(Plugin):
    @hookimpl
    def price(self, item: str) -> float:
        return 1.0


class Bad(Plugin):
    @hookimpl
    def price(self, item: str) -> float:
        return 5.0


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Foreign(BaseException):
    pass


def _endless() -> None:
    _endless()


FAULTS: dict[str, Callable[[], BaseException | None]] = {
    "exception": lambda: ValueError("no"),
    "exit": lambda: SystemExit(3),
    "recursion": _endless,  # type: ignore[dict-item]
    "base": lambda: Foreign("no"),
    "unprintable": Unprintable,
    "cancelled": asyncio.CancelledError,
    "group": lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("no")]),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        error = FAULTS[request.param]()
        assert error is not None
        raise error

    return fail


def check(plugin: object, stage: Stage, act: Callable[[PluginRegistry], object]) -> None:
    """See to it that one plugin's fault at a stage is its own, and the neighbours go on.

    In a coroutine, too, where a CancelledError may be that of the task.
    """

    async def inside() -> None:
        check_here(plugin, stage, act)

    check_here(plugin, stage, act)
    asyncio.run(inside())


def check_here(plugin: object, stage: Stage, act: Callable[[PluginRegistry], object]) -> None:
    builtin = [("a-good", Good), ("m-bad", plugin), ("z-good", Good)]
    with PluginRegistry(
        "shop", hookspecs=[Hooks], builtin=builtin, new_plugins="active", mixins=[ROW]
    ) as registry:
        registry.load()
        act(registry)
        found = {(each.stage, each.slug) for each in registry.errors}
        assert found == {(stage, "m-bad")}
        assert registry.get("a-good").active
        assert registry.get("z-good").active
        assert registry.call(Hooks.price, item="tea").count(1.0) == 2
        assert {each["stage"] for each in registry.status()["registry_errors"]} == {stage}


class Row:
    pass


ROW = MixinSpec(
    "row",
    "Row",
    Row,
    activate=lambda plugin: plugin.switch_on(),
    deactivate=lambda plugin: plugin.switch_off(),
)


def nothing(_registry: PluginRegistry) -> None:
    """Do nothing: the fault has come with the load."""


class TestOneFaultIsOnePluginsFault:
    """No fault of any kind at any stage changes another plugin's behaviour."""

    def test_in_the_constructor(self, fault: Callable[..., Any]) -> None:
        """The plugin is failed at ``init``."""
        check(type("Bad", (Bad,), {"__init__": fault}), Stage.INIT, nothing)

    def test_in_its_activation(self, fault: Callable[..., Any]) -> None:
        """The plugin is failed at ``activate``."""
        bad = type("Bad", (Bad,), {"plugreg_activated": hookimpl(lambda self: fault())})
        check(bad, Stage.ACTIVATE, nothing)

    def test_in_a_mixins_activation(self, fault: Callable[..., Any]) -> None:
        """The mixin is named."""
        bad = type("Bad", (Row, Bad), {"switch_on": fault, "switch_off": lambda self: None})
        check(bad, Stage.ACTIVATE, nothing)

    def test_in_a_call(self, fault: Callable[..., Any]) -> None:
        """It costs one result, and the plugin stays active."""

        def act(registry: PluginRegistry) -> None:
            assert registry.call(Hooks.price, item="tea") == [1.0, 1.0]
            assert registry.get("m-bad").active

        bad = type("Bad", (Plugin,), {"price": hookimpl(lambda self, item: fault())})
        check(bad, Stage.CALL, act)

    def test_in_its_deactivation(self, fault: Callable[..., Any]) -> None:
        """The plugin is off all the same."""

        def act(registry: PluginRegistry) -> None:
            assert registry.deactivate("m-bad").state is PluginState.INACTIVE

        bad = type(
            "Bad",
            (Row, Bad),
            {
                "switch_on": lambda self: None,
                "switch_off": fault,
                "plugreg_deactivating": hookimpl(lambda self: fault()),
            },
        )
        check(bad, Stage.DEACTIVATE, act)

    @pytest.mark.parametrize("attribute", ["TITLE", "NAME", "VERSION", "PUBLISH_DATE", "SLUG"])
    def test_in_a_property(self, fault: Callable[..., Any], attribute: str) -> None:
        """A plugin's metadata may fail; it is active without it."""
        check(type("Bad", (Bad,), {attribute: property(fault)}), Stage.INIT, nothing)

    def test_in_a_contract(self, fault: Callable[..., Any]) -> None:
        """A capability whose data cannot be read is the plugin's fault."""
        bad = type("Bad", (ScheduleMixin, Bad), {"SCHEDULED_TASKS": property(fault)})
        check(bad, Stage.ACTIVATE, nothing)

    @pytest.mark.parametrize("method", ["__eq__", "__hash__", "__repr__", "__bool__", "__len__"])
    def test_in_what_every_object_has(self, fault: Callable[..., Any], method: str) -> None:
        """A plugin may be neither compared, hashed, printed nor tested for truth."""
        bad = type("Bad", (Bad,), {method: fault})
        builtin = [("a-good", Good), ("m-bad", bad), ("z-good", Good)]
        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=builtin, new_plugins="active"
        ) as registry:
            registry.load()
            manager = registry.manager
            own = Good()
            assert manager.register(own, "own") == "own"
            assert manager.get_name(own) == "own"
            assert own in manager.get_plugins()
            manager.unregister(own)
            registry.reload(force=True)
            registry.deactivate("m-bad")
            registry.activate("m-bad")
            assert registry.get("m-bad").active
            assert registry.call(Hooks.price, item="tea") == [1.0, 5.0, 1.0]
            assert registry.errors == ()

    @pytest.mark.parametrize(
        "method", ["__getattribute__", "__getattr__", "__setattr__", "__dir__"]
    )
    def test_in_how_its_attributes_are_reached(
        self, fault: Callable[..., Any], method: str
    ) -> None:
        """Whatever becomes of such a plugin, the others are active and called."""
        builtin = [("a-good", Good), ("m-bad", type("Bad", (Bad,), {method: fault}))]
        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=builtin, new_plugins="active"
        ) as registry:
            registry.load()
            assert registry.get("a-good").active
            assert 1.0 in registry.call(Hooks.price, item="tea")
            if not registry.get("m-bad").active:
                assert registry.get("m-bad").errors

    def test_in_its_import(self, tmp_path: Path) -> None:
        """A file that fails when it is imported is failed at ``import``."""
        (tmp_path / "bad.py").write_text(
            "from plugreg import Plugin\n"
            "class Bad(Plugin):\n"
            "    SLUG = 'bad'\n"
            "raise SystemExit(2)\n"
        )
        (tmp_path / "good.py").write_text(
            "from plugreg import Plugin\nclass Good(Plugin):\n    SLUG = 'good'\n"
        )
        with PluginRegistry("shop", directories=[tmp_path], new_plugins="active") as registry:
            registry.load()
            assert list(registry.active) == ["good"]
            assert [(e.stage, e.slug, e.exception_type) for e in registry.errors] == [
                (Stage.IMPORT, "bad", "SystemExit")
            ]

    @pytest.mark.parametrize("signal", [KeyboardInterrupt, GeneratorExit])
    def test_what_belongs_to_the_process_passes(self, signal: type[BaseException]) -> None:
        """Ctrl-C in a plugin reaches the host."""

        class Stopped(Plugin):
            @hookimpl
            def price(self, item: str) -> float:
                raise signal

        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=[Stopped], new_plugins="active"
        ) as registry:
            registry.load()
            with pytest.raises(signal):
                registry.call(Hooks.price, item="tea")
            assert registry.errors == ()


READING = """
import json, sys
from pathlib import Path
from plugreg import PluginRegistry
from plugreg.storage import TinyDBStorage

site, store = sys.argv[1:]
sys.path.insert(0, site)
registry = PluginRegistry("shop", storage=TinyDBStorage(store), directories=[site + "/folder"])
registry.load()
registry.set_metadata("one", {"shelf": 1})
modules, content = set(sys.modules), Path(store).read_bytes()
stat = Path(store).stat()
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
for _ in range(50):
    for slug, record in registry.plugins.items():
        record.description, record.author, record.website, record.license, record.errors
        registry.admin(slug), registry.metadata(slug), repr(record)
    registry.errors, registry.status(), registry.with_mixin("base"), registry.active
    registry.ui_features("panel")
again = Path(store).stat()
print(json.dumps({
    "plugins": {slug: [each.state, each.title, each.version, each.author]
                for slug, each in registry.plugins.items()},
    "imported": sorted(m for m in set(sys.modules) - modules if m in ("one", "two", "three")
                       or m.startswith("_plugreg")),
    "written": content != Path(store).read_bytes() or stat.st_mtime_ns != again.st_mtime_ns,
    "opened": len([name for name in opened if site in name]),
}))
"""


class TestReadingOnlyReads:
    """Listing, and everything a read does, imports nothing and writes nothing."""

    def test_a_process_that_only_lists(self, site: Any, tmp_path: Path) -> None:
        """No module of an inactive plugin is imported, and the store's file stays as it is.

        A distribution is read once, however often its record is looked at.
        """
        site.dist(
            "one",
            "1.5",
            {"shop.plugins": {"one": "one:Plugin"}},
            metadata="Author: Someone\nSummary: First\n",
            modules={"one.py": "raise RuntimeError('imported')\n"},
        )
        site.dist("two", "2.0", {"shop.plugins": {"two": "two"}}, modules={"two.py": "boom\n"})
        folder = site.folder / "folder"
        folder.mkdir()
        (folder / "three.py").write_text(
            "class Three:\n    NAME = 'three'\n    TITLE = 'Third'\nboom\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", READING, str(site.folder), str(tmp_path / "store.json")],
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)

        assert found["plugins"] == {
            "one": ["inactive", "one", "1.5", "Someone"],
            "three": ["inactive", "Third", None, None],
            "two": ["inactive", "two", "2.0", None],
        }
        assert found["imported"] == []
        assert found["written"] is False
        assert found["opened"] <= 2

    def test_a_storage_that_refuses_writes_is_never_asked_to(self) -> None:
        """Reads and look-ups of a loaded registry do not touch the storage at all."""

        class Shut(MemoryStorage):
            shut = False

            def read(self, table: str) -> Any:
                assert not self.shut, "a read touched the storage"
                return super().read(table)

            def transaction(self) -> Any:
                assert not self.shut, "a read began a transaction"
                return super().transaction()

        storage = Shut()
        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=[Good], storage=storage, new_plugins="active"
        ) as registry:
            registry.load()
            storage.shut = True
            for _ in range(100):
                assert registry.get("good").active
                assert registry.metadata("good") == {}
                assert dict(registry.settings("good")) == {}
                assert registry.call(Hooks.price, item="tea") == [1.0]
            storage.shut = False


class TestReadersMissNothing:
    """Under 8 reader threads and 200 reloads no reader ever misses a plugin."""

    def test_eight_readers_and_two_hundred_reloads(self) -> None:
        """Calls, relay, look-ups and records show all plugins at every moment."""
        slugs = [f"p{number}" for number in range(6)]
        stop = threading.Event()
        missed: list[str] = []
        rounds = [0] * 8

        def read(me: int) -> None:
            while not stop.is_set():
                rounds[me] += 1
                if len(registry.call(Hooks.price, item="tea")) != len(slugs):
                    missed.append("call")
                if len(registry.hook.price(item="tea")) != len(slugs):
                    missed.append("relay")
                if len(registry.with_mixin("base")) != len(slugs):
                    missed.append("mixin")
                if list(registry.active) != slugs:
                    missed.append("active")
                if not registry.get("p3").active:
                    missed.append("record")

        interval = sys.getswitchinterval()
        builtin = [(slug, Good) for slug in slugs]
        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=builtin, new_plugins="active"
        ) as registry:
            registry.load()
            threads = [threading.Thread(target=read, args=(me,)) for me in range(8)]
            sys.setswitchinterval(1e-5)
            try:
                for thread in threads:
                    thread.start()
                for _ in range(200):
                    registry.reload(force=True)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
                sys.setswitchinterval(interval)

        assert missed == []
        assert min(rounds) > 0


class TestRegistriesAreAlone:
    """Two registries in one process know nothing of each other."""

    def test_wishes_settings_failures_and_hooks_are_apart(self) -> None:
        """The same class can be on in one and off in the other."""
        first = PluginRegistry("shop", hookspecs=[Hooks], builtin=[Good])
        second = PluginRegistry("shop", hookspecs=[Hooks], builtin=[Good])
        with first, second:
            first.load()
            second.load()
            first.activate("good")
            first.set_metadata("good", {"shelf": 1})
            assert second.get("good").state is PluginState.INACTIVE
            assert second.metadata("good") == {}
            assert second.call(Hooks.price, item="tea") == []
            assert second.manager.get_plugins() == set()

    def test_an_instance_belongs_to_one(self) -> None:
        """An object that one registry has is refused by the other, and keeps its settings."""
        plugin = Good()
        first = PluginRegistry("shop", builtin=[("mine", plugin)], new_plugins="active")
        second = PluginRegistry("shop", builtin=[("mine", plugin)], new_plugins="active")
        with first, second:
            first.load()
            (failure,) = second.load().failures
            assert "already bound to another registry" in failure.message
            assert second.get("mine").state is PluginState.FAILED
            assert plugin.get_metadata() == {}
            first.deactivate("mine")
            second.reload()
            assert second.get("mine").active


class TestOffIsOff:
    """No call begun after ``deactivate`` returned reaches the plugin."""

    def test_with_calls_all_the_while(self) -> None:
        """Callers in other threads are never answered by a plugin that was switched off before."""
        stop = threading.Event()
        # How often the plugin was switched off and on: odd while it is off.
        epoch = 0
        late: list[int] = []

        class Other(Plugin):
            @hookimpl
            def price(self, item: str) -> float:
                return 7.0

        def read() -> None:
            while not stop.is_set():
                began = epoch
                prices = registry.call(Hooks.price, item="tea")
                # It is raised before the next activation begins, so a call that began and ended
                # in one odd epoch must not have seen the plugin.
                if began % 2 and began == epoch and 7.0 in prices:
                    late.append(began)

        interval = sys.getswitchinterval()
        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=[Good, Other], new_plugins="active"
        ) as registry:
            registry.load()
            threads = [threading.Thread(target=read) for _ in range(4)]
            sys.setswitchinterval(1e-5)
            try:
                for thread in threads:
                    thread.start()
                for _ in range(100):
                    registry.deactivate("other")
                    epoch += 1
                    threading.Event().wait(0.001)
                    epoch += 1
                    registry.activate("other")
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
                sys.setswitchinterval(interval)

        assert late == []

    def test_a_call_under_way_keeps_its_plugins(self) -> None:
        """Switching a plugin off from within a hook counts from the next call on."""

        class Early(Plugin):
            @hookimpl(tryfirst=True)
            def price(self, item: str) -> None:
                registry.deactivate("good")

        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=[Early, Good], new_plugins="active"
        ) as registry:
            registry.load()
            assert registry.call(Hooks.price, item="tea") == [1.0]
            assert registry.call(Hooks.price, item="tea") == []

    def test_the_tear_down_comes_after_the_last_call_can_begin(self) -> None:
        """When a plugin is told to end, nobody can reach it any more."""
        reachable = []

        class Told(Good):
            @hookimpl
            def plugreg_deactivating(self) -> None:
                reachable.append(registry.call(Hooks.price, item="tea"))
                reachable.append(list(registry.active))

        with PluginRegistry(
            "shop", hookspecs=[Hooks], builtin=[Told], new_plugins="active"
        ) as registry:
            registry.load()
            registry.deactivate("told")

        assert reachable == [[], []]


ORDER = """
import json, sys
from plugreg import PluginRegistry, hookspec

class Hooks:
    @hookspec
    def who(self): ...

sys.path[:0] = sys.argv[1].split(":")
registry = PluginRegistry("shop", hookspecs=[Hooks], new_plugins="active",
                          directories=sys.argv[2].split(":"))
registry.load()
print(json.dumps([list(registry.plugins), list(registry.active), registry.call("who"),
                  [e.message for e in registry.errors]]))
"""


class TestSameOrderEverywhere:
    """The same inputs give the same order, on every machine."""

    def test_over_hash_seeds_and_path_orders(self, site: Any, tmp_path: Path) -> None:
        """Neither the hash seed, nor the order of path entries and folders, has a say."""
        source = "from plugreg import hookimpl\n@hookimpl\ndef who():\n    return __name__\n"
        other = type(site)(tmp_path / "other")
        for number, place in ((1, site), (2, other), (3, site), (4, other), (5, site)):
            requires = "Requires-Dist: d5\n" if number == 2 else ""
            place.dist(
                f"d{number}",
                "1.0",
                {"shop.plugins": {f"plug{number}": f"mod{number}"}},
                metadata=requires,
                modules={f"mod{number}.py": source},
            )
        folders = []
        for number in range(3):
            folder = tmp_path / f"folder{number}"
            folder.mkdir()
            (folder / f"local{number}.py").write_text(source)
            folders.append(str(folder))
        sites = [str(site.folder), str(other.folder)]
        found = set()
        rng = random.Random(5)
        for seed in range(5):
            rng.shuffle(sites)
            rng.shuffle(folders)
            done = subprocess.run(
                [sys.executable, "-c", ORDER, ":".join(sites), ":".join(folders)],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
            )
            names = json.loads(done.stdout)
            # The private prefix of a folder's modules is made from its path.
            names[2] = [name.rpartition(".")[2] for name in names[2]]
            found.add(json.dumps(names))

        assert [json.loads(each) for each in found] == [
            [
                ["local0", "local1", "local2", "plug1", "plug2", "plug3", "plug4", "plug5"],
                ["local0", "local1", "local2", "plug1", "plug3", "plug4", "plug5", "plug2"],
                ["mod2", "mod5", "mod4", "mod3", "mod1", "local2", "local1", "local0"],
                [],
            ]
        ]

    def test_over_activations_by_hand(self) -> None:
        """Whatever the order of switching on was, calls come in the order of a load."""
        slugs = ["a", "b", "c", "d", "e"]

        def plugin(slug: str) -> type[Plugin]:
            return type(slug, (Plugin,), {"price": hookimpl(lambda self, item: slug)})

        builtin = [(slug, plugin(slug)) for slug in slugs]
        rng = random.Random(3)
        for _ in range(20):
            with PluginRegistry("shop", hookspecs=[Hooks], builtin=builtin) as registry:
                registry.load()
                for slug in rng.sample(slugs, len(slugs)):
                    registry.activate(slug)
                again = rng.choice(slugs)
                registry.deactivate(again)
                registry.activate(again)
                assert list(registry.active) == slugs
                assert registry.call(Hooks.price, item="tea") == slugs[::-1]
