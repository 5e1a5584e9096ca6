"""Assumptions of hooks.py about pluggy's private names. Another pluggy may break it.

Each test uses plain pluggy, so that it shows a change there, not here.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pluggy
import pytest
from pluggy import HookCaller, HookImpl
from pluggy._hooks import HookSpec, _SubsetHookCaller
from pluggy._manager import PluginValidationError, _static_hook_attr

spec = pluggy.HookspecMarker("pinned")
impl = pluggy.HookimplMarker("pinned")


class Specs:
    @spec
    def plain(self, one, two=2):
        """Take one argument, and one with a default."""

    @spec(historic=True)
    def historic(self, one):
        """Reach those that come later too."""


@pytest.fixture
def manager():
    manager = pluggy.PluginManager("pinned")
    manager.add_hookspecs(Specs)
    return manager


def implementation(function, **options):
    """Return a HookImpl made as the manager makes them."""
    options = dict(impl(**options)(function).pinned_impl)
    return HookImpl(SimpleNamespace(), "name", function, options)


def test_implementations_are_told_apart_by_identity():
    """Two of the same function are two keys of a dict."""
    assert HookImpl.__eq__ is object.__eq__
    assert HookImpl.__hash__ is object.__hash__


def test_a_callers_list_can_be_assigned(manager):
    """``_hookimpls`` is a slot that may be set, and its calls go through the assigned list."""
    caller = manager.hook.plain
    new = [implementation(lambda: "called last"), implementation(lambda: "called first")]

    caller._hookimpls = new

    assert "_hookimpls" in HookCaller.__slots__
    assert not hasattr(caller, "__dict__")
    assert caller._hookimpls is new
    assert caller(one=1) == ["called first", "called last"]
    assert caller.get_hookimpls() == new
    assert caller.get_hookimpls() is not new


def test_a_call_takes_a_copy_when_it_begins(manager):
    """A list assigned during a call does not reach that call, nor does a change to the old one."""
    caller = manager.hook.plain

    def changing():
        caller._hookimpls.clear()
        caller._hookimpls = []
        return "changing"

    caller._hookimpls = [implementation(lambda: "still called"), implementation(changing)]

    assert caller(one=1) == ["changing", "still called"]
    assert caller(one=1) == []


def test_the_sections_of_the_list():
    """In a list trylast, plain, tryfirst come before the same three of wrappers of both styles."""
    manager = pluggy.PluginManager("pinned")
    manager.hook.plain = caller = HookCaller("plain", manager._hookexec)
    options = [
        {"tryfirst": True, "wrapper": True},
        {"hookwrapper": True},
        {"trylast": True, "wrapper": True},
        {"tryfirst": True},
        {},
        {"trylast": True},
    ]
    for option in options:
        caller._add_hookimpl(implementation(lambda: None, **option))

    held = [
        {key: value for key, value in hookimpl.opts.items() if value and key != "specname"}
        for hookimpl in caller._hookimpls
    ]
    assert held == options[::-1]


def test_a_caller_is_made_without_a_spec(manager):
    """``HookCaller(name, hookexec)`` can be set on the relay, which keeps it in its ``vars``."""
    caller = HookCaller("new", manager._hookexec)
    manager.hook.new = caller

    assert vars(manager.hook)["new"] is caller
    assert vars(manager.hook).setdefault("new", None) is caller
    assert caller.spec is None
    assert not caller.has_spec()
    assert not caller.is_historic()
    manager.add_hookspecs(SimpleNamespace(new=spec(lambda: None)))
    assert manager.hook.new is caller
    assert caller.has_spec()


def test_history(manager):
    """``_call_history`` is None, or a list of (kwargs, callback) that calls are appended to."""
    caller = manager.hook.historic
    callback = [].append
    assert manager.hook.plain._call_history is None
    assert caller._call_history == []

    caller.call_historic(callback, kwargs={"one": 1})
    caller.call_historic(kwargs={"one": 2})

    assert caller._call_history == [({"one": 1}, callback), ({"one": 2}, None)]


def test_applying_history(manager):
    """``_maybe_apply_history`` gives one implementation all calls, and does not add it."""
    called, results = [], []
    manager.hook.historic.call_historic(results.append, kwargs={"one": 1})

    def historic(one):
        called.append(one)
        return "result"

    manager.hook.historic._maybe_apply_history(implementation(historic))
    manager.hook.plain._maybe_apply_history(implementation(historic))

    assert (called, results) == ([1], ["result"])
    assert manager.hook.historic._hookimpls == []


def test_executing(manager):
    """``_hookexec(name, impls, kwargs, firstresult)`` calls a list from its end."""
    assert [*inspect.signature(manager._hookexec).parameters] == [
        "hook_name",
        "methods",
        "kwargs",
        "firstresult",
    ]
    impls = [implementation(lambda one: one), implementation(lambda: "end")]

    assert manager._hookexec("plain", impls, {"one": 1}, False) == ["end", 1]
    assert manager._hookexec("plain", impls, {"one": 1}, True) == "end"


def test_names(manager):
    """``_name2plugin`` maps names to plugins, None where blocked, and everyone reads it."""
    plugin = SimpleNamespace()
    manager._name2plugin["added"] = plugin
    manager.set_blocked("blocked")

    assert manager._name2plugin == {"added": plugin, "blocked": None}
    assert manager.get_plugin("added") is plugin
    assert manager.list_name_plugin() == [("added", plugin), ("blocked", None)]
    assert manager.get_hookcallers(plugin) == []
    del manager._name2plugin["added"], manager._name2plugin["blocked"]
    assert not manager.is_blocked("blocked")
    assert manager.get_plugins() == set()


def test_verifying(manager):
    """``_verify_hook`` raises if an implementation contradicts the spec, and changes nothing."""

    def wrapping(one):
        yield

    manager._verify_hook(manager.hook.plain, implementation(lambda one, two: 1))
    for hook, bad in [
        (manager.hook.plain, implementation(lambda three: 1)),
        (manager.hook.plain, implementation(lambda one: 1, wrapper=True)),
        (manager.hook.historic, implementation(wrapping, wrapper=True)),
    ]:
        with pytest.raises(PluginValidationError):
            manager._verify_hook(hook, bad)

    assert manager.hook.plain._hookimpls == []


def test_options_that_are_not_given():
    """A missing option of an implementation is False, or None, in the result."""

    class Silent(pluggy.PluginManager):
        def parse_hookimpl_opts(self, plugin, name):
            return {} if name == "plain" else None

    manager = Silent("pinned")
    manager.register(SimpleNamespace(plain=lambda: None))

    (made,) = manager.hook.plain.get_hookimpls()
    assert made.opts == {
        "tryfirst": False,
        "trylast": False,
        "wrapper": False,
        "hookwrapper": False,
        "optionalhook": False,
        "specname": None,
    }


def test_what_an_implementation_knows_of_its_function():
    """A HookImpl has the arguments of its function, with and without defaults, and its plugin."""
    options = impl(lambda: None).pinned_impl
    made = HookImpl(None, "name", lambda one, two=2: None, options)
    assert (made.argnames, made.kwargnames) == (("one",), ("two",))
    assert (made.plugin, made.plugin_name, made.optionalhook) == (None, "name", False)


def test_looking_at_attributes():
    """``_static_hook_attr`` gives (holder of the marker, bound function), evaluating nothing."""

    class Plugin:
        @property
        def lazy(self):
            raise AssertionError("evaluated")

        def __getattr__(self, name):
            raise AssertionError("evaluated")

        number = 5

        def method(self):
            return "method"

        @staticmethod
        def static():
            return "static"

    plugin = Plugin()
    for name in ("lazy", "missing", "number"):
        assert _static_hook_attr(plugin, name) is None
    holder, function = _static_hook_attr(plugin, "method")
    assert holder is Plugin.method
    assert function() == "method"
    holder, function = _static_hook_attr(plugin, "static")
    assert holder is Plugin.__dict__["static"]
    assert holder.__func__ is function


def test_subset_callers(manager):
    """A ``_SubsetHookCaller`` reads the caller it is of anew, and asks ``in`` of the removed."""
    asked = []

    class Asked:
        def __contains__(self, plugin):
            asked.append(plugin)
            return plugin is removed.plugin

    removed, staying = implementation(lambda: "removed"), implementation(lambda: "staying")
    subset = _SubsetHookCaller(manager.hook.plain, Asked())
    manager.hook.plain._hookimpls = [removed, staying]

    assert subset(one=1) == ["staying"]
    assert asked == [removed.plugin, staying.plugin]
    assert subset.spec is manager.hook.plain.spec


def test_specs(manager):
    """A ``HookSpec`` has its function, the names without self, the defaults, and the options."""
    found = manager.hook.plain.spec

    assert isinstance(found, HookSpec)
    assert found.function is Specs.plain
    assert (found.argnames, found.kwargnames) == (("one",), ("two",))
    assert found.kwargdefaults == {"two": 2}
    assert not found.opts.get("firstresult")
    assert not found.opts.get("historic")
    assert manager.hook.historic.spec.opts.get("historic") is True


def test_markers():
    """A marker leaves a mapping in ``<project>_impl`` or ``<project>_spec`` on the function."""

    def function(): ...

    impl(tryfirst=True)(spec(firstresult=True)(function))

    assert function.pinned_impl["tryfirst"] is True
    assert function.pinned_spec["firstresult"] is True


def test_results():
    """``Result(value, None)`` returns and takes values, and raises a forced exception."""
    result = pluggy.Result([1], None)
    assert result.get_result() == [1]

    result.force_result([2])
    assert result.get_result() == [2]

    result.force_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        result.get_result()
