"""Whatever facts it gets, the verdict keeps its rules: NATIVE lacks nothing, a refusal has a way out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_abi import Code, HostMpi, ImageMpiFacts, Verdict, VerdictKind, judge
from mpi_abi.families import matches, tables
from mpi_abi.image import MpiSource, ProgramKind
from mpi_abi.libc import LibcFacts, LibcKind
from mpi_abi.loader import Tree
from mpi_abi.mpilib import MpiLibrary
from mpi_abi.users import Need

NAMES = ("MPI_Init", "MPI_Send", "MPIX_More", "mpi_init_", "mpi_send_f08_", "_ZN3MPI4InitEv")
ROLES = ("c", "fortran", "cxx")
FAMILIES = (*tables().families, "standard", "standard", "")
VERSIONS = ("4.3.1", "5.0.2", "4.0.2", "5.0.0b1", "2021.19.0", "")
PRODUCTS = ("MPICH", "Intel MPI", "")
names = st.frozensets(st.sampled_from(NAMES))
sizes = st.dictionaries(st.sampled_from(("one", "two", "mpi_fortran_bottom_")), st.sampled_from((4, 8)))
runtimes = st.lists(
    st.sampled_from(("libgfortran.so.4", "libgfortran.so.5", "libifcore.so.5")), unique=True
).map(tuple)


def library(side: str, family: str, role: str, version: str = "", product: str = "") -> MpiLibrary:
    path = f"/{side}/lib{role}.so"
    return MpiLibrary(family, role, f"lib{role}.so", path, path, path, version, product)


@st.composite
def images(draw: st.DrawFn) -> ImageMpiFacts:
    family = draw(st.sampled_from(FAMILIES))
    source = draw(st.sampled_from(MpiSource)) if family else MpiSource.NONE
    found = source in (MpiSource.TREE, MpiSource.SEARCH)
    version, product = draw(st.sampled_from(VERSIONS)), draw(st.sampled_from(PRODUCTS))
    other = draw(st.sampled_from(FAMILIES))
    needs = draw(st.dictionaries(st.sampled_from(ROLES), names.filter(bool))) if found else {}
    return ImageMpiFacts(
        program="/bin/app",
        kind=draw(st.sampled_from((ProgramKind.ELF, ProgramKind.SCRIPT, ProgramKind.FOREIGN))),
        machine=draw(st.sampled_from(("x86_64", "aarch64"))),
        interpreter="",
        interpreter_exists=True,
        libc=LibcFacts(draw(st.sampled_from(LibcKind)), "/lib/libc.so.6", (2, 36), {}),
        tree=Tree((), ()),
        family=family,
        source=source,
        mpi=(library("image", family, "c", version, product),) if found else (),
        others=(library("other", other, "c"),) if found and other not in ("", family) else (),
        needs=tuple(Need("/bin/app", role, f"/image/{role}", wanted) for role, wanted in needs.items()),
        copies=draw(sizes),
        offered=frozenset(NAMES),
        shared=(),
        reaches_out=draw(st.booleans()),
        fortran=draw(runtimes),
        markers=draw(st.frozensets(st.sampled_from(("mpipriv1_", "mpifcmb5_")))),
        holder="/bin/app" if source is MpiSource.STATIC else "",
    )


@st.composite
def hosts(draw: st.DrawFn) -> HostMpi:
    family = draw(st.sampled_from(tuple(tables().families)))
    version, product = draw(st.sampled_from(VERSIONS)), draw(st.sampled_from(PRODUCTS))
    roles = {"c", *draw(st.frozensets(st.sampled_from(ROLES)))}
    return HostMpi(
        family=family,
        prefix="/host",
        machine="x86_64",
        libraries=tuple(library("host", family, role, version, product) for role in sorted(roles)),
        exports={role: draw(names) for role in roles},
        objects=draw(sizes),
        fortran=draw(runtimes),
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[ImageMpiFacts, HostMpi]:
    """An image and a host; often such that little stands against a NATIVE."""
    image, host = draw(images()), draw(hosts())
    if draw(st.integers(0, 3)) == 0 or not image.mpi:
        return image, host
    libc = LibcFacts(LibcKind.GLIBC, "/lib/libc.so.6", (2, 36), {})
    image = replace(
        image,
        kind=ProgramKind.ELF,
        machine="x86_64",
        libc=libc,
        others=(),
        fortran=(),
        markers=frozenset(),
        reaches_out=True,
    )
    own, theirs = image.mpi[0], draw(st.sampled_from(VERSIONS))
    version = draw(st.sampled_from((own.version, theirs)))
    others = tuple(item for item in host.libraries if item.role != "c")
    wanted = frozenset[str]().union(*(need.symbols for need in image.needs))
    # At most one thing is wrong.
    wrong = draw(st.sampled_from(("nothing", "symbols", "interfaces", "objects", "version")))
    return image, replace(
        host,
        family=image.family,
        libraries=(replace(own, version=version if wrong == "version" else own.version), *others),
        exports=host.exports if wrong == "symbols" else {**host.exports, "c": wanted},
        objects=host.objects if wrong == "objects" else {**host.objects, **image.copies},
    )


def codes(verdict: Verdict) -> set[Code]:
    return {reason.code for reason in verdict.reasons}


@given(images(), st.one_of(st.none(), hosts()))
def test_every_verdict_has_reasons_and_every_refusal_a_way_out(
    image: ImageMpiFacts, host: HostMpi | None
) -> None:
    verdict = judge(image, host)
    assert verdict.reasons
    for reason in verdict.reasons:
        assert isinstance(reason.code, Code)
        assert reason.text
        if verdict.kind in (VerdictKind.IMPOSSIBLE, VerdictKind.TRANSLATED):
            assert reason.hint
    assert judge(image, host) == verdict


@settings(max_examples=500)
@given(pairs())
def test_a_native_verdict_lacks_nothing(pair: tuple[ImageMpiFacts, HostMpi]) -> None:
    image, host = pair
    if judge(image, host).kind is not VerdictKind.NATIVE:
        return
    assert (image.family, image.mpi[0].values) == (host.family, host.values)
    assert host.values
    assert image.machine == host.machine
    has = frozenset[str]().union(*host.exports.values())
    for need in image.needs:
        assert need.symbols <= has
        assert host.library(need.role) is not None
    markers = tables().families[image.family].markers
    for name, size in image.copies.items():
        assert name in host.objects
        assert host.objects[name] == size or matches(name, markers)


@settings(max_examples=500)
@given(pairs(), st.sampled_from(NAMES))
def test_a_host_with_less_is_never_judged_better(pair: tuple[ImageMpiFacts, HostMpi], name: str) -> None:
    image, host = pair
    less = replace(host, exports={role: known - {name} for role, known in host.exports.items()})
    if judge(image, less).kind is VerdictKind.NATIVE:
        assert judge(image, host).kind is VerdictKind.NATIVE


@given(images())
def test_a_program_without_mpi_never_depends_on_the_host(image: ImageMpiFacts) -> None:
    verdict = judge(image, None)
    assert (verdict.kind is VerdictKind.NO_MPI) == (codes(verdict) == {Code.NO_MPI})
    assert verdict.kind is not VerdictKind.NATIVE
