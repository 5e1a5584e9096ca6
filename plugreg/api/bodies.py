"""What a client sends: JSON, forms and queries, read with nothing but the standard library."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from email.message import Message
from email.parser import BytesParser
from typing import Any, Final
from urllib.parse import parse_qsl

from plugreg.api.errors import InvalidError, UnsupportedMediaTypeError, named

LONGEST: Final = 2_500_000
"""The most bytes that a body may have."""

DEEPEST: Final = 100
"""How many arrays and objects may stand in each other."""

MOST_FIELDS: Final = 1_000
"""The most fields that a form or a query may have."""

_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_form(content_type: str) -> bool:
    """Tell whether a body of this media type is a form, which knows texts alone."""
    return _media_type(content_type) in (_URLENCODED, _MULTIPART)


def read_body(content_type: str, body: bytes) -> Any:
    """Return what a body says: any value of JSON, or the fields of a form, the last of each name.

    An empty body is an empty object, whatever its type. Raises UnsupportedMediaTypeError for what
    is neither JSON nor a form, InvalidError for what cannot be read and for files.
    """
    if not body:
        return {}
    media_type = _media_type(content_type)
    if media_type == _URLENCODED:
        return dict(read_pairs(body, "Form"))
    if media_type == _MULTIPART:
        return dict(_parts(content_type, body))
    if media_type == "application/json" or re.fullmatch(r"application/[^/]+\+json", media_type):
        return _json(body)
    raise UnsupportedMediaTypeError(media_type)


def read_json(text: str) -> Any:
    """Return the value of a JSON text, of which a name's last value counts.

    Raises ValueError for what is no JSON of RFC 8259, for numbers that are too large, and for
    values nested deeper than :data:`DEEPEST`.
    """
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep() from None
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise _too_deep()


def read_pairs(encoded: bytes, what: str = "Query") -> list[tuple[str, str]]:
    """Return names and values of a query or of a URL-encoded form, in their order.

    ``what`` is its name in the InvalidError that is raised for what is no UTF-8, has broken
    escapes, or more than :data:`MOST_FIELDS` fields.
    """
    try:
        text = encoded.decode()
        if _BROKEN_ESCAPE.search(text):
            raise _unreadable(what, "'%' must be followed by two hexadecimal digits")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except UnicodeDecodeError:
        raise _unreadable(what, "it must be UTF-8") from None
    except ValueError:
        raise _unreadable(what, f"it may have {MOST_FIELDS} fields at most") from None


# -- the parts --------------------------------------------------------------------------------


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _unreadable(what: str, why: str) -> InvalidError:
    return InvalidError({"detail": [f"{what} parse error - {why}"]})


def _json(body: bytes) -> Any:
    try:
        return read_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _unreadable("JSON", "it must be UTF-8") from None
    except ValueError as error:
        raise _unreadable("JSON", str(error)) from None


def _too_deep() -> ValueError:
    return ValueError(f"more than {DEEPEST} arrays and objects in each other")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        # Python reads no integer of thousands of digits, for it would take long.
        raise ValueError("a number is too large") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _parts(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """Return names and texts of a multipart form (RFC 7578), in their order."""
    header = Message()
    header["Content-Type"] = " ".join(content_type.split())
    boundary = header.get_boundary() or ""
    if not _BOUNDARY.fullmatch(boundary):
        raise _unreadable("Multipart form", "the content type must name a boundary")
    if body.strip() == f"--{boundary}--".encode():
        return []
    if body.count(f"--{boundary}".encode()) > MOST_FIELDS + 1:
        raise _unreadable("Multipart form", f"it may have {MOST_FIELDS} fields at most")
    try:
        head = f'Content-Type: {_MULTIPART}; boundary="{boundary}"\r\n\r\n'
        form = BytesParser().parsebytes(head.encode() + body)
    except RecursionError:
        raise _unreadable("Multipart form", "forms within forms are not read") from None
    if form.defects or not form.is_multipart():
        raise _unreadable("Multipart form", "it must begin and end with its boundary")
    return [_field(part) for part in form.get_payload() if isinstance(part, Message)]


def _field(part: Message) -> tuple[str, str]:
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise _unreadable("Multipart form", "each part must have a name")
    if part.get_param("filename", header="content-disposition") is not None:
        raise InvalidError({named(name): ["Must be text, not a file."]})
    content = part.get_payload(decode=True)
    try:
        if isinstance(content, bytes):
            return name, content.decode()
    except UnicodeDecodeError:
        pass
    raise InvalidError({named(name): ["Must be text in UTF-8."]})
