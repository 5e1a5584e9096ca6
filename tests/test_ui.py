"""UI features and admin details of the plugins in service, collected in isolation."""

from __future__ import annotations

import itertools
import json
import sys
from types import MappingProxyType

import pytest

from plugreg import Plugin
from plugreg._state.ledger import FailureLedger
from plugreg._support.redact import MASK, Scrubber
from plugreg._support.slugs import Slug
from plugreg.mixins import UserInterfaceMixin
from plugreg.plugin import bind
from plugreg.records import ActivePlugin, LoadedPlugin, PluginSpec, Snapshot, Source, Stage
from plugreg.ui import MOST_FEATURES, AdminDetails, UIFeature, UserInterface


def raising(error=None):
    def method(*_, **__):
        raise error or OSError("no")

    return method


def active(plugin, slug, enabled=("ui",)):
    spec = PluginSpec(slug=Slug(slug), name=slug, value=slug, source=Source.BUILTIN)
    loaded = LoadedPlugin(spec=spec, plugin=plugin, name=slug, title=slug, version=None)
    return ActivePlugin(
        loaded=loaded, mixins={"ui": "ui"}, enabled=frozenset(enabled), implementations=None
    )


class Interface:
    """The user interface of a snapshot with these plugins, active in this order."""

    def __init__(self, *, off=(), scrubber_of=lambda _: Scrubber(), **plugins):
        self.ledger = FailureLedger(scrubber_of=scrubber_of)
        self.active = {
            slug: active(plugin, slug, () if slug in off else ("ui",))
            for slug, plugin in plugins.items()
        }
        shown = tuple(plugin for slug, plugin in plugins.items() if slug not in off)
        snapshot = Snapshot(active=self.active, by_mixin={"ui": shown})
        self.ui = UserInterface(lambda: snapshot, self.ledger, scrubber_of)

    def features(self, feature="panel", context=None, actor=None):
        return self.ui.features(feature, context, actor)

    def keys(self, feature="panel"):
        return [(feature.plugin_name, feature.key) for feature in self.features(feature)]

    def failures(self):
        """Return slug and message of each record; all are of stage call."""
        assert {failure.stage for failure in self.ledger.all()} <= {Stage.CALL}
        return [(failure.slug, failure.message) for failure in self.ledger.all()]


def shows(*features, **members):
    """Make a plugin that returns these panels as a list, or the result of its only argument."""

    def get_ui_panels(self, request, context, **_):
        return features[0]() if callable(features[0]) else list(features)

    return type(
        "Shows", (UserInterfaceMixin, Plugin), {"get_ui_panels": get_ui_panels, **members}
    )()


GETTERS = {
    "spotlight_action": "get_ui_spotlight_actions",
    "dashboard": "get_ui_dashboard_items",
    "panel": "get_ui_panels",
    "template_editor": "get_ui_template_editors",
    "template_preview": "get_ui_template_previews",
    "navigation": "get_ui_navigation_items",
}


