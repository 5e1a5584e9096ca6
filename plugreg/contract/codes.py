"""The checks of plugins: one table for contracts, the class, the command and the documentation.

Codes K0 are about the distribution, K1 about the contract of the host, K2 about settings, K3 about
the import, K4 about the life of the plugin, K5 about calls, K6 about faults from outside, and K7
about isolation.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from plugreg._support.frozen import NamedTuple
from plugreg.contract.values import Finding

if TYPE_CHECKING:
    from plugreg.contract.values import Severity


class Check(NamedTuple):
    """A check: ``cause`` and ``remedy`` are sentences for the author of the plugin."""

    code: str
    severity: Severity
    title: str
    cause: str
    remedy: str


def finding(code: str, where: str, message: str) -> Finding:
    """Return a finding of a check, with its remedy.

    Args:
        code: Code of the check.
        where: File and line, or the part of the project.
        message: The fault, as a clause.
    """
    check = _BY_CODE[code]
    remedy = f"{check.remedy[0].lower()}{check.remedy[1:].removesuffix('.')}"
    return Finding(code=code, level=check.severity, where=where, message=f"{message}; {remedy}")


# A head with the code, the severity and the title; then the cause; then the remedy.
_TABLE: Final = """
K000 error Exemption without reason
    An exemption in [tool.plugreg.check] has no reason, or an unknown code.
    Write it as exempt = { K204 = "the reason" }, or remove it.
K001 info Metadata are missing
    The distribution lacks a description, a licence or the supported Python versions.
    Add the field to [project] in pyproject.toml.
K002 warning Entry point name is not a slug
    The name of an entry point is the plugin's identity, and has to be converted to a slug.
    Use only a-z, 0-9, - and _ in the name of the entry point.
K003 warning Import is not required
    A module imports a package that the distribution does not require.
    Add the package to dependencies in pyproject.toml.
K004 error Metadata are not valid
    A name, version or requirement is none that installers accept, so that nothing is built.
    Correct the field, as in name = 'shop-tea', version = '1.0rc1', 'shop>=2,<3'.
K005 info Import is not known here
    A module imports a package that is not here, and a requirement is not installed either.
    Install the plugin with its requirements, and check it again.
K006 error Asset is missing
    The plugin names a file for browsers that is not in its static folder.
    Put the file into the folder static beside the plugin's module, or correct its name.
K007 warning Requirement has another version here
    A requirement is installed in a version out of its range, so the plugin is not tried here.
    Install the plugin with its requirements, and check it again.
K101 error Hook does not exist
    A function is marked as the implementation of a hook that the host does not have.
    Correct the name, or mark it with optionalhook=True if only some hosts have the hook.
K102 error Argument does not exist
    An implementation takes an argument that the hook does not have, and cannot be called.
    Take only arguments of the hook, in any order; those that are not needed can be left out.
K103 warning Hook name without marker
    A method has the name of a hook but no marker, so the host never calls it.
    Mark it with @hookimpl, or rename it if it is not an implementation.
K104 warning Hook is deprecated
    The host has deprecated the hook, and will remove it.
    Implement the replacement that the host names.
K105 error Hook is removed
    This version of the host no longer calls the hook.
    Implement the replacement, and remove the old implementation.
K106 error Result does not fit
    The annotated return type of an implementation is not accepted by the hook.
    Return a value of the type in the hook's specification.
K107 error SETTINGS without SettingsMixin
    A class has SETTINGS but does not derive from SettingsMixin, so they are never read.
    Derive the class from plugreg.mixins.SettingsMixin, before Plugin.
K108 warning No range of host versions
    The distribution does not declare the versions of the host that it supports.
    Require the host's distribution with a range of versions, such as 'shop>=2.1,<3'.
K109 error Host version is out of range
    The distribution's range of host versions does not include the contract's version.
    Widen the range once the plugin is tested with this version of the host.
K110 error No entry point
    The distribution has no entry point in the host's group, so the host does not find it.
    Add [project.entry-points."<group>"] with a line such as weather = 'shop_weather:Weather'.
K111 error Entry point leads nowhere
    The module or the object that an entry point names is not in the distribution.
    Correct the value of the entry point, or add the module to the wheel.
K112 error Source cannot be read
    A module of the plugin has a syntax error or no source, so it cannot be checked.
    Correct the file; python -m py_compile names the line.
K113 warning Hook is newer than the oldest host
    The range of host versions includes versions without a hook that is implemented.
    Raise the lower bound of the host, or mark the implementation with optionalhook=True.
K114 error Async implementation of a synchronous hook
    An implementation is a coroutine function, and the host calls the hook without awaiting.
    Make it a plain function, unless the host calls this hook with acall.
