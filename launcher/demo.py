"""``bareboat demo``: a real Slurm of two nodes on this machine, and one MPI program bare and in an image.

Like a cli.py, this module prints and exits: it is a command from end to end, and nothing else calls it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from launcher.errors import BareboatError

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.engine import Ending
    from benchmarks.probe_output import Hello
    from benchmarks.results import Results
    from slurm.testbed import Testbed

IMAGE = "deb13-mpich"
MPI = "mpich"
IN_IMAGE = "/opt/bareboat-tests/bin"
PREFIX_PARENT = "/var/lib"
"""Where the installed prefix lies: not in /tmp, which each node has for itself."""
NODES = 2
RANKS = 4
SUITES = ("launch", "osu", "npb", "io")
ONLY = (
    *("true", "MPI start and end", "osu_latency", "osu_bw", "osu_allreduce", "is.S"),
    "writes of 512 B, shared directory",
)
"""What is measured of the suites: enough to see each, at about 10 s a round on two cores."""
ROUNDS = 15
SECONDS = 150.0
LIMIT = 30.0
WIDTH = 130
"""Columns where there is no terminal."""
FAILED = 125


@dataclass(frozen=True, slots=True)
class Stage:
    """The image, the host's programs, the Slurm and its user; and where the report goes."""

    image: Path
    programs: Path
    testbed: Testbed
    user: pwd.struct_passwd
    report: Path


class Steps:
    """A line for each thing that takes time; on a terminal with a spinner while it does."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, text: str) -> Iterator[Callable[[str], None]]:
        """Time a step; the block gets a function that says what is being done just now."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(text) as status:
                yield lambda detail: status.update(f"{text}: {detail}")
        else:
            yield lambda detail: self._console.print(f"  {detail} ...", highlight=False)
        seconds = f"{time.monotonic() - started:.1f} s"
        self._console.print(f"  {text:<64}{seconds:>8}", highlight=False)


@click.command("demo")
def demo() -> None:
    """Two Slurm nodes, an image and a measurement, on this machine.

    Starts a real Slurm of two nodes here, makes an image of Debian 13 with MPICH, runs the same MPI program
    bare and in the image as an unprivileged user, measures both with `bench run`, and takes everything down.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    raise SystemExit(run(console))


def run(console: Console) -> int:
    """Show it all on ``console``, take everything down, and return the exit code."""
    from benchmarks.errors import BenchError
    from benchmarks.runner import Stopped, stop_on_signals
    from mpi_abi.errors import AbiError
    from slurm.errors import SlurmError
    from slurm.testbed import leftovers

    leftovers.adopt_orphans()
    before = leftovers.take()
    steps = Steps(console)
    made = ExitStack()
    code = 0
    with stop_on_signals() as stop:
        _not_in_children()
        try:
            try:
                code = _show(_prepare(made, steps), console)
            finally:
                _undisturbed()
                with steps("everything taken down"):
                    made.close()
        except (BareboatError, AbiError, BenchError, SlurmError) as error:
            _complain(console, str(error), error.hint)
            code = FAILED
        except Stopped as stopped:
            _complain(console, str(stopped))
        things = leftovers.left_behind(before)
        if things:
            _complain(console, "the demo has left behind:\n  " + "\n  ".join(things))
            code = FAILED
        else:
            console.print(
                "\nNothing is left running or mounted; image and report stay in the cache.", highlight=False
            )
    return 128 + stop.number if stop.number else code


def _complain(console: Console, text: str, hint: str = "") -> None:
    console.print(f"\nbareboat: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    if hint:
        console.print(f"  hint: {hint}", markup=False, highlight=False, soft_wrap=True)


def _not_in_children() -> None:
    """Let a forked child that has not become another program (pyroute2 makes some) end by a signal.

    With our handlers it would go on in our stead and take down what its parent is using.
    """
    parent = os.getpid()

    def guard(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def guarded(number: int, frame: FrameType | None) -> None:
            if os.getpid() != parent:
                os._exit(128 + number)
            handler(number, frame)

        return guarded

    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        assert callable(handler)
        signal.signal(number, guard(handler))


def _undisturbed() -> None:
    """From here on signals are passed over: taking down is not cut short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)


def _prepare(made: ExitStack, steps: Steps) -> Stage:
    """Make everything; what is to be taken down is on ``made`` before it is made."""
    from slurm.install import install
    from slurm.testbed import Testbed, images, leftovers
    from slurm.testbed.account import temporary_user
    from slurm.testbed.cached import cache_directory

    if os.geteuid() != 0:
        raise BareboatError("the demo starts daemons and makes a user: only root can", hint="run it as root")
    with steps(f"image {IMAGE}: Debian 13 with MPICH and an MPI program") as tell:
        image = images.get_image(IMAGE, progress=tell)
    with steps("the same program compiled for this host") as tell:
        programs = images.host_programs(MPI, progress=tell)
    directory = Path(tempfile.mkdtemp(prefix=f"bareboat-demo-{os.getpid()}-", dir=PREFIX_PARENT))
    made.callback(shutil.rmtree, directory)
    # Before that, when all else is down: a stopped installation may have children that still write there.
    made.callback(leftovers.end_descendants)
    directory.chmod(0o755)
    with steps("an unprivileged user"):
        user = made.enter_context(temporary_user("bareboat-demo"))
    with steps(f"a Slurm of {NODES} nodes") as tell:
        testbed = Testbed(nodes=NODES, progress=tell)
        made.callback(testbed.down)
        testbed.up()
    with steps("bareboat installed, and its plugin in that Slurm") as tell:
        install(directory / "bareboat", environment=testbed.environment, progress=tell)
    return Stage(
        image=image, programs=programs, testbed=testbed, user=user, report=cache_directory() / "demo"
    )


