"""The sample plugins, as real distributions: each works as described, the broken included.

Every test runs the sample shop in a process of its own; see conftest.py.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "sample_plugins"
SOUND = {
    "audit",
    "courier",
    "dashboard",
    "discount",
    "gift-wrap",
    "greeting",
    "legacy-limits",
    "loyalty",
    "old-rates",
    "report",
    "stocktake",
    "tax-table",
}
ISOLATED = {
    "broken-endless": ("active", "call", "took longer than 1 seconds"),
    "broken-native": ("active", "call", "signal 11"),
}
"""Those that the shop isolates, and what comes of asking them for a receipt; old-rates is well."""

TO_BE_SET_UP = {"greeting": ("activate", "SIGNATURE: it is required")}
"""The sound ones that want to be set up: they are active, and a record says what is missing."""

BROKEN = {
    "bad-actor": ("failed", "import", "final method 'get_setting'"),
    "broken-call": ("active", "call", "ZeroDivisionError"),
    "broken-exit": ("failed", "import", "SystemExit"),
    "broken-import": ("failed", "import", "NameError"),
    "broken-init": ("failed", "init", "FileNotFoundError"),
    "broken-mixin": ("failed", "activate", "Schedule 'F' is not a valid option"),
    "too-new": ("incompatible", "resolve", "needs shop>=3, but the host's version is 2.4"),
}


def test_every_sample_is_a_plugin_of_the_shop(shop):
    """Each folder of sample_plugins is a distribution of its own, and the shop finds it."""
    folders = {each.parent.name for each in SOURCES.glob("*/pyproject.toml")} - {
        "shop",
        "shop-rates",
    }
    answer = shop.run("answer = {slug: p.distribution for slug, p in registry.plugins.items()}")

    assert folders == set(answer.values())
    assert answer.keys() == SOUND | BROKEN.keys() | ISOLATED.keys()


def test_listing_imports_nothing(shop):
    """Versions, texts and authors of all samples are told without importing one of them."""
    answer = shop.run(
        "all_records = registry.plugins.values()\n"
        "told = [all([p.version, p.description, p.author, p.title]) for p in all_records]\n"
        "answer = [told, imported()]"
    )

    assert answer == [[True] * len(SOUND | BROKEN.keys() | ISOLATED.keys()), []]


def test_broken_samples_cost_themselves_alone(shop):
    """With all switched on, each broken one has its stage and reason, and all others are active."""
    answer = shop.run(
        "for slug in registry.plugins:\n"
        "    registry.activate(slug)\n"
        "price_of(registry, 'tea')\n"
        "registry.call(Hooks.receipt_line, item='tea')\n"
        "answer = {slug: [p.state, [[e.stage, e.message] for e in p.errors], p.wanted]\n"
        "          for slug, p in registry.plugins.items()}"
    )

    fine = SOUND - TO_BE_SET_UP.keys()
    assert {slug: answer[slug] for slug in fine} == {slug: ["active", [], True] for slug in fine}
    told = BROKEN | ISOLATED | {slug: ("active", *why) for slug, why in TO_BE_SET_UP.items()}
    for slug, (state, stage, words) in told.items():
        (found_stage, message), *more = answer[slug][1]
        assert (answer[slug][0], found_stage, more, answer[slug][2]) == (state, stage, [], True)
        assert words in message


def test_incompatible_sample_is_never_imported(shop):
    """A plugin that Requires-Dist rules out is not imported, not even when wanted."""
    answer = shop.run(
        "state = registry.activate('too-new').state\n"
        "registry.reload(full=True, force=True, collect=True)\n"
        "answer = [state, imported()]"
    )

    assert answer == ["incompatible", []]


def test_dependant_follows_what_it_needs(shop):
    """Loyalty waits for discount, starts right after it, and stops with it, never alone left on."""
    answer = shop.run(
        "from plugreg import PluginRequiredError\n"
        "waiting = registry.activate('loyalty')\n"
        "answer = [[waiting.state, waiting.wanted, imported()]]\n"
        "registry.activate('discount')\n"
        "answer.append(list(registry.active))\n"
        "try:\n"
        "    registry.deactivate('discount')\n"
        "except PluginRequiredError as error:\n"
        "    answer.append([error.needed_by, list(registry.active)])\n"
        "registry.deactivate('discount', cascade=True)\n"
        "answer.append([list(registry.active), registry.get('loyalty').wanted])\n"
    )

    assert answer == [
        ["failed", True, []],
        ["discount", "loyalty"],
        [["loyalty"], ["discount", "loyalty"]],
        [[], False],
    ]


def test_plain_pluggy_module_is_a_plugin(shop):
    """A module that knows only pluggy, and the shop's name, is called; nothing else is asked."""
    source = (SOURCES / "shop-tax-table" / "shop_tax_table.py").read_text(encoding="utf-8")
    answer = shop.run(
        "record = registry.activate('tax-table')\n"
        "answer = [record.state, list(record.mixins),\n"
        "          registry.call(Hooks.price_change, item='tea', price=4.0)]"
    )

    assert "plugreg import" not in source
    assert answer == ["active", ["base"], [0.28]]


