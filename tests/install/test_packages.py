"""``registry.packages`` with an installer that runs no program: what it does around one.

Sources: behaviour.md, sections 2.2, 2.19 and 8.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
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
from plugreg.install import Change, InstallPlan, InstallPolicy, PipInstaller, Refusal, safeguard
from plugreg.install.exceptions import InstallBusyError, InstallRefusedError, NotAPluginError
from plugreg.install.requirements import parse_target
from plugreg.install.safeguard import Safeguard
from plugreg.mixins import EventMixin
from plugreg.storage import MemoryStorage

MODULE = "packages_tea"
LISTED = "# ours\nshop-host==1.0\n"

# Stands for a process that was killed: os._exit runs nothing of what a with block would do.
BROKEN_OFF = """
import os, shutil, sys
from pathlib import Path
from plugreg.install.environment import Environment
from plugreg.install.safeguard import Safeguard

site = Path(sys.argv[1])
about = {"names": ["shop-tea"]}
with Safeguard(Environment([site] * 3)).changing("installing shop-tea==9", about=about):
    for each in site.glob("shop_tea*"):
        shutil.rmtree(each)
    (site / "left_over.py").write_text("")
    os._exit(0)
"""


def source(answer, slugs=("tea",)):
    """Return a module of plugins whose one value tells which source it is."""
    classes = "".join(f"class {each.title()}(Plugin): ANSWER = {answer}\n" for each in slugs)
    return {f"{MODULE}.py": f"from plugreg import Plugin\n{classes}"}


def release(version, answer, slugs=("tea",)):
    """Return what an installer has ready of one version of a distribution of plugins."""
    return version, {each: f"{MODULE}:{each.title()}" for each in slugs}, source(answer, slugs)


class PluginValues:
    """An installer that has distributions ready, with what they require, and lets tests meddle.

    ``requires`` maps names to lines of metadata; what a distribution requires and is not there
    comes with it. ``after`` is called once it has installed and told ``lines``, ``before`` ahead
    of removing.
    """

    def __init__(self, installer):
        self._installer = installer
        self.plugins_file = None
        self.requires = {}
        self.after = lambda: None
        self.before = lambda: None
        self.lines = []

    def __getattr__(self, name):
        return getattr(self._installer, name)

    def plan(self, target, group, others=()):
        plan = self._installer.plan(target, group)
        there = self.environment.distributions()
        own = next(each for each in plan.changes if each.name == plan.distribution)
        brought = [
            Change(
                name=each,
                before=None,
                after=self.ready[each][0],
                plugins=tuple(self.ready[each][1]),
            )
            for each in self.requires.get(plan.distribution, ())
            if each not in there
        ]
        own = replace(own, sha256="ab" * 32, source="https://files.example/tea.whl", size=7)
        return replace(plan, changes=tuple(sorted([own, *brought], key=lambda each: each.name)))

    def install(self, plan, progress=None):
        self._remove([each.name for each in plan.changes if each.before is not None])
        told = self._installer.install(plan, progress)
        for each in plan.changes:
            with (self.environment.distributions()[each.name].path / "METADATA").open("a") as file:
                file.writelines(
                    f"Requires-Dist: {one}\n" for one in self.requires.get(each.name, ())
                )
        for each in self.lines:
            progress(each)
        self.after()
        return told

    def uninstall(self, names, progress=None):
        self.before()
        return self._remove(names)

    def _remove(self, names):
        if not names:
            return ""
        there = self.environment.distributions()
        told = self._installer.uninstall(names)
        for each in names:
            if each in there:
                shutil.rmtree(there[each].path)
        return told


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
    """Give an installer with a distribution of a plugin, and a plugins file."""
    sys.modules.pop(MODULE, None)
    shelf = PluginValues(folder_installer)
    shelf.ready |= {
        "shop-tea": release("1.0", 1),
        "shop-leaf": ("3.0", {}, {"packages_leaf.py": ""}),
        "shop-cup": ("4.0", {}, {"packages_cup.py": ""}),
    }
    shelf.plugins_file = tmp_path / "plugins.txt"
    shelf.plugins_file.write_text(LISTED)
    yield shelf
    sys.modules.pop(MODULE, None)


@pytest.fixture
def storage():
    return Flaky()


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


def tree(site):
    """Return mode and content of all there is in an environment, but for what plugreg keeps."""
    return {
        str(each.relative_to(site.folder)): (
            each.lstat().st_mode,
            each.read_bytes() if each.is_file() else None,
        )
        for each in site.folder.rglob("*")
        if "/.plugreg" not in str(each) and "__pycache__" not in each.parts
    }


def everything(folder):
    """Return which files there are in a folder, and when each was changed."""
    found = {each: each.lstat() for each in folder.rglob("*")}
    return {path: (told.st_ino, told.st_ctime_ns) for path, told in found.items()}


def outcomes(packages):
    return [(each.action, each.requirement, each.outcome) for each in packages.audit()]


def answer(registry, slug="tea"):
    """Return what the code of an active plugin says that it is."""
    return sys.modules[MODULE].__dict__[slug.title()].ANSWER if slug in registry.active else None


def forgotten_plan(**changes):
    """Return a plan as a host may have kept it since earlier."""
    return InstallPlan(target=parse_target("shop-tea"), distribution="shop-tea", **changes)


class TestPlans:
    def test_a_plan_is_carried_out_as_it_is(self, shelf, registry):
        """What was shown is what is done, and the installer is not asked again."""
        plan = registry.plan("shop-tea")
        shelf.asked.clear()
        report = registry.install(plan)

        assert report.plan is plan
        assert shelf.asked == []
        assert report.success
        assert (report.version, report.location) == ("1.0", str(shelf.environment.purelib))

    def test_a_plan_for_another_environment_is_not_carried_out(self, registry, site, shelf):
        """Somebody else has installed what it would add: it says so, and touches nothing."""
        plan = registry.plan("shop-tea")
        site.dist("shop-tea", "0.5", {"shop.plugins": {"tea": f"{MODULE}:Tea"}}, modules=source(0))
        before = tree(site)
        with pytest.raises(InstallError, match="'shop-tea' changed since the plan was made") as why:
            registry.install(plan)

        assert tree(site) == before
        assert shelf.plugins_file.read_text() == LISTED
        assert why.value.report.restored
        assert [each[2] for each in outcomes(registry.packages)] != ["done"]

    def test_a_plan_that_removes_what_is_gone_is_not_carried_out(self, registry, site):
        """The same holds for each distribution in it, not the named one alone."""
        gone = Change(name="shop-leaf", before="3.0", after=None)
        new = Change(name="shop-tea", before=None, after="1.0")
        with pytest.raises(InstallError, match="'shop-leaf' changed since"):
            registry.install(forgotten_plan(changes=(gone, new)))

        assert tree(site) == {}

    @pytest.mark.parametrize("change", ["added", "removed", "upgraded"])
    def test_a_plan_holds_for_the_whole_environment(self, registry, site, change):
        """It was made so that it suits all that was there, though it changes nothing of that."""
        info = site.dist("shop-pot", "1.0")
        plan = registry.plan("shop-tea")
        if change == "added":
            site.dist("shop-jug", "1.0")
        elif change == "removed":
            shutil.rmtree(info)
        else:
            (info / "METADATA").write_text("Name: shop-pot\nVersion: 2.0\n")
        before = tree(site)
        with pytest.raises(InstallError, match="the environment changed since the plan was made"):
            registry.install(plan)

        assert tree(site) == before
        assert registry.install(registry.plan("shop-tea")).success

    @pytest.mark.parametrize("rule", ["denied", "allowed", "indexes", "require_hashes"])
    def test_a_plan_is_judged_by_the_policy_of_now(self, registry, site, shelf, tmp_path, rule):
        """What another host, or this one yesterday, has allowed is carried out by none of them."""
        plan = pickle.loads(pickle.dumps(registry.plan("shop-tea")))
        constraints = tmp_path / "constraints.txt"
        constraints.write_text("shop-tea==1.0 --hash=sha256:" + "cd" * 32)
        shelf._installer.policy = {
            "denied": InstallPolicy(denied=["shop-tea"]),
            "allowed": InstallPolicy(allowed=["shop-leaf"]),
            "indexes": InstallPolicy(indexes=["https://good.example/simple"]),
            "require_hashes": InstallPolicy(constraints=constraints, require_hashes=True),
        }[rule]
        with pytest.raises(InstallRefusedError) as caught:
            registry.install(plan)

        assert [each.rule for each in caught.value.plan.refusals] == [rule]
        assert tree(site) == {}
        assert outcomes(registry.packages) == [("install", "shop-tea", "refused")]

    @pytest.mark.parametrize("name", ["shop-host", "typing-extensions", "shop-base"])
    def test_what_the_host_and_plugreg_run_on_is_not_replaced(self, registry, shelf, site, name):
        """Whatever they require is protected like themselves."""
        site.dist("shop-host", metadata="Requires-Dist: Shop_Base\n")
        site.dist("pydantic", metadata="Requires-Dist: typing-extensions>=4\n")
        if name != "shop-host":
            site.dist(name)
        shelf.ready[name] = release("99.0", 1)
        [refusal] = registry.plan(name).refusals

        assert refusal.rule == "environment"
        assert "is what the host, or plugreg, runs on" in refusal.reason

    def test_a_refused_plan_is_not_carried_out(self, registry, shelf, site):
        """It is an error with the reasons and the plan, and is noted as refused."""
        reasons = ("'shop-tea' is denied", "nothing may come from there")
        refusals = tuple(Refusal(rule="denied", reason=each) for each in reasons)
        plan = replace(registry.plan("shop-tea"), refusals=refusals)
        with pytest.raises(InstallRefusedError) as caught:
            registry.install(plan, actor="user 7")

        assert caught.value.reasons == reasons
        assert caught.value.plan is plan
        [entry] = registry.packages.audit()
        assert (entry.outcome, entry.reasons, entry.actor) == ("refused", reasons, "user 7")
        assert everything(site.folder) == {}

    def test_an_index_that_the_policy_forbids(self):
        """No program is run for it: the plan is refused, and so is carrying it out."""
        policy = InstallPolicy(indexes=["https://good.example/simple"])
        url = "https://keeper:sesame@bad.example/simple"
        with PluginRegistry("shop", installer=PipInstaller(policy=policy)) as registry:
            plan = registry.plan("shop-tea", index_url=url)
            with pytest.raises(InstallRefusedError) as caught:
                registry.install("shop-tea", index_url=url)
            [entry] = registry.packages.audit()

        assert [each.rule for each in plan.refusals] == ["indexes"]
        assert plan.changes == ()
        assert entry.outcome == "refused"
        for told in (repr(plan), str(caught.value), repr(entry)):
            assert "bad.example" in told or "shop-tea" in told
            assert "sesame" not in told
            assert "keeper" not in told


class TestInstalling:
    def test_the_plugins_file_gets_what_was_asked_for(self, registry, shelf):
        """A version that was left open is the installed one; a line of the name is replaced."""
        registry.install("shop-tea")
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-tea==1.0\n"

        shelf.ready["shop-tea"] = release("1.5", 1)
        registry.install("Shop_Tea>=1.2")
        assert shelf.plugins_file.read_text().splitlines()[-1].lower() == "shop_tea>=1.2"

    @pytest.mark.parametrize("version", ["2.0", "1.0"])
    def test_a_line_with_hashes_keeps_having_one(self, registry, shelf, version):
        """It is that of the file which was installed, by an upgrade or anew."""
        registry.install("shop-tea")
        old = f"{LISTED}shop-tea==1.0 --hash=sha256:{'cd' * 32}  # mine\n"
        shelf.plugins_file.write_text(old)
        shelf.ready["shop-tea"] = release(version, 2)
        registry.install("shop-tea")

        line = f"shop-tea=={version} --hash=sha256:{'ab' * 32}  # mine"
        assert shelf.plugins_file.read_text() == f"{LISTED}{line}\n"

    def test_what_is_there_already_is_success_and_listed(self, registry, shelf, site, monkeypatch):
        """Nothing has to change, and it is in the plugins file nevertheless."""
        registry.install("shop-tea")
        shelf.plugins_file.write_text(LISTED)
        before = tree(site)
        monkeypatch.setattr(
            shelf, "plan", lambda target, *_: InstallPlan(target=target, distribution="shop-tea")
        )
        report = registry.install("shop-tea")

        assert (report.success, report.version, report.plugins) == (True, "1.0", ("tea",))
        assert tree(site) == before
        assert shelf.plugins_file.read_text() == f"{LISTED}shop-tea==1.0\n"

    def test_what_this_interpreter_does_not_find_is_put_back(
        self, registry, site, shelf, monkeypatch
    ):
        """Being in some folder is not enough: the plugins must be discoverable here."""
        monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(site)])
        with pytest.raises(NotAPluginError, match="'shop-tea' brings no plugin") as caught:
            registry.install("shop-tea")

        assert tree(site) == {}
        assert shelf.plugins_file.read_text() == LISTED
        assert (caught.value.report.success, caught.value.report.restored) == (False, True)
        assert [each[2] for each in outcomes(registry.packages)] == ["put back"]

    def test_what_is_hidden_by_an_older_copy_is_put_back(
        self, registry, site, shelf, tmp_path, monkeypatch
    ):
        """A folder ahead on the path has another version, which this interpreter would import."""
        other = type(site)(tmp_path / "ahead")
        other.dist("shop-tea", "0.5", {"shop.plugins": {"tea": f"{MODULE}:Tea"}}, modules=source(0))
        monkeypatch.syspath_prepend(str(other))
        with pytest.raises(InstallError, match=r"'shop-tea'.*0\.5"):
            registry.install("shop-tea")

        assert tree(site) == {}

    @pytest.mark.parametrize("state", ["active", "inactive"])
    @pytest.mark.parametrize("version", ["2.0", "1.0"])
    def test_new_code_is_imported_anew(self, registry, shelf, state, version):
        """Upgraded or installed again, on or off meanwhile: what runs then is the new code."""
        registry.install("shop-tea")
        registry.activate("tea")
        assert answer(registry) == 1
        if state == "inactive":
            registry.deactivate("tea")
        shelf.ready["shop-tea"] = release(version, 2)
        registry.install("shop-tea")
        if state == "inactive":
            registry.activate("tea")

        assert answer(registry) == 2
        assert registry.get("tea").version == version

    def test_code_that_comes_back_is_imported_anew(self, registry, shelf):
        """A plugin that was uninstalled and is installed again runs what was installed last."""
        registry.install("shop-tea")
        registry.activate("tea")
        registry.deactivate("tea")
        registry.uninstall("tea")
        shelf.ready["shop-tea"] = release("1.0", 2)
        registry.install("shop-tea")
        registry.activate("tea")

        assert answer(registry) == 2

    def test_old_code_never_stands_for_new(self, registry, shelf):
        """What cannot be imported stays failed, though it is switched off and on again."""
        registry.install("shop-tea")
        registry.activate("tea")
        broken = {f"{MODULE}.py": "raise OSError('it is broken')\n"}
        shelf.ready["shop-tea"] = ("2.0", {"tea": f"{MODULE}:Tea"}, broken)
        registry.install("shop-tea")
        assert registry.get("tea").state is PluginState.FAILED
        registry.deactivate("tea")
        registry.activate("tea")

        assert registry.get("tea").state is PluginState.FAILED
        assert answer(registry) is None

    def test_the_wish_stays_over_an_upgrade(self, registry, shelf):
        """What was on is on, what was off is off, and what is new of it is off."""
        shelf.ready["shop-tea"] = release("1.0", 1, ("tea", "milk"))
        registry.install("shop-tea")
        registry.activate("tea")
        shelf.ready["shop-tea"] = release("2.0", 2, ("tea", "milk", "sugar"))
        report = registry.install("shop-tea")

        assert report.plugins == ("milk", "sugar", "tea")
        states = {each: registry.get(each).state for each in report.plugins}
        assert states == {
            "tea": PluginState.ACTIVE,
            "milk": PluginState.INACTIVE,
            "sugar": PluginState.INACTIVE,
        }

    def test_progress_comes_from_the_installer(self, registry):
        """Each line goes to the host's callback, and the report keeps them all."""
        told = []
        report = registry.install("shop-tea", progress=told.append)

        assert told == ["Installing"]
        assert report.output == "Installing\nDone"

    def test_what_a_callback_raises_is_logged_once(self, registry, shelf, caplog):
        """It keeps nothing from being installed, and no line of it is lost."""
        shelf.lines = ["one", "two", "three"]
        assert registry.install("shop-tea", progress=lambda line: 1 / 0).success

        told = [each.message for each in caplog.records if "progress" in each.message]
        assert told == [
            "progress of 'shop-tea' could not be shown: ZeroDivisionError: division by zero"
        ]

    @pytest.mark.parametrize("is_shown", [True, False])
    def test_a_failure_has_what_the_installer_told(self, registry, shelf, is_shown):
        """Not only why it failed: all lines up to there, shown to anybody or not."""

        def fail():
            raise InstallError(["it broke"])

        shelf.lines, shelf.after = ["fetching", "putting"], fail
        progress = [].append if is_shown else None
        with pytest.raises(InstallError) as caught:
            registry.install("shop-tea", progress=progress)

        assert caught.value.report.output == "Installing\nfetching\nputting"

    def test_plugins_of_what_comes_along_are_told_of(self, shelf):
        """The report has all of them, and each is an event with its own distribution."""
        heard = []

        class Ear(EventMixin, Plugin):
            def process_event(self, event, *args, **kwargs):
                heard.append((event, kwargs))

        shelf.requires["shop-tea"] = ["shop-milk"]
        milk = "from plugreg import Plugin\nclass Milk(Plugin): ...\n"
        points = {"milk": "packages_milk:Milk"}
        shelf.ready["shop-milk"] = ("7.0", points, {"packages_milk.py": milk})
        with PluginRegistry("shop", installer=shelf, builtin=[Ear], mandatory={"ear"}) as registry:
            registry.load()
            heard.clear()
            report = registry.install("shop-tea")

        assert report.plugins == ("milk", "tea")
        assert [each for each in heard if each[0] == "plugin_installed"] == [
            ("plugin_installed", {"slug": s, "distribution": f"shop-{s}", "version": v})
            for s, v in (("milk", "7.0"), ("tea", "1.0"))
        ]

    def test_a_registry_that_is_closed_installs_nothing(self, registry, site, shelf):
        """It could not take in what came of it."""
        registry.close()
        with pytest.raises(RegistryNotReady):
            registry.install("shop-tea")

        assert tree(site) == {}
        assert shelf.asked == []

    def test_it_needs_no_loaded_registry(self, shelf, site):
        """A host may install before it loads; the next load finds the plugin."""
        with PluginRegistry("shop", installer=shelf) as registry:
            assert registry.install("shop-tea").plugins == ("tea",)
            registry.load()
            assert registry.get("tea").state is PluginState.INACTIVE


