"""The emulated loader against the real one of each image, in a container: over every file, every rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launching import Image
from loader_tree import MULTIARCH, LoaderTree, rpath, runpath
from loading import INTERPRETER, Asked, compile_driver, differences, loadable


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.mark.parametrize(
    ("name", "least"),
    [("deb13-mpich", 700), ("deb13-openmpi", 700), ("deb11-mpich", 650), ("deb13-plain", 650)],
)
def test_every_file_of_an_image_loads_what_the_real_loader_loads(
    image: Image, driver: Path, name: str, least: int
) -> None:
    root = image(name)
    asked = tuple(loadable(root))
    assert len(asked) >= least
    assert len([item for item in asked if item.program]) >= 200
    assert differences(root, driver, asked) == {}


# Every rule


def search_paths(tree: LoaderTree) -> None:
    """DT_RPATH, DT_RUNPATH, who inherits them, and the tokens in them."""
    for place in "abcd":
        tree.lib(f"/p/{place}/libleaf.so")
    for name, options in (
        ("plain", ()),
        ("old", rpath("/p/b")),
        ("new", runpath("/p/b")),
        ("empty", runpath("")),
        ("none", runpath("/none")),
    ):
        tree.lib(f"/p/mid/lib{name}.so", "libleaf.so", options=options)
        tree.lib(f"/p/mid/libover{name}.so", f"lib{name}.so", options=rpath("/p/mid", "/p/c"))
        tree.lib(f"/p/mid/libunder{name}.so", f"lib{name}.so", options=runpath("/p/mid", "/p/c"))
        for way, given in (("old", rpath), ("new", runpath)):
            tree.app(f"/p/bin/{name}-{way}", f"lib{name}.so", options=given("/p/mid", "/p/a"))
            tree.app(f"/p/bin/over-{name}-{way}", f"libover{name}.so", options=given("/p/mid"))
            tree.app(f"/p/bin/under-{name}-{way}", f"libunder{name}.so", options=given("/p/mid"))
        tree.ask(f"/p/mid/libover{name}.so")
        tree.ask(f"/p/mid/lib{name}.so")
    tree.app("/p/bin/slashes", "libleaf.so", options=runpath("/none/", "//p//a///", "/p/b"))
    tree.app("/p/bin/both", "libleaf.so", "libgone.so", options=rpath("/p/d"))


def tokens(tree: LoaderTree) -> None:
    """$ORIGIN by way of links, $LIB, $PLATFORM, and what looks like them."""
    tree.lib("/t/lib/libone.so", "libtwo.so", options=runpath("${ORIGIN}/../deep"))
    tree.lib("/t/deep/libtwo.so")
    tree.lib("/t/other/deep/libtwo.so")
    # The program's is its real place, a library's that by which it was found.
    tree.app("/t/real/app", "libone.so", options=runpath("$ORIGIN/../lib"))
    tree.link("/t/links/here/app", "/t/real/app")
    tree.asked.append(Asked("/t/links/here/app", program=True))
    tree.lib("/t/links/lib/libone.so")
    tree.link("/t/other/lib/libone.so", "/t/lib/libone.so")
    tree.app("/t/real/linked", "libone.so", options=runpath("/t/other/lib"))
    tree.app("/t/real/linked-old", "libone.so", options=rpath("/t/other/lib"))
    tree.link("/t/dir", "lib")
    tree.app("/t/real/by-directory", "libone.so", options=runpath("/t/dir"))
    for folder in ("lib64", "lib/x86_64-linux-gnu", "haswell", "x86_64", "xeon_phi"):
        tree.lib(f"/t/tok/{folder}/libtoken.so")
    for number, text in enumerate(
        ("$LIB", "${LIB}", "$PLATFORM", "${PLATFORM}x", "$LIBx", "${LIB", "$LIB/.", "$ORIGIN/$LIB", "$$LIB")
    ):
        tree.app(f"/t/tok/app{number}", "libtoken.so", options=runpath(f"/t/tok/{text}"))
    tree.app("/t/tok/origin", "libtoken.so", options=runpath("$ORIGIN/$LIB"))
    tree.lib("/t/tok/$LIBx/libtoken.so")


def names(tree: LoaderTree) -> None:
    """Names with a slash, names of what is loaded already, one file with several names."""
    tree.lib("/n/one/libx.so", "$ORIGIN/liby.so")
    tree.lib("/n/two/libz.so", "$ORIGIN/liby.so")
    for place in ("one", "two"):
        tree.lib(f"/n/{place}/liby.so", soname=None)
    tree.app("/n/bin/slashes", "/n/one/libx.so", "/n/two/libz.so", "/n/none/libx.so")
    tree.lib("/n/sonames/libfile.so", soname="libinside.so")
    tree.lib("/n/sonames/libinside.so")
    tree.lib("/n/sonames/libuser.so", "libinside.so")
    tree.app("/n/bin/inside", "libfile.so", "libuser.so", options=rpath("/n/sonames"))
    tree.app("/n/bin/outside", "libuser.so", "libfile.so", options=rpath("/n/sonames"))
    tree.lib("/n/links/libreal.so", soname=None)
    tree.link("/n/links/libsoft.so", "libreal.so")
    (tree.root / "n/links/libhard.so").hardlink_to(tree.root / "n/links/libreal.so")
    tree.app("/n/bin/links", "libsoft.so", "libhard.so", "libreal.so", options=runpath("/n/links"))
    tree.app("/n/bin/hard", "libhard.so", "libsoft.so", options=runpath("/n/links"))
    # Its own soname, and the loader's under another name.
    tree.lib("/n/self/libself.so", "libself.so", "libother.so", options=rpath("/n/self"))
    tree.lib("/n/self/libother.so", "libself.so")
    tree.ask("/n/self/libself.so")
    tree.link("/n/ld-other.so", INTERPRETER)
    tree.lib("/n/ld/ld-linux-x86-64.so.2")
    tree.lib("/n/ld/ld-other.so")
    needs = ("ld-linux-x86-64.so.2", "ld-other.so")
    tree.app("/n/bin/loader", *needs, options=rpath("/n/ld"), interpreter="/n/ld-other.so")
    tree.app("/n/bin/usual", *needs, options=rpath("/n/ld"))


def filters(tree: LoaderTree) -> None:
    """DT_FILTER and DT_AUXILIARY, there and not; DT_AUDIT is loaded apart."""
    tree.lib("/f/libfilter.so", options=("-F", "libtarget.so", *runpath("/f")))
    tree.lib("/f/libaux.so", options=("-f", "libtarget.so", *runpath("/f")))
    tree.lib("/f/libauxgone.so", options=("-f", "libgone.so"))
    tree.lib("/f/libtarget.so", "libdeep.so", options=runpath("/f"))
    tree.lib("/f/libdeep.so")
    for name in ("filter", "aux", "auxgone"):
        tree.app(f"/f/bin/{name}", f"lib{name}.so", options=runpath("/f"))


def bad_files(tree: LoaderTree) -> None:
    """What lies in the way: other machines', directories, loops, rubbish."""
    good = tree.lib("/w/good/libw.so").read_bytes()
    kinds = {
        "class": good[:4] + b"\x01" + good[5:],
        "machine": good[:18] + b"\xb7\x00" + good[20:],
        "order": good[:5] + b"\x02" + good[6:],
        "object": good[:16] + b"\x01\x00" + good[18:],
        "rubbish": b"rubbish" * 99,
        "empty": b"",
        "cut": good[:32],
    }
    for name, content in kinds.items():
        tree.write(f"/w/{name}/libw.so", content)
    (tree.root / "w/directory/libw.so").mkdir(parents=True)
    tree.link("/w/dangling/libw.so", "none")
    tree.link("/w/loop/libw.so", "libw.so")
    tree.write("/w/file", b"")
    for name in (*kinds, "directory", "dangling", "loop"):
        tree.app(f"/w/bin/{name}", "libw.so", options=runpath(f"/w/{name}", "/w/good"))
        tree.app(f"/w/bin/{name}-old", "libw.so", options=rpath(f"/w/{name}", "/w/good"))
        tree.app(f"/w/bin/{name}-path", f"/w/{name}/libw.so")
    tree.app("/w/bin/file", "libw.so", options=runpath("/w/file", "/w/good"))


