"""Real processes on one store: they take in each other's changes, and survive deaths."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

import plugreg
from plugreg.storage import open_storage

LONG = 60.0
"""Seconds after which a test gives up; what it waits for takes far less."""
POSTGRESQL = os.environ.get(
    "PLUGREG_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)
CHANGES = int(os.environ.get("PLUGREG_TEST_CHANGES", "0"))
"""How many wishes the converging processes change; 0 is as many as take little time."""

PROCESS = """
import contextlib, json, sys, time
from plugreg import Plugin, PluginRegistry, hookimpl
from plugreg.mixins import SettingsMixin
from plugreg.storage import open_storage


class Counting(SettingsMixin, Plugin):
    NAME = "counting"
    SETTINGS = {"COLOUR": {"default": "red"}}
    loads = 0

    @hookimpl
    def plugreg_plugins_loaded(self, report):
        self.loads += 1


class Broken(Plugin):
    def __init__(self):
        raise ValueError("no")


url, name, loadable, broken = sys.argv[1:]
counting = Counting()
builtin = [counting]
builtin += [(slug, type("Any", (Plugin,), {})) for slug in loadable.split()]
builtin += [(slug, Broken) for slug in broken.split()]
registry = PluginRegistry(
    "shop", storage=open_storage(url), builtin=builtin, mandatory=["counting"], process=name
)
registry.load()
first, stack = counting.loads, contextlib.ExitStack()


def answer(verb, *arguments):
    if verb == "active":
        return sorted({*registry.active} - {"counting"})
    if verb == "reloads":
        return counting.loads - first
    if verb == "colour":
        return registry.settings("counting")["COLOUR"]
    if verb == "paint":
        return registry.settings("counting").set("COLOUR", *arguments)
    if verb == "watch":
        stack.enter_context(registry.watch(*arguments))
        return None
    if verb == "once":
        return stack.enter_context(registry.shared.once(*arguments))
    if verb == "processes":
        return {each.name: [each.generation, *each.active] for each in registry.shared.processes()}
    if verb == "end":
        stack.close()
        return registry.close()
    result = getattr(registry, verb)(*arguments)
    return result if isinstance(result, bool) else None


print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(answer(*json.loads(line))), flush=True)
"""


class Process:
    """A process with a registry that carries out commands."""

    def __init__(self, url, name, loadable, broken=()):
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, url, name, " ".join(loadable), " ".join(broken)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])},
        )
        self._is_ready = False

    def wait(self):
        """Wait until its registry is loaded."""
        if not self._is_ready:
            assert self._process.stdout.readline() == "ready\n"
            self._is_ready = True

    def __call__(self, verb, *arguments):
        """Have it do something, and return its answer."""
        self.wait()
        self._process.stdin.write(f"{json.dumps([verb, *arguments])}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended at {verb}"
        return json.loads(line)

    def kill(self):
        """End it as a lack of memory would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


def eventually(holds):
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


