"""What a step's variables, working directory, arguments and libraries try against what bareboat runs."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from steps import CACHED, PLANNED, Srun, good, how, refused

from slurm.testbed import Testbed

pytestmark = pytest.mark.usefixtures("nodes_stay")


class Evil:
    """A library, Python modules and programs that note in ``log`` what they got into; all in ``top``."""

    def __init__(self, top: Path, user: pwd.struct_passwd) -> None:
        self.top, self.log = top, Path(user.pw_dir, "evil.log")
        self.log.write_text("")
        self.log.chmod(0o666)
        self.library = top / "evil.so"
        source = Path(__file__).parents[1] / "data/evil.c"
        define = f'-DLOG="{self.log}"'
        subprocess.run(
            ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", define, "-o", self.library, source], check=True
        )
        note = f"import sys\nopen({str(self.log)!r}, 'a').write('python ' + sys.executable + '\\n')\n"
        for name in ("sitecustomize.py", "usercustomize.py", "launcher.py", "click.py", "startup.py"):
            (top / name).write_text(note)
        for name in ("launcher", "slurm"):
            (top / name).mkdir()
            (top / name / "__init__.py").write_text(note)
            (top / name / "step.py").write_text(note)
        for name in ("python", "python3", "sh", "env", "ldconfig", "bareboat-enter", "uname", "id"):
            (top / name).write_text(f"#!/bin/sh\necho program $0 >> {self.log}\n")
            (top / name).chmod(0o755)

    def noted(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return sorted(set(lines))

    def variables(self) -> dict[str, str]:
        library, top = str(self.library), str(self.top)
        return {
            "LD_PRELOAD": library,
            "LD_AUDIT": library,
            "LD_LIBRARY_PATH": top,
            "PYTHONPATH": top,
            "PYTHONUSERBASE": top,
            "PYTHONSTARTUP": f"{top}/startup.py",
            "PYTHONINSPECT": "1",
            "PATH": f"{top}:/usr/bin:/bin",
            "BASH_ENV": f"{top}/sh",
            "ENV": f"{top}/sh",
            "LOCPATH": top,
            "GCONV_PATH": top,
            "SLURM_CONF": f"{top}/slurm.conf",
            "GLIBC_TUNABLES": "glibc.malloc.check=3",
        }


@pytest.fixture
def evil(shared_path: Path, user: pwd.struct_passwd) -> Evil:
    top = shared_path / "evil"
    top.mkdir()
    return Evil(top, user)


def exported(variables: dict[str, str]) -> str:
    """For the step alone, not for srun itself."""
    return "--export=ALL," + ",".join(f"{name}={value}" for name, value in variables.items())


def test_variables_load_nothing_into_what_bareboat_runs(
    srun: Srun, plain: Path, evil: Evil, user: pwd.struct_passwd
) -> None:
    steer = exported(evil.variables())
    program = Path(sys.base_prefix, "bin/python3").resolve()
    # On the host, they do what they say.
    srun(f"--chdir={evil.top}", steer, program, "-c", "pass")
    assert evil.noted() == sorted([f"{user.pw_uid} {program} {program.name}", f"python {program}"])
    into_the_program = [f"{user.pw_uid} /usr/bin/true true"]
    for chosen, expected in (({}, PLANNED), ({"BAREBOAT_REPLAN": "1"}, PLANNED), ({}, CACHED)):
        result = srun(
            *("-w", "n1", f"--chdir={evil.top}", steer, f"--container={plain}", "/usr/bin/true"),
            BAREBOAT_TRACE="1",
            **chosen,
        )
        assert how(result) == expected
        # LD_AUDIT enters, and steers the user's own program as it would outside.
        assert evil.noted() == into_the_program
    # Where the user lets more in, it gets into the same program, and nowhere else.
    mounts = {"BAREBOAT_PASS": "LD_PRELOAD", "BAREBOAT_MOUNTS": str(evil.top)}
    srun(steer, f"--container={plain}", "/usr/bin/true", **mounts)
    assert evil.noted() == into_the_program


def test_slurmstepd_loads_nothing_of_the_image(srun: Srun, hostile: Path, evil: Evil) -> None:
    """Between the join and the application, a rank is still a copy of slurmstepd, whose root is the image."""
    names = [
        "libgcc_s.so.1",
        "libc.so.6",
        "libmunge.so.2",
        "libslurm.so",
        "libslurmfull.so",
        "libresolv.so.2",
    ]
    names += [f"libnss_{kind}.so.2" for kind in ("files", "compat", "dns", "systemd", "db", "mymachines")]
    for directory in ("lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"):
        (hostile / directory).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(evil.library, hostile / directory / name)
    plugins = next(Path("/usr/lib").glob("*/slurm-wlm"))
    (hostile / plugins.relative_to("/")).mkdir(parents=True)
    for path in plugins.glob("*.so"):
        shutil.copy(evil.library, hostile / path.relative_to("/"))
    (hostile / "etc").mkdir()
    (hostile / "etc/nsswitch.conf").write_text("passwd: db compat\ngroup: db compat\n")
    (hostile / "etc/ld.so.preload").write_text("/lib/libgcc_s.so.1\n")
    (hostile / "text").write_text("no program\n")
    for program, code in (("true", 0), ("/nowhere", 2), ("/text", 13), ("nowhere", 2)):
        assert srun(f"--container={hostile}", program).returncode == code
        assert evil.noted() == []


def test_the_planners_word_on_prologs_is_the_plugins(srun: Srun, hostile: Path) -> None:
    """What it names is covered by a program that does nothing: that is not the user's to say."""
    said = srun(f"--container={hostile}", "/bin/cat", "/mark", SLURM_BAREBOAT_TASK_PROLOGS="/bin/cat")
    assert good(said) == ["the image's"]


