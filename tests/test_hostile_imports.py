"""Hostile files, distributions and import systems: they cost their plugins alone."""

from __future__ import annotations

import importlib
import json
import json.decoder
import os
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import pluggy
import pytest

from plugreg import Plugin, PluginState, hookimpl, hookspec
from plugreg.registry import PluginRegistry

GROUP = "hostile.plugins"


def source(price, name="Tea"):
    """Return the source of a module with one plugin."""
    return (
        "from plugreg import Plugin, hookimpl\n"
        f"class {name}(Plugin):\n"
        "    @hookimpl\n"
        "    def price(self, item):\n"
        f"        return {price}\n"
    )


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


class Good(Plugin):
    NAME = "good"

    @hookimpl
    def price(self, item):
        return 1


@pytest.fixture(autouse=True)
def _imports(site, monkeypatch):
    """Make the site importable, and leave the import system as it was."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    before, finders = dict(sys.modules), dict(sys.path_importer_cache)
    yield
    sys.modules.clear()
    sys.modules.update(before)
    sys.path_importer_cache.clear()
    sys.path_importer_cache.update(finders)


@pytest.fixture
def load():
    """Make and load registries that are closed after the test."""
    made = []

    def load(*builtin, **options):
        options = {"hookspecs": [Hooks], "new_plugins": "active", **options}
        made.append(PluginRegistry("hostile", builtin=builtin, **options))
        made[-1].load()
        return made[-1]

    yield load
    for each in made:
        each.close()


@pytest.fixture
def folder(tmp_path):
    """Return a folder of plugins with one good plugin, ``tea``."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "tea.py").write_text(source(2))
    return path


def check(registry, *active):
    """Assert that exactly these serve, and that data on the others can be sent."""
    assert sorted(registry.active) == sorted(active)
    assert json.dumps(registry.status(), ensure_ascii=False).encode()


def reload_in_each_way(registry):
    registry.reload()
    registry.reload(collect=True)
    registry.reload(full=True)


class TestNames:
    def test_of_a_file(self, load, folder):
        """A name that has no UTF-8 form is refused, its neighbours are not."""
        Path(os.fsdecode(os.fsencode(folder) + b"/pl\xffug.py")).write_text(source(3, "Odd"))
        (folder / "literal.py").write_text(
            "from plugreg import Plugin\nclass A(Plugin):\n    NAME = 'a\\ud800'\n"
        )
        registry = load(Good, directories=[folder])
        check(registry, "good", "tea")
        assert len(registry.errors) == 2

    def test_of_a_folder(self, load, tmp_path):
        """Folders whose name has no UTF-8 form are told of in words that have one."""
        name = os.fsdecode(os.fsencode(tmp_path) + b"/x\xff")
        sys.path.append(name)
        registry = load(Good, directories=[name])
        check(registry, "good")
        assert len(registry.errors) == 1

    def test_of_a_distribution(self, load, site):
        """A metadata folder whose name has no UTF-8 form costs its own plugins."""
        info = site.dist("odd", entry_points={GROUP: {"odd": "json:loads"}})
        info.rename(info.with_name("pl\udcffug-1.0.dist-info"))
        site.dist(
            "tea",
            entry_points={GROUP: {"tea": "hi_tea:Tea"}},
            modules={"hi_tea.py": source(2)},
        )
        registry = load(Good)
        check(registry, "good", "tea")
        assert [each.slug for each in registry.errors] == ["odd"]

    def test_of_a_version(self, load, site):
        """A version in a folder's name that has no UTF-8 form reaches no record."""
        info = site.dist("tea", entry_points={GROUP: {"tea": "hi_a:Tea"}})
        info.rename(info.with_name("tea-1.\udcff.dist-info"))
        registry = load(Good, new_plugins="inactive")
        for each in registry.plugins.values():
            assert str(each.version).encode()

    def test_of_an_entry_point(self, load, site):
        """A name that is too long for any answer is refused in a message that is not."""
        long = "a." * 50_000
        site.dist("tea", entry_points=f"[{GROUP}]\n{'n' * 100_000} = hi_a:Tea\ntea = {long}b:c\n")
        registry = load(Good)
        check(registry, "good")
        assert registry.errors
        assert max(len(each.message) for each in registry.errors) <= 1_100


