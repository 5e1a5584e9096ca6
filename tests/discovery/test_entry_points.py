"""Plugins of distributions are found in the metadata folders, and the broken ones are named."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from plugreg._support.slugs import Slug
from plugreg.discovery import directories, discover, entry_points
from plugreg.records import PluginSpec, Source, Stage

GROUP = "shop.plugins"


def plugin(name="discount", value="shop_discount:Discount"):
    return {GROUP: {name: value}}


def in_subprocess(code, *paths):
    """Run code in a fresh interpreter that finds plugreg and the given paths; return its output."""
    root = Path(entry_points.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, paths)],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


class TestWhatIsFound:
    def test_a_spec_says_what_the_entry_point_and_the_folder_say(self, site):
        """A spec carries the words of the entry point, and name, version and path of its folder."""
        path = site.dist(
            "Shop.Discount", "2.1", plugin("Big Discount"), info="Shop.Discount-2.1.dist-info"
        )

        (spec,) = discover(GROUP, [str(site)])

        assert (spec.slug, spec.name, spec.value) == (
            "big-discount",
            "Big Discount",
            "shop_discount:Discount",
        )
        assert (spec.group, spec.source) == (GROUP, Source.ENTRY_POINT)
        assert (spec.distribution, spec.version) == ("shop-discount", "2.1")
        assert spec.path == str(path)

    def test_specs_are_sorted_by_slug(self, site):
        """The order depends on slugs alone, not on the order of folders or lines."""
        site.dist("zz", "1.0", {GROUP: {"b": "m:B", "a": "m:A"}})
        site.dist("aa", "1.0", {GROUP: {"d": "m:D", "c": "m:C"}})

        assert [spec.slug for spec in discover(GROUP, [str(site)])] == ["a", "b", "c", "d"]

    def test_other_groups_are_left_out(self, site):
        """Only entries of the group asked for are plugins, console scripts are not."""
        site.dist(
            "tools", "1.0", {"console_scripts": {"tool": "t:main"}, f"{GROUP}.more": {"x": "t"}}
        )

        found = entry_points.find(GROUP, [str(site)])

        assert (found.specs, found.failures) == ((), ())

    def test_values_keep_their_text(self, site):
        """Extras and spaces in a value are kept as written."""
        site.dist("shop-tax", "1.0", plugin("tax", "shop.tax : Tax  [fast, exact]"))

        assert discover(GROUP, [str(site)])[0].value == "shop.tax : Tax  [fast, exact]"

    def test_two_plugins_with_one_slug_are_both_given(self, site):
        """A slug conflict is not settled here: both specs are there, with their distributions."""
        site.dist("one", "1.0", plugin(value="one:D"))
        site.dist("two", "1.0", plugin(value="two:D"))

        specs = discover(GROUP, [str(site)])

        assert [(spec.slug, spec.distribution) for spec in specs] == [
            ("discount", "one"),
            ("discount", "two"),
        ]

    def test_unescaped_hyphens_belong_to_the_name(self, site):
        """Distributions whose folders have hyphens in their names do not hide each other."""
        site.dist("shop-a", "1.0", plugin("a", "a:A"), info="shop-a-1.0.dist-info")
        site.dist("shop-b", "1.0", plugin("b", "b:B"), info="shop-b-1.0.dist-info")

        specs = discover(GROUP, [str(site)])

        assert [(spec.distribution, spec.version) for spec in specs] == [
            ("shop-a", "1.0"),
            ("shop-b", "1.0"),
        ]

    def test_the_current_folder(self, site, monkeypatch):
        """The path entry '' is the current folder, and paths in specs are absolute."""
        path = site.dist("shop-tax", "1.0", plugin())
        monkeypatch.chdir(site.folder)

        assert [spec.path for spec in discover(GROUP, ["", "."])] == [str(path)]

    def test_a_missing_path_entry_is_skipped(self, site):
        """A missing folder on the path is normal, and no failure."""
        site.dist("shop-tax", "1.0", plugin())

        found = entry_points.find(GROUP, [str(site.folder / "missing"), str(site)])

        assert len(found.specs) == 1
        assert found.failures == ()

    def test_without_a_path_sys_path_is_searched(self, site, monkeypatch):
        """The default is sys.path as it is at the time of the call."""
        site.dist("shop-tax", "1.0", plugin())
        assert discover(GROUP) == ()

        monkeypatch.syspath_prepend(str(site))

        assert [spec.slug for spec in discover(GROUP)] == ["discount"]

    def test_the_stamp_changes_with_the_version_and_with_the_file(self, site):
        """A stamp stays the same while nothing changes, and differs after an upgrade or an edit."""
        path = site.dist("shop-tax", "1.0", plugin())
        first = discover(GROUP, [str(site)])[0].stamp
        again = discover(GROUP, [str(site)])[0].stamp
        written = (path / "entry_points.txt").stat().st_mtime_ns
        upgraded = path.rename(path.with_name("shop_tax-1.1.dist-info"))
        second = discover(GROUP, [str(site)])[0].stamp
        os.utime(upgraded / "entry_points.txt", ns=(written + 1, written + 1))
        third = discover(GROUP, [str(site)])[0].stamp

        assert first == again
        assert len({first, second, third}) == 3


class TestFoundTwice:
    def test_a_doubled_path_counts_once(self, site, tmp_path):
        """The same folder under several spellings gives its plugins, and its failures, once."""
        site.dist("shop-tax", "1.0", plugin())
        site.dist("left", metadata=None)
        (tmp_path / "link").symlink_to(site.folder)

        found = entry_points.find(GROUP, [str(site), f"{site}/", str(tmp_path / "link")])

        assert len(found.specs) == 1
        assert len(found.failures) == 1

    def test_an_editable_install_counts_once(self, site, tmp_path):
        """dist-info in site-packages and egg-info beside the sources are one plugin, no failure."""
        site.dist("shop-tax", "1.0", plugin())
        source = type(site)(tmp_path / "source")
        egg = source.dist("shop-tax", "1.0", plugin(), info="Shop_Tax.egg-info")
        (egg / "METADATA").rename(egg / "PKG-INFO")

        found = entry_points.find(GROUP, [str(site), str(source)])

        assert [spec.version for spec in found.specs] == ["1.0"]
        assert found.failures == ()

    def test_the_first_distribution_of_a_name_hides_the_others(self, site, tmp_path):
        """As with imports, the first on the path counts, also when it is older."""
        site.dist("shop-tax", "1.0", plugin("old"))
        later = type(site)(tmp_path / "later")
        later.dist("Shop_TAX", "2.0", plugin("new"))

        found = entry_points.find(GROUP, [str(site), str(later)])

        assert [spec.slug for spec in found.specs] == ["old"]
        assert found.failures == ()

    def test_a_line_written_twice_counts_once(self, site):
        """The same name and value in one group is one plugin."""
        site.dist("shop-tax", "1.0", f"[{GROUP}]\ntax = t:T\n[{GROUP}]\ntax=t:T\n")

        assert len(discover(GROUP, [str(site)])) == 1


class TestBrokenMetadata:
    @pytest.fixture
    def healthy(self, site):
        site.dist("healthy", "1.0", plugin("healthy", "healthy:H"))
        return site

    def broken(self, site, path):
        """Return the messages of the failures; all must be of this path, and nobody is hidden."""
        found = entry_points.find(GROUP, [str(site)])
        assert "healthy" in [spec.slug for spec in found.specs]
        assert {(each.stage, each.slug) for each in found.failures} == {
            (Stage.DISCOVERY, str(path))
        }
        return found

    def test_not_utf8(self, healthy):
        """An entry_points.txt that is not UTF-8 is a failure of its folder."""
        path = healthy.dist("bad", "1.0", f"[{GROUP}]\nb\xe4d = b:B\n".encode("latin-1"))

        (failure,) = self.broken(healthy, path).failures

        assert failure.exception_type == "UnicodeDecodeError"

    def test_a_line_without_equals_sign(self, healthy):
        """A line that is no entry is named, and the other lines of its file are found."""
        path = healthy.dist("bad", "1.0", f"[{GROUP}]\njust words\ngood = g:G\n")

        found = self.broken(healthy, path)

        assert "'just words'" in found.failures[0].message
        assert [spec.slug for spec in found.specs] == ["good", "healthy"]

    def test_a_line_without_equals_sign_in_another_group(self, healthy):
        """A fault in the groups of others is no failure here."""
        healthy.dist("bad", "1.0", f"[other]\njust words\n[{GROUP}]\ngood = g:G\n")

        found = entry_points.find(GROUP, [str(healthy)])

        assert len(found.specs) == 2
        assert found.failures == ()

    def test_no_metadata(self, healthy):
        """A folder without METADATA gives no plugin, so it cannot take another one's slug."""
        path = healthy.dist("a-left", "1.0", plugin("healthy", "a:A"), metadata=None)

        assert len(self.broken(healthy, path).specs) == 1

    def test_no_version_in_the_name(self, healthy):
        """A folder without a version is reported, and its plugins are used all the same."""
        path = healthy.dist("bad", "1.0", plugin("bad", "b:B"), info="bad.dist-info")

        found = self.broken(healthy, path)

        assert [(spec.slug, spec.version) for spec in found.specs] == [
            ("bad", None),
            ("healthy", "1.0"),
        ]

    @pytest.mark.parametrize("info", ["-1.0.dist-info", ".dist-info", "~ealthy-1.0.dist-info"])
    def test_no_name(self, healthy, info):
        """A folder whose name starts with no distribution name gives no plugin."""
        path = healthy.dist("x", "1.0", plugin("healthy", "x:X"), info=info)

        assert len(self.broken(healthy, path).specs) == 1

    def test_a_file_in_place_of_the_folder(self, healthy):
        """A file called like a dist-info folder is a failure, as it has no METADATA."""
        path = healthy.folder / "file-1.0.dist-info"
        path.touch()

        self.broken(healthy, path)

    def test_a_folder_in_place_of_the_file(self, healthy):
        """An entry_points.txt that is a folder is a failure."""
        path = healthy.dist("bad", "1.0")
        (path / "entry_points.txt").mkdir()

        self.broken(healthy, path)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX permissions")
    @pytest.mark.parametrize("locked", ["", "entry_points.txt"])
    def test_missing_permission(self, tmp_path, locked):
        """An unreadable folder is a failure with the reason, and the others are found."""
        output = in_subprocess(
            """
            import os, pathlib, tempfile
            from plugreg.discovery import entry_points
            import sys
            locked = sys.argv[1] if len(sys.argv) > 1 else ""
            with tempfile.TemporaryDirectory() as site:
                for name in ("bad", "good"):
                    info = pathlib.Path(site, f"{name}-1.0.dist-info")
                    info.mkdir()
                    (info / "METADATA").touch()
                    (info / "entry_points.txt").write_text(f"[g]\\n{name} = m:A\\n")
                bad = pathlib.Path(site, "bad-1.0.dist-info")
                os.chmod(site, 0o755)
                os.chmod(bad / locked, 0)
                reader = os.fork()
                if reader == 0:
                    if os.geteuid() == 0:
                        os.setuid(65534)
                    found = entry_points.find("g", [site])
                    print(*[spec.slug for spec in found.specs], flush=True)
                    for each in found.failures:
                        print(each.slug == str(bad), each.exception_type, flush=True)
                    os._exit(0)
                os.waitpid(reader, 0)
                os.chmod(bad / locked, 0o755)
            """,
            *[locked] * bool(locked),
        )

        assert output == ["good", "True", "PermissionError"]

    @pytest.mark.parametrize("value", ["not a module!", "", "a:b:c", "a-b:C"])
    def test_a_bad_value(self, healthy, value):
        """A value that is no reference is a failure of that entry, and names its distribution."""
        path = healthy.dist("bad", "1.0", {GROUP: {"Bad One": value, "good": "g:G"}})

        found = entry_points.find(GROUP, [str(healthy)])

        assert [spec.slug for spec in found.specs] == ["good", "healthy"]
        (failure,) = found.failures
        assert failure.slug == "bad-one"
        assert repr(value) in failure.message
        assert "'bad'" in failure.message
        assert repr(str(path)) in failure.message

    @pytest.mark.parametrize(
        ("name", "slug"), [("reload", "reload"), ("???", "???"), ("x" * 300, "x" * 300)]
    )
    def test_a_bad_slug(self, healthy, name, slug):
        """A name that gives a reserved, empty or endless slug is a failure of that entry."""
        healthy.dist("bad", "1.0", {GROUP: {name: "m:A"}})

        found = entry_points.find(GROUP, [str(healthy)])

        assert [spec.slug for spec in found.specs] == ["healthy"]
        assert [failure.slug for failure in found.failures] == [slug]

    def test_an_unusable_path_entry(self, healthy):
        """A path entry that cannot even be looked at is a failure, and the others are searched."""
        found = entry_points.find(GROUP, ["nul\0", str(healthy), 7])  # type: ignore[list-item]

        assert [spec.slug for spec in found.specs] == ["healthy"]
        assert [failure.slug for failure in found.failures] == ["7", "nul\0"]


