"""What a host's MPI opens: all of it is in its closure, and in a container nothing is the image's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from steps import HELLO, Srun, good
from tracing import traced

from mpi_abi import Closure, choose_host, find_closure, probe_host
from mpi_abi.elfcache import ElfCache
from mpi_abi.host import host_loader
from mpi_abi.libc import probe_host_libc
from slurm.testbed import Testbed, images

# Shown to the container as they are on the host, by the view, or the kernel's.
SHOWN = ("/proc/*", "/sys/*", "/dev/*", "/tmp/*", "/var/tmp/*", "/run/*", "/var/lib/bareboat-testbed/*")
HWLOC = "/usr/lib/x86_64-linux-gnu/hwloc"
HARMLESS = {
    "/": "hwloc reads sysfs below it",
    "/dev": "Open MPI looks for devices in it, which the view shows",
    "/etc/ld.so.cache": "the image's own; what its loader finds there, the swap goes before",
    "/etc/nsswitch.conf": "the image's own: how the container looks up names",
    "/etc/passwd": "generated: the image's, with the user",
    "/etc/hosts": "the view shows it",
    "/etc/resolv.conf": "the view shows it",
    "/etc/host.conf": "the image's own: how the container looks up names",
    "/etc/gai.conf": "the image's own: how the container looks up names",
    "/etc/localtime": "the view shows it, or TZ says it",
    "/usr/share/locale*": "translations: the image's own",
    "/usr/lib/locale*": "locales: the image's own",
    HWLOC: "plugins that see displays and OpenCL devices stay behind (fabric.toml)",
    f"{HWLOC}/*": "the same",
}
BARE = [("mpich", "pmi2"), ("openmpi", "pmix")]


def opened(log: str) -> Iterator[str]:
    """Absolute paths that a traced process has opened, files and directories."""
    for path in re.findall(r'\bopen(?:at\(AT_FDCWD, |\()"(/[^"]*)", [^)]*\) = \d', log):
        yield path.rstrip("/") or "/"


def left_behind() -> set[Path]:
    """The libraries of hwloc's plugins that stay behind."""
    loader = host_loader(ElfCache())
    plugins = Path(HWLOC).glob("*.so")
    return {Path(item.real) for plugin in plugins for item in loader.load(str(plugin)).objects}


def unexplained(closure: Closure, paths: set[str]) -> set[str]:
    """Of what was opened on the host, what a container would lack."""
    files = {Path(item.path) for item in closure.files} | left_behind()
    files |= {Path(path) for copies in probe_host_libc().files.values() for path in copies}
    sources = [Path(source) for folder in closure.directories for source, _ in folder.sources]
    return {
        path
        for path in paths
        if not any(fnmatch(path, pattern) for pattern in (*SHOWN, *HARMLESS))
        and (real := Path(path).resolve()) not in files
        and not any(real.is_relative_to(source) for source in sources)
    }


@pytest.mark.parametrize(("family", "pmi"), BARE)
def test_all_that_a_bare_run_opens_is_in_the_closure(
    srun: Srun, shared_path: Path, family: str, pmi: str
) -> None:
    shared_path.chmod(0o777)
    program = images.host_programs(family) / "mpi_latency"
    trace = ("strace", "-ff", "-qq", "-e", "trace=open,openat", "-o", shared_path / "log")
    command = (program, "latency", "-m", "8:8", "-i", "5")
    good(srun(f"--mpi={pmi}", "-N2", "-n2", *trace, *command))
    paths = {path for log in shared_path.iterdir() for path in opened(log.read_text())}
    host = choose_host(probe_host(), family)
    assert host is not None
    assert host.c_library.path in paths or host.c_library.real in paths
    paths -= {str(program)}
    left = unexplained(find_closure(host), paths)
    assert not left, left


# Where an image's own MPI and fabric libraries have what they open.
PLUGINS = (
    "(?:/usr)?/lib/x86_64-linux-gnu/(?:ucx|openmpi|pmix2|libfabric|libibverbs)/|/etc/openmpi|"
    "/usr/share/(?:pmix|openmpi)"
)


@pytest.mark.parametrize(
    ("name", "pmi"),
    [
        ("deb11-mpich", "pmi2"),
        ("deb11-openmpi", "pmix"),
        ("deb13-mpich", "pmi2"),
        ("deb13-openmpi", "pmix"),
    ],
)
def test_the_hosts_mpi_opens_nothing_of_the_images(
    cluster: Testbed, srun: Srun, image: Callable[[str], Path], shared_path: Path, *, name: str, pmi: str
) -> None:
    step = (f"--mpi={pmi}", "-N1", "-w", "n1", "-n2", f"--container={image(name)}", HELLO)
    found = {}
    for mpi in ("host", "image"):
        log = shared_path / mpi
        with traced(cluster.process("slurmd n1").pid, log, "-e", "trace=open,openat,execve"):
            good(srun(*step, BAREBOAT_MPI=mpi))
        ranks = re.findall(rf'^(\d+) +execve\("{HELLO}"', log.read_text(), re.MULTILINE)
        assert len(ranks) == 2
        text = "\n".join(part for rank in ranks for part in _after_exec(log.read_text(), rank))
        found[mpi] = {path for path in opened(text) if re.match(PLUGINS, path)}
    assert found["host"] == set()
    # The image's own does, but for Debian 11's MPICH, which opens nothing: the test would see it.
    assert bool(found["image"]) is (name != "deb11-mpich")


def _after_exec(log: str, pid: str) -> Iterator[str]:
    """The lines of a process since it became the program."""
    started = False
    for line in log.splitlines():
        if line.partition(" ")[0] == pid:
            started = started or f'execve("{HELLO}"' in line
            if started:
                yield line