@pytest.fixture(params=["tinydb", "sqlite", "postgresql"])
def url(request, tmp_path):
    """Yield the URL of a new, empty store."""
    if request.param != "postgresql":
        yield f"{request.param}:///{tmp_path / 'plugins.store'}"
        return
    engine = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    try:
        engine.connect().close()
    except sa.exc.SQLAlchemyError as error:
        reason = f"postgresql is not there: {type(error.orig).__name__}"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    prefix = f"t{uuid4().hex[:12]}_"
    address = engine.url.update_query_dict({"prefix": prefix})
    yield address.render_as_string(hide_password=False)
    with engine.connect() as connection:
        for table in ("records", "meta"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {prefix}{table}")
    engine.dispose()


@pytest.fixture
def start():
    """Yield a function that starts one more process on a store."""
    started = []

    def start(url, name="web", loadable=("tea", "milk"), broken=(), *, wait=True):
        started.append(Process(url, name, loadable, broken))
        if wait:
            started[-1].wait()
        return started[-1]

    yield start
    for each in started:
        each.kill()


def test_what_one_does_the_other_takes_in(url, start):
    """Activation, deactivation and settings are seen at the next refresh, and told of."""
    web, worker = start(url), start(url, "worker")
    web("activate", "tea")
    assert worker("active") == []
    assert worker("processes") == {"web": [1, "counting", "tea"], "worker": [0, "counting"]}
    assert worker("refresh") is True
    assert worker("active") == ["tea"]
    assert web("processes")["worker"] == [1, "counting", "tea"]
    web("paint", "blue")
    assert worker("colour") == "red"
    assert worker("refresh") is False
    assert worker("colour") == "blue"
    worker("deactivate", "tea")
    assert web("refresh") is True
    assert web("active") == []
    assert (web("reloads"), worker("reloads")) == (1, 1)
    worker("end")
    assert web("processes").keys() == {"web"}


def test_watching_processes_converge(url, start):
    """Nobody asks them to."""
    web, worker = start(url), start(url, "worker")
    worker("watch", 0.05)
    web("activate", "tea")
    eventually(lambda: worker("active") == ["tea"])
    web("paint", "blue")
    eventually(lambda: worker("colour") == "blue")
    worker("end")


@pytest.mark.parametrize(("count", "changes"), [(2, CHANGES or 30), (6, CHANGES or 40)])
def test_processes_with_other_plugins_converge(url, start, count, changes):
    """Each can load others, and fails to load others; none reloads more often than things changed.

    Once they have come to rest, nobody reloads any more. How long that took is printed
    (``pytest -s``).
    """
    chance = random.Random(count)
    slugs = [f"plugin-{number}" for number in range(6)]
    everybody = {}
    for number in range(count):
        own = chance.sample(slugs, 4)
        process = start(url, f"process {number}", loadable=own[1:], broken=own[:1], wait=False)
        everybody[process] = own
    for process in everybody:
        process("watch", 0.02)
    wanted = set()
    for _ in range(changes):
        process, own = chance.choice([*everybody.items()])
        slug = chance.choice(own)
        process("deactivate" if slug in wanted else "activate", slug)
        wanted ^= {slug}
    last = time.monotonic()
    for process, own in everybody.items():
        eventually(lambda process=process, own=own: {*process("active")} == wanted & {*own[1:]})
    print(f"{count} processes, {changes} changes: the same after {time.monotonic() - last:.3f} s")
    for process in everybody:
        process("refresh")  # The plugin that it cannot load may be the last that it has to take in.
    counts = [process("reloads") for process in everybody]
    assert max(counts) <= changes
    for process in [*everybody] * 2:
        assert process("refresh") is False
    assert [process("reloads") for process in everybody] == counts
    for process in everybody:
        process("end")


def test_work_goes_on_when_its_holder_is_killed(url, start):
    """Nobody else has it while its lease runs, somebody has it afterwards, and then it is done."""
    first, second, third = (start(url, name) for name in ("first", "second", "third"))
    assert first("once", "migrate", LONG) is True
    assert second("once", "migrate", LONG) is False
    first.kill()
    assert second("once", "migrate", LONG) is False
    with closing(open_storage(url)) as storage, storage.transaction() as transaction:
        # As if so much time had passed.
        lease = transaction.get("leases", "migrate")
        transaction.put("leases", "migrate", {**lease, "until": lease["until"] - LONG})
    assert second("once", "migrate", LONG) is True
    assert third("once", "migrate", LONG) is False
    second("end")
    assert third("once", "migrate", LONG) is False


@pytest.mark.parametrize("kind", ["tinydb", "sqlite"])
def test_a_store_that_was_away_is_taken_up_again(tmp_path, start, kind):
    """The process serves meanwhile, and sees the changes once its store is back."""
    folder = tmp_path / "store"
    folder.mkdir()
    url = f"{kind}:///{folder / 'plugins.store'}"
    web, worker = start(url), start(url, "worker")
    worker("watch", 0.05)
    web("activate", "tea")
    eventually(lambda: worker("active") == ["tea"])
    web("end")
    folder.rename(tmp_path / "elsewhere")
    time.sleep(0.2)  # Some looks fall into the outage; the test holds without any, too.
    assert worker("active") == ["tea"]
    assert worker("colour") == "red"
    (tmp_path / "elsewhere").rename(folder)
    start(url, "third")("activate", "milk")
    eventually(lambda: worker("active") == ["milk", "tea"])
