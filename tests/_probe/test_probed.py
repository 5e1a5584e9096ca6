"""A registry probes a plugin before it switches it on, and stores the report."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from plugreg import (
    Plugin,
    PluginNotFoundError,
    PluginRegistry,
    PluginState,
    ProbeFailedError,
    ProbeOutcome,
    ProbeReport,
)
from plugreg.api import Actor, PluginAPI
from plugreg.storage import MemoryStorage, TinyDBStorage

SOUND = """
    from plugreg import Plugin, hookimpl
    from plugreg.mixins import SettingsMixin

    print("key is", __import__("os").environ.get("TEA_KEY"))

    class Tea(SettingsMixin, Plugin):
        SETTINGS = {"PERCENT": {"default": 10, "validator": int}, "KEY": {"protected": True}}

        @hookimpl
        def price(self): ...
"""
DEADLY = {
    "exit": "import os\nos._exit(0)\nclass Tea: ...",
    "signal": "import os\nos.abort()\nclass Tea: ...",
}


class Shop:
    """A host with one plugin that is installed, and registries that share one storage."""

    def __init__(self, site):
        self.site = site
        self.storage = MemoryStorage()
        self.made = []

    def install(self, source, version="1.0"):
        """Write a distribution with the plugin tea."""
        self.site.dist(
            "shop-tea",
            version,
            entry_points={"shop.plugins": {"tea": "shop_tea:Tea"}},
            modules={"shop_tea.py": textwrap.dedent(source)},
        )

    def needing(self, slug, need, source):
        """Write a distribution with a plugin that requires another distribution."""
        self.site.dist(
            f"shop-{slug}",
            entry_points={"shop.plugins": {slug: f"shop_{slug}:Tea"}},
            modules={f"shop_{slug}.py": textwrap.dedent(source)},
            metadata=f"Requires-Dist: {need}\n",
        )

    def registry(self, **how):
        """Return a registry that is loaded."""
        made = PluginRegistry("shop", storage=self.storage, **how)
        self.made.append(made)
        made.load()
        return made


@pytest.fixture
def shop(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    made = Shop(site)
    yield made
    for registry in made.made:
        registry.close()
    for name in ("shop_tea", "shop_milk", "shop_honey"):
        sys.modules.pop(name, None)


class TestAPluginThatIsOff:
    def test_shows_what_was_learnt(self, shop):
        """Its mixins are in its record, and the rest of the report can be read."""
        shop.install(SOUND)
        registry = shop.registry()
        assert registry.probed("tea") is None
        assert registry.get("tea").mixins == {}

        report = registry.probe("tea")

        assert isinstance(report, ProbeReport)
        assert (report.outcome, report.hooks) == (ProbeOutcome.OK, ("price",))
        record = registry.get("tea")
        assert (record.state, record.plugin) == (PluginState.INACTIVE, None)
        assert record.mixins == {"base": "base", "settings": "Settings"}
        assert registry.plugins["tea"].mixins == record.mixins
        probed = registry.probed("tea")
        assert probed is not None
        assert probed.settings == report.settings
        assert probed.settings["PERCENT"].default == "10"
        assert "shop_tea" not in sys.modules

    def test_shows_it_to_clients(self, shop):
        """The API has the mixins, in a list and of one, and no meta of a plugin that is off."""
        shop.install(SOUND)
        registry = shop.registry()
        registry.probe("tea")
        api = PluginAPI(registry)
        actor = Actor(id=1, is_superuser=True)

        (listed,) = api.plugins_list(actor, limit=10).results
        alone = api.plugins_retrieve(actor, plugin="tea")

        assert listed == alone
        assert alone.mixins["settings"] == {"key": "settings", "human_name": "Settings"}
        assert set(alone.meta.values()) == {None}

    def test_is_found_by_what_is_shown(self, shop):
        """A list asked for a mixin has the plugins that show it, as soon as they do."""
        shop.install(SOUND)
        registry = shop.registry()
        api, actor = PluginAPI(registry), Actor(id=1, is_superuser=True)

        def found(mixin):
            page = api.plugins_list(actor, mixin=mixin, active=False)
            return [row.key for row in page.results]

        assert found("settings") == []
        registry.probe("tea")
        assert found("settings") == found("base,settings") == ["tea"]
        assert found("urls") == []
        registry.reload()
        assert found("settings") == ["tea"]
        registry.deactivate("tea")
        registry.delete("tea")
        assert found("settings") == []

    def test_shows_it_of_this_version_alone(self, shop):
        """After an upgrade nothing is shown, till the new version is probed."""
        shop.install(SOUND)
        registry = shop.registry()
        registry.probe("tea")

        for path in (shop.site.folder / "shop_tea-1.0.dist-info").iterdir():
            path.unlink()
        (shop.site.folder / "shop_tea-1.0.dist-info").rmdir()
        shop.install(SOUND, "1.1")
        registry.reload(collect=True)

        assert registry.probed("tea") is None
        assert registry.get("tea").mixins == {}
        assert registry.probe("tea").version == "1.1"
        assert registry.probed("tea").version == "1.1"

    def test_shows_it_in_other_processes(self, shop, tmp_path):
        """Another process sees it after its refresh, and after a start; that reloads no plugin."""
        shop.install(SOUND)
        shop.storage = TinyDBStorage(tmp_path / "store.json")
        one, other = shop.registry(), shop.registry()
        one.probe("tea")

        assert other.probed("tea") is None
        assert other.refresh() is False
        assert other.get("tea").mixins == one.get("tea").mixins != {}
        assert shop.registry().probed("tea") == one.probed("tea")

    def test_is_forgotten_when_it_is_deleted(self, shop):
        """The report goes with all other stored rows of the plugin."""
        shop.install(SOUND)
        registry = shop.registry()
        registry.probe("tea")

        registry.delete("tea")

        assert registry.probed("tea") is None
        assert registry.get("tea").mixins == {}
        assert dict(shop.storage.read("probes")) == {}

    def test_is_read_without_a_write(self, shop):
        """Only a probe writes: showing it writes nothing."""
        shop.install(SOUND)
        registry = shop.registry()
        registry.probe("tea")
        before = shop.storage.revision()

        assert registry.probed("tea") is not None
        assert registry.get("tea").mixins
        assert shop.storage.revision() == before

    def test_tells_no_protected_value(self, shop, monkeypatch):
        """An override of a protected setting is scrubbed from the plugin's output."""
        shop.install(SOUND)
        monkeypatch.setenv("TEA_KEY", "hunter2-hunter2")
        registry = shop.registry(overrides={"tea": {"KEY": {"$env": "TEA_KEY"}}})

        assert registry.probe("tea").stdout == "key is ***\n"

    def test_which_is_not_known(self, shop):
        """A slug of nobody is reported as such."""
        with pytest.raises(PluginNotFoundError):
            shop.registry().probed("tea")


