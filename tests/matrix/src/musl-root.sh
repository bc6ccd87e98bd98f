# A root with musl and no other C library, laid out as Alpine's: check-musl of musl.sh, and a program without MPI.
set -eu
root=$OUT/srv/root
bin=$root/opt/bareboat-tests/bin
mkdir -p "$bin" "$root/lib" "$root/usr/lib" "$root/etc"
OUT=$root sh musl.sh
mv "$bin/check-musl" "$bin/check-musl-only"
echo 'int main(void) { return 0; }' | musl-gcc -O2 -x c -o "$bin/plain" -
cp -L /lib/ld-musl-x86_64.so.1 "$root/lib"
ln -s ld-musl-x86_64.so.1 "$root/lib/libc.musl-x86_64.so.1"
