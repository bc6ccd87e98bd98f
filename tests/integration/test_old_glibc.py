"""Images whose glibc is older than the host's MPI needs: the host's takes its place, and all lives on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launching import HELLO, Image, Run, bareboat, out

from mpi_abi.libc import probe_host_libc

# Linked with glibc 2.31, with threads of their own and with libraries that are opened by name.
PYTHON = """
import crypt, ctypes, grp, locale, pwd, socket, sqlite3, ssl, sys, threading
local, seen = threading.local(), []
def work(number):
    local.number = number
    barrier.wait()
    seen.append(local.number)
barrier = threading.Barrier(8)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sorted(seen) == list(range(8))
assert pwd.getpwuid(0).pw_name == pwd.getpwnam("root").pw_name == "root"
assert grp.getgrgid(0).gr_name == "root"
assert socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][4] == ("127.0.0.1", 80)
assert crypt.crypt("word", "$6$salt").startswith("$6$salt$")
libc = ctypes.CDLL("libc.so.6")
libc.gnu_get_libc_version.restype = ctypes.c_char_p
for name in ("libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libresolv.so.2", "libanl.so.1"):
    ctypes.CDLL(name)
print(libc.gnu_get_libc_version().decode())
"""


@pytest.fixture
def old(image: Image) -> Path:
    return image("deb11-openmpi")


def inside(root: Path, *command: object, mpi: str = "host", **more: str) -> Run:
    return bareboat("run", "--mpi", mpi, root, "--", *command, cwd="/", input=None, under=(), **more)


@pytest.mark.parametrize(
    ("name", "library"), [("deb11-mpich", "MPICH Version: 4.0.2"), ("deb11-openmpi", "Open MPI v4.1.4")]
)
def test_the_program_calls_the_hosts_mpi(image: Image, name: str, library: str) -> None:
    assert f"library {library}" in out(bareboat("run", image(name), "--", HELLO))


def test_check_and_plan_say_whose_glibc_serves(image: Image) -> None:
    root = image("deb11-mpich")
    said = (
        "/usr/lib/x86_64-linux-gnu/libmpich.so.12.2.2 of this host needs GLIBC_2.34 of libc.so.6; "
        "the image's glibc ends at 2.31: the host's glibc 2.36 takes its place as a whole, with its loader, "
        "for all programs in the container"
    )
    checked = bareboat("abi", "check", "--json", root, HELLO)
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["reasons"][0]["code"] == "host-glibc"
    assert json.loads(checked.stdout)["reasons"][0]["text"] == said
    plan = json.loads(out(bareboat("plan", "--json", root, "--", HELLO)))
    assert said in plan["mpi"]["reasons"]
    assert plan["mpi"]["swap"].endswith(", glibc 2.31 -> 2.36")
    assert "glibc 2.31 -> 2.36" in out(bareboat("plan", root, "--", HELLO))


def test_the_whole_set_is_the_hosts_and_no_part_of_it_the_images(old: Path) -> None:
    files = probe_host_libc().files
    assert {"libc.so.6", "ld-linux-x86-64.so.2", "libnss_files.so.2", "libthread_db.so.1"} <= set(files)
    folders = "/run/bareboat/mpi/lib /lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu"
    script = f"for n; do for d in {folders}; do [ -e $d/$n ] && stat -Lc '%n %d %i' $d/$n; done; done; true"
    found = out(inside(old, "sh", "-c", script, "sh", *files)).splitlines()
    for line in found:
        path, device, inode = line.split()
        own = Path(files[path.rpartition("/")[2]][0]).stat()
        assert (int(device), int(inode)) == (own.st_dev, own.st_ino), path
    assert {line.split()[0].rpartition("/")[2] for line in found} == set(files)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("getent passwd root", "root:x:0:0:"),
        ("getent -s compat passwd root", "root:x:0:0:"),
        ("getent group root", "root:x:0:"),
        ("getent ahosts localhost", "127.0.0.1 "),
        ("id -un", "root\n"),
    ],
)
def test_names_of_users_and_hosts_are_found(old: Path, command: str, said: str) -> None:
    # A shell may start MPI programs; getent by itself gets what the image has.
    assert said in out(inside(old, "sh", "-c", command))


@pytest.mark.parametrize(
    ("charset", "text"), [("latin1", r"\351"), ("SHIFT_JIS", r"\203\212"), ("UTF-16LE", r"\351\0")]
)
def test_iconv_converts_as_the_images_own_does(old: Path, charset: str, text: str) -> None:
    script = f"printf '{text}' | iconv -f {charset} -t UTF-8"
    own = out(inside(old, "sh", "-c", script, mpi="image"))
    assert own in ("\u00e9", "\u30ea")
    assert out(inside(old, "sh", "-c", script)) == own


def test_locales_of_the_image_are_understood(old: Path, tmp_path: Path) -> None:
    """One as a directory, one in an archive, both made by glibc 2.31."""
    folder = tmp_path / "usr/lib/locale"
    folder.mkdir(parents=True)
    made = ("localedef", "-i", "de_DE", "-f", "UTF-8", f"{tmp_path}/de_DE.UTF-8")
    out(inside(old, *made, mpi="image"))
    archived = ("localedef", "-i", "fr_FR", "-f", "ISO-8859-1", "--prefix", tmp_path, "fr_FR.ISO-8859-1")
    out(inside(old, *archived, mpi="image"))
    program = "import locale, time; locale.setlocale(locale.LC_ALL, ''); "
    program += (
        "print(time.strftime('%A %B', (2026, 3, 2, 0, 0, 0, 0, 61, 0)), locale.localeconv()['decimal_point'])"
    )
    settings = {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(tmp_path)}
    assert out(inside(old, "python3", "-c", program, **settings)) == "Montag März ,\n"
    mount = f"{folder}/locale-archive:/usr/lib/locale/locale-archive:ro"
    settings = {"LC_ALL": "fr_FR.ISO-8859-1", "BAREBOAT_MOUNTS": mount, "PYTHONIOENCODING": "utf-8"}
    assert out(inside(old, "python3", "-c", program, **settings)) == "lundi mars ,\n"
    assert out(inside(old, "sh", "-c", "locale charmap", LC_ALL="C.UTF-8")) == "UTF-8\n"


def test_programs_with_threads_and_plugins_run(old: Path) -> None:
    assert out(inside(old, "python3", "-c", PYTHON)) == "2.36\n"
    assert out(inside(old, "python3", "-c", PYTHON, mpi="image")) == "2.31\n"
    program = "from mpi4py import MPI; print(MPI.Get_library_version())"
    assert out(inside(old, "python3", "-c", program)).startswith("Open MPI v4.1.4")


def test_programs_that_clear_their_environment_run(old: Path) -> None:
    """What is covered needs no LD_LIBRARY_PATH."""
    assert out(inside(old, "env", "-i", "/usr/bin/python3", "-c", PYTHON)) == "2.36\n"
    assert out(inside(old, "env", "-i", "/usr/bin/perl", "-e", "print 1 + 1")) == "2"


def test_a_newer_image_keeps_its_own(image: Image) -> None:
    plan = json.loads(out(bareboat("plan", "--json", image("deb13-openmpi"), "--", HELLO)))
    assert "glibc" not in plan["mpi"]["swap"]
    targets = [operation["args"][1] for operation in plan["operations"] if operation["verb"] == "bind"]
    assert not [
        target for target in targets if target.rpartition("/")[2].startswith(("libc.", "ld-", "gconv"))
    ]
