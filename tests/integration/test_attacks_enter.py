"""bareboat-enter with hostile images and programs made by hand, as a user: each attack is tried for real."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from attacking import Box, Operation, encode
from launching import Run, out

NOBODYS = "0" * 16
"""No capability."""


@pytest.fixture
def box(shared_path: Path, attack: Path, user: pwd.struct_passwd) -> Box:
    return Box(shared_path, attack, user)


def capabilities(ids: str) -> tuple[str, str]:
    """Permitted and effective, of what `attack ids` prints."""
    words = ids.split()
    return words[words.index("CapPrm") + 1], words[words.index("CapEff") + 1]


def refusal(done: Run) -> str:
    assert (done.returncode, done.stdout) == (125, "")
    return done.stderr.removeprefix("bareboat: ").rstrip("\n")


# Files that give privileges


def privileged_files(directory: Path, attack: Path) -> None:
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2755)):
        shutil.copy(attack, directory / name)
        (directory / name).chmod(mode)
    shutil.copy(attack, directory / "capable")
    subprocess.run(["setcap", "cap_dac_override,cap_sys_admin+ep", directory / "capable"], check=True)


@pytest.mark.parametrize("operations", [(("no-new-privs",),), ()], ids=["as a plan", "without no-new-privs"])
def test_setuid_setgid_and_capable_files_give_nothing(box: Box, operations: tuple[Operation, ...]) -> None:
    data = box.top / "data"
    data.mkdir()
    for directory in (box.image, data):
        privileged_files(directory, box.attack)
    uid, gid = box.user.pw_uid, box.user.pw_gid
    # They do harm where nothing stops them.
    assert out(box.outside(data / "setuid", "ids")).startswith(f"uid {uid} 0 gid {gid} {gid} ")
    assert out(box.outside(data / "setgid", "ids")).startswith(f"uid {uid} {uid} gid {gid} 0 ")
    assert capabilities(out(box.outside(data / "capable", "ids")))[1] != NOBODYS
    for top in ("", "/data"):
        for name in ("setuid", "setgid", "capable"):
            said = out(box.inside([("bind", data, "/data", "rw"), *operations], f"{top}/{name}", "ids"))
            assert said.startswith(f"uid {uid} {uid} gid {gid} {gid} ")
            assert capabilities(said) == (NOBODYS, NOBODYS)


def test_device_nodes_of_an_image_do_not_open(box: Box) -> None:
    nodes = {"null": (stat.S_IFCHR, 1, 3), "loop": (stat.S_IFBLK, 7, 0)}
    for name, (kind, major, minor) in nodes.items():
        os.mknod(box.image / name, kind | 0o666, os.makedev(major, minor))
        (box.image / name).chmod(0o666)
    lines = out(box.outside(box.attack, "open", *(box.image / name for name in nodes))).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["done", "done"]
    lines = out(box.inside([], "/attack", "open", "/null", "/loop")).splitlines()
    assert lines == ["open /null: Permission denied", "open /loop: Permission denied"]


# Mount points that lead elsewhere


@pytest.fixture
def victim(box: Box) -> Path:
    """A directory of the attacker's on the host, which a careless launcher would mount over or write into."""
    directory = box.top / "victim"
    directory.mkdir()
    (directory / "file").write_text("the host's\n")
    for path in (directory, directory / "file"):
        os.chown(path, box.user.pw_uid, box.user.pw_gid)
    return directory


def untouched(victim: Path) -> bool:
    names = sorted(path.name for path in victim.iterdir())
    return names == ["file"] and (victim / "file").read_text() == "the host's\n"


