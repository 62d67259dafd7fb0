#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Fuzz every parser for so many seconds of a processor, however busy the machine is.
# usage: sh tests/fuzz/run.sh BUILD_FOLDER SECONDS [TARGET ...]
# Inputs that crash a parser are left in BUILD_FOLDER/fuzz/TARGET-*; the corpus beside them is used again.
set -eu
build=$(cd "$1" && pwd)
wanted=$2
shift 2
[ $# -gt 0 ] || set -- idx cifar csv hdf5 yaml store checkpoint record
here=$(cd "$(dirname "$0")" && pwd)
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 OMPI_MCA_btl=self OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
python3 "$here/corpus.py" "$build/fuzz" "$build/finwidth"

# processor seconds of all that this shell has waited for
used() {
  times >"$build/fuzz/times.$$"
  awk 'NR == 2 { split($1, u, /[ms]/); split($2, s, /[ms]/); printf "%d", 60 * (u[1] + s[1]) + u[2] + s[2] }' "$build/fuzz/times.$$"
}

for target; do
  log=$build/fuzz/$target.log executions=0
  used >"$build/fuzz/used.$$"
  start=$(cat "$build/fuzz/used.$$") spent=0
  while [ "$spent" -lt "$wanted" ]; do
    "$build/tests/fuzz/fuzz_$target" -max_total_time=$((wanted - spent)) -timeout=20 -rss_limit_mb=0 -max_len=65536 \
      -print_final_stats=1 -artifact_prefix="$build/fuzz/$target-" "$build/fuzz/$target" >"$log" 2>&1 ||
      { grep SUMMARY "$log" || :; echo "$target: see $log"; failed=1; break; }
    executions=$((executions + $(awk '/stat::number_of_executed_units/ { print $2 }' "$log")))
    used >"$build/fuzz/used.$$"
    spent=$(($(cat "$build/fuzz/used.$$") - start))
  done
  echo "$target: $executions executions in $spent seconds of a processor"
done
rm -f "$build/fuzz/times.$$" "$build/fuzz/used.$$"
exit "${failed:-0}"
