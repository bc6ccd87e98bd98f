"""Small real ELF files and image trees for the tests of the ABI layer, made with the machine's compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LIBC_FILES = ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2")
HOST_LIBS = Path("/usr/lib/x86_64-linux-gnu")

# Just enough of an MPI to be told by its symbols.
MPICH_SOURCE = """
int MPI_UNWEIGHTED = 1;
const char MPII_Version_string[] = "9.8.7";
int PMPI_Init(int *c, char ***v) { return 0; }
int MPI_Init(int *c, char ***v) { return 0; }
int MPI_Finalize(void) { return 0; }
"""
OPENMPI_SOURCE = """
long ompi_mpi_comm_world[%d] = { 1 };
const char ompi_version_string[] = "9.8.7";
int PMPI_Init(int *c, char ***v) { return 0; }
int MPI_Init(int *c, char ***v) { return 0; }
int MPI_Finalize(void) { return 0; }
"""
PROGRAM_SOURCE = """
int MPI_Init(int *, char ***);
int MPI_Finalize(void);
int main(int c, char **v) { return MPI_Init(&c, &v) + MPI_Finalize(); }
"""


def compile_c(output: Path, source: str, *options: str) -> Path:
    """Compile C text into a file; the options come after the source, as libraries must."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-x", "c", "-", "-x", "none", "-o", str(output), "-w", *options]
    subprocess.run(command, input=source.encode(), check=True, capture_output=True)
    return output


def make_library(output: Path, source: str, *options: str, soname: str = "") -> Path:
    """Compile a shared library; its soname is its file name unless given."""
    return compile_c(output, source, "-shared", "-fPIC", f"-Wl,-soname,{soname or output.name}", *options)


def make_root(root: Path) -> Path:
    """An image tree with this machine's C library and nothing else, and no loader cache."""
    (root / "lib64").mkdir(parents=True)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for name in LIBC_FILES:
        shutil.copy(HOST_LIBS / name, libraries / name)
    (root / "lib64/ld-linux-x86-64.so.2").symlink_to("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    (root / "usr/bin").mkdir()
    (root / "bin").symlink_to("usr/bin")
    return root


def make_image(root: Path) -> Path:
    """`make_root` with an MPICH, and /usr/bin/app that needs it."""
    library = make_library(library_dir(make_root(root)) / "libmpi.so.12", MPICH_SOURCE)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    return root


def make_host(prefix: Path, source: str = MPICH_SOURCE) -> str:
    """A prefix with an MPI of the host's; its name, as commands take it."""
    make_library(prefix / "lib/libmpi.so.12", source)
    return str(prefix)


def library_dir(root: Path) -> Path:
    """Where a root made by `make_root` keeps its libraries."""
    return root / "usr/lib/x86_64-linux-gnu"


def make_old_libc(root: Path, versions: tuple[str, ...] = ("GLIBC_2.31",)) -> None:
    """Give an image a libc that defines GLIBC_2.2.5 and these versions, and a loader.  Nothing runs on it."""
    script = root.parent / "libc.map"
    text, last = "GLIBC_2.2.5 { global: old_one; local: *; };", "GLIBC_2.2.5"
    for number, version in enumerate(versions):
        text += f"{version} {{ global: newer_{number}; }} {last};"
        last = version
    script.write_text(text)
    source = "void old_one(void) {}" + "".join(f"void newer_{n}(void) {{}}" for n in range(len(versions)))
    make_library(library_dir(root) / "libc.so.6", source, "-nostdlib", f"-Wl,--version-script={script}")
    (library_dir(root) / "libm.so.6").unlink()
    make_library(library_dir(root) / "ld-linux-x86-64.so.2", "", "-nostdlib")
