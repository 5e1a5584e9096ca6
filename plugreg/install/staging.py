"""Staging of the next generation's distributions, and its plan; nothing serves yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plugreg._state.plugin_rows import PluginRows
from plugreg._support.slugs import Slug, canonical
from plugreg.discovery import Sources
from plugreg.exceptions import RegistryNotReady
from plugreg.install.constraints import accepts
from plugreg.install.distributions import (
    Distribution,
    host_distributions,
    host_path,
    required,
)
from plugreg.install.exceptions import InstallConflictError
from plugreg.install.file_checks import check_files
from plugreg.install.generations import isolated_folders
from plugreg.install.installer import Installer, Progress
from plugreg.install.plan import Change, InstallPlan, Lock, Pin, Refusal, Target, pin_of
from plugreg.install.policy import LOADED_BY
from plugreg.records import KnownPlugin, PluginSpec, Source

if TYPE_CHECKING:
    from plugreg._lifecycle.catalogue import Catalogue
    from plugreg._lifecycle.change_queue import Notify
    from plugreg.storage import Storage


class Content(NamedTuple):
    """The content of a generation."""

    folder: Path
    distributions: Mapping[str, Distribution]
    lock: Lock

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of its distributions."""
        return {name: found.version for name, found in self.distributions.items()}

    def version(self, name: str | None) -> str | None:
        """Return the version of a distribution, None where it is not there."""
        return self.versions.get(name or "")

    def removals(self, names: Collection[str]) -> tuple[Change, ...]:
        """Return the changes that remove distributions, sorted by name."""
        return tuple(Change(name=n, before=self.version(n), after=None) for n in sorted(names))


class Staged(NamedTuple):
    """Distributions in a folder of their own, the plan that they carry out, and their plugins."""

    plan: InstallPlan
    pins: tuple[Pin, ...] = ()
    specs: tuple[PluginSpec, ...] = ()


class InstallContext(NamedTuple):
    """The parts of a host and its registry that changes of environments need.

    Attributes:
        installer: The host's installer.
        group: Entry-point group of the registry's plugins.
        slug_of: Returns the slug of a plugin, None for that of its entry point.
        storage: Storage of the audit and of the plugins' rows.
        catalogue: The registry's plugins.
        rediscover: Reloads with a new discovery, and asks other processes to do so.
        notify: Emits an event for each plugin that was installed or uninstalled.
        probe: Loads a plugin in a child process with a ``sys.path``; returns its fault, or None.
    """

    installer: Installer
    group: str
    slug_of: Callable[[PluginSpec], str] | None
    storage: Storage
    catalogue: Catalogue
    rediscover: Callable[[], object]
    notify: Notify
    probe: Callable[[PluginSpec, Sequence[str]], str | None]


