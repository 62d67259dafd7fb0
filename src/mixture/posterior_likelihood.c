/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The likelihood given Q: resolvents on panels in log q, where they are analytic within pi of the real line.
 */

#include "posterior_impl.h"

#include <math.h>

static const double panel_width = 1.0; /* interpolation to 12.6^-16 */

enum { VALUE_MAX = 1 + FW_POSTERIOR_OUTPUTS * (FW_POSTERIOR_OUTPUTS + 1) / 2 };

static PetscInt CountForms(PetscInt d)
{
  return d * (d + 1) / 2;
}

static PetscErrorCode FillPanel(const double x[FW_PANEL_POINTS], double value[], void *context)
{
  FwLikelihood  *l = context;
  const PetscInt d = l->n_output, n_value = 1 + CountForms(d);
  FwLabelForms   forms = {.fit       = l->form,
                          .fit_slope = l->form + d * d,
                          .fit_curve = l->form + 2 * d * d,
                          .residual2 = l->form + 3 * d * d,
                          .fit_least = l->form + 4 * d * d,
                          .fit_above = l->form + 5 * d * d};

  PetscFunctionBegin;
  for (PetscInt i = 0; i < FW_PANEL_POINTS; i++) {
    FwResolvent r;
    double     *at = value + i * n_value;

    PetscCall(FwSpectrumResolveForms(l->spectrum, l->temperature, exp(x[i]), PETSC_TRUE, &r, &forms));
    *at++ = r.log_det;
    for (PetscInt c = 0; c < d; c++)
      for (PetscInt e = 0; e <= c; e++) *at++ = forms.fit_above[c * d + e];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLikelihoodCreate(FwSpectrum spectrum, double scale, double temperature, PetscInt n_output,
                                  FwLikelihood *l)
{
  FwSpectrumBounds bounds;
  FwResolvent      r;

  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(spectrum, &bounds));
  *l = (FwLikelihood){
    .spectrum = spectrum, .scale = scale, .temperature = temperature, .n_output = n_output, .n_train = bounds.n};
  /* the limit is the same at any Q, and its sum over outputs in any basis */
  PetscCall(FwSpectrumResolve(spectrum, temperature, 1.0, PETSC_FALSE, &r));
  l->least = r.fit_least;
  PetscCall(PetscMalloc1(6 * n_output * n_output, &l->form));
  PetscCall(FwPanelsCreate(0.0, panel_width, 1 + CountForms(n_output), FillPanel, l, &l->panels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLikelihoodDestroy(FwLikelihood *l)
{
  PetscFunctionBegin;
  PetscCall(FwPanelsDestroy(&l->panels));
  PetscCall(PetscFree(l->form));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwLikelihoodPlace(const FwLikelihood *l, double log_q)
{
  return PetscMax(log_q + log(l->scale), FW_LOG_Q_LEAST);
}

PetscErrorCode FwLikelihoodForms(FwLikelihood *l, double log_q, double *log_det, double fit[])
{
  const PetscInt n = CountForms(l->n_output);
  double         value[VALUE_MAX];

  PetscFunctionBegin;
  PetscCall(FwPanelsEvaluate(l->panels, FwLikelihoodPlace(l, log_q), value));
  *log_det = value[0];
  PetscCall(PetscArraycpy(fit, value + 1, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* sum_d log det A_d + O_d^T fit(q_d) O_d */
PetscErrorCode FwLikelihoodEvaluate(FwLikelihood *l, const double log_q[], const double rotation[], double *log_value)
{
  const PetscInt n   = l->n_output;
  double         sum = 0.0, value[VALUE_MAX];

  PetscFunctionBegin;
  for (PetscInt d = 0; d < n; d++) {
    const double *fit = value + 1;

    PetscCall(FwPanelsEvaluate(l->panels, FwLikelihoodPlace(l, log_q[d]), value));
    sum += value[0];
    for (PetscInt c = 0; c < n; c++)
      for (PetscInt e = 0; e <= c; e++)
        sum += (c == e ? 1.0 : 2.0) * *fit++ * rotation[c * n + d] * rotation[e * n + d];
  }
  *log_value = -0.5 * sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- nodes -------------------------------------------------------------------------------------------------- */

PetscErrorCode FwNodeSetCreate(PetscInt n_output, PetscInt n_group, PetscInt n_node, FwNodeSet *nodes)
{
  PetscFunctionBegin;
  *nodes = (FwNodeSet){.n_output = n_output, .n_group = n_group, .n_node = n_node};
  PetscCall(PetscMalloc4((size_t)n_group * n_output, &nodes->log_q, n_group + 1, &nodes->first, n_node, &nodes->weight,
                         (size_t)n_node * n_output * n_output, &nodes->rotation));
  nodes->first[0] = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNodeSetDestroy(FwNodeSet *nodes)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(nodes->log_q, nodes->first, nodes->weight, nodes->rotation));
  PetscFunctionReturn(PETSC_SUCCESS);
}
