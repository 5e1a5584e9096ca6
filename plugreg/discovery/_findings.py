"""Collects the results of one search."""

from __future__ import annotations

from plugreg.records import Discovery, PluginFailure, PluginSpec, Stage


class Findings:
    """Specs and failures of one search. Specs with the same key replace each other."""

    def __init__(self) -> None:
        self.specs: dict[tuple[object, ...], PluginSpec] = {}
        self.failures: list[PluginFailure] = []

    def refuse(self, slug: str, message: str) -> None:
        """Add a failure without an exception."""
        self.failures.append(PluginFailure(stage=Stage.DISCOVERY, slug=slug, message=message))

    def fail(self, slug: str, error: BaseException, what: str) -> None:
        """Add a failure with its exception; *what* is the beginning of its message."""
        self.failures.append(PluginFailure.of(Stage.DISCOVERY, slug, error, what=what))

    def update(self, other: Findings) -> None:
        """Add the results of another search."""
        self.specs |= other.specs
        self.failures += other.failures

    def result(self) -> Discovery:
        """Return everything, sorted."""
        return Discovery(
            specs=tuple(sorted(self.specs.values(), key=lambda spec: spec.sort_key)),
            failures=tuple(sorted(self.failures, key=lambda fault: (fault.slug, fault.message))),
        )
