"""The index returns the result of a search, and whatever is wrong with it, the search goes on."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import zipfile

import pytest

from plugreg import PluginRegistry
from plugreg.discovery import Sources, entry_points, index

GROUP = "shop.plugins"
LONG_AGO = 10**18
VERIFY = pytest.mark.parametrize("verify", [False, True])
DATED_BACK = pytest.mark.parametrize("dated_back", [False, True])


def plugin(name="discount", value="shop_discount:Discount"):
    return {GROUP: {name: value}}


def age(folder, seconds=60):
    """Return all that lies in a folder, and the folder, an older time: it was written long ago."""
    when = time.time() - seconds
    for place in (folder, *folder.rglob("*")):
        os.utime(place, (when, when))


def wait_for_a_tick(folder):
    """Return when changes from now on get a later time than all changes before."""
    before = time.time_ns()
    while folder.stat().st_ctime_ns <= before:
        folder.touch()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / "plugins.index"


@pytest.fixture
def searches(monkeypatch):
    """Count the searches that were made."""
    made = []
    search = entry_points.find
    monkeypatch.setattr(
        entry_points, "find", lambda *given: made.append(given) or search(*given), raising=True
    )
    return made


@pytest.fixture
def later(monkeypatch):
    """Let the index take files that were written a moment ago for old."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)


@pytest.fixture
def listings(monkeypatch):
    """Collect the folders that are listed."""
    made = []
    listing = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: made.append(place) or listing(place))
    return made


class TestWhileItHolds:
    @VERIFY
    def test_the_second_answer_is_the_first_and_makes_no_search(self, site, file, searches, verify):
        """All that a spec says is kept: distribution, version, path and stamp too."""
        site.dist("Shop.Tax", "2.1", {GROUP: {"Tax Rates": "m.n:A.b [x]", "other": "m"}})
        site.dist("plain", "1.0", {"other": {"x": "m:A"}})
        site.dist("old", "1.0", plugin("dev"), info="old.egg-info")
        (site.folder / "old.egg-info" / "PKG-INFO").write_text("Name: old\n")
        age(site.folder)

        first = index.find(file, GROUP, [str(site)], verify=verify)
        again = index.find(file, GROUP, [str(site)], verify=verify)

        assert [spec.slug for spec in first.specs] == ["dev", "other", "tax-rates"]
        assert again == first == entry_points.find(GROUP, [str(site)])
        assert len(searches) == 2

    @VERIFY
    def test_a_folder_without_distributions_may_change(
        self, site, tmp_path, file, searches, verify
    ):
        """The current folder is on the path, and the host writes files into it."""
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        here = tmp_path / "app"
        here.mkdir()
        path = [str(here), str(site)]
        index.find(file, GROUP, path, verify=verify)
        (here / "store.json").write_text("{}")

        index.find(file, GROUP, path, verify=verify)

        assert len(searches) == 1
        type(site)(here).dist("new", "1.0", plugin("new"))
        found = index.find(file, GROUP, path, verify=verify)
        assert [spec.slug for spec in found.specs] == ["discount", "new"]

    @VERIFY
    @pytest.mark.usefixtures("later")
    def test_no_folder_is_listed(self, site, tmp_path, file, listings, verify):
        """Times say enough, those of 1970 too where a folder has no distributions."""
        site.dist("tax", "1.0", plugin())
        library = tmp_path / "library"
        library.mkdir()
        os.utime(library, (1, 1))
        path = [str(library), str(site)]
        index.find(file, GROUP, path, verify=verify)
        listings.clear()

        index.find(file, GROUP, path, verify=verify)

        assert listings == []

    @VERIFY
    def test_a_place_counts_once(self, site, file, searches, verify):
        """Whatever spellings of it are on the path: the answer is the one that is kept."""
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        first = index.find(file, GROUP, [str(site)], verify=verify)

        again = index.find(file, GROUP, [str(site), f"{site}/", str(site)], verify=verify)

        assert (again, len(searches)) == (first, 1)

    @VERIFY
    def test_without_a_path_sys_path_is_looked_at(self, site, file, searches, verify, monkeypatch):
        """As with a search, a missing folder is skipped, and may come later."""
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        later = site.folder / "later"
        monkeypatch.setattr(sys, "path", [str(later), str(site)])
        monkeypatch.setattr(sys, "meta_path", [])

        index.find(file, GROUP, verify=verify)
        index.find(file, GROUP, verify=verify)

        assert len(searches) == 1
        type(site)(later).dist("new", "1.0", plugin("new"))
        found = index.find(file, GROUP, verify=verify)
        assert [spec.slug for spec in found.specs] == ["discount", "new"]

    def test_a_zip_file(self, site, tmp_path, file, searches):
        """It is kept like a folder, by its time."""
        packed = tmp_path / "shop.zip"

        def pack(version):
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(
                    f"tax-{version}.dist-info/METADATA", f"Name: tax\nVersion: {version}\n"
                )
                archive.writestr(
                    f"tax-{version}.dist-info/entry_points.txt", f"[{GROUP}]\na = m:A\n"
                )

        pack("1.0")
        os.utime(packed, (1_000_000_000, 1_000_000_000))
        first = index.find(file, GROUP, [str(packed)], verify=False)
        again = index.find(file, GROUP, [str(packed)], verify=False)

        assert (again, len(searches)) == (first, 1)
        pack("2.0")
        (spec,) = index.find(file, GROUP, [str(packed)], verify=False).specs
        assert spec.version == "2.0"


