"""Resolving: which plugins are loaded, in which order, and why the others are not."""

from __future__ import annotations

import random
import subprocess
import sys
from types import SimpleNamespace

import pytest

from plugreg._lifecycle.resolve import bounds_fault, resolve, settle
from plugreg._support.slugs import Slug
from plugreg.records import (
    HostRules,
    PluginFacts,
    PluginRow,
    PluginSpec,
    PluginState,
    Source,
    Stage,
)


def spec(slug, *, distribution="", source=Source.ENTRY_POINT, value=None, **fields):
    """Make a spec as an entry point of the distribution of the same name gives it."""
    if source is Source.ENTRY_POINT:
        fields["distribution"] = distribution or slug
    return PluginSpec(
        slug=Slug(slug), name=slug, value=value or f"{slug}:Plugin", source=source, **fields
    )


def row_of(slug, active=True, distribution=None):
    return PluginRow(
        slug=Slug(slug), pk=1, active=active, name=slug, distribution=distribution or slug
    )


def plan_of(specs, requires=(), *, rows=(), describe=None, **rules):
    """Resolve; all specs are wanted active unless ``rows`` are given by slug."""
    lines = dict(requires)
    rules.setdefault("new_plugins_active", True)
    rules.setdefault("distribution", "shop")
    return resolve(
        settle(specs),
        {row.slug: row for row in rows},
        HostRules(**rules),
        describe or (lambda spec: PluginFacts(requires=tuple(lines.get(spec.slug, ())))),
    )


def order_of(plan):
    return [spec.slug for spec in plan.order]


def messages_of(plan):
    """Return the messages of the failure records, by slug; all are of the stage resolve."""
    assert {failure.stage for failure in plan.failures} <= {Stage.RESOLVE}
    assert len({failure.slug for failure in plan.failures}) == len(plan.failures)
    return {failure.slug: failure.message for failure in plan.failures}


class TestHeld:
    """Each plugin that stays off has the state and the reason of its case."""

    def test_quarantined(self):
        """In the order of their slugs, whatever the hashes of this process are."""
        slugs = [f"p{n:02}" for n in range(30)]
        plan = resolve(
            settle([spec(slug) for slug in slugs]),
            {},
            HostRules(new_plugins_active=True),
            lambda _: PluginFacts(),
            quarantined=dict.fromkeys(slugs, "ended the process 7 of this machine"),
        )
        assert [failure.slug for failure in plan.failures] == slugs
        assert {held.reason for held in plan.held.values()} == {"ended the process that loaded it"}

    def test_blocked(self):
        """A blocked plugin is so whatever is wanted, is not described, and is no failure."""
        plan = plan_of(
            [spec("a")], blocked=frozenset({"a"}), rows=[row_of("a")], describe=pytest.fail
        )
        assert plan.held["a"].state is PluginState.BLOCKED
        assert plan.held["a"].reason == "is blocked by the host"
        assert order_of(plan) == []
        assert plan.failures == ()

    def test_not_allowed(self):
        """Where the host allows some, the others are blocked."""
        plan = plan_of([spec("a"), spec("b")], allowed=frozenset({"b"}))
        assert plan.held["a"].state is PluginState.BLOCKED
        assert "allows" in plan.held["a"].reason
        assert order_of(plan) == ["b"]

    @pytest.mark.parametrize("new_is_active", [True, False])
    def test_inactive(self, new_is_active):
        """A stored row counts; only where there is none the host's choice for new plugins does."""
        plan = plan_of(
            [spec("on"), spec("off"), spec("new")],
            rows=[row_of("on"), row_of("off", active=False)],
            new_plugins_active=new_is_active,
        )
        assert order_of(plan) == (["new", "on"] if new_is_active else ["on"])
        assert plan.held["off"].state is PluginState.INACTIVE
        assert plan.failures == ()

    def test_mandatory(self):
        """A mandatory plugin is loaded against every desired state."""
        plan = plan_of([spec("a")], rows=[row_of("a", active=False)], mandatory=frozenset({"a"}))
        assert order_of(plan) == ["a"]

    def test_by_hand(self):
        """An object that the host registered by hand is loaded without a row, unless blocked."""
        given = [
            spec("a", source=Source.MANUAL, target=object()),
            spec("b", source=Source.MANUAL, target=object()),
        ]
        plan = plan_of(given, new_plugins_active=False, blocked=frozenset({"b"}))
        assert order_of(plan) == ["a"]
        assert plan.held["b"].state is PluginState.BLOCKED

    def test_safe_mode(self):
        """Safe mode keeps all off, mandatory ones too; blocked ones are still reported apart."""
        plan = plan_of(
            [spec("a"), spec("b"), spec("c", source=Source.MANUAL, target=object())],
            safe_mode=True,
            mandatory=frozenset({"a"}),
            blocked=frozenset({"b"}),
        )
        assert order_of(plan) == []
        assert {slug: known.state for slug, known in plan.held.items()} == {
            "a": PluginState.INACTIVE,
            "b": PluginState.BLOCKED,
            "c": PluginState.INACTIVE,
        }
        assert "safe mode" in plan.held["a"].reason

    def test_missing(self):
        """A row without a package is missing, and a failure only where it is mandatory."""
        plan = plan_of(
            [], rows=[row_of("a"), row_of("b", active=False)], mandatory=frozenset({"c"})
        )
        assert {known.state for known in plan.held.values()} == {PluginState.MISSING}
        assert list(plan.held) == ["a", "b", "c"]
        assert list(messages_of(plan)) == ["c"]
        assert "mandatory=" in messages_of(plan)["c"]

    def test_every_held_one_has_a_reason_and_is_not_in_the_order(self):
        """A plugin is either in the order or held, never both and never neither."""
        specs = [spec("a"), spec("b"), spec("c"), spec("d")]
        plan = plan_of(specs, {"a": ["b"], "b": ["a"], "c": ["a"]})
        assert sorted([*order_of(plan), *plan.held]) == ["a", "b", "c", "d"]
        assert all(known.reason for known in plan.held.values())


