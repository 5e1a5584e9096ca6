"""References to environment variables and files: found, refused, resolved."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.mixins import SettingsMixin
from plugreg.settings.references import (
    MAX_FILE_BYTES,
    UnresolvedError,
    copied,
    has_reference,
    resolve,
)
from plugreg.storage import MemoryStorage

resolve_some = partial(resolve, strict=False)

SECRET = "canary-7f3a"
ENV = {"$env": "TEA_KEY"}


def cyclic():
    value = [1]
    value += [value, {"a": value}]
    return value


class TestHasReference:
    @pytest.mark.parametrize(
        "value", [ENV, {"$file": "x"}, [ENV], {"a": [1, {"b": ENV}]}, (ENV,), [cyclic(), ENV]]
    )
    def test_at_any_depth(self, value):
        """Alone, and within dicts, lists and tuples, however these are tied together."""
        assert has_reference(value)

    @pytest.mark.parametrize(
        "value",
        [None, 5, "x", json.dumps(ENV), {"env": "X"}, {"a": "$env"}, ["$env", "X"], {}, cyclic()],
    )
    def test_not_in_what_only_looks_like_one(self, value):
        """A text that reads like a reference is a text."""
        assert not has_reference(value)

    @pytest.mark.parametrize(
        "value",
        [
            {"$env": 5},
            {"$env": ""},
            {"$env": None},
            {"$file": ["x"]},
            {"$env": "A=B"},
            {"$file": "a\0b"},
            {"$env": "\ud800"},
            {"$env": "X", "default": SECRET},
            {"$env": "X", "$file": "y"},
            {"$env": {"$env": "X"}},
        ],
    )
    @pytest.mark.parametrize("use", [has_reference, copied, resolve, resolve_some])
    def test_what_is_meant_as_one_and_is_none_is_refused(self, value, use):
        """ValueError with the form to use, and nothing of the value, at any depth."""
        for nested in (value, [1, {"a": value}]):
            with pytest.raises(ValueError, match="a reference is a dict with ") as caught:
                use(nested)
            assert '{"$env": "NAME"}' in str(caught.value)
            assert SECRET not in str(caught.value)

    def test_objects_that_lie_about_their_class_are_not_asked(self):
        """``__class__`` may be a property that raises."""

        class Shy:
            @property
            def __class__(self):
                raise OSError

        assert not has_reference([Shy()])


class TestCopied:
    def test_shares_nothing_that_can_change(self):
        """References stay as they are."""
        value = {"a": [1, {"b": dict(ENV)}], "c": (2, [3])}
        copy = copied(value)
        assert copy == value
        value["a"][1]["b"]["$env"] = value["c"][1][0] = "changed"
        assert copy == {"a": [1, {"b": ENV}], "c": (2, [3])}

    def test_a_value_that_contains_itself_is_refused(self):
        """So is a value that is nested too deep."""
        deep = []
        for _ in range(101):
            deep = [deep]
        for value in (cyclic(), deep):
            with pytest.raises(ValueError, match="100 levels, or contain itself"):
                copied(value)


class TestResolve:
    def test_puts_the_texts_in_place(self, monkeypatch, tmp_path):
        """At any depth, in a copy; everything else stays."""
        (tmp_path / "key").write_text("from a file\n", encoding="utf-8")
        monkeypatch.setenv("TEA_KEY", "from the environment")
        value = {"a": [ENV, 5], "b": {"$file": str(tmp_path / "key")}, "c": (ENV,)}
        assert resolve(value) == {
            "a": ["from the environment", 5],
            "b": "from a file",
            "c": ("from the environment",),
        }
        assert value["a"][0] == ENV

    def test_looks_again_each_time(self, monkeypatch, tmp_path):
        """A secret that was renewed is read from then on."""
        file = tmp_path / "key"
        for text in ("one", "two"):
            monkeypatch.setenv("TEA_KEY", text)
            file.write_text(text, encoding="utf-8")
            assert resolve([ENV, {"$file": str(file)}]) == [text, text]

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"x\n", "x"),
            (b"x\r\n", "x"),
            (b"x\n\n", "x\n"),
            (b"  x \n", "  x "),
            (b"a\nb", "a\nb"),
            ("tée\n".encode(), "tée"),
            (b"x" * MAX_FILE_BYTES, "x" * MAX_FILE_BYTES),
        ],
    )
    def test_a_file_loses_one_newline_at_its_end(self, tmp_path, content, text):
        """Editors add one; everything else may be part of the value."""
        (tmp_path / "key").write_bytes(content)
        assert resolve({"$file": str(tmp_path / "key")}) == text

    def test_a_relative_path_counts_from_the_current_folder(self, monkeypatch, tmp_path):
        """That of the moment."""
        (tmp_path / "key").write_bytes(b"x")
        monkeypatch.chdir(tmp_path)
        assert resolve({"$file": "key"}) == "x"

    @pytest.mark.parametrize(
        ("text", "reason"), [(None, "is not set"), ("", "is empty"), ("\udcff", "is not UTF-8")]
    )
    def test_a_variable_that_has_no_value(self, monkeypatch, text, reason):
        """The message has its name and the remedy."""
        monkeypatch.delenv("TEA_KEY", raising=False)
        if text is not None:
            monkeypatch.setenv("TEA_KEY", text)
        with pytest.raises(UnresolvedError, match=f"'TEA_KEY' {reason}; "):
            resolve([ENV])

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"canary\xff", "is not UTF-8"),
            (b"x" * (MAX_FILE_BYTES + 1), "is too long; at most 65536 bytes"),
            (None, "cannot be read .No such file or directory.; put it there"),
        ],
    )
    def test_a_file_that_has_no_value(self, tmp_path, content, reason):
        """The message has its path and the remedy, and nothing of its content."""
        path = tmp_path / "key"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UnresolvedError, match=reason) as caught:
            resolve({"$file": str(path)})
        assert repr(str(path)) in str(caught.value)
        assert "canary" not in str(caught.value)

    def test_what_is_no_regular_file_is_not_opened(self, tmp_path):
        """A pipe would wait for a writer for ever; a folder has no text."""
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", tmp_path):
            with pytest.raises(UnresolvedError, match="is no regular file"):
                resolve({"$file": str(path)})

    def test_a_file_that_may_not_be_read(self, tmp_path):
        """The message has the system's reason. A path that no system takes is refused, too."""
        path = tmp_path / "key" / "below"
        (tmp_path / "key").write_bytes(b"x")
        for name in (str(path), "x" * 10_000):
            with pytest.raises(UnresolvedError, match="cannot be read"):
                resolve({"$file": name})


def test_some_are_resolved_where_others_cannot_be(monkeypatch):
    """A reference that cannot be resolved is None; the others are resolved."""
    monkeypatch.setenv("TEA_KEY", "x")
    assert resolve_some({"a": ENV, "b": [{"$env": "NO_SUCH_TEA"}, "y"]}) == {
        "a": "x",
        "b": [None, "y"],
    }


@pytest.mark.parametrize("is_protected", [False, True])
def test_a_deep_value_without_references_is_no_fault(is_protected):
    """It is stored, read and hidden, and the plugin is loaded with it."""

    class Tea(SettingsMixin, Plugin):
        NAME = "tea"
        SETTINGS = {"TREE": {"type": dict[str, Any], "default": {}, "protected": is_protected}}

    deep = {}
    for _ in range(200):
        deep = {"a": deep}
    storage = MemoryStorage()
    for _ in range(2):
        with PluginRegistry("shop", builtin=[Tea], storage=storage) as registry:
            registry.load()
            registry.activate("tea")
            registry.settings("tea").set("TREE", deep)
            assert registry.settings("tea")["TREE"] == deep
            assert not registry.errors
