"""Assets: files of a plugin's own package, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plugreg import (
    AssetNotFoundError,
    PluginNotActiveError,
    PluginNotFoundError,
    PluginRegistry,
)
from plugreg.assets import BLOCK

MODULE = "from plugreg import Plugin\nclass Panel(Plugin): ...\n"


@pytest.fixture
def shop(site, monkeypatch):
    """Yield a registry with plugins in packages, a namespace package and a module, all active."""
    site.dist(
        "assets-one",
        entry_points={
            "shop.plugins": {
                "one": "assets_one:Panel",
                "deep": "assets_one.core.plugin:Panel",
                "near": "assets_one.near.plugin:Panel",
            }
        },
        modules={
            "assets_one/__init__.py": MODULE,
            "assets_one/core/__init__.py": "",
            "assets_one/core/plugin.py": MODULE,
            "assets_one/near/__init__.py": "",
            "assets_one/near/plugin.py": MODULE,
            "assets_one/near/static/near.js": "near",
            "assets_one/static/panel.js": "export {}",
            "assets_one/static/img/logo.svg": "<svg/>",
            "assets_one/static/data.bin": "\x01",
            "assets_one/static/.hidden.js": "hidden",
            "assets_one/static/img/.git/config": "hidden",
        },
    )
    site.dist(
        "assets-spaced",
        entry_points={"shop.plugins": {"spaced": "assets_ns.spaced:Panel"}},
        modules={"assets_ns/spaced.py": MODULE, "assets_ns/static/x.js": "of nobody"},
    )
    site.dist(
        "assets-flat",
        entry_points={"shop.plugins": {"flat": "assets_flat:Panel"}},
        modules={"assets_flat.py": MODULE, "static/x.js": "of nobody"},
    )
    monkeypatch.syspath_prepend(str(site))
    with PluginRegistry("shop", new_plugins="active") as registry:
        registry.load()
        yield registry
    for name in [module for module in sys.modules if module.startswith("assets_")]:
        del sys.modules[name]


class TestContent:
    def test_a_file_comes_whole_with_its_type(self, shop):
        """Content, media type and tag are those of the file."""
        asset = shop.assets("one", "panel.js")

        assert asset.content == b"export {}"
        assert asset.content_type == "text/javascript; charset=utf-8"

    @pytest.mark.parametrize(
        ("path", "content_type"),
        [
            ("img/logo.svg", "image/svg+xml; charset=utf-8"),
            ("data.bin", "application/octet-stream"),
        ],
    )
    def test_the_type_follows_the_name(self, shop, path, content_type):
        """A file that is no text has no charset; an unknown suffix is bytes."""
        assert shop.assets("one", path).content_type == content_type

    def test_the_tag_changes_with_the_content_alone(self, shop, site):
        """The same content has the same tag, however often it is written; another has another."""
        file = Path(str(site), "assets_one/static/panel.js")
        first = shop.assets("one", "panel.js").etag
        file.write_text("export {}")
        again = shop.assets("one", "panel.js").etag
        file.write_text("export {a}")

        assert first == again
        assert shop.assets("one", "panel.js").etag != first
        assert first.startswith('"')
        assert first.endswith('"')

    @pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1, BLOCK * 3])
    def test_a_file_of_any_size_is_read_in_blocks(self, shop, site, size):
        """No block is longer than the limit, and together they are the content."""
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        Path(str(site), "assets_one/static/long.bin").write_bytes(content)
        asset = shop.assets("one", "long.bin")
        blocks = list(asset.blocks())

        assert asset.size == size
        assert all(0 < len(block) <= BLOCK for block in blocks)
        assert b"".join(blocks) == asset.content == content

    def test_all_files_for_a_content_delivery_network(self, shop, site):
        """By path, with type, tag and place: each that is served by its path, and no other."""
        static = Path(str(site), "assets_one/static")
        (static / "same.js").symlink_to("panel.js")
        (static / "out.py").symlink_to("../__init__.py")
        (static / "loop").symlink_to("loop")
        files = shop.asset_files("one")

        assert list(files) == ["data.bin", "img/logo.svg", "panel.js", "same.js"]
        for path, asset in files.items():
            assert asset == shop.assets("one", path)
            assert asset.file.read_bytes() == asset.content
        assert shop.asset_files("flat") == {}
        shop.deactivate("one")
        with pytest.raises(PluginNotActiveError):
            shop.asset_files("one")
        with pytest.raises(PluginNotFoundError):
            shop.asset_files("unknown")

    def test_the_folder_may_stand_further_out(self, shop):
        """A plugin in a subpackage shares the folder of its package."""
        assert shop.assets("deep", "panel.js").content == b"export {}"

    def test_the_nearest_folder_is_the_only_one(self, shop):
        """A file that is not in it is not looked for in outer packages."""
        assert shop.assets("near", "near.js").content == b"near"
        with pytest.raises(AssetNotFoundError):
            shop.assets("near", "panel.js")

    def test_a_plugin_of_the_hosts_has_its_own_package_alone(self, shop):
        """No distribution brings it, so that the packages around it may be the host's."""
        from assets_one import Panel as Outer
        from assets_one.core.plugin import Panel as Inner
        from assets_one.near.plugin import Panel as Near

        given = {
            "builtin": [("outer", Outer), ("inner", Inner)],
            "samples": [("near", Near)],
            "mandatory": {"near"},
        }
        with PluginRegistry("other", new_plugins="active", **given) as registry:
            registry.load()
            registry.register(Inner(), "hand")

            assert registry.assets("outer", "panel.js").content == b"export {}"
            assert registry.assets("near", "near.js").content == b"near"
            for slug in ("inner", "hand", "near"):
                with pytest.raises(AssetNotFoundError):
                    registry.assets(slug, "panel.js")

    @pytest.mark.parametrize("slug", ["spaced", "flat"])
    def test_what_others_share_is_not_the_plugins_own(self, shop, slug):
        """A namespace package and site-packages itself belong to no plugin."""
        with pytest.raises(AssetNotFoundError):
            shop.assets(slug, "x.js")


