"""The isolated plugins of a registry: which they are, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plugreg._support import call_at_fork
from plugreg._support.frozen import replace
from plugreg._support.guard import Guard
from plugreg.install.generations import isolated_folders
from plugreg.isolation.options import Isolated, parse_isolate
from plugreg.records import (
    EMPTY,
    FAILED,
    ActivePlugin,
    NotLoaded,
    PluginFailure,
    PluginSpec,
    PluginState,
    Source,
    Stage,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.assembly import Assembly
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.load import Loading
    from plugreg.isolation.records import ProcessInfo
    from plugreg.isolation.remote import RemotePlugin


class IsolatedPlugins:
    """Knows the isolated plugins of a registry, and ends their processes.

    Making it imports nothing that only an isolated plugin needs.

    Args:
        parts: The parts of the registry. Its options say which plugins are isolated, and its
            installer which plugins an installation has isolated.

    Raises:
        TypeError: If the option is neither an `Isolated` nor a mapping of slugs to such.
    """

    def __init__(self, parts: Assembly) -> None:
        self._parts = parts
        self._remotes: set[RemotePlugin] = set()
        self._given = parse_isolate(parts.options.isolate)
        self._found: Mapping[str, Path] = EMPTY
        self._opens: dict[str, Callable[[BoundContext], None]] = {}
        call_at_fork(after_in_child=self._forget)

    def __del__(self) -> None:
        # Without an exit function: at the exit of the host its processes end by themselves.
        for remote in list(self._remotes):
            remote.kill()

    def options_of(self, spec: PluginSpec) -> Isolated | None:
        """Return the options of an isolated plugin, None if it is not isolated."""
        given = self._given
        if isinstance(given, Isolated):
            is_installed = spec.source in (Source.ENTRY_POINT, Source.DIRECTORY)
            options = given if is_installed else None
        else:
            options = given.get(spec.slug)
        # The folder is the generation in which the plugin was found.
        parent = None if spec.distribution is None else Path(spec.path or "").parent
        if parent is not None and parent == self._found.get(spec.slug):
            options = options or Isolated()
            if options.environment is None:
                options = replace(options, environment=str(parent))
        return options

    def folders(self) -> Sequence[tuple[str | None, Path]]:
        """Return where isolated plugins are installed: slug and folder, None for any plugin."""
        given, installer = self._given, self._parts.options.installer
        options = {None: given} if isinstance(given, Isolated) else given
        self._found = EMPTY if installer is None else isolated_folders(installer.environment)
        found: dict[str | None, Path] = dict(self._found.items())
        for slug, option in options.items():
            if option.environment is not None:
                from plugreg.isolation.environments import packages_folder

                folder = packages_folder(option.environment)
                if folder is not None:
                    found[slug] = folder
        return [*found.items()]

    def isolates(self, spec: PluginSpec) -> bool:
        """Return whether a plugin is isolated."""
        return self.options_of(spec) is not None

    def load(self, spec: PluginSpec) -> Loading | None:
        """Load a plugin in its process, None if it is not isolated.

        Nothing of it is imported here. Raises nothing because of the plugin.
        """
        options = self.options_of(spec)
        if options is None:
            return None
        from plugreg._lifecycle.load import Loading
        from plugreg.isolation.faults import failures_from_data
        from plugreg.isolation.loading import make_remote, take_in

        stage = Stage.IMPORT
        remote: RemotePlugin | None = None
        with Guard() as guard:
            remote = make_remote(spec, options, self._parts)
            self._remotes.add(remote)
            told = remote.start()
            failures = failures_from_data(spec.slug, told["failures"])
            held = told.get("held")
            if held is not None:
                remote.release()
                state = NotLoaded(state=PluginState(held["state"]), reason=str(held["reason"]))
                return Loading(held=state, failures=failures)
            stage = Stage.INIT
            loaded, self._opens[spec.slug] = take_in(spec, remote, told, self._parts)
            # Those of the attributes come with the loaded plugin, as they do in the host.
            return Loading(loaded=replace(loaded, failures=failures))
        assert guard.error is not None
        if remote is not None:
            remote.release()
        stage = Stage(getattr(guard.error, "stage", stage))
        return Loading(held=FAILED, failures=(PluginFailure.of(stage, spec.slug, guard.error),))

    def open(self, slug: str, context: BoundContext) -> None:
        """Get a plugin that was loaded last ready for service, if it is isolated.

        Raises IsolationError if it cannot be isolated, and exceptions of its process.
        """
        if slug in self._opens:
            self._opens.pop(slug)(context)

    def settle(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """End the processes of all plugins that are not in service."""
        self._opens.clear()
        serving = {id(active.plugin) for active in in_service.values()}
        for remote in list(self._remotes):
            if id(remote.stand_in()) not in serving:
                with Guard():
                    remote.release()
                self._remotes.discard(remote)

    def process_of(self, plugin: object) -> ProcessInfo | None:
        """Return facts on the process of a plugin by its stand-in, None for another object."""
        found = (remote for remote in list(self._remotes) if remote.stand_in() is plugin)
        return next((remote.info for remote in found), None)

    def processes(self) -> Mapping[str, ProcessInfo]:
        """Return facts on the process of each isolated plugin, by slug."""
        infos = {remote.slug: remote.info for remote in list(self._remotes)}
        return {slug: info for slug, info in sorted(infos.items()) if info.pid is not None}

    def _forget(self) -> None:
        for remote in list(self._remotes):
            remote.forget()
