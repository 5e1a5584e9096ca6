"""The parts of hooks and mixins in a new plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import indent
from types import MappingProxyType
from typing import Final

from plugreg.contract.values import HookContract, MixinContract
from plugreg.testing.scaffold.code import (
    INDENT,
    Part,
    block,
    body,
    check_call,
    method,
    value_of,
)


def hook_part(name: str, hook: HookContract, spec: str, host: str) -> Part:
    """Return the part of a hook.

    Args:
        name: The hook.
        hook: Its arguments and its result.
        spec: How a test names it, such as ``Hooks.price``.
        host: How a test makes its host, such as ``plugin_host(Hooks, Weather)``.
    """
    code = method(name, hook, decorator="@hookimpl", is_async=hook.is_async)
    exempt = () if "NotImplementedError" not in code else (("K501", f"{name} is not written yet."),)
    values = {each.name: value_of(each.type) for each in hook.arguments if not each.optional}
    if exempt or hook.historic or None in values.values():
        return Part(methods=(code,), exempt=exempt)
    answer = body(hook).removeprefix("return ")
    results = "[]" if answer in ("", "None") else f"[{answer}]"
    function = "asyncio.run(host.acall" if hook.is_async else "host.call"
    arguments = [spec, *(f"{argument}={value}" for argument, value in values.items())]
    check = indent(check_call(function, arguments, results), INDENT)
    test = (
        f"def test_{name}(plugin_host: MakeHost) -> None:\n"
        f'{INDENT}"""It has no answer of its own yet."""\n'
        f"{INDENT}host = {host}\n\n{check}"
    )
    return Part(methods=(code,), tests=(test,), exempt=exempt)


def mixin_part(key: str, mixin: MixinContract, slug: str, host: str) -> Part:
    """Return the part of a mixin.

    Args:
        key: Key of the mixin.
        mixin: Its methods; a mixin of plugreg has a part of its own.
        slug: The plugin.
        host: How a test makes its host.
    """
    known = _PARTS.get(key)
    if known is not None:
        return known(slug, host)
    methods = []
    for name, found in mixin.methods.items():
        if not any(argument.name.startswith("*") for argument in found.arguments):
            methods.append(method(name, found))
    unfinished = [code for code in methods if "NotImplementedError" in code]
    test = f'''
        def test_{key}(plugin_host: MakeHost) -> None:
            """It has the capability."""
            host = {host}

            assert isinstance(host.plugin, {mixin.source.rpartition(":")[2]})
        '''
    return Part(methods=tuple(m for m in methods if m not in unfinished), tests=(block(test),))


def _settings(_slug: str, host: str) -> Part:
    attribute = """
        SETTINGS = {
            "GREETING": {"name": "Greeting", "default": "Hello"},
            "REPEAT": {"name": "Repeat", "default": 1, "validator": int, "units": "times"},
            "API_KEY": {"name": "Key of the service", "protected": True},
        }
        USER_SETTINGS = {
            "NICKNAME": {"name": "Nickname", "default": ""},
        }
        """
    code = '''
        def greet(self, user: int) -> str:
            """Greet a user as the settings say."""
            words = " ".join([str(self.get_setting("GREETING"))] * self.get_setting("REPEAT"))
            return f"{words} {self.get_user_setting('NICKNAME', user)}".strip()
        '''
    call = host.removesuffix(")") + ', settings={"REPEAT": 2})'
    test = f'''
        def test_settings(plugin_host: MakeHost) -> None:
            """What an operator and a user have set is what is used."""
            host = {call}
            host.user(7).set("NICKNAME", "Ann")

            assert host.plugin.greet(7) == "Hello Hello Ann"
            assert host.plugin.greet(8) == "Hello Hello"
        '''
    return Part((block(attribute),), (block(code),), (block(test),))


def _schedule(_slug: str, host: str) -> Part:
    attribute = """
        SCHEDULED_TASKS = {
            "refresh": {"func": "refresh", "schedule": "I", "minutes": 15},
        }
        """
    code = '''
        def refresh(self) -> None:
            """Do what has to be done every quarter of an hour."""
        '''
    test = f'''
        def test_schedule(plugin_host: MakeHost) -> None:
            """The task is due every quarter of an hour."""
            host = {host}

            assert host.time.advance(30 * 60) == (f"plugin.{{host.slug}}.refresh",) * 2
        '''
    return Part((block(attribute),), (block(code),), (block(test),))


def _events(_slug: str, host: str) -> Part:
    code = (
        '''
        def wants_process_event(self, event: str) -> bool:
            """Want the events that are known here; later hosts have more."""
            return event == "plugins_loaded"
        ''',
        '''
        def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
            """Act on an event."""
        ''',
    )
    test = f'''
        def test_events(plugin_host: MakeHost) -> None:
            """It hears of what it wants, and of nothing else."""
            host = {host}

            assert host.emit("plugins_loaded") == (host.slug,)
            assert host.emit("something_else") == ()
        '''
    return Part((), tuple(map(block, code)), (block(test),))


def _action(slug: str, host: str) -> Part:
    code = (
        '''
        def perform_action(self, user: Any = None, data: Any = None) -> None:
            """Do what a user has asked for."""
        ''',
        '''
        def get_result(self, user: Any = None, data: Any = None) -> bool:
            """Return whether it was done."""
            return True
        ''',
    )
    test = f'''
        def test_action(plugin_host: MakeHost) -> None:
            """The action says that it was done."""
            host = {host}
            host.plugin.perform_action()

            assert host.plugin.get_response()["result"] is True
        '''
    return Part((f'ACTION_NAME = "{slug}"',), tuple(map(block, code)), (block(test),))


def _navigation(slug: str, host: str) -> Part:
    attribute = f"""
        NAVIGATION = [
            {{"name": "Overview", "link": "/{slug}/"}},
        ]
        """
    test = f'''
        def test_navigation(plugin_host: MakeHost) -> None:
            """It has a link in the navigation."""
            host = {host}

            assert [link["link"] for link in host.plugin.NAVIGATION] == ["/{slug}/"]
        '''
    return Part((block(attribute),), (), (block(test),))


def _urls(_slug: str, host: str) -> Part:
    code = (
        '''
        def setup_urls(self) -> Sequence[Any]:
            """Return the URLs, in the form that the host documents."""
            return [("hello/", self.hello)]
        ''',
        '''
        def hello(self, request: Any) -> str:
            """Answer a request."""
            return "hello"
        ''',
    )
    test = f'''
        def test_urls(plugin_host: MakeHost) -> None:
            """It has one URL."""
            host = {host}

            assert [path for path, _ in host.plugin.setup_urls()] == ["hello/"]
        '''
    reason = "URLs are handed over as objects, which cannot be sent to another process."
    return Part((), tuple(map(block, code)), (block(test),), (("K701", reason),))


def _ui(_slug: str, host: str) -> Part:
    code = '''
        def get_ui_dashboard_items(
            self, request: Any, context: Mapping[str, Any], **kwargs: Any
        ) -> Iterable[Mapping[str, Any]]:
            """Return items for the dashboard."""
            return [{"key": "overview", "title": "Overview"}]
        '''
    test = f'''
        def test_ui(plugin_host: MakeHost) -> None:
            """It shows an item on the dashboard."""
            host = {host}

            assert [item.key for item in host.registry.ui_features("dashboard")] == ["overview"]
        '''
    return Part((), (block(code),), (block(test),))


def _validation(_slug: str, host: str) -> Part:
    code = '''
        def validate_name(self, name: str) -> None:
            """Refuse a name, if the host asks for that."""
            if not name.strip():
                self.raise_error("A name is not empty")
        '''
    test = f'''
        def test_validation(plugin_host: MakeHost) -> None:
            """An empty name is refused."""
            host = {host}
            host.plugin.validate_name("tea")

            with pytest.raises(ValidationFault):
                host.plugin.validate_name(" ")
        '''
    return Part((), (block(code),), (block(test),))


def _notification(_slug: str, host: str) -> Part:
    code = '''
        def send_notification(
            self, target: Any, category: str, users: Iterable[Any], context: Mapping[str, Any]
        ) -> bool:
            """Send a notification."""
            self.logger.info("%s", category)
            return True
        '''
    test = f'''
        def test_notification(plugin_host: MakeHost) -> None:
            """It says that it has sent the notification."""
            host = {host}

            assert host.plugin.send_notification(None, "test", [], {{}}) is True
        '''
    return Part((), (block(code),), (block(test),))


def _mail(_slug: str, host: str) -> Part:
    code = (
        '''
        def process_mail_out(self, mail: Any) -> None:
            """Process mail that is sent."""
        ''',
        '''
        def process_mail_in(self, mail: Any) -> None:
            """Process mail that was received."""
        ''',
    )
    test = f'''
        def test_mail(plugin_host: MakeHost) -> None:
            """It takes mail."""
            host = {host}
            host.plugin.process_mail_in("a mail")
            host.plugin.process_mail_out("a mail")
        '''
    return Part((), tuple(map(block, code)), (block(test),))


_PARTS: Final[Mapping[str, Callable[[str, str], Part]]] = MappingProxyType(
    {
        "settings": _settings,
        "schedule": _schedule,
        "events": _events,
        "action": _action,
        "navigation": _navigation,
        "urls": _urls,
        "ui": _ui,
        "validation": _validation,
        "notification": _notification,
        "mail": _mail,
    }
)
"""The parts of plugreg's own mixins."""
