
# Every script ends with this: the datacenter ends, and nothing is left of it.
kill -TERM $(pidof dcos | tr ' ' '\n' | sort -n | head -1); sleep 2; dcos down > /tmp/down 2>&1 || cat /tmp/down
left() { [ "$(ls /sys/class/net)" = lo ] && [ -z "$(find /sys/fs/cgroup -mindepth 2 -type d | grep -v '/system\|/init' | grep dcos/)" ]; }
tries 20 left && echo "LEFT nothing" || find /sys/fs/cgroup /sys/class/net -type d -o -type l
tail -n 20 /tmp/up
echo "END"
poweroff -f
