"""Asks srun what it offers.  Apart from `pmi`, for who only compares the answer with a kept one."""

from __future__ import annotations

import subprocess

_ASK_LIMIT = 5.0
"""Seconds that srun may take to say what it offers: it may have to find its configuration on the network."""


def ask_srun() -> tuple[str, ...]:
    """The types that ``srun --mpi=list`` names, sorted; () where there is no srun that answers."""
    try:
        done = subprocess.run(
            ["srun", "--mpi=list"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, timeout=_ASK_LIMIT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_types(done.stdout + done.stderr) if done.returncode == 0 else ()


def parse_types(text: str) -> tuple[str, ...]:
    """The types in what ``srun --mpi=list`` prints: a line each, PMIx's versions with commas in one. Pure."""
    names: set[str] = set()
    for line in text.splitlines():
        head, colon, rest = line.strip().removeprefix("srun: ").partition("available:")
        words = (rest if colon else head).replace(",", " ").split()
        if colon or len(words) == 1:
            names.update(word for word in words if word.replace("_", "").isalnum())
    return tuple(sorted(names))
