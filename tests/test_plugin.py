"""Plugin: attributes of a class, final members, and binding to a registry."""

# Class attributes are written here as plugin authors write them.

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

import pytest

from plugreg._support.slugs import Slug
from plugreg.exceptions import PluginNotBoundError, PlugregError
from plugreg.mixins import (
    ActionMixin,
    EventMixin,
    MailMixin,
    NavigationMixin,
    NotificationMixin,
    ScheduleMixin,
    SettingsMixin,
    UrlsMixin,
    UserInterfaceMixin,
    ValidationMixin,
)
from plugreg.plugin import Plugin, bind, unbind

FINAL = (
    "slug",
    "name",
    "title",
    "logger",
    "get_setting",
    "set_setting",
    "get_user_setting",
    "set_user_setting",
    "get_metadata",
    "set_metadata",
    "check_settings",
)


STATED = (
    *("NAME", "SLUG", "TITLE", "DESCRIPTION", "AUTHOR", "PUBLISH_DATE", "VERSION", "WEBSITE"),
    *("LICENSE", "MIN_VERSION", "MAX_VERSION", "ADMIN_SOURCE"),
)


class Context:
    """A context that keeps its values in its own dicts."""

    def __init__(self, slug="bound", **settings):
        self.slug = Slug(slug)
        self.logger = logging.getLogger(f"test.{slug}")
        self.settings = settings
        self.of_users = {}
        self.metadata = {}

    def get_setting(self, key, backup_value=None):
        return self.settings.get(key, backup_value)

    def set_setting(self, key, value):
        self.settings[key] = value

    def get_user_setting(self, key, user, backup_value=None):
        return self.of_users.get((key, user), backup_value)

    def set_user_setting(self, key, value, user):
        self.of_users[key, user] = value

    def get_metadata(self):
        return self.metadata

    def set_metadata(self, data, merge=True):
        self.metadata = {**self.metadata, **data} if merge else dict(data)


class TestNames:
    def test_slug_before_binding(self):
        """The slug is made of SLUG, else NAME, else the class's name."""

        class MyPlugin(Plugin):
            pass

        assert MyPlugin().slug == "myplugin"

        MyPlugin.NAME = "My Plugin"
        assert MyPlugin().slug == "my-plugin"

        MyPlugin.SLUG = "Mine!"
        assert MyPlugin().slug == "mine"

    def test_slug_after_binding(self):
        """Once bound the slug is the registry's, whatever the class states."""

        class Stated(Plugin):
            SLUG = "stated"

        plugin = Stated()
        bind(plugin, Context("from-entry-point"))

        assert plugin.slug == "from-entry-point"

    def test_name_and_title(self):
        """NAME and TITLE hold; the title falls back to the name, the name to the known name."""

        class Bare(Plugin):
            pass

        bare = Bare()
        assert (bare.name, bare.title) == ("Bare", "Bare")

        bind(bare, Context("bare-one"))
        assert (bare.name, bare.title) == ("bare-one", "bare-one")

        Bare.NAME = "Named"
        assert (bare.name, bare.title) == ("Named", "Named")

        Bare.TITLE = "Titled"
        assert (bare.name, bare.title) == ("Named", "Titled")

    def test_nothing_is_stated_by_default(self):
        """Every attribute of section 10 exists and says nothing."""
        for attribute in STATED:
            assert getattr(Plugin, attribute) is None