class TestFeatures:
    def test_everything_a_feature_says(self):
        """Strings are plain; plugin and type are the slug and the type that was asked for."""
        interface = Interface(
            tea=shows(
                {
                    "key": 5,
                    "title": "Tea",
                    "description": "Hot",
                    "icon": "cup",
                    "source": "/static/tea.js:render",
                    "options": {"width": 2},
                    "context": {"items": [1, {"a": None}]},
                    "plugin_name": "other",
                    "feature_type": "dashboard",
                }
            )
        )
        assert interface.features() == (
            UIFeature(
                plugin_name="tea",
                feature_type="panel",
                key="5",
                title="Tea",
                description="Hot",
                icon="cup",
                source="/static/tea.js:render",
                options={"width": 2},
                context={"items": [1, {"a": None}]},
            ),
        )
        assert interface.failures() == []

    def test_what_was_not_given(self):
        """Absent texts are None and absent objects are empty, whether left out or None."""
        nothing = dict.fromkeys(("title", "description", "icon", "source", "options", "context"))
        interface = Interface(tea=shows({"key": "a"}, {"key": "b", **nothing}))
        for feature in interface.features():
            assert (feature.title, feature.description, feature.icon, feature.source) == (None,) * 4
            assert (feature.options, feature.context) == ({}, {})

    @pytest.mark.parametrize("feature", GETTERS)
    def test_each_type_has_its_getter(self, feature):
        """The six types of section 12 reach the six methods, and no other."""
        members = {
            getter: lambda self, request, context, of=name, **_: [{"key": of}]
            for name, getter in GETTERS.items()
        }
        interface = Interface(tea=shows({"key": "x"}, **members))
        assert interface.keys(feature) == [("tea", feature)]

    def test_an_unknown_type_is_empty_and_no_fault(self):
        """Nothing is logged or recorded for it."""
        interface = Interface(tea=shows({"key": "a"}))
        assert interface.features("hologram") == ()
        assert interface.failures() == []

    def test_a_plugin_may_have_types_of_its_own(self):
        """Overriding get_ui_features is enough."""

        def get_ui_features(self, feature_type, context, request, **_):
            return [{"key": feature_type}]

        interface = Interface(tea=shows({"key": "a"}, get_ui_features=get_ui_features))
        assert interface.keys("hologram") == [("tea", "hologram")]

    def test_order(self):
        """Plugins in activation order, features in the plugin's own."""
        interface = Interface(z=shows({"key": "2"}, {"key": "1"}), a=shows({"key": "3"}))
        assert interface.keys() == [("z", "2"), ("z", "1"), ("a", "3")]

    def test_only_plugins_that_have_the_capability_are_asked(self):
        """A switched-off one, or one without the mixin, is left out."""
        interface = Interface(tea=shows({"key": "a"}), milk=shows({"key": "b"}), off={"tea"})
        assert interface.keys() == [("milk", "b")]

    @pytest.mark.parametrize(
        "make",
        [
            lambda: ({"key": "a"}, {"key": "b"}),
            lambda: ({"key": key} for key in "ab"),
            lambda: [MappingProxyType({"key": key}) for key in "ab"],
        ],
    )
    def test_any_iterable_of_mappings(self, make):
        """A tuple, a generator and other mappings than dict will do."""
        interface = Interface(tea=shows(make))
        assert interface.keys() == [("tea", "a"), ("tea", "b")]
        assert interface.failures() == []

    def test_request_and_context(self):
        """A plugin decides by actor, feature and parameters which features it shows."""
        actor = object()

        def get_ui_panels(self, request, context, **_):
            assert request.actor is actor
            return [{"key": f"{request.feature} {request.params['pk']} {context['pk']}"}]

        interface = Interface(tea=shows({"key": "a"}, get_ui_panels=get_ui_panels))
        (feature,) = interface.features(context={"pk": "7"}, actor=actor)
        assert feature.key == "panel 7 7"

    def test_what_one_plugin_does_to_the_parameters_no_other_sees(self):
        """Each gets its own; the caller's mapping is not touched either."""

        def vandal(self, request, context, **_):
            context.clear()
            request.params.clear()
            return []

        def shown(self, request, context, **_):
            return [{"key": f"{request.params['pk']} {context['pk']}"}]

        interface = Interface(
            bad=shows({}, get_ui_panels=vandal), tea=shows({}, get_ui_panels=shown)
        )
        given = {"pk": "7"}
        assert [feature.key for feature in interface.features(context=given)] == ["7 7"]
        assert given == {"pk": "7"}

    def test_the_plugins_own_dict_is_not_changed_and_not_kept(self):
        """It is copied, so that neither side can change the other's."""
        own = {"key": "a", "options": {"sizes": [1]}}
        before = json.dumps(own)
        interface = Interface(tea=shows(own))
        (feature,) = interface.features()
        assert json.dumps(own) == before
        feature.options["sizes"].append(2)
        assert json.dumps(own) == before


class Vague(dict):
    get = raising(SystemExit(1))


