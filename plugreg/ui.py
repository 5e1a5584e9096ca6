"""UI features and admin details of active plugins, collected in isolation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from plugreg._state.ledger import FailureLedger, ScrubberOf
from plugreg._support.guard import Guard
from plugreg._support.redact import MASK, Scrubber
from plugreg.mixins.ui import UIRequest
from plugreg.plugin import Plugin
from plugreg.records import ActivePlugin, Snapshot

MOST_FEATURES: Final = 1_000
"""The most features of one type that a plugin may show: an iterable may have no end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UIFeature:
    """One feature of one plugin.

    Attributes:
        plugin_name: The plugin's slug.
        feature_type: The type that was asked for.
        key: Name of the feature within its plugin.
        title: String to show, or None.
        description: String to show, or None.
        icon: Name of an icon, or None.
        source: Address of the script, or None.
        options: JSON values for the page.
        context: JSON values for the script.
    """

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
    """The admin panel of one plugin.

    Attributes:
        source: Address of the panel's script, or None.
        context: JSON value that is handed to the script, or None.
    """

    source: str | None = None
    context: Any = None


class UserInterface:
    """Collects features and admin details of active plugins. Keeps nothing.

    A fault of a plugin is recorded and raises nothing. All values are scrubbed of the plugin's
    own protected values.

    Args:
        current: Returns the snapshot; raises RegistryNotReady before load and after close.
        ledger: Records the faults.
        scrubber_of: Returns the scrubber of a plugin's protected values.
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
        """Return the features of one type.

        They are in activation order, then in each plugin's order. A plugin that raises has no
        features. A damaged feature costs itself alone.

        Args:
            feature: The type of the features.
            context: Parameters of the request; each plugin receives its own copy.
            actor: The user who asks.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        params = dict(context or {})
        return tuple(
            shown
            for active in self._current().with_mixin("ui")
            for shown in self._collect(active, feature, params, actor)
        )

    def admin(self, active: ActivePlugin) -> AdminDetails:
        """Return the admin details of an active plugin; a part that fails is None.

        Args:
            active: The plugin.
        """
        # isinstance() would ask the object for its __class__, which it may lie about or refuse.
        if not issubclass(type(active.plugin), Plugin):
            return AdminDetails()
        return AdminDetails(
            source=self._ask(active, "get_admin_source", _optional_str),
            context=self._ask(active, "get_admin_context", _json_value),
        )

    def _ask(self, active: ActivePlugin, method: str, convert: Callable[[Any], Any]) -> Any:
        with Guard() as guard:
            value = convert(getattr(active.plugin, method)())
            return self._scrubber_of(active.slug).value(value)
        self._ledger.record_call(active.slug, method, guard.error)
        return None

    def _collect(
        self, active: ActivePlugin, feature: str, params: Mapping[str, Any], actor: Any
    ) -> list[UIFeature]:
        # Copies, so that a plugin that changes them does not change those of the others.
        request = UIRequest(actor=actor, feature=feature, params=dict(params))
        features: list[UIFeature] = []
        with Guard() as guard:
            shown: Iterable[Any] = active.plugin.get_ui_features(feature, dict(params), request)
            sent = [item for pair in params.items() for item in pair if type(item) is str]
            scrubber = self._scrubber_of(active.slug).without(sent)
            for number, value in enumerate(shown, start=1):
                if number > MOST_FEATURES:
                    raise ValueError(f"gave more than {MOST_FEATURES} features")
                with Guard() as inner:
                    features.append(_parse_feature(active.slug, feature, value, scrubber))
                if inner.error is not None:
                    self._ledger.record_call(active.slug, f"ui feature {feature}", inner.error)
            return features
        self._ledger.record_call(active.slug, f"ui features {feature}", guard.error)
        return []


def _parse_feature(slug: str, feature: str, given: Any, scrubber: Scrubber) -> UIFeature:
    """Return a plugin's value as a feature, copied. Raises TypeError and ValueError."""
    if not isinstance(given, Mapping):
        raise TypeError(f"a ui feature must be a mapping, not {type(given).__name__}")
    if not given.get("key"):
        raise ValueError("a ui feature must have a 'key'")
    strings = {
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
        **strings,
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
    """Return a copy of *value* that JSON can hold. Raises TypeError or ValueError."""
    import json

    return json.loads(json.dumps(value, allow_nan=False))


def _optional_str(value: Any) -> str | None:
    return None if value is None else str(value)
