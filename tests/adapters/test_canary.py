"""Canary secrets: the value of a protected setting appears nowhere but in its store.

Not in any answer, log line, repr, error or record, whoever quotes it and in whatever form.
Tests in tests/_support/test_redact.py hold which forms are found.
"""

from __future__ import annotations

import base64
import gc
import html
import json
import logging
import pickle
import subprocess
import sys
import textwrap
import traceback
from types import MappingProxyType
from urllib.parse import quote, quote_plus

import pytest
from pydantic import SecretStr

from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg._support.redact import MASK
from plugreg.api import Actor, APIError, PluginAPI
from plugreg.encryption import Encryption
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage, TinyDBStorage

PEM = "-----BEGIN KEY-----\ncanary-pem-first/+\ncanary-pem-second==\n-----END KEY-----\n"
OF_TEA = {
    "OWN": "canary-öwn '\"%<&> 1",
    "PEM": PEM,
    "SEALED": "canary-sealed",
    "LIST": "canary-in-a-list",
    "MAP": "canary-in-a-map",
    "DEFAULTED": "canary-default",
    "OF_ENV": "canary-of-env",
    "OF_FILE": "canary-of-file",
    "FIXED": "canary-fixed",
    "MINE": "canary-of-user-7",
    "OTHERS": "canary-of-user-8",
}
OFF, GONE, PIN, NUMBER = "canary-of-off", "canary-of-gone", "~^!", 918_273_645
SECRETS = [*OF_TEA.values(), *PEM.splitlines()[1:3], OFF, GONE, PIN]
SECRETS += [str(NUMBER), str(NUMBER + 1)]
GIVEN = {
    **OF_TEA,
    "LIST": json.dumps(["canary-too", OF_TEA["LIST"]]),
    "MAP": json.dumps({"a": [OF_TEA["MAP"]]}),
    "NUMBERS": f"[{NUMBER + 1}]",
    "PIN": PIN,
    "KEY": OFF,
    "NUMBER": str(NUMBER),
    "COUNT": str(NUMBER),
    "OPEN_SAVED": "plain",
    "OPEN_DEFAULT": "plain",
}
ACTORS = [
    None,
    Actor(7),
    Actor(7, is_staff=True),
    Actor(7, scopes=frozenset()),
    Actor(7, is_superuser=True),
]
SUPERUSER = ACTORS[-1]
TABLES = ("plugins", "metadata", "counters", "settings", "user_settings", "versions")


def forms(secret):
    """Return the forms in which a program writes a text, itself first."""
    data = secret.encode()
    return [
        secret,
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
    ]


def leaks(*texts):
    """Return the secrets that stand in any of the texts, in any form."""
    whole = "\0".join(texts)
    return {secret for secret in SECRETS if any(form in whole for form in forms(secret))}


def quoting(secrets):
    """Return a text that has each secret in each form."""
    return " | ".join(form for secret in secrets for form in forms(secret))


QUOTED = quoting([*OF_TEA.values(), str(NUMBER + 1)])


def fails(*_args, **_kwargs):
    """Raise an exception that quotes every secret, with a cause and a context that do so too."""
    try:
        try:
            raise KeyError(QUOTED)
        except KeyError:
            raise OSError(5, QUOTED, QUOTED) from RuntimeError(QUOTED)
    except OSError as error:
        raise type("Canary" + OF_TEA["SEALED"], (ValueError,), {})(QUOTED) from error


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


class Quiet(SettingsMixin, Plugin):
    """Declares settings, and quotes nothing while secrets are given to it."""

    SETTINGS = {
        **{key: {"protected": True} for key in ("OWN", "PEM", "OF_ENV", "OF_FILE", "FIXED")},
        "SEALED": {"type": SecretStr},
        "LIST": {"type": list[str], "protected": True},
        "MAP": {"type": dict[str, list[str]], "protected": True},
        "NUMBERS": {"type": list[int], "protected": True},
        "DEFAULTED": {"protected": True, "default": lambda: OF_TEA["DEFAULTED"]},
        "COUNT": {"protected": True, "validator": int},
        "CHECKED": {"protected": True, "validator": fails},
        "VETOED": {"protected": True, "before_save": fails},
        "OPEN": {"validator": fails},
        "OPEN_VETOED": {"before_save": fails},
        "OPEN_SAVED": {"after_save": fails},
        "OPEN_CHOSEN": {"choices": fails},
        "OPEN_DEFAULT": {"default": "plain"},
    }
    USER_SETTINGS = {"MINE": {"protected": True}, "CHECKED": {"validator": fails}}


