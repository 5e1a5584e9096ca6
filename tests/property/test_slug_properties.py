"""Slugs: properties of every name."""

from __future__ import annotations

import string
from unicodedata import combining, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg._support.slugs import MAX_LENGTH, RESERVED, slug_fault, slugify

ALLOWED = frozenset(string.ascii_lowercase + string.digits + "_-")
names = st.text(max_size=40) | st.text(alphabet="aB3_- .éß\u0130\u212a\u0301/", max_size=20)


@given(names)
def test_twice_is_once(name):
    """A slug is its own slug."""
    assert slugify(slugify(name)) == slugify(name)


@given(names)
def test_only_allowed_characters(name):
    """A slug has lower-case letters of ASCII, digits, underscores and hyphens alone."""
    assert set(slugify(name)) <= ALLOWED


@given(names)
def test_no_hyphen_at_the_ends(name):
    """A slug neither starts nor ends with a hyphen."""
    slug = slugify(name)

    assert slug == slug.strip("-")


@given(
    st.text(alphabet="ab_", min_size=1),
    st.text(alphabet=" ./ß日!", min_size=1),
    st.text(alphabet="ab_", min_size=1),
)
def test_a_run_of_foreign_characters_is_one_hyphen(left, foreign, right):
    """However long a run of other characters is, one hyphen stands for it."""
    assert slugify(left + foreign + right) == f"{left}-{right}"


@given(st.lists(st.sampled_from([chr(c) for c in range(0xC0, 0x250)]), max_size=20).map("".join))
def test_a_letter_with_an_accent_is_its_letter(name):
    """A Latin letter counts as the letter under its marks, however it was composed."""
    plain = "".join(c for c in normalize("NFKD", name) if not combining(c))

    assert slugify(normalize("NFD", name)) == slugify(name) == slugify(plain)


@given(names)
def test_compatible_forms_have_one_slug(name):
    """Composed, decomposed and compatibility forms of a name are one plugin."""
    forms = {slugify(normalize(form, name)) for form in ("NFC", "NFD", "NFKC", "NFKD")}

    assert forms == {slugify(name)}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Müller", "muller"),
        ("Möller", "moller"),
        ("Mu\u0308ller", "muller"),
        ("Crème brûlée", "creme-brulee"),
        ("\u0130stanbul", "istanbul"),
        ("\ufb01sh \u2460", "fish-1"),
        ("\uff21\uff22\uff23", "abc"),
        ("Straße", "stra-e"),
        ("日本語 tea", "tea"),
    ],
)
def test_names_of_other_languages(name, slug):
    """Accents go, ligatures and wide letters are spelt out, other letters are one hyphen."""
    assert slugify(name) == slug


@given(st.text(alphabet=string.ascii_letters + string.digits + "_- ./"))
def test_case_does_not_matter(name):
    """Names that differ in the case of ASCII letters alone have one slug."""
    assert slugify(name.upper()) == slugify(name.lower()) == slugify(name)


@given(st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True))
def test_a_slug_stays_as_it_is(slug):
    """A name that follows the rules already is not changed, runs of hyphens included."""
    assert slugify(slug) == slug


@given(names)
def test_a_slug_without_fault_may_be_used(name):
    """A name without a slug_fault is neither empty nor reserved nor too long."""
    slug = slugify(name)
    is_good = bool(slug) and slug not in RESERVED and len(slug) <= MAX_LENGTH

    assert (slug_fault(slug, name) is None) == is_good


@pytest.mark.parametrize("name", ["日本語", "---", "\u0301", "!"])
def test_a_name_without_letters_is_told_the_remedy(name):
    """A name with an empty slug is refused with the name and the remedy."""
    fault = slug_fault(slugify(name), name)

    assert fault is not None
    assert repr(name) in fault
    assert "set SLUG" in fault


@pytest.mark.parametrize("name", [*sorted(RESERVED), "UI", " Reload! ", "x" * (MAX_LENGTH + 1), ""])
def test_faults(name):
    """Reserved, endless and empty names have a fault that is a sentence."""
    assert slug_fault(slugify(name), name)


def test_the_longest_slug_has_no_fault():
    """The limit itself is allowed."""
    assert slug_fault(slugify("x" * MAX_LENGTH), "x") is None
