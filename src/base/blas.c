/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Kernels of OpenBLAS for processors that it does not know, and its threads.
 */

#include <finwidth/blas.h>

#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* There only when the BLAS that the system chose is OpenBLAS */
extern char *openblas_get_corename(void) __attribute__((weak));
extern void  openblas_set_num_threads(int) __attribute__((weak));

static const char variable[] = "OPENBLAS_CORETYPE";

static const char *BestKernels(void)
{
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "SkylakeX";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
  return NULL;
}

void FwBlasTune(char **argv)
{
  const char *best = BestKernels();
  char        path[4096];
  ssize_t     length;

  if (!best || !openblas_get_corename || getenv(variable)) return;
  if (strcmp(openblas_get_corename(), "Prescott")) return;    /* the oldest: what an unknown processor gets */
  length = readlink("/proc/self/exe", path, sizeof path - 1); /* by its own name, which `ps` then shows */
  if (length <= 0) return;
  path[length] = '\0';
  if (!setenv(variable, best, 0)) (void)execv(path, argv);
}

int FwBlasShareNode(void)
{
  const int is_chosen = getenv("OPENBLAS_NUM_THREADS") || getenv("GOTO_NUM_THREADS") || getenv("OMP_NUM_THREADS");
  MPI_Comm  node;
  int       code, n_rank = 1;

  if ((code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node))) return code;
  code = MPI_Comm_size(node, &n_rank);
  if (!code && n_rank > 1 && !is_chosen && openblas_set_num_threads) openblas_set_num_threads(1);
  return code ? code : MPI_Comm_free(&node);
}
