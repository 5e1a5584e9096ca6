"""The languages of the page, and its catalogues."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import plugreg.admin
from plugreg.admin.languages import choose
from plugreg.admin.looks import LOOKS

FOLDER = Path(plugreg.admin.__file__).parent
GERMAN = FOLDER / "locale" / "de" / "LC_MESSAGES" / "plugreg.po"


@pytest.fixture(scope="module")
def german():
    """Return the German catalogue."""
    with GERMAN.open("rb") as file:
        return read_po(file, locale="de")


def test_every_sentence_has_its_german(german):
    """Each sentence of templates and code is in the catalogue, translated, and no other is."""
    methods = [("**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
    keywords = {"_": None, "text": None, "gettext": None, "ngettext": (1, 2)}
    found = extract_from_dir(FOLDER, methods, {"**.html": {"trimmed": "true"}}, keywords)
    sentences = {message for _, _, message, _, _ in found}

    assert len(sentences) > 200
    assert {message.id for message in german if message.id} == sentences
    for message in german:
        if message.id:
            ids = [message.id] if isinstance(message.id, str) else message.id
            strings = [message.string] if isinstance(message.string, str) else message.string
            for one, other in zip(ids, strings, strict=True):
                assert other
                names = set(re.findall(r"%\(\w+\)[sd]", one))
                assert set(re.findall(r"%\(\w+\)[sd]", other)) <= names, other


def test_the_compiled_catalogue_is_that_of_the_source(german):
    """The catalogue that gettext reads is that of the translators."""
    with GERMAN.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in german:
        if isinstance(message.id, str):
            assert not message.id or compiled.gettext(message.id) == message.string
        else:
            made = tuple(compiled.ngettext(*message.id, number) for number in (1, 2))
            assert made == tuple(message.string)


def test_every_state_has_a_word_that_is_translated(german):
    """The table of looks uses sentences of the catalogue, and no two states look the same."""
    for look in LOOKS.values():
        assert look.word in german
        assert len(look.sign) == 1


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr", "en"),
        ("fr;q=1,de;q=0.1", "de"),
        ("de;q=0", "en"),
        ("de;q=much", "en"),
        ("de;q=1.1.1", "en"),
        (", ,;q=,*", "en"),
        ("x" * 10_000, "en"),
    ],
)
def test_the_browser_chooses(accepted, language):
    """The language is the best that the browser asks for and that there is, else English."""
    assert choose(accepted) == language


def test_a_german_page(visit_as, registry):
    """Words of the page are German, those of plugins and of the core are marked as English."""
    from plugreg.api import Actor

    visitor = visit_as(Actor(1, is_staff=True, is_superuser=True), language="de-DE,de")
    page = visitor()

    assert '<html lang="de">' in page.text
    assert page.headers["Content-Language"] == "de"
    assert "✗ gescheitert" in page.doc.text
    assert '<span lang="en">failed at init' in page.text

    page = page.follow("Aktivieren milk").press("Aktivieren")

    assert page.doc.roles["status"] == ["milk ist aktiv."]


def test_a_host_may_fix_the_language(visit_as):
    """Then the browser is not asked."""
    page = visit_as(None, language="de")()
    fixed = visit_as(None)

    assert "Bitte erst anmelden" in page.doc.text
    assert "Sign in first" in fixed().doc.text
