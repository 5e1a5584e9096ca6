"""The wall between plugin code and everything else: no exception of a plugin passes it.

Plugin code runs inside a :class:`Guard`. Its exceptions are faults of that plugin, kept for the
record. The exceptions of the process pass: KeyboardInterrupt, GeneratorExit, the cancellation of
the task that is running in this thread, and a RecursionError of a caller who was near the limit
already.
"""

from __future__ import annotations

import sys
import traceback
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, Self, cast

from plugreg._support.frozen import NamedTuple

LONGEST_MESSAGE: Final = 1_000
_LONGEST: Final = 50_000
"""How many characters of a message, and of a traceback, are kept."""

_MOST_FRAMES: Final = 100
_MOST_RELATED: Final = 50
"""How many frames of an exception are kept, and how many exceptions are formatted with it."""
_MOST_PRINTED: Final = 15
"""How many members of a group Python prints."""

_OWN_FILES: Final = (__file__.rpartition("_support")[0], "<plugreg.")
"""How the names of plugreg's files begin, and those of the code that it compiles."""


class Guard:
    """Context manager that keeps the exception of its body in ``error`` and suppresses it.

    It is used by a single ``with`` statement. ``error`` is None if the body ended normally. Nothing
    is logged or recorded here.
    """

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None or belongs_to_process(error):
            return False
        self.error = error
        return True


def belongs_to_process(error: BaseException) -> bool:
    """Return whether an exception must pass through every guard."""
    # isinstance() would ask the error for its __class__, which it may lie about or refuse.
    kind = type(error)
    if issubclass(kind, Exception):
        return issubclass(kind, RecursionError) and _is_deep()
    if issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
        return True
    # A plugin cannot create trio's cancellation itself.
    trio = sys.modules.get("trio")
    if trio is not None and issubclass(kind, getattr(trio, "Cancelled", ())):
        return True
    # A process without asyncio has no task that could be cancelled, so it is not imported.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        # A plugin can raise this. It is the host's if the running task is being cancelled.
        return (
            issubclass(kind, asyncio.CancelledError)
            and (task := asyncio.current_task()) is not None
            and task.cancelling() > 0
        )
    except Exception:  # noqa: BLE001 - no loop runs, or a plugin has put something in its place
        return False


def is_abort(error: BaseException) -> bool:
    """Return whether this is Ctrl-C, a cancellation, or a group of nothing else."""
    errors = [error]
    while errors:
        error = errors.pop()
        if issubclass(type(error), BaseExceptionGroup):
            # A subclass may show other members than it has.
            errors += BaseExceptionGroup.exceptions.__get__(error)
        elif not belongs_to_process(error):
            return False
    return True


def _is_deep() -> bool:
    """Return whether the caller of plugin code has used half of the recursion limit itself.

    Then the RecursionError is the caller's fault, not the plugin's.
    """
    depth, frame = 0, cast("FrameType | None", sys._getframe())
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth > sys.getrecursionlimit() // 2


def running_trio() -> Any:
    """Return trio if the calling code runs in a trio task, else None."""
    trio = sys.modules.get("trio")
    # While another thread imports it, it has not all of its names, and runs no loop.
    in_trio_task = getattr(getattr(trio, "lowlevel", None), "in_trio_task", None)
    return trio if in_trio_task is not None and in_trio_task() else None


class Explanation(NamedTuple):
    """An exception in strings: nothing refers to the exception or to its frames any more."""

    message: str
    exception_type: str
    traceback: str
    place: str


