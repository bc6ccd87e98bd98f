"""The error that every part of the ABI layer raises.  Only the command line prints it or exits."""

from __future__ import annotations


class AbiError(Exception):
    """A file or a request could not be judged.

    The text says what failed, on what and why; ``hint`` says what to do next.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def unreadable(name: str, error: OSError) -> AbiError:
    """The AbiError for a file, known as ``name``, that the system does not let us read."""
    if isinstance(error, PermissionError):
        hint = "let who runs the image read it (chmod a+r; a+x for the directories above it)"
    elif isinstance(error, FileNotFoundError):
        hint = "name a file that is there; where others change the directory meanwhile, try again"
    else:
        hint = "look whether its file system is well (dmesg), and put a whole copy in its place"
    return AbiError(f"{name}: cannot be read: {error.strerror or error}", hint=hint)
