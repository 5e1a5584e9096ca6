"""Plugins in folders are found without running them, and imported under private names."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from plugreg.discovery import directories
from plugreg.records import Source, Stage


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Yield an empty plugin folder, and forget its imported modules afterwards."""
    # Python would write bytecode beside the sources, whatever the environment of the tests says.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = tmp_path / "plugins"
    folder.mkdir()
    yield folder
    prefix = directories.private_name(folder, "x").removesuffix(".x")
    for name in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[name]


def write(folder, path, source=""):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(source), encoding="utf-8")
    return file


def values(folder):
    """Return slug and value of each plugin in the folder, in which nothing may be broken."""
    found = directories.find(folder)
    assert found.failures == ()
    return [(spec.slug, spec.value) for spec in found.specs]


class TestClasses:
    def test_a_spec_says_what_the_class_states(self, folder):
        """Slug, name, reference, file and literals of a class are in its spec."""
        file = write(
            folder,
            "tax.py",
            """
            class Tax:
                NAME = "Sales Tax"
                SLUG = TITLE = "Tax!"
                MIN_VERSION: str = "2.0"
                SETTINGS = {"RATE": {"default": 10}}
                COMPUTED = print("run")
                lower = 1
            """,
        )

        (spec,) = directories.find(folder, source=Source.SAMPLE).specs

        assert (spec.slug, spec.name, spec.value) == ("tax", "Sales Tax", "tax:Tax")
        assert (spec.source, spec.path) == (Source.SAMPLE, str(file))
        assert spec.attributes == {
            "NAME": "Sales Tax",
            "SLUG": "Tax!",
            "TITLE": "Tax!",
            "MIN_VERSION": "2.0",
            "SETTINGS": {"RATE": {"default": 10}},
        }

    @pytest.mark.parametrize(
        "source",
        [
            "class Tax:\n    NAME = 'tax'",
            "class Tax:\n    SLUG = 'tax'",
            "from plugreg import Plugin\nclass Tax(Plugin): pass",
            "from plugreg import Plugin as Base\nclass Tax(Base): pass",
            "import plugreg as p\nclass Tax(p.Plugin): pass",
            "from x import Plugin\nBase = Plugin\nclass Tax(Base): pass",
            "from x import InvenTreePlugin\nclass Tax(InvenTreePlugin): pass",
            "from x import Plugin\nclass Tax(Plugin[int]): pass",
            "try: from x import Plugin as P\nexcept ImportError: P = 0\nclass Tax(P): pass",
            "from x import hookimpl\nclass Tax:\n    @hookimpl\n    def f(self): pass",
            "from x import hookimpl as h\nclass Tax:\n    @h(trylast=True)\n    async def f(s): 1",
            "import x\nclass Tax:\n    @x.hookimpl(trylast=True)\n    def f(self): pass",
            "import x\nmark = x.HookimplMarker('s')\nclass Tax:\n    @mark\n    def f(self): pass",
        ],
    )
    def test_what_looks_like_a_plugin(self, folder, source):
        """A name, a base called …Plugin or a marked method make a class a plugin."""
        write(folder, "shop.py", source)

        assert values(folder) == [("tax", "shop:Tax")]

    @pytest.mark.parametrize(
        "source",
        [
            "class Tax: pass",
            "class Tax:\n    NAME = ''",
            "class Tax:\n    NAME = 7",
            "class _Tax:\n    NAME = 'tax'",
            "__all__ = ['other']\nclass Tax:\n    NAME = 'tax'",
            "from x import property as h\nclass Tax:\n    @h\n    def f(self): pass",
            "def f():\n    class Tax:\n        NAME = 'tax'",
            "from x import Plugin\nx = Plugin",
        ],
    )
    def test_what_does_not(self, folder, source):
        """Other classes, private ones and those outside __all__ are no plugins."""
        write(folder, "shop.py", source)

        assert values(folder) == []

    def test_all_limits_the_classes(self, folder):
        """The classes named in __all__ count, also when it is extended."""
        write(
            folder,
            "shop.py",
            """
            __all__ = ["A"]
            __all__ += ("B",)
            class A: NAME = "a"
            class B: NAME = "b"
            class C: NAME = "c"
            """,
        )

        assert values(folder) == [("a", "shop:A"), ("b", "shop:B")]

    def test_a_computed_all_limits_nothing(self, folder):
        """An __all__ that only running the code would tell is as good as none."""
        write(folder, "shop.py", "__all__ = names()\nclass A: NAME = 'a'\n")

        assert values(folder) == [("a", "shop:A")]

    def test_a_mere_base_is_no_plugin(self, folder):
        """A base without a name of its own only hands down its attributes."""
        write(
            folder,
            "shop.py",
            """
            from plugreg import Plugin
            class Base(Plugin):
                AUTHOR = "Ann"
                VERSION = "1.0"
            class Tax(Base):
                NAME = "tax"
                VERSION = "2.0"
            """,
        )

        (spec,) = directories.find(folder).specs

        assert spec.value == "shop:Tax"
        assert spec.attributes == {"AUTHOR": "Ann", "VERSION": "2.0", "NAME": "tax"}

    def test_a_named_base_is_a_plugin_too(self, folder):
        """A class that states its name counts, whoever derives from it."""
        write(folder, "shop.py", "class A: NAME = 'a'\nclass B(A): NAME = 'b'\n")

        assert values(folder) == [("a", "shop:A"), ("b", "shop:B")]

    def test_a_string_as_name_below_plugin_counts(self, folder):
        """``name = "…"`` counts as NAME in a class below Plugin, and nowhere else."""
        write(
            folder,
            "shop.py",
            """
            class Other: name = "other"
            class One(Plugin): name = "one"
            class Base(ShopPlugin): name = "base"
            class Two(Base): name = "two"
            class Three(Base): NAME = "x"; name = "y"
            class Four(Plugin): name = "low"; NAME = "four"
            """,
        )

        assert values(folder) == [
            ("four", "shop:Four"),
            ("one", "shop:One"),
            ("two", "shop:Two"),
            ("x", "shop:Three"),
        ]

    def test_a_class_named_like_its_imported_base(self, folder):
        """A class may have the name of the class it derives from."""
        write(folder, "shop.py", "import x\nclass MyPlugin(x.MyPlugin): pass\n")

        assert values(folder) == [("myplugin", "shop:MyPlugin")]

    def test_a_computed_value_hides_an_inherited_one(self, folder):
        """A computed attribute of a class is unknown, and not that of its base."""
        write(folder, "shop.py", "class A: NAME = 'a'; TITLE = 't'\nclass B(A): TITLE = f()\n")

        assert [spec.attributes for spec in directories.find(folder).specs] == [
            {"NAME": "a", "TITLE": "t"},
            {"NAME": "a"},
        ]


