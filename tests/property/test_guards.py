"""Whatever changes in a tree: where a view then answers otherwise, one of its guards is broken."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from guard_check import broken
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpi_abi import Recorder, RootView
from mpi_abi.guards import make_stamp

_names = st.sampled_from(["a", "b", "c", "d"])
# In paths and links, "m" is where a directory of the host is bound.
_parts = st.lists(st.one_of(_names, st.sampled_from([".", "..", "", "m"])), max_size=5)
_paths = st.builds(lambda absolute, parts: ("/" if absolute else "") + "/".join(parts), st.booleans(), _parts)
_kinds = st.one_of(st.just("dir"), st.just("file"), _paths.filter(bool).map(lambda path: f"->{path}"))
_nodes = st.lists(st.tuples(st.lists(_names, min_size=1, max_size=3), _kinds), max_size=10)
_changes = st.tuples(st.lists(_names, min_size=1, max_size=3), st.one_of(st.just("gone"), _kinds))


def _make(root: Path, parts: list[str], kind: str) -> None:
    """Put a node of a kind at a place, instead of what is there; never through a link."""
    place = root.joinpath(*parts)
    for above in reversed(place.parents):
        if above.is_relative_to(root) and above != root:
            if above.is_symlink() or above.is_file():
                return
            above.mkdir(exist_ok=True)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    if kind == "dir":
        place.mkdir()
    elif kind == "file":
        place.touch()
    elif kind != "gone":
        place.symlink_to(kind[2:])


def _answer(view: RootView, path: str) -> str:
    """What a decision can have taken from a path: which file it is, or that there is a directory."""
    host = view.resolve(path)
    if host is None or not view.is_file(path):
        return "" if host is None else "directory"
    return make_stamp(Path(host).stat())


def _leads_out_of_a_directory(root: Path, parts: list[str], kind: str) -> bool:
    """Whether a link to an absolute path takes the place of a directory.

    What was absent in the directory may be there behind the link, by the image's root; the guard asks the
    kernel, by the host's, where it may be as absent as before.  That is not seen, unless something that was
    there is guarded as well; each launch has such guards in the directories of its program and libraries.
    """
    place = root.joinpath(*parts)
    return kind.startswith("->/") and place.is_dir() and not place.is_symlink()


@settings(max_examples=400, deadline=None)
@given(
    nodes=_nodes,
    outside=_nodes,
    bound=st.booleans(),
    paths=st.lists(_paths, min_size=1, max_size=4),
    change_outside=st.booleans(),
    change=_changes,
)
def test_no_change_of_an_answer_goes_unseen(
    *,
    nodes: list[tuple[list[str], str]],
    outside: list[tuple[list[str], str]],
    bound: bool,
    paths: list[str],
    change_outside: bool,
    change: tuple[list[str], str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, other = Path(folder) / "root", Path(folder) / "other"
        root.mkdir()
        other.mkdir()
        for top, entries in ((root, nodes), (other, outside)):
            for parts, kind in entries:
                _make(top, parts, kind)
        binds = (("/m", str(other)),) if bound else ()
        recorder = Recorder()
        view = RootView(str(root), binds, recorder=recorder)
        before = [_answer(view, path) for path in paths]
        assert broken(recorder.guards) == []
        changed = other if change_outside else root
        assume(not _leads_out_of_a_directory(changed, *change))
        _make(changed, *change)
        after = [_answer(RootView(str(root), binds), path) for path in paths]
        assert before == after or broken(recorder.guards)


@settings(max_examples=100, deadline=None)
@given(_nodes, st.lists(_paths, min_size=1, max_size=4), _changes)
def test_no_change_of_a_listing_goes_unseen(
    nodes: list[tuple[list[str], str]], paths: list[str], change: tuple[list[str], str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        for parts, kind in nodes:
            _make(root, parts, kind)
        recorder = Recorder()
        view = RootView(str(root), recorder=recorder)
        before = [view.names(path) for path in paths]
        assert broken(recorder.guards) == []
        _make(root, *change)
        after = [RootView(str(root)).names(path) for path in paths]
        assert before == after or broken(recorder.guards)
