"""Stepping a hook wrapper, a generator, to its yield and to its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Wrapper = Generator[None, Any, Any]


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