class TestModules:
    def test_a_module_with_marked_functions(self, folder):
        """A plain module of hook implementations is a plugin, as in any pluggy host."""
        write(
            folder,
            "plain_hooks.py",
            """
            from pluggy import HookimplMarker
            hookimpl = HookimplMarker("shop")
            VERSION = "1.2"
            @hookimpl
            def price(item): ...
            """,
        )

        (spec,) = directories.find(folder).specs

        assert (spec.slug, spec.name, spec.value) == ("plain_hooks", "plain_hooks", "plain_hooks")
        assert spec.attributes == {"VERSION": "1.2"}

    def test_names_that_are_left_out(self, folder):
        """Private and hidden files, other files and folders that are no packages do not count."""
        for path in ("_a.py", ".b.py", "__init__.py", "c.txt", "data/d.py", "_e/__init__.py"):
            write(folder, path, "class A: NAME = 'a'")

        assert values(folder) == []

    def test_a_package(self, folder):
        """A package's own classes and those it imports from its submodules are plugins."""
        write(
            folder,
            "shop/__init__.py",
            """
            from .base import Base
            from .inner import Tax as Renamed, helper
            from .deep.more import Deep
            from .missing import Nothing
            from . import inner
            class Own(Base): pass
            """,
        )
        write(folder, "shop/base.py", "from plugreg import Plugin\nclass Base(Plugin): pass\n")
        write(
            folder,
            "shop/inner.py",
            "from .base import Base\nclass Tax(Base): NAME = 'tax'\nclass Not: NAME = 'not'\n",
        )
        write(folder, "shop/deep/more/__init__.py", "class Deep: NAME = 'deep'")

        assert values(folder) == [("deep", "shop:Deep"), ("tax", "shop:Renamed")]

    def test_all_of_a_package_limits_what_it_imports(self, folder):
        """An object that a package imports and does not export is no plugin of it."""
        write(folder, "shop/__init__.py", "from .a import A, B\n__all__ = ['B']\n")
        write(folder, "shop/a.py", "class A: NAME = 'a'\nclass B: NAME = 'b'\n")

        assert values(folder) == [("b", "shop:B")]

    def test_specs_are_sorted_by_slug(self, folder):
        """The order depends neither on files nor on lines."""
        write(folder, "a.py", "class Z: NAME = 'z'\nclass B: NAME = 'b'\n")
        write(folder, "b.py", "class A: NAME = 'a'\n")

        assert [slug for slug, _ in values(folder)] == ["a", "b", "z"]

    def test_the_stamp_changes_with_the_sources(self, folder):
        """A stamp stays the same while nothing changes, and differs after any edit."""
        module = write(folder, "one.py", "class A: NAME = 'a'")
        write(folder, "two/__init__.py", "class B: NAME = 'b'")
        helper = write(folder, "two/deep/helper.py")
        before = [spec.stamp for spec in directories.find(folder).specs]
        assert [spec.stamp for spec in directories.find(folder).specs] == before

        os.utime(module, ns=(1, 1))
        helper.write_text("changed = True", encoding="utf-8")

        after = [spec.stamp for spec in directories.find(folder).specs]
        assert all(old != new for old, new in zip(before, after, strict=True))


