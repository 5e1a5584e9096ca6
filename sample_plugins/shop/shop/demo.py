"""The life of plugins in the shop, from a first look to a restart: ``python -m shop.demo``.

A first process looks at the sample plugins, switches them on, uses them and ends. A second one
finds all as it was left, in the file that both are given. Each step checks what it shows; if one
does not hold, a line says so and the exit status is 1.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import shop_rates

from plugreg import (
    PluginDiedError,
    PluginRegistry,
    PluginRequiredError,
    PluginTimeoutError,
    PlugregError,
    SettingError,
)
from plugreg.mixins import scheduled_tasks
from plugreg.settings import SettingsView
from shop.app import SHELF, act, make_registry, price_of, refusal, tell
from shop.hookspecs import Hooks
from shop.page import StepError, heading, must, must_be, say, show, table

SOUND = (
    "audit",
    "courier",
    "dashboard",
    "discount",
    "gift-wrap",
    "greeting",
    "legacy-limits",
    "loyalty",
    "report",
    "stocktake",
    "tax-table",
)
ISOLATED = ("broken-endless", "broken-native", "old-rates")
"""The plugins that would harm the shop itself, if they ran in its process."""

BROKEN = {
    "bad-actor": "import",
    "broken-call": "call",
    "broken-exit": "import",
    "broken-import": "import",
    "broken-init": "init",
    "broken-mixin": "activate",
    "too-new": "resolve",
}
"""The plugins that are broken on purpose, and the stage at which each fails."""

WORSE_MODULES = frozenset({"shop_broken_endless", "shop_broken_native", "shop_old_rates"})

PRICES = {"tea": 4.20, "honey": 7.62, "teapot": 25.73}
"""With all sound plugins on: 10 % off from 5 euros, 2 % off the rest, then 7 or 19 % tax."""

UNREDUCED = {"tea": 4.28, "honey": 8.56, "teapot": 28.56}
"""With the tax alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both processes, or with a store be one of them. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m shop.demo", description=__doc__)
    parser.add_argument("store", nargs="?", type=Path, help="be one process, on this file")
    parser.add_argument("--again", action="store_true", help="be the second one")
    options = parser.parse_args(arguments)
    if options.store is None:
        return run_both()
    try:
        (second_process if options.again else first_process)(options.store)
    except (StepError, PlugregError) as error:
        sys.stdout.flush()
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def run_both() -> int:
    """Run one process after the other on a store of their own. Return the first bad status."""
    with tempfile.TemporaryDirectory(prefix="shop-demo-") as folder:
        for more in ([], ["--again"]):
            store = str(Path(folder) / "plugins.json")
            command = [sys.executable, "-P", "-m", "shop.demo", store, *more]
            status = subprocess.run(command, check=False).returncode
            if status:
                return status
    return 0


def first_process(store: Path) -> None:
    """Everything up to the restart."""
    with opened(store) as registry:
        look(registry)
        switch_on(registry)
        ask(registry)
        configure(registry)
        see_what_they_bring(registry)
        break_things(registry)
        isolate(registry)
        switch_off(registry)
    heading("9. End")
    say("The process ends. What it leaves to the next one stands in one file:")
    show("plugins.json", f"{store.stat().st_size} bytes")


def opened(store: Path) -> PluginRegistry:
    """Return the shop's registry. What plugreg logs goes into a file beside the store."""
    logging.basicConfig(filename=store.with_suffix(".log"))
    return make_registry(store)


def look(registry: PluginRegistry) -> None:
    """List what is installed; nothing of it is imported."""
    heading("1. What is installed")
    say("Nothing is remembered yet, and this is what is found:")
    registry.load()
    listed(registry)
    must_be("the list of plugins", [*registry.plugins], sorted([*SOUND, *BROKEN, *ISOLATED]))
    must_be("the set of states", {each.state for each in registry.plugins.values()}, {"inactive"})
    must_be("the list of imported plugin modules", imported(), [])
    say(
        f"""All are off, for nobody has asked for them. Versions and texts come from the packages:
        of the {len(registry.plugins)} plugins Python has imported {len(imported())} so far."""
    )


