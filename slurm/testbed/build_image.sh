#!/bin/sh
# Makes one image.  images.py runs this in mount and PID namespaces of its own: whatever ends it, no mount and no
# process is left, and the directory is the caller's to remove.
#
#   build_image.sh DIRECTORY SUITE MIRROR PACKAGES BUILD_PACKAGES
#
# PACKAGES and BUILD_PACKAGES are lists with commas.  In DIRECTORY lie
#   trees      lines "SOURCE TARGET": directories of this machine that are copied into the image
#   programs   lines "NAME LANGUAGE COMPILER SOURCE FLAGS" (between tabs); without any, nothing is built
#   sources/   what they are made from
# Afterwards DIRECTORY/root is the image.
set -eu
directory=$1 suite=$2 mirror=$3 packages=$4 build_packages=$5
umask 022
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
root=$directory/root
tab=$(printf '\t')
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

while IFS=$tab read -r source target; do
    echo "step: copy $(basename "$source") to $target"
    mkdir -p "$root$target"
    cp -a "$source/." "$root$target"
done < "$directory/trees"

# make NAME LANGUAGE COMPILER SOURCE FLAGS: builds one program in the builder; its files go to /build/out.
make() {
    case $2 in
        python) install -m 755 "$builder/build/$4" "$bin/$1" ;;
        sh) chroot "$builder" env -C /build OUT=/build/out sh "$4" ;;
        *)
            # shellcheck disable=SC2086  # compiler and flags are to be split
            chroot "$builder" env -C /build $3 -O2 $5 -o "out/opt/bareboat-tests/bin/$1" "$4" -lm
            ;;
    esac
}

if [ -s "$directory/programs" ]; then
    echo "step: install the compilers beside the image"
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

    cp -a "$directory/sources" "$builder/build"
    bin=$builder/build/out/opt/bareboat-tests/bin
    mkdir -p "$bin"
    while IFS=$tab read -r name language compiler source flags; do
        echo "step: make $name"
        make "$name" "$language" "$compiler" "$source" "$flags" < /dev/null
    done < "$directory/programs"
    cp -a "$builder/build/out/." "$root"
    umount "$builder/proc" "$builder"
fi

# A bootstrap takes the mode of the directory that it was given; the image is for everybody.
chmod 755 "$root"
