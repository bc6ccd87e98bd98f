"""Whether a program can run on this node at all: processor, kernel, interpreter."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, PROGRAM_SOURCE, compile_c, library_dir, make_library, make_root

from launcher.config import MpiMode, SiteConfig
from launcher.errors import BareboatError
from launcher.mpi import decide_mpi
from mpi_abi import (
    Code,
    ImageMpiFacts,
    NodeFacts,
    RootView,
    Verdict,
    VerdictKind,
    judge,
    probe_image,
    probe_node,
)
from mpi_abi.elf import open_elf
from mpi_abi.ldso import cpu_levels
from mpi_abi.node import describe_node
from mpi_abi.portability import needed_kernel, needed_level

NODE = NodeFacts(("x86-64-v2",), (6, 1))
NOTE = struct.Struct("<III4s")
ISA_NEEDED = 0xC0008002


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image whose MPICH is alone in it, and a library of its own."""
    root = make_root(tmp_path / "image")
    make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE)
    make_library(library_dir(root) / "libown.so.1", "int own;")
    return root


def program(root: Path, *options: str) -> Path:
    libraries = [str(library_dir(root) / name) for name in ("libmpi.so.12", "libown.so.1")]
    return compile_c(root / "bin/app", PROGRAM_SOURCE, "-Wl,--no-as-needed", *libraries, *options)


def facts(root: Path) -> ImageMpiFacts:
    return probe_image(RootView(str(root)), program="/bin/app", environment={})


def verdict(root: Path, node: NodeFacts = NODE) -> Verdict:
    return judge(facts(root), None, None, node)


