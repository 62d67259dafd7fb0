#pragma once

/** @file
 * One decomposition of a kernel that serves every temperature and every order parameter.
 *
 * With K a P x P kernel, y the labels, 1 the vector of ones and s^2 the variance of a readout bias, everything that the
 * theory asks for is a function of the resolvent of
 *
 *     A(T, Q) = T + s^2 1 1^T + Q K.
 *
 * A spectrum brings K to a form K = U B U^T once (B diagonal at present) and carries y, 1 and the test rows along; each
 * (T, Q) then costs O(P), or O(P P_t) where test examples are asked for. The form is private: callers see traces,
 * quadratic forms and predictions, never eigenvalues by index.
 *
 * Modes of K below 8 P eps times the largest count as zero: round-off there would be divided by tiny temperatures.
 *
 * Life cycle: Create, SetLabels, SetTest (optional); then only reads; Destroy.
 */

#include <finwidth/matrix.h>

typedef struct FwSpectrumImpl *FwSpectrum;

/** Traces and quadratic forms at one (T, Q), with M = A^-1 Q K. The derivatives are in u = log Q. */
typedef struct {
  double trace;       /**< tr M */
  double trace_slope; /**< d tr M / du = tr M - tr M^2 */
  double fit;         /**< y^T A^-1 y */
  double fit_slope;   /**< -d fit / du = y^T M A^-1 y, >= 0 */
  double fit_curve;   /**< y^T M M A^-1 y, >= 0; d fit_slope / du = fit_slope - 2 fit_curve */
  double residual2;   /**< |A^-1 y|^2 */
  double trace_bias;  /**< s^2 1^T A^-1 1 */
  double log_det;     /**< log det A; only where asked for */
} FwResolvent;

/** What bounds on the order parameter are made of. */
typedef struct {
  PetscInt n, rank; /**< P, and the number of modes of K that are not zero */
  double   trace;   /**< tr K */
  double   label2;  /**< |y|^2 */
  double   inverse; /**< y^T K^+ y over the modes that are not zero */
} FwSpectrumBounds;

/** Averages of the Gaussian-process posterior f | Q over weights on several values of Q. */
typedef struct {
  double *mean;    /**< [P_t] E[m_Q] */
  double *within;  /**< [P_t] E[v_Q], latent variance */
  double *between; /**< [P_t] Var[m_Q]; zero for one value of Q */
} FwPosterior;

/** Decompose a kernel.
 *
 * @collective{kernel}
 * @param[in,out] kernel    P x P, lower triangle; consumed, the handle set to NULL
 * @param[out]    spectrum  release with FwSpectrumDestroy()
 * @error FW_ERR_NUMERICAL  a NaN in the kernel, or a negative mode beyond round-off
 * @cost about 9 P^3 flops over the ranks, two kernels of memory and the workspace of pdsyevd
 */
PetscErrorCode FwSpectrumCreate(FwMatrix *kernel, FwSpectrum *spectrum);

/** Set the labels y, [P] on every rank, and the variance s^2 of the readout bias. Collective. */
PetscErrorCode FwSpectrumSetLabels(FwSpectrum spectrum, const double y[], double bias);

/** Set the test examples.
 *
 * @collective{spectrum}
 * @param[in,out] cross     P x P_t kernel between training and test examples; consumed, the handle set to NULL
 * @param[in]     diagonal  [P_t] kernel of each test example with itself, on every rank (copied)
 */
PetscErrorCode FwSpectrumSetTest(FwSpectrum spectrum, FwMatrix *cross, const double diagonal[]);

/** Sizes and bounds. Not collective; after SetLabels. */
PetscErrorCode FwSpectrumGetBounds(FwSpectrum spectrum, FwSpectrumBounds *bounds);

/** Evaluate traces and quadratic forms; the same bits on every rank. Not collective.
 *
 * @param[in] temperature   T >= 0; at T = 0 the kernel must have full rank
 * @param[in] order         Q > 0
 * @param[in] with_log_det  fill `log_det` too: as dear as all the rest
 * @error FW_ERR_NUMERICAL  T = 0 and K is singular
 */
PetscErrorCode FwSpectrumResolve(FwSpectrum spectrum, double temperature, double order, PetscBool with_log_det,
                                 FwResolvent *resolvent);

/** Average the posterior at the test examples over n values of Q with weights that sum to one.
 *
 * @collective{spectrum}
 * @param[out] posterior  arrays of the caller, filled on every rank
 * @cost O(n P P_t) over the ranks
 */
PetscErrorCode FwSpectrumPredict(FwSpectrum spectrum, double temperature, PetscInt n, const double order[],
                                 const double weight[], FwPosterior *posterior);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwSpectrumDestroy(FwSpectrum *spectrum);
