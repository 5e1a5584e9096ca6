"""The options of a registry, which are checked when it is created."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from plugreg._support.guard import safe_repr
from plugreg._support.slugs import Slug, canonical, near, slug_fault, slugify
from plugreg.discovery import Sources
from plugreg.mixins import KEYS, MixinTable
from plugreg.records import HostRules

if TYPE_CHECKING:
    from plugreg.mixins import MixinSpec

T = TypeVar("T")


class Options(SimpleNamespace):
    """The arguments of `plugreg.PluginRegistry`, by name; that class describes them."""

    def __repr__(self) -> str:
        """Name the host only: overrides may be secret."""
        return f"Options(host={self.host!r})"

    @property
    def distribution(self) -> str:
        """The name of the host's distribution."""
        return str(self.host_distribution or self.host)

    @property
    def entry_point_group(self) -> str:
        """The group of the entry points by which plugins are found."""
        return self.group or f"{self.host}.plugins"


_WORDS: Final = (
    ("new_plugins", "inactive", "active"),
    ("accept", "plugins", "any"),
    ("builtins_called", "last", "first"),
)
"""The words that some options take."""


def host_rules(options: Options) -> HostRules:
    """Return the rules for resolving; slugs are slugified, and PLUGREG_SAFE_MODE is read.

    Raises:
        ValueError: If options contradict each other or themselves.
        TypeError: If a string is given where a collection of slugs belongs.
    """
    for name, first, second in _WORDS:
        if (given := getattr(options, name)) not in (first, second):
            raise ValueError(f"{name} must be {first!r} or {second!r}, not {safe_repr(given)}")
    host_version = options.host_version
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
        distribution=canonical(options.distribution),
        mandatory=_slugs("mandatory", options.mandatory),
        blocked=_names("blocked", options.blocked),
        allowed=None if options.allowed is None else _names("allowed", options.allowed),
        ignore_compatibility=_slugs("ignore_compatibility", options.ignore_compatibility),
        new_plugins_active=options.new_plugins == "active",
        accepts_any=options.accept == "any",
        builtins_called_first=options.builtins_called == "first",
        safe_mode=options.safe_mode or os.environ.get("PLUGREG_SAFE_MODE", "") not in ("", "0"),
    )
    # Whether the name of an entry point allows a plugin is known once that was found.
    pairs = [name for name in rules.allowed or () if ":" in name]
    named = {slugify(name.rpartition(":")[2]) for name in pairs}
    if pairs and options.slug_of is not None:
        named = {*rules.mandatory}
    for slug in sorted(rules.mandatory):
        reason = rules.blocks(slug)
        if reason is not None and slug not in named - rules.blocked:
            raise ValueError(f"plugin {slug!r} is in mandatory=, but {reason}; decide on one")
    return rules


def sources(options: Options, *, safe_mode: bool) -> Sources:
    """Return where plugins are found; a later change of the working directory changes nothing.

    Args:
        options: The host's.
        safe_mode: Whether there is no index, since it would be written.

    Raises:
        ValueError: If ``index_verify`` is given without an index.
        TypeError: If an option that must be a collection is none.
    """
    index = options.index
    if options.index_verify and index is None:
        raise ValueError("index_verify=True needs an index=; give it a file, or leave it out")
    return Sources(
        group=options.entry_point_group,
        builtin=as_tuple("builtin", options.builtin),
        samples=tuple(
            absolute_path(sample) if isinstance(sample, os.PathLike) else sample
            for sample in as_tuple("samples", options.samples)
        ),
        directories=tuple(map(absolute_path, as_tuple("directories", options.directories))),
        index=None if index is None or safe_mode else absolute_path(index),
        verify=options.index_verify,
        slug_of=options.slug_of,
    )


def as_tuple(argument: str, given: Iterable[T]) -> tuple[T, ...]:
    """Return the collection that a host gave for *argument* as a tuple.

    Raises:
        TypeError: If it is no iterable, or a string: an iterable of letters that nobody means.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be a collection, not {safe_repr(given)}; write [it]")
    return tuple(given)


def absolute_path(folder: str | bytes | os.PathLike[Any]) -> Path:
    """Return an absolute path, which a later change of the working directory keeps."""
    path = Path(os.fsdecode(folder))
    try:
        return path.absolute()
    except OSError:
        # The working directory was deleted; discovery reports the folders that are not found.
        return path


def _slugs(argument: str, names: Iterable[str]) -> frozenset[Slug]:
    slugs = {slugify(name): name for name in as_tuple(argument, names)}
    for slug, name in slugs.items():
        reason = slug_fault(slug, name)
        if reason is not None:
            raise ValueError(f"{argument}: {reason}")
    return frozenset(slugs)


def _names(argument: str, names: Iterable[str]) -> frozenset[str]:
    """Return slugs, and ``distribution:name`` of entry points."""
    given = as_tuple(argument, names)
    pairs = [name.partition(":") for name in given if ":" in name]
    for distribution, _, name in pairs:
        if not distribution or not name:
            raise ValueError(
                f"{argument}: {distribution + ':' + name!r} lacks a part; write the name of a "
                f"distribution and that of its entry point, as in 'shop-tea:tea'"
            )
    slugs = _slugs(argument, (name for name in given if ":" not in name))
    return slugs | {f"{canonical(distribution)}:{name}" for distribution, _, name in pairs}


def mixin_table(own: Iterable[MixinSpec]) -> MixinTable:
    """Return plugreg's capabilities and the host's.

    Raises:
        TypeError: If a row is no MixinSpec.
        ValueError: If a key is taken.
    """
    table: dict[str, MixinSpec] = {}
    for spec in own:
        from plugreg.mixins import MixinSpec

        if not isinstance(spec, MixinSpec):
            raise TypeError(f"mixins must hold MixinSpec rows, not {safe_repr(spec)}")
        if spec.key in KEYS or spec.key in table:
            raise ValueError(f"mixin key {spec.key!r} is taken; give the host's row another key")
        table[spec.key] = spec
    return MixinTable(table.values())


def switched_off(table: MixinTable, switches: Mapping[str, bool]) -> frozenset[str]:
    """Return the keys of the capabilities that are turned off.

    Raises:
        ValueError: If a name in *switches* is no switch of any row.
    """
    if not switches:
        return frozenset()
    rows = table.all()
    known = {spec.switch for spec in rows if spec.switch is not None}
    for name in switches:
        if name not in known:
            raise ValueError(
                f"switch {name!r} is not known{near(name, known)}; there are {sorted(known)}"
            )
    return frozenset(
        spec.key for spec in rows if spec.switch is not None and not switches.get(spec.switch, True)
    )
