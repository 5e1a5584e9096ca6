"""The checked plugin, and the observations of it, each made once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from plugreg._support.lazy import lazy
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

SLOW: Final = 1.0
"""Seconds of CPU time from which on an import is slow; other processes do not count."""

HEAVY: Final = frozenset(
    ("numpy", "pandas", "scipy", "matplotlib", "torch", "tensorflow", "sklearn", "django", "boto3")
)
"""Packages that take long to import, and are better imported where they are used."""


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
        request = {"act": "import", "value": self.value}
        ended = run_child(request, self.search, IMPORT_SECONDS)
        if ended.answer is None:
            return (finding("K302", self.value, f"{ended.reason} {ended.output}".strip()),)
        answer = ended.answer
        found = []
        if answer["fault"]:
            found.append(finding(answer["code"], self.value, answer["fault"]))
        if answer["printed"].strip():
            first = answer["printed"].strip().splitlines()[0]
            found.append(finding("K303", self.value, f"it prints {first!r}"))
        for clause in answer["changes"]:
            found.append(finding(_code_of(clause), self.value, clause))  # noqa: PERF401
        if answer["seconds"] > SLOW:
            message = f"its import takes {answer['seconds']:.1f} s"
            found.append(finding("K308", self.value, message))
        heavy = sorted(HEAVY & {*answer["modules"]})
        if heavy:
            found.append(finding("K309", self.value, f"it imports {', '.join(heavy)}"))
        return tuple(found)

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
            request = {
                "act": "life",
                "value": self.value,
                "slug": self.slug,
                "contract": str(file),
            }
            ended = run_child(request, self.search, LIFE_SECONDS)
        if ended.answer is None:
            return (finding("K406", self.value, f"{ended.reason} {ended.output}".strip()),)
        return tuple(Finding(**row) for row in ended.answer["seen"])

    @property
    def _is_imported(self) -> bool:
        if not self.value or slug_fault(slugify(self.slug), self.slug) is not None:
            return False
        found = (*self.packaged, *self.contract_findings)
        return all(seen.code not in _UNTRIED for seen in found)

    @property
    def search(self) -> Sequence[str]:
        """Folders in which the plugin's modules are, before all others."""
        return [str(Path(folder).absolute()) for folder in self.project.search]


def _code_of(clause: str) -> str:
    """Return the code of a change that an import made to the process."""
    if clause.startswith(("thread", "task")):
        return "K304"
    if clause.startswith("signal"):
        return "K305"
    if clause.startswith(("the root logger", "logger")):
        return "K307"
    return "K306"
