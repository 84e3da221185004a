#!/bin/bash
# A root that comes over the network and is proven before anything of it is used.
# dracut sources this file; see dracut.modules(7).

check() {
    require_binaries curl losetup veritysetup || return 1
    # Only where it is asked for by name.
    return 255
}

depends() {
    echo systemd-initrd network dm
}

installkernel() {
    instmods erofs overlay loop dm-verity =drivers/net/virtio virtio_net
}

install() {
    inst_multiple curl losetup veritysetup mount mkdir rm grep cat ln
    # shellcheck disable=SC2154 # dracut sets moddir and systemdutildir
    inst_hook cmdline 90 "$moddir/parse.sh"
    inst_script "$moddir/fetch.sh" /sbin/holdfastroot
    # shellcheck disable=SC2154
    inst_script "$moddir/generator.sh" "$systemdutildir/system-generators/holdfast-generator"
    dracut_need_initqueue
}
