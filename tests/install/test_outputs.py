"""Output of an installer is read in a time that grows with it, and no faster.

A build may write anything, and a regular expression keeps all threads waiting. The inputs are
so long that the square of their length would take hours.
"""

from __future__ import annotations

import pytest

from plugreg._support.command import Completed
from plugreg.exceptions import InstallError
from plugreg.install import PipInstaller, UvInstaller
from plugreg.install.constraints import read_constraints
from plugreg.install.exceptions import (
    BuildFailedError,
    PythonMismatchError,
)
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.urls import FILE_SCHEMES, check_url

PIP = PipInstaller(environment="plugins.d")
UV = UvInstaller(environment="plugins.d")
LENGTH = 300_000
PIP_OTHERS = "require a different python version: "
OUTPUTS = {
    "blank lines": "\n" * LENGTH,
    "blanks": " " * LENGTH,
    "slashes": "/" * LENGTH,
    "backslashes": "\\/" * (LENGTH // 2),
    "interpreters": "error: The interpreter at " * (LENGTH // 26),
    "conflicts": "The conflict is caused by:\n \n" * (LENGTH // 29),
    "other Pythons": PIP_OTHERS * (LENGTH // len(PIP_OTHERS)),
    "versions": PIP_OTHERS + "1.0 Requires-Python >=4; " * (LENGTH // 25),
    "unfound": PIP_OTHERS + "satisfies the requirement tea==1 " * (LENGTH // 33),
    "no solutions": "No solution found when\n" * (LENGTH // 23),
    "blank reasons": "No solution found\nBecause " + "\n" * LENGTH,
    "dependencies": "No solution found\n" + "tea depends on Python " * (LENGTH // 22),
    "digits": "No solution found\nBecause only the following versions of tea are available:"
    + " 1.2.3.4.5" * (LENGTH // 10),
    "words": "No solution found\nBecause only the following versions of tea are available:"
    + " 1a" * (LENGTH // 3),
    "packages": "No solution found\nBecause tea was not found in " + "a " * (LENGTH // 2),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
@pytest.mark.parametrize("installer", [PIP, UV], ids=["pip", "uv"])
def test_no_output_keeps_the_host_waiting(installer, output: str) -> None:
    """The error of a failed command is found however the output is made up."""
    with pytest.raises(InstallError):
        installer._check(Completed(1, output))


UV_LEAD = "  \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:\n  ╰─▶ "


@pytest.mark.parametrize(
    ("installer", "output", "kind"),
    [
        (
            PIP,
            "ERROR: Ignored the following versions that require a different python version: "
            "1.0 Requires-Python >=4; 2.0 Requires-Python >=4\n"
            "ERROR: Could not find a version that satisfies the requirement tea==2.0 (from: 3.0)\n",
            PythonMismatchError,
        ),
        (
            PIP,
            "ERROR: Ignored the following versions that require a different python version: "
            "1.0 Requires-Python >=4\n"
            "ERROR: Could not find a version that satisfies the requirement tea (from: none)\n",
            PythonMismatchError,
        ),
        (
            UV,
            UV_LEAD + "Because the current Python version (3.11) does not\n      satisfy "
            "Python>=4 and tea==1 depends on Python>=4, no version fits.\n",
            PythonMismatchError,
        ),
        (
            UV,
            UV_LEAD + "Because only tea==1 is available and you\n require tea>1, no.\n",
            InstallError,
        ),
        (UV, UV_LEAD + "Because tea==1 has no\n  wheels, no.\n", BuildFailedError),
    ],
)
def test_outputs_are_understood(installer, output: str, kind: type[InstallError]) -> None:
    """The class of the error is that of the program's output, broken lines included."""
    with pytest.raises(InstallError) as caught:
        installer._check(Completed(1, output), is_alone=True)

    assert type(caught.value) is kind


def test_a_url_of_many_escapes_is_refused() -> None:
    """That of a dependency is whatever its distribution says."""
    with pytest.raises(ValueError, match="more than 8192 characters"):
        check_url("https://tea.example/%" + "25" * LENGTH, FILE_SCHEMES)


def test_a_long_run_of_blanks_in_a_file_is_read(tmp_path) -> None:
    """Blanks that no comment follows are no more work than others."""
    plugins = tmp_path / "plugins.txt"
    plugins.write_text("tea" + " " * LENGTH + "\t" * LENGTH + "# why\n")
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("tea" + " " * LENGTH + "\\\n" + "\t" * LENGTH + "--pre # why\n")
    [line] = PluginsFile(plugins).lines()
    [constraint] = read_constraints(constraints)

    assert (line.text, constraint.text) == ("tea", "tea")