def switch_on(registry: PluginRegistry) -> None:
    """Activate the sound ones, a dependent one before what it needs."""
    heading("2. Switch on")
    say("loyalty needs discount, as its package says. On its own it cannot start:")
    record = registry.activate("loyalty")
    show('registry.activate("loyalty")', f"{record.state}: {record.reason}")
    must_be("the state of loyalty", record.state, "failed")
    must("discount" in record.reason, "the reason must name what loyalty needs: discount")
    say("The wish is kept. As soon as discount is on, loyalty is too, right after it:")
    registry.activate("discount")
    show('registry.activate("discount"); list(registry.active)', [*registry.active])
    must_be("the order of activation", [*registry.active], ["discount", "loyalty"])
    for slug in SOUND:
        registry.activate(slug)
    must_be("the active plugins", sorted(registry.active), sorted(SOUND))
    say("Then all the others that are in order:")
    show("registry.active", registry.active)
    must_be("the number of imported plugin modules", len(imported()), len(SOUND))
    say(f"Only what is on has been imported: {len(imported())} of {len(registry.plugins)}.")


def ask(registry: PluginRegistry) -> None:
    """Call hooks in the three ways."""
    heading("3. Ask them")
    say("Every plugin that has an answer gives one; tax-table is a plain pluggy module:")
    changes = registry.call(Hooks.price_change, item="honey", price=8.0)
    show('registry.call(Hooks.price_change, item="honey", price=8.0)', changes)
    must_be("the sum of the answers", round(sum(changes), 2), -0.38)
    say("The first answer, where one is enough:")
    greeting = registry.first(Hooks.greeting, customer="Ada")
    show('registry.first(Hooks.greeting, customer="Ada")', greeting)
    must_be("the greeting", greeting, "Good morning, Ada!")
    say("Who said what, and what customers pay for it:")
    answers(registry)
    prices(registry, PRICES)


def configure(registry: PluginRegistry) -> None:
    """Change settings, for all and for one user, and try wrong ones."""
    heading("4. Set up")
    settings = registry.settings("greeting")
    say('What can be set of greeting, as settings = registry.settings("greeting") has it:')
    table(
        ("setting", "type", "value", "what it is"),
        (
            (
                key,
                type(settings[key]).__name__,
                "(protected)" if each.protected else repr(settings[key]),
                each.name,
            )
            for key, each in settings.definitions.items()
        ),
    )
    say("What is set is converted, stored, and holds at once:")
    settings.set("TEXT", "Welcome")
    settings.set("REPEAT", "2")
    greeting = registry.first(Hooks.greeting, customer="Ada")
    show('settings.set("TEXT", "Welcome"); settings.set("REPEAT", "2")', greeting)
    must_be("the greeting", greeting, "Welcome, Welcome, Ada!")
    must_be("a number that was written as text", settings["REPEAT"], 2)
    say("What does not fit is refused, and changes nothing:")
    refused(settings, "REPEAT", "often")
    say("A protected value is the plugin's to read. A repr shows neither that one nor any other:")
    settings.set("API_KEY", "not-a-real-key")
    show('settings.set("API_KEY", "not-a-real-key"); repr(settings)', repr(settings))
    must("not-a-real-key" not in repr(settings), "the repr must not show a protected value")
    greeter = registry.get("greeting").plugin
    say("A plugin can ask whether anything that it requires is not set yet:")
    show("greeter.check_settings()", greeter.check_settings())
    must_be("what check_settings tells", greeter.check_settings(), (False, ("SIGNATURE",)))
    say("What one user sets holds for that user:")
    registry.user_settings("greeting", user=7).set("NICKNAME", "Countess")
    names = (greeter.name_for(7, "Ada"), greeter.name_for(8, "Alan"))
    show('registry.user_settings("greeting", user=7).set("NICKNAME", "Countess")', "stored")
    show('greeter.name_for(7, "Ada"), greeter.name_for(8, "Alan")', names)
    must_be("the names of users 7 and 8", names, ("Countess", "Alan"))
    configure_by_functions(registry)


def configure_by_functions(registry: PluginRegistry) -> None:
    """Show settings whose default, choices and checks are functions of the plugin."""
    say("gift-wrap works its default and its choices out, and may refuse what could be chosen:")
    settings = registry.settings("gift-wrap")
    show('registry.settings("gift-wrap")["PAPER"]', settings["PAPER"])
    must_be("the paper that nobody has chosen", settings["PAPER"], "plain")
    refused(settings, "PAPER", "newspaper")
    refused(settings, "PAPER", "gold")
    refused(settings, "FEE", -1)
    settings.set("PAPER", "striped")
    lines = registry.call(Hooks.receipt_line, item="tea")
    show('settings.set("PAPER", "striped"); registry.call(Hooks.receipt_line, item="tea")', lines)
    must_be(
        "the receipt",
        sorted(lines),
        ["As a gift, in striped paper: 1.90 EUR.", "Thank you for buying tea."],
    )


