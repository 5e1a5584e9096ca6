"""Loading: from a spec to a plugin object, whatever the plugin's code does meanwhile."""

from __future__ import annotations

import sys
import types
from datetime import UTC, date, datetime

import pytest

from plugreg import Plugin, hookimpl
from plugreg._lifecycle.load import Acceptance, load
from plugreg._support.slugs import Slug
from plugreg.hooks import PluginManager
from plugreg.records import HostRules, PluginSpec, PluginState, Source, Stage

has_hooks = PluginManager("shop").has_implementations
acceptance = Acceptance(has_hooks)


def loading_of(target, rules=None, acceptance=acceptance, **fields):
    """Load an object that the host gave as it is."""
    spec = PluginSpec(
        slug=Slug("tea"),
        name="Tea entry",
        value="shop_tea:Tea",
        source=Source.BUILTIN,
        target=target,
        **fields,
    )
    return load(spec, rules or HostRules(), acceptance)


def only_failure(loading, stage):
    """Return the one failure of a plugin that was not loaded, which is of this stage."""
    assert loading.loaded is None
    assert loading.held.state is PluginState.FAILED
    (failure,) = loading.failures
    assert (failure.slug, failure.stage) == ("tea", stage)
    return failure


class Tea(Plugin):
    def __init__(self, *args, **kwargs):
        self.given = (args, kwargs)


class Plain:
    @hookimpl
    def price(self):
        return 1


class TestTargets:
    def test_a_class_is_constructed_without_arguments(self):
        """A class, of plugreg's or plain, becomes an object of its own."""
        plugin = loading_of(Tea).loaded.plugin
        assert type(plugin) is Tea
        assert plugin.given == ((), {})
        assert type(loading_of(Plain).loaded.plugin) is Plain

    def test_an_instance_is_taken_as_it_is(self):
        """An object is not called, copied or made again."""
        for plugin in (Tea(), Plain()):
            assert loading_of(plugin).loaded.plugin is plugin

    def test_a_module_is_taken_as_it_is(self):
        """A module is a plugin, whether it has hook implementations or nothing at all."""
        module = types.ModuleType("shop_tea")
        assert loading_of(module).loaded.plugin is module
        module.price = hookimpl(lambda: 1)
        assert loading_of(module).loaded.plugin is module

    def test_a_class_with_a_capability_is_constructed(self):
        """A class below that of a capability is a plugin, without a base class of plugreg's."""
        mixed = Acceptance(has_hooks, lambda cls: issubclass(cls, dict))
        cls = type("Table", (dict,), {})
        table = cls()

        assert type(loading_of(cls, acceptance=mixed).loaded.plugin) is cls
        assert loading_of(table, acceptance=mixed).loaded.plugin is table

    @pytest.mark.parametrize("target", [object(), 5, "text", dict, len, lambda: None])
    def test_any_object_is_taken_as_it_is(self, target):
        """Where everything is accepted, functions and classes are values."""
        loading = loading_of(lambda: target, acceptance=Acceptance(has_hooks, accepts_any=True))
        assert loading.loaded.plugin() is target
        loading = loading_of(target, acceptance=Acceptance(has_hooks, accepts_any=True))
        assert loading.loaded.plugin is target

    def test_the_host_constructs(self):
        """With ``construct`` the host makes the objects of classes, and of nothing else."""
        made = []

        def construct(cls, spec):
            made.append((cls, spec.slug))
            return cls(1, size=2)

        constructing = Acceptance(has_hooks, construct=construct)
        tea = Tea()

        assert loading_of(Tea, acceptance=constructing).loaded.plugin.given == ((1,), {"size": 2})
        assert loading_of(tea, acceptance=constructing).loaded.plugin is tea
        assert made == [(Tea, "tea")]
        failure = only_failure(loading_of(Plain, acceptance=constructing), Stage.INIT)
        assert "Plain() takes no arguments" in failure.message

    @pytest.mark.parametrize("target", [object(), 5, "text", dict, len, lambda: None])
    def test_what_is_no_plugin_is_refused(self, target):
        """Expected, got and distribution are named; an arbitrary class is not constructed."""
        failure = only_failure(loading_of(target, distribution="shop-tea"), Stage.INIT)
        assert repr(target) in failure.message
        assert "plugreg.Plugin" in failure.message
        assert "'shop-tea'" in failure.message

    def test_nothing_is_never_a_plugin(self, site, monkeypatch):
        """An entry point that gives None is refused, whatever is accepted."""
        site.dist("shop-tea", modules={"load_none.py": "Tea = None"})
        monkeypatch.syspath_prepend(str(site))
        spec = PluginSpec(
            slug=Slug("tea"), name="tea", value="load_none:Tea", source=Source.ENTRY_POINT
        )
        loading = load(spec, HostRules(), Acceptance(has_hooks, accepts_any=True))
        assert "None is no plugin" in only_failure(loading, Stage.INIT).message
        del sys.modules["load_none"]

    @pytest.mark.parametrize("base", [Plugin, Plain])
    @pytest.mark.parametrize("given", [None, 5, object()])
    def test_a_class_that_gives_something_else_is_refused(self, base, given):
        """The return value of ``__new__`` must be a plugin too, else None would be in service."""
        cls = type("Odd", (base,), {"__new__": lambda cls: given})
        failure = only_failure(loading_of(cls), Stage.INIT)
        assert repr(given) in failure.message

    def test_an_object_that_hides_the_hooks_of_its_class_is_refused(self):
        """The object would be called, and never is."""

        class Shadow(Plain):
            def __init__(self):
                self.price = 5

        failure = only_failure(loading_of(Shadow), Stage.INIT)
        assert "is no plugin" in failure.message

    def test_import_of_module_and_attribute(self, site, monkeypatch):
        """``module:a.b`` is imported, and its attribute looked up along the dots."""
        site.dist(
            "shop-tea",
            modules={
                "load_tea.py": "from plugreg import Plugin\nclass Box:\n  class Tea(Plugin): pass"
            },
        )
        monkeypatch.syspath_prepend(str(site))
        spec = PluginSpec(
            slug=Slug("tea"),
            name="tea",
            value=" load_tea : Box.Tea [fast]",
            source=Source.ENTRY_POINT,
        )
        plugin = load(spec, HostRules(), acceptance).loaded.plugin
        assert type(plugin) is sys.modules.pop("load_tea").Box.Tea

    def test_module_of_a_folder_is_imported_under_a_private_name(self, tmp_path):
        """Two folders' modules of one name are two modules, and neither is known by that name."""
        found = []
        for folder in (tmp_path / "one", tmp_path / "two"):
            folder.mkdir()
            file = folder / "load_same.py"
            file.write_text("from plugreg import Plugin\nclass Tea(Plugin): pass\n")
            spec = PluginSpec(
                slug=Slug("tea"),
                name="tea",
                value="load_same:Tea",
                source=Source.DIRECTORY,
                path=str(file),
            )
            found.append(type(load(spec, HostRules(), acceptance).loaded.plugin))
        assert found[0] is not found[1]
        assert "load_same" not in sys.modules


