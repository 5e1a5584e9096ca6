"""What a process may cost its host: so many bytes, so much at once, and the time of a call."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from typing import Any

import pytest

from plugreg import (
    PluginDiedError,
    PluginTimeoutError,
    Stage,
    ValueNotSentError,
    hookspec,
)
from plugreg.isolation import Isolated, frames, waits
from plugreg.isolation import codec as codecs
from plugreg.isolation import data as data_module

VICTIM = """
import os, socket, sys, time
from plugreg import Plugin, hookimpl
from plugreg.isolation import call_host

def line_of():
    frame = sys._getframe()
    while "line" not in frame.f_locals or not hasattr(frame.f_locals["line"], "sock"):
        frame = frame.f_back
    return frame.f_locals["line"].sock

def control():
    import gc
    from plugreg.isolation.link import HostLink
    [link] = [thing for thing in gc.get_objects() if type(thing) is HostLink]
    return link._line.sock

class Victim(Plugin):
    @hookimpl
    def act(self, what):
        if what == "large":
            import plugreg.isolation.codec as codec
            codec.LARGEST_VALUE = 1000
            return "x" * 2000
        if what == "recurse":
            return call_host(self, "act", what="recurse")[0]
        if what == "drip":
            sock = line_of()
            sock.sendall((10_000).to_bytes(4, "big"))
            while True:
                sock.sendall(b"x")
                time.sleep(0.05)
        if what == "announce":
            line_of().sendall(b"\\xff\\xff\\xff\\xff")
            time.sleep(1000)
        if what == "announce beside":
            control().sendall((2**28).to_bytes(4, "big"))
            time.sleep(1000)
        if what == "garbage":
            for data in (b"[" * 100_000, b"\\xff\\x00", b'{"ask": {}}', b"[1]", b'{"log": 1}'):
                control().sendall(len(data).to_bytes(4, "big") + data)
            return "sent"
        if what == "cut":
            from plugreg.isolation import child
            child.answer = lambda number, kind, value: b"%b %b" % (number, kind)
        if what == "log":
            self.logger.warning("y" * 2_000_000)
            return "logged"
        return what[:10]
"""


def victim(host: Any, **options: Any) -> Any:
    """Return a registry with the plugin."""
    host.write("victim", VICTIM)
    isolated = Isolated(**{"timeout": host.wait, **options})
    return host.open({"victim": isolated})


def test_an_argument_of_too_many_bytes(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with its name and its size, costs no process, and reaches nobody."""
    registry = victim(host)
    before = registry.get("victim").process.pid
    monkeypatch.setattr(codecs, "LARGEST_VALUE", 1000)
    [outcome] = registry.outcomes(host.hooks.act, what="x" * 2000)
    [awaited] = asyncio.run(registry.aoutcomes(host.hooks.act, what="x" * 2000))

    for error in (outcome.error, awaited.error):
        assert type(error) is ValueNotSentError
        assert (error.hook, error.argument, error.type) == ("act", "what", "str")
        assert "it has 2,004 bytes, and no more than" in str(error)
    assert registry.call(host.hooks.act, what="x") == ["x"]
    assert registry.get("victim").process.pid == before


def test_a_result_of_too_many_bytes(host: Any) -> None:
    """It is the same error, from the plugin's process, which goes on."""
    registry = victim(host)
    before = registry.get("victim").process.pid
    [outcome] = registry.outcomes(host.hooks.act, what="large")

    assert type(outcome.error) is ValueNotSentError
    assert (outcome.error.hook, outcome.error.argument) == ("act", "result")
    assert registry.get("victim").process.pid == before


def test_the_limit_is_that_of_a_frame() -> None:
    """Whatever a codec lets through fits into a frame, with the line that goes before it."""
    assert data_module.LARGEST_VALUE < frames.LARGEST
    with pytest.raises(ValueError, match="no more than"):
        frames.pack(_Long())


