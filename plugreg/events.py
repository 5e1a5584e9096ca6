"""``registry.events``: telling plugins what happens in the host (behaviour.md, section 14)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from plugreg._state.ledger import FailureLedger
from plugreg._support.guard import Guard, explain, plain, safe_repr
from plugreg.exceptions import PlugregError, RegistryNotReady
from plugreg.hooks import refuse
from plugreg.mixins.events import SPEC
from plugreg.records import ActivePlugin, PluginFailure, Snapshot, Stage

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_logger = logging.getLogger("plugreg")

_MIXIN: Final = SPEC.key


class EventError(PlugregError, ValueError):
    """An event, or what was taken from a queue as one, is not what it must be.

    ``field`` is ``event``, ``slug``, ``args`` or ``kwargs``, ``reason`` what was expected of it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"event, {self.field}: {self.reason}"


class EventNotQueuedError(PlugregError):
    """The host's pool or queue has refused an event for some plugins.

    ``missed`` are the slugs it was refused for, ``handed`` those it was taken for. The cause is
    what pool or queue raised first.
    """

    def __init__(self, event: str, missed: Iterable[str], handed: Iterable[str]) -> None:
        self.event = event
        self.missed = tuple(missed)
        self.handed = tuple(handed)
        super().__init__(event, self.missed, self.handed)

    def __str__(self) -> str:
        return (
            f"event {self.event!r} could not be queued for {', '.join(map(repr, self.missed))}; "
            f"look at the cause: the host's events= must take each delivery, or be open"
        )


class EventFailedError(PlugregError):
    """A plugin has failed to act on an event that a worker gave it; give it again later.

    ``message`` is that of the failure record, which has the traceback.
    """

    def __init__(self, event: str, slug: str, message: str) -> None:
        super().__init__(event, slug, message)
        self.event = event
        self.slug = slug
        self.message = message

    def __str__(self) -> str:
        return f"plugin {self.slug!r} failed: {self.message}; its record has the traceback"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventDelivery:
    """One event on its way to one plugin, for a queue.

    It can be pickled, and be JSON, as far as its arguments can: ``dataclasses.asdict(delivery)``
    one way, ``EventDelivery(**data)`` the other, whereby lists in ``args`` stay lists. Raises
    EventError for what is no delivery.
    """

    event: str
    slug: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("event", "slug"):
            object.__setattr__(self, name, _text(name, getattr(self, name)))
        # From a queue comes what its format has for them.
        args: object = self.args
        kwargs: object = self.kwargs
        if not isinstance(args, (list, tuple)):
            raise EventError("args", f"must be a list of arguments, not {safe_repr(args)}")
        if not isinstance(kwargs, Mapping) or not all(isinstance(each, str) for each in kwargs):
            raise EventError("kwargs", f"must be a dict by name, not {safe_repr(kwargs)}")
        object.__setattr__(self, "args", tuple(args))
        object.__setattr__(self, "kwargs", dict(kwargs))


Deliver = Callable[[EventDelivery], object]
"""The host's function that puts a delivery into its queue."""

Tell = Callable[..., object]
"""Tells plugins of one of plugreg's own events: its name, and its arguments by keyword."""

_MOST_ROUNDS: Final = 20
"""How often those who hear may do what is told in turn, before it is taken for a loop."""


class _Untold(threading.local):
    """What this thread has to tell yet, and whether it is telling now."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.is_telling = False


class EventOutbox:
    """Keeps what plugins are to be told while it may not be, for each thread and in its order.

    A queue may wait for its worker, which may wait for the change that is carried out: so it is
    told once that has ended.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._untold = _Untold()

    def add(self, event: str, /, **kwargs: Any) -> None:
        """Keep an event until :meth:`tell` is called in this thread."""
        self._untold.events.append((event, kwargs))

    def tell(self) -> None:
        """Tell what this thread has kept, and what comes of that, in order.

        Called by those who are being told, it does nothing: what they have caused is told after
        it, 20 times over; what still comes then would never end, and is dropped with an error in
        the log.
        """
        untold = self._untold
        if untold.is_telling:
            return
        untold.is_telling = True
        try:
            for _ in range(_MOST_ROUNDS):
                events, untold.events = untold.events, []
                for event, kwargs in events:
                    self._tell(event, **kwargs)
            if untold.events:
                _logger.error("events cause events without end; %d are dropped", len(untold.events))
        finally:
            untold.events = []
            untold.is_telling = False


