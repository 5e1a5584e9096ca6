"""What is installed: read fresh, from the folders of the environment alone."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from plugreg.install.environment import Environment, difference, requiring, reserved
from plugreg.install.plan import Change

FOLDERS = """
import json
from plugreg.install.environment import Environment
environment = Environment()
print(json.dumps([str(environment.folder), *map(str, environment.folders)]))
"""


@pytest.fixture
def environment(site, tmp_path):
    """Give an environment whose purelib is what ``site`` fills."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    return Environment((site.folder, site.folder, scripts))


def versions(environment):
    return {name: each.version for name, each in environment.distributions().items()}


class TestFolders:
    def test_are_those_of_this_interpreter(self):
        """Without folders they are where pip puts distributions: those that sysconfig tells."""
        environment = Environment()

        assert environment.purelib == Path(sysconfig.get_path("purelib")).resolve()
        assert environment.platlib == Path(sysconfig.get_path("platlib")).resolve()
        assert environment.scripts == Path(sysconfig.get_path("scripts")).resolve()
        assert set(environment.folders) >= {environment.purelib, environment.scripts}

    def test_include_counts_where_it_is_the_environments_own(self, tmp_path):
        """In a virtual environment its headers are a part of it; those of the system never are."""
        folder = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        [python] = [*folder.glob("bin/python"), *folder.glob("Scripts/python.exe")]
        done = subprocess.run(
            [python, "-c", f"import sys; sys.path += {sys.path!r}\n{FOLDERS}"],
            capture_output=True,
            text=True,
            check=True,
        )
        own, *folders = json.loads(done.stdout)

        assert str(folder.resolve() / "include") in folders
        assert Path(own).name == ".plugreg"
        assert all(Path(each).is_relative_to(folder.resolve()) for each in (own, *folders))

    def test_two_names_of_a_folder_are_one(self, tmp_path):
        """Where lib64 is a link to lib, nothing is listed or copied twice."""
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib64").symlink_to("lib")
        environment = Environment((tmp_path / "lib", tmp_path / "lib64", tmp_path / "bin"))

        assert environment.purelib == environment.platlib
        assert environment.folders == (
            tmp_path.resolve() / "bin",
            tmp_path.resolve() / "lib",
        )

    def test_a_folder_within_another_is_a_part_of_it(self, tmp_path):
        """Scripts that lie within purelib are listed once."""
        environment = Environment((tmp_path, tmp_path, tmp_path / "bin"))

        assert environment.folders == (tmp_path.resolve(),)

    def test_a_further_one_that_is_a_link_leads_nowhere(self, tmp_path):
        """``include`` may be a link to the system's, whose files are none of the environment."""
        (tmp_path / "system").mkdir()
        (tmp_path / "include").symlink_to("system")
        lib = tmp_path / "lib"
        environment = Environment((lib, lib, lib, tmp_path / "include"))

        assert tmp_path.resolve() / "include" in environment.folders
        assert tmp_path.resolve() / "system" not in environment.folders


class TestDistributions:
    def test_are_told_with_what_their_metadata_says(self, environment, site):
        """Name, version, place, installer, requirements and extras are those in the files."""
        metadata = "Requires-Dist: base>=2\nRequires-Dist: fast; extra == 'speed'\n"
        path = site.dist("Shop_Discount", "2.0", metadata=metadata + "Provides-Extra: speed\n")
        (path / "INSTALLER").write_text("uv\n")
        found = environment.distributions()["shop-discount"]

        assert (found.name, found.version, found.path) == ("shop-discount", "2.0", path.resolve())
        assert found.installer == "uv"
        assert found.requires == ("base>=2", "fast; extra == 'speed'")
        assert found.extras == ("speed",)

    def test_are_in_alphabetical_order_of_both_folders(self, tmp_path, site):
        """What is in purelib and what is in platlib is told together."""
        site.dist("zebra")
        other = type(site)(tmp_path / "platlib")
        other.dist("ant")
        environment = Environment((site.folder, other.folder, tmp_path / "bin"))

        assert list(environment.distributions()) == ["ant", "zebra"]

    def test_the_rest_of_the_path_is_not_looked_at(self, environment):
        """What this interpreter has elsewhere, such as pytest here, is none of this environment."""
        assert environment.distributions() == {}

    def test_are_read_fresh_each_time(self, environment, site):
        """A change is seen at once, however soon it comes after the last look."""
        for number in range(50):
            site.dist(f"name{number}")
            assert len(environment.distributions()) == number + 1

    def test_old_metadata_counts_too(self, environment, site):
        """An ``.egg-info`` is a distribution: a folder, or a file alone, with its requirements."""
        folder = site.folder / "old-1.0.egg-info"
        folder.mkdir()
        (folder / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: old\nVersion: 1.0\n")
        (folder / "requires.txt").write_text("base\n")
        (site.folder / "older-0.9-py3.11.egg-info").write_text("Name: older\nVersion: 0.9\n")

        assert versions(environment) == {"old": "1.0", "older": "0.9"}
        assert environment.distributions()["old"].requires == ("base",)

    def test_the_case_of_its_folder_is_no_difference(self, environment, site):
        """To Python itself it is none either."""
        site.dist("cased", "1.0").rename(site.folder / "cased-1.0.Dist-INFO")

        assert versions(environment) == {"cased": "1.0"}

    def test_what_cannot_be_read_hides_nothing(self, environment, site):
        """Metadata that is missing, empty, no text or half removed is left out; the rest stays."""
        site.dist("good")
        site.dist("gone", metadata=None)
        site.dist("empty", metadata=b"")
        site.dist("nameless", metadata=b"Version: 1.0\n")
        site.dist("binary", metadata=b"Name: binary\nVersion: \xff\xfe\n")
        site.dist("ood", info="~ood-1.0.dist-info")

        assert versions(environment) == {"good": "1.0"}

    def test_of_two_the_first_counts_each_time(self, environment, site):
        """Two folders of one name give one answer, which does not depend on the disk's order."""
        site.dist("twice", "2.0")
        site.dist("twice", "1.0")

        assert versions(environment) == {"twice": "1.0"}

    def test_a_folder_that_is_not_there_has_none(self, tmp_path):
        """An environment that nothing was ever installed into is empty, and stays unmade."""
        environment = Environment((tmp_path / "lib", tmp_path / "lib64", tmp_path / "bin"))

        assert environment.distributions() == {}
        assert list(tmp_path.iterdir()) == []


class TestFiles:
    def test_are_those_of_the_record(self, environment, site, tmp_path):
        """Modules, metadata, and a script that stands outside as ``../bin/run``."""
        path = site.dist("pack", modules={"pack/__init__.py": ""})
        with (path / "RECORD").open("a") as record:
            record.write("../bin/run,sha256=x,1\n")
        # Newer Pythons leave out what is not there.
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "run").write_text("")
        site.dist("other", modules={"other.py": ""})
        lib = site.folder.resolve()

        assert set(environment.files(["pack"])) == {
            lib / "pack" / "__init__.py",
            lib / path.name / "METADATA",
            lib / path.name / "RECORD",
            tmp_path.resolve() / "bin" / "run",
        }

    def test_of_what_is_not_there_are_none(self, environment, site):
        """A name that is not installed, and a distribution without RECORD, have no files."""
        (site.dist("bare") / "RECORD").unlink()

        assert environment.files(["bare", "missing"]) == ()


