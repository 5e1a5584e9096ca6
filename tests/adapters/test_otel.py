"""Calls as spans and metrics, seen as the SDK of OpenTelemetry would send them."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import plugreg
from plugreg import MissingExtraError, Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.adapters.otel import OpenTelemetryObserver
from plugreg.mixins import SettingsMixin

SECRET = "k3ttle-c4nary"
SLUG, HOOK = "plugreg.plugin.slug", "plugreg.hook"


class Specs:
    @hookspec
    def price(self, item: str) -> float | None:
        """Return the price of an item."""

    @hookspec
    def greet(self) -> None:
        """Say hello."""


class NoWaterError(Exception):
    """A type of the plugin's own."""


class Telemetry:
    """An observer with an SDK of its own, and the recorded spans and metrics."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader])
        self.tracer = tracers.get_tracer("test")
        self.observer = OpenTelemetryObserver(tracers, self.meters)

    @property
    def spans(self):
        """The spans that have ended, in that order."""
        return self._exporter.get_finished_spans()

    def span(self, slug):
        """The one span of a plugin's calls."""
        [found] = [span for span in self.spans if span.attributes.get(SLUG) == slug]
        return found

    def metrics(self):
        """The metrics by name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def durations(self):
        """The points of the histogram by plugin and hook."""
        return by_call(self.metrics()["plugreg.call.duration"])


def by_call(metric):
    """Map plugin and hook to the metric's point, which has no other attributes."""
    for point in metric.data.data_points:
        assert set(point.attributes) == {SLUG, HOOK}
    return {
        (point.attributes[SLUG], point.attributes[HOOK]): point for point in metric.data.data_points
    }


class Tea(SettingsMixin, Plugin):
    """Fails with a message that quotes a setting."""

    NAME = "tea"
    SETTINGS = {"KEY": {"name": "Key", "protected": True, "default": SECRET}}

    @hookimpl
    def price(self, item):
        raise NoWaterError(f"refused with {self.get_setting('KEY')}") from ValueError(SECRET)


class Milk(Plugin):
    NAME = "milk"

    @hookimpl
    def price(self, item):
        return 1.0

    @hookimpl
    def greet(self):
        return None


class Tracing(Plugin):
    """Makes a span itself, named as the item is."""

    def __init__(self, tracer):
        self.tracer = tracer

    @hookimpl
    def price(self, item):
        with self.tracer.start_as_current_span(item):
            return 2.0


@pytest.fixture
def telemetry():
    made = Telemetry()
    yield made
    made.meters.shutdown()


@pytest.fixture
def registry(telemetry):
    made = PluginRegistry(
        "shop",
        group="no.such",
        hookspecs=[Specs],
        builtin=[Tea, Milk, ("tracing", Tracing(telemetry.tracer))],
        new_plugins="active",
        observe=[telemetry.observer],
    )
    with made:
        made.load()
        assert sorted(made.active) == ["milk", "tea", "tracing"]
        yield made


def parent_of(span):
    return None if span.parent is None else span.parent.span_id


class TestSpans:
    def test_a_call_is_a_span_with_plugin_and_hook(self, registry, telemetry):
        """One for each plugin; those that went well say nothing of an error."""
        assert registry.call(Specs.greet) == []
        [span] = telemetry.spans

        assert span.name == "plugreg.call greet"
        assert dict(span.attributes) == {SLUG: "milk", HOOK: "greet"}
        assert span.instrumentation_scope.name == "plugreg"
        assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())
        assert span.start_time <= span.end_time

    def test_it_is_the_current_one_while_the_plugin_runs(self, registry, telemetry):
        """A plugin's span is its child, it is a child of the host's span, and of no other."""
        with telemetry.tracer.start_as_current_span("request") as request:
            registry.call(Specs.price, item="own")
            assert trace.get_current_span() is request
        spans = {span.name: span for span in telemetry.spans}

        assert parent_of(spans["own"]) == telemetry.span("tracing").context.span_id
        for slug in ("tea", "milk", "tracing"):
            assert parent_of(telemetry.span(slug)) == request.get_span_context().span_id

    def test_without_a_current_span_each_call_is_the_first_of_a_trace(self, registry, telemetry):
        """Also where the call before has raised."""
        registry.call(Specs.price, item="own")

        for slug in ("tea", "milk", "tracing"):
            assert parent_of(telemetry.span(slug)) is None

    def test_an_error_has_its_type_and_never_its_message(self, registry, telemetry):
        """Neither message, cause nor stack trace, since they may quote a protected setting."""
        raised = {
            outcome.slug: outcome.error for outcome in registry.outcomes(Specs.price, item="tea")
        }
        assert SECRET in str(raised["tea"])
        assert SECRET in str(raised["tea"].__cause__)
        span = telemetry.span("tea")
        [event] = span.events

        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert event.name == "exception"
        assert dict(event.attributes) == {"exception.type": f"{__name__}.NoWaterError"}
        assert all(SECRET not in item.to_json() for item in telemetry.spans)
        assert telemetry.span("milk").status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, SystemExit])
    def test_the_span_ends_whatever_ends_the_call(self, telemetry, kind):
        """Even exceptions that belong to the process; the current span is the one of before."""
        before = trace.get_current_span()
        token = telemetry.observer.began("tea", "price")
        assert trace.get_current_span() is not before
        telemetry.observer.ended(token, kind())
        [span] = telemetry.spans

        assert trace.get_current_span() is before
        assert dict(span.events[0].attributes) == {"exception.type": kind.__name__}

    def test_an_error_that_cannot_be_shown_ends_the_span_too(self, telemetry):
        """Its methods are the plugin's, and may do anything."""

        class Hostile(Exception):
            def __str__(self):
                raise SystemExit

        token = telemetry.observer.began("tea", "price")
        telemetry.observer.ended(token, Hostile())
        [span] = telemetry.spans

        assert span.status.status_code is StatusCode.ERROR
        assert not trace.get_current_span().get_span_context().is_valid


