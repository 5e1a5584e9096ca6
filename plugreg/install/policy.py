"""Rules of a host for installations and their sources."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked
from plugreg.install.constraints import (
    Constraint,
    accepts,
    read_constraints,
    single_version,
)
from plugreg.install.plan import Change, Refusal, Target
from plugreg.install.urls import (
    FILE_SCHEMES,
    REPOSITORY_SCHEMES,
    check_place,
    check_url,
    is_repository,
    is_within,
)

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_KINDS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **dict.fromkeys(("wheels_only", "require_hashes", "isolated", "allow_pth"), bool),
        "min_age": timedelta | None,
        "constraints": str | os.PathLike | None,
    }
)
_ALL_SCHEMES: Final = (*FILE_SCHEMES, *REPOSITORY_SCHEMES)

LOADED_BY: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "flask.commands": ("flask", "at each of its commands"),
        "hypothesis": ("hypothesis", "when it is imported itself"),
        "keyring.backends": ("keyring", "when it looks for a password, within pip too"),
        "numba_extensions": ("numba", "with the first function that it compiles"),
        "opentelemetry_context": ("opentelemetry-api", "when it is imported itself"),
        "opentelemetry_instrumentor": (
            "opentelemetry-instrumentation",
            "at the start of a program that it instruments",
        ),
        "pydantic": ("pydantic", "with the first model of a process"),
        "pytest11": ("pytest", "at each start"),
        "torch.backends": ("torch", "when it is imported itself"),
    }
)
"""Groups of which a library imports all that are installed, or the first, without being asked.

