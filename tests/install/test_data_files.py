"""What distributions put beside modules and scripts is known before, and no host loses a file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

GROUP = "shop.plugins"
TEA = {GROUP: {"tea": "shop_tea:Tea"}}
MODULE = {"shop_tea.py": "from plugreg import Plugin\nclass Tea(Plugin): ...\n"}
POT = "shop_tea-1.0.data/scripts/tea-pot"
"""A script; where the host has one of that name by then, installing fails when all is in place."""

SPOILT = {**MODULE, POT: "#!python\n", "shop_tea-1.0.data/data/share/tea.txt": "green"}

PROGRAM = """
import json, pickle, sys
from pathlib import Path
from plugreg import PluginRegistry
from plugreg.exceptions import InstallError
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller

given = json.loads(sys.argv[1])
policy = InstallPolicy(indexes=given["indexes"])
uv = given["uv"]
installer = UvInstaller(policy=policy, uv=uv) if uv else PipInstaller(policy=policy)
kept, told = Path("plan.pickle"), {}
with PluginRegistry("shop", installer=installer) as registry:
    registry.load()
    try:
        if "plan" in given:
            plan = registry.plan(given["plan"])
            kept.write_bytes(pickle.dumps(plan))
            told["files"] = plan.data_files
            told["rules"] = [each.rule for each in plan.refusals]
            told["reasons"] = [each.reason for each in plan.refusals]
        if "install" in given:
            registry.install(pickle.loads(kept.read_bytes()))
    except InstallError as error:
        told["error"], told["reasons"] = type(error).__name__, error.reasons
