"""The wall between plugin code and the rest, and exceptions put into words."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import traceback
import weakref
from contextlib import suppress

import pytest

from plugreg import PluginRegistry, hookimpl, hookspec
from plugreg._support.guard import Guard, belongs_to_process, explain, safe_repr


def failing(error):
    def method(*_):
        raise error

    return method


class Hooks:
    @hookspec
    def price(self, item):
        """Price of an item."""


class HostileText(str):
    """A text whose methods all fail."""

    splitlines = strip = encode = __format__ = __str__ = failing(OSError("no"))


class Sly(BaseException):
    """An exception that says it is another one."""

    __class__ = KeyboardInterrupt


class Shy(BaseException):
    """An exception that refuses to describe itself."""

    @property
    def __class__(self):
        raise OSError("no")


class TestGuard:
    # Classes and not objects, since pytest looks at objects to name the cases.
    @pytest.mark.parametrize(
        "kind",
        [ValueError, SystemExit, RecursionError, BaseException, asyncio.CancelledError, Sly, Shy],
    )
    def test_keeps_what_plugin_code_raises(self, kind):
        """Any exception but those of the process ends in ``error``, however it disguises."""
        error = kind()
        with Guard() as guard:
            raise error
        assert guard.error is error

    def test_keeps_groups(self):
        """A group is a fault like any other."""
        error = BaseExceptionGroup("g", [ValueError(), SystemExit()])
        with Guard() as guard:
            raise error
        assert guard.error is error

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
    def test_lets_pass_what_belongs_to_the_process(self, error):
        """Ctrl-C and the closing of a generator are nobody's fault."""
        guard = Guard()
        with pytest.raises(type(error)), guard:
            raise error
        assert guard.error is None

    def test_keeps_nothing_of_a_body_that_ends(self):
        """No exception, no error."""
        with Guard() as guard:
            pass
        assert guard.error is None

    def test_stops_real_recursion(self):
        """A plugin that recurses for ever costs itself alone."""

        def deeper():
            deeper()

        with Guard() as guard:
            deeper()
        assert type(guard.error) is RecursionError

    def test_cancellation_of_the_running_loop_passes(self):
        """A task that is cancelled while plugin code runs in it ends as a cancelled one."""

        async def work():
            with Guard():
                await asyncio.sleep(60)

        async def main():
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())


class OwnInterrupt(KeyboardInterrupt):
    pass


class OwnCancellation(asyncio.CancelledError):
    pass


@pytest.mark.parametrize(
    ("kind", "otherwise", "cancelled"),
    [
        (ValueError, False, False),
        (SystemExit, False, False),
        (BaseException, False, False),
        (Sly, False, False),
        (Shy, False, False),
        (KeyboardInterrupt, True, True),
        (OwnInterrupt, True, True),
        (GeneratorExit, True, True),
        (asyncio.CancelledError, False, True),
        (OwnCancellation, False, True),
    ],
)
def test_belongs_to_process(kind, otherwise, cancelled):
    """Interrupts always do, a cancellation only where the running task is being cancelled."""

    async def inside():
        return belongs_to_process(kind())

    async def inside_cancelled():
        asyncio.current_task().cancel()
        found = belongs_to_process(kind())
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        asyncio.current_task().uncancel()
        return found, belongs_to_process(kind())

    async def between_tasks():
        found = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: found.set_result(belongs_to_process(kind())))
        return await found

    assert belongs_to_process(kind()) is otherwise
    assert asyncio.run(inside()) is otherwise
    assert asyncio.run(between_tasks()) is otherwise
    assert asyncio.run(inside_cancelled()) == (cancelled, otherwise)


class BadText(Exception):
    __str__ = failing(SystemExit(1))


class BadRepr(Exception):
    __repr__ = failing(OSError("no"))


class NoText(Exception):
    def __str__(self):
        return 5  # noqa: PLE0307 - that is the point


class HostileMeta(type):
    @property
    def __name__(cls):
        raise OSError("no")

    @property
    def __module__(cls):
        raise OSError("no")


class BadMeta(Exception, metaclass=HostileMeta):
    pass


class HostileWords(Exception):
    def __str__(self):
        return HostileText("words")


def cyclic():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