def _show(stage: Stage, console: Console) -> int:
    """Run the program in the three ways, then measure.  Returns the exit code."""
    from benchmarks.folder import PAGE
    from benchmarks.table import render_run

    program = f"{IN_IMAGE}/mpi_hello"
    container = f"--container={stage.image}"
    console.print(f"\nAs user {stage.user.pw_name}:", highlight=False)
    bare = _say_hello(stage, console, (str(stage.programs / "mpi_hello"),))
    swapped = _say_hello(stage, console, (container, program))
    own = _say_hello(stage, console, (container, program), mode="image")
    if swapped != bare or own == bare:
        raise BareboatError(
            f"the container should have used this host's {bare}, but used {swapped}; by BAREBOAT_MPI=image, "
            f"it used {own}",
            hint=f"see what a launch would do: bareboat plan {stage.image} -- {program}",
        )
    console.print(
        f"In the container, the program used this host's {bare}; the image's own is {own}.\n", highlight=False
    )
    results, ending = _measure(stage, console)
    for part in render_run(results):
        console.print(part, highlight=False)
    console.print(f"\nThe same with plots: {stage.report / PAGE}", highlight=False, soft_wrap=True)
    return FAILED if results.failures or ending.failed or not results.rows else 0


def _say_hello(stage: Stage, console: Console, arguments: Sequence[str], *, mode: str = "") -> str:
    """Run mpi_hello on both nodes, show what each rank says, and return the library that all of them used."""
    from benchmarks.probe_output import parse_hello

    command = ("srun", f"-N{NODES}", f"-n{RANKS}", *arguments)
    environment = {"BAREBOAT_MPI": mode} if mode else {}
    shown = " ".join((*(f"{name}={value}" for name, value in environment.items()), *command))
    console.print(f"  $ {shown}", style="bold", highlight=False, soft_wrap=True)
    done = stage.testbed.run(command, user=stage.user.pw_name, environment=environment)
    if done.returncode != 0:
        raise BareboatError(f"`{shown}` ended with exit code {done.returncode}:\n{done.stderr.strip()}")
    ranks = parse_hello(done.stdout)
    for rank in ranks:
        console.print(f"    rank {rank.rank} of {rank.size} on {rank.host}: {rank.library}", highlight=False)
    return _check(ranks, shown)


def _check(ranks: tuple[Hello, ...], command: str) -> str:
    hosts = {rank.host for rank in ranks}
    libraries = {rank.library for rank in ranks}
    if len(ranks) != RANKS or len(hosts) != NODES or len(libraries) != 1:
        raise BareboatError(
            f"`{command}` should have run {RANKS} ranks with one library on {NODES} nodes, "
            f"but ran {len(ranks)} on {', '.join(sorted(hosts))} with {', '.join(sorted(libraries))}"
        )
    return libraries.pop()


def _measure(stage: Stage, console: Console) -> tuple[Results, Ending]:
    """Some programs of each suite, for `SECONDS`; the page about them goes into the cache."""
    from benchmarks.cases import Asked, Level
    from benchmarks.folder import PAGE, RESULTS, TABLE, Folder
    from benchmarks.progress import make_progress
    from benchmarks.runner import Client
    from benchmarks.running import RunOptions, run_bench
    from benchmarks.suites.common import Target

    user = stage.user
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell,
        "LANG": "C.UTF-8",
    }
    client = Client(environment | stage.testbed.environment, directory=user.pw_dir, user=user.pw_name)
    folder = Folder.make(Path(user.pw_dir) / "bench")
    os.chown(folder.path, user.pw_uid, user.pw_gid)
    options = RunOptions(
        Target(client=client, nodes=NODES, rounds=ROUNDS, limit=LIMIT),
        str(stage.image),
        SUITES,
        Asked(Level.QUICK, ranks=(2,), only=ONLY),
        seconds=SECONDS,
        command=("bareboat", "demo"),
    )
    with make_progress(console) as progress:
        results, ending = run_bench(options, folder, progress)
    stage.report.mkdir(exist_ok=True)
    for name in (PAGE, RESULTS, TABLE):
        if (folder.path / name).exists():
            shutil.copyfile(folder.path / name, stage.report / name)
    return results, ending
