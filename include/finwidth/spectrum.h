/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * One decomposition of a kernel that serves every temperature and every order parameter.
 *
 * With K a P x P kernel, y the labels, 1 the vector of ones and s^2 the variance of a readout bias, everything that the
 * theory asks for is a function of the resolvent of
 *
 *     A(T, Q) = T + s^2 1 1^T + Q K.
 *
 * A spectrum brings K to a form K = U B U^T once, with B of bandwidth 64, 1 or 0, and carries y, 1 and the test rows
 * along; each (T, Q) is then a solve with the narrow matrix T + Q B. The form is private: callers see traces, quadratic
 * forms and predictions, never eigenvalues by index.
 *
 * | bandwidth | made by              | operations                | kernels of memory | resolvent | test example |
 * | --------- | -------------------- | ------------------------- | ----------------- | --------- | ------------ |
 * | 64        | block Householder    | 4/3 P^3                   | 1                 | 14 P 64^2 | 3 P 64       |
 * | 1         | pdsytrd              | 4/3 P^3, half from memory | 1                 | 20 P      | 5 P          |
 * | 0         | pdsyevd (one rank: dsyevd) | 10/3 P^3            | 5 (one rank: 3)   | 10 P      | 3 P          |
 *
 * The last two columns are operations at each (T, Q). Bandwidth 64 is cheapest to make and dearest to use;
 * FwSpectrumChoose() weighs the three.
 *
 * With bandwidth 0, modes of K below 8 P eps times the largest count as zero: round-off there would be divided by tiny
 * temperatures. The other two have no modes to look at: for a rank-deficient kernel they are only right where T is well
 * above the round-off of K, and FwSpectrumChoose() takes 0 below T = 1e4 P eps tr K / P,
 * and no lower than 1e-10 tr K / P.
 *
 * Life cycle: Create, SetLabels, SetTest (optional), Freeze (optional), then only reads; Destroy. Or Load, which stands
 * for the first four.
 */

#include <finwidth/matrix.h>

typedef struct FwSpectrumImpl *FwSpectrum;

/** Traces and quadratic forms at one (T, Q), with M = A^-1 Q K. The derivatives are in u = log Q. With several columns
 *  of labels, forms in y are sums over the columns. */
typedef struct {
  double trace;       /**< tr M */
  double trace_slope; /**< d tr M / du = tr M - tr M^2 */
  double fit;         /**< y^T A^-1 y */
  double fit_slope;   /**< -d fit / du = y^T M A^-1 y, >= 0 */
  double fit_curve;   /**< y^T M M A^-1 y, >= 0; d fit_slope / du = fit_slope - 2 fit_curve */
  double residual2;   /**< |A^-1 y|^2 */
  double trace_bias;  /**< s^2 1^T A^-1 1 */
  double log_det;     /**< log det A; only where asked for */
  double fit_least;   /**< lim y^T A^-1 y for Q -> infinity: what no Q fits, for labels outside the range of K of order
                         |y|^2 / T; zero where the bandwidth is not 0 */
  double fit_above;   /**< fit - fit_least, without the round-off of the two */
} FwResolvent;

/** What bounds on the order parameter are made of. */
typedef struct {
  PetscInt n_label, n_test; /**< columns of labels, P_t */
  PetscInt n, rank;         /**< P, and the number of modes of K that are not zero (P where the bandwidth is not 0) */
  double   trace;           /**< tr K */
  double   label2;          /**< |y|^2, summed over the columns of labels */
  double
    inverse; /**< y^T K^+ y, summed likewise, over the modes that are not zero; INFINITY where the bandwidth is not 0 and K is
                         singular */
} FwSpectrumBounds;

/** The forms in y of FwResolvent between each two columns of labels; symmetric, [n_label][n_label]. */
typedef struct {
  double *fit;       /**< y_c^T A^-1 y_d */
  double *fit_least; /**< its limit for Q -> infinity, as in FwResolvent */
  double *fit_above; /**< fit - fit_least */
  double *fit_slope; /**< y_c^T M A^-1 y_d */
  double *fit_curve; /**< y_c^T M M A^-1 y_d */
  double *residual2; /**< y_c^T A^-2 y_d */
} FwLabelForms;

/** Averages of the Gaussian-process posterior f | Q over weights on several values of Q. */
typedef struct {
  double *mean;    /**< [P_t] E[m_Q] */
  double *within;  /**< [P_t] E[v_Q], latent variance; NULL where no variance is wanted */
  double *between; /**< [P_t] Var[m_Q]; zero for one value of Q; NULL together with `within` */
} FwPosterior;