def see_what_they_bring(registry: PluginRegistry) -> None:
    """Show capabilities: UI features, admin details, events, tasks, an action, validation."""
    heading("5. What they bring")
    say("dashboard adds to the pages of the shop, here to the start page and to that of tea:")
    features = [
        *registry.ui_features("dashboard"),
        *registry.ui_features("panel", context={"item": "tea"}),
    ]
    table(
        ("plugin", "feature", "key", "title"),
        ((each.plugin_name, each.feature_type, each.key, each.title) for each in features),
    )
    must_be("the UI features", [each.key for each in features], ["today", "sales"])
    say("It has a panel of its own for operators, too: a script, and what the script is given.")
    admin = registry.admin("dashboard")
    show('registry.admin("dashboard")', f"{admin.source} with {admin.context}")
    must_be("the admin source", admin.source, "/static/plugins/dashboard/admin.js")
    say("audit hears of events. It wants those of items, and no others:")
    tell(registry, "item.sold", item="tea")
    tell(registry, "door.opened")
    journal = registry.get("audit").plugin.journal
    show('tell(registry, "item.sold", item="tea"); tell(registry, "door.opened")', journal)
    must_be("the journal of audit", journal, ["item.sold: tea"])
    say(
        """report has tasks, as data for the host's scheduler. I is every so many minutes, W is
        weekly:"""
    )
    tasks = [task for plugin in registry.with_mixin("schedule") for task in scheduled_tasks(plugin)]
    table(
        ("task", "schedule", "minutes", "function"),
        ((each.name, each.schedule, each.minutes or "", each.func) for each in tasks),
    )
    must_be("the scheduled tasks", [each.name for each in tasks], ["takings", "week"])
    say("stocktake is asked for by name, and has a say in what may stand on a shelf:")
    counted = act(registry, "count", shelf={"tea": 12, "honey": 5})
    show('act(registry, "count", shelf={"tea": 12, "honey": 5})', counted)
    must_be("the answer of the action", counted and counted["info"], {"pieces": 17})
    reason = refusal(registry, "ice cream")
    show('refusal(registry, "ice cream")', reason)
    must(reason is not None, "stocktake must refuse ice cream")


def break_things(registry: PluginRegistry) -> None:
    """Activate the broken ones; everyone else works on."""
    heading("6. Broken ones")
    say("Now the plugins that are broken on purpose are switched on too:")
    for slug in BROKEN:
        registry.activate(slug)
    prices(registry, PRICES, silent=True)
    broken(registry)
    must("shop_too_new" not in sys.modules, "an incompatible plugin must not be imported")
    say("Each is told of by name and stage, and nothing of it reached anybody else:")
    answers(registry)
    prices(registry, PRICES)
    must_be("the active plugins", sorted(registry.active), sorted([*SOUND, "broken-call"]))


def isolate(registry: PluginRegistry) -> None:
    """Activate plugins that crash, hang and contradict, each in a process of its own."""
    heading("7. Worse ones")
    say(
        """One plugin crashes the interpreter, one never returns, one needs version 1 of a library
        of which the shop has version 2. The shop isolates them: each has its own process."""
    )
    for slug in ISOLATED:
        registry.activate(slug)
    table(
        ("plugin", "state", "isolated", "its process runs"),
        (
            (slug, record.state, record.isolated, record.process.pid is not None)
            for slug in ISOLATED
            if (record := registry.get(slug))
        ),
    )
    must_be("the imported ones of them", [m for m in imported() if m in WORSE_MODULES], [])
    say("All are asked for a line of the receipt, beside plugins that are well:")
    outcomes = registry.outcomes(Hooks.receipt_line, item="tea")
    table(
        ("plugin", "receipt_line of tea"),
        (
            (each.slug, each.value or f"{type(each.error).__name__}: {each.error}")
            for each in outcomes
            if each.value or each.error
        ),
    )
    found = {each.slug: each for each in outcomes}
    must_be("the crash", type(found["broken-native"].error), PluginDiedError)
    must_be("the endless call", type(found["broken-endless"].error), PluginTimeoutError)
    must("(1.0)" in str(found["old-rates"].value), "old-rates must have its own library")
    must_be("the library of the shop", shop_rates.VERSION, "2.0")
    say("The shop goes on, its own library is the one it had, and nobody pays another price:")
    show("shop_rates.VERSION", shop_rates.VERSION)
    prices(registry, PRICES)