class TestBroken:
    @pytest.fixture
    def healthy(self, folder):
        write(folder, "healthy.py", "class Healthy: NAME = 'healthy'")
        return folder

    def failure(self, folder):
        """Return the one failure, which hides nobody."""
        found = directories.find(folder)
        assert [spec.slug for spec in found.specs] == ["healthy"]
        (failure,) = found.failures
        assert failure.stage is Stage.DISCOVERY
        return failure

    def test_a_missing_folder(self, tmp_path):
        """A folder that is not there is a failure with its path, and is not made."""
        missing = tmp_path / "missing"

        (failure,) = directories.find(missing).failures

        assert failure.slug == str(missing)
        assert failure.exception_type == "FileNotFoundError"
        assert not missing.exists()

    def test_a_syntax_error(self, healthy):
        """The message has file and line."""
        file = write(healthy, "bad.py", "x = 1\nclass Bad(:\n")

        failure = self.failure(healthy)

        assert failure.slug == "bad"
        assert f"{str(file)!r}, line 2" in failure.message
        assert "SyntaxError" in failure.message

    @pytest.mark.parametrize(
        "content",
        [
            b"NAME = '\xff'",
            b"x = 1\0",
            b"x = " + b"(" * 100_000,
            b"x = " + b"-" * 50_000 + b"1",
            b"#" * (directories.LARGEST_SOURCE + 1),
        ],
        ids=["not UTF-8", "NUL", "deep brackets", "deep operators", "huge"],
    )
    def test_a_file_that_does_not_parse(self, healthy, content):
        """Whatever is wrong with a file, it is one failure of that module."""
        file = healthy / "bad.py"
        file.write_bytes(content)

        failure = self.failure(healthy)

        assert failure.slug == "bad"
        assert repr(str(file)) in failure.message

    def test_classes_that_derive_in_a_circle(self, healthy):
        """Nonsense among classes ends, and is no plugin."""
        write(healthy, "circle.py", "class A(B): pass\nclass B(A): pass\n")

        assert values(healthy) == [("healthy", "healthy:Healthy")]

    def test_a_broken_submodule(self, healthy):
        """A submodule that does not parse is named with its package, and the rest is found."""
        write(healthy, "shop/__init__.py", "from .bad import A\n")
        write(healthy, "shop/bad.py", "class A(:")

        assert self.failure(healthy).slug == "shop.bad"

    @pytest.mark.parametrize("slug", ["reload", "!!!"])
    def test_a_bad_slug(self, healthy, slug):
        """A reserved or empty slug is refused, and the message names the file."""
        file = write(healthy, "bad.py", f"class Bad: SLUG = {slug!r}")

        failure = self.failure(healthy)

        assert failure.slug == ("reload" if slug == "reload" else "bad:Bad")
        assert repr(str(file)) in failure.message

    def test_a_file_that_cannot_be_imported(self, healthy):
        """A plugin in a file whose name is no module name is refused, another file is ignored."""
        write(healthy, "not-a-plugin.py", "x = 1")
        write(healthy, "my-tax.py", "class Tax: NAME = 'tax'")

        failure = self.failure(healthy)

        assert failure.slug == "tax"
        assert "'my-tax'" in failure.message

    def test_a_module_behind_a_package(self, healthy):
        """A module that a package of the same name hides is refused."""
        write(healthy, "tax/__init__.py")
        write(healthy, "tax.py", "class Tax: NAME = 'tax'")

        assert "hides it" in self.failure(healthy).message

    def test_nothing_runs_and_nothing_is_written(self, healthy):
        """A search in a fresh interpreter imports no module and leaves the folder as it was."""
        write(healthy, "noisy.py", "raise SystemExit('run')\nclass Noisy: NAME = 'noisy'")
        code = """
            import sys
            from plugreg.discovery import directories
            before = set(sys.modules) | {"hashlib"}
            found = directories.find(sys.argv[1])
            assert [spec.slug for spec in found.specs] == ["healthy", "noisy"], found
            print(*sorted(set(sys.modules) - before))
        """
        before = sorted(healthy.rglob("*"))

        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(healthy)],
            env={**os.environ, "PYTHONPATH": str(Path(directories.__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.stdout.split(), done.stderr) == ([], "")
        assert sorted(healthy.rglob("*")) == before


class TestImporting:
    def test_a_module_gets_a_private_name(self, folder, tmp_path):
        """Two files of one name are two modules, and neither takes a public name."""
        other = tmp_path / "other"
        write(folder, "sample.py", "HERE = 1")
        write(other, "sample.py", "HERE = 2")

        modules = [directories.import_module(each, "sample") for each in (folder, other)]

        assert [module.HERE for module in modules] == [1, 2]
        assert modules[0].__name__ == directories.private_name(folder, "sample")
        assert modules[0].__file__ == str(folder / "sample.py")
        assert "sample" not in sys.modules
        directories_on_path = [str(folder), str(other)]
        assert not set(directories_on_path) & set(sys.path)

    def test_the_prefix_is_that_of_the_real_path(self, folder, tmp_path):
        """A folder has one name, by whatever path it is reached."""
        (tmp_path / "link").symlink_to(folder)

        name = directories.private_name(tmp_path / "link", "a")

        assert name == directories.private_name(str(folder) + "/", "a")
        assert len(name) == len("_plugreg_0123456789ab.a")

    def test_neighbours_and_packages(self, folder):
        """Relative imports work between the files of a folder and inside its packages."""
        write(folder, "__init__.py", "raise RuntimeError('run')")
        write(folder, "helper.py", "VALUE = 1")
        write(folder, "one.py", "from . import helper\nfrom .helper import VALUE\n")
        write(folder, "two/__init__.py", "from .inner import VALUE\nfrom .. import helper\n")
        write(folder, "two/inner.py", "from ..helper import VALUE\n")

        assert directories.import_module(folder, "one").VALUE == 1
        package = directories.import_module(folder, "two")
        assert package.VALUE == 1
        assert package.helper is directories.import_module(folder, "helper")
        assert directories.import_module(folder, "two.inner").VALUE == 1

    def test_an_imported_module_is_not_run_again(self, folder):
        """As with any import, the second one gives the module of the first."""
        write(folder, "one.py", "STATE = []")

        first = directories.import_module(folder, "one")

        assert directories.import_module(folder, "one") is first

    def test_nothing_is_written(self, folder):
        """No bytecode is written beside a plugin, nor beside its neighbours and submodules."""
        write(folder, "helper.py", "")
        write(folder, "shop/__init__.py", "from . import inner\nfrom .. import helper\n")
        write(folder, "shop/inner.py", "")
        before = sorted(folder.rglob("*"))

        directories.import_module(folder, "shop")

        assert sorted(folder.rglob("*")) == before

    def test_a_failed_import_leaves_nothing_behind(self, folder):
        """Neither the module nor its imports from its folder stay in sys.modules."""
        write(folder, "helper.py", "")
        write(folder, "bad.py", "from . import helper\nraise SystemExit('bad')\n")
        before = set(sys.modules)

        with pytest.raises(SystemExit):
            directories.import_module(folder, "bad")

        assert set(sys.modules) == before

    def test_a_failed_import_leaves_what_was_there(self, folder):
        """Modules imported before stay the ones they are."""
        write(folder, "good.py", "")
        write(folder, "bad.py", "from . import good\nfrom . import fresh\n1 / 0\n")
        write(folder, "fresh.py", "")
        good = directories.import_module(folder, "good")
        before = dict(sys.modules)

        with pytest.raises(ZeroDivisionError):
            directories.import_module(folder, "bad")

        assert dict(sys.modules) == before
        assert directories.import_module(folder, "good") is good
        assert not hasattr(sys.modules[good.__package__], "fresh")

    @pytest.mark.parametrize("path", ["tax.py", "tax/__init__.py", "tax/inner.py", "helper.py"])
    def test_a_repaired_file_runs_at_once(self, folder, path):
        """Source of the same size and the same second is never mistaken for the old one."""
        write(folder, "helper.py", "VALUE = 2")
        if path != "tax.py":
            write(folder, "tax/__init__.py", "from .inner import VALUE\n")
            write(folder, "tax/inner.py", "from ..helper import VALUE\n")
        file = write(folder, path, "VALUE = 1 / 0")
        os.utime(file, ns=(10**18, 10**18))
        entry = "helper" if path == "helper.py" else "tax"
        with pytest.raises(ZeroDivisionError):
            directories.import_module(folder, entry)

        file.write_text("VALUE = 1 / 1", encoding="utf-8")
        os.utime(file, ns=(10**18, 10**18))

        assert directories.import_module(folder, entry).VALUE == 1

    def test_a_module_that_is_not_there(self, folder):
        """It is a ModuleNotFoundError, and a file that is added then is found."""
        before = set(sys.modules)
        with pytest.raises(ModuleNotFoundError):
            directories.import_module(folder, "late")
        assert set(sys.modules) == before

        write(folder, "late.py", "")

        assert directories.import_module(folder, "late").__file__ == str(folder / "late.py")


class TestStamps:
    def test_another_stamp_is_imported_anew(self, folder):
        """A module that another registry imported before the file was changed is not served."""
        write(folder, "one.py", "VALUE = 1")
        first = directories.import_module(folder, "one", "1")
        write(folder, "one.py", "VALUE = 2")

        assert directories.import_module(folder, "one", "1") is first
        assert directories.import_module(folder, "one", "2").VALUE == 2
        assert first.VALUE == 1

    def test_a_module_may_put_another_object_in_its_place(self, folder):
        """The object that it put there is the result of the import, whatever it is."""
        write(folder, "one.py", "import sys\nsys.modules[__name__] = 7")

        assert directories.import_module(folder, "one", "1") == 7
        assert directories.import_module(folder, "one", "2") == 7