/** Values of Q with weights that sum to one. */
typedef struct {
  PetscInt      n;
  const double *order, *weight; /**< [n] */
} FwMixture;

/** What a spectrum will be used for: all that the choice of a bandwidth rests on. */
typedef struct {
  double    n, n_test;          /**< P, P_t */
  double    n_evaluation;       /**< number of (T, Q) at which FwSpectrumResolve() will be called */
  double    n_prediction;       /**< number of (T, Q) in calls of FwSpectrumPredict() */
  PetscBool with_variance;      /**< whether those want the variances of test examples too */
  double    temperature_lowest; /**< in units of tr K / P; anything above 1e4 P eps is the same */
} FwSpectrumUse;

/** What a spectrum of one bandwidth costs. */
typedef struct {
  double flops;         /**< of the decomposition, over all ranks */
  double decomposition; /**< [s] until labels and test examples are set */
  double use;           /**< [s] of the evaluations and predictions */
  double kernels;       /**< memory of a rank at the peak, in units of its share of the kernel */
} FwSpectrumCost;

/** Where an unfinished decomposition is kept. Only bandwidth 64 has steps between which it can be left: the others are one
 *  call of a library. */
typedef struct {
  const char *path;     /**< file of the partly reduced kernel, 4 P^2 bytes */
  const char *digest;   /**< text that names data and kernel, as the caller will know them when it goes on */
  double      interval; /**< [s] from one write to the next, or twenty times what a write takes where that is more */
} FwSpectrumKeep;

/** Decompose a kernel.
 *
 * @collective{kernel}
 * @param[in,out] kernel     P x P, lower triangle; consumed, the handle set to NULL
 * @param[in]     bandwidth  64, 1 or 0
 * @param[out]    spectrum   release with FwSpectrumDestroy()
 * @error FW_ERR_NUMERICAL  a NaN in the kernel, or a negative mode beyond round-off
 * @error FW_ERR_MEMORY     no room for the workspace
 * @cost see the table above
 */
PetscErrorCode FwSpectrumCreate(FwMatrix *kernel, PetscInt bandwidth, FwSpectrum *spectrum);

/** As FwSpectrumCreate(), and keep what is done in a file: from time to time, and when asked to stop (stop.h).
 *
 * The file stays when the decomposition has ended: removing it is the caller's. Nothing in it depends on the number of
 * ranks, and each of its tiles has a checksum. Where it cannot be written, the decomposition goes on with a warning.
 *
 * @collective{kernel}
 * @param[in]  keep      borrowed for the call; NULL for none, and then no request to stop is heard
 * @param[out] spectrum  release with FwSpectrumDestroy()
 * @error FW_ERR_STOPPED  asked to stop; the file is written
 * @error FW_ERR_FILE     asked to stop, and the file cannot be written
 */
PetscErrorCode FwSpectrumCreateKept(FwMatrix *kernel, PetscInt bandwidth, const FwSpectrumKeep *keep,
                                    FwSpectrum *spectrum);

/** Go on from such a file, on any number of ranks: on the same number, to the same bits.
 *
 * @collective{grid}
 * @param[out] spectrum  as FwSpectrumCreateKept() would have made it; NULL where there is no such file
 * @error FW_ERR_FILE     another kernel, or a damaged file
 * @error FW_ERR_STOPPED  as above
 */
PetscErrorCode FwSpectrumResume(FwGrid grid, const FwSpectrumKeep *keep, FwSpectrum *spectrum);

/** The bandwidth that a spectrum was made with. Not collective. */
PetscErrorCode FwSpectrumGetBandwidth(FwSpectrum spectrum, PetscInt *bandwidth);

/** Set the labels, n_label >= 1 columns of them (outputs of a network), and the variance s^2 of the readout bias.
 *
 * @collective{spectrum}
 * @param[in] y  [n_label][P] on every rank
 * @error FW_ERR_NUMERICAL  their squares overflow
 */
PetscErrorCode FwSpectrumSetLabels(FwSpectrum spectrum, PetscInt n_label, const double y[], double bias);

/** Multiply the labels by a factor, and change the variance of the readout bias; also after Freeze.
 *
 * Factors do not add up: each is of the labels as they were set. Not collective, but with the same numbers on all
 * ranks.
 */
PetscErrorCode FwSpectrumScaleLabels(FwSpectrum spectrum, double factor, double bias);

