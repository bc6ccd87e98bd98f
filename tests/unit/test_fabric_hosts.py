"""Hosts with fabrics that no test machine has: what of them comes along, and why (tests/data/hosts)."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, PROGRAM_SOURCE, compile_c, library_dir, make_library, make_root

from mpi_abi import (
    Closure,
    HostMpi,
    Recorder,
    RootView,
    Swap,
    VerdictKind,
    find_closure,
    judge,
    make_swap,
    probe_host,
    probe_image,
)

HOSTS = Path(__file__).parents[1] / "data/hosts"
LIB = sysconfig.get_config_var("MULTIARCH") or f"{sys.platform}-gnu"
DIR = f"/usr/lib/{LIB}"
PRIVATE = "/run/bareboat/mpi"


@dataclass(frozen=True)
class Host:
    root: Path
    mpi: HostMpi
    closure: Closure

    @property
    def devices(self) -> dict[str, str]:
        return {device.path: device.group for device in self.closure.devices}

    @property
    def groups(self) -> dict[str, str]:
        """Soname -> group of what is brought and is no plugin."""
        return {item.soname: item.group for item in self.closure.files if not item.plugin}

    @property
    def plugins(self) -> set[str]:
        return {item.path for item in self.closure.files if item.plugin}


def build(name: str, top: Path) -> Host:
    """Copy a recorded host and compile its libraries."""
    root = top / name
    for path in sorted((HOSTS / name / "tree").rglob("*")):
        if path.is_file():
            target = root / path.relative_to(HOSTS / name / "tree")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    table = tomllib.loads((HOSTS / name / "libraries.toml").read_text().replace("LIB", LIB))["libraries"]
    sonames = {row.get("soname", Path(path).name): path for path, row in table.items()}

    def make(path: str) -> Path:
        row, output = table[path], root / path
        if not output.exists():
            needed = [str(make(sonames[soname])) for soname in row.get("needed", [])]
            source = MPICH_SOURCE if row.get("mpich") else "int nothing;"
            make_library(
                output,
                source,
                "-nostdlib",
                "-Wl,--no-as-needed",
                *needed,
                soname=row.get("soname", Path(path).name),
            )
            for link in row.get("links", []):
                place = root / link
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path("..", output.name) if place.parent != output.parent else output.name)
        return output

    for path in table:
        make(path)
    (library,) = (path for path, row in table.items() if row.get("mpich"))
    (mpi,) = probe_host(prefixes=(f"/{Path(library).parent}",), root=str(root))
    return Host(root, mpi, find_closure(mpi, root=str(root)))


@pytest.fixture
def host(tmp_path: Path) -> Callable[[str], Host]:
    return lambda name: build(name, tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image whose MPICH is alone in it."""
    root = make_root(tmp_path / "image")
    library = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE)
    compile_c(root / "bin/app", PROGRAM_SOURCE, str(library))
    return root


def swap(host: Host, image: Path) -> Swap:
    facts = probe_image(RootView(str(image)), program="/bin/app", environment={})
    assert judge(facts, host.mpi, host.closure).kind is VerdictKind.NATIVE
    return make_swap(facts, host.mpi, host.closure, private_dir=PRIVATE)


def test_infiniband_comes_whole(host: Callable[[str], Host]) -> None:
    found = host("infiniband")
    assert found.groups == {
        "libmpi.so.12": "mpi",
        **dict.fromkeys(("libucp.so.0", "libuct.so.0", "libucs.so.0"), "ucx"),
        **dict.fromkeys(("libibverbs.so.1", "libmlx5.so.1", "librdmacm.so.1"), "verbs"),
        "libxpmem.so.0": "xpmem",
        "libgdrapi.so.2": "gdrcopy",
    }
    modules = ("ib", "rdmacm", "xpmem", "cuda_gdrcopy", "knem")
    assert found.plugins == {
        *(f"{DIR}/ucx/libuct_{name}.so.0" for name in modules),
        f"{DIR}/libibverbs/librxe-rdmav34.so",
    }
    assert found.devices == {
        "/dev/knem": "ucx",
        "/dev/infiniband/uverbs0": "verbs",
        "/dev/infiniband/uverbs1": "verbs",
        "/dev/infiniband/rdma_cm": "verbs",
        "/dev/xpmem": "xpmem",
        "/dev/gdrdrv": "gdrcopy",
    }
    assert found.closure.missing == ()


def test_drivers_of_verbs_lie_where_the_library_looks(host: Callable[[str], Host], image: Path) -> None:
    planned = swap(host("infiniband"), image)
    covers = {cover.target: (cover.source, cover.reason) for cover in planned.covers}
    # libibverbs has the directories compiled in.
    for path in ("/etc/libibverbs.d", f"{DIR}/libibverbs"):
        assert covers[path] == (path, "what verbs opens at run time")
    # The provider there is a link: without its goal, it would lead to the image's file, or nowhere.
    driver = f"{DIR}/libmlx5.so.1.24.44.0"
    assert covers[driver] == (driver, f"what verbs opens at run time, by a link in {DIR}/libibverbs")
    title = "MPICH 9.8.7"
    assert covers[f"{PRIVATE}/lib/libmlx5.so.1"] == (
        driver,
        f"needed by {title}; verbs comes from the host as a whole",
    )
    assert covers[f"{PRIVATE}/lib/ucx"] == (f"{DIR}/ucx", "what ucx opens at run time")
    assert (
        covers[f"{PRIVATE}/lib/libxpmem.so.0"][1]
        == f"needed by {title}; xpmem comes from the host as a whole"
    )
    assert {change.name: change.value for change in planned.environment} == {
        "LD_LIBRARY_PATH": f"{PRIVATE}/lib",
        "UCX_MODULE_DIR": f"{PRIVATE}/lib/ucx",
    }
    assert [device.path for device in planned.devices][-2:] == ["/dev/xpmem", "/dev/gdrdrv"]


