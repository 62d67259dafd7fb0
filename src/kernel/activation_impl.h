/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what one activation provides, and how points are laid out for the maps.
 *
 * Symbols: a, b, c the covariances <u u>, <u v>, <v v> of the two pre-activations, rho = b / sqrt(a c) their
 * correlation.
 */

#include <finwidth/activation.h>
#include <finwidth/vector.h>

#include "mehler.h"

/** Number of FwMap values. */
enum { FW_MAP_COUNT = FW_MAP_ROW_VARIANCE + 1 };

/** A variance below this counts as zero, so that 1 / sqrt(a c) cannot overflow; sqrt(a) is then below 1e-140. */
#define FW_VARIANCE_TINY 1e-280
/** A variance above this would let a c overflow. */
#define FW_VARIANCE_HUGE 1e150

/** Columns of numbers about consecutive points, one entry per point. */
typedef struct {
  const double *variance; /**< a */
  const double *root;     /**< sqrt a */
  const double *scale;    /**< whatever the activation's `scale` makes of a; 1 / sqrt(a), or 0, where it has none */
} FwPointView;

/** One map in closed form: out[i] from row i, b[i] and the one point of `column`. `b` and `out` do not overlap. */
typedef void FwClosedMap(PetscInt n, FwPointView row, FwPointView column, const double *b, double *out);

/** phi and phi' at n points; the arrays do not overlap. Vectorised, same bits at every vector width. */
typedef void FwApply(PetscInt n, const double *z, double *value, double *slope);

/** What one activation provides. Either `map` and the averages are given, or `bandwidth` and all else is computed. */
struct FwActivationImpl {
  const char *name;
  PetscBool   is_odd;
  FwApply    *apply;                          /**< phi and phi' at many points */
  FwScalar   *evaluate;                       /**< phi, phi' and phi'' at one point */
  double      bandwidth;                      /**< smooth: frequency beyond which phi's spectrum is below 1e-16; or 0 */
  double (*scale)(double a);                  /**< NULL: 1 / sqrt(a) */
  double (*mean)(double a);                   /**< NULL: zero for an odd activation, else computed */
  double (*diagonal[FW_MAP_COUNT])(double a); /**< k, k_b, k_a at b = c = a; NULL: computed */
  FwClosedMap *map[FW_MAP_COUNT];             /**< NULL: by the Mehler series, or none */
};

/** A set of points: their variances, and what the maps need per point. */
struct FwPointsImpl {
  FwActivation activation;
  PetscInt     n_point;
  PetscBool    has_slopes;
  double      *variance, *root, *scale; /* shape [n_point], owned */
  FwMehler     series;                  /* NULL in closed form */
};

extern const struct FwActivationImpl FwActivation_Erf, FwActivation_Relu, FwActivation_LeakyRelu, FwActivation_Linear,
  FwActivation_Quadratic, FwActivation_Sign, FwActivation_Tanh, FwActivation_Sin, FwActivation_Gelu,
  FwActivation_Softplus, FwActivation_Hardtanh;

/** The correlation b * inverse with inverse = 1 / sqrt(a c), clipped to [-1, 1].
 *
 * Within 8 rounding errors of +-1 it is +-1: repeated inputs are told from nearly repeated ones only down to rounding,
 * and the angle between them, acos rho, would turn 1e-16 into 1e-8.
 */
FW_VECTOR_HELPER double Correlation(double b, double inverse)
{
  const double edge = 1.0 - 8.0 * 0x1p-52, rho = b * inverse;
  const double upper = rho >= edge ? 1.0 : rho;

  return upper <= -edge ? -1.0 : upper;
}
