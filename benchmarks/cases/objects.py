"""Plugins that need no site: objects that a host gives itself. This is no group of cases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pluggy import HookimplMarker, HookspecMarker, PluginManager

from plugreg import PluginRegistry, hookimpl, hookspec

HOST = "bench"
spec = HookspecMarker(HOST)
impl = HookimplMarker(HOST)


class Hooks:
    """What is asked, in plugreg's words."""

    @hookspec
    def price(self, item: str) -> float | None: ...

    @hookspec(firstresult=True)
    def owner(self, item: str) -> str | None: ...


class PluggyHooks:
    """The same in pluggy's words."""

    @spec
    def price(self, item: str) -> float | None: ...

    @spec(firstresult=True)
    def owner(self, item: str) -> str | None: ...


class Answers:
    """A plugin of either: both markers stand on its methods."""

    def __init__(self, number: int = 0, *, owns: bool = False) -> None:
        self.number = number
        self.owns = owns

    @impl
    @hookimpl
    def price(self, item: str) -> float | None:  # noqa: ARG002
        return 1.5

    @impl
    @hookimpl
    def owner(self, item: str) -> str | None:  # noqa: ARG002
        return "me" if self.owns else None


class Wrapper:
    """A plugin that only looks on."""

    @impl(wrapper=True)
    def price(self) -> Any:
        return (yield)


def answers(size: int) -> list[Answers]:
    """Return plugins of which the one that is asked last owns."""
    return [Answers(number, owns=number == 0) for number in range(size)]


def registry_of(plugins: Sequence[object], **options: Any) -> PluginRegistry:
    """Return a loaded registry in which all these plugins are active, and no others."""
    registry = PluginRegistry(
        HOST,
        hookspecs=[Hooks],
        group="no.such",
        builtin=[(f"plugin-{number}", each) for number, each in enumerate(plugins)],
        new_plugins="active",
        **options,
    )
    report = registry.load()
    assert len(report.active) == len(plugins), report.failures[:1]
    return registry


@cache
def plain_registry(size: int) -> PluginRegistry:
    """Return the registry that all share who only read it."""
    return registry_of(answers(size))


@cache
def wrapped_registry(size: int) -> PluginRegistry:
    """Return the same with a wrapper beside."""
    return registry_of([*answers(size), Wrapper()])


@cache
def plain_manager(size: int) -> PluginManager:
    """Return the manager that all share who only call."""
    return manager_of(answers(size))


def manager_of(plugins: Sequence[object]) -> PluginManager:
    """Return a manager of pluggy's with these plugins."""
    manager = PluginManager(HOST)
    manager.add_hookspecs(PluggyHooks)
    for number, each in enumerate(plugins):
        manager.register(each, f"plugin-{number}")
    return manager
