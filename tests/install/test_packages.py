"""``registry.packages`` with an installer that runs no program: the work around it."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import plugreg
from plugreg import (
    InstallError,
    Plugin,
    PluginRegistry,
    PluginState,
    RegistryNotReady,
    StorageUnavailableError,
)
from plugreg.install import InstallPolicy, PipInstaller, Refusal, pylock
from plugreg.install.distributions import distributions
from plugreg.install.exceptions import InstallBusyError, InstallRefusedError, InstallSpaceError
from plugreg.install.generations import Generations
from plugreg.mixins import EventMixin
from plugreg.storage import MemoryStorage

MODULE = "packages_tea"
LISTED = "# ours\nshop-host==1.0\n"
LEAF = "class Leaf: ...\n"


def source(answer, slugs=("tea",)):
    """Return a module of plugins whose one value tells which source it is."""
    classes = "".join(f"class {slug.title()}(Plugin): ANSWER = {answer}\n" for slug in slugs)
    return {f"{MODULE}.py": f"from plugreg import Plugin\n{classes}"}


def release(version, answer, slugs=("tea",)):
    """Return the files that an installer has of a version of a distribution of plugins."""
    return version, {slug: f"{MODULE}:{slug.title()}" for slug in slugs}, source(answer, slugs)


class Flaky(MemoryStorage):
    """A storage that can be away."""

    away = False

    @contextmanager
    def transaction(self):
        if self.away:
            raise StorageUnavailableError("memory", "it is away")
        with super().transaction() as transaction:
            yield transaction


@pytest.fixture
def shelf(folder_installer, tmp_path):
    """Return an installer with a distribution of a plugin, and a plugins file."""
    shelf = folder_installer
    shelf.ready |= {
        "shop-tea": release("1.0", 1),
        "shop-leaf": ("3.0", {}, {"packages_leaf.py": LEAF}),
        "shop-cup": ("4.0", {}, {"packages_cup.py": ""}),
    }
    shelf.plugins_file = tmp_path / "plugins.txt"
    shelf.plugins_file.write_text(LISTED)
    return shelf


@pytest.fixture
def storage():
    return Flaky()


@pytest.fixture
def host(site, monkeypatch):
    """Return a folder of the host's own distributions."""
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.fixture
def registry(shelf, storage):
    with PluginRegistry(
        "shop", host_distribution="shop-host", installer=shelf, storage=storage
    ) as registry:
        registry.load()
        yield registry


@pytest.fixture
def packages(registry):
    return registry.packages


def there(shelf):
    """Return the versions of the current generation, by name."""
    generations = Generations(shelf.environment)
    found = distributions(generations.folder(generations.current().number))
    return {name: distribution.version for name, distribution in found.items()}


