"""Installing for a site: the real plugin, a real Slurm, real steps that are asked."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slurm import install as work
from slurm import manifest, plugstack, status
from slurm.errors import SlurmError
from slurm.manifest import Manifest
from slurm.testbed import Testbed

TOP = Path(__file__).parents[2]


@dataclass(frozen=True)
class Site:
    """A Slurm with bareboat installed."""

    bed: Testbed
    prefix: Path
    plugstack: Path
    before: str
    record: Manifest

    def status(self) -> status.Status:
        return status.examine(self.prefix, self.bed.environment)

    def bad(self) -> list[str]:
        return [finding.text for finding in self.status().findings if not finding.good]

    def bareboat(self, *arguments: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.bed.run([str(self.prefix / "bin/bareboat"), *arguments], user=user)


def install(prefix: Path, bed: Testbed, **options: Path) -> Manifest:
    return work.install(prefix, environment=bed.environment, **options)  # type: ignore[arg-type]


def fingerprint(directory: Path) -> str:
    return hashlib.sha256(repr(manifest.scan(directory)).encode()).hexdigest()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    prefix = Path(f"/opt/bareboat-test-{os.getpid()}/deep/bareboat")
    with Testbed(nodes=2) as bed:
        file = bed.directory / "plugstack.conf"
        before = file.read_text()
        umask = os.umask(0o077)
        try:
            record = install(prefix, bed)
        finally:
            os.umask(umask)
        yield Site(bed, prefix, file, before, record)
        plans = Path("/run/bareboat")
        (plans / "0").mkdir(parents=True, exist_ok=True)
        # As the plugin does on a node; this machine is none of the testbed's.
        subprocess.run(["mount", "-t", "tmpfs", "none", str(plans)], check=True)
        (plans / "0").mkdir()
        work.uninstall(prefix)
        assert not plans.exists()
        assert file.read_text() == before
        assert not prefix.parents[1].exists()


# -- what an installation is


def test_everything_is_roots_and_readable_by_all_whatever_the_umask(site: Site) -> None:
    for path in (site.prefix, *site.prefix.parents[:2], *site.prefix.rglob("*")):
        found = path.lstat()
        assert (found.st_uid, found.st_gid) == (0, 0), path
        if not path.is_symlink():
            mode = stat.S_IMODE(found.st_mode)
            assert mode in ((0o755,) if path.is_dir() else (0o755, 0o644)), path


def test_the_prefix_is_laid_out_as_the_plugin_expects(site: Site) -> None:
    programs = ("bareboat-enter", "bareboat-hold", "noop")
    for program in ("bin/bareboat", "venv/bin/python", *(f"libexec/bareboat/{name}" for name in programs)):
        assert os.access(site.prefix / program, os.X_OK)
    assert (site.prefix / "lib/slurm/bareboat.so").is_file()
    # The application looks for its programs below sys.prefix.
    assert (site.prefix / "venv/libexec/bareboat/noop").samefile(site.prefix / "libexec/bareboat/noop")


def test_nothing_of_the_source_tree_is_needed(site: Site, user: pwd.struct_passwd) -> None:
    ask = "import launcher.cli, launcher._core, pyroute2, rich, sys; print(*sys.path, launcher.cli.__file__)"
    python = str(site.prefix / "venv/bin/python")
    answer = site.bed.run([python, "-I", "-c", ask], user=user.pw_name)
    assert answer.returncode == 0, answer.stderr
    assert str(TOP) not in answer.stdout
    for path in site.prefix.rglob("*"):
        if path.suffix == ".cfg" or path.parent.name == "bin":
            assert str(TOP).encode() not in path.read_bytes(), path


def test_a_traceback_names_the_final_place(site: Site) -> None:
    python = str(site.prefix / "venv/bin/python")
    answer = site.bed.run([python, "-I", "-c", "import click; print(click.command.__code__.co_filename)"])
    assert answer.stdout.startswith(str(site.prefix))


def test_the_plugin_is_required_and_the_rest_of_the_file_stays(site: Site) -> None:
    line = f"required {site.prefix}/lib/slurm/bareboat.so\n"
    assert site.plugstack.read_text() == site.before + line
    assert stat.S_IMODE(site.plugstack.stat().st_mode) == 0o644


def test_installing_again_replaces_everything_and_changes_nothing(site: Site) -> None:
    inode, text = site.prefix.stat().st_ino, site.plugstack.read_text()
    # As an install that was killed leaves it.
    stale = site.prefix.parent / f".{site.prefix.name}.bareboat-killed"
    (stale / "venv").mkdir(parents=True)
    record = install(site.prefix, site.bed)
    assert site.prefix.stat().st_ino != inode
    assert site.plugstack.read_text() == text
    assert record.parents == site.record.parents
    assert [path.name for path in site.prefix.parent.iterdir()] == [site.prefix.name]
    assert site.bad() == []


def test_a_failed_install_leaves_the_old_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before, inode = fingerprint(site.prefix), site.prefix.stat().st_ino
    monkeypatch.setenv("CC", "/bin/false")
    with pytest.raises(SlurmError, match="cannot build the native programs: /bin/false"):
        install(site.prefix, site.bed)
    assert (fingerprint(site.prefix), site.prefix.stat().st_ino) == (before, inode)
    assert [path.name for path in site.prefix.parent.iterdir()] == [site.prefix.name]
    assert site.bad() == []


def test_an_installed_copy_installs_itself_elsewhere(site: Site, shared_path: Path) -> None:
    copy, other = shared_path / "copy", shared_path / "plugstack.conf"
    done = site.bareboat("slurm", "install", "--prefix", str(copy), "--plugstack", str(other))
    assert done.returncode == 0, done.stderr
    assert f"bareboat {site.record.version} is installed in {copy}, for Slurm " in done.stdout
    assert other.read_text() == f"required {copy}/lib/slurm/bareboat.so\n"
    assert "slurmd needs no restart" in done.stdout
    gone = site.bed.run([str(copy / "bin/bareboat"), "slurm", "uninstall"])
    assert gone.returncode == 0, gone.stderr
    assert list(shared_path.iterdir()) == []


# -- status


def test_all_is_well_on_every_node(site: Site) -> None:
    answer = site.bareboat("slurm", "status", "--nodes")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    table = [line.split() for line in answer.stdout.splitlines()]
    version = site.record.version
    assert ["n1", version, "yes", "-"] in table
    assert ["n2", version, "yes", "-"] in table
    assert "BAD" not in answer.stdout


def test_everybody_may_ask(site: Site, user: pwd.struct_passwd) -> None:
    answer = site.bareboat("slurm", "status", "--nodes", user=user.pw_name)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    # Only root may look into slurmstepd's memory.
    assert [line.split()[2] for line in answer.stdout.splitlines()[-2:]] == ["?", "?"]


def test_a_node_without_the_prefix_is_found(site: Site) -> None:
    hidden = site.bed.enter("n2", ["mount", "-t", "tmpfs", "none", str(site.prefix)])
    assert hidden.returncode == 0, hidden.stderr
    try:
        answer = site.bareboat("slurm", "status", "--nodes")
    finally:
        site.bed.enter("n2", ["umount", str(site.prefix)])
    rows = {line.split()[0]: line for line in answer.stdout.splitlines() if line.startswith("n")}
    assert answer.returncode == 125
    assert rows["n1"].split()[1:] == [site.record.version, "yes", "-"]
    assert rows["n2"].split()[1:3] == ["-", "?"]
    assert "srun: error" in rows["n2"]


def test_a_node_with_another_build_is_found(site: Site) -> None:
    other = replace(site.status(), plugin="0" * 64)
    rows = {
        answer.name: answer.problem for answer in status.ask_nodes(site.prefix, other, site.bed.environment)
    }
    assert rows == dict.fromkeys(("n1", "n2"), "the plugin there is another build than here")


def test_a_node_that_is_down_is_not_waited_for(site: Site) -> None:
    down = ["scontrol", "update", "NodeName=n2", "State=DRAIN", "Reason=test"]
    assert site.bed.run(down).returncode == 0
    try:
        answers = status.ask_nodes(site.prefix, site.status(), site.bed.environment)
    finally:
        site.bed.run(["scontrol", "update", "NodeName=n2", "State=RESUME"])
    assert [answer.name for answer in answers if not answer.problem] == ["n1"]
    assert answers[1].problem.startswith("cannot be asked: ")
    assert "drain" in answers[1].problem


def test_optional_is_not_good_enough(site: Site) -> None:
    text = site.plugstack.read_text()
    site.plugstack.write_text(text.replace("required", "optional"))
    try:
        bad = site.bad()
        install_line = plugstack.add(site.plugstack.read_text(), work.plugin_of(site.prefix))
    finally:
        site.plugstack.write_text(text)
    text_of_it = f"{site.plugstack} loads the plugin as optional: should it fail to load, "
    assert bad == [text_of_it + "Slurm would run --container jobs on the bare host"]
    assert install_line == text


def test_a_missing_line_and_an_oci_conf_are_found(site: Site) -> None:
    text = site.plugstack.read_text()
    oci = site.bed.directory / "oci.conf"
    site.plugstack.write_text(site.before)
    oci.touch()
    try:
        answer = site.bareboat("slurm", "status")
    finally:
        site.plugstack.write_text(text)
        oci.unlink()
    assert answer.returncode == 125
    assert f"BAD  {site.plugstack} does not load the plugin" in answer.stdout
    assert f"BAD  {oci} exists: Slurm starts its own container runtime" in answer.stdout


def test_a_changed_file_and_another_release_of_slurm_are_found(site: Site, shared_path: Path) -> None:
    copy = shared_path / "copy"
    shutil.copytree(site.prefix, copy, symlinks=True)
    (copy / "bin/bareboat").write_text("#!/bin/sh\n")
    manifest.write(replace(site.record, slurm_version="21.08.7"), copy)
    texts = [finding.text for finding in status.examine(copy, site.bed.environment).findings]
    assert "not as installed: bin/bareboat was changed" in texts
    assert any(text.startswith("the plugin is built for Slurm 21.08.7, and Slurm 2") for text in texts)


def test_where_nothing_is_installed_status_says_so(site: Site, shared_path: Path) -> None:
    answer = site.bareboat("slurm", "status", "--prefix", str(shared_path))
    assert answer.returncode == 125
    assert f"BAD  bareboat is not installed in {shared_path}" in answer.stdout


def test_the_stores_of_the_line_are_judged(site: Site, store: Path) -> None:
    text = site.plugstack.read_text()
    line = f"required {site.prefix}/lib/slurm/bareboat.so\n"
    # Where the line names none; a machine may have that one or not.
    assert "/var/lib/bareboat/store" in site.bareboat("slurm", "status").stdout
    assert line in text
    try:
        site.plugstack.write_text(text.replace(line, f"{line[:-1]} store={store} store=/tmp\n"))
        answer = site.bareboat("slurm", "status", "--nodes")
    finally:
        site.plugstack.write_text(text)
    assert answer.returncode == 125
    assert f"ok   squashfs images of the store {store} are mounted by the kernel\n" in answer.stdout
    said = "the kernel mounts no squashfs image of the store /tmp: /tmp is of user 0, mode 1777"
    assert f"BAD  {said}\n" in answer.stdout
    rows = {line.split()[0]: line for line in answer.stdout.splitlines() if line.startswith("n")}
    assert rows["n1"].endswith(said)


# -- refusals


def test_uninstall_refuses_what_it_did_not_write(site: Site) -> None:
    before = fingerprint(site.prefix)
    own = site.prefix / "lib/notes.txt"
    own.write_text("mine")
    try:
        with pytest.raises(SlurmError, match=r"nothing was removed:\n  lib/notes\.txt is not ours"):
            work.uninstall(site.prefix)
    finally:
        own.unlink()
    assert fingerprint(site.prefix) == before
    assert site.bad() == []


def test_byte_code_that_python_cached_is_no_obstacle(site: Site) -> None:
    module = next(site.prefix.glob("venv/lib/python3*/site-packages/slurm/errors.py"))
    cached = module.parent / "__pycache__/errors.cpython-399.pyc"
    cached.write_bytes(b"")
    try:
        assert manifest.differences(site.record, site.prefix) == ()
    finally:
        cached.unlink()


def test_uninstalling_nothing_is_an_error(shared_path: Path) -> None:
    with pytest.raises(SlurmError, match="there is no bareboat in"):
        work.uninstall(shared_path)


def test_a_second_bareboat_is_refused(site: Site, shared_path: Path) -> None:
    with pytest.raises(SlurmError, match=f"{site.plugstack} loads another bareboat already: {site.prefix}"):
        install(shared_path / "second", site.bed)
    assert list(shared_path.iterdir()) == []


def test_a_prefix_is_not_taken_from_the_slurm_that_it_serves(site: Site, shared_path: Path) -> None:
    # Without its line, that Slurm would run --container on the bare host and say nothing.
    elsewhere = shared_path / "plugstack.conf"
    before, inode = site.plugstack.read_text(), site.prefix.stat().st_ino
    with pytest.raises(SlurmError) as error:
        work.install(site.prefix, environment={"SLURM_CONF": str(shared_path / "slurm.conf")})
    assert str(error.value) == (
        f"{site.prefix} serves another Slurm: {site.plugstack} loads its plugin, not {elsewhere}"
    )
    assert f"--plugstack {site.plugstack}" in error.value.hint
    assert (site.plugstack.read_text(), site.prefix.stat().st_ino) == (before, inode)
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("/opt", "cannot be installed in '/opt'"),
        ("/opt/with blank", "cannot be installed in '/opt/with blank'"),
        ("/opt/../opt/x", r"cannot be installed in '/opt/\.\./opt/x'"),
        ("/var/tmp/x", "/var/tmp can be written by others than root"),
        ("/usr/lib", "holds something else than bareboat"),
        ("/etc/passwd", "is not a directory"),
    ],
)
def test_a_place_that_is_not_fit_is_refused(testbed: Testbed, prefix: str, text: str) -> None:
    with pytest.raises(SlurmError, match=text):
        install(Path(prefix), testbed)


def test_a_place_that_is_a_users_is_refused(testbed: Testbed, user: pwd.struct_passwd) -> None:
    with pytest.raises(SlurmError, match=f"{user.pw_dir} belongs to user {user.pw_uid}, not to root"):
        install(Path(user.pw_dir, "bareboat"), testbed)


def test_a_python_that_others_cannot_reach_is_refused(testbed: Testbed, shared_path: Path) -> None:
    closed = shared_path / "home"
    closed.mkdir(mode=0o700)
    python = shutil.copy2(Path(sys.executable).resolve(), closed / "python3")
    with pytest.raises(
        SlurmError, match=f"cannot serve every user of the cluster: {closed} is closed"
    ) as error:
        install(shared_path / "prefix", testbed, python=Path(python))
    assert "--python" in error.value.hint
    with pytest.raises(SlurmError, match="the Python /bin/false does not run"):
        install(shared_path / "prefix", testbed, python=Path("/bin/false"))


def test_missing_headers_are_named(testbed: Testbed, shared_path: Path) -> None:
    with pytest.raises(SlurmError, match=rf"slurm/spank\.h is not in {shared_path}") as error:
        install(shared_path / "prefix", testbed, slurm_include=shared_path)
    assert "libslurm-dev" in error.value.hint


def test_a_plugstack_file_in_no_directory_is_refused(testbed: Testbed, shared_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"cannot get the plugin's line: .*/none does not exist"):
        install(shared_path / "prefix", testbed, plugstack_file=shared_path / "none/plugstack.conf")


def test_a_missing_configuration_of_slurm_is_named(shared_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"Slurm's configuration is not at /none/slurm\.conf") as error:
        work.install(shared_path / "prefix", environment={"SLURM_CONF": "/none/slurm.conf"})
    assert "--plugstack" in error.value.hint
