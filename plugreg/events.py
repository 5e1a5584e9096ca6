"""``registry.events``: events, handed to the plugins that want them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from plugreg._state.ledger import FailureLedger
from plugreg._support.frozen import Frozen
from plugreg._support.guard import Guard, explain, plain, safe_repr
from plugreg.exceptions import FormattedError, RegistryNotReady
from plugreg.hooks import refuse
from plugreg.mixins.events import SPEC
from plugreg.records import ActivePlugin, PluginFailure, Snapshot

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_logger = logging.getLogger("plugreg")


class EventError(FormattedError, ValueError):
    """An event, or a delivery that was taken from a queue, is malformed.

    Args:
        field: ``event``, ``slug``, ``args`` or ``kwargs``.
        reason: The expected value.
    """

    field: str
    reason: str
    template = "event, {field}: {reason}"


class EventNotQueuedError(FormattedError):
    """The host's pool or queue has refused an event for some plugins.

    The first exception of the pool or queue is the cause.

    Args:
        event: The event.
        missed: Slugs of the plugins it was refused for.
        handed: Slugs of the plugins it was taken for.
    """

    event: str
    missed: tuple[str, ...]
    handed: tuple[str, ...]
    template = """event {event!r} could not be queued for {missed};
    look at the cause: the host's events= must take each delivery, or be open"""


class EventFailedError(FormattedError):
    """A plugin has failed to process a delivery; hand the delivery to it again later.

    Args:
        event: The event.
        slug: The plugin.
        message: Message of the failure record, which has the traceback.
    """

    event: str
    slug: str
    message: str
    template = "plugin {slug!r} failed: {message}; its record has the traceback"


class EventDelivery(Frozen):
    """An event on its way to a plugin, for a queue.

    It can be pickled, and be JSON, as far as its arguments can: ``dataclasses.asdict(delivery)``
    writes it, ``EventDelivery(**data)`` reads it. Lists in ``args`` stay lists.

    Args:
        event: The event.
        slug: The plugin.
        args: Positional arguments of the event.
        kwargs: Keyword arguments of the event.

    Raises:
        EventError: If an argument has another type.
    """

    event: str
    slug: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("event", "slug"):
            object.__setattr__(self, name, _check_string(name, getattr(self, name)))
        # A queue's format may have other types for them.
        args: object = self.args
        kwargs: object = self.kwargs
        if not isinstance(args, (list, tuple)):
            raise EventError("args", f"must be a list of arguments, not {safe_repr(args)}")
        if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
            raise EventError("kwargs", f"must be a dict by name, not {safe_repr(kwargs)}")
        object.__setattr__(self, "args", tuple(args))
        object.__setattr__(self, "kwargs", dict(kwargs))


Deliver = Callable[[EventDelivery], object]
"""The host's function that puts a delivery into its queue."""


