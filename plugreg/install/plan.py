"""What an installation would do, known before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is asked to be installed, once it was found acceptable.

    ``text`` is a requirement of PEP 508, or the URL of a repository, as an installer is given it;
    ``name`` the canonical name in it, None for a URL alone. ``url`` is where it says that the
    distribution is, ``index_url`` the index to be used in place of the usual one. They may have
    credentials; ``shown`` is what may be shown, without them, and ``secrets`` are they. ``line``
    is what a file of requirements has of it, again without them; "" where it is a mere name.
    The repr hides them; a pickle or a copy of it, and of a plan that has it, does not.
    """

    text: str = field(repr=False)
    shown: str
    name: str | None
    line: str = ""
    url: str | None = field(default=None, repr=False)
    index_url: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One distribution that would be added, changed or removed.

    ``name`` is canonical; ``before`` and ``after`` are versions, None where there is none.
    ``source`` is the URL that it would come from, without credentials, ``sha256`` the hash of that
    file in hexadecimal, ``size`` its bytes; None where neither index nor file tells. ``direct``
    says that a requirement names that URL, so that no index was asked for the distribution.
    ``plugins`` are the names of the entry points that it would bring to the registry's group,
    ``entry_points`` the groups of others that some library imports by itself (``pydantic``).
    """

    name: str
    before: str | None
    after: str | None
    source: str | None = None
    sha256: str | None = None
    size: int | None = None
    direct: bool = False
    plugins: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["add", "change", "remove"]:
        """What would become of it; ``change`` is a reinstallation too."""
        if self.before is None:
            return "add"
        return "remove" if self.after is None else "change"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a plan may not be carried out: the name of the rule, and a sentence.

    ``rule`` is a field of :class:`plugreg.install.policy.InstallPolicy`, or ``environment`` (what
    was installed before must stay as it is, and what comes brings only files of its own),
    ``plugin`` (it brings no plugin of this registry, or one whose slug is another one's),
    ``conflict`` (no set of versions suits all) or ``interrupted``.
    """

    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPlan:
    """What installing ``target`` would do. Making it has touched nothing.

    A pickle of it holds the credentials of its target. ``distribution`` is the canonical name of
    what is asked for, None where a URL does not tell and nothing was looked up. ``changes`` are in
    alphabetical order, that of ``distribution``
    among them; they are empty where it is installed already, and where a refusal was known before
    the installer was asked. ``plugins`` are the names of the entry points that it would bring to
    the registry's group, None where that was not looked at.

    ``data_files`` are the files that its distributions would put elsewhere than where modules,
    scripts and, in a virtual environment, headers are, such as ``share/icons/tea.svg``. They are
    relative to ``sys.prefix``, sorted, with slashes; a plan that is refused may lack some.

    ``scripts`` are the names of the programs that its distributions would put among those of the
    environment, sorted.

    ``environment`` is a digest of what was installed when it was made, None where nobody has
    noted it: it is carried out only in the same.
    """

    target: Target
    distribution: str | None
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    plugins: tuple[str, ...] | None = None
    data_files: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    environment: str | None = None

    @property
    def requirement(self) -> str:
        """What was asked for, without credentials."""
        return self.target.shown

    @property
    def allowed(self) -> bool:
        """Whether nothing forbids it."""
        return not self.refusals
