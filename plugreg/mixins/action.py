"""The capability to perform an action when a user asks for it by name."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec


class ActionMixin:
    """For plugins that are an action.

    A host calls perform_action, then get_response.
    """

    ACTION_NAME: str | None = None

    def action_name(self) -> str:
        """Return the name of the action: ``ACTION_NAME``, else the plugin's name."""
        return self.ACTION_NAME or str(getattr(self, "name", type(self).__name__))

    def perform_action(self, user: Any = None, data: Any = None) -> None:
        """Perform the action. The plugin must implement it.

        Args:
            user: The user who asks for the action, as the host represents users.
            data: Input of the action.

        Raises:
            NotImplementedError: If the plugin does not implement it.
        """
        raise NotImplementedError(
            f"plugin class {type(self).__name__!r} must implement "
            f"perform_action(user=None, data=None)"
        )

    def get_result(self, user: Any = None, data: Any = None) -> Any:
        """Return whether the action succeeded.

        Args:
            user: The user who asked for the action, as the host represents users.
            data: Input of the action.
        """
        return False

    def get_info(self, user: Any = None, data: Any = None) -> Any:
        """Return details of the action, None if there are none.

        Args:
            user: The user who asked for the action, as the host represents users.
            data: Input of the action.
        """
        return None

    def get_response(self, user: Any = None, data: Any = None) -> dict[str, Any]:
        """Return the answer for the caller.

        Args:
            user: The user who asked for the action, as the host represents users.
            data: Input of the action.

        Returns:
            A dict with the keys ``action``, ``result`` and ``info``.
        """
        return {
            "action": self.action_name(),
            "result": self.get_result(user=user, data=data),
            "info": self.get_info(user=user, data=data),
        }


def _check(plugin: ActionMixin) -> Iterator[str]:
    name: object = plugin.ACTION_NAME
    if name is not None and not isinstance(name, str):
        yield f"ACTION_NAME must be a string or None, not {safe_repr(name)}"


SPEC = MixinSpec(key="action", human_name="Actions", cls=ActionMixin, check=_check)
