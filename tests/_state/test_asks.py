"""``registry.shared.ask()``: requests that each process carries out at its next refresh, once."""

from __future__ import annotations

from contextlib import closing

import pytest

from plugreg import CircuitPolicy, Plugin, PluginNotFoundError, PluginRegistry, hookimpl, hookspec
from plugreg.storage import TinyDBStorage, open_storage


class Hooks:
    @hookspec
    def price(self, item): ...


class Tea(Plugin):
    NAME = "tea"
    made = 0

    def __init__(self):
        Tea.made += 1

    @hookimpl
    def price(self, item):
        raise ValueError("no price")


class Moody(Plugin):
    NAME = "moody"
    is_sound = False

    def __init__(self):
        if not self.is_sound:
            raise ValueError("no")


@pytest.fixture(params=["tinydb", "sqlite"])
def url(request, tmp_path):
    return f"{request.param}:///{tmp_path / 'plugins.store'}"


@pytest.fixture
def start(url, monkeypatch):
    """Yield a function that loads one more registry on the store, as another process has it."""
    monkeypatch.setattr(Tea, "made", 0)
    monkeypatch.setattr(Moody, "is_sound", False)
    started = []

    def start(**options):
        options.setdefault("builtin", [Tea, Moody])
        storage = open_storage(url)
        registry = PluginRegistry(
            "shop",
            hookspecs=[Hooks],
            storage=storage,
            circuit=CircuitPolicy(max_failures=1),
            **options,
        )
        started.append((registry, storage))
        registry.load()
        return registry

    yield start
    for registry, storage in started:
        registry.close()
        storage.close()


def test_each_process_resets_once(start):
    """A circuit is closed in every process at its next look, and not again at the one after."""
    here = start()
    here.activate("tea")
    there = start()
    for registry in (here, there):
        registry.call("price", item="tea")
        assert registry.get("tea").circuit == "open"
    here.shared.ask("reset", "tea")
    for registry in (here, there):
        registry.refresh()
        assert registry.get("tea").circuit == "closed"
        registry.call("price", item="tea")
        registry.refresh()
        assert registry.get("tea").circuit == "open"


def test_a_failed_plugin_is_tried_again(start):
    """In a process that nobody can reach otherwise."""
    here = start()
    here.activate("moody")
    there = start()
    Moody.is_sound = True
    here.shared.ask("reset")
    assert there.get("moody").state == "failed"
    assert there.refresh() is True
    assert there.get("moody").active
    assert there.refresh() is False


def test_one_plugin_is_reloaded(start):
    """Its object is made again; one who is loaded later has nothing to do."""
    here = start()
    here.activate("tea")
    there = start()
    plugin = there.get("tea").plugin
    here.shared.ask("reload", "tea")
    late = start()
    made = Tea.made
    assert there.refresh() is True
    assert there.get("tea").plugin is not plugin
    assert late.refresh() is False
    assert Tea.made == made + 1


def test_all_reload(start):
    """Failed plugins are tried again."""
    here = start()
    here.activate("moody")
    there = start()
    Moody.is_sound = True
    here.shared.ask("reload")
    assert there.refresh() is True
    assert there.get("moody").active


def test_safe_mode_may_ask_but_does_not_know_everything(start):
    """The asking process need not run any plugin; a slip in a name is refused."""
    here = start()
    here.activate("moody")
    Moody.is_sound = True
    safe = start(safe_mode=True)
    with pytest.raises(PluginNotFoundError, match="moody"):
        safe.shared.ask("reset", "mody")
    with pytest.raises(ValueError, match="'reload' or 'reset'"):
        safe.shared.ask("restart")
    safe.shared.ask("reset", "moody")
    here.refresh()
    assert here.get("moody").active


def test_rows_do_not_pile_up(start, url):
    """Of all rows the latest hundred are kept, and none for longer than a day."""
    here = start()
    for _ in range(120):
        here.shared.ask("reset")
    with closing(open_storage(url)) as storage:
        rows = storage.read("asks")
        assert 100 <= len(rows) <= 101
        with storage.transaction() as transaction:
            for key, row in rows.items():
                transaction.put("asks", key, {**row, "at": row["at"] - 90_000})
    here.shared.ask("reset")
    with closing(open_storage(url)) as storage:
        assert len(storage.read("asks")) == 1


def test_the_last_request_to_look_for_plugins_is_kept(start, url):
    """A process that has slept for days finds it."""
    here, there = start(), start()
    for _ in range(2):
        here.shared.reload_everywhere(collect=True)
    with closing(open_storage(url)) as storage, storage.transaction() as transaction:
        for key, row in [*transaction.items("asks")]:
            transaction.put("asks", key, {**row, "at": row["at"] - 900_000})
    here.shared.ask("reset")
    with closing(open_storage(url)) as storage:
        assert [row["what"] for _, row in sorted(storage.read("asks").items())] == [
            *("reload", "reset")
        ]
    assert there.refresh() is True


def test_damaged_rows_are_left_out(start, tmp_path):
    """They stop no refresh."""
    storage = TinyDBStorage(tmp_path / "plugins.json")
    registry = PluginRegistry("shop", storage=storage, builtin=[Moody])
    with registry:
        registry.load()
        registry.activate("moody")
        with storage.transaction() as transaction:
            transaction.put("asks", "99999999999999999999", {"what": "explode"})
            transaction.put("asks", "one", {"what": "reset", "slug": None, "at": 1.0})
        Moody.is_sound = True
        registry.shared.ask("reset")
        registry.refresh()
        assert registry.get("moody").active