print(json.dumps(told))
"""


class Shop:
    """A host whose installer is pip or uv; each call of it is a process of its environment."""

    def __init__(self, venv, index, uv):
        self.venv = venv
        self.index = index
        self.uv = uv

    def __call__(self, **asked):
        given = {"uv": self.uv, "indexes": [self.index.url, self.index.host]}
        return self.venv.run(PROGRAM, json.dumps({**given, **asked}))

    def plan(self, requirement="shop-tea"):
        return self(plan=requirement)

    def install(self, requirement="shop-tea"):
        told = self(plan=requirement, install=True)
        assert "error" not in told, "\n".join(told["reasons"])
        return told

    def files(self):
        """Return what lies in the environment, but for where modules, scripts and headers are."""
        found = {}
        for each in sorted(self.venv.folder.rglob("*")):
            path = each.relative_to(self.venv.folder)
            # uv locks an environment with a file.
            if each.is_file() and path.parts[0] not in ("lib", "lib64", "bin", "include", ".lock"):
                found[path.as_posix()] = each.read_bytes()
        return found

    def write(self, path, text):
        file = self.venv.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture(params=["pip", "uv"])
def shop(request, venv, index):
    return Shop(venv, index, request.getfixturevalue("uv_path") if request.param == "uv" else None)


@pytest.fixture
def tea(index, make_wheel):
    """Give a function that puts ``shop-tea`` into the index; ``data`` is below ``sys.prefix``."""

    def make(data=(), *, version="1.0", name="shop-tea", **more):
        base = f"{name.replace('-', '_')}-{version}.data"
        modules = {f"{base}/data/{path}": text for path, text in dict(data).items()}
        given = (
            {"entry_points": TEA, "modules": {**MODULE, **modules}} if name == "shop-tea" else {}
        )
        given = {"modules": modules, **given, **more}
        return make_wheel(index.folder, name, version, **given)

    return make


def edit(wheel: Path, name: str, change) -> None:
    """Replace the text of one file of a wheel, and leave its RECORD to itself."""
    with zipfile.ZipFile(wheel) as archive:
        files = {each: archive.read(each).decode() for each in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, change(text) if each.endswith(name) else text)


class TestPlanning:
    def test_it_tells_what_will_be_there(self, shop, tea, venv):
        """Exactly, for all distributions that come: no module, script or header is among them."""
        tea(
            {
                "share/tea/leaf.txt": "green",
                "share/tea/brew.py": "HOT = True\n",
                "etc/tea.ini": "",
                "share/a file 100%.txt": "",
                "bin/tea-pot": "#!/bin/sh\n",
                "include/tea.h": "",
                f"lib/{venv.purelib.parent.name}/site-packages/more_tea.py": "",
            },
            requires=["shop-milk"],
        )
        tea({"share/milk.txt": "white"}, name="shop-milk")
        before = shop.files()
        told = shop.plan()
        assert "error" not in told, "\n".join(told["reasons"])
        after_plan = shop.files()
        shop(install=True)

        assert after_plan == before
        assert told["rules"] == []
        assert told["files"] == sorted(shop.files().keys() - before.keys())
        expected = {"share/a file 100%.txt", "etc/tea.ini", "share/milk.txt", "share/tea/brew.py"}
        assert expected | {"share/tea/leaf.txt"} <= set(told["files"])

    def test_mostly_there_are_none(self, shop, tea):
        """Modules and metadata are guarded as a whole."""
        tea()

        assert shop.plan()["files"] == []

    def test_a_file_of_nobody_stays(self, shop, tea):
        """What the host has put there itself would be lost; it is named."""
        tea({"share/tea/leaf.txt": "green", "share/new.txt": ""})
        shop.write("share/tea/leaf.txt", "the host's")
        before = shop.files()
        told = shop(plan="shop-tea", install=True)

        assert told["rules"] == ["environment"]
        assert told["error"] == "InstallRefusedError"
        assert "share/tea/leaf.txt" in told["reasons"][0]
        assert "'shop-tea'" in told["reasons"][0]
        assert shop.files() == before

    def test_a_file_of_python_s_own_stays(self, shop, tea):
        """It would make another environment of it."""
        tea({"pyvenv.cfg": "home = /nowhere\n"})

        assert shop.plan()["rules"] == ["environment"]

    def test_a_file_of_another_distribution_stays(self, shop, tea):
        """Uninstalling one would take it from the other."""
        tea({"share/tea/leaf.txt": "green"})
        shop.install()
        points = {GROUP: {"pot": "shop_tea:Tea"}}
        tea({"share/tea/leaf.txt": "black"}, name="shop-pot", entry_points=points)
        told = shop.plan("shop-pot")

        assert told["rules"] == ["environment"]
        assert "share/tea/leaf.txt" in told["reasons"][0]

    def test_an_upgrade_has_its_own(self, shop, tea):
        """What the version before has put there may be written again."""
        tea({"share/tea/leaf.txt": "green"})
        shop.install()
        tea({"share/tea/leaf.txt": "black", "share/tea/new.txt": ""}, version="2.0")
        told = shop.install()

        assert told["files"] == ["share/tea/leaf.txt", "share/tea/new.txt"]
        assert shop.files()["share/tea/leaf.txt"] == b"black"

    def test_a_link_of_the_environment_may_lead_elsewhere_in_it(self, shop, tea, venv):
        """The file is told by where it is."""
        # A folder that has nothing else would be moved away by pip, and the link lead nowhere.
        shop.write("shared/other.txt", "")
        (venv.folder / "share").symlink_to("shared")
        tea({"share/leaf.txt": "green"})

        assert shop.install()["files"] == ["shared/leaf.txt"]
        tea({"share/leaf.txt": "black"}, version="2.0")
        assert shop.install()["files"] == ["shared/leaf.txt"]

    def test_a_link_that_leads_outside_is_not_followed(self, shop, tea, venv, tmp_path):
        """What is there belongs to others, and is not looked at."""
        (tmp_path / "system").mkdir()
        (venv.folder / "share").symlink_to(tmp_path / "system")
        tea({"share/leaf.txt": "green"})
        told = shop.plan()

        assert (told["rules"], told["files"]) == (["environment"], [])
        assert str(tmp_path / "system" / "leaf.txt") in told["reasons"][0]

    @pytest.mark.parametrize("line", ["../../../../victim.txt,,", "/etc/hostname,,"])
    def test_a_record_that_leads_outside(self, shop, tea, line):
        """Pip keeps the line, by which the file would be removed with it; uv leaves it out."""
        wheel = tea()
        edit(wheel, "/RECORD", lambda text: f"{line}\n{text}")
        told = shop.plan()

        assert told["files"] == []
        if shop.uv is None:
            assert told["rules"] == ["environment"]
            assert Path(line.rstrip(",")).name in told["reasons"][0]
            assert "'shop-tea'" in told["reasons"][0]
        else:
            assert told["rules"] == []

    def test_a_record_that_cannot_be_read(self, shop, tea):
        """Its name is told; uv writes another one."""
        wheel = tea()
        edit(wheel, "/RECORD", lambda text: f"odd\0name,,\n{text}")
        told = shop.plan()

        if shop.uv is None:
            assert told["error"] == "InstallError"
            assert "shop-tea" in told["reasons"][0]
        else:
            assert told["files"] == []

    @pytest.mark.parametrize("path", ["../../out.txt", "share/../../out.txt", "/out.txt"])
    def test_a_path_that_leads_outside(self, shop, tea, venv, path):
        """Neither program puts it there: they fail, or leave it out."""
        tea({path: "out"})
        told = shop(plan="shop-tea", install=True)

        assert told.get("error") == "InstallError" or told["files"] in ([], ["out.txt"])
        assert not Path("/out.txt").exists()
        above = venv.purelib.parents[:5]
        assert [each for each in above if (each / "out.txt").exists()] in ([], [venv.folder])


class TestInstalling:
    def test_what_fails_leaves_nothing(self, shop, tea):
        """Files that were not there before are gone again."""
        tea(modules=SPOILT, requires=["shop-milk"])
        tea({"share/milk.txt": ""}, name="shop-milk")
        before = shop.files()
        planned = shop.plan()
        shop.write("bin/tea-pot", "the host's")
        told = shop(install=True)

        assert planned["files"] == ["share/milk.txt", "share/tea.txt"]
        assert "tea-pot', which was there before" in told["reasons"][0]
        assert shop.files() == before
        assert (shop.venv.scripts / "tea-pot").read_text() == "the host's"

    def test_what_fails_gives_back_what_was_written_since(self, shop, tea):
        """A file that the host has put there after the plan was made is not lost."""
        tea(modules=SPOILT)
        shop.plan()
        shop.write("bin/tea-pot", "the host's")
        shop.write("share/tea.txt", "the host's")
        told = shop(install=True)

        assert told["error"] == "InstallError"
        assert shop.files()["share/tea.txt"] == b"the host's"

    def test_where_the_program_puts_it_elsewhere_there_is_no_plan(self, shop, tea, tmp_path):
        """Nobody knows then what it would put there."""
        if shop.uv is None:
            file, text = "pip/pip.conf", f"[install]\nroot = {tmp_path / 'root'}\n"
        else:
            file, text = "uv/uv.toml", f'[pip]\ntarget = "{tmp_path / "target"}"\n'
        config = shop.venv.home / ".config" / file
        config.parent.mkdir(parents=True)
        config.write_text(text)
        tea()
        told = shop.plan()

        assert told["error"] == "InstallError"
        assert "has not put 'shop-tea' into" in told["reasons"][0]