class TestLeftovers:
    def test_an_empty_leftover_hides_nothing_in_a_later_folder(self, site, tmp_path):
        """A folder without METADATA does not count as the first of its name."""
        left = site.dist("shop-tax", "0.9", metadata=None)
        later = type(site)(tmp_path / "later")
        later.dist("shop-tax", "1.0", plugin())

        found = entry_points.find(GROUP, [str(site), str(later)])

        assert [spec.version for spec in found.specs] == ["1.0"]
        assert [failure.slug for failure in found.failures] == [str(left)]

    def test_an_unreadable_one_hides_nothing_in_a_later_folder(self, site, tmp_path):
        """Neither does a folder whose entry points cannot be read."""
        bad = site.dist("shop-tax", "0.9", b"\xff")
        later = type(site)(tmp_path / "later")
        later.dist("shop-tax", "1.0", plugin())

        found = entry_points.find(GROUP, [str(site), str(later)])

        assert [spec.version for spec in found.specs] == ["1.0"]
        assert [failure.slug for failure in found.failures] == [str(bad)]

    def test_the_highest_version_beside_each_other_counts(self, site):
        """Versions compare as PEP 440 says, and each one passed over is named with the other."""
        old = site.dist("shop-tax", "9.0", plugin("old"))
        pre = site.dist("shop-tax", "10.0rc1", plugin("pre"))
        new = site.dist("shop-tax", "10.0", plugin("new"))
        odd = site.dist("shop-tax", "99-unknown", plugin("odd"), info="shop_tax-99_x.dist-info")

        found = entry_points.find(GROUP, [str(site)])

        assert [spec.slug for spec in found.specs] == ["new"]
        assert [failure.slug for failure in found.failures] == sorted(map(str, (old, pre, odd)))
        assert all(repr(str(new)) in failure.message for failure in found.failures)

    def test_a_whole_one_counts_before_a_higher_empty_one(self, site):
        """METADATA matters more than the version."""
        left = site.dist("shop-tax", "2.0", plugin("left"), metadata=None)
        site.dist("shop-tax", "1.0", plugin("whole"))

        found = entry_points.find(GROUP, [str(site)])

        assert [spec.slug for spec in found.specs] == ["whole"]
        assert [failure.slug for failure in found.failures] == [str(left)]

    def test_the_same_beside_each_other_is_no_failure(self, site):
        """dist-info and egg-info of the same version and entries are one plugin found twice."""
        site.dist("shop-tax", "1.0", plugin())
        egg = site.dist("shop-tax", "1.0", plugin(), info="shop_tax-1.0.egg-info")
        (egg / "METADATA").rename(egg / "PKG-INFO")

        found = entry_points.find(GROUP, [str(site)])

        assert [Path(spec.path).suffix for spec in found.specs] == [".dist-info"]
        assert found.failures == ()

    def test_leftovers_of_strangers_are_not_reported(self, site):
        """Two versions of a distribution without plugins do not concern the host."""
        site.dist("tool", "1.0")
        site.dist("tool", "2.0")

        assert entry_points.find(GROUP, [str(site)]).failures == ()


