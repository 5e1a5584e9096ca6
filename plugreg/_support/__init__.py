"""Helpers of all other packages.

This module has the helpers that each start needs: attributes, objects of each process, and names
of modules, that are created or imported at their first use.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from functools import cached_property

    from plugreg import exceptions as exceptions

    lazy = cached_property
else:

    class _Exceptions:
        def __getattr__(self, name: str) -> object:
            from plugreg import exceptions as module

            return getattr(module, name)

    # Making a class for each error takes a twelfth of a start, which raises none of them.
    exceptions = _Exceptions()
    """`plugreg.exceptions`, imported when the first of its errors is named."""

    class lazy:  # noqa: N801 - it is used as a decorator, like property.
        """An attribute whose value a method makes at the first access, and which then stays.

        Two threads that come first at once get the same value; the method may run in both, so it
        only makes the object and has no other effect.
        """

        def __init__(self, make: Callable[[Any], Any]) -> None:
            self._make = make
            self.__doc__ = make.__doc__

        def __get__(self, instance: Any, owner: type) -> Any:
            if instance is None:
                return self
            return instance.__dict__.setdefault(self._make.__name__, self._make(instance))


class PerProcess:
    """An object, such as a lock, that each process makes for itself when it first needs it.

    A lock that another thread holds while the process forks is never released in the child. All
    threads of a process get the same object, although two may call *make* at once.
    """

    # How many forks led to this process. It is faster to read than the number of the process.
    _forks: ClassVar[int | None] = None

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: dict[int | None, Any] = {}
        if PerProcess._forks is None:
            # Two threads may both register it, and a fork then counts twice.
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_count_fork)
            PerProcess._forks = 0

    def get(self) -> Any:
        """Return the object of this process."""
        forks = PerProcess._forks
        found = self._made.get(forks)
        # dict.setdefault returns the same object to two threads.
        return self._made.setdefault(forks, self._make()) if found is None else found

    def inherited(self) -> list[Any]:
        """Return the objects that parent processes made and this process inherited by a fork."""
        return [made for forks, made in list(self._made.items()) if forks != PerProcess._forks]


def _count_fork() -> None:
    PerProcess._forks = (PerProcess._forks or 0) + 1


def call_at_fork(**methods: Callable[[], None]) -> None:
    """Call bound methods at each fork of this process, for as long as their objects live.

    Nothing happens on systems that cannot fork.

    Args:
        methods: The methods by keyword of `os.register_at_fork`: ``before``, ``after_in_parent``
            and ``after_in_child``.
    """
    if hasattr(os, "register_at_fork"):
        # Python keeps such functions until the process ends, so they must not keep the object.
        os.register_at_fork(**{when: _weakly(method) for when, method in methods.items()})


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's ``__getattr__`` (PEP 562), which imports a name's module at its first use.

    Args:
        package: Name of the package.
        modules: The names in each module of the package, separated by blanks.
    """

    def find(name: str) -> object:
        from importlib import import_module

        for module, names in modules.items():
            if name in names.split():
                return getattr(import_module(f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
