"""``registry.repairs()``: a code for each real fault, always with an action; no plugin runs."""

from __future__ import annotations

import os

import pytest

from plugreg import CircuitPolicy, Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.mixins import SettingsMixin
from plugreg.records import Stage
from plugreg.repairs import CODES
from plugreg.repairs.codes import OF_STAGE
from plugreg.storage import TinyDBStorage


class Hooks:
    @hookspec
    def price(self, item): ...


class Tea(SettingsMixin, Plugin):
    NAME = "tea"
    SETTINGS = {
        "TOKEN": {"required": True},
        "SECRET": {"protected": True},
        "COLOUR": {"default": "red"},
    }


class Broken(Plugin):
    def __init__(self):
        raise ValueError("no")


class Faulty(Plugin):
    @hookimpl
    def price(self, item):
        raise ValueError("no price")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plugins.json"


@pytest.fixture
def start(path):
    """Yield a function that loads a registry on the same store."""
    started = []

    def start(**options):
        options.setdefault("builtin", [Tea, Broken, Faulty])
        registry = PluginRegistry("shop", hookspecs=[Hooks], storage=TinyDBStorage(path), **options)
        started.append(registry)
        registry.load()
        return registry

    yield start
    for registry in started:
        registry.close()


def found(registry):
    repairs = registry.repairs()
    for repair in repairs:
        assert repair.code in CODES
        assert repair.actions, f"{repair} leaves an operator without anything to do"
        for action in repair.actions:
            assert action.run or action.command or action.url, action
            assert action.command is None or action.command.startswith("plugreg ")
    return {(repair.code, repair.slug) for repair in repairs}


def action_of(registry, code, name):
    (repair,) = [repair for repair in registry.repairs() if repair.code == code]
    return next(action for action in repair.actions if action.name == name)


def test_a_sound_registry_needs_nothing(start):
    """Nothing is wrong with plugins that are off, nor with one that serves."""
    registry = start()
    registry.activate("faulty")
    assert registry.repairs() == ()


def test_a_failed_plugin_is_named_by_its_stage(start):
    """Its code is that of the stage, and its first actions mend it."""
    registry = start()
    registry.activate("broken")
    assert found(registry) == {(OF_STAGE[Stage.INIT].code, "broken")}
    (repair,) = registry.repairs()
    assert repair.severity == "error"
    assert "ValueError: no" in repair.text
    action_of(registry, repair.code, "deactivate").run()
    assert registry.repairs() == ()


def test_a_module_that_cannot_be_imported(start, site, monkeypatch):
    """The text is the exception, and switching the plugin off ends it."""
    monkeypatch.syspath_prepend(site.folder)
    site.dist(
        "shop-milk",
        entry_points={"shop.plugins": {"milk": "shop_milk:Milk"}},
        modules={"shop_milk.py": "raise RuntimeError('sour')\n"},
    )
    registry = start()
    registry.activate("milk")
    (repair,) = registry.repairs()
    assert found(registry) == {("P003", "milk")}
    assert (repair.severity, "RuntimeError: sour" in repair.text) == ("error", True)
    action_of(registry, "P003", "deactivate").run()
    assert registry.repairs() == ()


class Cold(Plugin):
    """Fails while it is switched on, or off."""

    is_off = False

    @hookimpl
    def plugreg_activated(self):
        if not self.is_off:
            raise ValueError("cold")

    @hookimpl
    def plugreg_deactivating(self):
        raise ValueError("still cold")


def test_a_plugin_that_fails_while_it_is_activated(start):
    """It is an error until it is tried again with success, or is switched off."""
    registry = start(builtin=[Cold])
    registry.activate("cold")
    assert ("P005", "cold") in found(registry)
    (repair,) = [repair for repair in registry.repairs() if repair.code == "P005"]
    assert (repair.severity, "ValueError: cold" in repair.text) == ("error", True)
    assert {"reset", "deactivate"} <= {action.name for action in repair.actions}


def test_a_plugin_that_fails_while_it_is_switched_off(start):
    """It is off, and the warning says that something may be left behind."""
    registry = start(builtin=[type("Warm", (Cold,), {"NAME": "warm", "is_off": True})])
    registry.activate("warm")
    assert registry.repairs() == ()
    registry.deactivate("warm")
    assert found(registry) == {("P007", "warm")}
    (repair,) = registry.repairs()
    assert (repair.severity, "ValueError: still cold" in repair.text) == ("warning", True)


def test_failing_calls_are_a_warning_and_an_open_circuit_can_be_closed(start):
    """The plugin is in service, so that it is no error; resetting closes the circuit."""
    registry = start(circuit=CircuitPolicy(max_failures=2))
    registry.activate("faulty")
    registry.call("price", item="tea")
    assert [(r.code, r.severity) for r in registry.repairs()] == [
        (OF_STAGE[Stage.CALL].code, "warning")
    ]
    registry.call("price", item="tea")
    assert ("P012", "faulty") in found(registry)
    action_of(registry, "P012", "reset").run()
    assert ("P012", "faulty") not in found(registry)


def test_settings_that_lack_a_value_or_a_plugin(start):
    """A required value, overrides that name nothing, and secrets in clear."""
    registry = start(overrides={"nope": {"A": "1"}, "tea": {"COLOR": "blue"}})
    registry.activate("tea")
    registry.settings("tea").set("SECRET", "open sesame")
    assert found(registry) == {
        ("P014", "tea"),
        ("P017", "nope"),
        ("P018", "tea"),
        ("P023", None),
    }
    assert not any("open sesame" in repr(repair) for repair in registry.repairs())
    registry.settings("tea").set("TOKEN", "x")
    assert ("P014", "tea") not in found(registry)


