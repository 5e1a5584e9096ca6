"""The app of Django: ``"plugreg.adapters.django"`` in ``INSTALLED_APPS``."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from django.apps import AppConfig, apps

from plugreg.cli.hosts import SAFE_MODE, SHELL


class PlugregConfig(AppConfig):  # type: ignore[misc]
    """Provides ``manage.py plugreg``; the setting ``PLUGREG_APP`` names the registry.

    A host that loads its registry when its own app is ready loads no plugin for that command. Its
    app must follow this app.

    The index of Django's own admin gets a link to the page for operators, if the host serves that
    and has no index of its own.
    """

    name = "plugreg.adapters.django"
    label = "plugreg"
    verbose_name = "Plugins"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        self.stdout = sys.stdout
        """Standard output, which the command keeps for its answer."""
        if sys.argv[1:2] == ["plugreg"]:
            os.environ.setdefault(SAFE_MODE, SHELL)
            # Apps that print while they become ready print to standard error.
            sys.stdout = sys.stderr

    def ready(self) -> None:
        """Add the link to the page where there is an admin."""
        if apps.is_installed("django.contrib.admin"):
            from django.contrib import admin

            admin.site.index_template = admin.site.index_template or "plugreg/admin_index.html"
