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

    It is the minimizing delta debugging of Zeller and Hildebrandt (2002), with the
    dependencies of plugins added to each set. Each set is tried once.

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
        failing = self._closed(self._minimize([*self._needs]))
        return self._tops(self._reduce(failing))

    def _minimize(self, failing: list[str]) -> list[str]:
        """Return a part of *failing* that still fails, and of which no member can be left out."""
        parts = 2
        while len(failing) > 1:
            step = -(-len(failing) // parts)
            chunks = [failing[at : at + step] for at in range(0, len(failing), step)]
            rests = [[slug for slug in failing if slug not in chunk] for chunk in chunks]
            smaller = next(filter(self._fails_with, [*chunks, *rests]), None)
            if smaller is not None:
                failing, parts = smaller, 2 if smaller in chunks else max(parts - 1, 2)
            elif parts >= len(failing):
                break
            else:
                parts = min(len(failing), parts * 2)
        return failing

    def _fails_with(self, slugs: Iterable[str]) -> bool:
        closed = self._closed(slugs)
        if closed not in self._known:
            self._known[closed] = self._fails([s for s in self._needs if s in closed])
        return self._known[closed]

    def _closed(self, slugs: Iterable[str]) -> frozenset[str]:
        found = reach(slugs, lambda slug: self._needs.get(slug, ()))
        return frozenset(slug for slug in found if slug in self._needs)

    def _reduce(self, failing: frozenset[str]) -> frozenset[str]:
        """Return the smallest part of *failing* that fails, where a needed plugin is to blame."""
        for top in self._tops(failing):
            part = self._closed(failing - {top})
            if part != failing and self._fails_with(part):
                return self._reduce(part)
        return failing

    def _tops(self, slugs: frozenset[str]) -> tuple[str, ...]:
        """Return those that no other of them brings along, all of them in a cycle."""
        found = [
            slug
            for slug in self._needs
            if slug in slugs
            if not any(slug in self._closed([other]) for other in slugs if other != slug)
        ]
        return tuple(found or [slug for slug in self._needs if slug in slugs])


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
