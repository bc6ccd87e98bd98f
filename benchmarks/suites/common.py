"""What the suites share: what to measure, where, and the proof that a side is in the container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from benchmarks.engines import Kind
from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.results import Setting
from benchmarks.runner import Allocation, Client, Step, allocate, run_step
from mpi_abi.errors import AbiError
from mpi_abi.rootfs import Opener, RootView, open_directory

DEFAULT_SEED = 20260
MOUNT_NAMESPACE = "/proc/self/ns/mnt"
_IMAGE_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Target:
    """Where it is measured, and how often.

    nodes: how many, None: all of the present allocation, or 2 if the
    cluster has them; rounds are counted after warmup rounds; limit: seconds for one run; minutes: time limit
    of an allocation made here; wait: seconds to wait for it; opener: how an image is opened to look at it.
    """

    client: Client
    nodes: int | None = None
    rounds: int = 15
    warmup: int = 1
    seed: int = DEFAULT_SEED
    limit: float = 120.0
    minutes: int = 60
    wait: float = 600.0
    opener: Opener = open_directory


@contextmanager
def open_image(opener: Opener, image: str) -> Iterator[RootView]:
    """Look at an image; the context is to be short: a server may run as long.

    Raises BenchError when it cannot be opened.
    """
    with ExitStack() as opened:
        try:
            view = opened.enter_context(opener(image))
        except AbiError as error:
            raise BenchError(str(error), hint=error.hint) from error
        yield view


def kind_of(image: str) -> Kind:
    """Say what an image is.  Raises BenchError when it does not exist."""
    # An image is a name in the host's terms, not yet a path.
    if not os.path.exists(image):  # noqa: PTH110
        raise BenchError(f"image {image} does not exist", hint="give the path of an image")
    return Kind.DIRECTORY if os.path.isdir(image) else Kind.FILE  # noqa: PTH112


def find_in_image(view: RootView, image: str, name: str) -> str:
    """Find a program in the image, by its path or by its name in the usual directories; a path inside.

    Raises BenchError when it is not there.
    """
    for path in (name,) if "/" in name else [f"{folder}/{name}" for folder in _IMAGE_PATH]:
        if view.is_file(path):
            return path
    raise BenchError(
        f"{name} is not in image {image}", hint="name a program that the image has, by its path inside"
    )


def find_on_host(client: Client, name: str) -> str:
    """Find a program on this host, by its path or by its name in PATH.

    Raises BenchError when it is not there.
    """
    found = shutil.which(name, path=client.environment.get("PATH"))
    if found is None:
        raise BenchError(
            f"{name} is not on this host, or not executable", hint="the bare side needs it on every node"
        )
    return os.path.abspath(found)  # noqa: PTH100 (Path.resolve would follow links, and /bin/true be busybox)


def read_namespaces(client: Client, allocation: Allocation, step: Step) -> dict[str, str]:
    """Run readlink of MOUNT_NAMESPACE on one rank a node; the namespaces by rank."""
    if allocation.launcher is not None:
        return {"0": run_step(client, allocation, step).stdout.strip()}
    shown = run_step(client, allocation, replace(step, options=(*step.options, "--label"))).stdout
    found = dict(line.split(": ", 1) for line in shown.splitlines() if ": " in line)
    if len(found) != step.nodes:
        raise BenchError(f"{len(found)} of {step.nodes} nodes said which mount namespace they ran in")
    return found


def require_inside(target: Target, allocation: Allocation, image: str, nodes: int) -> None:
    """Prove that --container takes effect on each node: without the plugin Slurm silently ignores it.

    Both sides print their mount namespace (namespaces(7)).  Raises BenchError when some node's is the same.
    """
    with open_image(target.opener, image) as view:
        inside = find_in_image(view, image, "readlink")
    bare = find_on_host(target.client, "readlink")
    step = Step(nodes, nodes, None, (bare, MOUNT_NAMESPACE), target.limit)
    outside = read_namespaces(target.client, allocation, step)
    step = replace(step, image=image, argv=(inside, MOUNT_NAMESPACE))
    require_apart(outside, read_namespaces(target.client, allocation, step))


def require_apart(outside: Mapping[str, str], inside: Mapping[str, str]) -> None:
    """Compare mount namespaces by rank.  Pure.  Raises BenchError when a rank is not inside."""
    for rank in sorted(inside):
        if inside[rank] == outside.get(rank):
            raise BenchError(
                f"the container side ran on the bare host: rank {rank} is its node's mount namespace",
                hint="bareboat's plugin is not loaded there; see: bareboat slurm status --nodes",
            )


def allocate_for(target: Target, progress: Progress) -> AbstractContextManager[Allocation]:
    """The allocation that a target is measured in; see `benchmarks.runner.allocate`."""
    return allocate(
        target.client, nodes=target.nodes, minutes=target.minutes, wait=target.wait, progress=progress
    )


def choose_nodes(counts: Sequence[int], allocation: Allocation) -> tuple[int, ...]:
    """Those node counts that the allocation has room for."""
    return tuple(count for count in counts if count <= len(allocation.nodes))


def make_setting(target: Target, image: str, allocation: Allocation) -> Setting:
    """Write down where and how it is measured."""
    return Setting(
        image=image,
        job_id=allocation.job_id,
        nodes=allocation.nodes,
        cpus_per_node=allocation.cpus_per_node,
        rounds=target.rounds,
        warmup=target.warmup,
        seed=target.seed,
    )
