"""Taking in one more plugin beside so many that are in already."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from model import Budget, Case, How, Kind, Place, Timed, ours, peer


def exchange(place: Place) -> Timed:
    """Parse, check and exchange in, as a load does with each plugin."""
    from cases.objects import Answers, answers, registry_of

    manager = registry_of(answers(place.size)).manager
    plugins = map(Answers, count())

    def run() -> None:
        manager.exchange((), (manager.implementations(next(plugins), "one-more"),))

    return Timed(run=run, after=lambda: manager.exchange({"one-more"}, ()))


def all_at_once(place: Place) -> Callable[[], object]:
    """Return the seconds for each plugin when all are taken in with one exchange."""
    from time import perf_counter

    from cases.objects import HOST, Hooks, answers
    from plugreg.hooks import PluginManager

    plugins = answers(place.size)

    def run() -> float:
        manager = PluginManager(HOST)
        manager.add_hookspecs(Hooks)
        started = perf_counter()
        found = [manager.implementations(plugin, f"p{n}", (n,)) for n, plugin in enumerate(plugins)]
        manager.exchange((), found)
        return (perf_counter() - started) / place.size

    return run


def one_by_one(place: Place) -> Callable[[], object]:
    """Return the seconds for each plugin when pluggy registers them."""
    from time import perf_counter

    from cases.objects import answers, manager_of

    plugins = answers(place.size)

    def run() -> float:
        started = perf_counter()
        manager_of(plugins)
        return (perf_counter() - started) / place.size

    return run


def register(place: Place) -> Timed:
    from cases.objects import Answers, answers, registry_of

    manager = registry_of(answers(place.size)).manager
    return registering(manager, map(Answers, count()))


def pluggy(place: Place) -> Timed:
    from cases.objects import Answers, answers, manager_of

    return registering(manager_of(answers(place.size)), map(Answers, count()))


def registering(manager: object, plugins: object) -> Timed:
    """Register and unregister with pluggy's own methods."""
    return Timed(
        run=lambda: manager.register(next(plugins), "one-more"),
        after=lambda: manager.unregister(name="one-more"),
    )


CASES = {
    case.name: case
    for case in (
        Case(
            name="one more plugin",
            how=How.EACH,
            counting="plugins that are in",
            sizes=(10, 100, 1_000),
            quick=(10, 1_000),
            contestants=(
                ours("plugreg, exchange", exchange),
                ours("plugreg, manager.register", register),
                peer("pluggy, register", pluggy),
            ),
            budgets=(Budget(of="plugreg, exchange", limit=30e-6, kind=Kind.AT_MOST),),
            note="each plugin has two implementations",
        ),
        Case(
            name="each of many",
            how=How.VALUE,
            counting="plugins taken in",
            sizes=(10, 100, 1_000),
            quick=(10, 1_000),
            contestants=(
                ours("plugreg, exchange of all", all_at_once),
                peer("pluggy, register", one_by_one),
            ),
            budgets=(Budget(of="plugreg, exchange of all", limit=30e-6, kind=Kind.AT_MOST),),
        ),
    )
}
