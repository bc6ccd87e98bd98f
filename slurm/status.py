"""Is bareboat installed, does it fit the Slurm that runs: on this machine, and on every node?  Reads only.

A node is asked by a real step that runs this very check there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from slurm import inventory, manifest, plugstack
from slurm.errors import SlurmError
from slurm.inventory import NodeInfo
from slurm.manifest import Manifest
from slurm.plugstack import Kind
from slurm.stores import DEFAULT_STORE, STORE_HINT, Component, judge_store, look_at_store, named_stores
from slurm.testbed.processes import read_stat

_PLUGIN = f"lib/slurm/{plugstack.PLUGIN}"
_AT_ONCE = 8
_STEP_LIMIT = 60
"""Seconds that a step gets to start on a node."""
_ASK = 'test -x "$0" || { echo "there is no $0" >&2; exit 9; }; exec "$0" slurm status --json --prefix "$1"'
"""What a step runs on a node, with the command and the prefix as arguments."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is right, what it is, and what to do if it is wrong."""

    good: bool
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What was found on one machine.

    ``loaded`` says whether the slurmstepd above this process has the plugin loaded; None where there is none
    above, or where we may not look.
    """

    version: str
    plugin: str
    loaded: bool | None
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.good for finding in self.findings)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node answered; ``problem`` is empty if all is well there."""

    name: str
    version: str
    loaded: bool | None
    problem: str


def examine(prefix: Path, environment: Mapping[str, str]) -> Status:
    """Look at the installation below ``prefix`` on this machine."""
    try:
        record = manifest.read(prefix)
    except SlurmError as error:
        return Status("", "", _is_loaded(prefix), (Finding(False, str(error), "install again"),))
    if record is None:
        missing = Finding(
            False,
            f"bareboat is not installed in {prefix}",
            "bareboat slurm install, or --prefix for another place",
        )
        return Status("", "", _is_loaded(prefix), (missing, *_plugstack_findings(prefix, environment)))
    findings = (
        Finding(True, f"bareboat {record.version} is installed in {prefix}"),
        _files_finding(record, prefix),
        _release_finding(record, environment),
        *_plugstack_findings(prefix, environment, record),
        _runtime_finding(environment),
    )
    plugin = prefix / _PLUGIN
    digest = manifest.digest(plugin) if plugin.is_file() else ""
    return Status(record.version, digest, _is_loaded(prefix), findings)


def _files_finding(record: Manifest, prefix: Path) -> Finding:
    try:
        others = manifest.differences(record, prefix)
    except OSError as error:
        return Finding(False, f"a file cannot be read: {error}", "install again")
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return Finding(False, f"not as installed: {others[0]}{more}", "install again")
    return Finding(True, f"all {len(record.files)} files are as installed")


def _release_finding(record: Manifest, environment: Mapping[str, str]) -> Finding:
    try:
        here = inventory.slurm_version(environment)
    except SlurmError as error:
        return Finding(False, str(error), error.hint)
    if not inventory.is_same_release(record.slurm_version, here):
        return Finding(
            False,
            f"the plugin is built for Slurm {record.slurm_version}, and Slurm {here} runs here",
            f"install again with the headers of Slurm {here}: a plugin fits one major release",
        )
    return Finding(True, f"the plugin is built for Slurm {record.slurm_version}, and {here} runs here")


def _plugstack_findings(
    prefix: Path, environment: Mapping[str, str], record: Manifest | None = None
) -> tuple[Finding, ...]:
    wanted = str(prefix / _PLUGIN)
    try:
        file = _plugstack_file(environment, record)
        entries = plugstack.bareboats(plugstack.read_entries(file)) if file.exists() else ()
    except SlurmError as error:
        return (Finding(False, str(error), error.hint),)
    finding = judge_entries(entries, wanted, str(file))
    if not finding.good:
        return (finding,)
    return (finding, *_store_findings(named_stores(entries[0].arguments)))


def _store_findings(named: tuple[str, ...]) -> tuple[Finding, ...]:
    if not named:
        return (judge_default_store(look_at_store(DEFAULT_STORE)),)
    return tuple(judge_named_store(store, look_at_store(store)) for store in named)


def judge_named_store(store: str, components: tuple[Component, ...]) -> Finding:
    """Say whether the kernel mounts the images of a store that the plugin's line names.  Pure."""
    if problem := judge_store(store, components):
        text = f"the kernel mounts no squashfs image of the store {store}: {problem}"
        return Finding(False, text, f"{STORE_HINT}; or take store={store} out of the plugin's line")
    return Finding(True, f"squashfs images of the store {store} are mounted by the kernel")


def judge_default_store(components: tuple[Component, ...]) -> Finding:
    """The same where the line names none: then one is usual, and need not be there.  Pure."""
    if not components[-1].mode:
        return Finding(
            True, f"there is no store: squashfs images are shown by FUSE ({DEFAULT_STORE} is not there)"
        )
    finding = judge_named_store(DEFAULT_STORE, components)
    return finding if finding.good else Finding(False, finding.text, STORE_HINT)


def _plugstack_file(environment: Mapping[str, str], record: Manifest | None) -> Path:
    try:
        return plugstack.find(environment)
    except SlurmError:
        if record is None:
            raise
        return Path(record.plugstack)


