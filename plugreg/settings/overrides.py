"""Overrides: settings of plugins that a host fixes, checked when its registry is made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from plugreg._support.guard import safe_repr
from plugreg._support.slugs import slug_fault, slugify

Overrides: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Values by slug, then by upper-case key. A value may hold references."""


def parse_overrides(given: Mapping[str, Mapping[str, object]]) -> Overrides:
    """Return a copy of a host's overrides, slugs slugified and keys in upper case.

    Whether a plugin has such a setting, and whether the value fits it, is not known yet.

    Args:
        given: Values by name of plugin, then by key in any case.

    Raises:
        TypeError: If *given* is no mapping of strings to mappings.
        ValueError: If a slug, key or reference is not valid. Messages show no value.
    """
    _require_mapping("overrides", given, "slug to values")
    parsed: dict[str, Mapping[str, Any]] = {}
    for name, values in given.items():
        where = f"overrides[{safe_repr(name)}]"
        if not isinstance(name, str):
            raise TypeError(f"{where}: a slug is a string, not a {type(name).__name__!r} object")
        slug = slugify(name)
        reason = slug_fault(slug, name)
        if reason is not None:
            raise ValueError(f"{where}: {reason}")
        if slug in parsed:
            raise ValueError(f"{where}: another name has the slug {slug!r} too; use one of them")
        _require_mapping(where, values, "setting to value")
        from plugreg.settings.declaration import parse_definitions

        # Keys follow the same rules as those that plugins declare.
        _, faults = parse_definitions({key: {} for key in values}, where)
        if faults:
            raise ValueError("; ".join(faults))
        parsed[slug] = MappingProxyType(
            {key.upper(): _parse_value(f"{where}[{key!r}]", value) for key, value in values.items()}
        )
    return MappingProxyType(parsed)


def _parse_value(where: str, value: object) -> Any:
    from plugreg.settings.references import copied, has_reference

    try:
        has_reference(value)
        return copied(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _require_mapping(where: str, value: object, content: str) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{where} must be a dict of {content}, not a {type(value).__name__!r}")
