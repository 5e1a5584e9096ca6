"""From a spec to a constructed plugin object: import, check, construct. Each step in a guard."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from plugreg._lifecycle.resolve import bounds_fault
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.named import NamedTuple
from plugreg._support.slugs import slugify
from plugreg.discovery import directories
from plugreg.plugin import Plugin
from plugreg.records import (
    FAILED,
    HostRules,
    LoadedPlugin,
    NotLoaded,
    PluginFailure,
    PluginSpec,
    PluginState,
    Source,
    Stage,
)

T = TypeVar("T")

HasHooks = Callable[[object], bool]
"""Returns whether an object has hook implementations, without evaluating its attributes."""


class Loading(NamedTuple):
    """The result of loading one plugin: ``loaded``, or why it is ``held``, and all failures."""

    loaded: LoadedPlugin | None = None
    held: NotLoaded | None = None
    failures: tuple[PluginFailure, ...] = ()


def load(spec: PluginSpec, rules: HostRules, has_hooks: HasHooks) -> Loading:
    """Import and construct one plugin.

    Plugin code runs; nothing that it does here is undone. A class is constructed without
    arguments, a module or another object is taken as it is. An object that is neither a ``Plugin``
    nor has hook implementations is refused. The host's version is checked before the constructor
    runs. Raises nothing because of a plugin.
    """
    stage = Stage.IMPORT
    with Guard() as guard:
        target = plugin = import_target(spec)
        stage = Stage.INIT
        _check_plugin(target, spec, has_hooks)
        stage = Stage.RESOLVE
        unfit = _bounds_fault(target, spec, rules)
        if unfit is None and _is_class(target):
            stage = Stage.INIT
            plugin = target()
            # A class may well return something else than an instance of its own.
            _check_plugin(plugin, spec, has_hooks)
    if guard.error is not None:
        failure = PluginFailure.of(stage, spec.slug, guard.error)
        return Loading(held=FAILED, failures=(failure,))
    if unfit is not None:
        return Loading(
            held=NotLoaded(state=PluginState.INCOMPATIBLE, reason=unfit),
            failures=(PluginFailure(stage=Stage.RESOLVE, slug=spec.slug, message=unfit),),
        )
    return Loading(loaded=_with_attributes(spec, plugin))


def import_target(spec: PluginSpec) -> Any:
    """Return the object a spec refers to; its module is imported if it was not yet.

    Raises whatever the import raises, and AttributeError when the module lacks the name.
    """
    if spec.target is not None:
        return spec.target
    attributes = spec.value.partition("[")[0].partition(":")[2]
    if spec.source in (Source.DIRECTORY, Source.SAMPLE) and spec.path is not None:
        found: Any = directories.import_module(spec.folder, spec.module, spec.stamp)
    else:
        found = importlib.import_module(spec.module)
    for attribute in filter(None, attributes.strip().split(".")):
        found = getattr(found, attribute)
    return found


# -- the parts -------------------------------------------------------------------------------


# isinstance() would ask the object for its __class__, which it may lie about or refuse.
def _is_class(target: object) -> bool:
    return issubclass(type(target), type)


def _is_plugin(target: Any) -> bool:
    return issubclass(target if _is_class(target) else type(target), Plugin)


def _check_plugin(target: object, spec: PluginSpec, has_hooks: HasHooks) -> None:
    if not _is_plugin(target) and not has_hooks(target):
        raise TypeError(
            f"{safe_repr(target)} is no plugin; expected a subclass of plugreg.Plugin, or a "
            f"class, module or object with hook implementations, from {spec.origin}"
        )


def _bounds_fault(target: object, spec: PluginSpec, rules: HostRules) -> str | None:
    """Return why the host's version does not suit what the object states; no code of it runs."""
    if rules.version is None or spec.slug in rules.ignore_compatibility or not _is_plugin(target):
        return None
    bounds = ("MIN_VERSION", "MAX_VERSION")
    return bounds_fault({key: inspect.getattr_static(target, key, None) for key in bounds}, rules)


class _Attributes:
    """Reads the attributes of a plugin, and turns each fault into a failure record."""

    def __init__(self, spec: PluginSpec, plugin: object) -> None:
        self._spec = spec
        self._plugin = plugin
        self.failures: list[PluginFailure] = []

    def read(self, attribute: str, parse: Callable[[str, Any], T]) -> T | None:
        """Return the parsed attribute, None where it is missing, None or faulty."""
        with Guard() as guard:
            value = getattr(self._plugin, attribute, None)
            return None if value is None else parse(attribute, value)
        assert guard.error is not None
        self.failures.append(
            PluginFailure.of(
                Stage.INIT,
                self._spec.slug,
                guard.error,
                subject=attribute,
                what=f"attribute {attribute}",
            )
        )
        return None


def _parse_string(attribute: str, value: Any) -> str | None:
    if not issubclass(type(value), str):
        raise TypeError(f"{attribute} must be a string, not {type(value).__name__}")
    # A subclass may do anything in the methods that others call later.
    string = str.__str__(value)
    string.encode()
    return string or None


def _parse_date(_attribute: str, value: Any) -> datetime | None:
    if value == "":
        return None
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


_STRINGS: Final = (
    *("NAME", "SLUG", "TITLE", "VERSION"),
    *("DESCRIPTION", "AUTHOR", "WEBSITE", "LICENSE"),
)


def _with_attributes(spec: PluginSpec, plugin: object) -> LoadedPlugin:
    if not _is_plugin(plugin):
        # A plugin of another host states nothing in plugreg's words; what it calls VERSION or
        # NAME may mean anything.
        return LoadedPlugin(
            spec=spec, plugin=plugin, name=spec.name, title=spec.name, version=spec.version
        )
    attributes = _Attributes(spec, plugin)
    stated = {key: attributes.read(key, _parse_string) for key in _STRINGS}
    name = stated["NAME"] or spec.name
    slug = stated["SLUG"]
    if slug is not None and slugify(slug) != spec.slug:
        attributes.failures.append(
            PluginFailure(
                stage=Stage.INIT,
                slug=spec.slug,
                subject="SLUG",
                message=(
                    f"SLUG {slug!r} differs from the name under which the plugin was found, "
                    f"{spec.name!r}, which is what counts; make them equal"
                ),
            )
        )
    return LoadedPlugin(
        spec=spec,
        plugin=plugin,
        name=name,
        title=stated["TITLE"] or name,
        version=stated["VERSION"] or spec.version,
        description=stated["DESCRIPTION"],
        author=stated["AUTHOR"],
        published=attributes.read("PUBLISH_DATE", _parse_date),
        website=stated["WEBSITE"],
        license=stated["LICENSE"],
        failures=tuple(attributes.failures),
    )
