/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Gradient flow of eight small networks at once, by the Runge-Kutta tableaux of PETSc and with the error control of its
 * TSAdapt; each lane has its own time, its own step and its own verdict on it.
 */

#include "training_lanes.h"

#include <math.h>
#include <petscts.h>
#include <string.h>

enum { STAGES = 16 };

/* Factor of the step after an error of 1, after a rejection; and how far it may change at once: those of TSAdapt */
static const double safety = 0.9, reject_safety = 0.5, shrink_most = 0.1, grow_most = 10.0;

typedef struct {
  PetscInt n, order;
  double   a[STAGES][STAGES], b[STAGES], error[STAGES]; /* error: b minus that of the lower order */
} Tableau;

/* Eight runs on their way */
typedef struct {
  FwLaneNet net;
  Tableau   tableau;
  double    decay_weight[FW_LANES], decay_bias[FW_LANES];
  void     *room;
  FwLanes  *k[STAGES], *y, *error;
  double    time[FW_LANES], step[FW_LANES]; /* step: what the error control wants */
  double    h[FW_LANES];                    /* what is tried: not beyond the end; 0 for lanes that wait */
} Flow;

static PetscErrorCode ReadTableau(const FwTrainPlan *plan, Tableau *tableau)
{
  TS               ts;
  PetscInt         s, n_b;
  PetscBool        is_fsal;
  const PetscReal *a, *b, *c, *embedded, *interpolation;

  PetscFunctionBegin;
  PetscCall(TSCreate(PETSC_COMM_SELF, &ts));
  PetscCall(TSSetType(ts, TSRK));
  PetscCall(TSRKSetType(ts, plan->is_low_order ? TSRK5DP : TSRK8VR));
  PetscCall(TSRKGetOrder(ts, &tableau->order));
  PetscCall(TSRKGetTableau(ts, &s, &a, &b, &c, &embedded, &n_b, &interpolation, &is_fsal));
  PetscCheck(s <= STAGES, PETSC_COMM_SELF, PETSC_ERR_SUP, "a Runge-Kutta method of %" PetscInt_FMT " stages", s);
  tableau->n = s;
  for (PetscInt i = 0; i < s; i++) {
    for (PetscInt j = 0; j < i; j++) tableau->a[i][j] = a[i * s + j];
    tableau->b[i]     = b[i];
    tableau->error[i] = b[i] - embedded[i];
  }
  PetscCall(TSDestroy(&ts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FlowLoad(FwTraining training, PetscInt n, const FwTrainOne one[], double time, Flow *flow)
{
  const size_t n_theta = (size_t)training->n_theta;
  FwLanes     *lanes;

  PetscFunctionBegin;
  PetscCall(ReadTableau(&training->plan, &flow->tableau));
  PetscCall(FwTrainLanesLoad(training, n, one, &flow->net));
  PetscCall(FwLanesAllocate(n_theta * (size_t)(flow->tableau.n + 2), &flow->room, &lanes));
  for (PetscInt i = 0; i < flow->tableau.n; i++) flow->k[i] = lanes + n_theta * (size_t)i;
  flow->y     = lanes + n_theta * (size_t)flow->tableau.n;
  flow->error = flow->y + n_theta;
  for (PetscInt lane = 0; lane < FW_LANES; lane++) {
    const FwTrainOne *from = &one[lane < n ? lane : 0];

    flow->decay_weight[lane] = from->run.decay.weight;
    flow->decay_bias[lane]   = from->run.decay.bias;
    flow->time[lane]         = from->at.time;
    flow->step[lane]         = from->at.step > 0.0 ? from->at.step : 1e-3 * (time - from->at.time);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- vectors ---------------------------------------------------------------------------------------------------- */

/* k = -(k + mu y) */
FW_VECTOR static void Turn(PetscInt n, const double decay[FW_LANES], const double *restrict y, double *restrict k)
{
  for (PetscInt i = 0; i < n * FW_LANES; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) k[i + l] = -(k[i + l] + decay[l] * y[i + l]);
}

/* out = v + h sum_j c_j k_j over m vectors; without v where it is NULL */
FW_VECTOR static void Combine(PetscInt n, const double h[FW_LANES], PetscInt m, const double c[],
                              const FwLanes *const k[], const FwLanes *v, FwLanes *out)
{
  for (int half = 0; half < 2; half++) {
    FwHalfLanes step;

    memcpy(&step, h + half * (FW_LANES / 2), sizeof step);
    for (PetscInt i = 0; i < 2 * n; i += 2) {
      FwHalfLanes sum = {0.0};

      for (PetscInt j = 0; j < m; j++) sum += c[j] * ((const FwHalfLanes *)k[j])[i + half];
      ((FwHalfLanes *)out)[i + half] = v ? ((const FwHalfLanes *)v)[i + half] + step * sum : step * sum;
    }
  }
}

/* Sum of squares of error / (tolerance (1 + max(|v|, |y|))) in each lane */
FW_VECTOR static void SumErrors(PetscInt n, double tolerance, const double *restrict error, const double *restrict v,
                                const double *restrict y, double sum[FW_LANES])
{
  double total[FW_LANES] = {0.0};

  for (PetscInt i = 0; i < n * FW_LANES; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) {
      const double before = fabs(v[i + l]), after = fabs(y[i + l]), size = before > after ? before : after;
      const double ratio = error[i + l] / (tolerance + tolerance * size);

      total[l] += ratio * ratio;
    }
  for (int l = 0; l < FW_LANES; l++) sum[l] = total[l];
}

/* v = y in the lanes that accept it */
FW_VECTOR static void Accept(PetscInt n, const double is_accepted[FW_LANES], const double *restrict y,
                             double *restrict v)
{
  for (PetscInt i = 0; i < n * FW_LANES; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) v[i + l] = is_accepted[l] != 0.0 ? y[i + l] : v[i + l];
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

/* k = -(g + mu y) */
static PetscErrorCode Rate(Flow *flow, const FwLanes y[], FwLanes k[])
{
  const FwLearnerShape *shape = &flow->net.learner->shape;

  PetscFunctionBegin;
  PetscCall(FwLaneNetGradient(&flow->net, y, k));
  for (PetscInt l = 1; l <= shape->n_layer; l++) {
    const FwLearnerLayer layer = FwLearnerGetLayer(shape, l);

    Turn(layer.n_out * layer.n_in, flow->decay_weight, (const double *)(y + layer.weight),
         (double *)(k + layer.weight));
    if (shape->has_bias)
      Turn(layer.n_out, flow->decay_bias, (const double *)(y + layer.bias), (double *)(k + layer.bias));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Leave out the vectors that have no share */
static void CombineStages(Flow *flow, PetscInt m, const double c[], const FwLanes *v, FwLanes *out)
{
  const FwLanes *k[STAGES];
  double         share[STAGES];
  PetscInt       n = 0;

  for (PetscInt j = 0; j < m; j++)
    if (c[j] != 0.0) {
      share[n] = c[j];
      k[n++]   = flow->k[j];
    }
  Combine(flow->net.n_theta, flow->h, n, share, k, v, out);
}

/* The end of the step to y, and the estimate of its error */
static PetscErrorCode TryStep(Flow *flow)
{
  const Tableau *tableau = &flow->tableau;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < tableau->n; i++) {
    CombineStages(flow, i, tableau->a[i], flow->net.theta, flow->y);
    PetscCall(Rate(flow, flow->y, flow->k[i]));
  }
  CombineStages(flow, tableau->n, tableau->b, flow->net.theta, flow->y);
  CombineStages(flow, tableau->n, tableau->error, NULL, flow->error);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Steps to try: those wanted, but not beyond the end. Whether any lane is still on its way */
static PetscBool ChooseSteps(Flow *flow, PetscInt n, const FwTrainOne one[], double time)
{
  PetscBool any = PETSC_FALSE;

  for (PetscInt lane = 0; lane < FW_LANES; lane++) {
    const PetscBool goes_on = (PetscBool)(lane < n && flow->time[lane] < time && one[lane].at.is_diverged == 0.0 &&
                                          one[lane].at.is_given_up == 0.0);

    flow->h[lane] = goes_on ? PetscMin(flow->step[lane], time - flow->time[lane]) : 0.0;
    if (goes_on) any = PETSC_TRUE;
  }
  return any;
}

/* What the error of a lane's step means for it: 1 where it is accepted. A stage that overflowed is an error, too */
static double Judge(Flow *flow, PetscInt lane, double error, double time, FwTrainNumbers *at)
{
  const double    power   = -1.0 / (double)flow->tableau.order;
  const PetscBool is_good = (PetscBool)(error <= 1.0), is_last = (PetscBool)(flow->h[lane] >= time - flow->time[lane]);
  const double    factor = (is_good ? safety : safety * reject_safety) * pow(PetscMax(error, 1e-10), power);
  const double    wanted = flow->h[lane] * PetscMin(PetscMax(isfinite(factor) ? factor : 0.0, shrink_most), grow_most);

  at->n_gradient += flow->tableau.n;
  /* a step cut short by the end says little about those that follow */
  flow->step[lane] = is_good && is_last ? PetscMax(wanted, flow->step[lane]) : wanted;
  at->is_diverged  = !(flow->time[lane] + 0.1 * wanted > flow->time[lane]); /* time no longer moves */
  if (!is_good) return 0.0;
  flow->time[lane] = is_last ? time : flow->time[lane] + flow->h[lane];
  at->is_diverged  = 0.0;
  return 1.0;
}

/* A step that is accepted, and whether the run goes on after it */
static double JudgeLane(Flow *flow, const FwTrainPlan *plan, PetscInt lane, double error, double time, FwTrainOne *one)
{
  const double is_accepted = Judge(flow, lane, error, time, &one->at);

  one->at.time = flow->time[lane];
  if (is_accepted != 0.0) (void)FwTrainIsOver(plan, one, flow->net.loss[0][lane], time);
  return is_accepted;
}

static void JudgeAll(Flow *flow, const FwTrainPlan *plan, PetscInt n, FwTrainOne one[], double time)
{
  const PetscInt n_theta = flow->net.n_theta;
  double         sum[FW_LANES], is_accepted[FW_LANES];

  SumErrors(n_theta, plan->tolerance, (const double *)flow->error, (const double *)flow->net.theta,
            (const double *)flow->y, sum);
  for (PetscInt lane = 0; lane < FW_LANES; lane++)
    is_accepted[lane] = flow->h[lane] > 0.0
                          ? JudgeLane(flow, plan, lane, sqrt(sum[lane] / n_theta), time, &one[PetscMin(lane, n - 1)])
                          : 0.0;
  Accept(n_theta, is_accepted, (const double *)flow->y, (double *)flow->net.theta);
}

PetscErrorCode FwTrainAdvanceLanes_Flow(FwTraining training, PetscInt n, FwTrainOne one[], double time)
{
  double n_gradient = 0.0;
  Flow   flow;

  PetscFunctionBegin;
  PetscCall(FlowLoad(training, n, one, time, &flow));
  while (n_gradient < training->most && ChooseSteps(&flow, n, one, time)) {
    PetscCall(TryStep(&flow));
    JudgeAll(&flow, &training->plan, n, one, time);
    n_gradient += flow.tableau.n;
  }
  for (PetscInt lane = 0; lane < n; lane++) {
    one[lane].at.time = flow.time[lane];
    one[lane].at.step = flow.step[lane];
  }
  PetscCall(PetscFree(flow.room));
  PetscCall(FwTrainLanesStore(n, one, &flow.net));
  PetscFunctionReturn(PETSC_SUCCESS);
}
