"""Squashfs images that pretend to be the site's, and what users try with those that are."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from squash import pack
from steps import Srun, good

from slurm.testbed import Testbed

IN_KERNEL, BY_FUSE = "squashfs", "fuse.squashfuse"
NONE = "0" * 16
EPERM, EACCES = "Operation not permitted", "Permission denied"
WARNING = "warning: the kernel does not show this image of the store, a FUSE server does, which is slower: "
TRUST = (
    "; an image of the store and each directory above it must be root's, writable by nobody else "
    "and open to all"
)

pytestmark = pytest.mark.usefixtures("nodes_stay")


@pytest.fixture
def trusted(whole: Path, place: Path) -> Path:
    return pack(whole, place / "whole.sqsh", "-noI", "-noD", "-noF", "-noX")


@pytest.fixture
def own(trusted: Path, shared_path: Path, user: pwd.struct_passwd) -> Path:
    """The same file, the user's own."""
    path = Path(shutil.copy(trusted, shared_path / "own.sqsh"))
    os.chown(path, user.pw_uid, user.pw_gid)
    return path


@pytest.fixture(params=[IN_KERNEL, BY_FUSE])
def either(request: pytest.FixtureRequest, trusted: Path, own: Path) -> Path:
    return trusted if request.param == IN_KERNEL else own


@pytest.fixture
def shown(srun: Srun) -> Callable[[object], tuple[str, str]]:
    """Who shows an image: the type of "/" inside, and what was said.  No loop device has another file."""

    def look(image: object) -> tuple[str, str]:
        script = "cat /proc/self/mountinfo; echo loops:; cat /sys/block/loop*/loop/backing_file 2>&1; true"
        more = {"BAREBOAT_WITHOUT": "home,cwd"}
        done = srun("-w", "n1", "--chdir=/", f"--container={image}", "sh", "-c", script, **more)
        (kind,) = re.findall(r"^\S+ \S+ \S+ \S+ / .*? - (\S+) ", done.stdout, re.MULTILINE)
        assert kind == IN_KERNEL or f"/bareboat-test-{os.getpid()}-" not in done.stdout.partition("loops:")[2]
        said = [line for line in done.stderr.splitlines() if line.startswith("bareboat: n1: ")]
        return str(kind), "\n".join(said).removeprefix("bareboat: n1: ")

    return look


# Forged images


Forge = Callable[[Path, pwd.struct_passwd], Path]


def of_the_user(image: Path, user: pwd.struct_passwd) -> Path:
    os.chown(image, user.pw_uid, -1)
    return image


def of_the_users_group(image: Path, user: pwd.struct_passwd) -> Path:
    os.chown(image, -1, user.pw_gid)
    image.chmod(0o664)
    return image


def writable_by_all(image: Path, _user: pwd.struct_passwd) -> Path:
    image.chmod(0o646)
    return image


def writable_by_an_acl(image: Path, user: pwd.struct_passwd) -> Path:
    none = 0xFFFFFFFF
    entries = ((1, 6, none), (2, 6, user.pw_uid), (4, 4, none), (0x10, 6, none), (0x20, 4, none))
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(image, "system.posix_acl_access", value)
    return image


def not_for_all(image: Path, user: pwd.struct_passwd) -> Path:
    os.chown(image, -1, user.pw_gid)
    image.chmod(0o640)
    return image


def directory_of_the_user(image: Path, user: pwd.struct_passwd) -> Path:
    os.chown(image.parent, user.pw_uid, -1)
    return image


def directory_of_a_group(image: Path, _user: pwd.struct_passwd) -> Path:
    image.parent.chmod(0o775)
    return image


def directory_for_all(image: Path, _user: pwd.struct_passwd) -> Path:
    image.parent.chmod(0o1777)
    return image


FORGED: dict[Forge, str] = {
    of_the_user: "place/whole.sqsh",
    of_the_users_group: "place/whole.sqsh",
    writable_by_all: "place/whole.sqsh",
    writable_by_an_acl: "place/whole.sqsh",
    not_for_all: "place/whole.sqsh",
    directory_of_the_user: "place",
    directory_of_a_group: "place",
    directory_for_all: "place",
}


