"""The forms of settings: made from the schema, and read back."""

from __future__ import annotations

import pytest


@pytest.fixture
def form(visitor):
    """Return the settings tab of the plugin ``tea``."""
    return visitor("plugins/tea/settings/")


def errors_of(page, key):
    """Return the errors beside a field that is marked as wrong."""
    marked = [
        given
        for _, given in page.doc.tags
        if given.get("name") == key and given.get("aria-invalid") == "true"
    ]
    described = {name for given in marked for name in given["aria-describedby"].split()}
    ids = {given.get("id") for tag, given in page.doc.tags if tag == "p"}
    return described & ids


def test_each_type_has_its_field(form):
    """Numbers, choices, yes or no, and lists have fields of their own, with their values."""
    (sent,) = [form for form in form.doc.forms if "CUPS" in form.fields]
    types = {given.get("name"): given.get("type") for _, given in form.doc.tags}

    assert types["CUPS"] == "number"
    assert types["HOT"] == "checkbox"
    assert types["SECRET"] == "password"
    assert sent.fields["SORT"] == "green"
    assert sent.fields["HOT"] == "True"
    assert sent.fields["DAYS"] == ""
    assert "INNER" not in form.text
    assert "FIXED" not in sent.fields
    assert "fixed by the host" in form.doc.text
    assert "(cups)" in form.doc.text
    assert "Said with each cup" in form.doc.text


def test_what_was_changed_is_stored(form, registry):
    """A form stores the fields that differ, as their types, and leaves the others alone."""
    page = form.press("Save", CUPS="5", SORT="black", HOT=None, DAYS="Monday\r\nTuesday\r\n")
    settings = registry.settings("tea")

    assert (settings["CUPS"], settings["SORT"], settings["HOT"]) == (5, "black", False)
    assert settings["DAYS"] == ["Monday", "Tuesday"]
    assert not settings.is_set("NOTE")
    assert page.doc.roles["status"] == ["tea: saved CUPS, SORT, HOT, DAYS."]


def test_what_was_not_changed_stays(form, registry):
    """A form that is sent as it is stores nothing, and says so."""
    page = form.press("Save")

    assert not any(registry.settings("tea").layer(key) == "stored" for key in ("CUPS", "HOT"))
    assert page.doc.roles["status"] == ["tea: nothing was changed."]


def test_a_change_of_somebody_else_stays(form, registry):
    """Only fields that this operator has changed are written."""
    registry.settings("tea").set("CUPS", 7)
    form.press("Save", NOTE="hello")

    assert registry.settings("tea")["CUPS"] == 7
    assert registry.settings("tea")["NOTE"] == "hello"


def test_what_is_wrong_stands_beside_its_field(form, registry):
    """A refused value is marked and kept, others are saved, and the alert names both."""
    page = form.press("Save", CUPS="many", NOTE="hello")

    assert page.status == 400
    assert errors_of(page, "CUPS") == {"setting-CUPS-wrong"}
    (said,) = page.doc.roles["alert"]
    assert said == "tea: not saved: CUPS. Saved: NOTE."
    (again,) = [form for form in page.doc.forms if "CUPS" in form.fields]
    assert again.fields["CUPS"] == "many"
    assert dict(page.doc.tags_of("CUPS"))["type"] == "text"
    assert registry.settings("tea")["NOTE"] == "hello"

    page = page.press("Save", CUPS="3")

    assert registry.settings("tea")["CUPS"] == 3
    assert page.doc.roles["status"] == ["tea: saved CUPS."]


def test_a_protected_value_is_never_shown(form, registry):
    """It can be written; an empty field keeps it, and the default takes its place on request."""
    page = form.press("Save", SECRET="canary-secret")

    assert registry.settings("tea")["SECRET"] == "canary-secret"
    assert "canary" not in page.text
    assert "set, and not shown" in page.text

    page = page.press("Save", NOTE="x")

    assert registry.settings("tea")["SECRET"] == "canary-secret"

    page.press("Use the default for Secret recipe")

    assert not registry.settings("tea").is_set("SECRET")


def test_a_refused_secret_is_not_shown_either(registry, visitor):
    """The form that shows errors has no protected value, old or new."""
    registry.settings("tea").set("SECRET", "canary-old")
    page = visitor("plugins/tea/settings/").press("Save", SECRET="canary-new\0", CUPS="many")

    assert page.status == 400
    assert "canary" not in page.text


def test_readers_see_values_and_no_form(visit_as):
    """Who may not write sees no field, and no secret."""
    from plugreg.api import Actor

    page = visit_as(Actor(3))("plugins/tea/settings/")

    assert page.status == 200
    assert "Cups" in page.doc.text
    assert not [tag for tag, _ in page.doc.tags if tag in ("input", "form", "button")]


def test_a_plugin_that_is_off_says_why_it_has_no_form(visitor):
    """Its settings are not known then, and that is no error."""
    page = visitor("plugins/milk/settings/")

    assert page.status == 200
    assert "while the plugin is active" in page.doc.text


def test_users_have_settings_of_their_own(visit_as, registry):
    """A reader sets values of the reader, and nobody else's changes."""
    from plugreg.api import Actor

    page = visit_as(Actor(7))("my-settings/").press("Save", SUGAR="3")

    assert page.doc.roles["status"] == ["tea: saved SUGAR."]
    assert registry.user_settings("tea", 7)["SUGAR"] == 3
    assert registry.user_settings("tea", 1)["SUGAR"] == 1
    wrong = page.press("Save", SUGAR="much")
    assert wrong.status == 400
    assert errors_of(wrong, "SUGAR")


def test_a_service_has_no_settings_of_its_own(visit_as):
    """An actor without a number is shown no such screen, and refused it."""
    from plugreg.api import Actor

    visitor = visit_as(Actor(None))

    assert "My settings" not in [words for words, _ in visitor().doc.links]
    assert visitor("my-settings/").status == 403
