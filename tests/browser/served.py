"""A host with the page, as a process of its own: ``python served.py OPTIONS`` prints its port.

Options are JSON: ``framework``, ``store``, ``active`` (slugs, or null for all that
there are), ``wheels`` (a folder of wheels that can be installed), ``safe_mode`` and ``many`` (a
number of plugins without code). Who a browser is says its cookie ``who``.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from shop.app import price_of
from shop.hookspecs import Hooks

from plugreg import CircuitPolicy, Plugin, PluginRegistry
from plugreg.admin import AdminPage
from plugreg.api import Actor
from plugreg.install import InstallPolicy, PipInstaller
from plugreg.storage import TinyDBStorage

PREFIXES = ("x/y", "")
"""Where each framework serves the page; Starlette mounts it there."""

ACTORS = {
    "superuser": Actor(1, is_staff=True, is_superuser=True),
    "staff": Actor(2, is_staff=True),
    "reader": Actor(3),
}


def who(cookies):
    return ACTORS.get(cookies.get("who", ""))


def make_registry(options) -> PluginRegistry:
    store = Path(options["store"])
    installer = None
    if options.get("wheels"):
        policy = InstallPolicy(indexes=(), find_links=[options["wheels"]], wheels_only=True)
        installer = PipInstaller(environment=store.with_name("plugins.d"), policy=policy)
    many = [
        (f"plugin-{number:04}", type("Empty", (Plugin,), {}))
        for number in range(options.get("many", 0))
    ]
    registry = PluginRegistry(
        "shop",
        host_version="2.4",
        group="shop.plugins",
        hookspecs=[Hooks],
        storage=TinyDBStorage(store),
        installer=installer,
        builtin=many,
        observe=True,
        circuit=CircuitPolicy(max_failures=3, within=600, cool_down=600),
        overrides={"greeting": {"TONE": "short"}},
        process=options.get("process"),
        safe_mode=options.get("safe_mode", False),
    )
    registry.load()
    active = options.get("active", ())
    wanted = [slug for slug in registry.plugins if active is None or slug in active]
    for slug in wanted:
        registry.activate(slug)
    if wanted:
        for _ in range(4):
            price_of(registry, "honey")
    return registry


def starlette(registry, **options):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from plugreg.adapters.starlette import create_app

    options = {"identify": lambda request: who(request.cookies), **options}
    mounted = Mount("/x/y", create_app(registry, **options))
    return Starlette(routes=[mounted, Mount("/", create_app(registry, **options))])


def fastapi(registry, **options):
    from fastapi import FastAPI

    from plugreg.adapters.fastapi import create_router

    app = FastAPI()
    for prefix in PREFIXES:
        identify = lambda request: who(request.cookies)  # noqa: E731
        router = create_router(registry, identify=identify, prefix=prefix, **options)
        app.include_router(router)
    return app


def flask(registry, **options):
    from flask import Flask

    from plugreg.adapters.flask import create_blueprint

    app = Flask("host", static_folder=None)
    for prefix in PREFIXES:
        identify = lambda request: who(request.cookies)  # noqa: E731
        names = {"name": f"plugreg{len(prefix)}", "prefix": prefix}
        app.register_blueprint(create_blueprint(registry, identify=identify, **names, **options))
    return app


def django(registry, **options):
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=sys.modules[__name__],
        SECRET_KEY="a secret of the tests",
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    )
    import django

    django.setup(set_prefix=False)
    from django.core.handlers.wsgi import WSGIHandler

    from plugreg.adapters import django as adapter

    for prefix in PREFIXES:
        identify = lambda request: who(request.COOKIES)  # noqa: E731
        urlpatterns.extend(
            adapter.urlpatterns(registry, identify=identify, prefix=prefix, **options)
        )
    return WSGIHandler()


urlpatterns: list = []


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


def serve_wsgi(app) -> None:
    from socketserver import ThreadingMixIn

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    server = make_server("127.0.0.1", 0, app, Server, Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


def serve_asgi(app) -> None:
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(app, log_level="error", lifespan="off")
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def main() -> None:
    logging.disable(logging.WARNING)
    options = json.loads(sys.argv[1])
    framework = options.get("framework", "starlette")
    with make_registry(options) as registry, registry.watch(0.2):
        page = AdminPage(title="Shop")
        make = {"starlette": starlette, "fastapi": fastapi, "flask": flask, "django": django}
        app = make[framework](registry, admin=page)
        serve = serve_asgi if framework in ("starlette", "fastapi") else serve_wsgi
        # It ends with the one who started it.
        Thread(target=serve, args=[app], daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