def processors(tree: LoaderTree) -> None:
    """Subdirectories for one kind of CPU, of all glibc versions; each program has fewer to choose from."""
    places = [f"glibc-hwcaps/x86-64-v{level}" for level in (9, 4, 3, 2)]
    single = ("tls", "haswell", "xeon_phi", "avx512_1", "x86_64")
    places += ["tls/haswell/avx512_1/x86_64", *(f"tls/{name}" for name in single[1:])]
    places += ["haswell/x86_64", "haswell/avx512_1", "avx512_1/x86_64", "x86_64/x86_64", *single, "."]
    for number in range(len(places)):
        for place in places[number:]:
            tree.lib(f"/h/{number}/{place}/libh.so")
        tree.app(f"/h/bin/{number}", "libh.so", options=runpath(f"/h/{number}"))
        tree.app(f"/h/bin/{number}-old", "libh.so", options=rpath("/none", f"/h/{number}"))


def defaults(tree: LoaderTree) -> None:
    """The loader's own directories, the table, and those who want neither."""
    for place in ("/usr/lib", f"/{MULTIARCH}", "/usr/lib64", "/lib64", "/opt/table"):
        tree.lib(f"{place}/libd.so")
        tree.lib(f"{place}/lib{place.rpartition('/')[2]}.so")
    tree.lib("/opt/table/libt.so", "libd.so")
    tree.lib("/opt/table/glibc-hwcaps/x86-64-v3/libt.so")
    tree.lib("/opt/table/glibc-hwcaps/x86-64-v9/libt.so")
    for name in ("haswell", "x86_64", "tls", "xeon_phi", "haswell/avx512_1"):
        tree.lib(f"/opt/table/{name}/libl{len(name)}.so")
        tree.lib(f"/opt/table/libl{len(name)}.so")
        tree.lib(f"/opt/table/{name}/libonly{len(name)}.so")
    legacy = [f"lib{kind}{number}.so" for kind in ("l", "only") for number in (3, 6, 7, 8, 16)]
    for folder in ("table", "simple"):
        tree.lib(f"/opt/{folder}/libstale.so")
        tree.lib(f"/opt/{folder}/libfallback.so")
        tree.lib(f"/opt/{folder}/libtable.so")
    tree.lib("/usr/lib/libfallback.so")
    needs = ("libd.so", "liblib.so", "liblib64.so", "libx86_64-linux-gnu.so", "libtable.so")
    for name, options in (("plain", ()), ("nodeflib", ("-z", "nodefaultlib"))):
        tree.app(f"/d/bin/{name}", *needs, "libt.so", options=options)
        tree.app(f"/d/bin/{name}-stale", "libstale.so", "libfallback.so", options=options)
        tree.app(f"/d/bin/{name}-legacy", *legacy, options=options)
        tree.lib(f"/d/lib{name}.so", *needs, options=options)
        tree.app(f"/d/bin/{name}-lib", f"lib{name}.so", options=rpath("/d"))


