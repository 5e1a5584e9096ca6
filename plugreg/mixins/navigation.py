"""The capability to add links to the host's navigation, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plugreg._support.frozen import Frozen
from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec


class NavigationLink(Frozen):
    """A link in the host's navigation.

    Args:
        name: Label of the link.
        link: Target of the link.
        icon: Name of an icon, None for none.
    """

    name: str
    link: str
    icon: str | None = None


class NavigationMixin:
    """For plugins with links.

    ``NAVIGATION`` is a list of dicts with ``name``, ``link`` and optionally ``icon``. The tab with
    the links has the plugin's title, unless ``NAVIGATION_TAB_NAME`` states a name.
    """

    NAVIGATION: Sequence[Mapping[str, Any]] = ()
    NAVIGATION_TAB_NAME: str | None = None
    NAVIGATION_TAB_ICON: str | None = None


def navigation_links(plugin: NavigationMixin) -> tuple[NavigationLink, ...]:
    """Return the links of a plugin in the order declared.

    Args:
        plugin: A plugin whose contract has no faults, as that of every active plugin.
    """
    return tuple(
        NavigationLink(name=link["name"], link=link["link"], icon=link.get("icon"))
        for link in plugin.NAVIGATION
    )


def navigation_tab_name(plugin: NavigationMixin) -> str:
    """Return the name of the tab that has the links.

    Args:
        plugin: A plugin whose contract has no faults, as that of every active plugin.
    """
    return plugin.NAVIGATION_TAB_NAME or str(getattr(plugin, "title", type(plugin).__name__))


def _check(plugin: NavigationMixin) -> Iterator[str]:
    links: object = plugin.NAVIGATION
    if isinstance(links, (list, tuple)):
        for index, link in enumerate(links):
            yield from _link_faults(f"NAVIGATION[{index}]", link)
    else:
        yield f"NAVIGATION must be a list of links, not {safe_repr(links)}"
    for attribute in ("NAVIGATION_TAB_NAME", "NAVIGATION_TAB_ICON"):
        value = getattr(plugin, attribute)
        if value is not None and not isinstance(value, str):
            yield f"{attribute} must be a string or None, not {safe_repr(value)}"


def _link_faults(where: str, link: object) -> Iterator[str]:
    if not isinstance(link, Mapping):
        yield f"{where} must be a dict with 'name' and 'link', not {safe_repr(link)}"
        return
    for field in ("name", "link", "icon"):
        value = link.get(field)
        if field not in link:
            if field != "icon":
                yield f"{where}: {field!r} is missing"
        elif not (isinstance(value, str) or (field == "icon" and value is None)):
            yield f"{where}: {field!r} must be a string, not {safe_repr(value)}"


SPEC = MixinSpec(
    key="navigation",
    human_name="Navigation Links",
    cls=NavigationMixin,
    enabled="NAVIGATION",
    switch="navigation",
    check=_check,
)
