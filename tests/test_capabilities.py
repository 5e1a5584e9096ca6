"""Methods of mixins, called on all plugins that have them: isolated as hooks are."""

from __future__ import annotations

import asyncio
import threading

import pytest

from plugreg import (
    CircuitOpenError,
    CircuitPolicy,
    Plugin,
    PluginRegistry,
    PluginTimeoutError,
    RegistryNotReady,
    Stage,
    hookimpl,
    hookspec,
)
from plugreg.mixins import (
    ActionMixin,
    MailMixin,
    MixinSpec,
    NotificationMixin,
    ValidationFault,
    ValidationMixin,
)


class Hooks:
    @hookspec
    def price(self, item):
        """Price of an item."""


class Mail(NotificationMixin, MailMixin, Plugin):
    def send_notification(self, target, category, users, context):
        return (target, category, users, context)

    def process_mail_out(self, mail):
        mail.append("mail")


class Faulty(NotificationMixin, MailMixin, ActionMixin, ValidationMixin, Plugin):
    ACTION_NAME = "count"
    error: BaseException = ValueError("no")

    def fail(self, *args, **kwargs):
        raise self.error

    send_notification = process_mail_out = perform_action = validate_item = fail


class Counter(ActionMixin, ValidationMixin, Plugin):
    ACTION_NAME = "count"

    def perform_action(self, user=None, data=None):
        self.counted = (user, data)

    def get_result(self, user=None, data=None):
        return self.counted == (user, data)

    def validate_item(self, item):
        self.raise_error(f"{item} does not keep")


PLUGINS = [("a-mail", Mail), ("b-faulty", Faulty), ("c-mail", Mail), ("d-counter", Counter)]


@pytest.fixture
def open_registry(make):
    """Return a function that makes a registry with these plugins."""

    def open_registry(plugins=PLUGINS, **options):
        return make(Hooks, *plugins, **options)

    return open_registry


def values(outcomes):
    return {outcome.slug: outcome.value for outcome in outcomes}


class TestOutcomes:
    @pytest.mark.parametrize(
        "error", [ValueError("no"), SystemExit(1), asyncio.CancelledError(), BaseException("no")]
    )
    def test_one_fault_costs_one_outcome(self, open_registry, error, monkeypatch):
        """Plugins are called in activation order; the record of the fault names the method."""
        monkeypatch.setattr(Faulty, "error", error)
        registry = open_registry(fails=True)

        first, bad, last = registry.capabilities.outcomes(
            "notification", "send_notification", "part", "stock", users=["ann"], context={}
        )

        assert (first.slug, bad.slug, last.slug) == ("a-mail", "b-faulty", "c-mail")
        assert first.value == last.value == ("part", "stock", ["ann"], {})
        assert (bad.value, bad.error) == (None, error)
        assert registry.errors == (bad.failure,)
        assert (bad.failure.stage, bad.failure.subject) == (
            Stage.CALL,
            "notification.send_notification",
        )
        assert bad.failure.message.startswith("method 'notification.send_notification': ")
        assert first.failure is first.error is None
        assert min(first.seconds, bad.seconds) > 0

    def test_mail(self, open_registry):
        """A method that returns nothing has an outcome, too."""
        mail = []
        outcomes = open_registry(fails=True).capabilities.outcomes("mail", "process_mail_out", mail)

        assert mail == ["mail", "mail"]
        assert [outcome.error is None for outcome in outcomes] == [True, False, True]

    def test_an_action(self, open_registry):
        """A host finds the plugins by name, and has one of them carry it out."""
        registry = open_registry()
        names = values(registry.capabilities.outcomes("action", "action_name"))
        assert names == {"b-faulty": "count", "d-counter": "count"}

        counter = registry.capabilities.only("d-counter")
        [done] = counter.outcomes("action", "perform_action", user="ann", data={"x": 1})
        [answer] = counter.outcomes("action", "get_response", user="ann", data={"x": 1})

        assert done.error is None
        assert answer.value == {"action": "count", "result": True, "info": None}
        assert registry.errors == ()
        assert registry.capabilities.only("nobody").outcomes("action", "perform_action") == []

    def test_to_find_something_invalid_is_no_failure(self, open_registry):
        """A ValidationFault is an answer of a validator: an error without a record."""
        registry = open_registry(circuit=CircuitPolicy(max_failures=1), fails=True)

        faulty, counter = registry.capabilities.outcomes("validation", "validate_item", "ice")

        assert isinstance(counter.error, ValidationFault)
        assert (counter.error.message, counter.value) == ("ice does not keep", None)
        assert counter.failure is None
        assert faulty.failure in registry.errors
        assert {failure.slug for failure in registry.errors} == {"b-faulty"}
        assert registry.get("d-counter").circuit == "closed"

    def test_who_lacks_the_method_has_no_say(self, open_registry):
        """Nor has a plugin that is off, or anybody where the host has switched the mixin off."""
        registry = open_registry(switches={"mail": False})
        assert registry.capabilities.outcomes("validation", "validate_order", 1) == []
        assert registry.capabilities.outcomes("mail", "process_mail_out", []) == []
        assert registry.capabilities.outcomes("nothing", "process_mail_out", []) == []

        registry.deactivate("b-faulty")
        outcomes = registry.capabilities.outcomes(" Validation ", "validate_item", "ice")
        assert [outcome.slug for outcome in outcomes] == ["d-counter"]

    def test_a_mixin_of_the_hosts_own(self, open_registry):
        """Its methods are called as those of plugreg's are."""

        class Label:
            def print_label(self, text, copies=1):
                """Print it."""

        class Printer(Label, Plugin):
            def print_label(self, text, copies=1):
                return text * copies

        registry = open_registry([Printer], mixins=[MixinSpec("label", "Labels", Label)])
        [outcome] = registry.capabilities.outcomes("label", "print_label", "tea", copies=2)

        assert outcome.value == "teatea"

    def test_a_property_that_fails_is_a_fault_of_the_plugin(self, open_registry):
        """Looking the method up may run code of the plugin's."""

        class Odd(MailMixin, Plugin):
            is_ready = False

            @property
            def process_mail_later(self):
                raise OSError("no")

        registry = open_registry([Odd], fails=True)
        [outcome] = registry.capabilities.outcomes("mail", "process_mail_later", [])

        assert type(outcome.error) is OSError

    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
    def test_what_belongs_to_the_process_passes(self, open_registry, error, monkeypatch):
        """Ctrl-C ends the call."""
        monkeypatch.setattr(Faulty, "error", error())
        with pytest.raises(error):
            open_registry().capabilities.outcomes("mail", "process_mail_out", [])

    def test_before_load_and_after_close(self):
        """A registry that is not loaded says so."""
        registry = PluginRegistry("shop")
        with pytest.raises(RegistryNotReady):
            registry.capabilities.outcomes("mail", "process_mail_out", [])
        registry.load()
        registry.close()
        with pytest.raises(RegistryNotReady):
            registry.capabilities.outcomes("mail", "process_mail_out", [])