class TestDuplicates:
    def test_loser_is_reported_with_both_distributions(self):
        """Two distributions with one slug: the first by name wins, the other one is a failure."""
        one, two = spec("tea", distribution="a-tea"), spec("tea", distribution="b-tea")
        other = spec("milk")
        plan = plan_of([two, other, one])
        assert plan.specs["tea"] is one
        assert order_of(plan) == ["milk", "tea"]
        (failure,) = plan.failures
        assert (failure.stage, failure.slug) == (Stage.DISCOVERY, "tea")
        assert "'a-tea'" in failure.message
        assert "'b-tea'" in failure.message
        assert "'b-tea'" in failure.subject

    def test_precedence_of_sources(self):
        """By hand, builtin, samples, directories, entry points, brought: that is who wins."""
        specs = [
            spec("tea", source=source, value=source.name, path=source.name) for source in Source
        ]
        for first in range(len(specs)):
            plan = plan_of(reversed(specs[first:]))
            assert plan.specs["tea"] is specs[first]
            assert len(plan.failures) == len(specs) - first - 1

    def test_same_plugin_found_twice_counts_once(self):
        """An editable install beside its wheel, or a doubled path, is no duplicate."""
        plan = plan_of([spec("tea", path="/one"), spec("tea", path="/two", version="2")])
        assert order_of(plan) == ["tea"]
        assert plan.failures == ()

    def test_same_reference_by_host_and_entry_point_counts_once(self):
        """A builtin that also has an entry point is one plugin."""
        plan = plan_of([spec("tea"), spec("tea", source=Source.BUILTIN)])
        assert plan.specs["tea"].source is Source.BUILTIN
        assert plan.failures == ()

    def test_same_file_name_in_two_folders_is_two_plugins(self):
        """Two folders' modules of one name have nothing in common but the name."""
        specs = [
            spec("tea", source=Source.DIRECTORY, path="/one/tea.py"),
            spec("tea", source=Source.DIRECTORY, path="/two/tea.py"),
        ]
        assert len(plan_of(specs).failures) == 1
        assert plan_of([specs[0], specs[0]]).failures == ()

    def test_two_objects_of_one_class_are_two_plugins(self):
        """Nothing disappears silently: the second instance of a class is reported."""
        one, two = SimpleNamespace(), SimpleNamespace()
        specs = [spec("tea", source=Source.BUILTIN, target=target) for target in (one, two)]
        assert len(plan_of(specs).failures) == 1
        assert plan_of([specs[0], specs[0]]).failures == ()


