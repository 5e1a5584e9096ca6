"""Capabilities: the table, the rules that read it, and each row's contract."""

# Class attributes are written here as plugin authors write them.

from __future__ import annotations

import functools
from dataclasses import FrozenInstanceError
from types import ModuleType
from typing import Protocol, runtime_checkable

import pytest

from plugreg import mixins
from plugreg.exceptions import PlugregError
from plugreg.mixins import (
    MIXINS,
    ActionMixin,
    EventMixin,
    MailMixin,
    MixinSpec,
    NavigationLink,
    NavigationMixin,
    NotificationMixin,
    ScheduleMixin,
    SettingsMixin,
    UrlsMixin,
    UserInterfaceMixin,
    ValidationMixin,
    navigation_links,
    navigation_tab_name,
    plugin_urls,
)
from plugreg.mixins._contract import contract_faults
from plugreg.mixins._spec import has, is_enabled, run_activate
from plugreg.mixins.schedule import ScheduledTask, scheduled_tasks
from plugreg.mixins.ui import FEATURE_GETTERS, UIRequest
from plugreg.mixins.validation import ValidationFault, ask_generators, ask_validators
from plugreg.plugin import Plugin

ROWS = {spec.key: spec for spec in MIXINS}


def faults_of(key, **members):
    """Return the contract's faults of a plugin of the row's class with these members."""
    row = ROWS[key]
    return list(contract_faults(row, type("Tried", (row.cls, Plugin), members)()))


def enabled(key, **members):
    """Return whether the row's rule holds for such a plugin."""
    row = ROWS[key]
    return is_enabled(row, type("Tried", (row.cls, Plugin), members)())


class TestTable:
    def test_rows(self):
        """Keys, names, switches and order are fixed, since clients and hosts rely on them."""
        assert [(spec.key, spec.human_name, spec.switch, spec.order) for spec in MIXINS] == [
            ("base", "base", None, 0),
            ("settings", "Settings", None, 10),
            ("schedule", "Schedule", "schedule", 20),
            ("urls", "URLs", "urls", 30),
            ("ui", "ui", "ui", 100),
            ("navigation", "Navigation Links", "navigation", 100),
            ("events", "Events", "events", 100),
            ("action", "Actions", None, 100),
            ("validation", "Validation", None, 100),
            ("notification", "notification", None, 100),
            ("mail", "Mail", "mail", 100),
        ]

    def test_every_class_is_exported(self):
        """The class of each row can be had from plugreg.mixins."""
        exported = {getattr(mixins, name) for name in mixins.__all__}

        assert {spec.cls for spec in MIXINS} - exported == {object}

    @pytest.mark.parametrize("row", MIXINS, ids=lambda row: row.key)
    def test_a_bare_plugin_keeps_every_contract(self, row):
        """A class that only names a mixin has it, without a fault and without a constructor."""
        plugin = type("Bare", (Plugin,) if row.cls is object else (Plugin, row.cls), {})()

        assert has(row, plugin)
        assert contract_faults(row, plugin) == ()

    def test_rules_of_a_bare_plugin(self):
        """Capabilities that bring data are on once there is some; the others always."""
        plugin = type("Bare", (Plugin, *(spec.cls for spec in MIXINS[1:])), {})()

        assert [spec.key for spec in MIXINS if not is_enabled(spec, plugin)] == [
            "settings",
            "schedule",
            "urls",
            "navigation",
        ]

    @pytest.mark.parametrize(
        ("key", "members"),
        [
            ("settings", {"SETTINGS": {"A": {}}}),
            ("settings", {"USER_SETTINGS": {"A": {}}}),
            ("schedule", {"SCHEDULED_TASKS": {"t": {}}}),
            ("schedule", {"get_scheduled_tasks": lambda self: {"t": {}}}),
            ("urls", {"URLS": [("a", "b")]}),
            ("urls", {"setup_urls": lambda self: [("a", "b")]}),
            ("navigation", {"NAVIGATION": [{}]}),
        ],
    )
    def test_rules_of_a_plugin_with_data(self, key, members):
        """Each kind of data alone switches its capability on."""
        assert enabled(key, **members)