Groups of which a user selects an entry to be imported (``sqlalchemy.dialects``,
``console_scripts``) are not here, nor those of setuptools: installers build where nothing else is
installed.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPolicy:
    """Rules of a host for installations. The name of each rule is that of its field.

    Names are made canonical and paths absolute. The rule ``environment`` always applies: the
    host's distributions stay as they are, and new distributions bring only files of their own.

    An entry of *indexes* or *vcs_hosts* is a host or the start of a URL. A host
    (``pypi.example``, ``pypi.example:8443``) without a port means the default port of the scheme.
    ``https://git.example/us`` matches ``/us/shop``, not ``/usual``. URLs of dependencies follow
    the same rules. Submodules of git repositories are not fetched (by git 2.31 at least), because
    they may be anywhere. Installers do follow redirects, subrepositories of hg and externals of
    svn; only *require_hashes* restricts their content.

    A build runs code of the distribution before its name or hash is known. *allowed*, *denied*
    and *require_hashes* therefore forbid builds, as *wheels_only* does. *allowed* and *denied*
    still permit the build of a URL that is requested with a name (``name @ url``).

    Args:
        allowed: Only distributions that may be added or changed, dependencies included. None
            means any.
        denied: Distributions that may never be added or changed.
        indexes: Only indexes and hosts of files. Every file must come from these hosts or
            from *find_links*, so the host of an index's files must be listed as well. The first
            URL is the default index. None leaves the index to the installer's configuration and
            forbids requirements to name another. An empty collection means no index at all.
        vcs_hosts: Only repositories that may be named.
        find_links: Folders with wheels, or URLs of pages that list some.
        wheels_only: Whether distributions without a wheel are refused.
        require_hashes: Whether each file needs a sha256 in *constraints*, for its name and exact
            version.
        constraints: Path of a file of requirements that apply to all installed distributions. It
            is read when it is needed.
        isolated: Whether the installer's own configuration (variables, files) is ignored.
        entry_points: Permitted entry-point groups of those that a library imports by itself
            (``pydantic``, ``pytest11``). Their code runs even if the plugin is inactive.
        scripts: Accepted and without effect: scripts of plugins are on no search path.
        min_age: Age that a release of an index must have. Releases without a time of upload are
            left out then; files of *find_links* have none and are not affected. pip 26.0 at least
            is needed.
        allow_pth: Whether ``.pth`` files of distributions are permitted. They run code at each
            start, even if the plugin is inactive.

    Raises:
        TypeError: If a field has the wrong type; the message names the field.
        ValueError: If a field has an invalid value; the message names the field.
    """

    allowed: Collection[str] | None = None
    denied: Collection[str] = ()
    indexes: Collection[str] | None = field(default=None, repr=False)
    vcs_hosts: Collection[str] = ()
    find_links: Collection[str | os.PathLike[str]] = ()
    wheels_only: bool = False
    require_hashes: bool = False
    constraints: str | os.PathLike[str] | None = None
    isolated: bool = False
    entry_points: Collection[str] = ()
    scripts: Collection[str] = ()
    min_age: timedelta | None = None
    allow_pth: bool = False

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "allowed": None if self.allowed is None else _names("allowed", self.allowed),
            "denied": _names("denied", self.denied),
            "indexes": None if self.indexes is None else _collected("indexes", self.indexes),
            "vcs_hosts": _collected("vcs_hosts", self.vcs_hosts),
            "entry_points": _collected("entry_points", self.entry_points),
            "scripts": _collected("scripts", self.scripts),
            "find_links": tuple(map(_link, _collected("find_links", self.find_links, os.PathLike))),
        }
        for entry in checked["indexes"] or ():
            check_place("indexes", entry, FILE_SCHEMES)
        for entry in checked["vcs_hosts"]:
            check_place("vcs_hosts", entry, _ALL_SCHEMES, credentials=False)
        for name, kind in _KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be {type(self).__annotations__[name]}")
        if self.min_age is not None and self.min_age < timedelta(0):
            raise ValueError("min_age must not be negative; write timedelta(days=7)")
        if self.constraints is not None:
            checked["constraints"] = Path(self.constraints).absolute()
        elif self.require_hashes:
            raise ValueError("require_hashes needs constraints=, the file that has the hashes")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def may_build(self) -> bool:
        """Whether a plan may build wheels, which runs code of the distributions.

        pip builds a dependency that is named by URL in any case; the plan is then refused.
        """
        return not self._wheel_rules()

    def index_url(self, target: Target | None = None) -> str | None:
        """Return the index to use, with its credentials.

        Args:
            target: The requested target, None for none.

        Returns:
            The index of *target*, else the first URL in ``indexes``. None leaves the index to the
            installer's configuration.
        """
        if target is not None and target.index_url is not None:
            return target.index_url
        return next((index for index in self.indexes or () if "://" in index), None)

    def constraint_lines(self) -> tuple[str, ...]:
        """Return the requirements in ``constraints`` that hold here, without their hashes.

        Raises:
            InstallError: If the file cannot be read.
        """
        return tuple(constraint.text for constraint in self._constraints())

    def of_target(self, target: Target) -> tuple[Refusal, ...]:
        """Return the refusals of a target that are known before an installer runs.

        Args:
            target: The requested target.
        """
        found = [] if target.name is None else [*self._of_name(target.name)]
        if target.index_url is not None:
            found += self._of_place(target.index_url)
        if target.url is not None:
            found += self._of_place(target.url)
            rules = self._wheel_rules(is_named=target.name is not None)
            found += _of_form(rules, target.url, target.shown)
        return tuple(found)

    def of_changes(self, changes: Iterable[Change], target_name: str | None) -> tuple[Refusal, ...]:
        """Return the refusals of a plan's changes.

        Args:
            changes: The changes. The source of a repository is a URL such as ``git+https://…``.
            target_name: Name of the requested distribution, None if unknown.

        Raises:
            InstallError: If the file ``constraints`` cannot be read.
        """
        known = self._constraints()
        found: list[Refusal] = []
        for change in (change for change in changes if change.after is not None):
            shown = f"{change.name} {change.after}"
            rules = self._wheel_rules(is_named=change.direct and change.name == target_name)
            if change.source is None:
                rules = tuple(rule for rule in rules if rule == "wheels_only")
            found += self._of_name(change.name)
            found += _of_form(rules, change.source, shown)
            found += self._of_source(change.source, shown, is_direct=change.direct)
            own = [line for line in known if canonical(line.requirement.name) == change.name]
            found += self._of_constraints(change, shown, own)
        return tuple(found)

    def of_entry_points(self, changes: Iterable[Change]) -> tuple[Refusal, ...]:
        """Return the refusals for entry points that a library would import by itself.

        Args:
            changes: The changes of a plan.
        """
        return tuple(
            Refusal(
                rule="entry_points",
                reason=f"{change.name!r} has entry points of the group {group!r}, which "
                f"{' imports '.join(LOADED_BY[group])}: its code would run while its plugins are "
                f"off; ask the host to add the group to entry_points of its policy, or for a "
                f"version without it",
            )
            for change in changes
            for group in change.entry_points
            if group not in self.entry_points
        )

    # -- the parts ---------------------------------------------------------------------------

    def _wheel_rules(self, *, is_named: bool = False) -> tuple[str, ...]:
        """Return the rules that let only wheels be installed.

        A target with a URL and a name can be judged by the name before it is built.
        """
        given = {
            "wheels_only": self.wheels_only,
            "allowed": self.allowed is not None and not is_named,
            "denied": bool(self.denied) and not is_named,
            "require_hashes": self.require_hashes,
        }
        return tuple(rule for rule, is_given in given.items() if is_given)

    def _of_name(self, name: str) -> Iterator[Refusal]:
        if name in self.denied:
            yield Refusal(rule="denied", reason=f"{name!r} is denied by the host's policy")
        if self.allowed is not None and name not in self.allowed:
            reason = f"{name!r} is not among what the host's policy allows; ask the host to add it"
            yield Refusal(rule="allowed", reason=reason)

    def _of_place(self, url: str, *, is_path_free: bool = False) -> Iterator[Refusal]:
        """Compare a URL with the entries of ``indexes`` or ``vcs_hosts``; its path may be free."""
        rule, entries = "indexes", self.indexes or ()
        if is_repository(url):
            rule, entries, is_path_free = "vcs_hosts", self.vcs_hosts, False
        shown = repr(masked(url))
        try:
            parts = check_url(url, _ALL_SCHEMES)
        except ValueError as error:
            yield Refusal(rule=rule, reason=f"{shown} cannot be judged: {error}")
            return
        if not any(is_within(parts, entry, is_path_free=is_path_free) for entry in entries):
            reason = f"{shown} is in no place that {rule} of the host's policy has; ask the "
            reason += f"host to add {parts.netloc.rpartition('@')[2]!r}"
            if is_path_free:
                reason += ": the host of an index's files has to be in it too"
            yield Refusal(rule=rule, reason=reason)

    def _of_source(self, source: str | None, shown: str, *, is_direct: bool) -> Iterator[Refusal]:
        is_bound = is_direct or self.indexes is not None
        if source is None and self.indexes is not None:
            reason = f"{shown!r} comes from an unknown place; use an installer that reports it"
            yield Refusal(rule="indexes", reason=reason)
        elif source is not None and (
            is_repository(source) or (is_bound and not self._is_linked(source))
        ):
            # Of a file of an index the host alone is compared: files have paths of their own.
            yield from self._of_place(source, is_path_free=not is_direct)

    def _is_linked(self, source: str) -> bool:
        """Return whether a file lies in a folder of ``find_links``, or on the host of a page."""
        links = tuple(map(str, self.find_links))
        with suppress(ValueError):
            parts = urlsplit(source)
            if parts.scheme == "file" and parts.netloc in ("", "localhost"):
                file = Path(os.path.normpath(unquote(parts.path)))
                # Installers name the folder as it was given, or with its links followed.
                return any(
                    file.is_relative_to(read(link))
                    for link in links
                    for read in (os.path.normpath, os.path.realpath)
                )
            parts = check_url(source, FILE_SCHEMES)
            return any(is_within(parts, link, is_path_free=True) for link in links if "://" in link)
        return False

    def _of_constraints(
        self, change: Change, shown: str, own: list[Constraint]
    ) -> Iterator[Refusal]:
        known = set[str]()
        for line in own:
            if not accepts(line.requirement, change.after or ""):
                reason = f"{shown!r} contradicts {masked(line.text)!r} in the constraints"
                yield Refusal(rule="constraints", reason=reason)
            elif line.requirement.url or single_version(line.requirement):
                known |= line.hashes
        if not self.require_hashes or (change.sha256 or "").lower() in known:
            return
        if not known:
            fault = "has no sha256 in the constraints; the host has to add it"
        elif change.sha256 is None:
            fault = "comes without a sha256, so that it cannot be compared"
        else:
            fault = "has a sha256 that is none of those in the constraints"
        yield Refusal(rule="require_hashes", reason=f"{shown!r} {fault}")

    def _constraints(self) -> tuple[Constraint, ...]:
        return () if self.constraints is None else read_constraints(Path(self.constraints))


