# SPDX-License-Identifier: GPL-3.0-or-later
# Settings for Open MPI on one machine: source it. Not for clusters, where the defaults are right.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"        # one BLAS thread a rank
export OMPI_MCA_rmaps_base_oversubscribe=1            # more ranks than cores are allowed
export OMPI_MCA_hwloc_base_binding_policy=none        # runs side by side do not fight for core 0
export OMPI_MCA_mpi_yield_when_idle=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none # both for Open MPI 5
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
