"""The ledger of failures: a small locked table beside the snapshots."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from plugreg._support import PerProcess
from plugreg._support.frozen import replace
from plugreg._support.guard import Guard
from plugreg.records import PluginFailure, Stage

if TYPE_CHECKING:
    from plugreg._support.redact import Scrubber

_logger = logging.getLogger("plugreg")

MOST_PER_PLUGIN: Final = 100
"""Number of records of a plugin that are kept: each may have an exception type of its own."""

OnFailure = Callable[[PluginFailure], object]


ScrubberOf = Callable[[str], "Scrubber"]
"""Returns the scrubber of a plugin's protected values by its slug, known or not."""


def hides_nothing(_slug: str) -> Scrubber:
    """Return the scrubber of a plugin without protected values."""
    from plugreg._support.redact import Scrubber

    return Scrubber()


class FailureLedger:
    """Keeps each failure once, with a count, and reports each new failure once.

    Two records are the same failure if stage, slug, subject, exception type and the place where it
    was raised agree; the newer message is kept. The 100 last seen records of a plugin are kept.
    The ledger itself belongs to a process and ends with it; the heartbeat stores copies.

    Failures are scrubbed of the plugin's protected values before they are compared, kept, logged
    or reported. If *scrubber_of* raises, only the exception type of a record is kept.

    Args:
        on_failure: Called with each new failure in the thread that recorded it, without the lock.
            It is guarded and may read the ledger.
        scrubber_of: Called without the lock.
        outdate: Called with the slug of each plugin that a failure is kept of, with the lock, so
            that no older record of the plugin says that there is none.
    """

    def __init__(
        self,
        on_failure: OnFailure | None = None,
        scrubber_of: ScrubberOf = hides_nothing,
        outdate: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._on_failure = on_failure
        self._conditions: dict[str, Callable[[str], bool]] = {}
        self._scrubber_of = scrubber_of
        self._outdate = outdate
        self._lock = PerProcess(threading.Lock)
        self._failures: dict[str, dict[tuple[str, ...], PluginFailure]] = {}
        self.failed: Final = self._failures.keys()
        """The plugins that there are records of. Reading it takes no lock."""
        self.changes = 0
        """A number that grows with each change of a record. Reading it takes no lock."""

    def hide_unless(self, subject: str, holds: Callable[[str], bool]) -> None:
        """Show failures with this subject only while *holds* is true of their slug."""
        self._conditions[subject] = holds

    def record(self, failure: PluginFailure) -> PluginFailure:
        """Add a failure, or count it if it is known; return the record that is kept."""
        failure = self._scrub(failure)
        with self._lock.get():
            known = self._failures.get(failure.slug, {}).get(failure.identity)
            record = self._add(failure, known)
        if known is None:
            self._report(record)
        return record

    def record_call(self, slug: str, subject: str, error: BaseException | None) -> PluginFailure:
        """Record the exception that a plugin raised; *subject* names the call in the message."""
        assert error is not None
        return self.record(PluginFailure.of(Stage.CALL, slug, error, subject=subject, what=subject))

    def replace(
        self,
        failures: Iterable[PluginFailure],
        outdated: Callable[[PluginFailure], bool],
        unless: Callable[[], bool] = lambda: False,
        *,
        slug: str | None = None,
    ) -> tuple[PluginFailure, ...]:
        """Replace all records, or those of *slug*, that are *outdated* by *failures*.

        A failure that is there before and after goes on counting. *unless* is called at the last
        moment, with the lock: if it holds, nothing changes and no record is returned.

        Returns the records that are kept for *failures*.
        """
        new, kept = [], []
        failures = [self._scrub(failure) for failure in failures]
        with self._lock.get():
            if unless():
                return ()
            records = self._records() if slug is None else self._failures.get(slug, {}).values()
            before = {record.identity: record for record in records if outdated(record)}
            self.changes += len(before)
            for record in before.values():
                own = self._failures[record.slug]
                del own[record.identity]
                if not own:
                    del self._failures[record.slug]
            for failure in failures:
                own = self._failures.get(failure.slug, {})
                known = own.get(failure.identity) or before.get(failure.identity)
                kept.append(self._add(failure, known))
                if known is None:
                    new.append(kept[-1])
        for record in new:
            self._report(record)
        return tuple(kept)

    def all(self) -> tuple[PluginFailure, ...]:
        """Return every record, in the order in which they were first seen."""
        with self._lock.get():
            records = list(self._records())
        return self._shown(records)

    def version(self) -> tuple[int, int]:
        """Return a value that differs once other failures are shown, also by their conditions."""
        return self.changes, len(self.all())

    def to_store(self) -> tuple[PluginFailure, ...]:
        """Return every record without values that are protected by now, in the same order."""
        return tuple(map(self._scrub, self.all()))

    def of(self, slug: str) -> tuple[PluginFailure, ...]:
        """Return the records of a plugin, in the order in which they were first seen."""
        with self._lock.get():
            records = list(self._failures.get(slug, {}).values())
        return self._shown(records)

    def _scrub(self, failure: PluginFailure) -> PluginFailure:
        with Guard() as guard:
            scrubber = self._scrubber_of(failure.slug)
            # A name is replaced only where it equals a short protected value, not where it contains
            # one.
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
            "messages of plugin %s are withheld: they cannot be scrubbed (%s)", failure.slug, reason
        )
        message = failure.exception_type or "message is withheld, since it could not be scrubbed"
        return replace(failure, message=message, traceback="", place="")

    def _shown(self, records: Iterable[PluginFailure]) -> tuple[PluginFailure, ...]:
        shown = [
            record
            for record in records
            if (holds := self._conditions.get(record.subject)) is None or holds(record.slug)
        ]
        return tuple(sorted(shown, key=lambda record: record.first_seen))

    def _records(self) -> Iterator[PluginFailure]:
        return (record for own in self._failures.values() for record in own.values())

    def _add(self, failure: PluginFailure, known: PluginFailure | None) -> PluginFailure:
        """Keep a failure, counted on from its known record, and return the record."""
        record = failure if known is None else known.again(failure)
        self.changes += 1
        own = self._failures.setdefault(record.slug, {})
        own[record.identity] = record
        if len(own) > MOST_PER_PLUGIN:
            oldest = min(own.values(), key=lambda record: record.last_seen)
            del own[oldest.identity]
        self._outdate(record.slug)
        return record

    def _report(self, failure: PluginFailure) -> None:
        with Guard() as guard:
            if self._on_failure is not None:
                self._on_failure(failure)
                return
        # A record need not mean that the plugin failed: a plugin that must be set up is active.
        _logger.warning("plugin %s, at %s: %s", failure.slug, failure.stage, failure.message)
        if guard.error is not None:
            # It may be chained to a plugin's exception, which was being handled.
            fault = self._scrub(PluginFailure.of(failure.stage, failure.slug, guard.error))
            _logger.error("on_failure itself failed\n%s", fault.traceback or fault.message)