class TestEggs:
    def test_an_egg_folder(self, site, tmp_path):
        """An .egg folder on the path has its metadata in EGG-INFO, and its name in its own."""
        egg = type(site)(tmp_path / "Shop_Tax-1.2-py3.11.egg")
        info = egg.dist("shop-tax", "1.2", plugin(), info="EGG-INFO")
        (info / "METADATA").rename(info / "PKG-INFO")

        (spec,) = discover(GROUP, [str(egg)])

        assert (spec.distribution, spec.version, spec.path) == ("shop-tax", "1.2", str(info))

    def test_an_egg_info_folder_without_an_egg(self, site):
        """A folder that is called EGG-INFO says nothing where it does not lie in an egg."""
        site.dist("shop-tax", "1.2", plugin(), info="EGG-INFO")

        found = entry_points.find(GROUP, [str(site)])

        assert (found.specs, found.failures) == ((), ())

    def test_an_egg_info_file(self, site, tmp_path):
        """A single file is whole metadata without entry points, and hides later folders."""
        (site.folder / "shop_tax-1.0.egg-info").write_text("Name: shop-tax\nVersion: 1.0\n")
        later = type(site)(tmp_path / "later")
        later.dist("shop-tax", "1.0", plugin())

        found = entry_points.find(GROUP, [str(site), str(later)])

        assert (found.specs, found.failures) == ((), ())

    def test_the_stamp_of_a_development_install_follows_its_version(self, site):
        """Where the folder's name has no version, a new PKG-INFO changes the stamp."""
        path = site.dist("shop-tax", "1.0", plugin(), info="shop_tax.egg-info")
        info = (path / "METADATA").rename(path / "PKG-INFO")
        before = discover(GROUP, [str(site)])[0].stamp
        os.utime(info, ns=(1, 1))

        assert discover(GROUP, [str(site)])[0].stamp != before


