"""Broken on purpose: a name that does not exist. Fails at stage ``import``."""

from plugreg import Plugin


class BrokenImport(Plugin):
    """Never comes into being."""

    TITLE = titel_of_the_shop  # noqa: F821 - the fault that is shown here
