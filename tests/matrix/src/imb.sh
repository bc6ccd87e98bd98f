# Intel's benchmarks do not say where their library lies; their users tell the loader.
set -eu
mkdir -p "$OUT/usr/lib/x86_64-linux-gnu"
ln -s /opt/impi/lib/libmpi.so.12 "$OUT/usr/lib/x86_64-linux-gnu/libmpi.so.12"