class TestFeatureFaults:
    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    def test_a_plugin_that_raises_costs_its_own_features(self, error):
        """The others' are all there, and a record names the feature."""
        interface = Interface(
            a=shows({"key": "1"}), bad=shows(raising(error)), c=shows({"key": "2"})
        )
        assert interface.keys() == [("a", "1"), ("c", "2")]
        ((slug, message),) = interface.failures()
        assert slug == "bad"
        assert "panel" in message
        assert type(error).__name__ in message

    def test_a_plugin_that_fails_halfway_is_left_out(self):
        """Half of its features might mean something else than all of them."""

        def half():
            yield {"key": "1"}
            raise OSError("no")

        interface = Interface(bad=shows(half), tea=shows({"key": "2"}))
        assert interface.keys() == [("tea", "2")]
        assert [slug for slug, _ in interface.failures()] == ["bad"]

    @pytest.mark.parametrize(
        "answer", [None, 5, raising(), type("Odd", (), {"__iter__": raising()})()]
    )
    def test_an_answer_that_is_no_iterable(self, answer):
        """It is a fault, not an empty answer."""
        interface = Interface(bad=shows(lambda: answer), tea=shows({"key": "2"}))
        assert interface.keys() == [("tea", "2")]
        assert [slug for slug, _ in interface.failures()] == ["bad"]

    @pytest.mark.parametrize(
        "bad",
        [
            "text",
            None,
            {},
            {"key": ""},
            {"key": None},
            {"key": "a", "title": type("Bad", (), {"__str__": raising()})()},
            {"key": "a", "options": [1]},
            {"key": "a", "options": {"a": object()}},
            {"key": "a", "context": {"a": float("nan")}},
            {"key": "a", "context": {"a": {1, 2}}},
            Vague(key="a"),
        ],
        ids=range(11),
    )
    def test_a_feature_that_is_none_costs_itself_alone(self, bad):
        """The plugin's other features, and all later plugins', are there."""
        interface = Interface(tea=shows({"key": "1"}, bad, {"key": "2"}), milk=shows({"key": "3"}))
        assert interface.keys() == [("tea", "1"), ("tea", "2"), ("milk", "3")]
        ((slug, message),) = interface.failures()
        assert slug == "tea"
        assert "panel" in message

    def test_cyclic_data(self):
        """JSON cannot hold it."""
        cyclic = {}
        cyclic["me"] = cyclic
        interface = Interface(tea=shows({"key": "1", "context": cyclic}))
        assert interface.keys() == []
        assert len(interface.failures()) == 1

    def test_a_fault_repeated_is_counted(self):
        """The page asked for again makes no new record."""
        interface = Interface(bad=shows(raising()))
        for _ in range(5):
            interface.features()
        (failure,) = interface.ledger.all()
        assert failure.count == 5

    def test_an_interrupt_passes(self):
        """Ctrl-C is nobody's fault."""
        with pytest.raises(KeyboardInterrupt):
            Interface(bad=shows(raising(KeyboardInterrupt()))).features()


class Context:
    slug = Slug("tea")


def admin_of(scrubber_of=lambda _: Scrubber(), **members):
    plugin = type("Tea", (Plugin,), members)()
    bind(plugin, Context())
    interface = Interface(scrubber_of=scrubber_of, tea=plugin)
    return interface, interface.ui.admin(interface.active["tea"])


class TestAdmin:
    def test_without_anything(self):
        """Both are None."""
        assert admin_of()[1] == AdminDetails(source=None, context=None)

    def test_source_is_made_of_slug_and_file(self):
        """ADMIN_SOURCE gives the address, by the slug and not by SLUG."""
        _, details = admin_of(ADMIN_SOURCE="admin.js", SLUG="Other")
        assert details.source == "/static/plugins/tea/admin.js"

    @pytest.mark.parametrize("context", [{"a": [1, None]}, [1], "text", 5, None])
    def test_context_is_any_json_value(self, context):
        """It is given on as a copy."""
        _, details = admin_of(get_admin_context=lambda self: context)
        assert details.context == context
        if isinstance(context, (dict, list)):
            assert details.context is not context

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    @pytest.mark.parametrize("method", ["get_admin_source", "get_admin_context"])
    def test_what_fails_is_none_and_a_record(self, method, error):
        """The other one is still there."""
        working = {"ADMIN_SOURCE": "a.js", "get_admin_context": lambda self: "context"}
        interface, details = admin_of(**{**working, method: raising(error)})
        ((slug, message),) = interface.failures()
        assert slug == "tea"
        assert method in message
        if method == "get_admin_source":
            assert details == AdminDetails(source=None, context="context")
        else:
            assert details == AdminDetails(source="/static/plugins/tea/a.js", context=None)

    @pytest.mark.parametrize("context", [object(), {1, 2}, float("inf")])
    def test_a_context_that_json_cannot_hold_is_none_and_a_record(self, context):
        """It would break the answer of every adapter."""
        interface, details = admin_of(get_admin_context=lambda self: context)
        assert details.context is None
        assert [slug for slug, _ in interface.failures()] == ["tea"]

    def test_a_plugin_of_another_host_has_none(self):
        """Without the base class nothing is asked, not even for the class."""

        class Plain:
            @property
            def __class__(self):
                raise OSError("no")

            get_admin_source = get_admin_context = pytest.fail

        interface = Interface(tea=Plain())
        assert interface.ui.admin(interface.active["tea"]) == AdminDetails()


