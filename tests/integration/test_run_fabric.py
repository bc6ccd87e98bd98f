"""A provider of the host's libfabric that really loads in a container, from where the closure puts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abi_toolbox import MPICH_SOURCE, PROGRAM_SOURCE, compile_c, make_library
from launching import Run, bareboat, make_tiny, out

FABRIC = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int fi_getinfo(void)
{
	char path[4096];
	void *provider;

	snprintf(path, sizeof path, "%s/libtest-fi.so", getenv("FI_PROVIDER_PATH"));
	provider = dlopen(path, RTLD_NOW);
	if (!provider)
		return puts(dlerror());
	puts(((const char *(*)(void))dlsym(provider, "fi_prov_ini"))());
	return 0;
}
"""
PROVIDER = "const char *driver(void); const char *fi_prov_ini(void) { return driver(); }"
DRIVER = 'const char *driver(void) { return "%s"; }'
MPI = MPICH_SOURCE.replace(
    "int MPI_Init(int *c, char ***v) { return 0; }",
    "int fi_getinfo(void); int MPI_Init(int *c, char ***v) { return fi_getinfo(); }",
)


def install(folder: Path, whose: str) -> Path:
    """An MPI over a libfabric whose provider is a link to a library outside its directory, with a driver."""
    driver = make_library(folder / "libdriver.so.1", DRIVER % whose)
    # A prefix is in no directory that the host's loader searches.
    own = "-Wl,-rpath,$ORIGIN"
    provider = make_library(folder / "libtest.so.1.0", PROVIDER, str(driver), own, soname="libtest.so.1")
    (folder / "libfabric").mkdir()
    (folder / "libfabric/libtest-fi.so").symlink_to(f"../{provider.name}")
    fabric = make_library(folder / "libfabric.so.1", FABRIC)
    return make_library(folder / "libmpi.so.12", MPI, str(fabric), own)


@pytest.fixture
def site(shared_path: Path) -> Path:
    """A host's MPI in a prefix, and an image with the same libraries of its own."""
    root = make_tiny(shared_path)
    library = install(root / "lib/x86_64-linux-gnu", "the image's")
    folder = str(library.parent)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library), f"-Wl,-rpath-link,{folder}")
    install(shared_path / "mpi/lib", "the host's")
    (shared_path / "bareboat.toml").write_text(f'[mpi]\nprefixes = ["{shared_path}/mpi"]\n')
    return shared_path


def run(site: Path, verb: str = "run", *options: str, **variables: Any) -> Run:
    config = ("--config", str(site / "bareboat.toml"))
    return bareboat(verb, *options, *config, site / "tiny", "--", "app", **variables)


def test_the_hosts_provider_is_opened_and_finds_its_driver(site: Path) -> None:
    assert out(run(site)) == "the host's\n"
    image = run(site, BAREBOAT_MPI="image", FI_PROVIDER_PATH="/lib/x86_64-linux-gnu/libfabric")
    assert out(image) == "the image's\n"


def test_the_plan_gives_each_file_its_reason(site: Path) -> None:
    document = json.loads(out(run(site, "plan", "--json")))
    found = {
        op["args"][1]: (op["args"][0], op["reason"], op["origin"])
        for op in document["operations"]
        if op["verb"] == "bind"
    }
    private, host = "/run/bareboat/mpi/lib", f"{site}/mpi/lib"
    assert found[f"{private}/libfabric"] == (f"{host}/libfabric", "what libfabric opens at run time", "swap")
    assert found[f"{private}/libtest.so.1.0"] == (
        f"{host}/libtest.so.1.0",
        f"what libfabric opens at run time, by a link in {private}/libfabric",
        "swap",
    )
    assert found[f"{private}/libdriver.so.1"] == (f"{host}/libdriver.so.1", "needed by MPICH 9.8.7", "swap")
