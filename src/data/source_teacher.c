/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Synthetic teachers: x_i ~ N(0, i^-a), y a function of w . x / sqrt(N_0), with w ~ N(0, 1), plus an offset and noise.
 *
 *   linear        y = w . x / sqrt(N_0)
 *   one-layer     y = 1 / sqrt(M) sum_j v_j erf(w_j . x / sqrt(N_0))
 *   single-index  y = z + sin(3 z) / 2 with z = w . x / sqrt(N_0)
 *   low-rank      y = U diag(s) V^T x, drawn orthonormal columns in U (D x r) and V (N_0 x r)
 *   clusters      x = c_k + spread z, c_k ~ N(0, 1), z_i ~ N(0, i^-a), y = 1 at place k of D and 0 elsewhere; k at random
 */

#include "source.h"

#include <finwidth/orthonormal.h>
#include <finwidth/random.h>

#include <math.h>

typedef struct {
  PetscInt64 n_unit;
  double    *weight;  /* [n_unit, N_0]: w, V of low-rank, centres of clusters */
  double    *readout; /* [n_unit], of low-rank [n_unit, D]: U diag(s) by columns */
} Teacher;

static PetscInt64 CountUnits(const FwDataKeys *keys)
{
  switch (keys->teacher_kind) {
    case FW_TEACHER_ONE_LAYER:
      return keys->teacher_width;
    case FW_TEACHER_LOW_RANK:
      return keys->n_singular;
    case FW_TEACHER_CLUSTERS:
      return keys->n_output ? keys->n_output : 10;
    default:
      return 1;
  }
}

static PetscInt CountLabels(const FwDataKeys *keys)
{
  if (keys->teacher_kind < FW_TEACHER_LOW_RANK) return 1;
  return keys->n_output ? keys->n_output : (PetscInt)CountUnits(keys);
}

static PetscErrorCode MakeLowRank(const FwDataKeys *keys, PetscInt n_label, Teacher *teacher)
{
  PetscFunctionBegin;
  FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_WEIGHT, 0, 1, 0), 0,
                 (size_t)teacher->n_unit * (size_t)n_label, teacher->readout);
  PetscCall(FwOrthonormalise(keys->teacher_inputs, keys->n_singular, teacher->weight));
  PetscCall(FwOrthonormalise(n_label, keys->n_singular, teacher->readout));
  for (PetscInt j = 0; j < keys->n_singular; j++)
    for (PetscInt k = 0; k < n_label; k++) teacher->readout[j * n_label + k] *= keys->singular[j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenTeacher(FwSource *source)
{
  const FwDataKeys *keys    = source->keys;
  const PetscInt64  n_input = keys->teacher_inputs;
  const PetscInt    n_label = CountLabels(keys);
  PetscInt64        n;
  Teacher          *teacher;

  PetscFunctionBegin;
  PetscCall(PetscNew(&teacher));
  source->context = teacher;
  source->info    = (FwSourceInfo){.channels = 1, .height = 1, .width = keys->teacher_inputs, .n_label = n_label};
  source->info.n_example = source->info.n_training = keys->skip + FwLabelled(keys);
  teacher->n_unit                                  = CountUnits(keys);
  PetscCall(FwCountProduct(teacher->n_unit, n_input, "weights of the teacher", &n));
  PetscCheck(sizeof(double) * (double)n <= source->memory, PETSC_COMM_SELF, FW_ERR_MEMORY,
             "the teacher has %" PetscInt64_FMT " units (teacher_width, network_outputs) of %" PetscInt64_FMT
             " inputs (teacher_inputs): its weights need %.3g GiB on each rank and %.3g GiB may be used",
             teacher->n_unit, n_input, sizeof(double) * (double)n / 1073741824.0, source->memory / 1073741824.0);
  PetscCall(PetscMalloc1(n, &teacher->weight));
  PetscCall(PetscMalloc1(teacher->n_unit * n_label, &teacher->readout));
  for (PetscInt64 j = 0; j < teacher->n_unit; j++)
    FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_WEIGHT, (uint64_t)j, 0, 0), 0, (size_t)n_input,
                   teacher->weight + j * n_input);
  if (keys->teacher_kind == FW_TEACHER_LOW_RANK) {
    PetscCall(MakeLowRank(keys, n_label, teacher));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_WEIGHT, 0, 1, 0), 0, (size_t)teacher->n_unit,
                 teacher->readout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* w_j . x / sqrt(N_0) */
