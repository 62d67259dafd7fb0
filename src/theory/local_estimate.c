/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Memory, operations and time of a prediction of convolutional and locally-connected networks.
 */

#include <finwidth/estimate.h>
#include <finwidth/local_learnt.h>
#include <finwidth/local_prediction.h>
#include <finwidth/option.h>

#include <math.h>

/* Time of the map of one pair of patches, in which sums over pairs are included; bytes per second that a rank reads of a
   store; share of the rate of a product that short ones between patches, and factorisations, reach (docs/scaling.md) */
static const double map_seconds = 4.0e-9, read_rate = 8e9, patch_share = 0.3, factor_share = 0.35;
/* Evaluations of the action from Q = 1 */
static const double evaluations_per_start = 20.0;
/* Evaluations of the validation error, from both starts: those of the flattest valleys seen, and no less than of few unknowns */
static const double learning_most = 8000.0, learning_least = 200.0, learning_per_unknown = 100.0;
/* Six a move, half as many moves again of burn-in, and the prediction's own */
enum { EVALUATIONS_PER_DRAW = 10 };
/* Kernels of test examples at once, where memory allows */
static const double n_set_most = 8.0;

typedef struct {
  double n_rank, n_train, n_test, n_validation, n_input, n_patch, n_pixel, n_site, n_walk, n_feature, n_map, n_output,
    n_unknown; /* n_map: maps per entry; n_unknown: of Q */
} Sizes;

