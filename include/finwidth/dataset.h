/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Training and test examples: read once, encoded, normalised, and spread over the ranks.
 *
 * Life cycle: Create, SetFromOptions (the `data_*` and `teacher_*` keys), SetUp (reads); then only getters; Destroy.
 *
 * Examples are numbered along one sequence: after `data_skip` of those whose class is kept, P for training, then P_t
 * for testing, then those for validation. Files are read by rank 0, in blocks, and sent to the owners; built-in sources are drawn by each owner
 * from streams keyed by the number of the example, so that the data are the same for any number of ranks.
 *
 * Inputs are scaled as `data_normalise` says, of whatever source: standardised where the user does not say. Likewise
 * images of three channels become gray, HDF5 images too.
 *
 * Without `data_classes` the classes are those that occur in the files, in increasing order (glyphs: 0 and 1).
 *
 * Notation, here and in the sources:
 *   P, P_t   numbers of training and test examples
 *   N_0      inputs per example
 *   D        outputs (columns of the targets)
 */

#include <finwidth/base.h>

#include <stdint.h>

typedef struct FwDatasetImpl *FwDataset;

/** FW_VALIDATION: examples behind those for testing, on which order parameters may be learnt. FW_NEW: further inputs without
 *  labels, from the file of `data_predict`. */
typedef enum { FW_TRAIN, FW_TEST, FW_VALIDATION, FW_NEW, FW_PART_COUNT } FwPart;

/** Sizes of a dataset. An image has `channels`, `height`, `width`; other inputs have 1, 1, N_0. */
typedef struct {
  PetscInt n_train, n_test, n_validation, n_new, n_input, n_output;
  PetscInt channels, height, width;
  PetscInt n_class; /**< 0 where labels are not classes */
} FwDataSizes;

/** The examples of one part that this rank owns: consecutive ones, `block` per rank in order of rank (the last ranks may
 *  have fewer or none). Row-major: example `first + i` is x[i * n_input .. ]. Borrowed from the dataset. */
typedef struct {
  PetscInt      n, first, n_local, block, n_input;
  const double *x;
} FwSlab;

/** Create an empty dataset on the ranks of `comm` (duplicated); release with FwDatasetDestroy(). Collective. */
PetscErrorCode FwDatasetCreate(MPI_Comm comm, FwDataset *data);

/** Read the keys that describe the data; nothing is opened yet. Collective.
 * @error FW_ERR_INPUT  keys that contradict each other */
PetscErrorCode FwDatasetSetFromOptions(FwDataset data);

/** Read, select, encode, resize, normalise and spread the examples.
 *
 * @collective{data}
 * @error FW_ERR_INPUT  the file holds fewer examples than asked for, a label outside the classes, a NaN, a size in the
 *                      header that does not fit the file, a constant data set that cannot be normalised: names file and
 *                      place
 * @error FW_ERR_FILE   a file is missing or cannot be read
 */
PetscErrorCode FwDatasetSetUp(FwDataset data);

/** Instead of SetUp: find out what the data will be, and read no example. Only sizes and summary can
 *  be asked for then. Collective.
 * @error as FwDatasetSetUp(), of what is seen without the examples */
PetscErrorCode FwDatasetInspect(FwDataset data);

/** Sizes, after SetUp or Inspect. Not collective. */
PetscErrorCode FwDatasetGetSizes(FwDataset data, FwDataSizes *sizes);

/** This rank's examples of a part, after normalisation. Not collective; borrowed. */
PetscErrorCode FwDatasetGetSlab(FwDataset data, FwPart part, FwSlab *slab);

/** Targets of FW_TRAIN, FW_TEST or FW_VALIDATION, shape [n, D], row-major, on every rank; in units of label. Not collective; borrowed. */
PetscErrorCode FwDatasetGetTargets(FwDataset data, FwPart part, const double **y);

/** Class of each example of these parts as an index into the kept classes, shape [n], on every rank; NULL where labels are
 *  not classes. Not collective; borrowed. */
PetscErrorCode FwDatasetGetClasses(FwDataset data, FwPart part, const PetscInt **index);

/** Digest of inputs and targets as used, those of `data_predict` too (hexadecimal, 16 characters), the same for any number
 *  of ranks. Borrowed. */
PetscErrorCode FwDatasetGetDigest(FwDataset data, const char **digest);

/** The files that the keys name, of those that are there: their paths, one a line; "" for drawn examples.
 *
 * Not collective: what the calling rank sees. No key is checked. Release with PetscFree().
 */
PetscErrorCode FwDataFiles(char **list);

/** Digest of the contents of such a list, whatever the names: two lists of the same contents have the same.
 * @param[in,out] digest  of what stands before, 0 for nothing */
PetscErrorCode FwDataFilesDigest(const char list[], uint64_t *digest);

/** One line for the table: "mnist, classes 3 and 8, 1 x 28 x 28, standard". Borrowed. */
PetscErrorCode FwDatasetGetSummary(FwDataset data, const char **summary);

/** Release a dataset and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwDatasetDestroy(FwDataset *data);