SECRET = "s3cret-canary"


def scrubber_of(slug):
    return Scrubber([SECRET] if slug == "tea" else [])


class TestProtectedValues:
    """A plugin's features hold none of its own protected values."""

    def test_of_features(self):
        """Every text of a feature, keys of its objects included; the rest is as it was."""
        interface = Interface(
            scrubber_of=scrubber_of,
            tea=shows(
                {
                    "key": f"key {SECRET}",
                    "title": f"<{SECRET}>",
                    "description": SECRET,
                    "icon": SECRET,
                    "source": f"/static/tea.js?{SECRET}",
                    "options": {"width": 2, SECRET: [SECRET]},
                    "context": {"a": [{"b": f"Bearer {SECRET}"}], "ready": True},
                }
            ),
        )
        assert interface.features() == (
            UIFeature(
                plugin_name="tea",
                feature_type="panel",
                key="key ***",
                title="<***>",
                description=MASK,
                icon=MASK,
                source="/static/tea.js?***",
                options={"width": 2, MASK: [MASK]},
                context={"a": [{"b": "Bearer ***"}], "ready": True},
            ),
        )
        assert interface.failures() == []

    def test_of_admin_details(self):
        """Source and context, whatever the context's shape."""
        members = {
            "get_admin_source": lambda self: f"/a.js?{SECRET}",
            "get_admin_context": lambda self: [{"key": SECRET}, 5],
        }
        _, details = admin_of(scrubber_of, **members)
        assert details == AdminDetails(source="/a.js?***", context=[{"key": MASK}, 5])

    def test_of_faults(self):
        """The message of an exception is scrubbed by the ledger."""
        interface = Interface(scrubber_of=scrubber_of, tea=shows(raising(OSError(SECRET))))
        assert interface.features() == ()
        ((_, message),) = interface.failures()
        assert message.endswith("OSError: ***")

    def test_others_texts_stay(self):
        """A plugin that shows the same word by chance shows it."""
        interface = Interface(scrubber_of=scrubber_of, milk=shows({"key": SECRET}))
        assert interface.keys() == [("milk", SECRET)]

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1)])
    def test_without_a_scrubber_nothing_is_shown(self, error):
        """A value that cannot be scrubbed is not shown, and is a record."""
        interface = Interface(scrubber_of=raising(error), tea=shows({"key": "a"}))
        assert interface.features() == ()
        assert [slug for slug, _ in interface.failures()] == ["tea"]
        interface, details = admin_of(raising(error), get_admin_context=lambda self: "context")
        assert details == AdminDetails()
        assert {slug for slug, _ in interface.failures()} == {"tea"}

    def test_what_is_too_deep_to_be_looked_through(self):
        """It costs the feature, as a value does that JSON cannot hold."""
        deep = []
        # JSON itself must still be able to hold it, and counts its levels apart from 3.12 on.
        for _ in range(600 if sys.version_info < (3, 12) else 3_000):
            deep = [deep]
        interface = Interface(
            scrubber_of=scrubber_of, tea=shows({"key": "1", "options": {"a": deep}}, {"key": "2"})
        )
        assert interface.keys() == [("tea", "2")]
        ((slug, message),) = interface.failures()
        assert slug == "tea"
        assert "'options' of a ui feature must be nested less deep" in message


class TestEndless:
    @pytest.mark.parametrize("feature", [{"key": "a"}, None], ids=["features", "no features"])
    def test_a_generator_without_an_end_is_ended(self, feature):
        """It costs its plugin's features and is a failure; the others are shown."""

        class Endless(UserInterfaceMixin, Plugin):
            def get_ui_panels(self, request, context, **_):
                return itertools.repeat(feature)

        interface = Interface(endless=Endless(), other=shows({"key": "b"}))

        assert interface.keys() == [("other", "b")]
        assert f"gave more than {MOST_FEATURES} features" in str(interface.failures())

    def test_the_most_that_may_be_shown(self):
        """The limit itself is allowed."""
        interface = Interface(
            many=shows(*({"key": str(number)} for number in range(MOST_FEATURES)))
        )

        assert len(interface.keys()) == MOST_FEATURES
        assert interface.failures() == []
