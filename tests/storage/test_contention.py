"""Many writers at the same time: nothing is lost, nothing fails, and each has its turn."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from plugreg.storage import open_storage

WRITES = os.environ.get("PLUGREG_CONTENTION_WRITES", "25")
HARNESS = Path(__file__).with_name("contention.py")
SHARED = ["tinydb", "sqlite", "postgresql", "mariadb"]


def contend(url, *options):
    """Run the harness as people do, and return its exit code and its output."""
    process = subprocess.run(
        [sys.executable, HARNESS, url, "--writes", WRITES, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stderr == ""
    return process.returncode, process.stdout


@pytest.fixture
def url_of(tmp_path, new_database):
    """Return a function that returns the URL of a new, empty store of a backend."""

    def new(backend):
        if backend == "memory":
            return "memory://"
        if backend == "tinydb":
            return f"tinydb:///{tmp_path}/store.json"
        return new_database(backend).url

    return new


@pytest.mark.parametrize(
    ("backend", "writers"),
    [("memory", "--threads")]
    + [(backend, writers) for backend in SHARED for writers in ("--processes", "--threads")],
)
def test_writers_lose_no_update(url_of, backend, writers):
    """Eight that read and then write count every time; no write fails, or waits for 10 s.

    Each stays for a moment, so that the others do come in between where they can.
    """
    code, output = contend(url_of(backend), writers, "8", "--hold", "1")

    assert code == 0, output
    assert output.startswith(f"{8 * int(WRITES)} writes: 0 lost, 0 errors;")


@pytest.mark.parametrize("backend", SHARED)
def test_one_that_comes_again_and_again_keeps_nobody_out(url_of, backend):
    """Whoever waits for a store is not overtaken all the time by one that never pauses."""
    url = url_of(backend)
    turns, inside, done = [], threading.Event(), threading.Event()

    def come_again(storage):
        while not done.is_set():
            with storage.transaction():
                turns.append(None)
                inside.set()
                time.sleep(0.1)

    with (
        closing(open_storage(url)) as one,
        closing(open_storage(url)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        coming = pool.submit(come_again, one)
        try:
            for _ in range(5):
                inside.clear()
                assert inside.wait(60)
                before = len(turns)
                with other.transaction():
                    assert len(turns) - before <= 20
        finally:
            done.set()
        coming.result()


class TestHarness:
    def test_notices_lost_updates(self, tmp_path):
        """It is not blind: a store that reads before it has the lock is caught."""
        code, output = contend(f"careless:///{tmp_path}/store.json", "--processes", "8")

        assert code == 1
        assert " 0 errors" in output
        assert ": 0 lost" not in output

    def test_notices_failed_writes(self, tmp_path):
        """A transaction that does not wait is an error, and not a loss."""
        url = f"tinydb:///{tmp_path}/store.json?lock_timeout=0"
        code, output = contend(url, "--processes", "8")

        assert code == 1
        assert ": 0 lost" in output
        assert " 0 errors" not in output
        assert "StorageLockedError" in output

    def test_notices_long_waits(self, tmp_path):
        """One wait that is longer than it may be is enough."""
        url = f"tinydb:///{tmp_path}/store.json"
        code, output = contend(url, "--threads", "8", "--longest", "0")

        assert code == 1
        assert ": 0 lost, 0 errors;" in output
