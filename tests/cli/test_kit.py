"""``plugreg check``, ``contract``, ``new`` and ``dev``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from plugreg.isolation import Isolated
from plugreg.testing import CHECKS

PROJECT = """
[project]
name = "shop-tea"
version = "1.0"
description = "Tea"
license = "MIT"
requires-python = ">=3.11"
dependencies = ["plugreg", "shop>=2,<3"]

[project.entry-points."shop.plugins"]
tea = "shop_tea:Tea"

[tool.plugreg.check]
exempt = { K204 = "It is public." }
"""

FAULTY = """
from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin

class Tea(SettingsMixin, Plugin):
    SETTINGS = {
        "TOKEN": {"name": "Token", "default": ""},
        "SIZE": {"name": "Size", "type": int},
    }

    @hookimpl
    def prise(self, item): return 1.0
"""

FINE = """
from plugreg import Plugin, hookimpl

class Tea(Plugin):
    @hookimpl
    def price(self, item: str) -> float: return 1.0
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that writes the project of a plugin."""

    def make(source: str) -> Path:
        folder = tmp_path / "tea"
        folder.mkdir(exist_ok=True)
        (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
        (folder / "shop_tea.py").write_text(source, encoding="utf-8")
        return folder

    return make


class TestCheck:
    def test_a_folder_without_mistakes_ends_with_0(self, shop, project):
        """The verdict is one line, and no module of the plugin is imported here."""
        done = shop.run("check", str(project(FINE)))

        assert (done.code, done.out) == (0, "1 plugin checked: nothing is wrong\n")
        assert "shop_tea" not in sys.modules

    def test_mistakes_are_told_with_code_place_and_mend(self, shop, project):
        """Errors end with 1; an exempted finding is shown with its reason."""
        done = shop.run("check", str(project(FAULTY)))

        assert done.code == 1
        assert "shop_tea.py:11: K101 error: shop has no hook 'prise'; did you mean" in done.out
        assert "K202 warning" in done.out
        assert "K204 exempted: It is public." in done.out
        assert done.out.endswith("1 plugin checked: 1 error, 1 warning\n")

    def test_json(self, shop, project):
        """One document, with findings and exemptions as rows."""
        done = shop.run("check", str(project(FAULTY)), "--json")

        assert (done.code, done.document["ok"]) == (1, False)
        rows = {row["code"]: row for row in done.document["findings"]}
        assert rows["K101"]["level"] == "error"
        assert rows["K101"]["where"] == "shop_tea.py:11"
        assert [row["reason"] for row in done.document["exempted"]] == ["It is public."]

    def test_github(self, shop, project):
        """Errors stand beside their lines in a pull request."""
        folder = project(FAULTY)
        done = shop.run("check", str(folder), "--format", "github")
        [error] = [line for line in done.out.splitlines() if line.startswith("::error")]

        file = os.path.relpath(folder / "shop_tea.py")
        assert error.startswith(f"::error file={file},line=11,title=K101 Hook does not exist::")
        assert "\n::warning title=K202" in done.out

    def test_junit(self, shop, project):
        """One case for each check: failed, skipped with the reason, or passed."""
        done = shop.run("check", str(project(FAULTY)), "--format", "junit")
        [suite] = ElementTree.fromstring(done.out)

        assert (suite.get("tests"), suite.get("failures")) == (str(len(CHECKS)), "1")
        assert len(suite) == len(CHECKS)
        skipped = suite.find("testcase[skipped]")
        assert skipped is not None
        assert skipped.find("skipped").get("message") == "It is public."

    def test_installed_plugins_are_checked_by_slug_and_all_together(self, shop):
        """Without a target every installed plugin is checked."""
        shop.plugin(
            "tea", FINE, metadata="Requires-Dist: shop<3\nRequires-Dist: plugreg\n", name="Tea"
        )
        shop.plugin("bad", "raise RuntimeError('no')\n")
        one, every = shop.run("check", "tea"), shop.run("check", "--json")

        assert one.code == 0, one.out
        assert (every.code, every.document["plugins"]) == (1, ["bad", "tea"])

    def test_plugins_of_a_folder_are_checked_as_the_host_runs_them(self, shop, tmp_path):
        """By slug, all together and by their folder, also where the host isolates them."""
        folder = tmp_path / "plugins"
        folder.mkdir()
        (folder / "milk.py").write_text(FINE.replace("Tea", "Milk"), encoding="utf-8")
        wraps = FINE.replace("Tea", "Sugar").replace("@hookimpl", "@hookimpl(wrapper=True)")
        text = wraps.replace("return 1.0", "return (yield)")
        (folder / "sugar.py").write_text(text, encoding="utf-8")
        shop.options = {"directories": [folder], "isolate": {"milk": Isolated()}}
        fine, every = shop.run("check", "milk"), shop.run("check", "--json")
        place = shop.run("contract", "check", str(folder))
        by_slug = shop.run("contract", "check", "milk")
        together = shop.run("contract", "check", "--json")

        assert (fine.code, fine.out) == (0, "1 plugin checked: nothing is wrong\n")
        assert every.document["plugins"] == ["milk", "sugar"]
        assert [row["code"] for row in every.document["findings"]] == ["K701"]
        assert (place.code, place.out, by_slug.code) == (0, "", 0)
        assert together.document["plugins"] == ["milk", "sugar"]
        assert "did you mean 'sugar'" in shop.run("check", "suga").err
        assert not (folder / "__pycache__").exists()

    def test_an_unknown_plugin_ends_with_3(self, shop):
        """The exit code is that of every command, and the near name is there."""
        shop.plugin("tea", FINE, name="Tea")
        done = shop.run("check", "tee")

        assert done.code == 3
        assert "did you mean 'tea'" in done.err

    def test_a_contract_of_a_file_needs_no_host(self, shop, project, tmp_path):
        """An author's continuous integration needs the file alone."""
        file = tmp_path / "shop.json"
        assert shop.run("contract", "dump", str(file)).code == 0
        done = subprocess.run(
            [sys.executable, "-m", "plugreg", "check", project(FINE), "--contract", file],
            cwd=tmp_path,
            env=shop.environ(),
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout) == (0, "1 plugin checked: nothing is wrong\n")


