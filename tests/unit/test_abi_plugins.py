"""What programs open by the table of plugins counts as part of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, OPENMPI_SOURCE, compile_c, library_dir, make_library, make_root

from mpi_abi.checking import check_image
from mpi_abi.families import tables
from mpi_abi.image import ImageMpiFacts, MpiSource, probe_image
from mpi_abi.judging import Judge, Judgement
from mpi_abi.reasons import Code
from mpi_abi.rootfs import RootView
from mpi_abi.verdict import VerdictKind

_MPI4PY = "usr/lib/python3/dist-packages/mpi4py/MPI.cpython-311-x86_64-linux-gnu.so"
_PYTHON = "void *dlopen(const char *, int); int main(int c, char **v) { return !dlopen(v[1], 1); }"
_INIT = "int MPI_Init(int *, char ***); int PyInit_MPI(void) { return MPI_Init(0, 0); }"
_MODULE = f"{_INIT} int MPI_More(void); int more(void) {{ return MPI_More(); }}"
_MORE = "int MPI_More(void) { return 0; }"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH, a python3 that names no MPI, and an mpi4py for it."""
    top = make_root(tmp_path / "image")
    library = make_library(library_dir(top) / "libmpi.so.12", MPICH_SOURCE + _MORE)
    make_library(top / _MPI4PY, _MODULE, str(library))
    compile_c(top / "usr/bin/python3.11", _PYTHON)
    (top / "usr/bin/python3").symlink_to("python3.11")
    (top / "usr/bin/python").symlink_to("python3")
    return top


def _facts(root: Path, program: str | None, *prefer: str) -> ImageMpiFacts:
    return probe_image(RootView(str(root)), program=program, environment={}, prefer=prefer)


def _judge(root: Path, prefix: Path, program: str | None) -> Judgement:
    return Judge((str(prefix),)).judge(RootView(str(root)), program)


@pytest.mark.parametrize("program", ["/usr/bin/python3", "/bin/python", "/usr/bin/script", None])
def test_a_module_counts_as_a_user_of_the_mpi(root: Path, tmp_path: Path, program: str | None) -> None:
    (root / "usr/bin/script").write_text("#!/usr/bin/env python3\nimport mpi4py\n")
    facts = _facts(root, program)
    assert (facts.source, facts.family) == (MpiSource.SEARCH, "mpich")
    assert facts.plugins == (f"/{_MPI4PY}",)
    symbols = frozenset({"MPI_Init", "MPI_More"})
    assert [(need.user, need.symbols) for need in facts.needs] == [(f"/{_MPI4PY}", symbols)]
    make_library(tmp_path / "new/lib/libmpi.so.12", MPICH_SOURCE + _MORE)
    judged = _judge(root, tmp_path / "new", program)
    assert judged.verdict.kind is VerdictKind.NATIVE
    assert judged.verdict.reasons[0].code == "symbols"
    assert (
        judged.verdict.reasons[0].text == f"MPICH 9.8.7 has all 2 MPI symbols that are needed by /{_MPI4PY}"
    )
    make_library(tmp_path / "old/lib/libmpi.so.12", MPICH_SOURCE)
    judged = _judge(root, tmp_path / "old", program)
    assert judged.verdict.kind is VerdictKind.IMPOSSIBLE
    assert [(reason.code, reason.evidence) for reason in judged.verdict.reasons] == [
        ("symbol-missing", ("MPI_More",))
    ]
    assert judged.verdict.reasons[0].text.startswith(f"/{_MPI4PY} needs MPI_More, which MPICH 9.8.7 (")


@pytest.mark.parametrize("program", ["/usr/bin/plain", "/usr/bin/script"])
def test_other_programs_do_not_open_it(root: Path, program: str) -> None:
    compile_c(root / "usr/bin/plain", _PYTHON)
    (root / "usr/bin/script").write_text("#!/usr/bin/plain\n")
    facts = _facts(root, program)
    assert (facts.source, facts.plugins, facts.needs) == (MpiSource.SEARCH, (), ())