class _Long(bytes):
    """Bytes that say that they are too many."""

    def __len__(self) -> int:
        return frames.LARGEST + 1


def test_a_plugin_that_calls_itself_without_end(host: Any) -> None:
    """It is refused at some depth, and leaves no thread."""
    registry = victim(host, may_call=["act"])
    [outcome] = registry.outcomes(host.hooks.act, what="recurse")

    assert outcome.error is not None
    assert registry.call(host.hooks.act, what="x") == ["x"]
    messages = [failure.message for failure in registry.get("victim").errors]
    assert any("too much at once" in message for message in messages), messages


def test_an_answer_in_drops(host: Any) -> None:
    """A process that sends a byte now and then has the time of one call, and no more."""
    registry = victim(host, timeout=0.5)
    [outcome] = registry.outcomes(host.hooks.act, what="drip")

    assert type(outcome.error) is PluginTimeoutError
    assert host.eventually(lambda: registry.call(host.hooks.act, what="x") == ["x"])


@pytest.mark.parametrize("what", ["announce", "announce beside"])
def test_a_length_beyond_the_limit(host: Any, what: str) -> None:
    """A frame that is announced with more bytes than may be sent ends the process."""
    registry = victim(host)
    [outcome] = registry.outcomes(host.hooks.act, what=what)

    assert type(outcome.error) is PluginDiedError
    assert host.eventually(lambda: registry.call(host.hooks.act, what="x") == ["x"])


def test_an_answer_without_its_value(host: Any) -> None:
    """An answer that ends before its value is no answer, and ends the process."""
    registry = victim(host)
    [outcome] = registry.outcomes(host.hooks.act, what="cut")

    assert type(outcome.error) is PluginDiedError
    assert host.eventually(lambda: registry.call(host.hooks.act, what="x") == ["x"])


def test_garbage_beside_calls(host: Any) -> None:
    """Messages that mean nothing are dropped, and calls go on."""
    registry = victim(host)
    for _ in range(host.rounds):
        assert registry.call(host.hooks.act, what="garbage") == ["sent"]
    assert registry.get("victim").process.restarts == 0


