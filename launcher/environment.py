"""The environment of a rank: the job's variables stay, the image's fill in what it does not set.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.config import SiteConfig
from launcher.image.facts import ImageFacts
from launcher.program import Operation, Origin, Verb
from launcher.request import Request
from mpi_abi.environment import DEFAULT_PATH

LOADER_VARIABLES = ("LD_PRELOAD", "LD_LIBRARY_PATH")
"""Variables that name libraries of the host: inside, they would load the wrong ones or fail every program."""

_RESERVED = ("SLURM_", "SPANK_", "PMI", "BAREBOAT_")
"""Beginnings of names that an image must not preset: the job's scheduler speaks through them."""


def plan_environment(request: Request, config: SiteConfig, image: ImageFacts) -> tuple[Operation, ...]:
    """Decide the changes that make the container's environment out of the job's."""
    passed = {*request.passed, *config.passed}
    own = dict(image.environment)
    operations = []
    if "PATH" in passed:
        reason = "the job's, with the default directories behind it"
        operations.append(Operation(Verb.ENV_APPEND, ("PATH", DEFAULT_PATH), reason, Origin.USER))
    else:
        origin = Origin.IMAGE if own.get("PATH") else Origin.DEFAULT
        reason = "the image's, with the default directories behind it"
        path = with_default_path(own.get("PATH", ""))
        operations.append(Operation(Verb.ENV_SET, ("PATH", path), reason, origin))
    for name in LOADER_VARIABLES:
        if name not in passed:
            operations.append(Operation(Verb.ENV_UNSET, (name,), "it names libraries of the host"))
    for name in config.denied:
        operations.append(Operation(Verb.ENV_UNSET, (name,), "denied by the site", Origin.SITE))
    for name, value in image.environment:
        if name != "PATH" and not name.startswith(_RESERVED):
            reason = "the image's, unless the job sets it"
            operations.append(Operation(Verb.ENV_DEFAULT, (name, value), reason, Origin.IMAGE))
    return tuple(operations)


def with_default_path(path: str) -> str:
    """Append to ``path`` those of the default directories that it does not hold."""
    directories = [directory for directory in path.split(":") if directory]
    missing = [directory for directory in DEFAULT_PATH.split(":") if directory not in directories]
    return ":".join([*directories, *missing])


def apply_environment(operations: Iterable[Operation], environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the operations make of ``environment``: in order, as the C core does it."""
    result = dict(environment)
    for operation in operations:
        verb, (name, value) = operation.verb, (*operation.args, "", "")[:2]
        old = result.get(name, "")
        if verb is Verb.ENV_SET or (verb is Verb.ENV_DEFAULT and name not in result):
            result[name] = value
        elif verb is Verb.ENV_UNSET:
            result.pop(name, None)
        elif verb is Verb.ENV_PREPEND:
            result[name] = f"{value}:{old}" if old else value
        elif verb is Verb.ENV_APPEND:
            result[name] = f"{old}:{value}" if old else value
    return result
