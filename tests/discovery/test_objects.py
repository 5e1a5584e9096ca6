"""Plugins that the host gives as objects are described without running anything of them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from plugreg import discovery
from plugreg.discovery import objects
from plugreg.records import Source, Stage


class Tax:
    pass


class Named(Tax):
    NAME = "Sales Tax"
    VERSION = "1.0"
    AUTHOR = 7


class Slugged(Named):
    SLUG = "Own Slug"


class Hostile(type):
    def __getattribute__(cls, name):
        raise SystemExit(name)


def unfriendly():
    """Make a class that no attribute can be read of; pytest would read some of a global one."""

    class Unfriendly(metaclass=Hostile):
        NAME = "unfriendly"

    return Unfriendly


class Guarded:
    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError("eq")

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("repr")


class Computed:
    @property
    def NAME(self):
        raise RuntimeError("run")


def only(given, source=Source.BUILTIN):
    found = objects.find([given], source=source)
    assert found.failures == ()
    (spec,) = found.specs
    return spec


class TestWhatIsFound:
    @pytest.mark.parametrize(
        ("given", "slug", "name", "value"),
        [
            (Tax, "tax", "Tax", f"{__name__}:Tax"),
            (Named, "sales-tax", "Sales Tax", f"{__name__}:Named"),
            (Slugged, "own-slug", "Sales Tax", f"{__name__}:Slugged"),
            (("My Tax", Slugged), "my-tax", "My Tax", f"{__name__}:Slugged"),
            ("shop.tax:Tax.Inner", "inner", "Inner", "shop.tax:Tax.Inner"),
            ("shop.tax", "tax", "tax", "shop.tax"),
            (("vat", "shop.tax:Tax"), "vat", "vat", "shop.tax:Tax"),
            (Computed, "computed", "Computed", f"{__name__}:Computed"),
        ],
    )
    def test_names(self, given, slug, name, value):
        """The slug is the pair's name, else SLUG, NAME, or the last name of the object."""
        spec = only(given)

        assert (spec.slug, spec.name, spec.value) == (slug, name, value)
        assert spec.source is Source.BUILTIN

    def test_an_instance_is_named_after_its_class(self):
        """An object that is no class is the plugin itself; its own attributes come first."""
        instance = Named()
        instance.NAME = "mine"

        spec = only(instance)

        assert (spec.slug, spec.value) == ("mine", f"{__name__}:Named")
        assert spec.target is instance

    def test_a_module(self):
        """A module object is a plugin, called by the last part of its name."""
        module = ModuleType("shop.hooks")
        module.TITLE = "Hooks"  # type: ignore[attr-defined]

        spec = only(module)

        assert (spec.slug, spec.value, spec.target) == ("hooks", "shop.hooks", module)
        assert spec.attributes == {"TITLE": "Hooks"}

    def test_texts_alone_are_attributes(self):
        """An attribute of another type than a string is left out, an inherited one is not."""
        assert only(Slugged).attributes == {
            "SLUG": "Own Slug",
            "NAME": "Sales Tax",
            "VERSION": "1.0",
        }

    def test_a_reference_is_not_imported(self):
        """A text stays a text until it is loaded."""
        sys.modules.pop("this", None)

        spec = only("this:s")

        assert spec.target is None
        assert "this" not in sys.modules

    @pytest.mark.parametrize("kind", [Guarded, Computed])
    def test_no_code_of_an_instance_runs(self, kind):
        """Properties and __getattribute__ have no say, and nothing is compared."""
        instance = kind()

        found = objects.find([instance, instance], source=Source.MANUAL)

        (spec,) = found.specs
        assert found.failures == ()
        assert spec.slug == kind.__name__.lower()
        assert spec.target is instance

    @pytest.mark.parametrize("source", [Source.SAMPLE, Source.BROUGHT])
    def test_the_order_given_does_not_matter(self, source):
        """Specs are sorted by slug."""
        given = [Named, ("a", Tax), "m:Z"]

        assert objects.find(given, source=source) == objects.find(reversed(given), source=source)

    def test_builtins_keep_their_order(self):
        """Builtins are sorted as the host gave them."""
        given = [("z", Tax), "m:Y", ("a", Tax)]

        found = objects.find(given, source=Source.BUILTIN)

        assert [spec.slug for spec in found.specs] == ["z", "y", "a"]

    def test_the_same_object_counts_once(self):
        """An object given twice is one plugin, two objects of a class are two."""
        first, second = Tax(), Tax()

        assert len(objects.find([first, Tax, first, Tax], source=Source.BUILTIN).specs) == 2
        assert len(objects.find([first, second], source=Source.BUILTIN).specs) == 2


