"""From a spec to a constructed plugin object: import, check, construct. Each step in a guard."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType, ModuleType
from typing import Any, Final

from plugreg._lifecycle.resolve import bounds_fault
from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.slugs import slugify
from plugreg.plugin import Plugin
from plugreg.records import (
    FAILED,
    REFUSED,
    HostRules,
    LoadedPlugin,
    NotLoaded,
    PluginFailure,
    PluginSpec,
    PluginState,
    Stage,
)

Construct = Callable[[type, PluginSpec], object]
"""Returns the object of a plugin's class."""


class Acceptance(NamedTuple):
    """The rules for objects that count as plugins, and the construction of plugin classes.

    Modules, and objects and classes below ``Plugin``, always count. ``has_hooks`` says whether an
    object has hook implementations, ``has_mixin`` whether a class has a capability; neither
    evaluates an attribute. With ``accepts_any`` every other object counts too, as it is.
    ``construct`` makes the object of a class; None calls the class without arguments.
    """

    has_hooks: Callable[[object], bool]
    has_mixin: Callable[[type], bool] = lambda _: False
    accepts_any: bool = False
    construct: Construct | None = None

    def is_plugin(self, target: Any) -> bool:
        """Return whether an object counts by itself; no code of it runs."""
        kind = target if _is_class(target) else type(target)
        return issubclass(kind, Plugin) or self.has_mixin(kind) or self.has_hooks(target)

    def refusal(self, target: object, spec: PluginSpec) -> str | None:
        """Return why an object that is no plugin by itself is refused, or None."""
        is_module = issubclass(type(target), ModuleType)
        if is_module or (self.accepts_any and target is not None):
            return None
        return (
            f"{safe_repr(target)} is no plugin; expected a subclass of plugreg.Plugin or of a "
            f"capability's class, a module, or a class or object with hook implementations, from "
            f"{spec.origin}; a registry with accept='any' takes every object but None"
        )

    def make(self, cls: Any, spec: PluginSpec) -> object:
        """Return the object of a plugin's class."""
        return cls() if self.construct is None else self.construct(cls, spec)


class Loading(NamedTuple):
    """The result of loading a plugin: ``loaded``, or why it is ``held``, and all failures."""

    loaded: LoadedPlugin | None = None
    held: NotLoaded | None = None
    failures: tuple[PluginFailure, ...] = ()


def load(spec: PluginSpec, rules: HostRules, acceptance: Acceptance) -> Loading:
    """Import and construct a plugin.

    Plugin code runs; nothing that it does here is undone. A plugin's class is constructed, a module
    or another object is taken as it is. The host's version is checked before the constructor runs.
    Raises nothing because of a plugin.
    """
    stage, refusal, unfit = Stage.IMPORT, None, None
    with Guard() as guard:
        target = plugin = import_target(spec)
        stage = Stage.INIT
        is_plugin = acceptance.is_plugin(target)
        refusal = None if is_plugin else acceptance.refusal(target, spec)
        if refusal is None:
            stage = Stage.RESOLVE
            unfit = _bounds_fault(target, spec, rules)
        if is_plugin and unfit is None and _is_class(target):
            stage = Stage.INIT
            plugin = acceptance.make(target, spec)
            # A class may return another object, and an object may hide hooks of its class.
            is_plugin = acceptance.is_plugin(plugin)
            if not is_plugin and (fault := acceptance.refusal(plugin, spec)):
                raise TypeError(fault)
    if guard.error is not None:
        failure = PluginFailure.of(stage, spec.slug, guard.error)
        return Loading(held=FAILED, failures=(failure,))
    if refusal is not None:
        failure = PluginFailure.of(Stage.INIT, spec.slug, TypeError(refusal))
        return Loading(held=REFUSED, failures=(failure,))
    if unfit is not None:
        return Loading(
            held=NotLoaded(state=PluginState.INCOMPATIBLE, reason=unfit),
            failures=(PluginFailure(stage=Stage.RESOLVE, slug=spec.slug, message=unfit),),
        )
    return Loading(_with_attributes(spec, plugin), None, ())


def import_target(spec: PluginSpec) -> Any:
    """Return the object a spec refers to; its module is imported if it was not yet.

    Raises whatever the import raises, and AttributeError when the module lacks the name.
    """
    if not spec.is_in_folder:
        return spec.load()
    from plugreg._support.importing import import_module

    # As `PluginSpec.folder`, without pathlib, whose import takes longer than that of most plugins.
    folder, name = os.path.split(spec.path or "")
    folder = os.path.dirname(folder) if name == "__init__.py" else folder  # noqa: PTH120
    found: Any = import_module(folder, spec.module, spec.stamp)
    attribute = spec.value.partition(":")[2]
    return getattr(found, attribute) if attribute else found


# -- the parts -------------------------------------------------------------------------------


# isinstance() would ask the object for its __class__, which it may lie about or refuse.
def _is_class(target: object) -> bool:
    return issubclass(type(target), type)


def _is_plugin(target: Any) -> bool:
    return issubclass(target if _is_class(target) else type(target), Plugin)


def _bounds_fault(target: object, spec: PluginSpec, rules: HostRules) -> str | None:
    """Return why the object's range excludes the host's version; none of its code runs."""
    if rules.version is None or spec.slug in rules.ignore_compatibility or not _is_plugin(target):
        return None
    bounds = ("MIN_VERSION", "MAX_VERSION")
    return bounds_fault({key: inspect.getattr_static(target, key, None) for key in bounds}, rules)


_TAKEN_AS_STATED: Final = ("DESCRIPTION", "AUTHOR", "WEBSITE", "LICENSE")


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


_PARSERS: Final[Mapping[str, Callable[[str, Any], Any]]] = MappingProxyType(
    dict.fromkeys(("NAME", "SLUG", "TITLE", "VERSION", *_TAKEN_AS_STATED), _parse_string)
    | {"PUBLISH_DATE": _parse_date}
)
"""How each attribute that a plugin may state is read."""


def _with_attributes(spec: PluginSpec, plugin: object) -> LoadedPlugin:
    """Read a plugin's metadata; a fault is recorded as a failure, and keeps no plugin off."""
    if not _is_plugin(plugin):
        # A plugin of another host does not use plugreg's attributes; its own VERSION or
        # NAME may mean anything.
        return LoadedPlugin(
            spec=spec, plugin=plugin, name=spec.name, title=spec.name, version=spec.version
        )
    stated: dict[str, Any] = dict.fromkeys(_PARSERS)
    failures = []
    for attribute, parse in _PARSERS.items():
        with Guard() as guard:
            value = getattr(plugin, attribute, None)
            if value is not None:
                stated[attribute] = parse(attribute, value)
        if guard.error is not None:
            what = f"attribute {attribute}"
            failures.append(
                PluginFailure.of(Stage.INIT, spec.slug, guard.error, subject=attribute, what=what)
            )
    name, slug = stated["NAME"] or spec.name, stated["SLUG"]
    if slug is not None and slugify(slug) != spec.slug:
        message = (
            f"SLUG {slug!r} differs from the name under which the plugin was found, "
            f"{spec.name!r}, which is what counts; make them equal"
        )
        failures.append(
            PluginFailure(stage=Stage.INIT, slug=spec.slug, subject="SLUG", message=message)
        )
    return LoadedPlugin(
        spec=spec,
        plugin=plugin,
        name=name,
        title=stated["TITLE"] or name,
        version=stated["VERSION"] or spec.version,
        published=stated["PUBLISH_DATE"],
        **{attribute.lower(): stated[attribute] for attribute in _TAKEN_AS_STATED},
        failures=tuple(failures),
    )