def test_version_limits_of_a_class_are_kept(copied):
    """legacy-limits runs in a shop of its range, and not any more in one that is past it."""
    code = (
        "state = registry.activate('legacy-limits').state\n"
        "answer = [state, registry.call(Hooks.receipt_line, item='tea')]"
    )

    assert copied.run(code) == ["active", ["Thank you for buying tea."]]

    metadata = copied.site / "shop-2.4.dist-info" / "METADATA"
    text = metadata.read_text(encoding="utf-8").replace("\nVersion: 2.4\n", "\nVersion: 2.10\n")
    metadata.write_text(text, encoding="utf-8")
    assert copied.run(code) == ["incompatible", []]


@pytest.mark.parametrize("error", ["RuntimeError('no')", "SystemExit"])
@pytest.mark.parametrize(
    ("method", "action", "times"),
    [
        ("events.wants_process_event", "dance", 1),
        ("events.process_event", "dance", 1),
        ("action.action_name", "dance", 1),
        ("action.perform_action", "count", 1),
        ("action.get_response", "count", 1),
        ("validation.validate_item", "dance", 2),
    ],
)
def test_faulty_method_of_one_plugin_stops_no_other(shop, method, action, times, error):
    """Whichever method fails, each later plugin is asked and answers, and a record tells whose."""
    answer = shop.run(
        "from plugreg import Plugin\n"
        "from plugreg.mixins import ActionMixin, EventMixin, ValidationMixin\n"
        "class Faulty(ActionMixin, EventMixin, ValidationMixin, Plugin):\n"
        f"    ACTION_NAME = {action!r}\n"
        "    def process_event(self, event, *args, **kwargs): pass\n"
        "    def perform_action(self, user=None, data=None): pass\n"
        "    def validate_item(self, item): pass\n"
        f"    def {method.partition('.')[2]}(self, *_, **__): raise {error}\n"
        "faulty = Faulty()\n"
        "registry.register(faulty)\n"
        "for slug in ('audit', 'stocktake'):\n"
        "    registry.activate(slug)\n"
        "first = [registry.with_mixin(key)[0] is faulty\n"
        "         for key in ('events', 'action', 'validation')]\n"
        "tell(registry, 'item.sold', item='tea')\n"
        "counted = act(registry, 'count', shelf={'tea': 2})\n"
        "refusals = [refusal(registry, 'ice cream'), refusal(registry, 'tea')]\n"
        "failures = [[each.slug, each.subject, each.exception_type, each.count]\n"
        "            for each in registry.get('faulty').errors if '.' in each.subject]\n"
        "answer = [first, registry.get('audit').plugin.journal, counted and counted['info'],\n"
        "          refusals, failures]"
    )

    first, journal, counted, refusals, failures = answer
    assert first == [True] * 3
    assert journal == ["item.sold: tea"]
    assert counted == {"pieces": 2}
    assert refusals == ["ice cream does not keep on a shelf", None]
    assert failures == [["faulty", method, error.partition("(")[0], times]]


