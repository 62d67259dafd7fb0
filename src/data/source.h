/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what the user asked for, and the table of functions that one source of examples fills in.
 *
 * A new source is one file with its table and one line in source.c. A source hands out examples of one sequence by
 * number; selection, encoding, resizing, normalisation and distribution are done for all sources alike.
 */

#include <finwidth/foreign.h>

enum { FW_MAX_CLASS = 1000, FW_MAX_SINGULAR = 64 };

/* in the order of the choices in the key table */
typedef enum { FW_SPLIT_SEQUENCE, FW_SPLIT_FILES } FwSplit;
typedef enum { FW_ENCODE_SIGN, FW_ENCODE_ONEHOT, FW_ENCODE_VALUE, FW_ENCODE_DEFAULT } FwEncoding;
typedef enum { FW_NORMALISE_NONE, FW_NORMALISE_UNIT, FW_NORMALISE_STANDARD, FW_NORMALISE_COLUMNS } FwNormalise;
typedef enum { FW_SCRAMBLE_NONE, FW_SCRAMBLE_PIXELS, FW_SCRAMBLE_PATCHES, FW_SCRAMBLE_LABELS } FwScramble;
typedef enum {
  FW_TEACHER_LINEAR,
  FW_TEACHER_ONE_LAYER,
  FW_TEACHER_SINGLE_INDEX,
  FW_TEACHER_LOW_RANK,
  FW_TEACHER_CLUSTERS
} FwTeacherKind;

/** Values of the data_* and teacher_* keys. */
typedef struct {
  PetscInt    source; /* index of the choice */
  FwSplit     split;
  FwEncoding  encoding; /* FW_ENCODE_DEFAULT until the classes are known */
  FwNormalise normalise;
  FwScramble  scramble;
  PetscInt    mask[2], stride[2];       /* of the patches that are scrambled */
  char        path[PETSC_MAX_PATH_LEN]; /* "" where not given */
  char        images[PETSC_MAX_PATH_LEN], labels[PETSC_MAX_PATH_LEN];
  char        inputs[PETSC_MAX_PATH_LEN], targets[PETSC_MAX_PATH_LEN];
  char        new_inputs[PETSC_MAX_PATH_LEN]; /* data_predict; "" where not given */
  PetscInt    n_class;                        /* 0: all */
  PetscInt    classes[FW_MAX_CLASS];
  PetscInt    n_train, n_test, n_validation;
  PetscInt64  skip;
  PetscBool   shuffle;
  PetscInt    size; /* 0: the file's */
  PetscBool   is_gray;
  PetscInt    n_output; /* network_outputs; 0 where not given */
  uint64_t    seed;

  FwTeacherKind teacher_kind;
  PetscInt      teacher_inputs, teacher_width;
  double        teacher_noise;
  PetscInt      n_singular; /* of a low-rank teacher */
  double        singular[FW_MAX_SINGULAR];
  double        teacher_spread, teacher_spectrum, teacher_offset;
} FwDataKeys;

/** Examples of all parts that have labels. */
static inline PetscInt64 FwLabelled(const FwDataKeys *keys)
{
  return (PetscInt64)keys->n_train + keys->n_test + keys->n_validation;
}

/** What `open` finds out; the same on every rank afterwards. */
typedef struct {
  PetscInt64 n_example;               /* in the sequence */
  PetscInt64 n_training;              /* of these, in training files; n_example where there is no test file */
  PetscInt   channels, height, width; /* as stored; n_raw is their product */
  PetscInt   n_label;                 /* target columns as stored */
  PetscBool  is_image;                /* may be resized */
} FwSourceInfo;

typedef struct FwSourceOps FwSourceOps;

typedef struct {
  const FwSourceOps *ops;
  const FwDataKeys  *keys;                     /* borrowed from the dataset */
  char               path[PETSC_MAX_PATH_LEN]; /* of files: as given, or the default */
  FwSourceInfo       info;
  double             memory;        /* bytes that this rank may use */
  PetscBool          has_no_labels; /* of hdf5: the file holds inputs alone */
  double            *label;         /* files, on rank 0: [n_example, n_label] */
  void              *context;
} FwSource;

/** Files are read on rank 0 only; drawn sources work on every rank. No function is collective. */
struct FwSourceOps {
  const char *name;
  PetscBool   is_drawn; /* built in: the owner of an example draws it */
  PetscInt    n_class;  /* labels are 0..n_class - 1; 0 where labels may be any numbers */
  double      divisor;  /* raw inputs are divided by this: 255 for bytes */

  /** Path of the i-th file that there may be; "" past the last one. NULL: source->path is the only one. */
  PetscErrorCode (*file)(const FwSource *source, PetscInt i, char path[PETSC_MAX_PATH_LEN]);
  /** Check what there is; fill info and, for files, label. */
  PetscErrorCode (*open)(FwSource *source);
  /** Learn which examples will be read; NULL where that does not help. */
  PetscErrorCode (*prepare)(FwSource *source, PetscInt64 n, const PetscInt64 example[]);
  /** Raw inputs [n, channels, height, width] of some examples; drawn sources also give label [n, n_label]. */
  PetscErrorCode (*read)(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[]);
  /** Release the context, also of an `open` that failed half-way. */
  PetscErrorCode (*close)(FwSource *source);
};

/** The table of the source that stands at place `choice` in the key table. */
PetscErrorCode FwSourceOpsGet(PetscInt choice, const FwSourceOps **ops);

/** Whether the keys or $FINWIDTH_DATA give a path. */
PetscBool FwSourceHasPath(const FwSource *source);

/** Set source->path from the keys or from $FINWIDTH_DATA. */
PetscErrorCode FwSourceSetPath(FwSource *source);

/** Where source->path is a folder and the source has one file otherwise: read a training and a test file in it. */
void FwSourceChooseFolder(FwSource *source);

/** Of a source that has one file: what it could have instead, "a folder with 'train.csv' and 'test.csv'"; NULL for others. */
const char *FwSourceFolderWords(const FwSource *source);

/** path = folder/name. */
PetscErrorCode FwPathJoin(const char folder[], const char name[], char path[PETSC_MAX_PATH_LEN]);

/** Whether there is something at `path`. */
PetscBool FwPathExists(const char path[]);

/** *product = a * b.
 * @error FW_ERR_INPUT  more than memory can address, in units of doubles: `what` names the thing */
PetscErrorCode FwCountProduct(PetscInt64 a, PetscInt64 b, const char what[], PetscInt64 *product);

extern const FwSourceOps FwSourceOps_Glyphs, FwSourceOps_Teacher, FwSourceOps_Mnist, FwSourceOps_Cifar10,
  FwSourceOps_Hdf5, FwSourceOps_Csv;
