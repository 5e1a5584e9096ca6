"""PluginAPI as a Python developer calls it."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager

import pytest

from plugreg import Plugin, PluginRegistry, StorageUnavailableError, hookimpl
from plugreg.api import (
    Access,
    Actor,
    APIError,
    ConflictError,
    Grade,
    InvalidError,
    NotAuthenticatedError,
    NotFoundError,
    Operation,
    Parameter,
    PermissionDeniedError,
    PluginAPI,
    UnavailableError,
)
from plugreg.api.http import Request, Responder
from plugreg.api.models import (
    Metadata,
    Model,
    PluginActivate,
    PluginConfig,
    PluginReload,
    PluginSetting,
    PluginUserSetting,
)
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

SUPERUSER = Actor(7, is_superuser=True)


class Tea(SettingsMixin, Plugin):
    NAME = "Tea"
    SETTINGS = {"CUPS": {"name": "Cups", "default": 1, "validator": int}}
    USER_SETTINGS = {"NOTE": {}}


class Blocking(Plugin):
    """Is activated for as long as the test wants."""

    started, go_on = threading.Event(), threading.Event()

    @hookimpl
    def plugreg_activated(self):
        self.started.set()
        self.go_on.wait(30)


class Store(MemoryStorage):
    """Fails on request, as one on a disk that is gone."""

    is_gone = False

    @contextmanager
    def transaction(self):
        if self.is_gone:
            raise StorageUnavailableError("/host/secret/place", "no such device")
        with super().transaction() as transaction:
            yield transaction


@pytest.fixture
def storage():
    return Store()


@pytest.fixture
def registry(storage):
    with PluginRegistry(
        "shop", builtin=[("tea", Tea), ("slow", Blocking)], storage=storage, reload_wait=0.05
    ) as registry:
        registry.load()
        registry.activate("tea")
        yield registry


@pytest.fixture
def api(registry):
    return PluginAPI(registry)


class TestCalls:
    def test_models_come_back(self, api):
        """Each answer is the model of its row, a list of them, or None."""
        tea = {"plugin": "tea"}
        answers = {
            "plugins_list": {},
            "plugins_settings_list_all": {},
            "plugins_status_retrieve": {},
            "plugins_ui_features_list": {"feature": "panel"},
            "plugins_retrieve": tea,
            "plugins_activate_update": {**tea, "body": {}},
            "plugins_activate_partial_update": {**tea, "body": {"active": True}},
            "plugins_admin_retrieve": tea,
            "plugins_metadata_retrieve": tea,
            "plugins_metadata_update": {**tea, "body": {"metadata": {}}},
            "plugins_metadata_partial_update": {**tea, "body": {"metadata": {"a": 1}}},
            "plugins_settings_list": tea,
            "plugins_settings_retrieve": {**tea, "key": "CUPS"},
            "plugins_settings_update": {**tea, "key": "CUPS", "body": {"value": "2"}},
            "plugins_settings_partial_update": {**tea, "key": "cups", "body": {"value": 3}},
            "plugins_user_settings_list": tea,
            "plugins_user_settings_retrieve": {**tea, "key": "NOTE"},
            "plugins_user_settings_update": {**tea, "key": "NOTE", "body": {"value": "a"}},
            "plugins_user_settings_partial_update": {**tea, "key": "NOTE", "body": {}},
            "plugins_reload_create": {},
            "plugins_destroy": {"plugin": "slow"},
        }
        for name, given in answers.items():
            row = getattr(PluginAPI, name)
            answer = getattr(api, name)(SUPERUSER, **given)
            for item in answer if row.many else [answer]:
                assert type(item) is row.answer or (item is None and row.answer is None)
                assert item is None or json.loads(json.dumps(item.to_json())) == item.to_json()
        left = {row.id for row in PluginAPI.operations} - answers.keys()
        assert all("install" in name for name in left)  # Each needs an installer.

    def test_attributes(self, api):
        """Keys of clients are attributes in Python."""
        page = api.plugins_list(SUPERUSER, limit=1)
        assert (page.count, page.next, page.previous) == (2, (1, 1), None)
        (tea,) = page.results
        assert isinstance(tea, PluginConfig)
        assert (tea.key, tea.name, tea.active, tea.is_builtin) == ("tea", "Tea", True, True)
        setting = api.plugins_settings_retrieve(SUPERUSER, plugin="tea", key="CUPS")
        assert isinstance(setting, PluginSetting)
        assert (setting.value, setting.type, setting.required) == ("1", "integer", False)
        own = api.plugins_user_settings_retrieve(Actor(9), plugin="tea", key="NOTE")
        assert isinstance(own, PluginUserSetting)
        assert (own.user, own.value) == (9, "")

    def test_bodies_are_mappings_or_models(self, api):
        """Both mean the same, and an answer may be sent back."""
        for body in ({"active": False}, PluginActivate(active=False)):
            api.plugins_activate_update(SUPERUSER, plugin="tea", body={"active": True})
            answer = api.plugins_activate_update(SUPERUSER, plugin="tea", body=body)
            assert answer == PluginActivate(active=False)
        api.plugins_activate_update(SUPERUSER, plugin="tea", body=PluginActivate())
        setting = api.plugins_settings_retrieve(SUPERUSER, plugin="tea", key="CUPS")
        changed = setting.model_copy(update={"value": "5"})
        answer = api.plugins_settings_update(SUPERUSER, plugin="tea", key="CUPS", body=changed)
        assert answer == changed
        metadata = Metadata(metadata={"a": 1})
        assert api.plugins_metadata_update(SUPERUSER, plugin="tea", body=metadata) == metadata
        assert api.plugins_reload_create(SUPERUSER) == PluginReload()

    def test_left_out_is_left_out(self, api):
        """A missing field is in no JSON; a null field is."""
        assert api.plugins_list(SUPERUSER).to_json()["next"] is None
        assert PluginActivate().to_json() == {}
        assert api.plugins_activate_update(SUPERUSER, plugin="tea").to_json() == {"active": True}

    @pytest.mark.parametrize("row", PluginAPI.operations, ids=lambda row: row.id)
    def test_parameters_that_it_does_not_have(self, api, row):
        """A name that is mistyped is a mistake in the program, and says which there are."""
        names = dict.fromkeys(row.path_parameters, "tea")
        if not row.any_query:
            with pytest.raises(TypeError, match=rf"{row.id}\(\) got \['limits'\]") as caught:
                getattr(api, row.id)(SUPERUSER, **names, limits=1)
            assert all(name in str(caught.value) for name in names)
        for name in names:
            left = {item: value for item, value in names.items() if item != name}
            with pytest.raises(TypeError, match=rf"{row.id}\(\) lacks \['{name}'\]"):
                getattr(api, row.id)(SUPERUSER, **left)

    def test_only_the_actor_comes_by_place(self, api):
        """Two texts in the wrong order would be another plugin's setting."""
        with pytest.raises(TypeError):
            api.plugins_retrieve(SUPERUSER, "tea")


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "kind", "status", "errors"),
        [
            (
                lambda api: api.plugins_list(SUPERUSER, limit="x"),
                InvalidError,
                400,
                {"limit": ["Must be a whole number, 1 or more."]},
            ),
            (
                lambda api: api.plugins_metadata_update(SUPERUSER, plugin="tea", body={}),
                InvalidError,
                400,
                {"metadata": ["This field is required."]},
            ),
            (
                lambda api: api.plugins_list(Actor.anonymous()),
                NotAuthenticatedError,
                401,
                {"detail": ["Authentication credentials were not provided."]},
            ),
            (
                lambda api: api.plugins_status_retrieve(Actor(7, is_staff=True)),
                PermissionDeniedError,
                403,
                {"detail": ["You do not have permission to perform this action."]},
            ),
            (
                lambda api: api.plugins_settings_list(SUPERUSER, plugin="slow"),
                NotFoundError,
                404,
                {"detail": ["Plugin 'slow' is not active"]},
            ),
        ],
    )
    def test_attributes(self, api, call, kind, status, errors):
        """An error has the answer for clients: its status, and sentences by field."""
        with pytest.raises(kind) as caught:
            call(api)
        error = caught.value

        assert isinstance(error, APIError)
        assert (error.status, error.errors) == (status, errors)
        assert error.code == kind.code
        assert str(status) in str(error)

    def test_before_and_after(self):
        """Without a loaded registry nothing can be answered, and asking again may help."""
        registry = PluginRegistry("shop", builtin=[("tea", Tea)])
        api = PluginAPI(registry)
        every = {"plugin": "tea", "key": "CUPS", "feature": "panel"}
        reading = [row for row in PluginAPI.operations if row.method == "GET"]

        def check():
            for row in reading:
                names = {name: every[name] for name in row.path_parameters}
                with pytest.raises(UnavailableError) as caught:
                    getattr(api, row.id)(SUPERUSER, **names)
                assert caught.value.body == {"detail": "Plugin registry is not loaded"}
            with pytest.raises(UnavailableError):
                api.plugins_activate_update(SUPERUSER, plugin="tea")
            with pytest.raises(NotAuthenticatedError):
                api.plugins_list(None)

        check()
        registry.load()
        assert api.plugins_list(SUPERUSER).count == 1
        registry.close()
        check()

    def test_a_storage_that_is_gone(self, api, registry, storage):
        """Writing is refused with 503, shows no place, and changes nothing; reading goes on."""
        storage.is_gone = True
        tea = {"plugin": "tea"}
        for name, given in {
            "plugins_activate_update": {**tea, "body": {"active": False}},
            "plugins_settings_update": {**tea, "key": "CUPS", "body": {"value": 9}},
            "plugins_user_settings_update": {**tea, "key": "NOTE", "body": {"value": "x"}},
            "plugins_metadata_update": {**tea, "body": {"metadata": {"a": 1}}},
            "plugins_destroy": {"plugin": "slow"},
        }.items():
            with pytest.raises(UnavailableError) as caught:
                getattr(api, name)(SUPERUSER, **given)
            assert caught.value.status == 503
            assert caught.value.body == {"detail": "Plugin storage is not available"}
            assert caught.value.__suppress_context__

        assert registry.get("tea").active
        assert api.plugins_settings_retrieve(SUPERUSER, **tea, key="CUPS").value == "1"
        assert api.plugins_metadata_retrieve(SUPERUSER, **tea).metadata == {}
        assert api.plugins_list(SUPERUSER).count == 2
        storage.is_gone = False
        assert api.plugins_metadata_update(SUPERUSER, **tea, body={"metadata": {"a": 1}})

    def test_an_outage_is_logged_once_with_its_cause(self, api, storage, caplog):
        """Not for each request; and once more when an operation that had failed succeeds."""
        caplog.set_level(logging.INFO, "plugreg")
        tea = {"plugin": "tea"}
        setting = {**tea, "key": "CUPS", "body": {"value": 9}}
        for _ in range(2):
            caplog.clear()
            storage.is_gone = True
            for _ in range(5):
                with pytest.raises(UnavailableError):
                    api.plugins_settings_update(SUPERUSER, **setting)
                with pytest.raises(UnavailableError):
                    api.plugins_metadata_update(SUPERUSER, **tea, body={"metadata": {"a": 1}})
                # It needs no storage, so that it says nothing of one.
                api.plugins_list(SUPERUSER)
            (message,) = caplog.messages
            assert "no such device" in message
            storage.is_gone = False
            for _ in range(5):
                api.plugins_settings_update(SUPERUSER, **setting)
            assert len(caplog.messages) == 2

    def test_each_outage_is_logged_whatever_failed_in_the_last_one(self, api, storage, caplog):
        """An operation that failed once need not be asked for again."""
        caplog.set_level(logging.INFO, "plugreg")
        tea = {"plugin": "tea"}
        setting = {**tea, "key": "CUPS", "body": {"value": 9}}
        metadata = {**tea, "body": {"metadata": {"a": 1}}}
        storage.is_gone = True
        with pytest.raises(UnavailableError):
            api.plugins_settings_update(SUPERUSER, **setting)
        storage.is_gone = False
        api.plugins_metadata_update(SUPERUSER, **metadata)
        assert len(caplog.messages) == 2
        storage.is_gone = True
        with pytest.raises(UnavailableError):
            api.plugins_metadata_update(SUPERUSER, **metadata)
        assert len(caplog.messages) == 3
        assert "no such device" in caplog.messages[-1]

    def test_a_damaged_record_is_no_outage(self, api, storage, caplog):
        """It is logged once, and an outage beside it is logged too."""
        caplog.set_level(logging.WARNING, "plugreg")
        with storage.transaction() as transaction:
            transaction.put("metadata", "tea", {"metadata": 5})
        metadata = {"plugin": "tea", "body": {"metadata": {"a": 1}}}
        for _ in range(3):
            with pytest.raises(UnavailableError):
                api.plugins_metadata_update(SUPERUSER, **metadata)
            api.plugins_activate_update(SUPERUSER, plugin="tea", body={"active": True})
        (message,) = caplog.messages
        assert "'tea' of table 'metadata' is damaged" in message
        storage.is_gone = True
        with pytest.raises(UnavailableError):
            api.plugins_activate_update(SUPERUSER, plugin="tea", body={"active": False})
        assert len(caplog.messages) == 2

    def test_a_registry_that_is_busy(self, api, registry):
        """A change that must wait too long for another is refused with 409; reading goes on."""
        Blocking.started.clear()
        Blocking.go_on.clear()
        thread = threading.Thread(target=registry.activate, args=["slow"])
        thread.start()
        try:
            assert Blocking.started.wait(30)
            for name, given in {
                "plugins_reload_create": {},
                "plugins_activate_update": {"plugin": "tea", "body": {"active": False}},
            }.items():
                with pytest.raises(ConflictError) as caught:
                    getattr(api, name)(SUPERUSER, **given)
                assert caught.value.status == 409
                assert caught.value.body == {"detail": "Plugin registry is currently loading"}
            assert api.plugins_settings_retrieve(SUPERUSER, plugin="tea", key="CUPS").value == "1"
        finally:
            Blocking.go_on.set()
            thread.join()
        assert api.plugins_reload_create(SUPERUSER) == PluginReload()


