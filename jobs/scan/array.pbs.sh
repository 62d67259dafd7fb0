#!/bin/bash
# finwidth predict as a job array, each task with a result of its own.
# The first command with all keys of the input; 'finwidth jobscript COMMAND INPUT.yaml' for: sample, mixture, ansatz.
# Save it as array.pbs.sh in the folder from which the input is named, and submit it there with
#   qsub array.pbs.sh
# Time and memory: as given (job_time, job_memory)
# A job that is stopped, killed or out of time loses at most the points it was computing: submitted
# again, it goes on from its checkpoint.
#PBS -N array
#PBS -j oe
#PBS -r y
#PBS -V
#PBS -l select=1:ncpus=4:mpiprocs=4:ompthreads=1:mem=4096mb
#PBS -l walltime=00:30:00

set -eo pipefail
cd "${PBS_O_WORKDIR:-.}"

# Modules of the site that hold the program and its libraries
# module load openmpi petsc hdf5 finwidth
set -u # after the modules, whose scripts may read what is not set

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # one BLAS thread a rank
finwidth=${FINWIDTH:-finwidth} # the program, from PATH
input='inputs/scan-temperature-width.yaml'
ranks=4

# The points of each task: those that share a kernel are together
points=(
  '0-47'
)
task=${FINWIDTH_TASK:-${PBS_ARRAY_INDEX:-0}}
result='scan-temperature-width.h5'
parts='scan-temperature-width.parts'
mkdir -p -- "$parts"
output=$parts/$(printf '%05d' "$task").h5
command=("$finwidth" 'predict' "$input" -output "$output" -resume true -walltime 00:28:00 -scan_index "${points[$task]}")

# mpirun passes USR2 on to every rank, and finwidth then stops with a checkpoint; TERM would be followed by KILL
mpirun -n "$ranks" "${command[@]}" &
child=$!
trap 'kill -USR2 "$child" 2>/dev/null || true' TERM USR2
code=0
wait "$child" || code=$?
while kill -0 "$child" 2>/dev/null; do # wait was only interrupted by a signal
  code=0
  wait "$child" || code=$?
done
trap - TERM USR2

if [ "$code" = 0 ]; then
  echo "task $task is done; when all are: finwidth gather '$result' '$parts'"
fi

# 6: stopped with a checkpoint. Back into the queue, up to 100 times.
if [ "$code" = 6 ]; then
  restarts=$((${FINWIDTH_RESTARTS:-0} + 1))
  if [ "$restarts" -le 100 ]; then
    qsub -v "FINWIDTH_TASK=$task,FINWIDTH_RESTARTS=$restarts" array.pbs.sh
    exit 0
  fi
fi
exit "$code"
