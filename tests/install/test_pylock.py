"""Lock files list exactly the files of a generation; those of other programs are understood."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from plugreg.exceptions import InstallError
from plugreg.install.plan import Lock, Pin
from plugreg.install.pylock import dumps, load

SHA = "0123456789abcdef" * 4
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PINS = (
    Pin(
        name="built", version="1!2.0+x", source="https://h/built-1!2.0+x.tar.gz", sha256=SHA, size=7
    ),
    Pin(name="leaf", version="1.5", source="file:///w/leaf-1.5-py3-none-any.whl", sha256=SHA),
    Pin(
        name="milk",
        version="1.0",
        source="https://h/milk-1.0-py3-none-any.whl",
        sha256=SHA,
        direct=True,
    ),
    Pin(
        name="tea",
        version="1.0",
        source=f"git+https://h/tea.git@{COMMIT}#subdirectory=a/b",
        direct=True,
    ),
)


def written(path: Path, text: str) -> Path:
    path = path / "pylock.toml"
    path.write_text(text, encoding="utf-8")
    return path


def package(text: str, more: str = "") -> str:
    return f'lock-version = "1.0"\ncreated-by = "x"\n{more}\n[[packages]]\n{text}\n'


def wheel(name: str) -> str:
    return f'{{url = "https://h/{name}", hashes = {{sha256 = "{SHA}"}}}}'


def test_what_is_written_is_read_back(tmp_path) -> None:
    """Pins, the requests, and the time, with characters that need escapes."""
    asked = {"tea": 'tea; os_name != "x\\y"', "milk": "milk @ https://h/milk-1.0-py3-none-any.whl"}
    lock = Lock(
        pins=PINS, asked=asked, created=datetime(2026, 11, 30, 22, 1, 2, 345678, tzinfo=UTC)
    )

    assert load(written(tmp_path, dumps(lock))) == lock
    assert load(written(tmp_path, dumps(Lock()))) == Lock()


def test_the_form_is_that_of_the_standard(tmp_path) -> None:
    """PEP 751: version and author of the lock, one source of each package, with its hash."""
    content = tomllib.loads(dumps(Lock(pins=PINS)))

    assert (content["lock-version"], content["created-by"]) == ("1.0", "plugreg")
    built, leaf, milk, tea = content["packages"]
    assert built["sdist"]["hashes"] == {"sha256": SHA}
    assert [file["name"] for file in leaf["wheels"]] == ["leaf-1.5-py3-none-any.whl"]
    assert milk["archive"]["url"] == "https://h/milk-1.0-py3-none-any.whl"
    assert tea["vcs"] == {
        "type": "git",
        "url": "https://h/tea.git",
        "commit-id": COMMIT,
        "subdirectory": "a/b",
    }


def test_packaging_understands_it() -> None:
    """A version of packaging that reads lock files finds no fault."""
    if find_spec("packaging.pylock") is None:
        return  # The lowest version that plugreg allows has none.
    from packaging import pylock

    lock = pylock.Pylock.from_dict(tomllib.loads(dumps(Lock(pins=PINS))))
    lock.validate()

    assert [found.name for found in lock.packages] == [pin.name for pin in PINS]


def test_the_wheel_that_suits_best_is_taken(tmp_path) -> None:
    """Another program lists the files for all machines."""
    wheels = ", ".join(
        wheel(f"tea-1.0-{tags}.whl")
        for tags in ("cp27-none-win32", "py3-none-any", "2-py3-none-any")
    )
    text = package(f'name = "Tea"\nversion = "1.0"\nwheels = [{wheels}]')
    [pin] = load(written(tmp_path, text)).pins

    assert (pin.name, pin.version, pin.direct) == ("tea", "1.0", False)
    assert pin.source == "https://h/tea-1.0-2-py3-none-any.whl"


def test_markers_and_paths_are_those_of_this_place(tmp_path) -> None:
    """A package for others is left out; a path is relative to the lock file."""
    file = f'{{path = "w/tea-1.0-py3-none-any.whl", hashes = {{sha256 = "{SHA}"}}}}'
    text = (
        package(f'name = "tea"\nversion = "1.0"\nwheels = [{file}]')
        + package('name = "old"\nversion = "1.0"\nmarker = "python_version < \'3\'"').partition(
            "\n\n"
        )[2]
    )
    [pin] = load(written(tmp_path, text)).pins

    assert pin.source == (tmp_path / "w/tea-1.0-py3-none-any.whl").as_uri()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no toml", "cannot be read"),
        (package('name = "tea"').replace('"1.0"', '"2.0"', 1), "lock-version"),
        (package('name = "tea"', 'requires-python = "<3"'), "requires Python '<3'"),
        (package('name = "tea"\nversion = "1.0"'), "'tea' has no file that suits"),
        (package('name = "tea"\nversion = "1.0"\ndirectory = {path = "."}'), "'tea' has no file"),
        (package(f"name = 'tea'\nwheels = [{wheel('tea-1.0-py3-none-any.whl')}]"), "no version"),
        (package("name = 'tea'\nversion = '1.0'\nsdist = {url = 'https://h/t.zip'}"), "no sha256"),
        (
            package(
                f"name = 'tea'\nversion = '1 --pre'\nwheels = [{wheel('t-1-py3-none-any.whl')}]"
            ),
            "1 --pre",
        ),
        (package("version = '1.0'"), "name"),
        ("lock-version = 1\npackages = 3", "cannot be installed"),
    ],
)
def test_what_cannot_be_installed_is_refused(tmp_path, text, words) -> None:
    """The error has the file, and the package where one is at fault."""
    with pytest.raises(InstallError, match=r"pylock\.toml") as caught:
        load(written(tmp_path, text))

    assert words in str(caught.value)


def test_no_credentials_are_read(tmp_path) -> None:
    """A pin is shown, and its URL has none."""
    text = package(f'name = "tea"\nversion = "1.0"\nwheels = [{wheel("tea-1.0-py3-none-any.whl")}]')
    path = written(tmp_path, text.replace("https://h", "https://me:s3cret@h"))

    assert "s3cret" not in repr(load(path))
