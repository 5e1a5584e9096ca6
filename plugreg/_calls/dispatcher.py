"""Calling hooks so that one plugin's fault costs one result, and is known by that plugin's name.

``registry.hook`` is pluggy's relay and has pluggy's semantics; everything here is isolated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from plugreg._calls.circuits import Circuits
from plugreg._support.guard import Guard, belongs_to_process
from plugreg._support.per_process import PerProcess
from plugreg.exceptions import CircuitOpenError
from plugreg.hooks import (
    AsyncOnly,
    HookCallError,
    HookTable,
    Implementations,
    Keep,
    PluginManager,
    Position,
    Row,
    refuse,
)
from plugreg.observation import CallStats, Observation, RunningCall
from plugreg.records import PluginFailure

if TYPE_CHECKING:
    from plugreg._calls.aio import AsyncCalls, Begin, Step

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

FaultRecorder = Callable[[str, str, BaseException], PluginFailure | None]
"""Takes a plugin's name, a hook's name and what was raised; gives the record it kept of it."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What one implementation gave: a value, which may be None, or an error.

    ``slug`` is the plugin (or the name a host registered on the manager itself), ``error`` the
    exception and ``failure`` the record kept of it, both None when there was none, ``seconds``
    the time the implementation took. The error is CircuitOpenError, without a record, where the
    plugin was not called since its circuit is open. The repr leaves out the exception, which may
    quote a secret.
    """

    slug: str
    value: R | None = None
    error: BaseException | None = field(default=None, repr=False)
    failure: PluginFailure | None = None
    seconds: float = 0.0


class Dispatcher:
    """Calls hooks in isolation. It holds no implementations and lives as long as its manager.

    A hook is named by its spec function (``Hooks.price``, which types arguments and results), or
    by a text. Arguments are passed by keyword. All implementations that are in service when the
    call begins take part, whatever is activated or deactivated meanwhile.

    ``timeout`` is how many seconds each plugin may take in :meth:`acall` and :meth:`aoutcomes`,
    None is no limit. A synchronous call cannot be left, and has none. ``begin`` stands round each
    implementation in these, as what the manager has put round it does in other calls, and
    ``around`` in those of :meth:`run`.

    Each method raises UnknownHookError for a hook that nobody knows and HookCallError for
    arguments the spec does not have, lacks, or for a historic hook, and RegistryNotReady where
    ``check_ready`` does, which is asked until it has let one call pass. It raises nothing because
    of a plugin, but for what belongs to the process (KeyboardInterrupt and the like).
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
        begin: Begin | None = None,
        around: Callable[[Row], Row] | None = None,
    ) -> None:
        self._manager = manager
        self._circuits = Circuits(None) if circuits is None else circuits
        self._on_fault = _unless_refused(on_fault)
        self._keep = _keeper(self._on_fault)
        self._observation = observation
        self._check_ready = check_ready
        self._is_ready = False
        self._timeout = _positive(timeout)
        self._around = around
        # It keeps which plugins are busy, and what hangs here does not hang in a forked child.
        self._async_calls = PerProcess(partial(_async_calls, self._on_fault, begin))

    def bind(self, *, timeout: float | None) -> Dispatcher:
        """Return a dispatcher with another time limit, which shares everything else with this one.

        Raises ValueError for a limit that is not above 0.
        """
        bound = copy(self)
        bound._timeout = _positive(timeout)
        return bound

    # A hook that only tells comes first: of None no type of results can be inferred.
    @overload
    def call(
        self, hook: Callable[Concatenate[Any, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[None]: ...
    @overload
    def call(self, hook: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> list[None]: ...
    @overload
    def call(
        self, hook: Callable[Concatenate[Any, P], R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[R]: ...
    @overload
    def call(
        self, hook: Callable[P, R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[R]: ...
    @overload
    def call(self, hook: str, /, **kwargs: Any) -> list[Any]: ...

    def call(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        """Call every implementation and return the results that are not None, in call order.

        Always a list. Of a hook specified with ``firstresult`` it has at most the first result,
        and later implementations are not called. Wrappers run round the call, outermost first;
        one that fails costs only itself.
        """
        # Written out as it is, since another method here would cost a tenth of a call of ten.
        if args or not self._is_ready:
            self._check(hook, args)
        table = self._manager.table(hook)
        shortcut = table.shortcuts.get(len(kwargs))
        if shortcut is not None:
            pick, collect = shortcut
            try:
                picked = pick(kwargs)
            except KeyError:
                pass  # One is missing; which one is found out below.
            else:
                return collect(table.calls, self._keep, picked)
        value = self._wrapped(table, table.arguments(kwargs), first=table.firstresult)
        if table.firstresult:
            return [] if value is None else [value]
        return [each for each in value if each is not None]

    @overload
    def first(
        self, hook: Callable[Concatenate[Any, P], R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | None: ...
    @overload
    def first(
        self, hook: Callable[P, R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | None: ...
    @overload
    def first(self, hook: str, /, **kwargs: Any) -> Any: ...

    def first(self, hook: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return the first result that is not None, or None; later ones are not called.

        Wrappers see what the spec says they see: a single value if it says ``firstresult``,
        else a list of at most one.
        """
        table = self._table(hook, args)
        value = self._wrapped(table, table.arguments(kwargs), first=True)
        if table.firstresult:
            return value
        return next((each for each in value if each is not None), None)

    @overload
    def outcomes(
        self, hook: Callable[Concatenate[Any, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[None]]: ...
    @overload
    def outcomes(
        self, hook: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[None]]: ...
    @overload
    def outcomes(
        self, hook: Callable[Concatenate[Any, P], R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[R]]: ...
    @overload
    def outcomes(
        self, hook: Callable[P, R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[R]]: ...
    @overload
    def outcomes(self, hook: str, /, **kwargs: Any) -> list[Outcome[Any]]: ...

    def outcomes(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Outcome[Any]]:
        """Call every implementation and return one outcome for each, None results included.

        Wrappers do not run, and ``firstresult`` stops nothing here.
        """
        return [*self.iterate(hook, *args, **kwargs)]

    @overload
    def iterate(
        self, hook: Callable[Concatenate[Any, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Outcome[None]]: ...
    @overload
    def iterate(
        self, hook: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Outcome[None]]: ...
    @overload
    def iterate(
        self, hook: Callable[Concatenate[Any, P], R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Outcome[R]]: ...
    @overload
    def iterate(
        self, hook: Callable[P, R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Outcome[R]]: ...
    @overload
    def iterate(self, hook: str, /, **kwargs: Any) -> Iterator[Outcome[Any]]: ...

    def iterate(self, hook: Any, /, *args: Any, **kwargs: Any) -> Iterator[Outcome[Any]]:
        """Give the outcomes one by one, each as it comes, in call order.

        An implementation is called when its outcome is asked for, in the thread that asks: who
        stops asking calls no more of them. The arguments are checked, and it is settled who takes
        part, before this returns. Wrappers do not run, and ``firstresult`` stops nothing here.
        """
        table = self._table(hook, args)
        values = table.values(table.arguments(kwargs))
        return (self._outcome(row, values) for row in table.rows)

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
        """Hand a value through all implementations and return what they have made of it.

        The first argument of the hook's spec is the value: ``seed`` for the implementation that
        is called first, and for each later one what those before it have made of it. What one
        gives takes the value's place, unless it is None. One that fails costs only itself: the
        value stays as it was, but for what was changed inside of it. Without implementations
        ``seed`` is returned. Wrappers do not run, and ``firstresult`` stops nothing here.

        Raises HookCallError also for a hook without a spec, or whose spec takes no argument.
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
        value, *others = table.values(table.arguments({argument: seed, **kwargs}))
        for row in table.rows:
            outcome = self._outcome(row, (value, *others))
            if outcome.value is not None:
                value = outcome.value
        return value

    def explain(self, hook: Callable[..., Any] | str) -> tuple[Position, ...]:
        """Return all implementations of a hook in call order: ``(slug, reason)`` each.

        Wrappers come first, outermost first. The reason is a sentence: tryfirst or trylast, load
        order, or the plugins that it asks to be before or after, and which wishes are ignored.
        """
        self._check_ready()
        return self._manager.explain(hook)

    def reset(self, slug: str) -> None:
        """Close a plugin's circuit, so that it is called again at once; a closed one stays so."""
        self._circuits.reset(slug)

    def forget(self, slugs: Iterable[str]) -> None:
        """Forget circuits and numbers of plugins that are gone."""
        for slug in slugs:
            self._circuits.forget(slug)
            if self._observation is not None:
                self._observation.forget(slug)

    def stats(self) -> tuple[CallStats, ...]:
        """Return the calls of each hook of each plugin in numbers, what took most time first.

        Empty unless the host observes (``observe=True``).
        """
        return () if self._observation is None else self._observation.stats()

    def running(self, longer_than: float = 0.0) -> tuple[RunningCall, ...]:
        """Return the calls under way since more than so many seconds, each with its stack.

        Empty unless the host observes (``observe=True``).
        """
        return () if self._observation is None else self._observation.running(longer_than)

    @overload
    async def acall(
        self, hook: Callable[Concatenate[Any, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[None]: ...
    @overload
    async def acall(
        self, hook: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[None]: ...
    @overload
    async def acall(
        self,
        hook: Callable[Concatenate[Any, P], Awaitable[None]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[None]: ...
    @overload
    async def acall(
        self, hook: Callable[P, Awaitable[None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[None]: ...
    @overload
    async def acall(
        self,
        hook: Callable[Concatenate[Any, P], Awaitable[R | None]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[R]: ...
    @overload
    async def acall(
        self, hook: Callable[P, Awaitable[R | None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[R]: ...
    @overload
    async def acall(
        self, hook: Callable[Concatenate[Any, P], R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[R]: ...
    @overload
    async def acall(
        self, hook: Callable[P, R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[R]: ...
    @overload
    async def acall(self, hook: str, /, **kwargs: Any) -> list[Any]: ...

    async def acall(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        """Call every implementation as :meth:`call` does, from a coroutine, on asyncio or trio.

        Async implementations run concurrently, synchronous ones one after the other in a worker
        thread, with the caller's context variables; the loop is never blocked. The results are in
        call order, whatever ends first. What a synchronous implementation returns to be awaited
        is awaited. Of a ``firstresult`` hook one implementation waits for the other, since later
        ones must not be called. A wrapper that is an async generator changes the result with a
        second yield. Faults, which a plugin that overruns the time limit or is busy has too, are
        recorded in the worker thread. Raises what :meth:`call` raises, and RuntimeError on
        another loop. See :class:`plugreg._calls.aio.AsyncCalls` for time limits, cancellation
        and plugins that are busy.
        """
        table = self._table(hook, args)
        values = table.values(table.arguments(kwargs))
        value = await self._async_calls.get().results(
            table.hook.name,
            _steps(table.bare, values),
            _steps(table.wrappers, values),
            self._timeout,
            first=table.firstresult,
        )
        if table.firstresult:
            return [] if value is None else [value]
        return [each for each in value if each is not None]

    @overload
    async def aoutcomes(
        self, hook: Callable[Concatenate[Any, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[None]]: ...
    @overload
    async def aoutcomes(
        self, hook: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[None]]: ...
    @overload
    async def aoutcomes(
        self,
        hook: Callable[Concatenate[Any, P], Awaitable[None]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[Outcome[None]]: ...
    @overload
    async def aoutcomes(
        self, hook: Callable[P, Awaitable[None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[None]]: ...
    @overload
    async def aoutcomes(
        self,
        hook: Callable[Concatenate[Any, P], Awaitable[R | None]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[Outcome[R]]: ...
    @overload
    async def aoutcomes(
        self, hook: Callable[P, Awaitable[R | None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[R]]: ...
    @overload
    async def aoutcomes(
        self, hook: Callable[Concatenate[Any, P], R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[R]]: ...
    @overload
    async def aoutcomes(
        self, hook: Callable[P, R | None], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Outcome[R]]: ...
    @overload
    async def aoutcomes(self, hook: str, /, **kwargs: Any) -> list[Outcome[Any]]: ...

    async def aoutcomes(self, hook: Any, /, *args: Any, **kwargs: Any) -> list[Outcome[Any]]:
        """Call every implementation as :meth:`acall` does, and return one outcome for each.

        None results are included, wrappers do not run, and ``firstresult`` stops nothing here.
        """
        table = self._table(hook, args)
        steps = _steps(table.bare, table.values(table.arguments(kwargs)))
        answers = await self._async_calls.get().outcomes(table.hook.name, steps, self._timeout)
        return [Outcome(*each) for each in answers]

    def run(self, rows: Iterable[Row]) -> list[Outcome[Any]]:
        """Call functions of plugins that implement no hook as :meth:`outcomes` calls those of one.

        They take no values of a call.
        """
        around = self._around
        return [self._outcome(row if around is None else around(row), ()) for row in rows]

    async def arun(self, rows: Sequence[Row]) -> list[Outcome[Any]]:
        """Call the functions as :meth:`run` does, from a coroutine; all are of one name."""
        if not rows:
            return []
        calls, name = self._async_calls.get(), rows[0].hook
        answers = await calls.outcomes(name, _steps(rows, ()), self._timeout)
        return [Outcome(*each) for each in answers]

    def notify(self, plugin: Implementations, hook: str, **kwargs: Any) -> None:
        """Call a hook of one plugin alone, without wrappers; a fault is recorded as in a call."""
        with Guard() as guard:
            plugin.invoke(hook, **kwargs)
        if guard.error is not None:
            self._on_fault(plugin.name, hook, guard.error)

    # -- the parts ---------------------------------------------------------------------------

    def _table(self, hook: Any, args: tuple[Any, ...]) -> HookTable:
        if args or not self._is_ready:
            self._check(hook, args)
        return self._manager.table(hook)

    def _check(self, hook: Any, args: tuple[Any, ...]) -> None:
        self._check_ready()
        # Who may call once may call ever after.
        self._is_ready = True
        if args:
            name = self._manager.table(hook).hook.name
            raise HookCallError(f"arguments of hook {name!r} must be given by keyword")

    def _outcome(self, row: Row, values: Sequence[Any]) -> Outcome[Any]:
        """Call one implementation; what it raises is recorded."""
        started = perf_counter()
        with Guard() as guard:
            value = row.run(values)
            if type(value) is CoroutineType:
                value = refuse(value)
        seconds = perf_counter() - started
        if guard.error is None:
            return Outcome(row.slug, value, seconds=seconds)
        failure = self._on_fault(row.slug, row.hook, guard.error)
        return Outcome(row.slug, error=guard.error, failure=failure, seconds=seconds)

    def _wrapped(self, table: HookTable, arguments: dict[str, Any], *, first: bool) -> Any:
        """Run the implementations inside the wrappers; the shape of the value is the spec's."""
        values = table.values(arguments)
        inside: list[tuple[Row, Generator[None, Any, Any]]] = []
        try:
            for row in table.wrappers:
                generator = self._enter(row, values)
                if generator is not None:
                    inside.append((row, generator))
            results = table.run(arguments, self._keep, first=first)
            value: Any = next(iter(results), None) if table.firstresult else results
            while inside:
                value = self._leave(*inside.pop(), table, value)
        finally:
            # Some are left when what was raised belongs to the process: they are told to end,
            # whatever they make of it.
            for _, generator in reversed(inside):
                with Guard():
                    generator.close()
        return value

    def _enter(self, row: Row, values: Sequence[Any]) -> Generator[None, Any, Any] | None:
        with Guard() as guard:
            generator: Generator[None, Any, Any] = row.run(values)
            try:
                next(generator)
            except StopIteration:
                raise RuntimeError("hook wrapper did not yield") from None
            return generator
        assert guard.error is not None
        self._keep(row, guard.error)
        return None

    def _leave(
        self, row: Row, generator: Generator[None, Any, Any], table: HookTable, value: Any
    ) -> Any:
        """Hand ``value`` to a wrapper and return what it makes of it; if it fails, ``value``."""
        with Guard() as guard:
            try:
                # A copy, since a wrapper that empties the list and then fails costs only itself.
                generator.send(value if table.firstresult else value.copy())
            except StopIteration as end:
                changed = end.value
            else:
                generator.close()
                raise RuntimeError("hook wrapper has a second yield")
            if table.firstresult:
                return changed
            if not issubclass(type(changed), list):
                raise TypeError(f"hook wrapper must return a list, not {type(changed).__name__}")
            return list(changed)
        assert guard.error is not None
        self._keep(row, guard.error)
        return value


def _unless_refused(on_fault: FaultRecorder) -> FaultRecorder:
    """Return what keeps no record of a call that was not made: that the circuit is open has one."""

    def record(slug: str, hook: str, error: BaseException) -> PluginFailure | None:
        # A plugin may raise the same error itself, also one that another plugin's outcome had.
        if type(error) is CircuitOpenError and error.slug == slug and error.is_refusal:
            return None
        return on_fault(slug, hook, error)

    return record


def _keeper(on_fault: FaultRecorder) -> Keep:
    """Return what records a fault, and raises again what belongs to the process."""

    def keep(row: Row, error: BaseException) -> None:
        if belongs_to_process(error):
            raise error
        on_fault(row.slug, row.hook, error)

    return keep


def _async_calls(on_fault: FaultRecorder, begin: Begin | None) -> AsyncCalls:
    # Imported at the first such call, as few hosts make one.
    from plugreg._calls.aio import AsyncCalls

    return AsyncCalls(on_fault, begin)


def _steps(rows: Sequence[Row], values: Sequence[Any]) -> list[Step]:
    """Return what an asynchronous call runs, with async implementations as they really are."""
    from plugreg._calls.aio import Step

    steps = []
    for row in rows:
        function = row.function
        is_async = type(function) is AsyncOnly
        real = row._replace(function=function.function) if type(function) is AsyncOnly else row
        steps.append(Step(row.slug, is_async, partial(real.run, values)))
    return steps


def _positive(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a number of seconds above 0, or None, not {timeout!r}")
    return timeout
