"""A question of ``bareboat abi check`` and its answer: a kept one, or one that is found now."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from .answers import Answer
from .guards import Recorder
from .kept import Kept, cache_directory, describe_question, guard_package
from .srun import ask_srun

if TYPE_CHECKING:
    from .rootfs import Opener, RootView


def answer_check(
    opener: Opener | None,
    image: str,
    names: tuple[str, ...],
    order: tuple[str, ...],
    *,
    search: bool = True,
    programs: bool = True,
    kept: bool = True,
) -> Answer:
    """Judge the programs ``names`` of an image, or the image as such and, with ``programs``, all of its.

    Only of an image as such is the answer kept (with ``kept``), or a kept one given.  ``order`` are prefixes
    of MPIs, and without ``search`` all there are.  Raises AbiError where it cannot be judged.
    """
    if names or not kept:
        return _find(opener, image, names, order, Recorder(), search=search, programs=programs)[0]
    place = Kept(cache_directory(os.environ))
    path = os.path.abspath(image)  # noqa: PTH100 - links stay as they are named
    question = describe_question(path, order, os.environ, search=search, programs=programs)
    known = _recall(place, question)
    if known is not None:
        return known
    since, recorder = time.time_ns(), Recorder()
    recorder.same(path)
    guard_package(recorder)
    answer, srun = _find(opener, image, names, order, recorder, search=search, programs=programs)
    content: dict[str, Any] = {"text": answer.text, "value": answer.value, "code": answer.code}
    place.keep(question, content | {"offered": None if srun is None else list(srun)}, recorder, since)
    return answer


def _recall(place: Kept, question: dict[str, Any]) -> Answer | None:
    """The kept answer to a question, unless it depends on what srun offers, and that has changed."""
    match place.recall(question):
        case {"text": str(text), "value": dict(value), "code": int(code), "offered": offered}:
            # What srun offers has no guard: it is asked each time.
            if offered is None or offered == list(ask_srun()):
                return Answer(text, value, code)
    return None


def _find(
    opener: Opener | None,
    image: str,
    names: tuple[str, ...],
    order: tuple[str, ...],
    recorder: Recorder,
    *,
    search: bool,
    programs: bool,
) -> tuple[Answer, tuple[str, ...] | None]:
    """The answer, and what srun offers if it was asked."""
    from .checking import check_image, check_programs
    from .judging import Judge
    from .rootfs import open_directory

    with (opener or open_directory)(image) as view:
        view.recorder = recorder
        judge = Judge(order, search=search, recorder=recorder)
        if names:
            checked = check_programs(view, judge, [find_program(view, name) for name in names])
        else:
            checked = check_image(view, judge, programs=programs)
    offered = ask_srun() if checked.swaps else None
    return checked.answer(offered=offered, asked=os.environ.get("SLURM_MPI_TYPE", "")), offered


def find_program(view: RootView, name: str) -> str:
    """Where a name without slash is found by the image's PATH and the usual directories; others are paths."""
    from .environment import DEFAULT_PATH, image_environment

    if "/" in name:
        return name
    path = f"{image_environment(view).get('PATH', '')}:{DEFAULT_PATH}"
    folders = [folder for folder in path.split(":") if folder.startswith("/")]
    return next((f"{folder}/{name}" for folder in folders if view.is_file(f"{folder}/{name}")), name)
