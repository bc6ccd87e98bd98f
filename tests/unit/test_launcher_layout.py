"""Which mounts and files follow from which facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from launcher_facts import HOST, IMAGE, USER, StepDirs, binds, find, laid, request

from launcher.config import Mount, SiteConfig, View
from launcher.errors import BareboatError
from launcher.identity import group_text, passwd_text
from launcher.layout import (
    Layout,
    beneath,
    host_paths,
    image_paths,
    network_paths,
    step_paths,
)
from launcher.placeholders import is_placeholder, read_values
from launcher.program import Operation, Origin, Verb

# What of the host is shown


def test_the_default_view_is_shown_in_its_order() -> None:
    layout = laid()
    assert layout.operations[0] == Operation(
        Verb.ROOT_DIR, ("/images/img",), "the image, read-only", Origin.USER
    )
    assert list(binds(layout)) == [
        *("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/home/user", "/etc/resolv.conf", "/etc/hosts"),
        "/etc/localtime",
    ]
    assert find(layout, "/run").args == ("/run", "mode=0755")
    assert layout.cwd == "/home/user/job"
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
    assert "/home/user" not in shown
    assert shown["/home/user/job"] == ("/home/user/job", "rw")


def test_a_home_that_is_not_there_is_told() -> None:
    host = replace(HOST, user=replace(USER, home="/nonexistent"))
    assert "no home directory: /nonexistent is not on this host" in laid(host=host).notes


def test_what_becomes_of_other_groups_without_slurm_is_told() -> None:
    text = "your groups lab show as 65534 inside and chgrp to them fails"
    assert [note for note in laid().notes if text in note]
    assert not [note for note in laid(step=StepDirs()).notes if "65534" in note]
    lone = replace(HOST, user=replace(USER, groups=USER.groups[:1]))
    assert not [note for note in laid(host=lone).notes if "65534" in note]


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


@pytest.mark.parametrize("path", ["/", "/usr/share"])
def test_scratch_and_homes_never_cover_what_the_image_has_of_its_system(path: str) -> None:
    host = replace(HOST, present=HOST.present | {"/"}, user=replace(USER, home=path))
    layout = laid(request({"TMPDIR": path}), host=host)
    assert path not in binds(layout)
    assert f"the home directory {path} is not shown: it is part of the image's system" in layout.notes


# The working directory


@pytest.mark.parametrize("cwd", ["/home/user/job", "/tmp/x", "/lustre/p"])
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


def test_an_empty_directory_of_the_image_is_a_mount_point_for_the_working_directory() -> None:
    assert binds(laid(request(cwd="/mnt")))["/mnt"] == ("/mnt", "rw")


def test_a_working_directory_on_run_is_bound_though_the_image_has_it() -> None:
    image = replace(IMAGE, held=IMAGE.held | {"/run/x"})
    host = replace(HOST, present=HOST.present | {"/run/x"})
    assert "/run/x" in binds(laid(request(cwd="/run/x"), host=host, image=image))


def test_a_working_directory_that_is_switched_off_gives_the_root_and_a_warning() -> None:
    layout = laid(request(cwd="/scratch", without=frozenset({View.CWD})))
    assert layout.cwd == "/"
    assert layout.warnings == (
        "the working directory /scratch is not in the container: its part of the view is off; starting in /",
    )


def test_a_mount_that_the_working_directory_would_hide_is_refused() -> None:
    host = replace(HOST, present=HOST.present | {"/scratch", "/data"})
    asked = request({"BAREBOAT_MOUNTS": "/data:/scratch/sub"}, cwd="/scratch")
    with pytest.raises(BareboatError) as caught:
        laid(asked, host=host)
    assert str(caught.value) == (
        "cannot mount on /scratch/sub: it lies below the working directory /scratch, which is "
        "not in the image and is bound over it"
    )
    assert "srun --chdir" in caught.value.hint


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
    pmix, spool = "/var/spool/pmix.1", "/var/spool/slurmd/job00001"
    step = StepDirs(pmi_dirs=(pmix, "/tmp/pmix", "/gone"), spool_dir=spool)
    host = replace(HOST, present=HOST.present | {pmix, "/tmp/pmix", spool})
    shown = binds(laid(host=host, step=step))
    assert shown["/var/spool/pmix.1"] == ("/var/spool/pmix.1", "rw,optional")
    assert "/tmp/pmix" not in shown
    assert "/gone" not in shown
    assert shown["/var/spool/slurmd/job00001"] == ("/var/spool/slurmd/job00001", "rw")
    assert shown["/run/munge"] == ("/run/munge", "rw,optional")
    off = laid(request(without=frozenset({View.PMI, View.SPOOL, View.MUNGE})), host=host, step=step)
    assert set(shown) - set(binds(off)) == {"/var/spool/pmix.1", "/var/spool/slurmd/job00001", "/run/munge"}


def test_prologs_of_the_tasks_are_covered_even_where_their_directory_is_shown() -> None:
    layout = laid(request(task_prologs=("/etc/slurm/prolog", "/home/user/p.sh")))
    noop = "/opt/bareboat/libexec/bareboat/noop"
    assert binds(layout)["/etc/slurm/prolog"] == (noop, "ro")
    assert binds(layout)["/home/user/p.sh"] == (noop, "ro")


# Identity and time


def test_the_user_takes_the_place_of_namesakes() -> None:
    text = passwd_text(IMAGE.passwd, USER, "/bin/sh")
    assert text == "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann,,,:/home/user:/bin/sh\n"
    assert group_text(IMAGE.group, USER) == "root:x:0:\nusers:x:100:\nlab:x:200:\n"


def test_a_shell_that_the_image_lacks_becomes_sh() -> None:
    assert ":/home/user:/bin/sh\n" in find(laid(), "/etc/passwd").args[2]
    image = replace(IMAGE, present=IMAGE.present | {"/bin/zsh"})
    assert ":/home/user:/bin/zsh\n" in find(laid(image=image), "/etc/passwd").args[2]


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
    step = StepDirs(("/p",), "/q")
    paths = host_paths(asked, SiteConfig(mounts=(Mount("/s", "/s", read_only=True),)), step)
    assert {"/data", "/s", "/proc", "/run/munge"} <= set(paths)
    assert {"/p", "/q", "/scratch", "/home/user/job"} == set(step_paths(asked, step))
    zone = {"/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin"}
    assert {"/bin/zsh", *zone} == set(image_paths(asked, SiteConfig(), HOST))
    assert {"/lustre", "/usr"} == set(network_paths(SiteConfig(), HOST))


def test_what_a_step_does_not_need_to_know_is_not_asked() -> None:
    off = request(without=frozenset({View.USERS, View.TIMEZONE, View.HOME}))
    assert image_paths(off, SiteConfig(), HOST) == ()
    host = replace(HOST, user=replace(USER, home="/var/lib/x"))
    assert image_paths(off, SiteConfig(), host) == ()
    assert "/var/lib/x" not in image_paths(request(), SiteConfig(), host)
    host = replace(HOST, user=replace(USER, home="/usr/x"))
    assert "/usr/x" in image_paths(request(), SiteConfig(), host)


# Placeholders


def placeholders(layout: Layout) -> list[tuple[str, ...]]:
    return [op.args for op in layout.operations if any(is_placeholder(text) for text in op.args)]


def test_the_operations_are_the_same_for_every_step() -> None:
    one = laid(request({"TMPDIR": "/scratch"}), step=StepDirs((), "/spool"))
    other = laid(
        request(
            {"TMPDIR": "/gone", "PMIX_SERVER_TMPDIR": "/p", "PMIX_SYSTEM_TMPDIR": "/tmp"}, cwd="/usr/share"
        ),
        host=replace(HOST, mounts=(), present=HOST.present | {"/p"}),
        step=StepDirs(("/p", "/tmp"), None),
    )
    assert one.operations == other.operations
    assert one.resolved != other.resolved
    assert (one.any_cwd, one.settled, other.settled) == ("%{cwd}", True, True)
    assert placeholders(one) == [
        (name, name, "rw,optional,unless-shown")
        for name in (
            *("%{TMPDIR}", "%{PMIX_SERVER_TMPDIR}", "%{PMIX_SYSTEM_TMPDIR}", "%{spool}"),
            "%{cwd}",
        )
    ]


def test_parts_of_the_view_that_are_off_have_no_placeholder() -> None:
    off = request(without=frozenset({View.TMP, View.PMI, View.SPOOL}))
    assert [args[0] for args in placeholders(laid(off))] == ["%{cwd}"]


def test_a_decision_on_the_working_directory_is_one_for_this_step() -> None:
    off = frozenset({View.CWD})
    assert not laid(request(without=off)).settled
    assert not laid(request(cwd="/gone")).settled
    assert laid(request(without=off)).any_cwd == "/home/user/job"
    assert laid(request(cwd="/scratch", without=off)).any_cwd == "/"


@pytest.mark.parametrize("text", ["/run", "//run", "/opt/../run/.", "/../run//"])
def test_the_values_of_placeholders_are_plain_paths(text: str) -> None:
    values = read_values(cwd="/", spool=None, environment={"TMPDIR": text})
    assert values == {"%{cwd}": "/", "%{TMPDIR}": "/run"}


@pytest.mark.parametrize("path", ["/run", "/run/bareboat", "/run/user/1000"])
def test_the_containers_own_run_is_not_hidden(path: str) -> None:
    host = replace(HOST, present=HOST.present | {path})
    shown = path == "/run/user/1000"
    layout = laid(request({"TMPDIR": path}), host=host)
    assert (path in layout.resolved.shown) is shown
    layout = laid(request(cwd=path), host=host)
    assert (path in layout.resolved.shown) is shown
    assert layout.cwd == path
    assert layout.settled


def test_directories_of_an_old_pmix_belong_to_their_step() -> None:
    variables = {"PMIX_SERVER_TMPDIR": "/p/1"}
    assert laid(request(variables), step=StepDirs(("/p/1",), None)).settled
    layout = laid(
        request(variables),
        host=replace(HOST, present=HOST.present | {"/p/1", "/dstore"}),
        step=StepDirs(("/p/1", "/dstore"), None),
    )
    assert not layout.settled
    assert {"/p/1", "/dstore"} <= set(binds(layout))


def test_a_placeholder_is_passed_over_where_its_place_is_taken() -> None:
    under = {"TMPDIR": "/tmp/x", "PMIX_SERVER_TMPDIR": "/lustre/x", "PMIX_SYSTEM_TMPDIR": "relative"}
    host = replace(HOST, present=HOST.present | {"/tmp/x", "/lustre/x"})
    assert set(binds(laid(request(under), host=host))) == set(binds(laid()))
    # What is on the host's /run is hidden by the fresh one, and so has to be shown again.
    host = replace(HOST, present=HOST.present | {"/run/user/1"})
    assert "/run/user/1" in binds(laid(request({"TMPDIR": "/run/user/1"}), host=host))


def test_beneath_is_about_components() -> None:
    assert beneath("/a/b", "/a")
    assert beneath("/a", "/a")
    assert beneath("/a", "/")
    assert not beneath("/ab", "/a")
