"""The changes between two contracts, from the side of implementations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from plugreg.contract.types import Verdict, accepts, parse
from plugreg.contract.values import (
    Change,
    ContractTerms,
    HookContract,
    Level,
    MixinContract,
)

_ORDER: Final = ("major", "minor", "patch")


def compare(old: ContractTerms, new: ContractTerms) -> tuple[Change, ...]:
    """Return the changes between two contracts, breaking changes first.

    Args:
        old: The contract that plugins were written for.
        new: The contract that they meet.
    """
    classes = {**old.classes, **new.classes}
    found = [*_hooks(old.hooks, new.hooks, classes)]
    if old.group != new.group:
        detail = f"plugins are found in {new.group!r}, no longer in {old.group!r}"
        found.insert(0, Change(level="major", hook="", what="group", detail=detail))
    for name, hook in new.hooks.items():
        before = old.hooks.get(name)
        was = before is not None and is_reached(before.removed, old.version)
        if not was and is_reached(hook.removed, new.version):
            detail = f"version {new.version} calls it no more (removed in {hook.removed})"
            found.append(Change(level="major", hook=name, what="removed", detail=detail))
    found += _mixins(old.mixins, new.mixins, classes)
    found += [_added(event, "event") for event in new.events if event not in old.events]
    found += [_removed(event, "event") for event in old.events if event not in new.events]
    return tuple(sorted(found, key=lambda change: _ORDER.index(change.level)))


def _mixins(
    old: Mapping[str, MixinContract],
    new: Mapping[str, MixinContract],
    classes: Mapping[str, type],
) -> Iterator[Change]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before is None:
            yield _added(key, "mixin")
        elif after is None:
            yield _removed(key, "mixin")
        else:
            yield from _hooks(before.methods, after.methods, classes, f"{key}.")
            yield from _texts(key, before.text, after.text)


def _hooks(
    old: Mapping[str, HookContract],
    new: Mapping[str, HookContract],
    classes: Mapping[str, type],
    prefix: str = "",
) -> Iterator[Change]:
    kind = "method" if prefix else "hook"
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield _added(prefix + name, kind)
        elif after is None:
            added = {other: hook for other, hook in new.items() if other not in old}
            yield _removed(prefix + name, kind, _renamed(before, added))
        else:
            yield from _hook(prefix + name, before, after, classes)


def _renamed(before: HookContract, added: Mapping[str, HookContract]) -> str:
    alike = [name for name, hook in added.items() if hook.arguments == before.arguments]
    return f"; {alike[0]!r} is new and has the same arguments" if len(alike) == 1 else ""


def _hook(
    name: str, old: HookContract, new: HookContract, classes: Mapping[str, type]
) -> Iterator[Change]:
    for argument in old.arguments:
        after = new.argument(argument.name)
        if after is None:
            added = [other for other in new.arguments if old.argument(other.name) is None]
            renamed = f"; {added[0].name!r} is new" if len(added) == 1 else ""
            detail = f"implementations that take {argument.name!r} cannot be called{renamed}"
            yield Change(level="major", hook=name, what="argument removed", detail=detail)
        else:
            loss = "values that implementations do not expect"
            verdict = accepts(parse(argument.type), parse(after.type), classes)
            types = (argument.type, after.type)
            yield from _retyped(name, repr(argument.name), types, verdict, loss)
    for argument in new.arguments:
        if old.argument(argument.name) is None:
            detail = f"implementations may take {argument.name!r} ({argument.type})"
            yield Change(level="minor", hook=name, what="argument added", detail=detail)
    loss = "results of implementations are accepted no more"
    verdict = accepts(parse(new.result), parse(old.result), classes)
    yield from _retyped(name, "result", (old.result, new.result), verdict, loss)
    levels: tuple[Level, ...] = ("major",) * 3 + ("minor",) * 3
    noted = ("firstresult", "historic", "is_async", "since", "deprecated", "removed")
    for field, level in zip(noted, levels, strict=True):
        before, now = getattr(old, field), getattr(new, field)
        if before != now:
            detail = f"it is {now!r}, and was {before!r}"
            yield Change(level=level, hook=name, what=field.removeprefix("is_"), detail=detail)
    yield from _texts(name, old.text, new.text)


def _retyped(
    hook: str, what: str, types: tuple[str, str], verdict: Verdict, loss: str
) -> Iterator[Change]:
    old, new = types
    if parse(old) == parse(new):
        return
    detail = f"{'a result' if what == 'result' else what} is {new}, and was {old}"
    level: Level = "minor"
    if not verdict.fits:
        level = "major"
        reason = loss if verdict.fits is False else f"counted as breaking, since {verdict.reason}"
        detail = f"{detail}: {reason}"
    part = "result type" if what == "result" else "argument type"
    yield Change(level=level, hook=hook, what=part, detail=detail)


def is_reached(note: str | None, version: str | None) -> bool:
    """Return whether a host's version has reached that of a note.

    Args:
        note: A note such as ``"2.4: use cost"``; None is never reached.
        version: Version of the host; None has reached nothing.
    """
    from packaging.version import InvalidVersion, Version

    if note is None or version is None:
        return False
    try:
        return Version(version) >= Version(note.partition(":")[0].strip())
    except InvalidVersion:
        return False


def _added(name: str, kind: str) -> Change:
    detail = f"plugins may use the {kind} {name!r}"
    return Change(level="minor", hook=name, what=f"{kind} added", detail=detail)


def _removed(name: str, kind: str, more: str = "") -> Change:
    detail = f"what plugins do for the {kind} {name!r} is used no more{more}"
    return Change(level="major", hook=name, what=f"{kind} removed", detail=detail)


def _texts(name: str, old: str, new: str) -> Iterator[Change]:
    if old != new:
        yield Change(level="patch", hook=name, what="text", detail="its description has changed")
