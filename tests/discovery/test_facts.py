"""Facts about a distribution are read from its METADATA, whatever state that is in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from plugreg._support.slugs import slugify
from plugreg.discovery import discover, facts, objects
from plugreg.discovery.facts import Facts
from plugreg.records import PluginFacts, PluginSpec, Source

GROUP = "shop.plugins"
ENTRY = {GROUP: {"tax": "shop_tax:Tax"}}


@pytest.fixture
def facts_of(site):
    """Return a function that reads the facts of a distribution with these lines of METADATA."""

    def read(metadata):
        site.dist("shop-tax", "1.0", ENTRY, metadata=metadata)
        (spec,) = discover(GROUP, [str(site)])
        return facts.describe(spec)

    return read


def test_everything(facts_of):
    """Summary, author, licence, first link and requirements come from the headers."""
    found = facts_of(
        textwrap.dedent("""\
            Summary: Adds sales tax
            Author: Ann Author
            Author-email: Other <other@example.org>
            License: old words
            License-Expression: MIT
            Home-page: https://example.org/home
            Project-URL: Source, https://example.org/source
            Project-URL: Docs, https://example.org/docs
            Requires-Dist: shop<3,>=2
            Requires-Dist: shop-base ; python_version >= "3.11"

            Summary: not a header
            Requires-Dist: neither
            """)
    )

    assert found == PluginFacts(
        summary="Adds sales tax",
        author="Ann Author",
        license="MIT",
        website="https://example.org/source",
        requires=("shop<3,>=2", 'shop-base ; python_version >= "3.11"'),
    )


def test_the_older_fields_serve_where_the_newer_are_missing(facts_of):
    """License stands in for License-Expression, Home-page for Project-URL."""
    found = facts_of("License: BSD\nHome-page: https://example.org\n")

    assert (found.license, found.website) == ("BSD", "https://example.org")


@pytest.mark.parametrize(
    ("line", "author"),
    [
        ("Ann Author <ann@example.org>", "Ann Author"),
        ("ann@example.org", "ann@example.org"),
        ("<ann@example.org>", "ann@example.org"),
        ('"Author, Ann" <ann@example.org>', "Author, Ann"),
        ("Ann <a@example.org>, Bob <b@example.org>, c@example.org", "Ann, Bob, c@example.org"),
    ],
)
def test_the_author_is_named_by_an_address(facts_of, line, author):
    """Without an Author the names in Author-email count, or the address of who gives none."""
    assert facts_of(f"Author-email: {line}\n").author == author


def test_what_is_not_stated_is_none(facts_of):
    """Missing and UNKNOWN fields are None."""
    assert facts_of("Summary: UNKNOWN\nLicense:\n") == PluginFacts()


def test_folded_headers(facts_of):
    """A header that goes over several lines is one text."""
    found = facts_of("Summary: one\n  two\n\tthree\nRequires-Dist: a\n  >=1\n")

    assert (found.summary, found.requires) == ("one two three", ("a >=1",))


def test_what_is_not_utf8(facts_of):
    """A byte that is no UTF-8 is replaced, and the rest is read."""
    found = facts_of(b"Name: shop-tax\nSummary: K\xe4se\nAuthor: Ann\n")

    assert (found.summary, found.author) == ("K\ufffdse", "Ann")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"no header\nSummary: x\n", b"\xff\x00" * 99])
def test_what_is_no_metadata(facts_of, content):
    """A file that is anything else gives no facts, and no exception."""
    assert facts_of(content) == PluginFacts()


def test_a_distribution_that_is_gone(site):
    """A folder removed since it was found gives no facts, and no exception."""
    path = site.dist("shop-tax", "1.0", ENTRY)
    (spec,) = discover(GROUP, [str(site)])
    for file in path.iterdir():
        file.unlink()
    path.rmdir()

    assert facts.describe(spec) == PluginFacts()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_not_waited_for(site):
    """A pipe and a folder in place of METADATA or PKG-INFO give no facts."""
    for place, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        path = site.dist(f"shop-{place}", "1.0", {GROUP: {place: "m:A"}})
        (path / "METADATA").unlink()
        make(path / "METADATA")

    path = site.dist("shop-egg", "1.0", {GROUP: {"egg": "m:A"}}, info="shop_egg.egg-info")
    (path / "METADATA").unlink()
    os.mkfifo(path / "PKG-INFO")
    (path / "requires.txt").touch()

    specs = discover(GROUP, [str(site.folder)])

    assert [facts.describe(spec) for spec in specs] == [PluginFacts()] * 3


def test_a_large_description_is_not_read(site):
    """The memory taken does not grow with the description."""
    metadata = b"Summary: short\n\n" + b"word " * 2_000_000
    site.dist("shop-tax", "1.0", ENTRY, metadata=metadata)
    (spec,) = discover(GROUP, [str(site)])

    tracemalloc.start()
    found = facts.describe(spec)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.summary == "short"
    assert peak < len(metadata) // 10


def test_egg_info_has_its_requirements_in_a_file(site):
    """requires.txt is read where PKG-INFO names no requirements, extras as markers."""
    path = site.dist("shop-tax", "1.0", ENTRY, metadata="Summary: egg\n", info="shop_tax.egg-info")
    (path / "METADATA").rename(path / "PKG-INFO")
    (path / "requires.txt").write_text("shop>=2\n\n[fast]\nfastlib\n", encoding="utf-8")

    found = facts.describe(discover(GROUP, [str(site)])[0])

    assert found.summary == "egg"
    assert found.requires == ("shop>=2", 'fastlib; extra == "fast"')


def test_a_zip_file(site, tmp_path):
    """The facts of a distribution in a zip file are read too."""
    site.dist("shop-tax", "1.0", ENTRY, metadata="Summary: packed\nRequires-Dist: shop\n")
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for file in site.folder.rglob("*.dist-info/*"):
            archive.write(file, file.relative_to(site.folder).as_posix())

    found = facts.describe(discover(GROUP, [str(tmp_path / "shop.zip")])[0])

    assert (found.summary, found.requires) == ("packed", ("shop",))


def test_a_distribution_without_a_place():
    """One that only a finder knows is asked for by its name, a missing one gives no facts."""
    spec = PluginSpec(
        slug=slugify("p"), name="p", value="p", source=Source.ENTRY_POINT, distribution="pluggy"
    )
    nowhere = PluginSpec(
        slug=slugify("p"), name="p", value="p", source=Source.ENTRY_POINT, distribution="no-such"
    )

    assert facts.describe(spec).license == "MIT"
    assert facts.describe(nowhere) == PluginFacts()


def test_a_plugin_without_a_distribution_states_its_own():
    """The strings of a class serve; any other value is None."""

    class Tax:
        DESCRIPTION = "Adds tax"
        AUTHOR = "Ann"
        LICENSE = 7
        WEBSITE = ""

    (spec,) = objects.find([Tax], source=Source.BUILTIN).specs

    assert facts.describe(spec) == PluginFacts(summary="Adds tax", author="Ann")


def test_facts_are_read_once_for_each_stamp(site):
    """The same spec gives the same facts; an upgraded one is read anew, and only it is kept."""
    path = site.dist("shop-tax", "1.0", ENTRY, metadata="Summary: one\n")
    known = Facts()
    (spec,) = discover(GROUP, [str(site)])
    first = known.of(spec)
    (path / "METADATA").write_text("Summary: two\n", encoding="utf-8")
    second = known.of(spec)
    path.rename(path.with_name("shop_tax-2.0.dist-info"))
    third = known.of(discover(GROUP, [str(site)])[0])

    assert first is second
    assert (first.summary, third.summary) == ("one", "two")


def test_reading_facts_imports_little(site):
    """Neither email nor packaging nor importlib_metadata is needed for ordinary metadata."""
    site.dist("shop-tax", "1.0", ENTRY, metadata="Author-email: Ann <a@b.org>\nRequires-Dist: x\n")
    code = """
        import sys
        from plugreg.discovery import discover, facts
        (spec,) = discover("shop.plugins", sys.argv[1:])
        found = facts.describe(spec)
        assert (found.author, found.requires) == ("Ann", ("x",))
        heavy = {"email", "packaging", "importlib_metadata"}
        print(*sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(site)],
        env={**os.environ, "PYTHONPATH": str(Path(facts.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.split(), done.stderr) == ([], "")
