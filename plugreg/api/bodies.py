"""Bodies and queries: JSON and forms, parsed in time that grows with their length alone."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from itertools import islice, pairwise
from math import inf
from typing import Any, BinaryIO, Final

from pydantic_core import from_json

from plugreg.api.errors import (
    InvalidError,
    LengthRequiredError,
    TooLargeError,
    UnsupportedMediaTypeError,
    shorten_name,
)

LONGEST: Final = 2_500_000
"""The most bytes that a body may have."""

DEEPEST: Final = 100
"""How deep arrays and objects may be nested."""

MOST_FIELDS: Final = 1_000
"""The most fields that a form or a query may have."""

LONGEST_HEADER: Final = 8_192
"""The most bytes of the headers of a part of a multipart form."""

LONGEST_TYPE: Final = 1_024
"""The most characters that the content type of a multipart form may have."""

JSON: Final = "application/json"
URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
_PLAIN_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary"})
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# Possessive quantifiers: a long header is matched in linear time.
_PARAMETER: Final = re.compile(
    r';\s*+([\w*]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"|([^\s;"]*+))', re.ASCII | re.DOTALL
)
_HEADERS: Final = re.compile(rb"(.{0,%d}?)\r?\n(?:\r?\n|\Z)" % LONGEST_HEADER, re.DOTALL)
_NEW_HEADER: Final = re.compile(r"\r?\n(?![ \t])")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


def parse_length(environ: Mapping[str, Any]) -> int | None:
    """Return the length of a WSGI request's body.

    Args:
        environ: The WSGI environment.

    Returns:
        The number of bytes, or None if the server marks the end of the body.

    Raises:
        InvalidError: If the length is not a number.
        LengthRequiredError: If the body is chunked and the server does not mark its end.
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
        sentence = f"Content-Length must be a number of bytes, not '{shorten_name(length)}'."
        raise InvalidError({"detail": [sentence]})
    if int(length) > LONGEST:
        raise TooLargeError
    return int(length)


def read_to_end(stream: BinaryIO, most: int = LONGEST) -> bytes:
    """Return the rest of a stream.

    Args:
        stream: The stream.
        most: The most bytes allowed.

    Raises:
        TooLargeError: If there are more.
    """
    body = bytearray()
    while block := stream.read(min(most + 1 - len(body), 65_536)):
        body += block
    if len(body) > most:
        raise TooLargeError
    return bytes(body)


def is_form(content_type: str) -> bool:
    """Return whether a body is a form, whose values are all strings.

    Args:
        content_type: The Content-Type header.
    """
    return _media_type(content_type) in (URLENCODED, MULTIPART)


def read_body(content_type: str, body: bytes) -> Any:
    """Return the value of a body: any JSON value, or a form's fields as a dict.

    Of fields with the same name the last is kept.

    Args:
        content_type: The Content-Type header.
        body: The body. An empty body is an empty object, whatever its type.

    Raises:
        UnsupportedMediaTypeError: If the body is neither JSON nor a form.
        InvalidError: If it cannot be parsed, or has a file.
    """
    if not body:
        return {}
    media_type = _media_type(content_type)
    if media_type == URLENCODED:
        return dict(read_pairs(body, "Form"))
    if media_type == MULTIPART:
        return dict(_parse_multipart(content_type, body))
    if media_type == JSON or re.fullmatch(r"application/[^/]+\+json", media_type):
        try:
            return read_json(body.removeprefix(BOM_UTF8))
        except ValueError as error:
            raise _parse_error("JSON", str(error)) from None
    raise UnsupportedMediaTypeError(media_type)


def read_json(document: str | bytes) -> Any:
    """Return the value of a JSON document.

    Of members with the same name the last is kept.

    Args:
        document: The document, in UTF-8.

    Raises:
        ValueError: If it is not JSON by RFC 8259, has a number that is too large, or nests
            deeper than :data:`DEEPEST`.
    """
    value = from_json(document, allow_inf_nan=False)
    level = [value]
    for _ in range(DEEPEST + 1):
        if inf in level or -inf in level:
            raise ValueError("a number is too large")
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return value
    raise ValueError(f"more than {DEEPEST} arrays and objects in each other")


