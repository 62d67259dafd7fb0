#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what is missing (Debian packages), build finwidth in build/, and install it in build/install.
# usage: sh jobs/install.sh [-t] [cmake options]     -t: also the tests, and what they need
set -eu
cd "$(dirname "$0")/.."

packages="cmake gcc make pkg-config git ca-certificates openmpi-bin libopenmpi-dev petsc-dev libscalapack-openmpi-dev
libhdf5-openmpi-dev libopenblas-dev librandom123-dev libgsl-dev libyaml-dev zlib1g-dev libxxhash-dev gnuplot-nox"
target=finwidth_program
if [ "${1:-}" = -t ]; then
  shift
  target=all
  packages="$packages libcmocka-dev python3 python3-h5py python3-xxhash python3-xarray python3-netcdf4 hdf5-tools shellcheck strace"
fi

missing=
for package in $packages; do
  state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "installing:$missing"
  as_root=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "error: these Debian packages are missing, and there is no sudo:$missing" >&2; exit 1; }
    as_root=sudo
  fi
  $as_root apt-get update -qq
  # shellcheck disable=SC2086 # a list of words
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ ! -f build/CMakeCache.txt ] || [ $# != 0 ] || [ "$target" = all ]; then # all: cmocka may be new
  cmake -S . -B build -DCMAKE_INSTALL_PREFIX="$PWD/build/install" "$@" >/dev/null
fi
cmake --build build --target "$target" -j "$(nproc)" >build/build.log 2>&1 || { grep -E "error|Error" -A5 build/build.log >&2; exit 1; }
cmake --install build >/dev/null
