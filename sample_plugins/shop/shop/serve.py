"""The plugin API of the shop over HTTP, to be tried with curl: ``python -m shop.serve``.

It answers on the loopback address only, with three tokens that everybody may know, and forgets all
when it ends. Ctrl-C ends it.
"""

import argparse
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.requests import Request

from plugreg.adapters.starlette import create_app
from plugreg.api import Actor
from shop.app import make_registry
from shop.page import say, show, table

HOST = "127.0.0.1"

ACTORS = {
    "superuser": Actor(1, is_staff=True, is_superuser=True),
    "staff": Actor(2, is_staff=True),
    "reader": Actor(3),
}
"""Who says which token. Words that can be read here protect nothing: a host has its users' own."""


def identify(request: Request) -> Actor | None:
    """Say who asks: the one whose token the request has, and nobody without one.

    A host looks into its table of users here, or into its session.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return ACTORS.get(token) if scheme == "Token" else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C. Return the exit status: 1 if the port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m shop.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free")
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
        serve(listening)
    return 0


def serve(listening: socket.socket) -> None:
    """Answer what comes in at a socket, with a store of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="shop-serve-") as folder,
        make_registry(Path(folder) / "plugins.json") as registry,
    ):
        registry.load()
        app = create_app(registry, identify=identify)
        Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listening])


class Server(uvicorn.Server):
    """Says where it is as soon as it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for each in sockets or ():
            introduce(f"http://{HOST}:{each.getsockname()[1]}")


def introduce(address: str) -> None:
    """Print where the shop is, who may ask, and what to try first."""
    say(f"The shop serves its plugin API at {address}/api/plugins/.")
    say("The tokens are words, since only this machine can reach it:")
    grades = ((token, actor.grade.name.lower()) for token, actor in ACTORS.items())
    table(("token", "grade"), grades)
    say("To try in another window; more is in docs/host/http.md:")
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
