/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Deep random networks that answer: with x_0 = x,
 *
 *     x_l = phi_l( g_l W_l x_{l-1} / sqrt(d_{l-1}) ),   l = 1 .. L,        z = g_a a . x_L / sqrt(d_L),
 *
 * every entry of W_l and a a standard normal number. Weights are drawn while they are used, some rows of W_l at a time, and
 * never kept: a teacher of width 10^4 would take 0.8 GB a layer.
 *
 * Products are made block of rows by block of rows, so that an answer has the same bits on any number of ranks.
 */

#include <finwidth/activation.h>
#include <finwidth/design.h>

/** One architecture. The arrays are borrowed. */
typedef struct {
  PetscInt        depth;        /**< L, 0 for z = g_a a . x / sqrt(d) */
  PetscInt        d;            /**< inputs d_0 */
  const PetscInt *width;        /**< [L] d_1 .. d_L */
  const PetscInt *activation;   /**< [L] FwActivationType */
  const double   *gain;         /**< [L] g_l; inputs of another variance are a gain of the first layer */
  double          readout_gain; /**< g_a */
  uint64_t        seed;
} FwDeepTeacher;

/** Answers of one teacher to all inputs of a design.
 *
 * @collective{comm of the design}
 * @param[in]  instance  which draw of the weights
 * @param[out] z         [local rows]
 * @error FW_ERR_STOPPED  asked to stop (looked at between chunks of rows)
 * @cost 2 n sum d_l d_{l-1} operations, and the weights of each layer drawn once per chunk of blocks
 */
PetscErrorCode FwDeepTeacherAnswer(MPI_Comm comm, const FwDeepTeacher *teacher, uint64_t instance, FwDesign design,
                                   double z[]);

/** Operations of FwDeepTeacherAnswer() for each input. Not collective. */
double FwDeepTeacherFlops(const FwDeepTeacher *teacher);

/** Readout a of a teacher, [d_L]: at depth 0 the very direction that is to be learnt. Not collective. */
PetscErrorCode FwDeepTeacherReadout(const FwDeepTeacher *teacher, uint64_t instance, double a[]);
