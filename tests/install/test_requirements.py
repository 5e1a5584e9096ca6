"""Requests to an installer: hostile strings are refused, and no credentials are shown."""

from __future__ import annotations

import base64
import pickle
import re
import time
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement

from plugreg._support.url_secrets import masked, secrets_of
from plugreg.exceptions import RequirementError
from plugreg.install.plan import Target
from plugreg.install.requirements import parse_target

HASH = "a" * 64

NO_NAME = [
    # Options, and strings that an installer might take for options.
    "",
    " ",
    "\t",
    "-",
    "--",
    "-r requirements.txt",
    "-rrequirements.txt",
    "-e .",
    "-e git+https://example.org/x",
    "--editable=.",
    "--index-url=https://example.org",
    "--extra-index-url https://example.org shop-tea",
    "--pre",
    "--target=/etc",
    "-t/etc shop-tea",
    "--config-settings=x",
    "-c constraints.txt",
    "-h",
    " --help",
    "\t-r x",
    "- shop-tea",
    "-shop-tea",
    "shop-tea -r requirements.txt",
    "shop-tea --pre",
    "shop-tea --index-url=x",
    "shop-tea[a] -e .",
    # Several requirements, and strings that continue in other lines.
    "shop-tea shop-milk",
    "shop-tea,shop-milk",
    "shop-tea\nshop-milk",
    "shop-tea\r\nshop-milk",
    "shop-tea\rshop-milk",
    "shop-tea\x0bshop-milk",
    "shop-tea\x85shop-milk",
    "shop-tea\u2028shop-milk",
    "shop-tea\u2029--pre",
    "shop-tea\n--index-url=https://example.org",
    "shop-tea\n",
    "\nshop-tea",
    "shop-tea \\\n--pre",
    "shop-tea\\",
    "shop-tea # a comment",
    "# shop-tea",
    # Control characters, and letters that are none of ASCII.
    "shop-tea\0",
    "\0",
    "shop\x1b[31m-tea",
    "shop-tea\x7f",
    "shop-tea\x08",
    "shop\u200b-tea",
    "shop\u202e-tea",
    "\u0455hop-tea",
    "shop\u2010tea",
    "shop-tea\ud800",
    "\uff53hop-tea",
    "shop-tea\xa0",
    "\ufeffshop-tea",
    # Paths and shells.
    ".",
    "..",
    "./shop-tea",
    "+https://example.org/x",
    "//example.org/x",
    "../shop-tea",
    "/etc/passwd",
    "~/shop-tea",
    "shop-tea/",
    "shop-tea.whl/../x",
    "dist/shop_tea-1.0-py3-none-any.whl",
    "\\\\server\\share\\shop-tea.whl",
    "shop-tea; rm -rf /",
    "shop-tea && reboot",
    "shop-tea|sh",
    "$(reboot)",
    "`reboot`",
    "${HOME}",
    "shop-tea${HOME}",
    "%s",
    "shop-tea%00",
    # Names and extras that are none.
    "_shop",
    ".shop",
    "shop_",
    "shop-",
    "shop tea",
    "shop'tea",
    '"shop-tea"',
    "[pdf]",
    "shop-tea[",
    "shop-tea[]]",
    "shop-tea[-r]",
    "shop-tea[pdf_]",
    "shop-tea[--pre]",
    "shop-tea[a b]",
    "shop-tea[a;b]",
    "shop-tea[.]",
    # Files, which installers would take where they work.
    "shop-tea.zip",
    "shop_tea-1.0-py3-none-any.whl",
    "shop-tea.WHL[pdf]",
    "shop-tea.tar.gz ; python_version > '3'",
    "shop-tea.tgz",
    "shop-tea.tar",
    "shop-tea.tar.bz2",
    "shop-tea.tbz",
    "shop-tea.tar.xz",
    "shop-tea.txz",
    "shop-tea.tlz",
    "shop-tea.tar.lz",
    "shop-tea.tar.lzma",
    # Markers.
    "shop-tea;",
    "shop-tea==1;",
    "shop-tea @ https://example.org/x.whl; python_version>'3'",
    "shop-tea @ https://example.org/x.whl --pre",
    "shop-tea; ",
    "shop-tea; nonsense",
    "shop-tea; python_version",
    "shop-tea; python_version < '3'",
    "shop-tea; python_version < '3' and os_name == os_name",
    "shop-tea; sys_platform == 'nowhere'",
    "shop-tea; extra == 'pdf'",
    "shop-tea; 'pdf' in extras",
    "shop-tea; 'pdf' in dependency_groups",
    "shop-tea; os_name > 'a' and os_name ~= 'b'",
    "shop-tea; platform_version != ' --pre'",
    "shop-tea; platform_version != 'a --index-url=x'",
    "shop-tea; platform_version != '--pre'",
    "shop-tea; platform_version != 'a #'",
    "shop-tea; platform_version != '${HOME}'",
    "shop-tea; platform_version != '\\'",
    "shop-tea; platform_version != 'a\" or os_name != \"b'",
    "shop-tea; platform_version != 'a  b'",
    "shop-tea; platform_version != '$(reboot)'",
    "shop-tea>=1; rm -rf /",
    "shop-tea;" + "(" * 450 + "os_name" + ")" * 450,
    "shop-tea;" + "(" * 300 + "os_name=='x'" + ")" * 300,
    # Lengths.
    "s" * 1001,
    "shop-tea " + " " * 1000,
    "shop-tea[" + "a," * 500 + "a]",
]