/** Set the test examples.
 *
 * @collective{spectrum}
 * @param[in,out] cross     P x P_t kernel between training and test examples; consumed, the handle set to NULL
 * @param[in]     diagonal  [P_t] kernel of each test example with itself, on every rank (copied)
 */
PetscErrorCode FwSpectrumSetTest(FwSpectrum spectrum, FwMatrix *cross, const double diagonal[]);

/** Release U, which is as large as the kernel: from here on neither labels nor test examples can be set. Collective. */
PetscErrorCode FwSpectrumFreeze(FwSpectrum spectrum);

/** The grid a spectrum lives on. Borrowed. */
FwGrid FwSpectrumGrid(FwSpectrum spectrum);

/** Sizes and bounds. Not collective; after SetLabels. */
PetscErrorCode FwSpectrumGetBounds(FwSpectrum spectrum, FwSpectrumBounds *bounds);

/** Evaluate traces and quadratic forms; the same bits on every rank. Not collective.
 *
 * @param[in] temperature   T >= 0; at T = 0 the kernel must have full rank
 * @param[in] order         Q > 0
 * @param[in] with_log_det  fill `log_det` too
 * @error FW_ERR_NUMERICAL  T = 0 and K is singular; or, where the bandwidth is not 0, T is below the round-off of K and
 *                          T + Q K comes out as not positive definite
 */
PetscErrorCode FwSpectrumResolve(FwSpectrum spectrum, double temperature, double order, PetscBool with_log_det,
                                 FwResolvent *resolvent);

/** FwSpectrumResolve(), and the forms in y column by column; the arrays of `forms` are the caller's.
 *
 * A posterior over a D x D matrix Q = O diag(q) O^T of order parameters needs, in the eigenbasis, only these at each q_d:
 * output d of O^T Y has (O^T fit O)_dd at (T, q_d).
 */
PetscErrorCode FwSpectrumResolveForms(FwSpectrum spectrum, double temperature, double order, PetscBool with_log_det,
                                      FwResolvent *resolvent, FwLabelForms *forms);

/** The posterior at the test examples for each of n values of Q and each column of labels.
 *
 * @collective{spectrum}
 * @param[out] mean      [n][n_label][P_t] on every rank: k*^T A^-1 y_c, k* the kernel Q K_cross with the readout bias
 * @param[out] variance  [n][P_t], the same for each column; NULL where it is not wanted
 * @error as for FwSpectrumResolve()
 */
PetscErrorCode FwSpectrumPredictEach(FwSpectrum spectrum, double temperature, PetscInt n, const double order[],
                                     double mean[], double variance[]);

/** Average the posterior at the test examples, for one column of labels, over each of several mixtures.
 *
 * Each rank works on its share of the test examples, and goes through them once for all mixtures. Means that lie close
 * together, as those of the nodes of one average do, cost little more than a single one.
 *
 * @collective{spectrum}
 * @param[out] posterior  [n_mixture] arrays of the caller, filled on every rank; variances in all or in none
 * @error as for FwSpectrumResolve()
 */
PetscErrorCode FwSpectrumPredict(FwSpectrum spectrum, double temperature, PetscInt n_mixture, const FwMixture mixture[],
                                 FwPosterior posterior[]);

/** Estimate a spectrum of one bandwidth from constants measured once (docs/scaling.md): the same everywhere and at any
 *  load. Not collective. */
PetscErrorCode FwSpectrumEstimate(FwGrid grid, const FwSpectrumUse *use, PetscInt bandwidth, FwSpectrumCost *cost);

/** The bandwidth with the least estimated time, and its estimate. Not collective. */
PetscErrorCode FwSpectrumChoose(FwGrid grid, const FwSpectrumUse *use, PetscInt *bandwidth, FwSpectrumCost *cost);

/** Write a spectrum, with labels and test examples, to an HDF5 file: under a temporary name, then renamed.
 *
 * @collective{spectrum}
 * @param[in] path    replaced where it exists
 * @param[in] digest  text that names data and kernel, as the caller will know them when the file is read
 * @error FW_ERR_FILE  the file cannot be written
 */
PetscErrorCode FwSpectrumSave(FwSpectrum spectrum, const char path[], const char digest[]);

/** Read a spectrum, on any number of ranks; it is frozen.
 *
 * @collective{grid}
 * @error FW_ERR_FILE  no such file, another digest, another version, or a damaged piece (every one has a checksum)
 */
PetscErrorCode FwSpectrumLoad(FwGrid grid, const char path[], const char digest[], FwSpectrum *spectrum);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwSpectrumDestroy(FwSpectrum *spectrum);