class TestSupervision:
    def test_circuits_and_observers(self, open_registry):
        """A plugin that fails again and again is not called; each call that is made is counted."""
        policy = CircuitPolicy(max_failures=2, cool_down=600)
        registry = open_registry(circuit=policy, observe=True, fails=True)
        outcomes = [
            registry.capabilities.outcomes("mail", "process_mail_out", []) for _ in range(4)
        ]

        assert [type(entry[1].error) for entry in outcomes] == [
            *[ValueError] * 2,
            *[CircuitOpenError] * 2,
        ]
        assert outcomes[3][1].failure is None
        assert registry.get("b-faulty").circuit == "open"
        stats = {entry.slug: entry for entry in registry.dispatch.stats()}
        assert (stats["a-mail"].hook, stats["a-mail"].calls) == ("mail.process_mail_out", 4)
        assert (stats["b-faulty"].calls, stats["b-faulty"].errors) == (2, 2)

    def test_hooks_and_methods_share_a_circuit(self, open_registry):
        """It is the plugin's."""

        class Both(MailMixin, Plugin):
            @hookimpl
            def price(self, item):
                raise ValueError

        registry = open_registry([Both], circuit=CircuitPolicy(max_failures=1), fails=True)
        registry.call("price", item="tea")
        [outcome] = registry.capabilities.outcomes("mail", "process_mail_out", [])

        assert type(outcome.error) is CircuitOpenError


class Later(MailMixin, ValidationMixin, Plugin):
    async def process_mail_out(self, mail):
        await mail.wait()
        return "later"

    async def validate_item(self, item):
        await asyncio.sleep(0)
        self.raise_error("no")


class Silent(MailMixin, Plugin):
    pass


class Hanging(MailMixin, Plugin):
    go_on = threading.Event()

    def process_mail_out(self, mail):
        self.go_on.wait(60)


class Setting(MailMixin, Plugin):
    async def process_mail_out(self, mail):
        mail.set()
        return "now"


class TestAsync:
    def test_async_methods_run_together(self, open_registry):
        """One method may wait for the other; one that fails costs itself."""
        registry = open_registry(
            [("a", Later), ("b", Setting), ("c", Faulty), ("d", Silent)], fails=True
        )

        async def main():
            return await registry.capabilities.aoutcomes(
                "mail", "process_mail_out", asyncio.Event()
            )

        outcomes = asyncio.run(main())

        assert values(outcomes) == {"a": "later", "b": "now", "c": None, "d": None}
        assert [outcome.error is None for outcome in outcomes] == [True, True, False, True]
        assert [outcome.failure for outcome in outcomes if outcome.error] == [*registry.errors]

    def test_a_time_limit(self, open_registry):
        """Who overruns it costs itself, and is counted by its circuit."""
        registry = open_registry(
            [("a", Hanging), ("b", Mail)], circuit=CircuitPolicy(max_failures=1), fails=True
        )
        mail = []

        async def main():
            bound = registry.capabilities.bind(timeout=0.05)
            return await bound.aoutcomes("mail", "process_mail_out", mail)

        try:
            hanging, healthy = asyncio.run(main())
        finally:
            Hanging.go_on.set()

        assert type(hanging.error) is PluginTimeoutError
        assert (healthy.error, mail) == (None, ["mail"])
        assert registry.get("a").circuit == "open"

    def test_an_async_validator(self, open_registry):
        """A value that it finds invalid is no failure either."""
        registry = open_registry([("a", Later), ("b", Counter)])

        async def main():
            return await registry.capabilities.aoutcomes("validation", "validate_item", "ice")

        outcomes = asyncio.run(main())

        assert [outcome.error.message for outcome in outcomes] == ["no", "ice does not keep"]
        assert registry.errors == ()

    def test_a_synchronous_call_of_an_async_method(self, open_registry):
        """Its error has the remedy; nothing of it runs."""
        [outcome] = open_registry([Later], fails=True).capabilities.outcomes(
            "mail", "process_mail_out", None
        )

        assert type(outcome.error) is TypeError
        assert "async" in outcome.failure.message
