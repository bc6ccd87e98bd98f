"""Entry of the plugin in srun: ``python -I -m launcher.compare`` stands between srun and its standard error.

It passes on every byte as it comes.  When srun is done, it says whether the nodes ran the same, by the lines
of ``launcher.check`` that went past.
"""

from __future__ import annotations

import os
import sys

from launcher.checklines import Told, compare, read_line

_MULTI_PROG = "SLURM_BAREBOAT_MULTI_PROG"
_LONGEST = 64 * 1024
"""No line of a check is longer, in bytes; what is longer is passed on and not read."""


class Lines:
    """Reads the lines of checks out of a stream that comes in pieces."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._rest = b""
        self._dropping = False

    def take(self, data: bytes) -> None:
        """Read what is whole now."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._dropping and (told := read_line(line.decode("utf-8", "replace"))):
                self.told.append(told)
            self._dropping = False
        self._dropping = self._dropping or len(rest) > _LONGEST
        self._rest = b"" if self._dropping else rest


def main() -> int:
    """Run the entry; returns its exit code, which nobody asks for."""
    lines = Lines()
    last = b"\n"
    try:
        while data := os.read(0, 1 << 16):
            _write(data)
            lines.take(data)
            last = data[-1:]
        text = compare(lines.told, several=_MULTI_PROG in os.environ)
        _write(b"" if last == b"\n" else b"\n")
        _write(text.encode("utf-8", "surrogateescape"))
    except OSError:
        return 1  # whoever read srun's standard error is gone
    return 0


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]


if __name__ == "__main__":
    sys.exit(main())
