#!/usr/bin/env bash
# Makes or updates .venv with the project installed in it (editable). Usage: setup_venv.sh [EXTRAS]
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:+[$1]}

# Installs Debian packages, or says in one line what to install.
need() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    else
        echo "make: missing system packages; run: sudo apt-get install $*" >&2
        exit 1
    fi
}

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10; do
        if is_recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "make: no Python 3.10 or newer found; install one, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
}

if ! is_recent .venv/bin/python; then
    python=$(find_python)
    "$python" -c 'import ensurepip' >/dev/null 2>&1 || need python3-venv
    "$python" -m venv --clear .venv
fi

command -v c++ >/dev/null || need g++
headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$headers/Python.h" ] || need python3-dev

.venv/bin/python -m pip install --disable-pip-version-check --quiet -e ".$extras"

# The OpenCV wheel takes these three from the system.
cv2=$(.venv/bin/python -c 'import importlib.util as u; print(u.find_spec("cv2").submodule_search_locations[0])')
missing=$(ldd "$cv2"/*.so | awk '/not found/ {print $1}' | sort -u)
packages=()
for library in $missing; do
    case $library in
        libGL.so.1) packages+=(libgl1) ;;
        libglib-2.0.so.0 | libgthread-2.0.so.0) packages+=(libglib2.0-0) ;;
        libxcb.so.1) packages+=(libxcb1) ;;
        *) echo "make: OpenCV needs $library, which is not installed" >&2; exit 1 ;;
    esac
done
[ ${#packages[@]} = 0 ] || need "${packages[@]}"
