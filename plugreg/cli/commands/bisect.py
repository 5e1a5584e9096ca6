"""``plugreg bisect``: find the plugin, or the plugins, with which a command fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import click

from plugreg.cli.command import command
from plugreg.cli.faults import Fault, no, usage
from plugreg.cli.hosts import SAFE_MODE
from plugreg.cli.output import Answer
from plugreg.cli.overview import look, reach
from plugreg.cli.session import Session

ONLY: Final = "PLUGREG_ONLY"
"""The variable by which one process loads only some plugins."""

NOBODY: Final = ","
"""Its value for no plugin, because an empty value means all plugins."""


@command(
    "bisect",
    """plugreg bisect -- pytest tests/test_checkout.py
    plugreg bisect""",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
)
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def bisect(session: Session, words: tuple[str, ...]) -> Answer:
    """Find the plugin, or the plugins together, with which COMMAND fails.

    COMMAND is run again and again with PLUGREG_ONLY set to some of the plugins that are switched
    on, with those that they need; exit code 0 means good. Without COMMAND you start the host
    yourself, and answer good or bad. Nothing is stored.
    """
    overview = look(session.registry)
    wanted = [slug for slug, record in overview.records.items() if record.wanted]
    needs = {slug: overview.needs(slug) for slug in wanted}
    session.close()
    run = _runner(session, words) if words else _asker(session)
    search = Search(needs, run)
    culprits = search.find()
    rows = [{"slug": slug, "needs": needs[slug]} for slug in culprits]
    more = {"culprits": list(culprits), "runs": search.runs}
    if not culprits:
        fault = Fault(1, "no-culprit", "no plugin is to blame", search.verdict)
        return Answer("plugins", rows, fault=fault, more=more)
    shown = " and ".join(culprits)
    together = "" if len(culprits) == 1 else " together"
    return Answer(
        "plugins",
        rows,
        text=f"{shown}{together}\n",
        more=more,
        verdict=f"found with {search.runs} runs; see: {session.command} why {culprits[0]}",
    )


class Search:
    """A search for the smallest set of plugins with which something fails.

    It is the algorithm QuickXplain of Junker (2004), with the dependencies of plugins added to each
    set. Each set is tried once.

    Args:
        needs: Dependencies of each plugin that is switched on.
        fails: Tries a set of plugins; returns whether it fails.
    """

    def __init__(
        self, needs: Mapping[str, Sequence[str]], fails: Callable[[Sequence[str]], bool]
    ) -> None:
        self._needs = needs
        self._fails = fails
        self._known: dict[frozenset[str], bool] = {}
        self.verdict = ""
        """Why there is no culprit."""

    @property
    def runs(self) -> int:
        """How many sets were tried."""
        return len(self._known)

    def find(self) -> tuple[str, ...]:
        """Return the culprits, none if it fails without plugins or succeeds with all."""
        if not self._fails_with(self._needs):
            self.verdict = "it succeeds with all plugins that are switched on"
            return ()
        if self._fails_with(()):
            self.verdict = "it fails without any plugin, too"
            return ()
        # A plugin stands behind those that it needs, so that these are blamed before it.
        order = sorted(self._needs, key=lambda slug: len(self._closed([slug])))
        blamed = {self._closed([slug]) for slug in self._find_least([], order)}
        # Plugins that need each other are blamed together.
        return tuple(slug for slug in self._needs if self._closed([slug]) in blamed)

    def _find_least(self, beside: list[str], slugs: list[str]) -> list[str]:
        """Return a least part of *slugs* with which, and with those beside it, it fails."""
        if self._fails_with(beside):
            return []
        if len(slugs) == 1:
            return slugs
        first, second = slugs[: len(slugs) // 2], slugs[len(slugs) // 2 :]
        late = self._find_least([*beside, *first], second)
        return [*self._find_least([*beside, *late], first), *late]

    def _fails_with(self, slugs: Iterable[str]) -> bool:
        closed = self._closed(slugs)
        if closed not in self._known:
            self._known[closed] = self._fails([s for s in self._needs if s in closed])
        return self._known[closed]

    def _closed(self, slugs: Iterable[str]) -> frozenset[str]:
        found = reach(slugs, lambda slug: self._needs.get(slug, ()))
        return frozenset(slug for slug in found if slug in self._needs)


def _shown(slugs: Sequence[str]) -> str:
    return ",".join(slugs) or NOBODY


def _runner(session: Session, words: Sequence[str]) -> Callable[[Sequence[str]], bool]:
    def fails(slugs: Sequence[str]) -> bool:
        environ = {**os.environ, ONLY: _shown(slugs)}
        environ.pop(SAFE_MODE, None)
        try:
            code = subprocess.run(words, env=environ, check=False, stdout=sys.stderr).returncode  # noqa: S603
        except OSError as error:
            raise usage(f"{words[0]!r} cannot be run: {error.strerror or error}") from error
        if code in (-2, 130):
            raise KeyboardInterrupt
        session.output.note(f"{'bad ' if code else 'good'} {', '.join(slugs) or 'no plugin'}")
        return code != 0

    return fails


def _asker(session: Session) -> Callable[[Sequence[str]], bool]:
    def fails(slugs: Sequence[str]) -> bool:
        session.output.note(f"start the host with: {ONLY}={_shown(slugs)}")
        while True:
            answer = session.ask("good or bad? [g/b] ")
            if not answer:
                raise no("the search was ended", "give a COMMAND, or answer good or bad")
            word = answer.strip().lower()
            if word in ("good", "bad", "g", "b"):
                return word.startswith("b")

    return fails
