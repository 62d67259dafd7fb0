/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Synthetic teachers: x ~ N(0, 1), y a function of w . x / sqrt(N_0), with w ~ N(0, 1), plus noise.
 *
 *   linear        y = w . x / sqrt(N_0)
 *   one-layer     y = 1 / sqrt(M) sum_j v_j erf(w_j . x / sqrt(N_0))
 *   single-index  y = z + sin(3 z) / 2 with z = w . x / sqrt(N_0)
 */

#include "source.h"

#include <finwidth/random.h>

#include <math.h>

typedef struct {
  PetscInt64 n_unit;
  double    *weight;  /* [n_unit, N_0] */
  double    *readout; /* [n_unit] */
} Teacher;

static PetscErrorCode OpenTeacher(FwSource *source)
{
  const FwDataKeys *keys    = source->keys;
  const PetscInt64  n_input = keys->teacher_inputs;
  PetscInt64        n;
  Teacher          *teacher;

  PetscFunctionBegin;
  PetscCall(PetscNew(&teacher));
  source->context        = teacher;
  source->info           = (FwSourceInfo){.channels = 1, .height = 1, .width = keys->teacher_inputs, .n_label = 1};
  source->info.n_example = source->info.n_training = keys->skip + keys->n_train + keys->n_test;
  teacher->n_unit = keys->teacher_kind == FW_TEACHER_ONE_LAYER ? keys->teacher_width : 1;
  PetscCall(FwCountProduct(teacher->n_unit, n_input, "weights of the teacher", &n));
  PetscCall(PetscMalloc1(n, &teacher->weight));
  PetscCall(PetscMalloc1(teacher->n_unit, &teacher->readout));
  for (PetscInt64 j = 0; j < teacher->n_unit; j++)
    FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_WEIGHT, (uint64_t)j, 0, 0), 0, (size_t)n_input,
                   teacher->weight + j * n_input);
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

static PetscErrorCode ReadTeacher(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[],
                                  double label[])
{
  const FwDataKeys *keys    = source->keys;
  const PetscInt64  n_input = keys->teacher_inputs;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i++) {
    const uint64_t number = (uint64_t)example[i];
    double        *x      = raw + i * n_input;
    double         noise;

    FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_INPUT, number, 0, 0), 0, (size_t)n_input, x);
    FwStreamNormal(FwStreamCreate(keys->seed, FW_RANDOM_TEACHER_NOISE, number, 0, 0), 0, 1, &noise);
    label[i] = Answer(source->context, keys, x) + sqrt(keys->teacher_noise) * noise;
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
