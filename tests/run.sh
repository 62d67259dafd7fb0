#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what is missing, build, and run the tests. usage: sh tests/run.sh [cmake options]
# The long physics checks: ctest --test-dir build -L long. Tests on real images need FINWIDTH_DATA.
set -eu
cd "$(dirname "$0")/.."
sh jobs/install.sh -t "$@"
cmake -S . -B build >/dev/null # the tests carry the present FINWIDTH_DATA
# one more than there are cores: some tests wait, for Slurm or for files
exec ctest --test-dir build --output-on-failure -LE long -j "$(($(nproc) + 1))"
