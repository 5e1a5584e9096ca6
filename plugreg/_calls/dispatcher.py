"""Calling hooks in isolation: a plugin's fault affects only its own result.

``registry.hook`` is pluggy's relay and has pluggy's semantics; everything here is isolated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from plugreg._support import PerProcess, lazy
from plugreg._support.guard import Guard, belongs_to_process
from plugreg.hooks import HookCallError, HookTable

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec, TypeAlias, overload

    from typing_extensions import TypeVar

    from plugreg._calls.aio import AsyncCalls
    from plugreg._calls.circuits import Circuits
    from plugreg._calls.outcome import FaultRecorder, Outcome
    from plugreg._calls.supervision import Supervision
    from plugreg.hooks import HookSubset, Implementations, Keep, PluginManager, Position, Row
    from plugreg.observation import CallStats, Observation, RunningCall

    P = ParamSpec("P")
    R = TypeVar("R", default=None)
    """The return type of a spec besides None."""
    V = TypeVar("V")

    Method: TypeAlias = Callable[Concatenate[Any, P], R]
    """A spec that stands in a class, and so has a *self*."""

    Function: TypeAlias = Callable[P, R]
    """A spec that stands in a module."""


class Dispatcher:
    """Calls hooks in isolation.

    It holds no implementations and lives as long as its manager. A hook is named by its spec
    function (``Hooks.price``, which types arguments and results), or by a string. Arguments are
    passed by keyword. All implementations in service when the call begins take part, whatever is
    activated or deactivated meanwhile. Any thread may call.

    No method raises because of a plugin, except what belongs to the process (KeyboardInterrupt
    and the like). Every method that calls a hook raises UnknownHookError for an unknown hook, and
    HookCallError for wrong arguments or a historic hook.

    Args:
        manager: Holds the implementations.
        on_fault: Records the exception of an implementation.
        check_ready: Raises RegistryNotReady while hooks must not be called. It is not asked again
            once it has let a call pass.
        circuits: The circuits that :meth:`reset` closes, if there are any.
        observation: The numbers that :meth:`stats` and :meth:`running` return.
        timeout: Seconds that each plugin may take in :meth:`acall` and :meth:`aoutcomes`; None
            means no limit. A synchronous call cannot be left, and has no limit.
        supervision: Supervises each call that the manager's own tables do not.

    Raises:
        ValueError: If *timeout* is not above 0.
    """

    def __init__(
        self,
        manager: PluginManager,
        on_fault: FaultRecorder,
        check_ready: Callable[[], object] = lambda: None,
        circuits: Circuits | None = None,
        observation: Observation | None = None,
        *,
        timeout: float | None = None,
        supervision: Supervision | None = None,
    ) -> None:
        self._manager: PluginManager | HookSubset = manager
        self._circuits = circuits
        self._on_fault = on_fault
        self._keep = _make_keep(on_fault)
        self._observation = observation
        self._check_ready = check_ready
        self._is_ready = False
        self._timeout = _check_timeout(timeout)
        self._supervision = supervision
        # They know the busy plugins, and a thread that hangs here does not exist in a fork.
        self._async_calls = PerProcess(partial(_make_async_calls, on_fault, supervision))

    def bind(
        self, *, timeout: float | EllipsisType | None = ..., only: Iterable[str] | None = None
    ) -> Dispatcher:
        """Return a dispatcher with another time limit or fewer plugins that shares all else.

        Args:
            timeout: Seconds that each plugin may take in :meth:`acall` and :meth:`aoutcomes`;
                None means no limit, an ellipsis that of this dispatcher.
            only: Slugs of the only plugins to call; wrappers of the others do not run either. A
                plugin that is not in service is not called. None means all.

        Raises:
            ValueError: If *timeout* is not above 0.
            TypeError: If *only* is a string.
        """
        bound = copy(self)
        if timeout is not ...:
            bound._timeout = _check_timeout(timeout)
        if only is not None:
            if isinstance(only, str):
                raise TypeError(f"only must be a collection of slugs, not {only!r}; write [it]")
            bound._manager = self._manager.subset(only)
        return bound

    if TYPE_CHECKING:

        @overload
        def call(
            self, hook: Method[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[R]: ...

        @overload
        def call(
            self, hook: Function[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[R]: ...

        @overload
        def call(self, hook: str, /, **kwargs: Any) -> list[Any]: ...

    def call(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        """Call every implementation and return the results that are not None.

        Wrappers run round the call, outermost first; a wrapper that fails costs only itself.

        Args:
            hook: The spec function, or the hook's name.
            *args: Refused; they stand here for the type checker.
            **kwargs: Arguments of the hook.

        Returns:
            Always a list, in call order. For a ``firstresult`` hook it has at most the first
            result, and later implementations are not called.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic.
            RegistryNotReady: Before load and after close.
        """
        # Written out, since another method here would cost a tenth of a call of ten.
        if args or not self._is_ready:
            self._check(hook, args)
        table = self._manager.table(hook)
        shortcut = table.shortcuts.get(len(kwargs))
        if shortcut is not None:
            pick, collect = shortcut
            try:
                picked = pick(kwargs)
            except KeyError:
                pass  # An argument is missing; table.arguments() below names it.
            else:
                return collect(table.calls, self._keep, picked)
        return self._call_wrapped(table, kwargs, first=table.firstresult)

    if TYPE_CHECKING:

        @overload
        def first(
            self, hook: Method[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> R | None: ...

        @overload
        def first(
            self, hook: Function[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> R | None: ...

        @overload
        def first(self, hook: str, /, **kwargs: Any) -> Any: ...

    def first(self, hook: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return the first result that is not None, or None; later implementations are not called.

        Wrappers see the shape of the spec: a single value for a ``firstresult`` hook, else a list
        of at most one.

        Args:
            hook: The spec function, or the hook's name.
            *args: Refused; they stand here for the type checker.
            **kwargs: Arguments of the hook.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic.
            RegistryNotReady: Before load and after close.
        """
        results = self._call_wrapped(self._table(hook, args), kwargs, first=True)
        return results[0] if results else None

    if TYPE_CHECKING:

        @overload
        def outcomes(
            self, hook: Method[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Outcome[R]]: ...

        @overload
        def outcomes(
            self, hook: Function[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Outcome[R]]: ...

        @overload
        def outcomes(self, hook: str, /, **kwargs: Any) -> list[Outcome[Any]]: ...

    def outcomes(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Outcome[Any]]:
        """Call every implementation and return an outcome for each.

        None results are included. Wrappers do not run, and ``firstresult`` stops nothing here.

        Args:
            hook: The spec function, or the hook's name.
            *args: Refused; they stand here for the type checker.
            **kwargs: Arguments of the hook.

        Returns:
            The outcomes in call order.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic.
            RegistryNotReady: Before load and after close.
        """
        if args or not self._is_ready:
            self._check(hook, args)
        table = self._manager.table(hook)
        return [*self._outcomes(table.rows, table.arguments(kwargs))]

    if TYPE_CHECKING:

        @overload
        def iterate(
            self, hook: Method[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> Iterator[Outcome[R]]: ...

        @overload
        def iterate(
            self, hook: Function[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> Iterator[Outcome[R]]: ...

        @overload
        def iterate(self, hook: str, /, **kwargs: Any) -> Iterator[Outcome[Any]]: ...

    def iterate(self, hook: Any, /, *args: Any, **kwargs: Any) -> Iterator[Outcome[Any]]:
        """Yield the outcomes in call order, calling implementations on demand.

        Implementations run in the iterating thread, and only while it iterates. The
        arguments are checked, and the implementations chosen, before this returns. Wrappers do
        not run, and ``firstresult`` stops nothing here.

        Args:
            hook: The spec function, or the hook's name.
            *args: Refused; they stand here for the type checker.
            **kwargs: Arguments of the hook.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic.
            RegistryNotReady: Before load and after close.
        """
        if args or not self._is_ready:
            self._check(hook, args)
        table = self._manager.table(hook)
        return self._outcomes(table.rows, table.arguments(kwargs))

    if TYPE_CHECKING:

        @overload
        def reduce(
            self,
            hook: Callable[Concatenate[Any, V, P], R | None],
            seed: V,
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> V | R: ...

        @overload
        def reduce(
            self,
            hook: Callable[Concatenate[V, P], R | None],
            seed: V,
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> V | R: ...

        @overload
        def reduce(self, hook: str, seed: Any, /, **kwargs: Any) -> Any: ...

    def reduce(self, hook: Any, seed: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Pass a value through all implementations and return the last result.

        The value is the first argument of the hook's spec. Each result that is not None becomes
        the value of the next implementation. An implementation that fails leaves the value as it
        was, unless it has changed the object itself. Wrappers do not run, and ``firstresult``
        stops nothing here.

        Args:
            hook: The spec function, or the hook's name.
            seed: The value of the implementation that is called first.
            *args: Refused; they stand here for the type checker.
            **kwargs: The other arguments of the hook.

        Returns:
            The last result; *seed* without any.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic,
                or has no spec with an argument.
            RegistryNotReady: Before load and after close.
        """
        table = self._table(hook, args)
        name = table.hook.name
        if table.spec is None or not table.parameters:
            raise HookCallError(f"hook {name!r} has no specification with an argument for a seed")
        argument = table.parameters[0]
        if argument in kwargs:
            raise HookCallError(
                f"argument {argument!r} of hook {name!r} is the seed; leave it out by name"
            )
        arguments = table.arguments({argument: seed, **kwargs})
        value = seed
        for row in table.rows:
            [outcome] = self._outcomes((row,), {**arguments, argument: value})
            if outcome.value is not None:
                value = outcome.value
        return value

    def explain(self, hook: Callable[..., Any] | str) -> tuple[Position, ...]:
        """Return all implementations of a hook in call order, with reasons.

        Args:
            hook: The spec function, or the hook's name.

        Returns:
            ``(slug, reason)`` pairs, wrappers first, outermost first. The reason is a sentence:
            tryfirst or trylast, load order, or the plugins that it asks to be before or after,
            and which of these constraints are ignored.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            RegistryNotReady: Before load and after close.
        """
        self._check_ready()
        return self._manager.explain(hook)

    def reset(self, slug: str) -> None:
        """Close a plugin's circuit, so that the plugin is called again at once.

        Args:
            slug: The plugin. A closed circuit stays closed.
        """
        if self._circuits is not None:
            self._circuits.reset(slug)

    def forget(self, slugs: Iterable[str]) -> None:
        """Forget circuits and numbers of plugins that are gone.

        Args:
            slugs: The plugins.
        """
        for slug in slugs:
            if self._circuits is not None:
                self._circuits.forget(slug)
            if self._observation is not None:
                self._observation.forget(slug)

    def stats(self) -> tuple[CallStats, ...]:
        """Return the numbers of calls of each plugin's hooks, the most time first.

        Empty unless the host observes (``observe=True``).
        """
        return () if self._observation is None else self._observation.stats()

    def running(self, longer_than: float = 0.0) -> tuple[RunningCall, ...]:
        """Return the calls under way, each with its stack, the longest first.

        Args:
            longer_than: Seconds since which a call must be under way.

        Returns:
            The calls; an empty tuple unless the host observes (``observe=True``).
        """
        observation = self._observation
        return () if observation is None else observation.running(longer_than)

    if TYPE_CHECKING:

        @overload
        async def acall(
            self, hook: Method[P, Awaitable[R | None] | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[R]: ...

        @overload
        async def acall(
            self,
            hook: Function[P, Awaitable[R | None] | None],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> list[R]: ...

        @overload
        async def acall(
            self, hook: Method[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[R]: ...

        @overload
        async def acall(
            self, hook: Function[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[R]: ...

        @overload
        async def acall(self, hook: str, /, **kwargs: Any) -> list[Any]: ...

    async def acall(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        """Call every implementation from a coroutine, on asyncio or trio.

        Async implementations run concurrently, synchronous ones in turn in a worker thread, with
        the caller's context variables; the loop is never blocked. An awaitable that a synchronous
        implementation returns is awaited. The implementations of a ``firstresult`` hook run in
        turn. A wrapper that is an async generator changes the result with a second yield.

        An implementation that overruns the time limit is cancelled and has two seconds to clean
        up. A synchronous one cannot be cancelled. Code that goes on is left alone, and its plugin
        is busy: other calls of the plugin fail until the code returns. When the caller is
        cancelled, all that runs has two seconds to end. Faults are recorded in the worker thread.

        Args:
            hook: The spec function, or the hook's name.
            *args: Refused; they stand here for the type checker.
            **kwargs: Arguments of the hook.

        Returns:
            The results that are not None, in call order, whichever ends first.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic.
            RegistryNotReady: Before load and after close.
            RuntimeError: If neither asyncio nor trio runs here.
        """
        table = self._table(hook, args)
        arguments = table.arguments(kwargs)
        calls: AsyncCalls = self._async_calls.get()
        return await calls.results(table, arguments, self._timeout)

    if TYPE_CHECKING:

        @overload
        async def aoutcomes(
            self, hook: Method[P, Awaitable[R | None] | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Outcome[R]]: ...

        @overload
        async def aoutcomes(
            self,
            hook: Function[P, Awaitable[R | None] | None],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> list[Outcome[R]]: ...

        @overload
        async def aoutcomes(
            self, hook: Method[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Outcome[R]]: ...

        @overload
        async def aoutcomes(
            self, hook: Function[P, R | None], /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Outcome[R]]: ...

        @overload
        async def aoutcomes(self, hook: str, /, **kwargs: Any) -> list[Outcome[Any]]: ...

    async def aoutcomes(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Outcome[Any]]:
        """Call every implementation as :meth:`acall` does; return the outcomes.

        None results are included, wrappers do not run, and ``firstresult`` stops nothing here.

        Args:
            hook: The spec function, or the hook's name.
            *args: Refused; they stand here for the type checker.
            **kwargs: Arguments of the hook.

        Returns:
            The outcomes in call order.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            HookCallError: If arguments are missing, unknown or positional, or the hook is historic.
            RegistryNotReady: Before load and after close.
            RuntimeError: If neither asyncio nor trio runs here.
        """
        table = self._table(hook, args)
        calls: AsyncCalls = self._async_calls.get()
        return await calls.outcomes(
            table.hook.name, table.bare, table.arguments(kwargs), self._timeout
        )

    def run(self, rows: Iterable[Row]) -> list[Outcome[Any]]:
        """Call functions that implement no hook, as :meth:`outcomes` calls a hook's.

        Args:
            rows: The functions, which take no values.
        """
        if self._supervision is not None:
            rows = map(self._supervision.around, rows)
        return [*self._outcomes(rows, {})]

    async def arun(self, rows: Sequence[Row]) -> list[Outcome[Any]]:
        """Call the functions as :meth:`run` does, from a coroutine.

        Args:
            rows: The functions, which take no values, and all have one name.
        """
        if not rows:
            return []
        calls: AsyncCalls = self._async_calls.get()
        return await calls.outcomes(rows[0].hook, rows, {}, self._timeout)

    def call_watched(self, hook: str, watch: Callable[[str], object] | None, **kwargs: Any) -> None:
        """Call every implementation as :meth:`call` does.

        Args:
            hook: The hook's name.
            watch: Called with the slug before each implementation, None for nothing.
            **kwargs: Arguments of the hook.
        """
        table = self._manager.table(hook)
        if watch is not None:
            around = _unchanged if self._supervision is None else self._supervision.around

            def watched(row: Row) -> Row:
                function = around(row).function

                def call(*values: Any) -> Any:
                    watch(row.slug)
                    return function(*values)

                return row._replace(function=call)

            table = HookTable(table.hook, watched)
        self._call_wrapped(table, kwargs, first=table.firstresult)

    def notify(self, plugin: Implementations, hook: str, **kwargs: Any) -> None:
        """Call a hook of a single plugin, without wrappers, and record a fault.

        Args:
            plugin: The plugin's implementations.
            hook: The hook's name.
            **kwargs: Arguments of the hook.
        """
        with Guard() as guard:
            plugin.invoke(hook, **kwargs)
        if guard.error is not None:
            self._on_fault(plugin.slug, hook, guard.error)

    # -- the parts ---------------------------------------------------------------------------

    def _table(self, hook: Any, args: tuple[Any, ...]) -> HookTable:
        if args or not self._is_ready:
            self._check(hook, args)
        return self._manager.table(hook)

    def _check(self, hook: Any, args: tuple[Any, ...]) -> None:
        self._check_ready()
        # A caller that may call once may call ever after.
        self._is_ready = True
        if args:
            name = self._manager.table(hook).hook.name
            raise HookCallError(f"arguments of hook {name!r} must be given by keyword")

    @lazy
    def _outcomes(self) -> Callable[[Iterable[Row], Mapping[str, Any]], Iterator[Outcome[Any]]]:
        """Function that calls implementations on demand, and yields an outcome for each."""
        # Imported at the first such call, as a start makes none.
        from plugreg._calls.outcome import make_outcomes

        return make_outcomes(self._on_fault)

    @lazy
    def _call_in_wrappers(self) -> Callable[..., list[Any]]:
        # Imported at the first such call, as few hooks have wrappers.
        from plugreg._calls.wrappers import call_in_wrappers

        return call_in_wrappers

    def _call_wrapped(
        self, table: HookTable, given: Mapping[str, Any], *, first: bool
    ) -> list[Any]:
        """Run the implementations inside the wrappers; return the results that are not None."""
        arguments = table.arguments(given)
        if table.wrappers:
            return self._call_in_wrappers(table, arguments, self._keep, first=first)
        return table.loop(first)(table.calls, self._keep, table.pick(arguments))


def _unchanged(row: Row) -> Row:
    return row


def _make_keep(on_fault: FaultRecorder) -> Keep:
    """Return a function that records a fault, or lets Ctrl-C and the like pass."""

    def keep(row: Row, error: BaseException) -> None:
        if belongs_to_process(error):
            raise error
        on_fault(row.slug, row.hook, error)

    return keep


def _make_async_calls(on_fault: FaultRecorder, supervision: Supervision | None) -> AsyncCalls:
    # Imported at the first such call, as few hosts make such calls.
    from plugreg._calls.aio import AsyncCalls

    return AsyncCalls(on_fault, None if supervision is None else supervision.begin)


def _check_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a number of seconds above 0, or None, not {timeout!r}")
    return timeout
