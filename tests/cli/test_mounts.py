"""The same commands in hosts' own command lines: Flask, Django, click, and the sample shop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask import Flask

from plugreg.adapters.flask import create_blueprint
from plugreg.cli import group

CRASH = "import os\nos._exit(3)\n"
BIN = Path(sys.executable).parent

FLASK = """
from flask import Flask
from host import make_registry
from plugreg.adapters.flask import create_blueprint

registry = make_registry()
registry.load()
print("active", *registry.active)
app = Flask("shop")
app.register_blueprint(create_blueprint(registry))
"""

SETTINGS = """
SECRET_KEY = "test"
INSTALLED_APPS = ["plugreg.adapters.django", "shop_site"]
PLUGREG_APP = "host:make_registry"
"""

APPS = """
from django.apps import AppConfig

class ShopConfig(AppConfig):
    name = "shop_site"

    def ready(self):
        from host import make_registry
        registry = make_registry()
        registry.load()
        print("active", *registry.active)
"""


@pytest.fixture
def filled(shop):
    """Return a shop with a plugin that is on, and one that ends each process that loads it."""
    shop.plugin("discount")
    shop.plugin("crash", CRASH)
    shop.wish(discount=True, crash=True)
    shop.write_host()
    return shop


def run(shop, *command, **environ):
    return subprocess.run(
        list(map(str, command)),
        cwd=shop.folder,
        env=shop.environ(**environ),
        capture_output=True,
        text=True,
        check=False,
    )


class TestFlask:
    def test_a_plugin_that_ends_the_app(self, filled):
        """``flask plugreg`` imports the app in safe mode, and switches that plugin off."""
        (filled.folder / "site_app.py").write_text(FLASK)
        flask = (BIN / "flask", "--app", "site_app")
        assert run(filled, *flask, "routes").returncode == 3

        listed = run(filled, *flask, "plugreg", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        assert len(json.loads(listed.stdout)["plugins"]) == 2
        done = run(filled, *flask, "plugreg", "deactivate", "crash")
        assert (done.returncode, done.stdout) == (0, "✓ crash: off\n")

        assert run(filled, *flask, "routes").returncode == 0

    def test_an_app_without_the_blueprint(self, filled):
        """Exit code 5, with what to register."""
        (filled.folder / "site_app.py").write_text("from flask import Flask\napp = Flask('shop')\n")

        done = run(filled, BIN / "flask", "--app", "site_app", "plugreg", "list")

        assert (done.returncode, "create_blueprint" in done.stderr) == (5, True)

    def test_the_command_comes_with_the_blueprint(self, shop):
        """On the app's own group, under the name of the blueprint."""
        shop.plugin("discount")
        registry = shop.make()
        app = Flask("shop")
        app.register_blueprint(create_blueprint(registry, name="plugins"))

        result = app.test_cli_runner().invoke(args=["plugins", "list", "--format", "names"])

        assert (result.exit_code, result.stdout) == (0, "discount\n")
        registry.storage.close()


class TestDjango:
    @pytest.fixture
    def site(self, filled):
        """Return the folder of a Django project whose app loads the registry."""
        package = filled.folder / "shop_site"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "settings.py").write_text(SETTINGS)
        (package / "apps.py").write_text(APPS)
        (filled.folder / "manage.py").write_text(
            "import sys\n"
            "from django.core.management import execute_from_command_line\n"
            "execute_from_command_line(sys.argv)\n"
        )
        return filled

    def manage(self, shop, *words):
        return run(
            shop, sys.executable, "manage.py", *words, DJANGO_SETTINGS_MODULE="shop_site.settings"
        )

    def test_a_plugin_that_ends_the_site(self, site):
        """Apps become ready in safe mode, and their output is not in the document."""
        assert self.manage(site, "check").returncode == 3

        listed = self.manage(site, "plugreg", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        assert len(json.loads(listed.stdout)["plugins"]) == 2
        assert self.manage(site, "plugreg", "show", "nope").returncode == 3
        assert self.manage(site, "plugreg", "deactivate", "crash").returncode == 0

        assert self.manage(site, "check").returncode == 0

    def test_without_the_setting(self, site):
        """It says what to write."""
        settings = site.folder / "shop_site" / "settings.py"
        settings.write_text(SETTINGS.replace("PLUGREG_APP", "OTHER"))

        done = self.manage(site, "plugreg", "list")

        assert (done.returncode, "PLUGREG_APP = " in done.stderr) == (1, True)


class TestClick:
    def test_in_a_group_of_the_host(self, shop):
        """Under any name; the registry that was given is neither loaded nor closed."""
        shop.plugin("discount")
        registry = shop.make()

        @click.group()
        def site() -> None:
            """Stand for a host's own command line."""

        site.add_command(group(registry, name="plugins"))
        result = CliRunner().invoke(site, ["plugins", "show", "discuont"])

        assert result.exit_code == 3
        assert "did you mean 'discount'?" in result.stderr
        with pytest.raises(Exception, match="not loaded"):
            _ = registry.plugins
        assert CliRunner().invoke(site, ["plugins", "list"]).exit_code == 0
        registry.storage.close()

    def test_a_command_that_is_to_be_typed_is_the_hosts(self, shop):
        """Remedies begin with the command that leads to the same plugins."""
        shop.plugin("discount")
        registry = shop.make()

        @click.group(name="shop")
        def site() -> None:
            """Stand for a host's own command line."""

        site.add_command(group(registry))
        result = CliRunner().invoke(site, ["plugreg", "why", "discount"], prog_name="shop")

        assert "shop plugreg activate discount" in result.stdout
        registry.storage.close()


@pytest.mark.skipif("PLUGREG_SAMPLES" not in os.environ, reason="the samples are not built")
class TestSamples:
    def test_the_sample_shop_with_all_that_is_broken(self, tmp_path):
        """All samples are listed and explained while every one of them is on."""
        samples = os.environ["PLUGREG_SAMPLES"]
        environ = {
            **os.environ,
            "PYTHONPATH": f"{samples}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "PLUGREG_APP": "shop.app:make_registry",
            "COLUMNS": "80",
        }

        def plugreg(*words):
            return subprocess.run(
                [BIN / "plugreg", *words],
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )

        assert plugreg("activate", "--all", "--no-probe").returncode == 0
        rows = json.loads(plugreg("list", "--json").stdout)["plugins"]
        assert len(rows) >= 18
        assert all(row["wanted"] for row in rows)
        for words in (["list"], ["status"], ["doctor"], ["export"], ["why", "broken-exit"]):
            done = plugreg(*words)
            assert (done.returncode in (0, 1), "Traceback" in done.stderr) == (True, False), words
        assert plugreg("deactivate", "--all").returncode == 0
        assert plugreg("list", "--wanted", "--format", "count").stdout == "0\n"
