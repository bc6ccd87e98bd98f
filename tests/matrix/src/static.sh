# A program with MPICH linked into it; what MPICH itself needs stays shared.
set -eu
libraries=$(sed -n 's/^Libs: .*-lmpich//p' /usr/lib/x86_64-linux-gnu/pkgconfig/mpich.pc)
# shellcheck disable=SC2086  # the list is to be split
gcc -O2 -I/usr/include/x86_64-linux-gnu/mpich -o "$OUT/opt/bareboat-tests/bin/check-static" check.c \
    -l:libmpich.a $libraries -lpthread -lm