class TestSpec:
    def test_key_is_lower_case(self):
        """However a host writes the key, it is known by one form."""
        assert MixinSpec(key=" Label ", human_name="Labels", cls=object).key == "label"

    def test_a_row_does_not_change(self):
        """A row is a value."""
        with pytest.raises(FrozenInstanceError):
            ROWS["mail"].key = "other"

    def test_impossible_rows(self):
        """A row without a key or without a class is refused when it is made."""
        with pytest.raises(ValueError, match="mixin key ' ' is empty; give it a name"):
            MixinSpec(" ", "x", object)
        with pytest.raises(TypeError, match="mixin 'x': cls must be a class that plugins inherit"):
            MixinSpec("x", "x", "object")

    def test_a_protocol_that_cannot_be_asked(self):
        """One with data members, or not for run time, is refused before any plugin is loaded."""

        @runtime_checkable
        class WithData(Protocol):
            size: int

        class NotAtRunTime(Protocol):
            def print(self): ...

        @runtime_checkable
        class Printing(Protocol):
            def print(self): ...

        for protocol in (WithData, NotAtRunTime):
            with pytest.raises(TypeError, match=f"'x': nobody can ask .* {protocol.__name__!r}"):
                MixinSpec("x", "x", protocol)
        assert MixinSpec("x", "x", Printing).declared_methods() == ("print",)

    def test_modules_and_plain_objects_have_the_base_alone(self):
        """An object that is no Plugin has just the base."""
        for plugin in (ModuleType("m"), object(), MailMixin):
            assert [spec.key for spec in MIXINS if has(spec, plugin)] == ["base"]

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            (True, True),
            (False, False),
            ("attribute", True),
            ("empty", False),
            ("property", True),
            ("method", False),
            (lambda plugin: plugin.attribute, True),
            (lambda plugin: [], False),
        ],
    )
    def test_rules(self, rule, expected):
        """A rule is a constant, the name of an attribute, property or method, or a function."""

        class Some:
            attribute = "x"
            empty = ()

            @property
            def property(self):
                return self.attribute

            def method(self):
                return 0

        spec = MixinSpec("some", "Some", Some, enabled=rule)

        assert is_enabled(spec, Some()) is expected

    def test_activate_gets_full_if_it_asks_for_it(self):
        """The signature decides whether activate learns of a full reload."""
        seen = []
        for activate in (
            lambda plugin: seen.append((plugin, None)),
            lambda plugin, full: seen.append((plugin, full)),
            lambda plugin, *, full=False: seen.append((plugin, full)),
            lambda plugin, **how: seen.append((plugin, how["full"])),
        ):
            run_activate(MixinSpec("x", "x", object, activate=activate), 1, full=True)

        assert seen == [(1, None), (1, True), (1, True), (1, True)]

    def test_what_activate_raises_comes_out_once(self):
        """A TypeError from within activate is no reason to call it again."""
        calls = []

        def activate(plugin, full):
            calls.append(full)
            raise TypeError("inside")

        with pytest.raises(TypeError, match="inside"):
            run_activate(MixinSpec("x", "x", object, activate=activate), 1)
        assert calls == [False]

    def test_a_row_without_a_function_does_nothing(self):
        """There is nothing to activate then."""
        run_activate(MixinSpec("x", "x", object), 2, full=True)


class Label:
    """A host's own capability."""

    BLOCKING = True

    def print_label(self, label, copies=1, *, size="A4"):
        """Print."""

    def listen(self, event, *args, **kwargs):
        """Listen."""

    def later(self, page, **kwargs):
        """Do nothing."""

    @staticmethod
    def paper(size):
        """Return the papers."""

    @classmethod
    def make(cls, text):
        """Make one."""

    def _private(self):
        """Belong to the class alone."""


