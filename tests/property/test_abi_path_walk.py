"""Whatever tree an image holds: the emulated path walk ends where the kernel's would."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_abi.rootfs import RootView

_SYS_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10
_names = st.sampled_from(["a", "b", "c", "d"])
_parts = st.lists(st.one_of(_names, st.sampled_from([".", "..", ""])), max_size=6)
_paths = st.builds(lambda absolute, parts: ("/" if absolute else "") + "/".join(parts), st.booleans(), _parts)
_nodes = st.lists(
    st.tuples(
        st.lists(_names, min_size=1, max_size=3),
        st.one_of(st.just("dir"), st.just("file"), _paths.filter(bool).map(lambda path: f"->{path}")),
    ),
    max_size=12,
)


def _kernel(root: Path, path: str) -> str | None:
    """Where openat2(2) with RESOLVE_IN_ROOT ends, as a container path."""
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    top = os.open(root, os.O_PATH | os.O_DIRECTORY)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_SYS_OPENAT2, top, (path or ".").encode(), ctypes.byref(how), ctypes.sizeof(how))
    os.close(top)
    if fd < 0:
        return None
    real = Path(f"/proc/self/fd/{fd}").readlink()
    os.close(fd)
    return "/" + "/".join(real.relative_to(root).parts)


def _build(root: Path, nodes: list[tuple[list[str], str]]) -> None:
    for parts, kind in nodes:
        place = root.joinpath(*parts)
        try:
            # Only real directories above: following links here would write outside.
            above = root
            for part in parts[:-1]:
                above = above / part
                if above.is_symlink():
                    raise FileExistsError(above)
                above.mkdir(exist_ok=True)
            if kind == "dir":
                place.mkdir()
            elif kind == "file":
                place.touch(exist_ok=False)
            else:
                place.symlink_to(kind[2:])
        except (FileExistsError, NotADirectoryError):
            continue


@settings(max_examples=300, deadline=None)
@given(_nodes, st.lists(_paths, min_size=1, max_size=8))
def test_paths_end_where_the_kernel_ends(nodes: list[tuple[list[str], str]], paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "root"
        root.mkdir()
        _build(root, nodes)
        view = RootView(str(root))
        for path in paths:
            found = view.canonical(path)
            assert found == _kernel(root, path), path
            host = view.resolve(path)
            assert (host is None) == (found is None)
            if host is not None:
                assert os.path.realpath(host) == host
                assert host == str(root) + (found or "").rstrip("/")
