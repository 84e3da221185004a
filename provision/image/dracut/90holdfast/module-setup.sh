#!/bin/bash
# A root that comes over the network and is proven before anything of it is used.
# dracut sources this file; see dracut.modules(7).

check() {
    require_binaries curl losetup veritysetup || return 1
    # Only where it is asked for by name.
    return 255
}

depends() {
    echo network dm
}

installkernel() {
    instmods erofs overlay loop dm-verity =drivers/net/virtio virtio_net
}

install() {
    inst_multiple curl losetup veritysetup mount mkdir stat
    # shellcheck disable=SC2154 # dracut sets moddir
    inst_hook cmdline 90 "$moddir/parse.sh"
    # shellcheck disable=SC2154
    inst_script "$moddir/fetch.sh" /sbin/holdfastroot
    # shellcheck disable=SC2154
    inst_hook mount 20 "$moddir/mount.sh"
    dracut_need_initqueue
}