def patch(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def require(path: Path, bits: int) -> None:
    """Let a file that was linked for some level ask for others."""
    data, mark = path.read_bytes(), struct.pack("<II", ISA_NEEDED, 4)
    assert data.count(mark) == 1
    at = data.index(mark) + len(mark)
    path.write_bytes(data[:at] + struct.pack("<I", bits) + data[at + 4 :])


@pytest.mark.parametrize(("option", "bits"), [("x86-64-v2", 2), ("x86-64-v3", 4), ("x86-64-v4", 8)])
def test_the_linkers_level_is_read(root: Path, option: str, bits: int) -> None:
    with open_elf(str(program(root, f"-Wl,-z,{option}"))) as elf:
        assert elf.facts.isa_needed & ~1 == bits
        assert elf.facts.kernel_needed == (3, 2, 0)
    assert needed_level(facts(root)) == option
    assert needed_kernel(facts(root)) == (3, 2, 0)


def test_the_real_loader_refuses_by_the_same_bytes(tmp_path: Path) -> None:
    path = compile_c(tmp_path / "app", "int main(void) { return 0; }", "-Wl,-z,x86-64-v2")
    assert subprocess.run([path], check=False).returncode == 0
    require(path, 16)
    done = subprocess.run([path], check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "CPU ISA level is lower than required" in done.stderr
    with open_elf(str(path)) as elf:
        assert elf.facts.isa_needed == 16


def test_a_program_for_a_better_processor_is_impossible(root: Path) -> None:
    program(root, "-Wl,-z,x86-64-v3")
    found = verdict(root)
    assert found.kind is VerdictKind.IMPOSSIBLE
    reason = found.reasons[0]
    assert reason.code is Code.CPU_LEVEL
    assert reason.text == "/bin/app needs a processor of x86-64-v3; this node's is one of x86-64-v2"
    assert reason.evidence == ("/usr/bin/app: x86-64-v3",)
    assert reason.hint.startswith("run the step on nodes that have it (srun --constraint), or use an image")
    # The reasons about MPI stay.
    assert [reason.code for reason in found.reasons[1:]] == [Code.NO_HOST_MPI]
    better = NodeFacts(("x86-64-v3", "x86-64-v2"), (6, 1))
    assert [reason.code for reason in verdict(root, better).reasons] == [Code.NO_HOST_MPI]


def test_a_library_counts_as_well_but_not_the_mpi_that_is_replaced(root: Path) -> None:
    program(root)
    make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE, "-Wl,-z,x86-64-v4")
    assert Code.CPU_LEVEL not in [reason.code for reason in verdict(root).reasons]
    make_library(library_dir(root) / "libown.so.1", "int own;", "-Wl,-z,x86-64-v4")
    reason = verdict(root).reasons[0]
    assert reason.text.startswith("/lib/x86_64-linux-gnu/libown.so.1 needs a processor of x86-64-v4; ")


def test_a_program_without_mpi_is_told_too(root: Path) -> None:
    compile_c(root / "bin/app", "int main(void) { return 0; }", "-Wl,-z,x86-64-v3")
    for name in library_dir(root).glob("libmpi*"):
        name.unlink()
    assert verdict(root).kind is VerdictKind.IMPOSSIBLE
    assert verdict(root, replace(NODE, levels=("x86-64-v3",))).kind is VerdictKind.NO_MPI


def test_a_newer_kernel_than_the_nodes_is_impossible(root: Path) -> None:
    path = program(root)
    patch(path, NOTE.pack(4, 16, 1, b"GNU") + struct.pack("<IIII", 0, 3, 2, 0),
          NOTE.pack(4, 16, 1, b"GNU") + struct.pack("<IIII", 0, 99, 1, 0))  # fmt: skip
    reason = verdict(root).reasons[0]
    assert (reason.code, reason.text) == (
        Code.KERNEL,
        "/bin/app needs Linux 99.1.0 or newer; this node has 6.1",
    )
    assert reason.evidence == ("/usr/bin/app: 99.1.0",)


def test_a_missing_interpreter_is_impossible(root: Path) -> None:
    program(root, "-Wl,--dynamic-linker=/opt/ld.so")
    reason = verdict(root).reasons[0]
    assert (reason.code, reason.text) == (
        Code.INTERPRETER_MISSING,
        "/bin/app needs the interpreter /opt/ld.so, which is not in the image",
    )
    (root / "bin/app").write_text("#!/opt/python\n")
    # It may be the user's, which only a launch shows.
    assert Code.INTERPRETER_MISSING not in [reason.code for reason in verdict(root).reasons]


def test_libraries_for_this_processor_are_told(root: Path) -> None:
    program(root)
    folder = library_dir(root) / "glibc-hwcaps" / probe_node().level
    make_library(folder / "libown.so.1", "int own;")
    image = facts(root)
    assert [item.real for item in image.tree.objects if "hwcaps" in item.real]
    from mpi_abi.portability import node_notes

    (note,) = node_notes(image)
    assert note.code is Code.HWCAPS
    assert note.text.startswith(
        "1 of the image's libraries were taken for this node's processor, from glibc-hwcaps"
    )
    assert note.evidence == (f"/usr/lib/x86_64-linux-gnu/glibc-hwcaps/{probe_node().level}/libown.so.1",)


def test_both_ways_to_ask_for_this_node_agree() -> None:
    ours, theirs = probe_node(), describe_node()
    assert (ours.levels, ours.kernel) == (theirs.levels, theirs.kernel)
    assert theirs.cpu
    assert ours.kernel >= (4,)


@pytest.mark.parametrize("level", [2, 3, 4])
def test_our_table_of_levels_is_archspecs(level: int) -> None:
    from archspec.cpu import TARGETS

    features = TARGETS[f"x86_64_v{level}"].features
    found = cpu_levels(f"flags\t\t: {' '.join(sorted(features))}\n")
    assert found[:1] == (f"x86-64-v{level}",)


def test_a_launch_refuses_before_the_loader_does(root: Path) -> None:
    require(program(root, "-Wl,-z,x86-64-v2"), 16)
    with pytest.raises(BareboatError) as caught:
        decide_mpi(
            RootView(str(root)),
            MpiMode.AUTO,
            SiteConfig(),
            image="/img",
            programs=("/bin/app",),
            environment={},
        )
    text = "the program of /img cannot run on this node: /bin/app needs a processor of x86-64-v5; "
    assert str(caught.value).startswith(text)


def test_abi_check_says_what_is_needed_and_what_is_there(root: Path) -> None:
    require(program(root, "-Wl,-z,x86-64-v2"), 16)
    command = [sys.executable, "-m", "launcher.cli", "abi", "check", str(root), "/bin/app"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    node = describe_node()
    assert "needs:   x86-64-v5, Linux 3.2.0" in done.stdout
    assert f"node:    {node.cpu} ({node.level}), Linux {'.'.join(map(str, node.kernel))}" in done.stdout
    done = subprocess.run([*command, "--json"], check=False, capture_output=True, text=True)
    document = json.loads(done.stdout)
    assert document["needs"] == {"cpu_level": "x86-64-v5", "kernel": "3.2.0"}
    assert document["node"]["cpu"] == node.cpu
