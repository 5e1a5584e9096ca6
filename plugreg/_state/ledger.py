"""The ledger of what went wrong: a small locked table beside the snapshots."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from plugreg._support.guard import Guard
from plugreg._support.per_process import PerProcess
from plugreg._support.redact import Scrubber
from plugreg.records import PluginFailure, Stage

_logger = logging.getLogger("plugreg")

MOST_PER_PLUGIN: Final = 100
"""How many records of one plugin are kept: a plugin may raise a class of its own each time."""

OnFailure = Callable[[PluginFailure], object]


ScrubberOf = Callable[[str], Scrubber]
"""Gives what hides the protected values of the plugin with this slug, known or not."""


class FailureLedger:
    """Keeps each failure once, with a count; tells of each new one once.

    Two records are the same failure when stage, slug, subject, exception type and the place where
    it was raised agree; the newer message is kept. Of one plugin the 100 last seen are kept.
    ``on_failure`` is called in the thread that recorded it, without the lock; it is guarded and
    may read the ledger. Nothing is written anywhere else, so the ledger is of one process and ends
    with it.

    What comes in is scrubbed of the plugin's protected values before it is compared, kept, logged
    or told of. ``scrubber_of`` is asked without the lock; if it raises, of the record's texts only
    the type of the exception is kept. ``outdate`` is called, with the lock, with the slug of each
    plugin that a record is kept of, so that nothing goes on saying that it has none.
    """

    def __init__(
        self,
        on_failure: OnFailure | None = None,
        scrubber_of: ScrubberOf = lambda _: Scrubber(),
        outdate: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._on_failure = on_failure
        self._conditions: dict[str, Callable[[str], bool]] = {}
        self._scrubber_of = scrubber_of
        self._outdate = outdate
        self._lock = PerProcess(threading.Lock)
        self._failures: dict[str, dict[tuple[str, ...], PluginFailure]] = {}

    def hide_unless(self, subject: str, holds: Callable[[str], bool]) -> None:
        """Show failures with this subject only while *holds* is true of their slug."""
        self._conditions[subject] = holds

    def record(self, failure: PluginFailure) -> PluginFailure:
        """Add one failure, or count it if it is known; return the record now kept."""
        failure = self._scrubbed(failure)
        with self._lock.get():
            known = self._failures.get(failure.slug, {}).get(failure.identity)
            kept = failure if known is None else known.again(failure)
            self._put(kept)
        if known is None:
            self._tell(kept)
        return kept

    def record_call(self, slug: str, subject: str, error: BaseException | None) -> PluginFailure:
        """Record the exception that a plugin raised; *subject* names the call in the message."""
        assert error is not None
        return self.record(PluginFailure.of(Stage.CALL, slug, error, subject=subject, what=subject))

    def replace(
        self,
        failures: Iterable[PluginFailure],
        outdated: Callable[[PluginFailure], bool],
        unless: Callable[[], bool] = lambda: False,
    ) -> tuple[PluginFailure, ...]:
        """Let ``failures`` take the place of all records that are ``outdated``.

        One that is there before and after goes on counting; an outdated one that is not repeated
        is gone. Returns the records now kept for ``failures``. ``unless`` is asked at the last
        moment, with the lock; if it holds, nothing changes and no record is returned.
        """
        new, kept = [], []
        failures = [self._scrubbed(each) for each in failures]
        with self._lock.get():
            if unless():
                return ()
            before = {each.identity: each for each in self._each() if outdated(each)}
            for each in before.values():
                own = self._failures[each.slug]
                del own[each.identity]
                if not own:
                    del self._failures[each.slug]
            for failure in failures:
                own = self._failures.get(failure.slug, {})
                known = own.get(failure.identity) or before.get(failure.identity)
                record = failure if known is None else known.again(failure)
                self._put(record)
                kept.append(record)
                if known is None:
                    new.append(record)
        for record in new:
            self._tell(record)
        return tuple(kept)

    def all(self) -> tuple[PluginFailure, ...]:
        """Return every record, in the order in which they were first seen."""
        with self._lock.get():
            found = list(self._each())
        return self._shown(found)

    def has(self, slug: str) -> bool:
        """Tell whether there are records of one plugin. Takes no lock."""
        return bool(self._failures.get(slug))

    def of(self, slug: str) -> tuple[PluginFailure, ...]:
        """Return the records of one plugin, in the order in which they were first seen."""
        with self._lock.get():
            found = list(self._failures.get(slug, {}).values())
        return self._shown(found)

    def _scrubbed(self, failure: PluginFailure) -> PluginFailure:
        with Guard() as guard:
            scrubber = self._scrubber_of(failure.slug)
            # Names stand for what they name, so that of these no short value hides the whole.
            return replace(
                failure,
                message=scrubber.cut_text(failure.message),
                subject=scrubber.value(failure.subject),
                exception_type=scrubber.value(failure.exception_type),
                traceback=scrubber.cut_text(failure.traceback),
                place=scrubber.value(failure.place),
            )
        reason = type(guard.error).__name__
        _logger.error(
            "texts of plugin %s are withheld: they cannot be scrubbed (%s)", failure.slug, reason
        )
        message = failure.exception_type or "its text is withheld, since it could not be scrubbed"
        return replace(failure, message=message, traceback="", place="")

    def _shown(self, found: Iterable[PluginFailure]) -> tuple[PluginFailure, ...]:
        true = [
            failure
            for failure in found
            if (holds := self._conditions.get(failure.subject)) is None or holds(failure.slug)
        ]
        return tuple(sorted(true, key=lambda each: each.first_seen))

    def _each(self) -> Iterator[PluginFailure]:
        return (each for own in self._failures.values() for each in own.values())

    def _put(self, failure: PluginFailure) -> None:
        own = self._failures.setdefault(failure.slug, {})
        own[failure.identity] = failure
        if len(own) > MOST_PER_PLUGIN:
            oldest = min(own.values(), key=lambda each: each.last_seen)
            del own[oldest.identity]
        self._outdate(failure.slug)

    def _tell(self, failure: PluginFailure) -> None:
        # A record need not mean that the plugin failed: one that must be set up is in service.
        _logger.warning("plugin %s, at %s: %s", failure.slug, failure.stage, failure.message)
        if self._on_failure is None:
            return
        with Guard() as guard:
            self._on_failure(failure)
        if guard.error is not None:
            # It may have been called, and so be chained to, where a plugin's exception is handled.
            fault = self._scrubbed(PluginFailure.of(failure.stage, failure.slug, guard.error))
            _logger.error("on_failure itself failed\n%s", fault.traceback or fault.message)
