"""What a name means, whether a directory is an image, and where its program is."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import BareboatError, NotExecutableError, NotFoundError
from launcher.image.executable import Executable, find_executable
from launcher.image.facts import ImageFacts, check_machine, probe_root
from launcher.image.reference import Image, ImageKind, resolve_reference
from mpi_abi.environment import parse_environment
from mpi_abi.files import read_text
from mpi_abi.rootfs import RootView

SEARCH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small root: real ELF programs of this host, and the directories of a merged /usr."""
    top = tmp_path / "root"
    for name in ("usr/bin", "usr/lib", "etc", "opt", "usr/local/bin"):
        (top / name).mkdir(parents=True)
    (top / "bin").symlink_to("usr/bin")
    (top / "lib64").symlink_to("/usr/lib")
    shutil.copy("/bin/true", top / "usr/bin/true")
    shutil.copy("/bin/sh", top / "usr/bin/sh")
    loader = Path("/lib64/ld-linux-x86-64.so.2")
    shutil.copy(loader.resolve(), top / "usr/lib" / loader.name)
    (top / "etc/os-release").write_text('NAME="X"\nPRETTY_NAME="Test Linux 1"\n')
    return top


def as_nobody(action: Callable[[], object]) -> object:
    """Run ``action`` as an unprivileged user and return what it returned, or the error's text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        try:
            result = action()
        except BareboatError as error:
            result = str(error)
        os.write(write, pickle.dumps(result))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(data)


def facts(top: Path, *paths: str) -> ImageFacts:
    return probe_root(RootView(str(top)), Image("img", str(top)), paths=paths)


def find(top: Path, name: str, *, cwd: str = "/", machine: str = "") -> Executable:
    return find_executable(RootView(str(top)), name, search=SEARCH, cwd=cwd, machine=machine)


def script(top: Path, path: str, text: str, mode: int = 0o755) -> None:
    (top / path).write_text(text)
    (top / path).chmod(mode)


# What a name means


def test_a_directory_is_an_image(root: Path) -> None:
    assert resolve_reference("root", cwd=str(root.parent)) == Image("root", str(root))
    assert resolve_reference(f"{root}/", cwd="/") == Image(f"{root}/", str(root))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none", "the image /somewhere/none does not exist"),
        ("/none/at/all", "the image /none/at/all does not exist"),
        ("/etc/passwd/x", "the image /etc/passwd/x does not exist"),
        ("~/img", "the image /somewhere/~/img does not exist"),
        (
            "docker://ubuntu:24.04",
            "cannot run 'docker://ubuntu:24.04': docker references are not supported yet",
        ),
        ("oci:/a/b", "cannot run 'oci:/a/b': oci references are not supported yet"),
        (
            "ubuntu:24.04",
            "cannot run 'ubuntu:24.04': no such directory, and registry references are not supported yet",
        ),
        (
            "ghcr.io/a/b@sha256:0123456789abcdef",
            (
                "cannot run 'ghcr.io/a/b@sha256:0123456789abcdef': "
                "no such directory, and registry references are not supported yet"
            ),
        ),
        ("/dev/null", "/dev/null is not an image: neither a directory nor a file"),
    ],
)
def test_a_name_that_is_no_directory_is_told_apart(name: str, text: str) -> None:
    with pytest.raises(BareboatError) as caught:
        resolve_reference(name, cwd="/somewhere")
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (
            b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0",
            "it is a SIF image, and only directories and squashfs files can be run yet",
        ),
        (bytes(257) + b"ustar\0", "it is a tar archive"),
        (b"\x1f\x8b\x08", "it is a gzip archive"),
        (b"\x28\xb5\x2f\xfd", "it is a zstd archive"),
    ],
)
def test_a_file_is_named_by_its_format(tmp_path: Path, head: bytes, what: str) -> None:
    (tmp_path / "img").write_bytes(head + bytes(64))
    with pytest.raises(BareboatError) as caught:
        resolve_reference("img", cwd=str(tmp_path))
    assert str(caught.value).startswith(f"cannot run {tmp_path}/img: {what}")
    assert caught.value.hint == (
        "unpack it and name the directory, or make a squashfs file of that: mksquashfs DIR FILE"
    )


def test_a_squashfs_file_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "img").write_bytes(b"hsqs" + bytes(92))
    assert resolve_reference("img", cwd=str(tmp_path)) == Image(
        "img", str(tmp_path / "img"), ImageKind.SQUASHFS
    )


def test_a_file_of_no_format_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "img").write_text("hello")
    with pytest.raises(BareboatError, match="img is not an image: it is a file of no known image format"):
        resolve_reference("img", cwd=str(tmp_path))


def test_an_image_that_may_not_be_read_is_refused(shared_path: Path) -> None:
    (shared_path / "closed").mkdir(mode=0o700)
    if os.getuid() != 0:
        (shared_path / "closed").chmod(0)
    text = as_nobody(lambda: resolve_reference("closed", cwd=str(shared_path)))
    assert text == f"cannot read the image {shared_path}/closed: permission denied"


def test_a_directory_on_the_way_that_may_not_be_searched_is_named(shared_path: Path) -> None:
    (shared_path / "closed").mkdir(mode=0o700)
    (shared_path / "closed/img").mkdir()
    if os.getuid() != 0:
        (shared_path / "closed").chmod(0)
    text = as_nobody(lambda: resolve_reference("closed/img", cwd=str(shared_path)))
    assert text == (
        f"cannot reach the image {shared_path}/closed/img: {shared_path}/closed may not be searched by you"
    )
    (shared_path / "closed").chmod(0o700)


# Whether it is an image


def test_a_root_says_what_it_is(root: Path) -> None:
    (root / "etc/environment").write_text('PATH=/opt/x/bin\nA="b c"\n')
    found = facts(root, "/usr", "/none", "/opt")
    assert found.os_name == "Test Linux 1"
    assert found.machine == os.uname().machine
    assert found.environment == (("PATH", "/opt/x/bin"), ("A", "b c"))
    assert found.present == {"/usr", "/opt"}
    assert found.held == {"/usr"}
    assert (found.passwd, found.localtime) == ("", "")


def test_a_directory_without_a_systems_directories_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "Documents").mkdir()
    with pytest.raises(BareboatError) as caught:
        facts(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not an image: it has none of "
        "/bin, /usr/bin, /etc, /lib, /lib64, /usr/lib, /sbin, /usr/sbin"
    )


def test_the_root_of_one_static_program_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    assert facts(tmp_path).path == str(tmp_path)


def test_links_out_of_the_root_do_not_make_an_image_of_it(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to("/../../../../usr/bin")
    (tmp_path / "etc").symlink_to("../../../../../../etc")
    with pytest.raises(BareboatError, match="is not an image: it has none of /bin"):
        facts(tmp_path)


def test_an_oci_bundle_is_led_to_its_root(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "rootfs").mkdir()
    with pytest.raises(BareboatError, match="it is an OCI bundle") as caught:
        facts(tmp_path)
    assert caught.value.hint == f"name its root: {tmp_path}/rootfs"


def test_an_oci_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text("{}")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(BareboatError, match="it is an OCI layout, and only root directories can be run yet"):
        facts(tmp_path)


def test_an_image_of_another_architecture_is_refused(root: Path) -> None:
    header = bytearray((root / "usr/bin/sh").read_bytes())
    header[18:20] = (183).to_bytes(2, "little")
    (root / "usr/bin/sh").write_bytes(bytes(header))
    found = facts(root)
    assert found.machine == "aarch64"
    with pytest.raises(BareboatError) as caught:
        check_machine(found, "x86_64")
    assert str(caught.value) == f"the image {root} is for aarch64, this host is x86_64"
    assert caught.value.hint == "use an image that was built for x86_64"
    check_machine(found, "aarch64")


def test_a_root_without_programs_is_of_any_architecture(root: Path) -> None:
    for name in ("true", "sh"):
        (root / "usr/bin" / name).unlink()
    shutil.rmtree(root / "usr/lib")
    (root / "usr/lib").mkdir()
    assert facts(root).machine == ""
    check_machine(facts(root), "x86_64")


@pytest.mark.parametrize(
    "target", ["/etc/shadow-of-the-host", "../../../../../../etc/hostname", "/../etc/hostname"]
)
def test_a_link_out_of_the_root_leads_into_it(root: Path, target: str) -> None:
    (root / "etc/passwd").symlink_to(target)
    assert read_text(RootView(str(root)), "/etc/passwd") == ""


def test_a_fifo_in_an_image_holds_nobody_up(root: Path) -> None:
    os.mkfifo(root / "etc/passwd")
    assert facts(root).passwd == ""


def test_the_environment_of_an_image_is_read() -> None:
    text = "# c\nexport A=1\nB='x y'\nC=\"q\nno line\n =x\nA=2\nD=a#b\n"
    assert parse_environment(text) == (("A", "2"), ("B", "x y"), ("C", '"q'), ("D", "a#b"))


# Where its program is


def test_a_program_is_found_by_the_containers_path(root: Path) -> None:
    assert find(root, "true").path == "/usr/bin/true"
    assert find(root, "/bin/true") == Executable("/bin/true", str(root / "usr/bin/true"))
    assert find(root, "./true", cwd="/usr/bin").file == str(root / "usr/bin/true")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nope", f"cannot run 'nope': it is not in the container's PATH ({SEARCH})"),
        ("/opt/app", "cannot run /opt/app: it is not in the container"),
        ("./app", "cannot run /jobs/app: it is not in the container"),
        ("/opt/evil", "cannot run /opt/evil: it is not in the container"),
        ("/opt/dots", "cannot run /opt/dots: it is not in the container"),
    ],
)
def test_a_program_that_is_missing_is_named(root: Path, name: str, text: str) -> None:
    # The host has these, and the container does not.
    (root / "opt/evil").symlink_to("/etc/init.d/../../bin/ls")
    (root / "opt/dots").symlink_to("../../../../../../../../bin/ls")
    with pytest.raises(NotFoundError) as caught:
        find(root, name, cwd="/jobs")
    assert str(caught.value) == text
    assert caught.value.exit_code == 127


def test_a_program_that_cannot_be_executed_is_named(root: Path) -> None:
    script(root, "usr/bin/data", "x", 0o644)
    for name, text in (
        ("data", "cannot run /usr/bin/data: it is not executable by you"),
        ("/usr/bin/data", "cannot run /usr/bin/data: it is not executable by you"),
        ("/usr", "cannot run /usr: it is a directory"),
    ):
        with pytest.raises(NotExecutableError) as caught:
            find(root, name)
        assert str(caught.value) == text
        assert caught.value.exit_code == 126


def test_the_search_goes_on_after_a_file_that_cannot_be_executed(root: Path) -> None:
    script(root, "usr/local/bin/true", "x", 0o644)
    assert find(root, "true").path == "/usr/bin/true"


def test_a_missing_interpreter_is_named(root: Path) -> None:
    script(root, "opt/app", "#!/bin/zsh -e\n")
    with pytest.raises(NotFoundError) as caught:
        find(root, "/opt/app")
    assert str(caught.value) == "cannot run /opt/app: its interpreter /bin/zsh is not in the container"
    assert caught.value.hint == "install /bin/zsh in the image, or use an image that has it"


def test_a_missing_interpreter_behind_env_is_named(root: Path) -> None:
    shutil.copy("/usr/bin/env", root / "usr/bin/env")
    script(root, "opt/app", "#!/usr/bin/env python3\n")
    with pytest.raises(NotFoundError) as caught:
        find(root, "/opt/app")
    assert str(caught.value) == (
        f"cannot run /opt/app: its interpreter python3 is not in the container's PATH ({SEARCH})"
    )


def test_a_missing_program_loader_is_named(root: Path) -> None:
    (root / "usr/lib/ld-linux-x86-64.so.2").unlink()
    with pytest.raises(NotFoundError) as caught:
        find(root, "true")
    assert str(caught.value) == (
        "cannot run /usr/bin/true: its interpreter /lib64/ld-linux-x86-64.so.2 is not in the container"
    )


def test_scripts_that_interpret_each_other_end(root: Path) -> None:
    script(root, "opt/a", "#!/opt/b\n")
    script(root, "opt/b", "#!/opt/a\n")
    assert find(root, "/opt/a").path == "/opt/a"


def test_a_program_of_another_architecture_is_named(root: Path) -> None:
    with pytest.raises(NotExecutableError) as caught:
        find(root, "true", machine="aarch64")
    assert str(caught.value) == (
        f"cannot run /usr/bin/true: it is for {os.uname().machine}, the image is for aarch64"
    )