class TestContexts:
    def test_tasks_do_not_mix_their_spans(self, telemetry):
        """Calls that are under way in many tasks at once are children of the task's own span."""
        observer, count = telemetry.observer, 5

        async def request(number, barrier):
            with telemetry.tracer.start_as_current_span(f"request {number}"):
                token = observer.began(f"plugin-{number}", "price")
                await barrier.wait()
                with telemetry.tracer.start_as_current_span(f"own {number}"):
                    await barrier.wait()
                # The first that began is the first that ends, unlike in one thread.
                observer.ended(token, None)
                await barrier.wait()

        async def main():
            barrier = asyncio.Barrier(count)
            await asyncio.gather(*(request(number, barrier) for number in range(count)))

        asyncio.run(main())
        spans = {span.name: span for span in telemetry.spans}
        for number in range(count):
            call = telemetry.span(f"plugin-{number}")
            assert parent_of(call) == spans[f"request {number}"].context.span_id
            assert parent_of(spans[f"own {number}"]) == call.context.span_id

    def test_a_call_in_a_task_is_a_child_of_the_tasks_span(self, registry, telemetry):
        """A task that was made within a span goes on with it, and so do the plugins it calls."""

        async def ask(item):
            await asyncio.sleep(0)
            registry.call(Specs.price, item=item)

        async def main():
            with telemetry.tracer.start_as_current_span("request"):
                asked = asyncio.create_task(ask("own"))
            await asked

        asyncio.run(main())
        spans = {span.name: span for span in telemetry.spans}
        call = telemetry.span("tracing")

        assert parent_of(spans["own"]) == call.context.span_id
        assert parent_of(call) == spans["request"].context.span_id

    def test_threads_do_not_mix_their_spans(self, registry, telemetry):
        """Each call of a plugin is a child of its own thread's span."""
        barrier = threading.Barrier(4, timeout=30)

        def ask(number):
            with telemetry.tracer.start_as_current_span(f"request {number}"):
                barrier.wait()
                registry.call(Specs.price, item=f"own {number}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        by_name = {span.name: span for span in telemetry.spans}
        by_id = {span.context.span_id: span for span in telemetry.spans}
        for number in range(4):
            call = by_id[parent_of(by_name[f"own {number}"])]
            assert call.attributes[SLUG] == "tracing"
            assert by_id[parent_of(call)].name == f"request {number}"


class TestMetrics:
    def test_calls_are_timed_and_errors_counted_by_plugin_and_hook(self, registry, telemetry):
        """The histogram is of seconds and has all calls, the counter those that have raised."""
        for _ in range(3):
            registry.call(Specs.price, item="tea")
        registry.call(Specs.greet)
        found = telemetry.metrics()
        durations, errors = found["plugreg.call.duration"], found["plugreg.call.errors"]

        assert {which: item.count for which, item in by_call(durations).items()} == {
            ("tea", "price"): 3,
            ("milk", "price"): 3,
            ("tracing", "price"): 3,
            ("milk", "greet"): 1,
        }
        assert {which: item.value for which, item in by_call(errors).items()} == {
            ("tea", "price"): 3
        }
        assert (durations.unit, errors.unit) == ("s", "{error}")

    def test_durations_are_seconds(self, registry, telemetry):
        """The measured time lies within the time that the caller has measured by the same clock."""
        started = perf_counter()
        registry.call(Specs.greet)
        elapsed = perf_counter() - started
        [point] = telemetry.durations().values()

        assert 0 < point.sum < elapsed

    def test_short_calls_differ(self, registry, telemetry):
        """There are buckets below a millisecond, and up to some seconds."""
        registry.call(Specs.greet)
        [point] = telemetry.durations().values()

        assert any(0 < bound < 0.001 for bound in point.explicit_bounds)
        assert 1 < max(point.explicit_bounds) < 1000

    def test_an_exemplar_leads_to_the_span_of_the_call(self, registry, telemetry):
        """A slow call that is seen in the figures can be looked at."""
        with telemetry.tracer.start_as_current_span("request"):
            registry.call(Specs.greet)
        [point] = telemetry.durations().values()

        assert [exemplar.span_id for exemplar in point.exemplars] == [
            telemetry.span("milk").context.span_id
        ]


GLOBAL = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.adapters.otel import OpenTelemetryObserver

class Specs:
    @hookspec
    def price(self): ...

class Milk(Plugin):
    @hookimpl
    def price(self):
        return 1.0

registry = PluginRegistry(
    "shop", group="no.such", hookspecs=[Specs], builtin=[("milk", Milk)], mandatory=["milk"],
    observe=[OpenTelemetryObserver()],
)
registry.load()
assert registry.call("price") == [1.0]  # Nobody looks yet.
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([reader]))
assert registry.call("price") == [1.0]
print([span.name for span in exporter.get_finished_spans()])
[resource] = reader.get_metrics_data().resource_metrics
print([metric.name for scope in resource.scope_metrics for metric in scope.metrics])
"""


def test_without_providers_the_global_ones_are_used():
    """Also those that the host sets later; without an SDK the calls just pass."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GLOBAL],
        env={**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["['plugreg.call price']", "['plugreg.call.duration']"]


def test_without_opentelemetry_it_says_what_to_install(monkeypatch):
    """The error names the extra."""
    monkeypatch.delitem(sys.modules, "plugreg.adapters.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"plugreg\[otel\]"):
        importlib.import_module("plugreg.adapters.otel")
