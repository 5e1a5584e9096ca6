"""Broken on purpose: overrides a method that is final. Stage ``import``.

Python makes the class while it imports the module, and plugreg refuses it there: a plugin that
answers for its settings itself could not be trusted to keep them.
"""

from typing import Any

from plugreg import Plugin


class BadActor(Plugin):
    """Has an answer to everything."""

    def get_setting(self, key: str, backup_value: object = None) -> Any:
        return "whatever you like"
