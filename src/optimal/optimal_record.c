/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What is known of a point, as arrays of the group /optimal.
 */

#include <finwidth/optimal.h>

#include <math.h>

/* Arrays over layers; a linear model has none, and a scan fills its place with NaN */
static PetscErrorCode RecordLayers(const FwReduction *r, FwRecord record)
{
  const FwShape layers = {1, {"layer"}, {r->depth}}, levels = {1, {"level"}, {r->depth + 1}};

  PetscFunctionBegin;
  PetscCall(FwRecordReals(record, "sigma", &levels, r->sigma, "1", "second moment of a unit, from the inputs on"));
  PetscCall(FwRecordReals(record, "shared_kernel", &levels, r->mean, "1", "part of it that all inputs share"));
  if (r->depth) {
    PetscCall(FwRecordReals(record, "rho", &layers, r->rho, "1", "linear share of a layer"));
    PetscCall(FwRecordReals(record, "epsilon", &layers, r->epsilon, "1", "variance that a layer adds"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordReduction(const FwReduction *r, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(RecordLayers(r, record));
  PetscCall(FwRecordReal(record, "eta", r->eta, "1", "signal of the equivalent linear model"));
  PetscCall(FwRecordReal(record, "gamma", r->gamma, "1", "variance of its noise: the nonlinear part of the network"));
  PetscCall(FwRecordReal(record, "variance", r->variance, "1", "variance of z over inputs, eta^2 + gamma"));
  PetscCall(FwRecordReal(record, "bias_variance", r->bias, "1", "variance of the bias that all inputs share"));
  PetscCall(
    FwRecordReal(record, "learnable_fraction", r->eta * r->eta / r->variance, "1", "linear part of the variance of z"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordFixedPoints(const FwOptimalPoint *p, FwRecord record)
{
  const FwShape shape = {1, {"fixed_point"}, {p->n_fixed}};
  double        overlap[FW_FIXED_MAX], entropy[FW_FIXED_MAX];
  PetscInt64    is_stable[FW_FIXED_MAX];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < p->n_fixed; i++) {
    overlap[i]   = p->fixed[i].overlap;
    entropy[i]   = p->fixed[i].free_entropy;
    is_stable[i] = p->fixed[i].is_stable;
  }
  PetscCall(
    FwRecordReal(record, "overlap", p->fixed[p->best].overlap, "1", "overlap with the weights of the linear part"));
  PetscCall(FwRecordReal(record, "overlap_amp", p->fixed[p->amp].overlap, "1", "overlap that message passing reaches"));
  PetscCall(FwRecordReals(record, "all_overlaps", &shape, overlap, "1", "stationary points of the replica potential"));
  PetscCall(FwRecordReals(record, "all_free_entropies", &shape, entropy, "nat", "potential there, per example"));
  PetscCall(FwRecordIntegers(record, "all_stable", &shape, is_stable, "1", "1: a maximum of the potential"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordObserved(const FwChannel *channel, const FwOptimalPoint *p, FwRecord record)
{
  const char *units = FwChannelErrorUnits(channel);

  PetscFunctionBegin;
  PetscCall(FwRecordReal(record, "error", p->error, units, "error of the best learner on a new label"));
  PetscCall(FwRecordReal(record, "error_clean", p->error_clean, units, "its error on the label without noise"));
  PetscCall(FwRecordReal(record, "error_amp", p->error_amp, units, "error of message passing on a new label"));
  PetscCall(FwRecordReal(record, "mmse", p->mmse, "1", "mean squared error of z at a new input"));
  PetscCall(
    FwRecordReal(record, "mmse_weights", p->mmse_weights, "1", "mean squared error per weight of the linear part"));
  PetscCall(FwRecordReal(record, "mmse_train", p->mmse_train, "1", "mean squared error of z at a training input"));
  PetscCall(FwRecordReal(record, "information_network", p->information_network, "nat",
                         "mutual information of all weights and the data, per example"));
  PetscCall(FwRecordReal(record, "information_linear", p->information_linear, "nat",
                         "mutual information of the linear part and the data, per example"));
  PetscCall(FwRecordReal(record, "free_entropy", p->free_entropy, "nat", "free entropy per example"));
  PetscCall(
    FwRecordReal(record, "ridge_penalty", p->ridge_penalty, "1", "penalty with which ridge regression is optimal"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalRecord(const FwReduction *reduction, const FwChannel *channel, const FwOptimalPoint *point,
                               const FwOptimalThresholds *t, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(RecordReduction(reduction, record));
  PetscCall(RecordFixedPoints(point, record));
  PetscCall(RecordObserved(channel, point, record));
  PetscCall(FwRecordReal(record, "weak_recovery", t->weak_recovery, "1", "alpha from which something is learnt"));
  PetscCall(FwRecordReal(record, "spinodal_low", t->spinodal_low, "1", "alpha from which a better maximum is there"));
  PetscCall(
    FwRecordReal(record, "spinodal_high", t->spinodal_high, "1", "alpha from which message passing reaches it"));
  PetscCall(FwRecordReal(record, "information_theoretic", t->information_theoretic, "1",
                         "alpha from which it is the higher one"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