def test_the_module_says_which_of_several_mpis_is_meant(root: Path) -> None:
    library = make_library(library_dir(root) / "libmpi.so.40", OPENMPI_SOURCE % 64)
    assert _facts(root, "/bin/python3", "openmpi").family == "mpich"
    make_library(root / _MPI4PY, _INIT, str(library))
    facts = _facts(root, "/bin/python3", "mpich")
    assert (facts.family, facts.other_families) == ("openmpi", ("mpich",))
    # One for each: the host's family is taken, and the other is no user.
    other = root / "usr/local/lib/python3.11/site-packages/mpi4py/MPI.mpich.so"
    make_library(other, _MODULE, str(library_dir(root) / "libmpi.so.12"))
    for family, path in (("openmpi", f"/{_MPI4PY}"), ("mpich", f"/{other.relative_to(root)}")):
        facts = _facts(root, "/bin/python3", family)
        assert (facts.family, facts.plugins) == (family, (path,))


def test_an_mpi_that_only_the_module_finds_is_found(root: Path) -> None:
    own = make_library(root / "srv/own/libmpi.so.40", OPENMPI_SOURCE % 64)
    make_library(root / _MPI4PY, _INIT, str(own), "-Wl,-rpath,/srv/own")
    facts = _facts(root, "/bin/python3")
    assert (facts.family, [item.path for item in facts.mpi]) == ("openmpi", ["/srv/own/libmpi.so.40"])


def test_a_program_with_an_mpi_of_its_own_keeps_it(root: Path) -> None:
    library = library_dir(root) / "libmpi.so.12"
    hdf5 = make_library(library_dir(root) / "libhdf5.so.103", "int h(void) { return 1; }")
    make_library(root / "usr/local/hdf5/lib/plugin/libfilter.so", _MODULE, str(library))
    source = "int MPI_Init(int *, char ***); int h(void); int main(void) { return MPI_Init(0, 0) + h(); }"
    compile_c(root / "usr/bin/app", source, str(library), str(hdf5))
    facts = _facts(root, "/bin/app")
    assert facts.source is MpiSource.TREE
    assert facts.plugins == ("/usr/local/hdf5/lib/plugin/libfilter.so",)
    assert [need.user for need in facts.needs] == ["/bin/app", "/usr/local/hdf5/lib/plugin/libfilter.so"]


def test_what_cannot_be_loaded_cannot_be_opened(root: Path) -> None:
    (root / _MPI4PY).write_bytes((root / _MPI4PY).read_bytes()[:100])
    facts = _facts(root, "/bin/python3")
    assert (facts.source, facts.plugins) == (MpiSource.SEARCH, ())


def _two_modules(root: Path) -> tuple[str, str]:
    """PyPI's mpi4py in the place of that for one MPI: a module for each family, both without its MPI."""
    (root / _MPI4PY).unlink()
    stub = make_library(root / "stub/libmpi.so.40", OPENMPI_SOURCE % 64 + _MORE)
    paths = []
    for name, library in (("mpich", library_dir(root) / "libmpi.so.12"), ("openmpi", stub)):
        path = make_library(root / _MPI4PY.replace("MPI.", f"MPI.{name}."), _MODULE, str(library))
        paths.append(f"/{path.relative_to(root)}")
    stub.unlink()
    return paths[0], paths[1]


