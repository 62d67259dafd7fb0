/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth optimal`: the best that any learner of a deep random network could do.
 */

#include "command.h"
#include "optimal.h"
#include "optimal_trial.h"
#include "predict_print.h"

#include <finwidth/estimate.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const FwOptimalSharedKeys[] = {"optimal_alpha", NULL};

/* What holds for all points */
typedef struct {
  const FwRequest *request;
  PetscInt         n_beyond;  /* points with more examples than the theorem covers */
  PetscInt         n_biased;  /* whose network is not odd */
  PetscBool        has_trial; /* some point has an experiment */
  FwTrialCost      cost;      /* of all */
} Optimal;

/* --- keys ------------------------------------------------------------------------------------------------------------------ */

/* Without a depth, a list of activations says how many layers there are */
static PetscErrorCode ChooseDepth(void)
{
  enum { LAYER_MAX = 4096 };
  PetscInt  activation[LAYER_MAX], n = LAYER_MAX;
  PetscBool has_depth, is_scanned;
  char      text[32];

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("network_depth", &has_depth));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_network_depth", &is_scanned));
  PetscCall(FwOptionChoices("network_activation", &n, activation));
  if (has_depth || is_scanned || n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt_FMT, n));
  PetscCall(PetscOptionsSetValue(NULL, "-network_depth", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys that only some channels read */
enum { USE_NOISE, USE_BETA, USE_GAIN, USE_TRIAL, USE_ITERATIONS, USES };

static void NoteChannel(const FwChannel *channel, PetscBool use[USES])
{
  switch (channel->kind) {
    case FW_CHANNEL_LOGISTIC:
      use[USE_BETA] = PETSC_TRUE;
      break;
    case FW_CHANNEL_TANH:
    case FW_CHANNEL_ERF:
      use[USE_GAIN] = use[USE_NOISE] = PETSC_TRUE;
      break;
    default:
      use[USE_NOISE] = PETSC_TRUE;
  }
}

/* An input may keep them for another channel, or an experiment */
static PetscErrorCode WarnAboutUnused(const PetscBool use[USES])
{
  static const struct {
    const char *key;
    int         use;
    const char *user;
  } row[] = {
    {"optimal_noise",        USE_NOISE,      "channels other than 'logistic'"    },
    {"optimal_beta",         USE_BETA,       "the channel 'logistic'"            },
    {"optimal_channel_gain", USE_GAIN,       "the channels 'tanh' and 'erf'"     },
    {"optimal_instances",    USE_TRIAL,      "an optimal_experiment"             },
    {"optimal_test",         USE_TRIAL,      "an optimal_experiment"             },
    {"optimal_iterations",   USE_ITERATIONS, "the experiments 'ridge' and 'gamp'"},
  };

  PetscFunctionBegin;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(row); i++)
    PetscCall(FwRequestWarnUnused(row[i].key, use[row[i].use], row[i].user));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckPoints(Optimal *o)
{
  PetscInt  n_point;
  PetscBool use[USES] = {PETSC_FALSE};

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(o->request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    FwOptimalSetting setting;
    PetscBool        is_beyond;

    PetscCall(FwScanApply(o->request->scan, p));
    PetscCall(FwOptimalSettingRead(&setting));
    PetscCall(FwOptimalIsBeyond(&setting, &is_beyond));
    NoteChannel(&setting.channel, use);
    o->n_beyond += is_beyond;
    o->n_biased += !setting.is_odd;
    if (setting.experiment != FW_EXPERIMENT_NONE) o->has_trial = use[USE_TRIAL] = PETSC_TRUE;
    if (setting.experiment == FW_EXPERIMENT_RIDGE || setting.experiment == FW_EXPERIMENT_GAMP)
      use[USE_ITERATIONS] = PETSC_TRUE;
    PetscCall(FwTrialCheck(&setting, &o->cost));
    PetscCall(FwOptimalSettingDestroy(&setting));
  }
  PetscCall(FwScanApply(o->request->scan, -1));
  PetscCall(WarnAboutUnused(use));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one curve, many alpha --------------------------------------------------------------------------------------------------- */

/* The range is that of the whole scan, not of what is left of it: a resumed run has the same curve */
static PetscErrorCode ReadAlphas(FwScan scan, PetscInt n, const PetscInt point[], double alpha[], double range[2])
{
  PetscInt n_axis;

  PetscFunctionBegin;
  range[0] = INFINITY;
  range[1] = 0.0;
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwScanApply(scan, point[i]));
    PetscCall(FwOptionReal("optimal_alpha", &alpha[i], NULL));
    range[0] = fmin(range[0], alpha[i]);
    range[1] = fmax(range[1], alpha[i]);
  }
  PetscCall(FwScanGetSize(scan, &n_axis, NULL, NULL));
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    for (PetscInt i = 0; i < axis->n && !strcmp(axis->key->name, "optimal_alpha"); i++) {
      range[0] = fmin(range[0], axis->value[i]);
      range[1] = fmax(range[1], axis->value[i]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateShared(const FwOptimalSetting *setting, const double range[2], FwOptimalShared *shared)
{
  const FwDeepTarget target = FwOptimalTarget(setting);

  PetscFunctionBegin;
  shared->channel = setting->channel;
  PetscCall(FwReductionCreate(&target, &shared->reduction));
  PetscCall(FwOptimalCreate(&shared->reduction, &setting->channel, range[0], range[1], &shared->optimal));
  PetscCall(FwOptimalGetThresholds(shared->optimal, &shared->thresholds));
  PetscCall(FwOptimalGetFloor(shared->optimal, &shared->floor));
  shared->is_proved = FwOptimalIsProved(&shared->reduction, &setting->channel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyShared(FwOptimalShared *shared)
{
  PetscFunctionBegin;
  PetscCall(FwOptimalDestroy(&shared->optimal));
  PetscCall(FwReductionDestroy(&shared->reduction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The potential and the curve of a single point, for its picture: past the last maximum */
static PetscErrorCode RecordProfile(const FwOptimalShared *shared, double alpha, const FwFixedPoint *last,
                                    FwRecord record)
{
  enum { N = 101 };
  const FwShape shape = {1, {"profile"}, {N}};
  const double  from = -5.0, to = fmin(30.0, fmax(5.0, 3.0 + log(last->overlap / last->remainder)));
  double        t[N], overlap[N], curve[N], potential[N];

  PetscFunctionBegin;
  for (int i = 0; i < N; i++) {
    t[i]       = from + (to - from) * i / (N - 1);
    overlap[i] = 1.0 / (1.0 + exp(-t[i]));
  }
  PetscCall(FwOptimalProfile(shared->optimal, alpha, N, t, curve, potential));
  PetscCall(FwRecordReals(record, "profile_overlap", &shape, overlap, "1", "overlap"));
  PetscCall(FwRecordReals(record, "profile_alpha", &shape, curve, "1", "alpha at which it is a stationary point"));
  PetscCall(FwRecordReals(record, "profile_potential", &shape, potential, "nat", "replica potential per input"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunPoint(const Optimal *o, const FwOptimalShared *shared, double alpha, FwRecord record)
{
  FwOptimalPoint point;

  PetscFunctionBegin;
  PetscCall(FwOptimalSolve(shared->optimal, alpha, &point));
  PetscCall(FwOptimalRecord(&shared->reduction, &shared->channel, &point, &shared->thresholds, record));
  PetscCall(FwRecordReal(record, "alpha", alpha, "1", "examples per input"));
  PetscCall(FwRecordReal(record, "error_floor", shared->floor, FwChannelErrorUnits(&shared->channel),
                         "error at alpha = infinity"));
  PetscCall(FwRecordInteger(record, "status_of_proof", shared->is_proved, "1", "1: proved, 0: conjectured"));
  if (o->request->is_single && shared->reduction.eta != 0.0)
    PetscCall(RecordProfile(shared, alpha, &point.fixed[point.n_fixed - 1], record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A record with anything in it counts as a finished point */
static PetscErrorCode Empty(PetscInt n, FwRecord record[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwRecordDestroy(&record[i]));
    PetscCall(FwRecordCreate(&record[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A numerical error is the end of these points, not of the scan */
static PetscErrorCode GiveUp(PetscInt n, FwRecord record[])
{
  PetscFunctionBegin;
  PetscCall(FwWarn("%s", FwErrorMessage()));
  FwErrorClear();
  PetscCall(Empty(n, record));
  for (PetscInt i = 0; i < n; i++)
    PetscCall(FwRecordInteger(record[i], "converged", 0, "1", "1: every number can be trusted"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Theory at each alpha; one that fails has its say as a warning */
static PetscErrorCode RunPoints(const Optimal *o, const FwOptimalShared *shared, PetscInt n, const double alpha[],
                                FwRecord record[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const PetscErrorCode code = RunPoint(o, shared, alpha[i], record[i]);

    if (code == FW_ERR_NUMERICAL)
      PetscCall(GiveUp(1, &record[i]));
    else
      PetscCall(code);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasTheory(FwRecord record)
{
  return isnan(FwRecordAt(record, "alpha", 0)) ? PETSC_FALSE : PETSC_TRUE;
}

/* One point after the other; those after a stop are computed anew */
static PetscErrorCode RunTrials(MPI_Comm comm, const Optimal *o, FwScan scan, FwOptimalSetting *setting,
                                const FwReduction *reduction, PetscInt n, const PetscInt point[], const double alpha[],
                                FwRecord record[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscBool      is_converged;
    PetscErrorCode code;

    if (!HasTheory(record[i])) continue; /* nothing to be compared with */
    setting->alpha = alpha[i];
    code           = FwTrialRun(comm, o->request, point[i], setting, reduction, record[i], &is_converged);
    if (code == FW_ERR_NUMERICAL) { /* the end of this experiment, not of theory nor of other points */
      PetscCall(FwWarn("%s", FwErrorMessage()));
      FwErrorClear();
      code         = PETSC_SUCCESS;
      is_converged = PETSC_FALSE;
    }
    if (code) PetscCall(Empty(n - i, record + i));
    PetscCall(code);
    PetscCall(FwRecordInteger(record[i], "converged", is_converged, "1", "1: every number can be trusted"));
    PetscCall(FwScanKeep(scan, comm, i + 1, point, record));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunShared(MPI_Comm comm, const Optimal *o, FwScan scan, FwOptimalSetting *setting, PetscInt n,
                                const PetscInt point[], const double alpha[], const double range[2], FwRecord record[])
{
  FwOptimalShared shared = {0};
  PetscErrorCode  code;

  PetscFunctionBegin;
  code = CreateShared(setting, range, &shared);
  if (!code) code = RunPoints(o, &shared, n, alpha, record);
  if (!code && o->request->is_single && HasTheory(record[0])) PetscCall(FwPrintOptimal(setting, &shared, record[0]));
  if (!code) code = RunTrials(comm, o, scan, setting, &shared.reduction, n, point, alpha, record);
  PetscCall(DestroyShared(&shared));
  PetscFunctionReturn(code);
}

static PetscErrorCode RunGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                               void *context)
{
  const Optimal   *o = context;
  FwOptimalSetting setting;
  double          *alpha, range[2];
  PetscErrorCode   code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &alpha));
  PetscCall(ReadAlphas(scan, n, point, alpha, range));
  PetscCall(FwOptimalSettingRead(&setting));
  code = RunShared(comm, o, scan, &setting, n, point, alpha, range, record);
  PetscCall(PetscFree(alpha));
  PetscCall(FwOptimalSettingDestroy(&setting));
  if (code == FW_ERR_NUMERICAL)
    PetscCall(GiveUp(n, record));
  else
    PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run ----------------------------------------------------------------------------------------------------------------- */

/* The words for status_of_proof */
static PetscErrorCode Describe(const FwRequest *request, FwStore store, void *context)
{
  static const char *const word[] = {"conjectured", "proved"};
  const FwShape            shape  = {1, {"status"}, {2}};

  PetscFunctionBegin;
  (void)request, (void)context;
  PetscCall(FwStoreTexts(store, "/optimal/status", &shape, word, "1", "meaning of status_of_proof 0 and 1"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Conclude(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context)
{
  const Optimal *o = context;
  PetscMPIInt    rank;
  PetscInt       n_several = 0, n_infinite = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (!request->is_single) PetscCall(FwPrintOptimalScan(request->scan, all));
  for (PetscInt p = 0; p < summary->n_point && rank == 0; p++) {
    if (FwRecordAt(all, "overlap", p) != FwRecordAt(all, "overlap_amp", p) && FwRecordAt(all, "converged", p) > 0.0)
      n_several++;
    if (FwRecordAt(all, "information_network", p) == INFINITY) n_infinite++;
  }
  if (n_several)
    PetscCall(FwWarn(
      "the potential has several maxima, and message passing ends at one that is not the highest, at %" PetscInt_FMT
      " of %" PetscInt_FMT " points: see all_overlaps",
      n_several, summary->n_point));
  if (n_infinite)
    PetscCall(FwWarn("labels without noise carry infinite information about the network at %" PetscInt_FMT
                     " of %" PetscInt_FMT " points: information_network is infinity there",
                     n_infinite, summary->n_point));
  if (o->n_biased && rank == 0)
    PetscCall(FwWarn("activations that are not odd at %" PetscInt_FMT " of %" PetscInt_FMT
                     " points: theory is conjectured there, not proved",
                     o->n_biased, summary->n_point));
  if (o->n_beyond && rank == 0)
    PetscCall(
      FwWarn("more than d_min^{3/2} examples at %" PetscInt_FMT " of %" PetscInt_FMT
             " points, d_min the smallest layer: there a network of this size need not behave as its linear part",
             o->n_beyond, summary->n_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Curves of the shipped inputs take 2 to 110 ms each, nearly all of it before the first alpha */
static PetscErrorCode TheoryCost(const Optimal *o, PetscInt *n_curve, double *seconds)
{
  const double seconds_per_curve = 0.1;
  PetscInt     n_point, *curve;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(o->request->scan, NULL, &n_point, NULL));
  PetscCall(PetscMalloc1(n_point, &curve));
  PetscCall(FwScanGetGroups(o->request->scan, FwOptimalSharedKeys, NULL, n_curve, curve));
  PetscCall(PetscFree(curve));
  *seconds = seconds_per_curve * (double)*n_curve;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DryRun(const Optimal *o)
{
  PetscInt n_curve;
  double   rate, seconds;
  char     line[160];

  PetscFunctionBegin;
  PetscCall(TheoryCost(o, &n_curve, &seconds));
  snprintf(line, sizeof line, "theory  %" PetscInt_FMT " networks and channels, at most about %.2g s on one rank",
           n_curve, seconds);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n%s\n", o->request->resolved, line));
  if (!o->has_trial) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwEstimateRate(PETSC_COMM_WORLD, &rate));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "memory  %.2g GiB a rank\n", o->cost.rank_bytes / 1073741824.0));
  PetscCall(FwPrintStage("experiments", o->cost.flops, o->cost.flops / rate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Divided evenly */
PetscErrorCode FwOptimalCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost)
{
  Optimal  o = {.request = request};
  PetscInt n_curve;
  double   rate;

  PetscFunctionBegin;
  (void)group;
  PetscCall(ChooseDepth());
  PetscCall(CheckPoints(&o));
  PetscCall(TheoryCost(&o, &n_curve, &cost->seconds));
  PetscCall(FwEstimateRate(PETSC_COMM_WORLD, &rate));
  cost->seconds    = (cost->seconds + o.cost.flops / rate) / (double)PetscMax(1, n_group);
  cost->rank_bytes = o.cost.rank_bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Optimal(const char *input)
{
  static const char *const groups[] = {"/optimal", FW_TRIAL_GROUP, NULL}, *const theory[] = {"/optimal", NULL};
  FwRequest request;
  Optimal   o = {.request = &request};

  PetscFunctionBegin;
  PetscCall(ChooseDepth());
  PetscCall(FwRequestCreate(input, "optimal", FW_FOR_OPTIMAL, &request));
  PetscCall(CheckPoints(&o));
  if (request.is_dry) {
    PetscCall(DryRun(&o));
  } else {
    const FwRequestPlan plan = {.shared   = FwOptimalSharedKeys,
                                .groups   = o.has_trial ? groups : theory,
                                .function = RunGroup,
                                .context  = &o,
                                .failure  = "theory, or a learner that was tried, has not converged",
                                .report   = Conclude,
                                .describe = Describe};

    PetscCall(FwRequestRun(&request, &plan));
  }
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
