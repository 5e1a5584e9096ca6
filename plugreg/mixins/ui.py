"""The capability to add to the host's interface (behaviour.md, section 12)."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from plugreg.mixins._spec import MixinSpec

Features: TypeAlias = Iterable[Mapping[str, Any]]
"""Each has a ``key``, and of ``title``, ``description``, ``icon``, ``options``, ``context`` and
``source`` what it needs."""

FEATURE_GETTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "spotlight_action": "get_ui_spotlight_actions",
        "dashboard": "get_ui_dashboard_items",
        "panel": "get_ui_panels",
        "template_editor": "get_ui_template_editors",
        "template_preview": "get_ui_template_previews",
        "navigation": "get_ui_navigation_items",
    }
)
"""The method that gives the features of each type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UIRequest:
    """Who asks for which features: a plugin decides by it who sees what.

    ``actor`` is the host's ``plugreg.api.Actor``, or None in Python; ``feature`` the type asked
    for; ``params`` the parameters of the call, as text.
    """

    actor: Any
    feature: str
    params: Mapping[str, Any] = field(default_factory=dict)


class UserInterfaceMixin:
    """For plugins that add to the interface; override the getters that are needed.

    Each takes the request (:class:`UIRequest`) and the context (the parameters of the call), and
    gives an iterable of mappings.
    """

    def get_ui_features(
        self, feature_type: str, context: Mapping[str, Any], request: Any, **kwargs: Any
    ) -> Features:
        """Return the features of one type, none for a type that is not known.

        Override it to bring types of the plugin's own.
        """
        getter = FEATURE_GETTERS.get(feature_type)
        if getter is None:
            return []
        features: Features = getattr(self, getter)(request, context, **kwargs)
        return features

    def get_ui_spotlight_actions(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Features:
        """Return entries of the host's command search."""
        return []

    def get_ui_dashboard_items(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Features:
        """Return items for the dashboard."""
        return []

    def get_ui_panels(self, request: Any, context: Mapping[str, Any], **kwargs: Any) -> Features:
        """Return panels for the page that ``context`` names."""
        return []

    def get_ui_template_editors(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Features:
        """Return editors for templates."""
        return []

    def get_ui_template_previews(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Features:
        """Return previews of templates."""
        return []

    def get_ui_navigation_items(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Features:
        """Return entries of the navigation."""
        return []


SPEC = MixinSpec(key="ui", human_name="ui", cls=UserInterfaceMixin, switch="ui")
