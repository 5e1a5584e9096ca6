"""Installing and uninstalling with an installer of the host: the registry's part."""

from __future__ import annotations

import sys

import pytest

from plugreg import (
    InstallError,
    Plugin,
    PluginNotFoundError,
    PluginRegistry,
    PluginState,
    RequirementError,
)
from plugreg.install import InstallPolicy
from plugreg.install.exceptions import InstallRefusedError

MODULE = "from plugreg import Plugin\nclass Tea(Plugin): ...\nclass Milk(Plugin): ...\n"


@pytest.fixture
def shop(folder_installer):
    """Yield a registry with an installer that has one distribution of two plugins ready."""
    installer = folder_installer
    points = {"tea": "shop_tea_x:Tea", "milk": "shop_tea_x:Milk"}
    installer.ready = {
        "shop-tea": ("1.5", points, {"shop_tea_x.py": MODULE}),
        "shop-nothing": ("1.0", {}, {"shop_nothing_x.py": ""}),
    }

    class Built(Plugin): ...

    class Sample(Plugin): ...

    class Must(Plugin): ...

    registry = PluginRegistry(
        "shop", installer=installer, builtin=[Built, Must], samples=[Sample], mandatory={"must"}
    )
    registry.load()
    registry.installer = installer
    with registry:
        yield registry
    sys.modules.pop("shop_tea_x", None)


class TestInstalling:
    def test_what_was_installed_is_known_and_off(self, shop):
        """The plugins of the distribution are found at once, and nobody has switched them on."""
        report = shop.install("shop-tea>=1")

        assert (report.distribution, report.version) == ("shop-tea", "1.5")
        assert report.plugins == ("milk", "tea")
        assert report.success
        assert shop.get("tea").state is PluginState.INACTIVE
        assert "shop_tea_x" not in sys.modules

    def test_an_actor_that_is_no_string(self, shop):
        """The error names the field, for each verb, and nothing was changed."""
        shop.install("shop-tea")
        for act in (
            lambda: shop.install("shop-tea", actor=7),
            lambda: shop.uninstall("tea", actor=object()),
            lambda: shop.packages.sync(actor=b"user"),
        ):
            with pytest.raises(RequirementError, match="it must be a string or None") as caught:
                act()
            assert caught.value.field == "actor"
        assert shop.get("tea").is_installed
        assert [entry.action for entry in shop.packages.audit()] == ["install"]

    def test_a_distribution_without_a_plugin_is_refused(self, shop):
        """Success means that a plugin can be discovered; nothing serves that does not."""
        with pytest.raises(InstallRefusedError, match="'shop-nothing' brings no") as caught:
            shop.install("shop-nothing")

        report = caught.value.report
        assert (report.success, report.plugins) == (False, ())
        assert [change.name for change in report.plan.changes] == ["shop-nothing"]
        assert shop.packages.generations() == ()

    def test_a_failure_of_the_installer_passes_and_changes_nothing(self, shop):
        """Its reasons are told as they are."""
        known = set(shop.plugins)
        with pytest.raises(InstallError, match="there is no shop-coffee"):
            shop.install("shop-coffee")

        assert set(shop.plugins) == known

    @pytest.mark.parametrize(
        ("requirement", "field"),
        [
            ("", "packagename"),
            ("-r requirements.txt", "packagename"),
            ("--index-url=https://example.org", "packagename"),
            ("shop-tea; rm -rf /", "packagename"),
            ("shop-tea shop-milk", "packagename"),
            ("shop-tea\nshop-milk", "packagename"),
            ("shop-tea\0", "packagename"),
            ("../shop-tea", "packagename"),
            (None, "packagename"),
            ("shop-tea @ ftp://example.org/x", "url"),
            ("shop-tea @ file:///etc/passwd", "url"),
            ("shop-tea @ http://example.org/x.whl", "url"),
            ("git+ssh://example.org/x", "url"),
            ("git+https://", "url"),
            ("git+https://example.org/x --global-option=y", "url"),
            ("git+https://example.org/x\n--global-option=y", "url"),
            ("git+https://example.org/x\t-r y", "url"),
            ("git+https://example.org/x\u3000y", "url"),
            ("shop-tea @ https://example.org/x\u2028y", "url"),
            ("shop-tea @ https://example.org/x --global-option=y", "packagename"),
        ],
    )
    def test_what_is_no_requirement_never_reaches_the_installer(self, shop, requirement, field):
        """Options, several requirements, paths and other schemes are refused, by field."""
        with pytest.raises(RequirementError) as caught:
            shop.install(requirement)

        assert caught.value.field == field
        assert shop.installer.asked == []

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://example.org/simple",
            "nowhere",
            "https://",
            "http://[x",
            "https://example.org/simple --pre",
            " https://example.org/simple",
            "https://example.org/simple\n",
            "https://example.org/\tsimple",
            "https://example.org/\x7f",
        ],
    )
    def test_an_index_is_an_address(self, shop, url):
        """An index is reached by https, or on this machine, and nothing stands beside it."""
        with pytest.raises(RequirementError) as caught:
            shop.install("shop-tea", index_url=url)

        assert caught.value.field == "url"
        assert shop.installer.asked == []

    def test_requirement_and_index_reach_the_installer(self, shop):
        """They arrive as they were asked for."""
        shop.installer.policy = InstallPolicy(
            indexes=["http://localhost:8000/simple", "https://files.example/"]
        )
        shop.install("shop-tea>=1", index_url="http://localhost:8000/simple")

        assert shop.installer.asked == [("shop-tea>=1", "http://localhost:8000/simple")]

    def test_without_an_installer_both_are_refused(self):
        """Installing is off until the host gives an installer."""
        with PluginRegistry("shop") as registry:
            registry.load()

            assert registry.packages is None
            with pytest.raises(InstallError, match="installing is disabled; give the registry"):
                registry.install("shop-tea")
            with pytest.raises(InstallError, match="installing is disabled"):
                registry.uninstall("tea")
            with pytest.raises(InstallError, match="installing is disabled"):
                registry.plan("shop-tea")


