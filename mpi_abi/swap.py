"""What covers what, so that the image's program meets the host's MPI.  Pure: nothing is mounted here."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from .closure import Closure, ClosureDevice
from .families import C_ROLE, tables
from .host import HostMpi
from .hostlibc import added_directories, libc_covers, libc_unfit
from .image import ImageMpiFacts
from .libc import show_version
from .sharing import Sharing, group_is_kept, loaded_by_path, share


class Action(StrEnum):
    """What happens to a variable; ``prepend`` and ``append`` separate by a colon."""

    SET = "set"
    PREPEND = "prepend"
    APPEND = "append"
    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Cover:
    """A file or directory of the host (``source``) that appears at a path of the container (``target``)."""

    source: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """A change of one variable of the program's environment."""

    action: Action
    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Swap:
    """The replacement of the image's MPI by the host's; ``summary`` is one line for people.

    ``devices`` are the nodes of the host that its libraries open.
    """

    covers: tuple[Cover, ...]
    environment: tuple[EnvironmentChange, ...]
    summary: str
    devices: tuple[ClosureDevice, ...] = ()


def make_swap(image: ImageMpiFacts, host: HostMpi, closure: Closure, *, private_dir: str) -> Swap:
    """Plan the replacement of the image's MPI by ``host``.

    The image's own MPI files are covered, so that whatever finds them (RPATH, cache, a path in a script)
    finds the host's.  What the host's MPI needs in turn goes into ``private_dir`` (a container path of which
    nothing exists yet), where LD_LIBRARY_PATH and the plugin variables point.

    The verdict is not asked: a forced swap uses this as well.
    """
    sharing = share(image, host, closure)
    libc = closure.libc if closure.libc and not libc_unfit(image, closure.libc) else None
    covers = [
        *_mpi_covers(image, host, private_dir),
        *_library_covers(host, sharing, private_dir),
        *_path_covers(image, host, sharing),
        *_directory_covers(closure, sharing, private_dir),
        *(Cover(*row) for row in (libc_covers(image.libc, libc, private_dir) if libc else ())),
    ]
    unique = {cover.target: cover for cover in reversed(covers)}
    what = f"{image.mpi[0].title} ({image.mpi[0].real})" if image.mpi else tables().title(image.family)
    summary = f"{what} -> {host.title} ({host.c_library.real})"
    environment = [*_environment(closure, sharing, private_dir)]
    if libc is not None:
        summary += f", glibc {show_version(image.glibc)} -> {show_version(libc.version)}"
        reason = "where the image's loader looks by itself, and the host's, which takes its place, does not"
        for folder in added_directories(image.libc, libc):
            environment.append(EnvironmentChange(Action.APPEND, "LD_LIBRARY_PATH", folder, reason))
    return Swap(tuple(reversed(unique.values())), tuple(environment), summary, devices=closure.devices)


def _mpi_covers(image: ImageMpiFacts, host: HostMpi, private_dir: str) -> Iterator[Cover]:
    for name in image.asked:
        yield Cover(
            host.c_library.real, f"{private_dir}/lib/{name}", f"what adapts to {host.title} asks for it"
        )
    for item in image.mpi:
        if image.adapted and item.role != C_ROLE:
            continue  # nothing of another family can stand for it, and nobody opens it
        replacement = host.library(item.role)
        if replacement is not None:
            reason = f"the host's {host.title} for the image's {item.real.rpartition('/')[2]}"
            yield Cover(replacement.real, item.real, reason)
            if item.soname != replacement.soname and _is_name(item.soname):
                # What was loaded by its path serves who asks by name, but under the name that it has itself.
                reason = f"who needs {item.soname} gets the host's {replacement.soname}"
                yield Cover(replacement.real, f"{private_dir}/lib/{item.soname}", reason)


def _is_name(soname: str) -> bool:
    """Whether a file can have this name in a directory: a library may call itself as it likes."""
    return "/" not in soname and soname not in ("", ".", "..")


def _library_covers(host: HostMpi, sharing: Sharing, private_dir: str) -> Iterator[Cover]:
    for item in sharing.brought:
        if not item.plugin:
            whole = item.group not in ("", "mpi")
            reason = f"needed by {host.title}" + (
                f"; {item.group} comes from the host as a whole" if whole else ""
            )
            for name in filter(_is_name, (item.soname, *item.aliases)):
                yield Cover(item.path, f"{private_dir}/lib/{name}", reason)


def _path_covers(image: ImageMpiFacts, host: HostMpi, sharing: Sharing) -> Iterator[Cover]:
    """Copies of brought libraries that the program's tree finds before LD_LIBRARY_PATH is asked."""
    brought = {item.soname: item for item in sharing.brought if not item.plugin}
    replaced = {item.real for item in image.mpi if host.library(item.role)}
    for item in image.tree.objects:
        name = item.facts.soname or item.name.rpartition("/")[2]
        if loaded_by_path(item.how) and item.real not in replaced and name in brought:
            yield Cover(brought[name].path, item.real, f"the program finds its own {name} by {item.how}")
    for name, real in image.early.items():
        if name in brought and real not in replaced:
            yield Cover(brought[name].path, real, f"the program's RPATH finds the image's {name} for the MPI")
    for name, real in image.obstacles:
        if name in brought and real not in replaced:
            yield Cover(brought[name].path, real, f"the host's RPATH finds the image's {name} in there")


def _directory_covers(closure: Closure, sharing: Sharing, private_dir: str) -> Iterator[Cover]:
    for folder in closure.directories:
        if group_is_kept(folder.group, sharing.kept):
            continue
        target = folder.target if folder.target.startswith("/") else f"{private_dir}/{folder.target}"
        for source, name in folder.sources:
            yield Cover(source, f"{target}/{name}".rstrip("/"), f"what {folder.group} opens at run time")
        for source, text in folder.links:
            place = posixpath.normpath(posixpath.join(target, text))
            yield Cover(source, place, f"what {folder.group} opens at run time, by a link in {target}")


def _environment(closure: Closure, sharing: Sharing, private_dir: str) -> Iterator[EnvironmentChange]:
    yield EnvironmentChange(
        Action.PREPEND, "LD_LIBRARY_PATH", f"{private_dir}/lib", "where the host's MPI finds what it needs"
    )
    for folder in closure.directories:
        if folder.variable and not group_is_kept(folder.group, sharing.kept):
            # Set also where the host has no such directory: the compiled-in path is the image's in there.
            reason = f"{folder.group} of the host must not look in the image's directories"
            for name in (folder.variable, *folder.also):
                yield EnvironmentChange(Action.SET, name, f"{private_dir}/{folder.target}", reason)
    for name, value in closure.environment:
        yield EnvironmentChange(
            Action.SET, name, value, "the host's MPI runs without its own installation around it"
        )