class TestNeeds:
    def test_order_follows_needs(self):
        """Each plugin comes after those it needs, others in order of precedence."""
        specs = [spec(name) for name in "abcd"]
        plan = plan_of(specs, {"a": ["c>=1"], "c": ["d"]})
        assert order_of(plan) == ["b", "d", "c", "a"]
        assert plan.needs["a"] == ("c",)

    @pytest.mark.parametrize("seed", range(10))
    def test_plan_does_not_depend_on_the_order_of_specs(self, seed):
        """The same inputs, shuffled, give the same plan."""
        specs = [spec(f"p{n}", distribution=f"d{n % 7}") for n in range(20)]
        specs += [spec("p3", distribution="x"), spec("p4", source=Source.BUILTIN, value="y")]
        requires = {f"p{n}": [f"d{(n * 5) % 7}"] for n in range(20)}
        expected = plan_of(specs, requires)
        random.Random(seed).shuffle(specs)
        plan = plan_of(specs, requires)
        assert (plan.specs, plan.order, plan.held) == (
            expected.specs,
            expected.order,
            expected.held,
        )
        assert list(plan.held) == list(expected.held)
        assert [(e.slug, e.message) for e in plan.failures] == [
            (e.slug, e.message) for e in expected.failures
        ]

    def test_ranks_do_not_depend_on_who_else_is_there(self):
        """A plugin's rank stays the same when an unrelated one comes, so nobody else moves."""
        few = plan_of([spec("b"), spec("c")], {"c": ["b"]})
        many = plan_of([spec("a"), spec("b"), spec("c"), spec("d")], {"c": ["b"], "d": ["c"]})
        assert {slug: many.ranks[slug] for slug in ("b", "c")} == dict(few.ranks)
        assert sorted(many.ranks, key=many.ranks.__getitem__) == order_of(many)

    @pytest.mark.parametrize(
        ("case", "reason"),
        [
            ("inactive", "is inactive"),
            ("blocked", "is blocked by the host"),
            ("missing", "is not installed"),
        ],
    )
    def test_unmet_need_names_the_chain(self, case, reason):
        """The record of each dependant names every link down to the cause."""
        specs = [spec("a"), spec("b"), *([] if case == "missing" else [spec("c")])]
        plan = plan_of(
            specs,
            {"a": ["b"], "b": ["c"]},
            rows=[row_of("c", active=case != "inactive")],
            blocked=frozenset({"c"} if case == "blocked" else ()),
        )
        assert order_of(plan) == []
        assert messages_of(plan) == {
            "b": f"needs 'c', which {reason}",
            "a": f"needs 'b', which needs 'c', which {reason}",
        }
        assert plan.held["a"].state is PluginState.FAILED
        assert plan.held["a"].reason == messages_of(plan)["a"]

    def test_incompatible_need_names_the_chain(self):
        """A plugin that needs an incompatible plugin fails, with the range in the chain."""
        plan = plan_of([spec("a"), spec("b")], {"a": ["b"], "b": ["shop>=3"]}, version="2.4")
        assert plan.held["b"].state is PluginState.INCOMPATIBLE
        assert messages_of(plan)["a"] == f"needs 'b', which {messages_of(plan)['b']}"

    def test_host_and_own_distribution_are_no_needs(self):
        """To require the host, which may bring plugins too, or oneself, is to need no plugin."""
        specs = [spec("core", distribution="shop"), spec("a"), spec("b", distribution="a")]
        plan = plan_of(
            specs,
            {"a": ["shop>=1", "a[fast]"], "b": ["shop", "A"]},
            rows=[row_of("core", active=False, distribution="shop")],
            version="2.4",
        )
        assert plan.needs == {"a": (), "b": ()}
        assert order_of(plan) == ["a", "b"]

    def test_every_plugin_of_a_required_distribution_is_needed(self):
        """A distribution that brings two plugins is needed with both."""
        specs = [spec("a"), spec("x", distribution="pair"), spec("y", distribution="pair")]
        assert plan_of(specs, {"a": ["pair"]}).needs["a"] == ("x", "y")
        plan = plan_of(specs, {"a": ["pair"]}, rows=[row_of("y", False, "pair")])
        assert messages_of(plan) == {"a": "needs 'y', which is inactive"}

    def test_a_brought_plugin_needs_the_one_that_brought_it(self):
        """A provided plugin is loaded after its provider."""
        brought = spec("a", source=Source.BROUGHT, brought_by=Slug("z"))
        plan = plan_of([brought, spec("y"), spec("z")], {"z": ["y"]})
        assert order_of(plan) == ["y", "z", "a"]
        assert plan.needs["a"] == ("z",)

    @pytest.mark.parametrize("line", ["Z_Tea>=1", "z.tea", "z-tea (>=1)", " z-tea [x, y] >= 1 "])
    def test_names_are_compared_in_their_canonical_form(self, line):
        """PEP 503: case, dots, underscores and hyphens make no difference."""
        plan = plan_of([spec("a"), spec("tea", distribution="z-tea")], {"a": [line]})
        assert plan.needs["a"] == ("tea",)

    @pytest.mark.parametrize(
        ("line", "is_need"),
        [
            ("b; python_version >= '3'", True),
            ("b; python_version < '3'", False),
            ("b; extra == 'fast'", False),
            ("b>=1; python_version >= '3' and extra == 'fast'", False),
            ("b>=1 ; python_version < '3' or os_name != ''", True),
            ("b @ https://example.invalid/b.whl", True),
            ("b @ https://example.invalid/b.whl ; python_version < '3'", False),
            ("bb", False),
            ("b-extra", False),
        ],
    )
    def test_markers_are_evaluated_with_extras_unset(self, line, is_need):
        """Only a requirement that holds here, without extras, is a need."""
        plan = plan_of([spec("a"), spec("b")], {"a": [line]})
        assert plan.needs["a"] == (("b",) if is_need else ())

    def test_inactive_plugins_are_not_described(self):
        """No METADATA is read of a plugin that is not wanted."""
        asked = []

        def describe(spec):
            asked.append(spec.slug)
            return PluginFacts()

        plan_of([spec("a"), spec("b")], rows=[row_of("a", active=False)], describe=describe)
        assert asked == ["b"]


