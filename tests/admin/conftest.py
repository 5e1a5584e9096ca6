"""A visitor of the page, who reads HTML as a browser without JavaScript does."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.admin import AdminPage, make_responder
from plugreg.api import Actor
from plugreg.api.http import Request
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
STAFF = Actor(2, is_staff=True)
READER = Actor(3)
GRADES = {"superuser": SUPERUSER, "staff": STAFF, "reader": READER, "nobody": None}
VOID = {"input", "meta", "link", "br"}


class Form:
    """A form: method, action, the values that a browser would send, and its buttons."""

    def __init__(self, attributes):
        self.method = attributes.get("method", "get")
        self.action = attributes.get("action", "")
        self.fields = {}
        self.boxes = {}
        self.buttons = []


class Document(HTMLParser):
    """The parts of an answer that tests look at."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.forms, self.links, self.texts = [], [], [], []
        self.roles = {}
        self.headings = []
        self._open, self._form, self._select, self._area = [], None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag not in VOID:
            self._open.append([tag, given, ""])
        if tag == "form":
            self._form = Form(given)
            self.forms.append(self._form)
        if self._form is None or "disabled" in given:
            return
        name = given.get("name")
        if tag == "input" and name:
            if given.get("type") == "checkbox":
                value = given.get("value", "on")
                self._form.boxes[name] = value
                if "checked" in given:
                    self._form.fields[name] = value
            else:
                self._form.fields[name] = given.get("value", "")
        elif tag == "select":
            self._select = name
            self._form.fields.setdefault(name, "")
        elif tag == "option" and self._select and "selected" in given:
            self._form.fields[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._area = name
        elif tag == "button":
            self._form.buttons.append([given, ""])

    def handle_data(self, data):
        self.texts.append(data)
        for element in self._open:
            element[2] += data
        if self._area is not None:
            self._form.fields[self._area] = data.removeprefix("\n")
        if self._form is not None and any(element[0] == "button" for element in self._open):
            self._form.buttons[-1][1] += data

    def handle_endtag(self, tag):
        while self._open and self._open[-1][0] != tag:
            self._open.pop()
        if not self._open:
            return
        _, given, text = self._open.pop()
        words = " ".join(text.split())
        if tag == "a":
            self.links.append((words, given.get("href", "")))
        if tag == "h1":
            self.headings.append(words)
        if "role" in given:
            self.roles.setdefault(given["role"], []).append(words)
        if tag == "form":
            self._form = None
        if tag == "select":
            self._select = None
        if tag == "textarea":
            self._area = None

    def tags_of(self, name):
        """Return the attributes of the first element with this name."""
        return next(given for _, given in self.tags if given.get("name") == name)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def link(self, name):
        """Return the address of the first link with this name."""
        return next(address for words, address in self.links if words == name)


class Page:
    """An answer of the page, read."""

    def __init__(self, visitor, address, response):
        self.visitor, self.address, self.response = visitor, address, response
        self.status, self.headers = response.status, response.headers
        self.text = response.body.decode()
        self.doc = Document(self.text)

    def follow(self, name):
        return self.visitor.get(urljoin(self.address, self.doc.link(name)))

    def press(self, button, **fields):
        """Send the form that has a button with this name; ``fields`` are typed in before."""
        for form in self.doc.forms:
            for given, words in form.buttons:
                if " ".join(words.split()) == button and "aria-hidden" not in given:
                    return self._send(form, given, fields)
        raise AssertionError(f"no button {button!r}")

    def buttons(self):
        return [
            " ".join(words.split())
            for form in self.doc.forms
            for given, words in form.buttons
            if "aria-hidden" not in given
        ]

    def _send(self, form, button, fields):
        unknown = fields.keys() - form.fields.keys() - form.boxes.keys()
        assert not unknown, unknown
        sent = {**form.fields, **fields}
        sent = {name: value for name, value in sent.items() if value is not None}
        if button.get("name"):
            sent[button["name"]] = button.get("value", "")
        address = urljoin(self.address, form.action)
        if form.method == "post":
            return self.visitor.post(address, sent)
        return self.visitor.get(f"{address.partition('?')[0]}?{urlencode(sent)}")


class Visitor:
    """Somebody with a browser; ``get`` and ``post`` take paths and follow redirects."""

    def __init__(self, responder, actor=SUPERUSER, prefix="", language="en"):
        self.responder, self.actor, self.prefix = responder, actor, prefix
        self.language = language
        self.cookies = {}
        self.root = f"{prefix}/admin/"

    def __call__(self, path=""):
        return self.get(self.root + path)

    def get(self, address):
        return self._ask("GET", address)

    def post(self, address, fields):
        return self._ask("POST", address, urlencode(fields).encode())

    def send(self, method, address, body=b"", headers=()):
        """Send one request, and return the response as it is."""
        target = urlsplit(address)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        names = {"accept-language": self.language, "cookie": cookies, **dict(headers)}
        if body:
            names.setdefault("content-type", "application/x-www-form-urlencoded")
        request = Request(
            method=method,
            path=unquote(target.path).removeprefix(self.prefix),
            url=f"http://shop.example{target.path}",
            query=target.query.encode(),
            headers=names,
            body=body,
        )
        return self.responder.respond(request, self.actor)

    def _ask(self, method, address, body=b""):
        for _ in range(3):
            response = self.send(method, address, body)
            if cookie := response.headers.get("Set-Cookie"):
                pair = cookie.partition(";")[0].partition("=")
                self.cookies[pair[0]] = pair[2]
                if "Max-Age=0" in cookie:
                    del self.cookies[pair[0]]
            if response.status not in (303, 308):
                return Page(self, address, response)
            address = urljoin(address, response.headers["Location"])
            method, body = ("GET", b"") if response.status == 303 else (method, body)
        raise AssertionError("too many redirects")


class Tea(SettingsMixin, Plugin):
    """Makes tea."""

    TITLE = "Tea time"
    VERSION = "1.2"
    SETTINGS = {
        "CUPS": {"name": "Cups", "default": 2, "validator": int, "units": "cups"},
        "SORT": {
            "name": "Sort",
            "default": "green",
            "choices": [("green", "Green"), ("black", "Black")],
        },
        "HOT": {"name": "Hot", "default": True, "validator": bool},
        "DAYS": {"name": "Days", "type": list[str], "default": []},
        "SECRET": {"name": "Secret recipe", "protected": True},
        "NOTE": {"name": "Note", "description": "Said with each cup"},
        "INNER": {"name": "Inner", "hidden": True},
        "FIXED": {"name": "Fixed", "default": "a"},
    }
    USER_SETTINGS = {"SUGAR": {"name": "Sugar", "default": 1, "validator": int}}


class Milk(Plugin):
    VERSION = "1.10"


class Broken(Plugin):
    VERSION = "1.9"

    def __init__(self):
        raise RuntimeError("out of <order>")


@pytest.fixture
def registry():
    """Yield a loaded registry with three plugins, of which one is broken and one off."""
    with PluginRegistry(
        "shop",
        builtin=[("tea", Tea), ("milk", Milk), ("broken", Broken)],
        storage=MemoryStorage(),
        overrides={"tea": {"FIXED": "b"}},
    ) as made:
        made.load()
        made.switch({"tea": True, "broken": True})
        yield made


@pytest.fixture
def visitor(registry):
    """Return a superuser in front of the page."""
    return Visitor(make_responder(registry, True))


@pytest.fixture
def visit_as(registry):
    """Return a function that makes a visitor of a grade, with options of the page."""

    def make(actor, *, prefix="", language="en", **options):
        return Visitor(make_responder(registry, AdminPage(**options)), actor, prefix, language)

    return make


@pytest.fixture
def visitor_of():
    """Return a function that makes a visitor of any registry or PluginAPI."""

    def make(registry, actor=SUPERUSER, **options):
        return Visitor(make_responder(registry, AdminPage(**options)), actor)

    return make


@pytest.fixture(params=GRADES)
def grade(request):
    """Return each grade in turn, as its name and an actor."""
    return request.param, GRADES[request.param]
