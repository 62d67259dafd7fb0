/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The honest experiment: every weight of every layer, multiplied from the output side.
 *
 * Of the product so far, D x N_l, only a lower triangular root A and an orthonormal basis V of its rows are kept: A V W =
 * A F V' with F the triangular factor of V W, so that nothing is lost at any depth.
 */

#include "mixture_impl.h"

#include <finwidth/stop.h>

#include <math.h>
#include <petscblaslapack.h>

/* Y [n_in, r] = W^T V, V [n_out, r], columns first; the weights W [n_out, n_in] of a layer are drawn in panels that stay
   in the cache */
static PetscErrorCode Propagate(FwStream weights, PetscInt n_in, PetscInt n_out, PetscInt r, const double v[],
                                double y[])
{
  enum { PANEL = 1 << 14, PANELS_UNASKED = 64 };
  const PetscInt     width = PetscClipInterval(PANEL / n_in, 1, n_out);
  const PetscBLASInt rows = (PetscBLASInt)n_in, columns = (PetscBLASInt)r, leading = (PetscBLASInt)n_out;
  double            *panel;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(width * n_in, &panel));
  for (PetscInt j = 0; j < n_out; j += width) {
    const PetscBLASInt inner = (PetscBLASInt)PetscMin(width, n_out - j);
    const double       one = 1.0, old = j > 0 ? 1.0 : 0.0;

    if (j / width % PANELS_UNASKED == PANELS_UNASKED - 1)
      PetscCall(FwStopLeave(PETSC_COMM_SELF, "within a sample")); /* of wide layers it takes half a minute */
    FwStreamNormalBulk(weights, (uint64_t)j * (uint64_t)n_in, (size_t)(inner * rows), panel);
    PetscCallBLAS("BLASgemm",
                  BLASgemm_("N", "N", &rows, &columns, &inner, &one, panel, &rows, v + j, &leading, &old, y, &rows));
  }
  PetscCall(PetscFree(panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Y = V F^T: V [n, k] orthonormal in place of Y [n, r], F [D, D] with diagonal >= 0, filled up with zeros */
static PetscErrorCode Orthonormalise(PetscInt n_output, PetscInt n, PetscInt r, double y[], double f[])
{
  const PetscBLASInt rows = (PetscBLASInt)n, columns = (PetscBLASInt)r, k = PetscMin(rows, columns);
  const PetscBLASInt room = 32 * columns;
  PetscBLASInt       info;
  double            *tau, *work;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(k, &tau, room, &work));
  PetscCall(PetscArrayzero(f, n_output * n_output));
  PetscCallBLAS("LAPACKgeqrf", LAPACKgeqrf_(&rows, &columns, y, &rows, tau, work, &room, &info));
  for (PetscInt j = 0; j < k; j++)
    for (PetscInt i = j; i < r; i++) f[i * n_output + j] = y[i * n + j];
  PetscCallBLAS("LAPACKorgqr", LAPACKorgqr_(&rows, &k, &k, y, &rows, tau, work, &room, &info));
  for (PetscInt j = 0; j < k; j++) {
    if (f[j * n_output + j] >= 0.0) continue;
    for (PetscInt i = j; i < r; i++) f[i * n_output + j] *= -1.0;
    for (PetscInt i = 0; i < n; i++) y[j * n + i] *= -1.0;
  }
  PetscCall(PetscFree2(tau, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwStream Weights(uint64_t seed, uint64_t sample, PetscInt layer)
{
  return FwStreamCreate(seed, FW_RANDOM_MIXTURE_WEIGHT, sample, (uint64_t)layer, 0);
}

PetscErrorCode FwBruteCreate(const FwMixtureLaw *law, uint64_t seed, uint64_t sample, double x[], double m[],
                             FwBrute *brute)
{
  const PetscInt D      = law->n_output;
  PetscInt       widest = D;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < law->n_width; l++) widest = PetscMax(widest, (PetscInt)law->width[l]);
  *brute =
    (FwBrute){.law = law, .seed = seed, .sample = sample, .layer = law->n_width, .n = D, .rank = D, .x = x, .m = m};
  PetscCall(PetscMalloc1(widest * D, &brute->basis));
  PetscCall(PetscMalloc1(widest * D, &brute->next));
  PetscCall(PetscMalloc1(D * D, &brute->factor));
  PetscCall(PetscArrayzero(brute->basis, D * D));
  PetscCall(PetscArrayzero(m, D * D));
  for (PetscInt i = 0; i < D; i++) x[i] = 0.0, m[i * D + i] = brute->basis[i * D + i] = 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBruteStep(FwBrute *brute)
{
  const PetscInt D = brute->law->n_output, n = (PetscInt)brute->law->width[brute->layer - 1];
  double        *old = brute->basis;

  PetscFunctionBegin;
  PetscCall(Propagate(Weights(brute->seed, brute->sample, brute->layer), n, brute->n, brute->rank, old, brute->next));
  for (PetscInt i = 0; i < n * brute->rank; i++) brute->next[i] /= sqrt((double)n);
  PetscCall(Orthonormalise(D, n, brute->rank, brute->next, brute->factor));
  FwRootAppend(D, brute->x, brute->m, brute->factor);
  brute->basis = brute->next;
  brute->next  = old;
  brute->n     = n;
  brute->rank  = PetscMin(brute->rank, n);
  brute->layer--;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBruteFirstLayer(const FwBrute *brute, PetscInt n_component, double row[])
{
  PetscFunctionBegin;
  PetscCall(Propagate(Weights(brute->seed, brute->sample, 0), n_component, brute->n, brute->rank, brute->basis, row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBruteDestroy(FwBrute *brute)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(brute->basis));
  PetscCall(PetscFree(brute->next));
  PetscCall(PetscFree(brute->factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBruteDraw(const FwMixtureLaw *law, uint64_t seed, uint64_t sample, double x[], double m[])
{
  FwBrute brute;

  PetscFunctionBegin;
  PetscCall(FwBruteCreate(law, seed, sample, x, m, &brute));
  while (brute.layer > 0) PetscCall(FwBruteStep(&brute));
  PetscCall(FwBruteDestroy(&brute));
  PetscFunctionReturn(PETSC_SUCCESS);
}