class TestRefused:
    @pytest.mark.parametrize(
        ("given", "slug"),
        [
            ("not a module!", "not-a-module"),
            ("", ""),
            ("m:A [extra]", "m-a-extra"),
            (("ui", Tax), "ui"),
            (("tea", None), "tea"),
            (None, "none"),
            (("!!!", Tax), f"{__name__}:Tax"),
        ],
    )
    def test_a_failure_hides_nobody(self, given, slug):
        """A bad reference and a bad slug are failures with a name, and the others are found."""
        found = objects.find([given, Named], source=Source.BUILTIN)

        assert [spec.slug for spec in found.specs] == ["sales-tax"]
        assert [(each.stage, each.slug) for each in found.failures] == [(Stage.DISCOVERY, slug)]

    def test_a_hostile_metaclass(self):
        """A class that refuses every attribute is a failure with its name, and hides nobody."""
        found = objects.find([unfriendly(), Named, ("mine", unfriendly())], source=Source.BUILTIN)

        assert [spec.slug for spec in found.specs] == ["sales-tax"]
        assert [each.slug for each in found.failures] == [
            "mine",
            "unfriendly.<locals>.Unfriendly",
        ]


class TestAllSources:
    def test_the_order_of_sources(self, site, tmp_path):
        """Builtins come first, then samples, directories and entry points, each by slug."""
        site.dist("d", "1.0", {"shop.plugins": {"d": "d:D", "c": "c:C"}})
        site.dist("e", "1.0", {"shop.plugins": {"b": "b:B"}})
        for name in ("samples", "plugins"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "file.py").write_text("class A: NAME = 'a'", encoding="utf-8")
        sources = discovery.Sources(
            group="shop.plugins",
            builtin=(("z", Tax),),
            samples=(("y", Tax), str(tmp_path / "samples"), tmp_path / "samples"),
            directories=(tmp_path / "plugins", f"{tmp_path}/plugins/"),
            path=[str(site)],
        )

        found = sources.find()

        assert found.failures == ()
        assert [(spec.source, spec.slug) for spec in found.specs] == [
            (Source.BUILTIN, "z"),
            (Source.SAMPLE, "a"),
            (Source.SAMPLE, "y"),
            (Source.DIRECTORY, "a"),
            (Source.ENTRY_POINT, "b"),
            (Source.ENTRY_POINT, "c"),
            (Source.ENTRY_POINT, "d"),
        ]

    def test_a_source_that_fails_hides_no_other(self, tmp_path):
        """A folder that is missing, and a path that is none, are failures of their own."""
        sources = discovery.Sources(
            group="g", builtin=(Tax,), directories=(tmp_path / "missing", "nul\0"), path=()
        )

        found = sources.find()

        assert [spec.slug for spec in found.specs] == ["tax"]
        assert [failure.slug for failure in found.failures] == [str(tmp_path / "missing"), "nul\0"]

    def test_a_sample_object_is_not_asked_whether_it_is_a_path(self):
        """Telling objects from folders runs no code of an object."""
        found = discovery.Sources(group="g", samples=(Guarded(), ""), path=()).find()

        assert [spec.slug for spec in found.specs] == ["guarded"]
        assert [failure.slug for failure in found.failures] == [""]

    def test_restricted_to_what_is_known(self, site):
        """Of a new search, new plugins are left out; known ones are as they are now."""
        path = site.dist("a", "1.0", {"g": {"a": "a:A"}})
        sources = discovery.Sources(group="g", path=[str(site)])
        known = sources.find()
        path.rename(path.with_name("a-2.0.dist-info"))
        site.dist("b", "1.0", {"g": {"b": "b:B"}})

        found = discovery.restricted(sources.find(), known)

        assert [(spec.slug, spec.version) for spec in found.specs] == [("a", "2.0")]