static double Field(const Teacher *teacher, PetscInt64 unit, PetscInt64 n_input, const double x[])
{
  const double *w   = teacher->weight + unit * n_input;
  double        sum = 0.0;

  for (PetscInt64 i = 0; i < n_input; i++) sum += w[i] * x[i];
  return sum / sqrt((double)n_input);
}

static double Answer(const Teacher *teacher, const FwDataKeys *keys, const double x[])
{
  const PetscInt64 n_input = keys->teacher_inputs;
  double           z, sum = 0.0;

  switch (keys->teacher_kind) {
    case FW_TEACHER_ONE_LAYER:
      for (PetscInt64 j = 0; j < teacher->n_unit; j++) sum += teacher->readout[j] * erf(Field(teacher, j, n_input, x));
      return sum / sqrt((double)teacher->n_unit);
    case FW_TEACHER_SINGLE_INDEX:
      z = Field(teacher, 0, n_input, x);
      return z + 0.5 * sin(3.0 * z);
    default:
      return Field(teacher, 0, n_input, x);
  }
}

static void AnswerLowRank(const Teacher *teacher, PetscInt64 n_input, PetscInt n_label, const double x[], double y[])
{
  for (PetscInt k = 0; k < n_label; k++) y[k] = 0.0;
  for (PetscInt64 j = 0; j < teacher->n_unit; j++) {
    const double field = sqrt((double)n_input) * Field(teacher, j, n_input, x);

    for (PetscInt k = 0; k < n_label; k++) y[k] += teacher->readout[j * n_label + k] * field;
  }
}

/* Moves x to its centre */
static void AnswerClusters(const Teacher *teacher, const FwDataKeys *keys, uint64_t number, double x[], double y[])
{
  const PetscInt64 n_input = keys->teacher_inputs;
  double           uniform;
  PetscInt64       k;

  FwStreamUniform(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_INPUT, number, 1, 0), 0, 1, &uniform);
  k = (PetscInt64)(uniform * (double)teacher->n_unit);
  for (PetscInt64 i = 0; i < n_input; i++) x[i] = teacher->weight[k * n_input + i] + keys->teacher_spread * x[i];
  for (PetscInt64 j = 0; j < teacher->n_unit; j++) y[j] = j == k ? 1.0 : 0.0;
}

static void DrawInputs(const FwDataKeys *keys, uint64_t number, double x[])
{
  FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_INPUT, number, 0, 0), 0, (size_t)keys->teacher_inputs, x);
  for (PetscInt i = 1; i < keys->teacher_inputs && keys->teacher_spectrum > 0.0; i++)
    x[i] *= pow((double)i + 1.0, -0.5 * keys->teacher_spectrum);
}

/* Clusters have none: their labels are classes */
static void AddNoise(const FwDataKeys *keys, uint64_t number, PetscInt n_label, double y[])
{
  double noise;

  if (keys->teacher_kind == FW_TEACHER_CLUSTERS) return;
  for (PetscInt k = 0; k < n_label; k++) {
    FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_NOISE, number, 0, 0), (uint64_t)k, 1, &noise);
    y[k] += sqrt(keys->teacher_noise) * noise;
  }
}

static PetscErrorCode ReadTeacher(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[],
                                  double label[])
{
  const FwDataKeys *keys    = source->keys;
  const PetscInt64  n_input = keys->teacher_inputs;
  const PetscInt    n_label = source->info.n_label;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i++) {
    const uint64_t number = (uint64_t)example[i];
    double        *x = raw + i * n_input, *y = label + i * n_label;

    DrawInputs(keys, number, x);
    if (keys->teacher_kind == FW_TEACHER_LOW_RANK)
      AnswerLowRank(source->context, n_input, n_label, x, y);
    else if (keys->teacher_kind == FW_TEACHER_CLUSTERS)
      AnswerClusters(source->context, keys, number, x, y);
    else
      *y = Answer(source->context, keys, x);
    AddNoise(keys, number, n_label, y);
    for (PetscInt k = 0; k < n_label; k++) y[k] += keys->teacher_offset;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseTeacher(FwSource *source)
{
  Teacher *teacher = source->context;

  PetscFunctionBegin;
  if (!teacher) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(teacher->weight));
  PetscCall(PetscFree(teacher->readout));
  PetscCall(PetscFree(source->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Teacher = {.name     = "teacher",
                                         .is_drawn = PETSC_TRUE,
                                         .divisor  = 1.0,
                                         .open     = OpenTeacher,
                                         .read     = ReadTeacher,
                                         .close    = CloseTeacher};
