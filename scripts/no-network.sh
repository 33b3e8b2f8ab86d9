#!/bin/sh
# Runs a command where nothing but loopback can be reached, so that no test can touch the network.
#
#   scripts/no-network.sh COMMAND ARGUMENT…
#
# It takes a network namespace of its own (Linux; as root, or where users may make namespaces) and
# brings loopback up in it. Where the system does not allow that, it says so and runs the command as
# it is: the tests use loopback only in any case.
set -eu

if [ $# -eq 0 ]; then
	echo "usage: scripts/no-network.sh COMMAND ARGUMENT..." >&2
	exit 2
fi

inside='ip link set lo up && exec "$@"'
for how in "unshare -n" "unshare -rn"; do
	if $how sh -c 'ip link set lo up' 2>/dev/null; then
		exec $how sh -c "$inside" sh "$@"
	fi
done
echo "no-network: this system gives no network namespace (unshare -n, ip link set lo up): the network stays reachable" >&2
exec "$@"
