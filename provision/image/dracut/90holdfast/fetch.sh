#!/bin/sh
# Brings the root over the network and proves it: holdfastroot INTERFACE NETROOT NEWROOT.
# It is started once an interface is up. Where it fails nothing of the root has been used, and the
# machine goes no further.

. /lib/dracut-lib.sh

interface=$1
store=/run/holdfast/store
image=$(getarg holdfast.image=)
hash=$(getarg holdfast.roothash=)

[ -e /run/holdfast/proven ] && exit 0

# What the server that gave the address says: option NAME of any of the places where it is kept.
said() {
    for file in /run/systemd/netif/leases/* /run/NetworkManager/devices/* \
        "/tmp/dhclient.$interface.dhcpopts" "/tmp/net.$interface.opts"; do
        [ -f "$file" ] || continue
        while IFS='=' read -r key value; do
            for name in "$@"; do
                if [ "$key" = "$name" ]; then
                    value=${value#[\'\"]}
                    echo "${value%[\'\"]}"
                    return 0
                fi
            done
        done < "$file"
    done
    return 1
}

place() {
    getarg holdfast.root= && return
    said ROOT_PATH root-path new_root_path && return
    server=$(said NEXT_SERVER next-server new_next_server SERVER_ADDRESS dhcp-server-identifier \
        new_dhcp_server_identifier) || return 1
    echo "http://$server/$image/rootfs.erofs"
}

refuse() {
    rm -f "$store/rootfs.erofs" "$store/rootfs.verity"
    die "holdfast: $1"
    exit 1
}

# curl goes on where it was cut off, and fails on anything that is not a success.
bring() {
    curl --fail --silent --show-error --location --retry 8 --retry-all-errors --retry-delay 2 \
        --connect-timeout 20 --speed-limit 1000 --speed-time 60 --continue-at - \
        --output "$2" "$1" || refuse "$1 could not be had"
}

url=$(place) || refuse "nobody says where the root is; give holdfast.root=URL"
# It comes from whoever answered first, and consoles show it: no sign but those of an address.
case $url in
    *[!A-Za-z0-9:/._~%@?='&',+-]*) refuse "where the root is said to be is no address" ;;
esac
[ -n "$hash" ] || getargbool 0 holdfast.unproven || refuse "no root hash was given"

mkdir -p "$store"
# /run itself holds a fifth of the memory at most.
grep -q " $store " /proc/mounts || mount -t tmpfs -o mode=0700,size=80% tmpfs "$store"
info "holdfast: root from $url"
# Beside it lies what tells this node where to get its identity.
echo "${url%/*}" > /run/holdfast/from
bring "$url" "$store/rootfs.erofs"

if [ -n "$hash" ]; then
    bring "${url%.erofs}.verity" "$store/rootfs.verity"
    # All of it now: a block that nothing reads today must not be wrong either.
    veritysetup verify "$store/rootfs.erofs" "$store/rootfs.verity" "$hash" \
        || refuse "the root is not what was signed"
    data=$(losetup --find --show --read-only "$store/rootfs.erofs") || refuse "no loop device"
    tree=$(losetup --find --show --read-only "$store/rootfs.verity") || refuse "no loop device"
    veritysetup open --panic-on-corruption "$data" root "$tree" "$hash" \
        || refuse "the root could not be opened"
    root=/dev/mapper/root
else
    root=$(losetup --find --show --read-only "$store/rootfs.erofs") || refuse "no loop device"
fi

mkdir -p /run/holdfast/lower /run/holdfast/upper
mount -t erofs -o ro "$root" /run/holdfast/lower || refuse "the root could not be mounted"
# Spread over the memory of all processors, so that no processor's own is filled up.
mount -t tmpfs -o mode=0755,mpol=interleave tmpfs /run/holdfast/upper \
    || mount -t tmpfs -o mode=0755 tmpfs /run/holdfast/upper || refuse "no memory to write to"
mkdir -p /run/holdfast/upper/data /run/holdfast/upper/work
: > /run/holdfast/proven
