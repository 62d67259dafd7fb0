/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Which examples are used: classes kept, order, what is passed over, training and test.
 */

#include "dataset_impl.h"

#include <finwidth/random.h>

#include <math.h>
#include <stdlib.h>

/* Examples of one sequence that may be used, in the order of use */
typedef struct {
  PetscInt64  n;
  PetscInt64 *example;
} Pool;

/* --- classes ------------------------------------------------------------------------------------------------ */

static PetscErrorCode CheckLabelsAreClasses(const FwSource *source)
{
  const PetscInt limit = source->ops->n_class ? source->ops->n_class : PETSC_MAX_INT;

  PetscFunctionBegin;
  PetscCheck(source->info.n_label == 1, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': classes need one target per example, there are %" PetscInt_FMT ": use data_encoding 'value'",
             source->path, source->info.n_label);
  for (PetscInt64 i = 0; i < source->info.n_example; i++) {
    const double label = source->label[i];

    PetscCheck(label >= 0.0 && label < (double)limit && label == floor(label), PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': the target of example %" PetscInt64_FMT " is %.6g, not a class (an integer from 0)", source->path,
               i, label);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt ClassIndex(FwDataset data, double label)
{
  for (PetscInt c = 0; c < data->n_class; c++)
    if ((double)data->classes[c] == label) return c;
  return -1;
}

static int CompareIntegers(const void *a, const void *b)
{
  const PetscInt left = *(const PetscInt *)a, right = *(const PetscInt *)b;

  return (left > right) - (left < right);
}

static PetscErrorCode FindClasses(FwDataset data)
{
  const FwSource *source = &data->source;

  PetscFunctionBegin;
  data->n_class = 0;
  for (PetscInt64 i = 0; i < source->info.n_example; i++) {
    if (ClassIndex(data, source->label[i]) >= 0) continue;
    PetscCheck(data->n_class < FW_MAX_CLASS, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': more than %d different targets: they are not classes, use data_encoding 'value'", source->path,
               (int)FW_MAX_CLASS);
    data->classes[data->n_class++] = (PetscInt)source->label[i];
  }
  qsort(data->classes, (size_t)data->n_class, sizeof *data->classes, CompareIntegers);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckClassesOccur(FwDataset data)
{
  const FwSource *source                    = &data->source;
  PetscBool       has_example[FW_MAX_CLASS] = {PETSC_FALSE};

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < source->info.n_example; i++) {
    const PetscInt c = ClassIndex(data, source->label[i]);

    if (c >= 0) has_example[c] = PETSC_TRUE;
  }
  for (PetscInt c = 0; c < data->n_class; c++)
    PetscCheck(has_example[c], PETSC_COMM_SELF, FW_ERR_INPUT,
               "key 'data_classes' names class %" PetscInt_FMT ", of which '%s' has no example", data->classes[c],
               source->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Classes as the user lists them, or as they are found */
static PetscErrorCode SettleClasses(FwDataset data)
{
  const FwDataKeys  *keys = &data->keys;
  const FwSourceOps *ops  = data->source.ops;

  PetscFunctionBegin;
  data->n_class = keys->n_class;
  PetscCall(PetscArraycpy(data->classes, keys->classes, keys->n_class));
  if (ops->is_drawn) {
    if (!data->n_class && ops->n_class) { /* the first two: enough for a binary task */
      data->n_class    = 2;
      data->classes[0] = 0;
      data->classes[1] = 1;
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!ops->n_class && !keys->n_class && keys->encoding >= FW_ENCODE_VALUE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CheckLabelsAreClasses(&data->source));
  if (keys->n_class)
    PetscCall(CheckClassesOccur(data));
  else
    PetscCall(FindClasses(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SettleEncoding(FwDataset data)
{
  const PetscBool is_default = data->keys.encoding == FW_ENCODE_DEFAULT ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  data->encoding = data->keys.encoding;
  if (is_default && !data->source.ops->n_class) data->encoding = FW_ENCODE_VALUE;
  if (data->encoding == FW_ENCODE_VALUE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(data->n_class > 1 || !is_default, PETSC_COMM_SELF, FW_ERR_INPUT,
             "only one class (%" PetscInt_FMT
             "): nothing to tell apart, keep more in 'data_classes' or give "
             "'data_encoding'",
             data->n_class ? data->classes[0] : -1);
  if (is_default) data->encoding = data->n_class == 2 ? FW_ENCODE_SIGN : FW_ENCODE_ONEHOT;
  PetscCheck(data->n_class == 2 || data->encoding != FW_ENCODE_SIGN, PETSC_COMM_SELF, FW_ERR_INPUT,
             "data_encoding 'sign' needs two classes, there are %" PetscInt_FMT ": name two in 'data_classes'",
             data->n_class);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- examples ----------------------------------------------------------------------------------------------- */

/* `part` names the stream */
static PetscErrorCode Shuffle(FwDataset data, FwPart part, Pool *pool)
{
  const FwStream stream = FwStreamCreate(data->keys.seed, FW_RANDOM_SHUFFLE, (uint64_t)part, 0, 0);
  PetscInt64    *order;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(PetscMax(pool->n, 1), &order));
  PetscCall(FwStreamOrder(stream, pool->n, order));
  for (PetscInt64 i = 0; i < pool->n; i++) order[i] = pool->example[order[i]];
  PetscCall(PetscFree(pool->example));
  pool->example = order;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Kept examples among `first` to `last` - 1 of the sequence, in the order of use */
static PetscErrorCode FillPool(FwDataset data, FwPart part, PetscInt64 first, PetscInt64 last, Pool *pool)
{
  const double *label = data->source.label;

  PetscFunctionBegin;
  pool->n = 0;
  PetscCall(PetscMalloc1(PetscMax(last - first, 1), &pool->example));
  for (PetscInt64 i = first; i < last; i++)
    if (!label || !data->n_class || ClassIndex(data, label[i]) >= 0) pool->example[pool->n++] = i;
  if (data->keys.shuffle) PetscCall(Shuffle(data, part, pool));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One sequence: skip, training, test */
static PetscErrorCode TakeFromSequence(FwDataset data, PetscInt64 example[])
{
  const FwDataKeys *keys        = &data->keys;
  const PetscInt64  n           = FwLabelled(keys);
  char              further[48] = "";
  Pool              pool;
  PetscErrorCode    code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (data->source.ops->is_drawn && !keys->shuffle) { /* as many as one likes: no list of those passed over */
    for (PetscInt64 i = 0; i < n; i++) example[i] = keys->skip + i;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FillPool(data, FW_TRAIN, 0, data->source.info.n_example, &pool));
  if (keys->n_validation)
    PetscCall(PetscSNPrintf(further, sizeof further, " + data_validation %" PetscInt_FMT, keys->n_validation));
  if (pool.n >= keys->skip + n)
    PetscCall(PetscArraycpy(example, pool.example + keys->skip, n));
  else
    code = PetscError(PETSC_COMM_SELF, __LINE__, PETSC_FUNCTION_NAME, __FILE__, FW_ERR_INPUT, PETSC_ERROR_INITIAL,
                      "'%s' has %" PetscInt64_FMT " examples%s: data_skip %" PetscInt64_FMT
                      " + data_train %" PetscInt_FMT " + data_test %" PetscInt_FMT "%s are too many",
                      data->source.path, pool.n, data->n_class ? " of the kept classes" : "", keys->skip, keys->n_train,
                      keys->n_test, further);
  PetscCall(PetscFree(pool.example));
  PetscFunctionReturn(code);
}

/* The examples of a part from those of its files, behind `skip` of them */
static PetscErrorCode TakeFromPool(FwDataset data, FwPart part, PetscInt64 skip, const Pool *pool, PetscInt64 example[])
{
  static const char *const keys[] = {"data_train", "data_test", "data_train and data_validation"};
  const PetscInt           n      = FwPartSize(data, part);

  PetscFunctionBegin;
  PetscCheck(pool->n >= skip + n, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' has %" PetscInt64_FMT " %s examples of the kept classes: data_skip %" PetscInt64_FMT
             " + %s %" PetscInt64_FMT " are too many",
             data->source.path, pool->n, part == FW_TEST ? "test" : "training", part == FW_TEST ? 0 : data->keys.skip,
             keys[part], skip + n - (part == FW_TEST ? 0 : data->keys.skip));
  PetscCall(PetscArraycpy(example + FwPartOffset(data, part), pool->example + skip, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Those of the training files, or of the test file, and what is taken from them */
static PetscErrorCode TakeFromFile(FwDataset data, FwPart file, PetscInt64 example[])
{
  const FwSourceInfo *info    = &data->source.info;
  const FwDataKeys   *keys    = &data->keys;
  const PetscBool     is_test = file == FW_TEST ? PETSC_TRUE : PETSC_FALSE;
  Pool                pool;
  PetscErrorCode      code;

  PetscFunctionBegin;
  PetscCall(FillPool(data, file, is_test ? info->n_training : 0, is_test ? info->n_example : info->n_training, &pool));
  code = TakeFromPool(data, file, is_test ? 0 : keys->skip, &pool, example);
  if (!code && !is_test) code = TakeFromPool(data, FW_VALIDATION, keys->skip + keys->n_train, &pool, example);
  PetscCall(PetscFree(pool.example));
  PetscFunctionReturn(code);
}

/* Training and test files apart */
static PetscErrorCode TakeFromFiles(FwDataset data, PetscInt64 example[])
{
  const FwSourceInfo *info   = &data->source.info;
  const char         *folder = FwSourceFolderWords(&data->source);

  PetscFunctionBegin;
  PetscCheck(info->n_training > 0 &&
                 info->n_training<info->n_example, PETSC_COMM_SELF, FW_ERR_INPUT,
                                  "'%s' has no separate %s file: data_split 'files' needs both, use 'sequence'%s%s",
                                  data->source.path, info->n_training> 0
               ? "test"
               : "training",
             folder ? ", or " : "", folder ? folder : "");
  PetscCall(TakeFromFile(data, FW_TRAIN, example));
  PetscCall(TakeFromFile(data, FW_TEST, example));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SelectOnReader(FwDataset data)
{
  PetscFunctionBegin;
  PetscCall(SettleClasses(data));
  PetscCall(SettleEncoding(data));
  PetscCall(PetscMalloc1(FwLabelled(&data->keys), &data->example));
  if (data->keys.split == FW_SPLIT_FILES)
    PetscCall(TakeFromFiles(data, data->example));
  else
    PetscCall(TakeFromSequence(data, data->example));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetSelect(FwDataset data)
{
  int encoding;

  PetscFunctionBegin;
  PetscCall(FwDatasetAgree(data, data->is_reader ? SelectOnReader(data) : PETSC_SUCCESS));
  PetscCallMPI(MPI_Bcast(&data->n_class, 1, MPIU_INT, 0, data->comm));
  PetscCallMPI(MPI_Bcast(data->classes, FW_MAX_CLASS, MPIU_INT, 0, data->comm));
  encoding = (int)data->encoding;
  PetscCallMPI(MPI_Bcast(&encoding, 1, MPI_INT, 0, data->comm));
  data->encoding = (FwEncoding)encoding;
  PetscFunctionReturn(PETSC_SUCCESS);
}