def judge_entries(entries: tuple[plugstack.Entry, ...], wanted: str, file: str) -> Finding:
    """Say whether plugstack.conf loads the plugin ``wanted``, once, as ``required``, and no other bareboat.

    Pure; ``entries`` are those that load a bareboat.
    """
    if not entries:
        return Finding(
            False,
            f"{file} does not load the plugin: Slurm would run --container jobs on the bare host",
            "bareboat slurm install writes the line",
        )
    for entry in entries:
        if entry.path != wanted:
            return Finding(
                False,
                f"{entry.file} loads another bareboat: {entry.path}",
                "remove that line, or uninstall that one",
            )
        if entry.kind is not Kind.REQUIRED:
            return Finding(
                False,
                f"{entry.file} loads the plugin as {entry.kind}: should it fail to load, "
                "Slurm would run --container jobs on the bare host",
                f"write {Kind.REQUIRED} instead, or run bareboat slurm install",
            )
    if len(entries) > 1:
        return Finding(False, f"the plugin is loaded {len(entries)} times", f"leave one line in {file}")
    return Finding(True, f"{entries[0].file} requires the plugin")


def _runtime_finding(environment: Mapping[str, str]) -> Finding:
    conf = Path(environment.get("SLURM_CONF") or "/etc/slurm/slurm.conf").with_name("oci.conf")
    if conf.exists():
        return Finding(
            False,
            f"{conf} exists: Slurm starts its own container runtime before it asks any plugin",
            "one of the two has to go",
        )
    return Finding(True, "no oci.conf: --container is bareboat's alone")


def _is_loaded(prefix: Path) -> bool | None:
    """Whether the nearest slurmstepd above this process has the plugin in its memory (proc(5), maps)."""
    pid = os.getppid()
    while pid > 1 and (stat := read_stat(pid)) is not None:
        if stat.command.startswith("slurmstepd"):
            try:
                return str(prefix / _PLUGIN) in Path(f"/proc/{pid}/maps").read_text()
            except OSError:
                return None
        pid = stat.parent
    return None


def to_json(status: Status) -> str:
    """The status as one line of JSON, as a node's answer has it."""
    return json.dumps(asdict(status))


def parse_status(text: str) -> Status:
    """Read a node's answer.

    Raises:
        SlurmError: if it is none.
    """
    try:
        data = json.loads(text)
        return Status(
            version=str(data["version"]),
            plugin=str(data["plugin"]),
            loaded=None if data["loaded"] is None else bool(data["loaded"]),
            findings=tuple(
                Finding(bool(one["good"]), str(one["text"]), str(one["hint"])) for one in data["findings"]
            ),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SlurmError(f"the answer cannot be read: {text.strip()[:200]!r}") from error


def judge_node(name: str, here: Status, there: Status) -> NodeStatus:
    """Compare what a node found with what was found here.  Pure."""
    problems = [finding.text for finding in there.findings if not finding.good]
    if there.version and there.version != here.version:
        problems.append(f"bareboat {there.version} there, {here.version} here")
    elif there.plugin != here.plugin:
        problems.append("the plugin there is another build than here")
    if there.loaded is False:
        problems.append("slurmstepd has not loaded the plugin")
    return NodeStatus(name, there.version, there.loaded, "; ".join(problems))


def ask_nodes(prefix: Path, here: Status, environment: Mapping[str, str]) -> tuple[NodeStatus, ...]:
    """Ask every node of the cluster, some at a time.

    Raises:
        SlurmError: if Slurm does not tell its nodes.
    """
    nodes = inventory.list_nodes(environment)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(lambda node: _ask_node(node, prefix, here, environment), nodes))


def _ask_node(node: NodeInfo, prefix: Path, here: Status, environment: Mapping[str, str]) -> NodeStatus:
    if not node.is_usable:
        return NodeStatus(node.name, "", None, f"cannot be asked: {'+'.join(node.states)}")
    options = ("--nodes=1", "--ntasks=1", f"--nodelist={node.name}", "--mpi=none", "--time=2", "--quiet")
    step = (*options, f"--immediate={_STEP_LIMIT}", "--job-name=bareboat-status", "--chdir=/")
    command = ("srun", *step, "sh", "-c", _ASK, f"{prefix}/bin/bareboat", str(prefix))
    try:
        done = inventory.run(command, environment, limit=_STEP_LIMIT * 2)
        if not done.stdout.strip():
            return NodeStatus(node.name, "", None, first_error(done))
        return judge_node(node.name, here, parse_status(done.stdout))
    except SlurmError as error:
        return NodeStatus(node.name, "", None, str(error))


def to_table(answers: tuple[NodeStatus, ...]) -> str:
    """The nodes' answers, one a line, in columns."""
    loaded = {True: "yes", False: "no", None: "?"}
    rows = [("NODE", "BAREBOAT", "LOADED", "PROBLEM")]
    rows += [
        (answer.name, answer.version or "-", loaded[answer.loaded], answer.problem or "-")
        for answer in answers
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]))
        for row in rows
    )


def first_error(done: subprocess.CompletedProcess[str]) -> str:
    """What a step that gave no answer says of it, in one line.  Pure."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    # srun's line about the exit code may overtake what the node itself has to say.
    lines.sort(key=lambda line: "Exited with exit code" in line)
    return lines[0] if lines else f"no answer (srun's exit code {done.returncode})"
