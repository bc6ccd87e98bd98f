"""The variables that an image presets: what a program in it sees, of what its loader asks for."""

from __future__ import annotations

import re

from .files import read_text
from .rootfs import RootView

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image_environment(view: RootView) -> dict[str, str]:
    """The variables of an image's /etc/environment, as a launch presets them."""
    return dict(parse_environment(read_text(view, "/etc/environment")))


def parse_environment(text: str) -> tuple[tuple[str, str], ...]:
    """Parse /etc/environment: ``NAME=VALUE`` lines, comments, optional ``export`` and quotes (pam_env(8)).

    enroot keeps an image's variables there too.  Lines of another form are passed over; of several for a name
    the last counts.
    """
    found: dict[str, str] = {}
    for line in text.split("\n"):
        match = re.fullmatch(r"\s*(?:export\s+)?([^\s=#'\"]+)=(.*?)\s*", line)
        if match is None or "\0" in line:
            continue
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[match[1]] = value
    return tuple(found.items())
