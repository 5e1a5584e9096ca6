"""A host for plugins under test: a registry in memory that knows these plugins alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plugreg._support.slugs import near
from plugreg.discovery import objects
from plugreg.exceptions import PlugregError
from plugreg.hooks import PluginManager
from plugreg.mixins import MixinSpec
from plugreg.records import PluginFailure, Source
from plugreg.registry import PluginRegistry
from plugreg.schedules import PluginTask, TaskNotFoundError
from plugreg.storage import MemoryStorage
from plugreg.testing.before import OldSettings, write_old, write_values
from plugreg.testing.expecting import ExpectedFailure, describe
from plugreg.testing.moments import TestTime
from plugreg.testing.residue import ambient, changes, left_over, surroundings
from plugreg.testing.specs import import_object

if TYPE_CHECKING:
    from plugreg.api.access import Actor
    from plugreg.contract.values import ContractTerms
    from plugreg.settings.view import SettingsView
    from plugreg.testing.client import APIClient

MakeRegistry = Callable[..., PluginRegistry]
"""Makes the registry of a host, from keywords of `PluginRegistry`."""


class PluginHost:
    """A host with the plugins of a test, which are active from its construction on.

    Nothing that is installed, no environment variable and no file of a user is looked at. It is
    closed at the end of the test, which fails if a plugin failed unexpectedly, or left something
    behind.

    Args:
        parts: Classes or modules of hook specifications, capabilities (`MixinSpec`), and plugins:
            classes, objects, modules, ``"module:attr"``, or (slug, any of these) pairs.
        make_registry: Makes the registry from keywords; None makes a registry of the *parts* alone.
        host: Name of the host where *make_registry* is None; its pluggy markers count.
        settings: Values of settings by key for a single plugin; else by slug, then by key.
        stored: Settings that an older version of the only plugin has stored; see `stored`.
        isolate: Whether each plugin runs in a process of its own.
        residue: Whether changes that plugins leave behind fail the test.
        options: Further keywords of `PluginRegistry`.
    """

    def __init__(
        self,
        parts: Iterable[Any],
        *,
        make_registry: MakeRegistry | None = None,
        host: str = "host",
        settings: Mapping[str, Any] | None = None,
        stored: OldSettings | None = None,
        isolate: bool = False,
        residue: bool = True,
        options: Mapping[str, Any],
    ) -> None:
        specs, mixins, plugins = _sorted_parts(parts, host)
        self._slugs = [spec.slug for spec in objects.find(plugins, source=Source.BUILTIN).specs]
        self.failures: list[PluginFailure] = []
        """All failures until now, in their order."""
        self._expected: list[ExpectedFailure] = []
        self._reported = options.get("on_failure")
        self._checks_residue = residue
        self.time = TestTime(self._tasks, self._run)
        """The host's clock: ``time.advance(60)``."""
        storage = options.get("storage") or MemoryStorage()
        keywords: dict[str, Any] = {
            "builtin": [*plugins, *options.get("builtin", ())],
            "storage": storage,
            "path": (),
            "new_plugins": "active",
            "clock": self.time.monotonic,
            **{name: value for name, value in options.items() if name != "builtin"},
            "on_failure": self._note,
        }
        for name, found in (("hookspecs", specs), ("mixins", mixins)):
            if found:
                keywords[name] = [*found, *options.get(name, ())]
        if isolate:
            from plugreg.isolation import Isolated

            keywords["isolate"] = {slug: Isolated() for slug in self._slugs}
        self._before = surroundings()
        self.registry = _make(make_registry, host, keywords)
        """The registry."""
        self._write(storage, plugins, settings or {}, stored)
        self.registry.load()
        self._changed = ambient(self._before, surroundings())
        self.time.watch()

    # -- the plugins -------------------------------------------------------------------------

    @property
    def slug(self) -> str:
        """Slug of the plugin, if the host has a single plugin."""
        if len(self._slugs) != 1:
            raise ValueError(
                f"this host has {len(self._slugs)} plugins ({', '.join(self._slugs) or 'none'}); "
                f"say which one is meant: slug=…"
            )
        return self._slugs[0]

    @property
    def plugin(self) -> Any:
        """The object of the single plugin; None while it is not active."""
        return self.registry.get(self.slug).plugin

    @property
    def settings(self) -> SettingsView:
        """The settings of the single plugin; see ``registry.settings``."""
        return self.registry.settings(self.slug)

    def user(self, user: int, *, slug: str | None = None) -> SettingsView:
        """Return the settings of a user; see ``registry.user_settings``.

        Args:
            user: Number of the user.
            slug: The plugin, where the host has several.
        """
        return self.registry.user_settings(slug or self.slug, user=user)

    # -- operations of a host ----------------------------------------------------------------

    @property
    def call(self) -> Any:
        """Calls a hook: ``host.call(Hooks.price, item="tea")``; see ``registry.call``."""
        return self.registry.call

    @property
    def acall(self) -> Any:
        """Calls a hook from a coroutine; see ``registry.acall``."""
        return self.registry.acall

    def emit(self, event: str, /, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Emit an event; each plugin that wants it has processed it when this returns.

        Args:
            event: The event.
            *args: Its positional arguments.
            **kwargs: Its other arguments.

        Returns:
            The slugs of the plugins that wanted it.
        """
        return self.registry.events.emit(event, *args, **kwargs)

    def run_task(self, name: str) -> Any:
        """Run a task of a plugin now.

        Args:
            name: Name of the task, or its full name (``plugin.<slug>.<task>``).

        Returns:
            The result of the task; None if it failed, which is a failure of the plugin.

        Raises:
            TaskNotFoundError: If no plugin has the task.
        """
        names = [task.name for task in self._tasks()]
        found = [full for full in names if name in (full, full.split(".", 2)[2])]
        if not found:
            raise TaskNotFoundError(name, near(name, [full.split(".", 2)[2] for full in names]))
        return self._run(found[0]).value

    def client(self, actor: Actor | None = None) -> APIClient:
        """Return a client of the plugin API, without a server.

        Args:
            actor: Who asks; None is anonymous, whom every operation refuses.
        """
        from plugreg.api.http import Responder
        from plugreg.testing.client import APIClient

        return APIClient(Responder(self.registry), actor)

    # -- failures and residue ----------------------------------------------------------------

    def expect_failure(
        self, stage: str | None = None, match: str | None = None, *, slug: str | None = None
    ) -> ExpectedFailure:
        """Expect a failure: it does not fail the test, and its absence does.

        Args:
            stage: Stage of the failure, such as ``"call"``; None for any.
            match: Pattern that is searched in the message; None for any.
            slug: The plugin; None for any.

        Returns:
            The expectation. As a context manager it is judged at the end of its block.
        """
        stage = None if stage is None else str(stage)
        expected = ExpectedFailure(lambda: tuple(self.failures), stage, match, slug)
        self._expected.append(expected)
        return expected

    @property
    def residue(self) -> tuple[str, ...]:
        """Remaining changes of this process since the host was made, as clauses."""
        return changes(self._before, surroundings())

    def close(self) -> tuple[str, ...]:
        """Close the host, and return the faults, as sentences. Closing twice does nothing."""
        before = surroundings()
        self.registry.close()
        self._changed |= ambient(before, surroundings())
        faults = [
            f"{describe(failure)}\n{failure.traceback}".rstrip()
            for failure in self.failures
            if not any(expected.fits(failure) for expected in self._expected)
        ]
        for expected in self._expected:
            try:
                expected.check()
            except AssertionError as error:
                faults.append(str(error))
        if self._checks_residue:
            left = left_over(self._before, self._changed)
            faults += [f"after the plugin was switched off, {clause}" for clause in left]
        return tuple(faults)

    # -- the parts ---------------------------------------------------------------------------

    def _note(self, failure: PluginFailure) -> None:
        self.failures.append(failure)
        if self._reported is not None:
            self._reported(failure)

    def _tasks(self) -> tuple[PluginTask, ...]:
        return self.registry.schedules.tasks()

    def _run(self, name: str) -> Any:
        return self.registry.schedules.run(name)

    def _write(
        self, storage: Any, plugins: list[Any], settings: Mapping[str, Any], old: OldSettings | None
    ) -> None:
        if old is not None and settings:
            raise ValueError("settings= and stored= exclude each other; give what is stored first")
        if old is not None:
            write_old(storage, self.slug, old)
        if not settings:
            return
        by_slug = settings if len(self._slugs) != 1 else {self.slug: settings}
        given = dict(zip(self._slugs, plugins, strict=True))
        for slug, values in by_slug.items():
            if slug not in given:
                raise PlugregError(f"settings= names {slug!r}, which is no plugin of this host")
            write_values(storage, slug, _object_of(given[slug]), values)


def host_maker(
    parts: Sequence[Any], contract: ContractTerms, make_registry: MakeRegistry | None = None
) -> Callable[..., PluginHost]:
    """Return a factory of hosts for the checks of a plugin, from further keywords of `PluginHost`.

    Args:
        parts: The plugin, and the specifications and capabilities of its host.
        contract: The contract of the host.
        make_registry: Makes the registry, in place of the contract.
    """
    fixed = {} if make_registry is not None else {"host_version": contract.version}

    def make_host(*, options: Mapping[str, Any] | None = None, **named: Any) -> PluginHost:
        merged = {**fixed, **(options or {})}
        return PluginHost(
            parts, make_registry=make_registry, host=contract.host, options=merged, **named
        )

    return make_host


def _make(make_registry: MakeRegistry | None, host: str, keywords: Any) -> PluginRegistry:
    if make_registry is None:
        return PluginRegistry(host, **keywords)
    made = make_registry(**keywords)
    if not isinstance(made, PluginRegistry):
        raise TypeError(f"make_registry must return a PluginRegistry, not {type(made).__name__!r}")
    if made.storage is not keywords["storage"]:
        made.close()
        raise ValueError(
            "make_registry must pass its keywords on to PluginRegistry; it has used a store of "
            "its own, and a test must not write there"
        )
    return made


def _sorted_parts(parts: Iterable[Any], host: str) -> tuple[list[Any], list[MixinSpec], list[Any]]:
    """Return the specifications, the capabilities and the plugins among the parts."""
    specs, mixins, plugins = [], [], []
    manager = PluginManager(host)
    for part in parts:
        if isinstance(part, MixinSpec):
            mixins.append(part)
        elif _has_specs(manager, part):
            specs.append(part)
        else:
            plugins.append(part)
    return specs, mixins, plugins


def _has_specs(manager: PluginManager, part: Any) -> bool:
    if not (inspect.isclass(part) or inspect.ismodule(part)):
        return False
    with suppress(Exception):
        return any(manager.parse_hookspec_opts(part, name) is not None for name in dir(part))
    return False


def _object_of(plugin: Any) -> Any:
    if isinstance(plugin, tuple):
        plugin = plugin[1]
    return import_object(plugin) if isinstance(plugin, str) else plugin
