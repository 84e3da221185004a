#!/bin/sh
# Tells systemd what the root is where root=holdfast: memory over what was proven. A generator of
# systemd, run before anything else; its second argument is the folder that wins over others.

[ -n "$2" ] || exit 0
case " $(cat /proc/cmdline) " in
    *" root=holdfast "*) ;;
    *) exit 0 ;;
esac

state=/run/holdfast
mkdir -p "$2/initrd-root-fs.target.requires"
cat > "$2/sysroot.mount" << EOF
[Unit]
Description=Root file system, proven
Before=initrd-root-fs.target
After=dracut-initqueue.service
ConditionPathExists=$state/proven

[Mount]
What=holdfast
Where=/sysroot
Type=overlay
Options=lowerdir=$state/lower,upperdir=$state/upper/data,workdir=$state/upper/work
EOF
ln -sf ../sysroot.mount "$2/initrd-root-fs.target.requires/sysroot.mount"
