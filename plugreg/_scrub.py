"""Protected values are taken out of texts before these leave (design.md, invariant 8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

MASK: Final = "***"
"""What is shown in place of a protected value that is set."""

_SHORT: Final = 4
"""A value of fewer characters is hidden with its whole text, since its place would tell it."""
_LINE: Final = 8
"""From this length on a line of a value of several lines is hidden by itself."""
_LEFT_OUT: Final = re.compile("…[ …]*")
"""What :func:`plugreg._guard.cut` puts in the place of a text's middle, but for its first blank."""


class Scrubber:
    """Replaces protected values in texts. It never changes, and its repr does not show them.

    Blank values and the mask are no secrets. A value is found as it is, without the blanks around
    it, and in the forms in which Python, JSON, URLs, HTML and base64 write it; of a value of
    several lines each longer line too. Case counts. What a program made of a value otherwise (its
    digest, its reverse, base64 of a longer text) is not found. False where nothing is to be hidden.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = tuple(dict.fromkeys(filter(_is_secret, values)))

    def __bool__(self) -> bool:
        return bool(self._values)

    def __repr__(self) -> str:
        return f"<Scrubber of {len(self._values)} values>"

    def text(self, text: str) -> str:
        """Return ``text`` with each protected value in it replaced by the mask.

        It becomes the mask as a whole where a value of under 4 characters occurs. A piece of at
        least 4 characters of a value that was cut off is replaced too, where text was left out
        (" … ") and at both ends.
        """
        if not self._values:
            return text
        masked = self._masked(text, ends=True)
        return MASK if any(form in masked for form in self._short_forms) else masked

    def value(self, value: Any) -> Any:
        """Return a copy of a value that JSON can hold, scrubbed at any depth.

        Texts, keys of mappings included, are treated like those of :meth:`text`, but that nothing
        is taken for cut off at the ends, and that a value of under 4 characters replaces only what
        equals it. A number whose text is a protected value becomes the mask; true, false and null
        tell too little to be hidden. What is nested too deep to be looked through is the mask.
        """
        if not self._values:
            return value
        try:
            return self._scrubbed(value)
        except RecursionError:
            return MASK

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, str):
            return MASK if value in self._secrets else self._masked(value, ends=False)
        if isinstance(value, Mapping):
            return {self._scrubbed(key): self._scrubbed(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            scrubbed = [self._scrubbed(each) for each in value]
            return scrubbed if isinstance(value, list) else tuple(scrubbed)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return MASK if str(value) in self._secrets else value
        return value

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return frozenset(
            each for value in self._values for each in (value, value.strip()) if _is_secret(each)
        )

    @cached_property
    def _short_forms(self) -> frozenset[str]:
        return frozenset(
            form for each in self._secrets if len(each) < _SHORT for form in _forms(each)
        )

    @cached_property
    def _long_forms(self) -> tuple[str, ...]:
        forms: set[str] = set()
        for secret in self._secrets:
            if len(secret) >= _SHORT:
                forms.update(_forms(secret))
            lines = secret.splitlines()
            if len(lines) > 1:
                stripped = (line.strip() for line in lines)
                forms.update(e for line in stripped if len(line) >= _LINE for e in _written(line))
        return tuple(forms)

    def _masked(self, text: str, *, ends: bool) -> str:
        # The mask may complete another value; each round makes the text shorter, so it ends.
        while places := sorted(self._places(text, ends)):
            text = _with_masks(text, places)
        return text

    def _places(self, text: str, ends: bool) -> Iterator[tuple[int, int]]:
        """Find what is to be masked: where each piece begins and ends. They may overlap."""
        gaps = [
            (len(text[: gap.start()].rstrip(" ")), gap.end()) for gap in _LEFT_OUT.finditer(text)
        ]
        stops = [start for start, _ in gaps] + [len(text)] * ends
        starts = [0] * ends + [end for _, end in gaps]
        between = [
            (start, stop) for (_, start), (stop, _) in pairwise(gaps) if stop - start >= _SHORT
        ]
        for form in self._long_forms:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + 1)
            for stop in stops:
                yield from _beginning(form, text, stop)
            for start in starts:
                yield from _ending(form, text, start)
            for start, stop in between:
                if text[start:stop] in form:
                    yield start, stop


def _is_secret(value: str) -> bool:
    return bool(value.strip()) and value != MASK


def _forms(secret: str) -> set[str]:
    """Return the forms in which a text may hold ``secret``."""
    from base64 import b64encode, urlsafe_b64encode
    from urllib.parse import quote

    data = secret.encode("utf-8", "backslashreplace")
    encoded = {b64encode(data).decode(), urlsafe_b64encode(data).decode()}
    encoded |= {quote(each, safe="") for each in encoded}
    if len(secret) >= _SHORT:
        encoded |= {each.rstrip("=") for each in encoded}
    # Escaped twice is what a repr() of a repr(), or JSON as a text within JSON, has.
    return encoded.union(*map(_written, _written(secret)))


def _written(secret: str) -> set[str]:
    """Return ``secret`` as it is, and as escaping and quoting write it."""
    import html
    import json
    from urllib.parse import quote, quote_plus

    data = secret.encode("utf-8", "backslashreplace")
    escaped = html.escape(secret)
    return {
        secret,
        data.decode(),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(data)[2:-1],
        # Within a text that has quotes of both kinds repr() escapes the single ones.
        repr("\"'" + secret)[4:-1],
        ascii("\"'" + secret)[4:-1],
        repr(b"\"'" + data)[5:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(data),
        quote(data, safe=""),
        quote(data, safe="!$&'()*+,;=:@/?"),
        quote_plus(data),
        escaped,
        html.escape(secret, quote=False),
        # What the template languages of Python write for the two quotes.
        escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    }


def _beginning(form: str, text: str, stop: int) -> Iterator[tuple[int, int]]:
    """Find the longest piece of ``text`` up to ``stop`` that ``form`` begins with."""
    head = form[:_SHORT]
    at = text.find(head, max(0, stop - len(form) + 1), stop)
    while at >= 0:
        if form.startswith(text[at:stop]):
            yield at, stop
            return
        at = text.find(head, at + 1, stop)


def _ending(form: str, text: str, start: int) -> Iterator[tuple[int, int]]:
    """Find the longest piece of ``text`` from ``start`` on that ``form`` ends with."""
    tail = form[-_SHORT:]
    last = start + len(form) - 1
    at = text.rfind(tail, start, last)
    while at >= 0:
        last = at + _SHORT
        if form.endswith(text[start:last]):
            yield start, last
            return
        at = text.rfind(tail, start, last - 1)


def _with_masks(text: str, places: Iterable[tuple[int, int]]) -> str:
    """Return ``text`` with ``places``, which are sorted, masked; those that touch are one."""
    parts, end = [], -1
    for start, stop in places:
        if start > end:
            parts += [text[max(end, 0) : start], MASK]
        end = max(end, stop)
    return "".join([*parts, text[end:]])
