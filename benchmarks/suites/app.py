"""Any program, bare and in the container: its wall time, and what it prints about itself."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from benchmarks.cases import BARE, CONTAINER, AppMetric, Asked, Case, Command, Figure, Ground, Offer, Reading
from benchmarks.errors import BenchError
from benchmarks.runner import Output
from benchmarks.stats import Better

NAME = "app"
_WALL = "wall time"


def wanted(_asked: Asked) -> tuple[str, ...]:
    """Nothing of ours."""
    return ()


def offer(ground: Ground) -> Offer:
    """The program, with every number of ranks, on the most nodes that were asked for."""
    app = ground.asked.app
    if app is None:
        raise BenchError("no program was named", hint="use `bareboat bench app --image IMG -- CMD`")
    nodes = max(ground.nodes)
    forms = ((CONTAINER, ground.image), *ground.asked.forms)
    commands = {
        side: Command(words, image, ground.options, directory=app.directory)
        for side, words, image in (
            (BARE, app.bare or app.argv, None),
            *((side, app.argv, path) for side, path in forms),
        )
    }
    title = app.argv[0].rpartition("/")[2]
    counts = ground.asked.ranks or (ground.cpus_per_node * nodes,)
    ranks = sorted({max(nodes, count) for count in counts})
    read = make_reader(app.metrics)
    cases = (Case(NAME, title, nodes, count, commands, read, mpi=False, whole=True) for count in ranks)
    note = (
        f"if {title} is an MPI program, whether all sides used the same library and transport is not known: "
        "the ratio is of the programs as they ran"
    )
    return Offer(tuple(cases), notes=(note,))


def make_metric(pattern: str, higher: Sequence[str] = (), units: Sequence[tuple[str, str]] = ()) -> AppMetric:
    """A metric from a regular expression of one group, whose name, if it has one, is the metric's.  Pure.

    higher: names of which more is better; units: (name, unit).  Raises BenchError for an expression without
    a group, or with several.
    """
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise BenchError(f"{pattern!r} is no regular expression: {error}") from error
    if compiled.groups != 1:
        raise BenchError(
            f"{pattern!r} has {compiled.groups} groups, and a metric is what one group matches",
            hint=r"for example --metric 'Loop time of (?P<loop>[0-9.]+)'; write other groups as (?:...)",
        )
    name = next(iter(compiled.groupindex), pattern)
    better = Better.HIGHER if name in higher else Better.LOWER
    return AppMetric(name, pattern, dict(units).get(name, ""), better)


def make_reader(metrics: tuple[AppMetric, ...]) -> Callable[[Output], Reading]:
    """What reads a run: the wall time, and the last match of each metric.  Pure."""

    def read(output: Output) -> Reading:
        wall = Figure(_WALL, output.seconds, "s", Better.LOWER)
        return Reading((wall, *(_figure(metric, output.stdout) for metric in metrics)))

    return read


def _figure(metric: AppMetric, text: str) -> Figure:
    matches = [match[1] for match in re.finditer(metric.pattern, text, re.MULTILINE) if match[1] is not None]
    if not matches:
        raise BenchError(
            f"the output does not have what {metric.pattern!r} looks for",
            hint=f"it ends with: {text.strip()[-200:]!r}",
        )
    last = matches[-1]  # a program's summary stands at the end
    try:
        value = float(last)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise BenchError(f"{metric.name} is {last!r}, which is no number above 0")
    return Figure(metric.name, value, metric.unit, metric.better)