NO_VERSION = [
    "shop-tea==",
    "shop-tea>=",
    "shop-tea==abc",
    "shop-tea==1.0 shop-milk==2.0",
    "shop-tea==1.0 --pre",
    "shop-tea>=1 -r x",
    "shop-tea==1.0 --hash=sha256:" + HASH,
    "shop-tea>1,,",
    "shop-tea=1",
    "shop-tea=>1",
    "shop-tea!1",
    "shop-tea~1",
    "shop-tea~=1",
    "shop-tea>=1.*",
    "shop-tea==../x",
    "shop-tea==-1",
    "shop-tea===anything",
    "shop-tea===--pre",
    "shop-tea===-r",
    "shop-tea===${HOME}",
    "shop-tea===1.0,===x",
    "shop-tea (==)",
    "shop-tea (>=1",
    "shop-tea==1.0\n--pre",
    "shop-tea==1\0",
    "shop-tea==\uff11",
    "shop-tea==1.0po\u017ft1",
    "shop-tea==1\\",
    "shop-tea<" + "1" * 1000,
    "shop-tea[pdf]==x",
    "shop-tea==$(reboot)",
]

NO_URL = [
    # Schemes.
    "https://example.org/shop_tea-1.0-py3-none-any.whl",
    "http://127.0.0.1/shop_tea-1.0-py3-none-any.whl",
    "http://example.org/x",
    "ftp://example.org/x",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file://localhost/etc/passwd",
    "C:\\shop-tea.whl",
    "c:/shop-tea.whl",
    "javascript:alert(1)",
    "data:text/plain,x",
    "git:example.org/x",
    "git://example.org/x",
    "ssh://git@example.org/x",
    "git+ssh://git@example.org/x",
    "git+git://example.org/x",
    "git+file:///srv/x",
    "git+ext::sh -c reboot",
    "git+ext://sh -c reboot",
    "ext::sh",
    "hg+http://127.0.0.1/x",
    "svn+http://127.0.0.1/x",
    "svn+ssh://example.org/x",
    "hg+static-http://example.org/x",
    "hg+file:///srv/x",
    "bzr+https://example.org/x",
    "git+http://example.org/x",
    "GIT+https://example.org/x",
    "git+HTTPS://example.org/x",
    "git+https:example.org/x",
    "git+https:/example.org/x",
    "git+https:///example.org/x",
    "git+https:\\\\example.org\\x",
    " git+ssh://example.org/x",
    "shop-tea @ ./x.whl",
    "shop-tea @ /srv/x.whl",
    "shop-tea @ x.whl",
    "shop-tea @ file:///srv/x.whl",
    "shop-tea@file:x.whl",
    "shop-tea @ ftp://example.org/x.whl",
    "shop-tea @ http://example.org/x.whl",
    "shop-tea @ http://localhost.example.org/x.whl",
    "shop-tea @ http://127.0.0.1.example.org/x.whl",
    "shop-tea @ http://127.1/x.whl",
    "shop-tea @ http://2130706433/x.whl",
    "shop-tea @ http://0x7f.0.0.1/x.whl",
    "shop-tea @ http://0.0.0.0/x.whl",
    "shop-tea @ http://[::2]/x.whl",
    "shop-tea @ http://localhost@example.org/x.whl",
    "shop-tea @ HTTPS://example.org/x.whl",
    "shop-tea @ git+ssh://example.org/x",
    "shop-tea[pdf] @ svn+svn://example.org/x",
    "shop-tea @ -r",
    "shop-tea @ --pre",
    # Hosts, users and ports.
    "git+https://",
    "git+https:///x",
    "git+https://?x",
    "git+https://:443/x",
    "git+https://user@/x",
    "git+https://-oProxyCommand=reboot/x",
    "git+https://-example.org/x",
    "git+https://example-.org/x",
    "git+https://example..org/x",
    "git+https://.example.org/x",
    "git+https://example.org./x",
    "git+https://exa%6Dple.org/x",
    "git+https://exämple.org/x",
    "git+https://\uff45xample.org/x",
    "git+https://example.org\uff0f.example/x",
    "git+https://exam_ple_/x",
    "git+https://[::1/x",
    "git+https://::1]/x",
    "git+https://[::g]/x",
    "git+https://[1.2.3.4]/x",
    "git+https://[::1%25eth0]/x",
    "git+https://example.org:/x",
    "git+https://example.org:0/x",
    "git+https://example.org:65536/x",
    "git+https://example.org:99999999/x",
    "git+https://example.org:port/x",
    "git+https://example.org:-1/x",
    "git+https://a@b@example.org/x",
    "git+https://example.org#@example.com/x",
    "git+https://-u@example.org/x",
    "git+https://%2Du@example.org/x",
    "git+https://%252Du:password@example.org/x",
    "git+https://%25252D@example.org/x",
    "git+https://--config=x:y@example.org/x",
    "git+https://user:pass%0aword@example.org/x",
    "git+https://example.org\\@example.com/x",
    # Paths and revisions.
    "git+https://example.org",
    "git+https://example.org/",
    "git+https://example.org/@v1",
    "hg+https://example.org/x@--config=hooks.update=reboot",
    "hg+https://example.org/x@-r",
    "git+https://example.org/x@-",
    "git+https://example.org/x@",
    "git+https://example.org/x@%2D-upload-pack=reboot",
    "git+https://example.org/x@%252D%252Dconfig",
    "git+https://example.org/x@--config@v1",
    "git+https://example.org/x@v1@--config",
    "git+https://example.org/x%40--config=y",
    "hg+https://example.org/x@ancestors(tip)",
    "git+https://example.org/x@v1..v2",
    "git+https://example.org/x@v1~1",
    "git+https://example.org/x@v1:refs",
    "git+https://example.org/x@v1&reboot",
    "git+https://example.org/x@$(reboot)",
    "git+https://example.org/a/../x",
    "git+https://example.org/./x",
    "git+https://example.org/a/%2e%2e/x",
    "git+https://example.org/a/%252e%252e/x",
    "git+https://example.org/a%2F..%2Fx",
    "git+https://example.org/a%5C..%5Cx",
    "git+https://example.org/x?@--config=y",
    "git+https://example.org/x?ref=v1",
    "git+https://example.org/x%",
    "git+https://example.org/x%zz",
    "git+https://example.org/x%00",
    "git+https://example.org/x%0a--pre",
    "git+https://example.org/x%250d",
    "git+https://example.org/x%7F",
    "git+https://example.org/x%E2%80%A8y",
    "git+https://example.org/x%1b[31m",
    # Characters.
    "git+https://example.org/x --global-option=y",
    "git+https://example.org/x\n--global-option=y",
    "git+https://example.org/x\t-r y",
    "git+https://example.org/x\u3000y",
    "git+https://example.org/x\xa0-r",
    "git+https://example.org/x\x00",
    "git+https://example.org/x\x7f",
    "git+https://example.org/x\u202e",
    " git+https://example.org/x",
    "git+https://example.org/x ",
    "git+https://example.org/x ; python_version > '3'",
    "git+https://example.org/x;python_version>'3'",
    "git+https://example.org/x\\y",
    "git+https://example.org/${HOME}",
    "git+https://${TOKEN}@example.org/x",
    "git+https://example.org/{x}",
    "git+https://example.org/`reboot`",
    "git+https://example.org/x'--pre'",
    'git+https://example.org/"x"',
    "git+https://example.org/<x>",
    "git+https://example.org/x|sh",
    "git+https://example.org/x^y",
    "git+https://example.org/x[pdf]",
    "git+https://example.org/ж",
    "git+https://example.org/" + "x" * 1000,
    "shop-tea @ https://example.org/x\u2028y",
    "shop-tea @ https://example.org/${HOME}.whl",
    "shop-tea @ https://example.org/x.whl;python_version>'3'",
    "shop-tea @ https://example.org/x.whl\n--pre",
    # Fragments.
    "git+https://example.org/x#",
    "git+https://example.org/x#x",
    "git+https://example.org/x#egg=",
    "git+https://example.org/x#egg=-r",
    "git+https://example.org/x#egg=shop-tea[pdf]",
    "git+https://example.org/x#egg=shop-tea==1.0",
    "git+https://example.org/x#egg=shop tea",
    "git+https://example.org/x#egg=a&egg=b",
    "git+https://example.org/x#egg=a#subdirectory=b",
    "git+https://example.org/x#egg=%2D-pre",
    "git+https://example.org/x#subdirectory=..",
    "git+https://example.org/x#subdirectory=../../etc",
    "git+https://example.org/x#subdirectory=a/../../etc",
    "git+https://example.org/x#subdirectory=a/..",
    "git+https://example.org/x#subdirectory=./a",
    "git+https://example.org/x#subdirectory=/etc",
    "git+https://example.org/x#subdirectory=",
    "git+https://example.org/x#subdirectory=-r",
    "git+https://example.org/x#subdirectory=a/--pre",
    "git+https://example.org/x#subdirectory=a%2F..",
    "git+https://example.org/x#subdirectory=a//b",
    "git+https://example.org/x#--pre",
    "git+https://example.org/x#egg=a&--pre",
    "git+https://example.org/x#setup_py=x",
    "shop-tea @ https://example.org/x.whl#sha256=" + "g" * 64,
    "shop-tea @ https://example.org/x.whl#sha256=" + "a" * 63,
    "shop-tea @ https://example.org/x.whl#md5=" + "a" * 32,
    "shop-tea @ git+https://example.org/x#egg=shop-milk",
]

