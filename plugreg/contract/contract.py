"""The contract itself: made of a registry or of specs, written, read, compared, checked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from plugreg.contract.values import (
    ArgumentContract,
    Change,
    CheckReport,
    ContractTerms,
    HookContract,
    InstalledReport,
    MixinContract,
)
from plugreg.hooks.signatures import HookSignature, signatures, signatures_of

if TYPE_CHECKING:
    from plugreg.mixins import MixinSpec
    from plugreg.registry import PluginRegistry

_EVENTS = (
    "plugin_activated",
    "plugin_installed",
    "plugin_setting_changed",
    "plugin_uninstalled",
    "plugins_loaded",
)
"""The events that plugreg itself emits."""


class Contract(ContractTerms):
    """The plugin interface of a host: hooks, mixins and events of a version.

    It is a value: two contracts with the same contents are equal, and it changes with nothing. Its
    fields are those of `ContractTerms`.
    """

    @classmethod
    def of(cls, registry: PluginRegistry, *, events: Iterable[str] = ()) -> Self:
        """Return the contract of a registry, which need not be loaded.

        Args:
            registry: The registry. Nothing of its plugins is read.
            events: Names of the events that the host emits, beside those of plugreg.

        Returns:
            The contract.
        """
        options = registry.options
        return cls._made(
            host=options.host,
            version=options.host_version,
            group=options.entry_point_group,
            distribution=options.distribution,
            hooks=signatures(registry.manager),
            mixins=registry.mixins,
            events=events,
        )

    @classmethod
    def of_specs(
        cls,
        host: str,
        hookspecs: Iterable[Any],
        *,
        mixins: Iterable[MixinSpec] = (),
        version: str | None = None,
        group: str | None = None,
        distribution: str | None = None,
        events: Iterable[str] = (),
    ) -> Self:
        """Return the contract of a host without a registry.

        Args:
            host: Name of the host.
            hookspecs: Classes and modules with the specifications of hooks.
            mixins: Capabilities of the host, beside those of plugreg.
            version: Version of the host.
            group: Entry-point group of its plugins. Defaults to ``f"{host}.plugins"``.
            distribution: Distribution that plugins require. Defaults to *host*.
            events: Names of the events that the host emits, beside those of plugreg.

        Returns:
            The contract.

        Raises:
            ValueError: If a class or module has no specification.
        """
        from plugreg.mixins import MixinTable

        return cls._made(
            host=host,
            version=version,
            group=group or f"{host}.plugins",
            distribution=distribution or host,
            hooks=signatures_of(host, hookspecs),
            mixins=MixinTable(mixins).all(),
            events=events,
        )

    @classmethod
    def _made(
        cls,
        *,
        hooks: Iterable[HookSignature],
        mixins: Iterable[MixinSpec],
        events: Iterable[str],
        **named: Any,
    ) -> Self:
        from plugreg.contract.types import classes_of

        hooks = tuple(hooks)
        types = [type_ for hook in hooks for type_ in (*hook.arguments.values(), hook.result)]
        return cls(
            **named,
            hooks={hook.name: _hook(hook) for hook in hooks},
            mixins={spec.key: _mixin(spec) for spec in mixins if spec.cls is not object},
            events=tuple(sorted({*_EVENTS, *events})),
            classes={name: found for each in types for name, found in classes_of(each).items()},
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the contract to a file, whose old contents stay until the new are complete.

        Args:
            path: The file. The same contract always has the same bytes.

        Raises:
            OSError: If the file cannot be written. Its old contents are untouched then.
        """
        from plugreg.install.disk import write_file

        write_file(Path(path), self.dumps().encode())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a contract from a file.

        Args:
            path: The file.

        Returns:
            The contract.

        Raises:
            OSError: If the file cannot be read.
            ContractVersionError: If the format of the file is not known.
            ContractDamagedError: If a field is missing or wrong.
        """
        from plugreg.contract.file import loads

        return cls(**loads(Path(path).read_bytes(), os.fspath(path)))

    def dumps(self) -> str:
        """Return the contents of the file that `write` writes."""
        from plugreg.contract.file import dumps

        return dumps(self)

    def compare(self, other: Contract) -> tuple[Change, ...]:
        """Return the changes from this contract to another, breaking changes first.

        Args:
            other: The newer contract.

        Returns:
            The changes for implementations; none if nothing has changed for them.
        """
        from plugreg.contract.comparing import compare

        return compare(self, other)

    def check(
        self,
        target: str | os.PathLike[str],
        *,
        path: Sequence[str] | None = None,
        directories: Iterable[str | os.PathLike[str]] = (),
    ) -> CheckReport:
        """Check a plugin against this contract. Nothing of it is imported or run.

        Args:
            target: A wheel, a folder with ``pyproject.toml``, or the slug of an installed plugin.
            path: Folders where installed plugins are searched, instead of ``sys.path``.
            directories: The host's folders of plugins, which are searched after these.

        Returns:
            The findings.

        Raises:
            NoPluginError: If there is no such plugin, or the wheel cannot be read.
            MissingExtraError: Without griffe, which ``plugreg[contract]`` installs.
        """
        from plugreg.contract.checking import check
        from plugreg.contract.projects import open_project

        with open_project(target, self.group, path, directories=directories) as project:
            return CheckReport(target=os.fspath(target), findings=check(self, project))

    def check_installed(
        self,
        *,
        path: Sequence[str] | None = None,
        directories: Iterable[str | os.PathLike[str]] = (),
    ) -> InstalledReport:
        """Check all installed plugins of the host against this contract.

        ``str()`` of the report is the answer before an upgrade: "3 of 12 plugins break with shop
        3.0".

        Args:
            path: Folders where plugins are searched, instead of ``sys.path``.
            directories: The host's folders of plugins, which are checked, too.

        Returns:
            A report for each plugin.

        Raises:
            MissingExtraError: Without griffe, which ``plugreg[contract]`` installs.
        """
        from plugreg.contract.checking import check
        from plugreg.contract.projects import directory_projects, installed_projects

        found = {**directory_projects(directories), **installed_projects(self.group, path)}
        return InstalledReport(
            host=f"{self.host} {self.version or ''}".strip(),
            reports={
                slug: CheckReport(target=slug, findings=check(self, project))
                for slug, project in sorted(found.items())
            },
        )


def _hook(hook: HookSignature) -> HookContract:
    from plugreg.contract.types import name_of

    alike = ("firstresult", "historic", "is_async", "since", "deprecated", "removed", "text")
    return HookContract(
        arguments=tuple(
            ArgumentContract(name=name, type=name_of(annotation), optional=name in hook.optional)
            for name, annotation in hook.arguments.items()
        ),
        result=name_of(hook.result),
        source=_source(hook.namespace),
        **{name: getattr(hook, name) for name in alike},
    )


def _mixin(spec: MixinSpec) -> MixinContract:
    import inspect

    from plugreg.mixins._spec import declared_methods

    methods = declared_methods(spec.cls)
    return MixinContract(
        name=spec.human_name,
        source=_source(spec.cls),
        methods={name: _method(method) for name, method in sorted(methods.items())},
        text=inspect.cleandoc(spec.cls.__doc__ or ""),
    )


def _method(method: Any) -> HookContract:
    import inspect

    from plugreg.contract.types import name_of
    from plugreg.hooks.signatures import annotations_of

    function = getattr(method, "__func__", method)
    types = annotations_of(function)
    parameters = [*inspect.signature(function).parameters.values()]
    return HookContract(
        arguments=tuple(
            ArgumentContract(
                name=str(parameter).partition(":")[0].partition("=")[0].strip(),
                type=name_of(types.get(parameter.name, Any)),
                optional=parameter.default is not parameter.empty,
            )
            for parameter in parameters[not isinstance(method, staticmethod) :]
        ),
        result=name_of(types.get("return", Any)),
        text=inspect.getdoc(function) or "",
    )


def _source(namespace: Any) -> str:
    if isinstance(namespace, type):
        return f"{namespace.__module__}:{namespace.__qualname__}"
    return str(getattr(namespace, "__name__", type(namespace).__qualname__))
