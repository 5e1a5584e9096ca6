"""Which modules are a plugin's: exactly those are taken away, and put back."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from plugreg import PluginRegistry
from plugreg._lifecycle.reimport import evict
from plugreg._support.slugs import Slug
from plugreg.discovery import directories
from plugreg.records import PluginSpec, Source


def spec(value, info, source=Source.ENTRY_POINT, **fields):
    return PluginSpec(
        slug=Slug("tea"), name="tea", value=value, source=source, path=info and str(info), **fields
    )


@pytest.fixture(autouse=True)
def _modules(site, monkeypatch):
    """Make the site importable, and remove its imported modules."""
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def imported(*names):
    return {name: importlib.import_module(name) for name in names}


def editable(site):
    """Write the metadata of an editable install whose sources lie in the same folder."""
    info = site.dist("tea")
    origin = {"url": site.folder.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    return info


class TestEvict:
    def test_takes_exactly_what_record_lists(self, site):
        """All modules of the distribution go, its siblings of similar names stay."""
        info = site.dist(
            "tea",
            modules={
                "mt_tea/__init__.py": "",
                "mt_tea/leaf/__init__.py": "",
                "mt_tea/leaf/green.py": "",
                "mt_tea_extra.py": "",
            },
        )
        site.dist("tea-host", modules={"mt_te.py": "", "mt_teapot/__init__.py": ""})
        own = imported("mt_tea", "mt_tea.leaf", "mt_tea.leaf.green", "mt_tea_extra")
        others = imported("mt_te", "mt_teapot")
        evict(spec("mt_tea:Tea", info))
        assert not sys.modules.keys() & own.keys()
        assert {name: sys.modules[name] for name in others} == others

    def test_siblings_in_a_namespace_package_stay(self, site):
        """Of a namespace package only this distribution's part goes."""
        info = site.dist("tea", modules={"mt_ns/tea.py": "", "mt_ns/_tea_help.py": ""})
        site.dist("milk", modules={"mt_ns/milk.py": ""})
        others = imported("mt_ns", "mt_ns.milk")
        imported("mt_ns.tea", "mt_ns._tea_help")
        evict(spec("mt_ns.tea:Tea", info))
        assert not sys.modules.keys() & {"mt_ns.tea", "mt_ns._tea_help"}
        assert {name: sys.modules[name] for name in others} == others
        assert others["mt_ns"].milk is others["mt_ns.milk"]

    def test_helpers_in_a_namespace_package_are_imported_anew(self, site):
        """``from namespace import helper`` runs the new code, for the old name is gone too."""
        info = site.dist(
            "tea", modules={"mt_ns/tea.py": "from mt_ns import help", "mt_ns/help.py": "PRICE = 1"}
        )
        old = imported("mt_ns.tea")["mt_ns.tea"]
        (site.folder / "mt_ns" / "help.py").write_text("PRICE = 20")
        evict(spec("mt_ns.tea", info))
        importlib.invalidate_caches()
        new = imported("mt_ns.tea")["mt_ns.tea"]
        assert (old.help.PRICE, new.help.PRICE) == (1, 20)

    @pytest.mark.parametrize("value", ["mt_ed", "mt_ed:Tea", "mt_ed.sub:Tea [fast]"])
    def test_editable_install(self, site, value):
        """RECORD lists no source then: the whole package of the entry point goes."""
        info = editable(site)
        (info / "RECORD").write_text(
            "__editable__.tea-1.0.pth,,\n__editable___tea_finder.py,,\n../../bin/mt_ed.py,,\n"
        )
        site.dist("other", modules={"mt_ed/__init__.py": "", "mt_ed/sub.py": "", "mt_edge.py": ""})
        imported("mt_ed.sub")
        others = imported("mt_edge")
        evict(spec(value, info))
        assert not sys.modules.keys() & {"mt_ed", "mt_ed.sub"}
        assert sys.modules["mt_edge"] is others["mt_edge"]

    def test_editable_install_in_a_namespace_package(self, site):
        """The outermost regular package is the plugin's, packages around it are not."""
        info = editable(site)
        site.dist("sources", modules={"mt_ns/tea/__init__.py": "", "mt_ns/tea/a.py": ""})
        site.dist("milk", modules={"mt_ns/milk.py": ""})
        imported("mt_ns.tea.a")
        others = imported("mt_ns", "mt_ns.milk")
        evict(spec("mt_ns.tea.a:Tea", info))
        assert not sys.modules.keys() & {"mt_ns.tea", "mt_ns.tea.a"}
        assert {name: sys.modules[name] for name in others} == others

    def test_a_module_of_that_name_from_elsewhere_stays(self, site, tmp_path, monkeypatch):
        """Distributions carry modules such as ``tests``; the host's of that name is not theirs."""
        info = site.dist("tea", modules={"mt_tea.py": "", "mt_tests/__init__.py": ""})
        elsewhere = tmp_path / "host"
        (elsewhere / "mt_tests").mkdir(parents=True)
        (elsewhere / "mt_tests" / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(elsewhere))
        host = imported("mt_tests")["mt_tests"]
        imported("mt_tea")
        evict(spec("mt_tea:Tea", info))
        assert sys.modules["mt_tests"] is host
        assert "mt_tea" not in sys.modules

    @pytest.mark.parametrize("found_by_link", [True, False])
    def test_a_path_with_another_spelling_is_the_same(
        self, site, tmp_path, monkeypatch, found_by_link
    ):
        """A link to site-packages leads to the same modules, whichever way it was gone."""
        info = site.dist("tea", modules={"mt_tea.py": ""})
        link = tmp_path / "link"
        link.symlink_to(site.folder)
        if not found_by_link:
            monkeypatch.syspath_prepend(str(link))
        imported("mt_tea")
        evict(spec("mt_tea:Tea", link / info.name if found_by_link else info))
        assert "mt_tea" not in sys.modules

    @pytest.mark.parametrize(
        "record", [None, "", '"' + "x" * 200_000 + '",,\n', "\x00\n\udcff,,\n,,\n"]
    )
    def test_a_record_that_is_missing_or_hostile(self, site, record):
        """Without a usable RECORD the package of the entry point goes, and nothing raises."""
        info = site.dist("tea", modules={"mt_tea.py": ""})
        imported("mt_tea")
        if record is None:
            (info / "RECORD").unlink()
        else:
            (info / "RECORD").write_bytes(record.encode(errors="surrogateescape"))
        evict(spec("mt_tea:Tea", info))
        assert "mt_tea" not in sys.modules

    @pytest.mark.parametrize("recorded", [True, False])
    def test_what_is_no_module_is_not_asked(self, site, monkeypatch, recorded):
        """An object in a module's place in sys.modules may fail at every attribute."""
        info = site.dist("tea", modules={"mt_odd/__init__.py": "", "mt_odd/tea.py": ""})
        if not recorded:
            (info / "RECORD").unlink()
        imported("mt_odd.tea")

        class Odd:
            def __getattr__(self, name):
                raise OSError(name)

        sys.modules["mt_odd"] = Odd()
        evict(spec("mt_odd.tea:Tea", info))
        assert "mt_odd.tea" not in sys.modules

    def test_a_lazy_module_is_not_run(self, site):
        """A lazy module that waits for its import goes on waiting, and goes."""
        info = site.dist("tea", modules={"mt_lazy.py": "raise OSError('it was run')"})
        found = importlib.util.find_spec("mt_lazy")
        found.loader = importlib.util.LazyLoader(found.loader)
        sys.modules["mt_lazy"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules["mt_lazy"])
        evict(spec("mt_lazy:Tea", info))
        assert "mt_lazy" not in sys.modules

    def test_of_objects_that_the_host_gave_nothing_is_taken(self):
        """Their modules are the host's."""
        module = types.ModuleType("mt_host")
        sys.modules["mt_host"] = module
        evict(spec("mt_host:Tea", None, Source.BUILTIN, target=object()))
        evict(spec("mt_host:Tea", None, Source.BUILTIN))
        assert sys.modules["mt_host"] is module

    @pytest.mark.parametrize("file", ["mt_dir.py", "mt_dir/__init__.py"])
    def test_plugins_of_folders(self, tmp_path, file):
        """The module goes under its private name; its neighbours and the like-named stay."""
        for folder in ("one", "two"):
            for name in (file, "mt_near.py"):
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        names = {
            (folder, module): directories.import_module(tmp_path / folder, module).__name__
            for folder in ("one", "two")
            for module in ("mt_dir", "mt_near")
        }
        evict(spec("mt_dir:Tea", tmp_path / "one" / file, Source.DIRECTORY))
        assert {key for key, name in names.items() if name not in sys.modules} == {
            ("one", "mt_dir")
        }


