"""The contents of distributions are judged file by file before they serve.

The wheels are real and hostile, the installers are pip and uv, and all that one of them is asked
for happens in one environment, by two processes of a host.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from plugreg import InstallError
from plugreg.install.distributions import distributions
from plugreg.install.file_checks import check_files
from plugreg.install.plan import Pin

GROUP = "shop.plugins"
PLUGIN = "from plugreg import Plugin\nclass Tea(Plugin): ...\n"
TAG = f"cpython-3{sys.version_info.minor}"
PYTHON = f"python3.{sys.version_info.minor}"
SITE = f"lib64/{PYTHON}/site-packages"

PROGRAM = """
import importlib, json, sys
from plugreg import PluginRegistry
from plugreg.exceptions import InstallError
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller

given, told = json.loads(sys.argv[1]), {}
policy = InstallPolicy(find_links=[given["folder"]], **given.get("policy", {}))
uv, how = given["uv"], {"environment": given["environment"], "policy": policy}
installer = UvInstaller(**how) if uv else PipInstaller(**how)
with PluginRegistry("shop", installer=installer) as registry:
    registry.load()
    for verb, requirement in given["steps"]:
        try:
            if verb == "import":
                importlib.import_module(requirement)
            elif verb == "install":
                told[requirement] = registry.install(requirement).version
            else:
                plan = registry.plan(requirement)
                told[requirement] = {
                    "rules": [each.rule for each in plan.refusals],
                    "reasons": " ".join(each.reason for each in plan.refusals),
                    "plugins": {each.name: each.plugins for each in plan.changes},
                    "scripts": plan.scripts,
                    "files": plan.data_files,
                    "entry_points": {each.name: each.entry_points for each in plan.changes},
                }
        except InstallError as error:
            told[requirement] = {"error": type(error).__name__, "reasons": str(error.reasons)}
