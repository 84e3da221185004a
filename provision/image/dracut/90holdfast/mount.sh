#!/bin/sh
# Mounts the proven root, with what the machine writes held in memory. Sourced by dracut.

if [ -e /run/holdfast/proven ]; then
    read -r proven < /run/holdfast/proven
    mkdir -p /run/holdfast/lower /run/holdfast/upper
    # Over the memory of all nodes of a machine with several, so that none is filled up.
    mount -t tmpfs -o mode=0755,mpol=interleave tmpfs /run/holdfast/upper \
        || mount -t tmpfs -o mode=0755 tmpfs /run/holdfast/upper
    mkdir -p /run/holdfast/upper/data /run/holdfast/upper/work
    # shellcheck disable=SC2154 # dracut sets NEWROOT
    if ! mount -t erofs -o ro "$proven" /run/holdfast/lower \
        || ! mount -t overlay holdfast "$NEWROOT" -o \
            lowerdir=/run/holdfast/lower,upperdir=/run/holdfast/upper/data,workdir=/run/holdfast/upper/work; then
        die "holdfast: the root could not be mounted"
    fi
fi
