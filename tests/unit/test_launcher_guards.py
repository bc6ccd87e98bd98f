"""Everything that a plan was decided by has a guard, and nothing else breaks one."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, PROGRAM_SOURCE, compile_c, library_dir, make_library, make_root
from guard_check import broken

from launcher.entry import decode_entry
from launcher.launch import prepare
from launcher.plan import Plan
from launcher.program import Verb
from launcher.step import make_entry
from mpi_abi import Guard, GuardKind, Recorder
from mpi_abi.guards import is_fresh
from slurm.step import read_step

HELLO = "/opt/bareboat-tests/bin/mpi_hello"


@dataclass(frozen=True)
class Site:
    """An image by a link, a host MPI by a link, a configuration, and a directory to work in."""

    top: Path
    place: str = "work"

    @property
    def image(self) -> Path:
        return self.top / "images/one"

    @property
    def host(self) -> Path:
        return self.top / "mpi-1/lib"

    @property
    def config(self) -> Path:
        return self.top / "bareboat.toml"

    @property
    def cwd(self) -> Path:
        return self.top / self.place

    def plan(self, *argv: str, **variables: str) -> tuple[Plan, Recorder]:
        recorder = Recorder()
        environment = {"BAREBOAT_CONFIG": str(self.config), "HOME": "/root", **variables}
        step = read_step(environment, argv=argv, cwd=str(self.cwd))
        plan = prepare(
            str(self.top / "current"),
            argv or ("app",),
            environment=environment,
            cwd=str(self.cwd),
            step=step,
            needs_program=False,
            recorder=recorder,
        )
        return plan, recorder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    image = make_root(made.image)
    libraries = library_dir(image)
    library = make_library(libraries / "libmpi.so.12.1", MPICH_SOURCE, soname="libmpi.so.12")
    (libraries / "libmpi.so.12").symlink_to("libmpi.so.12.1")
    side = make_library(image / "opt/second/libside.so", "int side(void) { return 0; }")
    (image / "opt/first").mkdir()
    compile_c(
        image / "usr/bin/app",
        f"int side(void); {PROGRAM_SOURCE.replace('return', 'return side() +')}",
        *(str(library), str(side), "-Wl,-rpath,/opt/first:/opt/second"),
    )
    for name in ("sh", "bash"):
        shutil.copy("/bin/true", image / "usr/bin" / name)
    for name in ("etc", "tmp", "usr/local/bin"):
        (image / name).mkdir(parents=True)
    (image / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (image / "etc/group").write_text("root:x:0:\n")
    (tmp_path / "current").symlink_to("images/one")
    (tmp_path / "images/two").mkdir()
    made.host.mkdir(parents=True)
    side = make_library(made.host / "libhost.so.1", "int host(void) { return 0; }")
    text = MPICH_SOURCE + "int host(void); int more(void) { return host(); }"
    make_library(made.host / "libmpi.so.12", text, str(side), "-Wl,-rpath,$ORIGIN")
    (tmp_path / "mpi").symlink_to("mpi-1")
    (tmp_path / "mpi-2/lib").mkdir(parents=True)
    made.config.write_text(f'[mpi]\nprefixes = ["{tmp_path}/mpi"]\n')
    made.cwd.mkdir()
    return made


def test_nothing_breaks_a_guard_by_itself(site: Site) -> None:
    plan, recorder = site.plan()
    assert plan.mpi.verdict == "native"
    assert plan.mpi.host_library == str(site.top / "mpi/lib/libmpi.so.12")
    assert recorder.obstacles == ()
    assert broken(recorder.guards) == []
    again, same = site.plan()
    assert again.encode() == plan.encode()
    assert same.guards == recorder.guards


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def rewrite(path: Path) -> None:
    """Other content of the same length in the same file, its times of change put back."""
    status = path.stat()
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes([data[0] ^ 1]) + data[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def exchange(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.rename(path)


def retarget(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


READ = (
    *("images/one/usr/bin/app", "images/one/opt/second/libside.so", "images/one/etc/passwd"),
    *("images/one/etc/group", "images/one/usr/bin/sh"),
    *(f"images/one/usr/lib/x86_64-linux-gnu/{name}" for name in ("libmpi.so.12.1", "libc.so.6")),
    "images/one/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    *("mpi-1/lib/libmpi.so.12", "mpi-1/lib/libhost.so.1", "bareboat.toml"),
)


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("change", [append, rewrite, exchange, Path.unlink])
def test_a_change_of_a_file_that_was_read_is_seen(
    site: Site, path: str, change: Callable[[Path], None]
) -> None:
    _, recorder = site.plan()
    change(site.top / path)
    assert broken(recorder.guards)


LINKS = {
    "current": "images/two",
    "mpi": "mpi-2",
    "images/one/lib": "usr/local",
    "images/one/bin": "/usr/local/bin",
    "images/one/lib64/ld-linux-x86-64.so.2": "/usr/bin/app",
    "images/one/usr/lib/x86_64-linux-gnu/libmpi.so.12": "libc.so.6",
}


@pytest.mark.parametrize(("link", "target"), LINKS.items())
def test_a_link_that_leads_elsewhere_is_seen(site: Site, link: str, target: str) -> None:
    _, recorder = site.plan()
    retarget(site.top / link, target)
    assert broken(recorder.guards)


NEW = (
    *("etc/environment", "etc/ld.so.cache", "usr/local/bin/app", "opt/first/libmpi.so.12"),
    *("opt/first/libside.so", "opt/first/glibc-hwcaps", "opt/second/libc.so.6", "oci-layout"),
    *("usr/lib/x86_64-linux-gnu/glibc-hwcaps", "usr/local/sbin/app"),
)


@pytest.mark.parametrize("path", NEW)
def test_what_appears_where_something_was_looked_for_is_seen(site: Site, path: str) -> None:
    _, recorder = site.plan()
    (site.image / path).parent.mkdir(parents=True, exist_ok=True)
    (site.image / path).touch()
    assert broken(recorder.guards)


@pytest.mark.parametrize("name", ["libmpich.so.12", "libmpicxx.so.12"])
def test_a_library_that_appears_beside_the_hosts_mpi_is_seen(site: Site, name: str) -> None:
    _, recorder = site.plan()
    (site.host / name).touch()
    assert broken(recorder.guards)


def test_a_configuration_that_appears_or_goes_is_seen(site: Site) -> None:
    _, recorder = site.plan()
    text = site.config.read_text()
    site.config.unlink()
    assert [guard.path for guard in broken(recorder.guards)] == [str(site.config)]
    site.config.write_text(text)
    assert [guard.path for guard in broken(recorder.guards)] == [str(site.config)]
    recorder = Recorder()
    recorder.same(str(site.top / "later.toml"))
    assert broken(recorder.guards) == []
    (site.top / "later.toml").touch()
    assert len(broken(recorder.guards)) == 1


def test_what_a_mount_names_is_guarded_for_being_there_only(site: Site) -> None:
    data = site.top / "data"
    data.mkdir()
    _, recorder = site.plan(BAREBOAT_MOUNTS=str(data))
    (data / "new").touch()
    assert broken(recorder.guards) == []
    shutil.rmtree(data)
    assert [guard.path for guard in broken(recorder.guards)] == [str(data)]


def test_the_hosts_own_files_are_guarded(site: Site) -> None:
    _, recorder = site.plan()
    found = {(guard.kind, guard.path) for guard in recorder.guards}
    for path in ("/etc/passwd", "/etc/group", "/etc/ld.so.cache"):
        assert (GuardKind.SAME, path) in found
    for path in ("/tmp", "/proc", "/dev"):
        assert (GuardKind.THERE, path) in found
        assert (GuardKind.SAME, path) not in found


def test_unrelated_changes_break_nothing(site: Site, tmp_path: Path) -> None:
    _, recorder = site.plan()
    for path in (
        "tmp/x",
        "etc/motd",
        "usr/bin/other",
        "opt/third/lib.so",
        "usr/local/bin/tool",
        "etc/cron/x",
    ):
        (site.image / path).parent.mkdir(parents=True, exist_ok=True)
        (site.image / path).write_text("new")
    (site.cwd / "results").write_text("1")
    (tmp_path / "images/three").mkdir()
    (tmp_path / "mpi-3").mkdir()
    mark = Path("/tmp") / f"bareboat-guards-{os.getpid()}"
    mark.touch()
    try:
        assert broken(recorder.guards) == []
    finally:
        mark.unlink()


_opened: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if (
        _opened is not None
        and event in {"open", "os.listdir", "os.scandir"}
        and isinstance(arguments[0], str)
    ):
        _opened.append(arguments[0])


@pytest.fixture(scope="module")
def listening() -> Iterator[Callable[[Callable[[], tuple[Plan, Recorder]]], tuple[Recorder, set[str]]]]:
    """Runs something and says which files and directories were opened meanwhile."""
    sys.addaudithook(_listen)

    def run(act: Callable[[], tuple[Plan, Recorder]]) -> tuple[Recorder, set[str]]:
        global _opened  # noqa: PLW0603 (an audit hook stays for ever and has no other way to be told)
        _opened = []
        try:
            _, recorder = act()
            return recorder, set(_opened)
        finally:
            _opened = None

    yield run


# What is no decision's: kernel's own, Python's, ours, and what is printed only.
_OURS = ("/proc", "/sys", sys.prefix, sys.base_prefix + "/lib/python", str(Path(__file__).parents[2]))


def unguarded(recorder: Recorder, opened: set[str]) -> list[str]:
    guarded = {
        (status.st_dev, status.st_ino)
        for guard in recorder.guards
        if guard.kind is GuardKind.SAME
        for status in [Path(guard.path).stat()]
    }
    read = (path for path in opened if not path.startswith(_OURS) and not path.endswith("/os-release"))
    status_of = {path: Path(path).stat() for path in read if Path(path).exists()}
    return [path for path, status in status_of.items() if (status.st_dev, status.st_ino) not in guarded]


Listening = Callable[[Callable[[], tuple[Plan, Recorder]]], tuple[Recorder, set[str]]]


def test_every_file_that_is_opened_is_guarded(site: Site, listening: Listening) -> None:
    recorder, opened = listening(site.plan)
    assert any(path.endswith("/usr/bin/app") for path in opened)
    assert unguarded(recorder, opened) == []


@pytest.mark.parametrize(
    ("name", "program"),
    [("deb13-mpich", HELLO), ("deb13-openmpi", HELLO), ("deb13-mpich", "sh"), ("deb13-plain", "true")],
)
def test_every_file_of_a_real_image_is_guarded(
    image: Callable[[str], Path], listening: Listening, tmp_path: Path, name: str, program: str
) -> None:
    recorder = Recorder()

    def act() -> tuple[Plan, Recorder]:
        plan = prepare(
            str(image(name)), (program,), environment={}, cwd=str(tmp_path), recorder=recorder, step=None
        )
        return plan, recorder

    act()  # what Python loads meanwhile is loaded now
    recorder = Recorder()
    _, opened = listening(act)
    assert unguarded(recorder, opened) == []
    assert broken(recorder.guards) == []


def below(guards: tuple[Guard, ...], top: Path) -> int:
    return sum(guard.path.startswith(str(top)) for guard in guards)


def test_an_mpi_program_of_a_real_image_has_few_guards(image: Callable[[str], Path]) -> None:
    top = image("deb13-mpich")
    data, warnings = make_entry([HELLO], environment={"SLURM_CONTAINER": str(top)}, cwd="/")
    entry = decode_entry(data)
    assert warnings == ()
    assert entry.cacheable
    assert below(entry.guards, top) <= 20


def test_what_holds_for_one_step_is_not_kept(site: Site) -> None:
    own = site.cwd / "own"
    shutil.copy("/bin/true", own)
    _, recorder = site.plan(BAREBOAT_WITHOUT="cwd")
    assert recorder.obstacles == (
        "the working directory or the PMI directories of this step decided a mount",
    )
    _, recorder = site.plan("nope", BAREBOAT_MPI="image")
    assert recorder.obstacles == ("a warning is to be told in every step",)
    _, recorder = site.plan(str(own), BAREBOAT_MPI="image", BAREBOAT_WITHOUT="tmp")
    assert recorder.obstacles == (f"{own} is where only this step's directories show it",)
    own.chmod(0o755)
    search = {"BAREBOAT_PASS": "PATH", "PATH": str(site.cwd)}
    _, recorder = site.plan("own", BAREBOAT_MPI="image", BAREBOAT_WITHOUT="tmp", **search)
    assert recorder.obstacles == (f"{own} is where only this step's directories show it",)
    # By its relative name, the directory is part of the request.
    _, recorder = site.plan("./own", BAREBOAT_MPI="image", BAREBOAT_WITHOUT="tmp")
    assert recorder.obstacles == ()


def test_the_program_is_the_same_from_everywhere(site: Site) -> None:
    one, _ = site.plan(TMPDIR="/var/tmp")
    (site.top / "elsewhere").mkdir()
    other, _ = Site(site.top, "elsewhere").plan(TMPDIR=str(site.top / "elsewhere"), PMIX_SYSTEM_TMPDIR="/tmp")
    assert one.encode() == other.encode()
    assert one.operations[-2].verb is Verb.CWD
    assert one.operations[-2].args == ("%{cwd}",)


def test_a_stamp_of_this_very_moment_is_no_guard() -> None:
    """What changes twice within a tick of the kernel's clock looks the same after the second time."""
    stamped = Guard(GuardKind.SAME, "/f", "1 2 3 4 1000000000")
    assert is_fresh(stamped, 1_019_999_999)
    assert not is_fresh(stamped, 1_020_000_000)
    assert not is_fresh(Guard(GuardKind.THERE, "/f"), 0)


def test_a_plan_from_what_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    root = tmp_path / "img"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/true")
    config = tmp_path / "bareboat.toml"
    environment = {"SLURM_CONTAINER": str(root), "BAREBOAT_CONFIG": str(config), "HOME": "/root"}
    kept = set()
    # However slow this machine is just now, the plan is made soon enough for some of these.
    for _ in range(50):
        config.write_text("")
        entry, _ = make_entry(("/bin/true",), environment=environment, cwd="/")
        kept.add(decode_entry(entry).cacheable)
    assert False in kept
    time.sleep(0.05)
    entry, _ = make_entry(("/bin/true",), environment=environment, cwd="/")
    assert decode_entry(entry).cacheable
