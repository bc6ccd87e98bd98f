"""What cannot run is refused: one message a node, exit code 125, no node drained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from abi_toolbox import compile_c
from steps import Srun, good, refused

from slurm.testbed import Testbed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "missing",
            (
                "error: the image {path} does not exist\n"
                "hint: check the path; a step looks it up on each of its nodes, "
                "whose /tmp and local disks are their own"
            ),
        ),
        (
            "closed",
            (
                "error: cannot read the image {path}: permission denied\n"
                "hint: ask its owner for read and search permission (chmod o+rx)"
            ),
        ),
        (
            "file",
            (
                "error: {path} is not an image: it is a file of no known image format\n"
                "hint: name the directory that holds the image's root file system, or a squashfs file of it"
            ),
        ),
        (
            "empty",
            (
                "error: {path} is not an image: it has none of "
                "/bin, /usr/bin, /etc, /lib, /lib64, /usr/lib, /sbin, /usr/sbin\n"
                "hint: name the directory that holds the image's root file system"
            ),
        ),
    ],
)
def test_what_is_no_image_is_refused(
    cluster: Testbed, srun: Srun, shared_path: Path, name: str, said: str
) -> None:
    path = shared_path / name
    if name in {"closed", "empty"}:
        path.mkdir(mode=0o700 if name == "closed" else 0o755)
    if name == "file":
        path.write_text("text\n")
    result = srun("-N2", "-n4", f"--container={path}", "true")
    assert "\n".join(refused(result)) == said.format(path=path)
    assert {line.split(":")[1] for line in result.stderr.splitlines() if line.startswith("bareboat: ")} == {
        " n1",
        " n2",
    }
    assert set(cluster.run(["sinfo", "-h", "-o", "%T"]).stdout.split()) <= {"idle", "completing"}


def test_a_registry_reference_is_told_apart_from_a_path(srun: Srun) -> None:
    assert refused(srun("--container=debian:13", "true")) == [
        "error: cannot run 'debian:13': no such directory, and registry references are not supported yet",
        "hint: this release runs directories and squashfs files; unpack it and name the directory",
    ]


def test_a_host_mpi_that_does_not_fit_is_refused_with_the_reason(
    srun: Srun, mpich: Path, shared_path: Path
) -> None:
    # What MPICH has since 4.1, and the host's 4.0 has not.
    source = "int MPI_Remove_error_class(int); int main(int c, char **v) { return c > 1 ? "
    source += "MPI_Remove_error_class(0) : 0; }"
    library = mpich / "usr/lib/x86_64-linux-gnu/libmpich.so.12"
    program = compile_c(shared_path / "newer", source, str(library), "-Wl,--allow-shlib-undefined")
    step = ("-n2", f"--container={mpich}", program)
    mounts = {"BAREBOAT_MOUNTS": f"{shared_path}:{shared_path}"}
    assert refused(srun(*step, **mounts)) == [
        (
            f"error: this host's MPI cannot take the place of that in {mpich}: {program} needs "
            "MPI_Remove_error_class, which MPICH 4.0.2 (/lib/x86_64-linux-gnu/libmpich.so.12) does not have"
        ),
        "hint: use a newer MPICH on the host; BAREBOAT_MPI=image runs the program with the image's own MPI",
    ]
    assert good(srun(*step, BAREBOAT_MPI="image", **mounts)) == []


def test_no_mpi_is_an_error_only_where_one_is_asked_for(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "true", BAREBOAT_MPI="host")
    assert result.returncode == 125
    assert "BAREBOAT_MPI=host, and there is no MPI in" in result.stderr
    assert good(srun(f"--container={plain}", "true")) == []


def test_programs_that_cannot_run_are_named(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "nosuchprogram")
    assert result.returncode == 2
    assert "cannot run 'nosuchprogram': it is not in the container's PATH" in result.stderr
    result = srun(f"--container={plain}", "/etc/passwd")
    assert result.returncode == 13
    assert "/etc/passwd" in result.stderr
    assert "not executable" in result.stderr


def test_a_missing_bind_source_is_named(srun: Srun, plain: Path) -> None:
    assert refused(srun("-N2", f"--container={plain}", "true", BAREBOAT_MOUNTS="/not/there:/mnt")) == [
        "error: cannot mount /not/there: it does not exist, or you cannot reach it",
        "hint: check BAREBOAT_MOUNTS and --mount; the path must exist on every node of the step",
    ]


def test_an_image_of_another_architecture_is_named(srun: Srun, tiny: Path) -> None:
    program = tiny / "bin/busybox"
    data = bytearray(program.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")  # e_machine of AArch64 (elf(5))
    program.write_bytes(data)
    said = refused(srun(f"--container={tiny}", "true"))
    assert said[0] == f"error: the image {tiny} is for aarch64, this host is {os.uname().machine}"
    assert len(said) == 2 and said[1].startswith("hint: ")


def test_an_oci_conf_is_refused_on_the_submitting_side(cluster: Testbed, srun: Srun, plain: Path) -> None:
    conf = cluster.directory / "oci.conf"
    conf.write_text('RunTimeRun="true"\n')
    try:
        result = srun(f"--container={plain}", "true")
        bare = srun("true")
    finally:
        conf.unlink()
    assert result.returncode == 125
    assert f"this cluster has {conf}, so Slurm would start its own container runtime" in result.stderr
    assert bare.returncode == 0


def test_an_empty_image_name_is_a_usage_error(srun: Srun) -> None:
    result = srun("--container=", "true")
    assert result.returncode == 2
    assert result.stderr == "bareboat: error: --container= names no image; give the directory of one\n"


def test_a_prefix_that_a_node_lacks_is_named(cluster: Testbed, srun: Srun, prefix: Path, plain: Path) -> None:
    python = prefix / "venv/bin/python"
    hidden = python.with_name("python.hidden")
    python.rename(hidden)
    try:
        # A request that no test makes otherwise: with a plan in the cache, no Python is needed.
        result = srun(f"--container={plain}", "dircolors")
    finally:
        hidden.rename(python)
    assert result.returncode == 125
    assert f"cannot run {python}: it is missing or not executable on this node" in result.stderr
