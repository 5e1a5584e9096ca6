"""The capability to add URLs to the host, as data whose meaning the host defines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec


class UrlsMixin:
    """For plugins with URLs of their own, which a host puts below their slug."""

    URLS: Sequence[Any] = ()

    def setup_urls(self) -> Sequence[Any] | None:
        """Return the URLs where they are computed. None means ``URLS``."""
        return None


def plugin_urls(plugin: UrlsMixin) -> Sequence[Any]:
    """Return the URLs of a plugin, in its order and as it wrote them.

    Args:
        plugin: A plugin whose contract has no faults, as that of every active plugin.
    """
    computed = plugin.setup_urls()
    return plugin.URLS if computed is None else computed


def _check(plugin: UrlsMixin) -> Iterator[str]:
    urls: object = plugin.URLS
    if not isinstance(urls, (list, tuple)):
        yield f"URLS must be a list or tuple, not {safe_repr(urls)}"
    computed: object = plugin.setup_urls()
    if computed is not None and not isinstance(computed, (list, tuple)):
        yield f"setup_urls() must return a list, a tuple or None, not {safe_repr(computed)}"


SPEC = MixinSpec(
    key="urls",
    human_name="URLs",
    cls=UrlsMixin,
    enabled=plugin_urls,
    switch="urls",
    order=30,
    check=_check,
)
