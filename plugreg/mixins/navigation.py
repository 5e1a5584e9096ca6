"""The capability to bring links for the host's navigation, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class NavigationLink:
    """A link: its text, where it leads, and the name of an icon, None if it has none."""

    name: str
    link: str
    icon: str | None = None


class NavigationMixin:
    """For plugins with links.

    ``NAVIGATION`` is a list of dicts with ``name``, ``link`` and optionally ``icon``. Name and
    icon of the tab that holds them may be stated; the name is the plugin's title otherwise.
    """

    NAVIGATION: Sequence[Mapping[str, Any]] = ()
    NAVIGATION_TAB_NAME: str | None = None
    NAVIGATION_TAB_ICON: str | None = None


def navigation_links(plugin: NavigationMixin) -> tuple[NavigationLink, ...]:
    """Return the links of a plugin whose contract has no faults, in the order declared."""
    return tuple(
        NavigationLink(name=each["name"], link=each["link"], icon=each.get("icon"))
        for each in plugin.NAVIGATION
    )


def navigation_tab_name(plugin: NavigationMixin) -> str:
    """Return the name of the tab that holds the links."""
    return plugin.NAVIGATION_TAB_NAME or str(getattr(plugin, "title", type(plugin).__name__))


def _check(plugin: NavigationMixin) -> Iterator[str]:
    links: object = plugin.NAVIGATION
    if isinstance(links, (list, tuple)):
        for place, each in enumerate(links):
            yield from _link_faults(f"NAVIGATION[{place}]", each)
    else:
        yield f"NAVIGATION must be a list of links, not {safe_repr(links)}"
    for attribute in ("NAVIGATION_TAB_NAME", "NAVIGATION_TAB_ICON"):
        value = getattr(plugin, attribute)
        if value is not None and not isinstance(value, str):
            yield f"{attribute} must be text or None, not {safe_repr(value)}"


def _link_faults(where: str, link: object) -> Iterator[str]:
    if not isinstance(link, Mapping):
        yield f"{where} must be a dict with 'name' and 'link', not {safe_repr(link)}"
        return
    for field in ("name", "link"):
        if field not in link:
            yield f"{where}: {field!r} is missing"
    for field in ("name", "link", "icon"):
        value = link.get(field)
        if field in link and not (isinstance(value, str) or (field == "icon" and value is None)):
            yield f"{where}: {field!r} must be text, not {safe_repr(value)}"


SPEC = MixinSpec(
    key="navigation",
    human_name="Navigation Links",
    cls=NavigationMixin,
    enabled="NAVIGATION",
    switch="navigation",
    check=_check,
)
