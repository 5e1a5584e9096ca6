"""UI features and admin details through every adapter."""

from __future__ import annotations

import logging

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import UserInterfaceMixin

USER = Actor(7)
STAFF = Actor(8, is_staff=True)
SUPERUSER = Actor(9, is_superuser=True)
PATH = "/api/plugins/ui/features/"

GETTERS = {
    "spotlight_action": "get_ui_spotlight_actions",
    "dashboard": "get_ui_dashboard_items",
    "panel": "get_ui_panels",
    "template_editor": "get_ui_template_editors",
    "template_preview": "get_ui_template_previews",
    "navigation": "get_ui_navigation_items",
}


def feature(plugin, key, kind="panel", **fields):
    """Return a feature as it is shown: empty objects, and no string that was not given."""
    return {
        "plugin_name": plugin,
        "feature_type": kind,
        "key": key,
        "options": {},
        "context": {},
        **fields,
    }


def serving(*plugins, **options):
    registry = PluginRegistry("shop", builtin=plugins, new_plugins="active", **options)
    registry.load()
    return registry


@pytest.fixture
def ask(make_client):
    """Yield a function that asks for panels of these plugins; ``ask.client`` asks on."""
    opened = []

    def asking(*plugins, kind="panel", query=(), actor=USER, **options):
        registry = serving(*plugins, **options)
        opened.append(registry)
        asking.client = make_client(PluginAPI(registry))
        answer = asking.client("GET", f"{PATH}{kind}/", actor, query=query)
        assert answer.status == 200, answer
        return answer.body

    yield asking
    for registry in opened:
        registry.close()


def shows(name, panels):
    """Make a plugin class whose panels are those of a function of request and context."""

    class Shows(UserInterfaceMixin, Plugin):
        SLUG = name
        NAME = f"The plugin {name}"

        def get_ui_panels(self, request, context, **_):
            return panels(request, context)

    return Shows


def errors(client):
    body = client("GET", "/api/plugins/status/", SUPERUSER).body
    return [
        (failure["stage"], failure["name"], failure["message"])
        for failure in body["registry_errors"]
    ]


class TestFeatures:
    def test_everything_that_a_feature_may_say(self, ask):
        """Plugin and type are those of the system: the slug, and the requested type."""
        given = {
            "key": "a",
            "title": "Title",
            "description": "Text",
            "icon": "ti:x",
            "source": "/static/plugins/one/a.js:render",
            "options": {"icon": "x", "width": 2},
            "context": {"items": [1, None]},
            "plugin_name": "other",
            "feature_type": "dashboard",
        }
        assert ask(shows("one", lambda *_: [given])) == [
            {**given, "plugin_name": "one", "feature_type": "panel"}
        ]

    def test_what_a_feature_does_not_say(self, ask):
        """Texts are left out, also where they are None; objects are empty."""
        nothing = dict.fromkeys(("title", "description", "icon", "source", "options", "context"))
        panels = [{"key": "a"}, {"key": "b", **nothing}, {"key": 3, "title": 5}]

        assert ask(shows("one", lambda *_: panels)) == [
            feature("one", "a"),
            feature("one", "b"),
            feature("one", "3", title="5"),
        ]

    def test_a_plugins_own_dict_stays_as_it_is(self, ask):
        """Additions for the answer are made to a copy."""
        given = {"key": "a", "options": {"b": [1]}}
        ask(shows("one", lambda *_: [given]))

        assert given == {"key": "a", "options": {"b": [1]}}

    def test_by_activation_then_as_the_plugin_says(self, ask):
        """Plugins come in the order of activation, features in that of their list."""
        one = shows("one", lambda *_: [{"key": "z"}, {"key": "a"}])
        two = shows("two", lambda *_: [{"key": "m"}])

        assert [(item["plugin_name"], item["key"]) for item in ask(two, one)] == [
            ("two", "m"),
            ("one", "z"),
            ("one", "a"),
        ]

    @pytest.mark.parametrize("kind", GETTERS)
    def test_each_type_has_its_method(self, ask, kind):
        """The six types are asked for by name."""

        class Shows(UserInterfaceMixin, Plugin):
            SLUG = "one"

        setattr(Shows, GETTERS[kind], lambda self, request, context, **_: [{"key": kind}])

        assert ask(Shows, kind=kind) == [feature("one", kind, kind)]

    def test_an_unknown_type(self, ask, caplog):
        """Nobody shows anything, and that is no news for the log."""
        assert ask(shows("one", lambda *_: [{"key": "a"}]), kind="primary_action") == []
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="plugreg"):
            assert ask.client("GET", f"{PATH}primary_action/", USER).body == []
        assert [record for record in caplog.records if record.name.startswith("plugreg")] == []
        assert errors(ask.client) == []

    def test_a_type_of_a_plugins_own(self, ask):
        """A plugin that knows the type answers it."""

        class Own(UserInterfaceMixin, Plugin):
            SLUG = "one"

            def get_ui_features(self, feature_type, context, request, **kwargs):
                return [{"key": "a"}] if feature_type == "wall" else []

        assert ask(Own, kind="wall") == [feature("one", "a", "wall")]

    @pytest.mark.parametrize("of", [list, tuple, iter, lambda given: (item for item in given)])
    def test_any_iterable_counts(self, ask, of):
        """A tuple or generator is as good as a list."""
        panels = [{"key": "a"}, {"key": "b"}]

        assert ask(shows("one", lambda *_: of(panels))) == [
            feature("one", "a"),
            feature("one", "b"),
        ]

    def test_the_query_is_the_context(self, ask):
        """A plugin gets the parameters as texts, and who asks."""
        query = {"target_model": "part", "target_id": "5", "empty": "", "feature": "x"}
        panels = lambda request, context: [  # noqa: E731
            {
                "key": "a",
                "context": {
                    "context": dict(context),
                    "params": dict(request.params),
                    "actor": request.actor.id,
                    "feature": request.feature,
                },
            }
        ]
        params = {"target_model": "part", "target_id": "5", "empty": ""}

        (answer,) = ask(shows("one", panels), query=query)
        assert answer["context"] == {
            "context": params,
            "params": params,
            "actor": 7,
            "feature": "panel",
        }

    def test_a_plugin_decides_who_sees_what(self, ask):
        """The request has the grade of the caller."""
        plugin = shows("one", lambda request, _: [{"key": "a"}] * request.actor.is_superuser)

        assert ask(plugin) == []
        assert ask(plugin, actor=SUPERUSER) == [feature("one", "a")]

    def test_the_host_may_switch_it_off(self, ask):
        """Without the capability nothing is shown, and the plugin has its mixin as before."""
        assert ask(shows("one", lambda *_: [{"key": "a"}]), switches={"ui": False}) == []
        mixins = ask.client("GET", "/api/plugins/one/", USER).body["mixins"]
        assert mixins["ui"] == {"key": "ui", "human_name": "ui"}


