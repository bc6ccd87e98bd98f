"""A testbed as a whole: up, down, and what one does with it meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType

from slurm.errors import SlurmError
from slurm.testbed import config, daemons, network, processes, teardown
from slurm.testbed import state as records
from slurm.testbed.config import Mpi, Settings
from slurm.testbed.reserve import reserve
from slurm.testbed.state import BASE, Phase, State

IDLE_LIMIT = 30.0
"""Seconds until nodes that are not idle are an error."""


class Testbed:
    """A throwaway Slurm; as a context manager it is up inside and gone outside.

    Args:
        nodes: how many, named n1, n2, ...
        name: of the testbed; the first free one of tb1, tb2, ... if not given.
        mpi: what ``srun`` uses without ``--mpi``.
        cpus: processors that each node pretends to have.
        job_container: run jobs under job_container/tmpfs, with PrologFlags=Contain.
        plugin: prefix of an installed bareboat, whose plugin is loaded as ``required``.
        stores: directories whose squashfs images the kernel mounts.
        extra: further lines of slurm.conf, which replace the testbed's own of the same name.
        progress: told in a few words what is being done.
    """

    __test__ = False

    def __init__(
        self,
        *,
        nodes: int = 2,
        name: str | None = None,
        mpi: Mpi | str = Mpi.PMI2,
        cpus: int = 16,
        job_container: bool = False,
        plugin: Path | None = None,
        stores: Sequence[Path] = (),
        extra: Mapping[str, str] = MappingProxyType({}),
        progress: Callable[[str], None] | None = None,
        base: Path = BASE,
    ) -> None:
        self._nodes = config.node_names(nodes)
        self._wanted_name = name if name is None else records.check_name(name)
        self._mpi = Mpi(mpi)
        self._cpus = cpus
        self._job_container = job_container
        self._plugin = plugin
        self._stores = tuple(stores)
        self._extra = extra
        self._progress = progress or (lambda _text: None)
        self._base = base
        self._state: State | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Testbed:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # -- what it is

    @property
    def state(self) -> State:
        """The record of the running testbed.

        Raises:
            SlurmError: if it is not up.
        """
        if self._state is None:
            raise SlurmError("this testbed is not up")
        return self._state

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.name

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of its nodes."""
        return self._nodes

    @property
    def directory(self) -> Path:
        """Its state directory."""
        return records.directory_of(self.state.name, self._base)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which Slurm's commands find it."""
        return environment_of(self.state, self._base)

    # -- up and down

    def up(self) -> None:
        """Start it; returns when every node is idle.

        Raises:
            SlurmError: if something does not start, with the ends of the logs; all is taken down again.
        """
        daemons.require()
        self._state = reserve(self._wanted_name, self._nodes, self._mpi, self._plugin, self._base)
        try:
            self._start()
        except BaseException as error:
            logs = _log_tails(self.directory)
            self.down()
            if isinstance(error, SlurmError | OSError):
                hint = getattr(error, "hint", "")
                raise SlurmError(
                    f"the testbed does not start: {error}\n{logs}".rstrip(), hint=hint
                ) from error
            raise

    def _start(self) -> None:
        settings = self._settings()
        write_files(settings)
        self._progress("starting munge")
        self._adopt("munged", daemons.start_munged(self.directory))
        network.make_bridge(self.state, records.identity_of(self.directory))
        booting = {}
        self._progress(f"wiring {len(self._nodes)} nodes")
        for node in self._nodes:
            booting[node] = self._adopt(f"slurmd {node}", daemons.start_node(self.directory, node))
        self._progress("starting slurmctld")
        address = (self.state.address, self.state.port)
        self._adopt("slurmctld", daemons.start_slurmctld(self.directory, address, settings.slurm_user))
        for node, process in booting.items():
            daemons.wait_pinned(node, process)
            network.connect_node(self.state, node, self.directory / "nodes" / node / "net")
            daemons.release_node(node, process)
        self._progress("waiting for the nodes")
        self._wait_idle()
        self._record(phase=Phase.UP)

    def _settings(self) -> Settings:
        state = self.state
        try:
            daemons.find_user("slurm")
            slurm_user = "slurm"
        except SlurmError:
            slurm_user = "root"
        return Settings(
            name=state.name,
            directory=self.directory,
            controller=config.Node(socket.gethostname().split(".")[0], state.address),
            port=state.port,
            nodes=tuple(config.Node(node, state.node_address(node)) for node in state.nodes),
            cpus=self._cpus,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            slurm_user=slurm_user,
            mpi=self._mpi,
            job_container=self._job_container,
            plugin=self._plugin,
            stores=self._stores,
            extra=self._extra,
        )

    def _adopt(self, role: str, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        self._children.append(process)
        self._record(add=(processes.identify(role, process.pid),))
        return process

    def _record(self, *, phase: Phase | None = None, add: tuple[records.ProcessId, ...] = ()) -> None:
        state = self.state
        self._state = replace(state, phase=phase or state.phase, processes=(*state.processes, *add))
        records.save(self._state, self._base)

    def _wait_idle(self) -> None:
        deadline = time.monotonic() + IDLE_LIMIT
        while True:
            states = node_states(self.environment)
            late = [
                f"{node} is {states.get(node, 'unknown')}"
                for node in self._nodes
                if states.get(node) != "idle"
            ]
            if not late:
                return
            for process, role in zip(self._children, self.state.processes, strict=True):
                if process.poll() is not None:
                    raise SlurmError(f"{role.role} ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise SlurmError(f"after {IDLE_LIMIT:.0f} seconds not every node is idle: {', '.join(late)}")
            time.sleep(0.05)

    def down(self) -> None:
        """Take it down and leave nothing; does nothing if it is down already."""
        if self._state is None:
            return
        teardown.down(self._state.name, self._base)
        for process in self._children:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            process.wait()
        self._children.clear()
        self._state = None

    # -- meanwhile

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        cwd: str | None = None,
        input: str | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host as somebody who has ``eval``-ed ``bareboat testbed env``.

        Args:
            argv: the command; it is not checked for its exit code.
            user: who runs it, with this user's groups, home and a clean environment; root if None.
            environment: further variables.
            cwd: where; the user's home if None.
            input: for its standard input.
            timeout: in seconds; subprocess.TimeoutExpired after that.
        """
        account = daemons.find_user(user or "root")
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": account.pw_dir,
            "USER": account.pw_name,
            "LOGNAME": account.pw_name,
            "SHELL": account.pw_shell,
            "LANG": "C.UTF-8",
        }
        return subprocess.run(
            argv,
            env=variables | self.environment | dict(environment),
            cwd=cwd or account.pw_dir,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=os.getgrouplist(account.pw_name, account.pw_gid),
        )

    def set_plugin(self, prefix: Path | None) -> None:
        """Load bareboat's plugin from an installed prefix from the next step on, or none.

        No daemon needs to know: srun and each slurmstepd read plugstack.conf anew (spank(8)).
        """
        place = self.directory / "plugstack.conf.d/bareboat.conf"
        place.unlink(missing_ok=True)
        if prefix is not None:
            place.write_text(config.plugin_line(prefix, self._stores))
            place.chmod(0o644)

    def enter(
        self, node: str, argv: Sequence[str], *, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside a node, outside Slurm."""
        pid = str(self.process(f"slurmd {node}").pid)
        namespaces = ("--mount", "--uts", "--ipc", "--net")
        inside = (daemons.find_program("nsenter"), "--target", pid, *namespaces, "--")
        return self.run([*inside, *argv], cwd="/", timeout=timeout)

    @contextmanager
    def without_slurmd(self, node: str, *, lost: bool = False) -> Iterator[None]:
        """SIGKILL the slurmd of a node, and start it again in the end; then the node is idle.

        With ``lost``, everything that runs on the node is killed, as when a machine loses its power.
        """
        slurmd = self.process(f"slurmd {node}")
        with ExitStack() as stack:
            # The node's namespaces would be gone with its last process.
            held = {
                name: stack.enter_context(Path(f"/proc/{slurmd.pid}/ns/{kind}").open("rb")).fileno()
                for name, kind in (("mount", "mnt"), ("uts", "uts"), ("ipc", "ipc"), ("net", "net"))
            }
            network_of_node = processes.network_of(str(self.directory / "nodes" / node / "net"))
            processes.kill(slurmd)
            if lost and network_of_node is not None:
                nowhere = Path("/nonexistent")
                processes.kill_all(processes.Marks(nowhere, frozenset(), frozenset({network_of_node})))
            child = next(child for child in self._children if child.pid == slurmd.pid)
            child.wait()
            self._children.remove(child)
            self._state = replace(
                self.state, processes=tuple(one for one in self.state.processes if one != slurmd)
            )
            try:
                yield
            finally:
                self._adopt(f"slurmd {node}", daemons.spawn_slurmd(self.directory, node, held))
                self._wait_idle()

    def process(self, role: str) -> records.ProcessId:
        """The process of a role: ``munged``, ``slurmctld`` or ``slurmd NODE``.

        Raises:
            SlurmError: if there is no such role.
        """
        for process in self.state.processes:
            if process.role == role:
                return process
        raise SlurmError(f"the testbed {self.name} has no {role}")

    def counters(self, node: str) -> network.LinkCounters:
        """What a node has sent and received over its cable so far."""
        return network.counters(self.state, node)


def environment_of(state: State, base: Path = BASE) -> dict[str, str]:
    """The variables by which Slurm's commands find a testbed."""
    return {"SLURM_CONF": str(records.directory_of(state.name, base) / "slurm.conf")}


def write_files(settings: Settings) -> None:
    """Write the configuration and the empty directories of a testbed."""
    directory = settings.directory
    for name in ("log", "spool", "nodes", "plugstack.conf.d"):
        (directory / name).mkdir()
        (directory / name).chmod(0o755)
    texts = {
        "slurm.conf": config.slurm_conf(settings),
        "plugstack.conf": config.plugstack_conf(settings),
        "hosts": config.hosts(settings),
    }
    if settings.plugin is not None:
        texts["plugstack.conf.d/bareboat.conf"] = config.plugin_line(settings.plugin, settings.stores)
    if settings.job_container:
        texts["job_container.conf"] = config.job_container_conf(settings)
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)


def node_states(environment: Mapping[str, str]) -> dict[str, str]:
    """The state of each node as sinfo(1) prints it (``idle``, ``down*``); empty if it cannot be asked."""
    answer = subprocess.run(
        [daemons.find_program("sinfo"), "--noheader", "--Node", "--format=%N %T"],
        env={"PATH": daemons.PATH, **environment},
        capture_output=True,
        text=True,
        timeout=IDLE_LIMIT,
        check=False,
    )
    return dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if " " in line)


def _log_tails(directory: Path, lines: int = 8) -> str:
    parts = []
    for log in sorted((directory / "log").glob("*")):
        text = log.read_text(errors="replace").splitlines()[-lines:]
        if text:
            parts.append(f"--- the end of {log.name}:\n" + "\n".join(text))
    return "\n".join(parts)