class TestCycles:
    def test_members_and_dependants_fail_and_nobody_else(self):
        """A cycle costs its members and their dependents; its cause is reported once."""
        specs = [spec(name) for name in ("a", "b", "c", "dependant", "needed", "other")]
        plan = plan_of(specs, {"a": ["b", "needed"], "b": ["c"], "c": ["a"], "dependant": ["b"]})
        assert order_of(plan) == ["needed", "other"]
        messages = messages_of(plan)
        assert messages["a"] == "is part of a dependency cycle: a → b → c → a"
        assert "'a'" in messages["b"]
        assert "'a'" in messages["c"]
        assert [line for line in messages.values() if "→" in line] == [messages["a"]]
        assert messages["dependant"] == "needs 'b', which is part of a dependency cycle"
        assert {plan.held[name].state for name in "abc"} == {PluginState.FAILED}

    def test_two_cycles_are_reported_apart(self):
        """Each cycle has its own cause."""
        plan = plan_of(
            [spec(name) for name in "abcd"], {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}
        )
        assert order_of(plan) == []
        assert messages_of(plan)["a"].endswith("a → b → a")
        assert messages_of(plan)["c"].endswith("c → d → c")

    def test_cycles_with_a_common_member(self):
        """Where two cycles meet, every member is held, and each has exactly one record."""
        plan = plan_of([spec(name) for name in "abc"], {"a": ["b"], "b": ["a", "c"], "c": ["b"]})
        assert order_of(plan) == []
        assert sorted(messages_of(plan)) == ["a", "b", "c"]

    def test_an_inactive_member_makes_no_cycle(self):
        """A ring that is not wanted whole is an unmet need, not a cycle."""
        plan = plan_of(
            [spec("a"), spec("b")],
            {"a": ["b"], "b": ["a"]},
            rows=[row_of("b", active=False)],
        )
        assert messages_of(plan) == {"a": "needs 'b', which is inactive"}