@pytest.mark.parametrize("program", ["/usr/bin/python3", "/usr/bin/script"])
def test_a_program_with_a_module_for_each_family_runs_on_any(
    root: Path, tmp_path: Path, program: str
) -> None:
    (root / "usr/bin/script").write_text("#!/usr/bin/env python3\nimport mpi4py\n")
    _, module = _two_modules(root)
    library = make_library(tmp_path / "host/lib/libhostmpi.so.40", OPENMPI_SOURCE % 64)
    judged = Judge((str(tmp_path / "host"),), search=False).judge(RootView(str(root)), program)
    assert judged.verdict.kind is VerdictKind.IMPOSSIBLE
    assert judged.verdict.reasons[0].text.startswith(f"{module} needs MPI_More, which Open MPI 9.8.7 (")
    make_library(library, OPENMPI_SOURCE % 64 + _MORE)
    judged = Judge((str(tmp_path / "host"),), search=False).judge(RootView(str(root)), program)
    assert judged.verdict.kind is VerdictKind.NATIVE
    assert (judged.image.family, judged.image.adapted, judged.image.plugins) == ("openmpi", True, (module,))
    reasons = {reason.code: reason.text for reason in judged.verdict.reasons}
    assert reasons[Code.ADAPTS] == (
        f"{program} takes the module that was built for the MPI that it finds: of the image's MPICH 9.8.7, "
        "it needs nothing"
    )
    assert judged.swap is not None
    covers = {cover.target: cover.source for cover in judged.swap.covers}
    assert covers[f"{library_dir(Path('/'))}/libmpi.so.12"] == str(library)
    assert covers["/run/bareboat/mpi/lib/libmpi.so.40"] == str(library)


def test_what_does_not_adapt_keeps_the_family(root: Path, tmp_path: Path) -> None:
    """Another module that was built for the image's MPI, and an image as such, which may hold programs."""
    make_library(tmp_path / "host/lib/libmpi.so.40", OPENMPI_SOURCE % 64 + _MORE)
    judge = Judge((str(tmp_path / "host"),), search=False)

    def kind(program: str | None) -> VerdictKind:
        return judge.judge(RootView(str(root)), program).verdict.kind

    assert kind("/bin/python3") is VerdictKind.TRANSLATED
    _two_modules(root)
    assert kind("/bin/python3") is VerdictKind.NATIVE
    assert kind(None) is VerdictKind.TRANSLATED
    h5py = root / "usr/lib/python3/dist-packages/h5py/h5p.cpython-311-x86_64-linux-gnu.so"
    make_library(h5py, _INIT, str(library_dir(root) / "libmpi.so.12"))
    assert kind("/bin/python3") is VerdictKind.TRANSLATED


def test_the_images_own_family_comes_first(root: Path, tmp_path: Path) -> None:
    module, _ = _two_modules(root)
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE + _MORE)
    make_library(tmp_path / "host/lib/libmpi.so.40", OPENMPI_SOURCE % 64 + _MORE)
    judged = Judge((str(tmp_path / "host"),), search=False).judge(RootView(str(root)), "/bin/python3")
    assert (judged.verdict.kind, judged.image.family) == (VerdictKind.NATIVE, "mpich")
    assert (judged.image.plugins, judged.image.adapted) == ((module,), False)


def test_of_the_modules_of_an_image_that_of_the_hosts_family_is_judged(root: Path, tmp_path: Path) -> None:
    module, other = _two_modules(root)
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    judge = Judge((str(tmp_path / "host"),), search=False)
    found = check_image(RootView(str(root)), judge).programs
    assert found is not None
    assert [(each.path, each.verdict.kind if each.verdict else None) for each in found.judged] == [
        (module, VerdictKind.IMPOSSIBLE)
    ]
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE + _MORE)
    judge = Judge((str(tmp_path / "host"),), search=False)
    assert judge.judge(RootView(str(root)), module).verdict.kind is VerdictKind.NATIVE
    assert judge.judge(RootView(str(root)), other).verdict.kind is VerdictKind.TRANSLATED


def test_the_table_names_places_in_the_image() -> None:
    rows = tables().plugins
    assert all(row.openers and row.files for row in rows)
    files = [path for row in rows for path in row.files]
    assert all(path.startswith("/") and "{" not in path for path in files)
    assert "/usr/lib/python3*/dist-packages/mpi4py/MPI*.so" in files
