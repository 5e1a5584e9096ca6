"""``plugreg bisect``: the smallest set of plugins with which a command fails."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg.cli.commands.bisect import Search

SLUGS = [f"p{number}" for number in range(8)]


class TestSearch:
    @given(st.sets(st.sampled_from(SLUGS), min_size=1, max_size=3))
    def test_finds_exactly_those_that_fail_together(self, culprits):
        """One plugin, a pair or more, wherever they stand."""
        search = Search(dict.fromkeys(SLUGS, ()), lambda slugs: culprits <= {*slugs})

        assert {*search.find()} == culprits

    @given(st.sampled_from(SLUGS), st.data())
    def test_what_a_plugin_needs_comes_along_and_is_not_blamed(self, culprit, data):
        """Each set that is tried has all that its plugins need."""
        place = SLUGS.index(culprit)
        needs = dict.fromkeys(SLUGS, ())
        needs[culprit] = tuple(data.draw(st.sets(st.sampled_from(SLUGS[:place]))) if place else ())
        tried = []

        def fails(slugs):
            tried.append({*slugs})
            return culprit in slugs

        assert Search(needs, fails).find() == (culprit,)
        assert all({*needs[culprit]} <= slugs for slugs in tried if culprit in slugs)

    @settings(max_examples=30)
    @given(st.sampled_from(SLUGS), st.data())
    def test_a_plugin_that_others_need_is_blamed_itself(self, culprit, data):
        """Whichever of those that bring it along is tried first."""
        needs = {
            slug: tuple(data.draw(st.sets(st.sampled_from(SLUGS[place + 1 :]))))
            for place, slug in enumerate(SLUGS[:-1])
        }
        needs[SLUGS[-1]] = ()

        assert Search(needs, lambda slugs: culprit in slugs).find() == (culprit,)

    def test_plugins_that_need_each_other_are_blamed_together(self):
        """None of them can be left out."""
        search = Search({"a": ("b",), "b": ("a",), "c": ()}, lambda slugs: "a" in slugs)

        assert search.find() == ("a", "b")

    def test_no_set_is_tried_twice(self):
        """Even of 64 plugins a single one is found in few runs."""
        slugs = [f"p{number}" for number in range(64)]
        tried = []

        def fails(chosen):
            tried.append(frozenset(chosen))
            return "p42" in chosen

        assert Search(dict.fromkeys(slugs, ()), fails).find() == ("p42",)
        assert len(tried) == len({*tried}) <= 30

    @pytest.mark.parametrize("answer", [True, False])
    def test_no_plugin_is_to_blame(self, answer):
        """It fails without any, or succeeds with all."""
        search = Search({"a": (), "b": ()}, lambda slugs: answer)

        assert search.find() == ()
        assert search.verdict


@pytest.fixture
def filled(shop):
    """Return a shop with five plugins that are on, of which one needs another."""
    for slug in ("a", "b", "c", "d"):
        shop.plugin(slug)
    shop.plugin("e", metadata="Requires-Dist: shop-a\n")
    shop.wish(a=True, b=True, c=True, d=True, e=True)
    return shop


FAILS = "import os, sys; sys.exit({} <= {{*os.environ['PLUGREG_ONLY'].split(',')}})"


class TestCommand:
    def test_finds_a_pair(self, filled):
        """By running the command, whose output goes to standard error."""
        done = filled.program(
            "bisect", "--json", "--", sys.executable, "-c", FAILS.format({"b", "d"})
        )

        assert done.code == 0
        assert done.document["culprits"] == ["b", "d"]

    def test_what_it_needs_is_not_blamed(self, filled):
        """The plugin that fails, without the one that it needs."""
        done = filled.program("bisect", sys.executable, "-c", FAILS.format({"e"}))

        assert (done.code, done.out.splitlines()[0]) == (0, "e")

    def test_none(self, filled):
        """Exit code 1."""
        assert filled.program("bisect", "true").code == 1
        assert filled.program("bisect", "false").code == 1
        assert filled.program("bisect", "there-is-no-such-program").code == 2

    def test_nothing_is_stored(self, filled):
        """Nor is the command run in safe mode."""
        before = filled.store.read_bytes()
        code = "import os, sys; sys.exit('PLUGREG_SAFE_MODE' in os.environ)"

        assert filled.program("bisect", "--", sys.executable, "-c", code).code == 1
        assert filled.store.read_bytes() == before

    def test_asks_without_a_command(self, filled):
        """Good or bad, until it is found."""
        answers = "".join("bad\n" if bad else "g\n" for bad in (1, 0, 0, 0, 1, 1, 1))
        done = filled.run("bisect", typed=answers)

        assert (done.code, done.out.splitlines()[0]) == (0, "d")
        assert "PLUGREG_ONLY=a,b,c,d,e" in done.err

    def test_the_options_of_the_command_are_its_own(self, filled):
        """A word behind the first word is not an option of plugreg."""
        done = filled.program("bisect", sys.executable, "--version")

        assert (done.code, "Python" in done.err) == (1, True)
