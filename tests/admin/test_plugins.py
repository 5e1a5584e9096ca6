"""The table of plugins, and switching them on and off."""

from __future__ import annotations

import re
import threading

import pytest

from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.admin.screens.plugins import PAGE_SIZE
from plugreg.api import Actor, PluginAPI
from plugreg.api.errors import InvalidError
from plugreg.isolation import Isolated
from plugreg.storage import MemoryStorage


def slugs(page):
    """Return the plugins of the table, in its order."""
    return re.findall(r'id="plugin-([a-z-]+)"', page.text)


def test_each_row_says_state_and_why(visitor):
    """Sign and word, version, how many processes serve, and the reason with its characters safe."""
    page = visitor()

    assert page.status == 200
    assert page.doc.headings == ["Plugins"]
    assert slugs(page) == ["broken", "milk", "tea"]
    assert "✓ active" in page.doc.text
    assert "✗ failed" in page.doc.text
    assert "○ inactive" in page.doc.text
    assert "1.10" in page.doc.text
    assert "out of &lt;order&gt;" in page.text
    assert "1 failure of broken" in page.doc.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?search=MIL", ["milk"]),
        ("?search=nothing", []),
        ("?state=failed", ["broken"]),
        ("?state=active&search=tea", ["tea"]),
        ("?state=no-such-state", []),
        ("?sort=-plugin", ["tea", "milk", "broken"]),
        ("?sort=version", ["tea", "broken", "milk"]),
        ("?sort=state", ["milk", "tea", "broken"]),
        ("?sort=-serves", ["tea", "broken", "milk"]),
        ("?sort=nothing", ["broken", "milk", "tea"]),
        ("?page=1", ["broken", "milk", "tea"]),
        ("?page=7", ["broken", "milk", "tea"]),
        ("?page=0", ["broken", "milk", "tea"]),
        ("?page=x", ["broken", "milk", "tea"]),
    ],
)
def test_the_address_filters_searches_and_sorts(visitor, query, expected):
    """An address shows the same table to everybody, and one that makes no sense fails nowhere."""
    page = visitor(query)

    assert (page.status, slugs(page)) == (200, expected)


def test_many_plugins_have_pages(visitor_of):
    """Each page has its part of the rows, in either order, and the number of all."""
    names = [f"many-{number:03}" for number in range(PAGE_SIZE + 2)]
    builtin = [(name, type(name, (Plugin,), {})) for name in names]
    with PluginRegistry("shop", builtin=builtin, storage=MemoryStorage()) as registry:
        registry.load()
        visitor = visitor_of(registry)
        for order, expected in (("", names), ("&sort=-plugin", names[::-1])):
            for page, part in ((1, expected[:PAGE_SIZE]), (2, expected[PAGE_SIZE:])):
                shown = visitor(f"?page={page}{order}")

                assert re.findall('id="plugin-(many-[0-9]+)"', shown.text) == part
                assert f"{len(names)} plugins" in shown.doc.text
                assert f"inactive ({len(names)})" in shown.doc.text


def test_a_page_that_is_gone_is_the_last_one(visitor_of):
    """Plugins may vanish after an address was made; it never says that there are none."""
    builtin = [(f"many-{number:03}", Plugin) for number in range(PAGE_SIZE + 2)]
    with PluginRegistry("shop", builtin=builtin, storage=MemoryStorage()) as registry:
        registry.load()
        for query in ("", "&sort=version", "&state=inactive"):
            shown = visitor_of(registry)(f"?page=3{query}")

            assert "No plugin" not in shown.doc.text
            assert re.findall('id="plugin-(many-[0-9]+)"', shown.text) == ["many-500", "many-501"]


def test_columns_sort_both_ways_and_say_so(visitor):
    """The header links keep the filter, turn the order round, and have ``aria-sort``."""
    page = visitor("?state=active&sort=version")
    sorting = {given.get("aria-sort") for tag, given in page.doc.tags if tag == "th"}

    assert sorting >= {"ascending", "none"}
    assert page.doc.link("Version").endswith("?state=active&sort=-version")
    assert page.doc.link("State").endswith("?state=active&sort=state")


def test_a_plugin_is_switched_on_after_a_question(visitor, registry):
    """The row's control leads to a question, whose button switches, and the answer names it."""
    question = visitor("?state=inactive").follow("Activate milk")

    assert question.doc.headings == ["Activate milk?"]
    assert registry.get("milk").wanted is False

    page = question.press("Activate")

    assert registry.get("milk").active
    assert page.doc.roles["status"] == ["milk is active."]
    assert page.address.endswith("/admin/?state=inactive#switch-milk")
    assert "status" not in visitor().doc.roles


def test_a_question_can_be_cancelled(visitor, registry):
    """Cancel leads back to the list as it was, and nothing has changed."""
    page = visitor("?search=te").follow("Deactivate tea").follow("Cancel")

    assert page.address.endswith("/admin/?search=te")
    assert registry.get("tea").active


