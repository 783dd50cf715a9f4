#!/usr/bin/env bash
# Makes or updates .venv with the project installed in it (editable). Usage: setup_venv.sh [EXTRAS]
# With --fits it only tells, by its exit code, whether .venv is whole, this checkout's and of $PYTHON, if given.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$(pwd -P)

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

# Two that are equal are the same interpreter, be it called directly or through an environment.
identity() {
    "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null
}

# An interrupted set-up has no pip, nor has one whose python3 is a newer Python by now: its packages lie in the
# older one's folder. After a move the scripts' first lines still name the old place, as does "activate".
fits() {
    is_recent .venv/bin/python &&
        .venv/bin/python -m pip --version >/dev/null 2>&1 &&
        grep -qF "$here/.venv" .venv/bin/activate &&
        { [ -z "${PYTHON:-}" ] || [ "$(identity .venv/bin/python)" = "$(identity "$PYTHON")" ]; }
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_recent "$PYTHON" && echo "$PYTHON" && return
        echo "make: PYTHON=$PYTHON is no Python 3.10 or newer; name another, or leave it out" >&2
        exit 1
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        is_recent "$candidate" && echo "$candidate" && return
    done
    echo "make: no Python 3.10 or newer found; install one, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
}

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

# Debian's package of this very Python, which need not be the default one: package PYTHON dev|venv
package() {
    "$1" -c "import sys; print('python%d.%d-$2' % sys.version_info[:2])"
}

if [ "${1:-}" = --fits ]; then
    fits
    exit
fi
extras=${1:+[$1]}

# One set-up at a time: make -j, or a second terminal.
exec 9<tools/setup_venv.sh
flock 9

if ! fits; then
    python=$(find_python)
    "$python" -c 'import ensurepip' >/dev/null 2>&1 || need "$(package "$python" venv)"
    [ ! -L .venv ] || rm .venv # what it leads to may be another checkout's
    "$python" -m venv --clear .venv
fi

command -v c++ >/dev/null || need g++
headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$headers/Python.h" ] || need "$(package .venv/bin/python dev)"

# Kept in .venv, so that building again after a change in csrc/ needs no network.
.venv/bin/python -m pip install --disable-pip-version-check --quiet \
    'scikit-build-core>=0.10' 'pybind11>=2.13' cmake ninja
.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-build-isolation -e ".$extras"

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