def explain(error: BaseException) -> Explanation:
    """Describe an exception in strings, whatever its own methods do.

    ``message`` is ``ExceptionType: last line``, ``exception_type`` the name with its module unless
    it is a builtin, and ``traceback`` the string that Python prints. ``place`` is the line that
    plugreg's code called and, if it is another line, the line that raised, as ``file:line``. All
    are plain strings that have a UTF-8 form; an overlong string is cut in the middle.

    An exception that is raised again keeps the frames of earlier raises, and all their objects.
    They are dropped here from its ``__traceback__``. An exception of an isolated plugin's process
    comes with its explanation.
    """
    with Guard():
        told = vars(error).get("_plugreg_explanation")
        if type(told) is Explanation:
            return told
    kind = type(error)
    # type's own descriptors are asked, since a metaclass may define properties of these names.
    name = plain(type.__dict__["__name__"].__get__(kind))
    qualified = name
    text = trace = place = ""
    with Guard():
        if kind.__module__ not in ("builtins", "__main__"):
            qualified = plain(f"{kind.__module__}.{kind.__qualname__}")
    with Guard() as guard:
        text = plain(str(error))
    if guard.error is not None:
        text = "(its text cannot be shown)"
    is_overlong = len(text) > _LONGEST
    # To format it, and to split it into lines, would take many times its size.
    text = cut(text, _LONGEST)
    with Guard():
        related = _related(error)
        for exception in related:
            _shorten(exception)
        place = _place_of(error)
        if is_overlong or len(related) > _MOST_RELATED:
            trace = plain("".join(traceback.format_tb(error.__traceback__))) + text
        else:
            trace = plain("".join(traceback.format_exception(error)))
    lines = [line for line in text.splitlines() if line.strip()]
    message = f"{name}: {lines[-1].strip()}" if lines else name
    return Explanation(
        cut(message, LONGEST_MESSAGE),
        cut(qualified, LONGEST_MESSAGE),
        cut(trace, _LONGEST),
        cut(place, LONGEST_MESSAGE),
    )


def _related(error: BaseException) -> list[BaseException]:
    """Return an exception and those formatted with it; if there are too many, only some."""
    found = {id(error): error}
    waiting = [error]
    while waiting and len(found) <= _MOST_RELATED:
        exception = waiting.pop()
        inside: tuple[BaseException, ...] = ()
        if issubclass(type(exception), BaseExceptionGroup):
            inside = BaseExceptionGroup.exceptions.__get__(exception)[:_MOST_PRINTED]
        for other in (exception.__cause__, exception.__context__, *inside):
            if other is not None and id(other) not in found:
                found[id(other)] = other
                waiting.append(other)
    return [*found.values()]


def _shorten(error: BaseException) -> None:
    """Drop frames of earlier raises, and the middle of an overlong traceback.

    Python puts the frames of each raise in front of those that an exception has already.
    """
    kept: list[TracebackType] = []
    trace = error.__traceback__
    while trace is not None:
        if kept and _begins_again(trace, kept):
            kept[-1].tb_next = None
            break
        kept.append(trace)
        trace = trace.tb_next
    if len(kept) > _MOST_FRAMES:
        kept[_MOST_FRAMES // 2 - 1].tb_next = kept[-_MOST_FRAMES // 2]


def _begins_again(trace: TracebackType, before: list[TracebackType]) -> bool:
    """Return whether an earlier raise of the same exception begins here.

    The function that caught it comes first each time. A function of plugreg does not occur twice
    in one raise. Another function may call itself; then its caller is the frame before.
    """
    code, caller = trace.tb_frame.f_code, trace.tb_frame.f_back
    return code is before[0].tb_frame.f_code and (
        _is_own(code) or (caller is not None and caller is not before[-1].tb_frame)
    )


def _place_of(error: BaseException) -> str:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not _is_own(code):
            places.append(plain(f"{code.co_filename}:{trace.tb_lineno}"))
        trace = trace.tb_next
    return " > ".join(dict.fromkeys([*places[:1], *places[-1:]]))


def _is_own(code: CodeType) -> bool:
    return code.co_filename.startswith(_OWN_FILES)


def places_of(error: BaseException) -> str:
    """Return where an exception came from, without its message, which may hold a secret."""
    return ", ".join(
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    )


def safe_repr(value: object) -> str:
    """Return ``repr(value)``, or a description of the object when its ``__repr__`` fails."""
    with Guard():
        return plain(repr(value))
    kind = plain(type.__dict__["__qualname__"].__get__(type(value)))
    return f"<{kind} object, whose repr fails>"


def safe_str(value: object) -> str:
    """Return ``str(value)``, or the result of :func:`safe_repr` when its ``__str__`` fails."""
    with Guard():
        return plain(str(value))
    return safe_repr(value)


def cut(text: str, longest: int) -> str:
    """Return ``text``, with its middle left out where it is longer than that."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


def plain(text: str) -> str:
    """Return ``text`` as a plain str that has a UTF-8 form.

    A plugin's string may be of a subclass, whose methods do anything, and have lone surrogates,
    which no log, store or client can write.
    """
    return str.encode(text, "utf-8", "backslashreplace").decode()