class BigLabel(Label):
    """A capability made of another."""

    def enlarge(self, factor):
        """Enlarge."""


def label_faults(cls=Label, **members):
    """Return the faults of a plugin with the host's capability and these members."""
    spec = MixinSpec("label", "Label printing", cls)
    return list(contract_faults(spec, type("Printer", (cls, Plugin), members)()))


class Raising:
    """A descriptor that must never be asked."""

    def __get__(self, instance, owner=None):
        raise AssertionError("an attribute of the plugin was evaluated")


class TestContract:
    @pytest.mark.parametrize(
        "members",
        [
            {"print_label": lambda self, label, copies=1, *, size="A4": None},
            {"print_label": lambda self, what, **options: None},
            {"print_label": lambda self, *args, **kwargs: None},
            {"print_label": lambda *args, **kwargs: None},
            {"print_label": staticmethod(lambda label, copies=2, size="": None)},
            {"print_label": classmethod(lambda cls, label, copies=2, size="": None)},
            {"print_label": functools.partial(print, 1)},
            {"print_label": functools.partialmethod(print, 1)},
            {"print_label": print},
            {"listen": lambda self, name, *rest, **more: None},
            {"later": lambda self, page: None},
            {"paper": lambda self, size: None},
            {"make": lambda self, text: None},
            {"_private": 5, "BLOCKING": None},
        ],
    )
    def test_kept(self, members):
        """Whatever can be called as declared is accepted, in whichever way it was written."""
        assert label_faults(**members) == []

    @pytest.mark.parametrize(
        ("members", "fault"),
        [
            ({"print_label": 5}, "print_label must be a method, not a 'int' object"),
            ({"print_label": None}, "print_label must be a method, not a 'NoneType' object"),
            (
                {"print_label": property(lambda self: 1 / 0)},
                "print_label must be a method, not a 'property' object",
            ),
            (
                {"print_label": functools.cached_property(lambda self: 1 / 0)},
                "print_label must be a method, not a 'cached_property' object",
            ),
            *(
                (
                    {"print_label": method},
                    "print_label must accept the arguments (label, copies=1, *, size='A4')",
                )
                for method in (
                    lambda self, label: None,
                    lambda self, label, number=1, *, size="A4": None,
                    lambda self, label, copies, size, more: None,
                    lambda self: None,
                    lambda: None,
                    lambda *, label: None,
                )
            ),
            (
                {"listen": lambda self, event: None},
                "listen must accept the arguments (event, *args, **kwargs)",
            ),
            (
                {"listen": lambda self, event, *args: None},
                "listen must accept the arguments (event, *args, **kwargs)",
            ),
            ({"paper": staticmethod(lambda: None)}, "paper must accept the arguments (size)"),
            ({"make": classmethod(lambda cls: None)}, "make must accept the arguments (text)"),
            (
                {"later": lambda self, **kw: None},
                "later must accept the arguments (page, **kwargs)",
            ),
        ],
    )
    def test_broken(self, members, fault):
        """A method that cannot be called as declared is one fault that names the attribute."""
        assert label_faults(**members) == [fault]

    def test_every_fault_and_every_base(self):
        """All faults come at once, those of the capability's own bases included."""
        assert label_faults(BigLabel, print_label=1, enlarge=2) == [
            "print_label must be a method, not a 'int' object",
            "enlarge must be a method, not a 'int' object",
        ]

    def test_wrapped_methods_are_seen_through(self):
        """A decorator that uses functools.wraps hides neither a fit nor a fault."""

        def wrapped(function):
            @functools.wraps(function)
            def inner(*args, **kwargs):
                return function(*args, **kwargs)

            return inner

        assert label_faults(later=wrapped(lambda self, page: None)) == []
        assert len(label_faults(later=wrapped(lambda self: None))) == 1

    def test_functions_on_the_object_get_no_self(self):
        """A function stored on the object itself is compared as it will be called."""
        spec = MixinSpec("label", "Label printing", Label)
        plugin = Label()
        plugin.later = lambda page: None
        assert contract_faults(spec, plugin) == ()

        plugin.later = lambda: None
        assert contract_faults(spec, plugin) == (
            "later must accept the arguments (page, **kwargs)",
        )

    def test_nothing_of_the_plugin_is_evaluated(self):
        """Properties and descriptors, declared ones and others, are never read."""

        class Hostile(Label):
            other = Raising()
            print_label = Raising()

            @property
            def __class__(self):
                raise AssertionError("the plugin was asked for its class")

            def __getattr__(self, name):
                raise AssertionError(f"{name} was asked for")

        spec = MixinSpec("label", "Label printing", Label)
        assert not has(ROWS["mail"], Hostile())

        assert has(spec, Hostile())
        assert contract_faults(spec, Hostile()) == ()

    def test_the_check_of_the_row_is_asked_last(self):
        """A host's own check adds its sentences; its exceptions pass."""
        spec = MixinSpec("label", "Labels", Label, check=lambda plugin: iter(["BLOCKING is odd"]))
        plugin = type("Printer", (Label,), {"later": 1})()

        assert contract_faults(spec, plugin) == (
            "later must be a method, not a 'int' object",
            "BLOCKING is odd",
        )
        with pytest.raises(ZeroDivisionError):
            contract_faults(MixinSpec("x", "x", Label, check=lambda plugin: 1 / 0), plugin)

    @pytest.mark.parametrize(
        ("key", "members", "fault"),
        [
            (
                "events",
                {"process_event": lambda self, event: None},
                "process_event must accept the arguments (event, *args, **kwargs)",
            ),
            (
                "events",
                {"wants_process_event": True},
                "wants_process_event must be a method, not a 'bool' object",
            ),
            (
                "action",
                {"perform_action": lambda self: None},
                "perform_action must accept the arguments (user=None, data=None)",
            ),
            ("action", {"ACTION_NAME": 5}, "ACTION_NAME must be a string or None, not 5"),
            (
                "notification",
                {"filter_targets": lambda self: None},
                "filter_targets must accept the arguments (targets)",
            ),
            (
                "notification",
                {"send_notification": lambda self, target: None},
                "send_notification must accept the arguments (target, category, users, context)",
            ),
            (
                "mail",
                {"process_mail_out": lambda self: None},
                "process_mail_out must accept the arguments (mail)",
            ),
            (
                "mail",
                {"process_mail_in": "x"},
                "process_mail_in must be a method, not a 'str' object",
            ),
            (
                "ui",
                {"get_ui_panels": lambda self, request: None},
                "get_ui_panels must accept the arguments (request, context, **kwargs)",
            ),
            (
                "validation",
                {"raise_error": None},
                "raise_error must be a method, not a 'NoneType' object",
            ),
            (
                "validation",
                {"validate_name": "x"},
                "validate_name must be a method, not a 'str' object",
            ),
            (
                "validation",
                {"generate_code": property(lambda self: 1 / 0)},
                "generate_code must be a method, not a 'property' object",
            ),
            (
                "settings",
                {"SETTINGS": {"A": {"hidden": 1}}},
                "SETTINGS['A']: field 'hidden' must be True or False, not 1",
            ),
            (
                "settings",
                {"USER_SETTINGS": []},
                "USER_SETTINGS must be a dict of key to definition, not 'list'",
            ),
            ("urls", {"URLS": "abc"}, "URLS must be a list or tuple, not 'abc'"),
            (
                "urls",
                {"setup_urls": lambda self: "abc"},
                "setup_urls() must return a list, a tuple or None, not 'abc'",
            ),
            ("navigation", {"NAVIGATION": {}}, "NAVIGATION must be a list of links, not {}"),
            (
                "navigation",
                {"NAVIGATION": ["x"]},
                "NAVIGATION[0] must be a dict with 'name' and 'link', not 'x'",
            ),
            ("navigation", {"NAVIGATION": [{"link": "/"}]}, "NAVIGATION[0]: 'name' is missing"),
            (
                "navigation",
                {"NAVIGATION": [{"name": "a", "link": "/"}, {"name": "b"}]},
                "NAVIGATION[1]: 'link' is missing",
            ),
            (
                "navigation",
                {"NAVIGATION": [{"name": "a", "link": None}]},
                "NAVIGATION[0]: 'link' must be a string, not None",
            ),
            (
                "navigation",
                {"NAVIGATION": [{"name": "a", "link": "/", "icon": 5}]},
                "NAVIGATION[0]: 'icon' must be a string, not 5",
            ),
            (
                "navigation",
                {"NAVIGATION_TAB_NAME": 5},
                "NAVIGATION_TAB_NAME must be a string or None, not 5",
            ),
            (
                "navigation",
                {"NAVIGATION_TAB_ICON": 5},
                "NAVIGATION_TAB_ICON must be a string or None, not 5",
            ),
        ],
    )
    def test_each_row(self, key, members, fault):
        """Each of plugreg's contracts, broken in one place, gives one sentence that names it."""
        assert faults_of(key, **members) == [fault]


