"""The testbed's pure parts: configuration, names, addresses."""

import os
from pathlib import Path

import pytest

from slurm.errors import SlurmError
from slurm.testbed import config, processes, state, teardown
from slurm.testbed.config import Mpi, Node, Settings

HERE = state.ProcessId("up", 1, 1)


def make_settings(**changes: object) -> Settings:
    values: dict[str, object] = {
        "name": "tb1",
        "directory": Path("/state/tb1"),
        "controller": Node("login", "198.18.3.254"),
        "port": 6819,
        "nodes": (Node("n1", "198.18.3.1"), Node("n2", "198.18.3.2")),
        "cpus": 16,
        "memory": 1000,
        "slurm_user": "slurm",
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


def make_state(**changes: object) -> state.State:
    values: dict[str, object] = {
        "name": "tb1",
        "index": 3,
        "phase": state.Phase.UP,
        "boot_id": "b",
        "owner": HERE,
        "port": 6819,
        "nodes": ("n1", "n2"),
        "mpi": "pmi2",
        "plugin": None,
    }
    return state.State(**(values | changes))  # type: ignore[arg-type]


def test_slurm_conf_says_where_the_controller_is() -> None:
    lines = config.slurm_conf(make_settings()).splitlines()
    assert "SlurmctldHost=login(198.18.3.254)" in lines
    assert "SlurmctldPort=6819" in lines
    assert "MpiDefault=pmi2" in lines
    assert "LaunchParameters=use_interactive_step" in lines
    assert not any(line.startswith(("PrologFlags", "JobContainerType")) for line in lines)


def test_slurm_conf_names_every_node_with_its_address_and_false_processors() -> None:
    nodes = [line for line in config.slurm_conf(make_settings()).splitlines() if line.startswith("NodeName")]
    assert [line.split()[:2] for line in nodes] == [
        ["NodeName=n1", "NodeAddr=198.18.3.1"],
        ["NodeName=n2", "NodeAddr=198.18.3.2"],
    ]
    assert all("CPUs=16" in line for line in nodes)


def test_job_container_wants_contain() -> None:
    lines = config.slurm_conf(make_settings(job_container=True, mpi=Mpi.PMIX)).splitlines()
    assert {"PrologFlags=Contain", "JobContainerType=job_container/tmpfs", "MpiDefault=pmix"} <= set(lines)
    assert "BasePath=/state/tb1/spool/job_container" in config.job_container_conf(make_settings())


def test_an_extra_line_replaces_ours_whatever_its_case() -> None:
    lines = config.slurm_conf(
        make_settings(extra={"mpidefault": "none", "TaskProlog": "/x y.sh"})
    ).splitlines()
    assert "mpidefault=none" in lines
    assert "TaskProlog=/x y.sh" in lines
    assert "MpiDefault=pmi2" not in lines


@pytest.mark.parametrize("key", ["NodeName", "partitionname", "Include", "A B", "", "A=B", "A\nB"])
def test_an_extra_line_that_is_no_setting_is_refused(key: str) -> None:
    with pytest.raises(SlurmError, match=r"cannot be set as an extra line of slurm\.conf"):
        config.slurm_conf(make_settings(extra={key: "x"}))


@pytest.mark.parametrize("value", ["a\nNodeName=b", "a\\", "\0"])
def test_an_extra_value_cannot_bring_a_second_line(value: str) -> None:
    with pytest.raises(SlurmError, match="does not fit on one line"):
        config.slurm_conf(make_settings(extra={"TaskProlog": value}))


def test_hosts_knows_everybody() -> None:
    assert config.hosts(make_settings()).splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost",
        "198.18.3.254 login",
        "198.18.3.1 n1",
        "198.18.3.2 n2",
    ]


def test_the_plugin_is_required() -> None:
    assert config.plugin_line(Path("/opt/b")) == "required /opt/b/lib/slurm/bareboat.so\n"
    assert config.plugstack_conf(make_settings()) == "include /state/tb1/plugstack.conf.d/*.conf\n"


@pytest.mark.parametrize("count", [0, -1, 251])
def test_a_testbed_has_between_1_and_250_nodes(count: int) -> None:
    with pytest.raises(SlurmError, match=f"a testbed cannot have {count} nodes"):
        config.node_names(count)


def test_every_node_has_an_address_and_a_link_of_its_own() -> None:
    record = make_state(index=255, nodes=config.node_names(250))
    addresses = {record.node_address(node) for node in record.nodes}
    links = {record.node_link(node) for node in record.nodes}
    assert len(addresses | {record.address}) == 251
    assert len(links) == 250
    assert max(map(len, links)) < 16  # IFNAMSIZ


@pytest.mark.parametrize("name", ["", "A", "1a", "a/b", "..", "a" * 21, "a b", "a\n"])
def test_a_name_that_could_be_a_path_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(SlurmError, match="a testbed cannot be called"):
        state.directory_of(name)


def test_an_unknown_testbed_is_named_with_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "tb7").mkdir()
    with pytest.raises(SlurmError, match=r"there is no testbed called 'tb8' \(there: tb7\)") as caught:
        state.load("tb8", tmp_path)
    assert "bareboat testbed up" in caught.value.hint


def test_taking_down_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert teardown.down("nothing", tmp_path) is False
    assert list(tmp_path.iterdir()) == []


def test_the_lock_makes_the_directory_anew_when_its_holder_removed_it(tmp_path: Path) -> None:
    base = tmp_path / "base"
    with state.lock(base):
        base.rmdir()
    with state.lock(base):
        assert base.is_dir()


def test_a_process_is_known_by_its_start() -> None:
    here = processes.identify("test", os.getpid())
    assert processes.is_alive(here)
    assert not processes.is_alive(state.ProcessId("test", here.pid, here.start_time + 1))


def test_a_process_that_has_ended_cannot_be_identified() -> None:
    with pytest.raises(SlurmError, match=r"slurmd n1 \(process 4194305\) has ended at once"):
        processes.identify("slurmd n1", 4194305)  # above the kernel's greatest PID_MAX_LIMIT


def test_find_spares_this_process_and_its_parents() -> None:
    here = processes.identify("test", os.getpid())
    parent = processes.identify("test", os.getppid())
    marks = processes.Marks(Path("/nowhere"), processes.recorded([here, parent]), frozenset())
    assert processes.find(marks) == ()