ESCAPES = {
    "absolute": "{victim}",
    "up": "../../../../../../../../../../../../..{victim}",
    "magic": "/proc/self/root{victim}",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("name", ["file", "new/deep"])
def test_a_mount_point_behind_a_link_stays_in_the_container(
    box: Box, victim: Path, text: str, name: str
) -> None:
    link = text.format(victim=victim)
    (box.image / "spot").symlink_to(link)
    (box.top / "source").write_text("mounted\n")
    if not link.startswith("/proc/"):
        # To the host's kernel it is the victim.
        assert (box.image / "spot/file").samefile(victim / "file")
    before = Path("/proc/self/mountinfo").read_text()
    place = f"/spot/{name}"
    assert out(box.inside([("bind", box.top / "source", place, "ro")], "/bin/cat", place)) == "mounted\n"
    assert untouched(victim)
    assert Path("/proc/self/mountinfo").read_text() == before


MAGIC = [
    "/proc/self/root{victim}",
    "/proc/self/cwd{victim}",
    "/proc/1/root{victim}",
    "/proc/thread-self/root{victim}",
    "/proc/self/fd/0",
    "/proc/self/exe",
]
ELOOP = "Too many levels of symbolic links"


@pytest.mark.parametrize("text", MAGIC)
def test_a_link_that_becomes_magic_is_not_followed(box: Box, victim: Path, text: str) -> None:
    """The image has directories in the place of /proc's links, so the mount point is there until then."""
    link = text.format(victim=victim)
    (box.image / link.lstrip("/")).mkdir(parents=True)
    (box.image / link.lstrip("/") / "file").touch()
    (box.image / "spot").symlink_to(link)
    done = box.inside([("bind", "/etc/hostname", "/spot/file", "ro")], "/bin/true")
    why = "Permission denied" if link.startswith("/proc/1/") else ELOOP
    assert refusal(done) == f"cannot find the mount point /spot/file: {why}"
    assert untouched(victim)


@pytest.mark.parametrize("place", [*MAGIC, "/dev/fd/0", "/proc/self/ns/mnt"])
def test_a_magic_link_is_no_mount_point(box: Box, victim: Path, place: str) -> None:
    place = place.format(victim=victim)
    binds: list[Operation] = [("bind", "/dev", "/dev", "rw"), ("bind", "/etc/hostname", place, "ro")]
    done = box.inside(binds, "/bin/true")
    why = "Permission denied" if place.startswith("/proc/1/") else ELOOP
    assert refusal(done) == f"cannot find the mount point {place}: {why}"
    assert untouched(victim)


# Sources that are not the user's


def test_other_peoples_files_stay_closed_when_bound(box: Box) -> None:
    theirs = box.top / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("theirs\n")
    theirs.chmod(0o700)
    binds: list[Operation] = [("bind", "/etc/shadow", "/shadow", "rw"), ("bind", theirs, "/theirs", "rw")]
    said = out(box.inside(binds, "/attack", "open", "/shadow", "/theirs", "/theirs/file")).splitlines()
    assert said == [f"open {path}: Permission denied" for path in ("/shadow", "/theirs", "/theirs/file")]
    done = box.inside([("bind", theirs / "file", "/file", "rw")], "/bin/true")
    assert refusal(done) == f"cannot bind {theirs}/file: Permission denied"


@pytest.mark.parametrize("path", ["/proc/1/root", "/proc/1/cwd", "/proc/1/fd/0", "/proc/1/root/etc"])
def test_roots_magic_links_are_no_source_and_no_image(box: Box, path: str) -> None:
    done = box.inside([("bind", path, "/x", "rw")], "/bin/true")
    assert refusal(done) == f"cannot bind {path}: Permission denied"
    (box.top / "program").write_bytes(encode(("root-dir", path)))
    done = box.outside(box.enter, box.top / "program", "--", "/bin/true")
    assert refusal(done).startswith(f"cannot open the image {path}: Permission denied; the user must be able")


# What is too long, too much, or no text


def test_names_are_bytes(box: Box) -> None:
    hostile = b"/\xff\xfe \n\t\\ %{cwd} \x1b]0;x\x07 ,:"
    source = os.fsencode(box.top) + hostile
    Path(os.fsdecode(source)).write_text("mounted\n")
    done = box.inside([("bind", source, hostile, "ro")], "/bin/cat", os.fsdecode(hostile))
    assert out(done) == "mounted\n"


def long_path(length: int) -> str:
    return (("/" + "d" * 199) * 501)[:length]


@pytest.mark.parametrize("length", [4094, 4095])
def test_paths_as_long_as_the_kernel_takes(box: Box, length: int) -> None:
    path = long_path(length)
    done = box.inside([("bind", "/etc/hostname", path, "ro")], "/bin/true")
    if length == 4094:
        assert out(done) == ""
    else:
        assert refusal(done).startswith("cannot find the mount point /ddd")
        assert refusal(done).endswith(": File name too long")
    assert out(box.inside([("bind", path, "/x", "ro,optional")], "/bin/true")) == ""
    done = box.inside([("cwd", path)], "/bin/true")
    assert refusal(done).startswith(f"cannot enter the working directory {path[:1000]}")


@pytest.mark.parametrize("length", [4096, 100_000])
def test_longer_paths_make_no_program(box: Box, length: int) -> None:
    path = long_path(length)
    for operation in (("bind", "/etc", path, "ro"), ("bind", path, "/x", "ro,optional"), ("cwd", path)):
        said = refusal(box.inside([operation], "/bin/true"))
        assert said.startswith("cannot read the program at record ")
        assert said.endswith(f': bad argument "{path[:200]}": Invalid argument')


def test_a_component_that_is_too_long(box: Box) -> None:
    assert out(box.inside([("bind", "/etc/hostname", "/" + "d" * 255, "ro")], "/bin/true")) == ""
    done = box.inside([("bind", "/etc/hostname", "/" + "d" * 256, "ro")], "/bin/true")
    assert refusal(done) == f"cannot find the mount point /{'d' * 256}: File name too long"


def test_a_program_at_its_limit(box: Box) -> None:
    size = (1 << 20) - len(box.program([("file", "/big", "0644", "")]))
    for more, said in (
        (0, ""),
        (1, "bareboat: cannot read the program at record 0: longer than 1 MiB: Invalid argument\n"),
    ):
        done = box.inside([("file", "/big", "0644", "x" * (size + more))], "/attack", "open", "/big")
        assert (done.stderr, done.stdout) == (said, "" if said else "open /big: done\n")


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (
            ("file", "/x", "4755", ""),
            'cannot read the program at record 11: bad argument "4755": Invalid argument',
        ),
        (("tmpfs", "/x", "uid=0"), "cannot set tmpfs options uid=0 of /x: Invalid argument"),
        (
            ("tmpfs", "/x", "mode=777,=,,=x"),
            "cannot set tmpfs options mode=777,=,,=x of /x: Invalid argument",
        ),
        (("tmpfs", "/x", "x" * 99), f"cannot set tmpfs options {'x' * 99} of /x: Invalid argument"),
        (("symlink", "/proc/self/cwd/x", "y"), f"cannot find the mount point /proc/self/cwd/: {ELOOP}"),
        (("symlink", "/proc/x", "y"), "cannot make the link /proc/x: Read-only file system"),
        (
            ("bind-fstypes", "proc,../x", "rw"),
            'cannot read the program at record 10: bad argument "proc,../x": Invalid argument',
        ),
    ],
)
def test_arguments_that_no_plan_has(box: Box, operation: Operation, said: str) -> None:
    assert refusal(box.inside([operation], "/bin/true")) == said