HOSTILE = [
    *((text, "packagename") for text in NO_NAME),
    *((text, "version") for text in NO_VERSION),
    *((text, "url") for text in NO_URL),
]


class TestRefused:
    @pytest.mark.parametrize(("text", "field"), HOSTILE)
    def test_what_is_no_requirement_is_refused_by_field(self, text, field):
        """None of the hostile texts is a target, and each refusal names the field at fault."""
        with pytest.raises(RequirementError) as caught:
            parse_target(text)

        assert caught.value.field == field

    @pytest.mark.parametrize("given", [None, 1, b"shop-tea", ["shop-tea"], object(), True])
    def test_what_is_no_text_is_refused(self, given):
        """Only a text is a requirement, and only a text an index."""
        with pytest.raises(RequirementError) as caught:
            parse_target(given)
        assert caught.value.field == "packagename"

        if given is not None:
            with pytest.raises(RequirementError) as caught:
                parse_target("shop-tea", given)
            assert caught.value.field == "url"

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "nowhere",
            "pypi.example",
            "//pypi.example/simple",
            "ftp://pypi.example/simple",
            "file:///srv/wheels",
            "git+https://pypi.example/simple",
            "http://pypi.example/simple",
            "https://",
            "http://[x",
            "https://pypi.example/simple --pre",
            " https://pypi.example/simple",
            "https://pypi.example/simple\n",
            "https://pypi.example/\tsimple",
            "https://pypi.example/\x7f",
            "https://pypi.example/a/../simple",
            "https://pypi.example/${HOME}",
            "https://-u:p@pypi.example/simple",
            "https://pypi.example/simple#",
            "https://pypi.example/simple#egg=a",
            "https://pypi.example/simple#sha256=" + HASH,
            "https://pypi.example/" + "x" * 1000,
            "--pre",
            "-r",
        ],
    )
    def test_an_index_is_an_address(self, url):
        """An index is reached by https, or on this machine, and has nothing beside its URL."""
        with pytest.raises(RequirementError) as caught:
            parse_target("shop-tea", url)

        assert caught.value.field == "url"


