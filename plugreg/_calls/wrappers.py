"""Wrappers round the implementations of a hook."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from plugreg._support.guard import Guard
from plugreg.hooks import HookTable, Keep, Row

Wrapper = Generator[None, Any, Any]
"""A hook wrapper, stepped to its yield and to its end."""


def enter_wrapper(wrapper: Wrapper) -> Wrapper:
    """Run a wrapper to its yield. Raises RuntimeError if it has none."""
    try:
        next(wrapper)
    except StopIteration:
        raise RuntimeError("hook wrapper did not yield") from None
    return wrapper


def leave_wrapper(wrapper: Wrapper, value: Any, *, is_list: bool) -> Any:
    """Send a wrapper the value inside it, and return the value outside.

    A list is copied, so that a wrapper that changes it and then fails costs only itself.
    """
    try:
        wrapper.send(value.copy() if is_list else value)
    except StopIteration as end:
        result = end.value
        return check_list(result) if is_list and type(result) is not list else result
    wrapper.close()
    raise RuntimeError("hook wrapper has a second yield")


def check_list(value: Any) -> list[Any]:
    """Return a wrapper's result as a plain list. Raises TypeError if it is no list."""
    if not issubclass(type(value), list):
        raise TypeError(f"hook wrapper must return a list, not {type(value).__name__}")
    return list(value)


def call_in_wrappers(
    table: HookTable, arguments: Mapping[str, Any], keep: Keep, *, first: bool
) -> list[Any]:
    """Run the implementations inside the wrappers; return the results that are not None."""
    is_list = not table.firstresult
    entered: list[tuple[Row, Wrapper]] = []
    try:
        for row in table.wrappers:
            try:
                entered.append((row, enter_wrapper(row.function(*row.pick(arguments)))))
            except BaseException as error:  # noqa: BLE001 - recorded, or raised again
                keep(row, error)
        results = table.loop(first)(table.calls, keep, table.pick(arguments))
        if not entered:
            return results
        value: Any = results if is_list else next(iter(results), None)
        while entered:
            row, wrapper = entered.pop()
            try:
                value = leave_wrapper(wrapper, value, is_list=is_list)
            except BaseException as error:  # noqa: BLE001 - recorded, or raised again
                keep(row, error)
    except BaseException:
        # It belongs to the process. The wrappers are closed, whatever they make of it.
        for _, wrapper in reversed(entered):
            with Guard():
                wrapper.close()
        raise
    return [result for result in (value if is_list else (value,)) if result is not None]