class TestFinal:
    @pytest.mark.parametrize("name", FINAL)
    def test_overriding_is_refused_when_the_class_is_made(self, name):
        """A class that overrides a final member never comes to be; the error names both."""
        with pytest.raises(TypeError) as caught:
            type("Bad", (Plugin,), {name: lambda self: None})

        assert str(caught.value) == (
            f"Plugin 'Bad' cannot override final method '{name}' from Plugin; "
            f"give the one in 'Bad' another name"
        )

    def test_overriding_through_another_base_is_refused(self):
        """A base class that comes before Plugin may not bring a final member in either."""

        class Other:
            def get_setting(self, key):
                """Return nothing."""

        with pytest.raises(TypeError, match=r"'get_setting' .* give the one in 'Other' another"):
            type("Bad", (Other, Plugin), {})

        assert type("Fine", (Plugin, Other), {})

    def test_a_string_as_name_counts_as_its_name(self):
        """``name = "…"`` in a class, or in a base before Plugin, counts as NAME."""

        class Base:
            name = "tea"

        class Direct(Plugin):
            name = "coffee"

        class Both(Plugin):
            NAME = "cocoa"
            name = "milk"

        class Below(Direct):
            name = "espresso"

        classes = (
            Direct,
            type("Mixed", (Base, Plugin), {}),
            Both,
            Below,
            type("Last", (Below,), {}),
        )

        assert [cls().name for cls in classes] == ["coffee", "tea", "cocoa", "espresso", "espresso"]
        assert [cls.NAME for cls in classes] == ["coffee", "tea", "cocoa", "espresso", "espresso"]
        assert Direct().slug == "coffee"

    def test_the_rest_may_be_overridden(self):
        """A member that is not final can be overridden, and keyword arguments reach other bases."""
        seen = []

        class Base:
            def __init_subclass__(cls, tag, **kwargs):
                super().__init_subclass__(**kwargs)
                seen.append(tag)

        class Fine(Plugin, Base, tag="x"):
            def get_admin_context(self):
                return 1

        assert Fine().get_admin_context() == 1
        assert seen == ["x"]

    def test_mixins_override_nothing_final(self):
        """All mixins can be combined with Plugin, in any order and without a constructor."""
        mixins = (
            ActionMixin,
            EventMixin,
            MailMixin,
            NavigationMixin,
            NotificationMixin,
            ScheduleMixin,
            SettingsMixin,
            UrlsMixin,
            UserInterfaceMixin,
            ValidationMixin,
        )

        for bases in ((Plugin, *mixins), (*mixins, Plugin), (*reversed(mixins), Plugin)):
            assert isinstance(type("All", bases, {})(), Plugin)
        assert all("__init__" not in vars(each) for each in (Plugin, *mixins))


class TestUnbound:
    @pytest.mark.parametrize(
        "use",
        [
            lambda plugin: plugin.logger,
            lambda plugin: plugin.get_setting("K"),
            lambda plugin: plugin.set_setting("K", 1),
            lambda plugin: plugin.get_user_setting("K", 7),
            lambda plugin: plugin.set_user_setting("K", 1, 7),
            lambda plugin: plugin.get_metadata(),
            lambda plugin: plugin.set_metadata({}),
            lambda plugin: plugin.check_settings(),
        ],
        ids=FINAL[3:],
    )
    def test_there_is_nothing_to_reach(self, use):
        """Before binding, and after unbinding, nothing of the registry can be reached."""

        class Early(Plugin):
            pass

        plugin = Early()
        with pytest.raises(PluginNotBoundError) as caught:
            use(plugin)
        assert caught.value.plugin == "Early"

        context = Context()
        bind(plugin, context)
        use(plugin)
        unbind(plugin, context)
        with pytest.raises(PluginNotBoundError):
            use(plugin)


