"""The shop's page for operators, and its plugin API: ``python -m shop.serve``.

It answers on the loopback address only, with three tokens that everybody may know, and forgets all
when it ends. The page is for a browser, the API for curl. With a folder of wheels the page can
install them, and asks no index. Ctrl-C ends it.
"""

import argparse
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from plugreg import PluginRegistry
from plugreg.adapters.starlette import create_app
from plugreg.admin import AdminPage
from plugreg.api import Actor
from plugreg.install import InstallPolicy, PipInstaller
from shop.app import make_registry
from shop.page import say, show, table

HOST = "127.0.0.1"

ACTORS = {
    "superuser": Actor(1, is_staff=True, is_superuser=True),
    "staff": Actor(2, is_staff=True),
    "reader": Actor(3),
}
"""Who says which token. Words that can be read here protect nothing: a host has its users' own."""


COOKIE = "shop_token"


def identify(request: Request) -> Actor | None:
    """Say who asks: the one whose token the request has, and nobody without one.

    A program sends it in a header, a browser in the cookie that signing in has set. A host looks
    into its table of users here, or into its session.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        token = request.cookies.get(COOKIE, "")
    return ACTORS.get(token) if scheme in ("", "Token") else None


async def sign_in(request: Request) -> Response:
    """Show who can sign in, and remember in a cookie who did."""
    if request.method == "POST":
        token = parse_qs((await request.body()).decode()).get("token", [""])[0]
        answer = RedirectResponse("/admin/", 303)
        answer.set_cookie(COOKIE, token if token in ACTORS else "", httponly=True, samesite="lax")
        return answer
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'self'"}
    html = files("shop").joinpath("sign_in.html").read_text(encoding="utf-8")
    return HTMLResponse(html, headers=policy)


def make_site(registry: PluginRegistry) -> Starlette:
    """Return the site: signing in at its root, then the page and the API of the registry."""
    page = AdminPage(title="Shop", sign_in="/")
    return Starlette(
        routes=[
            Route("/", sign_in, methods=["GET", "POST"]),
            Mount("/", create_app(registry, identify=identify, admin=page)),
        ],
        # A site may give its own name the loopback address, and ask from a browser here.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C. Return the exit status: 1 if the port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m shop.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that can be installed")
    options = parser.parse_args(arguments)
    try:
        listening = socket.create_server((HOST, options.port))
        # Head and body of an answer go out one after the other; the second is not to wait.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        print(f"{error}\nTry another port: make serve SERVE_PORT=8123", file=sys.stderr)
        return 1
    # Being told to end is the same as Ctrl-C, so that the registry is closed then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The server ends in order at the first Ctrl-C, and passes it on when it has ended.
    with suppress(KeyboardInterrupt), listening:
        serve(listening, options.wheels)
    return 0


def serve(listening: socket.socket, wheels: Path | None) -> None:
    """Answer what comes in at a socket, with a store and an environment for plugins of its own."""
    with tempfile.TemporaryDirectory(prefix="shop-serve-") as folder:
        own = Path(folder)
        installer = None if wheels is None else make_installer(own / "plugins", wheels)
        with make_registry(own / "plugins.json", installer=installer) as registry:
            registry.load()
            site = make_site(registry)
            Server(uvicorn.Config(site, log_level="warning", lifespan="off")).run(
                sockets=[listening]
            )


def make_installer(environment: Path, wheels: Path) -> PipInstaller:
    """Return what installs the wheels of a folder, and nothing from elsewhere."""
    policy = InstallPolicy(indexes=(), find_links=[wheels], wheels_only=True)
    return PipInstaller(environment=environment, policy=policy)


class Server(uvicorn.Server):
    """Says where it is as soon as it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for each in sockets or ():
            introduce(f"http://{HOST}:{each.getsockname()[1]}")


def introduce(address: str) -> None:
    """Print where the shop is, who may ask, and what to try first."""
    say(f"The shop's page for operators is at {address}/ and its plugin API at /api/plugins/.")
    say("The tokens are words, since only this machine can reach it:")
    grades = ((token, actor.grade.name.lower()) for token, actor in ACTORS.items())
    table(("token", "grade"), grades)
    say("A browser asks which one to sign in with. For curl, more is in docs/host/http.md:")
    with_token = "curl -H 'Authorization: Token"
    show(f"{with_token} reader' '{address}/api/plugins/?limit=2'", "two of the plugins")
    show(
        f"{with_token} superuser' -X PATCH {address}/api/plugins/greeting/activate/",
        "switches one on",
    )
    say("Ctrl-C ends it.")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
