#!/bin/sh
# Makes one image.  images.py runs this in mount and PID namespaces of its own: whatever ends it, no mount and no
# process is left, and the directory is the caller's to remove.
#
#   build_image.sh DIRECTORY SUITE MIRROR PACKAGES COMPILER BUILD_PACKAGES [SOURCE...]
#
# PACKAGES and BUILD_PACKAGES are lists with commas; without a COMPILER ("") nothing is compiled.
# Afterwards DIRECTORY/root is the image.
set -eu
directory=$1 suite=$2 mirror=$3 packages=$4 compiler=$5 build_packages=$6
shift 6
umask 022
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
root=$directory/root
# What mmdebstrap keeps beside the image (a keyring's home), so that it goes with the directory after a kill, too.
scratch=$directory/tmp
mkdir "$scratch"

echo "step: bootstrap Debian $suite"
# Manuals and translations are a quarter of the files and nothing reads them.  The cache can be made again, so
# dpkg need not wait for the disk after every package.
TMPDIR=$scratch mmdebstrap --mode=root --variant=apt --format=directory --include="$packages" \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$root" "$mirror"

if [ -n "$compiler" ]; then
    echo "step: install $compiler beside the image"
    mkdir "$directory/upper" "$directory/work" "$directory/builder"
    builder=$directory/builder
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$directory/upper,workdir=$directory/work" "$builder"
    mount -t proc proc "$builder/proc"
    # A package's script that starts a daemon would start it on this machine.
    printf '#!/bin/sh\nexit 101\n' > "$builder/usr/sbin/policy-rc.d"
    chmod 755 "$builder/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$builder/etc/resolv.conf"
    chroot "$builder" apt-get -q update
    # shellcheck disable=SC2046  # the list is to be split
    chroot "$builder" apt-get -q -y --no-install-recommends install $(echo "$build_packages" | tr ',' ' ')

    echo "step: compile the MPI programs with $compiler"
    mkdir -p "$root/opt/bareboat-tests/bin" "$builder/build"
    for source; do
        name=$(basename "$source" .c)
        cp "$source" "$builder/build/$name.c"
        chroot "$builder" "$compiler" -O2 -o "/build/$name" "/build/$name.c" -lm
        install -m 755 "$builder/build/$name" "$root/opt/bareboat-tests/bin/$name"
    done
    umount "$builder/proc" "$builder"
fi

# A bootstrap takes the mode of the directory that it was given; the image is for everybody.
chmod 755 "$root"