def test_slingshot_comes_with_libcxi_and_what_libfabric_opens(
    host: Callable[[str], Host], image: Path
) -> None:
    found = host("slingshot")
    assert found.devices == {
        "/dev/xpmem": "xpmem",
        "/dev/cxi0": "cxi",
        "/dev/cxi1": "cxi",
    }
    assert found.groups["libcxi.so.1"] == "cxi"
    assert found.plugins == {f"{DIR}/libfabric/libshm-fi.so"}
    planned = swap(found, image)
    covers = {cover.target: cover.source for cover in planned.covers}
    # Opened by a name that is not its soname.
    for name in ("libgdrapi.so", "libgdrapi.so.2"):
        assert covers[f"{PRIVATE}/lib/{name}"] == f"{DIR}/libgdrapi.so.2.4"
    assert covers[f"{PRIVATE}/lib/libfabric"] == f"{DIR}/libfabric"
    variables = {change.name: change.value for change in planned.environment}
    assert variables["FI_PROVIDER_PATH"] == f"{PRIVATE}/lib/libfabric"


def test_omnipath_comes_with_psm2_and_its_verbs(host: Callable[[str], Host]) -> None:
    found = host("omnipath")
    assert found.devices == {"/dev/hfi1_0": "libfabric", "/dev/hfi1_1": "libfabric"}
    assert found.groups["libpsm2.so.2"] == "psm"
    assert found.plugins == {
        f"{DIR}/libfabric/libpsm2-fi.so",
        f"{DIR}/libibverbs/libhfi1verbs-rdmav34.so",
    }


def test_a_host_without_a_fabric_is_no_error(host: Callable[[str], Host], image: Path) -> None:
    found = host("ethernet")
    assert found.devices == {}
    # No device: libibverbs never looks for a driver.
    assert f"{DIR}/libibverbs" not in [cover.target for cover in swap(found, image).covers]
    assert not any("rdmav" in path for path in found.plugins)


def test_a_provider_whose_driver_is_not_installed_is_told_and_refuses_nothing(
    host: Callable[[str], Host], image: Path, tmp_path: Path
) -> None:
    found = host("omnipath")
    (found.root / f"usr/lib/{LIB}/libpsm2.so.2").unlink()
    closure = find_closure(found.mpi, root=str(found.root))
    assert closure.missing == (("libpsm2.so.2", f"{DIR}/libfabric/libpsm2-fi.so"),)
    assert swap(Host(found.root, found.mpi, closure), image).covers


@pytest.mark.parametrize("damage", ["no library", "a directory"])
def test_a_damaged_driver_of_a_provider_is_told_and_refuses_nothing(
    host: Callable[[str], Host], image: Path, damage: str
) -> None:
    """The MPI goes on without a plugin that cannot be loaded, and so must its launches."""
    found = host("omnipath")
    driver = found.root / f"usr/lib/{LIB}/libpsm2.so.2"
    driver.unlink()
    if damage == "a directory":
        driver.mkdir()
    else:
        driver.write_text("an installer's note\n" * 9)
    closure = find_closure(found.mpi, root=str(found.root))
    assert closure.missing == (("libpsm2.so.2", f"{DIR}/libfabric/libpsm2-fi.so"),)
    assert swap(Host(found.root, found.mpi, closure), image).covers


def test_a_damaged_library_that_is_opened_by_name_is_done_without(
    host: Callable[[str], Host], image: Path
) -> None:
    found = host("slingshot")
    assert "libgdrapi.so.2" in found.groups
    damaged = (found.root / DIR.lstrip("/") / "libgdrapi.so.2").resolve()
    damaged.write_text("an installer's note\n" * 9)
    closure = find_closure(found.mpi, root=str(found.root))
    assert "libgdrapi.so.2" not in {item.soname for item in closure.files}
    assert swap(Host(found.root, found.mpi, closure), image).covers


def test_of_two_copies_of_what_is_opened_the_first_serves(host: Callable[[str], Host], image: Path) -> None:
    found = host("slingshot")
    name = found.root / DIR.lstrip("/") / "libgdrapi.so"
    name.unlink()
    shutil.copy(name.with_name("libgdrapi.so.2"), name)
    closure = find_closure(found.mpi, root=str(found.root))
    covers = {
        cover.target: cover.source for cover in swap(Host(found.root, found.mpi, closure), image).covers
    }
    # One soname is loaded once, by the name that is tried first.
    assert covers[f"{PRIVATE}/lib/libgdrapi.so"] == f"{DIR}/libgdrapi.so"
    assert covers[f"{PRIVATE}/lib/libgdrapi.so.2"] == f"{DIR}/libgdrapi.so"


def test_devices_are_looked_for_only_where_that_matters(host: Callable[[str], Host]) -> None:
    found = host("slingshot")
    recorder = Recorder()
    assert find_closure(found.mpi, root=str(found.root), devices=False, recorder=recorder).devices == ()
    assert recorder.obstacles == ()
    assert find_closure(found.mpi, root=str(found.root), recorder=recorder).devices
    # /dev changes with every terminal and loop device.
    assert "nothing tells when /dev/cxi* appears or goes" in recorder.obstacles
    assert f"{found.root}/dev" not in {guard.path for guard in recorder.guards}
