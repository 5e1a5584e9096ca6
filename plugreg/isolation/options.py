"""How a host isolates a plugin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from math import inf
from typing import Any, Literal

from plugreg._support.frozen import Frozen
from plugreg._support.guard import safe_repr
from plugreg._support.slugs import slugify


class Isolated(Frozen):
    """Options of a plugin that runs in its own process.

    Creating it starts nothing. A value may serve many plugins.

    Args:
        timeout: Seconds that a call may take. The process of a call that takes longer is killed.
        memory: Most bytes of address space of the process (RLIMIT_AS). None means no limit.
        cpu_seconds: Most seconds of CPU time that a call may use (RLIMIT_CPU), rounded up to
            whole seconds. None means no limit.
        start_timeout: Seconds that the process may take for each step of the activation.
        environment: Folder of an environment that was installed for the plugin, or a virtual
            environment. Its packages come before those of the host. None means the host's.
        python: Interpreter of the process. None means that of *environment*, else the host's.
        codec: Encoding of values. ``"json"`` sends values by the hook's annotations.
            ``"pickle"`` sends anything, and lets the plugin run code in the host: it is for
            plugins that are trusted and merely fragile.
        idle: Seconds without a call after which the process is ended; the next call starts it
            again. None means never.
        may_call: Hooks of the host that the plugin may call, as spec functions or names.
        workers: How many synchronous calls the process serves at a time, each in a thread.

    Raises:
        TypeError: If a number is none, or *may_call* is no collection of hooks.
        ValueError: If a number is too small, or *codec* is unknown.
    """

    timeout: float = 5.0
    memory: int | None = None
    cpu_seconds: float | None = None
    start_timeout: float = 10.0
    environment: str | os.PathLike[str] | None = None
    python: str | os.PathLike[str] | None = None
    codec: Literal["json", "pickle"] = "json"
    idle: float | None = None
    may_call: Iterable[Callable[..., Any] | str] = field(default=())
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("timeout", "start_timeout", "idle", "cpu_seconds", "memory", "workers"):
            number, is_whole = getattr(self, name), name in ("memory", "workers")
            if number is None and name in ("idle", "cpu_seconds", "memory"):
                continue
            if type(number) is not int and (is_whole or type(number) is not float):
                raise TypeError(f"{name}={number!r} is no {'whole ' * is_whole}number")
            if not 0 < number < inf:
                raise ValueError(f"{name}={number!r} is no number over 0")
        if self.codec not in ("json", "pickle"):
            raise ValueError(f"codec must be 'json' or 'pickle', not {self.codec!r}")
        if isinstance(self.may_call, str) or not isinstance(self.may_call, Iterable):
            raise TypeError(f"may_call must be a collection of hooks, not {self.may_call!r}")
        hooks = tuple(self.may_call)
        for hook in hooks:
            if not isinstance(getattr(hook, "__name__", hook), str):
                raise TypeError(f"a hook is its spec function or its name, not {hook!r}")
        object.__setattr__(self, "may_call", hooks)

    @property
    def allowed_hooks(self) -> frozenset[str]:
        """The names of the host's hooks that the plugin may call."""
        return frozenset(str(getattr(hook, "__name__", hook)) for hook in self.may_call)


def parse_isolate(isolate: Any) -> Isolated | Mapping[str, Isolated]:
    """Return the argument of a registry, with slugified slugs. Raises TypeError for another."""
    if isinstance(isolate, Isolated):
        return isolate
    if not isinstance(isolate, Mapping):
        raise TypeError(
            f"isolate must be an Isolated, or a dict of slug to Isolated, not {safe_repr(isolate)}"
        )
    for slug, options in isolate.items():
        if not isinstance(slug, str) or not isinstance(options, Isolated):
            raise TypeError(
                f"isolate[{safe_repr(slug)}] must be an Isolated, not {safe_repr(options)}"
            )
    return {slugify(slug): options for slug, options in isolate.items()}
