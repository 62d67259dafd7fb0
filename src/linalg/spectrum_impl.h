/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the bandwidths of a spectrum share: the object, and the table of functions that each of them fills.
 *
 * Symbols: A_0 = T + Q B, without the readout bias; w = U^T y, h = U^T 1, Z = U^T K_cross.
 */

#include <finwidth/spectrum.h>

#include "matrix_impl.h"

/* Everything at one (T, Q) without the readout bias; fit and square are without the modes that are zero. The forms are
   [n_vector][n_vector], symmetric, between the columns of labels and, where there is a readout bias, the ones as last
   vector; x, x' are two of them, a = A_0^-1 x */
typedef struct {
  double  trace, trace_slope, log_det; /* of A_0^-1 Q B */
  double *fit;                         /* x.A_0^-1 x' */
  double *slope;                       /* a.QB a' */
  double *curve;                       /* (QB a).A_0^-1 QB a' */
  double *square;                      /* a.a' */
} FwSums;

/* Values of Q to predict at: filled by the form are alpha, ones and, for this rank's test examples, latent */
typedef struct {
  double        temperature;
  PetscInt      n;
  const double *order, *weight; /* [n] */
  double       *alpha, *ones;   /* [n][n_label][P] A_0^-1 w, and [n][P] A_0^-1 h or NULL */
  double       *latent; /* [n_test_local] sum over nodes of weight (Q k_** - Q^2 z.A_0^-1 z), zero on entry; or NULL */
  double *mode; /* [P] in its place, of a form that has modes: sum over nodes of weight Q T / (k (T + Q k)), zero on
                     entry, whose product with z^2 is what `outside` leaves of `latent`; or NULL */
} FwNodes;

/* What a readout bias adds at one value of Q */
typedef struct {
  double alpha_sum; /* h.A^-1 w */
  double shrink;    /* 1 / (1 + s^2 h.A_0^-1 h) */
} FwBiasSums;

/* A bandwidth. Functions are collective unless said otherwise. */
typedef struct {
  PetscInt    bandwidth;
  const char *name;
  PetscBool   has_modes; /* B is diagonal */

  /* Bring the kernel to K = U B U^T; consumes it. Sets data, rank, is_singular; gives tr B and |B|_F^2 as `after`. `keep`
     may be NULL, and is for those that can be interrupted */
  PetscErrorCode (*reduce)(FwSpectrum spectrum, FwMatrix *kernel, const FwSpectrumKeep *keep, double after[2]);
  PetscErrorCode (*rotate)(FwSpectrum spectrum, FwMatrix *x); /* x <- U^T x, in place or in a new matrix */
  PetscErrorCode (*freeze)(FwSpectrum spectrum);              /* release U */
  PetscErrorCode (*destroy)(FwSpectrum spectrum);             /* release data; U has been released */

  /* sum over the columns of w.K^+ w, or INFINITY where a form without modes is singular; not collective */
  PetscErrorCode (*inverse)(FwSpectrum spectrum, double *inverse);
  /* Not collective, the same bits on every rank; log_det only where asked for */
  PetscErrorCode (*sum)(FwSpectrum spectrum, double temperature, double order, PetscBool with_log_det, FwSums *sums);
  /* Not collective */
  PetscErrorCode (*predict)(FwSpectrum spectrum, const FwNodes *nodes);
  /* Of a form that has modes: set `outside` */
  void (*split)(FwSpectrum spectrum);

  /* Step by step, not collective: factor C = T + Q B, with log det C unless NULL; then, with the last factorisation, its
     traces, x <- C^-1 x for n columns; and y <- B x */
  PetscErrorCode (*factor)(FwSpectrum spectrum, double temperature, double order, double *log_det);
  PetscErrorCode (*traces)(FwSpectrum spectrum, double *trace, double *trace_slope);
  PetscErrorCode (*solve)(FwSpectrum spectrum, PetscInt n, double x[]);
  PetscErrorCode (*multiply)(FwSpectrum spectrum, PetscInt n, const double x[], double y[]);

  /* B as arrays of numbers, for the file; `create` makes data of the right size from the size of the kernel */
  PetscErrorCode (*create)(FwSpectrum spectrum);
  PetscErrorCode (*arrays)(FwSpectrum spectrum, PetscInt *n_array, double *array[2], size_t size[2]);
} FwSpectrumForm;

