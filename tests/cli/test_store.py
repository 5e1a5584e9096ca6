"""``plugreg store``: a store that is damaged, copied, exported and imported."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from contextlib import closing

import click
import pytest

from plugreg.cli.session import Session
from plugreg.storage import SQLStorage, TinyDBStorage


@pytest.fixture
def damaged(shop):
    """Return a shop of which one plugin's row cannot be read."""
    shop.plugin("discount")
    shop.plugin("tax")
    shop.wish(discount=True, tax=True)
    storage = TinyDBStorage(shop.store)
    with storage.transaction() as transaction:
        row = transaction.get("plugins", "tax")
        transaction.put("plugins", "tax", {**row, "active": "perhaps"})
    storage.close()
    return shop


class TestChangedByHand:
    @pytest.fixture
    def edited(self, shop):
        """Give a shop whose store says by hand that no plugin is wanted."""
        shop.plugin("tax")
        shop.wish(tax=True)
        text = shop.store.read_text()
        shop.store.write_text(text.replace('"active": true', '"active": false'))
        assert shop.store.read_text() != text
        assert shop.run("list").code == 5
        return shop

    def test_it_is_accepted_with_consent(self, edited):
        """Not without; then it serves as it is, as a new commit, and the found one is kept."""
        found = edited.store.read_bytes()
        assert edited.run("store", "repair", "--accept-changes").code == 4
        assert edited.store.read_bytes() == found

        done = edited.run("store", "repair", "--accept-changes", "--yes")

        assert done.code == 0
        (kept,) = edited.store.parent.glob(f"{edited.store.name}.corrupt-*")
        assert (kept.read_bytes(), str(kept) in done.out) == (found, True)
        assert kept.stat().st_mode == edited.store.stat().st_mode
        assert edited.run("list", "--wanted", "--format", "names").out == ""
        before = json.loads(found.splitlines()[0])["revision"]
        with closing(TinyDBStorage(edited.store)) as storage:
            assert storage.revision() == before + 1

    def test_more_than_a_wrong_checksum_is_not_accepted(self, edited):
        """What is no store, as half a file, stays as it is."""
        half = edited.store.read_bytes()[:-20]
        edited.store.write_bytes(half)
        done = edited.run("store", "repair", "--accept-changes", "--yes")
        assert done.code == 5
        assert edited.store.read_bytes() == half
        assert not [*edited.store.parent.glob("*.corrupt-*")]

    def test_a_store_that_is_fine_is_left(self, shop):
        """Nothing is to be accepted there."""
        shop.plugin("tax")
        shop.wish(tax=True)
        before = shop.store.read_bytes()
        assert shop.run("store", "repair", "--accept-changes", "--yes").code == 1
        assert shop.run("store", "repair", "--yes").code == 2
        assert shop.store.read_bytes() == before


