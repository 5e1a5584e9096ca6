"""Ctrl-C at every place of a transaction where Python lets it come."""

from __future__ import annotations

import pytest

PROGRAM = """
import inspect, logging, os, sys
from concurrent.futures import ThreadPoolExecutor
from plugreg.storage import open_storage

logging.disable()  # SQLAlchemy logs what it throws away.
url, step = sys.argv[1], int(sys.argv[2])
storage = open_storage(url)


def count():
    with storage.transaction() as transaction:
        number = (transaction.get("counter", "now") or {"n": 0})["n"] + 1
        transaction.put("counter", "now", {"n": number})
        transaction.put("counter", "copy", {"n": number})
    return number


class CtrlC:
    '''Raises KeyboardInterrupt where Python would: as functions begin, or one in C has ended.

    Not as a generator goes on: what is raised there in this way passes by its finally blocks,
    which Ctrl-C does not.
    '''

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        resumed = event == "call" and frame.f_code.co_flags & inspect.CO_GENERATOR
        if event in ("call", "c_return") and not resumed:
            self.left -= 1
            if not self.left:
                sys.setprofile(None)
                raise KeyboardInterrupt

    def during(self, work):
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)


count()
places = CtrlC(-1)
places.during(count)
wrong, last, came = [], storage.read("counter")["now"]["n"], 0
for at in range(1, -places.left, step):
    ctrl_c = CtrlC(at)
    try:
        ctrl_c.during(count)
        if not ctrl_c.left:
            wrong.append(f"{at}: nothing was raised")
    except KeyboardInterrupt:
        came += 1
    except BaseException as error:
        wrong.append(f"{at}: {error!r} was raised instead")
    try:
        number = count()
    except BaseException as error:
        wrong.append(f"{at}: {error!r} came afterwards")
        storage = open_storage(url)
        number = count()
    kept = storage.read("counter")
    if not last < number <= last + 2 or kept != {"now": {"n": number}, "copy": {"n": number}}:
        wrong.append(f"{at}: {last} was there, {number} is, and {kept}")
    last = number
    with ThreadPoolExecutor(1) as others:
        try:
            others.submit(storage.read, "counter").result(30)
        except BaseException as error:
            print(f"{at}: {error!r} came in another thread", flush=True)
            os._exit(1)
child = os.fork()
if not child:
    try:
        storage.read("counter")
    except BaseException as error:
        print(f"{error!r} came in a child", flush=True)
    finally:
        os._exit(0)
os.waitpid(child, 0)
print(came > 20, *wrong, sep="\\n")
"""


@pytest.mark.parametrize(("scheme", "step"), [("tinydb", 1), ("sqlite", 1)])
def test_leave_old_or_new_and_a_storage_that_goes_on(tmp_path, run_python, scheme, step):
    """Whenever it comes it is raised, nothing is half there, and no lock stays held.

    Other threads, and a child that is forked afterwards, go on as well.
    """
    assert run_python(PROGRAM, f"{scheme}:///{tmp_path}/store", step) == "True\n"