class Greeting(Model):
    """A host's function."""

    text: str


def greet(call):
    times = call.query["times"] or 1
    return Greeting(text=f"{call.actor.id}: " + f"hello {call.plugin().name} " * times)


def echo(call):
    return Greeting(text=call.fields()["text"])


class ShopAPI(PluginAPI):
    """The operations of a host that has two more."""

    shop_greet = Operation(
        method="GET",
        path="/api/plugins/{plugin}/greet/",
        access=Access(Grade.AUTHENTICATED, "g:read"),
        summary="Greet a plugin",
        handler=greet,
        answer=Greeting,
        query=(Parameter("times", int, "How often", minimum=1),),
    )
    shop_echo = Operation(
        method="PUT",
        path="/api/plugins/{plugin}/greet/",
        access=Access(Grade.STAFF, "a:staff"),
        summary="Say it",
        handler=echo,
        answer=Greeting,
        body=Greeting,
        body_required=True,
        status=202,
    )


class TestTable:
    def test_rows(self):
        """There are 24, each once, under the name by which it is called."""
        rows = PluginAPI.operations

        assert len(rows) == len({row.id for row in rows}) == 24
        assert len({(row.method, row.path) for row in rows}) == 24
        assert all(getattr(PluginAPI, row.id) is row for row in rows)

    def test_what_a_row_says(self):
        """From a row all can be made: id, method, path, query, body, answer, access, status."""
        row = PluginAPI.plugins_settings_update
        assert (row.id, row.method, row.status) == ("plugins_settings_update", "PUT", 200)
        assert row.path == "/api/plugins/{plugin}/settings/{key}/"
        assert row.path_parameters == ("plugin", "key")
        assert (row.body, row.answer, row.many) == (PluginSetting, PluginSetting, False)
        assert row.access == Access(Grade.STAFF, "a:staff")
        assert list(row.input.model_fields) == ["value"]
        query = {item.name: item.type for item in PluginAPI.plugins_settings_list_all.query}
        assert query == {
            "plugin__active": bool,
            "plugin__key": str,
            "limit": int,
            "offset": int,
        }
        gone = PluginAPI.plugins_destroy
        assert (gone.method, gone.answer, gone.status, gone.body) == ("DELETE", None, 204, None)

    def test_a_row_never_changes(self):
        """A table that changes while it is served would be several."""
        with pytest.raises(AttributeError):
            PluginAPI.plugins_list.path = "/"
        with pytest.raises(AttributeError):
            PluginAPI.plugins_list.query[0].name = "x"

    def test_a_subclass_may_take_a_row_away(self, registry):
        """An operation that a host does not serve is no method, no path and not in the document."""

        class ReadOnlyAPI(PluginAPI):
            plugins_destroy = None

        assert {row.id for row in PluginAPI.operations} - {
            row.id for row in ReadOnlyAPI.operations
        } == {"plugins_destroy"}
        assert "delete" not in ReadOnlyAPI.openapi()["paths"]["/api/plugins/{plugin}/"]
        request = Request(method="DELETE", path="/api/plugins/tea/")
        assert Responder(ReadOnlyAPI(registry)).respond(request, SUPERUSER).status == 405

    def test_adding_an_operation_is_adding_a_row(self, registry):
        """The method, its checks, the route and the document follow from it; nothing else does."""
        api = ShopAPI(registry)
        assert api.shop_greet(Actor(9), plugin="tea", times=2).text == "9: hello Tea hello Tea "
        assert api.shop_echo(SUPERUSER, plugin="tea", body={"text": "x"}) == Greeting(text="x")
        for call, kind in (
            (lambda: api.shop_greet(None, plugin="tea"), NotAuthenticatedError),
            (lambda: api.shop_greet(Actor(9), plugin="nobody"), NotFoundError),
            (lambda: api.shop_greet(Actor(9), plugin="tea", times=0), InvalidError),
            (lambda: api.shop_echo(Actor(9), plugin="tea"), PermissionDeniedError),
            (lambda: api.shop_echo(SUPERUSER, plugin="tea"), InvalidError),
        ):
            with pytest.raises(kind):
                call()
        assert api.plugins_list(Actor(9)).count == 2

        def ask(method, path, query=b"", body=b"", actor=SUPERUSER):
            request = Request(
                method=method,
                path=path,
                query=query,
                body=body,
                headers={"content-type": "application/json"},
            )
            response = Responder(api).respond(request, actor)
            return response.status, json.loads(response.body)

        path = "/api/plugins/tea/greet/"
        assert ask("GET", path, b"times=1") == (200, {"text": "7: hello Tea "})
        assert ask("PUT", path, body=b'{"text": "y"}') == (202, {"text": "y"})
        assert ask("PUT", path, body=b"{}") == (400, {"text": ["This field is required."]})
        assert ask("PUT", path, actor=Actor(9))[0] == 403
        assert ask("DELETE", path)[0] == 405

        assert set(ShopAPI.openapi()["paths"]) - set(PluginAPI.openapi()["paths"]) == {
            "/api/plugins/{plugin}/greet/"
        }
        described = ShopAPI.openapi()["paths"]["/api/plugins/{plugin}/greet/"]
        assert [parameter["name"] for parameter in described["get"]["parameters"]] == [
            "plugin",
            "times",
        ]
        assert described["put"]["operationId"] == "shop_echo"
        assert "202" in described["put"]["responses"]
        assert "Greeting" in ShopAPI.openapi()["components"]["schemas"]
        assert "Greeting" not in PluginAPI.openapi()["components"]["schemas"]


