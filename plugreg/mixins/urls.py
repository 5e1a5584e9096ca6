"""The capability to bring addresses, as data: what an item means is the host's to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec


class UrlsMixin:
    """For plugins that answer at addresses of their own, which a host puts below their slug."""

    URLS: Sequence[Any] = ()

    def setup_urls(self) -> Sequence[Any] | None:
        """Return the addresses where they depend on something; None means ``URLS``."""
        return None


def plugin_urls(plugin: UrlsMixin) -> Sequence[Any]:
    """Return the addresses that a plugin brings, in its order, as it wrote them."""
    made = plugin.setup_urls()
    return plugin.URLS if made is None else made


def _has_urls(plugin: UrlsMixin) -> bool:
    return bool(plugin_urls(plugin))


def _check(plugin: UrlsMixin) -> Iterator[str]:
    urls: object = plugin.URLS
    if not isinstance(urls, (list, tuple)):
        yield f"URLS must be a list or tuple, not {safe_repr(urls)}"
    made: object = plugin.setup_urls()
    if made is not None and not isinstance(made, (list, tuple)):
        yield f"setup_urls() must return a list, a tuple or None, not {safe_repr(made)}"


SPEC = MixinSpec(
    key="urls",
    human_name="URLs",
    cls=UrlsMixin,
    enabled=_has_urls,
    switch="urls",
    order=30,
    check=_check,
)
