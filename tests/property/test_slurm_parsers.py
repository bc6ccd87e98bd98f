"""Whatever Slurm, the kernel or a damaged disk may hold, the parsers raise nothing but SlurmError."""

import itertools
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm import inventory, manifest, payload, plugstack, status
from slurm.errors import SlurmError
from slurm.step import StepKind, parse_tasks_per_node, read_pmi_dirs, read_step
from slurm.testbed import config, state
from slurm.testbed.processes import parse_stat

NAMES = st.from_regex(state.NAME_PATTERN, fullmatch=True)
PROCESSES = st.builds(
    state.ProcessId, role=st.text(), pid=st.integers(1, 2**22), start_time=st.integers(0, 2**63)
)
STATES = st.builds(
    state.State,
    name=NAMES,
    index=st.integers(0, 255),
    phase=st.sampled_from(state.Phase),
    boot_id=st.text(),
    owner=PROCESSES,
    port=st.integers(1, 65535),
    nodes=st.integers(1, 250).map(config.node_names),
    mpi=st.sampled_from(config.Mpi).map(str),
    plugin=st.none() | st.text(),
    processes=st.lists(PROCESSES).map(tuple),
)
VARIABLES = st.sampled_from(
    [
        "SLURM_JOB_ID",
        "SLURM_JOBID",
        "SLURM_STEP_ID",
        "SLURM_NODEID",
        "SLURM_NNODES",
        "SLURM_NTASKS",
        "SLURM_STEP_TASKS_PER_NODE",
        "SLURM_TASKS_PER_NODE",
        "SLURMD_NODENAME",
        "PMI_FD",
        "PMIX_RANK",
        "PMIX_NAMESPACE",
        "PMIX_SERVER_TMPDIR",
        "PMIX_SYSTEM_TMPDIR",
        "PMIX_SERVER_URI2",
        "PMIX_DSTORE_21_BASE_PATH",
    ]
)
PATHS = st.lists(st.sampled_from(["/", "tmp", "//", "..", ".", "a", "b:", "usock:", "\n"])).map("".join)
VALUES = st.text() | st.integers().map(str) | PATHS | st.sampled_from(["2(x3),1", "1(x", "4294967291"])
ENVIRONMENTS = st.dictionaries(VARIABLES | st.text(min_size=1), VALUES)


@given(STATES)
def test_a_record_comes_back_as_it_was(record: state.State) -> None:
    assert state.decode(state.encode(record)) == record


@given(st.text())
def test_any_text_is_a_record_or_an_error(text: str) -> None:
    with pytest.raises(SlurmError, match="the testbed's record cannot be read"):
        state.decode(text)


@given(STATES, st.data())
def test_a_damaged_record_is_an_error_at_most(record: state.State, data: st.DataObject) -> None:
    text = state.encode(record)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    with suppress(SlurmError):
        state.decode(text[:start] + data.draw(st.text()) + text[end:])


@given(command=st.text(), parent=st.integers(0, 2**22), start=st.integers(0, 2**63))
def test_a_command_cannot_forge_a_stat(command: str, parent: int, start: int) -> None:
    fields = [str(parent), *["0"] * 17, str(start), *["0"] * 30]
    found = parse_stat(f"7 ({command}) S " + " ".join(fields) + "\n")
    assert (found.command, found.state, found.parent, found.start_time) == (command, "S", parent, start)


@given(st.text())
def test_any_text_is_a_stat_or_an_error(text: str) -> None:
    with suppress(SlurmError):
        parse_stat(text)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=40))
def test_tasks_per_node_count_as_slurm_wrote_them(counts: list[int]) -> None:
    runs = [(count, len(list(group))) for count, group in itertools.groupby(counts)]
    text = ",".join(f"{count}(x{length})" if length > 1 else str(count) for count, length in runs)
    assert [parse_tasks_per_node(text, node) for node in range(len(counts) + 1)] == [*counts, None]


@given(st.text(), st.integers(0, 9))
def test_any_text_is_a_list_of_tasks_or_an_error(text: str, node: int) -> None:
    with suppress(SlurmError):
        parse_tasks_per_node(text, node)


def test_a_huge_number_of_nodes_costs_nothing() -> None:
    assert parse_tasks_per_node("1(x999999999),7", 999999999) == 7


@given(ENVIRONMENTS, st.lists(VALUES), st.text())
def test_any_environment_gives_facts_or_an_error(
    environment: dict[str, str], argv: list[str], cwd: str
) -> None:
    try:
        facts = read_step(environment, argv=argv, cwd=cwd)
    except SlurmError as error:
        assert "which is not" in str(error)
        return
    assert facts.task_count >= 1
    assert facts.local_task_count >= 1
    assert dict(facts.environment).items() <= environment.items()
    assert (facts.spool_dir is None) or facts.kind is StepKind.BATCH


@given(ENVIRONMENTS)
def test_directories_to_bind_are_plain_and_apart(environment: dict[str, str]) -> None:
    found = read_pmi_dirs(environment | {"PMIX_RANK": "0", "PMIX_NAMESPACE": "n"})
    assert list(found) == sorted(set(found))
    for path in found:
        assert path.startswith("/")
        assert path != "/"
        assert ".." not in PurePosixPath(path).parts
        assert not any(other != path and PurePosixPath(path).is_relative_to(other) for other in found)


@given(st.dictionaries(st.text(), st.text()))
def test_extra_lines_stay_one_line_each(extra: dict[str, str]) -> None:
    settings = config.Settings(
        name="x",
        directory=Path("/state"),
        controller=config.Node("here", "198.18.0.254"),
        port=6817,
        nodes=(config.Node("n1", "198.18.0.1"),),
        cpus=2,
        memory=100,
        slurm_user="slurm",
        extra=extra,
    )
    try:
        text = config.slurm_conf(settings)
    except SlurmError:
        return
    keys = [line.partition("=")[0].lower() for line in text.removesuffix("\n").split("\n")]
    assert len(keys) == len(set(keys))
    assert keys[-2:] == ["nodename", "partitionname"]
    for key, value in extra.items():
        assert text.count(f"\n{key}={value}\n") == 1


LINES = st.lists(
    st.sampled_from(["required /p/bareboat.so", "optional /p/bareboat.so x", "include a", "# c", "", " "])
    | st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))
)


@given(LINES, st.booleans())
def test_a_plugstack_line_is_added_once_and_taken_away_without_a_trace(lines: list[str], end: bool) -> None:
    text = "\n".join(lines) + ("\n" if end and lines else "")
    plugin = "/p/bareboat.so"
    added = plugstack.add(text, plugin)
    assert [entry.kind for entry in plugstack.parse(added) if entry.path == plugin] == ["required"]
    assert plugstack.add(added, plugin) == added
    removed = plugstack.remove(added, plugin)
    assert removed.rstrip("\n") == plugstack.remove(text, plugin).rstrip("\n")
    assert plugstack.remove(removed, plugin) == removed


@given(st.text())
def test_records_and_answers_are_read_or_refused(text: str) -> None:
    for read in (manifest.decode, status.parse_status, inventory.parse_nodes, inventory.parse_version):
        with suppress(SlurmError):
            read(text)
    with suppress(SlurmError):
        payload.parse_requirements([text])