def switch_off(registry: PluginRegistry) -> None:
    """Deactivate a plugin that another one needs."""
    heading("8. Switch off")
    say("discount is not taken from loyalty without a word; both can go together:")
    try:
        registry.deactivate("discount")
    except PluginRequiredError as error:
        show('registry.deactivate("discount")', f"{type(error).__name__}: {error}")
    must("discount" in registry.active, "discount must stay on while loyalty needs it")
    registry.deactivate("discount", cascade=True)
    show('registry.deactivate("discount", cascade=True); registry.active', registry.active)
    off = {slug: str(registry.get(slug).state) for slug in ("discount", "loyalty")}
    must_be("the states", off, {"discount": "inactive", "loyalty": "inactive"})
    say("No call reaches them any more:")
    answers(registry)
    prices(registry, UNREDUCED)


def second_process(store: Path) -> None:
    """Start on what the first process left."""
    heading("10. Start again, in another process")
    say("A new process loads, with the same file, and no one switches anything on:")
    with opened(store) as registry:
        registry.load()
        prices(registry, UNREDUCED, silent=True)
        listed(registry)
        expected = {*SOUND, "broken-call", *ISOLATED} - {"discount", "loyalty"}
        must_be("the active plugins", set(registry.active), expected)
        say("Settings are as they were left, those of users too, and prices with them:")
        settings = registry.settings("greeting")
        greeting = registry.first(Hooks.greeting, customer="Ada")
        show('registry.first(Hooks.greeting, customer="Ada")', greeting)
        must_be("the greeting", greeting, "Welcome, Welcome, Ada!")
        nickname = registry.user_settings("greeting", user=7)["NICKNAME"]
        show('registry.user_settings("greeting", user=7)["NICKNAME"]', nickname)
        must_be("the user's setting", nickname, "Countess")
        must(settings.is_set("API_KEY"), "the protected setting must be remembered")
        prices(registry, UNREDUCED)
        say(
            """What is broken is still wanted, was tried again and has failed again, at the expense
            of nothing else. Once mended, it starts:"""
        )
        broken(registry)


# -- what several steps show -------------------------------------------------------------------


def imported() -> list[str]:
    """Return the modules of plugins that this process has imported."""
    modules = {each.module for each in entry_points(group="shop.plugins")}
    return sorted(modules & sys.modules.keys())


def listed(registry: PluginRegistry) -> None:
    """Print every plugin that is known."""
    table(
        ("plugin", "version", "state", "what it does"),
        (
            (slug, each.version, each.state, each.description)
            for slug, each in registry.plugins.items()
        ),
    )


def answers(registry: PluginRegistry) -> None:
    """Print what each plugin says to one question, faults included."""
    outcomes = registry.outcomes(Hooks.price_change, item="honey", price=8.0)
    table(
        ("plugin", "price_change of honey, 8.00"),
        (
            (each.slug, f"{each.value:+.2f}" if each.failure is None else each.failure.message)
            for each in outcomes
            if each.value is not None or each.failure is not None
        ),
    )


def prices(registry: PluginRegistry, expected: dict[str, float], *, silent: bool = False) -> None:
    """Print what customers pay, unless it is to be silent, and hold it against what is right."""
    found = {item: price_of(registry, item) for item in SHELF}
    if not silent:
        show("price_of(registry, item)", ", ".join(f"{item} {found[item]:.2f}" for item in found))
    must_be("what customers pay", found, expected)


def refused(settings: SettingsView, key: str, value: object) -> None:
    """Print why a value is not taken; that it is not, and changes nothing, must hold."""
    before = settings[key]
    try:
        settings.set(key, value)
    except SettingError as error:
        show(f"settings.set({key!r}, {value!r})", f"SettingError: {error}")
    else:
        must(False, f"{key} must not take {value!r}")
    must_be(f"{key} after a refused write", settings[key], before)


def broken(registry: PluginRegistry) -> None:
    """Print the plugins that fail, by stage, and hold the stages against what they must be."""
    table(
        ("plugin", "state", "stage", "what went wrong"),
        (
            (each.slug, registry.get(each.slug).state, each.stage, each.message)
            for each in registry.errors
            if each.slug in BROKEN
        ),
    )
    found = {each.slug: str(each.stage) for each in registry.errors if each.slug in BROKEN}
    must_be("the stages of the broken plugins", found, BROKEN)


if __name__ == "__main__":
    sys.exit(main())