class TestActivating:
    @pytest.mark.parametrize("outcome", DEADLY)
    def test_what_would_take_the_host_down_is_refused(self, shop, outcome):
        """The error carries the report, and no desired state is stored."""
        shop.install(DEADLY[outcome])
        registry = shop.registry()

        with pytest.raises(ProbeFailedError, match="'tea' was not activated") as caught:
            registry.activate("tea", probe=True)

        assert caught.value.report.outcome == outcome
        record = registry.get("tea")
        assert (record.wanted, record.state) == (False, PluginState.INACTIVE)
        assert registry.errors == ()
        assert registry.probed("tea").outcome == outcome

    def test_what_is_sound_is_activated(self, shop):
        """A probe that ended well changes nothing about an activation."""
        shop.install(SOUND)
        registry = shop.registry()

        assert registry.activate("tea", probe=True).active
        assert registry.settings("tea")["PERCENT"] == 10

    def test_what_raises_is_a_failed_plugin(self, shop):
        """An exception does a host no harm: the state is stored, and the failure recorded."""
        shop.install("raise ValueError('dry')")
        registry = shop.registry()

        record = registry.activate("tea", probe=True)

        assert (record.wanted, record.state) == (True, PluginState.FAILED)
        assert registry.probed("tea").outcome == "error"
        assert [failure.message for failure in record.errors] == ["ValueError: dry"]

    def test_what_is_an_object_is_activated(self, shop):
        """A plugin that cannot be probed is of the host's own making, and activated as without."""

        class Local(Plugin):
            """It stands in a function."""

        registry = shop.registry(builtin=[("local", Local)])

        assert registry.activate("local", probe=True).active

    def test_what_is_on_is_not_probed(self, shop):
        """A plugin in service has shown already that the host lives with it."""
        shop.install(SOUND)
        registry = shop.registry()
        registry.activate("tea")

        registry.activate("tea", probe=True)

        assert registry.probed("tea") is None

    @pytest.mark.parametrize("needs", ["tea", "milk"])
    def test_what_needs_it_is_looked_at_too(self, shop, needs):
        """It would be activated along with it: one that ends the process ends no host by that."""
        shop.install(SOUND)
        shop.needing("milk", "shop-tea", SOUND)
        shop.needing("honey", f"shop-{needs}", DEADLY["exit"])
        registry = shop.registry()
        registry.activate("milk")
        registry.activate("honey")

        with pytest.raises(ProbeFailedError, match="'honey' was not activated") as caught:
            registry.activate("tea", probe=True)

        assert caught.value.report.slug == "honey"
        assert not registry.get("tea").wanted

    def test_what_needs_it_and_is_off_is_not_looked_at(self, shop):
        """Nobody wanted it, so that it stays off."""
        shop.install(SOUND)
        shop.needing("honey", "shop-tea", DEADLY["exit"])
        registry = shop.registry()

        assert registry.activate("tea", probe=True).active
        assert registry.probed("honey") is None

    def test_what_is_missing_stays_so(self, shop):
        """A state can be stored of a plugin that is not there, and there is nothing to probe."""
        registry = shop.registry()

        registry.activate("tea", allow_missing=True, probe=True)
        with pytest.raises(PluginNotFoundError):
            registry.probe("tea")

    def test_in_safe_mode(self, shop):
        """Where nothing is loaded the culprit can still be looked for."""
        shop.install(DEADLY["signal"])

        assert shop.registry(safe_mode=True).probe("tea").outcome == "signal"


def test_error_can_be_pickled():
    """It travels between processes as all errors of plugreg do."""
    import pickle
    from datetime import UTC, datetime

    report = ProbeReport(
        slug="tea", version=None, at=datetime.now(UTC), outcome=ProbeOutcome.EXIT, detail="code 3"
    )
    again = pickle.loads(pickle.dumps(ProbeFailedError(report)))

    assert again.report == report
    assert "code 3" in str(again)


def test_a_registry_that_never_probes_imports_nothing_for_it():
    """Neither the import of plugreg nor a load imports the code that starts processes."""
    code = (
        "import sys\n"
        "from plugreg import PluginRegistry\n"
        "with PluginRegistry('shop') as registry:\n"
        "    registry.load()\n"
        "print([name for name in sys.modules if name.startswith('plugreg._probe')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