class TestSlugs:
    """What was wished and set of a plugin is for nobody but its own distribution."""

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
    def test_no_other_distribution_takes_a_slug(self, registry, shelf, site, case, state):
        """Whichever of them comes first by name, and however its entry point is spelt."""
        registry.install("shop-tea")
        if state == "active":
            registry.activate("tea")
        name, slug = case
        self.squat(shelf, name, slug)
        before = tree(site)
        self.refused(registry, name, "'shop-tea'")

        assert tree(site) == before
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

    def test_nor_in_a_plan_of_earlier(self, registry, shelf, site):
        """What was nobody's slug then may be somebody's now, and that is looked at last."""
        self.squat(shelf, "aaa-evil")
        plan = replace(registry.plan("aaa-evil"), environment=None)
        registry.install("shop-tea")
        before = tree(site)
        with pytest.raises(InstallRefusedError, match="'shop-tea'"):
            registry.install(plan)

        assert tree(site) == before

    def test_two_that_come_together_may_not_share_one(self, registry, shelf):
        """Only one of them would be the plugin."""
        self.squat(shelf, "aaa-evil")
        shelf.requires["shop-tea"] = ["aaa-evil"]
        [refusal] = registry.plan("shop-tea").refusals

        assert "'aaa-evil', which comes too" in refusal.reason

    @pytest.mark.parametrize("stored", ["wanted", "settings"])
    def test_what_is_stored_is_not_inherited(self, registry, shelf, site, stored):
        """A distribution that is gone leaves its wish to itself, until somebody forgets that."""
        registry.install("shop-tea")
        if stored == "wanted":
            registry.activate("tea")
        shelf._remove(["shop-tea"])
        registry.reload(collect=True)
        self.squat(shelf, "zzz-tea")
        self.refused(registry, "zzz-tea", "'shop-tea'", "registry.delete('tea')")

        if stored == "wanted":
            registry.deactivate("tea")
        registry.delete("tea")
        assert registry.install("zzz-tea").success
        assert registry.get("tea").state is PluginState.INACTIVE

    def test_its_own_distribution_comes_back_to_it(self, registry, shelf):
        """What was on is on again."""
        registry.install("shop-tea")
        registry.activate("tea")
        shelf._remove(["shop-tea"])
        registry.reload(collect=True)
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
        """What the host brings, or has made mandatory, no distribution is taken for."""

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

    def test_success_is_what_discovery_settles_on(self, shelf, site, tmp_path):
        """Before load nobody knows what is stored; a plugin that does not count is no success."""
        site.dist("aaa-tea", "1.0", {"shop.plugins": {"tea": "nowhere:Tea"}})
        shelf._installer.ready["shop-tea"] = ("1.0", {}, {})
        plan = shelf.plan(parse_target("shop-tea"), "shop.plugins")
        shelf.ready["shop-tea"] = release("1.0", 1)
        with (
            PluginRegistry("shop", installer=shelf) as registry,
            pytest.raises(NotAPluginError, match="'aaa-tea'"),
        ):
            registry.install(plan)

        assert "shop-tea" not in shelf.environment.distributions()