RULES = (search_paths, tokens, names, filters, bad_files, processors, defaults)
GLIBC = {"glibc 2.31": "deb11-mpich", "glibc 2.36": "", "glibc 2.41": "deb13-plain"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> LoaderTree:
    top = tmp_path_factory.mktemp("tree")
    made = LoaderTree(top / "root", top)
    for rule in RULES:
        rule(made)
    return made


@pytest.fixture(params=list(GLIBC.values()), ids=list(GLIBC))
def with_loader(request: pytest.FixtureRequest, tree: LoaderTree, image: Image) -> LoaderTree:
    """The tree with the loader of each glibc: that of this host, too."""
    tree.put_loader(image(request.param) if request.param else Path("/"))
    return tree


VARIABLES: tuple[dict[str, str], ...] = (
    {},
    {"LD_LIBRARY_PATH": "/p/d:/h/0:/n/two:/opt/table"},
    {"LD_LIBRARY_PATH": "/none;$ORIGIN/../../p/c;${ORIGIN}/../good:/t/tok/$LIB:"},
    {"LD_LIBRARY_PATH": "/w/loop:/w/good:/w/class", "LD_PRELOAD": "/p/a/libleaf.so libgone.so"},
    {"LD_PRELOAD": "/w/rubbish/libw.so:/p/mid/libunderold.so libw.so", "LD_LIBRARY_PATH": "/w/class:/w/good"},
    {"LD_PRELOAD": "$ORIGIN/../a/libleaf.so"},
)


@pytest.mark.parametrize("environment", VARIABLES, ids=lambda value: " ".join(value) or "none")
def test_every_rule_without_a_table(
    with_loader: LoaderTree, driver: Path, environment: dict[str, str]
) -> None:
    (with_loader.root / "etc/ld.so.cache").unlink(missing_ok=True)
    asked = tuple(with_loader.asked)
    assert differences(with_loader.root, driver, asked, environment) == {}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 3]