def test_a_plugin_that_fails_is_reported(visitor, registry):
    """It is wanted nevertheless, and the answer is an alert with the reason."""
    registry.deactivate("broken")
    page = visitor().follow("Activate broken").press("Activate")

    assert registry.get("broken").wanted
    (said,) = page.doc.roles["alert"]
    assert said.startswith("broken is switched on, but it is failed:")
    assert "out of <order>" in said


def test_selected_plugins_are_switched_together(visitor, registry):
    """One press switches all that were ticked, and tells of each."""
    page = visitor().press("Deactivate selected", **{"plugin:tea": "on", "plugin:broken": "on"})

    assert not registry.get("tea").wanted
    assert not registry.get("broken").wanted
    (said,) = page.doc.roles["status"]
    assert said.startswith("2 of 2 plugins were switched.")
    assert "tea is inactive." in said


def test_an_unknown_plugin_among_the_selected_is_told(visitor, registry):
    """It is told in its line, and the others are switched."""
    token = visitor().doc.tags_of("csrf_token")["value"]
    chosen = dict.fromkeys(("plugin:tea", "plugin:coffee", "plugin:broken"), "on")
    for more in ({}, {"confirmed": "yes"}):
        page = visitor.post(
            "/admin/switch/", {"csrf_token": token, "to": "deactivate", **chosen, **more}
        )
        (said,) = page.doc.roles["alert"]

        assert said.startswith("2 of 3 plugins were switched. coffee was not switched:")
        assert "tea is inactive." in said
        assert not registry.get("tea").wanted


@pytest.fixture
def needing(site, monkeypatch):
    """Return a function that installs a plugin, which needs others."""
    monkeypatch.syspath_prepend(str(site))

    def install(slug, *needs):
        code = "from plugreg import Plugin\nclass It(Plugin):\n    pass\n"
        points = {"shop.plugins": {slug: f"depending_{slug}:It"}}
        metadata = "".join(f"Requires-Dist: shop-{need}\n" for need in needs)
        modules = {f"depending_{slug}.py": code}
        site.dist(f"shop-{slug}", "1.0", points, metadata=metadata, modules=modules)

    return install


@pytest.fixture(params=["normal", "safe mode"])
def depending(request, needing):
    """Yield a registry in which tray needs cup, and cup needs tea; in safe mode, too."""
    needing("tea")
    needing("cup", "tea")
    needing("tray", "cup")
    with PluginRegistry("shop", storage=MemoryStorage()) as normal:
        normal.load()
        normal.switch(dict.fromkeys(("tea", "cup"), True))
        with normal.in_safe_mode() as safe:
            safe.load()
            yield safe if request.param == "safe mode" else normal


def test_what_depends_on_a_plugin_is_asked_and_not_left_behind(depending, visitor_of):
    """A question names the dependants; without them it is refused, and bulk actions ask, too."""
    visitor = visitor_of(depending)
    question = visitor().press("Deactivate selected", **{"plugin:tea": "on"})

    assert question.doc.headings == ["Deactivate tea?"]
    assert "Deactivate these too: cup" in question.doc.text

    page = question.press("Deactivate")

    assert "tea was not switched: Plugin is needed by 'cup'" in page.doc.roles["alert"][0]
    assert depending.get("tea").wanted

    question.press("Deactivate", cascade="on")

    assert not depending.get("tea").wanted
    assert not depending.get("cup").wanted

    depending.activate("cup")

    assert "Needed by cup" in visitor("plugins/tea/activate/").doc.text
    assert "Needed by" not in visitor("plugins/tray/activate/").doc.text


def test_only_dependants_that_were_shown_are_switched_off(depending, visitor_of):
    """One that came meanwhile is shown before anything is changed."""
    visitor = visitor_of(depending)
    question = visitor().follow("Deactivate tea")
    depending.activate("tray")
    again = question.press("Deactivate", cascade="on")

    assert again.status == 409
    assert "nothing was changed" in again.doc.roles["alert"][0]
    assert "Deactivate these too: cup, tray" in again.doc.text
    assert depending.get("tea").wanted

    page = again.press("Deactivate", cascade="on")

    assert page.doc.roles["status"][0].startswith("3 of 3 plugins were switched.")
    assert not any(record.wanted for record in depending.plugins.values())


def test_dependants_that_have_gone_meanwhile_stop_nothing(depending, visitor_of):
    """Fewer plugins than were shown are switched off without another question."""
    depending.activate("tray")
    visitor = visitor_of(depending)
    question = visitor().follow("Deactivate tea")
    depending.deactivate("tray")
    page = question.press("Deactivate", cascade="on")

    assert page.doc.roles["status"][0].startswith("2 of 2 plugins were switched.")
    assert not any(record.wanted for record in depending.plugins.values())


