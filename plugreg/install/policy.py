"""Rules of a host for installations and their sources."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from plugreg._support.slugs import canonical
from plugreg.install.constraints import Pin, read_pins
from plugreg.install.loaded import LOADED_BY
from plugreg.install.plan import Change, Refusal, Target
from plugreg.install.requirements import masked, secrets_of
from plugreg.install.urls import (
    FILE_SCHEMES,
    REPOSITORY_SCHEMES,
    Address,
    Place,
    parse_address,
    parse_place,
)

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_ALL_SCHEMES: Final = (*FILE_SCHEMES, *REPOSITORY_SCHEMES)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPolicy:
    """Rules of a host for installations. The name of each rule is that of its field.

    Names are made canonical and paths absolute. One rule always applies, ``environment``: of the
    installed distributions only the requested one may change, and new distributions may bring
    only files of their own.

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
        indexes: Only indexes and hosts of files. Every file must come from one of these hosts or
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
        scripts: Names of commands that scripts of distributions may shadow.

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
            parse_place("indexes", entry, FILE_SCHEMES)
        for entry in checked["vcs_hosts"]:
            parse_place("vcs_hosts", entry, _ALL_SCHEMES, credentials=False)
        for name in ("wheels_only", "require_hashes", "isolated"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; write one of them")
        if self.constraints is not None:
            if not isinstance(self.constraints, (str, os.PathLike)):
                raise TypeError("constraints must be the path of a file, or None")
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
        return not self._wheel_rules

    @property
    def _wheel_rules(self) -> tuple[str, ...]:
        """The rules that let only wheels be installed."""
        given = {
            "wheels_only": self.wheels_only,
            "allowed": self.allowed is not None,
            "denied": bool(self.denied),
            "require_hashes": self.require_hashes,
        }
        return tuple(rule for rule, is_given in given.items() if is_given)

    @property
    def _named_wheel_rules(self) -> tuple[str, ...]:
        """Those by which what a target names by URL, together with a name, must be a wheel.

        The name is judged; a URL alone tells its name only when it is built.
        """
        return tuple(rule for rule in self._wheel_rules if rule not in ("allowed", "denied"))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials in ``indexes``, to be removed from output."""
        urls = self.indexes or ()
        return tuple(dict.fromkeys(secret for url in urls for secret in secrets_of(url)))

    def index_url(self, target: Target) -> str | None:
        """Return the index to use, with its credentials.

        Args:
            target: The requested target.

        Returns:
            The index of *target*, else the first URL in ``indexes``. None leaves the index to the
            installer's configuration.
        """
        if target.index_url is not None:
            return target.index_url
        return next((index for index in self.indexes or () if "://" in index), None)

    def constraint_lines(self) -> tuple[str, ...]:
        """Return the requirements in ``constraints`` that hold here, without their hashes.

        Raises:
            InstallError: If the file cannot be read.
        """
        return tuple(pin.text for pin in self._pins())

    def of_target(self, target: Target) -> tuple[Refusal, ...]:
        """Return the refusals of a target that are known before an installer runs.

        Args:
            target: The requested target.
        """
        found: list[Refusal] = []
        if target.name is not None:
            found += self._of_name(target.name)
        if target.index_url is not None:
            found += self._of_place("indexes", target.index_url)
        if target.url is not None:
            is_repository = _is_repository(target.url)
            found += self._of_place("vcs_hosts" if is_repository else "indexes", target.url)
            rules = self._wheel_rules if target.name is None else self._named_wheel_rules
            if rules and not _is_wheel(target.url):
                found.append(_no_wheel(rules[0], target.shown))
        return tuple(found)

    def of_changes(
        self, changes: Iterable[Change], target_name: str | None, others: Collection[str] = ()
    ) -> tuple[Refusal, ...]:
        """Return the refusals of a plan's changes.

        Args:
            changes: The changes. The source of a repository is a URL such as ``git+https://…``.
            target_name: Name of the requested distribution, None if unknown.
            others: Canonical names of further distributions that may change.

        Raises:
            InstallError: If the file ``constraints`` cannot be read.
        """
        pins = self._pins()
        named = None if target_name is None else canonical(target_name)
        return tuple(
            refusal
            for change in changes
            for refusal in self._of_change(change, named, others, pins)
        )

    def of_entry_points(self, changes: Iterable[Change]) -> tuple[Refusal, ...]:
        """Return the refusals for entry points that a library would import by itself.

        Args:
            changes: The changes of a plan.
        """
        return tuple(
            Refusal(rule="entry_points", reason=_loaded(change, group))
            for change in changes
            for group in change.entry_points
            if group not in self.entry_points
        )

    def _of_change(
        self, change: Change, named: str | None, others: Collection[str], pins: tuple[Pin, ...]
    ) -> Iterator[Refusal]:
        name = canonical(change.name)
        if change.before is not None and name != named and name not in others:
            yield Refusal(rule="environment", reason=_disturbed(change))
        if change.after is None:
            return
        yield from self._of_name(name)
        yield from self._of_form(change, asked=change.direct and name == named)
        yield from self._of_source(change)
        yield from self._of_pins(change, change.after, [pin for pin in pins if pin.name == name])

    def _of_name(self, name: str) -> Iterator[Refusal]:
        if name in self.denied:
            yield Refusal(rule="denied", reason=f"{name!r} is denied by the host's policy")
        if self.allowed is not None and name not in self.allowed:
            reason = f"{name!r} is not among what the host's policy allows; ask the host to add it"
            yield Refusal(rule="allowed", reason=reason)

    def _of_place(self, rule: str, url: str) -> Iterator[Refusal]:
        """Compare a URL, path included, with the entries of ``indexes`` or ``vcs_hosts``."""
        address = _address(url)
        if isinstance(address, str):
            yield Refusal(rule=rule, reason=f"{masked(url)!r} cannot be judged: {address}")
        elif not any(place.has(address) for place in self._places(rule)):
            reason = (
                f"{masked(url)!r} is in no place that {rule} of the host's policy has; "
                f"ask the host to add {address.shown_host!r}"
            )
            yield Refusal(rule=rule, reason=reason)

    def _of_form(self, change: Change, *, asked: bool) -> Iterator[Refusal]:
        """Refuse what is no wheel; ``asked`` says that the target names its URL.

        No option keeps pip from building what a dependency names by URL.
        """
        rules = self._named_wheel_rules if asked else self._wheel_rules
        if change.source is None:
            rules = tuple(name for name in rules if name == "wheels_only")
        elif _is_wheel(change.source):
            return
        if rules:
            yield _no_wheel(rules[0], f"{change.name} {change.after}")

    def _of_source(self, change: Change) -> Iterator[Refusal]:
        what, source = f"{change.name} {change.after}", change.source
        if source is None:
            if self.indexes is not None:
                reason = f"{what!r} comes from where nobody tells; use an installer that does"
                yield Refusal(rule="indexes", reason=reason)
        elif _is_repository(source):
            yield from self._of_place("vcs_hosts", source)
        elif self._is_linked(source):
            return
        elif change.direct:
            yield from self._of_place("indexes", source)
        elif self.indexes is not None:
            yield from self._of_file(what, source)

    def _of_file(self, what: str, source: str) -> Iterator[Refusal]:
        """Compare the host of a file alone: the files of an index have paths of their own."""
        address = _address(source)
        if isinstance(address, str):
            reason = f"{what!r} would come from {masked(source)!r}, which is no index's: {address}"
            yield Refusal(rule="indexes", reason=reason)
        elif not any(place.has_host(address) for place in self._places("indexes")):
            host = address.shown_host
            reason = (
                f"{what!r} would come from {host!r}, which indexes of the host's policy does not "
                f"have; where the files of an index lie on another host, that has to be in it too"
            )
            yield Refusal(rule="indexes", reason=reason)

    def _is_linked(self, source: str) -> bool:
        """Return whether a file lies in a folder of ``find_links``, or on the host of a page."""
        address, path = _address(source), _local_path(source)
        for link in map(str, self.find_links):
            if "://" in link:
                page = parse_place("find_links", link, FILE_SCHEMES)
                if isinstance(address, Address) and page.has_host(address):
                    return True
            elif path is not None:
                # Installers name the folder as it was given, or with its links followed.
                file = Path(os.path.normpath(path.absolute()))
                if any(map(file.is_relative_to, (os.path.normpath(link), os.path.realpath(link)))):
                    return True
        return False

    def _of_pins(self, change: Change, version: str, pins: list[Pin]) -> Iterator[Refusal]:
        what = f"{change.name} {version}"
        for pin in pins:
            if not pin.accepts(version):
                reason = f"{what!r} contradicts {masked(pin.text)!r} in the constraints"
                yield Refusal(rule="constraints", reason=reason)
        if not self.require_hashes:
            return
        known = {hash_ for e in pins if e.is_exact and e.accepts(version) for hash_ in e.hashes}
        if not known:
            reason = f"{what!r} has no sha256 in the constraints; the host has to add it"
        elif change.sha256 is None:
            reason = f"{what!r} comes without a sha256, so that it cannot be compared"
        elif change.sha256.lower() not in known:
            reason = f"{what!r} has a sha256 that is none of those in the constraints"
        else:
            return
        yield Refusal(rule="require_hashes", reason=reason)

    def _places(self, rule: str) -> list[Place]:
        entries = self.indexes if rule == "indexes" else self.vcs_hosts
        return [parse_place(rule, entry, _ALL_SCHEMES) for entry in entries or ()]

    def _pins(self) -> tuple[Pin, ...]:
        return () if self.constraints is None else read_pins(Path(self.constraints))


def _is_repository(url: str) -> bool:
    return "+" in url.partition("://")[0]


def _is_wheel(url: str) -> bool:
    return not _is_repository(url) and re.split("[?#]", url)[0].endswith(".whl")


def _no_wheel(rule: str, what: str) -> Refusal:
    reason = f"{what!r} is no wheel and would have to be built; ask for a version that has one"
    return Refusal(rule=rule, reason=reason)


def _loaded(change: Change, group: str) -> str:
    library, when = LOADED_BY[group]
    return (
        f"{change.name!r} has entry points of the group {group!r}, which {library} imports {when}: "
        f"its code would run while its plugins are off; "
        f"ask the host to add the group to entry_points of its policy, or for a version without it"
    )


def _disturbed(change: Change) -> str:
    if change.after is None:
        what = f"{change.name} {change.before} would be removed"
    elif change.after == change.before:
        what = f"{change.name} {change.before} would be installed anew"
    else:
        what = f"{change.name} {change.before} would become {change.after}"
    return f"{what}, but only what is asked for may change; ask for a version that suits it"


def _address(url: str) -> Address | str:
    """Return the parts of a URL, or what is wrong with it."""
    try:
        return parse_address(url, _ALL_SCHEMES)
    except ValueError as error:
        return str(error)


def _local_path(source: str) -> Path | None:
    """Return the path of a file on this machine, None for any other source."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    if "://" not in source:
        return Path(source)
    try:
        parts = urlsplit(source)
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    return Path(url2pathname(parts.path))


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
        parse_place("find_links", entry, FILE_SCHEMES, credentials=False)
        return entry
    return str(Path(entry).absolute())
