"""Refusals of the plugin API, a class for each status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from plugreg._support.guard import plain, safe_str
from plugreg.exceptions import PlugregError

LONGEST_NAME: Final = 255
"""Length to which a name from the caller is cut where an answer repeats it, in characters."""


class APIError(PlugregError):
    """Refused request; nothing was changed.

    Args:
        errors: The sentences by field, or a sentence outside of any field; the class has a
            default. ``non_field_errors`` stands for the request as a whole.

    Attributes:
        status: The HTTP status code.
        code: A word for programs.
        errors: The sentences by field, as plain strings. ``detail`` is outside of any field.
        headers: HTTP headers of the answer.
    """

    status = 500
    code = "error"
    detail = "The request was refused."
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, errors: Mapping[str, Iterable[str]] | str = "") -> None:
        by_field = {"detail": [errors or self.detail]} if isinstance(errors, str) else errors
        self.errors: dict[str, list[str]] = {
            field: [plain(sentence) for sentence in sentences]
            for field, sentences in by_field.items()
        }
        super().__init__(self.errors)

    def __str__(self) -> str:
        faults = (
            f"{field}: {sentence}"
            for field, sentences in self.errors.items()
            for sentence in sentences
        )
        return f"{self.status} {self.code}: {'; '.join(faults)}"

    @property
    def body(self) -> dict[str, str | list[str]]:
        """The JSON answer: sentences by field, or only ``detail`` as a string."""
        if set(self.errors) == {"detail"}:
            return {"detail": " ".join(self.errors["detail"])}
        return dict(self.errors)


class InvalidError(APIError):
    """A parameter, a field of the body, or the request as a whole is wrong."""

    status = 400
    code = "invalid"


class NotAuthenticatedError(APIError):
    """The caller is anonymous; every operation needs an actor."""

    status = 401
    code = "not_authenticated"
    detail = "Authentication credentials were not provided."
    headers = MappingProxyType({"WWW-Authenticate": "Token"})


class PermissionDeniedError(APIError):
    """The grade or the scope of the actor is too low."""

    status = 403
    code = "permission_denied"
    detail = "You do not have permission to perform this action."


class CrossSiteError(APIError):
    """A page of another site has made a browser send this change.

    Args:
        origin: The Origin header, empty if the browser sent none.
    """

    status = 403
    code = "cross_site"

    def __init__(self, origin: str) -> None:
        site = f"'{shorten_name(origin)}'" if origin else "another site"
        super().__init__(f"Changes from pages of {site} are not trusted here.")
        self.args = (origin,)


class NotFoundError(APIError):
    """There is no such plugin, setting or path."""

    status = 404
    code = "not_found"
    detail = "Not found."


class MethodNotAllowedError(APIError):
    """The path has operations, but none with this method.

    Args:
        method: The method of the request.
        allowed: The methods that the path has.
    """

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        super().__init__(f'Method "{shorten_name(method)}" not allowed.')
        self.allowed = tuple(allowed)
        self.headers = {"Allow": ", ".join(self.allowed)}
        self.args = (method, self.allowed)


class ConflictError(APIError):
    """Another change is under way and must end first."""

    status = 409
    code = "conflict"


class LengthRequiredError(APIError):
    """The body has no length, and the server does not mark its end."""

    status = 411
    code = "length_required"
    detail = "The body must be sent with its length, not in chunks."


class TooLargeError(APIError):
    """The body is larger than plugreg, or the framework before it, reads."""

    status = 413
    code = "too_large"
    detail = "The body is too large."


class UnsupportedMediaTypeError(APIError):
    """The body is neither JSON nor a form.

    Args:
        media_type: The media type of the body.
    """

    status = 415
    code = "unsupported_media_type"

    def __init__(self, media_type: str) -> None:
        super().__init__(f'Unsupported media type "{shorten_name(media_type)}" in request.')
        self.args = (media_type,)


class UnavailableError(APIError):
    """The registry is not loaded, or its storage is unreachable. A retry may succeed.

    A change whose storage fails meanwhile may be stored; the next refresh carries it out.
    """

    status = 503
    code = "unavailable"


def shorten_name(name: object) -> str:
    """Return a name from the caller as a string that an answer may repeat.

    Args:
        name: The name; in Python it may be any object.
    """
    return safe_str(name)[:LONGEST_NAME]