class TestBound:
    def test_every_verb_reaches_the_context(self):
        """Values that a plugin sets with its own verbs arrive, whole and in the right place."""
        plugin, context = Plugin(), Context(A=1)
        bind(plugin, context)

        plugin.set_setting("B", 2)
        plugin.set_user_setting("C", 3, 7)
        plugin.set_metadata({"x": 1})
        plugin.set_metadata({"y": 2})

        assert context.settings == {"A": 1, "B": 2}
        assert context.of_users == {("C", 7): 3}
        assert plugin.get_metadata() == {"x": 1, "y": 2}
        assert (plugin.get_setting("A"), plugin.get_setting("Z", 5)) == (1, 5)
        assert plugin.get_user_setting("C", 7) == 3
        assert plugin.get_user_setting("C", 8, backup_value=9) == 9
        assert plugin.logger is context.logger

        plugin.set_metadata({"z": 3}, merge=False)
        assert context.metadata == {"z": 3}

    def test_binding_again(self):
        """The same context may be given twice; another is refused and changes nothing."""
        plugin, context = Plugin(), Context("first")
        bind(plugin, context)
        bind(plugin, context)

        with pytest.raises(PlugregError) as caught:
            bind(plugin, Context("second"))

        assert str(caught.value) == (
            "plugin object of class 'Plugin' is already bound to another registry, as 'first'; "
            "give each registry an object of its own"
        )
        assert plugin.slug == "first"

    def test_unbinding_makes_room(self):
        """An object let go by one registry may be bound by another; unbinding again is nothing."""
        plugin, first = Plugin(), Context("first")
        bind(plugin, first)
        unbind(plugin, first)
        unbind(plugin, first)
        bind(plugin, Context("second"))
        unbind(plugin, first)

        assert plugin.slug == "second"

    def test_only_one_of_many_registries_gets_an_object(self):
        """Registries that bind one object at the same time never both have it."""
        for _ in range(50):
            plugin, bound, start = Plugin(), [], threading.Barrier(4)

            def run(name, plugin=plugin, bound=bound, start=start):
                start.wait()
                try:
                    bind(plugin, Context(name))
                except PlugregError:
                    return
                bound.append(name)

            threads = [threading.Thread(target=run, args=(f"r{each}",)) for each in range(4)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()

            assert bound == [plugin.slug]

    def test_objects_of_one_class_do_not_share(self):
        """Binding one object leaves the class and its other objects alone."""
        first, second = Plugin(), Plugin()
        bind(first, Context("first"))

        with pytest.raises(PluginNotBoundError):
            second.get_metadata()

    def test_classes_with_ways_of_their_own(self):
        """A constructor without super(), frozen objects and slots are bound all the same."""

        class NoSuper(Plugin):
            def __init__(self):
                """Leave the bases' constructors out."""

        @dataclass(frozen=True)
        class Frozen(Plugin):
            amount: int = 3

        class Slotted(Plugin):
            __slots__ = ("amount",)

        class Strict(Plugin):
            def __setattr__(self, name, value):
                raise RuntimeError("nothing is set here")

        for cls in (NoSuper, Frozen, Slotted, Strict):
            plugin = cls()
            bind(plugin, Context("there"))
            assert plugin.slug == "there"


class TestCheckSettings:
    class Configured(SettingsMixin, Plugin):
        SETTINGS = {
            "url": {"required": True},
            "TOKEN": {"required": True, "protected": True},
            "FREE": {},
        }

    def check(self, **settings):
        plugin = self.Configured()
        bind(plugin, Context(**settings))
        return plugin.check_settings()

    def test_missing_ones_are_named(self):
        """Required settings without a value are named by key, in the order declared."""
        assert self.check(URL="", TOKEN="") == (False, ("URL", "TOKEN"))
        assert self.check(URL="x", TOKEN="") == (False, ("TOKEN",))

    def test_zero_and_false_are_values(self):
        """Only an empty value is missing."""
        assert self.check(URL=0, TOKEN=False) == (True, ())

    def test_without_settings(self):
        """A plugin that declares nothing misses nothing."""
        plugin = Plugin()
        bind(plugin, Context())

        assert plugin.check_settings() == (True, ())


class TestAdmin:
    def test_default(self):
        """Without a script there is neither an address nor a context."""
        assert (Plugin().get_admin_source(), Plugin().get_admin_context()) == (None, None)

    def test_source(self):
        """The address of the script is made of the slug, not of SLUG as written."""

        class Admin(Plugin):
            SLUG = "My Admin"
            ADMIN_SOURCE = "panel.js"

        assert Admin().get_admin_source() == "/static/plugins/my-admin/panel.js"
