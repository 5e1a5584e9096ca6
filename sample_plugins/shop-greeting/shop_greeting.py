"""Settings: texts, numbers, yes or no, one of several, a secret; and settings of each user.

``validator`` makes the type: ``bool``, ``int`` and ``float`` convert, any other function checks.
``type`` names any type that pydantic knows. What is written is checked when it is written; what is
read is a bool, a number, a text or a value of that type.
Settings that depend on something are in shop-gift-wrap.
"""

from typing import Literal

from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin


def one_line(text: str) -> None:
    """Refuse a text of several lines. The words of the ValueError are shown to people."""
    if "\n" in text:
        raise ValueError("A greeting is one line")


class Greeting(SettingsMixin, Plugin):
    """Greets customers in the way that the shop and the customer like."""

    SETTINGS = {
        "TEXT": {"name": "Greeting", "default": "Good morning", "validator": one_line},
        "LOUD": {"name": "Say it loudly", "default": False, "validator": bool},
        "REPEAT": {"name": "Say it", "default": 1, "validator": int, "units": "times"},
        "PAUSE": {"name": "Wait before", "default": 0.5, "validator": float, "units": "s"},
        "TONE": {
            "name": "Tone",
            "default": "kind",
            "choices": [("kind", "Kind"), ("short", "As short as can be")],
        },
        "SILENT_ON": {
            "name": "Days without a greeting",
            "default": [],
            "type": list[Literal["Saturday", "Sunday"]],
        },
        "SIGNATURE": {"name": "Who greets", "required": True},
        "API_KEY": {"name": "Key of the translation service", "protected": True},
    }
    USER_SETTINGS = {
        "NICKNAME": {"name": "What to call you", "description": "Empty: your own name"},
    }

    @hookimpl
    def greeting(self, customer: str) -> str:
        text = self.get_setting("TEXT")
        if self.get_setting("LOUD"):
            text = text.upper()
        words = ", ".join([text] * self.get_setting("REPEAT"))
        return words if self.get_setting("TONE") == "short" else f"{words}, {customer}!"

    def name_for(self, user: int, customer: str) -> str:
        """Return what this user likes to be called."""
        return self.get_user_setting("NICKNAME", user) or customer
