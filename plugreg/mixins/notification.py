"""The capability to carry the host's notifications to people."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plugreg.mixins._spec import MixinSpec


class NotificationMixin:
    """For plugins that are a way to reach people. Users are in the host's terms."""

    def filter_targets(self, targets: Iterable[Any]) -> Iterable[Any]:
        """Return those of ``targets`` that this plugin can and may reach."""
        return targets

    def send_notification(
        self, target: Any, category: str, users: Iterable[Any], context: Mapping[str, Any]
    ) -> bool:
        """Tell ``users`` of ``target``; return whether that was done."""
        return False


SPEC = MixinSpec(key="notification", human_name="notification", cls=NotificationMixin)
