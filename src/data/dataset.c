/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Life cycle of a dataset: keys, the steps of the set-up, getters.
 */

#include "dataset_impl.h"

#include <finwidth/memory.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

PetscErrorCode FwDatasetCreate(MPI_Comm comm, FwDataset *data)
{
  FwDataset d;

  PetscFunctionBegin;
  PetscCall(PetscNew(&d));
  PetscCall(PetscCommDuplicate(comm, &d->comm, &d->tag));
  PetscCallMPI(MPI_Comm_rank(d->comm, &d->rank));
  PetscCallMPI(MPI_Comm_size(d->comm, &d->n_rank));
  *data = d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetSetFromOptions(FwDataset data)
{
  PetscFunctionBegin;
  PetscCheck(!data->is_set_up, data->comm, PETSC_ERR_ORDER, "the dataset is set up already");
  PetscCall(FwDataKeysRead(&data->keys));
  PetscCall(FwSourceOpsGet(data->keys.source, &data->source.ops));
  data->source.keys = &data->keys;
  data->is_reader   = (data->source.ops->is_drawn || data->rank == 0) ? PETSC_TRUE : PETSC_FALSE;
  data->has_options = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetAgree(FwDataset data, PetscErrorCode code)
{
  PetscFunctionBegin;
  PetscCall(data->source.ops->is_drawn ? FwErrorAgreeAny(data->comm, code) : FwErrorAgree(data->comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- set-up ------------------------------------------------------------------------------------------------- */

static PetscErrorCode SettleShape(FwDataset data)
{
  const FwDataKeys   *keys  = &data->keys;
  const FwSourceInfo *info  = &data->source.info;
  FwDataSizes        *sizes = &data->sizes;
  PetscInt64          n_input;

  PetscFunctionBegin;
  PetscCheck(!keys->size || info->is_image || data->source.ops->is_drawn, PETSC_COMM_SELF, FW_ERR_INPUT,
             "key 'data_size' needs images: '%s' holds inputs without height and width", data->source.path);
  data->pixels =
    (FwPixels){.channels = info->channels,
               .height   = info->height,
               .width    = info->width,
               .to_gray  = (keys->is_gray && info->is_image && info->channels == 3) ? PETSC_TRUE : PETSC_FALSE,
               .size     = info->is_image ? keys->size : 0,
               .divisor  = data->source.ops->divisor};
  FwPixelsGetShape(&data->pixels, &sizes->channels, &sizes->height, &sizes->width);
  PetscCall(FwCountProduct(sizes->height, sizes->width, "an example", &n_input));
  PetscCall(FwCountProduct(sizes->channels, n_input, "an example", &n_input));
  PetscCheck(n_input <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT,
             "an example of %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT " inputs is too large",
             sizes->channels, sizes->height, sizes->width);
  sizes->n_input      = (PetscInt)n_input;
  sizes->n_train      = keys->n_train;
  sizes->n_test       = keys->n_test;
  sizes->n_validation = keys->n_validation;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenOnReader(FwDataset data)
{
  FwSource *source = &data->source;

  PetscFunctionBegin;
  if (!source->ops->is_drawn) PetscCall(FwSourceSetPath(source));
  FwSourceChooseFolder(source);
  PetscCall(source->ops->open(source));
  PetscCall(SettleShape(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On each rank, before anything is drawn or read */
static PetscErrorCode CheckMemory(FwDataset data, double numbers, const char what[])
{
  const FwDataKeys *keys  = &data->keys;
  const double      bytes = sizeof(double) * numbers;

  PetscFunctionBegin;
  PetscCheck(bytes <= data->source.memory, data->comm, FW_ERR_MEMORY,
             "data_train %" PetscInt_FMT ", data_test %" PetscInt_FMT ", data_validation %" PetscInt_FMT
             "%s: %s, need %.3g GiB on each of %d ranks and %.3g GiB may be used: want fewer, or more ranks",
             keys->n_train, keys->n_test, keys->n_validation, keys->shuffle ? ", shuffled with those of data_skip" : "",
             what, bytes / 1073741824.0, data->n_rank, data->source.memory / 1073741824.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labels, and the list of examples in use with its random order */
static PetscErrorCode CheckList(FwDataset data)
{
  const double n = (double)FwLabelled(&data->keys), n_label = data->source.info.n_label;

  PetscFunctionBegin;
  PetscCall(CheckMemory(
    data, 2.0 * n * (n_label + 1.0) + (data->keys.shuffle ? 3.0 * (double)data->source.info.n_example : 0.0),
    "their labels"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckRows(FwDataset data)
{
  const double n = ceil((double)FwLabelled(&data->keys) / data->n_rank);
  char         what[64];

  PetscFunctionBegin;
  snprintf(what, sizeof what, "their %" PetscInt_FMT " inputs", data->sizes.n_input);
  PetscCall(CheckMemory(data, n * data->sizes.n_input, what));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(FwDataset data)
{
  PetscFunctionBegin;
  PetscCall(FwEstimateMemory(data->comm, &data->source.memory));
  PetscCall(FwDatasetAgree(data, data->is_reader ? OpenOnReader(data) : PETSC_SUCCESS));
  PetscCallMPI(MPI_Bcast(&data->source.info, (int)sizeof data->source.info, MPI_BYTE, 0, data->comm));
  PetscCallMPI(MPI_Bcast(&data->sizes, (int)sizeof data->sizes, MPI_BYTE, 0, data->comm));
  PetscCall(CheckList(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What only the reading needs */
static PetscErrorCode CloseSource(FwDataset data)
{
  PetscFunctionBegin;
  if (data->source.ops) PetscCall(data->source.ops->close(&data->source));
  PetscCall(PetscFree(data->source.label));
  PetscCall(PetscFree(data->label));
  PetscCall(PetscFree(data->example));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "classes 3 and 8", "classes 0, 1 and 2", "26 classes", "2 outputs" */
static void DescribeLabels(FwDataset data, size_t size, char text[])
{
  enum { MAX_LISTED = 10 };
  const PetscInt n = data->sizes.n_class;
  int            end;

  if (!n || n > MAX_LISTED) {
    const PetscInt count = n ? n : data->sizes.n_output;

    snprintf(text, size, "%d %s%s", (int)count, n ? "class" : "output", n ? "es" : count == 1 ? "" : "s");
    return;
  }
  end = snprintf(text, size, n == 1 ? "class" : "classes");
  for (PetscInt c = 0; c < n && end < (int)size; c++)
    end += snprintf(text + end, size - (size_t)end, "%s%d",
                    c == 0       ? " "
                    : c == n - 1 ? " and "
                                 : ", ",
                    (int)data->classes[c]);
}

static void Describe(FwDataset data)
{
  const FwDataSizes *sizes = &data->sizes;
  char               labels[192];

  DescribeLabels(data, sizeof labels, labels);
  snprintf(data->summary, sizeof data->summary, "%s, %s, %d x %d x %d, %s%s%s", data->source.ops->name, labels,
           (int)sizes->channels, (int)sizes->height, (int)sizes->width, FwNormaliseNames[data->keys.normalise],
           data->keys.scramble ? ", scrambled " : "", data->keys.scramble ? FwScrambleNames[data->keys.scramble] : "");
}

PetscErrorCode FwDatasetSetUp(FwDataset data)
{
  PetscFunctionBegin;
  if (data->is_set_up) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(data->has_options, data->comm, PETSC_ERR_ORDER, "call FwDatasetSetFromOptions() first");
  PetscCall(Open(data));
  PetscCall(FwDatasetSelect(data));
  PetscCall(CheckRows(data));
  PetscCall(FwDatasetLoad(data));
  PetscCall(FwDatasetScrambleLabels(data));
  PetscCall(FwDatasetEncode(data));
  PetscCall(FwDatasetNormalise(data));
  PetscCall(FwDatasetScramble(data));
  PetscCall(CloseSource(data));
  PetscCall(FwDatasetLoadNew(data));
  PetscCall(FwDatasetDigest(data));
  Describe(data);
  data->is_set_up = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetInspect(FwDataset data)
{
  PetscFunctionBegin;
  PetscCheck(data->has_options && !data->is_set_up, data->comm, PETSC_ERR_ORDER, "inspect between keys and set-up");
  PetscCall(Open(data));
  PetscCall(FwDatasetSelect(data));
  PetscCall(FwDatasetCountOutputs(data));
  PetscCall(CloseSource(data));
  PetscCall(FwDatasetCountNew(data));
  Describe(data);
  data->is_inspected = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- getters ------------------------------------------------------------------------------------------------ */

static PetscErrorCode CheckIsSetUp(FwDataset data)
{
  PetscFunctionBegin;
  PetscCheck(data->is_set_up, data->comm, PETSC_ERR_ORDER, "call FwDatasetSetUp() first");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGetSizes(FwDataset data, FwDataSizes *sizes)
{
  PetscFunctionBegin;
  if (!data->is_inspected) PetscCall(CheckIsSetUp(data));
  *sizes = data->sizes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGetSlab(FwDataset data, FwPart part, FwSlab *slab)
{
  PetscFunctionBegin;
  PetscCall(CheckIsSetUp(data));
  slab->n       = FwPartSize(data, part);
  slab->n_input = data->sizes.n_input;
  slab->x       = data->x[part];
  FwPartLayout(data, part, data->rank, &slab->block, &slab->first, &slab->n_local);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGetTargets(FwDataset data, FwPart part, const double **y)
{
  PetscFunctionBegin;
  PetscCall(CheckIsSetUp(data));
  *y = data->y + FwPartOffset(data, part) * data->sizes.n_output;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGetClasses(FwDataset data, FwPart part, const PetscInt **index)
{
  PetscFunctionBegin;
  PetscCall(CheckIsSetUp(data));
  *index = data->class_index ? data->class_index + FwPartOffset(data, part) : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGetDigest(FwDataset data, const char **digest)
{
  PetscFunctionBegin;
  PetscCall(CheckIsSetUp(data));
  *digest = data->digest;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGetSummary(FwDataset data, const char **summary)
{
  PetscFunctionBegin;
  if (!data->is_inspected) PetscCall(CheckIsSetUp(data));
  *summary = data->summary;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetDestroy(FwDataset *data)
{
  FwDataset d = *data;

  PetscFunctionBegin;
  if (!d) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CloseSource(d));
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(PetscFree(d->x[part]));
  PetscCall(PetscFree(d->column));
  PetscCall(PetscFree(d->place));
  PetscCall(PetscFree(d->y));
  PetscCall(PetscFree(d->class_index));
  PetscCall(PetscCommDestroy(&d->comm));
  PetscCall(PetscFree(*data));
  PetscFunctionReturn(PETSC_SUCCESS);
}
