"""The examples in the docs, run as they stand."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import plugreg

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])}
LONG = 60.0
"""Seconds after which a test gives up; what it waits for takes far less."""


@pytest.fixture
def start():
    """Yield a function that starts a Python in the folder of the examples."""
    started = []

    def start(*arguments, **variables):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=EXAMPLES,
            env={**ENVIRONMENT, **variables},
            # A shell that runs the tests in the background has Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for each in started:
        each.kill()
        each.communicate()


def interrupted(process):
    """End a process as Ctrl-C does; return its exit code and its last output."""
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=LONG)
    return process.returncode, rest


def eventually(ask, path, prices, times=1):
    """Ask until these prices came so many times, and no others.

    Where the machine pauses, a plugin may be late that else is not, and then its price is missing.
    """
    came, deadline = 0, time.monotonic() + LONG
    while came < times:
        assert time.monotonic() < deadline
        answer = ask(path)
        assert answer.items() <= prices.items()
        came += answer == prices


class TestFastAPIHost:
    @pytest.fixture
    def ask(self, start):
        """Yield a function that asks the host, which uvicorn serves on a free port."""
        process = start("-m", "uvicorn", "fastapi_host:app", "--port", "0", SHOP_TOKEN="secret")
        lines = []
        while "running on http://" not in (lines := [*lines, process.stdout.readline()])[-1]:
            assert lines[-1], "".join(lines)
        url = lines[-1].split("running on ")[1].split()[0]

        def ask(path, **headers):
            request = urllib.request.Request(url + path, headers=headers)
            with urllib.request.urlopen(request, timeout=LONG) as answer:
                return json.load(answer)

        yield ask
        code, _ = interrupted(process)
        assert code in (0, -signal.SIGINT)

    def test_prices_come_from_all_plugins_that_answer_in_time(self, ask):
        """Async or not; one that sleeps costs its own result, and after a while no time."""
        eventually(ask, "/prices/tea", {"supplier": 2.5, "price-list": 3.0}, times=3)
        eventually(ask, "/prices/coffee", {"price-list": 4.0})
        assert ask("/ready") == {"ready": True, "waiting": ["asleep"]}

    def test_the_plugin_api_is_for_the_operator(self, ask):
        """Nobody else sees it."""
        page = ask("/api/plugins/", Authorization="Bearer secret")
        assert {each["key"] for each in page["results"]} == {"supplier", "price-list", "asleep"}
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask("/api/plugins/")
        assert refused.value.code == 401
        refused.value.close()


class TestWorker:
    def test_a_task_can_be_run_now(self, start, tmp_path):
        """And plugins receive events."""
        process = start("worker.py", str(tmp_path / "store"), "--run", "plugin.stock.count")
        told, _ = process.communicate(timeout=LONG)

        assert process.returncode == 0, told
        assert told.splitlines() == [
            "plugin.stock.count I",
            "plugin.stock.order 30 6 * * mon-fri",
            f"{process.pid} counts the stock",
            f"{process.pid} hears of order.placed",
        ]

    def test_it_works_till_it_is_interrupted(self, start, tmp_path):
        """Ctrl-C ends it in good order."""
        process = start("worker.py", str(tmp_path / "store"))
        while not (line := process.stdout.readline()).startswith("waiting"):
            assert line
        code, rest = interrupted(process)

        assert code == 0, rest
        assert "Traceback" not in rest


@pytest.mark.parametrize("name", sorted(each.stem for each in EXAMPLES.glob("*.py")))
def test_importing_an_example_does_nothing(name, capsys):
    """A reader may try its parts."""
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=name)

    assert capsys.readouterr().out == ""