class TestSchedule:
    @pytest.mark.parametrize(
        ("task", "fault"),
        [
            ({"schedule": "H"}, "Task 't' is missing 'func' parameter"),
            ({"func": "", "schedule": "H"}, "Task 't' is missing 'func' parameter"),
            ({"func": "a.b"}, "Task 't' is missing 'schedule' parameter"),
            (
                {"func": "a.b", "schedule": "XX"},
                "Task 't': Schedule 'XX' is not a valid option",
            ),
            ({"func": "a.b", "schedule": 5}, "Task 't': Schedule '5' is not a valid option"),
            ({"func": "a.b", "schedule": "i"}, "Task 't' is missing 'minutes' parameter"),
            *(
                (
                    {"func": "a.b", "schedule": "I", "minutes": minutes},
                    f"Task 't': 'minutes' must be a whole number above 0, not {minutes!r}",
                )
                for minutes in (0, -5, "5", True, 1.5)
            ),
            (
                {"func": "a.b", "schedule": "H", "repeats": "x"},
                "Task 't': 'repeats' must be a whole number, not 'x'",
            ),
            (
                {"func": 5, "schedule": "H"},
                "Task 't': 'func' must be the name of a function or method, not 5",
            ),
            (
                {"func": "absent", "schedule": "H"},
                "Task 't': 'func' 'absent' does not exist",
            ),
            (
                {"func": "trap", "schedule": "H"},
                "Task 't': 'func' 'trap' must be a method, not a 'property' object",
            ),
            (5, "Task 't' must be a dict, not 5"),
        ],
    )
    def test_faulty_task(self, task, fault):
        """Each mistake in a task gives its message, and the trap is not sprung."""
        assert faults_of(
            "schedule", SCHEDULED_TASKS={"t": task}, trap=property(lambda self: 1 / 0)
        ) == [fault]

    @pytest.mark.parametrize(
        ("tasks", "fault"),
        [
            (None, "SCHEDULED_TASKS not defined"),
            ([], "SCHEDULED_TASKS must be a dict of name to task, not a 'list' object"),
            ({5: {}}, "Task 5: the name of a task must be a string"),
        ],
    )
    def test_faulty_tasks(self, tasks, fault):
        """Tasks that are no mapping are a fault, whether declared or returned."""
        assert faults_of("schedule", SCHEDULED_TASKS=tasks) == [fault]
        assert faults_of("schedule", get_scheduled_tasks=lambda self: tasks) == [fault]

    def test_all_faults_at_once(self):
        """Every fault of every task is reported."""
        tasks = {"a": {}, "b": {"func": "x.y", "schedule": "I"}}

        assert faults_of("schedule", SCHEDULED_TASKS=tasks) == [
            "Task 'a' is missing 'func' parameter",
            "Task 'a' is missing 'schedule' parameter",
            "Task 'b' is missing 'minutes' parameter",
        ]

    def test_records(self):
        """Tasks come as records, in order, with the schedule in upper case."""

        class Busy(ScheduleMixin, Plugin):
            SCHEDULED_TASKS = {
                "tick": {"func": "tick", "schedule": "i", "minutes": 5, "repeats": 2},
                "report": {"func": "shop.report", "schedule": "D"},
            }

            def tick(self):
                """Tick."""

        assert contract_faults(ROWS["schedule"], Busy()) == ()
        tick, report = scheduled_tasks(Busy())
        assert tick == ScheduledTask(name="tick", func="tick", schedule="I", minutes=5, repeats=2)
        assert report == ScheduledTask(
            name="report", func="shop.report", schedule="D", minutes=None, repeats=-1
        )
        assert (tick.is_method, report.is_method) == (True, False)


