"""The capability to deliver the host's notifications to people."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plugreg.mixins._spec import MixinSpec


class NotificationMixin:
    """For plugins that deliver notifications, to users as the host represents them."""

    def filter_targets(self, targets: Iterable[Any]) -> Iterable[Any]:
        """Return the targets that this plugin can and may reach.

        Args:
            targets: All targets of a notification.
        """
        return targets

    def send_notification(
        self, target: Any, category: str, users: Iterable[Any], context: Mapping[str, Any]
    ) -> bool:
        """Send a notification.

        Args:
            target: The object that the notification is about.
            category: Kind of the notification, as the host names it.
            users: Recipients.
            context: Values for the message.

        Returns:
            Whether it was sent.
        """
        return False


SPEC = MixinSpec(key="notification", human_name="notification", cls=NotificationMixin)
