"""ChangeQueue: one change at a time, none dropped, equal ones together."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial

import pytest

from plugreg._lifecycle.change_queue import ChangeQueue, _has_ended
from plugreg.exceptions import RegistryBusyError

PATIENCE = 20.0
"""Seconds after which a test gives up; none takes that long unless it fails."""


class ProcessStatus:
    """A job that holds the turn until it is asked to end, in a thread of its own."""

    def __init__(self, queue, result=None):
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.result = result
        self.thread = Call(queue, self.job)
        assert self.begun.wait(PATIENCE)

    def job(self):
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        return self.result

    def end(self):
        self.may_end.set()
        return self.thread.outcome()


class Call:
    """A call of ``queue.run`` in another thread, and its result."""

    def __init__(self, queue, job, key=None):
        self._value = self._error = None
        self.thread = threading.Thread(target=self._call, args=(queue, job, key), daemon=True)
        self.thread.start()

    def _call(self, queue, job, key):
        try:
            self._value = queue.run(job, key)
        except BaseException as error:
            self._error = error

    def outcome(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self._value if self._error is None else self._error


def queue_length(queue):
    """Return how many jobs wait in the line; those that were given up are not counted."""
    length, turn = 0, queue._lines.get().last()
    while turn is not None:
        if turn.lock.acquire(blocking=False):
            turn.lock.release()
        else:
            length += turn.before is not None
        turn = turn.before
    return length


def queued(queue, length):
    """Wait until this many jobs stand in the line, joined ones not counted."""
    for _ in range(int(PATIENCE * 1000)):
        if queue_length(queue) == length:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"no {length} jobs came to wait")


def waiting(queue, threads):
    """Wait until this many threads sleep in ``run``."""
    for _ in range(int(PATIENCE * 1000)):
        frames = sys._current_frames().values()
        if sum(frame.f_code is _has_ended.__code__ for frame in frames) == threads:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"no {threads} threads came to wait")


def interrupted_run(queue, job, key, other, threads):
    """Wait with ``job`` in this thread, and press Ctrl-C once ``other`` is brought and waits too.

    Returns the call of ``other``, whose ``key`` is the same.
    """
    main = threading.get_ident()
    calls = []

    def press():
        queued(queue, 1)
        calls.append(Call(queue, other, key))
        waiting(queue, threads)
        # This thread has its lock to wait for, but may not have come to wait for it.
        threading.Event().wait(0.05)
        signal.pthread_kill(main, signal.SIGINT)

    presses = threading.Thread(target=press)
    # Where the tests run in the background, the shell has them ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        presses.start()
        with pytest.raises(KeyboardInterrupt):
            queue.run(job, key)
        presses.join()
    finally:
        signal.signal(signal.SIGINT, before)
    return calls[0]


@pytest.fixture
def queue():
    return ChangeQueue(PATIENCE)


class TestRun:
    def test_returns_what_the_job_returns(self, queue):
        """One job after the other, each with its own result."""
        assert [queue.run(partial(int, text)) for text in "123"] == [1, 2, 3]

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
    def test_raises_what_the_job_raises(self, queue, error):
        """The line goes on afterwards."""

        def job():
            raise error

        with pytest.raises(type(error)):
            queue.run(job)
        assert queue.run(lambda: 1) == 1

    def test_runs_in_the_callers_thread(self, queue):
        """Plugin code runs where the host called."""
        assert queue.run(threading.get_ident) == threading.get_ident()

    def test_knows_whose_the_running_job_is(self, queue):
        """It is the running job's own thread's, and nobody's when none runs."""
        assert not queue.is_inside()
        assert queue.run(queue.is_inside)
        running = ProcessStatus(queue)
        assert not queue.is_inside()
        running.end()

    def test_order_is_first_come_first_served(self, queue):
        """Jobs that wait run in the order in which they came, and never two at once."""
        running = ProcessStatus(queue)
        done = []
        calls = []
        for number in range(10):
            calls.append(Call(queue, partial(done.append, number)))
            queued(queue, number + 1)
        running.end()
        for call in calls:
            call.outcome()
        assert done == list(range(10))

    def test_none_is_dropped_and_no_two_overlap(self, queue):
        """8 threads with 50 jobs each: every job runs, one at a time."""
        inside = []
        done = []

        def job(number):
            inside.append(number)
            assert inside == [number]
            done.append(number)
            inside.remove(number)

        def brings(first):
            for number in range(first, first + 50):
                queue.run(partial(job, number))

        threads = [threading.Thread(target=brings, args=(50 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(done) == list(range(400))


class TestShare:
    def test_equal_jobs_share_a_turn(self, queue):
        """Those that wait with the same ``key`` run once, and all get the result."""
        running = ProcessStatus(queue)
        runs = []

        def job():
            runs.append(1)
            return object()

        calls = [Call(queue, job, "reload") for _ in range(5)]
        waiting(queue, 5)
        running.end()
        results = [call.outcome() for call in calls]
        assert len(runs) == 1
        assert all(result is results[0] for result in results)

    def test_different_jobs_do_not(self, queue):
        """Neither another ``key`` nor none joins."""
        running = ProcessStatus(queue)
        runs = []
        calls = [
            Call(queue, partial(runs.append, n), key)
            for n, key in enumerate(["reload", "full", None, None])
        ]
        queued(queue, 4)
        running.end()
        for call in calls:
            call.outcome()
        assert sorted(runs) == [0, 1, 2, 3]

    def test_a_job_that_runs_already_is_not_joined(self, queue):
        """A request during a reload is carried out after it: the reload may have missed it."""
        begun, may_end = threading.Event(), threading.Event()
        runs = []

        def job():
            runs.append(1)
            begun.set()
            assert may_end.wait(PATIENCE)

        first = Call(queue, job, "reload")
        assert begun.wait(PATIENCE)
        second = Call(queue, job, "reload")
        queued(queue, 1)
        may_end.set()
        first.outcome()
        second.outcome()
        assert len(runs) == 2

    def test_its_error_is_raised_to_all_that_joined(self, queue):
        """Nobody takes a failed change for a done one."""
        running = ProcessStatus(queue)
        error = ValueError("no")

        def job():
            raise error

        calls = [Call(queue, job, "reload") for _ in range(4)]
        waiting(queue, 4)
        running.end()
        assert [call.outcome() for call in calls] == [error] * 4
        assert queue.run(lambda: 1) == 1

    def test_an_interrupt_of_the_one_that_runs_it_is_no_interrupt_of_the_others(self, queue):
        """Ctrl-C ends one thread's change; the others' is done all the same."""
        running = ProcessStatus(queue)
        runs = []

        def job():
            runs.append(1)
            if len(runs) == 1:
                raise KeyboardInterrupt
            return "done"

        calls = [Call(queue, job, "reload") for _ in range(3)]
        waiting(queue, 3)
        running.end()
        outcomes = [call.outcome() for call in calls]
        assert sorted(map(repr, outcomes)) == ["'done'", "'done'", "KeyboardInterrupt()"]


class TestPutOff:
    def test_a_job_of_the_running_jobs_own_thread_runs_after_it(self, queue):
        """It returns at once, and is done before the outer one returns."""
        done = []

        def inner():
            done.append("inner")

        def outer():
            assert queue.run(inner) is None
            done.append("outer")
            return "result"

        assert queue.run(outer) == "result"
        assert done == ["outer", "inner"]

    def test_it_runs_before_those_that_wait(self, queue):
        """No other change comes between a change and the change that it requests."""
        done = []
        begun, may_go = threading.Event(), threading.Event()

        def outer():
            queue.run(partial(done.append, "inner"))
            begun.set()
            assert may_go.wait(PATIENCE)

        first = Call(queue, outer)
        assert begun.wait(PATIENCE)
        second = Call(queue, partial(done.append, "other"))
        queued(queue, 1)
        may_go.set()
        first.outcome()
        second.outcome()
        assert done == ["inner", "other"]

    def test_equal_ones_are_put_off_once(self, queue):
        """A plugin that asks for a reload ten times gets one."""
        done = []

        def outer():
            for number in range(10):
                queue.run(partial(done.append, number), "reload")
            queue.run(partial(done.append, "other"))
            queue.run(partial(done.append, "other"))

        queue.run(outer)
        assert done == [0, "other", "other"]

    def test_it_runs_even_if_the_outer_one_fails(self, queue):
        """A request is not dropped with the change that made it."""
        done = []

        def outer():
            queue.run(partial(done.append, "inner"))
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            queue.run(outer)
        assert done == ["inner"]

    def test_its_fault_is_logged_and_stops_nothing(self, queue, caplog):
        """Nobody waits for its result, so the log reports it, without its words."""
        done = []

        def fails():
            raise OSError("canary")

        def outer():
            queue.run(fails)
            queue.run(partial(done.append, 1))
            return "result"

        assert queue.run(outer) == "result"
        assert done == [1]
        (message,) = caplog.messages
        assert message.startswith("a deferred change has failed with OSError at ")
        assert __file__ in message
        assert "canary" not in caplog.text


class TestBusy:
    def test_a_job_that_waits_too_long_is_refused(self):
        """RegistryBusyError; the job does not run, and the line is as it was."""
        queue = ChangeQueue(0.01)
        running = ProcessStatus(queue)
        done = []
        with pytest.raises(RegistryBusyError):
            queue.run(partial(done.append, 1))
        queued(queue, 0)
        running.end()
        assert queue.run(lambda: "next") == "next"
        assert done == []

    def test_who_comes_after_one_that_gave_up_waits_too(self):
        """A running job is alone, however many have given up behind it."""
        queue = ChangeQueue(0.01)
        running = ProcessStatus(queue)
        done = []
        for key in (None, "reload", "reload", None):
            with pytest.raises(RegistryBusyError):
                queue.run(partial(done.append, 1), key)
        assert running.end() is None
        assert done == []
        assert queue.run(lambda: "next") == "next"

    def test_one_in_the_middle_of_the_line_leaves_the_others_in_order(self, queue):
        """Whoever gives up takes only its own place away."""
        running = ProcessStatus(queue)
        done = []
        first = Call(queue, partial(done.append, 1))
        queued(queue, 1)
        queue._wait = 0.01
        given_up = Call(queue, partial(done.append, 2))
        assert type(given_up.outcome()) is RegistryBusyError
        queue._wait = PATIENCE
        last = Call(queue, partial(done.append, 3))
        queued(queue, 2)
        running.end()
        first.outcome()
        last.outcome()
        assert done == [1, 3]

    def test_those_who_joined_one_that_gave_up_do_it_themselves(self, queue):
        """A change that several wait for is not lost when the first of them gives up."""
        running = ProcessStatus(queue)
        runs = []

        def job():
            runs.append(1)
            return "done"

        second = interrupted_run(queue, job, "reload", job, threads=2)
        queued(queue, 1)
        running.end()
        assert second.outcome() == "done"
        assert len(runs) == 1

    def test_a_caller_has_one_deadline_whoever_it_joins(self):
        """A caller whose joined job is given up waits only for the rest of its own time."""
        asked = {}

        class Recording(ChangeQueue):
            def _wait_for(self, turn, deadline, meanwhile):
                asked.setdefault(threading.current_thread(), []).append(deadline)
                super()._wait_for(turn, deadline, meanwhile)

        queue = Recording(PATIENCE)
        running = ProcessStatus(queue)
        queue._wait = 0.05
        first = Call(queue, lambda: "done", "reload")
        queued(queue, 1)
        queue._wait = PATIENCE
        others = [Call(queue, lambda: "done", "reload") for _ in range(3)]
        assert type(first.outcome()) is RegistryBusyError
        waiting(queue, 3)
        queued(queue, 1)
        running.end()
        assert [call.outcome() for call in others] == ["done"] * 3
        for call in others:
            first_wait, *later = asked[call.thread]
            assert later
            assert set(later) == {first_wait}

    def test_one_who_joined_and_gives_up_leaves_the_job_in_the_line(self, queue):
        """The one who brought the job still gets it done."""
        running = ProcessStatus(queue)
        first = Call(queue, lambda: "done", "reload")
        queued(queue, 1)
        queue._wait = 0.01
        second = Call(queue, lambda: "done", "reload")
        assert type(second.outcome()) is RegistryBusyError
        queued(queue, 1)
        running.end()
        assert first.outcome() == "done"

    def test_an_interrupt_in_a_waiting_thread_blocks_nobody(self, queue):
        """Ctrl-C while waiting ends that wait; its job does not run, the others do."""
        running = ProcessStatus(queue)
        done = []
        other = interrupted_run(
            queue, partial(done.append, 1), None, partial(done.append, 2), threads=2
        )
        queued(queue, 1)
        running.end()
        other.outcome()
        assert done == [2]
        assert queue.run(lambda: "next") == "next"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestFork:
    def answer(self, work):
        """Return the result of ``work`` in a forked child, as a string."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(int(PATIENCE))
                os.write(writing, repr(work()).encode())
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as file:
            answer = file.read()
        assert os.waitpid(pid, 0)[1] == 0
        return answer

    def test_a_child_waits_for_nothing_that_its_parent_has_begun(self, queue):
        """Neither for the job that runs, nor for those that wait, which are not its to join."""
        running = ProcessStatus(queue)
        waits = Call(queue, lambda: "parent", "reload")
        queued(queue, 1)
        assert self.answer(lambda: queue.run(lambda: "child", "reload")) == "'child'"
        running.end()
        assert waits.outcome() == "parent"

    def test_a_lock_that_another_thread_holds_is_its_parents(self, queue):
        """The moment of the fork does not matter."""
        line, held, let_go = queue._lines.get(), threading.Event(), threading.Event()

        def hold():
            with line.lock:
                held.set()
                assert let_go.wait(PATIENCE)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(PATIENCE)
        assert self.answer(lambda: queue.run(lambda: "child")) == "'child'"
        let_go.set()
        holder.join(PATIENCE)

    def test_a_thread_that_was_forked_inside_a_job_is_inside_it(self, queue):
        """Its effect is deferred to the end of that job, and then it goes on as any other."""

        def in_child():
            done.append(queue.is_inside())
            queue.run(partial(done.append, "put off"))
            done.append("job")

        def hold():
            with queue._lines.get().lock:
                held.set()
                assert let_go.wait(PATIENCE)

        def job():
            # Whatever the other threads do at that moment.
            threading.Thread(target=hold).start()
            assert held.wait(PATIENCE)
            if os.fork() == 0:
                signal.alarm(int(PATIENCE))
                in_child()
                return "child"
            let_go.set()
            return "parent"

        done, reading, writing = [], *os.pipe()
        held, let_go = threading.Event(), threading.Event()
        parent = os.getpid()
        result = queue.run(job)
        if os.getpid() != parent:
            try:
                done.append(result)
                done += [queue.run(lambda: "next"), queue.is_inside()]
                os.write(writing, repr(done).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as file:
            assert file.read() == repr([True, "job", "put off", "child", "next", False])
        os.wait()
        assert result == "parent"
