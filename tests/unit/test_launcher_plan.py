"""Plans: which mounts, files and variables follow from which facts, which are written down here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from launcher.config import Mount, MpiMode, SiteConfig, View
from launcher.environment import apply_environment, plan_environment, with_default_path
from launcher.errors import BareboatError
from launcher.explain import to_json, to_text
from launcher.host import HostFacts, MountPoint, User
from launcher.image.facts import ImageFacts
from launcher.layout import Layout, beneath, group_text, host_paths, image_paths, lay_out, passwd_text
from launcher.plan import MpiDecision, Plan, make_plan
from launcher.program import Operation, Origin, Verb, decode
from launcher.request import Request, make_request
from mpi_abi import Action, Cover, EnvironmentChange, Swap

USER = User(1000, 100, "ann", "Ann,,,", "/home/ann", "/bin/zsh", ((100, "users"), (200, "lab")))
HOST = HostFacts(
    user=USER,
    kernel="6.1.0",
    machine="x86_64",
    mounts=(MountPoint("/lustre", "lustre", "mgs:/l"), MountPoint("/usr", "nfs4", "s:/usr")),
    present=frozenset(
        (
            *("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/home/ann", "/home/ann/job", "/scratch", "/data"),
            *("/run/munge", "/usr/share", "/etc/hosts", "/etc/resolv.conf", "/etc/localtime"),
        )
    ),
    timezone="Europe/Berlin",
    max_user_namespaces=1000,
    libexec="/opt/bareboat/libexec/bareboat",
)
IMAGE = ImageFacts(
    name="img",
    path="/images/img",
    os_name="Test Linux 1",
    machine="x86_64",
    environment=(("PATH", "/opt/app/bin:/usr/bin"), ("OMP", "1"), ("SLURM_JOB_ID", "7")),
    passwd="root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\nann:x:7:7::/:/bin/sh\n",
    group="root:x:0:\nusers:x:100:\nlab:x:9:\n",
    localtime="",
    present=frozenset(["/usr", "/usr/share"]),
    held=frozenset(["/usr"]),
)


@dataclass(frozen=True)
class StepDirs:
    pmi_dirs: tuple[str, ...] = ()
    spool_dir: str | None = None


def request(variables: Mapping[str, str] | None = None, **changes: Any) -> Request:
    made = make_request("img", ["app"], environment=variables or {}, cwd="/home/ann/job", config=SiteConfig())
    return replace(made, **changes)


def laid(
    asked: Request | None = None,
    *,
    config: SiteConfig | None = None,
    host: HostFacts = HOST,
    image: ImageFacts = IMAGE,
    step: StepDirs | None = None,
) -> Layout:
    return lay_out(asked or request(), config or SiteConfig(), host, image, step)


def binds(layout: Layout) -> dict[str, tuple[str, str]]:
    """Target -> (source, flags) of the binds."""
    return {op.args[1]: (op.args[0], op.args[2]) for op in layout.operations if op.verb is Verb.BIND}


def find(layout: Layout, target: str) -> Operation:
    return next(op for op in layout.operations if target in op.args)


# What of the host is shown


def test_the_default_view_is_shown_in_its_order() -> None:
    layout = laid()
    assert layout.operations[0] == Operation(
        Verb.ROOT_DIR, ("/images/img",), "the image, read-only", Origin.USER
    )
    assert list(binds(layout)) == [
        *("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/home/ann", "/etc/resolv.conf", "/etc/hosts"),
        "/etc/localtime",
    ]
    assert find(layout, "/run").args == ("/run", "mode=0755")
    assert layout.cwd == "/home/ann/job"
    assert layout.warnings == ()


@pytest.mark.parametrize(
    ("view", "gone"),
    [
        (View.PROC, {"/proc"}),
        (View.SYS, {"/sys"}),
        (View.DEV, {"/dev"}),
        (View.TMP, {"/tmp", "/var/tmp"}),
        (View.RESOLVER, {"/etc/resolv.conf", "/etc/hosts"}),
        (View.TIMEZONE, {"/etc/localtime"}),
    ],
)
def test_each_part_of_the_view_can_be_switched_off(view: View, gone: set[str]) -> None:
    by_user = laid(request(without=frozenset({view})))
    by_site = laid(config=SiteConfig(views=frozenset(View) - {view}))
    assert set(binds(laid())) - set(binds(by_user)) == gone
    assert by_user == by_site


def test_without_home_the_working_directory_in_it_is_bound_alone() -> None:
    shown = binds(laid(request(without=frozenset({View.HOME}))))
    assert "/home/ann" not in shown
    assert shown["/home/ann/job"] == ("/home/ann/job", "rw")


def test_a_home_that_is_not_there_is_told() -> None:
    host = replace(HOST, user=replace(USER, home="/nonexistent"))
    assert "no home directory: /nonexistent does not exist on this host" in laid(host=host).notes


@pytest.mark.parametrize("home", ["/", ""])
def test_a_home_that_is_the_root_is_not_bound(home: str) -> None:
    host = replace(HOST, user=replace(USER, home=home), present=HOST.present | {"/"})
    assert home not in binds(laid(host=host))


def test_network_file_systems_are_bound_by_type() -> None:
    layout = laid()
    assert layout.network == (HOST.mounts[0],)
    operation = next(op for op in layout.operations if op.verb is Verb.BIND_FSTYPES)
    assert operation.args[1] == "rw"
    assert {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "dvs", "panfs", "9p", "virtiofs"} <= set(
        operation.args[0].split(",")
    )
    assert "the nfs4 mount /usr is not shown: the image has a directory there" in layout.notes


def test_network_file_systems_can_be_switched_off() -> None:
    layout = laid(request(without=frozenset({View.NETWORK})))
    assert layout.network == ()
    assert all(op.verb is not Verb.BIND_FSTYPES for op in layout.operations)


def test_scratch_that_tmpdir_names_is_bound_unless_it_is_shown_already() -> None:
    assert binds(laid(request({"TMPDIR": "/scratch"})))["/scratch"] == ("/scratch", "rw")
    host = replace(HOST, present=HOST.present | {"/tmp/x"})
    assert "/tmp/x" not in binds(laid(request({"TMPDIR": "/tmp/x"}), host=host))


def test_a_missing_directory_of_the_kernel_is_left_out() -> None:
    assert "/sys" not in binds(laid(host=replace(HOST, present=HOST.present - {"/sys"})))


# The working directory


@pytest.mark.parametrize("cwd", ["/home/ann/job", "/tmp/x", "/lustre/p"])
def test_a_working_directory_that_is_shown_already_is_not_bound_again(cwd: str) -> None:
    layout = laid(request(cwd=cwd), host=replace(HOST, present=HOST.present | {cwd}))
    assert cwd not in binds(layout)
    assert layout.cwd == cwd
    assert not any("working directory" in note for note in layout.notes)


def test_a_working_directory_that_is_not_in_the_image_is_bound_and_told() -> None:
    layout = laid(request(cwd="/scratch"))
    assert binds(layout)["/scratch"] == ("/scratch", "rw")
    assert "the working directory /scratch is not in the image and is bound" in layout.notes


def test_a_working_directory_of_the_image_stays_the_images() -> None:
    layout = laid(request(cwd="/usr/share"))
    assert "/usr/share" not in binds(layout)
    assert "the working directory /usr/share is the image's own" in layout.notes


def test_a_working_directory_on_run_is_bound_though_the_image_has_it() -> None:
    image = replace(IMAGE, present=IMAGE.present | {"/run/x"})
    host = replace(HOST, present=HOST.present | {"/run/x"})
    assert "/run/x" in binds(laid(request(cwd="/run/x"), host=host, image=image))


def test_a_working_directory_that_is_switched_off_gives_the_root_and_a_warning() -> None:
    layout = laid(request(cwd="/scratch", without=frozenset({View.CWD})))
    assert layout.cwd == "/"
    assert layout.warnings == (
        "the working directory /scratch is not in the container: its part of the view is off; starting in /",
    )


def test_a_mount_of_the_user_over_the_working_directory_is_enough() -> None:
    asked = request(cwd="/scratch/x", mounts=(Mount("/data", "/scratch", read_only=False),))
    assert list(binds(laid(asked)))[-1] == "/scratch"


# Mounts that were asked for


def test_mounts_of_site_and_user_come_last_and_the_users_win() -> None:
    config = SiteConfig(
        mounts=(Mount("/data", "/data", read_only=True), Mount("/gone", "/gone", read_only=False))
    )
    layout = laid(request(mounts=(Mount("/scratch", "/data", read_only=True),)), config=config)
    asked = [op for op in layout.operations if op.origin in {Origin.SITE, Origin.USER}][1:]
    assert [op.args for op in asked] == [
        ("/data", "/data", "ro,optional"),
        ("/gone", "/gone", "rw,optional"),
        ("/scratch", "/data", "ro"),
    ]
    assert "the site's mount /gone is left out: it is not on this host" in layout.notes


def test_a_mount_of_the_user_without_its_source_is_refused() -> None:
    with pytest.raises(BareboatError) as caught:
        laid(request(mounts=(Mount("/gone", "/data", read_only=False),)))
    assert str(caught.value) == "cannot mount /gone: it does not exist, or you cannot reach it"
    assert caught.value.hint.startswith("check BAREBOAT_MOUNTS and --mount")


# The step


def test_the_steps_directories_are_bound() -> None:
    step = StepDirs(pmi_dirs=("/var/spool/pmix.1", "/tmp/pmix"), spool_dir="/var/spool/slurmd/job00001")
    shown = binds(laid(step=step))
    assert shown["/var/spool/pmix.1"] == ("/var/spool/pmix.1", "rw,optional")
    assert "/tmp/pmix" not in shown
    assert shown["/var/spool/slurmd/job00001"][1] == "rw,optional"
    assert shown["/run/munge"] == ("/run/munge", "rw,optional")
    off = laid(request(without=frozenset({View.PMI, View.SPOOL, View.MUNGE})), step=step)
    assert set(shown) - set(binds(off)) == {"/var/spool/pmix.1", "/var/spool/slurmd/job00001", "/run/munge"}


def test_prologs_of_the_tasks_are_covered_even_where_their_directory_is_shown() -> None:
    layout = laid(request(task_prologs=("/etc/slurm/prolog", "/home/ann/p.sh")))
    noop = "/opt/bareboat/libexec/bareboat/noop"
    assert binds(layout)["/etc/slurm/prolog"] == (noop, "ro")
    assert binds(layout)["/home/ann/p.sh"] == (noop, "ro")


# Identity and time


def test_the_user_takes_the_place_of_namesakes() -> None:
    text = passwd_text(IMAGE.passwd, USER, "/bin/sh")
    assert text == "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann,,,:/home/ann:/bin/sh\n"
    assert group_text(IMAGE.group, USER) == "root:x:0:\nusers:x:100:\nlab:x:200:\n"


def test_a_shell_that_the_image_lacks_becomes_sh() -> None:
    assert ":/home/ann:/bin/sh\n" in find(laid(), "/etc/passwd").args[2]
    image = replace(IMAGE, present=IMAGE.present | {"/bin/zsh"})
    assert ":/home/ann:/bin/zsh\n" in find(laid(image=image), "/etc/passwd").args[2]


def test_merging_the_user_twice_changes_nothing() -> None:
    once = passwd_text(IMAGE.passwd, USER, "/bin/sh")
    assert passwd_text(once, USER, "/bin/sh") == once


@pytest.mark.parametrize(
    ("zone", "localtime", "zones", "bound", "value"),
    [
        ("Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", True, "", ""),
        ("Etc/UTC", "", False, "", ""),
        ("Europe/Berlin", "/usr/share/zoneinfo/Etc/UTC", True, "", "Europe/Berlin"),
        (
            "Europe/Berlin",
            "/usr/share/zoneinfo/Etc/UTC",
            False,
            "/run/bareboat/localtime",
            ":/run/bareboat/localtime",
        ),
        ("Europe/Berlin", "/etc/localtime", False, "/etc/localtime", ""),
        ("Europe/Berlin", "", False, "/etc/localtime", ""),
        ("", "", False, "/etc/localtime", ""),
    ],
)
def test_the_time_zone_is_the_hosts_and_no_zone_file_is_covered(
    zone: str, localtime: str, zones: bool, bound: str, value: str
) -> None:
    present = IMAGE.present | ({f"/usr/share/zoneinfo/{zone}"} if zones else set())
    layout = laid(
        host=replace(HOST, timezone=zone), image=replace(IMAGE, localtime=localtime, present=present)
    )
    assert [target for target, (source, _) in binds(layout).items() if source == "/etc/localtime"] == (
        [bound] if bound else []
    )
    assert [op.args for op in layout.environment] == ([("TZ", value)] if value else [])


# What the probes have to be asked


def test_the_probes_are_asked_about_all_that_the_layout_looks_up() -> None:
    asked = request({"TMPDIR": "/scratch"}, mounts=(Mount("/data", "/d", read_only=False),))
    paths = host_paths(
        asked, SiteConfig(mounts=(Mount("/s", "/s", read_only=True),)), StepDirs(("/p",), "/q")
    )
    assert {"/data", "/s", "/p", "/q", "/scratch", "/home/ann/job", "/proc", "/run/munge"} <= set(paths)
    assert {"/home/ann/job", "/bin/zsh", "/usr/share/zoneinfo/Europe/Berlin", "/lustre", "/usr"} == set(
        image_paths(asked, SiteConfig(), HOST)
    )


def test_beneath_is_about_components() -> None:
    assert beneath("/a/b", "/a")
    assert beneath("/a", "/a")
    assert beneath("/a", "/")
    assert not beneath("/ab", "/a")


# The environment


def environment(variables: Mapping[str, str], config: SiteConfig | None = None) -> dict[str, str]:
    asked = request(variables, passed=tuple(filter(None, variables.get("BAREBOAT_PASS", "").split(","))))
    return apply_environment(plan_environment(asked, config or SiteConfig(), IMAGE), variables)


def test_the_jobs_variables_stay_and_the_images_fill_in() -> None:
    found = environment({"OMP": "8", "HOME": "/home/ann", "SLURM_JOB_ID": "1"})
    assert found["OMP"] == "8"
    assert found["HOME"] == "/home/ann"
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
    arguments: dict[str, Any] = {"program": "/usr/bin/app", "missing": ("/home/ann",), **changes}
    return make_plan(request(), SiteConfig(), IMAGE, laid(), mpi, **arguments)


def test_a_plan_is_written_as_a_program_and_read_back() -> None:
    made = plan()
    assert [(op.verb, op.args) for op in decode(made.encode())] == [
        (op.verb, op.args) for op in made.operations
    ]


def test_a_plan_always_ends_with_directory_and_privileges() -> None:
    assert [op.verb for op in plan().operations[-2:]] == [Verb.CWD, Verb.NO_NEW_PRIVS]
    assert [op.verb for op in plan(None).operations[-2:]] == [Verb.CWD, Verb.NO_NEW_PRIVS]


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
        "working directory /home/ann/job",
        "MPICH 4.2 -> MPICH 4.0",
        "the host's MPI fits (same ABI)",
        "Made on an overlay, since the image lacks them\n  /home/ann\n",
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
    assert document["missing_mount_points"] == ["/home/ann"]