def _of_form(rules: Sequence[str], source: str | None, shown: str) -> Iterator[Refusal]:
    """Refuse other files than wheels: no option keeps pip from building a direct dependency."""
    address = re.split("[?#]", source or "")[0]
    if rules and (is_repository(address) or not address.endswith(".whl")):
        reason = f"{shown!r} is no wheel and would have to be built; ask for a version that has one"
        yield Refusal(rule=rules[0], reason=reason)


def _collected(rule: str, given: object, *kinds: type) -> tuple[Any, ...]:
    """Return the entries of a field. Nothing of them is shown, since they may have credentials."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{rule} must be a collection of texts; write ['…'] for a single one")
    entries = tuple(given)
    for entry in entries:
        if not isinstance(entry, (str, *kinds)):
            raise TypeError(f"{rule} must have texts, not {type(entry).__name__}")
        if isinstance(entry, str) and not entry.strip():
            raise ValueError(f"{rule} has a blank entry; take it out")
    return entries


def _names(rule: str, given: object) -> frozenset[str]:
    names = _collected(rule, given)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{rule} has {name!r}, which is no name; write one as 'shop-discount'")
    return frozenset(map(canonical, names))


def _link(entry: str | os.PathLike[str]) -> str:
    if isinstance(entry, str) and "://" in entry:
        check_place("find_links", entry, FILE_SCHEMES, credentials=False)
        return entry
    return str(Path(entry).absolute())
