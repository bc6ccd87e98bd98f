"""Put bareboat below a prefix and its line into plugstack.conf, and take both away again.

An installation is made beside its place and renamed into it, so that at every moment there is a whole one:
the old or the new.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from slurm import build, manifest, payload, plugstack
from slurm.errors import SlurmError
from slurm.manifest import Manifest
from slurm.safety import problem_with
from slurm.stores import STORE_HINT, judge_store, look_at_store

_USUAL_PREFIX = Path("/opt/bareboat")
_PREFIX = re.compile(r"/[A-Za-z0-9._+/-]{1,90}")
"""Plain and short: the prefix stands in plugstack.conf, where blanks part words, and in a ``#!`` line."""
_PLANS = Path("/run/bareboat")
_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100
_MNT_DETACH = 2  # sys/mount.h


def default_prefix() -> Path:
    """The prefix that the running copy is installed below, or the usual one."""
    own = Path(sys.prefix).parent
    return own if (own / manifest.PLACE).is_file() else _USUAL_PREFIX


def plugin_of(prefix: Path) -> str:
    """The plugin's file below a prefix."""
    return f"{prefix}/lib/slurm/{plugstack.PLUGIN}"


def install(
    prefix: Path,
    *,
    environment: Mapping[str, str],
    plugstack_file: Path | None = None,
    stores: Sequence[Path] = (),
    slurm_include: Path | None = None,
    python: Path | None = None,
    progress: Callable[[str], None] = lambda _text: None,
) -> Manifest:
    """Install what runs here below ``prefix``, replacing an older installation there.

    Args:
        prefix: a directory of its own.
        environment: may name slurm.conf by SLURM_CONF.
        plugstack_file: gets the plugin's line; found by slurm.conf if not given.
        stores: directories of root's, whose squashfs images the kernel mounts; those that the line names
            already if none are given.
        slurm_include: directory that holds slurm/spank.h.
        python: the interpreter below the installation; the one below the running copy if not given.
        progress: told in a few words what is being done.

    Raises:
        SlurmError: if something is missing, unsafe or does not compile; then all is as it was before.
    """
    _require_root("installed")
    check_prefix(prefix)
    file = plugstack_file or plugstack.find(environment)
    for store in stores:
        _check_store(store)
        _refuse_included_line(file)
    _refuse_other_bareboat(file, prefix)
    _refuse_other_slurm(file, prefix)
    interpreter = build.find_interpreter(python)
    headers, slurm_version = build.find_headers(slurm_include)
    what = payload.find_payload()
    with _place_beside(prefix) as (stage, parents):
        old = manifest.read(prefix)
        progress(f"building bareboat {what.version} for Slurm {slurm_version}")
        build.fill(stage, prefix, what, interpreter, headers)
        record = Manifest(
            version=what.version,
            slurm_version=slurm_version,
            prefix=str(prefix),
            python=str(interpreter.program),
            plugstack=str(file),
            plugstack_made=not file.exists() or _made_before(old, file),
            parents=old.parents if old else parents,
            files=manifest.scan(stage),
        )
        manifest.write(record, stage)
        build.set_modes(stage)
        progress(f"putting it into {prefix}")
        _swap(stage, prefix)
    _write_line(file, prefix, stores)
    return record


def uninstall(prefix: Path) -> Manifest:
    """Take an installation away, with its line in plugstack.conf.

    Raises:
        SlurmError: if there is none, or something below the prefix is not what was installed.
    """
    _require_root("uninstalled")
    record = manifest.read(prefix)
    if record is None:
        raise SlurmError(f"there is no bareboat in {prefix}", hint="name the place with --prefix")
    others = manifest.differences(record, prefix)
    foreign = [line for line in others if not line.endswith(" is missing")]
    if foreign:
        shown = "\n  ".join(foreign[:10]) + ("\n  ..." if len(foreign) > 10 else "")
        raise SlurmError(
            f"{prefix} holds what bareboat did not put there, so nothing was removed:\n  {shown}",
            hint="move these files away, then uninstall again",
        )
    # First the line: without the plugin's file, Slurm would refuse every job of this machine.
    _take_line(Path(record.plugstack), prefix, made=record.plugstack_made)
    grave = Path(tempfile.mkdtemp(prefix=_stage_name(prefix), dir=prefix.parent))
    prefix.rename(grave)
    shutil.rmtree(grave)
    _forget_plans()
    for parent in record.parents:
        with suppress(OSError):  # somebody else uses it now
            Path(parent).rmdir()
    return record


