# What pip has installed below /opt is a virtual environment, as users have it: mpi4py finds its MPI there.
set -eu
for packages in /opt/*/lib/python3.11/site-packages; do
    prefix=${packages%/lib/python3.11/site-packages}
    mkdir -p "$OUT$prefix/bin"
    ln -s /usr/bin/python3 "$OUT$prefix/bin/python3"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\n' > "$OUT$prefix/pyvenv.cfg"
done