class Tea(UserInterfaceMixin, Quiet):
    """Quotes its secrets wherever it is asked for anything."""

    SETTINGS = {**Quiet.SETTINGS, "OPEN_DEFAULT": {"default": fails}}

    def get_ui_panels(self, request, context, **kwargs):
        deep = {"a": [{QUOTED: [QUOTED, {"b": QUOTED}]}], QUOTED: 1}
        yield {"key": "k" + QUOTED, "title": QUOTED, "source": QUOTED, "context": deep}
        yield {"key": "k", "icon": QUOTED, "description": QUOTED, "options": deep}
        yield {"key": "k", "options": [QUOTED]}
        fails()

    def get_ui_dashboard_items(self, request, context, **kwargs):
        deep = {"a": [{QUOTED: [QUOTED, {"b": QUOTED}]}], QUOTED: 1}
        return [{"key": "k" + QUOTED, "title": QUOTED, "context": deep, "options": deep}]

    def get_admin_source(self):
        return QUOTED

    def get_admin_context(self):
        return {QUOTED: [QUOTED, {"a": {QUOTED: (QUOTED,)}}]}

    @hookimpl
    def price(self, item):
        fails()

    plugreg_deactivating = plugreg_settings_changed = plugreg_health = hookimpl(
        lambda self: fails()
    )


class Pin(SettingsMixin, Plugin):
    """Has secrets that are short, and one that is a number."""

    SETTINGS = {
        "PIN": {"protected": True},
        "NUMBER": {"protected": True, "validator": int},
        "OPEN": {"validator": lambda _: Pin.fail()},
    }

    @staticmethod
    def fail():
        raise ValueError(f"of {PIN!r} and {NUMBER}")

    @hookimpl
    def price(self, item):
        self.fail()


class Off(SettingsMixin, Plugin):
    SETTINGS = {"KEY": {"protected": True}}


class Shop:
    """A registry whose plugins have secrets in every place that there is for one."""

    def __init__(self, folder, monkeypatch, storage=None, plugin=Tea, fixed=(), **options):
        monkeypatch.setenv("CANARY", OF_TEA["OF_ENV"])
        (folder / "secret").write_text(OF_TEA["OF_FILE"])
        self.storage = MemoryStorage() if storage is None else storage
        self.failures = []
        if not self.storage.read("plugins"):
            self.fill()
        self.fixed = {
            "OF_ENV": {"$env": "CANARY"},
            "OF_FILE": {"$file": str(folder / "secret")},
            "FIXED": OF_TEA["FIXED"],
            **dict(fixed),
        }
        options = {"overrides": {"tea": self.fixed}, **options}
        self.registry = self.made([("tea", plugin), Pin, Off], **options)

    def fill(self):
        first = self.made([("tea", Quiet), Pin, Off, ("gone", Off)])
        with first:
            first.load()
            settings = first.settings("tea")
            for key in ("OWN", "PEM", "SEALED"):
                settings.set(key, OF_TEA[key])
            settings.set("LIST", ["canary-too", OF_TEA["LIST"]])
            settings.set("MAP", {"a": [OF_TEA["MAP"]]})
            settings.set("NUMBERS", [NUMBER + 1])
            first.user_settings("tea", 7).set("MINE", OF_TEA["MINE"])
            first.user_settings("tea", 8).set("MINE", OF_TEA["OTHERS"])
            first.settings("pin").set("PIN", PIN)
            first.settings("pin").set("NUMBER", NUMBER)
            first.settings("off").set("KEY", OFF)
            first.settings("gone").set("KEY", GONE)
            first.deactivate("off")
        # It is refused as metadata, and may stand there from before it was protected.
        for slug, data in {"tea": {QUOTED: [{"a": QUOTED}]}, "pin": {"a": [NUMBER]}}.items():
            with self.storage.transaction() as transaction:
                transaction.put("metadata", slug, {"metadata": data})

    def made(self, builtin, **options):
        options = {"on_failure": self.failures.append, "new_plugins": "active", **options}
        return PluginRegistry(
            "shop", builtin=builtin, storage=self.storage, hookspecs=[Hooks], **options
        )

    def rows(self):
        return {table: dict(self.storage.read(table)) for table in TABLES}


