"""Spans and metrics of OpenTelemetry for calls of plugins, with the extra ``plugreg[otel]``."""

from __future__ import annotations

from contextvars import Token
from time import perf_counter
from typing import Final, NamedTuple

from plugreg._support.guard import explain
from plugreg.exceptions import MissingExtraError

try:
    from opentelemetry import context, metrics, trace
except ImportError as error:
    package = "opentelemetry-api"
    raise MissingExtraError.of(error, __name__, package, "otel", "opentelemetry") from error

_SCOPE: Final = "plugreg"
"""The name of the instrumentation scope that spans and metrics belong to."""

_BOUNDARIES: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Seconds. OpenTelemetry's own boundaries are meant for milliseconds, and the first is 5."""


class _CallSpan(NamedTuple):
    """A call in progress: its span, the token that detaches the span, and the start time."""

    attributes: dict[str, str]
    span: trace.Span
    attached: Token[context.Context]
    began: float


class OpenTelemetryObserver:
    """Makes a span of each call of a plugin, and counts and times calls by plugin and hook.

    It is a :class:`plugreg.observation.CallObserver`: ``PluginRegistry(observe=[…])``. It has no
    state of its own, and serves any number of threads, tasks and registries.

    A span is named ``plugreg.call <hook>`` and is current while the plugin runs: spans that the
    plugin makes are its children, and it is a child of the span that was current before. Spans and
    metrics have the attributes ``plugreg.plugin.slug`` and ``plugreg.hook``. The metrics are
    ``plugreg.call.duration``, a histogram of seconds, and ``plugreg.call.errors``, a counter.

    The span of a call that raised has the status ERROR and an event ``exception`` with the
    ``exception.type`` alone. Message and stack trace stay in the plugin's failure records: they
    may quote protected settings, and telemetry has more readers. A cancelled call has neither
    status nor event. Spans of the plugin itself are not changed; one that it makes with
    OpenTelemetry's ``start_as_current_span`` records messages.

    Args:
        tracer_provider: Provider of tracers. Defaults to the global provider, set before or after.
        meter_provider: Provider of meters. Defaults to the global provider, set before or after.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._durations = meter.create_histogram(
            "plugreg.call.duration",
            unit="s",
            description="How long calls of plugins take.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        self._errors = meter.create_counter(
            "plugreg.call.errors",
            unit="{error}",
            description="Calls of plugins that have raised.",
        )

    def began(self, slug: str, hook: str) -> _CallSpan:
        """Start the span of a call.

        Args:
            slug: The plugin.
            hook: The hook, or ``mixin.method``.

        Returns:
            The token for `ended`.
        """
        attributes = {"plugreg.plugin.slug": slug, "plugreg.hook": hook}
        span = self._tracer.start_span(f"plugreg.call {hook}", attributes=attributes)
        attached = context.attach(trace.set_span_in_context(span))
        return _CallSpan(attributes, span, attached, perf_counter())

    def ended(self, token: _CallSpan, error: BaseException | None) -> None:
        """End the span of a call.

        Args:
            token: The token that `began` returned.
            error: The exception of the call, or None.
        """
        seconds = perf_counter() - token.began
        try:
            # While the span is current, so that an exemplar of a metric leads to it.
            self._durations.record(seconds, token.attributes)
            if error is not None:
                self._errors.add(1, token.attributes)
                kind = explain(error).exception_type
                token.span.add_event("exception", {"exception.type": kind})
                token.span.set_status(trace.StatusCode.ERROR)
        finally:
            context.detach(token.attached)
            token.span.end()
