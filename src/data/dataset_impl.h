/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a dataset, and the steps of its set-up, one file each, in the order in which they run.
 */

#include <finwidth/dataset.h>

#include "source.h"

/** How stored pixels become inputs; see resize.c. */
typedef struct {
  PetscInt  channels, height, width; /* as stored */
  PetscBool to_gray;
  PetscInt  size; /* 0: as stored */
  double    divisor;
} FwPixels;

struct FwDatasetImpl {
  MPI_Comm    comm; /* from PetscCommDuplicate() */
  PetscMPIInt rank, n_rank, tag;
  FwDataKeys  keys;
  PetscBool   has_options, is_set_up, is_inspected;
  PetscBool   is_reader; /* this rank calls the source: rank 0 for files, every rank for drawn ones */
  FwSource    source;
  FwPixels    pixels;
  PetscInt    n_class; /* kept classes; 0 where labels are only numbers */
  PetscInt    classes[FW_MAX_CLASS];
  FwEncoding  encoding;
  FwDataSizes sizes;
  PetscInt64 *example;          /* [FwLabelled()] number in the sequence of each example used */
  double     *label;            /* [FwLabelled(), n_label] as stored; released after encoding */
  double     *x[FW_PART_COUNT]; /* [n_local, N_0] by part */
  double      shift, scale;     /* of data_normalise standard: x becomes (x - shift) / scale */
  double     *column;           /* of columns: [N_0] shifts, then [N_0] scales; NULL otherwise */
  PetscInt64 *place;            /* [height, width] pixel that data_scramble puts here; NULL where all stay */
  double     *y;                /* [FwLabelled(), D] */
  PetscInt   *class_index;      /* [FwLabelled()], or NULL */
  char        digest[17];
  char        summary[256];
};

/** Read the keys. */
PetscErrorCode FwDataKeysRead(FwDataKeys *keys);

/** Settle classes and encoding, and list the examples to be used. Collective. */
PetscErrorCode FwDatasetSelect(FwDataset data);

/** Read or draw the examples, spread them, and give their labels to every rank. Collective. */
PetscErrorCode FwDatasetLoad(FwDataset data);

/** Deal the labels of a part out anew (data_scramble), on every rank. */
PetscErrorCode FwDatasetScrambleLabels(FwDataset data);

/** Number of outputs, which is that of the key where it is given. Collective. */
PetscErrorCode FwDatasetCountOutputs(FwDataset data);

/** Targets from labels, on every rank. */
PetscErrorCode FwDatasetEncode(FwDataset data);

/** Scale the inputs. Collective. */
PetscErrorCode FwDatasetNormalise(FwDataset data);

/** Put the pixels of all examples into another order (data_scramble). Collective. */
PetscErrorCode FwDatasetScramble(FwDataset data);

/** Read the inputs of `data_predict`, scale and order them as the training inputs were. Collective. */
PetscErrorCode FwDatasetLoadNew(FwDataset data);

/** Only how many they are. Collective. */
PetscErrorCode FwDatasetCountNew(FwDataset data);

/** Scale one part as the training inputs were. */
void FwDatasetScalePart(FwDataset data, FwPart part);

/** Put the pixels of one part into the order of the training inputs. */
PetscErrorCode FwDatasetScramblePart(FwDataset data, FwPart part);

/** Send a block of n examples from rank 0 to its owner, who has it in `x`; on rank 0 they are one. */
PetscErrorCode FwDatasetPassBlock(FwDataset data, PetscMPIInt owner, PetscInt n, const double block[], double x[]);

/** Digest of all that is used. Collective. */
PetscErrorCode FwDatasetDigest(FwDataset data);

/** Inputs [channels, height, width] that an image has after conversion. */
void FwPixelsGetShape(const FwPixels *pixels, PetscInt *channels, PetscInt *height, PetscInt *width);

/** Convert one example: luminance, area average, division. `work` has room for one stored example. */
void FwPixelsConvert(const FwPixels *pixels, const double raw[], double work[], double x[]);

/** One number per local example of a part becomes the list of all, in order, on every rank. Collective. */
PetscErrorCode FwDatasetGather(FwDataset data, FwPart part, MPI_Datatype type, const void *local, void *all);

/** An error of the ranks that call the source becomes the error of all. Collective. */
PetscErrorCode FwDatasetAgree(FwDataset data, PetscErrorCode code);

/** Names of choices for messages. */
extern const char *const FwEncodingNames[], *const FwNormaliseNames[], *const FwScrambleNames[];

static inline PetscInt FwPartSize(FwDataset data, FwPart part)
{
  switch (part) {
    case FW_TRAIN:
      return data->keys.n_train;
    case FW_TEST:
      return data->keys.n_test;
    case FW_VALIDATION:
      return data->keys.n_validation;
    default:
      return data->sizes.n_new;
  }
}

/** Where a part begins in the lists of all examples. */
static inline PetscInt64 FwPartOffset(FwDataset data, FwPart part)
{
  return part == FW_TRAIN ? 0 : data->keys.n_train + (part == FW_TEST ? 0 : (PetscInt64)data->keys.n_test);
}

/** The layout of a part over the ranks: block, and first and number of `rank`. */
static inline void FwPartLayout(FwDataset data, FwPart part, PetscMPIInt rank, PetscInt *block, PetscInt *first,
                                PetscInt *n_local)
{
  const PetscInt n = FwPartSize(data, part);

  *block   = n / data->n_rank + (n % data->n_rank ? 1 : 0);
  *first   = (PetscInt)PetscMin((PetscInt64)n, (PetscInt64)*block * rank);
  *n_local = PetscMin(*block, n - *first);
}
