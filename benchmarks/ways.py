"""The ways to start a program that launches are compared by: bareboat, warm and cold, and other engines."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from benchmarks.cases import BARE, CONTAINER, Asked, Way
from benchmarks.engines import Installed
from benchmarks.errors import BenchError
from benchmarks.suites.common import kind_of

_REPLAN = (("BAREBOAT_REPLAN", "1"),)
_LABEL = re.compile(r"([^/=]+)=(.+)", re.DOTALL)


def parse_image(text: str) -> tuple[str, str]:
    """Read ``[LABEL=]PATH``: label ("" without one) and path; a relative one starts here."""
    match = _LABEL.fullmatch(text)
    label, path = (match[1], match[2]) if match else ("", text)
    return label, os.path.abspath(path)  # noqa: PTH100 (an image is a name; links in it stay)


def make_ways(image: str, asked: Asked, engines: Sequence[Installed]) -> tuple[Way, ...]:
    """All ways, bare first: bareboat with each form of the image, then without kept plans; each engine with
    each form that it takes.

    Raises BenchError for an image that does not exist, or two ways of one name.
    """
    images = ((asked.label or CONTAINER, image), *asked.forms)
    ways = [Way(BARE), *(Way(name, path) for name, path in images)]
    if asked.cold:
        ways += [Way(f"{name}, cold", path, variables=_REPLAN) for name, path in images]
    for installed in engines:
        ways += [
            _peer(installed, name, path) for name, path in images if kind_of(path) in installed.engine.takes
        ]
    names = [way.name for way in ways]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BenchError(
            f"two sides would be called {min(twice)!r}", hint="give each form of the image another label"
        )
    return tuple(ways)


def _peer(installed: Installed, name: str, path: str) -> Way:
    engine = installed.engine
    arguments = tuple(word.replace("{image}", path) for word in engine.arguments)
    return Way(
        engine.name if name == CONTAINER else f"{engine.name} {name}",
        before=(installed.program, *arguments) if installed.program else (),
        options=(engine.srun_option.replace("{image}", path),) if engine.srun_option else (),
        peer=True,
        version=installed.version,
    )
