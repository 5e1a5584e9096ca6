"""The checked plugin, and the observations of it, each made once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from plugreg._support import lazy
from plugreg._support.slugs import canonical, slug_fault, slugify
from plugreg.contract import Contract
from plugreg.contract.checking import check
from plugreg.contract.codes import finding
from plugreg.contract.projects import PluginProject
from plugreg.contract.values import Finding
from plugreg.exceptions import MissingExtraError
from plugreg.testing import packaging
from plugreg.testing.children import run_child
from plugreg.testing.living import MakeHost, live

IMPORT_SECONDS: Final = 30.0
LIFE_SECONDS: Final = 120.0
"""Seconds after which a child is ended."""

_UNTRIED: Final = ("K007", "K109")
"""Codes of plugins that say nothing here: for another host, or with other libraries."""

_ENDS: Final = ("K301", "K302")
"""Codes of an import that gave no plugin."""


class Subject:
    """A plugin under check. Its parts are computed when a check first uses them.

    Args:
        contract: The contract of the host.
        value: ``module:attribute`` of the plugin.
        slug: Its slug.
        project: Its distribution.
        make_host: Makes a host with the plugin in this process. None tries its life in a child.
    """

    def __init__(
        self,
        contract: Contract,
        value: str,
        slug: str,
        project: PluginProject,
        *,
        make_host: MakeHost | None = None,
    ) -> None:
        self.contract = contract
        self.value = value
        self.slug = slug
        self.project = project
        self._make_host = make_host

    @lazy
    def contract_findings(self) -> tuple[Finding, ...]:
        """The findings of the contract check in the sources."""
        return check(self.contract, self.project)

    @lazy
    def packaged(self) -> tuple[Finding, ...]:
        """The observations of the distribution and of imports in its sources."""
        sources = [hook.source for hook in self.contract.hooks.values() if hook.source]
        modules = {source.partition(":")[0].partition(".")[0] for source in sources}
        host = canonical(self.contract.distribution)
        return tuple(packaging.faults(self.project, host, modules))

    @lazy
    def imported(self) -> tuple[Finding, ...]:
        """The observations of an import of the plugin in a child.

        A plugin that the host would not import, for its version, is not imported here, nor is a
        plugin whose requirements are installed in other versions.
        """
        if not self._is_imported:
            return ()
        return self._observe({"act": "import"}, IMPORT_SECONDS, "K302")

    @lazy
    def lived(self) -> tuple[Finding, ...]:
        """The observations while the plugin is switched on and off, called and misconfigured."""
        if not self._is_imported or any(seen.code in _ENDS for seen in self.imported):
            return ()  # There is nothing else to observe.
        if find_spec("hypothesis") is None:
            raise MissingExtraError("trying the hooks of a plugin", "hypothesis", "kit")
        if self._make_host is not None:
            return live(self._make_host, name=self.value)
        with tempfile.TemporaryDirectory(prefix="plugreg-check-") as folder:
            file = Path(folder, "contract.json")
            self.contract.write(file)
            request = {"act": "life", "slug": self.slug, "contract": str(file)}
            return self._observe(request, LIFE_SECONDS, "K406")

    def _observe(self, request: Mapping[str, str], seconds: float, end: str) -> tuple[Finding, ...]:
        """Return the findings of a child, or one of the code *end* if it ended without them."""
        search = [str(Path(folder).absolute()) for folder in self.project.search]
        child = run_child({**request, "value": self.value}, search, seconds)
        if child.answer is None:
            return (finding(end, self.value, f"{child.reason} {child.output}".strip()),)
        return tuple(Finding(**row) for row in child.answer)

    @property
    def _is_imported(self) -> bool:
        if not self.value or slug_fault(slugify(self.slug), self.slug) is not None:
            return False
        found = (*self.packaged, *self.contract_findings)
        return all(seen.code not in _UNTRIED for seen in found)