class TestUninstalling:
    def test_all_plugins_of_the_distribution_go(self, shop):
        """The files are gone, and by default the stored rows of each plugin too."""
        shop.install("shop-tea")
        report = shop.uninstall("tea")

        assert (report.distribution, report.plugins) == ("shop-tea", ("milk", "tea"))
        assert [(change.name, change.kind) for change in report.changes] == [("shop-tea", "remove")]
        assert not {"tea", "milk"} & set(shop.plugins)

    def test_what_is_stored_may_stay(self, shop):
        """Without delete_config the plugins are remembered, as missing."""
        shop.install("shop-tea")
        number = shop.get("tea").pk
        shop.uninstall("tea", delete_config=False)

        assert shop.get("tea").state is PluginState.MISSING
        assert shop.get("tea").pk == number

    @pytest.mark.parametrize(
        ("slug", "reason"),
        [
            ("must", "Plugin cannot be uninstalled as it is currently active"),
            ("sample", "INVE-E10: Plugin cannot be uninstalled as it is a sample plugin"),
            ("built", "INVE-E10: Plugin cannot be uninstalled as it is a built-in plugin"),
            ("tea", "Plugin cannot be uninstalled as it is currently active"),
            ("milk", "Plugin cannot be uninstalled as 'tea' of its package is active"),
        ],
    )
    def test_what_must_stay_stays(self, shop, slug, reason):
        """Each reason is told in the words that clients know, and nothing is removed."""
        shop.install("shop-tea")
        shop.activate("tea")
        with pytest.raises(InstallError) as caught:
            shop.uninstall(slug)

        assert caught.value.reasons == (reason,)
        assert shop.get("tea").active

    def test_what_is_gone_already_is_told(self, shop):
        """A plugin that is only remembered cannot be uninstalled, and an unknown one is unknown."""
        shop.install("shop-tea")
        shop.uninstall("tea", delete_config=False)

        with pytest.raises(InstallError, match="Plugin is not installed"):
            shop.uninstall("tea")
        with pytest.raises(PluginNotFoundError):
            shop.uninstall("coffee")
