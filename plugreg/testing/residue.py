"""Changes of the process that remain after a plugin was switched off."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from plugreg._support.frozen import NamedTuple

PATIENCE: Final = 2.0
"""Seconds that threads may take to end after their plugin was switched off."""

_IGNORED: Final = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "COLUMNS", "LINES")

_OURS: Final = ("plugreg", "pydevd", "execnet")
"""Threads of plugreg and of the tools around it, which end by themselves, or never."""


class AmbientState(NamedTuple):
    """The parts of a process that plugins change by mistake, at a moment.

    ``running`` has the clause of each thread, task and handler of a logger, ``settings`` the values
    of the process by name; a string among them may be shown.
    """

    running: Mapping[object, str]
    settings: Mapping[str, object]


def surroundings() -> AmbientState:
    """Return the surroundings of this moment; nothing is changed."""
    running: dict[object, str] = {
        thread: f"thread {thread.name!r} runs"
        for thread in threading.enumerate()
        if not thread.name.startswith(_OURS)
    }
    running |= {task: f"task {task.get_name()!r} runs" for task in _tasks()}
    running |= {
        (name, id(handler)): f"logger {name!r} has a {type(handler).__name__} more"
        for name, handler in _handlers()
    }
    settings: dict[str, object] = {
        "the root logger's level": logging.getLevelName(logging.root.level),
        "sys.path": tuple(sys.path),
        "sys.meta_path": tuple(map(id, sys.meta_path)),
        "the working folder": _folder(),
    }
    settings |= _signals()
    # The values may be secrets.
    settings |= {
        f"environment variable {name!r}": (value,)
        for name, value in os.environ.items()
        if name not in _IGNORED
    }
    return AmbientState(running, settings)


def changes(before: AmbientState, after: AmbientState) -> tuple[str, ...]:
    """Return the changes between two states of the process, as clauses.

    Args:
        before: The earlier surroundings.
        after: The later surroundings.
    """
    return (*_left(before, after), *_ambient(before, after))


def _left(before: AmbientState, after: AmbientState) -> list[str]:
    """Return the things that somebody started and did not end."""
    return sorted(clause for thing, clause in after.running.items() if thing not in before.running)


def _ambient(before: AmbientState, after: AmbientState) -> Iterator[str]:
    """Yield the settings of the process that are different."""
    for name in sorted({*before.settings, *after.settings}):
        old, new = before.settings.get(name), after.settings.get(name)
        if old is None or new is None:
            yield f"{name} is {'set' if old is None else 'gone'}"
        elif old != new:
            yield f"{name} is {new}" if isinstance(new, str) else f"{name} has changed"


def ambient(before: AmbientState, after: AmbientState) -> frozenset[str]:
    """Return the settings of the process that are different, as clauses.

    Args:
        before: The earlier surroundings.
        after: The later surroundings.
    """
    return frozenset(_ambient(before, after))


def left_over(before: AmbientState, changed: frozenset[str] | None = None) -> tuple[str, ...]:
    """Wait for threads to end, and return the remaining changes since a moment.

    Args:
        before: The surroundings at that moment.
        changed: The settings of the process that the plugin has changed, as clauses; a test may
            have changed others. None counts all.
    """
    deadline = time.monotonic() + PATIENCE
    for thing in surroundings().running.keys() - before.running.keys():
        if isinstance(thing, threading.Thread) and thing is not threading.current_thread():
            thing.join(max(0.0, deadline - time.monotonic()))
    after = surroundings()
    kept = [clause for clause in _ambient(before, after) if changed is None or clause in changed]
    return (*_left(before, after), *kept)


def _tasks() -> set[Any]:
    try:
        # A cancelled task ends with the loop's next step, which nobody can wait for here.
        tasks = (task for task in asyncio.all_tasks() if not task.cancelling())
        return {task for task in tasks if task is not asyncio.current_task()}
    except RuntimeError:  # No loop runs in this thread.
        return set()


def _handlers() -> Iterator[tuple[str, logging.Handler]]:
    known = {"root": logging.root, **logging.root.manager.loggerDict}
    for name, logger in known.items():
        for handler in getattr(logger, "handlers", ()):
            # A library gives its own logger a handler that does nothing when it is imported.
            is_none = type(handler) is logging.NullHandler and logger is not logging.root
            # pytest has a handler for each phase of a test.
            if not is_none and not type(handler).__module__.startswith("_pytest"):
                yield name, handler


def _signals() -> dict[str, object]:
    found: dict[str, object] = {}
    for number in signal.valid_signals():
        with suppress(ValueError):  # A real-time signal without a name.
            # A handler of another language is None.
            found[f"signal {signal.Signals(number).name}"] = (signal.getsignal(number),)
    return found


def _folder() -> str:
    try:
        return repr(os.getcwd())  # noqa: PTH109 - the string is compared.
    except OSError:
        return "gone"
