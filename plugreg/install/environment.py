"""An environment: its generations, and plans of what is staged beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from plugreg._state.plugin_rows import PluginRows
from plugreg._support.slugs import Slug, canonical
from plugreg.discovery import Sources
from plugreg.exceptions import InstallError, RegistryNotReady
from plugreg.install import pylock
from plugreg.install.constraints import accepts
from plugreg.install.distributions import (
    Distribution,
    distributions,
    host_distributions,
    host_path,
    required,
)
from plugreg.install.exceptions import InstallConflictError
from plugreg.install.file_checks import check_files
from plugreg.install.generations import Generations, isolated_folders
from plugreg.install.installer import Installer, Progress
from plugreg.install.plan import (
    Change,
    Generation,
    InstallPlan,
    Lock,
    Pin,
    Refusal,
    Target,
    pin_of,
)
from plugreg.install.plugins_file import PluginsFile
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


class InstallContext(NamedTuple):
    """The parts of a host and its registry that changes of environments need.

    Attributes:
        installer: The host's installer.
        group: Entry-point group of the registry's plugins.
        slug_of: Returns the slug of a plugin, None for that of its entry point.
        storage: Storage of the audit and of the plugins' rows.
        catalogue: The registry's plugins.
        refresh: Reads the changes of other processes from the storage.
        rediscover: Reloads with a new discovery, and asks other processes to do so.
        forget: Deletes all stored data of a plugin.
        notify: Emits an event for each plugin that was installed or uninstalled.
        probe: Loads a plugin in a child process with a ``sys.path``; returns its fault, or None.
    """

    installer: Installer
    group: str
    slug_of: Callable[[PluginSpec], str] | None
    storage: Storage
    catalogue: Catalogue
    refresh: Callable[[], object]
    rediscover: Callable[[], object]
    forget: Callable[[str], None]
    notify: Notify
    probe: Callable[[PluginSpec, Sequence[str]], str | None]


class PackageEnvironment:
    """The shared environment of a host, or that of an isolated plugin.

    Args:
        context: The parts of the host.
        isolated: Slug of the plugin whose own environment it is, None for the shared one. Beside
            it nothing of the host's counts.
    """

    def __init__(self, context: InstallContext, isolated: str | None = None) -> None:
        self.context = context
        self.installer = installer = context.installer
        self._is_isolated = isolated is not None
        folder = installer.environment
        self.generations = Generations(
            folder if isolated is None else folder / "isolated" / isolated,
            keep=installer.keep,
            lock_timeout=installer.lock_timeout,
        )
        path = installer.plugins_file if isolated is None else None
        self.plugins_file = None if path is None else PluginsFile(path)

    # -- reading -----------------------------------------------------------------------------

    def content(self, number: int | None = None, *, is_rescue: bool = False) -> Content:
        """Return the content of a generation, by default the current; 0 is empty.

        Raises InstallError if its lock cannot be read; for a rescue the lock is empty then.
        """
        if number is None:
            number = self.generations.current().number
        folder, lock = self.generations.folder(number), Lock()
        try:
            if number:
                lock = pylock.load(self.generations.lock_file(number), require_hashes=False)
        except InstallError:
            if not is_rescue:
                raise
        return Content(folder, distributions(folder), lock)

    def generation(self, number: int) -> Generation:
        """Return the record of a generation; 0 is empty."""
        content = self.content(number, is_rescue=True)
        return Generation(
            number=number,
            created=content.lock.created,
            distributions=MappingProxyType(content.versions),
            plugins=tuple(sorted(spec.slug for spec in self.plugins(content.folder))),
            serving=number == self.generations.current().number,
        )

    def plugins(self, folder: Path | None = None) -> tuple[PluginSpec, ...]:
        """Return the plugins in a folder, or those that this interpreter finds."""
        path = None if folder is None else [str(folder)]
        context = self.context
        return Sources(group=context.group, path=path, slug_of=context.slug_of).find().specs

    def host(self) -> Mapping[str, Distribution]:
        """Return the distributions that count as the host's."""
        return {} if self._is_isolated else host_distributions(self.installer.environment)

    def path(self, folder: Path) -> list[str]:
        """Return the ``sys.path`` of a process that uses a folder."""
        host = host_path(self.installer.environment)
        return [str(folder), *host] if self._is_isolated else [*host, str(folder)]

    def digest(self, content: Content) -> str:
        """Return a string that differs when the host or the generation has other distributions."""
        found = (*self.host().values(), *content.distributions.values())
        return sha256("".join(f"{d.name} {d.version}\n" for d in found).encode()).hexdigest()

    # -- staging -----------------------------------------------------------------------------

    def resolve(
        self,
        targets: Sequence[Target],
        content: Content,
        folder: Path,
        progress: Progress | None = None,
        *,
        listed: Mapping[str, str] | None = None,
    ) -> InstallPlan:
        """Resolve targets beside a generation, and stage in *folder* the distributions to fetch.

        Earlier requests keep their versions, except names in *listed*: these may change
        within their requirements; distributions without plugins are accepted then.
        """
        from packaging.requirements import Requirement

        policy, host = self.installer.policy, self.host()
        refusals = [refusal for target in targets for refusal in policy.of_target(target)]
        refusals += _unsuited(targets, host)
        pins: tuple[Pin, ...] = ()
        missing = [t for t in targets if t.name not in host or Requirement(t.text).extras]
        if missing and not refusals:
            try:
                pins = self.installer.resolve(
                    missing,
                    beside=content.folder if content.distributions else None,
                    constraints=[*_kept(content, {t.name for t in targets}, listed or {})],
                    folder=folder,
                    progress=progress,
                    **({"isolate": True} if self._is_isolated else {}),
                )
            except InstallConflictError as error:
                found = "; ".join(error.conflicts or error.reasons)
                reason = f"{targets[0].shown!r} does not suit what is installed: {found}"
                if not self._is_isolated:
                    reason += "; ask for another version, or install it with isolate=True"
                refusals.append(Refusal(rule="conflict", reason=reason))
        plan = InstallPlan(
            target=targets[0],
            distribution=targets[0].name,
            changes=tuple(map(Change.of, pins)),
            refusals=tuple(refusals),
            environment=self.digest(content),
        )
        return self._judged(plan, content, folder, is_synced=listed is not None)

    def fetch(
        self,
        plan: InstallPlan,
        content: Content,
        folder: Path,
        progress: Progress | None = None,
        *,
        is_synced: bool = False,
    ) -> InstallPlan:
        """Stage the distributions of a plan if *folder* is empty, and judge it again."""
        policy = self.installer.policy
        refusals = (*plan.refusals, *policy.of_target(plan.target))
        # What is known before anything is fetched or built.
        refusals += policy.of_changes(plan.changes, plan.distribution)
        plan = replace(plan, refusals=tuple(dict.fromkeys(refusals)))
        if plan.allowed and plan.pins and not any(folder.iterdir()):
            self.installer.stage(plan.pins, folder, targets=[plan.target], progress=progress)
        return self._judged(plan, content, folder, is_synced=is_synced)

    def _judged(
        self, plan: InstallPlan, content: Content, folder: Path, *, is_synced: bool
    ) -> InstallPlan:
        """Return the plan of staged distributions, completed and judged."""
        if not plan.allowed:
            return plan
        policy, host, group = self.installer.policy, self.host(), self.context.group
        pins, leaving = plan.pins, {change.name for change in plan.changes}
        asked = pin_of(plan.target, pins)
        name = plan.distribution if asked is None else asked.name
        files = check_files(
            folder,
            pins,
            host=() if self._is_isolated else host_path(self.installer.environment),
            kept=[d for d in content.distributions.values() if d.name not in leaving],
            allow_pth=policy.allow_pth,
        )
        specs = self.plugins(folder)
        groups = {name: found.groups() for name, found in files.distributions.items()}
        changes = [
            Change.of(
                pin,
                before=content.version(pin.name),
                plugins=tuple(spec.name for spec in specs if spec.distribution == pin.name),
                entry_points=tuple(
                    known
                    for known, (library, _) in LOADED_BY.items()
                    if known in groups[pin.name] and known != group and library != pin.name
                ),
            )
            for pin in pins
        ]
        plugins = [spec.name for spec in specs if spec.distribution == name]
        if not plugins and name is not None:
            there = self.plugins(content.folder if content.version(name) else None)
            plugins = [spec.name for spec in there if spec.distribution == name]
        refusals = [
            *(_of_host(host[pin.name]) for pin in pins if pin.name in host),
            *policy.of_changes(changes, name),
            *files.refusals,
            *policy.of_entry_points(changes),
            *self._slug_refusals(specs, leaving),
        ]
        if not plugins and not is_synced:
            reason = f"{name!r} brings no entry point of group {group!r}"
            refusals.append(Refusal(rule="plugin", reason=reason))
        return replace(
            plan,
            distribution=name,
            changes=(*changes, *(change for change in plan.changes if change.after is None)),
            refusals=tuple(dict.fromkeys(refusals)),
            plugins=tuple(plugins),
            data_files=files.data_files,
            scripts=files.scripts,
        )

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
            known = {plugin.slug: plugin for plugin in self.context.catalogue.select().plugins}
        except RegistryNotReady:
            known = {}
        own = (plugin.spec for plugin in known.values() if plugin.spec is not None)
        others = [spec for spec in own if spec.source is not Source.ENTRY_POINT]
        folders = (None, *isolated_folders(self.installer.environment).values())
        there = (spec for folder in folders for spec in self.plugins(folder))
        others += [spec for spec in there if spec.distribution not in replaced]
        rows, owners = PluginRows(self.context.storage).all(), dict[Slug, str]()
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


def asked_for(plan: InstallPlan, content: Content) -> Mapping[str, str]:
    """Return the line by which a plan's target is asked for, under the name that it has.

    It is the target's own; for a bare name, the installed version. A distribution of the host is
    not asked for.
    """
    name, target = plan.distribution or "", plan.target
    after = {change.name: change.after for change in plan.changes}
    version = after.get(name) or content.version(name)
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