class TestAccepted:
    @pytest.mark.parametrize(
        ("text", "name", "written"),
        [
            ("shop-tea", "shop-tea", "shop-tea"),
            (" Shop_Tea ", "shop-tea", "Shop_Tea"),
            ("shop.tea>=1", "shop-tea", "shop.tea>=1"),
            ("shop-tea == 1.*", "shop-tea", "shop-tea==1.*"),
            ("shop-tea (>=1)", "shop-tea", "shop-tea>=1"),
            ("shop-tea===1.0", "shop-tea", "shop-tea===1.0"),
            ("shop-tea==1!2.0.post1.dev2+us.1", "shop-tea", "shop-tea==1!2.0.post1.dev2+us.1"),
            ("shop-tea[pdf,a]", "shop-tea", "shop-tea[a,pdf]"),
            ("s", "s", "s"),
            (
                "shop-tea; python_version>='3.11' and os_name != 'os 2, 3'",
                "shop-tea",
                'shop-tea; python_version >= "3.11" and os_name != "os 2, 3"',
            ),
        ],
    )
    def test_a_requirement_is_read_and_written_anew(self, text, name, written):
        """The text that an installer gets is that of the grammar, and the name is canonical."""
        target = parse_target(text)

        assert (target.name, target.text, target.shown) == (name, written, written)
        assert target.url is None
        assert target.secrets == ()

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.org/shop_tea-1.0-py3-none-any.whl",
            "https://example.org:8443/a/-/b/shop-tea-1.0%2Bus.tar.gz#sha256=" + HASH,
            "https://example.org/My%20Files/x.whl?raw",
            "https://example.org/x.zip#subdirectory=a/b&sha256=" + HASH,
            "http://localhost/x.whl",
            "http://127.0.0.1:8000/x.whl",
            "http://127.1.2.3/x.whl",
            "http://[::1]:8000/x.whl",
            "git+https://example.org/us/shop-tea.git",
            "git+https://example.org/us/shop-tea@v1.0",
            "git+https://example.org/@us/shop-tea@feature/a_b+c",
            "git+https://example.org/us/shop-tea@" + "0" * 40 + "#subdirectory=.ci/shop-tea",
            "git+http://127.0.0.1:8000/shop-tea.git",
            "hg+https://example.org/x@tip",
            "svn+https://example.org/x/trunk@1200",
        ],
    )
    def test_urls_of_files_and_repositories(self, url):
        """A name with a URL is accepted; that of a repository by itself, too."""
        target = parse_target(f"Shop_Tea @ {url}")

        assert (target.name, target.url) == ("shop-tea", url)
        assert target.text == target.line == str(Requirement(f"Shop_Tea @ {url}"))
        if "+http" in url:
            alone = parse_target(url)
            assert (alone.name, alone.url, alone.text, alone.line) == (None, url, url, url)

    def test_a_url_may_have_a_marker(self):
        """A blank keeps them apart."""
        target = parse_target("shop-tea@https://example.org/x.whl ; python_version>'3'")

        assert target.url == "https://example.org/x.whl"
        assert Requirement(target.text).marker is not None

    @pytest.mark.parametrize(
        "url", ["https://pypi.example/simple/", "http://localhost:8000/simple", "https://a"]
    )
    def test_an_index_stays_as_it_is(self, url):
        """It goes to the installer as it was written."""
        assert parse_target("shop-tea", url).index_url == url

    def test_a_file_has_more_than_a_mere_name(self):
        """A bare name leaves the line to the version that was installed."""
        assert parse_target("shop-tea").line == ""
        assert parse_target("shop-tea>=1").line == "shop-tea>=1"
        assert parse_target("shop-tea[pdf]").line == "shop-tea[pdf]"

    def test_a_file_has_no_credentials(self):
        """User names and passwords go, and queries with a secret; the file can still be found."""
        line = parse_target(f"a @ https://me:hunter22@example.org/x.whl?raw=1#sha256={HASH}").line
        assert _means(line, f"a @ https://example.org/x.whl?raw=1#sha256={HASH}")
        assert parse_target("git+https://t0ken@example.org/x@v1").line == (
            "git+https://example.org/x@v1"
        )
        line = parse_target(f"a @ https://example.org/x?raw=1&sig=abc#sha256={HASH}").line
        assert _means(line, f"a @ https://example.org/x#sha256={HASH}")