class TestRaces:
    @pytest.mark.parametrize(
        "operation", ["plugins_metadata_update", "plugins_metadata_partial_update"]
    )
    def test_a_plugin_that_goes_meanwhile_is_not_found(self, operation):
        """A plugin that goes between look-up and change is refused as if it had gone before."""

        class Tea(Plugin): ...

        with PluginRegistry("shop") as registry:
            registry.load()
            registry.register(Tea())

            def sent_late():
                registry.unregister("tea")
                return {"metadata": {"a": 1}}

            call = getattr(PluginAPI(registry), operation)
            with pytest.raises(APIError) as caught:
                call.run(Actor(1, is_superuser=True), {"plugin": "tea"}, sent_late)

        assert caught.value.status == 404
        assert caught.value.body == {"detail": "Plugin 'tea' not found"}


class TestRegisteredByHand:
    def test_what_only_the_host_can_change_is_refused(self):
        """Each operation that would change it is a 400 that says so, failed or not."""

        class Good(Plugin): ...

        class Bad(Plugin):
            @hookimpl
            def plugreg_activated(self):
                raise OSError("no")

        with PluginRegistry("shop") as registry:
            registry.load()
            registry.register(Good())
            registry.register(Bad())
            api, actor = PluginAPI(registry), Actor(1, is_superuser=True)
            for call, said in (
                (lambda: api.plugins_destroy(actor, plugin="bad"), "registered by hand"),
                (lambda: api.plugins_destroy(actor, plugin="good"), "currently active"),
                (
                    lambda: api.plugins_activate_update(actor, plugin="bad", body={}),
                    "registered by hand",
                ),
                (
                    lambda: api.plugins_activate_update(
                        actor, plugin="good", body={"active": False}
                    ),
                    "registered by hand",
                ),
            ):
                with pytest.raises(InvalidError, match=said):
                    call()
            assert set(registry.plugins) == {"good", "bad"}
            assert registry.get("good").active
