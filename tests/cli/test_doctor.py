"""``plugreg doctor``: problems, with the command that solves each."""

from __future__ import annotations

import ctypes
import shlex

import pytest

from plugreg.storage import TinyDBStorage

PLUGIN = """
from plugreg import Plugin, hookimpl

class Discount(Plugin):
    @hookimpl
    def price(self, item: str) -> float:
        return 1.0
"""
BROKEN = "raise RuntimeError('boom')\n"


@pytest.fixture
def filled(shop):
    """Return a shop with a plugin that works and one that raises."""
    shop.plugin("discount")
    shop.plugin("broken", BROKEN)
    return shop


class TestDoctor:
    def test_a_healthy_host(self, filled):
        """Nothing but the verdict."""
        filled.wish(discount=True)

        done = filled.run("doctor")

        assert (done.code, done.out) == (0, "ok: nothing is wrong\n")
        assert filled.run("doctor", "--json").document["repairs"] == []

    def test_what_it_says_to_do_can_be_done(self, filled):
        """A plugin whose need is off: the command switches that on, and then all is well."""
        filled.plugin("loyalty", metadata="Requires-Dist: shop-discount\n")
        filled.wish(loyalty=True)

        done = filled.run("doctor", "--json")
        assert done.code == 1
        (row,) = done.document["repairs"]
        assert row["slug"] == "loyalty"
        commands = [action["command"] for action in row["actions"]]
        assert "plugreg activate discount" in commands
        assert "plugreg activate discount" in filled.run("doctor").out

        filled.run(*shlex.split("activate discount"))
        assert filled.run("doctor").code == 0

    def test_a_problem_of_no_plugin(self, filled):
        """Such as a store that others can read: in a line like the others."""
        filled.wish(discount=True)
        filled.store.chmod(0o644)

        done = filled.run("doctor")

        assert done.code == 0
        assert "other users of this machine can use" in done.out
        assert "see operator/repairs.md#p" in done.out

    def test_a_plugin_that_serves_with_a_fault(self, filled):
        """It is no error where the process serves it, as in that process itself."""
        filled.plugin("odd", PLUGIN.replace("def price(self", "def prize(self"))
        filled.wish(odd=True)
        with filled.serving() as web:
            assert [repair.severity for repair in web.repairs()] == ["warning"]

            done = filled.run("doctor", "--json")

        assert done.code == 0
        assert [row["severity"] for row in done.document["repairs"]] == ["warning"]

    def test_a_damaged_row(self, filled):
        """Of whatever table, with the command that sets it aside."""
        filled.wish(discount=True)
        storage = TinyDBStorage(filled.store)
        with storage.transaction() as transaction:
            transaction.put("plugins", "discount", {"pk": "?"})
        storage.close()

        done = filled.run("doctor", "--json")

        assert done.code == 1
        commands = [a["command"] for row in done.document["repairs"] for a in row["actions"]]
        assert "plugreg store repair --set-aside plugins:discount" in commands

    def test_a_store_that_cannot_be_written(self, filled):
        """Who may read it only is told before a change fails."""
        filled.wish(discount=True)
        filled.store.chmod(0o400)

        done = filled.program("doctor", preexec_fn=_obey_modes)

        assert "cannot be written by this user" in done.out


def _obey_modes():
    """Have root obey the modes of files, as others do: prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
