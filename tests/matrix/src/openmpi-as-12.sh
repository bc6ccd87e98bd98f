# A libmpi.so.12 that is Open MPI, as Open MPI 1.10's was, and a program that needs it by that name.
set -eu
lib=$OUT/opt/old/lib
mkdir -p "$lib"
cp -L /usr/lib/x86_64-linux-gnu/libmpi.so.40 "$lib/libmpi.so.12"
patchelf --set-soname libmpi.so.12 "$lib/libmpi.so.12"
program=$OUT/opt/bareboat-tests/bin/check-as-12
mpicc.openmpi -O2 -o "$program" check.c -lm
patchelf --replace-needed libmpi.so.40 libmpi.so.12 --set-rpath /opt/old/lib "$program"