class TestDamage:
    def test_list_names_the_row_and_the_command_that_mends_it(self, damaged):
        """Exit code 5; the rest is listed; the command that it prints does mend it."""
        done = damaged.run("list")
        assert done.code == 5
        assert "discount" in done.out
        assert "'tax' of table 'plugins' is damaged" in done.err
        command = re.search(r"plugreg (store repair --set-aside .+)", done.err)[1]

        mended = damaged.run(*shlex.split(command))

        assert mended.code == 0
        assert damaged.run("list").code == 0
        assert damaged.run("store", "check").code == 0

    def test_check_names_each(self, damaged):
        """Exit code 1, and nothing is changed."""
        before = damaged.store.read_bytes()

        done = damaged.run("store", "check", "--json")

        assert done.code == 1
        (row,) = done.document["rows"]
        assert row["command"] == "plugreg store repair --set-aside plugins:tax"
        assert damaged.store.read_bytes() == before

    def test_what_is_set_aside_is_kept(self, damaged):
        """In the store itself, and as a secret in exports."""
        damaged.run("store", "repair", "--set-aside", "plugins:tax")

        storage = TinyDBStorage(damaged.store)
        (copy,) = storage.read("set_aside").values()
        storage.close()
        assert json.loads(copy["value"])["active"] == "perhaps"
        assert "perhaps" not in damaged.run("store", "export").out

    def test_what_is_not_damaged_stays(self, damaged):
        """A row that can be read is not moved, nor are others if one cannot be."""
        before = damaged.store.read_bytes()

        words = ("store", "repair", "--set-aside", "plugins:tax", "--set-aside", "plugins:discount")
        assert damaged.run(*words).code == 1
        assert damaged.store.read_bytes() == before

    def test_numbers_go_on(self, damaged):
        """A damaged counter is made again, so that no number is used twice."""
        storage = TinyDBStorage(damaged.store)
        with storage.transaction() as transaction:
            transaction.put("counters", "pk", {"last": "many"})
            transaction.put("counters", "generation", {"number": "many", "asked": 0})
        storage.close()

        words = ("store", "repair", "--set-aside", "counters:pk", "--set-aside")
        assert damaged.run(*words, "counters:generation").code == 0

        storage = TinyDBStorage(damaged.store)
        assert storage.read("counters")["pk"] == {"last": 2}
        assert storage.read("counters")["generation"]["number"] >= storage.revision()
        storage.close()

    def test_a_damaged_row_of_a_plugin_refuses_the_plugin_alone(self, damaged):
        """Others are switched; of that one the command that mends it is said."""
        assert damaged.run("deactivate", "discount").code == 0
        done = damaged.run("deactivate", "tax", "--json")

        assert done.code == 5
        assert done.document["error"]["remedy"] == "plugreg store repair --set-aside plugins:tax"

    def test_a_store_that_is_no_store(self, shop):
        """Exit code 5 for each command, and the file stays."""
        shop.plugin("discount")
        shop.write_host()
        shop.store.write_text("{}")
        for words in (["list"], ["doctor"], ["store", "check"], ["activate", "discount"]):
            done = shop.program(*words, "--json")
            assert (done.code, done.document["error"]["code"]) == (5, "store"), words
        assert shop.store.read_text() == "{}"

    def test_rows_of_other_tables(self, damaged):
        """Those of the audit, and rows that are no JSON in a database."""
        storage = TinyDBStorage(damaged.store)
        with storage.transaction() as transaction:
            transaction.put("audit", "yesterday", {"when": "?"})
        storage.close()
        rows = damaged.run("store", "check", "--json").document["rows"]
        assert [row["row"] for row in rows] == ["audit:yesterday", "plugins:tax"]
        assert damaged.run("audit").code == 5
        assert damaged.run("store", "repair", "--set-aside", "audit:yesterday").code == 0
        assert damaged.run("audit").code == 0

    def test_a_row_of_a_database_that_is_no_json(self, shop, tmp_path):
        """It is set aside by the very command that is printed."""
        file = tmp_path / "plugins.db"
        shop.options["storage"] = SQLStorage(f"sqlite:///{file}")
        shop.plugin("discount")
        shop.wish(discount=True)
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(
                "update plugreg_records set record = '{' where table_name = ?", (b"plugins",)
            )
        source = ("--store", f"sqlite:///{file}", "--group", "shop.plugins")
        done = shop.program(*source, "list", env={"PYTHONPATH": shop.path})
        assert done.code == 5
        command = re.search(r"plugreg (--store .+ --set-aside .+)", done.err)[1]

        assert shop.program(*shlex.split(command), env={"PYTHONPATH": shop.path}).code == 0
        assert shop.program(*source, "list", env={"PYTHONPATH": shop.path}).code == 0

    def test_a_password_is_in_no_command(self, damaged):
        """It must be typed again."""
        url = f"{damaged.url}?lock_timeout=5"
        session = Session()
        session.store = "postgresql+psycopg://shop:hunter2@db/shop"
        with click.Context(click.Command("plugreg"), info_name="plugreg"):
            assert session.command == "plugreg --store postgresql+psycopg://db/shop"
            session.store = url
            assert session.command.endswith(shlex.quote(url))


class TestMoving:
    def test_copy(self, damaged, tmp_path):
        """Everything, as it is; a target that has rows is refused without --replace."""
        url = f"tinydb:///{tmp_path / 'other.json'}"

        assert damaged.run("store", "copy", url).code == 0

        other = TinyDBStorage(tmp_path / "other.json")
        assert [*other.read("plugins")] == ["discount", "tax"]
        other.close()
        assert damaged.run("store", "copy", url).code == 4
        assert damaged.run("store", "copy", url, "--replace").code == 0

    def test_a_copy_onto_itself_is_refused_at_once(self, damaged):
        """The command does not wait for the lock that it holds; nothing is emptied."""
        before = damaged.store.read_bytes()
        url = f"tinydb:///{damaged.store}?lock_timeout=86400"
        done = damaged.run("store", "copy", url, "--replace")
        assert (done.code, "onto itself" in done.err) == (5, True)
        assert damaged.store.read_bytes() == before

    def test_an_export_over_a_file_is_for_its_owner_alone(self, shop, tmp_path):
        """Whoever could read the file before."""
        path = tmp_path / "backup.json"
        path.touch(0o644)

        assert shop.run("store", "export", str(path), "--secrets").code == 0

        assert path.stat().st_mode & 0o777 == 0o600

    def test_export_and_import(self, shop, tmp_path):
        """Exported rows are imported; protected values stay."""
        shop.plugin("discount")
        shop.wish(discount=True)
        path = tmp_path / "backup.json"

        assert shop.run("store", "export", str(path)).code == 0
        assert path.stat().st_mode & 0o077 == 0
        assert shop.run("store", "export", "--json").document["store"]["plugreg"] == 1
        shop.run("deactivate", "discount")
        assert shop.run("store", "import", str(path)).code == 4
        assert shop.run("store", "import", str(path), "--replace").code == 0

        assert shop.run("list", "--wanted", "--format", "names").out == "discount\n"
        assert shop.run("store", "import", str(tmp_path / "none")).code == 2
        (tmp_path / "bad").write_text("schema = 1\n")
        assert shop.run("store", "import", str(tmp_path / "bad"), "--replace").code == 2
