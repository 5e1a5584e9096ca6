"""The changes between two contracts, from the side of implementations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from plugreg.contract.types import Verdict, accepts, parse
from plugreg.contract.values import (
    ArgumentContract,
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
    found = [*_host_changes(old, new), *_hooks(old.hooks, new.hooks, classes)]
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


def _host_changes(old: ContractTerms, new: ContractTerms) -> Iterator[Change]:
    if old.group != new.group:
        detail = f"plugins are found in {new.group!r}, no longer in {old.group!r}"
        yield Change(level="major", hook="", what="group", detail=detail)


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
            yield from _argument(name, argument, after, classes)
    for argument in new.arguments:
        if old.argument(argument.name) is None:
            detail = f"implementations may take {argument.name!r} ({argument.type})"
            yield Change(level="minor", hook=name, what="argument added", detail=detail)
    yield from _result(name, old.result, new.result, classes)
    for what, before, now in (
        ("firstresult", old.firstresult, new.firstresult),
        ("historic", old.historic, new.historic),
        ("async", old.is_async, new.is_async),
    ):
        if before != now:
            detail = f"it is {now}, and was {before}"
            yield Change(level="major", hook=name, what=what, detail=detail)
    yield from _notes(name, old, new)
    yield from _texts(name, old.text, new.text)


def _argument(
    hook: str, old: ArgumentContract, new: ArgumentContract, classes: Mapping[str, type]
) -> Iterator[Change]:
    verdict = accepts(parse(old.type), parse(new.type), classes)
    if parse(old.type) != parse(new.type):
        what = f"{old.name!r} is {new.type}, and was {old.type}"
        level, detail = _judge(verdict, what, "values that implementations do not expect")
        yield Change(level=level, hook=hook, what="argument type", detail=detail)


def _result(hook: str, old: str, new: str, classes: Mapping[str, type]) -> Iterator[Change]:
    verdict = accepts(parse(new), parse(old), classes)
    if parse(old) != parse(new):
        what = f"a result is {new}, and was {old}"
        level, detail = _judge(verdict, what, "results of implementations are accepted no more")
        yield Change(level=level, hook=hook, what="result type", detail=detail)


def _judge(verdict: Verdict, what: str, loss: str) -> tuple[Level, str]:
    if verdict.fits:
        return "minor", what
    reason = loss if verdict.fits is False else f"counted as breaking, since {verdict.reason}"
    return "major", f"{what}: {reason}"


def _notes(name: str, old: HookContract, new: HookContract) -> Iterator[Change]:
    for what, before, now in (
        ("since", old.since, new.since),
        ("deprecated", old.deprecated, new.deprecated),
        ("removed", old.removed, new.removed),
    ):
        if before != now:
            detail = f"it is {now!r}, and was {before!r}"
            yield Change(level="minor", hook=name, what=what, detail=detail)


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
