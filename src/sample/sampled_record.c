/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A sampled network as the data sets of /sample.
 */

#include "sampled_impl.h"

#include <math.h>
#include <string.h>

const FwMeasured *FwSampledFind(FwSampled s, const char name[])
{
  for (PetscInt i = 0; i < s->n_measured; i++)
    if (!strcmp(s->measured[i].name, name)) return &s->measured[i];
  return NULL;
}

PetscErrorCode FwSampledGetState(FwSampled s, FwSampledState *state)
{
  const FwSamplerPlan *plan = &s->plan.chains.sampler;

  PetscFunctionBegin;
  *state = (FwSampledState){.rhat        = 1.0,
                            .ess         = INFINITY,
                            .ess_least   = 2.0 * FW_SAMPLED_ESS_LEAST * (double)plan->n_chain,
                            .acceptance  = s->chains.acceptance,
                            .n_divergent = s->chains.n_divergent,
                            .n_move      = s->chains.n_move,
                            .step        = s->chains.step[0],
                            .n_gradient  = s->chains.n_gradient};
  for (PetscInt q = 0; q < s->n_measured; q++)
    for (PetscInt i = 0; i < s->measured[q].n; i++) {
      if (isnan(s->measured[q].ess[i])) continue;
      state->ess  = PetscMin(state->ess, s->measured[q].ess[i]);
      state->rhat = PetscMax(state->rhat, s->measured[q].rhat[i]);
    }
  state->is_converged =
    state->rhat <= FW_SAMPLED_RHAT_MOST && state->ess >= state->ess_least ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- recording ---------------------------------------------------------------------------------------------- */

static PetscErrorCode RecordOne(const FwMeasured *m, FwRecord record)
{
  const struct {
    const char   *suffix, *words, *units;
    const double *value;
  } part[] = {
    {"",           "",                                      m->units, m->value    },
    {"_error_bar", ", standard error",                      m->units, m->error_bar},
    {"_ess",       ", effective sample size",               "1",      m->ess      },
    {"_rhat",      ", split R-hat of ranks",                "1",      m->rhat     },
    {"_step_bias", ", bias of the step that was taken off", m->units, m->step_bias},
  };
  char name[64], words[160];

  PetscFunctionBegin;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(part); i++) {
    if (isnan(part[i].value[0]) && i > 1) continue;
    PetscCall(PetscSNPrintf(name, sizeof name, "%s%s", m->name, part[i].suffix));
    PetscCall(PetscSNPrintf(words, sizeof words, "%s%s", m->long_name, part[i].words));
    PetscCall(FwRecordReals(record, name, &m->shape, part[i].value, part[i].units, words));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordState(FwSampled s, FwRecord record)
{
  FwSampledState state;

  PetscFunctionBegin;
  PetscCall(FwSampledGetState(s, &state));
  PetscCall(FwRecordReal(record, "rhat", state.rhat, "1", "worst split R-hat of the averages"));
  PetscCall(FwRecordReal(record, "ess", state.ess, "1", "least effective sample size of the averages"));
  PetscCall(FwRecordReal(record, "acceptance", state.acceptance, "1", "mean acceptance probability after burn-in"));
  PetscCall(FwRecordReal(record, "step", state.step, "1", "step size e"));
  PetscCall(FwRecordReal(record, "divergent", state.n_divergent / state.n_move, "1", "share of moves that diverged"));
  PetscCall(FwRecordReal(record, "gradients", state.n_gradient, "1", "evaluations of the gradient, all chains"));
  PetscCall(FwRecordInteger(record, "converged", state.is_converged ? 1 : 0, "1",
                            "1 if R-hat and effective sample size are good enough for the error bars"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean over chains and blocks of entry i of the field; of langevin extrapolated to no step */
static double FieldMean(FwSampled s, PetscInt i)
{
  const FwChainsResult *r       = &s->chains;
  const PetscInt        n       = r->n_chain * r->n_block;
  double                mean[2] = {0.0, 0.0};

  for (PetscInt k = 0; k < r->n_set; k++)
    for (PetscInt b = 0; b < n; b++) mean[k] += r->block[(size_t)(k * n + b) * r->n_field + i] / (double)n;
  return r->n_set == 2 ? 2.0 * mean[1] - mean[0] : mean[0];
}

/* Means and deviations of n examples from `first` of the test examples and those without labels */
static PetscErrorCode RecordMeans(FwSampled s, PetscInt first, PetscInt n, const char axis[], const char what[],
                                  FwRecord record)
{
  const PetscInt D     = s->at.n_output;
  const FwShape  shape = {
     .n_dim = 2, .name = {axis, "output"},
          .size = {n,    D       }
  };
  double *mean, *deviation;
  char    name[32];

  PetscFunctionBegin;
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(n * D, &mean, n * D, &deviation));
  for (PetscInt i = 0; i < n * D; i++) {
    mean[i]      = FieldMean(s, s->at.field_mean + first * D + i);
    deviation[i] = sqrt(PetscMax(FieldMean(s, s->at.field_second + first * D + i) - mean[i] * mean[i], 0.0));
  }
  PetscCall(PetscSNPrintf(name, sizeof name, "%s_mean", what));
  PetscCall(FwRecordReals(record, name, &shape, mean, "label", "posterior mean, sampled"));
  PetscCall(PetscSNPrintf(name, sizeof name, "%s_std", what));
  PetscCall(FwRecordReals(record, name, &shape, deviation, "label", "posterior standard deviation, sampled"));
  PetscCall(PetscFree2(mean, deviation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampledRecord(FwSampled s, FwRecord record)
{
  const FwShape weights = {
    .n_dim = 2, .name = {"chain",                             "parameter"   },
         .size = {s->chains.n_set * s->chains.n_chain, s->n_parameter}
  };

  PetscFunctionBegin;
  for (PetscInt i = 0; i < s->n_measured; i++) PetscCall(RecordOne(&s->measured[i], record));
  PetscCall(RecordState(s, record));
  if (s->plan.with_means) PetscCall(RecordMeans(s, 0, s->at.n_test, "example", "test", record));
  PetscCall(RecordMeans(s, s->at.n_test, s->at.n_new, "new_example", "new", record));
  if (s->plan.with_weights)
    PetscCall(FwRecordReals(record, "weights", &weights, s->chains.w, "1",
                            "last sample of each chain, scaled to a standard normal prior"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
