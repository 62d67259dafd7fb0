/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A folder with a training and a test file of a format that has one file otherwise: train.csv and test.csv, train.h5 and
 * test.h5. One sequence, training file first.
 */

#include "source.h"

#include <sys/stat.h>

enum { TRAINING, TEST, PARTS };

typedef struct {
  FwSource part[PARTS];
} Folder;

static const FwSourceOps csv_folder, hdf5_folder;

typedef struct {
  const FwSourceOps *file, *folder;
  const char        *name[PARTS], *words;
} Kind;

static const Kind kinds[] = {
  {&FwSourceOps_Csv,  &csv_folder,  {"train.csv", "test.csv"}, "a folder with 'train.csv' and 'test.csv'"},
  {&FwSourceOps_Hdf5, &hdf5_folder, {"train.h5", "test.h5"},   "a folder with 'train.h5' and 'test.h5'"  }
};

static const Kind *KindOf(const FwSource *source)
{
  return &kinds[source->ops == kinds[1].folder ? 1 : 0];
}

void FwSourceChooseFolder(FwSource *source)
{
  struct stat status;

  if (stat(source->path, &status) || !S_ISDIR(status.st_mode)) return;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(kinds); k++)
    if (source->ops == kinds[k].file) source->ops = kinds[k].folder;
}

const char *FwSourceFolderWords(const FwSource *source)
{
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(kinds); k++)
    if (source->ops == kinds[k].file) return kinds[k].words;
  return NULL;
}

static PetscErrorCode FileOfFolder(const FwSource *source, PetscInt i, char path[PETSC_MAX_PATH_LEN])
{
  PetscFunctionBegin;
  path[0] = '\0';
  if (i < PARTS) PetscCall(FwPathJoin(source->path, KindOf(source)->name[i], path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What examples of both files must have in common */
static PetscErrorCode CheckAlike(const FwSource *training, const FwSource *test)
{
  const FwSourceInfo *a = &training->info, *b = &test->info;

  PetscFunctionBegin;
  PetscCheck(a->channels == b->channels && a->height == b->height && a->width == b->width, PETSC_COMM_SELF,
             FW_ERR_INPUT,
             "'%s' has inputs of %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT
             ", those of '%s' are %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT,
             test->path, b->channels, b->height, b->width, training->path, a->channels, a->height, a->width);
  PetscCheck(a->is_image == b->is_image && a->n_label == b->n_label, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' has %" PetscInt_FMT " targets, '%s' has %" PetscInt_FMT, test->path, b->n_label, training->path,
             a->n_label);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenPart(FwSource *source, int which, FwSource *part)
{
  PetscFunctionBegin;
  *part = (FwSource){.ops = KindOf(source)->file, .keys = source->keys, .memory = source->memory};
  PetscCall(FileOfFolder(source, which, part->path));
  PetscCheck(FwPathExists(part->path), PETSC_COMM_SELF, FW_ERR_FILE,
             "no '%s': data_path names a file, or for data_source '%s' %s", part->path, source->ops->name,
             KindOf(source)->words);
  PetscCall(part->ops->open(part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode JoinLabels(FwSource *source, Folder *folder)
{
  const PetscInt64 n_label = source->info.n_label;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)source->info.n_example * (size_t)n_label, &source->label));
  for (int p = 0; p < PARTS; p++) {
    FwSource *part = &folder->part[p];

    PetscCall(PetscArraycpy(source->label + (p ? source->info.n_training * n_label : 0), part->label,
                            part->info.n_example * n_label));
    PetscCall(PetscFree(part->label));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenFolder(FwSource *source)
{
  Folder *folder;

  PetscFunctionBegin;
  PetscCall(PetscNew(&folder));
  source->context = folder;
  for (int p = 0; p < PARTS; p++) PetscCall(OpenPart(source, p, &folder->part[p]));
  PetscCall(CheckAlike(&folder->part[TRAINING], &folder->part[TEST]));
  source->info = folder->part[TRAINING].info;
  source->info.n_example += folder->part[TEST].info.n_example;
  PetscCall(JoinLabels(source, folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Neighbours of one file in one go */
static PetscErrorCode ReadFolder(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  const PetscInt64 n_training = source->info.n_training,
                   n_raw      = (PetscInt64)source->info.channels * source->info.height * source->info.width;
  Folder     *folder          = source->context;
  PetscInt64 *own;
  PetscInt    run;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &own));
  for (PetscInt i = 0; i < n; i += run) {
    FwSource *part = &folder->part[example[i] < n_training ? TRAINING : TEST];

    for (run = 0; i + run < n && (example[i + run] < n_training) == (example[i] < n_training); run++)
      own[run] = example[i + run] - (example[i] < n_training ? 0 : n_training);
    PetscCall(part->ops->read(part, run, own, raw + i * n_raw, label));
  }
  PetscCall(PetscFree(own));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseFolder(FwSource *source)
{
  Folder *folder = source->context;

  PetscFunctionBegin;
  for (int p = 0; folder && p < PARTS; p++) {
    FwSource *part = &folder->part[p];

    if (part->ops) PetscCall(part->ops->close(part));
    PetscCall(PetscFree(part->label));
  }
  PetscCall(PetscFree(source->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const FwSourceOps csv_folder = {
  .name = "csv", .divisor = 1.0, .file = FileOfFolder, .open = OpenFolder, .read = ReadFolder, .close = CloseFolder};
static const FwSourceOps hdf5_folder = {
  .name = "hdf5", .divisor = 1.0, .file = FileOfFolder, .open = OpenFolder, .read = ReadFolder, .close = CloseFolder};
