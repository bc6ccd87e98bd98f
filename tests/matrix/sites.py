"""The sites of the matrix: each has one MPI and no other."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from cells import HOSTS, Host
from running import Site

from mpi_abi import probe_host
from slurm.testbed.wheels import get_wheel


def make_sites(folder: Path) -> dict[str, Site]:
    """The sites by the names of their hosts; their configurations lie in ``folder``."""
    return {host.name: _make_site(host, folder) for host in HOSTS}


def _make_site(host: Host, folder: Path) -> Site:
    if host.wheel:
        prefix = get_wheel(host.wheel)
    else:
        prefix = folder / host.name
        (prefix / "lib").mkdir(parents=True)
        for path in map(Path, glob(host.files)):  # noqa: PTH207 - the pattern is absolute
            (prefix / "lib" / path.name).symlink_to(path)
    config = folder / f"{host.name}.toml"
    config.write_text(f'[mpi]\nprefixes = ["{prefix}"]\nsearch = false\n')
    found = probe_host(prefixes=(str(prefix),), search=False)
    return Site(host.name, config, found[0].version)