class TestContract:
    def test_dump_and_diff(self, shop, tmp_path):
        """The file compares equal to the host that wrote it; a major change ends with 1."""
        file = tmp_path / "shop.json"
        told = shop.run("contract", "dump", str(file))
        same = shop.run("contract", "diff", str(file))
        document = json.loads(file.read_text(encoding="utf-8"))
        document["hooks"]["gone"] = document["hooks"]["price"]
        file.write_text(json.dumps(document), encoding="utf-8")
        other = shop.run("contract", "diff", str(file), "--json")

        assert told.out.startswith(f"wrote {file}: 1 hooks")
        assert (same.code, same.out) == (0, "")
        assert other.code == 1
        assert [(row["level"], row["hook"]) for row in other.document["changes"]] == [
            ("major", "gone")
        ]

    def test_dump_to_standard_output(self, shop):
        """The contract itself is printed, or is a member of the JSON document."""
        text, document = shop.run("contract", "dump"), shop.run("contract", "dump", "--json")

        assert json.loads(text.out)["plugreg-contract"] == 1
        assert document.document["contract"] == json.loads(text.out)

    def test_check_says_how_many_break(self, shop, tmp_path):
        """The question before an upgrade, answered with the contract of the version to come."""
        shop.plugin("tea", FINE, metadata="Requires-Dist: shop<3\n", name="Tea")
        shop.plugin("bad", FAULTY, metadata="Requires-Dist: shop<3\n", name="Tea")
        file = tmp_path / "shop.json"
        shop.run("contract", "dump", str(file))
        done = shop.run("contract", "check", str(file))

        assert done.code == 1
        assert done.out.endswith("1 of 2 plugins breaks with shop 2.4\n")
        assert shop.run("contract", "check", str(file), "tea").code == 0
        assert shop.run("contract", "check", "nothing").code == 3

    def test_a_contract_of_a_file_needs_no_host(self, shop, project, tmp_path):
        """Not even one that the project names; without one no folder of plugins is asked for."""
        file, folder = tmp_path / "shop.json", project(FINE)
        shop.run("contract", "dump", str(file))
        config = folder / "pyproject.toml"
        text = config.read_text(encoding="utf-8") + '[tool.plugreg]\napp = "no_such:host"\n'
        config.write_text(text, encoding="utf-8")
        for place, target in ((folder, ["."]), (tmp_path, [])):
            done = subprocess.run(
                [sys.executable, "-m", "plugreg", "contract", "check", file, *target],
                cwd=place,
                env=shop.environ(),
                capture_output=True,
                text=True,
                check=False,
            )

            assert done.returncode == 0, done.stderr

    def test_a_damaged_file_is_told(self, shop, tmp_path):
        """A file that is no contract is an error with its name, and no traceback."""
        file = tmp_path / "shop.json"
        file.write_text("{}", encoding="utf-8")
        done = shop.run("contract", "diff", str(file))
        missing = shop.run("contract", "diff", str(tmp_path / "nothing.json"))

        assert done.code == 1
        assert "plugreg-contract" in done.err
        assert missing.code == 2
        assert "plugreg contract dump FILE" in missing.err