class TestWhatIsNoFolder:
    def wheel(self, site, folder):
        """Pack a site folder into a zip file."""
        with zipfile.ZipFile(folder / "shop.zip", "w") as archive:
            for file in sorted(site.folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(site.folder).as_posix())
        return str(folder / "shop.zip")

    def test_a_zip_file(self, site, tmp_path):
        """Distributions in a zip file on the path are found with all that a spec has."""
        site.dist("Shop-Tax", "1.0", plugin())
        packed = self.wheel(site, tmp_path)

        (spec,) = discover(GROUP, [packed])

        assert (spec.slug, spec.distribution, spec.version) == ("discount", "shop-tax", "1.0")
        assert spec.path is not None
        assert spec.path.startswith(packed)

    def test_a_folder_before_a_zip_file_hides_it(self, site, tmp_path):
        """Shadowing works across kinds of path entries."""
        site.dist("shop-tax", "1.0", plugin())
        packed = self.wheel(site, tmp_path)

        assert [spec.path.startswith(packed) for spec in discover(GROUP, [str(site), packed])] == [
            False
        ]
        assert [spec.path.startswith(packed) for spec in discover(GROUP, [packed, str(site)])] == [
            True
        ]

    def test_a_broken_distribution_in_a_zip_file(self, site, tmp_path):
        """One that cannot be read is a failure, and the others in the file are found."""
        site.dist("bad", "1.0", b"\xff")
        site.dist("good", "1.0", plugin("good"))

        found = entry_points.find(GROUP, [self.wheel(site, tmp_path)])

        assert [spec.slug for spec in found.specs] == ["good"]
        assert ["bad-1.0.dist-info" in failure.slug for failure in found.failures] == [True]

    def test_a_finder_with_distributions(self, site, monkeypatch):
        """A finder of the host's own brings its distributions; a broken finder is a failure."""
        import importlib.metadata

        site.dist("frozen", "3.0", plugin("frozen"))

        class Frozen:
            def find_spec(self, *args):
                return None

            def find_distributions(self, context):
                yield importlib.metadata.Distribution.at(site.folder / "frozen-3.0.dist-info")
                raise RuntimeError("no more")

        class Silent:
            def find_spec(self, *args):
                return None

            def find_distributions(self, context):
                raise RuntimeError("nothing")

        monkeypatch.setattr(sys, "meta_path", [Silent(), Frozen(), *sys.meta_path])

        found = entry_points.find(GROUP)

        assert [(spec.slug, spec.distribution, spec.version) for spec in found.specs] == [
            ("frozen", "frozen", "3.0")
        ]
        assert [failure.slug.rpartition(".")[2] for failure in found.failures] == [
            "Frozen",
            "Silent",
        ]
        assert discover(GROUP, [str(site.folder / "elsewhere")]) == ()


