"""Who may do what: actors, grades, scopes, and the rule of each operation (behaviour.md, 1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from plugreg._support.guard import safe_repr
from plugreg.api.errors import NotAuthenticatedError, PermissionDeniedError


class Grade(IntEnum):
    """What a caller is to the host. A grade includes the lower ones."""

    ANONYMOUS = 0
    AUTHENTICATED = 1
    STAFF = 2
    SUPERUSER = 3


SCOPES: Final = ("g:read", "a:staff", "a:superuser")
"""The OAuth2 scopes that operations ask for. A later one includes those before it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. The host makes one for each request; nothing is looked up here.

    ``id`` is the number of the user, whose user settings are the actor's own; None where there is
    no user, as with a service. ``scopes`` are those of an OAuth2 token, None for callers that come
    another way: with scopes both the grade and a scope must allow the call. What is not
    authenticated is anonymous, whatever else it is said to be.

    Raises TypeError for fields of other types: a text "False" would count as true.
    """

    id: int | None
    is_authenticated: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    scopes: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.id is not None and type(self.id) is not int:
            raise TypeError(
                f"Actor.id must be a whole number or None, not {safe_repr(self.id)}; "
                f"map other identities to numbers in identify()"
            )
        for name in ("is_authenticated", "is_staff", "is_superuser"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise TypeError(f"Actor.{name} must be True or False, not {safe_repr(value)}")
        if self.scopes is not None:
            object.__setattr__(self, "scopes", _scopes(self.scopes))

    @classmethod
    def anonymous(cls) -> Self:
        """Return the actor that nobody is: every operation refuses it."""
        return cls(None, is_authenticated=False)

    @property
    def grade(self) -> Grade:
        """The highest grade that this actor has."""
        if not self.is_authenticated:
            return Grade.ANONYMOUS
        if self.is_superuser:
            return Grade.SUPERUSER
        return Grade.STAFF if self.is_staff else Grade.AUTHENTICATED


@dataclass(frozen=True, slots=True)
class Access:
    """The rule of an operation: the lowest grade, and the scope that an OAuth2 caller needs.

    ``scope`` is one of :data:`SCOPES`, or None where any scope does. With ``needs_user`` an actor
    without ``id``, as a service, is refused.
    """

    grade: Grade
    scope: str | None
    needs_user: bool = False

    def check(self, actor: Actor | None) -> Actor:
        """Return the actor if it may. What is no Actor is nobody.

        Raises NotAuthenticatedError for nobody, PermissionDeniedError for a grade or scope that
        is too low, and for a service where a user is needed.
        """
        # A subclass is refused too: it may answer anything when it is asked for its grade.
        if type(actor) is not Actor or actor.grade is Grade.ANONYMOUS:
            raise NotAuthenticatedError
        is_nobody = self.needs_user and actor.id is None
        if is_nobody or actor.grade < self.grade or not self._covers(actor.scopes):
            raise PermissionDeniedError
        return actor

    def allows(self, actor: Actor | None) -> bool:
        """Return whether `check` accepts the actor."""
        try:
            self.check(actor)
        except (NotAuthenticatedError, PermissionDeniedError):
            return False
        return True

    def _covers(self, scopes: frozenset[str] | None) -> bool:
        if scopes is None:
            return True
        if self.scope is None:
            return bool(scopes)
        return not scopes.isdisjoint(SCOPES[SCOPES.index(self.scope) :])


READ: Final = Access(Grade.AUTHENTICATED, "g:read")
ANY: Final = Access(Grade.AUTHENTICATED, None)
OWN: Final = Access(Grade.AUTHENTICATED, None, needs_user=True)
STAFF: Final = Access(Grade.STAFF, "a:staff")
SUPERUSER: Final = Access(Grade.SUPERUSER, "a:superuser")


def _scopes(given: Iterable[str]) -> frozenset[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(
            f"Actor.scopes must be a set of texts or None, not {safe_repr(given)}; "
            f"split the token's scope at blanks"
        )
    scopes = frozenset(given)
    if not all(isinstance(each, str) for each in scopes):
        raise TypeError(f"Actor.scopes must hold texts only, not {safe_repr(given)}")
    return scopes