class TestUserInterface:
    @pytest.mark.parametrize("feature_type", FEATURE_GETTERS)
    def test_each_type_reaches_its_getter(self, feature_type):
        """The features of a type are those of its getter, which gets all arguments."""

        def getter(self, request, context, **kwargs):
            return [{"key": "x", "request": request, "context": context, **kwargs}]

        plugin = type("Shown", (UserInterfaceMixin,), {FEATURE_GETTERS[feature_type]: getter})()
        request = UIRequest(actor=None, feature=feature_type, params={"a": "1"})

        assert plugin.get_ui_features(feature_type, {"a": "1"}, request, more=2) == [
            {"key": "x", "request": request, "context": {"a": "1"}, "more": 2}
        ]
        others = set(FEATURE_GETTERS) - {feature_type}
        assert all(plugin.get_ui_features(kind, {}, request) == [] for kind in others)

    def test_the_six_types(self):
        """The types and their getters are fixed."""
        assert dict(FEATURE_GETTERS) == {
            "spotlight_action": "get_ui_spotlight_actions",
            "dashboard": "get_ui_dashboard_items",
            "panel": "get_ui_panels",
            "template_editor": "get_ui_template_editors",
            "template_preview": "get_ui_template_previews",
            "navigation": "get_ui_navigation_items",
        }

    def test_by_default_nothing_is_shown(self):
        """Each type, and a type that is not known, is empty until a plugin brings some."""
        plugin = UserInterfaceMixin()

        for kind in (*FEATURE_GETTERS, "unheard-of"):
            assert plugin.get_ui_features(kind, {}, None) == []


