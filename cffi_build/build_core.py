"""The cffi extension ``launcher._core``: the C core as Python sees it."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

CORE = Path("cffi_build/core")
"""Relative to the top of the source tree, as setuptools wants sources named."""

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wvla")

ffibuilder = FFI()
ffibuilder.cdef("""
    struct bb_err { int errnum; char operation[64]; char path[1024]; };
    struct bb_value { const char *name, *value; };
    struct bb_program { const char *data; size_t size; size_t first; const struct bb_value *values; };
    int bb_program_check(const char *data, size_t size, struct bb_err *err);
    int bb_program_open(struct bb_program *program, const char *data, size_t size, struct bb_err *err);
    struct bb_entry { bool cacheable; const char *guards; struct bb_program program; };
    int bb_entry_open(struct bb_entry *entry, const char *data, size_t size, struct bb_err *err);
    void bb_err_text(const struct bb_err *err, char *text, size_t size);
""")
ffibuilder.set_source(
    "launcher._core",
    '#include "entry.h"\n#include "program.h"\n',
    sources=sorted(str(path) for path in CORE.glob("*.c")),
    depends=sorted(str(path) for path in CORE.glob("*.h")),
    include_dirs=[str(CORE)],
    extra_compile_args=[*WARNINGS[1:], "-Wno-unused-parameter"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
