"""The ledger of failures: each once, counted, and reported once."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plugreg import PluginRegistry, hookimpl, hookspec
from plugreg._state.ledger import MOST_PER_PLUGIN, FailureLedger
from plugreg._support.guard import Guard
from plugreg._support.redact import MASK, Scrubber
from plugreg.records import PluginFailure, Stage

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def failure(slug="tea", stage=Stage.INIT, message="OSError: no", minute=0, **fields):
    when = NOON + timedelta(minutes=minute)
    fields.setdefault("exception_type", "OSError")
    return PluginFailure(
        stage=stage, slug=slug, message=message, first_seen=when, last_seen=when, **fields
    )


class Hooks:
    @hookspec
    def price(self, item):
        """Price of an item."""


async def called(registry, **arguments):
    return await registry.acall("price", **arguments)


def always(_):
    return True


class TestRecord:
    def test_a_failure_seen_again_is_counted(self):
        """Stage, slug, subject, type and place make the identity; the newer message is kept."""
        ledger = FailureLedger()
        ledger.record(failure(message="OSError: one"))
        kept = ledger.record(failure(message="OSError: two", minute=5))
        assert ledger.all() == (kept,)
        assert (kept.count, kept.message) == (2, "OSError: two")
        assert (kept.first_seen, kept.last_seen) == (NOON, NOON + timedelta(minutes=5))

    @pytest.mark.parametrize(
        "other",
        [
            {"slug": "milk"},
            {"stage": Stage.CALL},
            {"subject": "price"},
            {"exception_type": "ValueError"},
            {"place": "tea.py:2"},
        ],
    )
    def test_different_failures_are_kept_apart(self, other):
        """A difference in one of the five is another failure."""
        ledger = FailureLedger()
        ledger.record(failure(place="tea.py:1"))
        ledger.record(failure(**{"place": "tea.py:1", **other}))
        assert [record.count for record in ledger.all()] == [1, 1]

    def test_exceptions_of_one_type_are_told_apart_by_place(self):
        """Each keeps its own message: that of another line, or of another caller, is not lost."""

        def check(item):
            raise ValueError(f"bad {item}")

        class Tea:
            @hookimpl
            def price(self, item):
                if item == "tea":
                    check(item)
                if item == "milk":
                    check(item)
                raise ValueError(f"no {item}")

        with PluginRegistry("shop", hookspecs=[Hooks]) as registry:
            registry.load()
            registry.register(Tea(), "tea")
            for item in ("tea", "milk", "salt", "oil"):
                registry.call("price", item=item)
            registry.outcomes("price", item="tea")
            asyncio.run(called(registry, item="milk"))

            assert [(record.message, record.count) for record in registry.errors] == [
                ("hook 'price': ValueError: bad tea", 2),
                ("hook 'price': ValueError: bad milk", 2),
                ("hook 'price': ValueError: no oil", 2),
            ]

    def test_without_an_exception_the_message_counts(self):
        """Two refusals in different words are two."""
        ledger = FailureLedger()
        for text in ("a", "b", "a"):
            ledger.record(failure(exception_type=None, message=text))
        assert [(record.message, record.count) for record in ledger.all()] == [("a", 2), ("b", 1)]

    def test_order_is_that_of_first_appearance(self):
        """However often and late a failure is repeated, it stays where it was."""
        ledger = FailureLedger()
        ledger.record(failure("b", minute=1))
        ledger.record(failure("a", minute=2))
        ledger.record(failure("b", minute=3))
        assert [record.slug for record in ledger.all()] == ["b", "a"]
        assert [record.slug for record in ledger.of("a")] == ["a"]

    def test_no_count_is_lost_between_threads(self):
        """8 threads that record one failure 200 times make a count of 1,600, reported once."""
        reported = []
        ledger = FailureLedger(reported.append)
        threads = [
            threading.Thread(target=lambda: [ledger.record(failure()) for _ in range(200)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [record.count for record in ledger.all()] == [1600]
        assert len(reported) == 1


class TestReplace:
    def test_outdated_and_not_repeated_is_gone(self):
        """A fault that was mended is forgotten; one that was not goes on counting."""
        ledger = FailureLedger()
        for slug in ("a", "b"):
            ledger.record(failure(slug))
        (kept,) = ledger.replace([failure("b", minute=1)], always)
        assert ledger.all() == (kept,)
        assert (kept.slug, kept.count, kept.first_seen) == ("b", 2, NOON)

    def test_nothing_is_left_of_a_plugin_without_records(self):
        """A plugin that is gone takes no place, however many there were."""
        ledger = FailureLedger()
        for number in range(5):
            ledger.record(failure(f"tea-{number}"))
        ledger.replace([failure("milk")], lambda record: record.slug != "milk")
        assert list(ledger._failures) == ["milk"]

    def test_others_stay(self):
        """A record that is not outdated is not touched."""
        ledger = FailureLedger()
        stays = ledger.record(failure("a"))
        ledger.record(failure("b"))
        assert ledger.replace([], lambda record: record.slug == "b") == ()
        assert ledger.all() == (stays,)

    def test_a_failure_that_came_back_is_new(self):
        """After it was gone it begins again, and is reported again."""
        reported = []
        ledger = FailureLedger(reported.append)
        ledger.replace([failure()], always)
        ledger.replace([failure(minute=1)], always)
        ledger.replace([], always)
        ledger.replace([failure(minute=2)], always)
        assert [record.count for record in reported] == [1, 1]
        assert ledger.all()[0].first_seen == NOON + timedelta(minutes=2)

    def test_one_failure_twice_in_one_load_is_told_of_once(self):
        """Doubles are counted (section 9.5: no doubles, a count instead)."""
        reported = []
        ledger = FailureLedger(reported.append)
        ledger.replace([failure(), failure()], always)
        assert len(reported) == 1
        assert ledger.all()[0].count == 2


class TestOnFailure:
    def test_may_read_the_ledger(self):
        """The callback runs without the lock, after the record is there."""
        seen = []
        ledger = FailureLedger(lambda record: seen.append((record, ledger.all())))
        kept = ledger.record(failure())
        assert seen == [(kept, (kept,))]

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1)])
    def test_its_own_fault_is_logged_and_stops_nothing(self, error, caplog):
        """A host's callback that fails neither raises nor hides the record."""

        def on_failure(_):
            raise error

        ledger = FailureLedger(on_failure)
        kept = ledger.replace([failure("a"), failure("b")], always)
        assert ledger.all() == kept
        reported = [e.message for e in caplog.records if "on_failure itself failed" in e.message]
        assert len(reported) == 2
        assert all(type(error).__name__ in message for message in reported)

    def test_each_new_failure_is_logged_once(self, caplog):
        """The log has slug, stage and message, and no repetition."""
        ledger = FailureLedger()
        with caplog.at_level(logging.WARNING, logger="plugreg"):
            ledger.record(failure())
            ledger.record(replace(failure(), message="OSError: again"))
        assert caplog.messages == ["plugin tea, at init: OSError: no"]

    def test_a_failure_that_is_reported_is_not_logged(self, caplog):
        """A host with a callback learns of a failure once."""
        reported = []
        with caplog.at_level(logging.WARNING, logger="plugreg"):
            FailureLedger(reported.append).record(failure())
        assert [record.slug for record in reported] == ["tea"]
        assert caplog.messages == []