@pytest.fixture
def make_shop(tmp_path, monkeypatch, caplog):
    """Yield a function that makes a Shop; at the end nothing of it must be in the logs."""
    caplog.set_level(logging.DEBUG)
    made = []

    def make(**options):
        made.append(Shop(tmp_path, monkeypatch, **options))
        return made[-1]

    yield make
    for item in made:
        item.registry.close()
    assert not leaks(caplog.text, *(repr(vars(record)) for record in caplog.records))


@pytest.fixture
def shop(make_shop):
    shop = make_shop()
    shop.registry.load()
    return shop


@pytest.fixture
def registry(shop):
    return shop.registry


def words(error):
    """Return all that an exception says, and those that it is chained to."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def faults_of(registry):
    """Return all that a registry says of faults."""
    records = [registry.get(slug) for slug in registry.plugins]
    return "\n".join(
        [
            *(text for error in registry.errors for text in (repr(error), error.traceback)),
            json.dumps(registry.status()),
            *(repr((record, record.errors, record.reason)) for record in records),
            pickle.dumps(registry.errors).decode("utf-8", "replace"),
        ]
    )


# -- over the API -----------------------------------------------------------------------------


def requests():
    """Return each operation in all the ways in which it may go well or be refused; DELETE last."""
    bodies = [
        {"json": {"value": MASK}},
        {"json": {"value": ["1"]}},
        {"json": {"value": "x" * 2001}},
        {"json": {"metadata": {"c": 1}}},
        {"json": {"active": True, "delete_config": True, "full_reload": True, "confirm": True}},
        {"json": []},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"content": b"x", "headers": {"Content-Type": "text/plain"}},
        {},
    ]
    places = [("tea", key) for key in (*Tea.SETTINGS, *Tea.USER_SETTINGS, "NONE")]
    places += [("pin", key) for key in Pin.SETTINGS]
    places += [("off", "KEY"), ("gone", "KEY"), ("nobody", "KEY")]
    for row in sorted(PluginAPI.operations, key=lambda row: row.method == "DELETE"):
        paths = {
            row.path.format(plugin=plugin, key=key, feature=feature)
            for plugin, key in places
            for feature in ("panel", "dashboard", "none")
        }
        queries = ["", "limit=1", "limit=x", "search=canary", "plugin__active=false"]
        for path in sorted(paths):
            for item in bodies if row.body else [{"query": query} for query in queries]:
                yield row, path, item
            if "activate" in row.id and path.split("/")[3] in ("off", "gone"):
                yield row, path, {"json": {"active": False}}
            if "key" in row.path_parameters and row.body:
                # The same values again, for others would be secrets that nobody knows.
                value = GIVEN.get(path.split("/")[-2], "plain")
                yield row, path, {"json": {"value": value}}
                yield row, path, {"multipart": {"value": value}}


class TestAnswers:
    def test_no_answer_shows_it(self, client, registry, caplog):
        """Each operation, by each actor, carried out and refused in every way that there is."""
        seen, asked = {}, set()
        for row, path, request in requests():
            actors = [SUPERUSER] if (row.id, path) in asked else ACTORS
            asked.add((row.id, path))
            for actor in actors:
                answer = client(row.method, path, actor, **request)
                text = json.dumps(answer.body, ensure_ascii=False) + repr(answer)
                assert not leaks(text, json.dumps(answer.body)), (row.id, path, request)
                seen.setdefault(row.id, set()).add(answer.status)
        assert not leaks(faults_of(registry))
        for row in PluginAPI.operations:
            refusals = {401, 403} | ({404} if row.path_parameters else set())
            refusals -= {404} if "feature" in row.path_parameters else set()
            assert refusals <= seen[row.id]
            assert not {item for item in seen[row.id] if item >= 500}
            if "install" not in row.id:  # The host has no installer.
                assert row.status in seen[row.id], row.id

    def test_native_values(self, registry, make_client):
        """Native values are those of other settings alone."""
        client = make_client(PluginAPI(registry, native_values=True))
        for path in ("settings/", "tea/settings/", "pin/settings/", "tea/user-settings/"):
            answer = client("GET", f"/api/plugins/{path}", SUPERUSER)
            assert answer.status == 200
            assert not leaks(json.dumps(answer.body), repr(answer))

    def test_an_object_sent_back_as_it_came(self, client, shop):
        """A form that is saved unchanged, or in which something else is changed, changes nothing.

        That holds for own and user settings, for short values and lists, and for the host's.
        """
        before, revision = shop.rows(), shop.storage.revision()
        places = [f"tea/settings/{key}/" for key in OF_TEA if key not in ("MINE", "OTHERS")]
        places += ["tea/user-settings/MINE/", "pin/settings/PIN/", "pin/settings/number/"]
        for place in places:
            path = f"/api/plugins/{place}"
            received = client("GET", path, SUPERUSER)
            sent = client("PUT", path, SUPERUSER, json=received.body)
            assert received.body["value"] == (MASK if "DEFAULTED" not in place else "")
            if "DEFAULTED" not in place:
                assert sent.body == received.body
                assert client("PATCH", path, SUPERUSER, form={"value": MASK}).status == 200
        assert (shop.rows(), shop.storage.revision()) == (before, revision)
        assert shop.registry.settings("tea")["OWN"] == OF_TEA["OWN"]
        assert shop.registry.user_settings("tea", 7)["MINE"] == OF_TEA["MINE"]
        assert shop.registry.settings("pin")["PIN"] == PIN


# -- in Python --------------------------------------------------------------------------------


class TestErrors:
    WRONG = [
        {"$env": OF_TEA["OWN"], "b": 1},
        {"$file": [OF_TEA["OWN"]]},
        object(),
        complex(NUMBER),
        f"\0{OF_TEA['OWN']}",
        OF_TEA["OWN"] * 200,
    ]

    def test_of_settings(self, registry):
        """Whatever is refused, neither the error nor those it is chained to quote a secret."""
        refused = 0
        views = [registry.settings("tea"), registry.user_settings("tea", 7)]
        for view in (*views, registry.settings("pin")):
            for key in (*view, "NONE"):
                for value in (GIVEN.get(key, OF_TEA["OWN"]), *self.WRONG):
                    try:
                        view.set(key, value)
                        assert not leaks(repr(view), view.shown(key), view.fault(key) or "")
                        _ = view[key]
                    except Exception as error:
                        refused += 1
                        assert not leaks(words(error)), (key, value)
        assert refused > 100
        assert not leaks(faults_of(registry))

    def test_of_the_api(self, registry):
        """The same through PluginAPI."""
        api = PluginAPI(registry)
        for key in (*Tea.SETTINGS, "NONE"):
            for value in (GIVEN.get(key, OF_TEA["OWN"]), *self.WRONG):
                body = {"value": value}
                try:
                    answer = api.plugins_settings_update(
                        SUPERUSER, plugin="tea", key=key, body=body
                    )
                    assert not leaks(repr(answer), str(answer), repr(answer.to_json()))
                except APIError as error:
                    assert not leaks(words(error), repr(error.body)), (key, value)

    def test_of_values_that_cannot_be_had(self, make_shop):
        """Stored values that another key has encrypted, or that fit no more, are not quoted."""
        storage = MemoryStorage()
        make_shop(storage=storage, encryption=Encryption([Encryption.new_key()]))
        with storage.transaction() as transaction:
            transaction.put("settings", "tea:COUNT", {"value": OF_TEA["OWN"], "protected": True})
            row = {"value": OF_TEA["OWN"], "protected": True, "encrypted": True}
            transaction.put("settings", "tea:VETOED", row)
        shop = make_shop(storage=storage)
        shop.registry.load()
        view = shop.registry.settings("tea")
        for key in view:
            try:
                _ = view[key]
            except Exception as error:
                assert not leaks(words(error)), key
        assert not leaks(faults_of(shop.registry))


class TestReprs:
    def test_of_everything_there_is(self, registry):
        """The repr of no object of plugreg's shows a secret, nor does the text of one."""
        views = [registry.settings("tea"), registry.user_settings("tea", 7), registry.admin("tea")]
        for view in views[:2]:
            dict.fromkeys(view)
            assert view["OWN" if view is views[0] else "MINE"] in SECRETS
        features = registry.ui_features("dashboard", {}, None)
        listed = registry.config.listed()
        outcomes = registry.outcomes(Hooks.price, item="tea")
        api = PluginAPI(registry)
        models = [*api.plugins_settings_list(SUPERUSER, plugin="tea"), api.service]
        schemas = [view.schema() for view in (*views[:2], registry.settings("pin"))]
        assert [len(features), len(outcomes)] == [1, 2]
        for item in (*views, *features, *listed, *outcomes, *models, *schemas):
            assert not leaks(repr(item), str(item))
        assert all(outcome.failure for outcome in outcomes)

        found = list(reachable([registry, views, listed, api], registry._parts.settings._storage))
        assert len(found) > 100
        for item in found:
            assert not leaks(repr(item), str(item)), type(item)


