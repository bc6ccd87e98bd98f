"""``bareboat abi check``: one program, several, or an image with all its MPI programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import report
from .answers import Answer
from .environment import image_environment
from .errors import AbiError
from .image import MpiSource
from .judging import Judge, Judgement
from .opened import plugin_files
from .pmi import PmiAdvice, spoken_by
from .programs import find_programs
from .reads import Reads
from .reasons import Code
from .rootfs import RootView
from .verdict import VerdictKind


@dataclass(frozen=True, slots=True)
class Checked:
    """Judgements on programs by their names, or on the image and its ``programs`` (None: not asked for)."""

    judgements: tuple[Judgement, ...]
    programs: report.Programs | None = None

    @property
    def swaps(self) -> bool:
        """Whether any of it gets the host's MPI: then it matters what srun offers."""
        return any(each.swap for each in self.judgements)

    def answer(self, *, offered: Sequence[str] | None, asked: str) -> Answer:
        """Put it into words.  ``offered`` is what srun offers (None: not asked), ``asked`` the step's."""
        values, blocks = [], []
        for each in self.judgements:
            pmi = None
            if offered is not None and each.host and each.closure and each.swap:
                spoken = spoken_by(each.host, each.closure)
                pmi = PmiAdvice(each.host.title, spoken, tuple(offered), asked)
            values.append(report.verdict_json(each.image, each.verdict, each.swap, pmi, each.node))
            blocks.append(
                "\n".join(report.verdict_lines(each.image, each.verdict, each.swap, pmi, each.node))
            )
        kinds = [each.verdict.kind for each in self.judgements]
        whole = values[0]
        if len(values) > 1:
            whole = {"verdict": report.worst(kinds), "apps": values}
        if self.programs is not None:
            kinds += [item.verdict.kind for item in self.programs.judged if item.verdict]
            first = self.judgements[0].verdict
            blocks.append("\n".join(report.programs_lines(self.programs, first)))
            # Where no MPI program could be judged, only a refusal of the image says how they would run.
            refused = {VerdictKind.TRANSLATED, VerdictKind.IMPOSSIBLE} & set(kinds)
            known = refused or not self.programs.unjudged
            worst = report.worst(kinds) if known else None
            whole |= {"worst": worst, **report.programs_json(self.programs)}
            return Answer("\n\n".join(blocks), whole, report.exit_code(worst))
        return Answer("\n\n".join(blocks), whole, report.exit_code(report.worst(kinds)))


def check_programs(view: RootView, judge: Judge, names: Sequence[str]) -> Checked:
    """Judge programs by their container paths.  Raises AbiError if one of them cannot be judged."""
    reads = Reads(view, image_environment(view))
    return Checked(tuple(judge.judge(view, name, reads=reads) for name in names))


def check_image(view: RootView, judge: Judge, *, programs: bool = True) -> Checked:
    """Judge an image as such and, if asked for, all its MPI programs and known plugins.

    A program that cannot be judged is told as such; raises AbiError if the image cannot.
    """
    reads = Reads(view, image_environment(view))
    whole = judge.judge(view, None, reads=reads)
    if not programs:
        return Checked((whole,))
    found = find_programs(view)
    judged = []
    for path, adapts in (dict.fromkeys(found.paths, "") | dict(plugin_files(view, None))).items():
        try:
            each = judge.judge(view, path, reads=reads)
        except AbiError as error:
            judged.append(report.Program(path, None, str(error)))
            continue
        if adapts and each.host and each.host.family != adapts:
            continue  # nobody opens it here
        if adapts or _uses_mpi(each):
            judged.append(report.Program(path, each.verdict))
    return Checked((whole,), report.Programs(tuple(judged), found.left_out, found.closed, found.ended))


def _uses_mpi(judgement: Judgement) -> bool:
    """Whether a program itself needs MPI, and not only may start or open something that does."""
    missing = any(reason.code is Code.MPI_MISSING for reason in judgement.verdict.reasons)
    return missing or judgement.image.source in (MpiSource.TREE, MpiSource.STATIC)