# Host version, specifier, and whether PEP 440 says that it contains the version. That one is asked
# of pre-releases too, since the host's version is a given and not a choice.
CONTAINED = [
    ("2.4", ">=2.4", True),
    ("2.4", ">2.4", False),
    ("2.4", ">=2.4,<3", True),
    ("2.10", ">=2.9", True),
    ("2.11.9", ">=2.11.10", False),
    ("2.4", "~=2.3", True),
    ("3.0", "~=2.3", False),
    ("2.4", "==2.*", True),
    ("2.4", "==2.4.0", True),
    ("2.4", "!=2.4", False),
    ("2.4", "===2.4", True),
    ("2.4rc1", ">=2.4", False),
    ("2.4rc1", ">=2.3", True),
    ("2.4rc1", "<2.4", False),
    ("2.4rc1", "<=2.4", True),
    ("2.4.dev3", ">=2.4.dev1", True),
    ("2.4.dev3", ">=2.4a1", False),
    ("2.4.post1", ">2.4", False),
    ("2.4.post1", ">=2.4", True),
    ("2.4+shop.7", "==2.4", True),
    ("2.4+shop.7", "<=2.4", True),
    ("2.4+shop.7", ">2.4", False),
    ("1!1.0", ">=2.4", True),
    ("2.4", "", True),
]


class TestCompatibility:
    @pytest.mark.parametrize(("version", "specifier", "fits"), CONTAINED)
    def test_requires_dist(self, version, specifier, fits):
        """The host's version is held against the specifier by PEP 440."""
        plan = plan_of([spec("a")], {"a": [f"Shop{specifier}"]}, version=version)
        assert order_of(plan) == (["a"] if fits else [])
        if not fits:
            assert plan.held["a"].state is PluginState.INCOMPATIBLE
            assert version in messages_of(plan)["a"]
            assert "shop" in messages_of(plan)["a"]

    @pytest.mark.parametrize(
        ("version", "low", "high", "fits"),
        [
            ("2.4", "2.4", "2.4", True),
            ("2.4", "2.4.0", "2.4.0.0", True),
            ("2.4.1", None, "2.4", False),
            ("2.4", "2.5", None, False),
            ("2.10", "2.9", None, True),
            ("12.3.4", "2.3.4", "20", True),
            ("10.0.0", "1", None, True),
            ("2.4rc1", "2.4", None, True),
            ("2.4.dev1", "2.4", "2.4", True),
            ("2.4+local", "2.4", "2.4", True),
            ("2.4.post3", None, "2.4", True),
            ("2.4", "2.4rc1", "2.4rc1", True),
            ("2.4", "", "", True),
            ("2.4", None, None, True),
            (None, "9", "1", True),
        ],
    )
    def test_bounds(self, version, low, high, fits):
        """MIN_VERSION and MAX_VERSION are inclusive, by release segments (section 10)."""
        attributes = {
            name: value
            for name, value in (("MIN_VERSION", low), ("MAX_VERSION", high))
            if value is not None
        }
        fault = bounds_fault(attributes, HostRules(version=version))
        assert (fault is None) is fits
        plan = plan_of([spec("a", attributes=attributes)], version=version)
        assert order_of(plan) == (["a"] if fits else [])
        if not fits:
            assert plan.held["a"].state is PluginState.INCOMPATIBLE
            assert messages_of(plan)["a"] == fault
            assert version in fault

    def test_no_host_version_means_no_check(self):
        """Without a host version nothing is incompatible."""
        assert order_of(plan_of([spec("a")], {"a": ["shop>=99"]})) == ["a"]

    def test_a_requirement_whose_marker_does_not_hold_is_no_bound(self):
        """A range for another Python shuts nobody out."""
        lines = {"a": ["shop>=9; python_version < '3'", "shop>=2; python_version >= '3'"]}
        assert order_of(plan_of([spec("a")], lines, version="2.4")) == ["a"]

    def test_ignore_compatibility(self):
        """The host can run a plugin outside its range, unreadable bounds included."""
        specs = [spec("a"), spec("b", attributes={"MIN_VERSION": "soon"}), spec("c")]
        plan = plan_of(
            specs,
            {"a": ["shop>=9"], "c": ["shop>=9"]},
            version="2.4",
            ignore_compatibility=frozenset({"a", "b"}),
        )
        assert order_of(plan) == ["a", "b"]
        assert list(messages_of(plan)) == ["c"]