def _means(text, other):
    """Return whether two texts are the same requirement: versions of packaging put blanks apart."""
    return Requirement(text) == Requirement(other)


USER, PASSWORD, TOKEN = "quentin", "s3cr%40t%2Fpass", "tok-0123456789"
PARTS = [USER, PASSWORD, "s3cr@t/pass", TOKEN]


class TestCredentials:
    @pytest.mark.parametrize(
        "text",
        [
            f"shop-tea @ https://{USER}:{PASSWORD}@example.org/x.whl?token={TOKEN}",
            f"git+https://{USER}:{PASSWORD}@example.org/x@v1",
            f"git+https://{TOKEN}@example.org/x",
            f"hg+https://{TOKEN}:@example.org/x",
        ],
    )
    def test_what_is_shown_has_none(self, text):
        """Neither the text to be shown nor a repr has any part of them."""
        target = parse_target(text, f"https://{USER}:{PASSWORD}@pypi.example/simple")

        for each in PARTS:
            assert each not in target.shown
            assert each not in target.line
            assert each not in repr(target)
        assert "****@example.org" in target.shown
        assert target.url in text
        assert target.url in target.text

    def test_secrets_are_all_that_output_must_not_have(self):
        """User name, password and both, of URL and index, as written and decoded."""
        target = parse_target(
            f"shop-tea @ https://{USER}:{PASSWORD}@example.org/x.whl?token={TOKEN}&raw=true",
            "https://other:pa%2574ss@pypi.example/simple",
        )

        assert {
            USER,
            PASSWORD,
            "s3cr@t/pass",
            f"{USER}:{PASSWORD}",
            f"{USER}:s3cr@t/pass",
            TOKEN,
            "other",
            "pa%2574ss",
            "pa%74ss",
        } <= set(target.secrets)
        assert "true" not in target.secrets

    @pytest.mark.parametrize(
        ("url", "secrets"),
        [
            ("", set()),
            ("nowhere", set()),
            ("https://example.org/x@v1", set()),
            ("https://example.org/a:b@c", set()),
            ("git+https://git@example.org/x", set()),
            ("https://abc@example.org", {"abc"}),
            ("https://:abc@example.org", {":abc", "abc"}),
            ("https://a@b:c@example.org/x", {"a@b:c", "a@b", "c"}),
            ("https://__token__:abc@example.org", {"__token__:abc", "abc"}),
            ("https://example.org/x?X-Amz-Signature=ab", {"ab"}),
            ("https://example.org/x?v=" + "x" * 16, {"x" * 16}),
            ("https://example.org/x?v=1#token=abc", set()),
        ],
    )
    def test_secrets_of_any_text(self, url, secrets):
        """Names that everybody uses are none, or the word would go from all that is told."""
        assert set(secrets_of(url)) == secrets

    @pytest.mark.parametrize(
        "text",
        [
            f"ftp://{USER}:{PASSWORD}@example.org/x",
            f"git+ssh://{USER}:{PASSWORD}@example.org/x",
            f"https://{USER}:{PASSWORD}@example.org/x.whl",
            f"git+https://{USER}:{PASSWORD}@-example.org/x",
            f"git+https://{USER}:{PASSWORD}@example.org:99999/x",
            f"git+https://{USER}:{PASSWORD}@example.org/x@--config",
            f"git+https://{USER}:{PASSWORD}@example.org/x?token={TOKEN}",
            f"git+https://{USER}:{PASSWORD}@example.org/x#{TOKEN}",
            f"git+https://{USER}:{PASSWORD}@example.org/ x",
            f"git+https://{USER}:{PASSWORD}@exämple.org/x",
            f"git+https:/{USER}:{PASSWORD}@example.org/x",
            f"https:{USER}:{PASSWORD}@example.org/x",
            f"shop-tea @ https://{USER}:{PASSWORD}@example.org/x --pre",
            f"shop-tea @ {USER}:{PASSWORD}@example.org/x",
            f"shop-tea @ file://{USER}:{PASSWORD}@example.org/x",
            f"--index-url=https://{USER}:{PASSWORD}@example.org/simple",
            f"-i https://{USER}:{PASSWORD}@example.org/simple shop-tea",
            f"shop-tea>=1 --index-url https://{USER}:{PASSWORD}@example.org",
            f"shop-tea==https://{USER}:{PASSWORD}@example.org",
            f"shop-tea; x == 'https://{USER}:{PASSWORD}@example.org'",
            f"//{USER}:{PASSWORD}@example.org/x",
            f"[https://{USER}:{PASSWORD}@example.org/x]",
            "x" * 1000 + f"https://{USER}:{PASSWORD}@example.org/x",
        ],
    )
    def test_no_error_has_any(self, text):
        """A text may be refused for any reason, and its credentials stand in no message."""
        for asked in ((text,), ("shop-tea", text)):
            try:
                target = parse_target(*asked)
            except RequirementError as error:
                for each in PARTS:
                    assert each not in str(error)
                    assert each not in repr(error)
                assert str(pickle.loads(pickle.dumps(error))) == str(error)
                assert error.__cause__ is None
            else:
                assert target.index_url == text, "only as an index is one of them right"


