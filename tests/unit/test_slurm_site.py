"""The pure parts of installing and asking: plugstack.conf, the record, requirements, nodes, verdicts."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from slurm import build, inventory, manifest, payload, plugstack, status
from slurm.errors import SlurmError
from slurm.plugstack import Entry, Kind
from slurm.safety import problem_with
from slurm.status import Finding, Status

PLUGIN = "/opt/bareboat/lib/slurm/bareboat.so"

# -- plugstack.conf


def test_lines_are_read_as_spank_does() -> None:
    text = "# optional /a.so\n optional\t/b.so  x=1 # note\nrequired c.so\n\ninclude d/*.conf\nother /e\n"
    assert plugstack.parse(text + "required\n", "f") == (
        Entry(Kind.OPTIONAL, "/b.so", "f", ("x=1",)),
        Entry(Kind.REQUIRED, "c.so", "f"),
        Entry(Kind.INCLUDE, "d/*.conf", "f"),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"required {PLUGIN}\n"),
        ("include x", f"include x\nrequired {PLUGIN}\n"),
        (f"optional {PLUGIN} debug\n# end\n", f"# end\nrequired {PLUGIN}\n"),
        (f"required {PLUGIN}\nrequired {PLUGIN}\n", f"required {PLUGIN}\n"),
        (f"\n  required {PLUGIN} # ours\nx\n", f"\n  required {PLUGIN} # ours\nx\n"),
    ],
)
def test_adding_leaves_one_required_line(before: str, after: str) -> None:
    assert plugstack.add(before, PLUGIN) == after


def test_removing_spares_all_other_lines() -> None:
    text = f"a\n# required {PLUGIN}\nrequired {PLUGIN}\nrequired {PLUGIN}.old\ninclude {PLUGIN}\nlast"
    assert plugstack.remove(text, PLUGIN) == text.replace(f"\nrequired {PLUGIN}\n", "\n", 1)


def test_included_files_are_followed_in_order(tmp_path: Path) -> None:
    top = tmp_path / "plugstack.conf"
    (tmp_path / "d").mkdir()
    top.write_text(f"include d/*.conf\ninclude {tmp_path}/none/*\nrequired /z/bareboat.so\n")
    (tmp_path / "d/2.conf").write_text("optional /b.so\n")
    (tmp_path / "d/1.conf").write_text("required /a/bareboat.so\n")
    entries = plugstack.read_entries(top)
    assert [(entry.path, Path(entry.file).name) for entry in entries] == [
        ("/a/bareboat.so", "1.conf"),
        ("/b.so", "2.conf"),
        ("/z/bareboat.so", "plugstack.conf"),
    ]
    assert [entry.path for entry in plugstack.bareboats(entries)] == ["/a/bareboat.so", "/z/bareboat.so"]


def test_a_file_that_includes_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.conf").write_text("include p.conf\n")
    with pytest.raises(SlurmError, match=r"p\.conf is included too deeply"):
        plugstack.read_entries(tmp_path / "p.conf")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "plugstack.conf"),
        ("#PlugStackConfig=/x\n", "plugstack.conf"),
        ("a=b\nplugstackconfig = /else/where.conf\n", "/else/where.conf"),
    ],
)
def test_plugstack_is_where_slurm_conf_says(tmp_path: Path, text: str, name: str) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text(text)
    assert plugstack.find({"SLURM_CONF": str(conf)}) == tmp_path / name


# -- the record

RECORD = manifest.Manifest(
    "1", "22.05.8", "/p", "/usr/bin/python3", "/p.conf", True, ("/q",), (("a.py", "0"),)
)


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    manifest.write(RECORD, tmp_path)
    assert manifest.read(tmp_path) == RECORD
    assert manifest.read(tmp_path / "other") is None
    (tmp_path / manifest.PLACE).write_text("[]")
    with pytest.raises(SlurmError, match="the installation's record cannot be read"):
        manifest.read(tmp_path)


def test_differences_are_named(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    for name in ("pkg/kept.py", "pkg/changed", "pkg/missing"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("pkg")
    record = manifest.Manifest("1", "2", "/p", "/y", "/z", False, (), manifest.scan(tmp_path))
    assert ("link", "-> pkg") in record.files
    assert manifest.differences(record, tmp_path) == ()
    (tmp_path / "pkg/changed").write_text("y")
    (tmp_path / "pkg/missing").unlink()
    (tmp_path / "pkg/new").write_text("")
    (tmp_path / "pkg/__pycache__").mkdir()
    (tmp_path / "pkg/__pycache__/kept.cpython-311.pyc").write_text("")
    (tmp_path / "pkg/__pycache__/alien.cpython-311.pyc").write_text("")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    assert manifest.differences(record, tmp_path) == (
        "link was changed",
        "pkg/__pycache__/alien.cpython-311.pyc is not ours",
        "pkg/changed was changed",
        "pkg/missing is missing",
        "pkg/new is not ours",
    )


# -- what is copied


def test_requirements_of_extras_are_left_out() -> None:
    lines = [
        "click==8.5.1",
        "colorama; platform_system == 'Windows'",
        "pytest ; extra == 'dev'",
        "a.b-c (>=1)",
    ]
    assert payload.parse_requirements(lines) == (
        payload.Requirement("click", certain=True),
        payload.Requirement("colorama", certain=False),
        payload.Requirement("a.b-c", certain=True),
    )
    with pytest.raises(SlurmError, match=r"'==1' is not a requirement"):
        payload.parse_requirements(["==1"])


def test_the_payload_is_everything_that_runs_and_no_tool_of_developers() -> None:
    found = payload.find_payload()
    names = {path.partition("/")[0] for path, _ in found.files}
    assert {"archspec", "click", "cffi", "pycparser", "pyroute2", "rich", "pygments", "yaml"} <= names
    assert not {"pytest", "_pytest", "hypothesis", "mypy", "pip"} & names
    assert any(name.startswith("_cffi_backend") for name in names)
    assert all(source.is_file() for _, source in found.files)
    assert {name for name, _ in found.packages} == set(payload.PACKAGES)


def test_a_release_number_of_the_headers_becomes_text() -> None:
    assert build.version_text(0x160508) == "22.05.8"
    assert build.version_text(0x180B03) == "24.11.3"


# -- safe places


def test_a_path_is_judged_by_each_of_its_components(tmp_path: Path) -> None:
    assert problem_with(Path("/usr/bin/env")) is None
    assert problem_with(Path("/opt/not/there/yet")) is None
    # pytest's own directory is closed to others.
    closed = next(part for part in reversed(tmp_path.parents) if not part.stat().st_mode & 0o001)
    assert problem_with(tmp_path / "x") == f"{closed} is closed to other users (mode 0700)"


@pytest.mark.parametrize(
    ("mode", "gid", "problem"),
    [
        (0o755, 0, None),
        (0o775, 0, None),
        (0o775, 12, "can be written by others than root (mode 0775)"),
        (0o777, 0, "can be written by others than root (mode 0777)"),
        (0o1777, 0, "can be written by others than root (mode 1777)"),
        (0o750, 0, "is closed to other users (mode 0750)"),
    ],
)
def test_modes_that_are_not_safe(mode: int, gid: int, problem: str | None) -> None:
    # Below / itself, since every temporary directory is somebody's.
    place = Path(f"/bareboat-safety-{os.getpid()}")
    place.mkdir()
    try:
        os.chown(place, 0, gid)
        place.chmod(mode)
        assert problem_with(place) == (problem and f"{place} {problem}")
        os.chown(place, 12, 0)
        assert problem_with(place) == f"{place} belongs to user 12, not to root"
    finally:
        place.rmdir()


# -- nodes


def test_nodes_of_old_and_new_releases() -> None:
    old = {"nodes": [{"name": "n1", "state": "idle", "state_flags": ["DRAIN"], "cpus": 4}]}
    new = {"nodes": [{"name": "n1", "state": ["IDLE", "DRAIN"], "cpus": 4}]}
    joined = {"nodes": [{"name": "n1", "state": "IDLE+DRAIN", "cpus": 4}]}
    for answer in (old, new, joined):
        (node,) = inventory.parse_nodes(json.dumps(answer))
        assert node == inventory.NodeInfo("n1", ("idle", "drain"), 4)
        assert not node.is_usable
    assert inventory.NodeInfo("n", ("mixed",), 1).is_usable


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nodes": [1]}', '{"nodes": [{"name": "a", "state": 3}]}'])
def test_what_is_no_list_of_nodes_is_an_error(text: str) -> None:
    with pytest.raises(SlurmError, match="Slurm's list of nodes cannot be read"):
        inventory.parse_nodes(text)


def test_releases() -> None:
    assert inventory.parse_version("slurm-wlm 22.05.8\n") == "22.05.8"
    assert inventory.parse_version("slurm 24.11.5-1") == "24.11.5"
    assert inventory.is_same_release("22.05.8", "22.05.1")
    assert not inventory.is_same_release("22.05.8", "22.11.8")
    with pytest.raises(SlurmError, match="Slurm calls its release 'nothing'"):
        inventory.parse_version("nothing")


def test_a_missing_slurm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlurmError, match="Slurm's command there-is-none is not installed here"):
        inventory.run(("there-is-none",), {})


# -- verdicts


@pytest.mark.parametrize(
    ("entries", "good", "text"),
    [
        ((Entry(Kind.REQUIRED, PLUGIN, "/f"),), True, "/f requires the plugin"),
        ((), False, "/p does not load the plugin: Slurm would run --container jobs on the bare host"),
        ((Entry(Kind.OPTIONAL, PLUGIN, "/f"),), False, "/f loads the plugin as optional"),
        ((Entry(Kind.REQUIRED, "/x/bareboat.so", "/f"),), False, "/f loads another bareboat: /x/bareboat.so"),
        ((Entry(Kind.REQUIRED, PLUGIN, "/f"),) * 2, False, "the plugin is loaded 2 times"),
    ],
)
def test_lines_of_plugstack_are_judged(entries: tuple[Entry, ...], good: bool, text: str) -> None:
    finding = status.judge_entries(entries, PLUGIN, "/p")
    assert finding.good is good
    assert finding.text.startswith(text)
    assert bool(finding.hint) is not good


HERE = Status("1.0", "abc", None, (Finding(True, "fine"),))


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        (HERE, ""),
        (Status("1.0", "abc", True, ()), ""),
        (Status("0.9", "xyz", True, ()), "bareboat 0.9 there, 1.0 here"),
        (Status("1.0", "xyz", True, ()), "the plugin there is another build than here"),
        (Status("1.0", "abc", False, ()), "slurmstepd has not loaded the plugin"),
        (Status("1.0", "abc", True, (Finding(False, "broken", "mend"),)), "broken"),
    ],
)
def test_a_node_is_compared_with_here(there: Status, problem: str) -> None:
    assert status.judge_node("n1", HERE, status.parse_status(status.to_json(there))).problem == problem


def test_an_answer_that_is_none_is_an_error() -> None:
    with pytest.raises(SlurmError, match="the answer cannot be read: 'bash: no'"):
        status.parse_status("bash: no\n")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("srun: error: n2: task 0: Exited with exit code 9\nthere is no /p\n", "there is no /p"),
        ("there is no /p\nsrun: error: n2: task 0: Exited with exit code 9\n", "there is no /p"),
        (
            "\nsrun: error: n2: task 0: Exited with exit code 1\n",
            "srun: error: n2: task 0: Exited with exit code 1",
        ),
        ("", "no answer (srun's exit code 9)"),
    ],
)
def test_a_node_without_an_answer_says_why_in_whatever_order(said: str, problem: str) -> None:
    done = subprocess.CompletedProcess(("srun",), 9, "", said)
    assert status.first_error(done) == problem
