"""The launcher's parsers: whatever they are given, they answer, or raise the error that is theirs."""

from __future__ import annotations

import contextlib
import posixpath

from hypothesis import given
from hypothesis import strategies as st

from launcher.config import SiteConfig, parse_config, parse_mount
from launcher.environment import with_default_path
from launcher.errors import BareboatError, UsageError
from launcher.host import MountPoint, User, parse_mountinfo
from launcher.identity import group_text, passwd_text
from launcher.layout import beneath
from launcher.request import make_request
from mpi_abi.environment import DEFAULT_PATH, parse_environment

words = st.text(st.characters(exclude_characters="\n\0", codec="utf-8"), max_size=20)
fields = st.text(st.characters(exclude_characters="\n\0:", codec="utf-8"), max_size=12)
paths = st.text("ab/. \t\\\u00e9", max_size=12).map(lambda text: "/" + text)


def escape(path: str) -> str:
    for character in "\\ \t\n":
        path = path.replace(character, f"\\{ord(character):03o}")
    return path


@given(st.lists(st.tuples(paths, st.sampled_from(["nfs4", "ext4", "fuse.x"]), paths), max_size=5))
def test_a_mount_table_is_read_as_the_kernel_wrote_it(mounts: list[tuple[str, str, str]]) -> None:
    lines = [
        f"1 2 0:3 / {escape(target)} rw shared:1 - {kind} {escape(source)} rw"
        for target, kind, source in mounts
    ]
    table = "\n".join(lines).encode()
    assert parse_mountinfo(table) == tuple(MountPoint(*mount) for mount in mounts)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_mount_table(data: bytes) -> None:
    assert all(mount.target.startswith("/") for mount in parse_mountinfo(data))


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_our_error(text: str) -> None:
    with contextlib.suppress(BareboatError):
        parse_config(text, "/site.toml")


keys = st.sampled_from(
    ["view.home", "view.mounts", "mpi.mode", "mpi.prefixes", "limits.mounts", "environment.deny"]
)
values = st.sampled_from(["true", "1", "1.5", "'x'", "['/a']", "[1]", "{a = 1}", "1979-05-27", "[[]]", "''"])


@given(st.dictionaries(keys, values, max_size=4))
def test_any_value_of_a_known_key_is_taken_or_refused_with_its_line(pairs: dict[str, str]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in pairs.items())
    try:
        parse_config(text, "/site.toml")
    except BareboatError as error:
        assert str(error).startswith("/site.toml line ")


@given(st.text(max_size=200))
def test_any_text_is_an_environment_file(text: str) -> None:
    for name, value in parse_environment(text):
        assert name
        assert not set("=\n\0") & set(name)
        assert not set("\n\0") & set(value)


@given(st.dictionaries(st.text("ABC_1", min_size=1), words.map(str.strip), max_size=5))
def test_what_enroot_writes_is_read_back(variables: dict[str, str]) -> None:
    text = "".join(f'{name}="{value}"\n' for name, value in variables.items())
    assert dict(parse_environment(text)) == variables


@given(st.text("/ab:ro.,", max_size=20))
def test_any_text_is_a_mount_or_a_reason(text: str) -> None:
    with contextlib.suppress(ValueError):
        mount = parse_mount(text)
        assert mount.source
        assert mount.target.strip("/.") or ":" not in text


@given(st.text("/ab:ro.,", max_size=20))
def test_mounts_of_a_request_are_absolute_and_never_cover_the_root(text: str) -> None:
    try:
        request = make_request("i", [], environment={"BAREBOAT_MOUNTS": text}, cwd="/w", config=SiteConfig())
    except UsageError as error:
        assert str(error).startswith("BAREBOAT_MOUNTS: entry ")
        return
    for mount in request.mounts:
        assert mount.source.startswith("/")
        assert mount.target == posixpath.normpath(mount.target)
        assert beneath(mount.target, "/")
        assert mount.target != "/"


@given(words)
def test_a_path_gains_each_default_directory_once(path: str) -> None:
    once = with_default_path(path)
    assert with_default_path(once) == once
    assert set(DEFAULT_PATH.split(":")) <= set(once.split(":"))


ids = st.integers(0, 2**32 - 2)
users = st.builds(
    User,
    ids,
    ids,
    fields.filter(bool),
    fields,
    st.just("/home/x"),
    st.just("/bin/sh"),
    st.lists(
        st.tuples(ids, fields.filter(bool)),
        min_size=1,
        max_size=4,
        unique_by=(lambda g: g[0], lambda g: g[1]),
    ).map(tuple),
)


@given(st.text(max_size=100), users)
def test_the_user_is_in_passwd_once_whatever_the_image_has(text: str, user: User) -> None:
    merged = passwd_text(text, user, "/bin/sh")
    *others, own = merged.removesuffix("\n").split("\n")
    assert own.split(":")[:4] == [user.name, "x", str(user.uid), str(user.gid)]
    assert user.name not in {line.split(":")[0] for line in others}
    assert passwd_text(merged, user, "/bin/sh") == merged


@given(st.text(max_size=100), users)
def test_the_groups_are_in_group_once_whatever_the_image_has(text: str, user: User) -> None:
    merged = group_text(text, user)
    lines = merged.removesuffix("\n").split("\n")
    assert lines[-len(user.groups) :] == [f"{name}:x:{gid}:" for gid, name in user.groups]
    names = {name for _, name in user.groups}
    assert not names & {line.split(":")[0] for line in lines[: -len(user.groups)]}
    assert group_text(merged, user) == merged
