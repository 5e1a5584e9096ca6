"""Requests that no form of the page sends, and words that are longer than a message may be."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.admin.visits import Message
from plugreg.api import Actor, PluginAPI
from plugreg.api.http import Request
from plugreg.api.plugin_api import ExtendedPluginAPI
from plugreg.exceptions import StorageError
from plugreg.storage import MemoryStorage


@pytest.fixture
def send(visitor):
    """Return a function that sends fields with a valid token, and returns the response."""
    token = visitor().doc.tags_of("csrf_token")["value"]

    def post(path, fields):
        body = urlencode({**fields, "csrf_token": token}).encode()
        return visitor.send("POST", f"/admin/{path}", body)

    return post


def test_no_name_of_a_plugin_reaches_a_header_as_it_is(send):
    """A line break or a letter that is not ASCII in a field's name stays within the address."""
    fields = {"to": "activate", "confirmed": "yes", "plugin:ä\r\nSet-Cookie: a=b": "on"}
    response = send("switch/", fields)

    assert response.status == 303
    assert response.headers["Location"] == "/admin/#switch-%C3%A4%0D%0ASet-Cookie%3A%20a%3Db"


def test_the_redirect_to_the_page_has_only_ascii(visitor):
    """A query that a client has not encoded is encoded; one that is encoded stays as it is."""
    request = Request(method="GET", path="/admin", url="http://h/admin", query=b"a=\xff&b=%20")
    response = visitor.responder.respond(request, None)

    assert response.headers["Location"] == "/admin/?a=%FF&b=%20"


def test_no_redirect_leads_to_another_host(visitor):
    """Two slashes where the page is mounted name no host."""
    request = Request(method="GET", path="/admin", url="http://h//evil.example/admin")
    response = visitor.responder.respond(request, None)

    assert response.headers["Location"] == "/evil.example/admin/"


def test_a_form_that_does_not_say_what_to_do_does_nothing(send, registry):
    """Without the button's value no plugin is switched, neither on nor off."""
    for to in ({}, {"to": "both"}):
        assert send("switch/", {"plugin:milk": "on", "plugin:tea": "on", **to}).status == 400

    assert not registry.get("milk").active
    assert registry.get("tea").active


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 20, "-1", "x"])
def test_a_number_of_a_page_may_be_anything(visitor, number):
    """A page that there is not is an empty one, or the first."""
    assert visitor(f"?page={number}").status == 200


def test_allow_names_what_is_allowed(visitor):
    """HEAD is allowed where GET is, and nowhere else."""
    assert visitor.send("GET", "/admin/switch/").headers["Allow"] == "POST"
    assert visitor.send("POST", "/admin/").headers["Allow"] == "GET, HEAD"


def test_a_reset_that_did_not_help_is_no_success(visitor):
    """A plugin that fails again, or is off, is not said to be called."""
    for slug, state in (("broken", "failed"), ("milk", "inactive")):
        page = visitor(f"plugins/{slug}/runtime/").press("Reset")

        assert f"{slug} was reset, and is not called: it is {state}." in page.doc.roles["alert"][0]
        assert "status" not in page.doc.roles
    page = visitor("plugins/tea/runtime/").press("Reset")
    assert page.doc.roles["status"] == ["tea is called again: its circuit is closed."]


def test_a_key_that_plugreg_has_not_stored_is_none(visitor_of):
    """The page is served nevertheless, and its forms are accepted."""
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=MemoryStorage()) as registry:
        registry.load()
        registry.shared.notes.put("page key", {"key": 5})
        page = visitor_of(registry)("plugins/tea/activate/").press("Activate")

        assert page.doc.roles["status"] == ["tea is active."]


def test_a_browser_keeps_the_key_where_none_can_be_stored(visitor_of):
    """A form is accepted with its cookie alone, and nothing is stored for it."""
    storage = Away()
    with PluginRegistry(
        "shop", builtin=[("tea", Plugin)], storage=storage, safe_mode=True
    ) as registry:
        registry.load()
        visitor = visitor_of(registry)
        question = visitor("plugins/tea/activate/")
        kept, visitor.cookies = visitor.cookies, {}

        assert question.press("Activate").status == 403

        visitor.cookies = {"plugreg_key": "0" * 64}

        assert question.press("Activate").status == 403
        assert not registry.get("tea").wanted
        assert not storage.read("notes")

        visitor.cookies = kept

        assert question.press("Activate").status == 200
        assert registry.get("tea").wanted


def test_a_form_from_before_a_key_was_stored_is_sent_again(visitor_of):
    """A key in a cookie counts no more then, since another site may have planted it."""
    options = {"builtin": [("tea", Plugin)], "storage": MemoryStorage()}
    with PluginRegistry("shop", **options, safe_mode=True) as safe:
        safe.load()
        visitor = visitor_of(safe)
        question = visitor("plugins/tea/activate/")
        with PluginRegistry("shop", **options) as registry:
            registry.load()
            visitor_of(registry)
            assert registry.shared.notes.get("page key")

            refusal = question.press("Activate")
            assert refusal.status == 403
            assert "load the page again, and send it once more" in refusal.doc.text
            assert not safe.get("tea").wanted
            assert visitor("plugins/tea/activate/").press("Activate").status == 200
        assert safe.get("tea").wanted


class Slanderous(Plugin):
    def __init__(self):
        raise RuntimeError("茶" * 5000)