class TestOthers:
    def test_events(self):
        """A plugin hears of every event by default, and raises if it cannot act on them."""

        class Listener(EventMixin, Plugin):
            pass

        assert Listener().wants_process_event("x") is True
        with pytest.raises(NotImplementedError) as caught:
            Listener().process_event("x", 1, a=2)
        assert str(caught.value) == (
            "plugin class 'Listener' must implement process_event(event, *args, **kwargs)"
        )

    def test_action(self):
        """An action must do something, and answers with its name, result and info."""

        class Idle(ActionMixin, Plugin):
            NAME = "Idle one"

        class Simple(ActionMixin):
            ACTION_NAME = "simple"

            def get_result(self, user=None, data=None):
                return data == 3

            def get_info(self, user=None, data=None):
                return user

        with pytest.raises(NotImplementedError) as caught:
            Idle().perform_action()
        assert str(caught.value) == (
            "plugin class 'Idle' must implement perform_action(user=None, data=None)"
        )
        assert Idle().get_response() == {"action": "Idle one", "result": False, "info": None}
        assert Simple().get_response("me", 3) == {"action": "simple", "result": True, "info": "me"}

    def test_notification(self):
        """By default everybody is a target and nothing is sent."""
        assert NotificationMixin().filter_targets([1, 2]) == [1, 2]
        assert NotificationMixin().send_notification("t", "c", [1], {}) is False

    def test_mail(self):
        """By default mail is left alone."""
        mail = {"subject": "x"}
        MailMixin().process_mail_out(mail)
        MailMixin().process_mail_in(mail)

        assert mail == {"subject": "x"}

    def test_navigation(self):
        """Links come as records; the tab is named by the plugin, else by its title."""

        class Linked(NavigationMixin, Plugin):
            TITLE = "My links"
            NAVIGATION = [
                {"name": "Home", "link": "/"},
                {"name": "Shop", "link": "/shop", "icon": "cart"},
            ]

        assert contract_faults(ROWS["navigation"], Linked()) == ()
        assert navigation_links(Linked()) == (
            NavigationLink(name="Home", link="/", icon=None),
            NavigationLink(name="Shop", link="/shop", icon="cart"),
        )
        assert navigation_tab_name(Linked()) == "My links"

        Linked.NAVIGATION_TAB_NAME = "Tab"
        assert navigation_tab_name(Linked()) == "Tab"

    def test_urls(self):
        """The result of setup_urls() goes before URLS, even if empty; items stay as written."""

        class Routed(UrlsMixin):
            URLS = [("a", "b")]

        class Made(Routed):
            def setup_urls(self):
                return []

        assert plugin_urls(Routed()) == [("a", "b")]
        assert plugin_urls(Made()) == []

    def test_settings_are_not_shared_to_be_changed(self):
        """The defaults that all plugins share cannot be written to."""
        for attribute in ("SETTINGS", "USER_SETTINGS"):
            with pytest.raises(TypeError):
                getattr(SettingsMixin, attribute)["X"] = {}


