"""Plugins that the host passes as objects, or as references to objects.

No code of an object runs: its attributes are read with :func:`inspect.getattr_static`, so that no
property, ``__getattr__`` or metaclass is called, and a reference is not imported.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard
from plugreg._support.slugs import slug_fault, slugify
from plugreg.discovery.entry_points import REFERENCE, Findings
from plugreg.records import Discovery, PluginSpec, Source

STATED: Final = (
    "NAME",
    "SLUG",
    "TITLE",
    "VERSION",
    "MIN_VERSION",
    "MAX_VERSION",
    "DESCRIPTION",
    "AUTHOR",
    "LICENSE",
    "WEBSITE",
)
"""The attributes by which a plugin describes itself."""


def find(objects: Iterable[Any], *, source: Source) -> Discovery:
    """Return a spec for each of the objects that a host gave, sorted.

    Builtins are sorted in the order in which they were given, others by slug.
    The slug is made from the name in a pair, else from SLUG, NAME, or the last name of the class,
    module or reference. ``target`` of a spec is the object, None for a reference. An object without
    a good slug and a string that is no reference are failures.

    Args:
        objects: Classes, modules, instances, references (``module`` or ``module:attr``), or pairs
            of a name and one of these.
        source: The source of the specs.

    Returns:
        The specs, and a failure for each object that is refused. No object makes it raise.
    """
    findings = Findings()
    for position, given in enumerate(objects):
        name, candidate = _unpair(given)
        with Guard() as guard:
            found = _describe(candidate)
            stated = found.attributes
            own_name = name or stated.get("SLUG") or stated.get("NAME") or found.last_name
            slug = slugify(own_name)
            fault = found.fault or slug_fault(slug, own_name)
            if fault is not None:
                reason = f"{source} plugin {found.value!r} is refused: {fault}"
                findings.refuse(slug or found.value, reason)
                continue
            findings.specs[own_name, found.value, id(found.target)] = PluginSpec(
                slug=slug,
                name=name or stated.get("NAME") or found.last_name,
                value=found.value,
                source=source,
                attributes=stated,
                target=found.target,
                position=position if source is Source.BUILTIN else 0,
            )
        if guard.error is not None:
            place = name or _qualname(_class_of(candidate))
            findings.fail(place, guard.error, f"{source} plugin cannot be inspected")
    return findings.result()


class _Found(NamedTuple):
    """The names, the target and the described attributes of an object."""

    value: str
    last_name: str
    attributes: dict[str, str]
    target: Any
    fault: str | None = None


def _unpair(given: Any) -> tuple[str, Any]:
    """Return name and object of a pair, and an empty name for anything else."""
    if type(given) is tuple and len(given) == 2 and type(given[0]) is str:
        return given
    return "", given


def _describe(candidate: Any) -> _Found:
    # isinstance() would ask the object for its __class__, which it may lie about or refuse.
    kind = type(candidate)
    if kind is str:
        return _describe_reference(candidate)
    if candidate is None:
        fault = "it is None; give a class, a module, an object or a reference"
        return _Found("None", "None", {}, None, fault)
    attributes = _stated(candidate)
    if issubclass(kind, ModuleType):
        name = str(inspect.getattr_static(candidate, "__name__"))
        return _Found(name, name.rpartition(".")[2], attributes, candidate)
    of = _class_of(candidate)
    module = type.__dict__["__dict__"].__get__(of).get("__module__", "builtins")
    qualname = _qualname(of)
    return _Found(f"{module}:{qualname}", qualname.rpartition(".")[2], attributes, candidate)


def _class_of(candidate: Any) -> type:
    kind = type(candidate)
    return candidate if issubclass(kind, type) else kind


def _qualname(of: type) -> str:
    # type's own descriptor is asked, since a metaclass may define a property of this name.
    return str(type.__dict__["__qualname__"].__get__(of))


def _describe_reference(reference: str) -> _Found:
    match = re.match(REFERENCE, reference)
    if match is None or match["extras"]:
        fault = "it is no reference; write module or module:attribute"
        return _Found(reference, reference, {}, None, fault)
    return _Found(reference, (match["attr"] or match["module"]).rpartition(".")[2], {}, None)


def _stated(candidate: Any) -> dict[str, str]:
    """Return the attributes that the object, or its class, has as a plain str."""
    values = ((name, inspect.getattr_static(candidate, name, None)) for name in STATED)
    return {name: value for name, value in values if type(value) is str}