print(json.dumps(told))
"""

METADATA = "which would be metadata of another distribution"
PLACE = "where an installer, another Python or a shell would take it for its own"
START = "which Python would run at every start"
THERE = "which belongs to another distribution"
UNASKED = "which Python or an installer would import unasked"
IN_THE_WAY = (
    "which would take the place of modules, or be in the package, of the host or of another"
)

# The files of each wheel beside its own module, and the refusal.
REFUSED = {
    "egg-info": ({"ns_one-99.0.egg-info/PKG-INFO": "Name: ns-one\nVersion: 99.0\n"}, METADATA),
    "dist-info": (
        {
            "{}.data/purelib/ns_one-99.0.dist-info/METADATA": "Name: ns-one\nVersion: 99.0\n",
            "{}.data/purelib/ns_one-99.0.dist-info/RECORD": "",
        },
        METADATA,
    ),
    "upper-case": ({"{}.data/platlib/ns_one-99.0.Dist-Info/entry_points.txt": ""}, METADATA),
    "of-itself": (
        {"{}.data/purelib/of_itself-99.0.dist-info/METADATA": "Name: of-itself\nVersion: 99.0\n"},
        METADATA,
    ),
    "pth": ({"a.pth": "import os"}, START),
    "start": ({"a.start": "os:getcwd"}, START),
    "egg-link": ({"a.egg-link": "/"}, START),
    "site-module": ({"sitecustomize.py": ""}, START),
    "site-package": ({"sitecustomize/__init__.py": ""}, START),
    "site-compiled": ({"sitecustomize.pyc": ""}, START),
    "site-extension": ({f"usercustomize.{TAG}-x86_64-linux-gnu.so": ""}, START),
    "by-link": ({f"{{}}.data/data/{SITE}/sitecustomize.py": ""}, PLACE),
    "manylinux": ({"_manylinux.py": "raise SystemExit(3)"}, UNASKED),
    "manylinux-package": ({"_manylinux/__init__.py": "raise SystemExit(3)"}, UNASKED),
    "other-system": ({"msvcrt.py": "raise SystemExit(3)"}, UNASKED),
    "other-extension": ({f"{{}}.data/platlib/winreg.{TAG}-x86_64-linux-gnu.so": ""}, UNASKED),
    "jython": ({"org/python/core.py": "raise SystemExit(3)"}, UNASKED),
    "reserved": ({".plugreg-x/lock": ""}, PLACE),
    "of-the-host": ({"hostapp.py": "MINE = 1"}, IN_THE_WAY),
    "of-the-host-too": ({"hostapp_package/more.py": ""}, IN_THE_WAY),
    "of-another": ({"lone/one.py": "MINE = 1"}, THERE),
    "large": ({"lone/large.bin": "x" * 100_000}, THERE),
    "compiled": ({f"lone/__pycache__/one.{TAG}.pyc": ""}, THERE),
    "in-a-package": ({"lone/more.py": ""}, IN_THE_WAY),
    "deep-in-a-package": ({"lone/more/deep.txt": ""}, IN_THE_WAY),
    "package": ({"flat/__init__.py": ""}, IN_THE_WAY),
    "sourceless": ({"flat.pyc": ""}, IN_THE_WAY),
    "host-package": ({"hostapp/__init__.py": ""}, IN_THE_WAY),
    "module": ({"shop_ns.py": ""}, IN_THE_WAY),
    "end-of-namespace": ({"shop_ns/__init__.py": ""}, IN_THE_WAY),
    "in-namespace": ({"shop_ns/one/__init__.py": ""}, IN_THE_WAY),
    "pip-conf": ({"{}.data/data/pip.conf": "[global]\nindex-url = https://evil.example\n"}, PLACE),
    "pip-ini": ({"{}.data/data/etc/xdg/pip/PIP.ini": ""}, PLACE),
    "uv-toml": ({"{}.data/data/share/uv.toml": ""}, PLACE),
    "top": ({"{}.data/data/README": ""}, PLACE),
    "hidden": ({"{}.data/data/.config/git/config": ""}, PLACE),
    "other-python": ({"{}.data/data/lib/python3.99/site-packages/sitecustomize.py": ""}, PLACE),
    "debians": ({"{}.data/data/local/lib/python3/dist-packages/a.pth": ""}, PLACE),
    "other-library": ({"{}.data/data/lib64/python3.99t/os.py": ""}, PLACE),
    "programs": ({"{}.data/data/sbin/git": ""}, PLACE),
    "local-programs": ({"{}.data/data/local/bin/git": ""}, PLACE),
    "pair": ({"pair_dep.py": "MINE = 1"}, "which another distribution that would come brings too"),
    "pair-form": ({"pair_dep/__init__.py": ""}, IN_THE_WAY),
}
NEEDS = {"pair": "pair-dep", "pair-form": "pair-dep", "bringing": "pair-dep"}
FINE = {
    "standard": {"test/__init__.py": "", "colorsys.py": "", "shop_org/msvcrt.py": ""},
    "deep": {"deep/sitecustomize.py": "", "deep/model.pth": "", "deep/a.start": ""},
    "bringing": {},
    "data": {
        "{}.data/data/share/pip/a.conf": "",
        "{}.data/data/lib/libtea.so": "",
        "{}.data/data/etc/tea.toml": "",
    },
    "script": {"{}.data/scripts/till": "#!python\n"},
}
SHADOWING = {"{}.data/scripts/sh": "#!/bin/sh\n", "{}.data/scripts/tea-pot": "#!python\n"}


def wheel(folder, name, version, files, *, lies=(), unlisted=(), requires=None, points=""):
    """Write a wheel of a plugin with ``files``; RECORD has ``lies`` and leaves out ``unlisted``."""
    stem = f"{name.replace('-', '_')}-{version}"
    module = f"own_{stem.partition('-')[0]}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    texts = {each.format(stem): text for each, text in files.items()}
    texts |= {
        f"{module}.py": PLUGIN,
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": f"[{GROUP}]\n{name} = {module}:Tea\n{points}",
    }
    lines = [_line(each, text) for each, text in texts.items() if each not in unlisted]
    record = f"{stem}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for each, text in texts.items():
            archive.writestr(each, text)
        archive.writestr(record, "\n".join([*lines, *lies, f"{record},,\n"]))


def _line(path, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"{path},sha256={digest.rstrip('=')},{len(text)}"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    wheel(
        folder,
        "ns-one",
        "1.0",
        {
            "shop_ns/one.py": "",
            "lone/__init__.py": "",
            "lone/one.py": "",
            "lone/large.bin": "y" * 100_000,
            "flat.py": "",
        },
    )
    wheel(folder, "ns-two", "1.0", {"shop_ns/two.py": "", "shop_ns/deeper/three.py": ""})
    wheel(folder, "pair-dep", "1.0", {"pair_dep.py": ""})
    wheel(folder, "shape", "1.0", {"shape_of.py": "", "{}.data/scripts/shape": "#!python\n"})
    wheel(
        folder, "shape", "2.0", {"shape_of/__init__.py": "", "{}.data/scripts/shape": "#!python\n"}
    )
    for name, (files, _) in REFUSED.items():
        wheel(folder, name, "1.0", files, requires=NEEDS.get(name))
    for name, files in FINE.items():
        wheel(folder, name, "1.0", files, requires=NEEDS.get(name))
    wheel(folder, "shadowing", "1.0", SHADOWING)
    spy = {"spying_pot.py": "raise SystemExit\n"}
    wheel(folder, "spying", "1.0", spy, points="[pydantic]\nspy = spying_pot:spy\n")
    wheel(folder, "pytest", "1.0", {}, points="[pytest11]\na = b\n")
    wheel(folder, "unlisted", "1.0", {"a.pth": "", "lone/one.py": ""}, unlisted=["a.pth"])
    wheel(folder, "lying", "1.0", {}, lies=["hostapp.py,,", "lone,,"])
    return folder


class Shop:
    """A host with ns-one, and its result for all the others."""

    def __init__(self, folder: Path, shelf: Path, uv: str | None) -> None:
        self.folder = folder
        self.shelf = shelf
        self.uv = uv
        self.purelib = folder / "lib" / PYTHON / "site-packages"
        self.environment = folder.parent / "plugins.d"
        (self.purelib / "hostapp.py").write_text("HOST = 1\n")
        (self.purelib / "hostapp_package").mkdir()
        (self.purelib / "hostapp_package/__init__.py").touch()
        (folder / "bin" / "till").write_text("the host's")
        self.run("install ns-one")
        before = self.content()
        asked = [*REFUSED, *FINE, "unlisted", "lying", "shadowing", "spying", "pytest"]
        self.told = self.run(*(f"plan {each}" for each in asked))
        self.is_untouched = self.content() == before

    def content(self):
        return {
            str(path): path.read_bytes()
            for folder in (self.folder, self.environment)
            for path in folder.rglob("*")
            if path.is_file() and path.parent.name != "__pycache__"
        }

    def run(self, *steps, **policy):
        given = {
            "uv": self.uv,
            "policy": policy,
            "folder": str(self.shelf),
            "environment": str(self.environment),
            "steps": [each.split() for each in steps],
        }
        home = self.folder.parent
        done = subprocess.run(
            [self.folder / "bin" / "python", "-c", PROGRAM, json.dumps(given)],
            env={
                # Programs of the environment of the tests, such as uv, are found last.
                "PATH": os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent))),
                "HOME": str(home),
                "PIP_NO_INDEX": "1",
                "UV_OFFLINE": "1",
            },
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["pip", "uv"])
def shop(request, venv_template, tmp_path_factory, shelf):
    uv = None
    if request.param == "uv":
        try:
            uv = str(importlib.import_module("uv").find_uv_bin())
        except (ImportError, FileNotFoundError):
            uv = shutil.which("uv")
        if uv is None:
            if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
                pytest.fail("uv is not there. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
            pytest.skip("uv is neither installed nor on the path")
    folder = tmp_path_factory.mktemp("shop") / "venv"
    shutil.copytree(venv_template, folder, symlinks=True)
    return Shop(folder, shelf, uv)


class TestPlanning:
    @pytest.mark.parametrize("name", REFUSED)
    def test_what_an_environment_cannot_take_is_refused(self, shop, name):
        """By its owner, its place and its purpose, and its name is shown."""
        told = shop.told[name]

        assert "environment" in told.get("rules", ()), told
        assert REFUSED[name][1] in told["reasons"]

    @pytest.mark.parametrize("name", FINE)
    def test_in_a_package_of_its_own_any_name_will_do(self, shop, name):
        """Python looks at them in the folder of modules only."""
        assert shop.told[name]["rules"] == []

    def test_what_a_record_leaves_out_counts(self, shop):
        """The files are looked at, and not the list."""
        reasons = shop.told["unlisted"]["reasons"]

        assert "a.pth" in reasons
        assert START in reasons

    def test_what_is_only_in_a_record_does_not_become_its_own(self, shop):
        """Otherwise uninstalling would take it from the host; uv leaves it out by itself."""
        told = shop.told["lying"]

        assert told["rules"] == (["environment"] if shop.uv is None else [])
        if shop.uv is None:
            assert "'hostapp.py', 'lone', which is only in its RECORD" in told["reasons"]

    def test_scripts_and_data_files_are_shown(self, shop):
        """They lie in the generation, on nobody's path, and so shadow no command."""
        told = shop.told["shadowing"]

        assert (told["scripts"], told["rules"]) == (["sh", "tea-pot"], [])
        assert shop.told["data"]["files"] == ["etc/tea.toml", "lib/libtea.so", "share/pip/a.conf"]

    def test_entry_points_that_a_library_imports_by_itself(self, shop):
        """They are shown and refused, unless the policy has their group."""
        told = shop.told["spying"]
        allowed = shop.run("plan spying", entry_points=["pydantic"])["spying"]

        assert told["entry_points"] == {"spying": ["pydantic"]}
        assert told["rules"] == ["entry_points"]
        assert "'pydantic', which pydantic imports with the first model" in told["reasons"]
        assert (allowed["entry_points"], allowed["rules"]) == ({"spying": ["pydantic"]}, [])

    def test_a_library_may_have_entry_points_of_its_own_group(self, shop):
        """Whoever installs the library means it."""
        assert shop.told["pytest"]["rules"] == []

    def test_nothing_was_touched(self, shop):
        """Not even where an installer would have written over a file in place."""
        assert shop.is_untouched

    def test_what_each_distribution_brings_is_told(self, shop):
        """Names of entry points of the registry's group, those of a dependency too."""
        assert shop.told["bringing"]["plugins"] == {
            "bringing": ["bringing"],
            "pair-dep": ["pair-dep"],
        }


