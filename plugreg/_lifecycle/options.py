"""What a host asks for, checked when its registry is made: a contradiction is told at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from plugreg._support.guard import safe_repr
from plugreg._support.names import Slug, canonical, near, slug_fault, slugify
from plugreg.discovery import Sources
from plugreg.mixins import MIXINS, MixinSpec
from plugreg.records import HostRules

T = TypeVar("T")


def host_rules(
    *,
    host_version: str | None,
    host_distribution: str,
    mandatory: Iterable[str],
    blocked: Iterable[str],
    allowed: Iterable[str] | None,
    ignore_compatibility: Iterable[str],
    new_plugins: str,
    safe_mode: bool,
) -> HostRules:
    """Return the rules for resolving; slugs are slugified, and PLUGREG_SAFE_MODE is looked at.

    Raises ValueError, or TypeError for a text where a collection of slugs belongs.
    """
    if new_plugins not in ("inactive", "active"):
        raise ValueError(f"new_plugins must be 'inactive' or 'active', not {new_plugins!r}")
    if host_version is not None:
        from packaging.version import InvalidVersion, Version

        try:
            Version(host_version)
        except InvalidVersion:
            raise ValueError(
                f"host_version {host_version!r} is no version by PEP 440; write one such as '2.4'"
            ) from None
    rules = HostRules(
        version=host_version,
        distribution=canonical(host_distribution),
        mandatory=_slugs("mandatory", mandatory),
        blocked=_slugs("blocked", blocked),
        allowed=None if allowed is None else _slugs("allowed", allowed),
        ignore_compatibility=_slugs("ignore_compatibility", ignore_compatibility),
        new_plugins_active=new_plugins == "active",
        safe_mode=safe_mode or os.environ.get("PLUGREG_SAFE_MODE", "") not in ("", "0"),
    )
    for slug in sorted(rules.mandatory):
        reason = rules.blocks(slug)
        if reason is not None:
            raise ValueError(f"plugin {slug!r} is in mandatory=, but {reason}; decide on one")
    return rules


def sources(
    *,
    group: str,
    builtin: Iterable[Any],
    samples: Iterable[Any],
    directories: Iterable[str | os.PathLike[str]],
    index: str | os.PathLike[str] | None,
    index_verify: bool,
    safe_mode: bool,
) -> Sources:
    """Return where plugins are looked for; a later change of the current folder changes nothing.

    In safe mode there is no index, since it would be written.
    Raises ValueError for ``index_verify`` without an index, TypeError for what is no collection.
    """
    if index_verify and index is None:
        raise ValueError("index_verify=True needs an index=; give it a file, or leave it out")
    return Sources(
        group=group,
        builtin=collected("builtin", builtin),
        samples=tuple(
            absolute(each) if isinstance(each, os.PathLike) else each
            for each in collected("samples", samples)
        ),
        directories=tuple(map(absolute, collected("directories", directories))),
        index=None if index is None or safe_mode else absolute(index),
        verify=index_verify,
    )


def collected(argument: str, given: Iterable[T]) -> tuple[T, ...]:
    """Return what a host gave as a tuple. Raises TypeError for a text, and for what is no iterable.

    A text is an iterable of its letters, which nobody means.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be a collection, not {safe_repr(given)}; write [it]")
    return tuple(given)


def absolute(folder: str | bytes | os.PathLike[Any]) -> Path:
    """Return the path of a folder, which a later change of the current folder does not change."""
    path = Path(os.fsdecode(folder))
    try:
        return path.absolute()
    except OSError:
        # There is no current folder any more; discovery tells of what cannot be found.
        return path


def _slugs(argument: str, names: Iterable[str]) -> frozenset[Slug]:
    slugs = {slugify(each): each for each in collected(argument, names)}
    for slug, name in slugs.items():
        reason = slug_fault(slug, name)
        if reason is not None:
            raise ValueError(f"{argument}: {reason}")
    return frozenset(slugs)


def mixin_table(own: Iterable[MixinSpec]) -> tuple[MixinSpec, ...]:
    """Return plugreg's capabilities and the host's. Raises ValueError for a key that is taken."""
    table = {each.key: each for each in MIXINS}
    for each in own:
        if not isinstance(each, MixinSpec):
            raise TypeError(f"mixins must hold MixinSpec rows, not {safe_repr(each)}")
        if each.key in table:
            raise ValueError(f"mixin key {each.key!r} is taken; give the host's row another key")
        table[each.key] = each
    return tuple(table.values())


def switched_off(rows: Iterable[MixinSpec], switches: Mapping[str, bool]) -> frozenset[str]:
    """Return the keys of the capabilities that are turned off. Raises ValueError for no switch."""
    known = {each.switch for each in rows if each.switch is not None}
    for name in switches:
        if name not in known:
            raise ValueError(
                f"switch {name!r} is not known{near(name, known)}; there are {sorted(known)}"
            )
    return frozenset(
        each.key for each in rows if each.switch is not None and not switches.get(each.switch, True)
    )
