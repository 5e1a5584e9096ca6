"""Installing: a plan, a confirmation, progress, a result; generations, and the audit."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from plugreg._support.url_secrets import masked
from plugreg.admin.jobs import Jobs
from plugreg.admin.visits import Message, Redirect, Screen, Visit
from plugreg.api.errors import NotFoundError
from plugreg.exceptions import InstallError, RequirementError
from plugreg.install import InstallPlan, InstallReport, Packages
from plugreg.install.installer import Progress

MOST_ENTRIES: Final = 50
"""The most entries of the audit that are shown."""

MOST_DIGITS: Final = 9
"""The most digits of a generation's number."""

MOST_PLANS: Final = 20
"""The most plans that a process remembers until they are confirmed."""


def show_install(visit: Visit) -> Screen:
    """Return the form for a requirement, the generations and the audit.

    Args:
        visit: The visit; ``requirement`` of its query is in the form.
    """
    return _screen(visit, visit.query.get("requirement", ""))


def plan(visit: Visit) -> Screen:
    """Return the plan for a requirement, to be confirmed. The environment is not touched.

    Args:
        visit: The visit; its field ``requirement`` is the requirement.
    """
    requirement = visit.fields.get("requirement", "").strip()
    if not requirement:
        words = visit.text("Write what to install, such as shop-discount>=2.")
        return _screen(visit, requirement, wrong=words)
    try:
        found = _packages(visit).plan(requirement)
    except RequirementError as error:
        return _screen(visit, requirement, wrong=error.reason)
    except InstallError as error:
        return _screen(visit, requirement, wrong="\n".join(error.reasons))
    digest = digest_of(found)
    while len(visit.plans) >= MOST_PLANS:
        visit.plans.pop(next(iter(visit.plans)), None)
    visit.plans[digest] = found
    values = {"plan": found, "requirement": requirement, "digest": digest}
    # Addresses are written to logs, where credentials have no place.
    return Screen("plan.html", {**values, "again": masked(requirement)})


def start(visit: Visit) -> Redirect:
    """Begin the installation of a plan that was confirmed, and show its progress.

    The installed plan is the shown plan. A process that has not made the plan makes it again, and
    installs nothing if it differs.

    Args:
        visit: The visit; its fields are ``requirement`` and ``digest``.
    """
    packages, digest = _packages(visit), visit.fields.get("digest", "")
    requirement, actor = visit.fields.get("requirement", ""), _audit_name(visit)
    shown = visit.plans.get(digest)
    changed = visit.text("The plan is another one by now. Make it again, and look at it.")

    def install(progress: Progress) -> InstallReport:
        planned = shown
        if planned is None:
            progress("Making the plan again")
            planned = packages.plan(requirement)
            if digest_of(planned) != digest:
                raise InstallError([changed])
        return packages.install(planned, actor=actor, progress=progress)

    name = requirement if shown is None else shown.requirement
    job = Jobs(visit.api.registry.shared.notes).start(masked(name), install)
    return Redirect(visit.address(f"install/jobs/{job}/"))


def show_job(visit: Visit, job: str) -> Screen:
    """Return the progress of an installation, or its result.

    Args:
        visit: The visit.
        job: Its id.
    """
    found = Jobs(visit.api.registry.shared.notes).get(job)
    if found is None:
        raise NotFoundError
    known = [slug for slug in found.plugins if slug in visit.api.registry.plugins]
    return Screen("job.html", {"job": found, "known": known})


def roll_back(visit: Visit) -> Redirect:
    """Have an earlier generation serve again.

    Args:
        visit: The visit; its field ``generation`` is the number.
    """
    here = visit.address("install/")
    number = visit.fields.get("generation", "")
    if not number.isdecimal() or len(number) > MOST_DIGITS:
        # Without a number the installer would choose a generation itself.
        words = visit.text(
            "There is no generation %(number)s; nothing was changed.", number=number[:40]
        )
        return Redirect(here, Message("alert", words))
    try:
        _packages(visit).rollback(int(number), actor=_audit_name(visit))
    except InstallError as error:
        reason = " ".join(error.reasons)[:800]
        words = visit.text(
            "Generation %(number)s does not serve: %(reason)s", number=number, reason=reason
        )
        return Redirect(here, Message("alert", words))
    words = visit.text("Generation %(number)s serves.", number=number)
    return Redirect(here, Message("status", words))


def digest_of(plan: InstallPlan) -> str:
    """Return a string that differs when a plan would change something else.

    Args:
        plan: The plan.
    """
    changes = [(c.name, c.before, c.after, c.sha256) for c in plan.changes]
    return blake2b(repr((plan.requirement, changes)).encode(), digest_size=16).hexdigest()


def _audit_name(visit: Visit) -> str:
    actor = visit.actor.id
    return "a service" if actor is None else f"user {actor}"


def _packages(visit: Visit) -> Packages:
    packages = visit.api.registry.packages
    if packages is None:
        raise NotFoundError
    return packages


def _screen(visit: Visit, requirement: str, wrong: str = "") -> Screen:
    packages = _packages(visit)
    try:
        generations, fault = tuple(reversed(packages.generations())), ""
    except InstallError as error:
        generations, fault = (), " ".join(error.reasons)
    values: dict[str, Any] = {
        "requirement": requirement,
        "wrong": wrong,
        "generations": generations,
        "fault": fault,
        "audit": visit.call("plugins_audit_list")[: -MOST_ENTRIES - 1 : -1],
    }
    words = visit.text("No plan was made; nothing was changed.")
    message = Message("alert", words) if wrong else None
    return Screen("install.html", values, 400 if wrong else 200, message)