class TestValidation:
    def test_raise_error(self):
        """A plugin refuses with a fault that is a ValueError and keeps its message."""
        with pytest.raises(ValidationFault, match="too long") as caught:
            ValidationMixin().raise_error("too long")

        assert caught.value.message == "too long"
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, PlugregError)
        with pytest.raises(ValidationFault) as caught:
            ValidationMixin().raise_error({"name": "too long"})
        assert caught.value.message == {"name": "too long"}

    def test_attributes_on_the_object_are_checked_too(self):
        """An attribute that a constructor sets under such a name must be a method as well."""

        class Made(ValidationMixin, Plugin):
            def __init__(self):
                self.generate_code = 5

            def validate_name(self, name):
                """Find nothing wrong."""

        assert contract_faults(ROWS["validation"], Made()) == (
            "generate_code must be a method, not a 'int' object",
        )

    def test_validators_go_on_until_true(self):
        """Validators are asked in order; True alone ends it, and plugins without one are passed."""
        asked = []

        def saying(answer):
            def validate_name(self, name, *, strict):
                asked.append((name, strict, answer))
                return answer

            return type("Says", (ValidationMixin,), {"validate_name": validate_name})()

        plugins = [saying(None), ValidationMixin(), saying(1), saying(True), saying(False)]

        assert ask_validators(plugins, "validate_name", "n", strict=False) is True
        assert asked == [("n", False, None), ("n", False, 1), ("n", False, True)]
        assert ask_validators(plugins[:2], "validate_name", "n", strict=True) is False

    def test_a_validator_that_raises_ends_it(self):
        """An exception of a validator passes, and no other validator is called after it."""
        asked = []

        class Refuses(ValidationMixin):
            def validate_name(self, name):
                asked.append(name)
                self.raise_error("no")

        with pytest.raises(ValidationFault, match="no"):
            ask_validators([Refuses(), Refuses()], "validate_name", "n")
        assert asked == ["n"]

    def test_the_first_generator_with_an_answer_wins(self):
        """Generators are asked in order until one gives something, even if it is empty."""

        def giving(answer):
            return type("Gives", (), {"generate_code": lambda self, prefix: answer})()

        plugins = [giving(None), object(), giving(""), giving("late")]

        assert ask_generators(plugins, "generate_code", "p") == ""
        assert ask_generators(plugins[:2], "generate_code", prefix="p") is None