class TestDifference:
    def test_tells_what_came_went_and_changed(self, environment, site):
        """By name, and nothing of what is as it was."""
        site.dist("stays")
        old = site.dist("changes", "1.0")
        gone = site.dist("goes", "3.0")
        before = environment.distributions()
        old.rename(site.folder / "left.dist-info")
        (site.folder / "left.dist-info" / "METADATA").unlink()
        (gone / "METADATA").unlink()
        site.dist("changes", "2.0")
        site.dist("comes", "0.1")

        assert difference(before, environment.distributions()) == (
            Change(name="changes", before="1.0", after="2.0"),
            Change(name="comes", before=None, after="0.1"),
            Change(name="goes", before="3.0", after=None),
        )


class TestRequiring:
    def test_tells_who_needs_it_here(self, environment, site):
        """Names are compared canonically, and a marker that does not hold here counts as none."""
        site.dist("base_lib")
        site.dist("needs", metadata="Requires-Dist: Base.Lib>=1\n")
        site.dist("elsewhere", metadata="Requires-Dist: base-lib; python_version < '3'\n")
        site.dist("needs-not", metadata="Requires-Dist: base\n")
        site.dist("itself", metadata="Requires-Dist: itself[x]\n")

        assert requiring("base-lib", environment.distributions()) == ("needs",)
        assert requiring("itself", environment.distributions()) == ()

    def test_an_extra_counts_if_it_is_asked_for(self, environment, site):
        """It is not known which extras were installed, so both answers are to be had."""
        site.dist(
            "maybe",
            metadata="Provides-Extra: Fast_Lane\nRequires-Dist: base; extra == 'fast-lane'\n",
        )
        found = environment.distributions()

        assert requiring("base", found) == ()
        assert requiring("base", found, extras=True) == ("maybe",)

    def test_a_requirement_that_is_none_is_left_out(self, environment, site):
        """One broken line, or marker, does not hide the others of its distribution."""
        lines = ("!!", "base; os_name ~= 'posix'", "base; 'x' in extras", "base")
        site.dist("odd", metadata="".join(f"Requires-Dist: {each}\n" for each in lines))

        assert requiring("base", environment.distributions()) == ("odd",)


class TestReserved:
    @pytest.mark.parametrize(
        "path",
        [
            ".plugreg/lock",
            ".plugreg",
            ".plugreg-0123.json",
            ".PlugReg/lock",
            "../../../lib/python3/site-packages/.plugreg/lock",
            "pack-1.0.data/purelib/.plugreg-0/copies",
            r"pack-1.0.data\data\.plugreg\lock",
            "/anywhere/.plugreg/lock",
        ],
    )
    def test_names_what_is_plugregs_own(self, path):
        """Wherever a wheel or a RECORD has it, in whatever case, a file or what is in a folder."""
        assert reserved(["pack/__init__.py", path]) == (path,)

    def test_leaves_all_others_alone(self):
        """A distribution may have hidden files, and be named like plugreg."""
        files = ["plugreg/__init__.py", ".hidden", "a.plugreg", "pack/x.plugreg-1", ".plug"]
        assert reserved(files) == ()