class TestImportFaults:
    @pytest.mark.parametrize(
        ("source", "name"),
        [
            ("raise ImportError('gone')", "ImportError"),
            ("import sys; sys.exit(3)", "SystemExit"),
            ("def f(): f()\nf()", "RecursionError"),
            ("class A: pass\nclass B(", "SyntaxError"),
            ("raise BaseException('odd')", "BaseException"),
            ("class Tee: pass", "AttributeError"),
            ("def __getattr__(name): raise OSError(name)", "OSError"),
            ("import no_such_module_at_all", "ModuleNotFoundError"),
            ("x = '\\udc80'\nraise ValueError(x)", "ValueError"),
        ],
    )
    def test_whatever_an_import_does_is_a_fault_of_stage_import(
        self, site, monkeypatch, source, name
    ):
        """Any exception, a missing name and ``sys.exit`` are one failure each."""
        site.dist("shop-tea", modules={"load_bad.py": source})
        monkeypatch.syspath_prepend(str(site))
        spec = PluginSpec(
            slug=Slug("tea"), name="tea", value="load_bad:Tea", source=Source.ENTRY_POINT
        )
        failure = only_failure(load(spec, HostRules(), acceptance), Stage.IMPORT)
        assert failure.exception_type == name
        assert "Traceback" in failure.traceback
        failure.message.encode()
        sys.modules.pop("load_bad", None)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
    def test_what_belongs_to_the_process_passes(self, error):
        """Ctrl-C in a constructor ends the load."""

        class Bad(Plugin):
            def __init__(self):
                raise error

        with pytest.raises(error):
            loading_of(Bad)