class TestNew:
    def test_begins_and_updates(self, shop, tmp_path):
        """A second run needs --update, and then changes nothing."""
        place = tmp_path / "shop-tea"
        made = shop.run("new", "shop-tea", "--hook", "price", "--folder", str(place), "--json")
        again = shop.run("new", "shop-tea", "--folder", str(place))
        more = shop.run(
            "new", "shop-tea", "--update", "--folder", str(place), "--mixin", "settings"
        )
        same = shop.run("new", "shop-tea", "--update", "--folder", str(place))

        assert made.document["slug"] == "tea"
        assert {row["action"] for row in made.document["files"]} == {"created"}
        assert again.code == 4
        assert more.code == 0
        code = (place / "shop_tea" / "__init__.py").read_text(encoding="utf-8")
        assert "class Tea(SettingsMixin, Plugin):" in code
        assert "def price(self, item: str)" in code
        assert (same.code, same.out) == (0, "nothing has changed\n")

    def test_an_update_refuses_a_hook_that_is_not_there(self, shop, tmp_path):
        """A misspelt name is told, and nothing is written."""
        place = tmp_path / "shop-tea"
        shop.run("new", "shop-tea", "--folder", str(place), "--hook", "price")
        before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
        done = shop.run("new", "shop-tea", "--update", "--folder", str(place), "--hook", "prise")

        assert (done.code, "did you mean 'price'" in done.err) == (2, True)
        assert {file: file.read_bytes() for file in place.rglob("*") if file.is_file()} == before

    def test_a_conflict_ends_with_1(self, shop, tmp_path):
        """The file of the author stays, and the command says where the new one is."""
        place = tmp_path / "shop-tea"
        shop.run("new", "shop-tea", "--folder", str(place))
        code = place / "shop_tea" / "__init__.py"
        mine = code.read_text(encoding="utf-8").replace(
            "class Tea(Plugin)", "class Tea(Plugin, object)"
        )
        code.write_text(mine, encoding="utf-8")
        done = shop.run("new", "shop-tea", "--update", "--folder", str(place), "--mixin", "mail")

        assert done.code == 1
        assert "__init__.py.new" in done.out
        assert code.read_text(encoding="utf-8") == mine

    def test_a_name_that_is_taken_is_refused(self, shop, tmp_path):
        """A second plugin, distribution or module of one name would never be seen."""
        shop.plugin("tea", FINE, name="Tea")
        (tmp_path / "shop").mkdir()
        for name, told in [
            ("tea", "plugin 'tea' is installed already, by 'shop-tea'"),
            ("plugreg", "distribution 'plugreg' is installed already"),
            ("xml", "module 'xml' is there already"),
        ]:
            done = shop.run("new", name, "--folder", str(tmp_path / "new"))

            assert (done.code, told in done.err) == (4, True), done.err
            assert "choose another name" in done.err
        assert not (tmp_path / "new").exists()
        full = shop.run("new", "shop-milk", "--folder", str(shop.site))
        assert (full.code, "is not empty" in full.err) == (4, True)

    def test_a_slug_of_the_api_is_refused(self, shop, tmp_path):
        """It could never be shown, so that it is not begun either."""
        done = shop.run("new", "shop-install", "--folder", str(tmp_path / "new"))

        assert (done.code, "'install' is reserved" in done.err) == (2, True)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--hook", "prise"), "did you mean 'price'"),
            (("--mixin", "nothing"), "has no mixin 'nothing'"),
            (("--update",), "leave --update out"),
        ],
    )
    def test_wrong_turns_are_told_with_their_mend(self, shop, tmp_path, arguments, told):
        """Nothing is written, and the exit code is that of wrong usage."""
        done = shop.run("new", "shop-tea", "--folder", str(tmp_path / "t"), *arguments)

        assert done.code == 2
        assert told in done.err
        assert not (tmp_path / "t").exists()


