"""What the suites share: what to measure, where, and the proof that a side is in the container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.results import Setting
from benchmarks.runner import Allocation, Client, Step, allocate, run_step
from benchmarks.schedule import Side
from mpi_abi.rootfs import RootView

DEFAULT_SEED = 20260
_IMAGE_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Target:
    """What is compared, and how often.

    image: host path of a directory image; nodes: how many, None: all of the present allocation, or 2 if the
    cluster has them; rounds are counted after warmup rounds; limit: seconds for one run; minutes: time limit
    of an allocation made here; wait: seconds to wait for it.
    """

    image: str
    client: Client
    nodes: int | None = None
    rounds: int = 15
    warmup: int = 1
    seed: int = DEFAULT_SEED
    limit: float = 120.0
    minutes: int = 60
    wait: float = 600.0


def open_image(image: str) -> RootView:
    """Look at an image.  Raises BenchError when it is no directory."""
    if not os.path.isdir(image):  # noqa: PTH112 (an image is a name in the host's terms, not yet a path)
        why = "is not a directory" if os.path.exists(image) else "does not exist"  # noqa: PTH110
        raise BenchError(f"image {image} {why}", hint="give the directory of an unpacked image")
    return RootView(image)


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


def require_inside(target: Target, allocation: Allocation, view: RootView, nodes: int) -> None:
    """Prove that --container takes effect on each node: without the plugin Slurm silently ignores it.

    Both sides print their mount namespace (namespaces(7)).  Raises BenchError when some node's is the same.
    """
    inside = find_in_image(view, target.image, "readlink")
    bare = find_on_host(target.client, "readlink")
    link = "/proc/self/ns/mnt"
    options = ("--label",)
    container_step = Step(nodes, nodes, target.image, (inside, link), target.limit, options)
    bare_step = Step(nodes, nodes, None, (bare, link), target.limit, options)
    outside = set(run_step(target.client, allocation, bare_step).stdout.splitlines())
    same = outside & set(run_step(target.client, allocation, container_step).stdout.splitlines())
    if same:
        raise BenchError(
            f"the container side ran on the bare host: rank {sorted(same)[0]} is its node's mount namespace",
            hint="bareboat's plugin is not loaded there; see: bareboat slurm status --nodes",
        )


def image_of(side: Side, target: Target) -> str | None:
    """The --container= of a side."""
    return target.image if side is Side.CONTAINER else None


def allocate_for(target: Target, progress: Progress) -> AbstractContextManager[Allocation]:
    """The allocation that a target is measured in; see `benchmarks.runner.allocate`."""
    return allocate(
        target.client, nodes=target.nodes, minutes=target.minutes, wait=target.wait, progress=progress
    )


def choose_nodes(counts: Sequence[int], allocation: Allocation) -> tuple[int, ...]:
    """Those node counts that the allocation has room for."""
    return tuple(count for count in counts if count <= len(allocation.nodes))


def make_setting(target: Target, allocation: Allocation) -> Setting:
    """Write down where and how it is measured."""
    return Setting(
        image=target.image,
        job_id=allocation.job_id,
        nodes=allocation.nodes,
        cpus_per_node=allocation.cpus_per_node,
        rounds=target.rounds,
        warmup=target.warmup,
        seed=target.seed,
    )