def install(site):
    site.dist("new", "1.0", plugin("new"))


def uninstall(site):
    for each in (site.folder / "tax-1.0.dist-info").iterdir():
        each.unlink()
    (site.folder / "tax-1.0.dist-info").rmdir()


def upgrade(site):
    (site.folder / "tax-1.0.dist-info").rename(site.folder / "tax-1.1.dist-info")


def edit(site):
    with (site.folder / "tax-1.0.dist-info" / "entry_points.txt").open("a") as text:
        text.write("more = m:More\n")


def add_entry_points(site):
    (site.folder / "plain-1.0.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nb = m:B\n")


def drop_metadata(site):
    (site.folder / "tax-1.0.dist-info" / "METADATA").unlink()


def rewrite_development_metadata(site):
    (site.folder / "dev.egg-info" / "PKG-INFO").write_text("Name: dev\nVersion: 2.0\n")


def change_later(site, file, change, dated_back):
    """Change a site, and set back the times that a tool can set."""
    times = {each: each.stat().st_mtime_ns for each in (site.folder, *site.folder.rglob("*"))}
    wait_for_a_tick(file.parent)
    change(site)
    if dated_back:
        for place in (site.folder, *site.folder.rglob("*")):
            when = times.get(place, LONG_AGO)
            os.utime(place, ns=(when, when))