SECRET = "s3cret-canary"
SCRUBBERS = {"tea": Scrubber([SECRET]), "pin": Scrubber(["12"])}


def scrubber_of(slug):
    return SCRUBBERS.get(slug, Scrubber())


def raised(slug, text=SECRET, subject=""):
    """Make the record of an exception with this text, traceback included."""
    try:
        raise ValueError(text)
    except ValueError as error:
        return PluginFailure.of(Stage.CALL, slug, error, subject=subject)


def shown(failure):
    texts = (failure.message, failure.subject, failure.traceback, failure.place)
    return "\n".join((*texts, failure.exception_type or ""))


class TestScrubbing:
    @pytest.mark.parametrize("way", ["record", "replace"])
    def test_no_way_in_lets_a_protected_value_through(self, way, caplog):
        """Not in kept, returned, reported or logged strings; all else of the record stays."""
        reported = []
        ledger = FailureLedger(reported.append, scrubber_of=scrubber_of)
        given = raised("tea", subject=f"panel {SECRET}")
        assert SECRET in given.message
        assert SECRET in given.traceback
        with caplog.at_level(logging.DEBUG):
            if way == "record":
                kept = ledger.record(given)
            else:
                (kept,) = ledger.replace([given], always)
        assert ledger.all() == ledger.of("tea") == (kept,)
        assert reported == [kept]
        assert (kept.message, kept.subject) == ("ValueError: ***", "panel ***")
        assert kept.exception_type == "ValueError"
        assert SECRET not in shown(kept) + repr(kept) + caplog.text
        assert "raise ValueError(text)" in kept.traceback
        assert kept.first_seen == given.first_seen

    def test_a_callback_that_fails_where_a_plugin_failed(self, caplog):
        """Its traceback is logged with the exception it came upon, which has the value."""

        def on_failure(_):
            raise RuntimeError("of the host")

        ledger = FailureLedger(on_failure, scrubber_of=scrubber_of)
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            ledger.record(PluginFailure.of(Stage.CALL, "tea", error))
        assert "RuntimeError: of the host" in caplog.text
        assert "ValueError: ***" in caplog.text
        assert SECRET not in caplog.text

    def test_a_class_named_by_a_value(self):
        """The name of an exception's class is a text of the plugin's, too."""
        ledger = FailureLedger(scrubber_of=scrubber_of)
        error = type(SECRET, (Exception,), {})("no")
        kept = ledger.record(PluginFailure.of(Stage.CALL, "tea", error))
        assert SECRET not in shown(kept)

    def test_a_file_named_by_a_value(self):
        """The place is a text of the plugin's, too."""
        ledger = FailureLedger(scrubber_of=scrubber_of)
        with Guard() as guard:
            exec(compile("raise ValueError", f"/etc/{SECRET}.py", "exec"), {})
        kept = ledger.record(PluginFailure.of(Stage.CALL, "tea", guard.error))
        assert kept.place == f"{__file__}:{guard.error.__traceback__.tb_lineno} > /etc/***.py:1"
        assert SECRET not in shown(kept)

    def test_a_short_value_hides_message_and_traceback_whole(self):
        """Stage, hook and class stay, so that failures are distinguished."""
        ledger = FailureLedger(scrubber_of=scrubber_of)
        kept = ledger.record(raised("pin", "12", subject="hook12"))
        assert (kept.message, kept.traceback) == (MASK, MASK)
        assert (kept.subject, kept.exception_type) == ("hook12", "ValueError")

    def test_of_another_plugin_nothing_is_hidden(self):
        """Each is scrubbed of its own values alone."""
        ledger = FailureLedger(scrubber_of=scrubber_of)
        assert ledger.record(raised("milk")).message == f"ValueError: {SECRET}"

    def test_equal_failures_are_still_one(self):
        """Refusals that differ in the value alone are the same words, and are counted."""
        reported = []
        ledger = FailureLedger(
            reported.append, scrubber_of=lambda _: Scrubber(["value-one", "value-two"])
        )
        for text in ("value-one", "value-two"):
            ledger.record(failure(exception_type=None, message=f"no {text}"))
        again = failure(exception_type=None, message="no value-one", minute=1)
        (kept,) = ledger.replace([again], always)
        assert (kept.message, kept.count) == ("no ***", 3)
        assert len(reported) == 1

    def test_the_scrubber_is_asked_without_the_lock(self):
        """The finder may read the ledger."""
        ledger = FailureLedger(scrubber_of=lambda slug: Scrubber(e.message for e in ledger.all()))
        ledger.record(failure(message="first"))
        ledger.replace([failure("milk", message="the first")], lambda _: False)
        assert [record.message for record in ledger.all()] == ["first", "the ***"]

    @pytest.mark.parametrize("error", [OSError(SECRET), SystemExit(SECRET)])
    @pytest.mark.parametrize("way", ["record", "replace"])
    def test_without_a_scrubber_the_texts_are_withheld(self, way, error, caplog):
        """The record is kept and counted, with the type alone; the failure shows nothing either."""

        def fails(_):
            raise error

        ledger = FailureLedger(scrubber_of=fails)
        with caplog.at_level(logging.DEBUG):
            for given in (raised("tea"), raised("tea")):
                ledger.record(given) if way == "record" else ledger.replace([given], always)
        (kept,) = ledger.all()
        assert (kept.message, kept.traceback, kept.count) == ("ValueError", "", 2)
        assert type(error).__name__ in caplog.text
        assert SECRET not in shown(kept) + caplog.text

    def test_without_a_scrubber_and_an_exception(self):
        """A refusal in words says that its words are withheld."""

        def fails(_):
            raise OSError

        ledger = FailureLedger(scrubber_of=fails)
        kept = ledger.record(failure(exception_type=None, message=SECRET))
        assert "withheld" in kept.message
        assert SECRET not in shown(kept)


def test_a_plugin_that_raises_ever_new_classes_fills_no_memory():
    """The records of one plugin are bounded, and those seen last are kept."""
    ledger = FailureLedger()
    for number in range(MOST_PER_PLUGIN * 3):
        error = type(f"Error{number}", (Exception,), {})()
        ledger.record(PluginFailure.of(Stage.CALL, "bad", error))
    ledger.record(PluginFailure.of(Stage.CALL, "other", ValueError()))

    assert len(ledger.of("bad")) == MOST_PER_PLUGIN
    assert ledger.of("bad")[-1].message == f"Error{MOST_PER_PLUGIN * 3 - 1}"
    assert len(ledger.of("other")) == 1