CONTAINERS = (list, tuple, dict, set, frozenset, MappingProxyType)


def reachable(roots, store):
    """Yield each object of plugreg's that can be reached from these, but not through the store."""
    waiting, seen = [roots], {id(store)}
    while waiting:
        item = waiting.pop()
        kind = type(item)
        of_plugreg = kind.__module__.startswith("plugreg.")
        if id(item) in seen or not (of_plugreg or kind in CONTAINERS):
            continue
        seen.add(id(item))
        if of_plugreg:
            yield item
        waiting += gc.get_referents(item)


# -- faults of plugins ------------------------------------------------------------------------


def faulty(**attributes):
    return type("Tea", (Tea,), attributes)


FAULTS = {
    "init": faulty(__init__=fails),
    "activate": faulty(plugreg_activated=hookimpl(lambda self: fails())),
    "loaded": faulty(plugreg_plugins_loaded=hookimpl(lambda self, report: fails())),
    "settings": faulty(SETTINGS=property(fails)),
    "bad settings": faulty(SETTINGS={QUOTED: {QUOTED: QUOTED}}),
    "bad definition": faulty(SETTINGS={"OWN": {"default": QUOTED, "validator": QUOTED}}),
    "version": faulty(SETTINGS_VERSION=QUOTED),
    "migration": faulty(SETTINGS_VERSION=2, migrate_settings=fails),
    "bad migration": faulty(
        SETTINGS_VERSION=2, migrate_settings=lambda self, values, *_: {"COUNT": QUOTED, **values}
    ),
    "date": faulty(PUBLISH_DATE=QUOTED),
    "host version": faulty(MIN_VERSION=QUOTED),
    "brings": faulty(plugreg_plugins=hookimpl(lambda self: fails())),
    "exit": faulty(__init__=lambda self: sys.exit(QUOTED)),
    "slug": faulty(SLUG=property(fails)),
}