class TestFaultsOfFeatures:
    def test_a_plugin_that_raises_is_left_out_and_named(self, ask):
        """The others are shown, and the status has one error of it."""

        def fail(*_):
            raise OSError("no panels")

        plugins = (shows("bad", fail), shows("good", lambda *_: [{"key": "a"}]))
        assert ask(*plugins) == [feature("good", "a")]
        ask.client("GET", f"{PATH}panel/", USER)
        ((stage, name, message),) = errors(ask.client)

        assert (stage, name) == ("call", "bad")
        assert "panel" in message
        assert message.endswith("OSError: no panels")
        ask.client("POST", "/api/plugins/reload/", SUPERUSER, json={"force_reload": True})
        assert errors(ask.client) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"title": "no key"},
            {"key": ""},
            {"key": "a", "options": [1]},
            {"key": "a", "context": {"when": object()}},
            {"key": "a", "context": {"n": float("nan")}},
            "text",
            None,
        ],
    )
    def test_a_feature_without_shape_costs_itself_alone(self, ask, wrong):
        """It is left out, the plugin's others are there, and it is recorded."""
        panels = [{"key": "a"}, wrong, {"key": "b"}]

        assert ask(shows("one", lambda *_: panels)) == [feature("one", "a"), feature("one", "b")]
        ((stage, name, message),) = errors(ask.client)
        assert (stage, name) == ("call", "one")
        assert "panel" in message

    def test_what_is_no_iterable(self, ask):
        """It is an error of the plugin, and no silence."""
        assert ask(shows("one", lambda *_: 5)) == []
        assert [error[:2] for error in errors(ask.client)] == [("call", "one")]


class Panel(Plugin):
    """Has no SLUG of its own."""

    NAME = "Admin Panel"
    ADMIN_SOURCE = "admin.js"

    def get_admin_context(self):
        return {"n": [1, None]}


class Bare(Plugin): ...


class BadSource(Plugin):
    NAME = "bad-source"

    def get_admin_source(self):
        raise OSError("no source")

    def get_admin_context(self):
        return "context"


class BadContext(Plugin):
    NAME = "bad-context"
    ADMIN_SOURCE = "a.js"

    def get_admin_context(self):
        raise OSError("no context")


class NoJSON(Plugin):
    NAME = "no-json"

    def get_admin_context(self):
        return {"a": object()}


class TestAdmin:
    @pytest.fixture
    def registry(self):
        with serving(Panel, Bare, BadSource, BadContext, NoJSON) as registry:
            yield registry

    def admin(self, client, slug):
        answer = client("GET", f"/api/plugins/{slug}/admin/", STAFF)
        assert answer.status == 200, answer
        return answer.body

    def test_a_script_and_its_context(self, client):
        """The address is made with the slug, whether or not SLUG is stated."""
        assert self.admin(client, "admin-panel") == {
            "source": "/static/plugins/admin-panel/admin.js",
            "context": {"n": [1, None]},
        }

    def test_a_plugin_without_a_panel(self, client):
        """Both are null, and both are there."""
        assert self.admin(client, "bare") == {"source": None, "context": None}
        assert errors(client) == []

    def test_a_plugin_that_is_off(self, client, registry):
        """It is known, so both are null; one that is not known is 404."""
        registry.deactivate("admin-panel")

        assert self.admin(client, "admin-panel") == {"source": None, "context": None}
        answer = client("GET", "/api/plugins/none/admin/", STAFF)
        assert (answer.status, set(answer.body)) == (404, {"detail"})

    def test_a_source_that_fails(self, client):
        """It is null, the context is there, and the fault is recorded."""
        assert self.admin(client, "bad-source") == {"source": None, "context": "context"}
        ((stage, name, message),) = errors(client)

        assert (stage, name) == ("call", "bad-source")
        assert message.endswith("OSError: no source")

    @pytest.mark.parametrize("slug", ["bad-context", "no-json"])
    def test_a_context_that_fails(self, client, slug):
        """It is null, no empty object, and the fault is recorded."""
        assert self.admin(client, slug)["context"] is None
        assert [error[:2] for error in errors(client)] == [("call", slug)]