MEDDLING = {
    "one more": lambda site: site.dist("stranger", "1.0"),
    "another version of it": lambda site: (
        site.folder / "shop_tea-1.0.dist-info/METADATA"
    ).write_text("Name: shop-tea\nVersion: 7\n"),
    "another one removed": lambda site: (site.folder / "shop_host-1.0.dist-info/METADATA").unlink(),
    "another one upgraded": lambda site: (
        site.folder / "shop_host-1.0.dist-info/METADATA"
    ).write_text("Name: shop-host\nVersion: 2"),
    "it is not there": lambda site: (site.folder / "shop_tea-1.0.dist-info/METADATA").unlink(),
}


class TestPuttingBack:
    @pytest.fixture(autouse=True)
    def host(self, site):
        """Let the host be installed there, with a file that is no distribution's."""
        site.dist("shop-host", "1.0", modules={"shop_host.py": "version = 1"})
        (site.folder / "odd.pth").write_text("# nothing\n")
        (site.folder / "odd.pth").chmod(0o600)

    @pytest.mark.parametrize("what", MEDDLING)
    def test_what_was_not_planned_is_undone(self, registry, shelf, site, what):
        """More, less or something else than the plan says: all is as before, and the report is."""
        before = tree(site)
        shelf.after = lambda: MEDDLING[what](site)
        with pytest.raises(InstallError) as caught:
            registry.install("shop-tea")

        assert tree(site) == before
        assert shelf.plugins_file.read_text() == LISTED
        report = caught.value.report
        assert (report.success, report.restored) == (False, True)
        assert report.reasons == caught.value.reasons
        assert "tea" not in registry.plugins
        [entry] = registry.packages.audit()
        assert (entry.outcome, entry.reasons) == ("put back", report.reasons)

    def test_less_than_was_planned_is_undone(self, registry, shelf, site):
        """A removal that was planned and did not happen is told of by name."""
        before = tree(site)
        new = Change(name="shop-tea", before=None, after="1.0")
        also = Change(name="shop-leaf", before=None, after="8.0")
        plan = forgotten_plan(changes=(also, new))
        with pytest.raises(InstallError, match=r"shop-leaf 3\.0, shop-leaf 8\.0"):
            registry.install(plan)

        assert tree(site) == before

    @pytest.mark.parametrize(
        "error",
        [
            InstallError(["ERROR: it broke"]),
            OSError(28, "No space left on device"),
            RuntimeError("a fault of the driver"),
            KeyboardInterrupt(),
            SystemExit(3),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("kind", ["install", "upgrade"])
    def test_whatever_an_installer_raises(self, registry, shelf, site, error, kind):
        """Half-done work is undone, the exception passes as it is, and what ran runs on."""
        if kind == "upgrade":
            registry.install("shop-tea")
            registry.activate("tea")
            shelf.ready["shop-tea"] = release("2.0", 2)
        before, listed = tree(site), shelf.plugins_file.read_text()

        def fail():
            (site.folder / "left_over.py").write_text("")
            (site.folder / "shop_host.py").unlink()
            raise error

        shelf.after = fail
        with pytest.raises(type(error)) as caught:
            registry.install("shop-tea", actor="user 7")

        assert caught.value is error
        assert tree(site) == before
        assert shelf.plugins_file.read_text() == listed
        assert answer(registry) == (1 if kind == "upgrade" else None)
        entry = registry.packages.audit()[-1]
        assert (entry.outcome, entry.actor) == ("put back", "user 7")
        registry.reload(collect=True)
        assert answer(registry) == (1 if kind == "upgrade" else None)

    def test_a_plugins_file_that_cannot_be_written(self, registry, shelf, site):
        """What was installed goes again, since the next sync would not know of it."""
        before = tree(site)
        shelf.plugins_file.write_bytes(b"# \xff\n")
        with pytest.raises(InstallError, match=r"plugins\.txt.*line 1.*UTF-8") as caught:
            registry.install("shop-tea")

        assert tree(site) == before
        assert shelf.plugins_file.read_bytes() == b"# \xff\n"
        assert caught.value.report.restored

    @pytest.mark.parametrize("verb", ["install", "upgrade", "uninstall"])
    def test_what_people_save_meanwhile_stays(self, registry, shelf, verb, monkeypatch):
        """An editor's save during a change that fails is undone by nobody."""
        if verb != "install":
            registry.install("shop-tea")
            shelf.ready["shop-tea"] = release("2.0", 2)
        listed = shelf.plugins_file.read_text()

        def save():
            text = shelf.plugins_file.read_text()
            shelf.plugins_file.write_text(f"# edited\n{text}")

        def fail():
            save()
            raise InstallError(["it broke"])

        shelf.after = shelf.before = fail
        with pytest.raises(InstallError, match="it broke"):
            registry.uninstall("tea") if verb == "uninstall" else registry.install("shop-tea")
        assert shelf.plugins_file.read_text() == f"# edited\n{listed}"

        # The same where the line was written already.
        shelf.plugins_file.write_text(listed)
        shelf.after = shelf.before = save
        monkeypatch.setattr(safeguard, "flush_all", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            registry.uninstall("tea") if verb == "uninstall" else registry.install("shop-tea")
        assert shelf.plugins_file.read_text() == f"# edited\n{listed}"

    def test_a_large_file_that_is_written_in_place_is_told(self, registry, shelf, site):
        """Of such a file there is no copy: it is named, and nobody says that all is as it was."""
        large = site.folder / "large.so"
        large.write_bytes(b"1" * 100_000)

        def spoil():
            with large.open("r+b") as file:
                file.write(b"2")
            raise InstallError(["it broke"])

        shelf.after = spoil
        with pytest.raises(InstallError, match="it broke") as caught:
            registry.install("shop-tea")

        assert not caught.value.report.restored
        assert any("large.so" in each for each in caught.value.report.reasons)
        [entry] = registry.packages.audit()
        assert entry.outcome == "failed"
        assert any("large.so" in each for each in entry.reasons)


class TestUninstalling:
    def test_a_failure_keeps_everything(self, registry, shelf, site):
        """The files come back, and what is stored of the plugin was not touched."""
        registry.install("shop-tea")
        registry.set_metadata("tea", {"a": 1})
        before, listed, number = tree(site), shelf.plugins_file.read_text(), registry.get("tea").pk

        def fail():
            (site.folder / f"{MODULE}.py").unlink()
            raise InstallError(["ERROR: it broke"])

        shelf.before = fail
        with pytest.raises(InstallError, match="it broke"):
            registry.uninstall("tea")

        assert tree(site) == before
        assert shelf.plugins_file.read_text() == listed
        assert (registry.get("tea").pk, registry.metadata("tea")) == (number, {"a": 1})
        assert outcomes(registry.packages)[-1] == ("uninstall", "shop-tea", "put back")

    def test_what_is_not_removed_is_no_success(self, registry, shelf, site, monkeypatch):
        """An installer that does nothing, and says nothing, is not believed."""
        registry.install("shop-tea")
        before = tree(site)
        monkeypatch.setattr(shelf, "uninstall", lambda names, progress=None: "")
        with pytest.raises(InstallError, match="shop-tea is gone"):
            registry.uninstall("tea")

        assert tree(site) == before
        assert registry.get("tea").is_installed

    @pytest.fixture
    def other(self, registry, shelf, storage):
        """Give the registry of another process, and a plugin that both know."""
        registry.install("shop-tea")
        with PluginRegistry("shop", host_distribution="shop-host", storage=storage) as other:
            other.load()
            yield other

    def test_what_was_switched_on_just_now_stays(self, registry, other, site, monkeypatch):
        """The last look is taken when nobody else can change anything."""
        real = Safeguard.alone

        def alone(safeguard):
            other.activate("tea")
            return real(safeguard)

        before = tree(site)
        monkeypatch.setattr(Safeguard, "alone", alone)
        with pytest.raises(InstallError, match="as it is currently active"):
            registry.uninstall("tea")

        assert tree(site) == before
        assert outcomes(registry.packages)[-1] == ("uninstall", "shop-tea", "refused")
        assert registry.get("tea").active

    def test_what_is_required_just_now_stays(self, registry, site, monkeypatch):
        """The same holds for who needs its distribution."""
        registry.install("shop-tea")
        real = Safeguard.alone

        def alone(safeguard):
            site.dist("shop-pot", metadata="Requires-Dist: shop-tea\n")
            return real(safeguard)

        monkeypatch.setattr(Safeguard, "alone", alone)
        with pytest.raises(InstallError, match="as 'shop-pot' requires its package"):
            registry.uninstall("tea")

        assert f"{MODULE}.py" in tree(site)

    @pytest.mark.parametrize("delete_config", [True, False])
    def test_what_is_switched_on_while_it_goes(
        self, registry, other, shelf, storage, delete_config
    ):
        """It goes with the wish, or leaves that as it was stored last."""
        shelf.before = lambda: other.activate("tea")
        assert registry.uninstall("tea", delete_config=delete_config).plugins == ("tea",)

        assert not shelf.environment.distributions()
        wishes = {slug: row["active"] for slug, row in storage.read("plugins").items()}
        assert wishes == ({} if delete_config else {"tea": True})
        other.refresh()
        assert other.active == {}

    def test_what_is_stored_goes_last(self, registry, shelf, storage):
        """As long as the distribution is there, so is all that is stored of its plugins."""
        registry.install("shop-tea")
        registry.set_metadata("tea", {"a": 1})
        seen = []
        shelf.before = lambda: seen.append(registry.metadata("tea"))
        registry.uninstall("tea", delete_config=True)

        assert seen == [{"a": 1}]
        assert "tea" not in registry.plugins

    def test_its_line_goes(self, registry, shelf):
        """The plugins file is what it was before the plugin came."""
        registry.install("shop-tea")
        registry.uninstall("tea")

        assert shelf.plugins_file.read_text() == LISTED

    @pytest.mark.parametrize("name", ["shop-host", "plugreg"])
    def test_the_host_and_plugreg_stay(self, registry, site, name):
        """Whatever plugins they bring."""
        site.dist(name, "1.0", {"shop.plugins": {"tea": f"{MODULE}:Tea"}}, modules=source(1))
        registry.reload(collect=True)
        before = tree(site)
        with pytest.raises(InstallError) as caught:
            registry.uninstall("tea")

        assert caught.value.reasons == (
            "Plugin cannot be uninstalled as the host needs its package",
        )
        assert tree(site) == before

    @pytest.mark.parametrize(("installer", "stays"), [("conda", True), ("pip", False), ("", False)])
    def test_what_another_manager_has_put_there_stays(self, registry, site, installer, stays):
        """It would not know that it is gone."""
        info = site.dist(
            "shop-tea", "1.0", {"shop.plugins": {"tea": f"{MODULE}:Tea"}}, modules=source(1)
        )
        (info / "INSTALLER").write_text(f"{installer}\n")
        registry.reload(collect=True)
        if stays:
            with pytest.raises(InstallError, match="as 'conda' manages its package"):
                registry.uninstall("tea")
        else:
            registry.uninstall("tea")

        assert (MODULE + ".py" in tree(site)) == stays

    def test_what_another_distribution_requires_stays(self, registry, site):
        """Whoever requires it is named; what a marker excludes here counts for none."""
        registry.install("shop-tea")
        site.dist("shop-pot", metadata="Requires-Dist: Shop_Tea>=1\n")
        site.dist("shop-jug", metadata="Requires-Dist: shop-tea; python_version < '3'\n")
        before = tree(site)
        with pytest.raises(InstallError, match="as 'shop-pot' requires its package"):
            registry.uninstall("tea")

        assert tree(site) == before


class TestDependencies:
    @pytest.fixture
    def leaves(self, registry, shelf):
        """Install a distribution that brings two others along."""
        shelf.requires["shop-tea"] = ["shop-leaf", "shop-cup"]
        registry.install("shop-tea")
        return registry

    def gone(self, leaves, **how):
        report = leaves.packages.uninstall("tea", **how)
        assert all(each.kind == "remove" for each in report.changes)
        return [each.name for each in report.changes]

    def test_they_stay_unless_asked_for(self, leaves, shelf):
        """Without the flag nothing but the plugin's own distribution goes."""
        assert self.gone(leaves) == ["shop-tea"]
        assert {"shop-leaf", "shop-cup"} <= set(shelf.environment.distributions())

    def test_what_only_it_brought_goes_too(self, leaves, shelf):
        """With the flag they go, in the same step, and the audit names them."""
        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-leaf", "shop-tea"]
        assert not shelf.environment.distributions()
        changes = leaves.packages.audit()[-1].changes
        assert [(each.name, each.before) for each in changes] == [
            ("shop-cup", "4.0"),
            ("shop-leaf", "3.0"),
            ("shop-tea", "1.0"),
        ]

    @pytest.mark.parametrize("extra", ["", "; extra == 'hot'"])
    def test_what_another_one_needs_stays(self, leaves, site, extra):
        """A need of an extra counts, as nobody knows which extras were asked for."""
        site.dist("shop-pot", metadata=f"Requires-Dist: shop-leaf{extra}\nProvides-Extra: hot\n")

        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-tea"]

    def test_what_those_need_that_stay_stays(self, leaves, site, shelf):
        """The cup is needed by the leaf, which somebody else needs."""
        site.dist("shop-pot", metadata="Requires-Dist: shop-leaf\n")
        leaf = shelf.environment.distributions()["shop-leaf"].path / "METADATA"
        leaf.write_text(f"{leaf.read_text()}Requires-Dist: shop-cup\n")

        assert self.gone(leaves, dependencies=True) == ["shop-tea"]

    def test_what_was_there_before_stays(self, registry, shelf, site):
        """It did not come with the plugin, though that requires it."""
        site.dist("shop-cup", "4.0")
        shelf.requires["shop-tea"] = ["shop-leaf", "shop-cup"]
        registry.install("shop-tea")

        assert self.gone(registry, dependencies=True) == ["shop-leaf", "shop-tea"]

    def test_a_dependency_with_plugins_stays(self, registry, shelf):
        """Plugins are somebody's wish by themselves; this one is even active."""
        shelf.requires["shop-tea"] = ["shop-leaf", "shop-milk"]
        plugins = {"milk": "packages_milk:Milk"}
        milk = "from plugreg import Plugin\nclass Milk(Plugin): ...\n"
        shelf.ready["shop-milk"] = ("1.0", plugins, {"packages_milk.py": milk})
        registry.install("shop-tea")
        registry.activate("milk")

        assert self.gone(registry, dependencies=True) == ["shop-leaf", "shop-tea"]
        assert registry.get("milk").active

    def test_a_dependency_that_is_listed_stays(self, leaves, shelf):
        """Who has written it into the plugins file wants it."""
        shelf.plugins_file.write_text(f"Shop_Leaf\n{shelf.plugins_file.read_text()}")

        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-tea"]

    def test_a_dependency_that_another_manager_has_put_there_stays(self, leaves, shelf):
        """Somebody has replaced it with conda since."""
        info = shelf.environment.distributions()["shop-leaf"].path
        (info / "INSTALLER").write_text("conda\n")

        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-tea"]

    def test_what_has_gone_and_come_back_by_itself_stays(self, leaves, site, shelf):
        """It was removed with the plugin once; who has put it there since is not the plugin."""
        leaves.packages.uninstall("tea", dependencies=True)
        site.dist("shop-leaf", "3.0", modules={"packages_leaf.py": ""}, info="leaf-3.0.dist-info")
        leaves.install("shop-tea")

        assert self.gone(leaves, dependencies=True) == ["shop-cup", "shop-tea"]


class TestAudit:
    def test_what_was_done(self, registry, shelf):
        """Who, when, what was asked for, what came of it, and the hashes of the files."""
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
        assert [each.actor for each in registry.packages.audit(1)] == ["user 7"]

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

    def test_what_may_not_be_uninstalled(self, registry):
        """An attempt that is turned down is noted as refused, with the reason."""
        registry.install("shop-tea")
        registry.activate("tea")
        with pytest.raises(InstallError):
            registry.uninstall("tea", actor="user 7")
        entry = registry.packages.audit()[-1]

        assert (entry.action, entry.outcome, entry.actor) == ("uninstall", "refused", "user 7")
        assert entry.reasons == ("Plugin cannot be uninstalled as it is currently active",)

    def test_a_failure_is_told_though_the_store_is_away(self, registry, shelf, storage, caplog):
        """The installer's error comes, not the store's, and the log says what is missing."""

        def fail():
            storage.away = True
            raise InstallError(["ERROR: it broke"])

        shelf.after = fail
        with (
            caplog.at_level(logging.WARNING, "plugreg"),
            pytest.raises(InstallError, match="broke"),
        ):
            registry.install("shop-tea")

        assert "the audit does not tell that 'shop-tea' is put back" in caplog.text

    def test_what_cannot_be_audited_is_put_back(self, registry, shelf, storage, site):
        """Nothing is installed without an entry; with the store back, all is well."""
        shelf.after = lambda: setattr(storage, "away", True)
        with pytest.raises(StorageUnavailableError):
            registry.install("shop-tea")

        assert tree(site) == {}
        assert shelf.plugins_file.read_text() == LISTED
        assert registry.packages.interrupted is None
        storage.away = False
        shelf.after = lambda: None
        assert registry.install("shop-tea").success
        assert [each.outcome for each in registry.packages.audit()] == ["done"]

    def test_what_cannot_be_audited_is_not_removed(self, registry, shelf, storage):
        """The plugin is there still, with all that is stored of it."""
        registry.install("shop-tea")
        registry.set_metadata("tea", {"a": 1})
        shelf.before = lambda: setattr(storage, "away", True)
        with pytest.raises(StorageUnavailableError):
            registry.uninstall("tea")
        storage.away = False
        registry.reload(collect=True)

        assert registry.get("tea").state is PluginState.INACTIVE
        assert registry.metadata("tea") == {"a": 1}

    def test_the_entry_is_there_before_the_change_is_final(self, registry, shelf, storage):
        """A process that is killed right after the change leaves no change without an entry."""
        ends = []
        real = Safeguard._end

        def end(safeguard, *arguments):
            ends.append([each.outcome for each in registry.packages.audit()])
            real(safeguard, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Safeguard, "_end", end)
            registry.install("shop-tea")

        assert ends == [["begun"]]
        assert [each[2] for each in outcomes(registry.packages)] == ["done"]

    def test_what_is_put_back_at_the_very_end_was_never_done(self, registry, site):
        """An attempt has one entry, whatever goes wrong after it was entered."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(safeguard, "flush_all", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                registry.install("shop-tea")

        assert tree(site) == {}
        assert outcomes(registry.packages) == [("install", "shop-tea", "put back")]

    @pytest.fixture
    def lost_at_the_end(self, storage, monkeypatch):
        """Let the store be away from the moment on at which a change is final."""
        real = Safeguard._end

        def end(safeguard, *arguments):
            real(safeguard, *arguments)
            storage.away = True

        def lose():
            monkeypatch.setattr(Safeguard, "_end", end)

        yield lose
        storage.away = False

    def test_a_store_that_is_away_at_the_end_of_an_installation(
        self, registry, storage, lost_at_the_end, caplog
    ):
        """It is installed, which the error says, and its entry stays as it was begun."""
        lost_at_the_end()
        with pytest.raises(InstallError, match="'shop-tea' was installed, but") as caught:
            registry.install("shop-tea")
        storage.away = False

        report = caught.value.report
        assert (report.success, report.version, report.plugins) == (True, "1.0", ("tea",))
        assert isinstance(caught.value.__cause__, StorageUnavailableError)
        assert "the audit does not tell that 'shop-tea' is done" in caplog.text
        assert [each[2] for each in outcomes(registry.packages)] == ["begun"]
        registry.reload(collect=True)
        assert registry.get("tea").state is PluginState.INACTIVE

    def test_a_store_that_is_away_at_the_end_of_a_line(self, registry, shelf, lost_at_the_end):
        """No report could say that it is installed and that nobody knows."""
        shelf.plugins_file.write_text("shop-tea\nshop-leaf\n")
        lost_at_the_end()
        with pytest.raises(InstallError, match="'shop-tea' was installed, but"):
            registry.packages.sync()

        assert list(shelf.environment.distributions()) == ["shop-tea"]

    def test_a_store_that_is_away_at_the_end_of_a_removal(
        self, registry, storage, shelf, lost_at_the_end
    ):
        """It is gone, which the error says with its report."""
        registry.install("shop-tea")
        lost_at_the_end()
        with pytest.raises(InstallError, match="'shop-tea' was removed, but") as caught:
            registry.uninstall("tea")
        storage.away = False

        assert caught.value.report.plugins == ("tea",)
        assert not shelf.environment.distributions()
        assert [each[2] for each in outcomes(registry.packages)] == ["done", "begun"]


class TestInterrupted:
    @pytest.fixture
    def before(self, registry, site, shelf):
        """Install a plugin, have an upgrade broken off, and give what was there before that."""
        registry.install("shop-tea")
        site.dist("shop-pot")
        before = tree(site)
        folder = Path(plugreg.__file__).parents[1]
        subprocess.run([sys.executable, "-c", BROKEN_OFF, site.folder], cwd=folder, check=True)
        assert tree(site) != before
        return before

    @pytest.fixture
    def later(self, shelf, storage, before):
        """Give the registry of the next start, which is not loaded yet."""
        with PluginRegistry(
            "shop", host_distribution="shop-host", installer=shelf, storage=storage
        ) as registry:
            yield registry

    def test_what_people_saved_before_recovering_stays(self, site, shelf, storage, tmp_path):
        """The plugins file was a part of the change; only the change's own line is put back."""
        listed = "# ours\nshop-tea==1.0  # mine\n"
        shelf.plugins_file.write_text(listed)
        about = {"names": ["shop-tea"], "distribution": "shop-tea"}
        guard, pid = Safeguard(shelf.environment), os.fork()
        if pid == 0:
            with guard.changing("upgrading", [shelf.plugins_file], about=about):
                edited = f"{listed.replace('1.0', '2.0')}# edited\n"
                shelf.plugins_file.write_text(edited)
                os._exit(0)
        os.waitpid(pid, 0)
        with PluginRegistry("shop", installer=shelf, storage=storage) as later:
            assert later.packages.recover() is not None

        assert shelf.plugins_file.read_text() == f"{listed}# edited\n"

    def test_the_next_start_says_so_and_changes_nothing(self, later, site):
        """It is a failure of stage install with the remedy; not a file is touched."""
        seen = everything(site.folder)
        report = later.load()

        [failure] = [each for each in report.failures if each.stage == "install"]
        assert failure in later.errors
        assert "installing shop-tea==9 was interrupted" in failure.message
        assert "registry.packages.recover()" in failure.message
        assert everything(site.folder) == seen
        assert later.get("tea").state is PluginState.MISSING

    def test_recovering_before_load(self, later, site, before):
        """It needs no loaded registry; load then finds the plugin, and nothing to tell."""
        found = later.packages.recover()

        assert found.what == "installing shop-tea==9"
        assert found.before == {"shop-pot": "1.0", "shop-tea": "1.0"}
        assert tree(site) == before
        later.load()
        assert later.errors == ()
        assert later.get("tea").state is PluginState.INACTIVE

    def test_recovering_after_load(self, later, site, before):
        """The plugins that are back are known at once, and the failure is gone."""
        later.load()
        assert later.packages.recover() is not None

        assert tree(site) == before
        assert later.errors == ()
        assert later.get("tea").state is PluginState.INACTIVE
        entry = later.packages.audit()[-1]
        assert (entry.action, entry.requirement, entry.outcome) == (
            "recover",
            "installing shop-tea==9",
            "put back",
        )
        assert later.packages.recover() is None
        assert later.packages.audit()[-1] == entry

    def test_no_plan_is_made_meanwhile(self, later, shelf):
        """It would be one for an environment that is neither before nor after."""
        shelf.asked.clear()
        plan = later.plan("shop-leaf")

        assert [each.rule for each in plan.refusals] == ["interrupted"]
        assert "recover()" in plan.refusals[0].reason
        assert shelf.asked == []

    def test_the_next_install_puts_back_first(self, later, shelf, before, site):
        """And then does what it was asked for."""
        later.load()
        shelf.ready["shop-tea"] = release("2.0", 2)
        report = later.install("shop-tea", actor="user 7")

        assert report.plan.changes[0].before == "1.0"
        assert "left_over.py" not in tree(site)
        assert outcomes(later.packages)[-2:] == [
            ("recover", "installing shop-tea==9", "put back"),
            ("install", "shop-tea", "done"),
        ]
        assert [each.actor for each in later.packages.audit(2)] == ["user 7"] * 2
        assert later.errors == ()

    def test_the_next_uninstall_puts_back_first(self, later, site):
        """What was broken off had removed the plugin already; it is there again, and goes."""
        later.load()
        report = later.uninstall("tea")

        assert report.plugins == ("tea",)
        left = [each for each in tree(site) if each.endswith((".py", "METADATA"))]
        assert left == ["shop_pot-1.0.dist-info/METADATA"]

    @pytest.mark.parametrize("change", ["added", "removed"])
    def test_what_others_did_since_is_undone_by_nobody_unasked(self, later, site, before, change):
        """Who installs is told of it first; who recovers by name means it."""
        later.load()
        if change == "added":
            site.dist("stranger", "1.0")
        else:
            shutil.rmtree(site.folder / "shop_pot-1.0.dist-info")
        seen = tree(site)
        what = "'stranger'" if change == "added" else "'shop-pot'"
        for attempt in (lambda: later.install("shop-leaf"), lambda: later.uninstall("tea")):
            with pytest.raises(InstallError, match=f"{what} changed since.*recover") as caught:
                attempt()
            assert "shop-tea==9 was interrupted" in str(caught.value)
            assert tree(site) == seen
        assert later.packages.recover() is not None
        assert tree(site) == before

    def test_the_next_sync_puts_back_first(self, later, shelf, site, before):
        """All that is listed is there then."""
        shelf.plugins_file.write_text("shop-tea==1.0\n")
        later.load()

        assert later.packages.sync() == ()
        assert tree(site) == before


class TestSync:
    def sync(self, registry, shelf, *lines):
        shelf.plugins_file.write_text("".join(f"{each}\n" for each in lines))
        return registry.packages.sync(actor="user 7")

    def test_what_is_missing_comes(self, registry, shelf):
        """One report for each line that needed something, and the plugins are known."""
        [report] = self.sync(registry, shelf, "# comment", "shop-tea>=1")

        assert (report.success, report.plugins, report.version) == (True, ("tea",), "1.0")
        assert registry.get("tea").state is PluginState.INACTIVE
        entry = registry.packages.audit()[-1]
        assert (entry.action, entry.actor) == ("sync", "user 7")

    def test_what_is_there_in_a_version_that_suits_is_left_alone(self, registry, shelf):
        """The installer is not asked; a line for other interpreters counts as none."""
        registry.install("shop-tea")
        shelf.asked.clear()

        assert self.sync(registry, shelf, "Shop.Tea>=1", "shop-leaf; python_version < '3'") == ()
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
            "shop-tea --hash=sha256:" + "ab" * 32,
            "shop-tea[x]>=1 ; python_version > '3'",
            "Shop_Tea >= 1",
        ],
    )
    def test_the_file_stays_as_it_is(self, registry, shelf, line):
        """The environment is made to match the file, not the other way round."""
        [report] = self.sync(registry, shelf, "# ours", line)

        assert report.success
        assert shelf.plugins_file.read_text() == f"# ours\n{line}\n"

    def test_a_file_that_has_another_hash_is_not_installed(self, registry, shelf, site):
        """One of those that are listed has to be that of the file."""
        wrong, right = "cd" * 32, "ab" * 32
        [report] = self.sync(registry, shelf, f"shop-tea==1.0 --hash=sha256:{wrong}")

        assert not report.success
        assert any("hashes in the plugins file" in each for each in report.reasons)
        assert tree(site) == {}
        [report] = self.sync(
            registry, shelf, f"shop-tea==1.0 --hash=sha256:{wrong} --hash=sha256:{right}"
        )
        assert report.success

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("shop-coffee==1", "there is no shop-coffee"),
            ("./somewhere", "requirement"),
            ("shop-coffee @ file:///etc/passwd", "https"),
            ("shop-coffee @ http://example.org/coffee.whl", "http"),
        ],
    )
    def test_a_line_that_fails_keeps_no_other_from_its_turn(self, registry, shelf, line, reason):
        """It has a report with the reasons, at its place in the order of the file."""
        failed, done = self.sync(registry, shelf, line, "shop-tea")

        assert (failed.success, done.success) == (False, True)
        assert any(reason in each for each in failed.reasons)
        assert registry.get("tea").is_installed

    @pytest.mark.parametrize(
        "line", ["shop-leaf==2.0", "shop-leaf==3.0 --hash=sha256:" + "cd" * 32]
    )
    def test_what_another_line_has_is_not_installed_otherwise(self, registry, shelf, site, line):
        """A dependency that is listed itself comes as it is listed, or not at all."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        failed = self.sync(registry, shelf, "shop-tea", line)[0]

        assert not failed.success
        assert "shop-leaf" in failed.reasons[0]
        assert "the plugins file" in failed.reasons[0]
        assert tree(site) == {}

    def test_a_line_that_waits_for_another_one_has_its_turn_again(self, registry, shelf):
        """The order of the lines does not matter, and only what failed at last has a failure."""
        shelf.ready["shop-pot"] = ("1.0", {"pot": "nowhere:Pot"}, {})
        plan, there = shelf._installer.plan, shelf.environment.distributions

        def planned(target, group, others=()):
            if target.name == "shop-pot" and "shop-tea" not in there():
                raise InstallError(["it needs shop-tea"])
            return plan(target, group)

        shelf._installer.plan = planned
        reports = self.sync(registry, shelf, "shop-pot", "shop-coffee", "shop-tea")

        assert [(each.distribution, each.success) for each in reports] == [
            ("shop-pot", True),
            ("shop-coffee", False),
            ("shop-tea", True),
        ]

    def test_what_came_with_another_line_has_no_report_of_its_own(self, registry, shelf):
        """A line that failed at first is satisfied in the end."""
        shelf.requires["shop-tea"] = ["shop-leaf"]
        plan, there = shelf._installer.plan, shelf.environment.distributions

        def planned(target, group, others=()):
            if target.name == "shop-leaf" and "shop-leaf" not in there():
                raise InstallError(["it comes with another one only"])
            return plan(target, group)

        shelf._installer.plan = planned
        [report] = self.sync(registry, shelf, "shop-leaf", "shop-tea")

        assert (report.distribution, report.success) == ("shop-tea", True)
        assert {each.name for each in report.plan.changes} == {"shop-tea", "shop-leaf"}

    def test_a_line_without_plugins_is_installed(self, registry, shelf):
        """Whoever has listed it wants it there, in that version, and no plugin of it."""
        [report] = self.sync(registry, shelf, "shop-leaf==3.0")

        assert (report.success, report.version, report.plugins) == (True, "3.0", ())
        assert self.sync(registry, shelf, "shop-leaf==3.0") == ()

    @pytest.mark.parametrize("required", ["shop-leaf", "shop-cup>=4", "shop-tea[all]"])
    def test_what_an_extra_requires_has_to_be_there(self, registry, shelf, site, required):
        """A line with an extra is satisfied only along with what that asks for."""
        site.dist("shop-cup", "3.0")
        registry.install("shop-tea")
        metadata = shelf.environment.distributions()["shop-tea"].path / "METADATA"
        needs = f"Requires-Dist: {required}; extra == 'hot'\nRequires-Dist: shop-leaf; extra=='all'"
        extras = "Provides-Extra: Hot\nProvides-Extra: all"
        metadata.write_text(f"{metadata.read_text()}{extras}\n{needs}\n")
        shelf.asked.clear()
        assert self.sync(registry, shelf, "shop-tea==1.0", "shop-tea[cold]==1.0") == ()
        assert shelf.asked == []

        self.sync(registry, shelf, "shop-tea[hot]==1.0")
        assert len(shelf.asked) > 0

    @pytest.mark.parametrize(
        ("line", "direct"),
        [
            (
                "git+https://git.example/us/tea@v2",
                {
                    "url": "https://git.example/us/tea",
                    "vcs_info": {"vcs": "git", "requested_revision": "v2", "commit_id": "ab"},
                },
            ),
            (
                "shop-tea @ git+https://git.example/us/tea#subdirectory=a",
                {
                    "url": "https://me:word@git.example/us/tea",
                    "vcs_info": {"vcs": "git", "commit_id": "ab"},
                    "subdirectory": "a",
                },
            ),
            (
                "shop-tea @ https://files.example/shop_tea-1.0-py3-none-any.whl",
                {
                    "url": "https://files.example/shop_tea-1.0-py3-none-any.whl",
                    "archive_info": {},
                },
            ),
        ],
    )
    def test_a_line_with_a_url_asks_for_what_came_from_there(self, registry, shelf, line, direct):
        """What an installer has noted (PEP 610) tells; from elsewhere, it is installed anew."""
        registry.install("shop-tea")
        place = shelf.environment.distributions()["shop-tea"].path / "direct_url.json"
        place.write_text(json.dumps(direct))
        shelf.asked.clear()

        assert self.sync(registry, shelf, line) == ()
        assert shelf.asked == []
        place.write_text(json.dumps({**direct, "url": "https://elsewhere.example/tea"}))
        self.sync(registry, shelf, line)
        assert len(shelf.asked) > 0

    def test_lines_of_options_are_for_others(self, registry, shelf):
        """They are neither carried out nor failures."""
        assert self.sync(registry, shelf, "-r more.txt", "--index-url https://x.example", "") == ()
        assert shelf.asked == []

    def test_without_a_file_there_is_nothing_to_match(self, shelf):
        """It is an error with the remedy."""
        shelf.plugins_file = None
        with PluginRegistry("shop", installer=shelf) as registry:
            registry.load()
            with pytest.raises(InstallError, match="give the installer plugins_file="):
                registry.packages.sync()

    def test_a_file_that_cannot_be_read(self, registry, shelf):
        """Nothing is installed of a file of which only a part is known."""
        shelf.plugins_file.write_bytes(b"shop-tea\n\xff\n")
        with pytest.raises(InstallError, match="line 2"):
            registry.packages.sync()

        assert shelf.asked == []

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


class TestBusy:
    @pytest.fixture
    def other(self, shelf):
        """Give another registry of the same environment, with an installer of its own."""
        with PluginRegistry("shop", installer=PluginValues(shelf._installer)) as registry:
            registry.load()
            yield registry

    @pytest.mark.parametrize("who", ["other", "same"])
    def test_one_change_at_a_time(self, registry, other, shelf, who, site):
        """While one is made another is refused at once, changes nothing, and can be tried again."""
        second = other if who == "other" else registry
        shelf.ready["shop-milk"] = ("1.0", {"milk": f"{MODULE}:Milk"}, {})
        caught, seen = [], []

        def meanwhile():
            shelf.after = lambda: None
            before = tree(site)
            try:
                second.install("shop-milk")
            except InstallError as error:
                caught.append(error)
            seen.append(tree(site) == before)

        shelf.after = meanwhile
        registry.install("shop-tea")
        [error] = caught

        assert isinstance(error, InstallBusyError)
        assert "installing shop-tea" in str(error)
        assert seen == [True]
        assert {each.outcome for each in second.packages.audit()} <= {"failed", "done"}
        assert second.install("shop-milk").success

    def test_one_that_is_made_is_not_interrupted(self, registry, other, shelf):
        """Others see no failure while it lasts, and may make plans."""
        seen = []

        def meanwhile():
            seen.append((other.packages.interrupted, other.packages.failures()))
            seen.append(other.plan("shop-cup").refusals)

        shelf.after = meanwhile
        registry.install("shop-tea")

        assert seen == [(None, ()), ()]

    def test_another_process_has_the_lock(self, registry, shelf, site):
        """It is refused too while that lives, and not once it was killed."""
        program = BROKEN_OFF.replace("os._exit(0)", "print(flush=True); sys.stdin.read()")
        with subprocess.Popen(
            [sys.executable, "-c", program, site.folder],
            cwd=Path(plugreg.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            with pytest.raises(InstallBusyError, match="installing shop-tea==9"):
                registry.install("shop-tea")
            process.kill()

        assert registry.install("shop-tea").success
        assert "left_over.py" not in tree(site)
        assert registry.get("tea").is_installed
