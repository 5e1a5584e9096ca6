"""UI features and admin details: what active plugins show, collected in isolation.

Sources: behaviour.md, sections 12 and 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from plugreg._state.ledger import FailureLedger, ScrubberOf
from plugreg._support.guard import Guard
from plugreg._support.redact import MASK, Scrubber
from plugreg.mixins.ui import UIRequest
from plugreg.plugin import Plugin
from plugreg.records import ActivePlugin, PluginFailure, Snapshot, Stage

MOST_FEATURES: Final = 1_000
"""The most features of one type that a plugin may show: an iterable may have no end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UIFeature:
    """One feature of one plugin. ``plugin_name`` is the slug. Texts not given are None."""

    plugin_name: str
    feature_type: str
    key: str
    title: str | None = None
    description: str | None = None
    icon: str | None = None
    source: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminDetails:
    """The script of a plugin's admin panel and what is handed to it; each may be None."""

    source: str | None = None
    context: Any = None


class UserInterface:
    """Asks active plugins what they show. Keeps nothing; a fault is a record in the ledger.

    What a plugin shows is scrubbed of its own protected values.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        ledger: FailureLedger,
        scrubber_of: ScrubberOf = lambda _: Scrubber(),
    ) -> None:
        self._current = current
        self._ledger = ledger
        self._scrubber_of = scrubber_of

    def features(
        self, feature: str, context: Mapping[str, Any] | None, actor: Any
    ) -> tuple[UIFeature, ...]:
        """Return the features of one type, in activation order, then in each plugin's own order.

        A plugin that fails costs its features, and one that is no feature costs itself alone.
        """
        snapshot = self._current()
        params = dict(context or {})
        shown = {id(each) for each in snapshot.by_mixin.get("ui", ())}
        return tuple(
            found
            for active in snapshot.active.values()
            if id(active.plugin) in shown
            for found in self._of_plugin(active, feature, params, actor)
        )

    def admin(self, active: ActivePlugin) -> AdminDetails:
        """Return the admin details of a plugin in service; what fails is None."""
        # isinstance() would ask the object for its __class__, which it may lie about or refuse.
        if not issubclass(type(active.plugin), Plugin):
            return AdminDetails()
        return AdminDetails(
            source=self._asked(active, "get_admin_source", _text),
            context=self._asked(active, "get_admin_context", _json_value),
        )

    def _asked(self, active: ActivePlugin, method: str, shape: Callable[[Any], Any]) -> Any:
        with Guard() as guard:
            given = shape(getattr(active.plugin, method)())
            return self._scrubber_of(active.slug).value(given)
        self._keep(active, method, guard.error)
        return None

    def _of_plugin(
        self, active: ActivePlugin, feature: str, params: Mapping[str, Any], actor: Any
    ) -> list[UIFeature]:
        # Copies, so that what one plugin does to them no other one sees.
        request = UIRequest(actor=actor, feature=feature, params=dict(params))
        found: list[UIFeature] = []
        with Guard() as guard:
            given: Iterable[Any] = active.plugin.get_ui_features(feature, dict(params), request)
            scrubber = self._scrubber_of(active.slug)
            for number, each in enumerate(given, start=1):
                if number > MOST_FEATURES:
                    raise ValueError(f"gave more than {MOST_FEATURES} features")
                with Guard() as inner:
                    found.append(_shaped(active.slug, feature, each, scrubber))
                self._keep(active, f"ui feature {feature}", inner.error)
        self._keep(active, f"ui features {feature}", guard.error)
        return found if guard.error is None else []

    def _keep(self, active: ActivePlugin, subject: str, error: BaseException | None) -> None:
        if error is not None:
            self._ledger.record(
                PluginFailure.of(Stage.CALL, active.slug, error, subject=subject, what=subject)
            )


def _shaped(slug: str, feature: str, given: Any, scrubber: Scrubber) -> UIFeature:
    """Make a feature of what a plugin gave, which is copied and not changed. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise TypeError(f"a ui feature must be a mapping, not {type(given).__name__}")
    if not given.get("key"):
        raise ValueError("a ui feature must have a 'key'")
    texts = {
        name: scrubber.value(str(given[name]))
        for name in ("title", "description", "icon", "source")
        if given.get(name) is not None
    }
    return UIFeature(
        plugin_name=slug,
        feature_type=feature,
        key=scrubber.value(str(given["key"])),
        options=_json_object(given, "options", scrubber),
        context=_json_object(given, "context", scrubber),
        **texts,
    )


def _json_object(given: Mapping[str, Any], name: str, scrubber: Scrubber) -> Mapping[str, Any]:
    value = given.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name!r} of a ui feature must be a mapping, not {type(value).__name__}")
    copied = scrubber.value(_json_value(dict(value)))
    if copied == MASK:
        raise ValueError(f"{name!r} of a ui feature must be nested less deep")
    return dict(copied)


def _json_value(value: Any) -> Any:
    """Return a copy of ``value`` that JSON can hold. Raises TypeError or ValueError."""
    import json

    return json.loads(json.dumps(value, allow_nan=False))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
