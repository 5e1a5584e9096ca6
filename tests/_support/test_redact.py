"""Protected values leave no text, in whatever form it holds them."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugreg._support.guard import LONGEST_MESSAGE, cut, explain, plain
from plugreg._support.redact import MASK, Scrubber

SECRET = "s3cret-canary"
ODD = "pa'ss \"w\\ö\n☕/+&<"
URL = "https://me:pa/s+s=@host/?a=b"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----\n"

FORMS = {
    "as it is": str,
    "repr": repr,
    "repr of a list": lambda secret: repr([secret]),
    "repr beside both quotes": lambda secret: repr(f"'\"{secret}"),
    "repr of a repr": lambda secret: repr(repr(secret)),
    "repr of bytes": lambda secret: repr(secret.encode()),
    "repr of bytes beside both quotes": lambda secret: repr(b"'\"" + secret.encode()),
    "ascii": ascii,
    "json": json.dumps,
    "json with all characters": lambda secret: json.dumps(secret, ensure_ascii=False),
    "json as a text in json": lambda secret: json.dumps(json.dumps({"key": secret})),
    "path": quote,
    "part of a path": lambda secret: quote(secret, safe=""),
    "query": lambda secret: urlencode({"key": secret}),
    "form": quote_plus,
    "html": html.escape,
    "ascii beside both quotes": lambda secret: ascii(f"'\"{secret}"),
    "address": lambda secret: quote(secret, safe="!$&'()*+,;=:@/?"),
    "html of templates": lambda secret: (
        html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    ),
    "html beside quotes": lambda secret: html.escape(secret, quote=False),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for urls": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 without padding": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "base64 in a query": lambda secret: quote_plus(base64.b64encode(secret.encode())),
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# Few letters, so that values overlap, repeat and meet the mask.
close = st.text("ab*'\\ \n", max_size=30)
secrets = st.one_of(texts, close).filter(lambda text: len(text.strip()) >= 4)


class TestForms:
    @pytest.mark.parametrize("secret", [SECRET, ODD, PEM, URL, "pässwö'rd", "~~~???>>>"])
    @pytest.mark.parametrize("form", FORMS)
    def test_each_form_is_found(self, form, secret):
        """Whoever writes the value, its string is replaced and the words around it stay."""
        written = FORMS[form](secret)
        scrubbed = Scrubber([secret]).text(f"before {written} after")
        assert MASK in scrubbed
        assert scrubbed.startswith("before ")
        assert scrubbed.endswith(" after")
        # Only quotes and the words around the value are left.
        assert len(scrubbed) <= len("before  after") + len(FORMS[form]("")) + len(MASK) + 8

    @given(secret=secrets, before=texts, after=texts, form=st.sampled_from(sorted(FORMS)))
    @example(secret="****", before="*", after="*", form="as it is")
    @example(secret="a***b", before="a", after="b", form="as it is")
    def test_no_secret_survives(self, secret, before, after, form):
        """Whatever stands around a value, no form of it is in the result."""
        written = FORMS[form](secret)
        scrubbed = Scrubber([secret]).text(before + written + after)
        assert secret.strip() not in scrubbed
        assert written not in scrubbed

    @given(values=st.lists(st.one_of(secrets, texts, close), max_size=4), text=close | texts)
    @example(values=["abcdef", "a***"], text="aabcdef")
    def test_scrubbing_twice_is_scrubbing_once(self, values, text):
        """Nothing is left to be found, not even values that the masks complete."""
        scrubber = Scrubber(values)
        once = scrubber.text(text)
        assert scrubber.text(once) == once
        once = scrubber.value([text])
        assert scrubber.value(once) == once

    def test_values_that_overlap_are_hidden_together(self):
        """Of two values that share characters no rest is shown."""
        assert Scrubber(["left-shared", "shared-right"]).text("x left-shared-right x") == "x *** x"
        assert Scrubber(["secret", "my-secret-word"]).text("my-secret-word secret") == "*** ***"

    def test_a_value_that_overlaps_itself_is_hidden_as_a_whole(self):
        """It occurs at two places that share characters."""
        assert Scrubber(["abcabc"]).text("x abcabcabc x") == "x *** x"

    def test_what_has_no_utf8_form(self):
        """A value of the environment may have lone surrogates, which texts of records escape."""
        secret = "key\n\udc80é-end"
        assert Scrubber([secret]).text(f"{secret} {plain(secret)}") == "*** ***"

    def test_every_occurrence_is_replaced(self):
        """Also those that touch, which give one mask and so do not show how many there are."""
        assert Scrubber([SECRET]).text(f"{SECRET} {SECRET}{SECRET}") == "*** ***"

    def test_blanks_around_a_value_do_not_matter(self):
        """A key read from a file ends with a new line, and is used without it."""
        assert Scrubber([f" {SECRET}\n"]).text(f"<{SECRET}>") == "<***>"

    def test_case_counts(self):
        """A value in other letters is another one."""
        assert Scrubber([SECRET]).text(SECRET.upper()) == SECRET.upper()

    def test_lines_of_a_value_are_found_one_by_one(self):
        """A traceback shows them indented, and a message the last one alone."""
        shown = "\n".join(f"    {line}" for line in PEM.splitlines())
        scrubbed = Scrubber([PEM]).text(shown)
        assert scrubbed.split() == [MASK] * 4

    def test_short_lines_of_a_value_stay(self):
        """A brace or a word of it alone is in too many texts."""
        assert Scrubber(["{\n  name: me\n}\n"]).text("{ name }") == "{ name }"


class TestMany:
    others = tuple(f"other-{n:04}-value" for n in range(300))

    @pytest.mark.parametrize("length", range(1, LONGEST_MESSAGE + 40, 97))
    def test_among_many_a_value_is_found_as_by_itself(self, length):
        """Many are looked for all at once, few one after the other: with the same result."""
        alone, among = Scrubber([SECRET]), Scrubber([*self.others, SECRET])
        text = cut("-" * length + f"{SECRET}{SECRET!r}" + "-" * LONGEST_MESSAGE, LONGEST_MESSAGE)

        assert among.text(text) == alone.text(text)
        assert among.cut_text(text) == alone.cut_text(text)
        assert among.value([text, {SECRET: 1}]) == alone.value([text, {SECRET: 1}])

    def test_each_of_many_is_found(self):
        """None is left out, wherever it stands."""
        text = ", ".join(self.others)

        assert Scrubber(self.others).text(text) == ", ".join([MASK] * len(self.others))

    def test_what_is_known_of_a_value_is_used_again(self):
        """A scrubber made from another one finds the same, of old values and of new ones."""
        before = Scrubber([SECRET, *self.others])
        before.text("anything")
        after = Scrubber([SECRET, "new-value"], known=before)

        assert after.text(f"{SECRET} new-value {self.others[0]}") == f"*** *** {self.others[0]}"


class TestShort:
    @pytest.mark.parametrize("text", ["code 12", "repr: 'x12x'", "12"])
    def test_the_whole_text_is_replaced(self, text):
        """The place of three characters would reveal them."""
        assert Scrubber(["12"]).text(text) == MASK

    def test_in_every_form(self):
        """A value that is short before it is escaped is short."""
        assert Scrubber(["é"]).text(json.dumps("é")) == MASK
        assert Scrubber(["abc"]).text("Basic YWJj") == MASK

    def test_a_text_without_it_stays(self):
        """It costs no other text."""
        assert Scrubber(["12"]).text("code 21") == "code 21"

    def test_four_characters_are_not_short(self):
        """From there on the place is replaced."""
        assert Scrubber(["1234"]).text("code 1234") == "code ***"


class TestCut:
    @pytest.mark.parametrize("length", range(1, LONGEST_MESSAGE + 40, 7))
    @pytest.mark.parametrize("secret", [SECRET, "abababababab", "x" * 2_000 + SECRET])
    def test_pieces_at_a_cut(self, secret, length):
        """Wherever the cut falls, less than 4 characters of the value are left on either side."""
        text = cut("-" * length + secret + "-" * (LONGEST_MESSAGE + 20), LONGEST_MESSAGE)
        scrubbed = Scrubber([secret]).cut_text(text)
        assert all(secret[at : at + 4] not in scrubbed for at in range(len(secret) - 3))

    def test_a_cut_of_a_cut(self):
        """A string between two cuts is a piece of the value without its ends."""
        secret = "0123456789abcdefghij"
        scrubbed = Scrubber([secret]).cut_text("see 01234 … 789abc … fghij too")
        assert scrubbed == "see *** … *** … *** too"

    @pytest.mark.parametrize("text", ["s3cret-", "canary", "s3cr"])
    def test_pieces_at_both_ends(self, text):
        """Another program may have cut it."""
        assert Scrubber([SECRET]).cut_text(text) == MASK

    def test_three_characters_are_too_few(self):
        """They are in too many texts, and reveal too little."""
        assert Scrubber([SECRET]).cut_text("s3c … ary") == "s3c … ary"

    def test_pieces_elsewhere_stay(self):
        """Where nothing was cut off, a word in common is a word."""
        assert Scrubber([SECRET]).cut_text("a canary s3cret-x") == "a canary s3cret-x"

    def test_who_chooses_a_text_learns_nothing_of_its_pieces(self):
        """A text that others write is not taken for cut, and masks would reveal which are right."""
        text = "… s3cret- … canary … s3cre"
        assert Scrubber([SECRET]).text(text) == text
        assert Scrubber([SECRET]).value([text]) == [text]

    @pytest.mark.parametrize("times", [1, 100, 10_000])
    def test_an_exception_of_any_length(self, times):
        """The kept strings of an exception have nothing of a value, however often it occurs."""
        scrubber = Scrubber([SECRET])
        try:
            raise ValueError(SECRET * times + "-----")
        except ValueError as error:
            words = explain(error)
        for text in (words.message, words.traceback):
            scrubbed = scrubber.cut_text(text)
            assert "ValueError" in scrubbed or times > 1_000
            assert all(SECRET[at : at + 4] not in scrubbed for at in range(len(SECRET) - 3))


class TestValue:
    def test_at_any_depth(self):
        """Texts and keys are scrubbed wherever they stand, and the shape stays."""
        given = {"a": [f"<{SECRET}>", {SECRET: (1, None, True, SECRET)}], "b": 2.5}
        assert Scrubber([SECRET]).value(given) == {
            "a": ["<***>", {MASK: (1, None, True, MASK)}],
            "b": 2.5,
        }

    def test_what_was_given_is_not_changed(self):
        """It is the plugin's own."""
        given = {"a": [SECRET]}
        Scrubber([SECRET]).value(given)
        assert given == {"a": [SECRET]}

    @pytest.mark.parametrize(
        ("value", "number"), [("12345", 12345), ("2.75", 2.75), ("7", 7), (" 7\n", 7)]
    )
    def test_numbers(self, value, number):
        """A number whose text is the value reveals it; another one does not."""
        assert Scrubber([value]).value([number, number + 1]) == [MASK, number + 1]

    def test_booleans_and_null_stay(self):
        """One of two values cannot be hidden from who sees that something is hidden."""
        assert Scrubber(["True", "None", "1"]).value([True, False, None]) == [True, False, None]

    def test_a_short_value_replaces_what_equals_it(self):
        """A panel with an "a" in it is no secret."""
        assert Scrubber(["a"]).value(["a", "tea", {"a": "b"}]) == [MASK, "tea", {MASK: "b"}]

    def test_ends_of_texts_stay(self):
        """Nothing was cut off there: a panel called "canary" has a name of its own."""
        assert Scrubber([SECRET]).value({"canary": "s3cret-"}) == {"canary": "s3cret-"}

    @pytest.mark.parametrize("depth", [50, 100_000])
    def test_deep_values(self, depth):
        """A value that cannot be searched is not shown."""
        deep = [SECRET]
        for _ in range(depth):
            deep = [deep]
        scrubbed = Scrubber([SECRET]).value(deep)
        for _ in range(depth if isinstance(scrubbed, list) else 0):
            (scrubbed,) = scrubbed
        assert scrubbed in ([MASK], MASK)
        assert (scrubbed == [MASK]) == (depth == 50)

    def test_cyclic_values(self):
        """They end."""
        cyclic = {}
        cyclic["a"] = [cyclic, cyclic]
        assert Scrubber([SECRET]).value(cyclic) == MASK