DEFAULTED = {"DEFAULTED": OF_TEA["DEFAULTED"]}
"""A default is known only while a plugin is active, but what the host has fixed always is."""


class TestFaults:
    @pytest.mark.parametrize("plugin", FAULTS.values(), ids=FAULTS)
    def test_while_it_is_loaded(self, make_shop, plugin):
        """Records, report and errors of a load show none of the plugin's quotes."""
        shop = make_shop(plugin=plugin, host_version="1.0", fixed=DEFAULTED)
        raised = []
        try:
            shop.registry.load(strict=True)
        except ExceptionGroup as error:
            raised.append(words(error))
        reports = [shop.registry.reload(), shop.registry.reload(force=True)]

        assert any(item.slug == "tea" for item in (*shop.registry.errors, *shop.failures))
        assert not leaks(*raised, *map(repr, reports), *map(repr, shop.failures))
        assert not leaks(*(e.traceback for report in reports for e in report.failures))
        assert not leaks(*(item.traceback for item in shop.failures), faults_of(shop.registry))

    def test_while_it_is_imported(self, make_shop, tmp_path):
        """A module that fails quotes values that an earlier run of it has stored."""
        folder = tmp_path / "plugins"
        folder.mkdir()
        source = f"raise RuntimeError({QUOTED!r})"
        (folder / "tea.py").write_text(f"class Tea(Plugin):\n    NAME = 'Tea'\n    {source}\n")
        shop = make_shop(fixed=DEFAULTED)
        options = {"directories": [folder], "overrides": {"tea": shop.fixed}}
        with shop.made([], **options) as registry:
            report = registry.load()

            assert [error.stage for error in registry.errors if error.slug == "tea"] == ["import"]
            assert not leaks(
                repr(report), faults_of(registry), *(e.traceback for e in shop.failures)
            )

    def test_while_it_serves(self, shop):
        """Its exceptions in calls, in events and on its way out are recorded without secrets."""
        registry = shop.registry
        outcomes = registry.outcomes(Hooks.price, item="tea")
        assert registry.call(Hooks.price, item="tea") == []
        registry.settings("tea").set("OPEN_SAVED", "1")
        registry.settings("tea").set("COUNT", NUMBER)
        registry.call("plugreg_health")
        seen = faults_of(registry)
        registry.deactivate("tea")
        registry.deactivate("pin")

        subjects = {item.subject for item in shop.failures}
        assert {"price", "after_save", "plugreg_settings_changed"} <= subjects
        assert any(item.stage == "deactivate" for item in shop.failures)
        assert not leaks(seen, faults_of(registry), *map(repr, shop.failures), *map(repr, outcomes))
        assert not leaks(*(item.traceback for item in shop.failures))

    def test_a_host_that_fails_itself(self, make_shop):
        """An exception of ``on_failure`` over a record goes to the log, which shows nothing."""
        shop = make_shop(on_failure=lambda failure: pytest.fail(repr(failure) + failure.traceback))
        shop.registry.load()
        shop.registry.call(Hooks.price, item="tea")

        assert not leaks(faults_of(shop.registry))