def check_prefix(prefix: Path) -> None:
    """Refuse a place that is not fit for an installation, or that holds something else.

    Raises:
        SlurmError: with the reason.
    """
    if not _PREFIX.fullmatch(str(prefix)) or ".." in prefix.parts or len(prefix.parts) < 3:
        raise SlurmError(
            f"bareboat cannot be installed in {str(prefix)!r}",
            hint="give a full path of plain characters, at most 90, not right below /: /opt/bareboat",
        )
    problem = problem_with(prefix)
    if problem is not None:
        raise SlurmError(
            f"bareboat cannot be installed in {prefix}: {problem}",
            hint="root loads the plugin from there, every user runs the rest: take one like /opt/bareboat",
        )
    if prefix.is_symlink() or (prefix.exists() and not prefix.is_dir()):
        raise SlurmError(f"bareboat cannot be installed in {prefix}: that is not a directory")
    if prefix.is_dir() and manifest.read(prefix) is None and any(prefix.iterdir()):
        raise SlurmError(
            f"{prefix} holds something else than bareboat",
            hint=f"give a directory of its own, such as {prefix}/bareboat",
        )


def _require_root(what: str) -> None:
    if os.geteuid() != 0:
        raise SlurmError(f"bareboat is {what} by root, not by user {os.geteuid()}", hint="use sudo")


def _refuse_other_bareboat(file: Path, prefix: Path) -> None:
    if not file.parent.is_dir():
        raise SlurmError(
            f"{file} cannot get the plugin's line: {file.parent} does not exist",
            hint="name this site's plugstack.conf with --plugstack",
        )
    if not file.exists():
        return
    for entry in plugstack.bareboats(plugstack.read_entries(file)):
        if entry.path != plugin_of(prefix):
            raise SlurmError(
                f"{entry.file} loads another bareboat already: {entry.path}",
                hint="uninstall that one first (bareboat slurm uninstall --prefix ...), or remove the line",
            )


def _refuse_other_slurm(file: Path, prefix: Path) -> None:
    """An installation knows one file with its line, and uninstall takes away that one."""
    old = manifest.read(prefix)
    if old is None or old.plugstack == str(file) or not Path(old.plugstack).exists():
        return
    entries = plugstack.bareboats(plugstack.read_entries(Path(old.plugstack)))
    if any(entry.path == plugin_of(prefix) for entry in entries):
        raise SlurmError(
            f"{prefix} serves another Slurm: {old.plugstack} loads its plugin, not {file}",
            hint=f"to renew it: --plugstack {old.plugstack}, or its SLURM_CONF; for {file}: another "
            "--prefix, or uninstall first",
        )


def _made_before(old: Manifest | None, file: Path) -> bool:
    return old is not None and old.plugstack == str(file) and old.plugstack_made


def _stage_name(prefix: Path) -> str:
    return f".{prefix.name}.bareboat-"