class Events:
    """Hands events to the active plugins that want them. Keeps nothing.

    An exception of a plugin is recorded at stage ``call``, with the event's name, and costs no
    other plugin anything. A plugin that was deactivated meanwhile is not called, whatever was
    queued for it. In the caller, plugins receive an event in activation order; in a pool or queue
    there is no order.

    plugreg emits events of its own, in the process that has made the change. The change is
    published then, no transaction is open, and the call that made it has not returned yet. A
    plugin may ask for changes; the events of these follow. Events of a thread keep their order:

    ``plugins_loaded``: after each load and reload;
    ``plugin_activated`` (``slug``, ``active``): after the desired state has changed and was
    carried out; ``active`` is the desired state, and the plugin's record has the result;
    ``plugin_installed`` (``slug``, ``distribution``, ``version``), ``plugin_uninstalled``
    (``slug``, ``distribution``): for each plugin of a distribution;
    ``plugin_setting_changed`` (``slug``, ``key``, ``user``: a number, or None for the plugin's
    own), without the value: after a setting was set to another value.

    A queue that refuses such an event is logged, and the change stands.

    Args:
        current: Returns the snapshot; raises RegistryNotReady before load and after close.
        ledger: Records the faults.
        refresh: Acquires the changes of other processes.
        delivery: None calls plugins in the caller, an Executor in its threads. A function puts
            each delivery into the host's queue, whose workers call :meth:`process`.

    Raises:
        TypeError: If *delivery* is none of these.
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
        self._deliver = self._choose_delivery(delivery)

    def emit(self, event: str, /, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Hand an event to the plugins that want it.

        Each plugin is asked in the caller whether it wants the event. A plugin that raises then,
        or answers with something false, is left out. Without a pool or queue, each plugin has
        processed the event, or failed, when this returns.

        Args:
            event: Any string, such as ``"order.placed"``.
            *args: Positional arguments. All plugins receive the same objects, so give values
                that nobody can change.
            **kwargs: Keyword arguments, likewise.

        Returns:
            The slugs of the plugins that the event was handed to.

        Raises:
            EventError: If *event* is no string, or empty.
            RegistryNotReady: Before load and after close.
            EventNotQueuedError: If the pool or queue refuses. Each plugin was tried; emitting
                again reaches some of them twice.
        """
        event = _check_string("event", event)
        handed: list[str] = []
        missed: list[str] = []
        first: Exception | None = None
        for plugin in self._current().with_mixin(SPEC.key):
            # A plugin before it may have deactivated it.
            active = self._find_listener(plugin.slug)
            if active is None or not self._is_wanted(active, event):
                continue
            delivery = EventDelivery(event=event, slug=plugin.slug, args=args, kwargs=kwargs)
            try:
                self._deliver(delivery)
            except Exception as error:  # noqa: BLE001 - the host's queue may raise anything
                missed.append(plugin.slug)
                first = first or error
            else:
                handed.append(plugin.slug)
        if first is not None:
            raise EventNotQueuedError(event, tuple(missed), tuple(handed)) from first
        return tuple(handed)

    def process(self, delivery: EventDelivery) -> bool:
        """Have a plugin process a delivery from the queue.

        A refresh comes first, so that a plugin that another process has deactivated does not run.
        A queue that hands the same delivery over twice has it processed twice.

        Args:
            delivery: The delivery that the host's queue has kept.

        Returns:
            Whether the plugin was called; False if it is not active any more.

        Raises:
            EventFailedError: If the plugin fails. The fault is recorded; hand it over again.
            RegistryNotReady: Before load and after close.
            StorageError: If the refresh cannot read the storage.
            RegistryBusyError: If the refresh waits too long for another change.
        """
        self._refresh()
        active = self._find_listener(delivery.slug)
        if active is None:
            return False
        failure = self._call(active, delivery)
        if failure is not None:
            raise EventFailedError(delivery.event, delivery.slug, failure.message)
        return True

    def notify(self, event: str, /, **kwargs: Any) -> None:
        """Emit an event of plugreg itself; a refusal of the queue is logged.

        Args:
            event: The event.
            **kwargs: Its arguments.
        """
        try:
            self.emit(event, **kwargs)
        except RegistryNotReady:
            return  # No plugin is active.
        except EventNotQueuedError as error:
            reason = explain(error.__cause__ or error).message
            _logger.error(  # noqa: TRY400 - one line says it
                "event %r could not be queued for %s: %s", event, error.missed, reason
            )

    # -- the parts ---------------------------------------------------------------------------

    def _choose_delivery(self, delivery: Executor | Deliver | None) -> Deliver:
        if delivery is None:
            return self._call_if_active
        from concurrent.futures import Executor

        if isinstance(delivery, Executor):
            return partial(self._submit, delivery)
        if not callable(delivery):
            raise TypeError(
                f"events must be None, an Executor, or a function that takes an EventDelivery, "
                f"not {safe_repr(delivery)}"
            )
        return delivery

    def _find_listener(self, slug: str) -> ActivePlugin | None:
        """Return a plugin that is active and receives events at this moment, else None."""
        try:
            snapshot = self._current()
        except RegistryNotReady:
            return None  # It was closed meanwhile.
        active = snapshot.active.get(slug)
        # Where the host has switched events off, there is no such key.
        is_on = SPEC.key in snapshot.by_mixin
        return active if is_on and active is not None and SPEC.key in active.enabled else None

    def _is_wanted(self, active: ActivePlugin, event: str) -> bool:
        with Guard() as guard:
            return bool(_refuse_async(active.plugin.wants_process_event(event)))
        subject = f"wants_process_event of event {event!r}"
        self._ledger.record_call(active.slug, subject, guard.error)
        return False

    def _call(self, active: ActivePlugin, delivery: EventDelivery) -> PluginFailure | None:
        with Guard() as guard:
            process = active.plugin.process_event
            _refuse_async(process(delivery.event, *delivery.args, **delivery.kwargs))
            return None
        return self._ledger.record_call(active.slug, f"event {delivery.event!r}", guard.error)

    def _call_if_active(self, delivery: EventDelivery) -> None:
        active = self._find_listener(delivery.slug)
        if active is not None:
            self._call(active, delivery)

    def _submit(self, executor: Executor, delivery: EventDelivery) -> None:
        future = executor.submit(self._call_if_active, delivery)
        future.add_done_callback(partial(_log_lost, delivery))


def _refuse_async(answer: Any) -> Any:
    return refuse(answer) if type(answer) is CoroutineType else answer


def _log_lost(delivery: EventDelivery, future: Future[None]) -> None:
    """Log a delivery that the pool has cancelled, or could not take."""
    error = None if future.cancelled() else future.exception()
    reason = "the pool has cancelled it" if error is None else explain(error).message
    if future.cancelled() or error is not None:
        _logger.error("event %r did not reach plugin %s: %s", delivery.event, delivery.slug, reason)


def _check_string(name: str, given: object) -> str:
    if not isinstance(given, str) or not given:
        raise EventError(name, f"must be a string that is not empty, not {safe_repr(given)}")
    return plain(given)
