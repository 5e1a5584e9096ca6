"""Two threads that read without a pause, while a third changes what they read every millisecond.

The value is the time for one read: the whole time by the reads of both threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from model import Case, How, Place, floor, ours, peer

SECONDS = 0.2
READERS = 2
AT_ONCE = 100


def with_writer(read: Callable[[], object], change: Callable[[], object]) -> float:
    """Return the seconds for each read."""
    over = threading.Event()
    counts = [0] * READERS

    def reader(index: int) -> None:
        while not over.is_set():
            for _ in range(AT_ONCE):
                read()
            counts[index] += AT_ONCE

    def writer() -> None:
        while not over.wait(0.001):
            change()

    threads = [threading.Thread(target=reader, args=(index,)) for index in range(READERS)]
    threads.append(threading.Thread(target=writer))
    started = perf_counter()
    for each in threads:
        each.start()
    over.wait(SECONDS)
    over.set()
    for each in threads:
        each.join()
    return (perf_counter() - started) / sum(counts)


class Shared:
    """A table that is replaced as a whole, read without a lock and with one."""

    def __init__(self, size: int) -> None:
        self.rows = {f"plugin-{number}": number for number in range(size)}
        self.lock = threading.RLock()

    def get(self) -> object:
        return self.rows["plugin-3"]

    def swap(self) -> None:
        self.rows = dict(self.rows)

    def get_locked(self) -> object:
        with self.lock:
            return self.rows["plugin-3"]

    def swap_locked(self) -> None:
        with self.lock:
            self.rows = dict(self.rows)


def swapped(place: Place) -> Callable[[], object]:
    shared = Shared(place.size)
    return lambda: with_writer(shared.get, shared.swap)


def locked(place: Place) -> Callable[[], object]:
    shared = Shared(place.size)
    return lambda: with_writer(shared.get_locked, shared.swap_locked)


def registry(read: Callable[[Any], Callable[[], object]]) -> Any:
    def start(place: Place) -> Callable[[], object]:
        from cases.objects import Answers, answers, registry_of

        made = registry_of([*answers(place.size), Answers])
        slug = f"plugin-{place.size}"

        def change() -> None:
            made.deactivate(slug)
            made.activate(slug)

        return lambda: with_writer(read(made), change)

    return start


def with_mixin(made: Any) -> Callable[[], object]:
    return lambda: made.with_mixin("base")


def call(made: Any) -> Callable[[], object]:
    from cases.objects import Hooks

    return lambda: made.call(Hooks.price, item="tea")


def pluggy(place: Place) -> Callable[[], object]:
    from cases.objects import Answers, answers, manager_of

    manager = manager_of(answers(place.size))

    def change() -> None:
        manager.register(Answers(0), "one-more")
        manager.unregister(name="one-more")

    return lambda: with_writer(lambda: manager.hook.price(item="tea"), change)


COMMON = {
    "how": How.VALUE,
    "together": False,
    "counting": "plugins",
    "sizes": (10, 100),
    "quick": (10,),
}
CASES = {
    each.name: each
    for each in (
        Case(
            name="a look-up",
            contestants=(
                floor("immutable table", swapped),
                ours("plugreg, with_mixin", registry(with_mixin)),
                peer("the same under an RLock", locked),
            ),
            note="plugreg's writer deactivates and activates a plugin, the others swap a dict",
            **COMMON,
        ),
        Case(
            name="a call",
            contestants=(
                ours("plugreg, call", registry(call)),
                peer("pluggy, hook", pluggy),
            ),
            note="pluggy's readers may miss plugins meanwhile, plugreg's do not",
            **COMMON,
        ),
    )
}
