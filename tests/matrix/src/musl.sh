# A program linked with musl, and an MPI of its kind: it has MPICH's symbols and knows one rank only.
set -eu
lib=$OUT/opt/musl/lib
mkdir -p "$lib" headers
cp -L /usr/include/x86_64-linux-gnu/mpich/*.h headers
musl-gcc -O2 -shared -fPIC -Wl,-soname,libmpi.so.12 -o "$lib/libmpi.so.12" one_rank.c
musl-gcc -O2 -Iheaders -o "$OUT/opt/bareboat-tests/bin/check-musl" check.c -L"$lib" -l:libmpi.so.12 -Wl,-rpath,/opt/musl/lib
