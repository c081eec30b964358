# What checks ask of the node they run on. To be sourced.
root=/opt/mesosphere

# Ends the check successfully unless the node has one of the roles.
only_for() {
  for role in "$@"; do
    [ ! -e "$root/etc/roles/$role" ] || return 0
  done
  exit 0
}

# Ends the check: whether PATH is answered on that PORT of the node, within the time a component takes to start.
answers() {
  . "$root/environment.export"
  if [ -z "${MESOS_IP_DISCOVERY_COMMAND:-}" ]; then
    echo "no active package says MESOS_IP_DISCOVERY_COMMAND: the node's address is not known" >&2
    exit 1
  fi
  address=$(sh -c "$MESOS_IP_DISCOVERY_COMMAND")
  exec "$root/bin/dcos" probe --within 15secs "$address:$1" "$2"
}