def renamed(content: bytes) -> bytes:
    return b"x" + content[1:]


def of_other_byte_order(content: bytes) -> bytes:
    return content[:28] + b"\x03" + content[29:]


def too_many(content: bytes) -> bytes:
    return content[:20] + (len(content) // 24).to_bytes(4, "little") + content[24:]


def without_strings(content: bytes) -> bytes:
    """The paths of all entries lie outside."""
    table = bytearray(content)
    for entry in range(int.from_bytes(content[20:24], "little")):
        table[48 + 24 * entry + 8 : 48 + 24 * entry + 12] = (1 << 30).to_bytes(4, "little")
    return bytes(table)


def whole(content: bytes) -> bytes:
    return content


TABLES = [
    *(("new", change) for change in (whole, cut, renamed, of_other_byte_order, too_many, without_strings)),
    ("compat", whole),
    ("compat", cut),
    ("old", whole),
    ("old", cut),
]


@pytest.mark.parametrize(("form", "change"), TABLES)
def test_tables_whole_and_damaged(
    with_loader: LoaderTree, driver: Path, form: str, change: Callable[[bytes], bytes]
) -> None:
    root = with_loader.root
    # The older forms know nothing of CPUs: ldconfig dies on what is in the other directory.
    folder = "/opt/table" if form == "new" else "/opt/simple"
    table = with_loader.make_cache(folder, form=form)
    content = change(table.read_bytes())
    table.unlink()
    table.write_bytes(content)
    gone = [root / f"{folder}/{name}".lstrip("/") for name in ("libstale.so", "libfallback.so")]
    kept = [file.rename(file.with_suffix(".kept")) for file in gone]
    try:
        assert differences(root, driver, tuple(with_loader.asked)) == {}
    finally:
        for file, name in zip(kept, gone, strict=True):
            file.rename(name)
        table.unlink()


def test_what_is_preloaded_into_every_program(with_loader: LoaderTree, driver: Path) -> None:
    text = b"/p/a/libleaf.so # the first\n#/p/b/libleaf.so\n\tlibgone.so:/n/one/liby.so\n/w/rubbish/libw.so"
    file = with_loader.write("/etc/ld.so.preload", text)
    try:
        asked = tuple(with_loader.asked)
        assert differences(with_loader.root, driver, asked) == {}
        assert differences(with_loader.root, driver, asked, {"LD_PRELOAD": "/p/d/libleaf.so"}) == {}
    finally:
        file.unlink()
