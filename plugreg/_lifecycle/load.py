"""From a spec to a constructed plugin object: import, check, construct. Each step in a guard."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plugreg._lifecycle.resolve import bounds_fault
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.names import slugify
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

HasHooks = Callable[[object], bool]
"""Tells whether an object has hook implementations, without evaluating its attributes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """What came of loading one plugin: ``loaded``, or why it is ``held``, and all failures."""

    loaded: LoadedPlugin | None = None
    held: NotLoaded | None = None
    failures: tuple[PluginFailure, ...] = ()


def load(spec: PluginSpec, rules: HostRules, has_hooks: HasHooks) -> Loading:
    """Import and construct one plugin. Plugin code runs; nothing it does here is undone.

    A class is constructed without arguments, a module or another object is taken as it is
    (design.md, section 4). What is neither a ``Plugin`` nor has hook implementations is refused.
    The host's version is checked before the constructor runs. Raises nothing because of a plugin.
    """
    with Guard() as guard:
        target = import_target(spec)
    if guard.error is not None:
        return _failed(PluginFailure.of(Stage.IMPORT, spec.slug, guard.error))
    with Guard() as guard:
        _require_plugin(target, spec, has_hooks)
    if guard.error is not None:
        return _failed(PluginFailure.of(Stage.INIT, spec.slug, guard.error))
    with Guard() as guard:
        unfit = _bounds_fault(target, spec, rules)
    if guard.error is not None:
        return _failed(PluginFailure.of(Stage.RESOLVE, spec.slug, guard.error))
    if unfit is not None:
        return Loading(
            held=NotLoaded(state=PluginState.INCOMPATIBLE, reason=unfit),
            failures=(PluginFailure(stage=Stage.RESOLVE, slug=spec.slug, message=unfit),),
        )
    plugin = target
    if _is_class(target):
        with Guard() as guard:
            plugin = target()
            # A class may well give something else than an instance of its own.
            _require_plugin(plugin, spec, has_hooks)
        if guard.error is not None:
            return _failed(PluginFailure.of(Stage.INIT, spec.slug, guard.error))
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


def _failed(failure: PluginFailure) -> Loading:
    return Loading(held=FAILED, failures=(failure,))


# isinstance() would ask the object for its __class__, which it may lie about or refuse.
def _is_class(target: object) -> bool:
    return issubclass(type(target), type)


def _is_plugin(target: Any) -> bool:
    return issubclass(target if _is_class(target) else type(target), Plugin)


def _require_plugin(target: object, spec: PluginSpec, has_hooks: HasHooks) -> None:
    if not _is_plugin(target) and not has_hooks(target):
        raise TypeError(
            f"{safe_repr(target)} is no plugin; expected a subclass of plugreg.Plugin, or a "
            f"class, module or object with hook implementations, from {spec.origin}"
        )


def _bounds_fault(target: object, spec: PluginSpec, rules: HostRules) -> str | None:
    """Return why the host's version does not suit what the object states; no code of it runs."""
    if rules.version is None or spec.slug in rules.ignore_compatibility or not _is_plugin(target):
        return None
    stated = {
        attribute: inspect.getattr_static(target, attribute, None)
        for attribute in ("MIN_VERSION", "MAX_VERSION")
    }
    return bounds_fault(stated, rules)


class _Attributes:
    """Reads what a plugin states of itself, and turns each fault into a failure record."""

    def __init__(self, spec: PluginSpec, plugin: object) -> None:
        self._spec = spec
        self._plugin = plugin
        self.failures: list[PluginFailure] = []

    def text(self, attribute: str) -> str | None:
        """Return the attribute if it is a text that is not empty, else None."""
        with Guard() as guard:
            value = getattr(self._plugin, attribute, None)
            if value is None:
                return None
            if not issubclass(type(value), str):
                raise TypeError(f"{attribute} must be a text, not {type(value).__name__}")
            # A subclass may do anything in the methods that others call later.
            text = str.__str__(value)
            text.encode()
            return text or None
        self._keep(attribute, guard.error)
        return None

    def date(self, attribute: str) -> datetime | None:
        """Return the attribute, ISO text or a date, as a date-time, else None."""
        with Guard() as guard:
            value = getattr(self._plugin, attribute, None)
            if value is None or value == "":
                return None
            return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        self._keep(attribute, guard.error)
        return None

    def _keep(self, attribute: str, error: BaseException | None) -> None:
        assert error is not None
        self.failures.append(
            PluginFailure.of(
                Stage.INIT, self._spec.slug, error, subject=attribute, what=f"attribute {attribute}"
            )
        )


def _with_attributes(spec: PluginSpec, plugin: object) -> LoadedPlugin:
    if not _is_plugin(plugin):
        # A plugin of another host states nothing in plugreg's words; what it calls VERSION or
        # NAME may mean anything.
        return LoadedPlugin(
            spec=spec, plugin=plugin, name=spec.name, title=spec.name, version=spec.version
        )
    stated = _Attributes(spec, plugin)
    name = stated.text("NAME") or spec.name
    slug = stated.text("SLUG")
    failures = stated.failures
    if slug is not None and slugify(slug) != spec.slug:
        failures.append(
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
        title=stated.text("TITLE") or name,
        version=stated.text("VERSION") or spec.version,
        description=stated.text("DESCRIPTION"),
        author=stated.text("AUTHOR"),
        published=stated.date("PUBLISH_DATE"),
        website=stated.text("WEBSITE"),
        license=stated.text("LICENSE"),
        failures=tuple(failures),
    )
