/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * CIFAR-10 in its binary format: records of one label byte and 1,024 bytes each of red, green and blue.
 */

#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FILE = 6, SIDE = 32, N_CHANNEL = 3, N_PIXEL = N_CHANNEL * SIDE * SIDE, RECORD = N_PIXEL + 1, N_CLASS = 10 };

typedef struct {
  char       path[PETSC_MAX_PATH_LEN];
  FILE      *file;
  PetscInt64 first, n; /* records of the sequence */
} Batch;

typedef struct {
  Batch batch[MAX_FILE];
  int   n_batch;
} Cifar;

static PetscErrorCode ReadRecord(const Batch *batch, PetscInt64 record, unsigned char byte[RECORD])
{
  PetscFunctionBegin;
  PetscCheck(!fseeko(batch->file, (off_t)(record * RECORD), SEEK_SET) && fread(byte, RECORD, 1, batch->file) == 1,
             PETSC_COMM_SELF, FW_ERR_FILE, "'%s': record %" PetscInt64_FMT " cannot be read", batch->path, record);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadLabels(FwSource *source, const Batch *batch)
{
  unsigned char byte[RECORD];

  PetscFunctionBegin;
  PetscCall(PetscRealloc((size_t)(batch->first + batch->n) * sizeof(double), &source->label));
  for (PetscInt64 i = 0; i < batch->n; i++) {
    PetscCall(ReadRecord(batch, i, byte));
    PetscCheck(byte[0] < N_CLASS, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': the label of record %" PetscInt64_FMT " is %d, want 0 to %d", batch->path, i, (int)byte[0],
               N_CLASS - 1);
    source->label[batch->first + i] = byte[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenBatch(FwSource *source, Batch *batch)
{
  PetscInt64 n_byte;

  PetscFunctionBegin;
  PetscCall(FwFileSize(batch->path, &n_byte));
  PetscCheck(n_byte > 0 && n_byte % RECORD == 0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' has %" PetscInt64_FMT " bytes, want whole records of %d", batch->path, n_byte, RECORD);
  batch->file = fopen(batch->path, "rb");
  PetscCheck(batch->file, PETSC_COMM_SELF, FW_ERR_FILE, "cannot open '%s': %s", batch->path, strerror(errno));
  batch->first = source->info.n_example;
  batch->n     = n_byte / RECORD;
  PetscCall(ReadLabels(source, batch));
  source->info.n_example += batch->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileOfCifar(const FwSource *source, PetscInt i, char path[PETSC_MAX_PATH_LEN])
{
  static const char *const names[MAX_FILE] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                              "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};

  PetscFunctionBegin;
  path[0] = '\0';
  if (i < MAX_FILE) PetscCall(FwPathJoin(source->path, names[i], path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenCifar(FwSource *source)
{
  Cifar *cifar;

  PetscFunctionBegin;
  PetscCall(PetscNew(&cifar));
  source->context = cifar;
  source->info =
    (FwSourceInfo){.channels = N_CHANNEL, .height = SIDE, .width = SIDE, .n_label = 1, .is_image = PETSC_TRUE};
  PetscCheck(FwPathExists(source->path), PETSC_COMM_SELF, FW_ERR_FILE, "the folder '%s' does not exist", source->path);
  for (int i = 0; i < MAX_FILE; i++) {
    Batch *batch = &cifar->batch[cifar->n_batch];

    PetscCall(FileOfCifar(source, i, batch->path));
    if (!FwPathExists(batch->path)) continue;
    cifar->n_batch++;
    PetscCall(OpenBatch(source, batch));
    if (i < MAX_FILE - 1) source->info.n_training = source->info.n_example;
  }
  PetscCheck(cifar->n_batch, PETSC_COMM_SELF, FW_ERR_FILE,
             "no images in '%s': want data_batch_1.bin to data_batch_5.bin, test_batch.bin", source->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCifar(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  const Cifar  *cifar = source->context;
  unsigned char byte[RECORD];

  PetscFunctionBegin;
  (void)label;
  for (PetscInt64 i = 0; i < n; i++) {
    const Batch *batch = cifar->batch;

    while (example[i] >= batch->first + batch->n) batch++;
    PetscCall(ReadRecord(batch, example[i] - batch->first, byte));
    for (PetscInt64 j = 0; j < N_PIXEL; j++) raw[i * N_PIXEL + j] = byte[1 + j];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseCifar(FwSource *source)
{
  Cifar *cifar = source->context;

  PetscFunctionBegin;
  if (!cifar) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < cifar->n_batch; i++)
    if (cifar->batch[i].file) fclose(cifar->batch[i].file);
  PetscCall(PetscFree(source->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Cifar10 = {.name    = "cifar10",
                                         .n_class = N_CLASS,
                                         .divisor = 255.0,
                                         .file    = FileOfCifar,
                                         .open    = OpenCifar,
                                         .read    = ReadCifar,
                                         .close   = CloseCifar};