class TestExplain:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: ValueError("a"), "ValueError: a"),
            (lambda: ValueError(), "ValueError"),
            (lambda: ValueError("  \n\n"), "ValueError"),
            (lambda: ValueError("a\nb\r\n  c  \n\n"), "ValueError: c"),
            (lambda: KeyError("k"), "KeyError: 'k'"),
            (lambda: SystemExit(3), "SystemExit: 3"),
            (lambda: ValueError("x" * 10_000_000 + "\nlast"), "ValueError: last"),
            (lambda: BadText("secret"), "BadText: (its text cannot be shown)"),
            (lambda: NoText(), "NoText: (its text cannot be shown)"),
            (lambda: BadRepr("a"), "BadRepr: a"),
            (lambda: BadMeta("a"), "BadMeta: a"),
            (lambda: HostileWords(), "HostileWords: words"),
            (lambda: ExceptionGroup("g", [ValueError("a")]), "ExceptionGroup: g (1 sub-exception)"),
            (cyclic, "ValueError: one"),
            (lambda: ValueError("lone \udc80"), r"ValueError: lone \udc80"),
        ],
    )
    def test_message(self, make, message):
        """It is the type and the last line, whatever the exception's own methods do."""
        words = explain(make())
        assert words.message == message
        assert all(type(word) is str for word in words)
        json.dumps(words, ensure_ascii=False).encode()

    def test_exception_type(self):
        """The type is named with its module, but for builtins."""
        assert explain(ValueError()).exception_type == "ValueError"
        assert explain(json.JSONDecodeError("m", "d", 0)).exception_type == (
            "json.decoder.JSONDecodeError"
        )
        assert explain(BadMeta()).exception_type == "BadMeta"

    def test_a_class_may_have_a_hostile_name(self):
        """The name of a class can be of a subclass of str."""
        cls = type("Odd", (Exception,), {})
        cls.__name__ = HostileText("Odd")
        assert explain(cls("a")).message == "Odd: a"

    @pytest.mark.parametrize("make", [cyclic, lambda: ValueError("a"), lambda: BadText("a")])
    def test_traceback(self, make):
        """It is the same as Python's, and names the place."""
        with Guard() as guard:
            raise make()
        words = explain(guard.error)
        assert "Traceback (most recent call last)" in words.traceback
        assert "in test_traceback" in words.traceback

    def test_nothing_of_the_exception_is_kept(self):
        """The words outlive the exception and its frames."""
        import gc
        import weakref

        error = BadRepr("a")
        reference = weakref.ref(error)
        words = explain(error)
        del error
        gc.collect()
        assert reference() is None
        assert words.message == "BadRepr: a"

    def test_an_interrupt_while_explaining_passes(self):
        """Ctrl-C is not swallowed, even in ``__str__``."""
        cls = type("Bad", (Exception,), {"__str__": failing(KeyboardInterrupt())})
        with pytest.raises(KeyboardInterrupt):
            explain(cls())


def entries(error):
    return sum(1 for _ in traceback.walk_tb(error.__traceback__))


class Argument:
    pass


