"""An action that a user asks for by name, and a say in what is valid.

Two capabilities in one plugin: mixins combine, in any order.
"""

from typing import Any

from plugreg import Plugin
from plugreg.mixins import ActionMixin, ValidationMixin


class Stocktake(ActionMixin, ValidationMixin, Plugin):
    """Counts the shelves."""

    ACTION_NAME = "count"

    def perform_action(self, user: Any = None, data: Any = None) -> None:
        self.counted: int = sum((data or {}).get("shelf", {}).values())

    def get_result(self, user: Any = None, data: Any = None) -> bool:
        return self.counted > 0

    def get_info(self, user: Any = None, data: Any = None) -> dict[str, int]:
        return {"pieces": self.counted}

    def validate_item(self, item: str) -> None:
        """Refuse what does not keep. The host chose this name, and asks each plugin that has it."""
        if item == "ice cream":
            self.raise_error(f"{item} does not keep on a shelf")