@pytest.mark.parametrize("forge", FORGED)
def test_what_somebody_else_can_write_is_not_trusted(
    shown: Callable[[object], tuple[str, str]],
    trusted: Path,
    store: Path,
    user: pwd.struct_passwd,
    forge: Forge,
) -> None:
    if forge is of_the_user:  # as it was
        assert shown(trusted) == (IN_KERNEL, "")
    forge(trusted, user)
    assert shown(trusted) == (BY_FUSE, f"{WARNING}cannot trust {store}/{FORGED[forge]}: {EPERM}{TRUST}")


def test_a_store_in_a_directory_that_all_may_write(
    shown: Callable[[object], tuple[str, str]], trusted: Path, store: Path
) -> None:
    store.chmod(0o1777)
    try:
        assert shown(trusted) == (BY_FUSE, f"{WARNING}cannot trust {store}: {EPERM}{TRUST}")
    finally:
        store.chmod(0o755)


def test_links_and_ways_around(
    shown: Callable[[object], tuple[str, str]], trusted: Path, own: Path, store: Path, shared_path: Path
) -> None:
    place = trusted.parent
    (place / "link.sqsh").symlink_to(own)
    (place / "directory").symlink_to(own.parent)
    (place / "same.sqsh").symlink_to(trusted)
    loop = "Too many levels of symbolic links"
    for name in ("link.sqsh", "same.sqsh"):
        assert shown(place / name) == (BY_FUSE, f"{WARNING}cannot open {place}/{name}: {loop}")
    assert shown(place / "directory/own.sqsh") == (BY_FUSE, f"{WARNING}cannot open {place}/directory: {loop}")
    up = f"{store}/../../..{own}"
    assert shown(up) == (BY_FUSE, f"{WARNING}cannot open {store}/..: Invalid cross-device link")
    # These are in no store, whatever they lead to.
    (shared_path / "store").symlink_to(store)
    os.link(trusted, place / "hard.sqsh")
    with suppress(OSError):
        os.link(trusted, shared_path / "hard.sqsh")
    assert shown(shared_path / "store/place/whole.sqsh") == (BY_FUSE, "")
    assert shown(f"{shared_path}/../../..{trusted}") == (BY_FUSE, "")
    assert shown(own) == (BY_FUSE, "")
    # And a second name of root's in the store is as good as the first.
    assert shown(place / "hard.sqsh") == (IN_KERNEL, "")


def test_a_file_system_that_says_its_files_are_roots(
    cluster: Testbed, shown: Callable[[object], tuple[str, str]], trusted: Path, own: Path, shared_path: Path
) -> None:
    """What fusermount3(1) does for users, where the site allows it, done by root: they say who owns what."""
    theirs, content = trusted.with_name("theirs"), shared_path / "content"
    forged = theirs / "forged.sqsh"
    for directory in (theirs, content):
        directory.mkdir()
    own.rename(content / "forged.sqsh")
    os.chown(content / "forged.sqsh", 0, 0)
    image, serve = pack(content, shared_path / "outer.sqsh"), ("squashfuse_ll", "-o", "allow_other")
    assert cluster.enter("n1", [*serve, str(image), str(theirs)]).returncode == 0
    try:
        assert (
            cluster.enter("n1", ["stat", "-c", "%u %a", str(theirs), str(forged)]).stdout == "0 755\n0 644\n"
        )
        assert shown(forged) == (BY_FUSE, f"{WARNING}cannot open {theirs}: Invalid cross-device link")
    finally:
        cluster.enter("n1", ["umount", str(theirs)])


NAMES = (b"new\nline", b"\xff\xfe", b"blank, comma 'quote\" %{cwd} \\", b"x" * 250, b"-o", b"--")


