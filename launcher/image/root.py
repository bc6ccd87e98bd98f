"""The root of an image, opened to be read: a directory as it is, a squashfs file by a mount of its own.

Such a mount is seen by nobody else and lasts as long as the root is open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from launcher import apply
from launcher.config import find_config, read_config
from launcher.errors import BareboatError
from launcher.image.facts import require_root
from launcher.image.reference import Image, ImageKind, resolve_reference
from mpi_abi.errors import AbiError
from mpi_abi.guards import Recorder
from mpi_abi.rootfs import RootView

SERVERS = ("/usr/bin/squashfuse_ll", "/usr/local/bin/squashfuse_ll")
"""Where squashfuse's FUSE server is looked for, unless the site names another (``image.squashfuse``)."""


@dataclass(frozen=True, slots=True)
class Root:
    """An image's root: ``path`` is of this process and this moment; the others are as for ``RootView``."""

    path: str
    sealed: bool
    name: str = ""

    def view(self, binds: tuple[tuple[str, str], ...] = (), *, recorder: Recorder | None = None) -> RootView:
        """Return a view of the root, with host directories bound into it."""
        return RootView(self.path, binds, recorder=recorder, sealed=self.sealed, name=self.name)


def find_server(asked: str, *, recorder: Recorder | None = None) -> str:
    """Find squashfuse_ll: the site's, else the first of the usual places; "" where there is none.

    ``recorder`` gets guards of what was looked for.
    """
    recorder = recorder or Recorder()
    return next((path for path in ((asked,) if asked else SERVERS) if recorder.exists(path)), "")


@contextmanager
def open_root(image: Image, *, server: str, mount: int | None = None) -> Iterator[Root]:
    """Open the root of ``image``; ``mount`` is the descriptor of one that somebody else has made.

    Raises BareboatError where a squashfs file cannot be mounted or looked into.
    """
    if image.kind is ImageKind.DIRECTORY:
        yield Root(image.path, sealed=False)
    elif mount is not None:
        path = f"/proc/self/fd/{mount}"
        if not os.access(path, os.R_OK | os.X_OK):
            raise BareboatError(
                f"cannot read the image {image.path}: its root directory is closed to you",
                hint="the kernel shows an image of the store with its own owners and modes: have it packed "
                "with a root directory of mode 755, or run a copy that is in no store",
            )
        yield Root(path, sealed=True, name=image.path)
    else:
        if not server:
            raise BareboatError(
                f"cannot read the squashfs image {image.path}: no FUSE server is on this node "
                "(squashfuse_ll, or what image.squashfuse names)",
                hint="install squashfuse on every node, or correct image.squashfuse in the configuration",
            )
        descriptor = apply.show(image.path, server)
        try:
            yield Root(f"/proc/self/fd/{descriptor}", sealed=True, name=image.path)
        finally:
            os.close(descriptor)


@contextmanager
def open_view(name: str, *, environment: Mapping[str, str], cwd: str) -> Iterator[RootView]:
    """Open the image ``name`` as a launch would, to be read: what `mpi_abi.rootfs.Opener` asks for.

    Raises AbiError where it cannot be opened.
    """
    with ExitStack() as opened:
        try:
            path, asked = find_config(environment)
            config = read_config(path, required=asked)
            image = resolve_reference(name, cwd=cwd)
            server = find_server(config.squashfuse) if image.kind is ImageKind.SQUASHFS else ""
            root = opened.enter_context(open_root(image, server=server))
            require_root(root.view(), image.path)
        except BareboatError as error:
            raise AbiError(str(error), hint=error.hint) from error
        yield root.view()