def test_values_that_belong_to_nothing_can_be_deleted(start):
    """Of a plugin that is gone, and of a setting that its new release does not declare."""
    registry = start()
    registry.activate("tea")
    registry.settings("tea").set("TOKEN", "x")
    registry.settings("tea").set("COLOUR", "blue")
    registry.close()

    class Other(SettingsMixin, Plugin):
        NAME = "tea"
        SETTINGS = {"TOKEN": {"required": True}}

    registry = start(builtin=[Other])
    assert found(registry) == {("P015", "tea")}
    action_of(registry, "P015", "forget").run()
    assert registry.repairs() == ()
    assert registry.settings("tea")["TOKEN"] == "x"
    registry.deactivate("tea")
    registry.close()
    registry = start(builtin=[])
    assert found(registry) == {("P015", "tea")}
    action_of(registry, "P015", "forget").run()
    assert registry.repairs() == ()


def test_a_missing_plugin_is_an_error_while_it_is_wanted(start):
    """Switching it off is enough to mend that."""
    registry = start()
    registry.activate("faulty")
    registry.close()
    registry = start(builtin=[])
    assert found(registry) == {("P019", "faulty")}
    action_of(registry, "P019", "deactivate").run()
    assert registry.repairs() == ()


def test_safe_mode_decides_as_a_start_would_and_runs_nothing(start, site, monkeypatch, path):
    """A plugin whose need is off is named with the remedy, although nothing is imported."""
    monkeypatch.syspath_prepend(site.folder)
    boom = "raise SystemExit('imported')"
    for name, metadata in [("discount", ""), ("loyalty", "Requires-Dist: shop-discount\n")]:
        site.dist(
            f"shop-{name}",
            entry_points={"shop.plugins": {name: f"shop_{name}"}},
            metadata=metadata,
            modules={f"shop_{name}.py": boom},
        )
    registry = start()
    registry.activate("loyalty")
    assert ("P009", "loyalty") in found(registry)
    registry.close()
    before = path.read_bytes()
    registry = start(safe_mode=True)
    assert found(registry) == {("P009", "loyalty"), ("P027", None)}
    assert path.read_bytes() == before
    action = action_of(registry, "P009", "activate")
    assert action.label == "Activate discount"
    assert action.command == "plugreg activate discount"
    action.run()
    assert registry.get("discount").wanted


def test_damaged_rows_are_named_with_their_table_and_key(start, path):
    """A damaged row costs its plugin alone, and the command to set it aside names it."""
    registry = start()
    registry.activate("faulty")
    with registry._parts.storage.transaction() as transaction:
        transaction.put("plugins", "faulty", {"active": "perhaps"})
    registry.close()
    registry = start()
    assert found(registry) == {("P016", "faulty")}
    action = action_of(registry, "P016", "set-aside")
    assert action.command == "plugreg store repair --set-aside plugins:faulty"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_store_that_others_can_read(start, path):
    """Its owner and a group may use it; everybody may not."""
    registry = start()
    path.chmod(0o640)
    assert registry.repairs() == ()
    path.chmod(0o644)
    assert found(registry) == {("P024", None)}


def test_two_sources_of_one_slug(start):
    """The one that comes first counts, and the operator sees that there is another."""

    class Other(Plugin):
        pass

    registry = start(builtin=[Tea, ("tea", Other)])
    assert found(registry) == {("P025", "tea")}


def test_codes_are_numbered():
    """The table is complete, and in order."""
    assert list(CODES) == [f"P{number:03}" for number in range(1, len(CODES) + 1)]


class TestEnvironment:
    """PLUGREG_ONLY and PLUGREG_WITHOUT narrow the plugins of a process; nothing is stored."""

    @pytest.mark.parametrize(
        ("variables", "active"),
        [
            ({"PLUGREG_ONLY": "Tea"}, ["tea"]),
            ({"PLUGREG_WITHOUT": "tea, broken"}, ["faulty"]),
            ({"PLUGREG_ONLY": "tea,faulty", "PLUGREG_WITHOUT": "faulty"}, ["tea"]),
            ({"PLUGREG_ONLY": ","}, []),
            ({"PLUGREG_ONLY": ""}, ["faulty", "tea"]),
        ],
    )
    def test_narrow_one_process(self, start, path, monkeypatch, variables, active):
        """The wishes stay, in the record and in the store; the reason names the variable."""
        registry = start()
        registry.switch({"tea": True, "faulty": True})
        registry.close()
        before = TinyDBStorage(path).read("plugins")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        registry = start()
        assert sorted(registry.active) == active
        for slug in {"tea", "faulty"} - {*active}:
            record = registry.get(slug)
            assert record.wanted
            assert "is left out of this process by PLUGREG_" in record.reason
        codes = {code for code, _ in found(registry)}
        assert ("P028" in codes) is any(variables.values())
        registry.close()
        assert TinyDBStorage(path).read("plugins") == before

    def test_mandatory_plugins_too(self, start, monkeypatch):
        """Otherwise nobody could find out whether one of them is the culprit."""
        monkeypatch.setenv("PLUGREG_WITHOUT", "tea")
        registry = start(mandatory=["tea"])
        assert not registry.active
        assert not registry.ready

    def test_names_that_are_no_plugin_are_shown(self, start, monkeypatch):
        """A slip would otherwise look like a process without plugins."""
        monkeypatch.setenv("PLUGREG_ONLY", "te")
        (repair,) = start().repairs()
        assert "no plugin is named te" in repair.text
