"""Access rules: actors, grades, scopes, and the rule of each operation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from plugreg._support.guard import safe_repr
from plugreg.api.errors import APIError, NotAuthenticatedError, PermissionDeniedError


class Grade(IntEnum):
    """Standing of a caller with the host. A grade includes the lower grades."""

    ANONYMOUS = 0
    AUTHENTICATED = 1
    STAFF = 2
    SUPERUSER = 3


SCOPES: Final = ("g:read", "a:staff", "a:superuser")
"""The OAuth2 scopes that operations require. A scope includes those before it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Caller of an operation. The host makes an actor for each request; nothing is looked up here.

    An actor that is not authenticated is anonymous, whatever its other fields say. With
    ``scopes`` both the grade and a scope must allow the call.

    Args:
        id: Number of the user, to whom user settings belong. None for a service.
        is_authenticated: Whether the host knows the caller.
        is_staff: Whether the caller is staff.
        is_superuser: Whether the caller is a superuser.
        scopes: Scopes of an OAuth2 token. None for callers without a token.

    Raises:
        TypeError: If a field has another type. The string "False" would count as true.
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
            object.__setattr__(self, "scopes", _check_scopes(self.scopes))

    @classmethod
    def anonymous(cls) -> Self:
        """Return the anonymous actor, which every operation refuses."""
        return cls(None, is_authenticated=False)

    @property
    def grade(self) -> Grade:
        """The highest grade of this actor."""
        if not self.is_authenticated:
            return Grade.ANONYMOUS
        if self.is_superuser:
            return Grade.SUPERUSER
        return Grade.STAFF if self.is_staff else Grade.AUTHENTICATED


@dataclass(frozen=True, slots=True)
class Access:
    """Access rule of an operation.

    Args:
        grade: The lowest grade that is allowed.
        scope: The scope that an OAuth2 caller needs, of :data:`SCOPES`. None for any scope.
        needs_user: Whether an actor without ``id``, as a service, is refused.
    """

    grade: Grade
    scope: str | None
    needs_user: bool = False

    def check(self, actor: Actor | None) -> Actor:
        """Return the actor if the rule allows it.

        Args:
            actor: The caller. Any other object than an Actor is anonymous.

        Raises:
            NotAuthenticatedError: If the caller is anonymous.
            PermissionDeniedError: If grade or scope are too low, or a user is needed.
        """
        # A subclass is refused too: its grade may be anything.
        if type(actor) is not Actor or actor.grade is Grade.ANONYMOUS:
            raise NotAuthenticatedError
        lacks_user = self.needs_user and actor.id is None
        if lacks_user or actor.grade < self.grade or not self._covers(actor.scopes):
            raise PermissionDeniedError
        return actor

    def allows(self, actor: Actor | None) -> bool:
        """Return whether `check` accepts the actor.

        Args:
            actor: The caller.
        """
        try:
            self.check(actor)
        except APIError:
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


def _check_scopes(given: Iterable[str]) -> frozenset[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(
            f"Actor.scopes must be a set of strings or None, not {safe_repr(given)}; "
            f"split the token's scope at blanks"
        )
    scopes = frozenset(given)
    if not all(isinstance(scope, str) for scope in scopes):
        raise TypeError(f"Actor.scopes must hold strings only, not {safe_repr(given)}")
    return scopes
