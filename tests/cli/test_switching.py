"""``activate``, ``deactivate``, ``probe``: stored states, and refusals."""

from __future__ import annotations

import sys

import pytest

from plugreg import PluginRegistry

BROKEN = "raise RuntimeError('boom')\n"
CRASH = "import os\nos._exit(3)\n"


@pytest.fixture
def filled(shop):
    """Return a shop with a plugin that works, one that needs it, one that raises, one that ends."""
    shop.plugin("discount")
    shop.plugin("loyalty", metadata="Requires-Dist: shop-discount\n")
    shop.plugin("broken", BROKEN)
    shop.plugin("crash", CRASH)
    return shop


def wanted(shop):
    rows = shop.run("list", "--json").document["plugins"]
    return [row["slug"] for row in rows if row["wanted"]]


class TestActivate:
    def test_switches_on_what_works(self, filled):
        """It is loaded in a child process first, and never in this one."""
        done = filled.run("activate", "discount", "--json")

        assert (done.code, done.document["changes"][0]["result"]) == (0, "on")
        assert wanted(filled) == ["discount"]
        assert "shop_discount" not in sys.modules
        assert filled.run("activate", "discount").out == "✓ discount: is on already\n"

    def test_stores_nothing_of_a_plugin_that_ends_its_process(self, filled):
        """Exit code 1, with the cause; --no-probe stores the wish all the same."""
        done = filled.run("activate", "crash", "--json")

        assert (done.code, done.document["error"]["code"]) == (1, "probe")
        assert "exit code 3" in done.document["error"]["message"]
        assert wanted(filled) == []
        assert filled.run("activate", "crash", "--no-probe").code == 0
        assert wanted(filled) == ["crash"]

    def test_a_plugin_that_merely_fails_is_switched_on(self, filled):
        """It is tried again at each load; the operator is told."""
        done = filled.run("activate", "broken")

        assert done.code == 0
        assert "boom" in done.out
        assert wanted(filled) == ["broken"]

    def test_each_of_several_has_its_line(self, filled):
        """One that is unknown keeps no other from it, and makes the exit code 3."""
        done = filled.run("activate", "discount", "crash", "nope", "--json")

        assert done.code == 3
        assert [row["ok"] for row in done.document["changes"]] == [True, False, False]
        assert wanted(filled) == ["discount"]
        text = filled.run("activate", "discount", "nope")
        assert "1 of 2 switched on" in text.out
        assert "✗ nope" in text.out

    def test_what_it_needs(self, filled):
        """It is named, and --cascade switches it on, too."""
        done = filled.run("activate", "loyalty")
        assert "it needs 'discount', which is off: plugreg activate discount" in done.out
        assert wanted(filled) == ["loyalty"]

        filled.run("activate", "loyalty", "--cascade")

        assert wanted(filled) == ["discount", "loyalty"]

    def test_a_need_that_ends_its_process_keeps_all_off(self, filled):
        """With --cascade all are probed first, so that no part of them is switched on."""
        filled.plugin("rely", metadata="Requires-Dist: shop-discount\nRequires-Dist: shop-crash\n")

        assert filled.run("activate", "rely", "--cascade").code == 1
        assert wanted(filled) == []

    def test_together_needs_go_first(self, filled):
        """In whatever order they are named, so that none waits for the next."""
        done = filled.run("activate", "loyalty", "discount")

        assert (done.code, done.out.splitlines()[:2]) == (0, ["✓ discount: on", "✓ loyalty: on"])

    def test_needs_of_needs(self, filled):
        """--cascade switches on indirect dependencies, too."""
        filled.plugin("far", metadata="Requires-Dist: shop-loyalty\n")

        assert filled.run("activate", "far", "--cascade").code == 0
        assert wanted(filled) == ["discount", "far", "loyalty"]

    def test_all_but_some(self, filled):
        """--all takes inactive plugins; without names and without --all nothing is done."""
        done = filled.run("activate", "--all", "--exclude", "crash", "--exclude", "broken")

        assert (done.code, wanted(filled)) == (0, ["discount", "loyalty"])
        assert filled.run("activate").code == 2
        assert filled.run("activate", "--all", "discount").code == 2


