#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Fuzz every parser for some seconds each. usage: sh tests/fuzz/run.sh BUILD_FOLDER SECONDS [TARGET ...]
# Inputs that crash a parser are left in BUILD_FOLDER/fuzz/TARGET-*; the corpus beside them is used again.
set -eu
build=$(cd "$1" && pwd)
seconds=$2
shift 2
[ $# -gt 0 ] || set -- idx cifar csv hdf5 yaml store checkpoint record
here=$(cd "$(dirname "$0")" && pwd)
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 OMPI_MCA_btl=self OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
python3 "$here/corpus.py" "$build/fuzz"
for target; do
  echo "== $target, $seconds s"
  "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=0 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$build/fuzz/$target-" "$build/fuzz/$target" >"$build/fuzz/$target.log" 2>&1 ||
    { echo "$target: see $build/fuzz/$target.log"; failed=1; }
  grep -E "stat::number_of_executed_units|DONE|SUMMARY" "$build/fuzz/$target.log" || true
done
exit "${failed:-0}"
