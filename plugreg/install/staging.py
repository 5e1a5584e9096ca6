"""Staging of what the next generation needs, and the plan that describes it; nothing serves yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plugreg._support.slugs import canonical
from plugreg.discovery import Sources
from plugreg.exceptions import InstallError
from plugreg.install import pylock
from plugreg.install.distributions import (
    Distribution,
    distributions,
    host_distributions,
    host_path,
    required,
)
from plugreg.install.exceptions import InstallConflictError
from plugreg.install.file_checks import check_files
from plugreg.install.generations import Generations
from plugreg.install.installer import Installer, Progress
from plugreg.install.loaded import LOADED_BY
from plugreg.install.plan import Change, InstallPlan, Lock, Pin, Refusal, Target, pin_of
from plugreg.install.slug_owners import SlugOwners
from plugreg.records import PluginSpec

if TYPE_CHECKING:
    from packaging.requirements import Requirement


class PluginFinder(NamedTuple):
    """Finds the plugins that a registry would find in installed distributions.

    ``slug_of`` is the host's, None for the slug of the entry point.
    """

    group: str
    slug_of: Callable[[PluginSpec], str] | None = None

    def find(self, folder: Path | None = None) -> tuple[PluginSpec, ...]:
        """Return the plugins in a folder, or on the path of this interpreter."""
        path = None if folder is None else [str(folder)]
        return Sources(group=self.group, path=path, slug_of=self.slug_of).find().specs


class Content(NamedTuple):
    """What is in a generation."""

    folder: Path
    distributions: Mapping[str, Distribution]
    lock: Lock

    @classmethod
    def of(cls, generations: Generations, number: int, *, is_rescue: bool = False) -> Content:
        """Return what is in generation *number*; nothing is in 0.

        Raises InstallError if its lock cannot be read; for a rescue the lock is empty then.
        """
        folder, lock = generations.folder(number), Lock()
        try:
            if number:
                lock = pylock.load(generations.lock_file(number), require_hashes=False)
        except InstallError:
            if not is_rescue:
                raise
        return cls(folder, distributions(folder), lock)


class Staged(NamedTuple):
    """Distributions in a folder of their own, the plan that they carry out, and their plugins."""

    plan: InstallPlan
    pins: tuple[Pin, ...]
    specs: tuple[PluginSpec, ...]


class Stager:
    """Stages distributions beside a generation, and judges them.

    Args:
        installer: The host's installer.
        finder: Finds the registry's plugins.
        owners: The owners of slugs.
    """

    def __init__(self, installer: Installer, finder: PluginFinder, owners: SlugOwners) -> None:
        self._installer = installer
        self._finder = finder
        self._owners = owners

    def plugins(self, folder: Path | None = None) -> tuple[PluginSpec, ...]:
        """Return the plugins in a folder, or those that this interpreter finds."""
        return self._finder.find(folder)

    def host(self) -> Mapping[str, Distribution]:
        """Return the distributions of the host's environment."""
        return host_distributions(self._installer.environment)

    def stage(
        self,
        targets: Sequence[Target],
        content: Content,
        folder: Path,
        progress: Progress | None = None,
        *,
        ranges: Mapping[str, str] | None = None,
    ) -> Staged:
        """Resolve targets beside a generation, and stage what must be fetched for them.

        Versions are sought that leave every other distribution of the generation as it is, else
        those that leave the ones that were asked for.

        Args:
            targets: The requirements.
            content: The generation.
            folder: An empty folder.
            progress: Receives each line of output.
            ranges: Requirements, by name, of distributions that may change within these although
                they were asked for, "" for any; distributions without plugins are accepted then.
        """
        host = self.host()
        plan = InstallPlan(
            target=targets[0],
            distribution=targets[0].name,
            refusals=(
                *(
                    found
                    for target in targets
                    for found in self._installer.policy.of_target(target)
                ),
                *_unsuited(targets, host),
            ),
            environment=digest(host, content),
        )
        pins: tuple[Pin, ...] = ()
        missing = [target for target in targets if target.name not in host or has_extras(target)]
        if plan.allowed and missing:
            try:
                pins = self._resolve(missing, content, folder, progress, ranges)
            except InstallConflictError as error:
                found = "; ".join(error.conflicts or error.reasons)
                reason = f"{targets[0].shown!r} does not suit what is installed: {found}"
                plan = replace(plan, refusals=(Refusal(rule="conflict", reason=reason),))
        if not plan.allowed:
            return Staged(plan, (), ())
        return self.judge(plan, pins, content, folder, is_synced=ranges is not None)

    def restage(
        self, plan: InstallPlan, content: Content, folder: Path, progress: Progress | None = None
    ) -> Staged:
        """Stage what a plan describes, as far as *folder* is empty, and judge it again."""
        pins, policy = pins_of(plan), self._installer.policy
        if pins and not any(folder.iterdir()):
            refusals = (*policy.of_target(plan.target), *self.forbidden(pins, plan.distribution))
            if refusals:
                # What is said of the target is said of its change once more.
                return Staged(replace(plan, refusals=(*dict.fromkeys(refusals),)), (), ())
            self._installer.stage(pins, folder, targets=[plan.target], progress=progress)
        return self.judge(
            replace(plan, refusals=policy.of_target(plan.target)), pins, content, folder
        )

    def forbidden(self, pins: Iterable[Pin], name: str | None = None) -> tuple[Refusal, ...]:
        """Return what the policy forbids that is known before anything is fetched or built."""
        changes = [
            Change(
                name=pin.name,
                before=None,
                after=pin.version,
                source=pin.source,
                sha256=pin.sha256,
                direct=pin.direct,
            )
            for pin in pins
        ]
        return self._installer.policy.of_changes(changes, name)

    def fetch(self, pins: Sequence[Pin], folder: Path, progress: Progress | None = None) -> None:
        """Stage exactly these distributions."""
        self._installer.stage(pins, folder, progress=progress)

    def judge(
        self,
        plan: InstallPlan,
        pins: tuple[Pin, ...],
        content: Content,
        folder: Path,
        *,
        removed: Collection[str] = (),
        is_synced: bool = False,
    ) -> Staged:
        """Return the plan of staged distributions, completed and judged."""
        policy, host = self._installer.policy, self.host()
        asked = pin_of(plan.target, pins)
        name = plan.distribution if asked is None else asked.name
        replaced = {pin.name for pin in pins} | set(removed)
        kept = [d for d in content.distributions.values() if d.name not in replaced]
        files = check_files(
            folder,
            pins,
            host=host_path(self._installer.environment),
            kept=kept,
            allow_pth=policy.allow_pth,
        )
        specs = self._finder.find(folder)
        changes = [
            Change(
                name=pin.name,
                before=_version(content, pin.name),
                after=pin.version,
                source=pin.source,
                sha256=pin.sha256,
                size=pin.size,
                direct=pin.direct,
                plugins=tuple(spec.name for spec in specs if spec.distribution == pin.name),
                entry_points=_loaded_groups(files.distributions.get(pin.name), self._finder.group),
            )
            for pin in pins
        ]
        plugins = self._plugins(name, specs, content)
        refusals = [
            *plan.refusals,
            *(_of_host(host[pin.name]) for pin in pins if pin.name in host),
            *policy.of_changes(changes, name),
            *_unmet(kept, content.distributions, files.distributions),
            *files.refusals,
            *policy.of_entry_points(changes),
            *self._owners.refusals(specs, replaced),
        ]
        if not plugins and not is_synced:
            reason = f"{name!r} brings no entry point of group {self._finder.group!r}"
            refusals.append(Refusal(rule="plugin", reason=reason))
        plan = replace(
            plan,
            distribution=name,
            changes=tuple(changes),
            refusals=tuple(dict.fromkeys(refusals)),
            plugins=plugins,
            data_files=files.data_files,
            scripts=files.scripts,
        )
        return Staged(plan, pins, specs)

    # -- the parts ---------------------------------------------------------------------------

    def _resolve(
        self,
        targets: Sequence[Target],
        content: Content,
        folder: Path,
        progress: Progress | None,
        ranges: Mapping[str, str] | None,
    ) -> tuple[Pin, ...]:
        names = {target.name for target in targets}
        others = [d for d in content.distributions.values() if d.name not in names]
        beside = content.folder if content.distributions else None
        exact = [f"{found.name}=={found.version}" for found in others]
        try:
            return self._installer.resolve(
                targets, beside=beside, constraints=exact, folder=folder, progress=progress
            )
        except InstallConflictError:
            asked = content.lock.asked
            fixed = asked.keys() - (ranges or {}).keys()
            loose = [f"{d.name}=={d.version}" for d in others if d.name in fixed]
            loose += [*filter(None, (ranges or {}).values()), *_needs(others, content)]
            if set(exact) <= set(loose):
                raise
        shutil.rmtree(folder)
        folder.mkdir()
        return self._installer.resolve(
            targets, beside=beside, constraints=loose, folder=folder, progress=progress
        )

    def _plugins(
        self, name: str | None, specs: Iterable[PluginSpec], content: Content
    ) -> tuple[str, ...]:
        """Return the names of the entry points of the requested distribution, staged or not."""
        found = tuple(spec.name for spec in specs if spec.distribution == name)
        if found or name is None:
            return found
        there = self._finder.find(content.folder if name in content.distributions else None)
        return tuple(spec.name for spec in there if spec.distribution == name)