class TestRefusals:
    @pytest.mark.parametrize(
        "path",
        [
            "",
            ".",
            "..",
            "/",
            "img",
            "img/",
            "missing.js",
            "../__init__.py",
            "img/../../__init__.py",
            "img/../panel.js",
            "./panel.js",
            "img//logo.svg",
            "/etc/passwd",
            "%2e%2e/__init__.py",
            "..\\__init__.py",
            "img\\logo.svg",
            "C:panel.js",
            ".hidden.js",
            "img/.git/config",
            "img/plain",
            "panel.js\0",
            "panel.js/x",
            "x" * 5_000,
            "\ud800.js",
        ],
    )
    def test_no_path_leaves_the_folder(self, shop, site, path):
        """Only a plain file below the folder, by its plain name, is found.

        A name that begins with a dot is not plain, nor is a link to one.
        """
        Path(str(site), "assets_one/static/img/plain").symlink_to(".git/config")
        with pytest.raises(AssetNotFoundError) as caught:
            shop.assets("one", path)

        assert (caught.value.slug, caught.value.path) == ("one", path)

    @pytest.mark.parametrize("target", ["assets_one/__init__.py", "assets_one/core"])
    def test_no_link_leads_out(self, shop, site, target):
        """A link to a file, or through a folder, outside of the static folder is not followed."""
        link = Path(str(site), "assets_one/static/link")
        link.symlink_to(Path(str(site), target))

        for path in ("link", "link/plugin.py"):
            with pytest.raises(AssetNotFoundError):
                shop.assets("one", path)

    def test_the_folder_itself_is_no_link_out(self, shop, site, tmp_path):
        """A static folder that is a link out of the package is none."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret.txt").write_text("secret")
        folder = Path(str(site), "assets_one/static")
        folder.rename(tmp_path / "away")
        folder.symlink_to(outside)

        with pytest.raises(AssetNotFoundError):
            shop.assets("one", "secret.txt")

    def test_a_link_inside_is_followed(self, shop, site):
        """A link from one asset to another is as good as a copy."""
        Path(str(site), "assets_one/static/same.js").symlink_to("panel.js")

        assert shop.assets("one", "same.js").content == b"export {}"

    def test_links_in_a_circle_are_not_there(self, shop, site):
        """A link to itself is an error of its own, not a loop."""
        Path(str(site), "assets_one/static/loop").symlink_to("loop")

        with pytest.raises(AssetNotFoundError):
            shop.assets("one", "loop")

    def test_only_active_plugins_show_files(self, shop):
        """A plugin that was switched off shows nothing any more, and an unknown one never did."""
        shop.deactivate("one")

        with pytest.raises(PluginNotActiveError):
            shop.assets("one", "panel.js")
        with pytest.raises(PluginNotFoundError, match="'ones' is not known here; did you mean"):
            shop.assets("ones", "panel.js")

    def test_the_error_says_what_is_expected(self, shop):
        """The message names plugin and path, and where assets are."""
        with pytest.raises(
            AssetNotFoundError, match="plugin 'one' has no asset 'nix'; assets are plain files"
        ):
            shop.assets("one", "nix")