@pytest.mark.parametrize("is_safe", [False, True])
@pytest.mark.parametrize("mandatory", ["tea", "pot"])
def test_no_dependant_is_switched_off_in_vain(needing, visitor_of, mandatory, is_safe):
    """Where a plugin must stay, or one that needs it, none of its dependants goes."""
    needing("tea")
    needing("cup", "tea")
    needing("pot", "tea")
    storage = MemoryStorage()
    with PluginRegistry("shop", storage=storage) as before:
        before.load()
        before.switch(dict.fromkeys(("tea", "cup", "pot"), True))
    with PluginRegistry(
        "shop", storage=storage, mandatory={mandatory}, safe_mode=is_safe
    ) as registry:
        registry.load()
        visitor = visitor_of(registry)
        question = visitor("plugins/tea/deactivate/")

        assert "Needed by cup , pot" in question.doc.text
        assert "Deactivate these too" not in question.doc.text

        token = visitor().doc.tags_of("csrf_token")["value"]
        fields = {"csrf_token": token, "to": "deactivate", "plugin:tea": "on", "confirmed": "yes"}
        page = visitor.post("/admin/switch/", {**fields, "cascade": "on", "dependants": "cup pot"})

        assert "tea was not switched:" in page.doc.roles["alert"][0]
        assert all(record.wanted for record in registry.plugins.values())
        # The refusal names the plugin that keeps it, on the page and in the API.
        reason = "needed by 'pot', which is mandatory" if mandatory == "pot" else "INVE-E10"
        assert reason in page.doc.roles["alert"][0]
        with pytest.raises(InvalidError, match=reason):
            PluginAPI(registry).plugins_activate_partial_update(
                visitor.actor, plugin="tea", body={"active": False}
            )


def test_nothing_selected_changes_nothing(visitor, registry):
    """A press without a tick says so."""
    before = {slug: record.wanted for slug, record in registry.plugins.items()}
    page = visitor().press("Activate selected")

    assert page.doc.roles["alert"] == ["No plugin was selected; nothing was changed."]
    assert {slug: record.wanted for slug, record in registry.plugins.items()} == before


def test_an_unknown_plugin_is_no_page(visitor):
    """A name that nobody has is answered with 404, in the same frame."""
    page = visitor("plugins/coffee/")

    assert page.status == 404
    assert "Plugins" in [words for words, _ in page.doc.links]


def test_mandatory_plugins_have_no_switch(visitor_of):
    """An impossible action is not offered."""
    with PluginRegistry("shop", builtin=[("milk", Plugin)], mandatory={"milk"}) as registry:
        registry.load()
        page = visitor_of(registry)()

    assert "mandatory" in page.doc.text
    assert "Deactivate milk" not in [words for words, _ in page.doc.links]


class Hooks:
    @hookspec
    def price(self): ...


class Slow(Plugin):
    def __init__(self):
        self.entered, self.leave = threading.Event(), threading.Event()

    @hookimpl
    def price(self):
        self.entered.set()
        self.leave.wait(60)


def test_calls_are_counted_and_those_under_way_have_their_stack(visitor_of):
    """The runtime tab says how often, how long, and where a call hangs; readers see no stack."""
    slow = Slow()
    with PluginRegistry(
        "shop", hookspecs=[Hooks], builtin=[("slow", slow)], observe=True
    ) as registry:
        registry.load()
        registry.activate("slow")
        caller = threading.Thread(target=registry.call, args=[Hooks.price])
        caller.start()
        assert slow.entered.wait(60)
        page = visitor_of(registry)("plugins/slow/runtime/")
        seen_by_reader = visitor_of(registry, Actor(3))("plugins/slow/runtime/")
        slow.leave.set()
        caller.join()

        assert "Calls under way" in page.doc.text
        assert "self.leave.wait" in page.doc.text
        assert "self.leave.wait" not in seen_by_reader.doc.text
        after = visitor_of(registry)("plugins/slow/runtime/")
        assert "price 1 0" in after.doc.text


def test_an_isolated_plugin_shows_its_process(visitor_of, tmp_path):
    """Its number, restarts and memory are on the runtime tab."""
    (tmp_path / "far.py").write_text(
        "from plugreg import Plugin\n\n\nclass Far(Plugin):\n    NAME = 'far'\n"
    )
    with PluginRegistry("shop", directories=[tmp_path], isolate={"far": Isolated()}) as registry:
        registry.load()
        registry.activate("far")
        assert registry.get("far").active, registry.get("far").reason
        visitor = visitor_of(registry)

        assert "isolated" in visitor().doc.text
        assert "Its own process" in visitor("plugins/far/runtime/").doc.text
        assert "Restarts 0" in visitor("plugins/far/runtime/").doc.text


def test_hooks_have_their_order(visitor_of):
    """The overview names all that implement a hook, in the order of calls."""
    with PluginRegistry(
        "shop", hookspecs=[Hooks], builtin=[("one", Slow()), ("two", Slow())]
    ) as registry:
        registry.load()
        registry.switch({"one": True, "two": True})
        page = visitor_of(registry)("plugins/one/")
        order = [slug for slug, _ in registry.explain(Hooks.price)]

        assert f"{order.index('one') + 1} of 2" in page.doc.text


def test_readers_see_no_message_of_a_failure(visitor_of, registry):
    """A message may name secrets of the server: as in the API, it is for superusers."""
    for actor in (Actor(3), Actor(2, is_staff=True)):
        visitor = visitor_of(registry, actor)

        assert "order" not in visitor().doc.text
        assert "order" not in visitor("plugins/broken/").doc.text
        assert visitor("plugins/broken/failures/").status == 403