class TestBesideAnImport:
    @pytest.mark.parametrize("lazy", ["mt_busy.lazy", "mt_busy.sub.lazy"])
    def test_it_waits_for_an_import_that_goes_on(self, site, monkeypatch, lazy):
        """A hook that imports late gets its module; its package is not taken away under it."""
        gate = types.ModuleType("mt_gate")
        gate.begun, gate.may_end = threading.Event(), threading.Event()
        monkeypatch.setitem(sys.modules, "mt_gate", gate)
        waits = "import mt_gate\nmt_gate.begun.set()\nassert mt_gate.may_end.wait(20)\n"
        files = ["mt_busy/__init__.py", "mt_busy/sub/__init__.py"]
        source = {**dict.fromkeys(files, ""), f"{lazy.replace('.', '/')}.py": waits}
        info = site.dist("busy", modules=source)
        imported("mt_busy", "mt_busy.sub")
        with ThreadPoolExecutor(2) as threads:
            importing = threads.submit(importlib.import_module, lazy)
            assert gate.begun.wait(20)
            evicting = threads.submit(evict, spec("mt_busy:Tea", info))
            # Long enough to take them all away, if it did not wait.
            wait([evicting], 0.2)
            gate.may_end.set()
            assert importing.result(20).__name__ == lazy
            assert "mt_busy" in evicting.result(20)
        assert "mt_busy" not in sys.modules


