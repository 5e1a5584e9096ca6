"""The folder of generations: one file decides which serves, and nothing is ever half there."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg
from plugreg import InstallError
from plugreg.install.distributions import distributions
from plugreg.install.exceptions import InstallPermissionError, InstallSpaceError
from plugreg.install.generations import Generations, carry_over

ROOT = Path(plugreg.__file__).parents[1]

# Stops at a step of a change as a process does that is killed there.
KILLED = """
import os, sys
from pathlib import Path
from plugreg.install.generations import Generations

environment, step = Path(sys.argv[1]), int(sys.argv[2])
seen = 0

def die(event, arguments):
    global seen
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
        if any(str(environment) in str(argument) for argument in arguments):
            seen += 1
            if seen == step:
                os._exit(9)

sys.addaudithook(die)
generations = Generations(environment)
with generations.changing() as (current, folder):
    (folder / "module.py").write_text("new")
    number = generations.publish(folder, "lock of the new", current)
    generations.swap(number, current)
    generations.retire(generations.current())
"""


@pytest.fixture
def environment(tmp_path):
    return tmp_path / "plugins.d"


@pytest.fixture
def generations(environment):
    return Generations(environment, keep=2, lock_timeout=0.2)


def add(generations, content="x"):
    """Make a generation with one file serve, and return its number."""
    with generations.changing() as (current, folder):
        (folder / "module.py").write_text(content)
        number = generations.publish(folder, f"lock of {content}", current)
        generations.retire(generations.swap(number, current))
    return number


def files(generations):
    """Return all files in the environment but the lock, relative to it."""
    found = generations.environment.rglob("*")
    names = {str(path.relative_to(generations.environment)) for path in found if path.is_file()}
    return names - {"lock"}


def test_looking_makes_nothing(generations):
    """Before the first change there is no folder, and nothing serves."""
    assert (generations.current().number, generations.numbers()) == (0, ())
    assert not generations.environment.exists()


def test_current_is_a_file_whose_first_line_is_the_number(generations):
    """As operators and other programs may read and write it."""
    add(generations)
    add(generations)

    assert generations.current_file.read_text().splitlines()[0] == "2"
    generations.current_file.write_text("1\n")
    assert generations.current().number == 1


@pytest.mark.parametrize("text", ["", "two\n", "9\n", "1\nand more\n", "-1\n"])
def test_a_current_that_names_nothing_is_never_guessed(generations, text):
    """The error names the file and its contents, and no change is made."""
    add(generations)
    generations.current_file.write_text(text)
    before = files(generations)
    with pytest.raises(InstallError, match=r"current.*names no generation that is there \(1\)"):
        add(generations)

    assert files(generations) == before


def test_what_fails_leaves_what_served(generations):
    """Whatever was staged is removed."""
    add(generations)
    before = files(generations)
    with generations.changing() as (current, folder):
        (folder / "module.py").write_text("half")
        with pytest.raises(InstallError):
            generations.publish(folder / "gone", "lock", current)

    assert files(generations) == before


@pytest.mark.parametrize("step", range(1, 40, 2))
def test_a_process_that_is_killed_leaves_the_old_or_the_new(generations, step):
    """At each step of a change; and the next change removes the remains."""
    for _ in range(3):
        add(generations, "old")
    command = [sys.executable, "-c", KILLED, generations.environment, str(step)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    assert code in (0, 9)
    current = generations.current()
    content = (generations.folder(current.number) / "module.py").read_text()

    assert (current.number, content) in ((3, "old"), (4, "new"))
    lock = generations.lock_file(current.number).read_text()
    assert lock == ("lock of old" if content == "old" else "lock of the new")
    number = add(generations, "next")
    kept = {
        f"generations/{n}{end}" for n in generations.numbers() for end in (".lock", "/module.py")
    }
    assert files(generations) == {"current", *kept}
    assert number in generations.numbers()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, InstallSpaceError), (errno.EROFS, InstallPermissionError)]
)
def test_a_disk_that_fails_before_the_swap(generations, monkeypatch, number, kind):
    """It is an error of its own kind, and the previous generation serves."""
    add(generations)

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(kind):
            add(generations)

    assert generations.current().number == 1
    assert add(generations) == 2


def test_what_a_process_uses_is_kept(generations):
    """Its folder goes with the change after that process has ended."""
    add(generations)
    program = (
        "import sys; from pathlib import Path\n"
        "from plugreg.install.generations import Generations\n"
        "from plugreg.install.serving import Serving\n"
        "serving = Serving(Generations(Path(sys.argv[1])))\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, generations.environment],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        for _ in range(4):
            add(generations)
        assert generations.numbers() == (1, 3, 4, 5)
        process.kill()
    add(generations)

    assert generations.numbers() == (4, 5, 6)


def test_the_way_back_is_kept_first(generations):
    """Those that were rolled back are removed before those that served."""
    for _ in range(3):
        add(generations)
    with generations.changing() as (current, _):
        generations.swap(1, current)
    add(generations)
    assert generations.current().before == (1, 0)
    add(generations)
    add(generations)

    assert generations.current().before[:2] == (5, 4)
    assert generations.numbers() == (4, 5, 6)


@pytest.mark.parametrize("can_link", [True, False])
def test_unchanged_distributions_are_linked_or_copied(tmp_path, site, monkeypatch, can_link):
    """All files that its RECORD lists, with their times, and no others."""
    site.dist("shop-tea", modules={"tea/__init__.py": "1", "tea/leaf.py": "2"})
    (site.folder / "tea" / "stray.pyc").write_text("")
    if not can_link:

        def refuse(*_, **__):
            raise OSError(errno.EXDEV, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "next"
    target.mkdir()
    carry_over(distributions(site.folder)["shop-tea"], target)

    leaf, old = target / "tea/leaf.py", site.folder / "tea/leaf.py"
    assert (leaf.read_text(), leaf.stat().st_mtime_ns) == ("2", old.stat().st_mtime_ns)
    assert leaf.samefile(old) == can_link
    assert not (target / "tea/stray.pyc").exists()
    shutil.rmtree(site.folder)
    assert leaf.read_text() == "2"


@pytest.mark.parametrize("change", ["install", "recover"])
def test_what_serves_is_never_removed(generations, change):
    """Not even if its lock is gone; all else that is half there is."""
    add(generations)
    add(generations)
    for number in (1, 2):
        generations.lock_file(number).unlink()
    if change == "install":
        add(generations)
    else:
        with generations.changing():
            pass

    assert generations.folder(2).is_dir()
    assert not generations.folder(1).exists()


def test_current_needs_no_newline_at_its_end(generations):
    """An operator who writes the number into it may forget that."""
    add(generations)
    add(generations)
    generations.current_file.write_text("1")

    assert generations.current().number == 1


def test_swapping_in_what_serves_changes_nothing(generations):
    """The way back does not lead to itself."""
    add(generations)
    add(generations)
    with generations.changing() as (current, _):
        assert generations.swap(2, current).before == (1, 0)


def test_without_current_the_generations_stay(generations):
    """Whoever removes the file to start without any can go back."""
    for _ in range(3):
        add(generations)
    generations.current_file.unlink()

    assert add(generations) == 4
    assert generations.numbers() == (2, 3, 4)


def test_a_number_written_by_hand_removes_nothing(generations):
    """An operator who goes back can go forth again."""
    for _ in range(3):
        add(generations)
    generations.current_file.write_text("1\n")
    with generations.changing():
        assert generations.numbers() == (1, 2, 3)