class Stager:
    """Stages distributions beside a generation, and judges them.

    Args:
        context: The parts of the host.
        isolate: Whether the environment is that of an isolated plugin, beside which nothing of
            the host's counts.
    """

    def __init__(self, context: InstallContext, *, isolate: bool = False) -> None:
        self._context = context
        self.installer = context.installer
        self.isolate = isolate

    def plugins(self, folder: Path | None = None) -> tuple[PluginSpec, ...]:
        """Return the plugins in a folder, or those that this interpreter finds."""
        path = None if folder is None else [str(folder)]
        context = self._context
        return Sources(group=context.group, path=path, slug_of=context.slug_of).find().specs

    def host(self) -> Mapping[str, Distribution]:
        """Return the distributions that count as the host's."""
        return {} if self.isolate else host_distributions(self.installer.environment)

    def path(self, folder: Path) -> list[str]:
        """Return the ``sys.path`` of a process that uses a folder."""
        host = host_path(self.installer.environment)
        return [str(folder), *host] if self.isolate else [*host, str(folder)]

    def digest(self, content: Content) -> str:
        """Return a string that differs when the host or the generation has other distributions."""
        found = (*self.host().values(), *content.distributions.values())
        return sha256("".join(f"{d.name} {d.version}\n" for d in found).encode()).hexdigest()

    def stage(
        self,
        targets: Sequence[Target],
        content: Content,
        folder: Path,
        progress: Progress | None = None,
        *,
        listed: Mapping[str, str] | None = None,
    ) -> Staged:
        """Resolve targets beside a generation, and stage in *folder* the distributions to fetch.

        Earlier requests keep their versions, except names in *listed*: these may change
        within their requirements; distributions without plugins are accepted then.
        """
        from packaging.requirements import Requirement

        policy, host = self.installer.policy, self.host()
        refusals = [refusal for target in targets for refusal in policy.of_target(target)]
        refusals += _unsuited(targets, host)
        plan = InstallPlan(
            target=targets[0],
            distribution=targets[0].name,
            refusals=tuple(refusals),
            environment=self.digest(content),
        )
        pins: tuple[Pin, ...] = ()
        missing = [t for t in targets if t.name not in host or Requirement(t.text).extras]
        if plan.allowed and missing:
            try:
                pins = self.installer.resolve(
                    missing,
                    beside=content.folder if content.distributions else None,
                    constraints=[*_kept(content, {t.name for t in targets}, listed or {})],
                    folder=folder,
                    progress=progress,
                    **({"isolate": True} if self.isolate else {}),
                )
            except InstallConflictError as error:
                found = "; ".join(error.conflicts or error.reasons)
                reason = f"{targets[0].shown!r} does not suit what is installed: {found}"
                plan = replace(plan, refusals=(Refusal(rule="conflict", reason=reason),))
        if not plan.allowed:
            return Staged(plan)
        return self.judge(plan, pins, content, folder, is_synced=listed is not None)

    def restage(
        self, plan: InstallPlan, content: Content, folder: Path, progress: Progress | None = None
    ) -> Staged:
        """Stage the distributions of a plan if *folder* is empty, and judge it again."""
        pins = tuple(change.pin() for change in plan.changes if change.after is not None)
        refusals = self.installer.policy.of_target(plan.target)
        if pins and not any(folder.iterdir()):
            refusals += self.forbidden(pins, plan.distribution)
            if refusals:
                # Refusals of the target are repeated for its change.
                return Staged(replace(plan, refusals=(*dict.fromkeys(refusals),)))
            self.installer.stage(pins, folder, targets=[plan.target], progress=progress)
        return self.judge(replace(plan, refusals=refusals), pins, content, folder)

    def forbidden(self, pins: Iterable[Pin], name: str | None = None) -> tuple[Refusal, ...]:
        """Return the policy's refusals that are known before anything is fetched or built."""
        return self.installer.policy.of_changes([Change.of(pin) for pin in pins], name)

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
        policy, host, group = self.installer.policy, self.host(), self._context.group
        asked = pin_of(plan.target, pins)
        name = plan.distribution if asked is None else asked.name
        replaced = {pin.name for pin in pins} | set(removed)
        files = check_files(
            folder,
            pins,
            host=() if self.isolate else host_path(self.installer.environment),
            kept=[d for d in content.distributions.values() if d.name not in replaced],
            allow_pth=policy.allow_pth,
        )
        specs = self.plugins(folder)
        changes = [
            Change.of(
                pin,
                before=content.version(pin.name),
                plugins=tuple(spec.name for spec in specs if spec.distribution == pin.name),
                entry_points=_loaded_groups(files.distributions.get(pin.name), group),
            )
            for pin in pins
        ]
        plugins = [spec.name for spec in specs if spec.distribution == name]
        if not plugins and name is not None:
            there = self.plugins(content.folder if content.version(name) else None)
            plugins = [spec.name for spec in there if spec.distribution == name]
        refusals = [
            *plan.refusals,
            *(_of_host(host[pin.name]) for pin in pins if pin.name in host),
            *policy.of_changes(changes, name),
            *files.refusals,
            *policy.of_entry_points(changes),
            *self._slug_refusals(specs, replaced),
        ]
        if not plugins and not is_synced:
            reason = f"{name!r} brings no entry point of group {group!r}"
            refusals.append(Refusal(rule="plugin", reason=reason))
        plan = replace(
            plan,
            distribution=name,
            changes=tuple(changes),
            refusals=tuple(dict.fromkeys(refusals)),
            plugins=tuple(plugins),
            data_files=files.data_files,
            scripts=files.scripts,
        )
        return Staged(plan, pins, specs)

    def _slug_refusals(
        self, specs: Iterable[PluginSpec], replaced: Collection[str]
    ) -> Iterator[Refusal]:
        """Yield the reasons why plugins would take the slugs, and inherit the state, of others.

        A slug belongs to the plugin that exists; to the host where it is mandatory; and to the
        distribution that had it last, while its row is stored. A row of a plugin that was never
        seen is for any distribution. Before the registry is loaded, nothing is known of the host's
        own plugins and of its rules.
        """
        try:
            known = {plugin.slug: plugin for plugin in self._context.catalogue.select().plugins}
        except RegistryNotReady:
            known = {}
        own = (plugin.spec for plugin in known.values() if plugin.spec is not None)
        others = [spec for spec in own if spec.source is not Source.ENTRY_POINT]
        folders = (None, *isolated_folders(self.installer.environment).values())
        there = (spec for folder in folders for spec in self.plugins(folder))
        others += [spec for spec in there if spec.distribution not in replaced]
        rows, owners = PluginRows(self._context.storage).all(), dict[Slug, str]()
        for spec in specs:
            slug, name = spec.slug, spec.distribution or ""
            plugin, row = known.get(slug), rows.get(slug)
            other = next((o for o in others if o.slug == slug and _owner(o, known) != name), None)
            if other is not None:
                fault = f"that of {other.origin} has this slug; uninstall or rename one of the two"
            elif owners.setdefault(slug, name) != name:
                fault = f"{owners[slug]!r}, which comes too, brings another with this slug"
            elif plugin is not None and plugin.is_mandatory and plugin.distribution != name:
                fault = "it is mandatory, so its code would run at once; install it with the host"
            elif row is not None and row.distribution not in (None, name):
                fault = f"what is stored of it belongs to {row.distribution!r}, which had it last; "
                fault += f"delete that with registry.delete({slug!r}), once it is off"
            else:
                continue
            reason = f"{name!r} brings a plugin {slug!r}, but {fault}"
            yield Refusal(rule="plugin", reason=reason)