VARIABLES = {
    "SLURM_CONTAINER": "/",
    "SLURM_STEP_NUM_TASKS": "-1",
    "SLURM_GTIDS": "x,,99999999999999999999",
    "SLURM_LOCALID": "%{cwd}",
    "SLURMD_NODENAME": "\n%s%n\x1b[31m",
    "SLURM_JOB_ID": "../../etc",
    "PMIX_NAMESPACE": "%s%s%n",
    "PMI_FD": "-1",
    "HOME": "/etc/shadow",
    "USER": "root",
    "LOGNAME": "\n",
    "TZ": ":/etc/shadow",
    "LANG": "%n" * 1000,
    "OMPI_MCA_x": "y" * 100_000,
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_says_what_slurm_never_would(srun: Srun, hostile: Path, name: str) -> None:
    """Whatever it is, it changes nothing but what the user may change."""
    script = "cat /mark; attack open /etc/shadow; attack ids"
    value = {name: VARIABLES[name]}
    # srun reads some of them itself; a comma is --export's own.
    argument, more = ("--export=ALL", value) if "," in VARIABLES[name] else (exported(value), {})
    lines = good(srun(argument, f"--container={hostile}", "sh", "-c", script, **more))
    assert lines[0] == "the image's"
    assert lines[1].rpartition(": ")[2] in {"Permission denied", "No such file or directory"}
    assert f" CapEff {'0' * 16} NoNewPrivs 1" in lines[2]


def test_another_users_runtime_directory_gets_no_cache(
    cluster: Testbed, srun: Srun, hostile: Path, other: pwd.struct_passwd, shared_path: Path
) -> None:
    """XDG_RUNTIME_DIR is where plans are kept when root's part could make no directory."""
    theirs = shared_path / "theirs"
    theirs.mkdir()
    link = shared_path / "runtime"
    link.mkdir(mode=0o777)
    (link / "bareboat").symlink_to(theirs)
    theirs.chmod(0o777)
    away = "umount /run/bareboat; rm -rf /run/bareboat"
    cluster.enter("n1", ["sh", "-c", f"{away}; touch /run/bareboat"])
    try:
        for place in (other.pw_dir, str(theirs), str(link), "/proc/1/root/tmp", "relative", "/" + "x" * 5000):
            for _ in range(2):
                arguments = ("-w", "n1", f"--container={hostile}", "true")
                done = srun(*arguments, BAREBOAT_TRACE="1", XDG_RUNTIME_DIR=place)
                if place == str(theirs):
                    shutil.rmtree(theirs / "bareboat", ignore_errors=True)
                assert how(done) == PLANNED
        assert sorted(path.name for path in Path(other.pw_dir).iterdir() if path.name == "bareboat") == []
        assert list(theirs.iterdir()) == []
    finally:
        cluster.enter("n1", ["rm", "/run/bareboat"])


# Limits


@pytest.mark.parametrize("length", [4000, 4095, 4096, 100_000])
def test_image_names_at_the_limit(srun: Srun, length: int) -> None:
    name = (("/" + "i" * 199) * 501)[:length]
    said = refused(srun(f"--container={name}", "true"))
    assert said[0].startswith(("error: cannot reach the image /iii", "error: the image /iii"))


def test_mounts_at_the_limit(srun: Srun, hostile: Path) -> None:
    many = [f"/etc/hostname:/many/{number}" for number in range(65)]
    script = "ls /many | wc -l"
    assert good(srun(f"--container={hostile}", "sh", "-c", script, BAREBOAT_MOUNTS=",".join(many[:64]))) == [
        "64"
    ]
    said = refused(srun(f"--container={hostile}", "true", BAREBOAT_MOUNTS=",".join(many)))
    assert said[0] == "error: 65 mounts were asked for, the site allows 64"


def test_arguments_and_variables_at_the_limit(srun: Srun, hostile: Path) -> None:
    script = ("sh", "-c", "echo $#; cat /mark")
    assert good(srun(f"--container={hostile}", *script, "sh", *["x"] * 5000)) == ["5000", "the image's"]
    long = {f"BAREBOAT_TEST_{number}": "v" * 120_000 for number in range(8)}
    assert good(srun(f"--container={hostile}", *script, **long)) == ["0", "the image's"]
    path = {"PATH": "/usr/bin:" + ":".join(["/" + "p" * 200] * 600)}
    assert good(srun(f"--container={hostile}", *script, **path)) == ["0", "the image's"]