def pins_of(plan: InstallPlan) -> tuple[Pin, ...]:
    """Return what a plan fetches."""
    return tuple(
        Pin(
            name=change.name,
            version=change.after,
            source=change.source,
            sha256=change.sha256,
            size=change.size,
            direct=change.direct,
        )
        for change in plan.changes
        if change.after is not None
    )


def removals(content: Content, names: Collection[str]) -> tuple[Change, ...]:
    """Return the changes that remove distributions, sorted by name."""
    return tuple(
        Change(name=name, before=_version(content, name), after=None) for name in sorted(names)
    )


def digest(host: Mapping[str, Distribution], content: Content) -> str:
    """Return a string that differs when the host or the generation has other distributions."""
    found = (*host.values(), *content.distributions.values())
    return sha256("".join(f"{d.name} {d.version}\n" for d in found).encode()).hexdigest()


def accepts(requirement: Requirement, version: str) -> bool:
    """Return whether a version suits, pre-releases too; an invalid one suits if any does."""
    from packaging.version import InvalidVersion

    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def _version(content: Content, name: str) -> str | None:
    found = content.distributions.get(name)
    return None if found is None else found.version


def _loaded_groups(found: Distribution | None, group: str) -> tuple[str, ...]:
    """Return the groups of entry points that other libraries import, in the order of LOADED_BY."""
    groups = frozenset() if found is None else found.groups()
    name = "" if found is None else found.name
    return tuple(
        known
        for known, loader in LOADED_BY.items()
        if known in groups and known != group and loader.library != name
    )


