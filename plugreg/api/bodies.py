"""What a client sends: JSON, forms and queries, read with nothing but the standard library."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from itertools import islice, pairwise
from typing import Any, BinaryIO, Final

from plugreg.api.errors import (
    InvalidError,
    LengthRequiredError,
    TooLargeError,
    UnsupportedMediaTypeError,
    named,
)

LONGEST: Final = 2_500_000
"""The most bytes that a body may have."""

DEEPEST: Final = 100
"""How many arrays and objects may stand in each other."""

MOST_FIELDS: Final = 1_000
"""The most fields that a form or a query may have."""

LONGEST_HEADER: Final = 8_192
"""The most bytes that the headers of one part of a multipart form may have."""

LONGEST_TYPE: Final = 1_024
"""The most characters that the content type of a multipart form may have."""

_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_PLAIN_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary"})
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# Nothing that was matched is tried in another way, so that long headers cost no more than reading.
_PARAMETER: Final = re.compile(
    r';\s*+([\w*]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"|([^\s;"]*+))', re.ASCII | re.DOTALL
)
_HEADERS: Final = re.compile(rb"(.{0,%d}?)\r?\n(?:\r?\n|\Z)" % LONGEST_HEADER, re.DOTALL)
_NEW_HEADER: Final = re.compile(r"\r?\n(?![ \t])")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


def length_of(environ: Mapping[str, Any]) -> int | None:
    """Return the length of a WSGI request's body.

    Args:
        environ: The variables of the request, as the server has set them.

    Returns:
        The number of bytes, or None if the body is to be read to the end that the server marks.

    Raises:
        InvalidError: If the length is not a number.
        LengthRequiredError: If the body comes in chunks whose end the server does not mark.
        TooLargeError: If the length exceeds `LONGEST`.

    """
    is_chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
    length = environ.get("CONTENT_LENGTH", "")
    if is_chunked or not length:
        if environ.get("wsgi.input_terminated"):
            return None
        if is_chunked:
            raise LengthRequiredError
        return 0
    if not _LENGTH.fullmatch(length):
        sentence = f"Content-Length must be a number of bytes, not '{named(length)}'."
        raise InvalidError({"detail": [sentence]})
    if int(length) > LONGEST:
        raise TooLargeError
    return int(length)


def read_to_end(stream: BinaryIO, most: int = LONGEST) -> bytes:
    """Return what is left in a stream. Raises TooLargeError after more than *most* bytes."""
    body = bytearray()
    while block := stream.read(min(most + 1 - len(body), 65_536)):
        body += block
    if len(body) > most:
        raise TooLargeError
    return bytes(body)


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
        encoded.decode()
        if _BROKEN_ESCAPE.search(encoded):
            raise _unreadable(what, "'%' must be followed by two hexadecimal digits")
        if encoded.count(b"&") >= MOST_FIELDS:
            raise _unreadable(what, f"it may have {MOST_FIELDS} fields at most")
        pairs = (each.partition(b"=") for each in encoded.split(b"&") if each)
        return [(_unquoted(name), _unquoted(value)) for name, _, value in pairs]
    except UnicodeDecodeError:
        raise _unreadable(what, "it must be UTF-8") from None


def file_refused(name: str) -> InvalidError:
    """Return what to raise for a field of a form that is a file."""
    return InvalidError({named(name): ["Must be text, not a file."]})


def cut_short() -> InvalidError:
    """Return the refusal of a body whose client left before it had sent all of it."""
    return InvalidError({"detail": ["The body ended before its end."]})


# -- the parts --------------------------------------------------------------------------------


def _unquoted(encoded: bytes) -> str:
    # The standard library decodes each escape by itself, which takes seconds for a long value.
    escaped = encoded.replace(b"+", b" ").replace(b"\\", rb"\\").replace(b"%", rb"\x")
    return escaped.decode("unicode_escape").encode("latin-1").decode()


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
    """Return names and texts of a multipart form (RFC 7578), in their order.

    The standard library's parser is for mails: it takes minutes for some forms of 2 MB.
    """
    if len(content_type) > LONGEST_TYPE:
        raise _bad_form(f"the content type may have {LONGEST_TYPE} characters at most")
    boundary = _parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise _bad_form("the content type must name a boundary")
    # The newline before it belongs to the boundary, and not to the text (RFC 2046, 5.1.1).
    line = rb"(?:\A|\r?\n)--%b(--)?[ \t]*+(?=\r?\n|\Z)" % re.escape(boundary.encode())
    found = list(islice(re.finditer(line, body), MOST_FIELDS + 1))
    end = next((at for at, each in enumerate(found) if each[1]), None)
    if end is None and len(found) > MOST_FIELDS:
        raise _bad_form(f"it may have {MOST_FIELDS} fields at most")
    if end is None:
        raise _bad_form("it must begin and end with its boundary")
    return [_field(body[one.end() : two.start()]) for one, two in pairwise(found[: end + 1])]


def _field(part: bytes) -> tuple[str, str]:
    """Return name and text of one part, which begins with the newline after its boundary."""
    headers = _HEADERS.match(part)
    if headers is None:
        raise _bad_form(
            f"each part must begin with headers of {LONGEST_HEADER} bytes at most and a blank line"
        )
    lines = (each.partition(":") for each in _NEW_HEADER.split(headers[1].decode(errors="replace")))
    values = {name.strip().lower(): value.strip() for name, _, value in lines}
    said = _parameters(values.get("content-disposition", ""))
    name = said.get("name")
    if name is None:
        raise _bad_form("each part must have a name")
    if any(each.startswith("filename") for each in said):
        raise file_refused(name)
    is_plain = values.get("content-transfer-encoding", "binary").lower() in _PLAIN_ENCODINGS
    try:
        if is_plain and not values.get("content-type", "").lower().startswith("multipart/"):
            return name, part[headers.end() :].decode()
    except UnicodeDecodeError:
        pass
    raise InvalidError({named(name): ["Must be text in UTF-8."]})


def _parameters(header: str) -> dict[str, str]:
    """Return the parameters that follow the first word of a header, their names in lower case."""
    return {
        each[1].lower(): each[3] if each[2] is None else re.sub(r"\\(.)", r"\1", each[2])
        for each in _PARAMETER.finditer(header)
    }


def _bad_form(why: str) -> InvalidError:
    return _unreadable("Multipart form", why)
