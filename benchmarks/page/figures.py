"""Draws plots as SVG, to be put into a page.  Pure: the same drawing gives the same text.

The colours are names (``var(--series-1)``) that the page's style sheet gives, so that a plot is right on a
light screen, on a dark one and on paper.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from benchmarks.page.plots import Curve, Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_WIDTH, _HEIGHT = 6.4, 3.6
"""Inches; the page stretches plots to its columns."""

# matplotlib takes colours only as numbers; these stand for the page's, which `_name_colours` puts in their
# place.
_INK, _GRID = "#010101", "#020202"
_SERIES = tuple(f"#03030{number}" for number in range(1, 9))
_NAMES = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, 1)},
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Series differ by shape, too: for paper without colour, and for eyes that do not tell the colours.

One fewer than the colours, so that no pair comes twice soon.
"""


def draw(key: str, drawing: Drawing, labels: Sequence[str]) -> str:
    """SVG of a plot: an ``svg`` element without a prolog, all of whose names begin with the key.

    labels: those of the whole page's curves, so that each has the same colour and marker in every plot.
    Raises ValueError for a curve that is not among them.
    """
    fill = _bars if drawing.names else _lines
    return _draw(key, drawing.title, lambda axes: fill(axes, drawing, labels))


def _lines(axes: Axes, drawing: Drawing, labels: Sequence[str]) -> None:
    places = sorted({x for curve in drawing.curves for x in curve.x})
    for curve in drawing.curves:
        _draw_curve(axes, curve, labels.index(curve.label))
    if drawing.level is not None:
        axes.axhline(drawing.level, color=_INK, linewidth=0.8, linestyle="--")
    if drawing.bytes_x:
        _count_bytes(axes, places)
    else:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    if drawing.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(drawing.x_label)
    axes.set_ylabel(drawing.y_label)


def _bars(axes: Axes, drawing: Drawing, labels: Sequence[str]) -> None:
    width = 0.8 / max(1, len(drawing.curves))
    for number, curve in enumerate(drawing.curves):
        places = [x + (number - (len(drawing.curves) - 1) / 2) * width for x in curve.x]
        below = [max(0.0, y - low) for y, low in zip(curve.y, curve.low, strict=True)]
        above = [max(0.0, high - y) for y, high in zip(curve.y, curve.high, strict=True)]
        axes.bar(
            places,
            curve.y,
            width * 0.92,
            yerr=(below, above),
            label=curve.label,
            color=look_of(labels.index(curve.label))[0],
            error_kw={"ecolor": _INK, "elinewidth": 1, "capsize": 3},
        )
    if drawing.level is not None:
        axes.axhline(drawing.level, color=_INK, linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(drawing.names)), drawing.names, rotation=20 if len(drawing.names) > 4 else 0)
    axes.set_ylabel(drawing.y_label)
    axes.set_ylim(bottom=0)


def look_of(number: int) -> tuple[str, str]:
    """Colour and marker of the page's n-th side."""
    return _SERIES[number % len(_SERIES)], _MARKERS[number % len(_MARKERS)]


def label_bytes(size: float) -> str:
    """A message size in short: 512, 8K, 4M."""
    for unit, scale in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if size >= scale and size % scale == 0:
            return f"{int(size // scale)}{unit}"
    return f"{size:g}"


def _draw_curve(axes: Axes, curve: Curve, number: int) -> None:
    colour, marker = look_of(number)
    if len(curve.x) == 1:  # a band of no width would not be seen
        axes.vlines(curve.x, curve.low, curve.high, color=colour, linewidth=1)
    axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(curve.x, curve.y, color=colour, marker=marker, markersize=3.5, linewidth=1.4, label=curve.label)


def _count_bytes(axes: Axes, sizes: Sequence[float]) -> None:
    axes.set_xscale("symlog" if sizes and sizes[0] <= 0 else "log", base=2)
    # Eight names at most, evenly spread: those of all 23 sizes would run into each other.
    step = max(1, math.ceil(len(sizes) / 8))
    axes.set_xticks(sizes[::step], [label_bytes(size) for size in sizes[::step]])
    axes.minorticks_off()


def _draw(key: str, title: str, fill: Any) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
        "svg.hashsalt": key,
        "font.size": 9,
        "text.parse_math": False,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
        ),
        "grid.color": _GRID,
    }
    with rc_context(settings):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        fill(axes)
        figure.legend(loc="outside upper left", ncols=3, frameon=False)
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        text = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with warnings.catch_warnings():
            # Letters that the font here lacks: the browser draws them, by its own fonts.
            warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
            FigureCanvasSVG(figure).print_svg(text, metadata=nothing)  # type: ignore[no-untyped-call]
    return _fit(text.getvalue(), key, title)


def _fit(svg: bytes, key: str, title: str) -> str:
    """Make matplotlib's SVG part of a page: names of its own, a title, the page's colours."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for name, value in element.attrib.items():
            element.set(name, _fit_value(name, value, key))
    for name in ("width", "height"):
        del root.attrib[name]  # the page decides; viewBox keeps the shape
    heading = ElementTree.Element(f"{{{_SVG}}}title")
    heading.text = title
    root.insert(0, heading)
    root.set("role", "img")
    root.set("id", key)
    return ElementTree.tostring(root, encoding="unicode")


def _fit_value(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == f"{{{_XLINK}}}href" and value.startswith("#"):
        return f"#{key}-{value[1:]}"
    return _name_colours(re.sub(r"url\(#([^)]*)\)", lambda found: f"url(#{key}-{found[1]})", value))


def _name_colours(value: str) -> str:
    for colour, name in _NAMES.items():
        value = value.replace(colour, name)
    return value