def test_what_suits_is_installed(shop):
    """Namespace packages are shared, and an upgrade may give its own module another form."""
    told = shop.run(
        "install ns-two",
        "install shape==1.0",
        "import shape_of",
        "import own_shape",
        "install shape==2.0",
        "install deep",
    )

    assert told == {"ns-two": "1.0", "shape==1.0": "1.0", "shape==2.0": "2.0", "deep": "1.0"}
    number = (shop.environment / "current").read_text().splitlines()[0]
    folder = shop.environment / "generations" / number
    assert not (folder / "shape_of.py").exists()
    assert (folder / "shop_ns/one.py").exists()
    assert (folder / "shop_ns/two.py").exists()


class TestFiles:
    """Where no installer of today would unpack that."""

    @pytest.fixture
    def staged(self, tmp_path):
        """Return a folder in which ``tea`` 1.0 was staged."""
        info = tmp_path / "staged" / "tea-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Name: tea\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
        return info.parent

    def refusals(self, staged, version="1.0", kept=(), host=()):
        pin = Pin(name="tea", version=version)
        return check_files(staged, [pin], host=host, kept=kept).refusals

    @pytest.mark.parametrize(("version", "is_refused"), [("1", False), ("1.1", True)])
    def test_another_version_than_was_planned(self, staged, version, is_refused):
        """However it is written."""
        assert bool(self.refusals(staged, version)) is is_refused

    def test_a_file_that_no_record_lists(self, staged):
        """Nobody would know whose it is."""
        (staged / "more.py").write_text("")
        [refusal] = self.refusals(staged)

        assert "more.py', which no RECORD lists" in refusal.reason

    @pytest.mark.parametrize("line", ["../victim.txt", "/etc/hostname"])
    def test_a_record_that_leads_outside(self, staged, line):
        """The file that it names is not read."""
        record = staged / "tea-1.0.dist-info/RECORD"
        record.write_text(f"{line},,\n{record.read_text()}")
        [refusal] = self.refusals(staged)

        assert f"'{line}', which is outside of its folder" in refusal.reason

    def test_a_record_that_cannot_be_read(self, staged):
        """The error names the distribution."""
        record = staged / "tea-1.0.dist-info/RECORD"
        record.write_text(f"odd\0name,,\n{record.read_text()}")
        with pytest.raises(InstallError, match="'tea' cannot be read"):
            self.refusals(staged)

    @pytest.mark.parametrize("kind", ["link", "folder"])
    def test_a_link(self, staged, tmp_path, kind):
        """It might lead to a file of the host's, now or later."""
        if kind == "link":
            (staged / "leaf.txt").symlink_to("/etc/hostname")
        else:
            (staged / "leaf.txt").symlink_to(tmp_path, target_is_directory=True)
        record = staged / "tea-1.0.dist-info/RECORD"
        record.write_text(f"leaf.txt,,\n{record.read_text()}")
        [refusal] = self.refusals(staged)

        assert "'leaf.txt', which is no plain file" in refusal.reason

    def test_what_the_host_may_import_from_anywhere(self, staged, tmp_path):
        """The folder of its program, too, is one of the host's."""
        (tmp_path / "program").mkdir()
        (tmp_path / "program" / "tea.py").write_text("")
        (staged / "tea.py").write_text("")
        record = staged / "tea-1.0.dist-info/RECORD"
        record.write_text(f"tea.py,,\n{record.read_text()}")
        [refusal] = self.refusals(staged, host=[str(tmp_path / "program")])

        assert IN_THE_WAY in refusal.reason

    def test_a_namespace_that_others_have_a_part_of(self, staged, site):
        """It may have another part; a file of the same name is another's."""
        site.dist("cup", modules={"ns/cup.py": ""})
        (staged / "ns").mkdir()
        (staged / "ns/tea.py").write_text("")
        record = staged / "tea-1.0.dist-info/RECORD"
        record.write_text(f"ns/tea.py,,\n{record.read_text()}")
        kept = distributions(site.folder).values()
        assert self.refusals(staged, kept=kept) == ()

        (staged / "ns/cup.py").write_text("")
        record.write_text(f"ns/cup.py,,\n{record.read_text()}")
        [refusal] = self.refusals(staged, kept=kept)
        assert f"'ns/cup.py', {THERE}" in refusal.reason

    @pytest.mark.parametrize(
        ("place", "is_found"),
        [
            ("etc/conda/activate.d/tea.sh", True),
            ("conda-meta/pinned", True),
            ("games/git", True),
            ("local/games/git", True),
            ("etc/profile.d/tea.sh", True),
            ("share/fish/vendor_conf.d/tea.fish", True),
            ("share/fish/vendor_completions.d/tea.fish", False),
            ("etc/conda.d/tea.sh", False),
            ("share/games/tea.txt", False),
        ],
    )
    def test_what_programs_find_by_its_place(self, staged, place, is_found):
        """Conda and shells run files of some folders, should a generation be copied to a prefix."""
        file = staged / place
        file.parent.mkdir(parents=True)
        file.write_text("")
        record = staged / "tea-1.0.dist-info/RECORD"
        record.write_text(f"{place},,\n{record.read_text()}")

        assert [PLACE in refusal.reason for refusal in self.refusals(staged)] == [True] * is_found
