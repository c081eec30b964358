#!/bin/busybox sh
# Every script begins with this: a machine with cgroup v2 only, and a datacenter on it.
# Each line that begins with a word in capitals is read by the test.
export PATH=/bin HOME=/tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir /dev/pts && mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
echo "CONTROLLERS $(cat /sys/fs/cgroup/cgroup.controllers)"
dcos up > /tmp/up 2>&1 &
# tries SECONDS COMMAND...
tries() { end=$(($(date +%s) + $1)); shift; until "$@" > /tmp/tried 2>&1; do [ $(date +%s) -lt $end ] || return 1; sleep 1; done; }
get() { wget -q -O - "http://127.0.0.1/$1"; }
holds() { get "$1" | grep -q "$2"; }
tries 120 grep -q '^READY' /tmp/up && echo "READY yes" || cat /tmp/up
