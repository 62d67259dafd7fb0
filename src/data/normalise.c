/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Scale of the inputs. Sums over all examples are added in their order on every rank, so that they have the same bits
 * for any number of ranks.
 */

#include "dataset_impl.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Neumaier's compensated sum */
typedef struct {
  double sum, lost;
} Sum;

static void SumAdd(Sum *s, double term)
{
  const double total = s->sum + term;

  s->lost += fabs(s->sum) >= fabs(term) ? (s->sum - total) + term : (term - total) + s->sum;
  s->sum = total;
}

static double SumValue(const Sum *s)
{
  return s->sum + s->lost;
}

/* Sum over the inputs of an example of (x - shift) / unit, or of its square */
static double ExampleSum(PetscInt n, const double x[], double shift, double unit, int power)
{
  Sum s = {0.0, 0.0};

  for (PetscInt i = 0; i < n; i++) {
    const double term = (x[i] - shift) / unit;

    SumAdd(&s, power == 2 ? term * term : term);
  }
  return SumValue(&s);
}

/* Mean over all training inputs of ((x - shift) / unit)^power */
static PetscErrorCode TrainingMoment(FwDataset data, double shift, double unit, int power, double *moment)
{
  const PetscInt n_input = data->sizes.n_input, n = data->keys.n_train;
  PetscInt       block, first, n_local;
  double        *local, *all;
  Sum            total = {0.0, 0.0};

  PetscFunctionBegin;
  FwPartLayout(data, FW_TRAIN, data->rank, &block, &first, &n_local);
  PetscCall(PetscMalloc2(n_local, &local, n, &all));
  for (PetscInt i = 0; i < n_local; i++)
    local[i] = ExampleSum(n_input, data->x[FW_TRAIN] + (PetscInt64)i * n_input, shift, unit, power);
  PetscCall(FwDatasetGather(data, FW_TRAIN, MPI_DOUBLE, local, all));
  for (PetscInt i = 0; i < n; i++) SumAdd(&total, all[i]);
  PetscCall(PetscFree2(local, all));
  *moment = SumValue(&total) / ((double)n * n_input);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sets the largest absolute value. By comparison, not by the deviation: the mean of equal numbers need not have their
   bits */
static PetscErrorCode CheckNotConstant(FwDataset data, double *largest)
{
  PetscInt block, first, n_local;
  double   mine[2] = {-DBL_MAX, -DBL_MAX}, extreme[2]; /* maximum of x and of -x */

  PetscFunctionBegin;
  FwPartLayout(data, FW_TRAIN, data->rank, &block, &first, &n_local);
  for (PetscInt64 i = 0; i < (PetscInt64)n_local * data->sizes.n_input; i++) {
    mine[0] = fmax(mine[0], data->x[FW_TRAIN][i]);
    mine[1] = fmax(mine[1], -data->x[FW_TRAIN][i]);
  }
  PetscCallMPI(MPI_Allreduce(mine, extreme, 2, MPI_DOUBLE, MPI_MAX, data->comm));
  PetscCheck(extreme[0] > -extreme[1], data->comm, FW_ERR_INPUT,
             "all inputs of the training examples (data_source '%s') are %.6g: data_normalise 'standard' cannot scale "
             "them",
             data->source.ops->name, extreme[0]);
  *largest = fmax(extreme[0], extreme[1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Standardise(FwDataset data)
{
  double largest, unit, mean, variance;

  PetscFunctionBegin;
  PetscCall(CheckNotConstant(data, &largest));
  unit = ldexp(1.0, ilogb(largest)); /* no square leaves the range, and no digit changes */
  PetscCall(TrainingMoment(data, 0.0, 1.0, 1, &mean));
  PetscCall(TrainingMoment(data, mean, unit, 2, &variance));
  PetscCheck(isfinite(variance) && variance > 0.0, data->comm, FW_ERR_INPUT,
             "the training inputs have mean %.6g and variance %.6g: data_normalise 'standard' cannot scale them", mean,
             variance);
  data->shift = mean;
  data->scale = unit * sqrt(variance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- columns ------------------------------------------------------------------------------------------------ */

/* Mean over the training examples of ((x - shift) / unit)^power for each input. The sums go from rank to rank, which adds
   its examples in their order: the same bits for any number of ranks. */
static PetscErrorCode ColumnMoments(FwDataset data, const double shift[], const double unit[], int power,
                                    double moment[])
{
  const PetscInt n_input = data->sizes.n_input, last = data->n_rank - 1;
  PetscInt       block, first, n_local;
  Sum           *sum;

  PetscFunctionBegin;
  FwPartLayout(data, FW_TRAIN, data->rank, &block, &first, &n_local);
  PetscCall(PetscCalloc1(n_input, &sum));
  if (data->rank > 0)
    PetscCallMPI(MPI_Recv(sum, 2 * n_input, MPI_DOUBLE, data->rank - 1, data->tag, data->comm, MPI_STATUS_IGNORE));
  for (PetscInt64 i = 0; i < n_local; i++)
    for (PetscInt64 j = 0; j < n_input; j++) {
      const double term = (data->x[FW_TRAIN][i * n_input + j] - shift[j]) / unit[j];

      SumAdd(&sum[j], power == 2 ? term * term : term);
    }
  if (data->rank < last) PetscCallMPI(MPI_Send(sum, 2 * n_input, MPI_DOUBLE, data->rank + 1, data->tag, data->comm));
  for (PetscInt j = 0; j < n_input; j++) moment[j] = SumValue(&sum[j]) / data->keys.n_train;
  PetscCallMPI(MPI_Bcast(moment, n_input, MPI_DOUBLE, last, data->comm));
  PetscCall(PetscFree(sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The power of two below the largest absolute value of each input. Where all are equal it is 0, and the shift that value: by
   comparison, since the mean of equal numbers need not have their bits */
static PetscErrorCode ColumnUnits(FwDataset data, double shift[], double unit[])
{
  const PetscInt n_input = data->sizes.n_input;
  PetscInt       block, first, n_local;
  double        *extreme; /* maxima of x, then of -x */

  PetscFunctionBegin;
  FwPartLayout(data, FW_TRAIN, data->rank, &block, &first, &n_local);
  PetscCall(PetscMalloc1(2 * (size_t)n_input, &extreme));
  for (PetscInt j = 0; j < 2 * n_input; j++) extreme[j] = -DBL_MAX;
  for (PetscInt64 i = 0; i < n_local; i++)
    for (PetscInt64 j = 0; j < n_input; j++) {
      const double x = data->x[FW_TRAIN][i * n_input + j];

      extreme[j]           = fmax(extreme[j], x);
      extreme[n_input + j] = fmax(extreme[n_input + j], -x);
    }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, extreme, 2 * n_input, MPI_DOUBLE, MPI_MAX, data->comm));
  for (PetscInt j = 0; j < n_input; j++) {
    const double largest = fmax(extreme[j], extreme[n_input + j]);

    unit[j] = extreme[j] > -extreme[n_input + j] ? ldexp(1.0, ilogb(largest)) : 0.0;
    if (unit[j] == 0.0) shift[j] = extreme[j];
  }
  PetscCall(PetscFree(extreme));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An input that is the same in all training examples has no deviation, becomes zero in them and keeps its unit */
static PetscErrorCode StandardiseColumns(FwDataset data)
{
  const PetscInt n_input = data->sizes.n_input;
  double        *shift, *scale, *unit;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(2 * (size_t)n_input, &data->column));
  PetscCall(PetscMalloc1(n_input, &unit));
  shift = data->column;
  scale = data->column + n_input;
  for (PetscInt j = 0; j < n_input; j++) scale[j] = 1.0;
  PetscCall(ColumnMoments(data, shift, scale, 1, shift));
  PetscCall(ColumnUnits(data, shift, unit));
  for (PetscInt j = 0; j < n_input; j++) scale[j] = unit[j] > 0.0 ? unit[j] : 1.0;
  PetscCall(ColumnMoments(data, shift, scale, 2, scale));
  for (PetscInt j = 0; j < n_input; j++) scale[j] = unit[j] * sqrt(scale[j]);
  PetscCall(PetscFree(unit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all parts ---------------------------------------------------------------------------------------------- */

/* One example to norm sqrt(N_0); divided by its largest entry first, so that no square leaves the range */
static void ScaleToUnit(PetscInt n, double x[])
{
  double largest = 0.0, norm;

  for (PetscInt i = 0; i < n; i++) largest = fmax(largest, fabs(x[i]));
  if (!(largest > 0.0)) return; /* nothing can be made of zeros */
  for (PetscInt i = 0; i < n; i++) x[i] /= largest;
  norm = sqrt(ExampleSum(n, x, 0.0, 1.0, 2) / n);
  for (PetscInt i = 0; i < n; i++) x[i] /= norm;
}

void FwDatasetScalePart(FwDataset data, FwPart part)
{
  const PetscInt64 n_input = data->sizes.n_input;
  PetscInt         block, first, n_local;

  FwPartLayout(data, part, data->rank, &block, &first, &n_local);
  if (data->keys.normalise == FW_NORMALISE_STANDARD)
    for (PetscInt64 i = 0; i < n_local * n_input; i++)
      data->x[part][i] = (data->x[part][i] - data->shift) / data->scale;
  if (data->keys.normalise == FW_NORMALISE_COLUMNS)
    for (PetscInt64 i = 0; i < n_local * n_input; i++) {
      const double scale = data->column[n_input + i % n_input];

      data->x[part][i] = (data->x[part][i] - data->column[i % n_input]) / (scale > 0.0 ? scale : 1.0);
    }
  if (data->keys.normalise == FW_NORMALISE_UNIT)
    for (PetscInt i = 0; i < n_local; i++) ScaleToUnit(data->sizes.n_input, data->x[part] + i * n_input);
}

/* One deviation for all of a table lets its largest column drown the others */
static PetscErrorCode WarnOfColumns(FwDataset data)
{
  const PetscInt n_input = data->sizes.n_input;
  double         least = INFINITY, most = 0.0;

  PetscFunctionBegin;
  PetscCall(StandardiseColumns(data));
  for (PetscInt j = 0; j < n_input; j++) {
    if (data->column[n_input + j] > 0.0) least = fmin(least, data->column[n_input + j]);
    most = fmax(most, data->column[n_input + j]);
  }
  PetscCall(PetscFree(data->column));
  if (most > 30.0 * least)
    PetscCall(
      FwWarn("columns of data_path '%s' have deviations from %.3g to %.3g, and the largest drown the others: "
             "data_normalise 'columns' gives each its own",
             data->keys.path, least, most));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetNormalise(FwDataset data)
{
  PetscFunctionBegin;
  if (data->keys.normalise == FW_NORMALISE_STANDARD) {
    if (!strcmp(data->source.ops->name, "csv")) PetscCall(WarnOfColumns(data));
    PetscCall(Standardise(data));
  }
  if (data->keys.normalise == FW_NORMALISE_COLUMNS) PetscCall(StandardiseColumns(data));
  for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) FwDatasetScalePart(data, (FwPart)part);
  PetscFunctionReturn(PETSC_SUCCESS);
}
