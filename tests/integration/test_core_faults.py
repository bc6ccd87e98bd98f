"""Every system call of the core fails once: the message names call, path and errno, or nothing is different.

The calls are found by tracing, so that a change of the core changes what is tested with it.
"""

from __future__ import annotations

import errno
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_scene import HARMLESS, Scene, assert_told, can_fail, heard, make_scene, view
from faults import calls_of, inject, inject_each

MAKES = {"getdents64", "mkdirat", "move_mount", "pivot_root", "prctl", "readlinkat", "symlinkat", "unshare"}
"""Some of what the program must make the core call, so that the test cannot become one of nothing."""


@pytest.fixture
def scene(shared_path: Path, user: pwd.struct_passwd, image: Callable[[str], Path]) -> Iterator[Scene]:
    with make_scene(shared_path, user, image("deb13-mpich")) as made:
        yield made


def test_each_call_that_makes_a_container_fails_once(scene: Scene) -> None:
    whole = view(scene.run().run().stdout)
    assert {"generated", "where the step is", "NoNewPrivs:\t1", "D=e"} <= set(whole)
    without_network = [line for line in whole if str(scene.network) not in line]
    assert len(without_network) == len(whole) - 1
    calls = can_fail(calls_of(scene.run(), start=str(scene.program)))
    assert {call.name for call in calls} >= MAKES
    passed_over = 0
    for outcome in inject_each(scene.run(), calls):
        if outcome.call.name in HARMLESS or outcome.call.path() == "/dev/null":
            # That is for standard descriptors which the caller has closed, and here none is.
            assert (outcome.code, outcome.err, view(outcome.out)) == (0, "", whole), outcome
        elif outcome.code == 0:
            # The copy of the network file system's mount: passed over, as if its server were gone.
            assert (outcome.call.name, outcome.err) == ("mount_setattr", ""), outcome
            assert view(outcome.out) == without_network, outcome
            passed_over += 1
        else:
            text = outcome.err.removeprefix("bareboat: ").removesuffix("\n")
            assert_told(outcome, text)
            assert outcome.out == b"", outcome
            assert outcome.code == (126 if text.startswith("cannot run ") else 125), outcome
    assert passed_over == 1


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_network_file_system_that_is_gone_is_passed_over(scene: Scene, error: int) -> None:
    calls = calls_of(scene.run(), start=str(scene.program))
    (clone,) = [call for call in calls if call.name == "open_tree" and call.path() == str(scene.network)]
    outcome = inject(scene.run(), clone, error)
    whole = view(scene.run().run().stdout)
    assert (outcome.code, outcome.err) == (0, "")
    assert view(outcome.out) == [line for line in whole if str(scene.network) not in line]


def test_an_image_that_cannot_be_looked_into_hides_nothing(scene: Scene) -> None:
    """What a mount would hide is asked of the image first; no answer is not "nothing"."""
    calls = calls_of(scene.run(), start=str(scene.program))
    listing = next(call for call in calls if call.name == "getdents64")
    outcome = inject(scene.run(), listing, errno.ESTALE)
    assert outcome.code == 125
    assert outcome.err == "bareboat: cannot look into the image for /mnt: Stale file handle\n"


def test_each_call_of_a_holder_fails_once(scene: Scene) -> None:
    """Under Slurm, the container is made by a holder, which tells its end of a pipe how it went."""
    assert heard(scene.hold().run().stdout) == [(2, ""), (0, "")]
    calls = can_fail(calls_of(scene.hold(), start="/proc/self/ns"))
    questions = [call for call in calls if call.line.startswith("write(1, ")]
    answers = [call for call in calls if call.line.startswith("read(0, ")]
    assert (len(questions), len(answers)) == (2, 2)
    for outcome in inject_each(scene.hold(), calls):
        last = heard(outcome.out)[-1]
        if outcome.call == questions[1]:
            # It cannot tell that it cannot tell; that it is gone, who listens sees.
            assert (outcome.code, last) == (125, (2, "")), outcome
        elif outcome.call.name in HARMLESS or outcome.call == answers[1]:
            # Without its leash, a holder ends; who has not joined by then says that it is gone.
            assert (outcome.code, last) == (0, (0, "")), outcome
        elif outcome.code == 0:
            assert (outcome.call.name, last) == ("mount_setattr", (0, "")), outcome
        else:
            assert (outcome.code, last[0]) == (125, 1), outcome
            assert_told(outcome, last[1])
        assert outcome.err == ""
