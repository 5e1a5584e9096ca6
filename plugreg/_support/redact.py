"""Protected values are taken out of texts before these leave (design.md, invariant 8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

MASK: Final = "***"
"""What is shown in place of a protected value that is set."""

_SHORT: Final = 4
"""A value of fewer characters is hidden with its whole text, since its place would tell it."""
_GUESSABLE: Final = 8
"""A value of fewer characters can be found by trying: that text with it is refused tells it."""
_FEW: Final = 200
"""Up to this number each form is looked for by itself, which is faster than all at once."""
_LINE: Final = 8
"""From this length on a line of a value of several lines is hidden by itself."""
_LEFT_OUT: Final = re.compile("…[ …]*")
"""What ``guard.cut`` puts in the place of a string's middle, without its first blank."""


class Scrubber:
    """Replaces protected values in texts. It never changes, and its repr does not show them.

    Blank values and the mask are no secrets. A value is found as it is, without the blanks around
    it, and in the forms in which Python, JSON, URLs, HTML and base64 write it; of a value of
    several lines each longer line too. Case counts. What a program made of a value otherwise (its
    digest, its reverse, base64 of a longer text) is not found. False where nothing is to be hidden.
    """

    def __init__(self, values: Iterable[str] = (), known: Scrubber | None = None) -> None:
        """Make one for ``values``; what ``known`` has found out of the same values is used."""
        self._values = tuple(dict.fromkeys(filter(_is_secret, values)))
        self._known: Mapping[str, frozenset[str]] = {} if known is None else known._found

    def __bool__(self) -> bool:
        return bool(self._values)

    def __repr__(self) -> str:
        return f"<Scrubber of {len(self._values)} values>"

    def text(self, text: str) -> str:
        """Return ``text`` with each protected value in it replaced by the mask.

        It becomes the mask as a whole where a value of under 4 characters occurs.
        """
        return self._whole(text, pieces=False)

    def cut_text(self, text: str) -> str:
        """Return what :meth:`text` does for a text that plugreg itself may have cut.

        A piece of at least 4 characters of a value that was cut off is replaced too, where text
        was left out (" … ") and at both ends. Only for texts in which nobody who sees the result
        has a hand: whoever chooses the pieces would learn from the masks which are right.
        """
        return self._whole(text, pieces=True)

    def _whole(self, text: str, *, pieces: bool) -> str:
        if not self._values:
            return text
        masked = self._masked(text, pieces=pieces)
        return MASK if any(form in masked for form in self._short_forms) else masked

    def value(self, value: Any) -> Any:
        """Return a copy of a value that JSON can hold, scrubbed at any depth.

        Texts, keys of mappings included, are treated like those of :meth:`text`, but that a value
        of under 4 characters replaces only what equals it. A number whose text is a protected value
        becomes the mask; true, false and null tell too little to be hidden. What is nested too deep
        to be looked through is the mask.
        """
        if not self._values:
            return value
        try:
            # Most of what is looked through holds nothing, which one look at all of it tells.
            texts = "\n".join(_texts_in(value))
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
                self._scrubbed(key, is_there=is_there): self._scrubbed(each, is_there=is_there)
                for key, each in value.items()
            }
        if isinstance(value, (list, tuple)):
            scrubbed = [self._scrubbed(each, is_there=is_there) for each in value]
            return scrubbed if isinstance(value, list) else tuple(scrubbed)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return MASK if str(value) in self._secrets else value
        return value

    def found_in(self, value: Any) -> bool:
        """Return whether a protected value of at least 8 characters stands in a JSON value.

        Shorter values are not looked for: whoever chooses *value* could find them by trying.
        """
        found: bool = self._unguessable.value(value) != value
        return found

    def but_for_those_in(self, sent: Iterable[str]) -> Scrubber:
        """Return a scrubber that leaves alone the protected values that stand in *sent*.

        Where what a client has sent comes back, a mask in its place would tell the client that it
        has guessed a protected value.
        """
        if not self._values:
            return self
        texts = "\n".join(sent).lower()
        guessed = {
            secret
            for secret, forms in self._found.items()
            if any(form.lower() in texts for form in forms)
        }
        left = (e for e in self._values if e not in guessed and e.strip() not in guessed)
        return Scrubber(left, known=self) if guessed else self

    @cached_property
    def _unguessable(self) -> Scrubber:
        return Scrubber((e for e in self._values if len(e.strip()) >= _GUESSABLE), known=self)

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return frozenset(
            each for value in self._values for each in (value, value.strip()) if _is_secret(each)
        )

    @cached_property
    def _found(self) -> Mapping[str, frozenset[str]]:
        """The forms of each secret; those of before are forgotten once these are known."""
        found = {each: self._known.get(each) or _all_forms(each) for each in self._secrets}
        self._known = {}
        return found

    @cached_property
    def _short_forms(self) -> frozenset[str]:
        return frozenset().union(*(self._found[e] for e in self._secrets if len(e) < _SHORT))

    @cached_property
    def _long_forms(self) -> _Forms:
        return _Forms(
            frozenset().union(*(self._found[e] for e in self._secrets if len(e) >= _SHORT))
        )

    def _masked(self, text: str, *, pieces: bool) -> str:
        # The mask may complete another value; each round makes the text shorter, so it ends.
        while places := sorted(self._long_forms.places(text, pieces=pieces)):
            text = _with_masks(text, places)
        return text


class _Forms:
    """Looks for many forms in a text: each by itself, or all at once where there are many."""

    def __init__(self, forms: frozenset[str]) -> None:
        self._few = forms if len(forms) <= _FEW else ()
        self._heads = _by_piece(forms, lambda form: form[:_SHORT])
        self._tails = _by_piece(forms, lambda form: form[-_SHORT:])
        self._longest = max(map(len, forms), default=0)
        self._forms = forms

    def places(self, text: str, *, pieces: bool = False) -> Iterator[tuple[int, int]]:
        """Find what is to be masked: where each piece begins and ends. They may overlap.

        With ``pieces`` also what is left of a form at the places where the text was cut.
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
            (len(text[: gap.start()].rstrip(" ")), gap.end()) for gap in _LEFT_OUT.finditer(text)
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


def _texts_in(value: Any) -> Iterator[str]:
    """Give every text in a value, keys of mappings included. Raises RecursionError where deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts_in(key)
            yield from _texts_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts_in(each)


def _is_secret(value: str) -> bool:
    return bool(value.strip()) and value != MASK


def _all_forms(secret: str) -> frozenset[str]:
    """Return the forms in which a text may hold ``secret``, or a longer line of it."""
    forms = _forms(secret)
    lines = secret.splitlines()
    if len(secret) >= _SHORT and len(lines) > 1:
        stripped = (line.strip() for line in lines)
        forms.update(e for line in stripped if len(line) >= _LINE for e in _written(line))
    return frozenset(forms)


def _forms(secret: str) -> set[str]:
    """Return the forms in which a text may hold ``secret`` as a whole."""
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


def _with_masks(text: str, places: Iterable[tuple[int, int]]) -> str:
    """Return ``text`` with ``places``, which are sorted, masked; those that touch are one."""
    parts, end = [], -1
    for start, stop in places:
        if start > end:
            parts += [text[max(end, 0) : start], MASK]
        end = max(end, stop)
    return "".join([*parts, text[end:]])
