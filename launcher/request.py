"""What was asked: the flags and variables of one launch, checked and frozen."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from launcher.cdi import split_name
from launcher.config import Mount, MpiMode, SiteConfig, View, parse_mount
from launcher.errors import UsageError


@dataclass(frozen=True, slots=True)
class Request:
    """One launch as it was asked for.

    ``image`` is the name as given; ``program`` the argument vector, empty where only the container is meant;
    ``mounts`` have absolute paths; ``devices`` are CDI names, ``vendor/class=name``; ``without`` are the
    views that the user switched off; ``passed`` names variables of the host that enter although they
    otherwise would not; ``task_prologs`` are the paths of Slurm's prologs on the host;
    ``announce`` asks for a line about the swap.
    """

    image: str
    program: tuple[str, ...]
    mounts: tuple[Mount, ...]
    devices: tuple[str, ...]
    mpi: MpiMode
    without: frozenset[View]
    passed: tuple[str, ...]
    task_prologs: tuple[str, ...]
    announce: bool
    cwd: str
    environment: Mapping[str, str]


def make_request(
    image: str,
    program: Iterable[str],
    *,
    environment: Mapping[str, str],
    cwd: str,
    config: SiteConfig,
    mounts: Iterable[str] = (),
    devices: Iterable[str] = (),
    mpi: str | None = None,
    without: Iterable[str] = (),
) -> Request:
    """Make the request from the environment's ``BAREBOAT_*`` variables and the flags.

    Flags are added to the variables' lists; the MPI mode is the flag's, else the variable's, else the site's.
    Raises UsageError naming the variable or flag, the entry and its position.
    """
    if not image:
        raise UsageError("no image was named", hint="name one: --container=IMG, or bareboat run IMG")
    from_variable = _split(environment.get("BAREBOAT_MOUNTS", ""))
    found = [
        *(_mount(text, "BAREBOAT_MOUNTS", at, cwd) for at, text in enumerate(from_variable, start=1)),
        *(_mount(text, "--mount", at, cwd) for at, text in enumerate(mounts, start=1)),
    ]
    if len(found) > config.max_mounts:
        raise UsageError(
            f"{len(found)} mounts were asked for, the site allows {config.max_mounts}",
            hint="mount their common directory",
        )
    off = [
        *(_view(text, "BAREBOAT_WITHOUT") for text in _split(environment.get("BAREBOAT_WITHOUT", ""))),
        *(_view(text, "--without") for entry in without for text in _split(entry)),
    ]
    return Request(
        image=image,
        program=tuple(program),
        mounts=tuple(found),
        devices=tuple(
            dict.fromkeys(
                (
                    *(
                        _device(text, "BAREBOAT_DEVICES")
                        for text in _split(environment.get("BAREBOAT_DEVICES", ""))
                    ),
                    *(_device(text, "--device") for entry in devices for text in _split(entry)),
                )
            )
        ),
        mpi=_mode(mpi, environment.get("BAREBOAT_MPI", ""), config),
        without=frozenset(off),
        announce=_switch("BAREBOAT_ANNOUNCE", environment, default=config.announce),
        passed=tuple(_name(text) for text in _split(environment.get("BAREBOAT_PASS", ""))),
        task_prologs=_prologs(environment.get("SLURM_BAREBOAT_TASK_PROLOGS", "")),
        cwd=cwd,
        environment=dict(environment),
    )


def _split(text: str) -> list[str]:
    return text.split(",") if text else []


def _mount(text: str, where: str, position: int, cwd: str) -> Mount:
    try:
        mount = parse_mount(text)
    except ValueError as error:
        raise UsageError(
            f"{where}: entry {position} ({text!r}) {error}", hint="an entry is SRC[:DST[:ro]]"
        ) from error
    source = posixpath.join(cwd, mount.source)
    # "a/../b" means b only where a is no link, so a source with ".." is left for the kernel to resolve.
    if ".." not in source.split("/"):
        source = posixpath.normpath(source)
    target = posixpath.normpath(posixpath.join(cwd, mount.target))
    if target.strip("/") == "":
        raise UsageError(
            f"{where}: entry {position} ({text!r}) its target is the container's root",
            hint="an entry is SRC[:DST[:ro]]",
        )
    return Mount(source, "/" + target.lstrip("/"), read_only=mount.read_only)


def _device(text: str, where: str) -> str:
    try:
        split_name(text)
    except ValueError as error:
        raise UsageError(
            f"{where}: {text!r} is not the name of a device: {error}",
            hint="a name is vendor/class=name, as in nvidia.com/gpu=0",
        ) from error
    return text


def _view(text: str, where: str) -> View:
    try:
        return View(text)
    except ValueError as error:
        raise UsageError(
            f"{where}: {text!r} is not a part of the view", hint=f"parts: {', '.join(View)}"
        ) from error


def _name(text: str) -> str:
    if not text or "=" in text:
        raise UsageError(
            f"BAREBOAT_PASS: {text!r} is not the name of a variable", hint="names with commas between them"
        )
    return text


def _mode(flag: str | None, variable: str, config: SiteConfig) -> MpiMode:
    text, where = (flag, "--mpi") if flag is not None else (variable, "BAREBOAT_MPI")
    if not text:
        return config.mpi_mode
    try:
        return MpiMode(text)
    except ValueError as error:
        raise UsageError(f"{where}: {text!r} is not a mode", hint=f"modes: {', '.join(MpiMode)}") from error


def _switch(name: str, environment: Mapping[str, str], *, default: bool) -> bool:
    text = environment.get(name, "")
    if text not in {"", "0", "1"}:
        raise UsageError(f"{name}: {text!r} is neither 0 nor 1", hint=f"unset {name} for the site's choice")
    return text == "1" if text else default


def _prologs(text: str) -> tuple[str, ...]:
    # The plugin writes this one; what is not an absolute path was never a file that Slurm runs.
    return tuple(dict.fromkeys(path for path in text.split(":") if path.startswith("/")))
