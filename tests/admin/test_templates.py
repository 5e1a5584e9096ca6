"""Changes of the page's look by a host."""

from __future__ import annotations

import pytest

from plugreg.admin import AdminPage, make_responder


@pytest.fixture
def superuser(visit_as):
    """Return a function that makes a superuser before a page with options."""
    from plugreg.api import Actor

    return lambda **options: visit_as(Actor(1, is_staff=True, is_superuser=True), **options)


def test_a_layout_of_the_host_surrounds_each_screen(superuser, tmp_path):
    """Its blocks take the title, the styles and the content; nothing else of it is known."""
    (tmp_path / "mine.html").write_text(
        '<!doctype html><html lang="en"><head><title>{% block title %}{% endblock %}</title>'
        "{% block head %}{% endblock %}</head><body><p>Our shop</p>"
        "{% block content %}{% endblock %}</body></html>"
    )
    visitor = superuser(layout="mine.html", templates=tmp_path)
    for path in ("", "plugins/tea/", "attention/", "nothing/"):
        page = visitor(path)

        assert "<p>Our shop</p>" in page.text
        assert "static/admin.css" in page.text
        assert len(page.doc.headings) == 1


def test_one_template_is_overridden(superuser, tmp_path):
    """A file with the name of one of plugreg's takes its place; the others stay."""
    (tmp_path / "processes.html").write_text(
        '{% extends "base.html" %}{% block heading %}Workers{% endblock %}'
        "{% block main %}{{ rows | length }}{% endblock %}"
    )
    visitor = superuser(templates=[str(tmp_path)])

    assert visitor("processes/").doc.headings == ["Workers"]
    assert visitor().doc.headings == ["Plugins"]


def test_a_theme_is_a_style_sheet(superuser):
    """Values of properties are served as a file, since styles within a page are forbidden."""
    visitor = superuser(theme={"accent": "light-dark(#0a6, #5fc)", "ground": "#fff"})

    assert 'href="/admin/static/theme.css"' in visitor().text
    sheet = visitor.send("GET", "/admin/static/theme.css").body
    assert sheet == b":root{--accent:light-dark(#0a6, #5fc);--ground:#fff;}"


def test_a_theme_may_be_a_file(superuser, tmp_path):
    """A host with a designer has a style sheet."""
    (tmp_path / "mine.css").write_text(".plugreg { --accent: teal }")
    visitor = superuser(theme=tmp_path / "mine.css")

    assert visitor.send("GET", "/admin/static/theme.css").body == b".plugreg { --accent: teal }"


@pytest.mark.parametrize(
    "options",
    [
        {"theme": {"accent": "red;} body{display:none"}},
        {"theme": {"accent": "url(//evil.example)</style>"}},
        {"theme": {"Accent:": "red"}},
        {"theme": "no-such-file.css"},
        {"layout": "none.html"},
        {"templates": "no-such-folder"},
    ],
)
def test_options_that_cannot_be_used_are_refused(registry, options):
    """A host hears of it when it starts, and not from its operators."""
    with pytest.raises(ValueError, match=next(iter(options))):
        make_responder(registry, AdminPage(**options))


def test_a_title_and_a_place_to_sign_in(visit_as, superuser):
    """The title stands at the head of each screen, and who is unknown is led to the host's door."""
    assert "<title>Plugins · Our shop</title>" in superuser(title="Our shop")().text

    page = visit_as(None, sign_in="/login?next=/admin/")()

    assert page.status == 401
    assert page.doc.link("Sign in") == "/login?next=/admin/"


def test_a_template_that_fails_ends_no_server(superuser, tmp_path):
    """A fault of a host's template is logged, and answered in the frame of the page."""
    (tmp_path / "processes.html").write_text("{{ none_such.attribute }}")
    page = superuser(templates=tmp_path)("processes/")

    assert page.status == 500
    assert page.doc.headings == ["Something went wrong"]
    assert "none_such" not in page.text


def test_a_layout_that_fails_leaves_the_page_its_own(superuser, visit_as, tmp_path):
    """Faults and refusals are shown without the host's templates where these fail, too."""
    (tmp_path / "mine.html").write_text("{{ none_such.attribute }}")
    options = {"layout": "mine.html", "templates": tmp_path, "title": "Shop", "sign_in": "/login"}
    page = superuser(**options)()

    assert page.status == 500
    assert page.doc.headings == ["Something went wrong"]
    assert "<title>Something went wrong · Shop</title>" in page.text

    page = visit_as(None, **options)()

    assert page.status == 401
    assert page.doc.link("Sign in") == "/login"


def test_texts_of_plugins_are_no_html(superuser, registry):
    """A plugin's strings are shown as they are, and never run."""
    assert "<order>" not in superuser()("attention/").text
