#pragma once

/** @file
 * What the bandwidths of a spectrum share: the object, and the table of functions that each of them fills.
 *
 * Symbols: A_0 = T + Q B, without the readout bias; w = U^T y, h = U^T 1, Z = U^T K_cross.
 */

#include <finwidth/spectrum.h>

#include "matrix_impl.h"

/* Products of the labels (w) and the ones (h) with each other */
enum { WW, WH, HH, N_PAIR };

/* Everything at one (T, Q) without the readout bias; x, x' are w or h, a = A_0^-1 x */
typedef struct {
  double trace, trace_slope, log_det; /* of A_0^-1 Q B */
  double fit[N_PAIR];                 /* x.A_0^-1 x' */
  double slope[N_PAIR];               /* a.QB a' */
  double curve[N_PAIR];               /* (QB a).A_0^-1 QB a' */
  double square[N_PAIR];              /* a.a' */
} FwSums;

/* Values of Q to predict at: filled by the form are alpha, ones and, for this rank's test examples, explained */
typedef struct {
  double        temperature;
  PetscInt      n;
  const double *order, *weight; /* [n] */
  double       *alpha, *ones;   /* [n][P] A_0^-1 w, and A_0^-1 h or NULL */
  double       *explained;      /* [n_test_local] sum over nodes of weight Q^2 z.A_0^-1 z, zero on entry; or NULL */
} FwNodes;

/* A bandwidth. Functions are collective unless said otherwise. */
typedef struct {
  PetscInt    bandwidth;
  const char *name;

  /* Bring the kernel to K = U B U^T; consumes it. Sets data, rank, is_singular; gives tr B and |B|_F^2 */
  PetscErrorCode (*reduce)(FwSpectrum spectrum, FwMatrix *kernel, double *trace, double *square);
  PetscErrorCode (*rotate)(FwSpectrum spectrum, FwMatrix *x); /* x <- U^T x, in place or in a new matrix */
  PetscErrorCode (*freeze)(FwSpectrum spectrum);              /* release U */
  PetscErrorCode (*destroy)(FwSpectrum spectrum);             /* release data; U has been released */

  /* w.K^+ w, or INFINITY where a form without modes is singular; not collective */
  PetscErrorCode (*inverse)(FwSpectrum spectrum, double *inverse);
  /* Not collective, the same bits on every rank; log_det only where asked for */
  PetscErrorCode (*sum)(FwSpectrum spectrum, double temperature, double order, PetscBool with_log_det, FwSums *sums);
  /* Not collective */
  PetscErrorCode (*predict)(FwSpectrum spectrum, const FwNodes *nodes);

  /* B as arrays of numbers, for the file; `create` makes data of the right size from the size of the kernel */
  PetscErrorCode (*create)(FwSpectrum spectrum);
  PetscErrorCode (*arrays)(FwSpectrum spectrum, PetscInt *n_array, double *array[2], size_t size[2]);
} FwSpectrumForm;

extern const FwSpectrumForm fw_spectrum_eigen, fw_spectrum_tridiagonal, fw_spectrum_band;

struct FwSpectrumImpl {
  const FwSpectrumForm *form;
  void                 *data; /* of the form: B and, until frozen, U */
  FwGrid                grid; /* borrowed */
  PetscInt              n, rank;
  PetscBool             is_singular, is_frozen;
  double                trace;       /* tr K */
  double               *w, *h;       /* [P] each, as set */
  double                factor;      /* of w */
  double                label2, fit; /* |w|^2, w.K^+ w */
  double                bias;        /* s^2 */
  PetscInt              n_test;      /* P_t */
  PetscInt              test_block;  /* rank r holds the test examples from r * test_block on */
  PetscInt              n_test_local;
  double               *test;        /* [n_test_local][P] Z, from malloc() */
  double               *test_kernel; /* [P_t] */
};

/* The form of a bandwidth, or NULL */
const FwSpectrumForm *FwSpectrumFindForm(PetscInt bandwidth);

/* A spectrum without B, labels and test examples */
PetscErrorCode FwSpectrumMake(FwGrid grid, PetscInt n, const FwSpectrumForm *form, FwSpectrum *spectrum);

/* The share of n_test test examples that this rank has; sets n_test, test_block, n_test_local */
void FwSpectrumShareTest(FwSpectrum spectrum, PetscInt n_test);

/* Room for this rank's share of them; collective */
PetscErrorCode FwSpectrumAllocateTest(FwSpectrum spectrum);

/* T = 0 needs a kernel of full rank */
PetscErrorCode FwSpectrumCheckSolvable(FwSpectrum spectrum, double temperature);

/* tr K and |K|_F^2 from the lower triangle; an error where the matrix holds a NaN. Collective */
PetscErrorCode FwMatrixInvariants(FwMatrix a, double *trace, double *square);

/* x.y for each pair of w (the first [n]) and h (the second, only where n_vector is 2; zero otherwise) */
void FwSumPairs(PetscInt n, PetscInt n_vector, const double x[], const double y[], double pair[N_PAIR]);