class TestRestore:
    def test_puts_everything_back(self, site):
        """After a failed import all is as it was, as attributes of packages too."""
        info = site.dist("tea", modules={"mt_ns/tea/__init__.py": "", "mt_ns/tea/a.py": ""})
        before = imported("mt_ns", "mt_ns.tea", "mt_ns.tea.a")
        evicted = evict(spec("mt_ns.tea.a:Tea", info))
        assert not hasattr(before["mt_ns"], "tea")
        evicted.restore()
        assert {name: sys.modules[name] for name in before} == before
        assert before["mt_ns"].tea.a is before["mt_ns.tea.a"]

    def test_leaves_what_was_imported_anew(self, site):
        """Only missing entries are put back."""
        info = site.dist("tea", modules={"mt_ns/a.py": "", "mt_ns/b.py": ""})
        before = imported("mt_ns", "mt_ns.a", "mt_ns.b")
        evicted = evict(spec("mt_ns.a", info))
        new = imported("mt_ns.a")["mt_ns.a"]
        evicted.restore()
        assert new is not before["mt_ns.a"]
        assert sys.modules["mt_ns.a"] is new
        assert before["mt_ns"].a is new
        assert sys.modules["mt_ns.b"] is before["mt_ns.b"]


def test_a_full_reload_leaves_the_hosts_own_modules(site):
    """A plugin that the host's distribution brings does not take the host with it."""
    site.dist(
        "mt-host",
        entry_points={"mt.plugins": {"tax": "mt_host.tax:Tax"}},
        modules={
            "mt_host/__init__.py": "",
            "mt_host/core.py": "",
            "mt_host/tax.py": "from plugreg import Plugin\nclass Tax(Plugin): pass\n",
        },
    )
    core = imported("mt_host.core")["mt_host.core"]
    with PluginRegistry(
        "mt", group="mt.plugins", host_distribution="mt-host", new_plugins="active"
    ) as registry:
        assert registry.load().active == ("tax",)
        registry.reload(full=True)
    assert sys.modules["mt_host.core"] is core
