"""``registry.packages``: distributions come and go, and the registry with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from plugreg._names import canonical, has_control_characters
from plugreg.catalogue import Catalogue
from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.installer import Installer
from plugreg.records import PluginRecord

_SCHEMES: Final = frozenset({"https", "git+https", "hg+https", "svn+https"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallReport:
    """What an installation came to.

    ``plugins`` are the slugs that the distribution brings, and ``success`` says that there are
    any: what is not found as a plugin of this registry was not installed as one.
    """

    distribution: str
    version: str
    location: str
    plugins: tuple[str, ...]
    output: str = field(repr=False)

    @property
    def success(self) -> bool:
        """Whether the distribution brings a plugin of this registry."""
        return bool(self.plugins)


class Packages:
    """Installs and uninstalls with the host's installer, and lets the registry see the change.

    ``rediscover`` reloads with a new look at the sources; ``forget`` deletes what is stored of a
    plugin.
    """

    def __init__(
        self,
        installer: Installer,
        catalogue: Catalogue,
        rediscover: Callable[[], object],
        forget: Callable[[str], None],
    ) -> None:
        self._installer = installer
        self._catalogue = catalogue
        self._rediscover = rediscover
        self._forget = forget

    def install(self, requirement: str, *, index_url: str | None = None) -> InstallReport:
        """Install a distribution and discover its plugins, which stay off till they are wanted.

        ``requirement`` is one of PEP 508, or the URL of a repository (``git+https://…``). Raises
        RequirementError for what is neither, with its ``field``, and InstallError.
        """
        checked = _checked_requirement(requirement)
        if index_url is not None:
            _check_url(index_url, {"https"})
        installed = self._installer.install(checked, index_url)
        self._rediscover()
        return InstallReport(
            distribution=installed.name,
            version=installed.version,
            location=installed.location,
            plugins=tuple(each.slug for each in self._plugins_of(canonical(installed.name))),
            output=installed.output,
        )

    def uninstall(self, slug: str, *, delete_config: bool = True) -> str:
        """Remove a plugin's distribution, with all the plugins that it brings.

        ``delete_config`` forgets wish, settings and metadata of each of them. Returns what the
        installer told. Raises PluginNotFoundError, and InstallError with the reason (section 8.2)
        when the plugin must stay; then nothing has changed.
        """
        record = self._catalogue.record(slug)
        fault = _uninstall_fault(record)
        if fault is not None:
            raise InstallError([fault])
        distribution = record.distribution or ""
        leaving = self._plugins_of(distribution)
        wanted = [each.slug for each in leaving if each.wanted]
        if wanted:
            names = ", ".join(f"'{each}'" for each in wanted)
            raise InstallError(
                [f"Plugin cannot be uninstalled as {names} of its package is active"]
            )
        if self._installer.show(distribution) is None:
            raise InstallError(["Plugin installation not found"])
        output = self._installer.uninstall(distribution)
        self._rediscover()
        if delete_config:
            for each in leaving:
                self._forget(each.slug)
        return output

    def _plugins_of(self, distribution: str) -> list[PluginRecord]:
        found = self._catalogue.all().values()
        return [each for each in found if each.is_installed and each.distribution == distribution]


def _uninstall_fault(record: PluginRecord) -> str | None:
    """Return why a plugin must stay, as clients know it, or None."""
    if record.is_mandatory:
        return "INVE-E10: Plugin cannot be uninstalled as it is mandatory"
    if record.wanted:
        return "Plugin cannot be uninstalled as it is currently active"
    if record.is_sample:
        return "INVE-E10: Plugin cannot be uninstalled as it is a sample plugin"
    if record.is_builtin:
        return "INVE-E10: Plugin cannot be uninstalled as it is a built-in plugin"
    if not record.is_installed:
        return "Plugin is not installed"
    if not record.is_package:
        return "Plugin is not a packaged plugin"
    return None


def _checked_requirement(requirement: object) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    if not isinstance(requirement, str) or has_control_characters(requirement):
        raise RequirementError("packagename", "it must be one line of text")
    if "://" in requirement.partition("@")[0] and "+" in requirement.partition(":")[0]:
        _check_url(requirement, _SCHEMES - {"https"})
        return requirement
    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        raise RequirementError(
            "packagename",
            f"{requirement!r} is no requirement by PEP 508; write one such as 'shop-discount>=2'",
        ) from None
    if parsed.url is not None:
        _check_url(parsed.url, _SCHEMES)
    return str(parsed)


def _check_url(url: str, schemes: set[str] | frozenset[str]) -> None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise RequirementError("url", "it is no URL") from None
    if " " in url or not url.isprintable():
        # An installer may take what follows a blank for one more of its options.
        raise RequirementError("url", "it may have neither blanks nor control characters")
    local = parts.scheme == "http" and host in _LOOPBACK
    if not host or not (parts.scheme in schemes or local):
        allowed = ", ".join(sorted(schemes))
        raise RequirementError(
            "url", f"scheme {parts.scheme!r} is not allowed; use one of {allowed}, with a host"
        )
