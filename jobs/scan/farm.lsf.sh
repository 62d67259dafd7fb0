#!/bin/bash
# finwidth predict as a farm: one job in which rank 0 hands out the points to the others.
# The first command with all keys of the input; 'finwidth jobscript COMMAND INPUT.yaml' for: sample, mixture, ansatz.
# Save it as farm.lsf.sh in the folder from which the input is named, and submit it there with
#   bsub < farm.lsf.sh
# Time and memory: as given (job_time, job_memory)
# A job that is stopped, killed or out of time loses at most the points it was computing: submitted
# again, it goes on from its checkpoint.
#BSUB -J farm
#BSUB -o farm.%J.log
#BSUB -n 4
#BSUB -R span[ptile=4]
# Memory of each host; where the site reserves memory for each task (RESOURCE_RESERVE_PER_TASK): mem=1024MB
#BSUB -R rusage[mem=4096MB]
#BSUB -W 00:30
#BSUB -r
#BSUB -Q 6
#BSUB -wa USR2
#BSUB -wt 2

set -eo pipefail
cd "${LS_SUBCWD:-.}"

# Modules of the site that hold the program and its libraries
# module load openmpi petsc hdf5 finwidth
set -u # after the modules, whose scripts may read what is not set

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # one BLAS thread a rank
finwidth=${FINWIDTH:-finwidth} # the program, from PATH
input='inputs/scan-temperature-width.yaml'
ranks=4
output='scan-temperature-width.h5'
command=("$finwidth" 'predict' "$input" -output "$output" -resume true -walltime 00:28:00 -scan_farm true)

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

exit "$code" # 6, stopped with a checkpoint, puts the job back into the queue (-Q 6 above)