def _of_host(found: Distribution) -> Refusal:
    reason = f"{found.name!r} belongs to the host's environment, which has {found.version}"
    return Refusal(rule="environment", reason=f"{reason}; change it there")


def has_extras(target: Target) -> bool:
    """Return whether a target asks for extras."""
    from packaging.requirements import Requirement

    return target.name is not None and bool(Requirement(target.text).extras)


def _unsuited(targets: Sequence[Target], host: Mapping[str, Distribution]) -> Iterator[Refusal]:
    """Yield a refusal for each distribution that the host has, and not as it is required."""
    from packaging.requirements import Requirement

    for target in targets:
        found = host.get(target.name or "")
        if found is not None and (
            target.url is not None or not accepts(Requirement(target.text), found.version)
        ):
            yield _of_host(found)


def _needs(kept: Iterable[Distribution], content: Content) -> Iterator[str]:
    """Yield what distributions require of others in the generation, as constraints."""
    from packaging.requirements import Requirement

    for found in kept:
        line = content.lock.asked.get(found.name, found.name)
        extras = Requirement(line).extras
        for needed in required(found, extras):
            name = canonical(needed.name)
            if name in content.distributions and needed.specifier:
                yield f"{name}{needed.specifier}"


def _unmet(
    kept: Iterable[Distribution],
    before: Mapping[str, Distribution],
    staged: Mapping[str, Distribution],
) -> Iterator[Refusal]:
    """Yield a refusal for each requirement that was met, and would not be any more."""
    changed = before.keys() & staged.keys()
    for found in kept if changed else ():
        for needed in required(found):
            name = canonical(needed.name)
            if name in changed:
                old, new = before[name].version, staged[name].version
                if accepts(needed, old) and not accepts(needed, new):
                    who = f"{found.name} {found.version}"
                    reason = f"{who} requires '{needed}', not {name} {new}"
                    yield Refusal(rule="conflict", reason=reason)


def asked_for(target: Target, staged: Staged, content: Content) -> Mapping[str, str]:
    """Return the line by which a target is asked for, under the name that it has.

    It is the target's own; for a name alone, the version that is there then. What the host has is
    not asked for.
    """
    name = staged.plan.distribution or ""
    pin = next((pin for pin in staged.pins if pin.name == name), None)
    version = _version(content, name) if pin is None else pin.version
    if version is None:
        return {}
    line = target.line if target.name or not target.line else f"{name} @ {target.line}"
    return {name: line or f"{name}=={version}"}