class TestNothingIsImported:
    def test_a_scan_imports_nothing(self, site):
        """Neither a plugin's module nor importlib_metadata nor packaging comes in by a scan."""
        site.dist(
            "shop-tax",
            "1.0",
            plugin("tax", "shop_tax:Tax"),
            modules={"shop_tax.py": "raise SystemExit('imported')"},
        )
        site.dist("bad", "1.0", plugin("bad", "not a module!"), metadata=None)

        output = in_subprocess(
            """
            import sys
            from plugreg.discovery import entry_points
            sys.path.insert(0, sys.argv[1])
            before = set(sys.modules)
            assert [spec.slug for spec in entry_points.find("shop.plugins").specs] == ["tax"]
            print(*sorted(set(sys.modules) - before))
            heavy = ("importlib_metadata", "packaging")
            print(*[each for each in sys.modules if each.startswith(heavy)])
            """,
            site,
        )

        assert output == []


class TestLoading:
    def test_a_spec_loads_what_it_names(self, site, monkeypatch):
        """Those who want no registry get the module, or its attribute along the dots."""
        site.dist(
            "shop-tea",
            entry_points={"shop.plugins": {"a": "shop_loads", "b": "shop_loads : Box.lid [x]"}},
            modules={"shop_loads.py": "class Box:\n    lid = 3\n"},
        )
        monkeypatch.syspath_prepend(str(site))

        module, lid = (spec.load() for spec in discover("shop.plugins", [str(site)]))

        assert module is sys.modules.pop("shop_loads")
        assert lid == 3

    @pytest.mark.parametrize(
        ("value", "error"), [("shop_no_such", ImportError), ("sys:no_such", AttributeError)]
    )
    def test_its_faults_are_the_callers(self, value, error):
        """Nothing is caught."""
        spec = PluginSpec(slug=Slug("a"), name="a", value=value, source=Source.ENTRY_POINT)

        with pytest.raises(error, match=r"shop_no_such|no_such"):
            spec.load()

    def test_a_plugin_of_a_folder_needs_a_registry(self, tmp_path):
        """Its module has no name by which it could be imported; the error says what to do."""
        (tmp_path / "tea.py").write_text("class Tea: NAME = 'tea'\n")
        (spec,) = directories.find(tmp_path).specs

        with pytest.raises(ImportError, match=r"'tea' of the file .* registry, as directories="):
            spec.load()
