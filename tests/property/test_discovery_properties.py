"""Discovery agrees with importlib-metadata, on every tree of healthy distributions."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from email import message_from_string
from pathlib import Path

import importlib_metadata
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from plugreg.discovery import discover, entry_points, facts, index

GROUP = "shop.plugins"
NAMES = (
    *("shop_tax", "Shop.Tax", "SHOP__tax", "shop", "big.Store", "big_store", "x"),
    *("0day", "a..b__c", "EGG_INFO", "dist.info"),
)
KINDS = ("dist-info", "egg-info", "develop", "file")

words = st.sampled_from(("a", "b", "Big Name", "c.d", "x-y_z"))
values = st.sampled_from(("m", "m:A", "m.n:A.b", "m : A", "m:A [x]", "m:A[x, y]"))
lines = st.one_of(
    st.builds("{} = {}".format, words, values),
    st.builds("{}={}".format, words, values),
    st.builds("  {}  =  {}  ".format, words, values),
    st.sampled_from(("", "# a = b:C", "#", "   ", ";a = b:C")),
)
sections = st.tuples(
    st.sampled_from(
        (f"[{GROUP}]", f"[{GROUP}]  ", f"[ {GROUP} ]", f"[[{GROUP}]]", f"[{GROUP}.x]", "[other]")
    ),
    st.lists(lines, max_size=4),
)
texts = st.builds(
    lambda parts, end: end.join(line for head, body in parts for line in (head, *body)),
    st.lists(sections, max_size=4),
    st.sampled_from(("\n", "\r\n", "\r")),
)
distributions = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "version": st.sampled_from(("1.0", "2.0rc1", "0.1.dev3+local.1")),
        "kind": st.sampled_from(KINDS),
        "text": st.none() | texts,
    }
)
# Two of one name in one folder are no healthy tree: importlib-metadata picks one by chance.
folders = st.lists(
    distributions, max_size=4, unique_by=lambda each: canonicalize_name(each["name"])
)
trees = st.tuples(
    st.lists(st.tuples(folders, st.booleans()), min_size=1, max_size=3),
    st.lists(st.integers(0, 2), max_size=5),
)


def write(root, tree):
    """Write a tree of distributions and return the path entries that lead to it."""
    contents, order = tree
    places = []
    for number, (folder, is_egg) in enumerate(contents):
        place = root / str(number)
        if is_egg and folder:
            name, version = folder[0]["name"], folder[0]["version"]
            place /= f"{name}-{version}-py3.11.egg"
        place.mkdir(parents=True)
        places.append(str(place))
        for position, each in enumerate(folder):
            inside = is_egg and position == 0
            write_distribution(place, **each, name_of_folder="EGG-INFO" if inside else None)
    return [places[index % len(places)] for index in (*range(len(places)), *order)]


def write_distribution(place, *, name, version, kind, text, name_of_folder):
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    names = {
        "dist-info": f"{name}-{version}.dist-info",
        "egg-info": f"{name}-{version}-py3.11.egg-info",
        "develop": f"{name}.egg-info",
        "file": f"{name}-{version}.egg-info",
    }
    info = place / (name_of_folder or names[kind])
    if kind == "file" and name_of_folder is None:
        info.write_text(metadata, encoding="utf-8")
        return
    info.mkdir()
    is_wheel = kind == "dist-info" and name_of_folder is None
    (info / ("METADATA" if is_wheel else "PKG-INFO")).write_text(metadata, encoding="utf-8")
    if text is not None:
        (info / "entry_points.txt").write_bytes(text.encode())


def answers(specs):
    return {(spec.name, spec.value, spec.distribution) for spec in specs}


@settings(max_examples=150, deadline=None)
@given(trees)
def test_the_same_answer_as_importlib_metadata(tree):
    """Names, values and distributions agree, shadowing and doubled path entries included."""
    on_path(tree, lambda path: path)


@settings(max_examples=50, deadline=None)
@given(trees, st.sets(st.integers(0, 2)))
def test_the_same_answer_with_zip_files_on_the_path(tree, packed):
    """Folders of the path, some or all, are zip files, and shadow each other as before."""

    def pack(path):
        places = list(dict.fromkeys(path))
        others = {
            place: shutil.make_archive(place, "zip", place)
            for number, place in enumerate(places)
            # importlib-metadata cannot read an egg-info that is a file where it lies in a zip file.
            if number in packed and not any(map(Path.is_file, Path(place).iterdir()))
        }
        return [others.get(place, place) for place in path]

    on_path(tree, pack)


def on_path(tree, prepare):
    """Write a tree, search it in both ways, and hold the two against each other."""
    before = list(sys.path)
    with tempfile.TemporaryDirectory() as root:
        path = prepare(write(Path(root), tree))
        try:
            sys.path[:] = path
            expected = {
                (each.name, each.value, canonicalize_name(each.dist.name))
                for each in importlib_metadata.entry_points(group=GROUP)
            }
            on_sys_path = discover(GROUP)
        finally:
            sys.path[:] = before
        found = entry_points.find(GROUP, path)

        assert answers(found.specs) == expected
        assert on_sys_path == found.specs
        assert found.failures == ()


broken = st.fixed_dictionaries(
    {
        "number": st.integers(0, 2),
        "folder": st.sampled_from(
            ("bad-1.0.dist-info", "bad-1.0-py3.11.egg-info", "~ad-1.0.dist-info", "-1.dist-info")
        ),
        "metadata": st.sampled_from((None, b"", b"Name: bad\n", b"Name: \xff\xfe\n")),
        "text": st.sampled_from(
            (None, b"\xff", f"[{GROUP}]\nb = \xff".encode("latin-1"), f"[{GROUP}]\nb".encode())
        ),
    }
)


@settings(max_examples=100, deadline=None)
@given(trees, st.lists(broken, max_size=3))
def test_what_is_broken_changes_nothing_for_the_others(tree, neighbours):
    """Beside folders that are half removed, not UTF-8 or without a name, the others are found."""
    with tempfile.TemporaryDirectory() as root:
        path = write(Path(root), tree)
        expected = entry_points.find(GROUP, path).specs
        places = list(dict.fromkeys(path))
        for each in neighbours:
            info = Path(places[each["number"] % len(places)], each["folder"])
            info.mkdir(exist_ok=True)
            for name, data in (("METADATA", each["metadata"]), ("entry_points.txt", each["text"])):
                if data is not None:
                    (info / name).write_bytes(data)

        assert entry_points.find(GROUP, path).specs == expected


@settings(max_examples=50, deadline=None)
@given(trees)
def test_specs_are_sorted_unique_and_repeatable(tree):
    """Specs are sorted, each is there once, and a second scan gives equal ones."""
    with tempfile.TemporaryDirectory() as root:
        path = write(Path(root), tree)
        specs = discover(GROUP, path)
        again = discover(GROUP, path)

        assert list(specs) == sorted(specs, key=lambda spec: spec.sort_key)
        assert len(set(specs)) == len(specs)
        assert specs == again


@settings(max_examples=50, deadline=None)
@given(trees, trees, st.booleans())
def test_an_index_changes_no_answer(tree, changed, verify):
    """With an index, empty or kept, the answer is that of a search, of another tree too."""
    with tempfile.TemporaryDirectory() as root:
        file = Path(root, "index")
        for name, each in (("a", tree), ("b", changed)):
            path = write(Path(root, name), each)
            for place in Path(root, name).rglob("*"):
                os.utime(place, (1_000_000_000, 1_000_000_000))
            expected = entry_points.find(GROUP, path)

            assert index.find(file, GROUP, path, verify=verify) == expected
            assert index.find(file, GROUP, path, verify=verify) == expected
        assert file.exists()


@settings(max_examples=50, deadline=None)
@given(st.lists(folders, min_size=2, max_size=4), st.booleans())
def test_an_index_sees_what_comes_and_goes(contents, verify):
    """Whatever one folder holds after another, at once and after a while, none is missed."""
    with tempfile.TemporaryDirectory() as root:
        file, place = Path(root, "index"), Path(root, "site")
        for number, folder in enumerate(contents):
            for each in place.iterdir() if number else ():
                if each.is_dir():
                    shutil.rmtree(each)
                else:
                    each.unlink()
            place.mkdir(exist_ok=True)
            for each in folder:
                write_distribution(place, **each, name_of_folder=None)

            assert index.find(file, GROUP, [str(place)], verify=verify) == entry_points.find(
                GROUP, [str(place)]
            )
            for each in (place, *place.rglob("*")):
                os.utime(each, (1_000_000_000 + number, 1_000_000_000 + number))
            for _ in range(2):
                assert index.find(file, GROUP, [str(place)], verify=verify) == entry_points.find(
                    GROUP, [str(place)]
                )
        assert file.exists()


@given(st.text(alphabet="[]= #;\tag.\n\r\x0b\x85", max_size=60))
def test_lines_are_read_as_importlib_metadata_reads_them(text):
    """Name by name and value by value, whatever the text, as far as importlib-metadata reads it."""
    pairs = list(entry_points.parse(text, "g"))
    whole = "".join(f"{name}\n" for name in ("[g]", *text.split("\n")))
    try:
        expected = importlib_metadata.EntryPoints._from_text_for(text, None)
        every = importlib_metadata.EntryPoints._from_text_for(whole, None)
    except TypeError:
        # It ends at a line without "=", which here is a pair without a value.
        return

    assert pairs == [(each.name, each.value) for each in expected if each.group == "g"]
    assert list(entry_points.parse(whole, "g")) == [
        (each.name, each.value) for each in every if each.group == "g"
    ]


@given(st.text(alphabet="[]:. ab1-é", max_size=12))
def test_references_are_those_of_importlib_metadata(value):
    """A value is refused exactly when importlib-metadata could not load it."""
    try:
        importlib_metadata.EntryPoint("n", value, "g").module  # noqa: B018 - the check itself.
    except (ValueError, AttributeError):
        is_reference = False
    else:
        is_reference = True

    assert bool(re.match(entry_points.REFERENCE, value)) == is_reference


header_names = st.sampled_from(("Name", "Summary", "License", "Requires-Dist", "X-y"))
plain = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
header_values = st.lists(plain, min_size=1, max_size=4).map(" ".join)
folded = st.tuples(header_values, st.lists(header_values, max_size=3))


@given(st.lists(st.tuples(header_names, folded), max_size=6), st.sampled_from(("\n", "\r\n")))
def test_headers_are_those_of_email(written, end):
    """Headers, folded ones too, are read as the standard library's email reads them."""
    text = ""
    for name, (value, more) in written:
        text += f"{name}: {value}{end}" + "".join(f"        {line}{end}" for line in more)
    text += f"{end}Summary: not this one{end}"
    expected = [
        (name.lower(), " ".join(value.split())) for name, value in message_from_string(text).items()
    ]

    assert list(facts.headers(text)) == expected
