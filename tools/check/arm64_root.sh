#!/usr/bin/env bash
# Runs a command in an arm64 Debian folder on a machine that is none. As root:
#
#     arm64_root.sh QEMU_AARCH64 ROOT CHECKOUT SHARED COMMAND...
#
# The emulator is registered in a user namespace of its own, so the machine outside learns nothing of it.
set -euo pipefail
# shellcheck disable=SC2016 (the inner shell expands)
exec unshare --user --map-root-user --mount --pid --fork --kill-child bash -c '
    set -euo pipefail
    qemu=$1 root=$2 checkout=$3 shared=$4
    shift 4
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    # An ELF file of 64 bits, little-endian, for machine 183. F: the emulator is opened here, not in the root.
    magic="\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    printf "%s" ":aarch64:M::$magic:$mask:$qemu:OF" >/proc/sys/fs/binfmt_misc/register
    mkdir -p "$root"/{dev,proc,sys,tmp,work/main,work/shared}
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    mount --bind "$checkout" "$root/work/main"
    [ ! -d "$shared" ] || mount --bind "$shared" "$root/work/shared"
    cp /etc/passwd /etc/group /etc/hosts "$root/etc"
    # What a Cortex-A78AE (Orin) has: half precision and dot products, no SVE, no bfloat16.
    # PyTorch translated does not fit into the 128 MiB that qemu keeps of translated code.
    export QEMU_CPU=cortex-a76 QEMU_TB_SIZE=1024
    unset PYTHONDONTWRITEBYTECODE # to compile the tests once is slow enough
    export HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin
    exec chroot "$root" /bin/sh -c "cd /work/main && exec \"\$@\"" sh "$@"
' sh "$@"