K201 error Definition of a setting is invalid
    A definition in SETTINGS or USER_SETTINGS is invalid, or its default is.
    Correct the definition as the message says.
K202 warning Typed setting without default
    A setting with a type has no default, so it reads as None until it is set.
    Give it a default, or required=True so that operators are asked for it.
K204 warning Secret is not protected
    The key of a setting looks like that of a secret, and its value is shown to everybody.
    Add protected=True to its definition, or give it another key.
K205 warning Version without migration
    SETTINGS_VERSION was increased, and stored values of older versions are not converted.
    Write migrate_settings(values, version, user=None), and test it with stored(…).
K206 error Invalid settings keep the plugin off
    Invalid stored values make the plugin fail, so nobody can correct them.
    Read settings where they are used, and handle their defaults.
K207 info Setting has no name
    A setting is shown to people under its key.
    Add a name to its definition.
K301 error Import fails
    The plugin's module cannot be imported, or its class is missing.
    Correct the code that the message names; python -c 'import …' shows the traceback.
K302 error Import ends the process
    Importing the plugin's module ends the process, or never ends.
    Put script code below if __name__ == "__main__".
K303 warning Import prints
    Importing the plugin's module writes to standard output or error.
    Use self.logger in a method.
K304 warning Import starts threads
    Importing the plugin's module starts a thread or a task, even if it is never used.
    Start it in plugreg_activated, and end it in plugreg_deactivating.
K305 error Import changes signals
    Importing the plugin's module changes how the host reacts to a signal.
    Leave signals to the host.
K306 warning Import changes the process
    Importing the plugin's module changes the environment, sys.path or the working directory.
    If necessary, do that in plugreg_activated, and undo it in plugreg_deactivating.
K307 warning Import configures logging
    Importing the plugin's module changes loggers of the host.
    Log to self.logger, and leave handlers and levels to the host.
K308 warning Import is slow
    Importing the plugin's module takes longer than a second, which delays every start.
    Import slow modules in the functions that use them.
K309 info Import is heavy
    Importing the plugin's module imports large packages.
    Import them in the function that uses them.
K310 error Late import of a missing package
    A function imports a package that is neither installed nor required; its call fails.
    Add the package to dependencies in pyproject.toml.
K400 error Plugin does not come into service
    The registry cannot load the plugin.
    Correct the code that the message names.
K401 error Constructor fails
    The plugin cannot be constructed; settings cannot be read there yet.
    Move the work into plugreg_activated, where settings can be read.
K402 error Activation fails
    The plugin violates the contract of a capability, or plugreg_activated raises.
    Correct the code that the message names.
K403 error Something is left behind
    A thread, handler or change of the process remains after the plugin was switched off.
    Undo it in plugreg_deactivating.
K404 error Deactivation fails
    The plugin fails while it is switched off.
    Correct plugreg_deactivating; it runs after the last call.
K405 error Plugin cannot be switched on again
    The plugin works only once in a process, because state of the first activation remains.
    Keep state on the object, not in the module or the class.
K406 error Plugin ends the process
    The plugin ends the process, or never returns, while it is active.
    Raise an exception, and use timeouts for waiting calls.
K501 error Hook raises
    An implementation raises an exception that the hook does not declare.
    Return None where there is no answer, or have the host declare it under Raises.
K502 error Hook returns something else
    The result of an implementation does not have the type that the hook declares.
    Return a value of the type in the hook's specification.
K503 error Task fails
    A scheduled task raises.
    Correct it; host.run_task runs it in a test.
K504 warning Event handler fails
    process_event raises for an unknown event; later hosts may have more events.
    Accept only known events in wants_process_event, and take **kwargs.
K505 error Feature of the interface fails
    A getter of user interface features raises, or returns something else.
    Correct it; values of the context may be missing.
K601 error Plugin does not handle a store that refuses writes
    While the store refuses writes, a hook raises another exception than the store's.
    Let StorageError propagate, or catch it.
K602 error Secret is disclosed
    The value of a protected setting is in a result, in a log or in the output.
    Do not log, print or return it.
K701 warning Plugin does not work isolated
    The plugin cannot run in a process of its own.
    See the capabilities that can be isolated in the documentation of isolation.
"""


def _checks() -> Iterator[Check]:
    lines = map(str.strip, _TABLE.strip().splitlines())
    for head, cause, remedy in zip(lines, lines, lines, strict=True):
        code, severity, title = head.split(" ", 2)
        yield Check(code, cast("Severity", severity), title, cause, remedy)


CHECKS: Final = tuple(_checks())
"""All checks, in the order of their codes."""

_BY_CODE: Final = MappingProxyType({check.code: check for check in CHECKS})