class TestDeactivate:
    def test_switches_off_what_ends_its_process(self, filled):
        """Nothing of it is imported."""
        filled.wish(crash=True)

        done = filled.run("deactivate", "crash")

        assert (done.code, done.out, wanted(filled)) == (0, "✓ crash: off\n", [])

    def test_is_refused_where_others_need_it(self, filled):
        """Exit code 4 with their names; --cascade switches them off, too."""
        filled.wish(discount=True, loyalty=True)

        done = filled.run("deactivate", "discount", "--json")

        assert (done.code, done.document["error"]["code"]) == (4, "needed")
        assert "'loyalty'" in done.document["error"]["message"]
        assert wanted(filled) == ["discount", "loyalty"]
        assert filled.run("deactivate", "discount", "--cascade").code == 0
        assert wanted(filled) == []

    def test_is_refused_where_a_mandatory_plugin_needs_it(self, filled):
        """Exit code 4, with --cascade too, since that one stays on."""
        filled.options["mandatory"] = ["loyalty"]
        filled.wish(discount=True)

        assert filled.run("deactivate", "discount", "--cascade").code == 4
        assert wanted(filled) == ["discount", "loyalty"]

    def test_together_they_may_go(self, filled):
        """Those that need it are named as well."""
        filled.wish(discount=True, loyalty=True)

        done = filled.run("deactivate", "discount", "loyalty")

        # At no time does one serve without its dependencies.
        assert (done.code, done.out.splitlines()[:2]) == (0, ["✓ loyalty: off", "✓ discount: off"])
        assert wanted(filled) == []

    def test_many_are_decided_by_one_plan(self, filled, monkeypatch):
        """And stored in one commit, however many they are."""
        slugs = [f"extra-{number}" for number in range(6)]
        for slug in slugs:
            filled.plugin(slug)
        filled.wish(**dict.fromkeys(slugs, True))
        plans = []
        outlook = PluginRegistry.outlook
        monkeypatch.setattr(
            PluginRegistry, "outlook", lambda *given: plans.append(given) or outlook(*given)
        )
        before = filled.make().storage.revision()

        assert filled.run("deactivate", *slugs).code == 0

        assert filled.make().storage.revision() == before + 1
        assert len(plans) == 2
        assert wanted(filled) == []

    def test_what_the_host_requires_stays(self, filled):
        """Exit code 4, and --all leaves it out."""
        filled.options["mandatory"] = ["discount"]
        filled.wish(broken=True)

        assert filled.run("deactivate", "discount").code == 4
        assert filled.run("deactivate", "--all").code == 0
        assert wanted(filled) == ["discount"]

    def test_what_the_host_blocks_is_not_switched_on(self, filled):
        """Exit code 4."""
        filled.options["blocked"] = ["discount"]

        assert filled.run("activate", "discount").code == 4

    def test_what_is_not_installed_any_more(self, filled, site):
        """It can be switched off."""
        filled.wish(crash=True)
        for path in sorted(site.folder.glob("shop_crash*/*")):
            path.unlink()
        next(site.folder.glob("shop_crash*.dist-info")).rmdir()

        assert filled.run("list", "--state", "missing", "--format", "names").out == "crash\n"
        assert filled.run("deactivate", "crash").code == 0


class TestProbe:
    def test_reports_how_a_plugin_ends(self, filled):
        """Exit code 1 unless it was constructed."""
        assert filled.run("probe", "discount").code == 0
        done = filled.run("probe", "discount", "crash", "--json")

        assert done.code == 1
        outcomes = {row["slug"]: row["outcome"] for row in done.document["plugins"]}
        assert outcomes == {"discount": "ok", "crash": "exit"}
        assert filled.run("probe", "nope").code == 3
