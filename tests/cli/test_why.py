"""``plugreg why``: each stage, in each state, and for names that are not known."""

from __future__ import annotations

import pytest

BROKEN = "raise RuntimeError('boom')\n"


@pytest.fixture
def filled(shop):
    """Return a shop with a plugin for each state."""
    shop.plugin("discount")
    shop.plugin("loyalty", metadata="Requires-Dist: shop-discount\n")
    shop.plugin("broken", BROKEN)
    shop.plugin("future", metadata="Requires-Dist: shop>=9\n")
    shop.plugin("banned")
    shop.options["blocked"] = ["banned"]
    return shop


def stages(shop, slug):
    """Return the stages, and the reason of the first that was not passed."""
    done = shop.run("why", slug, "--json")
    assert done.code == 0
    (row,) = done.document["plugins"]
    failed = [stage for stage in row["stages"] if stage["ok"] is False]
    return row["state"], failed[0]["stage"] if failed else None, failed and failed[0]["reason"]


class TestStates:
    def test_active(self, filled):
        """Nothing failed, in the process that is heard."""
        filled.wish(discount=True)
        with filled.serving():
            assert stages(filled, "discount")[:2] == ("active", None)

    def test_inactive(self, filled):
        """With the command that switches it on."""
        with filled.serving():
            state, stage, reason = stages(filled, "discount")

        assert (state, stage) == ("inactive", "wanted")
        assert "plugreg activate discount" in reason

    def test_failed(self, filled):
        """With the process and the message, after that process has ended, too."""
        filled.wish(broken=True)
        with filled.serving():
            state, stage, reason = stages(filled, "broken")

        assert (state, stage) == ("failed", "import")
        assert "web" in reason
        assert "boom" in reason
        assert stages(filled, "broken")[1] == "import"

    def test_a_failure_from_before_it_was_switched_off(self, filled):
        """It is history, and no fault now."""
        filled.wish(broken=True)
        with filled.serving():
            pass
        filled.wish(broken=False)

        (row,) = filled.run("why", "broken", "--json").document["plugins"]

        (stage,) = [stage for stage in row["stages"] if stage["stage"] == "import"]
        assert stage["ok"] is None
        assert stage["reason"].startswith("failed before it was switched off, in web (pid ")
        assert [s["stage"] for s in row["stages"] if s["ok"] is False] == ["wanted"]

    def test_a_need_that_is_off(self, filled):
        """With the command that switches it on."""
        filled.wish(loyalty=True)

        _, stage, reason = stages(filled, "loyalty")

        assert stage == "resolve"
        assert "plugreg activate discount" in reason

    def test_incompatible(self, filled):
        """With the versions."""
        filled.wish(future=True)
        with filled.serving():
            state, stage, reason = stages(filled, "future")

        assert (state, stage) == ("incompatible", "resolve")
        assert "needs shop>=9" in reason

    def test_blocked(self, filled):
        """By the host."""
        assert stages(filled, "banned")[:2] == ("blocked", "permission")

    def test_missing(self, filled, site):
        """With what to install."""
        filled.wish(discount=True)
        with filled.serving():
            pass
        for path in sorted(site.folder.glob("shop_discount*/*")):
            path.unlink()
        next(site.folder.glob("shop_discount*.dist-info")).rmdir()

        assert stages(filled, "discount") == (
            "missing",
            "discovery",
            "is not installed any more; install shop-discount",
        )

    def test_the_last_probe_is_told(self, filled):
        """Where no process has tried it."""
        filled.run("probe", "broken")
        filled.wish(broken=True)

        _, stage, reason = stages(filled, "broken")

        assert stage == "import"
        assert "boom" in reason

    def test_people_see_signs(self, filled):
        """A line for each stage."""
        out = filled.run("why", "discount").out

        assert out.splitlines()[0] == "✓ discovery  shop-discount 1.0"
        assert "✗ wanted" in out


class TestUnknownNames:
    def test_a_near_name(self, filled):
        """Exit code 3, with the nearest name."""
        done = filled.run("why", "discuont")

        assert done.code == 3
        assert "did you mean 'discount'?" in done.err

    def test_another_group(self, filled, site):
        """The distribution that has such an entry point is named."""
        site.dist("other-thing", "1.0", {"other.plugins": {"thing": "thing:Thing"}})

        done = filled.run("why", "thing", "--json")

        assert done.code == 3
        (row,) = done.document["plugins"]
        assert row["hints"] == ["other-thing has an entry point 'thing' in group 'other.plugins'"]

    def test_no_entry_point(self, filled, site):
        """A distribution of that name that provides no plugin."""
        site.dist("shop-stamps", "1.0")

        done = filled.run("why", "stamps")

        assert (done.code, "shop-stamps is installed, but with no entry point" in done.err) == (
            3,
            True,
        )