def unneeded(content: Content, asked: Mapping[str, str]) -> frozenset[str]:
    """Return the distributions that nothing in *asked* requires, directly or not."""
    from packaging.requirements import Requirement

    there = content.distributions
    waiting = [(name, frozenset(Requirement(line).extras)) for name, line in asked.items()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = current = waiting.pop()
        if current not in seen and name in there:
            seen.add(current)
            waiting += (
                (canonical(needed.name), frozenset(needed.extras))
                for needed in required(there[name], extras)
            )
    return frozenset(there.keys() - {name for name, _ in seen})


def suits(target: Target, found: Distribution) -> bool:
    """Return whether a distribution satisfies a target; extras and URLs are not known."""
    from packaging.requirements import Requirement

    asked = Requirement(target.text)
    return target.url is None and not asked.extras and accepts(asked, found.version)


def asked_for(target: Target, staged: Staged, content: Content) -> Mapping[str, str]:
    """Return the line by which a target is asked for, under the name that it has.

    It is the target's own; for a bare name, the installed version. A distribution of the host is
    not asked for.
    """
    name = staged.plan.distribution or ""
    pin = next((pin for pin in staged.pins if pin.name == name), None)
    version = content.version(name) if pin is None else pin.version
    if version is None:
        return {}
    line = target.line if target.name or not target.line else f"{name} @ {target.line}"
    return {name: line or f"{name}=={version}"}


def _kept(content: Content, names: set[str | None], listed: Mapping[str, str]) -> Iterator[str]:
    """Yield exact requirements of earlier requests that are not requested now.

    So are those of distributions that nothing needs, so that their requirements hold too.
    """
    from packaging.requirements import Requirement

    asked, orphans = content.lock.asked, unneeded(content, content.lock.asked)
    for name in sorted({*content.distributions, *listed} - names):
        line = Requirement(listed.get(name) or asked.get(name) or name)
        extras = f"[{','.join(sorted(line.extras))}]" if line.extras else ""
        if name in listed:
            yield f"{name}{extras}{'' if line.url else line.specifier}"
        elif name in asked or name in orphans:
            yield f"{name}{extras}=={content.version(name)}"


def _owner(spec: PluginSpec, known: Mapping[Slug, KnownPlugin]) -> str | None:
    """Return the distribution of a plugin, or of its provider."""
    bringer = None if spec.brought_by is None else known.get(spec.brought_by)
    return spec.distribution if bringer is None else bringer.distribution


def _loaded_groups(found: Distribution | None, group: str) -> tuple[str, ...]:
    """Return the groups of entry points that other libraries import, in the order of LOADED_BY."""
    groups, name = (frozenset(), "") if found is None else (found.groups(), found.name)
    return tuple(
        known
        for known, (library, _) in LOADED_BY.items()
        if known in groups and known != group and library != name
    )


def _of_host(found: Distribution) -> Refusal:
    reason = f"{found.name!r} belongs to the host's environment, which has {found.version}"
    return Refusal(rule="environment", reason=f"{reason}; change it there")


def _unsuited(targets: Sequence[Target], host: Mapping[str, Distribution]) -> Iterator[Refusal]:
    """Yield a refusal for each distribution that the host has, and not as it is required."""
    from packaging.requirements import Requirement

    for target in targets:
        found = host.get(target.name or "")
        if found is not None and (
            target.url is not None or not accepts(Requirement(target.text), found.version)
        ):
            yield _of_host(found)
