"""Which environment and which plan follow from which facts, and how a plan is printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from launcher_facts import IMAGE, laid, request

from launcher.config import MpiMode, SiteConfig, View
from launcher.environment import apply_environment, plan_environment, with_default_path
from launcher.explain import to_json, to_text
from launcher.plan import MpiDecision, Plan, make_plan
from launcher.program import Operation, Origin, Verb, decode
from mpi_abi import Action, Cover, EnvironmentChange, Swap
from mpi_abi.closure import ClosureDevice

# The environment


def environment(variables: Mapping[str, str], config: SiteConfig | None = None) -> dict[str, str]:
    asked = request(variables, passed=tuple(filter(None, variables.get("BAREBOAT_PASS", "").split(","))))
    return apply_environment(plan_environment(asked, config or SiteConfig(), IMAGE), variables)


def test_the_jobs_variables_stay_and_the_images_fill_in() -> None:
    found = environment({"OMP": "8", "HOME": "/home/user", "SLURM_JOB_ID": "1"})
    assert found["OMP"] == "8"
    assert found["HOME"] == "/home/user"
    assert environment({})["OMP"] == "1"


def test_an_image_cannot_preset_what_the_scheduler_says() -> None:
    assert "SLURM_JOB_ID" not in environment({})


def test_the_path_is_the_images_with_the_default_directories_behind() -> None:
    expected = "/opt/app/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin"
    assert environment({"PATH": "/opt/host/bin"})["PATH"] == expected
    assert with_default_path("") == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_the_hosts_loader_variables_stay_outside_unless_asked_for() -> None:
    variables = {"LD_PRELOAD": "/x.so", "LD_LIBRARY_PATH": "/y"}
    assert "LD_PRELOAD" not in environment(variables)
    assert "LD_LIBRARY_PATH" not in environment(variables)
    assert environment({**variables, "BAREBOAT_PASS": "LD_PRELOAD"})["LD_PRELOAD"] == "/x.so"
    assert environment(variables, SiteConfig(passed=("LD_LIBRARY_PATH",)))["LD_LIBRARY_PATH"] == "/y"


def test_a_path_that_is_asked_for_keeps_its_order() -> None:
    found = environment({"PATH": "/h", "BAREBOAT_PASS": "PATH"})
    assert found["PATH"] == "/h:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_what_the_site_denies_does_not_enter() -> None:
    assert "TOKEN" not in environment({"TOKEN": "x"}, SiteConfig(denied=("TOKEN",)))


def test_changes_are_made_as_the_core_makes_them() -> None:
    changes = (
        Operation(Verb.ENV_PREPEND, ("A", "x")),
        Operation(Verb.ENV_APPEND, ("B", "y")),
        Operation(Verb.ENV_PREPEND, ("C", "z")),
        Operation(Verb.ENV_DEFAULT, ("D", "new")),
        Operation(Verb.ENV_UNSET, ("E",)),
    )
    assert apply_environment(changes, {"A": "1", "B": "2", "C": "", "D": "", "E": "3"}) == {
        "A": "x:1",
        "B": "2:y",
        "C": "z",
        "D": "",
    }


# The whole plan

SWAP = Swap(
    covers=(Cover("/usr/lib/libmpi.so.12", "/opt/lib/libmpi.so.12", "the host's MPI"),),
    environment=(
        EnvironmentChange(
            Action.PREPEND, "LD_LIBRARY_PATH", "/run/bareboat/mpi/lib", "where it finds what it needs"
        ),
        EnvironmentChange(Action.UNSET, "MPI_HOME", "", "it names the image's"),
        EnvironmentChange(Action.SET, "UCX_MODULE_DIR", "/run/bareboat/mpi/ucx", "its plugins"),
    ),
    summary="MPICH 4.2 -> MPICH 4.0",
)


def plan(swap: Swap | None = SWAP, **changes: Any) -> Plan:
    mpi = MpiDecision(
        MpiMode.AUTO, "native", "/opt/lib/libmpi.so.12", "/usr/lib/libmpi.so.12", ("fits",), "", swap
    )
    arguments: dict[str, Any] = {"program": "/usr/bin/app", "missing": ("/home/user",), **changes}
    return make_plan(request(), SiteConfig(), IMAGE, laid(), mpi, **arguments)


def test_a_plan_is_written_as_a_program_and_read_back() -> None:
    made = plan()
    assert [(op.verb, op.args) for op in decode(made.encode())] == [
        (op.verb, op.args) for op in made.operations
    ]


def test_a_plan_always_ends_with_directory_and_privileges() -> None:
    assert [op.verb for op in plan().operations[-2:]] == [Verb.CWD, Verb.NO_NEW_PRIVS]
    assert [op.verb for op in plan(None).operations[-2:]] == [Verb.CWD, Verb.NO_NEW_PRIVS]


def test_what_is_replaced_is_said_where_somebody_asks_for_it() -> None:
    text = "the host's MPI takes the place of the image's: MPICH 4.2 -> MPICH 4.0"
    assert plan().announcements == ()
    asked = replace(request(), announce=True)
    mpi = MpiDecision(MpiMode.AUTO, swap=SWAP)
    assert make_plan(asked, SiteConfig(), IMAGE, laid(), mpi).announcements == (text,)
    assert make_plan(asked, SiteConfig(), IMAGE, laid(), MpiDecision(MpiMode.AUTO)).announcements == ()


def test_names_of_images_do_no_harm_to_a_terminal() -> None:
    mpi = MpiDecision(MpiMode.AUTO, swap=replace(SWAP, summary="/\x1b[2J -> MPICH 4.0"))
    asked = replace(request(), announce=True)
    made = make_plan(asked, SiteConfig(), IMAGE, laid(), mpi, warnings=("/a\nbareboat: all is well",))
    assert made.announcements == ("the host's MPI takes the place of the image's: /\\x1b[2J -> MPICH 4.0",)
    assert made.warnings == ("/a\\nbareboat: all is well",)
    assert "\x1b" not in to_text(made)
    assert "swap     /\\x1b[2J -> MPICH 4.0" in to_text(made)


def test_the_same_facts_give_the_same_plan() -> None:
    assert plan() == plan()
    assert plan().encode() == plan().encode()


def test_the_swap_covers_files_after_the_view_and_its_variables_win() -> None:
    made = plan()
    cover = next(op for op in made.operations if op.origin is Origin.SWAP)
    assert cover.args == ("/usr/lib/libmpi.so.12", "/opt/lib/libmpi.so.12", "ro")
    found = made.environment({"LD_LIBRARY_PATH": "/host", "MPI_HOME": "/x", "UCX_MODULE_DIR": "/y"})
    assert found["LD_LIBRARY_PATH"] == "/run/bareboat/mpi/lib"
    assert found["UCX_MODULE_DIR"] == "/run/bareboat/mpi/ucx"
    assert "MPI_HOME" not in found


def test_the_text_names_everything_with_reason_and_origin() -> None:
    text = to_text(plan(warnings=("mind this",)))
    for op in plan().operations:
        assert op.reason in text
    for part in (
        "Image: /images/img  (Test Linux 1)",
        "Program: /usr/bin/app",
        "unset LD_PRELOAD",
        "OMP=1  (unless set)",
        "LD_LIBRARY_PATH=/run/bareboat/mpi/lib:...",
        "/etc/passwd (mode 0644, ",
        "working directory /home/user/job",
        "MPICH 4.2 -> MPICH 4.0",
        "the host's MPI fits (same ABI)",
        "Made on an overlay, since the image lacks them\n  /home/user\n",
        "Warnings\n  mind this",
    ):
        assert part in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_text_of_a_plan_without_program_says_so() -> None:
    assert "Program: (none named)" in to_text(replace(plan(), program="", argv=()))
    assert "Program: app  (not found)" in to_text(replace(plan(), program=""))


def test_the_json_holds_the_plan() -> None:
    document = json.loads(to_json(plan()))
    assert document["schema"] == 1
    assert [(op["verb"], tuple(op["args"])) for op in document["operations"]] == [
        (op.verb.value, op.args) for op in plan().operations
    ]
    assert {op["origin"] for op in document["operations"]} >= {"default", "user", "image", "swap"}
    assert document["mpi"]["swap"] == "MPICH 4.2 -> MPICH 4.0"
    assert document["missing_mount_points"] == ["/home/user"]


@pytest.mark.parametrize("shown", [True, False])
def test_devices_of_the_fabric_are_the_hosts_or_shown_alone(*, shown: bool) -> None:
    devices = (ClosureDevice("cxi", "/dev/cxi0"), ClosureDevice("verbs", "/dev/infiniband/uverbs0", "closed"))
    mpi = MpiDecision(MpiMode.AUTO, verdict="native", swap=replace(SWAP, devices=devices))
    asked = request(without=frozenset([] if shown else [View.DEV]))
    made = make_plan(asked, SiteConfig(), IMAGE, laid(asked), mpi)
    binds = {
        op.args: (op.reason, op.origin)
        for op in made.operations
        if op.verb is Verb.BIND and op.args[0].startswith("/dev/")
    }
    reason = "a device that cxi of the host's MPI opens"
    if shown:
        assert binds == {}
        assert f"/dev/cxi0 is there with the host's /dev: {reason}" in made.notes
        closed = made.notes[-1]
        assert closed.startswith("/dev/infiniband/uverbs0 is there with the host's /dev: ")
        assert closed.endswith("a device that verbs of the host's MPI opens, but closed")
    else:
        assert binds["/dev/cxi0", "/dev/cxi0", "rw,optional"] == (reason, Origin.SWAP)
        assert len(binds) == 2
