"""Access to the page: the access rules of the API, and the tokens of forms."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from plugreg.admin import PAGE_PATH, AdminPage, make_responder
from plugreg.admin.routes import ROUTES
from plugreg.admin.tokens import TOKEN_AGE, Signer
from plugreg.admin.visits import access_of
from plugreg.api import Actor, PluginAPI

NAMES = {"plugin": "tea", "job": "ab"}


def screens():
    """Return each method of each path with its operation."""
    for method, path, _, operation in ROUTES:
        yield method, re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda m: NAMES[m[1]], path), operation


def test_every_screen_has_the_rule_of_its_operation(visit_as, grade):
    """For each grade, each path is refused exactly where the API refuses its operation."""
    name, actor = grade
    visitor = visit_as(actor)
    api = PluginAPI(visitor.responder.api.registry, extended=True)
    for method, path, operation in screens():
        response = visitor.send(method, f"/admin/{path}")
        allowed = access_of(api, operation).allows(actor)
        if not allowed:
            assert response.status == (401 if name == "nobody" else 403), (method, path)
        elif method == "GET":
            # The jobs and the installer are not there, nor the repair of the question.
            expected = {"attention/question/": 303}.get(path, 404 if "install/" in path else 200)
            assert response.status == expected, path
        else:
            assert response.status == 403, path
            assert b"too old" in response.body


def test_what_one_may_not_do_is_not_shown(visit_as, grade):
    """Links and buttons lead nowhere where this grade is refused."""
    name, actor = grade
    visitor = visit_as(actor)
    if name == "nobody":
        assert visitor().doc.links[1:] == []
        return
    for path in (
        "",
        "plugins/tea/",
        "plugins/tea/settings/",
        "plugins/tea/runtime/",
        "plugins/broken/failures/",
        "attention/",
        "processes/",
        "my-settings/",
    ):
        page = visitor(path)
        if page.status != 200:
            continue
        for _, address in page.doc.links:
            if address.startswith("/admin/") and "://" not in address:
                assert visitor.get(address.partition("#")[0]).status in (200, 404), address
        for form in page.doc.forms:
            if form.method == "post":
                assert (
                    visitor.send("POST", form.action, urlencode(form.fields).encode()).status != 403
                )


@pytest.mark.parametrize("token", ["", "x", "a.b", "MA==.", None])
def test_a_change_needs_a_token(visitor, registry, token):
    """A form without the token, or with another one, changes nothing and names the remedy."""
    fields = {
        "to": "activate",
        "plugin:milk": "on",
        **({} if token is None else {"csrf_token": token}),
    }
    page = visitor.post("/admin/switch/", fields)

    assert page.status == 403
    assert "nothing was changed" in page.doc.text
    assert not registry.get("milk").wanted


def test_a_token_is_one_users_alone(registry):
    """The token of one actor is worth nothing to another."""
    signer = Signer(key="k")
    token = signer.token(Actor(1))

    assert signer.accepts(Actor(1), token)
    assert not signer.accepts(Actor(2), token)
    assert not signer.accepts(Actor(None), token)


def test_a_token_grows_old(registry, monkeypatch):
    """It is accepted for half a day."""
    import time

    signer, now = Signer(key="k"), time.time()
    token = signer.token(Actor(1))
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_AGE - 60)

    assert signer.accepts(Actor(1), token)

    monkeypatch.setattr(time, "time", lambda: now + TOKEN_AGE + 60)

    assert not signer.accepts(Actor(1), token)


def test_a_message_is_no_token(registry):
    """A string signed for one purpose is not accepted for the other."""
    signer = Signer(key="k")

    assert not signer.accepts(Actor(1), signer.seal(Actor(1), "x"))
    assert signer.unseal(Actor(1), signer.token(Actor(1))) is None
    assert signer.unseal(Actor(2), signer.seal(Actor(1), ["x"])) is None


def test_a_page_of_another_site_changes_nothing(visitor, registry):
    """The API's own check of sites holds here, too."""
    response = visitor.send(
        "POST", "/admin/switch/", b"to=activate", {"sec-fetch-site": "cross-site"}
    )

    assert response.status == 403
    assert b"are not trusted here" in response.body


def test_a_forged_message_is_not_shown(visitor):
    """A cookie that plugreg has not signed is ignored, whatever is in it."""
    for value in ("x", "eyJ4Ijp9.abc", '"', "a" * 4000):
        visitor.cookies["plugreg_message"] = value
        page = visitor()

        assert (page.status, "status" in page.doc.roles) == (200, False)


def test_every_answer_has_the_policy(visit_as, grade):
    """Refusals and styles have the same headers as screens."""
    visitor = visit_as(grade[1])
    for path in ("", "static/admin.css", "static/none", "none/", "plugins/tea/"):
        headers = visitor.send("GET", f"/admin/{path}").headers

        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "form-action 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_no_screen_has_inline_style_or_script(visitor):
    """The policy would forbid it, and a screen must look the same everywhere."""
    for method, path, _ in screens():
        if method == "GET":
            text = visitor.send("GET", f"/admin/{path}").body.decode()

            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), path
            assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", text), path


def test_methods_and_paths_that_are_not_there(visitor):
    """Unknown paths, other methods, and the path without its slash are answered as on the web."""
    assert visitor.send("GET", "/admin/nothing").status == 404
    refused = visitor.send("DELETE", "/admin/")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    moved = visitor.send("GET", "/admin?search=x")
    assert (moved.status, moved.headers["Location"]) == (308, "/admin/?search=x")
    head = visitor.send("HEAD", "/admin/")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 500
    preflight = {"access-control-request-method": "PUT"}
    assert visitor.send("OPTIONS", "/admin/", headers=preflight).status == 204


def test_styles_are_public_and_cached(registry):
    """Nobody is identified for them, and a browser asks with the tag that it has."""
    responder = make_responder(registry, AdminPage(theme={"accent": "#0a6"}))
    from plugreg.api.http import Request

    for name in ("admin.css", "admin.js", "theme.css"):
        request = Request(method="GET", path=f"{PAGE_PATH}/static/{name}", url="http://x/")
        answer = responder.respond(request, None)

        assert not responder.needs_actor(request)
        assert answer.status == 200
        tagged = {"if-none-match": answer.headers["ETag"]}
        again = Request(method="GET", path=request.path, url="http://x/", headers=tagged)
        assert responder.respond(again, None).status == 304


def test_an_operation_that_the_host_removes_takes_its_screens_along(registry, visitor_of):
    """A host that offers no switching has no buttons for it, for superusers neither."""

    class Looking(PluginAPI):
        plugins_activate_partial_update = None

    visitor = visitor_of(Looking(registry))

    assert "Deactivate tea" not in [words for words, _ in visitor().doc.links]
    assert visitor("plugins/tea/deactivate/").status == 404