class TestMasked:
    @pytest.mark.parametrize(
        ("text", "masks"),
        [
            ("Looking in https://me:pw@h/simple", "Looking in https://****@h/simple"),
            ("git+https://t@h/x@v1 ok", "git+https://****@h/x@v1 ok"),
            ("(from https://h/x.whl?sig=a&b=c#sha256=f)", "(from https://h/x.whl?****#sha256=f)"),
            ('"https://h/x?y", a@b', '"https://h/x?****", a@b'),
            ("https://a@b:c@h/x://u@h", "https://****@h/x://****@h"),
            ("is https://h/x there?yes", "is https://h/x there?yes"),
            ("nothing", "nothing"),
            ("", ""),
        ],
    )
    def test_urls_lose_credentials_and_query(self, text, masks):
        """Each URL in a text does, known or not; nothing else is changed, and once is enough."""
        assert masked(text) == masks
        assert masked(masks) == masks

    def test_secrets_are_found_however_they_are_written(self):
        """As they are, as URLs write them, and in a header with both."""
        secrets = secrets_of("https://quentin:s3cr%40t@h")
        header = base64.b64encode(b"quentin:s3cr@t").decode()
        for each in ("s3cr@t", "s3cr%40t", quote("s3cr%40t"), header, "quentin"):
            shown = masked(f"before {each} after", secrets)
            assert shown == "before *** after"

    @pytest.mark.parametrize("part", ["://", "://u", "://a?", "?://", "://@", "@", " ", "://?"])
    def test_a_hostile_text_costs_no_more_than_its_length(self, part):
        """A build's output is masked while all threads wait: it must not stop the process."""
        start = time.process_time()
        for each in (part * 20_000, part * 20_000 + "@", part * 20_000 + "?x"):
            masked(each, ["abcd1234"])

        # Quadratic, it takes a minute.
        assert time.process_time() - start < 5

    def test_a_short_secret_is_masked_where_it_is_a_word(self):
        """A password of two letters does not take all texts apart."""
        assert masked("pw='ab' of about abab, ab", ["ab"]) == "pw='***' of about abab, ***"

    def test_blanks_are_no_secret(self):
        """A blank secret hides nothing."""
        assert masked("a b", ["", " "]) == "a b"

    def test_long_lines_take_no_longer_than_long_lines_do(self):
        """A megabyte without a blank is looked through once, not once for each letter."""
        text = "x" * 1_000_000 + "://" * 1000

        assert masked(text) == text