def test_samples_bring_what_they_say(shop):
    """UI, admin details, events, tasks, action and validation reach the host."""
    answer = shop.run(
        "from plugreg.mixins import scheduled_tasks\n"
        "for slug in ('audit', 'dashboard', 'report', 'stocktake'):\n"
        "    registry.activate(slug)\n"
        "tell(registry, 'item.sold', item='tea')\n"
        "tell(registry, 'door.opened')\n"
        "admin = registry.admin('dashboard')\n"
        "answer = {\n"
        "    'panels': [f.title for f in registry.ui_features('panel', context={'item': 'tea'})],\n"
        "    'no page': list(registry.ui_features('panel')),\n"
        "    'admin': [admin.source, admin.context],\n"
        "    'journal': registry.get('audit').plugin.journal,\n"
        "    'tasks': [task.func for task in scheduled_tasks(*registry.with_mixin('schedule'))],\n"
        "    'action': act(registry, 'count', shelf={'tea': 2, 'honey': 3}),\n"
        "    'unknown action': act(registry, 'dance'),\n"
        "    'refusals': [refusal(registry, 'tea'), refusal(registry, 'ice cream')],\n"
        "}"
    )

    assert answer == {
        "panels": ["Sales of tea"],
        "no page": [],
        "admin": ["/static/plugins/dashboard/admin.js", {"currency": "EUR"}],
        "journal": ["item.sold: tea"],
        "tasks": ["sum_up", "shop_report.weekly"],
        "action": {"action": "count", "result": True, "info": {"pieces": 5}},
        "unknown action": None,
        "refusals": [None, "ice cream does not keep on a shelf"],
    }


def test_scripts_of_the_dashboard_can_be_fetched(shop):
    """The scripts that dashboard names are files in its package, and it is they that are given."""
    answer = shop.run(
        "registry.activate('dashboard')\n"
        "panel, = registry.ui_features('panel', context={'item': 'tea'})\n"
        "answer = {}\n"
        "for source in (panel.source, registry.admin('dashboard').source):\n"
        "    path = source.removeprefix('/static/plugins/dashboard/')\n"
        "    asset = registry.assets('dashboard', path)\n"
        "    answer[path] = [asset.content_type, asset.content.decode()]"
    )
    folder = SOURCES / "shop-dashboard" / "shop_dashboard" / "static"

    assert answer == {
        each.name: ["text/javascript; charset=utf-8", each.read_text(encoding="utf-8")]
        for each in folder.iterdir()
    }
    assert answer.keys() == {"admin.js", "sales.js"}


def test_demo_walks_to_its_end(shop):
    """The demo exits with 0, tells of each plugin, and has a second process remember the first."""
    done = shop.python("-m", "shop.demo")

    assert (done.returncode, done.stderr) == (0, "")
    steps = re.findall(r"^(\d+)\. ", done.stdout, re.MULTILINE)
    assert steps == [str(number) for number in range(1, 11)]
    first, again = done.stdout.split("10. Start again, in another process")
    for slug in SOUND | BROKEN.keys() | ISOLATED.keys():
        assert re.search(rf"^  {slug} +\S+ +inactive ", first, re.MULTILINE)
    for slug, (state, stage, _) in BROKEN.items():
        assert re.search(rf"^  {slug} +{state} +{stage} ", first, re.MULTILINE)
    for slug in SOUND - {"discount", "loyalty"}:
        assert re.search(rf"^  {slug} +\S+ +active ", again, re.MULTILINE)
    assert "Welcome, Welcome, Ada!" in again
    assert "not-a-real-key" not in done.stdout.replace('set("API_KEY", "not-a-real-key")', "")


def _vanish(site):
    for each in site.glob("shop_audit*"):
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def _rewrite(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def _mend(site):
    _rewrite(site / "shop_broken_init.py", ".read_text()", "")


def _miscount(site):
    _rewrite(site / "shop_discount.py", "0.10", "-0.10")


def _forget(site):
    _rewrite(
        site / "shop" / "app.py", '        options["storage"] = TinyDBStorage(storage_path)\n', ""
    )
    _rewrite(site / "shop" / "demo.py", "store.stat().st_size", "0")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_vanish, "the list of plugins must be"),
        (_mend, "the stages of the broken plugins must be"),
        (_miscount, "the sum of the answers must be -0.38"),
        (_forget, "what customers pay must be"),
    ],
)
def test_demo_fails_when_a_step_does_not_hold(copied, harm, told):
    """A sample that is gone, works or miscounts, or a memory that is lost: status 1, and why."""
    harm(copied.site)
    done = copied.python("-m", "shop.demo")

    assert done.returncode == 1, done.stdout
    assert f"\nThe demo failed: {told}" in done.stderr
