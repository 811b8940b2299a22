#!/data/data/com.termux/files/usr/bin/bash
# NOT RUN: no Android device was at hand. Read it before you run it, and tell us what you saw.
#
# The agent on an Android phone: Termux (from F-Droid), in it a Debian under proot, in it Thresher with both engines.
#
#     configs/termux/install.sh TOKEN      in Termux, from a clone; `controller fleet enrol FLEET` prints the token
#
# It may be run again: what is there stays, the agent is installed anew. To go on after a reboot the phone needs the app
# Termux:Boot (opened once), and Termux must be exempt from Android's battery optimisation. Under proot the agent has
# neither systemd nor cgroups: an rlimit holds a worker's memory cap, and parts of the sandbox are missing; doctor says
# which.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: configs/termux/install.sh TOKEN" >&2; exit 2; }
command -v pkg >/dev/null || { echo "run this in Termux" >&2; exit 2; }
case $(uname -m) in
aarch64) ;;
*) echo "this phone's system is $(uname -m): Thresher needs a 64-bit one (aarch64)" >&2; exit 2 ;;
esac
token=$1
clone=$(cd "$(dirname "$0")/../.." && pwd)
service=$PREFIX/var/service/thresher-agent

pkg install -y proot-distro termux-services
[ -d "$PREFIX/var/lib/proot-distro/installed-rootfs/debian" ] || proot-distro install debian

# The lock of Debian's own Python; a linker, so that kernels become a library; a copy, to build nothing in the clone.
# shellcheck disable=SC2016 # the inner shell expands it
proot-distro login debian --bind "$clone:/clone" -- env "TOKEN=$token" bash -euc '
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev libgomp1 passwd python3 python3-venv
    version=$(python3 -c "import sys; print(\"%d.%d\" % sys.version_info[:2])")
    lock=/clone/locks/pi-py$version.txt
    [ -f "$lock" ] || { echo "no lock for Python $version: Thresher runs on 3.11 to 3.13" >&2; exit 1; }
    [ -x /opt/environment/bin/python ] || python3 -m venv /opt/environment
    /opt/environment/bin/pip install --require-hashes -r "$lock"
    rm -rf /tmp/thresher && cp -r /clone /tmp/thresher
    /opt/environment/bin/pip install --no-deps --no-build-isolation --force-reinstall /tmp/thresher
    rm -rf /tmp/thresher
    printf "%s\n" "$TOKEN" | /opt/environment/bin/agent install --claim -
    /opt/thresher/current/bin/agent doctor --config /etc/thresher/agent.yaml
'

mkdir -p "$service/log" "$HOME/.termux/boot"
cat >"$service/run" <<RUN
#!$PREFIX/bin/sh
exec 2>&1
exec proot-distro login debian -- /opt/thresher/current/bin/agent run --config /etc/thresher/agent.yaml
RUN
ln -sf "$PREFIX/share/termux-services/svlogger" "$service/log/run"
cat >"$HOME/.termux/boot/thresher-agent" <<BOOT
#!$PREFIX/bin/sh
termux-wake-lock
. $PREFIX/etc/profile.d/start-services.sh
BOOT
chmod +x "$service/run" "$HOME/.termux/boot/thresher-agent"

# The supervisor of services runs from a login shell on; after a first installation it has to be started.
# shellcheck disable=SC1091 # Termux brings the file
. "$PREFIX/etc/profile.d/start-services.sh"
sv-enable thresher-agent
echo "the agent starts within seconds; its log: $PREFIX/var/log/sv/thresher-agent/current"
