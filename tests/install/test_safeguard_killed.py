"""A change of the environment that is broken off, at any instant of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, shutil, signal, sys
from pathlib import Path
from plugreg.install.environment import Environment
from plugreg.install.safeguard import Safeguard

root, scenario, how = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
os.umask(0)
lib, bin, outside = root / "lib", root / "bin", root / "plugins.txt"

def fill():
    shutil.rmtree(root, ignore_errors=True)
    info = lib / "pack-1.0.dist-info"
    (lib / "pack" / "sub").mkdir(parents=True)
    info.mkdir()
    bin.mkdir()
    (info / "METADATA").write_text("Name: pack\\nVersion: 1.0\\n")
    (lib / "pack" / "__init__.py").write_text("version = 1")
    (lib / "pack" / "sub" / "big.so").write_bytes(b"1" * 70_000)
    (lib / "pack" / "link").symlink_to("sub")
    (bin / "run").write_text("1")
    outside.write_text("pack==1.0")
    for each in root.rglob("*"):
        if each.is_file():
            each.chmod(0o640)

def change():
    (lib / "pack" / "__init__.py").unlink()
    (lib / "pack" / "__init__.py").write_text("version = 2")
    os.rename(lib / "pack" / "sub" / "big.so", lib / "pack" / "~big.so")
    (lib / "pack" / "sub" / "big.so").write_bytes(b"2" * 70_001)
    (lib / "pack" / "~big.so").unlink()
    (lib / "pack" / "link").unlink()
    os.rename(lib / "pack-1.0.dist-info", lib / "pack-2.0.dist-info")
    (lib / "new" / "deep").mkdir(parents=True)
    (lib / "new" / "deep" / "mod.py").write_text("new")
    (bin / "run").write_text("2")
    (bin / "run").chmod(0o700)
    outside.write_text("pack==2.0")

def tree(times=True):
    found = {}
    for each in [lib, bin, outside, *lib.rglob("*"), *bin.rglob("*")]:
        if not any(part.startswith(".plugreg") for part in each.parts):
            status, what = each.lstat(), None
            if each.is_symlink():
                what = os.readlink(each)
            elif each.is_file():
                what = (each.read_bytes(), status.st_mtime_ns if times else None)
            found[each] = (status.st_mode, what)
    return found

def half_written():
    found = [*root.rglob(".plugreg.tmp")]
    return [oct(each.lstat().st_mode) for each in found if each.is_file() and not each.is_symlink()]

def everything():
    return {
        each: (status.st_mode, status.st_ino, status.st_mtime_ns, status.st_nlink)
        for each in root.rglob("*")
        for status in [each.lstat()]
    }

def safeguard():
    return Safeguard(Environment((lib, lib, bin)))

def well():
    with safeguard().changing("test", [outside]):
        change()

def badly():
    try:
        with safeguard().changing("test", [outside]):
            change()
            raise KeyError
    except KeyError:
        pass

def recover():
    safeguard().recover()

def is_write(event, arguments):
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event.startswith("os.") and event not in ("os.scandir", "os.listdir")

def in_child(job, number):
    # Broken off right before the call of that number by which it would change something.
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    left = [number]
    def hook(event, arguments):
        if is_write(event, arguments):
            left[0] -= 1
            if not left[0]:
                if how == "interrupt":
                    raise KeyboardInterrupt
                os.kill(os.getpid(), signal.SIGKILL)
    try:
        sys.addaudithook(hook)
        job()
    except KeyboardInterrupt:
        os._exit(1)
    except BaseException:
        os._exit(2)
    os._exit(0)

def killed_in_the_block():
    with safeguard().changing("test", [outside]):
        change()
        os.kill(os.getpid(), signal.SIGKILL)

fill()
change()
after = tree(times=False)
told, status = [], None
while status != 0:
    fill()
    before = tree()
    if scenario == "recover":
        in_child(killed_in_the_block, 0)
    status = in_child(globals()[scenario], len(told) + 1)
    modes, seen = half_written(), everything()
    interrupted = safeguard().interrupted()
    unchanged = everything() == seen
    recovered = safeguard().recover()
    if tree() == before:
        state = "before"
    else:
        state = "after" if tree(times=False) == after else "neither"
    left = safeguard().interrupted()
    with safeguard().changing("next") as undo:
        pass
    told.append({
        "status": status, "interrupted": interrupted and interrupted.what, "unchanged": unchanged,
        "same": recovered == interrupted, "state": state, "left": left or undo.recovered,
        "own": [*os.listdir(lib / ".plugreg"), *map(str, lib.glob(".plugreg?*"))],
        "modes": modes,
    })
print(json.dumps(told))
"""


@pytest.mark.parametrize("scenario", ["well", "badly", "recover"])
@pytest.mark.parametrize(("how", "status"), [("kill", 9), ("interrupt", 1 << 8)])
def test_at_any_call_it_is_before_or_after(tmp_path, scenario, how, status):
    """Broken off before each of its calls that write, in turn, a change is undone, or was final.

    It is killed, or Ctrl-C comes, which puts back at once what was not final yet. ``well`` is a
    change that would have ended well, ``badly`` one that was being put back, and ``recover`` the
    putting back of one that was killed. To ask whether it was interrupted changes nothing. While
    the journal is there, recover() brings all to before; once it is gone the change is final.
    Whichever it was, the next change begins well, nothing is left lying about, and at no time may
    others read what they may not.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "place", scenario, how],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *broken_off, last = json.loads(done.stdout)

    assert len(broken_off) > 20
    assert {each["status"] for each in broken_off} == {status}
    assert last["status"] == 0
    for each in (*broken_off, last):
        assert each["unchanged"]
        assert each["same"]
        assert each["left"] is None
        assert each["own"] == ["lock"]
        assert {*each["modes"]} <= {"0o100600", "0o100640"}
        assert each["state"] == "before" or (each["state"] == "after" and not each["interrupted"])
    assert {each["interrupted"] for each in broken_off} == {None, "test"}
    states = {each["state"] for each in broken_off}
    assert states == ({"before", "after"} if scenario == "well" else {"before"})