static PetscErrorCode GetSizes(FwGrid grid, const FwModel *model, FwDataset data, const FwLocalPlan *plan, Sizes *s)
{
  const PetscBool is_diagonal = plan->form == FW_PATCH_DIAGONAL ? PETSC_TRUE : PETSC_FALSE;
  PetscInt        n_site, n_walk;
  PetscMPIInt     n_row, n_col;
  FwDataSizes     sizes   = {0};
  FwPatches       patches = {0};

  PetscFunctionBegin;
  PetscCall(FwGridGetSize(grid, &n_row, &n_col));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwModelGetPatches(model, sizes.channels, sizes.height, sizes.width, &patches));
  *s = (Sizes){.n_rank       = (double)n_row * n_col,
               .n_train      = sizes.n_train,
               .n_test       = (double)sizes.n_test + sizes.n_new + sizes.n_validation, /* all are predicted */
               .n_validation = sizes.n_validation,
               .n_input      = sizes.n_input,
               .n_patch      = patches.n_patch,
               .n_pixel      = patches.n_pixel};
  PetscCall(FwPatchCountSites(model, &patches, plan->closure, &n_site, &n_walk));
  s->n_site    = n_site;
  s->n_walk    = n_walk;
  s->n_map     = is_diagonal ? s->n_patch : PetscSqr(s->n_patch);
  s->n_feature = is_diagonal                    ? s->n_site
                 : plan->form == FW_PATCH_PAIRS ? 0.5 * s->n_site * (s->n_site + 1.0)
                                                : PetscSqr(s->n_site);
  s->n_output  = sizes.n_output;
  s->n_unknown = is_diagonal ? 0.5 * s->n_site * s->n_output * (s->n_output + 1.0)
                             : 0.5 * s->n_site * s->n_output * (s->n_site * s->n_output + 1.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers that a rank holds without any store: the kernel and what a product sends around, images on every rank and in
   slabs, patches of rows and columns with their tables, workspaces */
static double FixedNumbers(const Sizes *s)
{
  const double examples = s->n_train + s->n_test, side = sqrt(s->n_rank);

  return (s->n_rank > 1.0 ? 2.0 : 1.0) * pow(s->n_output * s->n_train, 2.0) / s->n_rank +
         examples * (s->n_input * (1.0 + 1.0 / s->n_rank) + s->n_patch) +
         (2.0 * s->n_train + s->n_test + s->n_validation) / side * s->n_patch * (s->n_pixel + 5.0) +
         256.0 * (s->n_patch * s->n_patch + s->n_walk * s->n_walk + s->n_feature) +
         8.0 * pow(s->n_output, 2.0) * s->n_feature + (s->n_test + 1024.0) * pow(s->n_output, 2.0) +
         40.0 * pow(s->n_output * s->n_site, 2.0) +
         (s->n_validation > 0.0 ? 3.0 * (double)FwLocalLearntHistory(s->n_unknown) * s->n_unknown : 0.0);
}

/* Features between training and validation examples, on a rank; it may have a block more than its share */
static double CrossBytes(const Sizes *s)
{
  if (!(s->n_validation > 0.0)) return 0.0;
  return s->n_feature * (s->n_train + 64.0) * (s->n_validation + 64.0) / s->n_rank * sizeof(double);
}

static PetscErrorCode DivideMemory(FwGrid grid, const Sizes *s, PetscBool with_average, FwLocalEstimate *e)
{
  /* chains of single ranks have features and matrices of their own, undivided */
  const double stores = with_average ? 2.0 : 1.0, share = with_average ? 1.0 : s->n_rank;
  const double alone = with_average ? pow(s->n_output * s->n_train, 2.0) : 0.0;
  const double set   = s->n_train * s->n_test * pow(s->n_output, 2.0) / share * sizeof(double);
  const double all   = s->n_feature * 0.5 * s->n_train * (s->n_train + 64.0) / s->n_rank * sizeof(double);
  const double fixed = FW_ESTIMATE_BASE_BYTES + sizeof(double) * (FixedNumbers(s) + alone) + set;
  double       bytes = 0.0;
  PetscBool    is_set;

  PetscFunctionBegin;
  PetscCall(FwEstimateMemory(FwGridComm(grid), &bytes));
  PetscCall(FwOptionIsSet("memory", &is_set));
  PetscCheck(
    fixed + set <= bytes, FwGridComm(grid), FW_ERR_MEMORY,
    "%.0f training examples of %.0f patches need %.2f GiB on each of %.0f ranks without keeping any feature, and "
    "%.2f GiB may be used: use more ranks, or smaller data_train",
    s->n_train, s->n_patch, (fixed + set) / 1073741824.0, s->n_rank, bytes / 1073741824.0);
  if (!is_set) bytes *= 0.5; /* a store is welcome, but not at the price of a machine that swaps */
  e->n_set       = (PetscInt)PetscMax(1.0, PetscMin(n_set_most, set > 0.0 ? 0.2 * (bytes - fixed) / set : n_set_most));
  e->store_bytes = PetscMax(0.0, PetscMin(all, (bytes - fixed - e->n_set * set) / stores));
  e->stored      = e->store_bytes / all;
  e->peak_bytes  = fixed + e->n_set * set + stores * e->store_bytes;
  e->cross_bytes = PetscMax(0.0, PetscMin(CrossBytes(s), bytes - e->peak_bytes));
  e->peak_bytes += e->cross_bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One third of the factorisation and inverse of an evaluation of the action, and the passes over both stores */
static void EstimateLearning(const Sizes *s, double rate, double per_entry, PetscInt n_point, FwLocalEstimate *e)
{
  const double each    = PetscMin(learning_most, PetscMax(learning_least, learning_per_unknown * s->n_unknown));
  const double n       = s->n_validation > 0.0 ? each * n_point : 0.0;
  const double entries = 0.5 * s->n_train * s->n_train, others = s->n_train * s->n_validation;
  const double n_pair = s->n_output * s->n_output, kept = e->cross_bytes / PetscMax(CrossBytes(s), 1.0);
  const double factor = pow(s->n_output * s->n_train, 3.0) / 3.0;
  const double passes = 4.0 * n_pair * s->n_feature * (entries + others);
  const double again  = (1.0 - e->stored) * entries + (1.0 - kept) * others;

  /* of Q and its directions, by every rank for itself */
  const double order =
    50.0 * pow(s->n_output * s->n_site, 3.0) + 4.0 * (double)FwLocalLearntHistory(s->n_unknown) * s->n_unknown;

  e->learnt_flops   = n * (factor + passes + order);
  e->learnt_seconds = n * (factor / (factor_share * rate) + order * s->n_rank / (factor_share * rate) +
                           2.0 * s->n_feature * (entries + others) * sizeof(double) / (read_rate * s->n_rank) +
                           (n_pair > 1.0 ? passes / (factor_share * rate) : 0.0) + 2.0 * again * per_entry);
}

PetscErrorCode FwLocalPredictorEstimate(FwGrid grid, const FwModel *model, FwDataset data, const FwLocalPlan *plan,
                                        PetscInt n_point, FwLocalEstimate *e)
{
  double rate = 1.0, entries, per_entry, n_evaluation, per_evaluation, n_label, n_pair, n_draw;
  Sizes  s    = {0};

  PetscFunctionBegin;
  PetscCall(GetSizes(grid, model, data, plan, &s));
  PetscCall(DivideMemory(grid, &s, plan->n_draw ? PETSC_TRUE : PETSC_FALSE, e));
  PetscCall(FwEstimateRate(FwGridComm(grid), &rate));
  entries            = 0.5 * s.n_train * s.n_train;
  per_entry          = 2.0 * s.n_map * s.n_pixel / (patch_share * rate) + s.n_map * map_seconds / s.n_rank;
  n_evaluation       = evaluations_per_start * plan->n_start * n_point;
  n_label            = s.n_train * s.n_output;
  n_pair             = s.n_output * s.n_output;
  per_evaluation     = pow(n_label, 3.0) + 6.0 * n_pair * s.n_feature * entries;
  e->feature_flops   = 2.0 * entries * s.n_map * s.n_pixel;
  e->feature_seconds = entries * per_entry;
  e->saddle_flops    = n_evaluation * per_evaluation;
  e->saddle_seconds =
    n_evaluation *
    (pow(n_label, 3.0) / (factor_share * rate) + 2.0 * s.n_feature * entries * sizeof(double) / (read_rate * s.n_rank) +
     2.0 * (1.0 - e->stored) * e->feature_seconds +
     (n_pair > 1.0 ? 6.0 * n_pair * s.n_feature * entries / (factor_share * rate) : 0.0));
  e->test_flops =
    2.0 * n_point * s.n_train * s.n_test * (n_label * n_pair + n_pair * s.n_feature + 2.0 * s.n_pixel * s.n_map);
  e->test_seconds = ceil(2.0 * n_point / e->n_set) * s.n_train * s.n_test * per_entry +
                    2.0 * n_point * pow(n_label, 2.0) * (n_label + s.n_test * s.n_output) / (factor_share * rate);
  EstimateLearning(&s, rate, per_entry, n_point, e);
  n_draw             = (double)n_point * FW_LOCAL_CHAINS * plan->n_draw;
  e->average_flops   = n_draw * (EVALUATIONS_PER_DRAW * per_evaluation + pow(n_label, 2.0) * s.n_test * s.n_output);
  e->average_seconds = e->average_flops / (factor_share * rate);
  PetscFunctionReturn(PETSC_SUCCESS);
}
