# For bash: a second network, joined by a cable of our own. This one is 192.0.2.1 on it, that one 192.0.2.2.
# `far COMMAND…` runs a command there; it is gone when the script ends.
coproc there { exec unshare -n sh -c 'echo there; exec cat'; }
far_pid=$there_PID
trap 'exec {there[1]}>&-; wait "$far_pid"' EXIT
read -r _ <&"${there[0]}"
ip link add here type veth peer name there netns "$far_pid"
ip address add 192.0.2.1/24 dev here
ip link set here up
far() { nsenter -t "$far_pid" -n "$@"; }
far ip address add 192.0.2.2/24 dev there
far ip link set there up
far ip link set lo up
