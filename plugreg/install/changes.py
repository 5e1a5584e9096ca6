"""One change of an environment: the next generation is made aside, and swapped in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from plugreg._lifecycle.catalogue import Catalogue
from plugreg._lifecycle.change_queue import Notify
from plugreg._support.slugs import Slug, canonical
from plugreg.exceptions import InstallError, PluginNotFoundError, PlugregError, RegistryNotReady
from plugreg.install import pylock
from plugreg.install.attempt import Attempt, taking_in
from plugreg.install.audit import Audit
from plugreg.install.distributions import Distribution, host_path, required
from plugreg.install.generations import Current, Generations, carry_over, changes_of
from plugreg.install.plan import InstallPlan, Lock, Pin
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.reports import InstallReport
from plugreg.install.staging import Content, Stager
from plugreg.records import LOAD_STAGES, PluginFailure, PluginSpec, Source, Stage

ProbeStaged = Callable[[PluginSpec, Sequence[str]], str | None]
"""Loads a plugin in a child process with this ``sys.path``; returns its fault, or None."""


class ChangeUnderWay(NamedTuple):
    """A change under way: an empty folder for the next generation, and the current one."""

    attempt: Attempt
    folder: Path
    current: Current
    content: Content


class Next(NamedTuple):
    """What the next generation has more or less than the current one.

    ``asked`` is all that is asked for then. ``pins`` are staged in the folder of the change, with
    the plugins ``specs``.
    """

    asked: Mapping[str, str]
    pins: tuple[Pin, ...] = ()
    specs: tuple[PluginSpec, ...] = ()
    removed: frozenset[str] = frozenset()

    @property
    def leaving(self) -> frozenset[str]:
        """The distributions whose present versions go."""
        return self.removed | {pin.name for pin in self.pins}


class Changer:
    """Makes changes of one environment, one at a time, and has the registry take them in.

    Args:
        generations: The environment.
        stager: Stages distributions in it.
        audit: Where attempts are recorded.
        plugins_file: The file that lists what is asked for, None without one.
        catalogue: The registry's plugins.
        rediscover: Reloads with a new discovery, and asks other processes to do so.
        notify: Emits an event for each plugin that was installed.
        probe: Probes a staged plugin.
    """

    def __init__(
        self,
        generations: Generations,
        stager: Stager,
        *,
        audit: Audit,
        plugins_file: PluginsFile | None,
        catalogue: Catalogue,
        rediscover: Callable[[], object],
        notify: Notify,
        probe: ProbeStaged,
    ) -> None:
        self.generations = generations
        self.stager = stager
        self.rediscover = rediscover
        self._audit = audit
        self._file = plugins_file
        self._catalogue = catalogue
        self._notify = notify
        self._probe = probe

    def content(self, number: int | None = None, *, is_rescue: bool = False) -> Content:
        """Return what is in a generation, the serving one by default; see :class:`Content`."""
        if number is None:
            number = self.generations.current().number
        return Content.of(self.generations, number, is_rescue=is_rescue)

    @contextmanager
    def changing(self, attempt: Attempt, *, is_rescue: bool = False) -> Iterator[ChangeUnderWay]:
        """Enclose a change: nobody else makes one, and its result is recorded.

        A rescue is made even if the lock of the serving generation cannot be read.
        """
        with (
            attempt.recorded(self._audit),
            self.generations.changing() as current,
            self.generations.staging() as folder,
        ):
            content = self.content(current.number, is_rescue=is_rescue)
            yield ChangeUnderWay(attempt, folder, current, content)
            if attempt.is_made:
                self.generations.retire(self.generations.current())

    def install(
        self, change: ChangeUnderWay, following: Next, *, keep_broken: bool
    ) -> InstallReport:
        """Make a generation serve that has something new, and return the report."""
        attempt, plan = change.attempt, change.attempt.plan
        assert plan is not None, "it was staged"
        serving = self._serving(following.removed)
        after = self.publish(change, following, None if keep_broken else self._probe)
        report = self.report(plan, self.content(after.number), attempt)
        with taking_in(f"{report.distribution!r} was installed", report):
            self.rediscover()
            failure = None if keep_broken else self._failure(serving)
        if failure is not None:
            asked = change.content.lock.asked
            self.swap(change._replace(current=after), change.current.number, asked, following.asked)
            attempt.outcome, attempt.is_made = "rolled back", False
            # If it cannot, it follows with the next refresh.
            with suppress(PlugregError):
                self.rediscover()
            raise _rolled_back(report, failure)
        for spec in following.specs:
            fields = {"distribution": spec.distribution, "version": spec.version}
            self._notify("plugin_installed", slug=spec.slug, **fields)
        return report

    def publish(
        self, change: ChangeUnderWay, following: Next, probe: ProbeStaged | None = None
    ) -> Current:
        """Complete the next generation, probe its new plugins, and swap it in."""
        content, folder = change.content, change.folder
        leaving = following.leaving
        with changes_of(folder):
            for distribution in content.distributions.values():
                if distribution.name not in leaving:
                    _carry_over(distribution, folder)
        path = [*host_path(self.generations.environment), str(folder)]
        specs = () if probe is None else (*following.specs, *self._affected(change, following))
        for spec in specs:
            fault = None if probe is None else probe(spec, path)
            if fault is not None:
                change.attempt.outcome = "refused"
                reason = (
                    f"the plugin {spec.slug!r} cannot be loaded ({fault}); nothing was installed: "
                    f"ask for another version, or install with keep_broken=True"
                )
                raise InstallError([reason])
        kept = [pin for pin in content.lock.pins if pin.name not in leaving]
        lock = Lock(
            pins=tuple(sorted((*kept, *following.pins), key=lambda pin: pin.name)),
            asked=following.asked,
            created=datetime.now(UTC).replace(microsecond=0),
        )
        self._begin(change.attempt)
        number = self.generations.publish(folder, pylock.dumps(lock), change.current)
        self.content(number)  # What cannot be read again must not serve.
        return self.swap(change, number, following.asked, content.lock.asked)

    def swap(
        self,
        change: ChangeUnderWay,
        number: int,
        asked: Mapping[str, str],
        before: Mapping[str, str],
    ) -> Current:
        """Make a generation serve, and list what is asked for then.

        The audit has an entry before anything serves. A process that dies after the plugins file
        was written leaves lines that the next synchronization carries out.
        """
        self._begin(change.attempt)
        is_listed = self._file is not None and change.attempt.action != "sync"
        try:
            if is_listed:
                self._list(before, asked)
            after = self.generations.swap(number, change.current)
        except BaseException:
            with suppress(InstallError):
                if is_listed:
                    self._list(asked, before)
            raise
        change.attempt.is_made = True
        return after

    def report(self, plan: InstallPlan, content: Content, attempt: Attempt) -> InstallReport:
        """Return the report of what a plan has brought, or what was there already."""
        name = plan.distribution or ""
        names = {name, *(change.name for change in plan.changes)}
        there = content.distributions.get(name)
        specs = self.stager.plugins(content.folder if there is not None else None)
        if there is None:
            there = self.stager.host().get(name)
        return InstallReport(
            plan=plan,
            distribution=name,
            version=there.version if there else "",
            location=str(there.folder) if there else "",
            plugins=tuple(spec.slug for spec in specs if spec.distribution in names),
            output="\n".join(attempt.lines),
            success=True,
        )

    # -- the parts ---------------------------------------------------------------------------

    def _begin(self, attempt: Attempt) -> None:
        """Have the audit record an attempt before anything is changed."""
        if not attempt.is_begun:
            attempt.is_begun = True
            self._audit.put(attempt.entry())

    def _list(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        assert self._file is not None, "it is listed"
        for name in sorted(before.keys() - after.keys()):
            self._file.remove(name)
        for name, line in sorted(after.items()):
            if before.get(name) != line:
                self._file.put(name, line)

    def _serving(self, removed: frozenset[str]) -> tuple[Slug, ...]:
        """Return the installed plugins that are in service and are not to go."""
        with suppress(RegistryNotReady):
            return tuple(
                plugin.slug
                for plugin in self._catalogue.select().plugins
                if plugin.loaded is not None
                and plugin.spec is not None
                and plugin.spec.source is Source.ENTRY_POINT
                and plugin.distribution not in removed
            )
        return ()

    def _affected(self, change: ChangeUnderWay, following: Next) -> tuple[PluginSpec, ...]:
        """Return the plugins in service that stay as they are, while what they require does not."""
        names = set(following.leaving & change.content.distributions.keys())
        kept = [d for d in change.content.distributions.values() if d.name not in following.leaving]
        affected: set[str] = set()
        while names:
            affected |= names
            names = {
                found.name
                for found in kept
                if found.name not in affected
                and any(canonical(needed.name) in names for needed in required(found, extras=True))
            }
        serving = self._serving(following.leaving) if affected else ()
        staged = self.stager.plugins(change.folder) if serving else ()
        return tuple(
            spec for spec in staged if spec.slug in serving and spec.distribution in affected
        )

    def _failure(self, serving: tuple[Slug, ...]) -> PluginFailure | None:
        """Return the failure of the first of these plugins that is wanted, and not in service."""
        for slug in serving:
            try:
                record = self._catalogue.record(slug)
            except PluginNotFoundError:
                return PluginFailure(stage=Stage.RESOLVE, slug=slug, message="it is gone")
            if record.wanted and not record.active:
                faults = [error for error in record.errors if error.stage in LOAD_STAGES]
                reason = PluginFailure(stage=Stage.RESOLVE, slug=slug, message=record.reason)
                return faults[-1] if faults else reason
        return None


def _rolled_back(report: InstallReport, failure: PluginFailure) -> InstallError:
    reason = (
        f"{failure.slug!r} was in service, and is not with the new generation "
        f"({failure.stage}: {failure.message}): it was rolled back"
    )
    error = InstallError([reason])
    error.report = replace(
        report, success=False, version="", location="", reasons=(reason,), rolled_back=failure
    )
    return error


def _carry_over(distribution: Distribution, folder: Path) -> None:
    try:
        carry_over(distribution, folder)
    except FileNotFoundError as error:
        reason = (
            f"the file {error.filename!r} of {distribution.name!r} is missing in the serving "
            f"generation, which nobody may change; uninstall {distribution.name!r} and install it "
            f"again, or roll back"
        )
        raise InstallError([reason]) from error