WORDS = st.sampled_from(
    [
        *(
            "shop-tea",
            "Shop_Tea",
            "a",
            "[",
            "pdf",
            "]",
            "==",
            ">=",
            "===",
            "1.0",
            "1.*",
            ",",
            "(",
            ")",
        ),
        *(" ", "\t", "\n", ";", "@", "#", "-", "--pre", "-r", "\\", "${X}", "'", '"', "%2D", "%0a"),
        *(
            "https",
            "http",
            "git+https",
            "hg+https",
            "file",
            "://",
            ":",
            "/",
            "//",
            "..",
            "?",
            "&",
            "=",
        ),
        *("example.org", "127.0.0.1", "[::1]", "user", "pass", "egg=", "subdirectory=", "sha256="),
        *("os_name", "python_version", "!=", "'x'", '"3.11"', "and", "or", "in", "extra", "\u2028"),
    ]
)
MADE = st.lists(WORDS, max_size=14).map("".join)
SHAPED = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["shop-tea", "Shop.Tea[pdf]", "shop-tea @ https://example.org/", "a@"]),
    MADE,
    st.sampled_from(["", ";os_name!='x'", " ; python_version>'3'"]),
    MADE,
)


def _check_accepted(target: Target) -> None:
    assert target.text.isascii()
    assert target.text.isprintable()
    assert not target.text.startswith("-")
    assert not any(word.startswith(("-", "#")) for word in target.text.split(" "))
    assert not re.search(r"[\\`{}|^]", target.text)
    if target.url is not None:
        assert " " not in target.url
        assert urlsplit(target.url).hostname
        scheme = urlsplit(target.url).scheme.rpartition("+")[2]
        assert scheme == "https" or urlsplit(target.url).hostname in ("127.0.0.1", "::1")
    if target.name is None:
        assert target.text == target.url
        return
    again = Requirement(target.text)
    assert (str(again), again.url) == (target.text, target.url)
    assert re.sub("[-_.]+", "-", again.name).lower() == target.name
    assert again.marker is None or again.marker.evaluate()
    assert parse_target(target.text) == target


