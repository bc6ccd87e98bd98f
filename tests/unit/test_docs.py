"""The documents say what is there: commands, options, configuration keys, variables, links, versions."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from launcher.cli import bareboat
from launcher.config import parse_config
from launcher.errors import BareboatError

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
COMMAND_PAGE = DOCS / "man" / "bareboat.1"
CONTAINER_PAGE = DOCS / "man" / "bareboat-container.7"
PAGES = (COMMAND_PAGE, CONTAINER_PAGE)
TEXTS = tuple(sorted([TOP / "README.md", TOP / "CHANGELOG.md", *DOCS.rglob("*.md")]))
SOURCES = ("launcher", "mpi_abi", "slurm", "benchmarks", "cffi_build")

INTERNAL = {"BAREBOAT_TESTBED_STATE"}
"""A mark in the environment of a testbed's daemons, by which teardown knows them; nobody sets it."""


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the program with the words that lead to it, groups included."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{' '.join(path)} lists {name} and does not have it"
            yield from commands(below, (*path, name))


COMMANDS = dict(commands(bareboat, ("bareboat",)))


def options(command: click.Command) -> frozenset[str]:
    """The long names of a command's own options; --help, which every command has, is left out."""
    return frozenset(
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != "--help"
    )


def plain(roff: str) -> str:
    """The text of man(7) source without macros, fonts and escapes, as far as names need it."""
    text = re.sub(r"\\f[BIRP]", "", roff)
    text = re.sub(r"^[.'][A-Z]+ ?", "", text, flags=re.MULTILINE)
    return text.replace("\\-", "-").replace("\\&", "").replace('"', "")


def sections(page: Path) -> dict[str, str]:
    """The source of each section and subsection of a man page, by its heading; "" up to the first."""
    found: dict[str, str] = {"": ""}
    heading = ""
    for line in page.read_text().splitlines():
        if match := re.fullmatch(r"\.S[HS] (.*)", line):
            heading = plain(match[1])
            assert heading not in found, f"{page.name} has {heading} twice"
            found[heading] = ""
        else:
            found[heading] += line + "\n"
    return found


