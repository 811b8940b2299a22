#!/usr/bin/env bash
# Install this clone in an emulated arm64 Debian, test both engines there, and deploy to it from this host's controller.
#
#     tests/device/arm64.sh FOLDER        FOLDER: absent, empty, or of an earlier run (what is built is kept)
#
# What it decides: whether the wheels of the lock `pi` install and run on arm64, whether the engines answer there as
# they do here, and whether an update goes all its way. Outputs only: an emulator's speed means nothing, none is shown.
#
# Needs an x86-64 Debian 12 (others were not tried), and about 3 GB in FOLDER. Nothing is installed on the host: the
# emulator and what it needs are unpacked in FOLDER. Root is not needed. PYTHON names the interpreter that holds the
# controller (default: the clone's .venv), MIRROR a Debian mirror (default: apt's own).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
clone=$(cd "$here/../.." && pwd)
python=${PYTHON:-$clone/.venv/bin/python}
debian=bookworm
python_inside=3.11 # bookworm's
packages=python3,python3-venv,ca-certificates,libgomp1,gcc,libc6-dev
export ORT_DISABLE_TELEMETRY=1

die() {
    echo "arm64.sh: $*" >&2
    exit 2
}

# pass NAME COMMAND...: carry a step out; its output goes to FOLDER/logs/NAME.log, its end to the terminal.
pass() {
    local name=$1 log="$folder/logs/$1.log" code
    shift
    set +e # so, and not with `||`: behind that a function would not end at its first failure
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    code=$?
    set -e
    if [ "$code" -eq 0 ]; then
        echo "PASS  $name"
        grep '^| ' "$log" || true
    else
        echo "FAIL  $name (exit $code); the end of $log:" >&2
        tail -n 40 "$log" >&2
        exit 1
    fi
}

# once NAME KEY COMMAND...: a step whose result stays in FOLDER; done again when KEY is another one.
once() {
    local name=$1 key=$2 mark="$folder/done/$1"
    shift 2
    if [ -f "$mark" ] && [ "$(cat "$mark")" = "$key" ]; then
        echo "kept  $name"
        return
    fi
    rm -f "$mark"
    pass "$name" "$@"
    echo "$key" >"$mark"
}

fetch_tools() {
    rm -rf "$folder/debs" "$folder/tools"
    mkdir -p "$folder/debs"
    cd "$folder/debs"
    apt-get download qemu-user-static debootstrap proot libtalloc2
    for package in *.deb; do dpkg-deb -x "$package" "$folder/tools"; done
}

mirror() {
    local found
    # shellcheck disable=SC2016 # the format is apt's, not the shell's
    found=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v name="$debian" '$1 == name { print $2; exit }')
    [ -n "${MIRROR:-$found}" ] || die "apt here knows no mirror of Debian $debian: name one by MIRROR"
    echo "${MIRROR:-$found}"
}

# Only the first stage: packages are unpacked and not configured, which is enough to run programs.
make_root() {
    rm -rf "$folder/root"
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(env "LD_LIBRARY_PATH=$libraries" "$folder/tools/usr/bin/proot" -0)
    local source device
    source=$(mirror)
    # Device files cannot be made without root. The host's stand in for them, so empty files will do.
    mkdir -p "$folder/root/dev"
    for device in null zero full random urandom tty console ptmx; do touch "$folder/root/dev/$device"; done
    DEBOOTSTRAP_DIR=$folder/tools/usr/share/debootstrap "${as_root[@]}" "$folder/tools/usr/sbin/debootstrap" \
        --foreign --arch=arm64 --variant=minbase --include="$packages" "$debian" "$folder/root" "$source"
    for package in "$folder/root/var/cache/apt/archives/"*.deb; do dpkg-deb -x "$package" "$folder/root"; done
    rm "$folder/root/var/cache/apt/archives/"*.deb
    cp "$folder/root/usr/share/base-passwd/passwd.master" "$folder/root/etc/passwd"
    cp "$folder/root/usr/share/base-passwd/group.master" "$folder/root/etc/group"
    mkdir -p "$folder/root/sys/devices/system/cpu"
    for list in possible present online; do echo 0-1 >"$folder/root/sys/devices/system/cpu/$list"; done
    [ "$(id -u)" -ne 0 ] || chown -R 65534:65534 "$folder/root"
}

