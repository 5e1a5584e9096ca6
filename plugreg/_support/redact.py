"""Removal of protected values from strings before they are logged, stored or answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

MASK: Final = "***"
"""The replacement of a protected value that is set."""

_SHORT: Final = 4
"""A shorter value is hidden with its whole string, since its place would reveal it."""
_GUESSABLE: Final = 8
"""A shorter value can be found by trying: the refusal of a string with it reveals it."""
_FEW: Final = 200
"""Up to this number each form is looked for by itself, which is faster than all at once."""
_LINE: Final = 8
"""From this length on a line of a value of several lines is hidden by itself."""
_LEFT_OUT: Final = "…[ …]*"
"""The mark of ``guard.cut`` for a string's middle, without its first blank."""


class Scrubber:
    """Replaces protected values in strings. It never changes, and its repr does not show them.

    Blank values and the mask are no secrets. A value is found as it is, without the blanks around
    it, and in the forms in which Python, JSON, URLs, HTML and base64 write it. Of a value of
    several lines each longer line is found, too. Case counts. Other results of a value (its digest,
    its reverse, base64 of a longer string) are not found. False if there is nothing to hide.

    Args:
        values: The protected values.
        known: A scrubber whose forms of the same values are reused.
    """

    def __init__(self, values: Iterable[str] = (), known: Scrubber | None = None) -> None:
        self._values = tuple(dict.fromkeys(filter(_is_secret, values)))
        self._known: Mapping[str, frozenset[str]] = {} if known is None else known._found

    def __bool__(self) -> bool:
        return bool(self._values)

    def __repr__(self) -> str:
        return f"<Scrubber of {len(self._values)} values>"

    def text(self, text: str) -> str:
        """Return *text* with each protected value in it replaced by the mask.

        The whole string becomes the mask if it has a value of under 4 characters.
        """
        return self._whole(text, pieces=False)

    def cut_text(self, text: str) -> str:
        """Return the result of :meth:`text` for a string that plugreg itself may have cut.

        A piece of at least 4 characters of a cut value is replaced, too, where the middle was left
        out (" … ") and at both ends. Only for strings that no reader of the result can influence:
        a reader who chooses the pieces would learn from the masks which are right.
        """
        return self._whole(text, pieces=True)

    def _whole(self, text: str, *, pieces: bool) -> str:
        if not self._values:
            return text
        masked = self._masked(text, pieces=pieces)
        return MASK if any(form in masked for form in self._short_forms) else masked

    def value(self, value: Any) -> Any:
        """Return a copy of a value that JSON can hold, scrubbed at any depth.

        Strings, keys of mappings included, are scrubbed as by :meth:`text`, except that a value of
        under 4 characters replaces only an equal string. A number whose string is a protected value
        becomes the mask; true, false and null reveal too little. A value that is nested too deep
        becomes the mask.
        """
        if not self._values:
            return value
        try:
            # Most values hold no secret; a single search in all of their strings shows this.
            texts = "\n".join(strings_in(value))
            return self._scrubbed(value, is_there=any(self._long_forms.places(texts)))
        except RecursionError:
            return MASK

    def _scrubbed(self, value: Any, *, is_there: bool) -> Any:
        if isinstance(value, str):
            if value in self._secrets:
                return MASK
            return self._masked(value, pieces=False) if is_there else value
        if isinstance(value, Mapping):
            return {
                self._scrubbed(key, is_there=is_there): self._scrubbed(item, is_there=is_there)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            scrubbed = [self._scrubbed(item, is_there=is_there) for item in value]
            return scrubbed if isinstance(value, list) else tuple(scrubbed)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return MASK if str(value) in self._secrets else value
        return value

    def found_in(self, value: Any) -> bool:
        """Return whether a protected value of at least 8 characters stands in a JSON value.

        Shorter values are not searched for: a caller who chooses *value* could guess them.
        """
        found: bool = self._unguessable.value(value) != value
        return found

    def without(self, sent: Iterable[str]) -> Scrubber:
        """Return a scrubber that ignores the protected values that stand in *sent*.

        An answer may repeat the strings that a client sent; a mask in their place would reveal
        that the client has guessed a protected value.
        """
        if not self._values:
            return self
        texts = "\n".join(sent).lower()
        guessed = {
            secret
            for secret, forms in self._found.items()
            if any(form.lower() in texts for form in forms)
        }
        left = (v for v in self._values if guessed.isdisjoint((v, v.strip())))
        return Scrubber(left, known=self) if guessed else self

    @cached_property
    def _unguessable(self) -> Scrubber:
        return Scrubber((v for v in self._values if len(v.strip()) >= _GUESSABLE), known=self)

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return frozenset(filter(_is_secret, (*self._values, *map(str.strip, self._values))))

    @cached_property
    def _found(self) -> Mapping[str, frozenset[str]]:
        """The forms of each secret; those of the earlier scrubber are dropped then."""
        found = {secret: self._known.get(secret) or _all_forms(secret) for secret in self._secrets}
        self._known = {}
        return found

    @cached_property
    def _short_forms(self) -> frozenset[str]:
        return frozenset().union(*(self._found[s] for s in self._secrets if len(s) < _SHORT))

    @cached_property
    def _long_forms(self) -> _Forms:
        long = [forms for secret, forms in self._found.items() if len(secret) >= _SHORT]
        return _Forms(frozenset().union(*long))

    def _masked(self, text: str, *, pieces: bool) -> str:
        # The mask may complete another value; each round shortens the string, so it ends.
        while places := sorted(self._long_forms.places(text, pieces=pieces)):
            text = _with_masks(text, places)
        return text


class _Forms:
    """Finds many forms in a string: each by itself, or all at once where there are many."""

    def __init__(self, forms: frozenset[str]) -> None:
        self._few = forms if len(forms) <= _FEW else ()
        self._heads = _by_piece(forms, lambda form: form[:_SHORT])
        self._tails = _by_piece(forms, lambda form: form[-_SHORT:])
        self._longest = max(map(len, forms), default=0)
        self._forms = forms

    def places(self, text: str, *, pieces: bool = False) -> Iterator[tuple[int, int]]:
        """Yield where each form begins and ends in a string. These places may overlap.

        With *pieces* also the rest of a form where the string was cut.
        """
        if self._few or not self._forms:
            for form in self._few:
                at = text.find(form)
                while at >= 0:
                    yield at, at + len(form)
                    at = text.find(form, at + 1)
        else:
            for at in range(len(text) - _SHORT + 1):
                for form in self._heads.get(text[at : at + _SHORT], ()):
                    if text.startswith(form, at):
                        yield at, at + len(form)
        if pieces:
            yield from self._pieces(text)

    def _pieces(self, text: str) -> Iterator[tuple[int, int]]:
        gaps = [
            (len(text[: gap.start()].rstrip(" ")), gap.end())
            for gap in re.finditer(_LEFT_OUT, text)
        ]
        for stop in (*(start for start, _ in gaps), len(text)):
            for at in range(max(0, stop - self._longest), stop - _SHORT + 1):
                forms = self._heads.get(text[at : at + _SHORT], ())
                if any(form.startswith(text[at:stop]) for form in forms):
                    yield at, stop
                    break
        for start in (0, *(end for _, end in gaps)):
            for end in range(min(len(text), start + self._longest), start + _SHORT - 1, -1):
                forms = self._tails.get(text[end - _SHORT : end], ())
                if any(form.endswith(text[start:end]) for form in forms):
                    yield start, end
                    break
        for (_, start), (stop, _) in pairwise(gaps):
            if stop - start >= _SHORT and any(text[start:stop] in form for form in self._forms):
                yield start, stop


def _by_piece(forms: Iterable[str], piece: Callable[[str], str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for form in forms:
        found.setdefault(piece(form), []).append(form)
    return found


def strings_in(value: Any) -> Iterator[str]:
    """Yield every string in a value, keys of mappings included. Raises RecursionError if deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_in(item)


def _is_secret(value: str) -> bool:
    return bool(value.strip()) and value != MASK


def _all_forms(secret: str) -> frozenset[str]:
    """Return the forms in which a string may hold a secret, or a longer line of it."""
    forms = _forms(secret)
    lines = secret.splitlines()
    if len(secret) >= _SHORT and len(lines) > 1:
        long = [line.strip() for line in lines if len(line.strip()) >= _LINE]
        forms.update(*map(_written, long))
    return frozenset(forms)


def _forms(secret: str) -> set[str]:
    """Return the forms in which a string may hold a secret as a whole."""
    from base64 import b64encode, urlsafe_b64encode
    from urllib.parse import quote

    data = secret.encode("utf-8", "backslashreplace")
    encoded = {b64encode(data).decode(), urlsafe_b64encode(data).decode()}
    encoded |= {quote(form, safe="") for form in encoded}
    if len(secret) >= _SHORT:
        encoded |= {form.rstrip("=") for form in encoded}
    # A repr() of a repr(), or JSON as a string within JSON, escapes twice.
    return encoded.union(*map(_written, _written(secret)))


def _written(secret: str) -> set[str]:
    """Return a secret as it is, and as it is escaped and quoted."""
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
        # In a string with quotes of both kinds repr() escapes the single quotes.
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
        # The template languages of Python write the two quotes so.
        escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    }


def _with_masks(text: str, places: Iterable[tuple[int, int]]) -> str:
    """Return *text* with sorted places masked; adjacent places are merged."""
    parts, end = [], -1
    for start, stop in places:
        if start > end:
            parts += [text[max(end, 0) : start], MASK]
        end = max(end, stop)
    return "".join([*parts, text[end:]])