def read_pairs(encoded: bytes, kind: str = "Query") -> list[tuple[str, str]]:
    """Return names and values of a query or of a URL-encoded form, in their order.

    Args:
        encoded: The query or the form.
        kind: Its name in errors.

    Raises:
        InvalidError: If it is not UTF-8, has a broken escape, or more than :data:`MOST_FIELDS`
            fields.
    """
    try:
        encoded.decode()
        if _BROKEN_ESCAPE.search(encoded):
            raise _parse_error(kind, "'%' must be followed by two hexadecimal digits")
        if encoded.count(b"&") >= MOST_FIELDS:
            raise _parse_error(kind, f"it may have {MOST_FIELDS} fields at most")
        pairs = (pair.partition(b"=") for pair in encoded.split(b"&") if pair)
        return [(_unquote(name), _unquote(value)) for name, _, value in pairs]
    except UnicodeDecodeError:
        raise _parse_error(kind, "it must be UTF-8") from None


def file_refused(name: str) -> InvalidError:
    """Return the refusal of a form's field that is a file.

    Args:
        name: The name of the field.
    """
    return InvalidError({shorten_name(name): ["Must be text, not a file."]})


def cut_short() -> InvalidError:
    """Return the refusal of a body whose client left before the end."""
    return InvalidError({"detail": ["The body ended before its end."]})


def _unquote(encoded: bytes) -> str:
    # The standard library decodes each escape by itself, which takes seconds for a long value.
    escaped = encoded.replace(b"+", b" ").replace(b"\\", rb"\\").replace(b"%", rb"\x")
    return escaped.decode("unicode_escape").encode("latin-1").decode()


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _parse_error(kind: str, reason: str) -> InvalidError:
    return InvalidError({"detail": [f"{kind} parse error - {reason}"]})


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _parse_multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """Return names and values of a multipart form (RFC 7578), in their order.

    The standard library's parser is for mails: it takes minutes for some forms of 2 MB.
    """
    if len(content_type) > LONGEST_TYPE:
        raise _bad_form(f"the content type may have {LONGEST_TYPE} characters at most")
    boundary = _parse_parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise _bad_form("the content type must name a boundary")
    # The newline before it belongs to the boundary, and not to the value (RFC 2046, 5.1.1).
    delimiter = rb"(?:\A|\r?\n)--%b(--)?[ \t]*+(?=\r?\n|\Z)" % re.escape(boundary.encode())
    matches = list(islice(re.finditer(delimiter, body), MOST_FIELDS + 1))
    end = next((index for index, match in enumerate(matches) if match[1]), None)
    if end is None and len(matches) > MOST_FIELDS:
        raise _bad_form(f"it may have {MOST_FIELDS} fields at most")
    if end is None:
        raise _bad_form("it must begin and end with its boundary")
    between = pairwise(matches[: end + 1])
    return [_parse_part(body[first.end() : second.start()]) for first, second in between]


def _parse_part(part: bytes) -> tuple[str, str]:
    """Return name and value of a part, which begins with the newline after its boundary."""
    headers = _HEADERS.match(part)
    if headers is None:
        raise _bad_form(
            f"each part must begin with headers of {LONGEST_HEADER} bytes at most and a blank line"
        )
    lines = _NEW_HEADER.split(headers[1].decode(errors="replace"))
    pairs = (line.partition(":") for line in lines)
    values = {name.strip().lower(): value.strip() for name, _, value in pairs}
    disposition = _parse_parameters(values.get("content-disposition", ""))
    name = disposition.get("name")
    if name is None:
        raise _bad_form("each part must have a name")
    if any(parameter.startswith("filename") for parameter in disposition):
        raise file_refused(name)
    is_plain = values.get("content-transfer-encoding", "binary").lower() in _PLAIN_ENCODINGS
    try:
        if is_plain and not values.get("content-type", "").lower().startswith("multipart/"):
            return name, part[headers.end() :].decode()
    except UnicodeDecodeError:
        pass
    raise InvalidError({shorten_name(name): ["Must be text in UTF-8."]})


def _parse_parameters(header: str) -> dict[str, str]:
    """Return the parameters that follow the first word of a header, their names in lower case."""
    return {
        match[1].lower(): match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        for match in _PARAMETER.finditer(header)
    }


def _bad_form(reason: str) -> InvalidError:
    return _parse_error("Multipart form", reason)