class TestChanges:
    @pytest.fixture
    def tree(self, site):
        site.dist("tax", "1.0", plugin())
        site.dist("plain", "1.0")
        site.dist("dev", "1.0", plugin("dev"), info="dev.egg-info")
        (site.folder / "dev.egg-info" / "PKG-INFO").write_text("Name: dev\n")
        age(site.folder)
        return site

    @VERIFY
    @DATED_BACK
    @pytest.mark.parametrize("change", [install, uninstall, upgrade])
    def test_what_an_installer_does_is_seen(self, tree, file, change, dated_back, verify):
        """Folders that come, go or are renamed change the times of the folder they lie in."""
        before = index.find(file, GROUP, [str(tree)], verify=verify)

        change_later(tree, file, change, dated_back)
        after = index.find(file, GROUP, [str(tree)], verify=verify)

        assert after != before
        assert after == entry_points.find(GROUP, [str(tree)])

    @pytest.mark.parametrize(
        "change", [edit, add_entry_points, drop_metadata, rewrite_development_metadata]
    )
    @DATED_BACK
    def test_verifying_sees_every_change(self, tree, file, change, dated_back):
        """A file edited in place, one that comes, and one that goes."""
        before = index.find(file, GROUP, [str(tree)], verify=True)

        change_later(tree, file, change, dated_back)
        after = index.find(file, GROUP, [str(tree)], verify=True)

        assert after.specs == entry_points.find(GROUP, [str(tree)]).specs
        # The search itself tells a file in development by its time alone.
        assert after != before or (dated_back and change is rewrite_development_metadata)

    def test_a_slow_install_is_seen(self, tree, file, searches):
        """A distribution whose entry points come long after its folder, as of a large wheel."""
        (tree.folder / "plain-1.0.dist-info" / "RECORD").unlink()
        age(tree.folder)
        index.find(file, GROUP, [str(tree)], verify=False)
        before = index.find(file, GROUP, [str(tree)], verify=False)
        assert len(searches) == 1

        change_later(tree, file, add_entry_points, dated_back=False)
        after = index.find(file, GROUP, [str(tree)], verify=False)

        assert {each.name for each in after.specs} - {each.name for each in before.specs} == {"b"}

    def test_what_is_being_installed_now_is_not_kept(self, tree, file):
        """The next change may come within the same tick of the clock."""
        (tree.folder / "plain-1.0.dist-info" / "RECORD").unlink()

        index.find(file, GROUP, [str(tree)], verify=False)

        assert not file.exists()

    @VERIFY
    def test_another_group_or_path_is_another_question(self, tree, tmp_path, file, verify):
        """One file used for two questions gives neither the other's answer."""
        tree.dist("other", "1.0", {"other": {"x": "m:A"}})
        age(tree.folder)
        second = type(tree)(tmp_path / "second")
        second.dist("elsewhere", "1.0", plugin("elsewhere"))
        age(second.folder)

        for group, path in ((GROUP, [tree]), ("other", [tree]), (GROUP, [second, tree])):
            path = [str(each) for each in path]
            found = index.find(file, group, path, verify=verify)
            assert found == entry_points.find(group, path)

    @VERIFY
    def test_a_fresh_change_is_not_kept(self, site, file, searches, verify):
        """A second change within one tick of the clock would leave the same time behind."""
        site.dist("tax", "1.0", plugin())

        index.find(file, GROUP, [str(site)], verify=verify)

        assert not file.exists()

    def test_a_fresh_file_is_not_kept_when_verifying(self, tree, file):
        """The folders that it lies in are old, but it may change again within the tick."""
        edit(tree)

        index.find(file, GROUP, [str(tree)], verify=True)

        assert not file.exists()

    @VERIFY
    @pytest.mark.parametrize("when", [0, 1])
    def test_a_time_that_everything_has_is_not_kept(self, tree, file, when, verify):
        """Some packagers give all files one time, and an upgrade leaves the same one behind."""
        for place in (tree.folder, *tree.folder.rglob("*")):
            os.utime(place, (when, when))

        index.find(file, GROUP, [str(tree)], verify=verify)

        assert not file.exists()

    @VERIFY
    def test_a_fresh_folder_without_distributions_is_listed(
        self, tree, tmp_path, file, listings, verify
    ):
        """It was changed a moment ago, whatever time it was given, and may be within the tick."""
        here = tmp_path / "app"
        here.mkdir()
        os.utime(here, (1, 1))
        path = [str(here), str(tree)]
        index.find(file, GROUP, path, verify=verify)
        listings.clear()

        index.find(file, GROUP, path, verify=verify)

        assert listings == [str(here)]

    @VERIFY
    def test_a_folder_without_distributions_and_without_a_time(
        self, tree, tmp_path, file, searches, verify
    ):
        """It may have any time, and a new file in it is seen though the time is set back."""
        here = tmp_path / "app"
        here.mkdir()
        os.utime(here, (1, 1))
        path = [str(here), str(tree)]
        index.find(file, GROUP, path, verify=verify)
        index.find(file, GROUP, path, verify=verify)
        assert len(searches) == 1

        type(tree)(here).dist("new", "1.0", plugin("new"))
        os.utime(here, (1, 1))

        assert len(index.find(file, GROUP, path, verify=verify).specs) == 3

    @VERIFY
    def test_an_answer_with_failures_is_not_kept(self, tree, file, verify):
        """A broken folder may have been repaired without a trace, so it is read each time."""
        tree.dist("bad", "1.0", b"\xff")
        age(tree.folder)

        found = index.find(file, GROUP, [str(tree)], verify=verify)

        assert len(found.failures) == 1
        assert not file.exists()

    def test_answers_of_finders_are_not_kept(self, tree, file, monkeypatch):
        """No time tells when a finder's distributions change."""

        class Finder:
            def find_spec(self, *args):
                return None

            def find_distributions(self, context):
                return iter(())

        monkeypatch.setattr(sys, "path", [str(tree)])
        monkeypatch.setattr(sys, "meta_path", [Finder()])

        assert len(index.find(file, GROUP, verify=False).specs) == 2
        assert not file.exists()

    @pytest.mark.parametrize("entry", [None, 5, b"bytes", "nul\0"])
    def test_an_entry_that_is_no_path(self, tree, file, entry):
        """The answer is that of a search, with the failure that it has."""
        found = index.find(file, GROUP, [entry, str(tree)], verify=False)

        assert found.specs == entry_points.find(GROUP, [entry, str(tree)]).specs
        assert not file.exists()

    def test_a_finder_that_fails(self, tree, file, monkeypatch):
        """It is the search that tells of it."""

        class Broken:
            def __getattribute__(self, name):
                raise RuntimeError("broken")

        monkeypatch.setattr(sys, "path", [str(tree)])
        monkeypatch.setattr(sys, "meta_path", [Broken()])

        found = index.find(file, GROUP, verify=False)

        assert (len(found.specs), len(found.failures)) == (2, 1)