class TestFinding:
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_a_value_is_found_in_every_form(self, form):
        """Whether a JSON value holds a protected value, at any depth, as key or within a string."""
        scrubber = Scrubber(["12345678", SECRET])

        assert scrubber.found_in({"a": [{"b": f"uses {form(SECRET)}."}]})
        assert scrubber.found_in({"a": {SECRET: 1}})
        assert scrubber.found_in({"a": 12345678})
        assert not scrubber.found_in({"a": [SECRET[:-1], SECRET[1:], 1234567, 1.5, None, True]})

    @pytest.mark.parametrize("short", ["1234567", "  1234567  ", "~^!"])
    def test_a_value_that_can_be_guessed_is_not_looked_for(self, short):
        """Who may choose a text must not learn a short value by having texts refused."""
        assert not Scrubber([short, SECRET]).found_in({"a": short, "b": [short.strip()]})


class TestNothingToHide:
    @pytest.mark.parametrize("values", [[], [""], [" \n\t"], [MASK], iter(["", MASK])])
    def test_it_returns_what_it_was_given(self, values):
        """Blank values and the mask are no secrets; the object itself comes back."""
        scrubber = Scrubber(values)
        given = {"a": [SECRET]}
        assert not scrubber
        assert scrubber.value(given) is given
        assert scrubber.text(SECRET) is SECRET

    def test_with_something_to_hide_it_is_true(self):
        """So that callers may leave out the work."""
        assert Scrubber([SECRET])


def test_repr_shows_no_value():
    """A scrubber that lands in a log or a traceback keeps its secrets."""
    scrubber = Scrubber([SECRET, ODD])
    scrubber.text("x")
    assert repr(scrubber) == "<Scrubber of 2 values>"


def test_a_thousand_values():
    """Many values are found in one text."""
    values = [f"value-{number:04}-end" for number in range(1_000)]
    text = "\n".join(values)
    assert Scrubber(values).text(text).split() == [MASK] * 1_000