# Wheels for the device, by the digests of its lock; the build backend among them is not needed there.
fetch_wheels() {
    local platforms=() minor
    for minor in 28 27 26 24 17; do platforms+=(--platform "manylinux_2_${minor}_aarch64"); done
    rm -rf "$folder/exchange/wheels"
    "$python" -m pip download --require-hashes --no-deps --only-binary=:all: "${platforms[@]}" \
        --platform manylinux2014_aarch64 --implementation cp --python-version "$python_inside" \
        --dest "$folder/exchange/wheels" --requirement "$lock"
}

install_wheels() {
    rm -rf "$folder/root/opt/environment"
    "$folder/enter" python3 -m venv /opt/environment
    "$folder/enter" /opt/environment/bin/python -m pip install --no-index --find-links /exchange/wheels \
        --require-hashes --requirement /exchange/lock.txt
}

# From a copy: setuptools would leave its products in the clone, and might find older ones there.
build_own_wheel() {
    rm -rf "$folder/clone" "$folder/exchange/own"
    mkdir -p "$folder/clone"
    tar -C "$clone" --exclude='./.*' --exclude='./build' --exclude=__pycache__ -cf - . | tar -C "$folder/clone" -xf -
    "$python" -m pip wheel --no-deps --wheel-dir "$folder/exchange/own" "$folder/clone"
}

install_own_wheel() {
    local wheel
    build_own_wheel
    wheel=$(basename "$folder"/exchange/own/thresher-*.whl)
    "$folder/enter" /opt/environment/bin/python -m pip install --no-index --no-deps --force-reinstall \
        "/exchange/own/$wheel"
    "$folder/enter" /opt/environment/bin/agent --version | sed -u 's/^/| /'
}

# A device that was never seen: releases of earlier runs are kept, their configuration and state are not.
install_agent() {
    local token
    rm -rf "$folder/root/etc/thresher" "$folder/root/var/lib/thresher"
    token=$("$python" -m tests.device.arm64_site token "$folder")
    echo "$token" | "$folder/enter" /opt/environment/bin/agent install --claim - --device emulated-arm64 2>&1 |
        sed -u 's/^/| /'
    "$python" -m tests.device.arm64_site configure "$folder"
}

doctor() {
    "$folder/enter" agent doctor --config /etc/thresher/agent.yaml | sed -u 's/^/| /'
}

selftests() {
    local order
    "$python" -m tests.device.arm64_outputs pack "$folder/exchange/selftest"
    chmod 777 "$folder/exchange/selftest/results" # the device writes there, as another user
    for order in "$folder"/exchange/selftest/orders/*.json; do
        "$folder/enter" python -m agent.measure.worker "/exchange/selftest/orders/$(basename "$order")"
    done
    "$python" -m tests.device.arm64_outputs compare "$folder/exchange/selftest"
}

deploy() {
    "$python" -m tests.device.arm64_site deploy "$folder"
}

[ $# -eq 1 ] || die "usage: tests/device/arm64.sh FOLDER"
[ "$(uname -m)" = x86_64 ] || die "this host is $(uname -m): the script emulates arm64 on x86-64"
for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || die "$program is needed to fetch and unpack Debian's packages"
done
"$python" -c 'import controller, iotcore' 2>/dev/null ||
    die "no controller in $python: run  make demo  or  make test  once, or name an interpreter by PYTHON"
mkdir -p "$1"
folder=$(cd "$1" && pwd)
case $folder/ in
"$clone"/*) die "name a folder outside the clone: the clone is copied into it" ;;
*[[:space:]]*) die "name a folder without spaces: the emulator's command line is cut at them" ;;
esac
if [ "$(id -u)" -eq 0 ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$folder"; then
    die "every user must reach $folder, since nothing is emulated as root: name one in /tmp, say"
fi
mkdir -p "$folder/done" "$folder/logs" "$folder/exchange"
libraries=$folder/tools/usr/lib/x86_64-linux-gnu
lock=$clone/locks/pi-py$python_inside.txt
cp "$lock" "$folder/exchange/lock.txt"
cp "$here/cpuinfo.aarch64" "$here/enter" "$here/old_proot.py" "$folder/"
exec 9>"$folder/lock"
flock --nonblock 9 || die "another run, or what it left running, works in $folder"
export PYTHONPATH=$clone
cd "$clone"

echo "emulated arm64 Debian $debian in $folder; outputs only, no number here is a speed"
once tools 1 fetch_tools
once root "$debian $packages" make_root
once wheels "$(sha256sum <"$lock")" fetch_wheels
once environment "$(sha256sum <"$lock") $(cat "$folder/done/root")" install_wheels
pass package install_own_wheel
pass install install_agent
pass doctor doctor
pass selftest selftests
pass deploy deploy
echo "PASS  all"
