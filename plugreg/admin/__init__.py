"""The page for operators, with the extra ``plugreg[admin]``.

It is a function from request to response above the operations of `plugreg.api`, whose access
rules decide what an actor sees. Adapters pass requests on to it; nothing of it is imported
without ``admin=``.
"""

from __future__ import annotations

from plugreg.admin.options import PAGE_PATH, AdminPage
from plugreg.api.http import Responder, Served

__all__ = ["PAGE_PATH", "AdminPage", "make_responder"]


def make_responder(
    registry: Served, admin: AdminPage | bool, secret: str | None = None
) -> Responder:
    """Return the responder for the requests of an adapter.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
        admin: Whether the page for operators is served, or its options.
        secret: A secret that the host's framework has. Without one the page stores a key, once.

    Raises:
        MissingExtraError: With *admin*, if Jinja2 is not installed.
        ValueError: If an option of the page cannot be used.
    """
    if admin is False:
        return Responder(registry)
    from plugreg.admin.responder import AdminResponder

    return AdminResponder(registry, AdminPage() if admin is True else admin, secret)