def raising(error=None):
    def method(*_, **__):
        raise error or OSError("no")

    return method


class Meta(type):
    """A metaclass whose every look-up fails."""

    def __getattribute__(cls, name):
        raise OSError(name)


class TestConstructorFaults:
    @pytest.mark.parametrize(
        "error", [OSError("no"), SystemExit(3), RecursionError(), BaseException(), MemoryError()]
    )
    def test_whatever_a_constructor_raises_is_a_fault_of_stage_init(self, error):
        """A constructor's fault is one failure."""
        cls = type("Bad", (Plugin,), {"__init__": raising(error)})
        failure = only_failure(loading_of(cls), Stage.INIT)
        assert failure.exception_type == type(error).__name__

    def test_a_constructor_that_wants_arguments(self):
        """Arguments are never given."""
        cls = type("Bad", (Plugin,), {"__init__": lambda self, config: None})
        assert "config" in only_failure(loading_of(cls), Stage.INIT).message

    def test_an_object_that_does_not_tell_its_class(self):
        """``__class__`` is not asked: a plugin that forbids the look-up is one all the same."""
        cls = type("Shy", (Plugin,), {"__class__": property(raising())})
        assert type(loading_of(cls).loaded.plugin) is cls

    def test_an_object_that_only_claims_to_be_a_plugin_is_refused(self):
        """An object that claims to be a Plugin, and is none, would fail everywhere else."""
        cls = type("Sly", (), {"__class__": property(lambda self: Plugin)})
        only_failure(loading_of(cls()), Stage.INIT)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: type("Bad", (Plugin,), {"__new__": raising(SystemExit(2))}),
            lambda: type("Bad", (), {"__getattribute__": raising(), "__repr__": raising()})(),
            lambda: type("Bad", (), {"__dir__": raising(RecursionError())})(),
            lambda: Meta("Bad", (), {}),
        ],
        ids=["class", "object", "dir", "metaclass"],
    )
    def test_objects_that_fail_when_they_are_looked_at(self, make):
        """Hostile look-ups are a fault of the stage at which the object is looked at."""
        only_failure(loading_of(make()), Stage.INIT)

    def test_a_repr_that_fails_does_not_hide_the_refusal(self):
        """The refusal names the class then."""
        target = type("Bad", (), {"__repr__": raising()})()
        assert "Bad" in only_failure(loading_of(target), Stage.INIT).message


class TestBounds:
    @pytest.mark.parametrize("bounds", [{"MIN_VERSION": "3"}, {"MAX_VERSION": "2.3"}])
    def test_are_checked_before_the_constructor_runs(self, bounds):
        """An incompatible plugin is never constructed, and reported with its range."""
        cls = type("Old", (Plugin,), {"__init__": pytest.fail, **bounds})
        loading = loading_of(cls, HostRules(version="2.4"))
        assert loading.held.state is PluginState.INCOMPATIBLE
        (failure,) = loading.failures
        assert failure.stage is Stage.RESOLVE
        assert failure.message == loading.held.reason
        assert "2.4" in failure.message
        assert next(iter(bounds.values())) in failure.message

    @pytest.mark.parametrize("bound", ["soon", ("2", "4"), property(lambda self: "2")])
    def test_a_bound_that_cannot_be_read_is_a_failure(self, bound):
        """It is reported, not ignored, and no code of the plugin has run for it."""
        cls = type("Odd", (Plugin,), {"__init__": pytest.fail, "MIN_VERSION": bound})
        failure = only_failure(loading_of(cls, HostRules(version="2.4")), Stage.RESOLVE)
        assert "MIN_VERSION" in failure.message

    @pytest.mark.parametrize("bound", ["99", "soon"])
    def test_ignore_compatibility(self, bound):
        """The host may run it anyway."""
        cls = type("Old", (Plugin,), {"MIN_VERSION": bound})
        rules = HostRules(version="2.4", ignore_compatibility=frozenset({Slug("tea")}))
        assert loading_of(cls, rules).loaded is not None

    def test_of_plugins_for_other_hosts_are_not_looked_at(self):
        """MIN_VERSION of a class that is none of plugreg's may mean anything."""
        cls = type("Foreign", (Plain,), {"MIN_VERSION": "99"})
        assert loading_of(cls, HostRules(version="2.4")).loaded is not None


class HostileText(str):
    """A text whose methods all fail."""

    lower = strip = upper = __bool__ = __eq__ = __hash__ = raising()