def test_names_of_images(
    shown: Callable[[object], tuple[str, str]], trusted: Path, own: Path, store: Path
) -> None:
    place = trusted.parent
    for way in (f"{store}//place///whole.sqsh", f"{store}/./place/./whole.sqsh"):
        assert shown(way) == (IN_KERNEL, "")
    for name in NAMES:
        image = os.fsdecode(os.fsencode(place) + b"/" + name + b".file")
        Path(trusted).rename(image)
        assert shown(image) == (IN_KERNEL, "")
        Path(image).rename(trusted)
        image = os.fsdecode(os.fsencode(own.parent) + b"/" + name + b".file")
        own.rename(image)
        assert shown(image) == (BY_FUSE, "")
        Path(image).rename(own)


def test_paths_at_the_limit(
    srun: Srun, shown: Callable[[object], tuple[str, str]], trusted: Path, store: Path
) -> None:
    deep = trusted.parent
    while len(str(deep)) < 3850:
        deep /= "d" * 200
        deep.mkdir()
    image = trusted.rename(deep / ("f" * (4089 - len(str(deep))) + ".file"))
    assert len(str(image)) == 4095
    assert shown(image) == (IN_KERNEL, "")


def test_a_name_that_is_cut_off_names_nothing(
    srun: Srun, trusted: Path, store: Path, shown: Callable[[object], tuple[str, str]]
) -> None:
    """Root reads two PATH_MAX of it; without the rest, it would be another image."""
    longer = trusted.with_name("whole.sqsh.of-the-planner")
    shutil.copy(trusted, longer)
    slashes = "/" * (8191 - len(str(store)) - len("place/whole.sqsh"))
    image = f"{store}{slashes}place/whole.sqsh.of-the-planner"
    assert image[:8191].endswith("/whole.sqsh")
    assert shown(image) == (BY_FUSE, "")


def test_a_file_that_is_put_in_its_place_while_the_step_starts(
    cluster: Testbed, srun: Srun, trusted: Path, tiny: Path, user: pwd.struct_passwd
) -> None:
    """Only root can do that.  A plan of one must not be kept for the other."""
    fifo = Path(user.pw_dir, "config.toml")
    os.mkfifo(fifo, 0o644)
    arguments = ["srun", "-N1", f"--container={trusted}", "cat", "/mark"]
    try:
        process = subprocess.Popen(
            arguments,
            user=user.pw_uid,
            group=user.pw_gid,
            cwd="/",
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": user.pw_dir,
                "BAREBOAT_CONFIG": str(fifo),
                **cluster.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with fifo.open("w"):  # the planner reads now: root has done its part
            (tiny / "mark").write_text("another\n")
            pack(tiny, trusted.with_name("new"))
            trusted.with_name("new").rename(trusted)
        output, errors = process.communicate(timeout=60)
    finally:
        fifo.unlink()
    said = f"cannot use the image {trusted}: it was replaced while the step started; start the step again"
    assert (process.returncode, output) == (125, "")
    assert [line.partition(": n1: ")[2] for line in errors.splitlines() if line.startswith("bareboat")] == [
        said
    ]
    assert good(srun("-N1", "--chdir=/", f"--container={trusted}", "cat", "/mark")) == ["another"]


def test_directories_in_a_store_are_not_spoken_of(srun: Srun, whole: Path, place: Path) -> None:
    image = place / "image"
    shutil.copytree(whole, image, symlinks=True)
    image.chmod(0o775)
    assert good(srun("-N1", "--chdir=/", f"--container={image}", "cat", "/mark")) == ["the image's"]


# What is in an image


def test_devices_setuid_and_capable_files(
    srun: Srun, either: Path, whole: Path, user: pwd.struct_passwd
) -> None:
    assert good(srun("--chdir=/", whole / "bin/attack", "open", whole / "null"))[0].endswith(": done")
    assert good(srun("--chdir=/", whole / "setuid", "ids"))[0].startswith(f"uid {user.pw_uid} 0 ")
    script = "attack open /null; /setuid ids; /capable ids"
    said = good(srun("-N1", "--chdir=/", f"--container={either}", "sh", "-c", script))
    assert said[0] == f"open /null: {EACCES}"
    for line in said[1:]:
        assert line.startswith(f"uid {user.pw_uid} {user.pw_uid} ")
        assert line.endswith(f" CapPrm {NONE} CapEff {NONE} NoNewPrivs 1")