class Events:
    """Hands events to the active plugins that want them. It keeps nothing.

    ``delivery`` says how: None, in the caller; an Executor, in a pool of threads of this process;
    a function of the host's, in a queue, whose workers call :meth:`process`. What a plugin raises
    is a failure record of stage ``call`` that names the event, and costs nobody else anything.
    A plugin that is switched off meanwhile is not called, whatever was queued for it. The order
    in which plugins hear is that of their activation in the caller, and any other way none.

    plugreg's own events are told to plugins alike, each in the process that has made the change,
    after it was published, outside of transactions, and before the call that made it returns. Who
    hears one may ask for changes; what these tell comes after it. Of changes that several threads
    make at a time, those of one thread come in their order:

    ``plugins_loaded``: after each load and reload;
    ``plugin_activated`` (``slug``, ``active``): after a wish has changed, and was carried out;
    ``active`` is the wish, and what came of it is in the plugin's record;
    ``plugin_installed`` (``slug``, ``distribution``, ``version``), ``plugin_uninstalled``
    (``slug``, ``distribution``): for each plugin of a distribution;
    ``plugin_setting_changed`` (``slug``, ``key``, ``user``: a number, or None for the plugin's
    own), without the value: after one was set to another value.

    A queue that refuses one of these is logged, and the change that it tells of stands.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        ledger: FailureLedger,
        refresh: Callable[[], object],
        delivery: Executor | Deliver | None = None,
    ) -> None:
        self._current = current
        self._ledger = ledger
        self._refresh = refresh
        self._deliver = self._way(delivery)

    def emit(self, event: str, /, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Tell plugins of an event; return the slugs of those it was handed to.

        ``event`` is any text, such as ``"order.placed"``. Arguments are handed on as they are: a
        plugin that changes one changes it for all, so give values that nobody can change. Each
        plugin is asked whether it wants the event, in the caller; one that fails at that, or
        answers with something false, is left out. In the caller, a plugin that was handed the
        event has acted on it, or failed.

        Raises EventError for ``event``, RegistryNotReady before load and after close, and
        EventNotQueuedError when pool or queue refuse: each plugin was tried, and to emit again
        reaches some of them twice.
        """
        event = _text("event", event)
        handed, missed, error = self._hand_out(self._current(), event, args, kwargs)
        if error is not None:
            raise EventNotQueuedError(event, missed, handed) from error
        return handed

    def process(self, delivery: EventDelivery) -> bool:
        """Have a plugin act on a delivery from the queue; False if it is not in service any more.

        What other processes have changed is taken in first, so that a plugin that was switched
        off there does not act here. Raises EventFailedError when the plugin fails, after that was
        recorded, so that the queue gives it again; what the queue does not know to be done is
        done again, too. Raises what a refresh raises: RegistryNotReady, StorageError,
        RegistryBusyError.
        """
        self._refresh()
        active = self._listener(delivery.slug)
        if active is None:
            return False
        failure = self._act(active, delivery)
        if failure is not None:
            raise EventFailedError(delivery.event, delivery.slug, failure.message)
        return True

    def tell(self, event: str, /, **kwargs: Any) -> None:
        """Emit one of plugreg's own events. Raises nothing but what belongs to the process."""
        try:
            snapshot = self._current()
        except RegistryNotReady:
            return  # Nobody is in service.
        _, missed, error = self._hand_out(snapshot, event, (), kwargs)
        if error is not None:
            _logger.error(
                "event %r could not be queued for %s: %s", event, missed, explain(error).message
            )

    # -- the parts ---------------------------------------------------------------------------

    def _way(self, delivery: Executor | Deliver | None) -> Deliver:
        if delivery is None:
            return self._act_if_active
        from concurrent.futures import Executor

        if isinstance(delivery, Executor):
            return partial(self._submit, delivery)
        if not callable(delivery):
            raise TypeError(
                f"events must be None, an Executor, or a function that takes an EventDelivery, "
                f"not {safe_repr(delivery)}"
            )
        return delivery

    def _hand_out(
        self, snapshot: Snapshot, event: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[str, ...], tuple[str, ...], Exception | None]:
        """Return who was handed the event, who was not because of an error, and the first error."""
        handed: list[str] = []
        missed: list[str] = []
        first: Exception | None = None
        # Where the host has switched events off, or nobody hears them, there is no such key.
        known = snapshot.active.values() if _MIXIN in snapshot.by_mixin else ()
        slugs = [each.slug for each in known if _MIXIN in each.enabled]
        for slug in slugs:
            # Those before it may have switched it off.
            active = self._listener(slug)
            if active is None or not self._wants(active, event):
                continue
            delivery = EventDelivery(event=event, slug=slug, args=args, kwargs=kwargs)
            try:
                self._deliver(delivery)
            except Exception as error:  # noqa: BLE001 - the host's queue may raise anything
                missed.append(slug)
                first = first or error
            else:
                handed.append(slug)
        return tuple(handed), tuple(missed), first

    def _listener(self, slug: str) -> ActivePlugin | None:
        """Return a plugin that is in service and hears events at this moment, else None."""
        try:
            snapshot = self._current()
        except RegistryNotReady:
            return None  # It was closed meanwhile.
        active = snapshot.active.get(slug)
        return active if active is not None and _hears(active, snapshot) else None

    def _wants(self, active: ActivePlugin, event: str) -> bool:
        with Guard() as guard:
            answer = active.plugin.wants_process_event(event)
            if type(answer) is CoroutineType:
                refuse(answer)
            return bool(answer)
        self._record(active, f"wants_process_event of event {event!r}", guard.error)
        return False

    def _act(self, active: ActivePlugin, delivery: EventDelivery) -> PluginFailure | None:
        with Guard() as guard:
            done = active.plugin.process_event(delivery.event, *delivery.args, **delivery.kwargs)
            if type(done) is CoroutineType:
                refuse(done)
            return None
        return self._record(active, f"event {delivery.event!r}", guard.error)

    def _act_if_active(self, delivery: EventDelivery) -> None:
        active = self._listener(delivery.slug)
        if active is not None:
            self._act(active, delivery)

    def _submit(self, executor: Executor, delivery: EventDelivery) -> None:
        future = executor.submit(self._act_if_active, delivery)
        future.add_done_callback(partial(_tell_lost, delivery))

    def _record(
        self, active: ActivePlugin, subject: str, error: BaseException | None
    ) -> PluginFailure:
        assert error is not None
        return self._ledger.record(
            PluginFailure.of(Stage.CALL, active.slug, error, subject=subject, what=subject)
        )


def _hears(active: ActivePlugin, snapshot: Snapshot) -> bool:
    # Where the host has switched events off, there is no such key.
    return _MIXIN in snapshot.by_mixin and _MIXIN in active.enabled


def _tell_lost(delivery: EventDelivery, future: Future[None]) -> None:
    """Log that a job of the pool did not run: it was cancelled, or not taken by another process."""
    error = None if future.cancelled() else future.exception()
    if future.cancelled() or error is not None:
        _logger.error(
            "event %r did not reach plugin %s: %s",
            delivery.event,
            delivery.slug,
            "the pool has cancelled it" if error is None else explain(error).message,
        )


def _text(name: str, given: object) -> str:
    if not isinstance(given, str) or not given:
        raise EventError(name, f"must be a text that is not empty, not {safe_repr(given)}")
    return plain(given)
