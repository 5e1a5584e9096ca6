"""Broken on purpose: does not keep what a mixin asks for. Fails at stage ``activate``.

The schedule ``F`` does not exist, and ``tidy_up`` is no method. Each is told by name.
"""

from plugreg import Plugin
from plugreg.mixins import ScheduleMixin


class BrokenMixin(ScheduleMixin, Plugin):
    """Wants work done every fortnight."""

    SCHEDULED_TASKS = {"tidying": {"func": "tidy_up", "schedule": "F"}}
