"""Parse and edit the lines of a requirements file as pip reads it.

Pure: texts go in and come out, without a byte order mark, with their line breaks as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError, RequirementError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_HASH: Final = "--hash="
# A run of blanks is looked at from its start alone, since each other start costs its length again.
_COMMENT: Final = re.compile(r"(^|(?<!\s)\s+)#.*$")
_VARIABLE: Final = re.compile(r"\$\{[A-Z0-9_]+\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementLine:
    """One line of a requirements file that is neither blank nor a comment alone.

    ``number`` counts from 1; a line that goes on after a backslash has the number of its first.
    ``text`` is the requirement, a PEP 508 one, a URL or a path, without comment and options;
    ``options`` are the words after it, such as ``--hash=sha256:…``. A line of options alone
    (``-r``, ``-e``, ``--index-url``) has no text. ``name`` is the canonical name of the
    distribution, None where the line tells none. ``applies`` says whether its marker holds for
    this interpreter; without a marker it does. Variables (``${TOKEN}``) stand as they are
    written. The repr shows neither text nor options, which may hold credentials.
    """

    number: int
    name: str | None
    text: str = field(repr=False)
    options: tuple[str, ...] = field(default=(), repr=False)
    applies: bool = True

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes that its file may have, each as ``sha256:…``."""
        found = (option.removeprefix(_HASH) for option in self.options if option.startswith(_HASH))
        return tuple(found)