/* The functions of a form, which bear these names in its file */
#define FW_SPECTRUM_FUNCTIONS                                                                                   \
  .reduce = Reduce, .rotate = Rotate, .freeze = Freeze, .destroy = Destroy, .inverse = Inverse, .sum = Sum,     \
  .predict = Predict, .factor = StepFactor, .traces = StepTraces, .solve = StepSolve, .multiply = StepMultiply, \
  .create = CreateData, .arrays = Arrays

extern const FwSpectrumForm fw_spectrum_eigen, fw_spectrum_tridiagonal, fw_spectrum_band;

struct FwSpectrumImpl {
  const FwSpectrumForm *form;
  void                 *data; /* of the form: B and, until frozen, U */
  FwGrid                grid; /* borrowed */
  PetscInt              n, rank;
  PetscBool             is_singular, is_frozen;
  double                trace;       /* tr K */
  double                square;      /* |K|_F^2; only while the spectrum is made */
  PetscInt              n_label;     /* columns of labels */
  double               *w, *h;       /* [n_label][P] and [P], one behind the other, as set */
  double                factor;      /* of w */
  double                label2, fit; /* sums over the columns of |w|^2, w.K^+ w */
  double                bias;        /* s^2 */
  double               *work;        /* [11][n_label + 1][n_label + 1] forms of one (T, Q) */
  double  *unseen; /* [n_label + 1][n_label + 1] x.x' of labels and ones in the modes that are zero, the first ones */
  PetscInt n_test; /* P_t */
  PetscInt test_block; /* rank r holds the test examples from r * test_block on */
  PetscInt n_test_local;
  double  *test;        /* [n_test_local][P] Z, from malloc() */
  double  *test_kernel; /* [P_t] */
  double *outside; /* [n_test_local] k_** - z.K^+ z, what of a test example no training example sees; with modes only */
};

/* The form of a bandwidth, or NULL */
const FwSpectrumForm *FwSpectrumFindForm(PetscInt bandwidth);

/* A spectrum without B, labels and test examples */
PetscErrorCode FwSpectrumMake(FwGrid grid, PetscInt n, const FwSpectrumForm *form, FwSpectrum *spectrum);

/* The share of n_test test examples that this rank has; sets n_test, test_block, n_test_local */
void FwSpectrumShareTest(FwSpectrum spectrum, PetscInt n_test);

/* Room for this rank's share of them; collective */
PetscErrorCode FwSpectrumAllocateTest(FwSpectrum spectrum);

/* Set `outside` from the test examples, where the form has modes */
PetscErrorCode FwSpectrumSplitTest(FwSpectrum spectrum);

/* Add weight Q k_** to `latent` of this rank's test examples */
void FwSpectrumAddPrior(FwSpectrum spectrum, double weight_order, double latent[]);

/* Variances of a form without modes, [P_t] for a mean Q of `order`, must not be round-off of the kernel they are left from */
PetscErrorCode FwSpectrumCheckVariance(FwSpectrum spectrum, double order, const double variance[]);

/* From A_0^-1 w to A^-1 w, in place, with sums for each column of labels; `ones`, A_0^-1 h, is NULL where there
   is no readout bias */
void FwSpectrumAddBias(FwSpectrum spectrum, double alpha[], const double ones[], FwBiasSums sums[]);

/* [P_t] on every rank from each rank's share, [n_test_local]. Collective */
PetscErrorCode FwSpectrumShare(FwSpectrum spectrum, const double local[], double all[]);

/* T = 0 needs a kernel of full rank */
PetscErrorCode FwSpectrumCheckSolvable(FwSpectrum spectrum, double temperature);

/* tr K and |K|_F^2 from the lower triangle; an error where the matrix holds a NaN. Collective */
PetscErrorCode FwMatrixInvariants(FwMatrix a, double *trace, double *square);

/* Room for n_label columns of labels; what was there is lost */
PetscErrorCode FwSpectrumAllocateLabels(FwSpectrum spectrum, PetscInt n_label);

/* Set `unseen` from labels and ones */
void FwSpectrumSumUnseen(FwSpectrum spectrum);

/* Number of vectors that a form's sums are about: the columns of labels, and the ones where there is a readout bias */
PetscInt FwSpectrumVectors(FwSpectrum spectrum);

/* pair[a][b] = x_a.y_b of n_vector vectors of length n; only for symmetric results */
void FwSumPairs(PetscInt n, PetscInt n_vector, const double x[], const double y[], double pair[]);

/* A rotation keeps the trace and the sum of squares: those of B are `after` */
PetscErrorCode FwSpectrumCheckInvariants(FwSpectrum spectrum, const double after[2]);