def test_a_pipe_in_the_place_of_a_file_does_not_hang(site):
    """Nobody will ever write to it; the distribution is broken, and the load ends."""
    info = site.dist("tea", entry_points={GROUP: {"tea": "hi_a:Tea"}})
    (info / "entry_points.txt").unlink()
    os.mkfifo(info / "entry_points.txt")
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from plugreg import PluginRegistry\n"
        f"registry = PluginRegistry('hostile', group={GROUP!r})\n"
        "print([each.stage.value for each in registry.load().failures])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(site)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "['discovery']"


def all_fails():
    """Make a finder of a class that fails at every attribute; pytest looks at module's classes."""

    class Kind(type):
        def __getattribute__(cls, name):
            raise RuntimeError(name)

    class AllFails(metaclass=Kind):
        def find_spec(self, *_):
            return None

    return AllFails()


def only_finds():
    class OnlyFinds:
        def __getattribute__(self, name):
            if name == "find_spec":
                return lambda *_: None
            raise RuntimeError(name)

    return OnlyFinds()


def invalidates_not():
    class InvalidatesNot:
        def find_spec(self, *_):
            return None

        def invalidate_caches(self):
            raise RuntimeError("no")

    return InvalidatesNot()


class TestTheImportSystem:
    @pytest.mark.parametrize("make_finder", [all_fails, only_finds, invalidates_not])
    def test_finders_that_fail(self, load, site, folder, make_finder):
        """A finder on sys.meta_path that fails at everything but finding stops no reload."""
        site.dist(
            "milk",
            entry_points={GROUP: {"milk": "hi_milk:Tea"}},
            modules={"hi_milk.py": source(3)},
        )
        registry = load(Good, directories=[folder])
        sys.meta_path.append(make_finder())
        reload_in_each_way(registry)
        check(registry, "good", "milk", "tea")

    @pytest.mark.parametrize(
        "make_finder", [all_fails, only_finds, invalidates_not, object, lambda: None]
    )
    def test_path_finders_that_fail(self, load, folder, make_finder):
        """A finder of one folder that fails at everything stops no reload."""
        registry = load(Good, directories=[folder])
        sys.path_importer_cache["/nowhere/at/all"] = make_finder()
        reload_in_each_way(registry)
        check(registry, "good", "tea")

    def test_a_plugin_that_removes_all_finders(self):
        """It may serve, and stops neither the load nor the look-ups that follow it."""
        script = (
            "import sys\n"
            "from plugreg import Plugin, PluginRegistry\n"
            "class Good(Plugin): NAME = 'good'\n"
            "class Removes(Plugin):\n"
            "    NAME = 'removes'\n"
            "    def __init__(self): sys.meta_path.clear()\n"
            "registry = PluginRegistry('hostile', builtin=[Good, Removes], new_plugins='active')\n"
            "registry.load()\n"
            "print(*registry.catalogue.active())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == ["good", "removes"]

    @pytest.mark.parametrize("entry", ["Text('/nowhere')", "object()", "None", "5", "b'/x'"])
    def test_path_entries_that_are_odd(self, site, folder, entry):
        """An entry of sys.path that is no path costs the distributions below it.

        In a process of its own, since the measurement of coverage walks sys.path too.
        """
        site.dist(
            "milk",
            entry_points={GROUP: {"milk": "hi_milk:Tea"}},
            modules={"hi_milk.py": source(3)},
        )
        code = (
            "import sys\n"
            "from plugreg import PluginRegistry\n"
            "class Text(str):\n"
            "    def __str__(self): raise RuntimeError('str')\n"
            "    __fspath__ = __str__\n"
            f"sys.path += [{str(site)!r}, {entry}]\n"
            f"registry = PluginRegistry('shop', group={GROUP!r}, new_plugins='active',\n"
            f"                          directories=[{str(folder)!r}])\n"
            "registry.load()\n"
            "print(*registry.reload(collect=True).active)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == ["tea", "milk"], done.stderr

    @pytest.mark.parametrize("act", ["sys.modules[5] = sys", "sys.modules[None] = None"])
    def test_keys_of_sys_modules_that_are_no_texts(self, load, folder, act):
        """An object that a plugin puts in sys.modules stops neither its neighbours nor a reload."""
        (folder / "bad.py").write_text(f"import sys\n{act}\n{source(3, 'Bad')}")
        registry = load(Good, directories=[folder])
        check(registry, "bad", "good", "tea")
        reload_in_each_way(registry)
        check(registry, "bad", "good", "tea")

    def test_none_in_sys_modules(self, load, folder):
        """A module that bars its own import costs its own plugin."""
        (folder / "bad.py").write_text(
            f"import sys\nsys.modules[__name__] = None\n{source(3, 'Bad')}"
        )
        registry = load(Good, directories=[folder])
        reload_in_each_way(registry)
        assert {"good", "tea"} <= registry.active.keys()
        check(registry, *registry.active)

    @pytest.mark.parametrize(
        "file",
        [
            "'\\0'",
            "'x' * 9000",
            "5",
            "None",
            "type('F', (), {'__class__': property(lambda _: 1 / 0)})()",
            "type('S', (str,), {'__fspath__': lambda _: 1 / 0})('/x')",
        ],
    )
    def test_files_of_modules_that_are_none(self, load, site, file):
        """An odd __file__ stops no full reload."""
        site.dist(
            "bad",
            entry_points={GROUP: {"bad": "hi_bad:Tea"}},
            modules={"hi_bad.py": f"{source(3)}\n__file__ = {file}\n"},
        )
        registry = load(Good)
        reload_in_each_way(registry)
        check(registry, "bad", "good")
        assert registry.errors == ()

    def test_imports_of_other_threads(self, load, folder):
        """Modules that come and go in sys.modules meanwhile stop no full reload."""
        for number in range(5):
            (folder / f"more{number}.py").write_text(source(3, f"More{number}"))
        registry = load(Good, directories=[folder])
        active = list(registry.active)
        assert len(active) == 7
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                for number in range(20):
                    sys.modules[f"hi_{number}"] = types.ModuleType("hi")
                for number in range(20):
                    del sys.modules[f"hi_{number}"]

        thread = threading.Thread(target=churn)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            thread.start()
            for _ in range(60):
                registry.reload(full=True)
                check(registry, *active)
        finally:
            stop.set()
            thread.join()
            sys.setswitchinterval(interval)
        assert registry.errors == ()


class TestOthersModules:
    """A full reload takes none of the modules that belong to the process or the host."""

    def test_named_in_a_record(self, load, site):
        """Whatever a RECORD claims, the modules that all of Python stands on stay."""
        info = site.dist(
            "bad",
            entry_points={GROUP: {"bad": "hi_bad:Tea"}},
            modules={"hi_bad.py": source(3)},
        )
        (site.folder / "pluggy").symlink_to(Path(pluggy.__file__).parent)
        names = ("sys", "builtins", "time", "_thread", "__main__", "pluggy/__init__", "hi_bad")
        (info / "RECORD").write_text("".join(f"{name}.py,,\n" for name in names))
        registry = load(Good)
        before = {name: each for name, each in sys.modules.items() if name != "hi_bad"}
        old = sys.modules["hi_bad"]
        registry.reload(full=True)
        assert {name: sys.modules.get(name) for name in before} == before
        assert sys.modules["hi_bad"] is not old
        check(registry, "bad", "good")

    def test_named_in_an_entry_point(self, load, site, tmp_path, monkeypatch):
        """Without a RECORD the module of the entry point goes, unless it is Python's."""
        host = tmp_path / "host" / "hi_host"
        host.mkdir(parents=True)
        (host / "__init__.py").write_text("STATE = {}\n")
        (host / "bundled.py").write_text(source(3))
        monkeypatch.syspath_prepend(str(host.parent))
        package = importlib.import_module("hi_host")
        for name, value in (("one", "json.decoder:JSONDecoder"), ("two", "hi_host.bundled:Tea")):
            info = site.dist(name, entry_points={GROUP: {name: value}})
            (info / "RECORD").unlink()
        registry = load(Good)
        before = {name: each for name, each in sys.modules.items() if name != "hi_host.bundled"}
        assert before["json.decoder"] is json.decoder
        registry.reload(full=True)
        assert {name: sys.modules.get(name) for name in before} == before
        assert sys.modules["hi_host"] is package
        check(registry, "good", "two")


class TestComingAndGoing:
    def upgrade(self, site, code):
        shutil.rmtree(site.folder / "tea-1.0.dist-info", ignore_errors=True)
        shutil.rmtree(site.folder / "tea-2.0.dist-info", ignore_errors=True)
        site.dist("tea", "2.0", {GROUP: {"tea": "hi_tea:Tea"}}, modules={"hi_tea.py": code})

    def test_a_broken_upgrade_stays_failed(self, load, site):
        """The old version's code does not come back under the new one's name.

        A repaired file does, without any flag.
        """
        site.dist(
            "tea",
            "1.0",
            {GROUP: {"tea": "hi_tea:Tea"}},
            modules={"hi_tea.py": source(2)},
        )
        registry = load(Good)
        self.upgrade(site, "raise RuntimeError('broken')\n")
        registry.reload(collect=True)
        for _ in range(3):
            record = registry.get("tea")
            assert (record.state, record.version) == (PluginState.FAILED, "2.0")
            assert registry.call("price", item="tea") == [1]
            registry.deactivate("good")
            registry.activate("good")
            registry.reload()
        self.upgrade(site, source(4) + "# The repaired one.\n")
        registry.reload()
        assert registry.get("tea").active
        assert sorted(registry.call("price", item="tea")) == [1, 4]

    def test_code_that_is_broken_at_a_full_reload_stays_failed(self, load, site):
        """A plain reload does not run the code from before."""
        site.dist(
            "tea",
            "1.0",
            {GROUP: {"tea": "hi_tea:Tea"}},
            modules={"hi_tea.py": source(2)},
        )
        registry = load(Good)
        (site.folder / "hi_tea.py").write_text("x = (\n")
        registry.reload(full=True)
        for _ in range(3):
            assert registry.get("tea").state is PluginState.FAILED
            registry.reload()
        (site.folder / "hi_tea.py").write_text(source(4) + "# The repaired one.\n")
        registry.reload()
        assert sorted(registry.call("price", item="tea")) == [1, 4]

    def test_a_folder_that_was_away(self, load, folder):
        """A folder that could not be read once is back with the next plain reload."""
        registry = load(Good, directories=[folder])
        away = folder.rename(folder.with_name("away"))
        registry.reload()
        check(registry, "good")
        away.rename(folder)
        registry.reload()
        check(registry, "good", "tea")
        assert registry.errors == ()

    def test_an_import_that_hangs_stops_its_own_registry_alone(self, tmp_path, monkeypatch):
        """Two registries with different folders do not wait for each other's imports."""
        gate = types.ModuleType("hi_gate")
        gate.entered, gate.opened = threading.Event(), threading.Event()
        monkeypatch.setitem(sys.modules, "hi_gate", gate)
        wait = "import hi_gate\nhi_gate.entered.set()\nhi_gate.opened.wait(120)\n"
        registries = []
        for name, before in (("slow", wait), ("fast", "")):
            (tmp_path / name).mkdir()
            (tmp_path / name / f"{name}.py").write_text(before + source(3, name))
            registries.append(
                PluginRegistry("hostile", directories=[tmp_path / name], new_plugins="active")
            )
        slow, fast = registries
        threads = [threading.Thread(target=each.load, daemon=True) for each in registries]
        try:
            threads[0].start()
            assert gate.entered.wait(60)
            threads[1].start()
            threads[1].join(60)
            assert not threads[1].is_alive()
            assert threads[0].is_alive()
        finally:
            gate.opened.set()
            for each in threads:
                each.join()
        assert [list(each.active) for each in (slow, fast)] == [["slow"], ["fast"]]
        slow.close()
        fast.close()
