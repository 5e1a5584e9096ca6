"""What the plugin API refuses, one class for each status (behaviour.md, section 1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from plugreg._support.guard import plain, safe_str
from plugreg.exceptions import PlugregError

LONGEST_NAME: Final = 255
"""How much of a name that a caller gave is repeated to it, in characters."""


class APIError(PlugregError):
    """The request is refused, and nothing was changed.

    ``status`` is the status code of HTTP, ``code`` a word for programs, ``errors`` the sentences
    by field: ``non_field_errors`` where the request as a whole is meant, ``detail`` where no field
    has part in it.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"

    def __init__(self, errors: Mapping[str, Iterable[str]]) -> None:
        self.errors: dict[str, list[str]] = {
            field: [plain(each) for each in sentences] for field, sentences in errors.items()
        }
        super().__init__(self.errors)

    def __str__(self) -> str:
        told = "; ".join(
            f"{field}: {each}" for field, sentences in self.errors.items() for each in sentences
        )
        return f"{self.status} {self.code}: {told}"

    @property
    def body(self) -> dict[str, str | list[str]]:
        """What is answered as JSON: sentences by field, or ``detail`` alone as one text."""
        if set(self.errors) == {"detail"}:
            return {"detail": " ".join(self.errors["detail"])}
        return dict(self.errors)


class InvalidError(APIError):
    """A parameter, a field of the body, or the request as a whole is wrong."""

    status = 400
    code = "invalid"


class NotAuthenticatedError(APIError):
    """Nobody asks, and everything needs somebody."""

    status = 401
    code = "not_authenticated"

    def __init__(self) -> None:
        super().__init__({"detail": ["Authentication credentials were not provided."]})
        self.args = ()


class PermissionDeniedError(APIError):
    """The grade or the scope of the actor is too low."""

    status = 403
    code = "permission_denied"

    def __init__(self) -> None:
        super().__init__({"detail": ["You do not have permission to perform this action."]})
        self.args = ()


class CrossSiteError(APIError):
    """A page of another site has made a browser send this change."""

    status = 403
    code = "cross_site"

    def __init__(self, origin: str) -> None:
        told = f"'{named(origin)}'" if origin else "another site"
        super().__init__({"detail": [f"Changes from pages of {told} are not trusted here."]})
        self.args = (origin,)


class NotFoundError(APIError):
    """There is no such plugin, setting or path."""

    status = 404
    code = "not_found"

    def __init__(self, detail: str = "Not found.") -> None:
        super().__init__({"detail": [detail]})
        self.args = (detail,)


class MethodNotAllowedError(APIError):
    """The path has operations, but none with this method; ``allowed`` are those it has."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        super().__init__({"detail": [f'Method "{named(method)}" not allowed.']})
        self.allowed = tuple(allowed)
        self.args = (method, self.allowed)


class ConflictError(APIError):
    """Something else is being done that must end first."""

    status = 409
    code = "conflict"

    def __init__(self, detail: str) -> None:
        super().__init__({"detail": [detail]})
        self.args = (detail,)


class LengthRequiredError(APIError):
    """The body has no length, and the server does not mark its end."""

    status = 411
    code = "length_required"

    def __init__(self) -> None:
        super().__init__({"detail": ["The body must be sent with its length, not in chunks."]})
        self.args = ()


class TooLargeError(APIError):
    """The body is larger than plugreg, or the framework before it, reads."""

    status = 413
    code = "too_large"

    def __init__(self) -> None:
        super().__init__({"detail": ["The body is too large."]})
        self.args = ()


class UnsupportedMediaTypeError(APIError):
    """The body is neither JSON nor a form."""

    status = 415
    code = "unsupported_media_type"

    def __init__(self, media_type: str) -> None:
        super().__init__({"detail": [f'Unsupported media type "{named(media_type)}" in request.']})
        self.args = (media_type,)


class UnavailableError(APIError):
    """The registry is not loaded, or its storage cannot be reached. Asking again may help.

    A change whose storage fails meanwhile may be stored, and is carried out by the next refresh.
    """

    status = 503
    code = "unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__({"detail": [detail]})
        self.args = (detail,)


def named(name: object) -> str:
    """Return a name that a caller gave, fit to be repeated in a sentence."""
    return safe_str(name)[:LONGEST_NAME]
