"""Switching one plugin on, beside so many that are active; the storage is in memory."""

from __future__ import annotations

from model import Budget, Case, How, Kind, Place, Timed, ours, peer

from cases.hooks import pluggy


def plugreg(place: Place) -> Timed:
    from cases.objects import Answers, answers, registry_of

    registry = registry_of([*answers(place.size), Answers])
    slug = f"plugin-{place.size}"
    registry.deactivate(slug)

    def run() -> None:
        registry.activate(slug)

    return Timed(run=run, after=lambda: registry.deactivate(slug))


CASES = {
    each.name: each
    for each in (
        Case(
            name="one plugin",
            how=How.EACH,
            counting="active plugins",
            sizes=(10, 100, 1_000),
            quick=(10, 1_000),
            contestants=(
                ours("plugreg, activate", plugreg),
                peer("pluggy, register", pluggy),
            ),
            budgets=(Budget(of="plugreg, activate", limit=2, kind=Kind.GROWTH, sizes=(1_000,)),),
            note="pluggy remembers no wish, and makes no object",
        ),
    )
}
