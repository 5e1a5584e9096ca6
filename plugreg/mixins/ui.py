"""The capability to add features to the host's user interface."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from plugreg._support.frozen import Frozen
from plugreg.mixins._spec import MixinSpec

Context: TypeAlias = Mapping[str, Any]
"""Parameters of a call, by name."""

Features: TypeAlias = Iterable[Mapping[str, Any]]
"""Mappings with a ``key``, and optionally ``title``, ``description``, ``icon``, ``options``,
``context`` and ``source``."""

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
"""Name of the method that returns the features of a type, by type."""


class UIRequest(Frozen):
    """A request for features, by which a plugin decides who sees which.

    Args:
        actor: The host's ``plugreg.api.Actor``, or None in Python.
        feature: Type of the features.
        params: Parameters of the call, as strings.
    """

    actor: Any
    feature: str
    params: Mapping[str, Any] = field(default_factory=dict)


class UserInterfaceMixin:
    """For plugins that add to the interface; override the getters that are needed."""

    def get_ui_features(
        self, feature_type: str, context: Context, request: Any, **kwargs: Any
    ) -> Features:
        """Return the features of a type. Override it to add types of the plugin's own.

        Args:
            feature_type: A key of ``FEATURE_GETTERS``; another type has no features.
            context: Parameters of the call.
            request: A :class:`UIRequest`.
            **kwargs: Passed on to the getter.
        """
        getter = FEATURE_GETTERS.get(feature_type)
        if getter is None:
            return []
        features: Features = getattr(self, getter)(request, context, **kwargs)
        return features

    def get_ui_spotlight_actions(self, request: Any, context: Context, **kwargs: Any) -> Features:
        """Return entries of the host's command search.

        Args:
            request: A :class:`UIRequest`.
            context: Parameters of the call.
            **kwargs: Room for later additions.
        """
        return []

    def get_ui_dashboard_items(self, request: Any, context: Context, **kwargs: Any) -> Features:
        """Return items for the dashboard.

        Args:
            request: A :class:`UIRequest`.
            context: Parameters of the call.
            **kwargs: Room for later additions.
        """
        return []

    def get_ui_panels(self, request: Any, context: Context, **kwargs: Any) -> Features:
        """Return panels for the page that *context* names.

        Args:
            request: A :class:`UIRequest`.
            context: Parameters of the call.
            **kwargs: Room for later additions.
        """
        return []

    def get_ui_template_editors(self, request: Any, context: Context, **kwargs: Any) -> Features:
        """Return editors for templates.

        Args:
            request: A :class:`UIRequest`.
            context: Parameters of the call.
            **kwargs: Room for later additions.
        """
        return []

    def get_ui_template_previews(self, request: Any, context: Context, **kwargs: Any) -> Features:
        """Return previews of templates.

        Args:
            request: A :class:`UIRequest`.
            context: Parameters of the call.
            **kwargs: Room for later additions.
        """
        return []

    def get_ui_navigation_items(self, request: Any, context: Context, **kwargs: Any) -> Features:
        """Return entries of the navigation.

        Args:
            request: A :class:`UIRequest`.
            context: Parameters of the call.
            **kwargs: Room for later additions.
        """
        return []


SPEC = MixinSpec(key="ui", human_name="ui", cls=UserInterfaceMixin, switch="ui")