def garbage(kept):
    """Return contents that are no index, and some that nearly are."""
    head, states, columns = json.loads(kept)
    yield from (b"", b"\xff\xfe", b"{", b"null", b"[]", b"[[1, 2], 3]", b"[" * 100_000)
    yield kept[: len(kept) // 2]
    ((is_bare, looked_at, times),) = states
    slug, *others, stamp = columns
    for states_, columns_ in (
        (states, None),
        (states, []),
        (states, [*columns, stamp]),
        (states, [slug, *others]),
        (states, [[], *others, stamp]),
        (states, [[*slug, "more"], *others, stamp]),
        (states, [[1], *others, stamp]),
        (states, [{"slug": 1}, *others, stamp]),
        (states, [*others[:-1], "s", slug, stamp]),
        (states, [slug, *others, [None]]),
        (states, [slug, *others[:-1], [["path"]], stamp]),
        ([], columns),
        ([*states, *states], columns),
        ([None], columns),
        ([[is_bare, looked_at]], columns),
        ([[is_bare, 5, times]], columns),
        ([[is_bare, [], 5]], columns),
        ([[is_bare, [], times[:1]]], columns),
        ([[is_bare, [5], [*times[:2], 5, 5]]], columns),
        ([[is_bare, ["nul\0"], [*times[:2], None, None]]], columns),
        ([[True, [], 5]], columns),
    ):
        yield json.dumps([head, states_, columns_]).encode()
    yield json.dumps([[0, *head[1:]], states, [[] for _ in columns]]).encode()


class TestWhatIsWrongWithTheFile:
    @pytest.fixture
    def tree(self, site):
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        return site

    @VERIFY
    def test_what_is_no_index_is_passed_over_and_replaced(self, tree, file, verify):
        """Whatever the file holds, the answer is that of a search, and the next index is whole."""
        expected = index.find(file, GROUP, [str(tree)], verify=verify)
        kept = file.read_bytes()

        for each in garbage(kept):
            file.write_bytes(each)
            assert index.find(file, GROUP, [str(tree)], verify=verify) == expected, each
            assert file.read_bytes() == kept, each

    @pytest.mark.parametrize("name", ["missing/index", "folder", "nul\0", "x" * 300, "fifo"])
    def test_a_place_that_cannot_be_used(self, tree, tmp_path, name, caplog):
        """No folder, a folder in its place, no path, too long a name: told in the log at most."""
        (tmp_path / "folder").mkdir()
        if name == "fifo":
            os.mkfifo(tmp_path / name)
        with caplog.at_level(logging.INFO):
            found = index.find(f"{tmp_path}/{name}", GROUP, [str(tree)], verify=False)

        assert found == entry_points.find(GROUP, [str(tree)])
        assert caplog.records == []

    def test_nothing_is_left_beside_it(self, tree, file, monkeypatch):
        """A draft that cannot take its place is removed."""

        def fail(*args):
            raise OSError("no")

        monkeypatch.setattr(os, "replace", fail)

        found = index.find(file, GROUP, [str(tree)], verify=False)

        assert len(found.specs) == 1
        assert list(file.parent.iterdir()) == []

    def test_many_at_once(self, tree, file):
        """Whoever reads while others write sees a whole index or none."""
        expected = entry_points.find(GROUP, [str(tree)])
        answers = []

        def run(verify):
            for _ in range(50):
                answers.append(index.find(file, GROUP, [str(tree)], verify=verify))

        threads = [threading.Thread(target=run, args=(each % 2 == 0,)) for each in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

        assert len(answers) == 200
        assert all(each == expected for each in answers)
        assert [each.name for each in file.parent.iterdir()] == [file.name]


class TestTheRegistry:
    @pytest.fixture
    def path(self, site, monkeypatch):
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
        monkeypatch.setattr(sys, "meta_path", [*filter(_is_plain, sys.meta_path)])
        return site

    @VERIFY
    def test_it_finds_the_same_with_an_index(self, path, file, verify):
        """Both loads, the one that writes the index and the one that uses it, know the plugin."""
        for _ in range(2):
            with PluginRegistry("shop", index=file, index_verify=verify) as registry:
                registry.load()
                assert list(registry.plugins) == ["discount"]
                assert registry.get("discount").distribution == "tax"

    def test_only_a_load_writes_it(self, site, file, monkeypatch):
        """Making a registry does not, nor does reading from it."""
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        monkeypatch.setattr(sys, "path", [str(site)])
        monkeypatch.setattr(sys, "meta_path", [])
        with PluginRegistry("shop", index=file) as registry:
            assert not file.exists()
            registry.load()
            assert file.exists()
            file.unlink()
            assert registry.get("discount").description is None
            assert registry.errors == ()
            assert not file.exists()

    def test_safe_mode_writes_none(self, path, file):
        """Safe mode writes nothing by itself."""
        with PluginRegistry("shop", index=file, safe_mode=True) as registry:
            registry.load()

        assert not file.exists()

    def test_a_relative_path_is_that_of_the_start(self, site, tmp_path, monkeypatch):
        """The current folder may be another one later."""
        site.dist("tax", "1.0", plugin())
        age(site.folder)
        monkeypatch.setattr(sys, "path", [str(site)])
        monkeypatch.setattr(sys, "meta_path", [])
        monkeypatch.chdir(tmp_path)
        with PluginRegistry("shop", index="plugins.index") as registry:
            monkeypatch.chdir(site.folder)
            registry.load()

        assert (tmp_path / "plugins.index").exists()

    def test_verifying_needs_an_index(self):
        """Arguments that contradict each other are told at once."""
        with pytest.raises(ValueError, match="index_verify"):
            PluginRegistry("shop", index_verify=True)

    def test_without_one_no_file_is_written(self, path, tmp_path):
        """It is off by default."""
        before = sorted(tmp_path.rglob("*"))

        Sources(group=GROUP).find()

        assert sorted(tmp_path.rglob("*")) == before


def _is_plain(finder):
    return not entry_points.knows_distributions(finder)