def test_a_long_reason_does_not_lose_the_message(visitor_of):
    """A browser drops a cookie of more than 4096 bytes; the result of a change is still shown."""
    names = [f"loud{number}" for number in range(9)]
    builtin = [(name, Slanderous) for name in names]
    with PluginRegistry("shop", builtin=builtin, storage=MemoryStorage()) as registry:
        registry.load()
        visitor = visitor_of(registry)
        token = visitor().doc.tags_of("csrf_token")["value"]
        for chosen in (names[:1], names):
            fields = {"csrf_token": token, "to": "activate"}
            body = urlencode({**fields, **{f"plugin:{name}": "on" for name in chosen}}).encode()
            response = visitor.send("POST", "/admin/switch/", body)

            assert len(response.headers["Set-Cookie"]) < 4096
            page = visitor.post("/admin/switch/", {"csrf_token": token, "to": "activate"})
            assert page.doc.roles["alert"]


def test_a_short_message_stays_whole():
    """Only lines without room are cut, and the cut is shown."""
    message = Message("status", "a b", ("c", "d"))
    assert message.shortened() == message
    cut = Message("alert", "x" * 9000, ("y",)).shortened()
    assert cut.text.endswith("x…")
    assert cut.lines == ()
    assert len(json.dumps(cut)) < 2500


def test_an_odd_cookie_of_the_host_does_not_hide_the_message(visitor):
    """The message is found whatever other cookies there are."""
    visitor.cookies["consent"] = '{"a": "b", [}'
    page = visitor("plugins/milk/activate/").press("Activate")

    assert page.doc.roles["status"] == ["milk is active."]


def test_reports_of_probes_are_for_those_who_may_probe(visitor_of, registry):
    """They may have the message of a fault, which is for superusers as in the API."""
    registry.probe("broken")

    assert "out of <order>" in visitor_of(registry)("plugins/broken/").doc.text
    for actor in (Actor(3), Actor(2, is_staff=True)):
        page = visitor_of(registry, actor)("plugins/broken/")
        assert page.status == 200
        assert "order" not in page.text


class Away(MemoryStorage):
    """A storage that goes away."""

    is_away = False

    def read(self, table):
        if self.is_away:
            raise StorageError("gone")
        return super().read(table)


class Own(ExtendedPluginAPI):
    """A host's own API."""


@pytest.mark.parametrize("make", [PluginAPI, Own])
def test_the_extended_api_has_the_same_page_without_a_storage(make, visitor_of):
    """Whether the host serves the extended API or not, the table is there."""
    storage = Away()
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=storage) as registry:
        registry.load()
        visitor = visitor_of(make(registry, extended=True))
        storage.is_away = True

        assert visitor().status == 200
        assert visitor("plugins/tea/").status == 200


def test_one_plan_is_made_for_all_that_are_selected(visitor_of, monkeypatch):
    """A plan looks at every plugin; one for each selected plugin would be a square of them."""
    names = [f"many{number}" for number in range(30)]
    builtin = [(name, type(name, (Plugin,), {})) for name in names]
    with PluginRegistry("shop", builtin=builtin, storage=MemoryStorage()) as registry:
        registry.load()
        visitor, plans, outlook = visitor_of(registry), [], PluginRegistry.outlook
        token = visitor().doc.tags_of("csrf_token")["value"]

        def counted(self, wanted=()):
            plans.append(wanted)
            return outlook(self, wanted)

        monkeypatch.setattr(PluginRegistry, "outlook", counted)
        fields = {"csrf_token": token, **{f"plugin:{name}": "on" for name in names}}
        body = urlencode({**fields, "to": "activate"}).encode()

        assert visitor.send("POST", "/admin/switch/", body).status == 303
        assert len(plans) == 1
        assert set(registry.active) == set(names)


def test_one_plan_decides_which_of_many_are_switched_off(visitor_of, monkeypatch):
    """In safe mode, too, where each plugin alone would need a plan of its own."""
    names = [f"many{number}" for number in range(30)]
    builtin = [(name, type(name, (Plugin,), {})) for name in names]
    with PluginRegistry(
        "shop", builtin=builtin, storage=MemoryStorage(), safe_mode=True
    ) as registry:
        registry.load()
        registry.switch(dict.fromkeys(names, True))
        visitor, plans, outlook = visitor_of(registry), [], PluginRegistry.outlook
        page = visitor()
        monkeypatch.setattr(
            PluginRegistry, "outlook", lambda *given: plans.append(given) or outlook(*given)
        )
        page = page.press("Deactivate selected", **{f"plugin:{name}": "on" for name in names})

        assert page.doc.roles["status"][0].startswith("30 of 30 plugins were switched.")
        assert len(plans) <= 3
        assert not any(record.wanted for record in registry.plugins.values())


class Unswitching(PluginAPI):
    """A host's API that closes no circuits."""

    plugins_reset_create = None


def test_a_repair_does_nothing_that_the_host_has_removed(visitor_of, registry):
    """A button of a repair has the access rule of the operation that it stands for."""
    page = visitor_of(Unswitching(registry))("attention/")
    assert not [button for button in page.buttons() if button.startswith(("Reset", "Try"))]
    for repair in registry.repairs():
        for action in repair.actions:
            if action.name not in ("reset", "activate", "deactivate") or action.run is None:
                continue
            token = page.visitor().doc.tags_of("csrf_token")["value"]
            fields = {"code": repair.code, "slug": repair.slug or "", "action": action.name}
            answer = page.visitor.post("/admin/attention/", {**fields, "csrf_token": token})
            assert answer.status == 404, action.name
            assert registry.get("broken").wanted
            break
    assert {"reset", "deactivate"} & {a.name for r in registry.repairs() for a in r.actions}
