/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Samples per second of each sampler at N = 100, L = 50, on one rank: draws of the mixing matrix alone, as
 * tests/bench/peer_mixture.py does them with NumPy. Times are processor times.
 */

#include <finwidth/blas.h>
#include <finwidth/mixture_law.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WIDTH = 100, DEPTH = 50 };

static double Now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of three, of as many samples as take a quarter of a second */
static double Rate(const FwMixtureLaw *law, FwMixtureSampler sampler)
{
  const PetscInt D = law->n_output, piece = sampler == FW_MIXTURE_BRUTE ? 32 : 2048;
  double        *x, *m, best = 0.0;

  PetscCallAbort(PETSC_COMM_SELF, PetscMalloc2(piece * D, &x, piece * D * D, &m));
  for (int round = 0; round < 3; round++) {
    const double start = Now();
    PetscInt     n     = 0;

    for (; Now() - start < 0.25; n += piece)
      PetscCallAbort(PETSC_COMM_SELF, FwMixtureDraw(law, sampler, 1, (uint64_t)n, piece, x, m));
    best = PetscMax(best, (double)n / (Now() - start));
  }
  PetscCallAbort(PETSC_COMM_SELF, PetscFree2(x, m));
  return best;
}

static double NormalRate(void)
{
  enum { N = 1 << 16 };
  static double value[N];
  const double  start = Now();
  uint64_t      n     = 0;

  for (; Now() - start < 0.5; n += N) FwStreamNormalBulk(FwStreamCreate(1, FW_RANDOM_GLYPH, 0, 0, 0), n, N, value);
  return (double)n / (Now() - start);
}

int main(int argc, char **argv)
{
  const int n_output[] = {1, 2, 4, 10};
  double    width[DEPTH];

  FwBlasTune(argv);
  if (FwStart(1, argv, NULL)) return 1;
  (void)argc;
  for (int l = 0; l < DEPTH; l++) width[l] = WIDTH;
  printf("finwidth: samples per second of processor time, N = %d, L = %d\n%4s%12s%12s%12s\n", WIDTH, DEPTH, "D",
         "brute", "bartlett", "limit");
  for (int k = 0; k < 4; k++) {
    FwMixtureLaw law, limit;

    PetscCallAbort(PETSC_COMM_SELF, FwMixtureLawLimit(0.0, n_output[k], DEPTH, width, &law));
    PetscCallAbort(PETSC_COMM_SELF, FwMixtureLawLimit(0.5, n_output[k], 0, NULL, &limit));
    printf("%4d%12.4g%12.4g%12.4g\n", n_output[k], Rate(&law, FW_MIXTURE_BRUTE), Rate(&law, FW_MIXTURE_BARTLETT),
           Rate(&limit, FW_MIXTURE_BARTLETT));
    PetscCallAbort(PETSC_COMM_SELF, FwMixtureLawDestroy(&law));
    PetscCallAbort(PETSC_COMM_SELF, FwMixtureLawDestroy(&limit));
  }
  printf("normal numbers %.3g per second; a brute sample takes %.3g of them\n", NormalRate(),
         (double)(DEPTH - 1) * WIDTH * WIDTH);
  return FwFinish(0);
}
