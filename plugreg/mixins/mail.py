"""The capability to process mail that the host sends and receives."""

from __future__ import annotations

from typing import Any

from plugreg.mixins._spec import MixinSpec


class MailMixin:
    """For plugins that process mail. The defaults do nothing."""

    def process_mail_out(self, mail: Any) -> None:
        """Process mail that is sent.

        Args:
            mail: The host's object for it.
        """

    def process_mail_in(self, mail: Any) -> None:
        """Process mail that was received.

        Args:
            mail: The host's object for it.
        """


SPEC = MixinSpec(key="mail", human_name="Mail", cls=MailMixin, switch="mail")