def test_a_host_is_found_by_the_path_of_the_nearest_project(shop):
    """An author's commands need no option where pyproject.toml says app and path."""
    shop.write_host()
    folder = shop.folder / "shop-tea"
    folder.mkdir()
    text = '[tool.plugreg]\napp = "host:make_registry"\npath = [".."]\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "plugreg", "list", "--format", "count"],
        cwd=folder,
        env=shop.environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_host_of_a_folder_is_that_of_its_project(shop, project):
    """Who checks a folder from outside need not name the host again."""
    shop.write_host()
    folder = project(FINE)
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('[tool.plugreg]\napp = "host:make_registry"\npath = [".."]\n')
    done = subprocess.run(
        [sys.executable, "-m", "plugreg", "check", folder],
        cwd=shop.site.folder,
        env=shop.environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "1 plugin checked: nothing is wrong\n", done.stderr


def test_a_group_that_is_misspelt_is_named(shop, project):
    """The entry point is there, in a group that no host reads."""
    folder = project(FINE)
    file = folder / "pyproject.toml"
    text = file.read_text(encoding="utf-8").replace("shop.plugins", "shop.plugin")
    file.write_text(text, encoding="utf-8")
    done = shop.run("check", str(folder))

    assert done.code == 1
    assert "no entry point in the group 'shop.plugins', but in 'shop.plugin';" in done.out


def test_a_plugin_that_is_installed_in_another_group_is_named(shop):
    """The distribution, its group, and the line to correct; a program of that name is none."""
    points = {"shop.plugin": {"Tea": "shop_tea:Tea"}, "console_scripts": {"kettle": "shop_tea:Tea"}}
    shop.site.dist("shop-tea", entry_points=points, modules={"shop_tea.py": FINE})
    for command in (("check",), ("contract", "check")):
        done = shop.run(*command, "tea")

        assert done.code == 3
        assert "shop-tea has it in the group 'shop.plugin'" in done.err
        assert '[project.entry-points."shop.plugins"]' in done.err
        assert "shop-tea" not in shop.run(*command, "kettle").err
        assert "shop-tea" not in shop.run(*command, "./tea").err


@pytest.mark.parametrize(
    ("app", "told"),
    [
        ("hots:make_registry", "run this in its folder"),
        ("host:make_regstry", "did you mean 'make_registry'?"),
        ("host:nothing", "name a registry, or a function that makes it"),
    ],
)
def test_a_host_that_is_not_there_is_named_with_a_mend(shop, app, told):
    """Module and attribute are told apart, and a near name is offered."""
    shop.write_host()
    done = subprocess.run(
        [sys.executable, "-m", "plugreg", "--app", app, "new", "shop-tea"],
        cwd=shop.folder,
        env=shop.environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 5
    assert told in done.stderr
    assert not (shop.folder / "shop-tea").exists()


def test_a_change_that_nothing_keeps_is_not_silent(shop):
    """A host without a store would forget the plugin at once."""
    shop.plugin("tea", FINE, name="Tea")
    shop.write_host()
    file = shop.folder / "host.py"
    text = file.read_text(encoding="utf-8").replace(f"open_storage({shop.url!r})", "None")
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "plugreg", "activate", "tea", "--no-probe"],
        cwd=shop.folder,
        env=shop.environ(PLUGREG_APP="host:make_registry"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "nothing of this is kept: the host's store is in memory" in done.stderr
    kept = shop.run("activate", "tea", "--no-probe")
    assert (kept.code, "nothing of this" in kept.err) == (0, False)


@pytest.mark.parametrize(
    ("place", "how"),
    [
        ("", {"dir_info": {"editable": True}}),
        ("", {"dir_info": {}}),
        ("/dist/shop_tea-1.0-py3-none-any.whl", {"archive_info": {}}),
    ],
)
def test_exemptions_of_a_plugin_from_a_folder_are_those_of_its_project(shop, project, place, how):
    """A plugin that is installed from a folder is checked by slug as the folder is."""
    folder = project(FAULTY.replace("prise", "price"))
    shop.plugin("tea", FAULTY.replace("prise", "price"), name="Tea")
    [info] = Path(str(shop.site)).glob("shop_tea-*.dist-info")
    origin = {"url": f"{folder.as_uri()}{place}", **how}
    (info / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
    done = shop.run("check", "tea", "--json")

    assert "K204" not in [row["code"] for row in done.document["findings"]]
    assert [row["reason"] for row in done.document["exempted"]] == ["It is public."]


class TestDev:
    def test_a_running_host_takes_a_change_in(self, shop):
        """Who edits the plugin's file sees the new code in the host without starting it again."""
        source = "from plugreg import Plugin\n\nclass Tea(Plugin):\n    TITLE = 'Old'\n"
        shop.plugin("tea", source, name="Tea")
        shop.write_host()
        with shop.serving() as registry:
            registry.activate("tea")
            assert registry.get("tea").title == "Old"
            process = subprocess.Popen(
                [sys.executable, "-m", "plugreg", "dev", "tea"],
                cwd=shop.folder,
                env=shop.environ(PLUGREG_APP="host:make_registry"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
            try:
                lines = [process.stderr.readline()]
                while "watching" not in lines[-1]:
                    assert lines[-1], "".join(lines)
                    lines.append(process.stderr.readline())
                deadline, titles = time.monotonic() + 60, ["New"]
                file = Path(str(shop.site)) / "shop_tea.py"
                while registry.get("tea").title not in titles[:-1]:
                    assert time.monotonic() < deadline
                    # The watcher may begin a moment after it has said so.
                    file.write_text(source.replace("Old", titles[-1]), encoding="utf-8")
                    titles.append(f"New{len(titles)}")
                    time.sleep(0.5)
                    registry.refresh()
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
                process.communicate()

        assert process.returncode == 0, err
        assert out.startswith("asked ")
        assert "asked all processes to import tea again" in err

    def test_an_unknown_plugin_ends_with_3(self, shop):
        """It does not watch a missing plugin."""
        assert shop.run("dev", "nothing").code == 3
