"""``status``, ``errors`` and ``processes``: of all processes."""

from __future__ import annotations

import time
from typing import Final

import pytest

from plugreg import CircuitPolicy

LONG: Final = 60.0

FAULTY = """
from plugreg import Plugin, hookimpl

class Discount(Plugin):
    @hookimpl
    def price(self, item: str) -> float:
        raise ValueError(item)
"""

BROKEN = "raise RuntimeError('boom')\n"


@pytest.fixture
def broken(shop):
    """Return a shop in which a plugin failed in a process that has ended."""
    shop.plugin("discount")
    shop.plugin("broken", BROKEN)
    shop.wish(discount=True, broken=True)
    with shop.serving():
        pass
    return shop


def _status(shop, registry, code):
    """Let a process store its failures, as its watching would, until the check says so."""
    deadline = time.monotonic() + LONG
    while True:
        registry.shared.keep_up()
        done = shop.run("status", "--check", "--json")
        if done.code == code or time.monotonic() > deadline:
            assert done.code == code
            return done
        time.sleep(0.2)


class TestErrors:
    def test_failures_outlive_their_process(self, broken):
        """With name and number of the process."""
        (row,) = broken.run("errors", "--json").document["failures"]

        assert (row["slug"], row["stage"], row["process"]) == ("broken", "import", "web")
        assert "boom" in row["message"]
        assert "traceback" not in row

    def test_filters(self, broken):
        """By plugin, stage and time."""
        count = ("--format", "count")
        assert broken.run("errors", "discount", *count).out == "0\n"
        assert broken.run("errors", "--stage", "call", *count).out == "0\n"
        assert broken.run("errors", "--since", "1h", *count).out == "1\n"
        assert broken.run("errors", "--since", "2999-01-01", *count).out == "0\n"
        assert broken.run("errors", "--since", "soon").code == 2
        assert broken.run("errors", "--since", "999999d").code == 2
        assert broken.run("errors", "nope").code == 3

    def test_tracebacks(self, broken):
        """On demand."""
        done = broken.run("errors", "broken", "--traceback")

        assert "RuntimeError: boom" in done.out
        (row,) = broken.run("errors", "--traceback", "--json").document["failures"]
        assert row["traceback"].startswith("Traceback")

    def test_list_knows_who_failed(self, broken):
        """In any process."""
        assert broken.run("list", "--failed", "--format", "names").out == "broken\n"


class TestStatus:
    def test_check(self, broken):
        """1 while a wanted plugin serves nowhere, 0 once all serve."""
        assert broken.run("status").code == 0
        assert broken.run("status", "--check").code == 1
        broken.wish(broken=False)
        with broken.serving():
            done = broken.run("status", "--check", "--json")

        assert done.code == 0
        assert done.document["summary"]["serving"] == 1

    def test_an_open_circuit_in_another_process(self, shop):
        """The plugin is active there, and is not called; it serves again once it was reset."""
        shop.plugin("discount", FAULTY)
        shop.wish(discount=True)
        with shop.serving(circuit=CircuitPolicy(max_failures=1)) as registry:
            assert shop.run("status", "--check").code == 0
            registry.call("price", item="tea")
            done = _status(shop, registry, code=1)
            (row,) = done.document["plugins"]
            assert (row["slug"], row["state"]) == ("discount", "active")
            assert "circuit has opened" in row["why"]
            repairs = shop.run("doctor", "--json").document["repairs"]
            assert [row["slug"] for row in repairs if row["code"] == "P012"] == ["discount"]
            registry.reset("discount")
            _status(shop, registry, code=0)

    def test_without_a_process_nothing_serves(self, broken):
        """It is not known that anything does."""
        broken.wish(broken=False)

        assert broken.run("status", "--check").code == 1
        assert broken.run("status").out.splitlines()[-1] == (
            "2 plugins, 1 wanted, 0 of them serve; 0 live processes"
        )


class TestProcesses:
    def test_lists_those_that_are_heard(self, broken):
        """And not the one that lists."""
        assert broken.run("processes", "--json").document["processes"] == []
        with broken.serving():
            (row,) = broken.run("processes", "--json").document["processes"]

        assert (row["name"], row["active"]) == ("web", ["discount"])