# -- at rest ----------------------------------------------------------------------------------


WATCHED = """
import sys
from pathlib import Path
from plugreg import Plugin, PluginRegistry
from plugreg.encryption import Encryption
from plugreg.mixins import SettingsMixin
from plugreg.storage import TinyDBStorage

folder, secrets = Path(sys.argv[1]), sys.argv[2:]
written = []

def watch(event, arguments):
    if event in ("os.rename", "os.remove"):
        written.extend(file.read_bytes() for file in folder.iterdir())

sys.addaudithook(watch)

class Tea(SettingsMixin, Plugin):
    SETTINGS = {"KEY": {"protected": True}, "LIST": {"type": list[str], "protected": True}}
    USER_SETTINGS = {"KEY": {"protected": True}}

keys = [Encryption.new_key(), Encryption.new_key()]
for count in (1, 2):
    storage = TinyDBStorage(folder / "store.json")
    encryption = Encryption(keys[:count][::-1])
    with PluginRegistry(
        "shop", builtin=[Tea], storage=storage, encryption=encryption, new_plugins="active"
    ) as registry:
        registry.load()
        registry.settings("tea").set("KEY", secrets[0])
        registry.settings("tea").set("LIST", secrets)
        registry.user_settings("tea", 7).set("KEY", secrets[1])
        registry.config.rotate_secrets()
        assert registry.settings("tea")["LIST"] == secrets
        assert registry.user_settings("tea", 7)["KEY"] == secrets[1]
    storage.close()
written.extend(file.read_bytes() for file in folder.iterdir())
assert len(written) > 10
for item in (*secrets, *keys):
    assert not any(item.encode() in content for content in written), item
    assert not any(ascii(item)[1:-1].encode() in content for content in written), item
assert any(b"tea:KEY" in content for content in written)
"""


class TestAtRest:
    def test_with_encryption_no_file_has_it(self, tmp_path):
        """Neither the store nor its lock, nor files beside it while it is written."""
        secrets = [OF_TEA["OWN"], OF_TEA["MINE"], OF_TEA["PEM"]]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(WATCHED), str(tmp_path), *secrets],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=False,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_whole_shop_encrypted(self, make_shop, tmp_path):
        """All that is protected is encrypted, of every plugin; it reads as it was."""
        folder = tmp_path / "stores"
        folder.mkdir()
        storage = TinyDBStorage(folder / "store.json")
        make_shop(storage=storage).registry.close()
        shop = make_shop(storage=storage, encryption=Encryption([Encryption.new_key()]))
        shop.registry.load()
        shop.registry.set_metadata("tea", {}, merge=False)
        shop.registry.set_metadata("pin", {}, merge=False)
        shop.registry.config.rotate_secrets()

        files = [item.read_text() for item in folder.iterdir()]
        assert files
        assert not leaks(*files)
        assert shop.registry.settings("tea")["OWN"] == OF_TEA["OWN"]
        shop.registry.close()
        storage.close()
