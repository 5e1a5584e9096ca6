"""The capability to see mail that the host sends and receives."""

from __future__ import annotations

from typing import Any

from plugreg.mixins._spec import MixinSpec


class MailMixin:
    """For plugins that look at mail, which is in the host's terms. By default nothing is done."""

    def process_mail_out(self, mail: Any) -> None:
        """Act on mail that is sent."""

    def process_mail_in(self, mail: Any) -> None:
        """Act on mail that was received."""


SPEC = MixinSpec(key="mail", human_name="Mail", cls=MailMixin, switch="mail")