class TestRaisedAgain:
    """One exception object that is raised each time costs no more the hundredth time."""

    @pytest.mark.parametrize("method", ["call", "outcomes", "acall"])
    def test_its_traceback_does_not_grow(self, method):
        """Frames of earlier calls, and their arguments, are released, and the record stays."""
        error = ValueError("no")

        def fail(item):
            raise error

        class Shared:
            @hookimpl
            def price(self, item):
                fail(item)

        given, seen = [], set()
        with PluginRegistry("shop", hookspecs=[Hooks]) as registry:
            registry.load()
            registry.register(Shared(), "shared")
            for _ in range(5):
                item = Argument()
                given.append(weakref.ref(item))
                value = getattr(registry, method)("price", item=item)
                if inspect.isawaitable(value):
                    asyncio.run(awaited(value))
                del item, value
                [record] = registry.errors
                seen.add((entries(error), record.traceback))
        gc.collect()

        assert len(seen) == 1
        assert record.traceback.count("in price") == record.traceback.count("in fail") == 1
        assert record.count == 5
        assert [reference() is None for reference in given] == [True] * 4 + [False]

    def test_its_traceback_does_not_grow_as_a_cause(self):
        """It does not where the plugin itself catches it, and raises another one from it."""
        shared = ValueError("no")

        def fail():
            raise shared

        def price():
            try:
                fail()
            except ValueError as error:
                raise KeyError("none") from error

        texts = set()
        for _ in range(5):
            with Guard() as guard:
                price()
            texts.add(explain(guard.error).traceback)

        assert entries(shared) == 2
        assert len(texts) == 1

    def test_its_traceback_does_not_grow_without_limit(self):
        """In a coroutine, too, only so many frames are formatted and kept."""
        shared = ValueError("no")

        async def price():
            try:
                raise shared
            except ValueError as error:
                raise KeyError("none") from error

        async def main():
            lengths = []
            for _ in range(300):
                with Guard() as guard:
                    await price()
                lengths.append(len(explain(guard.error).traceback.splitlines()))
            return lengths

        lengths = asyncio.run(main())

        assert entries(shared) <= 100
        assert lengths[-1] == lengths[-100]

    def test_a_function_that_calls_itself_is_shown_to_its_end(self):
        """A function that occurs again in one raise is no earlier raise."""

        def climb(depth):
            if depth == 3:
                raise ValueError("top")
            try:
                climb(depth + 1)
            except ValueError as error:
                if depth:
                    raise
                raise KeyError("none") from error

        with Guard() as guard:
            climb(0)

        assert "raise ValueError" in explain(guard.error).traceback
        assert entries(guard.error.__cause__) == 4

    def test_a_chain_that_grows_is_not_formatted_without_limit(self):
        """The exception is shown, without its causes if they are too long."""
        last = None
        lengths = []
        for number in range(1_000):
            with Guard() as guard:
                raise ValueError(f"no {number}") from last
            last = guard.error
            lengths.append(len(explain(last).traceback.splitlines()))

        assert max(lengths) < 500
        assert lengths[-1] == lengths[500]
        assert "ValueError: no 999" in explain(last).message
        assert last.__cause__.__cause__ is not None

    def test_a_cause_that_is_ever_another_one(self):
        """An exception that makes up causes when it is asked does not hang its host."""

        class Endless(Exception):
            @property
            def __cause__(self):
                return Endless()

        with Guard() as guard:
            raise Endless

        assert "in test_a_cause_that_is_ever" in explain(guard.error).traceback

    def test_a_deep_stack_keeps_its_ends(self):
        """Where it was called and where it was raised is shown of a recursion without end."""

        def deeper(depth):
            return deeper(depth + 1)

        with Guard() as guard:
            deeper(0)
        text = explain(guard.error).traceback

        assert "in test_a_deep_stack_keeps_its_ends" in text
        assert "RecursionError" in text.splitlines()[-1]
        assert entries(guard.error) <= 100


async def awaited(value):
    return await value


class TestSafeRepr:
    def test_is_the_repr(self):
        """An ordinary object is shown as always."""
        assert safe_repr({"a": 1}) == "{'a': 1}"

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    def test_a_failing_repr_gives_the_class(self, error):
        """A repr that raises, whatever it raises, is replaced."""
        shown = safe_repr(type("Odd", (), {"__repr__": failing(error)})())
        assert "Odd" in shown
        assert "repr fails" in shown

    def test_a_repr_that_is_no_plain_text(self):
        """Its result can be joined, formatted and written."""
        odd = type("Odd", (), {"__repr__": lambda self: HostileText("odd \udc80")})()
        assert type(safe_repr(odd)) is str
        f"{safe_repr(odd)}".encode()

    def test_a_class_that_fails_to_say_its_name(self):
        """A hostile metaclass is not asked."""

        class Odd(metaclass=HostileMeta):
            __repr__ = failing(OSError("no"))

        assert "Odd" in safe_repr(Odd())


def test_overlong_texts_are_cut():
    """A message of megabytes is no record; its beginning and its end are kept."""
    words = explain(ValueError("x" * 10_000_000 + "end"))

    assert len(words.message) < 2_000
    assert words.message.startswith("ValueError: xxx")
    assert words.message.endswith("xend")
    assert len(words.traceback) < 100_000
