/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The step of a sampler, tuned to an acceptance probability by dual averaging.
 *
 * @source Hoffman & Gelman, JMLR 15 (2014) 1593, section 3.2
 */

/** Plain doubles, so that a chain packs them. */
typedef struct {
  double centre;      /**< mu: log of ten times the first step */
  double n, error;    /**< moves so far, and the averaged shortfall of the acceptance */
  double trial, mean; /**< log of the step of the next move, and of the averaged one */
} FwTuning;

/** Begin anew from a step. */
void FwTuningStart(FwTuning *tuning, double step);

/** Learn from the acceptance probability of a move made with the trial step. */
void FwTuningLearn(FwTuning *tuning, double probability, double target);

/** The step to try next. */
double FwTuningTrial(const FwTuning *tuning);

/** The averaged step: the one to use when tuning is over. */
double FwTuningStep(const FwTuning *tuning);