def test_a_record_of_the_log_that_is_too_long(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out whole, since the half of a protected value could not be hidden."""
    registry = victim(host)
    with caplog.at_level("WARNING", "plugreg.plugin.victim"):
        assert registry.call(host.hooks.act, what="log") == ["logged"]
        assert host.eventually(lambda: "2,000,000 characters was left out" in caplog.text)
    assert "yyyy" not in caplog.text


LIAR = """
import os
from plugreg import hookimpl
from plugreg.isolation import child
real = child.answer
own = b'"pid": %d' % os.getpid()
child.answer = lambda number, kind, value: real(number, kind, value.replace(own, b'"pid": {pid}'))
@hookimpl
def act(what): return what
"""


def test_the_number_of_another_process(host: Any) -> None:
    """A plugin that names a process which is not its own is refused, and that one lives on."""
    host.write("victim", LIAR.format(pid=os.getpid()))
    registry = host.open()
    [failure] = registry.get("victim").errors

    assert failure.stage is Stage.IMPORT
    assert "not the number of the plugin's process" in failure.message
    assert host.is_there(os.getpid())


def test_a_reader_of_drops() -> None:
    """A process that takes a little now and then has the time of one call, and no more."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        line = frames.Line(near)

        def read_slowly() -> None:
            while far.recv(1000):
                time.sleep(0.01)

        reader = threading.Thread(target=read_slowly)
        reader.start()
        line.send_some(bytes(50_000_000))
        with pytest.raises(TimeoutError):
            frames.run(waits.send_rest(waits.HERE, line, time.monotonic() + 0.3))
        near.shutdown(socket.SHUT_RDWR)
        near.close()
        reader.join()


class Ring:
    """Hooks that go round."""

    @hookspec
    def forth(self, depth: int) -> int:
        """Go on to the other plugin."""

    @hookspec
    def back(self, depth: int) -> int:
        """Go back to the first one."""

    @hookspec
    def meet(self) -> None:
        """Wait for the other one."""


FORTH = """
from plugreg import Plugin, hookimpl
from plugreg.isolation import call_host
class Victim(Plugin):
    @hookimpl
    def forth(self, depth):
        return depth if depth == 0 else call_host(self, "back", depth=depth - 1)[0]
"""

BACK = """
import threading
from plugreg import Plugin, hookimpl
from plugreg.isolation import call_host
class Other(Plugin):
    @hookimpl
    def back(self, depth):
        found = []
        # The host knows who waits, whichever thread of the plugin asks.
        def run():
            found.extend(call_host(self, "forth", depth=depth))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found[0]
"""


def ring(host: Any) -> Any:
    """Return a registry with two isolated plugins that call each other."""
    host.write("victim", FORTH)
    host.write("other", BACK)
    isolated = Isolated(timeout=host.wait, may_call=["forth", "back"])
    return host.open({"victim": isolated, "other": isolated}, hookspecs=[Ring])


def test_plugins_that_call_each_other(host: Any) -> None:
    """A plugin that waits for another one serves what that one calls it for."""
    registry = ring(host)
    before = [registry.get(slug).process.pid for slug in ("victim", "other")]

    assert registry.call(Ring.forth, depth=5) == [0]
    assert asyncio.run(registry.acall(Ring.forth, depth=5)) == [0]
    assert [registry.get(slug).process.pid for slug in ("victim", "other")] == before


def test_calls_beside_such_a_ring_take_turns(host: Any) -> None:
    """Who has no part in it waits for the one line, as always."""
    registry = ring(host)
    found: list[Any] = []
    callers = [
        threading.Thread(target=lambda: found.extend(registry.call(Ring.forth, depth=3)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert found == [0] * 4


MEETING = """
import threading
from plugreg import hookimpl
together = threading.Barrier(2)
@hookimpl
def meet():
    together.wait(20)
"""


def test_rings_that_begin_at_both_ends(host: Any) -> None:
    """Plugins that call each other at the same time do not wait for each other's line."""
    host.write("meeting", MEETING)
    # Each plugin is in a call of its own before it asks for the other.
    meets = """        if not vars(self).get("has_met"):
            self.has_met = True
            call_host(self, "meet")
"""
    for slug, source, begin in (
        ("victim", FORTH, "        return depth if"),
        ("other", BACK, "        found = []"),
    ):
        host.write(slug, source.replace(begin, meets + begin))
    isolated = Isolated(timeout=host.wait, may_call=["forth", "back", "meet"])
    registry = host.open({"victim": isolated, "other": isolated}, hookspecs=[Ring])
    found: list[Any] = []

    def run(hook: Any) -> None:
        found.append([o.value for o in registry.outcomes(hook, depth=3)])

    callers = [threading.Thread(target=run, args=(hook,)) for hook in (Ring.forth, Ring.back)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert found == [[0], [0]]


SCRIBBLES = """
import gc, json
from plugreg import Plugin, hookimpl
from plugreg.isolation.link import HostLink
class Victim(Plugin):
    @hookimpl
    def act(self, what):
        [link] = [thing for thing in gc.get_objects() if type(thing) is HostLink]
        for message in (["ask"], "ask", 5, None, {"log": 1}, {"ask": 0}, {"ask": 0, "what": []}):
            link._send(json.dumps(message).encode())
        self.set_metadata({"word": "well"})
        return "well"
"""


def test_messages_that_are_none(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process sends instead of messages raises nothing in the host, and takes no room."""
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    host.write("victim", SCRIBBLES)
    registry = host.open()

    for _ in range(20):
        [outcome] = registry.outcomes(host.hooks.act, what="")
        assert outcome.value == "well", outcome.error
    registry.close()
    assert raised == []