UNREADABLE = [
    "b >= two",
    "b 2.0",
    "b; python_version >",
    "b; no_such_marker == 'x'",
    # Each of these raises something else than a ValueError in packaging.
    "b; 'x' in extras",
    f"b; {'(' * 3000}os_name != ''{')' * 3000}",
]


class TestUnreadable:
    @pytest.mark.parametrize("line", UNREADABLE, ids=range(len(UNREADABLE)))
    def test_an_unreadable_line_costs_its_plugin_alone(self, line):
        """A Requires-Dist line that cannot be read is one failure that quotes its beginning."""
        plan = plan_of([spec("a"), spec("b")], {"a": [line]})
        assert order_of(plan) == ["b"]
        assert plan.held["a"].state is PluginState.FAILED
        assert repr(line)[:100] in messages_of(plan)["a"]

    @pytest.mark.parametrize("line", ["other >= two", "???", "", "other; extra in extra"])
    def test_lines_about_others_are_not_read(self, line):
        """A requirement of neither the host nor a plugin's distribution is pip's business."""
        plan = plan_of([spec("a")], {"a": [line]}, version="2.4")
        assert order_of(plan) == ["a"]
        assert plan.failures == ()

    @pytest.mark.parametrize("line", ["b" + " " * 20_000 + "; os_name == ''", "b" * 20_000 + ";"])
    def test_a_long_line_takes_no_longer_than_a_long_line(self, line):
        """No line makes matching explode: this one ends at all only if it is read straight."""
        assert order_of(plan_of([spec("a"), spec("b")], {"a": [line]})) == ["a", "b"]

    @pytest.mark.parametrize("bound", ["soon", "2.x", ">=2", ("2", "4"), "1" * 5000])
    @pytest.mark.parametrize("name", ["MIN_VERSION", "MAX_VERSION"])
    def test_an_unreadable_bound_is_a_failure(self, name, bound):
        """A bound that is no version is reported by its name."""
        plan = plan_of([spec("a", attributes={name: bound}), spec("b")], version="2.4")
        assert order_of(plan) == ["b"]
        assert plan.held["a"].state is PluginState.FAILED
        assert plan.failures[0].exception_type == "ValueError"

    @pytest.mark.parametrize("error", [OSError("gone"), SystemExit(3), RecursionError()])
    def test_facts_that_cannot_be_had_are_a_failure(self, error):
        """Whatever describing a plugin raises is a fault of that plugin."""

        def describe(spec):
            if spec.slug == "a":
                raise error
            return PluginFacts()

        plan = plan_of([spec("a"), spec("b")], describe=describe)
        assert order_of(plan) == ["b"]
        assert list(messages_of(plan)) == ["a"]


PLAIN = """
import sys
from plugreg.records import PluginFacts, PluginSpec, Source
from plugreg._lifecycle.resolve import resolve, settle
from plugreg.records import HostRules

specs = [
    PluginSpec(slug=name, name=name, value=name, source=Source.ENTRY_POINT, distribution=name)
    for name in ("a", "b")
]
lines = ("shop>=2,<3", "b[fast] (>=1)", "B == 1.*")
plan = resolve(
    settle(specs),
    {},
    HostRules(version="2.4", distribution="shop", new_plugins_active=True),
    lambda spec: PluginFacts(requires=lines if spec.slug == "a" else ()),
)
print([spec.slug for spec in plan.order], "packaging.requirements" in sys.modules)
"""


def test_plain_lines_need_no_requirement_parser():
    """packaging.requirements, which is slow to import, stays out for lines without markers."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["['b',", "'a']", "False"]