@contextmanager
def _place_beside(prefix: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """An empty directory beside a prefix, and the parents that had to be made, the innermost first.

    One install at a time: what an earlier, killed one has left there is removed under the lock.
    """
    parents = tuple(str(parent) for parent in prefix.parents if not parent.exists())
    for parent in reversed(parents):
        Path(parent).mkdir()
        Path(parent).chmod(0o755)
    lock = os.open(prefix.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in prefix.parent.glob(f"{_stage_name(prefix)}*"):
            shutil.rmtree(stale)
        stage = Path(tempfile.mkdtemp(prefix=_stage_name(prefix), dir=prefix.parent))
        try:
            yield stage, parents
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(stage)
    finally:
        os.close(lock)
        for parent in parents:
            with suppress(OSError):
                Path(parent).rmdir()


def _swap(stage: Path, prefix: Path) -> None:
    """Put ``stage`` in the place of ``prefix``; what was there is then in ``stage``."""
    if not prefix.exists():
        stage.rename(prefix)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    names = (_AT_FDCWD, os.fsencode(stage), _AT_FDCWD, os.fsencode(prefix))
    if libc.renameat2(*names, _RENAME_EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise SlurmError(f"{stage} and {prefix} cannot be exchanged: {os.strerror(number)}")
    # NFS cannot exchange (rename(2)): for a moment there is none.
    aside = Path(f"{stage}.old")
    prefix.rename(aside)
    try:
        stage.rename(prefix)
    except OSError:
        aside.rename(prefix)
        raise
    aside.rename(stage)


def _check_store(store: Path) -> None:
    """Refuse what the plugin would not use."""
    if re.search(r"[\s#]", str(store)):
        raise SlurmError(f"{store} cannot stand in plugstack.conf: it has a blank or a #", hint=STORE_HINT)
    if store.resolve() != store:
        raise SlurmError(f"{store} is not a path without links: it is {store.resolve()}", hint=STORE_HINT)
    if problem := judge_store(str(store), look_at_store(str(store))):
        raise SlurmError(f"{store} cannot be a store: {problem}", hint=STORE_HINT)


def _refuse_included_line(file: Path) -> None:
    for entry in plugstack.bareboats(plugstack.read_entries(file) if file.exists() else ()):
        if entry.file != str(file):
            raise SlurmError(
                f"cannot name a store in {file}: the plugin's line is in {entry.file}",
                hint=f"write store=DIRECTORY behind the plugin in {entry.file}, and install without --store",
            )


def _write_line(file: Path, prefix: Path, stores: Sequence[Path]) -> None:
    before = file.read_text() if file.exists() else ""
    # An included file may have the line already, as the testbed's does.
    entries = plugstack.read_entries(file) if file.exists() else ()
    kinds = [entry.kind for entry in plugstack.bareboats(entries)]
    if stores or kinds != [plugstack.Kind.REQUIRED]:
        _replace_text(file, plugstack.add(before, plugin_of(prefix), map(str, stores)))


def _take_line(file: Path, prefix: Path, *, made: bool) -> None:
    if not file.exists():
        return
    before = file.read_text()
    after = plugstack.remove(before, plugin_of(prefix))
    if made and not after.strip():
        file.unlink()
    elif after != before:
        _replace_text(file, after)


def _replace_text(file: Path, text: str) -> None:
    """Write a file whole or not at all, with the mode and owner that it had."""
    target = file.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w") as beside:
            beside.write(text)
            status = target.stat() if target.exists() else None
            os.fchown(beside.fileno(), status.st_uid if status else 0, status.st_gid if status else 0)
            os.fchmod(beside.fileno(), status.st_mode & 0o777 if status else 0o644)
        Path(name).rename(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _forget_plans() -> None:
    """Take away the plans kept on this node; the others' go with their next boot, as /run does."""
    libc = ctypes.CDLL(None, use_errno=True)
    # The plugin has them in a file system of its own; a step that is just reading one does not keep it.
    while os.path.ismount(_PLANS) and libc.umount2(os.fsencode(_PLANS), _MNT_DETACH) == 0:
        pass
    shutil.rmtree(_PLANS, ignore_errors=True)


def describe_rest(record: Manifest) -> str:
    """What the site still has to do, in a few sentences."""
    return (
        f"slurmd needs no restart: srun and each new step read {record.plugstack} anew.\n"
        f"Every node needs the same: bareboat in {record.prefix} (on a shared file system, or by this\n"
        f"command on each node), and the line in its plugstack.conf.\n"
        f"Ask them all: {record.prefix}/bin/bareboat slurm status --nodes"
    )
