"""The ELF reader against pyelftools, on the libraries of this machine, and on files that it must refuse."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

import pytest
from abi_toolbox import HOST_LIBS, compile_c, make_library
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection

from mpi_abi.elf import open_elf
from mpi_abi.elftypes import ElfType, ForeignElf, machine_name
from mpi_abi.errors import AbiError, unreadable

REAL = (
    "libmpich.so.12",
    "libmpichfort.so.12",
    "libmpi.so.40",
    "libopen-pal.so.40",
    "libucs.so.0",
    "libhwloc.so.15",
    "libstdc++.so.6",
    "libc.so.6",
    "libnuma.so.1",
    "libz.so.1",
)


@pytest.mark.parametrize("name", REAL)
def test_dynamic_section_and_symbols_are_those_that_pyelftools_finds(name: str) -> None:
    path = HOST_LIBS / name
    with path.open("rb") as file, open_elf(str(path)) as elf:
        oracle = ELFFile(file)
        dynamic = next(s for s in oracle.iter_sections() if isinstance(s, DynamicSection))
        symbols = next(s for s in oracle.iter_sections() if s.name == ".dynsym")
        assert isinstance(symbols, SymbolTableSection)
        assert elf.needed == tuple(t.needed for t in dynamic.iter_tags() if t.entry.d_tag == "DT_NEEDED")
        assert elf.soname == next(t.soname for t in dynamic.iter_tags() if t.entry.d_tag == "DT_SONAME")
        runpath = [t.runpath for t in dynamic.iter_tags() if t.entry.d_tag == "DT_RUNPATH"]
        assert elf.facts.runpath == (tuple(runpath[0].split(":")) if runpath else ())
        named = [s for s in symbols.iter_symbols() if s.name]
        exported = [
            s
            for s in named
            if s.entry.st_shndx != "SHN_UNDEF"
            and s.entry.st_info.bind in ("STB_GLOBAL", "STB_WEAK", "STB_LOOS")
        ]
        assert elf.exports == {s.name for s in exported}
        undefined = [s for s in named if s.entry.st_shndx == "SHN_UNDEF"]
        assert elf.undefined == {s.name for s in undefined if s.entry.st_info.bind == "STB_GLOBAL"}
        objects = {s.name: s.entry.st_size for s in exported if s.entry.st_info.type == "STT_OBJECT"}
        assert {name: size for name, size in elf.objects.items() if name in objects} == elf.objects
        assert objects.keys() - elf.objects.keys() <= {
            s.name for s in exported if s.entry.st_info.bind == "STB_LOOS"
        }
        for symbol in exported[:: max(1, len(exported) // 50)]:
            found = elf.find(symbol.name)
            assert found is not None
            assert found.name == symbol.name
        assert elf.find("no_library_has_this_symbol") is None


@pytest.mark.parametrize("name", REAL)
def test_symbol_versions_are_those_that_pyelftools_finds(name: str) -> None:
    path = HOST_LIBS / name
    with path.open("rb") as file, open_elf(str(path)) as elf:
        needed: dict[str, set[str]] = {}
        defined: set[str] = set()
        for section in ELFFile(file).iter_sections():
            if isinstance(section, GNUVerNeedSection):
                for library, versions in section.iter_versions():
                    strong = {v.name for v in versions if not v.entry.vna_flags & 2}
                    needed.setdefault(library.name, set()).update(strong)
            if isinstance(section, GNUVerDefSection):
                for version, names in section.iter_versions():
                    if not version.entry.vd_flags & 1:
                        defined.add(next(iter(names)).name)
        assert elf.versions_needed == needed
        assert elf.versions_defined == defined


def test_copied_objects_have_the_size_that_the_program_reserved(tmp_path: Path) -> None:
    library = make_library(tmp_path / "libdata.so", "long table[7] = { 1 }; int plain(void) { return 0; }")
    source = "extern long table[7]; int main(void) { return (int) table[0]; }"
    program = compile_c(tmp_path / "program", source, "-fno-pie", "-no-pie", str(library))
    with open_elf(str(program)) as elf:
        assert elf.copies == {"table": 56}
        assert elf.kind is ElfType.EXEC
        assert elf.interpreter == "/lib64/ld-linux-x86-64.so.2"
    with open_elf(str(library)) as elf:
        assert elf.copies == {}
        assert elf.objects["table"] == 56


def test_a_table_without_gnu_hash_is_read_by_the_old_one(tmp_path: Path) -> None:
    library = make_library(tmp_path / "libold.so", "int one(void) { return 1; }", "-Wl,--hash-style=sysv")
    with open_elf(str(library)) as elf:
        assert "one" in elf.exports
        assert elf.find("one") is not None
        assert elf.find("two") is None


def test_rpath_is_forgotten_where_there_is_a_runpath(tmp_path: Path) -> None:
    old = make_library(tmp_path / "liba.so", "", "-Wl,--disable-new-dtags,-rpath,/one:$ORIGIN/two")
    new = make_library(tmp_path / "libb.so", "", "-Wl,--enable-new-dtags,-rpath,/three")
    with open_elf(str(old)) as elf:
        assert (elf.facts.rpath, elf.facts.runpath) == (("/one", "$ORIGIN/two"), ())
    with open_elf(str(new)) as elf:
        assert (elf.facts.rpath, elf.facts.runpath) == ((), ("/three",))


def test_a_static_program_shows_what_was_linked_in(tmp_path: Path) -> None:
    source = "int MPI_Init(int *c, char ***v) { return 0; } int main(void) { return MPI_Init(0, 0); }"
    program = compile_c(tmp_path / "static", source, "-static")
    stripped = compile_c(tmp_path / "stripped", source, "-static", "-s")
    with open_elf(str(program)) as elf:
        assert elf.interpreter == ""
        assert elf.defines_statically("MPI_Init")
        assert not elf.defines_statically("MPI_Send")
    with open_elf(str(stripped)) as elf:
        assert not elf.defines_statically("MPI_Init")


def _header(machine: int, *, wide: bool = True, little: bool = True) -> bytes:
    order: Literal["little", "big"] = "little" if little else "big"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    return (ident + (2).to_bytes(2, order) + machine.to_bytes(2, order)).ljust(64, b"\0")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (_header(62), "x86_64"),
        (_header(62, wide=False), "x32"),
        (_header(3, wide=False), "i386"),
        (_header(183), "aarch64"),
        (_header(40, wide=False), "arm"),
        (_header(21), "ppc64le"),
        (_header(21, little=False), "ppc64"),
        (_header(22, little=False), "s390x"),
        (_header(243), "riscv64"),
        (_header(4711), "machine 4711"),
        (b"#!/bin/sh\n".ljust(64), None),
        (b"\x7fEL", None),
    ],
)
def test_machines_have_the_names_of_uname(header: bytes, name: str | None) -> None:
    assert machine_name(header) == name


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (_header(3, wide=False), "a 32-bit little-endian file for i386; only 64-bit little-endian"),
        (_header(22, little=False), "a 64-bit big-endian file for s390x; only 64-bit little-endian"),
    ],
)
def test_files_of_other_widths_are_named_and_refused(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(ForeignElf, match=text) as caught, open_elf(str(path), shown="/bin/foreign"):
        pass
    assert caught.value.hint == "use one that was built for this machine"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "/bin/x: not an ELF file"),
        (b"\x7fELF", "/bin/x: not an ELF file"),
        (b"hello, this is not a program" * 4, "/bin/x: not an ELF file"),
        (_header(62)[:40], "/bin/x: damaged ELF file: a header lies outside the file"),
    ],
)
def test_what_is_no_elf_file_is_refused_by_name(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(AbiError) as caught, open_elf(str(path), shown="/bin/x"):
        pass
    assert str(caught.value) == text
    whole = "put a whole copy in its place: install its package anew, or build the image anew"
    other = "a program or library belongs there: install anew what it came with, or remove it"
    assert caught.value.hint == (whole if "damaged" in text else other)


@pytest.mark.parametrize(
    ("number", "text", "hint"),
    [
        (errno.ENOENT, "No such file or directory", "name a file that is there; "),
        (errno.EACCES, "Permission denied", "let who runs the image read it (chmod a+r; "),
        (errno.EIO, "Input/output error", "look whether its file system is well (dmesg), "),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_do(number: int, text: str, hint: str) -> None:
    error = unreadable("/bin/x", OSError(number, os.strerror(number)))
    assert str(error) == f"/bin/x: cannot be read: {text}"
    assert error.hint.startswith(hint)


def test_a_missing_file_says_so() -> None:
    with pytest.raises(AbiError, match=r"^/none: cannot be read: No such file") as caught, open_elf("/none"):
        pass
    assert (
        caught.value.hint
        == "name a file that is there; where others change the directory meanwhile, try again"
    )