def tagged_options(source: str) -> frozenset[str]:
    """The long options that are explained in a section: those in the line after .TP or .TQ."""
    tags = re.findall(r"^\.T[PQ]\n(.*)$", source, flags=re.MULTILINE)
    return frozenset(name for tag in tags for name in re.findall(r"--[a-z][a-z-]*", plain(tag)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_man_page_has_every_command_and_option(path: tuple[str, ...]) -> None:
    found = sections(COMMAND_PAGE)
    heading = " ".join(path) if len(path) > 1 else "DESCRIPTION"
    assert heading in found, f"{COMMAND_PAGE.name} has no section .SS {heading}"
    # A group's section explains what its commands have in common.
    above = [" ".join(path[:length]) for length in range(2, len(path))]
    explained = tagged_options(found[heading]).union(*(tagged_options(found[name]) for name in above))
    assert options(COMMANDS[path]) - explained == set()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_man_page_has_no_option_that_is_gone(path: tuple[str, ...]) -> None:
    heading = " ".join(path) if len(path) > 1 else "DESCRIPTION"
    command = COMMANDS[path]
    known = options(command)
    if isinstance(command, click.Group):
        known = known.union(*(options(COMMANDS[other]) for other in COMMANDS if other[: len(path)] == path))
    assert tagged_options(sections(COMMAND_PAGE)[heading]) - known == set()


def test_the_man_page_has_no_command_that_is_gone() -> None:
    there = {heading for heading in sections(COMMAND_PAGE) if heading.startswith("bareboat ")}
    assert there - {" ".join(path) for path in COMMANDS} == set()


def configuration_keys() -> frozenset[str]:
    """Every key as ``table.key``, from what the refusals of wrong ones list."""
    with pytest.raises(BareboatError) as refusal:
        parse_config("nothing = 1", "x.toml")
    keys = set()
    for table in refusal.value.hint.removeprefix("tables: ").split(", "):
        with pytest.raises(BareboatError) as refusal:
            parse_config(f"[{table}]\nnothing = 1", "x.toml")
        keys |= {f"{table}.{key}" for key in refusal.value.hint.partition(": ")[2].split(", ")}
    return frozenset(keys)


def test_the_site_page_has_the_configuration_keys_that_there_are() -> None:
    rows = re.findall(r"^\| `([a-z-]+\.[a-z-]+)` \|", (DOCS / "site.md").read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(configuration_keys())


def test_the_site_page_shows_a_configuration_that_is_accepted() -> None:
    examples = re.findall(
        r"^```toml\n(.*?)^```", (DOCS / "site.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert examples
    for example in examples:
        parse_config(example, "docs/site.md")


def variables() -> frozenset[str]:
    """The variables of users that the sources name; the plugin's own, SLURM_BAREBOAT_*, are not for them."""
    found: set[str] = set()
    for room in SOURCES:
        for path in (TOP / room).rglob("*"):
            if path.suffix in {".py", ".c", ".h", ".sh"}:
                found |= set(re.findall(r"(?<![A-Z_])BAREBOAT_[A-Z]+(?:_[A-Z]+)*", path.read_text()))
    return frozenset(found) - INTERNAL


def test_the_man_pages_have_the_variables_that_there_are() -> None:
    text = plain("".join(page.read_text() for page in PAGES))
    assert set(re.findall(r"BAREBOAT_[A-Z]+(?:_[A-Z]+)*", text)) == variables()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_man_page_has_no_faults(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-t", "-man", "-ww", "-Tutf8", "-z", str(page)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_man_page_is_of_this_version(page: Path) -> None:
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    title = re.search(
        r'^\.TH [A-Z\\-]+ ([17]) [0-9-]{10} "bareboat (.*?)" "bareboat"$', page.read_text(), re.MULTILINE
    )
    assert title is not None
    assert (f".{title[1]}", title[2]) == (page.suffix, version)


def without_code(text: str) -> str:
    """The text of a page without what is shown verbatim, where brackets are no links and # no heading."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def links() -> Iterator[tuple[Path, str]]:
    for path in TEXTS:
        text = without_code(path.read_text())
        for target in re.findall(r"\]\(([^)\s]+)\)|\b(?:src|href)=\"([^\"]+)\"", text):
            yield path, "".join(target)


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path, target in links():
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = path if not name else path.parent / name
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(f"{path.relative_to(TOP)}: {target}")
    assert broken == []


def test_no_document_is_an_orphan() -> None:
    linked = {(path.parent / target.partition("#")[0]).resolve() for path, target in links()}
    pages = {*DOCS.glob("*.md"), *DOCS.glob("*.svg"), *PAGES}
    assert pages - linked == set()


def test_the_picture_is_whole_and_shown_in_the_readme() -> None:
    picture = DOCS / "launch.svg"
    root = ElementTree.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "(docs/launch.svg)" in (TOP / "README.md").read_text()
    # A page shows it as an image, and then it can load nothing.
    assert re.findall(r"(?:href|src)=|url\((?!#)|@import", picture.read_text()) == []


def test_the_readme_names_both_commands() -> None:
    text = (TOP / "README.md").read_text()
    assert re.search(r"^make demo\b", text, re.MULTILINE)
    assert re.search(r"^make test\b", text, re.MULTILINE)


def test_the_changelog_ends_at_this_version() -> None:
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[(.*?)\]", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def python_texts(path: Path) -> Iterator[str]:
    """Every string that a module holds, f-strings in their fixed parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def c_texts(path: Path) -> Iterator[str]:
    """Every string that a C file holds; neighbours are one, and formats count in their fixed parts."""
    for match in re.finditer(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', path.read_text()):
        yield from re.split(r"%[.*0-9]*[a-z]", "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match[0])))


def source_texts() -> Iterator[str]:
    """Every string of the sources."""
    for room in SOURCES:
        for path in sorted((TOP / room).rglob("*.[pch]*")):
            if path.suffix == ".py":
                yield from python_texts(path)
            elif path.suffix in {".c", ".h"}:
                yield from c_texts(path)


def named_commands(text: str) -> Iterator[tuple[str, ...]]:
    """What a text calls a command of ours: in backticks, below a path, or by a group's name."""
    groups = {path[1] for path in COMMANDS if len(path) > 2}
    for match in re.finditer(r"(`|/)?\bbareboat ([a-z]+)(?:\s+([a-z]+))?", text):
        mark, first, second = match.groups()
        if first in groups:
            yield (first, second) if second else (first,)
        elif mark:
            yield (first,)


def test_commands_that_messages_name_are_there() -> None:
    named = {words for text in source_texts() for words in named_commands(text)}
    assert {("slurm", "status"), ("testbed", "up"), ("bench", "run"), ("abi", "check"), ("plan",)} <= named
    assert {" ".join(words) for words in named if ("bareboat", *words) not in COMMANDS} == set()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("run `bareboat testbed image` as root once", [("testbed", "image")]),
        ("is there one? `bareboat nothing`", [("nothing",)]),
        ("see: bareboat slurm status --nodes", [("slurm", "status")]),
        ('eval "$(bareboat testbed env --name x)"', [("testbed", "env")]),
        ("/opt/bin/bareboat plan IMG", [("plan",)]),
        ("bareboat cannot be installed there", []),
    ],
)
def test_what_counts_as_a_command_in_a_message(text: str, named: list[tuple[str, ...]]) -> None:
    assert list(named_commands(text)) == named


@pytest.mark.parametrize(
    ("name", "heading"), [("user.md", "## When it does not work"), ("site.md", "## Troubleshooting")]
)
def test_messages_in_the_tables_of_troubles_are_those_of_the_program(name: str, heading: str) -> None:
    table = (DOCS / name).read_text().partition(heading)[2]
    rows = re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)
    assert rows
    texts = tuple(source_texts())
    # "…" stands for what differs.  What is between has to be in one string, less the marks that join strings.
    pieces = {piece.strip(" :;,()") for row in rows for piece in row.split("…")}
    unknown = {piece for piece in pieces if len(piece) > 5 and not any(piece in text for text in texts)}
    assert unknown == set()