class TestLaws:
    @given(st.one_of(MADE, SHAPED, st.text(max_size=40)))
    def test_what_is_accepted_reads_the_same_again(self, text):
        """It is no option, has no blank that splits it, and parses to the same name again."""
        try:
            target = parse_target(text)
        except RequirementError as error:
            assert error.field in ("packagename", "url", "version")
            return

        _check_accepted(target)

    @given(
        st.sampled_from(["shop-tea", "Shop_Tea", "shop.tea[pdf]"]),
        st.sampled_from(["", "==1.0", ">=1,<2", "~=1.4", "!=3.*", "===2.0rc1"]),
        st.sampled_from(["", "; os_name != 'x'", "; python_version > '3' or os_name == 'a b'"]),
    )
    def test_what_the_grammar_allows_is_accepted(self, name, specifier, marker):
        """A refusal has a reason: plain requirements are not refused."""
        target = parse_target(name + specifier + marker)

        _check_accepted(target)
        assert Requirement(target.text) == Requirement(name + specifier + marker)

    @given(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=12),
        st.sampled_from(
            [
                "git+https://us:{}@example.org/x",
                "git+https://{}@example.org/x@v1",
                "shop-tea @ https://us:{}@example.org/x.whl",
                "shop-tea @ https://example.org/x.whl?token={}",
                "shop-tea @ https://us:{}@exa mple.org/x",
                "git+ssh://us:{}@example.org/x",
            ]
        ),
        st.booleans(),
    )
    def test_no_secret_is_shown(self, secret, form, escaped):
        """Whatever characters a password has, neither the accepted target nor an error shows it.

        Except a slash that is not escaped: the part before it is the host, by RFC 3986.
        """
        assume(escaped or "/" not in secret)
        secret = f"Zq{secret}qZ"
        written = quote(secret, safe="") if escaped else secret
        try:
            target = parse_target(form.format(written))
        except RequirementError as error:
            told = str(error)
        else:
            told = repr(target) + target.shown + target.line
            assert {written, secret} <= set(target.secrets) or not escaped
        assert "Zq" not in told
        assert "qZ" not in told

    @given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=3))
    def test_masking_twice_is_masking_once(self, text, secrets):
        """A text that went through two hands is the same."""
        assume("*" not in "".join(secrets))
        once = masked(text, secrets)

        assert masked(once, secrets) == once

    @given(st.text(max_size=30))
    def test_packaging_and_plugreg_agree_on_names(self, text):
        """A text that packaging does not know is never accepted as a name."""
        try:
            Requirement(text)
        except InvalidRequirement:
            assume("+http" not in text)
            with pytest.raises(RequirementError):
                parse_target(text)


def test_there_are_enough_of_them():
    """The corpus has at least 120 texts, each once."""
    assert len({text for text, _ in HOSTILE}) == len(HOSTILE) >= 120