class TestAttributes:
    def test_what_a_plugin_states_counts(self):
        """Each attribute of section 10 is read; a date becomes a date-time."""
        stated = {
            "NAME": "Tea",
            "TITLE": "Fine tea",
            "VERSION": "1.2",
            "DESCRIPTION": "Hot.",
            "AUTHOR": "Ann",
            "WEBSITE": "https://tea.invalid",
            "LICENSE": "MIT",
            "PUBLISH_DATE": "2025-11-01",
        }
        loaded = loading_of(type("Tea", (Plugin,), stated), version="9").loaded
        assert (loaded.name, loaded.title, loaded.version) == ("Tea", "Fine tea", "1.2")
        assert (loaded.description, loaded.author) == ("Hot.", "Ann")
        assert (loaded.website, loaded.license) == ("https://tea.invalid", "MIT")
        assert loaded.published == datetime.fromisoformat("2025-11-01")
        assert loaded.failures == ()

    def test_what_it_does_not_state_comes_from_the_spec(self):
        """Name and title are the entry point's, the version its distribution's."""
        loaded = loading_of(type("Tea", (Plugin,), {"NAME": ""}), version="9").loaded
        assert (loaded.name, loaded.title, loaded.version) == ("Tea entry", "Tea entry", "9")
        assert loaded.published is None

    def test_what_a_foreign_plugin_calls_so_is_not_read(self):
        """A plugin of another host is not asked, and its properties do not run."""
        cls = type("Foreign", (Plain,), {"NAME": property(pytest.fail), "VERSION": 5})
        loaded = loading_of(cls, version="9").loaded
        assert (loaded.name, loaded.version) == ("Tea entry", "9")
        assert loaded.failures == ()

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (date(2025, 11, 1), datetime.fromisoformat("2025-11-01")),
            (datetime(2025, 11, 1, 8, tzinfo=UTC), datetime(2025, 11, 1, 8, tzinfo=UTC)),
            ("2025-11-01T08:00:00+00:00", datetime(2025, 11, 1, 8, tzinfo=UTC)),
            ("", None),
            (None, None),
        ],
    )
    def test_dates(self, given, expected):
        """ISO text, a date and a date-time are dates."""
        loaded = loading_of(type("Tea", (Plugin,), {"PUBLISH_DATE": given})).loaded
        assert loaded.published == expected
        assert loaded.failures == ()

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("PUBLISH_DATE", "next week", "ValueError"),
            ("PUBLISH_DATE", object(), "ValueError"),
            ("TITLE", property(raising(SystemExit(1))), "SystemExit"),
            ("NAME", property(raising(RecursionError())), "RecursionError"),
            ("VERSION", 2.4, "TypeError"),
            ("AUTHOR", ["Ann"], "TypeError"),
            ("LICENSE", property(raising()), "OSError"),
        ],
    )
    def test_a_bad_one_is_a_record_and_the_plugin_is_loaded(self, name, value, error):
        """It counts as not stated; the record names attribute and error."""
        loaded = loading_of(type("Tea", (Plugin,), {name: value})).loaded
        (failure,) = loaded.failures
        assert (failure.stage, failure.slug, failure.subject) == (Stage.INIT, "tea", name)
        assert failure.exception_type == error
        assert name in failure.message
        assert (loaded.name, loaded.published) == ("Tea entry", None)

    def test_a_slug_that_differs_is_a_record(self):
        """The entry point's name is the slug; a SLUG that says otherwise is reported."""
        loaded = loading_of(type("Tea", (Plugin,), {"SLUG": "Coffee"})).loaded
        assert loaded.slug == "tea"
        (failure,) = loaded.failures
        assert failure.subject == "SLUG"
        assert "'Coffee'" in failure.message
        assert "'Tea entry'" in failure.message

    def test_a_slug_that_agrees_is_none(self):
        """SLUG is compared as a slug."""
        assert loading_of(type("Tea", (Plugin,), {"SLUG": "TEA!"})).loaded.failures == ()

    def test_texts_of_a_hostile_subclass_become_plain_texts(self):
        """Strings in records have the methods of str, and no others."""
        stated = {"NAME": HostileText("Tea"), "SLUG": HostileText("tea")}
        loaded = loading_of(type("Tea", (Plugin,), stated)).loaded
        assert type(loaded.name) is str
        assert loaded.name == "Tea"
        assert loaded.failures == ()
