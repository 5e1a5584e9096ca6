"""A plugin with an environment of its own: the host does not bind it, and it goes as a whole."""

from __future__ import annotations

import sys

import pytest

from plugreg import InstallError, PluginRegistry
from plugreg.install.distributions import distributions
from plugreg.install.exceptions import InstallConflictError, InstallRefusedError
from plugreg.install.generations import isolated_folders
from plugreg.install.requirements import parse_target
from plugreg.storage import MemoryStorage

CODE = "from plugreg import Plugin\nclass Tea(Plugin): ...\n"


@pytest.fixture
def shelf(folder_installer, tmp_path):
    """Return an installer that notes whether it was asked to leave the host out."""
    shelf, resolve = folder_installer, folder_installer.resolve
    shelf.ready["shop-tea"] = ("1.0", {"tea": "isolated_tea:Tea"}, {"isolated_tea.py": CODE})
    shelf.ready["shop-leaf"] = ("3.0", {}, {"isolated_leaf.py": ""})
    shelf.requires["shop-tea"] = ["shop-leaf"]
    shelf.plugins_file = tmp_path / "plugins.txt"
    shelf.isolated = []

    def resolve_isolated(targets, *, isolate=False, **how):
        shelf.isolated.append(isolate)
        return resolve(targets, **how)

    shelf.resolve = resolve_isolated
    return shelf


@pytest.fixture
def registry(shelf):
    with PluginRegistry("shop", installer=shelf, storage=MemoryStorage()) as registry:
        registry.load()
        yield registry


def there(shelf):
    """Return the versions in the environment of each isolated plugin."""
    return {
        slug: {name: found.version for name, found in distributions(folder).items()}
        for slug, folder in isolated_folders(shelf.environment).items()
    }


def test_it_gets_a_folder_of_its_own(registry, shelf):
    """With all that it requires; the shared environment and the plugins file stay as they are."""
    report = registry.install("shop-tea", isolate=True)

    assert (report.version, report.plugins) == ("1.0", ("tea",))
    assert report.location == str(shelf.environment / "isolated/tea/generations/1")
    assert there(shelf) == {"tea": {"shop-leaf": "3.0", "shop-tea": "1.0"}}
    assert shelf.isolated == [True]
    assert registry.packages.generations() == ()
    [generation] = registry.packages.generations("tea")
    assert (generation.serving, generation.plugins) == (True, ("tea",))
    assert not shelf.plugins_file.exists()


def test_a_plan_of_it_is_carried_out_as_it_is(registry, shelf):
    """It says whose environment it is for, and nothing is asked for again."""
    plan = registry.plan("shop-tea", isolate=True)
    assert not shelf.environment.exists()
    shelf.asked.clear()
    report = registry.install(plan)

    assert (plan.isolated, report.plan, shelf.asked) == ("tea", plan, [])
    assert list(there(shelf)) == ["tea"]


def test_it_stays_isolated(registry, shelf):
    """A later version stays isolated; distributions that it no longer requires are gone."""
    registry.install("shop-tea", isolate=True)
    shelf.ready["shop-tea"] = ("2.0", *shelf.ready["shop-tea"][1:])
    shelf.requires["shop-tea"] = []
    plan = registry.plan("shop-tea>=2")
    registry.install("shop-tea>=2")

    assert [(c.name, c.before, c.after) for c in plan.changes] == [
        ("shop-tea", "1.0", "2.0"),
        ("shop-leaf", "3.0", None),
    ]
    assert there(shelf) == {"tea": {"shop-tea": "2.0"}}
    assert registry.packages.rollback(isolated="tea").distributions["shop-tea"] == "1.0"
    assert there(shelf) == {"tea": {"shop-leaf": "3.0", "shop-tea": "1.0"}}


def test_what_the_host_has_does_not_count(registry, shelf, site, monkeypatch):
    """A module may have the name of one of the host's, which is refused elsewhere."""
    site.dist("shop-host", modules={"isolated_cup.py": ""})
    monkeypatch.syspath_prepend(str(site))
    modules = {"isolated_tea.py": CODE, "isolated_cup.py": ""}
    shelf.ready["shop-tea"] = ("1.0", {"tea": "isolated_tea:Tea"}, modules)
    with pytest.raises(InstallRefusedError, match="isolated_cup"):
        registry.install("shop-tea")

    assert registry.install("shop-tea", isolate=True).success


def test_only_one_plugin_can_have_it(registry, shelf):
    """Two could not be told apart by the folder."""
    points = {"tea": "isolated_tea:Tea", "cup": "isolated_tea:Tea"}
    shelf.ready["shop-tea"] = ("1.0", points, {"isolated_tea.py": CODE})
    [refusal] = registry.plan("shop-tea", isolate=True).refusals

    assert refusal.rule == "plugin"
    assert "brings 2 plugins" in refusal.reason
    with pytest.raises(InstallRefusedError):
        registry.install("shop-tea", isolate=True)
    assert there(shelf) == {}


def test_what_is_shared_is_not_isolated_beside_that(registry, shelf):
    """A plugin is in one environment."""
    registry.install("shop-tea")
    with pytest.raises(InstallRefusedError, match="uninstall it there first"):
        registry.install("shop-tea", isolate=True)


def test_a_failure_is_recorded_and_changes_nothing(registry, shelf):
    """As with the shared environment."""
    shelf.ready["shop-tea"] = ("1.0", {"tea": "isolated_tea:Tea"}, {"isolated_tea.py": "1 / 0"})
    with pytest.raises(InstallError, match="ZeroDivisionError"):
        registry.install("shop-tea", isolate=True)

    assert there(shelf) == {}
    assert [entry.outcome for entry in registry.packages.audit()] == ["refused"]


def test_it_runs_in_a_process_of_its_own_until_it_is_uninstalled(registry, shelf):
    """The registry knows it at once, imports nothing of it, and nothing of it stays."""
    registry.install("shop-tea", isolate=True)
    registry.activate("tea")
    record = registry.get("tea")

    assert (record.active, record.isolated) == (True, True)
    assert "isolated_tea" not in sys.modules
    registry.deactivate("tea")
    assert registry.uninstall("tea").plugins == ("tea",)
    assert there(shelf) == {}
    assert list((shelf.environment / "isolated").iterdir()) == []
    assert "tea" not in registry.plugins


def test_nobody_takes_its_slug(registry, shelf):
    """No other distribution does, whether or not anything is stored of the plugin."""
    registry.install("shop-tea", isolate=True)
    shelf.ready["shop-evil"] = ("1.0", {"tea": "evil:Tea"}, {"evil.py": CODE})
    [refusal] = registry.plan("shop-evil").refusals

    assert (refusal.rule, "'shop-evil' brings a plugin 'tea'" in refusal.reason) == ("plugin", True)


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_it_may_contradict_the_host(make_driver, make, host, tmp_path, name):
    """With either driver: beside the host it is a conflict, alone it is not."""
    host("ours", "1.0")
    make("ours", "2.0")
    make("shop-tea", "1.0", "ours>=2")
    installer = make_driver(name)
    with pytest.raises(InstallConflictError):
        installer.resolve([parse_target("shop-tea")])
    (tmp_path / "next").mkdir()
    pins = installer.resolve([parse_target("shop-tea")], folder=tmp_path / "next", isolate=True)

    assert {pin.name: pin.version for pin in pins} == {"ours": "2.0", "shop-tea": "1.0"}
    assert distributions(tmp_path / "next").keys() == {"ours", "shop-tea"}
