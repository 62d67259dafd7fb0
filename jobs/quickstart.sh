#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what is missing, build, and predict the error of a small network on the built-in images.
set -eu
cd "$(dirname "$0")/.."
sh jobs/install.sh
. jobs/mpi-env.sh

mkdir -p build/quickstart
input=$PWD/inputs/quickstart.yaml
cd build/quickstart
set -x
mpirun -n 2 ../install/bin/finwidth predict "$input" -overwrite
