"""The mounts of a container: what of the host is shown, and where.  Pure.

The rank sees the host's kernel, devices and scratch, the user's own directories, the network file systems and
the identity that others know the user by; the rest is the image.  Each part can be switched off (``View``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from launcher.config import SiteConfig, View
from launcher.device_plan import plan_devices
from launcher.errors import BareboatError
from launcher.host import ZONEINFO, HostFacts, MountPoint, mounts_of_types
from launcher.identity import group_text, passwd_text
from launcher.image.facts import ImageFacts
from launcher.image.reference import ImageKind
from launcher.placeholders import FLAGS, Placeholder, Resolved, is_placeholder, read_values, resolve
from launcher.program import Operation, Origin, Verb
from launcher.request import Request

RESOLVER_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
MUNGE = "/run/munge"
PRIVATE = "/run/bareboat"
"""Directory of the container that is bareboat's own, on the fresh /run."""

_KERNEL = (
    (View.PROC, "/proc", "processes: the container shares the host's"),
    (View.SYS, "/sys", "devices and the step's cgroup"),
    (View.DEV, "/dev", "devices, shared memory, terminals and message queues"),
    (View.TMP, "/tmp", "scratch that the ranks of a node share"),
    (View.TMP, "/var/tmp", "scratch that the ranks of a node share"),
)
# Where a system has its own files; the homes of system accounts lie there, and must not cover the image's.
_SYSTEM = frozenset(
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "boot", "proc", "sys", "dev", "run"]
) | {""}
_UTC = {"", "UTC", "Etc/UTC", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal"}


class Step(Protocol):
    """What the layout needs of ``slurm.step.StepFacts``."""

    @property
    def pmi_dirs(self) -> tuple[str, ...]: ...
    @property
    def spool_dir(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """The mount operations in their order, what to tell about them, and the network mounts that match.

    ``operations`` have placeholders and are the same for every step; ``resolved`` is what becomes of them
    here.  ``settled`` says whether nothing that differs from step to step has decided anything; ``cwd`` is
    the working directory here, ``any_cwd`` the same or its placeholder.
    """

    operations: tuple[Operation, ...]
    resolved: Resolved
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    network: tuple[MountPoint, ...]
    environment: tuple[Operation, ...]
    cwd: str
    any_cwd: str
    settled: bool

    def binds(self) -> tuple[tuple[str, str], ...]:
        """Pairs (container path, host path) of everything of the host that the container shows."""
        network = tuple((mount.target, mount.target) for mount in self.network)
        shown = tuple((op.args[1], op.args[0]) for op in self.resolved.operations if op.verb is Verb.BIND)
        return network + shown


def lay_out(
    request: Request,
    config: SiteConfig,
    host: HostFacts,
    image: ImageFacts,
    step: Step | None,
    *,
    server: str = "",
) -> Layout:
    """Decide the mounts.  ``server`` is the FUSE server for an image that is a file, "" for none.

    ``host.present`` and ``image.present`` must have been asked about ``host_paths`` and ``image_paths``.
    Raises BareboatError for a mount of the user whose source is missing.
    """
    work = _Work(request, config, host, image)
    work.root(server)
    work.kernel()
    work.own_directories()
    work.network_mounts()
    work.identity()
    work.timezone()
    work.step(step)
    work.asked_mounts()
    work.asked_devices()
    work.working_directory()
    work.prologs()
    return Layout(
        tuple(work.operations),
        work.resolve(),
        tuple(work.notes),
        tuple(work.warnings),
        work.network,
        tuple(work.environment),
        work.cwd,
        work.any_cwd,
        work.settled,
    )


def host_paths(request: Request, config: SiteConfig, step: Step | None) -> tuple[str, ...]:
    """List the host paths whose existence ``lay_out`` asks about, for whatever step."""
    paths = [mount.source for mount in (*request.mounts, *config.mounts)]
    paths += [path for _, path, _ in _KERNEL]
    paths += [*RESOLVER_FILES, *([MUNGE] if step else []), "/etc/localtime"]
    return tuple(path for path in dict.fromkeys(paths) if path.startswith("/"))


def step_paths(request: Request, step: Step | None) -> tuple[str, ...]:
    """List the paths, on the host and in the image, that ``lay_out`` asks about for this step alone."""
    pmi = step.pmi_dirs if step else ()
    return tuple(dict.fromkeys([*_values(request, step).values(), *pmi]))


def image_paths(request: Request, config: SiteConfig, host: HostFacts) -> tuple[str, ...]:
    """List the container paths whose existence in the image ``lay_out`` asks about, for whatever step."""
    on = config.views - request.without
    paths = [host.user.shell or "/bin/sh"] if View.USERS in on else []
    if View.HOME in on and _is_systems(host.user.home):
        paths.append(host.user.home)
    if View.TIMEZONE in on and "/etc/localtime" in host.present:
        paths += ["/etc/localtime", ZONEINFO + (host.timezone or "UTC")]
    return tuple(paths)


def network_paths(config: SiteConfig, host: HostFacts) -> tuple[str, ...]:
    """List the container paths that matter for what is told about network mounts."""
    return tuple(mount.target for mount in mounts_of_types(host.mounts, config.network_types))


def _is_systems(home: str) -> bool:
    return home.startswith("/") and home.split("/")[1] in _SYSTEM


def _values(request: Request, step: Step | None) -> dict[str, str]:
    spool = step.spool_dir if step else None
    return read_values(cwd=request.cwd, spool=spool, environment=request.environment)


class _Work:
    """A layout while it is being decided."""

    def __init__(self, request: Request, config: SiteConfig, host: HostFacts, image: ImageFacts) -> None:
        self.request, self.config, self.host, self.image = request, config, host, image
        self.operations: list[Operation] = []
        self.environment: list[Operation] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.network: tuple[MountPoint, ...] = ()
        self.cwd = request.cwd
        self.any_cwd = Placeholder.CWD.value
        self.settled = True
        self.values: dict[str, str] = {}

    def on(self, view: View) -> bool:
        return view in self.config.views and view not in self.request.without

    def bind(
        self,
        source: str,
        reason: str,
        *,
        target: str = "",
        flags: str = "rw",
        origin: Origin = Origin.DEFAULT,
    ) -> None:
        """Add a bind, unless an earlier one shows the same already."""
        target = target or source
        if not (target == source and self.shows(source)):
            self.operations.append(Operation(Verb.BIND, (source, target, flags), reason, origin))

    def bind_any(self, placeholder: Placeholder, reason: str, origin: Origin) -> None:
        """Add a bind of what a step has in the placeholder's place, unless something else is there."""
        args = (placeholder.value, placeholder.value, FLAGS)
        self.operations.append(Operation(Verb.BIND, args, reason, origin))

    def resolve(self) -> Resolved:
        """Say what becomes of the operations here."""
        return resolve(self.operations, self.values, present=self.host.present, covered=self.covers)

    def covers(self, operations: Iterable[Operation], path: str) -> bool:
        """Whether ``operations`` or the image put something at ``path``: anything but an empty directory."""
        covered = None
        for operation in operations:
            if operation.verb is Verb.TMPFS and beneath(path, operation.args[0]):
                covered = False
            elif any(beneath(path, target) for target in self._targets(operation)):
                covered = True
        if covered is None:
            return path in self.image.held or self._hides_own(path)
        return covered or self._hides_own(path)

    def _hides_own(self, path: str) -> bool:
        """Whether a mount at ``path`` would hide a tmpfs, or what the plan puts on it (as in ``enter.c``)."""
        fresh = [op.args[0] for op in self.operations if op.verb is Verb.TMPFS]
        binds = (op.args[1] for op in self.operations if op.verb is Verb.BIND)
        own = (target for target in binds if not is_placeholder(target))
        near = any(beneath(path, top) or beneath(top, path) for top in fresh)
        return near and any(beneath(target, path) for target in (*fresh, *own, PRIVATE))

    def shows(self, path: str) -> bool:
        """Whether the operations so far show the host's ``path`` at the same place.

        Network mounts do not count: the operations are the same whatever is mounted.
        """
        shown = False
        for operation in self.operations:
            if operation.verb is Verb.BIND and beneath(path, operation.args[1]):
                shown = operation.args[0] == operation.args[1]
            elif operation.verb is Verb.TMPFS and beneath(path, operation.args[0]):
                shown = False
        return shown

    def root(self, server: str) -> None:
        path, reason = self.image.path, "the image, read-only"
        if self.image.kind is ImageKind.SQUASHFS:
            by = f"by the kernel from the site's store, else by {server or 'nothing: no squashfuse_ll'}"
            root = Operation(Verb.ROOT_SQUASHFS, (path, server), f"{reason}; {by}", Origin.USER)
        else:
            root = Operation(Verb.ROOT_DIR, (path,), reason, Origin.USER)
        self.operations.append(root)

    def kernel(self) -> None:
        for view, path, reason in _KERNEL:
            if self.on(view) and path in self.host.present:
                self.bind(path, reason)
        args, reason = ("/run", "mode=0755"), "fresh: the host's sockets and daemons stay outside"
        self.operations.append(Operation(Verb.TMPFS, args, reason))

    def own_directories(self) -> None:
        if self.on(View.HOME):
            home = self.host.user.home
            if not home.startswith("/") or home not in self.host.present:
                self.notes.append(f"no home directory: {home or 'none is known'} is not on this host")
            elif _is_systems(home) and home in self.image.held:
                self.notes.append(f"the home directory {home} is not shown: it is part of the image's system")
            else:
                self.bind(home, "your home directory")
        if self.on(View.TMP):
            self.bind_any(Placeholder.TMPDIR, "scratch that TMPDIR names", Origin.DEFAULT)

    def network_mounts(self) -> None:
        types = self.config.network_types
        if not (self.on(View.NETWORK) and types):
            return
        found = mounts_of_types(self.host.mounts, types)
        self.network = tuple(mount for mount in found if mount.target not in self.image.held)
        for mount in found:
            if mount.target in self.image.held:
                self.notes.append(
                    f"the {mount.fstype} mount {mount.target} is not shown: the image has a directory there"
                )
        args, reason = (",".join(types), "rw"), "network file systems, by the mount table at the start"
        self.operations.append(Operation(Verb.BIND_FSTYPES, args, reason))

    def identity(self) -> None:
        if self.on(View.RESOLVER):
            for path in RESOLVER_FILES:
                if path in self.host.present:
                    self.bind(path, "name resolution as on the host", flags="ro,optional")
        if self.on(View.USERS):
            user = self.host.user
            reason, shell = f"the image's, with {user.name}", user.shell
            shell = shell if shell in self.image.present else "/bin/sh"
            passwd, group = passwd_text(self.image.passwd, user, shell), group_text(self.image.group, user)
            self.operations.append(Operation(Verb.FILE, ("/etc/passwd", "0644", passwd), reason))
            self.operations.append(Operation(Verb.FILE, ("/etc/group", "0644", group), f"{reason}'s groups"))

    def timezone(self) -> None:
        """Show the host's time zone.

        A bind over a link into the image's zone database would put the host's zone under another zone's name,
        so where the image's /etc/localtime is such a link, TZ says the zone instead.
        """
        zone, own = self.host.timezone, self.image.localtime.removeprefix(ZONEINFO)
        if not self.on(View.TIMEZONE) or "/etc/localtime" not in self.host.present:
            return
        if zone and (zone == own or (zone in _UTC and own in _UTC)):
            return
        if zone and ZONEINFO + zone in self.image.present:
            self._default_zone(zone)
        elif self.image.localtime in {"", "/etc/localtime"}:
            self.bind("/etc/localtime", "the host's time zone", flags="ro,optional")
        else:
            target = f"{PRIVATE}/localtime"
            self.bind("/etc/localtime", "the host's time zone", target=target, flags="ro,optional")
            self._default_zone(f":{target}")

    def _default_zone(self, value: str) -> None:
        self.environment.append(Operation(Verb.ENV_DEFAULT, ("TZ", value), "the host's time zone"))

    def step(self, step: Step | None) -> None:
        self.values = _values(self.request, step)
        if step is None and (others := [name for _, name in self.host.user.groups[1:]]):
            self.notes.append(
                f"without Slurm, your groups {', '.join(others)} show as 65534 inside and chgrp to them "
                "fails (user_namespaces(7)); files open by them as on the host"
            )
        if self.on(View.PMI):
            reason, own = "the step's PMI directory", (Placeholder.PMIX_SERVER, Placeholder.PMIX_SYSTEM)
            for placeholder in own:
                self.bind_any(placeholder, reason, Origin.STEP)
            known = [self.values[name] for name in own if name in self.values]
            for path in step.pmi_dirs if step else ():
                # Of old PMIx: what it keeps elsewhere has no placeholder.
                if not any(beneath(path, top) for top in known):
                    self.settled = False
                    if path in self.host.present:
                        self.bind(path, reason, flags="rw,optional", origin=Origin.STEP)
        if step and self.on(View.MUNGE) and MUNGE in self.host.present:
            reason = "munge's socket: credentials of Slurm and PMIx"
            self.bind(MUNGE, reason, flags="rw,optional", origin=Origin.STEP)
        if self.on(View.SPOOL):
            self.bind_any(Placeholder.SPOOL, "the job's spool directory, where its script lies", Origin.STEP)

    def asked_mounts(self) -> None:
        for mount in self.config.mounts:
            if mount.source not in self.host.present:
                self.notes.append(f"the site's mount {mount.source} is left out: it is not on this host")
                continue
            flags = "ro,optional" if mount.read_only else "rw,optional"
            self.bind(mount.source, "the site's", target=mount.target, flags=flags, origin=Origin.SITE)
        for mount in self.request.mounts:
            if mount.source not in self.host.present:
                raise BareboatError(
                    f"cannot mount {mount.source}: it does not exist, or you cannot reach it",
                    hint="check BAREBOAT_MOUNTS and --mount; the path must exist on every node of the step",
                )
            args = (mount.source, mount.target, "ro" if mount.read_only else "rw")
            self.operations.append(Operation(Verb.BIND, args, "asked for", Origin.USER))

    def asked_devices(self) -> None:
        planned = plan_devices(self.host.devices, shows=self.shows)
        self.operations += planned.mounts
        self.environment += planned.environment
        self.notes += planned.notes
        self.warnings += planned.warnings

    def working_directory(self) -> None:
        cwd, present = self.request.cwd, self.request.cwd in self.host.present
        before = self.resolve().operations
        taken = self.covers(before, cwd)
        if self.on(View.CWD) and present and not taken:
            self._refuse_hidden_mounts(cwd)
        if self.on(View.CWD) and (present or taken):
            self.bind_any(Placeholder.CWD, "the working directory, which is not in the image", Origin.DEFAULT)
        else:
            self.settled = False
            self.any_cwd = self.cwd = cwd if taken else "/"
        if not taken and self.cwd == "/" != cwd:
            why = "its part of the view is off" if present else "it is not on this host"
            self.warnings.append(f"the working directory {cwd} is not in the container: {why}; starting in /")
        elif not taken:
            self.notes.append(f"the working directory {cwd} is not in the image and is bound")
        elif not any(beneath(cwd, target) for op in before for target in self._targets(op)):
            self.notes.append(f"the working directory {cwd} is the image's own")

    def _refuse_hidden_mounts(self, cwd: str) -> None:
        """Refuse a mount below the working directory that the bind of the latter would hide."""
        targets = [mount.target for mount in (*self.config.mounts, *self.request.mounts)]
        for target in (*targets, *(mount.target for mount in self.host.devices.edits.mounts)):
            if target != cwd and beneath(target, cwd):
                raise BareboatError(
                    f"cannot mount on {target}: it lies below the working directory {cwd}, which is "
                    "not in the image and is bound over it",
                    hint="start in another directory (srun --chdir), or mount on a path that is not below it",
                )

    def _targets(self, operation: Operation) -> tuple[str, ...]:
        """Where an operation shows something of the host."""
        if operation.verb is Verb.BIND:
            return (operation.args[1],)
        return tuple(mount.target for mount in self.network) if operation.verb is Verb.BIND_FSTYPES else ()

    def prologs(self) -> None:
        for path in self.request.task_prologs:
            reason = "a prolog of the tasks: it has run on the host, and Slurm runs it again inside"
            self.bind(f"{self.host.libexec}/noop", reason, target=path, flags="ro", origin=Origin.STEP)


def beneath(path: str, top: str) -> bool:
    """Whether ``path`` is ``top`` or lies in it.  Both are absolute and without ``..``."""
    return top in {"/", path} or path.startswith(top.rstrip("/") + "/")