def tree(shelf):
    """Return the content of each file in the environment, but for compiled modules."""
    return {
        str(path.relative_to(shelf.environment)): path.read_bytes()
        for path in sorted(shelf.environment.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__" and path.name != "lock"
    }


def outcomes(packages):
    return [(entry.action, entry.requirement, entry.outcome) for entry in packages.audit()]


def answer(registry, slug="tea"):
    """Return the version that the code of an active plugin reports."""
    return registry.get(slug).plugin.ANSWER if slug in registry.active else None


class TestPlans:
    def test_a_plan_touches_nothing(self, registry, shelf):
        """Not even the folder of the environment is made."""
        plan = registry.plan("shop-tea")

        assert plan.allowed
        assert [(c.name, c.before, c.after, c.kind) for c in plan.changes] == [
            ("shop-tea", None, "1.0", "add")
        ]
        assert plan.plugins == ("tea",)
        assert not shelf.environment.exists()

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_plan_is_carried_out_as_it_is(self, shelf, registry, kept):
        """The shown plan is carried out; the installer is asked for the last plan only once."""
        plan = registry.plan("shop-tea")
        if not kept:
            plan = pickle.loads(pickle.dumps(plan))
        shelf.asked.clear()
        shelf.lines = ["fetched again"]
        report = registry.install(plan)

        assert shelf.asked == []
        assert (report.plan == plan, report.success, report.version) == (True, True, "1.0")
        assert report.output == ("" if kept else "fetched again")
        assert Path(report.location) == shelf.environment / "generations" / "1"
        assert Path(report.location).stat().st_mode == shelf.environment.stat().st_mode

    @pytest.mark.parametrize("where", ["host", "environment"])
    def test_a_plan_for_another_environment_is_not_carried_out(self, registry, shelf, host, where):
        """Something was installed since it was made: it says so, and touches nothing."""
        plan = registry.plan("shop-tea")
        if where == "host":
            host.dist("shop-pot", "1.0")
        else:
            shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
            registry.install("shop-milk")
        before = there(shelf)
        with pytest.raises(InstallError, match="the environment changed since the plan was made"):
            registry.install(plan)

        assert there(shelf) == before
        assert registry.install(registry.plan("shop-tea")).success

    @pytest.mark.parametrize("rule", ["denied", "allowed", "indexes", "require_hashes"])
    def test_a_plan_is_judged_by_the_policy_of_now(self, registry, shelf, tmp_path, rule):
        """A plan that another host, or this host yesterday, has allowed is carried out by none."""
        plan = pickle.loads(pickle.dumps(registry.plan("shop-tea")))
        constraints = tmp_path / "constraints.txt"
        constraints.write_text("shop-tea==1.0 --hash=sha256:" + "cd" * 32)
        shelf.policy = {
            "denied": InstallPolicy(denied=["shop-tea"]),
            "allowed": InstallPolicy(allowed=["shop-leaf"]),
            "indexes": InstallPolicy(indexes=["https://good.example/simple"]),
            "require_hashes": InstallPolicy(constraints=constraints, require_hashes=True),
        }[rule]
        with pytest.raises(InstallRefusedError) as caught:
            registry.install(plan)

        assert [refusal.rule for refusal in caught.value.plan.refusals] == [rule]
        assert there(shelf) == {}
        assert outcomes(registry.packages) == [("install", "shop-tea", "refused")]

    def test_what_the_host_has_is_not_installed_again(self, registry, shelf, host):
        """In a version that suits, nothing has to be done; in another one, it is the host's."""
        points = {"shop.plugins": {"pot": "packages_pot:M"}}
        host.dist("shop-pot", "1.0", points, modules=_module("pot"))
        registry.reload(collect=True)
        report = registry.install("shop-pot>=1")
        plan = registry.plan("shop-pot>=2")

        assert (report.version, report.plugins, report.location) == ("1.0", ("pot",), str(host))
        assert [refusal.rule for refusal in plan.refusals] == ["environment"]
        assert "belongs to the host's environment, which has 1.0" in plan.refusals[0].reason
        assert shelf.asked == []
        assert shelf.plugins_file.read_text() == LISTED

    def test_a_dependency_that_the_host_has_does_not_come(self, registry, shelf, host):
        """The host's own satisfies it."""
        host.dist("shop-leaf", "3.0")
        shelf.requires["shop-tea"] = ["shop-leaf", "shop-cup"]

        assert registry.install("shop-tea").success
        assert there(shelf) == {"shop-cup": "4.0", "shop-tea": "1.0"}

    def test_a_refused_plan_is_not_carried_out(self, registry, shelf):
        """It is an error with the reasons and the plan, and is recorded as refused."""
        reasons = ("'shop-tea' is denied", "nothing may come from there")
        refusals = tuple(Refusal(rule="denied", reason=reason) for reason in reasons)
        plan = replace(registry.plan("shop-tea"), refusals=refusals)
        with pytest.raises(InstallRefusedError) as caught:
            registry.install(plan, actor="user 7")

        assert caught.value.reasons == reasons
        assert caught.value.plan is plan
        [entry] = registry.packages.audit()
        assert (entry.outcome, entry.reasons, entry.actor) == ("refused", reasons, "user 7")
        assert tree(shelf) == {}

    def test_an_index_that_the_policy_forbids(self, tmp_path):
        """No program is run for it: the plan is refused, and so is carrying it out."""
        policy = InstallPolicy(indexes=["https://good.example/simple"])
        url = "https://keeper:sesame@bad.example/simple"
        installer = PipInstaller(environment=tmp_path / "plugins.d", policy=policy)
        with PluginRegistry("shop", installer=installer) as registry:
            plan = registry.plan("shop-tea", index_url=url)
            with pytest.raises(InstallRefusedError) as caught:
                registry.install("shop-tea", index_url=url)
            [entry] = registry.packages.audit()

        assert [refusal.rule for refusal in plan.refusals] == ["indexes"]
        assert plan.changes == ()
        assert entry.outcome == "refused"
        for told in (repr(plan), str(caught.value), repr(entry)):
            assert "bad.example" in told or "shop-tea" in told
            assert "sesame" not in told
            assert "keeper" not in told

    def test_what_brings_no_plugin_is_refused(self, registry, shelf):
        """It is for the host to install it, or for a plugin to require it."""
        [refusal] = registry.plan("shop-leaf").refusals

        assert refusal.rule == "plugin"
        assert "'shop-leaf' brings no entry point of group 'shop.plugins'" in refusal.reason


def _module(name, body="..."):
    return {f"packages_{name}.py": f"from plugreg import Plugin\nclass M(Plugin): {body}\n"}


class TestInstalling:
    def test_the_plugins_file_gets_what_was_asked_for(self, registry, shelf):
        """A version that was left open is the installed one; a line of the name is replaced."""
        registry.install("shop-tea")
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-tea==1.0\n"

        shelf.ready["shop-tea"] = release("1.5", 1)
        registry.install("Shop_Tea>=1.2")
        assert shelf.plugins_file.read_text().splitlines()[-1].lower() == "shop_tea>=1.2"

    def test_what_is_there_already_changes_nothing(self, registry, shelf):
        """No generation is made, and it is a success."""
        registry.install("shop-tea")
        before = tree(shelf)
        report = registry.install("shop-tea")

        assert (report.success, report.version, report.plugins) == (True, "1.0", ("tea",))
        assert tree(shelf) == before

    def test_a_dependency_that_is_asked_for_later_counts_as_asked_for(self, registry, shelf):
        """Uninstalling its provider leaves it."""
        shelf.requires["shop-tea"] = ["shop-milk"]
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
        registry.install("shop-tea")
        assert "shop-milk" not in shelf.plugins_file.read_text()
        registry.install("shop-milk")
        registry.uninstall("tea", dependencies=True)

        assert there(shelf) == {"shop-milk": "1.0"}
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-milk==1.0\n"

    @pytest.mark.parametrize("state", ["active", "inactive"])
    def test_new_code_is_imported_anew(self, registry, shelf, state):
        """Upgraded, on or off meanwhile: the new code runs then."""
        registry.install("shop-tea")
        registry.activate("tea")
        assert answer(registry) == 1
        if state == "inactive":
            registry.deactivate("tea")
        shelf.ready["shop-tea"] = release("2.0", 2)
        registry.install("shop-tea")
        if state == "inactive":
            registry.activate("tea")

        assert answer(registry) == 2
        assert registry.get("tea").version == "2.0"

    def test_other_code_of_the_same_version_is_imported_anew(self, registry, shelf):
        """The file at a URL may be another each time."""
        url = "shop-tea @ https://files.example/shop_tea-1.0-py3-none-any.whl"
        shelf.policy = InstallPolicy(indexes=["https://files.example/"])
        registry.install(url)
        registry.activate("tea")
        shelf.ready["shop-tea"] = release("1.0", 2)
        report = registry.install(url)

        assert [(c.before, c.after) for c in report.plan.changes] == [("1.0", "1.0")]
        assert answer(registry) == 2

    def test_what_did_not_change_is_not_imported_again(self, registry, shelf):
        """The object of another plugin stays in service, and so do its modules."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        tea = "from plugreg import Plugin\nimport packages_leaf\n"
        tea += "class Tea(Plugin):\n    leaf = packages_leaf.Leaf\n"
        shelf.ready["shop-tea"] = ("1.0", {"tea": f"{MODULE}:Tea"}, {f"{MODULE}.py": tea})
        registry.install("shop-tea")
        registry.activate("tea")
        before = registry.get("tea").plugin, sys.modules["packages_leaf"]
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
        registry.install("shop-milk")

        assert (registry.get("tea").plugin, sys.modules["packages_leaf"]) == before
        assert registry.get("milk").is_installed

    def test_a_dependency_that_changed_is_imported_anew(self, registry, shelf):
        """A module that a plugin imports for the first time then is the new one."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        tea = "from plugreg import Plugin\nclass Tea(Plugin):\n    def leaf(self):\n"
        tea += "        import packages_leaf\n        return packages_leaf.WHICH\n"
        shelf.ready["shop-tea"] = ("1.0", {"tea": f"{MODULE}:Tea"}, {f"{MODULE}.py": tea})
        shelf.ready["shop-leaf"] = ("3.0", {}, {"packages_leaf.py": "WHICH = 3\n"})
        registry.install("shop-tea")
        registry.activate("tea")
        plugin = registry.get("tea").plugin
        assert plugin.leaf() == 3
        shelf.ready["shop-leaf"] = ("4.0", {}, {"packages_leaf.py": "WHICH = 4\n"})
        shelf.plugins_file.write_text("shop-leaf>=4\n")
        registry.packages.sync()

        assert registry.get("tea").plugin is plugin
        assert plugin.leaf() == 4

    def test_code_that_comes_back_is_imported_anew(self, registry, shelf):
        """A plugin that was uninstalled and is installed again runs the code installed last."""
        registry.install("shop-tea")
        registry.activate("tea")
        registry.deactivate("tea")
        registry.uninstall("tea")
        shelf.ready["shop-tea"] = release("1.0", 2)
        registry.install("shop-tea")
        registry.activate("tea")

        assert answer(registry) == 2

    def test_the_wish_stays_over_an_upgrade(self, registry, shelf):
        """An active plugin stays on, an inactive plugin off, and a new plugin is off."""
        shelf.ready["shop-tea"] = release("1.0", 1, ("tea", "milk"))
        registry.install("shop-tea")
        registry.activate("tea")
        shelf.ready["shop-tea"] = release("2.0", 2, ("tea", "milk", "sugar"))
        report = registry.install("shop-tea")

        assert report.plugins == ("milk", "sugar", "tea")
        states = {slug: registry.get(slug).state for slug in report.plugins}
        assert states == {
            "tea": PluginState.ACTIVE,
            "milk": PluginState.INACTIVE,
            "sugar": PluginState.INACTIVE,
        }

    def test_progress_comes_from_the_installer(self, registry):
        """Each line goes to the host's callback, and the report keeps them all."""
        told = []
        report = registry.install("shop-tea", progress=told.append)

        assert told == ["Installing", "Done"]
        assert report.output == "Installing\nDone"

    def test_what_a_callback_raises_is_logged_once(self, registry, shelf, caplog):
        """It keeps nothing from being installed, and no line of it is lost."""
        shelf.lines = ["one", "two", "three"]
        assert registry.install("shop-tea", progress=lambda line: 1 / 0).success

        told = [record.message for record in caplog.records if "progress" in record.message]
        assert told == [
            "progress of 'shop-tea' could not be shown: ZeroDivisionError: division by zero"
        ]

    def test_a_failure_has_the_plan_and_the_reasons(self, registry, shelf):
        """And nothing serves that did not before."""
        shelf.ready["shop-tea"] = ("1.0", {"tea": f"{MODULE}:Tea"}, {f"{MODULE}.py": "1 / 0\n"})
        with pytest.raises(InstallError, match="ZeroDivisionError") as caught:
            registry.install("shop-tea")

        report = caught.value.report
        assert (report.success, report.version, report.plugins) == (False, "", ())
        assert [change.name for change in report.plan.changes] == ["shop-tea"]
        assert report.output == "Installing\nDone"
        assert tree(shelf) == {}

    def test_plugins_of_what_comes_along_are_told_of(self, shelf):
        """The report has all of them, and each is an event with its own distribution."""
        heard = []

        class Ear(EventMixin, Plugin):
            def process_event(self, event, *args, **kwargs):
                heard.append((event, kwargs))

        shelf.requires["shop-tea"] = ["shop-milk"]
        shelf.ready["shop-milk"] = ("7.0", {"milk": "packages_milk:M"}, _module("milk"))
        with PluginRegistry("shop", installer=shelf, builtin=[Ear], mandatory={"ear"}) as registry:
            registry.load()
            heard.clear()
            report = registry.install("shop-tea")

        assert report.plugins == ("milk", "tea")
        assert [event for event in heard if event[0] == "plugin_installed"] == [
            ("plugin_installed", {"slug": s, "distribution": f"shop-{s}", "version": v})
            for s, v in (("milk", "7.0"), ("tea", "1.0"))
        ]

    def test_a_registry_that_is_closed_installs_nothing(self, registry, shelf):
        """It could not take in the result."""
        registry.close()
        with pytest.raises(RegistryNotReady):
            registry.install("shop-tea")

        assert shelf.asked == []

    def test_it_needs_no_loaded_registry(self, shelf):
        """A host may install before it loads; the next load finds the plugin."""
        with PluginRegistry("shop", installer=shelf) as registry:
            assert registry.install("shop-tea").plugins == ("tea",)
            registry.load()
            assert registry.get("tea").state is PluginState.INACTIVE

    def test_in_safe_mode_it_can_be_removed(self, shelf):
        """Nothing is stored of it, and that is no failure of the change."""
        with PluginRegistry("shop", installer=shelf, safe_mode=True) as registry:
            registry.load()
            registry.install("shop-tea")
            assert registry.uninstall("tea").plugins == ("tea",)
        assert there(shelf) == {}

    def test_a_host_without_an_environment_is_told_what_to_write(self):
        """Where today's version needed none."""
        with pytest.raises(InstallError, match=r"PipInstaller\(environment='plugins.d'\)"):
            PipInstaller()


class TestBroken:
    """A plugin that cannot be loaded never takes the place of one that can."""

    @pytest.mark.parametrize("body", ["raise OSError('it broke')", "import os; os._exit(3)"])
    def test_what_cannot_be_loaded_is_refused(self, registry, shelf, body):
        """It is found out in a child process, before anything is swapped."""
        registry.install("shop-tea")
        registry.activate("tea")
        before = there(shelf)
        broken = {f"{MODULE}.py": f"{body}\n"}
        shelf.ready["shop-tea"] = ("2.0", {"tea": f"{MODULE}:Tea"}, broken)
        with pytest.raises(InstallError, match="the plugin 'tea' cannot be loaded") as caught:
            registry.install("shop-tea")

        assert "keep_broken=True" in str(caught.value)
        assert (there(shelf), answer(registry)) == (before, 1)
        assert outcomes(registry.packages)[-1] == ("install", "shop-tea", "refused")
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-tea==1.0\n"

    def test_a_generation_that_cannot_be_read_again_never_serves(
        self, registry, shelf, monkeypatch
    ):
        """No later change could be made beside it."""
        with monkeypatch.context() as patch:
            patch.setattr(pylock, "dumps", lambda lock: "no lock")
            with pytest.raises(InstallError, match="cannot be read"):
                registry.install("shop-tea")

        assert there(shelf) == {}
        assert registry.install("shop-tea").success

    @pytest.mark.parametrize("is_active", [True, False])
    def test_what_breaks_a_plugin_that_it_leaves_as_it_is_is_refused(
        self, registry, shelf, is_active
    ):
        """A plugin in service is loaded with the new version of its requirement; no other is."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        code = f"from packages_leaf import Leaf\n{source(1)[f'{MODULE}.py']}"
        shelf.ready["shop-tea"] = ("1.0", {"tea": f"{MODULE}:Tea"}, {f"{MODULE}.py": code})
        registry.install("shop-tea")
        if is_active:
            registry.activate("tea")
        shelf.ready["shop-leaf"] = ("4.0", {}, {"packages_leaf.py": ""})
        shelf.plugins_file.write_text("shop-leaf==4.0\n")
        [report] = registry.packages.sync()

        assert report.success == (not is_active)
        assert there(shelf)["shop-leaf"] == ("3.0" if is_active else "4.0")
        assert ("'tea' cannot be loaded" in " ".join(report.reasons)) == is_active

    @pytest.fixture
    def failing(self, registry, shelf):
        """Install a plugin, whose next version can be loaded by a probe alone."""
        registry.install("shop-tea")
        registry.activate("tea")
        code = "import os\nif 'PLUGREG_PROBE' not in os.environ:\n    raise OSError('not here')\n"
        code += source(2)[f"{MODULE}.py"]
        shelf.ready["shop-tea"] = ("2.0", {"tea": f"{MODULE}:Tea"}, {f"{MODULE}.py": code})

    def test_what_served_and_does_not_any_more_is_rolled_back(self, registry, shelf, failing):
        """The generation before serves again, with its code, and the report has the failure."""
        with pytest.raises(InstallError, match="it was rolled back") as caught:
            registry.install("shop-tea", actor="user 7")

        failure = caught.value.report.rolled_back
        assert (failure.slug, failure.stage, caught.value.report.success) == (
            "tea",
            "import",
            False,
        )
        assert "not here" in failure.message
        assert (there(shelf), answer(registry)) == ({"shop-tea": "1.0"}, 1)
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-tea==1.0\n"
        entry = registry.packages.audit()[-1]
        assert (entry.outcome, entry.actor) == ("rolled back", "user 7")
        assert [g.serving for g in registry.packages.generations()] == [True, False]

    def test_keep_broken_keeps_it(self, registry, shelf, failing):
        """Who asks for it has the new version, and the plugin is a failure."""
        report = registry.install("shop-tea", keep_broken=True)

        assert report.version == "2.0"
        assert registry.get("tea").state is PluginState.FAILED
        assert there(shelf) == {"shop-tea": "2.0"}

    def test_what_failed_before_is_no_reason(self, registry, shelf, failing):
        """A plugin that did not serve cannot stop to do so."""
        registry.install("shop-tea", keep_broken=True)
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))

        assert registry.install("shop-milk").success


class TestRollback:
    @pytest.fixture
    def versions(self, registry, shelf):
        """Install three versions, one after the other."""
        for number in (1, 2, 3):
            shelf.ready["shop-tea"] = release(f"{number}.0", number)
            registry.install("shop-tea")
        registry.activate("tea")

    def test_the_generation_before_serves_again(self, registry, shelf, versions):
        """With its code, in this process at once, and the plugins file follows."""
        generation = registry.packages.rollback(actor="user 7")

        assert (generation.number, dict(generation.distributions)) == (2, {"shop-tea": "2.0"})
        assert (generation.plugins, generation.serving) == (("tea",), True)
        assert answer(registry) == 2
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-tea==2.0\n"
        assert outcomes(registry.packages)[-1][::2] == ("rollback", "done")

    def test_a_second_one_goes_further_back(self, registry, versions):
        """Not to the one that was rolled back; and there is an end."""
        registry.packages.rollback()
        assert registry.packages.rollback().number == 1
        assert answer(registry) == 1
        assert registry.packages.rollback().number == 0
        assert answer(registry) is None
        with pytest.raises(InstallError, match="to go back to"):
            registry.packages.rollback()

    def test_to_one_by_number(self, registry, versions):
        """Forwards, too."""
        registry.packages.rollback(1)
        assert answer(registry) == 1
        registry.packages.rollback(3)
        assert answer(registry) == 3
        with pytest.raises(InstallError, match="generation 9"):
            registry.packages.rollback(9)

    def test_a_plugins_file_on_a_full_disk_is_as_before(self, registry, shelf, monkeypatch):
        """A rollback that cannot write it changes nothing."""
        for name in ("milk", "tea"):
            shelf.ready[f"shop-{name}"] = ("1.0", {name: f"packages_{name}:M"}, _module(name))
            registry.install(f"shop-{name}", keep_broken=True)
        before, replace_file = shelf.plugins_file.read_text(), Path.replace

        def fail(new, target):
            if Path(target) == shelf.plugins_file:
                raise OSError(errno.ENOSPC, "the disk is full")
            return replace_file(new, target)

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(InstallError, match="the disk is full"):
            registry.packages.rollback(0)

        assert shelf.plugins_file.read_text() == before
        assert there(shelf).keys() == {"shop-milk", "shop-tea"}

    def test_it_helps_where_what_serves_is_damaged(self, registry, shelf, versions):
        """A lock that cannot be read stops other changes, and not this one."""
        generations = Generations(shelf.environment)
        generations.lock_file(3).write_text("?")
        with pytest.raises(InstallError, match="cannot be read"):
            registry.uninstall("tea")

        assert [g.created is None for g in registry.packages.generations()][-1]
        assert registry.packages.rollback().number == 2

    def test_a_file_that_somebody_has_removed_is_named(self, registry, shelf, versions):
        """No generation is made without it; its own distribution can go."""
        (Generations(shelf.environment).folder(3) / f"{MODULE}.py").unlink()
        registry.deactivate("tea")
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
        with pytest.raises(InstallError, match=rf"{MODULE}.py' of 'shop-tea' is missing.*install"):
            registry.install("shop-milk")
        registry.uninstall("tea")
        assert registry.install("shop-milk").success

    def test_a_change_after_a_rollback_has_a_number_of_its_own(self, registry, shelf, versions):
        """No number means two things."""
        registry.packages.rollback(1)
        shelf.ready["shop-tea"] = release("4.0", 4)
        registry.install("shop-tea")

        assert [g.number for g in registry.packages.generations() if g.serving] == [4]
        assert registry.packages.rollback().number == 1

    @pytest.mark.parametrize("keep", [1, 3])
    def test_so_many_are_kept(self, shelf, keep):
        """Beside the one that serves."""
        shelf.keep = keep
        with PluginRegistry("shop", installer=shelf) as registry:
            registry.load()
            for number in range(1, 7):
                shelf.ready["shop-tea"] = release(f"{number}.0", number)
                registry.install("shop-tea")
            numbers = [generation.number for generation in registry.packages.generations()]

        assert numbers == list(range(6 - keep, 7))
        names = sorted(path.name for path in (shelf.environment / "generations").iterdir())
        assert names == sorted([*map(str, numbers), *(f"{number}.lock" for number in numbers)])


class TestSlugs:
    """The desired state and settings of a plugin are only for its own distribution."""

    def squat(self, shelf, name, slug="tea"):
        """Have a distribution ready whose plugin would leave a trace if it ran."""
        module = f"packages_{name.replace('-', '_')}"
        code = f"raise SystemExit('it ran')\n{source(9)[f'{MODULE}.py']}"
        shelf.ready[name] = ("9.0", {slug: f"{module}:Tea"}, {f"{module}.py": code})

    def refused(self, registry, name, *words):
        """See that a distribution is refused at the plan, and by installing it, for these words."""
        [refusal] = registry.plan(name).refusals
        assert refusal.rule == "plugin"
        assert all(each in refusal.reason for each in (f"{name!r}", "'tea'", *words))
        with pytest.raises(InstallRefusedError):
            registry.install(name)

    @pytest.mark.parametrize("state", ["active", "inactive"])
    @pytest.mark.parametrize("case", [("aaa-evil", "tea"), ("zzz-tea", "tea"), ("aaa-evil", "Tea")])
    def test_no_other_distribution_takes_a_slug(self, registry, shelf, case, state):
        """Whichever of them comes first by name, and however its entry point is spelt."""
        registry.install("shop-tea")
        if state == "active":
            registry.activate("tea")
        name, slug = case
        self.squat(shelf, name, slug)
        before = tree(shelf)
        self.refused(registry, name, "'shop-tea'")

        assert tree(shelf) == before
        assert registry.get("tea").distribution == "shop-tea"
        assert answer(registry) == (1 if state == "active" else None)

    def test_nor_by_way_of_what_comes_along(self, registry, shelf):
        """A dependency brings plugins as well."""
        registry.install("shop-tea")
        registry.activate("tea")
        self.squat(shelf, "aaa-evil")
        shelf.ready["shop-pot"] = ("1.0", {"pot": "nowhere:Pot"}, {})
        shelf.requires["shop-pot"] = ["aaa-evil"]
        [refusal] = registry.plan("shop-pot").refusals

        assert "'aaa-evil' brings a plugin 'tea'" in refusal.reason

    def test_nor_in_a_plan_of_earlier(self, registry, shelf):
        """A free slug then may be somebody's now, and that is checked last."""
        self.squat(shelf, "aaa-evil")
        plan = registry.plan("aaa-evil")
        registry.install("shop-tea")
        before = tree(shelf)
        plan = replace(plan, environment=registry.plan("shop-cup").environment)
        with pytest.raises(InstallRefusedError, match="'shop-tea'"):
            registry.install(plan)

        assert tree(shelf) == before

    def test_two_that_come_together_may_not_share_one(self, registry, shelf):
        """Only one of them would be the plugin."""
        self.squat(shelf, "aaa-evil")
        shelf.requires["shop-tea"] = ["aaa-evil"]
        [refusal] = registry.plan("shop-tea").refusals

        assert "'aaa-evil', which comes too" in refusal.reason

    @pytest.mark.parametrize("stored", ["wanted", "settings"])
    def test_what_is_stored_is_not_inherited(self, registry, shelf, stored):
        """A distribution that is gone leaves its wish to itself, until somebody forgets that."""
        registry.install("shop-tea")
        if stored == "wanted":
            registry.activate("tea")
        registry.packages.rollback()
        self.squat(shelf, "zzz-tea")
        self.refused(registry, "zzz-tea", "'shop-tea'", "registry.delete('tea')")

        if stored == "wanted":
            registry.deactivate("tea")
        registry.delete("tea")
        assert registry.install("zzz-tea", keep_broken=True).success
        assert registry.get("tea").state is PluginState.INACTIVE

    def test_its_own_distribution_comes_back_to_it(self, registry, shelf):
        """An active plugin is on again."""
        registry.install("shop-tea")
        registry.activate("tea")
        registry.packages.rollback()
        shelf.ready["shop-tea"] = release("2.0", 2)
        registry.install("shop-tea")

        assert answer(registry) == 2

    def test_a_wish_that_waits_is_for_whoever_comes(self, registry):
        """``allow_missing`` says so by name of the plugin, whose distribution nobody knows yet."""
        registry.activate("tea", allow_missing=True)
        registry.install("shop-tea")

        assert registry.get("tea").active

    @pytest.mark.parametrize("source", ["builtin", "samples", "directories", "mandatory", "manual"])
    def test_the_host_keeps_its_own(self, shelf, tmp_path, source):
        """No distribution is accepted for a plugin that the host brings, or has made mandatory."""

        class Tea(Plugin): ...

        (tmp_path / "plugins").mkdir()
        code = "from plugreg import Plugin\nclass Tea(Plugin):\n    SLUG = 'tea'\n"
        (tmp_path / "plugins/own_tea.py").write_text(code)
        given = {
            "builtin": {"builtin": [Tea]},
            "samples": {"samples": [Tea]},
            "directories": {"directories": [tmp_path / "plugins"]},
            "mandatory": {"mandatory": ["tea"]},
        }.get(source, {})
        with PluginRegistry("shop", installer=shelf, **given) as registry:
            registry.load()
            if source == "manual":
                registry.register(Tea)
            self.refused(registry, "shop-tea")


class TestUninstalling:
    def test_a_failure_keeps_everything(self, registry, shelf, monkeypatch):
        """The previous generation still serves, and the plugin's stored rows are untouched."""
        registry.install("shop-tea")
        registry.set_metadata("tea", {"a": 1})
        before, listed, number = (
            there(shelf),
            shelf.plugins_file.read_text(),
            registry.get("tea").pk,
        )

        def fail(generations, *arguments):
            raise InstallError(["it broke"])

        monkeypatch.setattr(Generations, "swap", fail)
        with pytest.raises(InstallError, match="it broke"):
            registry.uninstall("tea")

        assert there(shelf) == before
        assert shelf.plugins_file.read_text() == listed
        assert (registry.get("tea").pk, registry.metadata("tea")) == (number, {"a": 1})
        assert outcomes(registry.packages)[-1] == ("uninstall", "shop-tea", "failed")

    def test_what_was_switched_on_elsewhere_stays(self, registry, storage):
        """Another process has done so, and this one had not read it yet."""
        registry.install("shop-tea")
        with PluginRegistry("shop", host_distribution="shop-host", storage=storage) as other:
            other.load()
            other.activate("tea")
            with pytest.raises(InstallError, match="currently active"):
                registry.uninstall("tea")

        assert outcomes(registry.packages)[-1] == ("uninstall", "shop-tea", "refused")

    @pytest.mark.parametrize("delete_config", [True, False])
    def test_what_is_switched_on_while_it_goes(
        self, registry, storage, shelf, monkeypatch, delete_config
    ):
        """It goes with the wish, or leaves that as it was stored last."""
        registry.install("shop-tea")
        real = Generations.swap
        with PluginRegistry("shop", host_distribution="shop-host", storage=storage) as other:
            other.load()

            def swap(generations, *arguments):
                other.activate("tea")
                return real(generations, *arguments)

            monkeypatch.setattr(Generations, "swap", swap)
            report = registry.uninstall("tea", delete_config=delete_config)

        assert report.plugins == ("tea",)
        assert there(shelf) == {}
        wanted = {slug: row["active"] for slug, row in storage.read("plugins").items()}
        assert wanted == ({} if delete_config else {"tea": True})

    def test_its_line_goes(self, registry, shelf):
        """The plugins file is as before the plugin came."""
        registry.install("shop-tea")
        registry.uninstall("tea")

        assert shelf.plugins_file.read_text() == LISTED

    def test_what_the_host_has_stays(self, registry, host):
        """It is shown like the others, and removed where it was installed."""
        host.dist("shop-pot", "1.0", {"shop.plugins": {"pot": "packages_pot:M"}})
        registry.reload(collect=True)
        assert registry.get("pot").is_installed
        with pytest.raises(
            InstallError, match="it belongs to the host's environment, remove it there"
        ):
            registry.uninstall("pot")

        assert (host.folder / "shop_pot-1.0.dist-info").is_dir()

    def test_what_another_distribution_requires_stays(self, registry, shelf):
        """Whoever requires it is named."""
        shelf.ready["shop-pot"] = ("1.0", {"pot": "packages_pot:M"}, _module("pot"))
        shelf.requires["shop-pot"] = ["shop-tea"]
        registry.install("shop-pot")
        with pytest.raises(InstallError, match="as 'shop-pot' requires its package"):
            registry.uninstall("tea")

        assert set(there(shelf)) == {"shop-pot", "shop-tea"}


class TestDependencies:
    @pytest.fixture
    def leaves(self, registry, shelf):
        """Install a distribution that brings two others along."""
        shelf.requires["shop-tea"] = ["shop-leaf", "shop-cup"]
        registry.install("shop-tea")
        return registry

    def gone(self, leaves, **how):
        report = leaves.packages.uninstall("tea", **how)
        assert all(change.kind == "remove" for change in report.changes)
        return [change.name for change in report.changes]

    def test_they_stay_unless_asked_for(self, leaves, shelf):
        """Without the flag nothing but the plugin's own distribution goes."""
        assert self.gone(leaves) == ["shop-tea"]
        assert set(there(shelf)) == {"shop-leaf", "shop-cup"}

    def test_what_only_it_needs_goes_too(self, leaves, shelf):
        """With the flag they go, in the same step, and the audit names them."""
        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-leaf", "shop-tea"]
        assert there(shelf) == {}
        changes = leaves.packages.audit()[-1].changes
        assert [(change.name, change.before) for change in changes] == [
            ("shop-cup", "4.0"),
            ("shop-leaf", "3.0"),
            ("shop-tea", "1.0"),
        ]

    def test_what_another_one_needs_stays(self, leaves, shelf):
        """And its requirements in turn."""
        shelf.ready["shop-pot"] = ("1.0", {"pot": "packages_pot:M"}, _module("pot"))
        shelf.requires["shop-pot"] = ["shop-leaf"]
        leaves.install("shop-pot")

        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-tea"]

    def test_a_dependency_with_plugins_stays(self, registry, shelf):
        """Plugins are somebody's wish by themselves; this one is even active."""
        shelf.requires["shop-tea"] = ["shop-leaf", "shop-milk"]
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
        registry.install("shop-tea")
        registry.activate("milk")

        assert self.gone(registry, dependencies=True) == ["shop-leaf", "shop-tea"]
        assert registry.get("milk").active


class TestAudit:
    def test_what_was_done(self, registry, shelf):
        """Actor, time, request, result, and the hashes of the files."""
        began = datetime.now(UTC)
        registry.install("shop-tea>=1", actor="user 7")
        [entry] = registry.packages.audit()

        assert (entry.action, entry.requirement, entry.outcome) == (
            "install",
            "shop-tea>=1",
            "done",
        )
        assert (entry.actor, entry.distribution, entry.reasons) == ("user 7", "shop-tea", ())
        assert began <= entry.when <= datetime.now(UTC)
        [change] = entry.changes
        assert (change.name, change.before, change.after) == ("shop-tea", None, "1.0")
        assert (change.sha256, change.size) == ("ab" * 32, 7)

    def test_the_last_ones(self, registry):
        """They come in the order in which they were made, and a limit leaves the oldest out."""
        registry.install("shop-tea")
        registry.uninstall("tea", actor="user 7")

        assert outcomes(registry.packages) == [
            ("install", "shop-tea", "done"),
            ("uninstall", "shop-tea", "done"),
        ]
        assert [entry.actor for entry in registry.packages.audit(1)] == ["user 7"]

    def test_what_could_not_be_planned(self, registry):
        """Somebody has tried to install, and is told of like who succeeded."""
        with pytest.raises(InstallError, match="there is no shop-coffee"):
            registry.install("shop-coffee", actor="user 7")
        [entry] = registry.packages.audit()

        assert (entry.action, entry.requirement, entry.outcome) == (
            "install",
            "shop-coffee",
            "failed",
        )
        assert (entry.actor, entry.changes) == ("user 7", ())
        assert "ERROR: there is no shop-coffee" in entry.reasons

    def test_a_failure_is_told_though_the_store_is_away(self, registry, shelf, storage, caplog):
        """The installer's error comes, not the store's, and the log names the missing entry."""

        def fail():
            storage.away = True
            raise InstallError(["ERROR: it broke"])

        shelf.after = fail
        with (
            caplog.at_level(logging.WARNING, "plugreg"),
            pytest.raises(InstallError, match="broke"),
        ):
            registry.install("shop-tea")

        assert "the audit lacks the end of 'shop-tea'" in caplog.text

    def test_what_cannot_be_audited_is_not_done(self, registry, shelf, storage):
        """Nothing is installed without an entry; with the store back, all is well."""
        shelf.after = lambda: setattr(storage, "away", True)
        with pytest.raises(StorageUnavailableError):
            registry.install("shop-tea")

        assert tree(shelf) == {}
        assert shelf.plugins_file.read_text() == LISTED
        storage.away = False
        shelf.after = lambda: None
        assert registry.install("shop-tea").success
        assert [entry.outcome for entry in registry.packages.audit()] == ["done"]

    def test_the_entry_is_there_before_the_swap(self, registry, monkeypatch):
        """A process that is killed right after it leaves no change without an entry."""
        seen = []
        real = Generations.swap

        def swap(generations, *arguments):
            seen.append([entry.outcome for entry in registry.packages.audit()])
            return real(generations, *arguments)

        monkeypatch.setattr(Generations, "swap", swap)
        registry.install("shop-tea")

        assert seen == [["begun"]]
        assert outcomes(registry.packages) == [("install", "shop-tea", "done")]

    def test_a_store_that_is_away_after_the_swap(self, registry, storage, monkeypatch, caplog):
        """It is installed, which the error says, and its entry stays as it was begun."""
        real = Generations.swap

        def swap(generations, *arguments):
            storage.away = True
            return real(generations, *arguments)

        monkeypatch.setattr(Generations, "swap", swap)
        with pytest.raises(InstallError, match="'shop-tea' was installed, but") as caught:
            registry.install("shop-tea")
        storage.away = False

        report = caught.value.report
        assert (report.success, report.version, report.plugins) == (True, "1.0", ("tea",))
        assert isinstance(caught.value.__cause__, StorageUnavailableError)
        assert "the audit lacks the end of 'shop-tea'" in caplog.text
        assert [entry[2] for entry in outcomes(registry.packages)] == ["begun"]
        registry.reload(collect=True)
        assert registry.get("tea").state is PluginState.INACTIVE

    def test_entries_of_earlier_versions_can_be_read(self, registry, storage):
        """Words that are written no more."""
        registry.install("shop-tea")
        with storage.transaction() as transaction:
            [(key, row)] = transaction.items("audit")
            transaction.put("audit", key, {**row, "action": "recover", "outcome": "put back"})

        assert outcomes(registry.packages) == [("recover", "shop-tea", "put back")]


class TestSync:
    def sync(self, registry, shelf, *lines):
        shelf.plugins_file.write_text("".join(f"{line}\n" for line in lines))
        return registry.packages.sync(actor="user 7")

    def test_what_is_missing_comes(self, registry, shelf):
        """One report for each line that needed something, and the plugins are known."""
        [report] = self.sync(registry, shelf, "# comment", "shop-tea>=1")

        assert (report.success, report.plugins, report.version) == (True, ("tea",), "1.0")
        assert registry.get("tea").state is PluginState.INACTIVE
        entry = registry.packages.audit()[-1]
        assert (entry.action, entry.actor) == ("sync", "user 7")

    def test_several_lines_are_one_generation(self, registry, shelf):
        """All of it serves at once, and one rollback takes it back."""
        reports = self.sync(registry, shelf, "shop-leaf", "shop-tea", "shop-cup==4.0")

        assert [(report.distribution, report.success) for report in reports] == [
            ("shop-leaf", True),
            ("shop-tea", True),
            ("shop-cup", True),
        ]
        assert [generation.number for generation in registry.packages.generations()] == [1]

    def test_what_is_there_in_a_version_that_suits_is_left_alone(self, registry, shelf, host):
        """The installer is not asked; a line for other interpreters counts as none."""
        host.dist("shop-pot", "1.0")
        registry.install("shop-tea")
        shelf.asked.clear()
        lines = ["Shop.Tea>=1", "shop-leaf; python_version < '3'", "shop-pot"]

        assert self.sync(registry, shelf, *lines) == ()
        assert shelf.asked == []

    def test_what_does_not_suit_is_changed(self, registry, shelf):
        """Another version is there than the one that is listed."""
        registry.install("shop-tea")
        shelf.ready["shop-tea"] = release("2.0", 2)
        [report] = self.sync(registry, shelf, "shop-tea>=2")

        assert (report.success, report.version) == (True, "2.0")

    def test_what_is_not_listed_stays(self, registry, shelf):
        """Nothing is ever removed."""
        registry.install("shop-tea")

        assert self.sync(registry, shelf) == ()
        assert registry.get("tea").is_installed

    @pytest.mark.parametrize(
        "line",
        [
            "shop-tea",
            "shop-tea  # for the morning",
            "shop-tea[x]>=1 ; python_version > '3'",
            "Shop_Tea >= 1",
        ],
    )
    def test_the_file_stays_as_it_is(self, registry, shelf, line):
        """The environment is made to match the file, not the other way round."""
        [report] = self.sync(registry, shelf, "# ours", line)

        assert report.success
        assert shelf.plugins_file.read_text() == f"# ours\n{line}\n"
        assert self.sync(registry, shelf, "# ours", line) == ()

    def test_a_line_that_fails_keeps_no_other_from_its_turn(self, registry, shelf):
        """It has a report with the reasons, at its place in the order of the file."""
        failed, done = self.sync(registry, shelf, "shop-coffee==1", "shop-tea")

        assert (failed.success, done.success) == (False, True)
        assert "ERROR: there is no shop-coffee" in failed.reasons
        assert registry.get("tea").is_installed

    def test_a_line_that_waits_for_another_one_has_its_turn_again(self, registry, shelf):
        """The order of the lines does not matter; only lines that failed at last have failures."""
        shelf.ready["shop-pot"] = ("1.0", {"pot": "packages_pot:M"}, _module("pot"))
        resolve = shelf.resolve

        def resolved(targets, **how):
            if targets[0].name == "shop-pot" and "shop-tea" not in there(shelf):
                raise InstallError(["it needs shop-tea"])
            return resolve(targets, **how)

        shelf.resolve = resolved
        reports = self.sync(registry, shelf, "shop-pot", "shop-coffee", "shop-tea")

        assert [(report.distribution, report.success) for report in reports] == [
            ("shop-pot", True),
            ("shop-coffee", False),
            ("shop-tea", True),
        ]

    @pytest.mark.parametrize("line", ["-r more.txt", "shop-cup @ file:///etc/passwd"])
    def test_a_line_that_is_no_requirement_is_refused_by_its_number(self, registry, shelf, line):
        """Nothing is installed of a file of which only a part is known."""
        with pytest.raises(InstallError, match="line 2"):
            self.sync(registry, shelf, "shop-tea", line)

        assert shelf.asked == []

    def test_without_a_file_there_is_nothing_to_match(self, shelf):
        """It is an error with the remedy."""
        shelf.plugins_file = None
        with PluginRegistry("shop", installer=shelf) as registry:
            registry.load()
            with pytest.raises(InstallError, match="give the installer plugins_file="):
                registry.packages.sync()

    def test_a_file_that_is_not_there_lists_nothing(self, registry, shelf):
        """Nothing is to be done, and no file is made."""
        shelf.plugins_file.unlink()

        assert registry.packages.sync() == ()
        assert not shelf.plugins_file.exists()

    def test_loading_installs_nothing(self, shelf):
        """Neither a start nor a reload makes the environment match the file."""
        shelf.plugins_file.write_text("shop-tea\n")
        with PluginRegistry("shop", installer=shelf) as registry:
            registry.load()
            registry.reload(full=True, force=True, collect=True)

        assert shelf.asked == []


class TestLocked:
    def test_what_was_locked_comes_back_exactly(self, registry, shelf, tmp_path):
        """Other versions, and distributions that the lock lacks, are gone afterwards."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        registry.install("shop-tea>=1")
        path = registry.packages.lock(tmp_path / "pylock.toml")
        tea = shelf.ready["shop-tea"]
        shelf.ready["shop-tea"] = release("2.0", 2)
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
        registry.install("shop-tea")
        registry.install("shop-milk")
        shelf.ready["shop-tea"] = tea
        [report] = registry.packages.sync(locked=path)

        assert report.success
        assert there(shelf) == {"shop-leaf": "3.0", "shop-tea": "1.0"}
        assert {(c.name, c.kind) for c in report.plan.changes} == {
            ("shop-tea", "change"),
            ("shop-milk", "remove"),
        }
        assert registry.packages.sync(locked=path)[0].plan.changes == ()

    def test_what_the_host_has_is_the_host_s(self, registry, shelf, host, tmp_path):
        """In the locked version it is not installed again; in another one that is a refusal."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        registry.install("shop-tea")
        path = registry.packages.lock(tmp_path / "pylock.toml")
        info = host.dist("shop-leaf", "3.0")
        registry.packages.sync(locked=path)
        assert there(shelf) == {"shop-tea": "1.0"}

        (info / "METADATA").write_text("Name: shop-leaf\nVersion: 9.0\n")
        with pytest.raises(InstallRefusedError, match=r"the host has shop-leaf 9\.0"):
            registry.packages.sync(locked=path)

    def test_what_the_policy_forbids_is_not_even_fetched(self, registry, shelf, tmp_path):
        """To build it would run its code, and to ask for it may be forbidden."""
        registry.install("shop-tea")
        path = registry.packages.lock(tmp_path / "pylock.toml")
        registry.uninstall("tea")
        staged = []
        shelf.after = lambda: staged.append(True)
        for policy in (InstallPolicy(denied=["shop-tea"]), InstallPolicy(indexes=())):
            shelf.policy = policy
            packages = PluginRegistry("shop", installer=shelf).packages
            with pytest.raises(InstallRefusedError):
                packages.sync(locked=path)

        assert staged == []

    def test_a_lock_is_replaced_as_a_whole(self, registry, tmp_path, monkeypatch):
        """A disk that is full leaves the one that was there, and nothing else."""
        registry.install("shop-tea")
        path = tmp_path / "locks" / "pylock.toml"
        path.parent.mkdir()
        path.write_text("of earlier")

        def fail(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(InstallSpaceError, match="cannot be written"):
                registry.packages.lock(path)

        assert [(file, file.read_text()) for file in path.parent.iterdir()] == [
            (path, "of earlier")
        ]
        assert "shop-tea" in registry.packages.lock(path).read_text()

    def test_by_default_it_is_beside_the_plugins_file(self, registry, shelf):
        """And without anything installed there is none."""
        with pytest.raises(InstallError, match="nothing is installed"):
            registry.packages.lock()
        registry.install("shop-tea")

        assert registry.packages.lock() == shelf.plugins_file.parent / "pylock.toml"


class TestOutdated:
    def test_what_the_index_has_later_is_kept_with_its_date(self, registry, shelf, storage):
        """The index is asked for nothing else than that."""
        registry.install("shop-tea")
        shelf.ready["shop-tea"] = release("1.5", 1)
        asked = datetime.now(UTC)
        [found] = registry.packages.outdated()

        assert (found.distribution, found.installed, found.latest, found.slugs) == (
            "shop-tea",
            "1.0",
            "1.5",
            ("tea",),
        )
        assert found.asked >= asked
        shelf.latest = None
        assert registry.packages.outdated(ask=False) == (found,)
        registry.install("shop-tea")
        assert registry.packages.outdated(ask=False) == ()


class TestBusy:
    @pytest.fixture
    def other(self, shelf):
        """Return another registry of the same environment."""
        with PluginRegistry("shop", installer=shelf) as registry:
            registry.load()
            yield registry

    @pytest.mark.parametrize("who", ["other", "same"])
    def test_one_change_at_a_time(self, registry, other, shelf, who):
        """While one is made another is refused, changes nothing, and can be tried again."""
        second = other if who == "other" else registry
        shelf.ready["shop-milk"] = ("1.0", {"milk": "packages_milk:M"}, _module("milk"))
        caught, seen = [], []

        def meanwhile():
            shelf.after = lambda: None
            before = there(shelf)
            try:
                second.install("shop-milk")
            except InstallError as error:
                caught.append(error)
            seen.append(there(shelf) == before)

        shelf.after = meanwhile
        registry.install("shop-tea")
        [error] = caught

        assert isinstance(error, InstallBusyError)
        assert error.lock == str(shelf.environment / "lock")
        assert seen == [True]
        assert second.install("shop-milk").success

    def test_another_process_has_the_lock(self, registry, shelf):
        """It is refused too while that lives, and not once it was killed."""
        shelf.environment.mkdir()
        program = (
            "import sys; from pathlib import Path\n"
            "from plugreg.install.generations import Generations\n"
            "with Generations(Path(sys.argv[1])).changing(): print(flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, shelf.environment],
            cwd=Path(plugreg.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            with pytest.raises(InstallBusyError, match="another change of"):
                registry.install("shop-tea")
            process.kill()

        assert registry.install("shop-tea").success