class Wanted(NamedTuple):
    """What is to be listed: canonical name, requirement, the text of it, and the file's hash."""

    name: str
    text: str
    requirement: Requirement
    sha256: str | None = None

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hash as a line has it, none where it is not known."""
        return () if self.sha256 is None else (f"sha256:{self.sha256}",)


def wanted(name: str, requirement: str, sha256: str | None = None) -> Wanted:
    """Return what is to be listed for a distribution, a requirement of PEP 508 or a URL.

    ``sha256`` is the hash of its file, for a line that has hashes.
    Raises RequirementError for what would not be read back as one requirement of that name, or
    holds a variable, which an installer would replace by something of its environment.
    """
    name = canonical(name)
    is_url = "://" in requirement.partition("@")[0]
    text = f"{name} @ {requirement}" if is_url else requirement
    lines = [] if _VARIABLE.search(text) else _lines_of(text)
    if len(lines) == 1 and lines[0].shown.text == " ".join(text.split()):
        line = lines[0]
        if line.requirement is not None and line.shown.name == name:
            return Wanted(name, line.shown.text, line.requirement, sha256)
    raise RequirementError(
        "packagename",
        f"what is given for {name!r} cannot be a line of the plugins file; give one requirement "
        f"of that name by PEP 508, without options, comments, variables and line breaks",
    )


def lines_of(text: str) -> tuple[RequirementLine, ...]:
    """Return the lines of a text, in order. Raises nothing: what is no requirement has no name."""
    lines = (line.shown for line in _lines_of(text))
    return tuple(line for line in lines if line.text or line.options)


def with_line(text: str, wanted: Wanted) -> str:
    """Return the text with what is wanted in place of the lines of that name, or at the end.

    Raises InstallError where the first of them has hashes, and none is known for the new one.
    """
    lines = _lines_of(text)
    own = [line for line in lines if line.is_of(wanted.name)]
    if not own:
        return _appended(lines, wanted.text)
    first, *others = own
    changed = {line.shown.number: "" for line in others}
    return _joined(lines, {first.shown.number: _renewed(first, wanted), **changed})


def with_lines_as_in(old: str, text: str, name: str) -> str:
    """Return a text with those lines of a distribution, of this canonical name, that ``old`` has.

    They are in the place of the first one of the name in the text, or at its end.
    """
    lines = _lines_of(text)
    before = [line for line in _lines_of(old) if line.is_of(name)]
    own = [line for line in lines if line.is_of(name)]
    if [line.raw for line in before] == [line.raw for line in own]:
        return text
    joined = "".join(line.raw if line.ending else f"{line.raw}\n" for line in before)
    if not own:
        return _appended(lines, joined.rstrip("\r\n")) if joined else text
    first, *others = own
    changed = {line.shown.number: "" for line in others}
    return _joined(lines, {first.shown.number: joined, **changed})


def without_lines(text: str, name: str) -> str:
    """Return the text without the lines of a distribution, whose name is canonical."""
    lines = _lines_of(text)
    return _joined(lines, {line.shown.number: "" for line in lines if line.is_of(name)})


# -- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """A line as an installer sees it: one or more of the file's, joined where they go on.

    ``raw`` is what stands in the file, ``ending`` the line break at its end. An open line is the
    last one and ends in a backslash, so that whatever came after it would be a part of it.
    """

    shown: RequirementLine
    raw: str
    indent: str
    comment: str
    ending: str
    requirement: Requirement | None
    is_open: bool

    def is_of(self, name: str) -> bool:
        """Return whether it asks for the distribution of this canonical name, here."""
        return self.shown.applies and self.shown.name == name


def _lines_of(text: str) -> list[_Line]:
    found: list[_Line] = []
    number, parts = 1, list[str]()
    for physical in text.splitlines(keepends=True):
        parts.append(physical)
        if not _goes_on(physical):
            found.append(_line(number, parts))
            number, parts = number + len(parts), []
    if parts:
        found.append(_line(number, parts))
    return found


def _goes_on(physical: str) -> bool:
    """Return whether the next line of the file is a part of this one; no comment line goes on."""
    bare = _bare(physical)
    return bare.endswith("\\") and _COMMENT.match(bare) is None


def _line(number: int, parts: list[str]) -> _Line:
    joined = "".join(map(_joinable, parts))
    code = _COMMENT.sub("", joined)
    words = code.split()
    first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    text = " ".join(words[:first])
    requirement, applies = _requirement_of(text)
    return _Line(
        shown=RequirementLine(
            number=number,
            name=None if requirement is None else canonical(requirement.name),
            text=text,
            options=tuple(words[first:]),
            applies=applies,
        ),
        raw="".join(parts),
        indent=code[: len(code) - len(code.lstrip())],
        comment=joined[len(code) :].rstrip("\\"),  # What is written in one line must not go on.
        ending=parts[-1][len(_bare(parts[-1])) :],
        requirement=requirement,
        is_open=_goes_on(parts[-1]),
    )


def _joinable(physical: str) -> str:
    bare = _bare(physical)
    if _goes_on(physical):
        return bare.strip("\\")
    # A comment line is one though the line before it goes on, whatever that one ends with.
    return f" {bare}" if _COMMENT.match(bare) else bare


def _bare(physical: str) -> str:
    """Return a line of the file without its line break."""
    return physical.splitlines()[0]


def _requirement_of(text: str) -> tuple[Requirement | None, bool]:
    """Return the requirement that a text is, None if it is none, and whether its marker holds."""
    from packaging.requirements import InvalidRequirement, Requirement

    if not text:
        return None, True
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        try:
            requirement = Requirement(f"{_name_in(text)} @ {text}")
        except InvalidRequirement:
            return None, True
    try:
        return requirement, requirement.marker is None or requirement.marker.evaluate()
    except (ValueError, KeyError):
        return None, True  # Its marker compares what cannot be compared.


def _name_in(text: str) -> str:
    """Return the name that a URL or a path gives its distribution, "" where it gives none."""
    from urllib.parse import unquote

    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    place, _, fragment = text.partition(" ")[0].partition("#")
    for part in fragment.split("&"):
        if part.startswith("egg="):
            return unquote(part.removeprefix("egg="))
    file = unquote(place.partition("?")[0].replace("\\", "/").rpartition("/")[2])
    try:
        return parse_wheel_filename(file)[0]
    except InvalidWheelFilename:
        pass
    try:
        return parse_sdist_filename(file)[0]
    except InvalidSdistFilename:
        return ""


# -- changing ---------------------------------------------------------------------------------


def _renewed(line: _Line, wanted: Wanted) -> str:
    """Return what is to stand in the place of a line; the line itself if it asks for just that."""
    from packaging.requirements import Requirement

    old, text = line.requirement, wanted.text
    # Without its marker it would hold for other interpreters too, which may have their own lines.
    if old is not None and old.marker and not wanted.requirement.marker:
        text = f"{text} ; {old.marker}"
    hashes = line.shown.hashes
    is_hashed_so = wanted.sha256 is None or not hashes or set(wanted.hashes) <= set(hashes)
    if Requirement(text) == old and is_hashed_so:
        return line.raw
    if hashes and wanted.sha256 is None:
        raise InstallError(
            [
                f"the line of {wanted.name!r} in the plugins file has hashes, and no sha256 is "
                f"known of what was asked for; take them out of the line, or ask for a file of an "
                f"index that tells it"
            ]
        )
    told = "".join(f" {_HASH}{digest}" for digest in wanted.hashes if hashes)
    return f"{line.indent}{text}{told}{line.comment}{line.ending}"


def _joined(lines: list[_Line], changed: Mapping[int, str]) -> str:
    """Return the lines as one text, those of ``changed`` by number; "" takes a line out."""
    raws = [changed.get(line.shown.number, line.raw) for line in lines]
    text = "".join(raws)
    # Where the text ended without a line break, it does so again.
    if text and not raws[-1] and not lines[-1].ending:
        last = text.splitlines(keepends=True)[-1]
        text = text[: len(text) - len(last)] + _bare(last)
    return text


def _appended(lines: list[_Line], text: str) -> str:
    """Put a new line at the end, so that taking it out again gives the same text."""
    raws = [line.raw for line in lines]
    line_break = "\r\n" if any(raw.endswith("\r\n") for raw in raws) else "\n"
    if lines and lines[-1].is_open:
        raws.insert(-1, text + line_break)  # Behind it, it would be a part of that line.
    elif lines and not lines[-1].ending:
        raws.append(line_break + text)
    else:
        raws.append(text + line_break)
    return "".join(raws)
