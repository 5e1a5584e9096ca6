"""Changes of the process that remain after a plugin was switched off."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from plugreg._support.frozen import NamedTuple

PATIENCE: Final = 2.0
"""Seconds that threads may take to end after their plugin was switched off."""

_IGNORED: Final = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "COLUMNS", "LINES")


class AmbientState(NamedTuple):
    """The parts of a process that plugins change by mistake, at a moment."""

    threads: frozenset[threading.Thread]
    tasks: frozenset[Any]
    handlers: frozenset[tuple[str, int, str]]
    level: int
    signals: tuple[tuple[str, Any], ...]
    path: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    folder: str
    finders: tuple[int, ...]


def surroundings() -> AmbientState:
    """Return the surroundings of this moment; nothing is changed."""
    return AmbientState(
        threads=frozenset(thread for thread in threading.enumerate() if not _is_ours(thread)),
        tasks=frozenset(_tasks()),
        handlers=frozenset(_handlers()),
        level=logging.root.level,
        signals=tuple(_signals()),
        path=tuple(sys.path),
        environment=tuple(sorted((k, v) for k, v in os.environ.items() if k not in _IGNORED)),
        folder=_folder(),
        finders=tuple(map(id, sys.meta_path)),
    )


def changes(before: AmbientState, after: AmbientState) -> tuple[str, ...]:
    """Return the changes between two states of the process, as clauses.

    Args:
        before: The earlier surroundings.
        after: The later surroundings.
    """
    return (*_left(before, after), *_ambient(before, after))


def _left(before: AmbientState, after: AmbientState) -> Iterator[str]:
    """Yield the things that somebody started and did not end."""
    for thread in sorted(after.threads - before.threads, key=lambda thread: thread.name):
        yield f"thread {thread.name!r} runs"
    for task in after.tasks - before.tasks:
        yield f"task {task.get_name()!r} runs"
    for logger, _, kind in sorted(after.handlers - before.handlers):
        yield f"logger {logger!r} has a {kind} more"


def _ambient(before: AmbientState, after: AmbientState) -> Iterator[str]:
    """Yield the settings of the process that are different."""
    if before.level != after.level:
        level = logging.getLevelName(after.level)
        yield f"the root logger's level is {level}"
    for (name, old), (_, new) in zip(before.signals, after.signals, strict=True):
        if old != new:
            yield f"signal {name} has the handler {getattr(new, '__qualname__', new)!r}"
    if before.path != after.path:
        added = [entry for entry in after.path if entry not in before.path]
        yield f"sys.path has changed ({', '.join(map(repr, added)) or 'entries are gone'})"
    for name in sorted(_keys(before) ^ _keys(after)):
        there = "is set" if name in _keys(after) else "is gone"
        yield f"environment variable {name!r} {there}"
    for name in sorted(_keys(before) & _keys(after)):
        if dict(before.environment)[name] != dict(after.environment)[name]:
            yield f"environment variable {name!r} has another value"
    if before.folder != after.folder:
        yield f"the working folder is {after.folder!r}"
    if before.finders != after.finders:
        yield "sys.meta_path has changed"


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
    for thread in surroundings().threads - before.threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
    after = surroundings()
    kept = [clause for clause in _ambient(before, after) if changed is None or clause in changed]
    return (*_left(before, after), *kept)


def _keys(found: AmbientState) -> set[str]:
    return {name for name, _ in found.environment}


def _is_ours(thread: threading.Thread) -> bool:
    # Those of plugreg and of the tools around it end by themselves, or never.
    return thread.name.startswith(("plugreg", "pydevd", "execnet"))


def _tasks() -> set[Any]:
    try:
        # A cancelled task ends with the loop's next step, which nobody can wait for here.
        tasks = (task for task in asyncio.all_tasks() if not task.cancelling())
        return {task for task in tasks if task is not asyncio.current_task()}
    except RuntimeError:  # No loop runs in this thread.
        return set()


def _handlers() -> Iterator[tuple[str, int, str]]:
    known = {"root": logging.root, **logging.root.manager.loggerDict}
    for name, logger in known.items():
        for handler in getattr(logger, "handlers", ()):
            # A library gives its own logger a handler that does nothing when it is imported.
            is_none = type(handler) is logging.NullHandler and logger is not logging.root
            # pytest has a handler for each phase of a test.
            if not is_none and not type(handler).__module__.startswith("_pytest"):
                yield name, id(handler), type(handler).__name__


def _signals() -> Iterator[tuple[str, Any]]:
    for number in sorted(signal.valid_signals()):
        try:
            yield signal.Signals(number).name, signal.getsignal(number)
        except ValueError:  # A real-time signal without a name.
            continue


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - the string is compared.
    except OSError:
        return ""
