"""The stores under test, and processes of their own to use them from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from plugreg.storage import MemoryStorage, Storage, TinyDBStorage


def _memory(folder, number):
    return MemoryStorage()


def _tinydb(folder, number):
    return TinyDBStorage(folder / f"store-{number}.json")


# A backend joins the conformance suite with one line here: how a new, empty store is opened.
@pytest.fixture(
    scope="module",
    params=[pytest.param(_memory, id="memory"), pytest.param(_tinydb, id="tinydb")],
)
def storage_factory(request, tmp_path_factory) -> Iterator[Callable[[], Storage]]:
    """Give a function that opens one more new, empty store of the backend."""
    folder = tmp_path_factory.mktemp("stores")
    numbers = count()
    opened = []

    def new() -> Storage:
        opened.append(request.param(folder, next(numbers)))
        return opened[-1]

    yield new
    for each in opened:
        each.close()


@pytest.fixture
def storage(storage_factory) -> Storage:
    """Give a new, empty store."""
    return storage_factory()


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that starts a Python process with a program and its arguments."""
    processes = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        processes.append(process)
        return process

    yield start
    for each in processes:
        each.kill()
        each.communicate()


@pytest.fixture
def run_python(start_python) -> Callable[..., str]:
    """Give a function that runs a program, expects it to succeed, and returns its output."""

    def run(program: str, *arguments: object) -> str:
        process = start_python(program, *arguments)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return output

    return run
