/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what a kernel knows, and how a recursion over layers is applied to the entries of a matrix.
 *
 * A matrix is assembled from the products of inputs, x.x' / (lambda_0 N_0), and then mapped entry by entry, in pieces of
 * a column that stay in the first cache level through all layers.
 */

#include <finwidth/activation.h>
#include <finwidth/kernel.h>
#include <finwidth/patch_kernel.h>
#include <finwidth/progress.h>

struct FwKernelImpl {
  FwGrid         grid;
  const FwModel *model;
  FwDataset      data;
  PetscInt       n[FW_PART_COUNT];  /* examples of each part */
  FwPatchImages  images; /* pool: its patches, and their family */
  FwPatchKernel  family; /* NULL for fc */
  double **variance[FW_PART_COUNT]; /* [part][l][example], l = 0 .. L: diagonal of C_l for l < L, of K_L for l = L */
};

/** One layer on this rank's rows and columns of a matrix. */
typedef struct {
  FwActivation activation;
  FwPoints     rows, columns;
  double       prior, bias; /**< lambda_{l+1}, and s_{l+1}^2 or 0 after the last hidden layer */
} FwKernelLayer;

/** Longest piece of a column that a map is given. */
enum { FW_KERNEL_PIECE = 1024 };

typedef struct FwKernelMapContext FwKernelMapContext;

/** Turn x.x' / (lambda_0 N_0) of n <= FW_KERNEL_PIECE local rows from `first` on of a local column into kernel entries. */
typedef PetscErrorCode FwKernelPiece(const FwKernelMapContext *context, PetscInt column, PetscInt first, PetscInt n,
                                     double value[]);

struct FwKernelMapContext {
  FwKernelPiece *piece;
  FwMatrix       matrix;
  PetscInt       depth;
  double         bias;     /**< s_0^2 */
  FwKernelLayer *layer;    /**< [depth] */
  const double  *diagonal; /**< [P] exact diagonal, or NULL */
  FwProgress     progress;
};

/** Assemble a kernel between training examples: P x P, lower triangle.
 *
 * @collective{kernel}
 * @param[in] piece        the map
 * @param[in] with_slopes  prepare the points for slope maps also
 * @param[in] diagonal     [P] exact diagonal on every rank
 */
PetscErrorCode FwKernelAssembleTrain(FwKernel kernel, FwKernelPiece *piece, PetscBool with_slopes,
                                     const double diagonal[], FwMatrix *train);

/** The same between training examples (rows) and those of another part (columns). Collective. */
PetscErrorCode FwKernelAssembleCross(FwKernel kernel, FwKernelPiece *piece, PetscBool with_slopes, FwPart columns,
                                     FwMatrix *cross);

/** kernel_pool.c: the kernel of a network that averages over patches, sum_ij K_ij / (lambda_1 n^2), in the place of the
 *  recursion over layers. Collective. */
PetscErrorCode FwKernelPoolSetUp(FwKernel kernel);
PetscErrorCode FwKernelPoolTrain(FwKernel kernel, FwMatrix *train);
PetscErrorCode FwKernelPoolCross(FwKernel kernel, FwPart columns, FwMatrix *cross);

/** Gather in place what each rank has set for its own examples, `width` numbers each: value[slab->first * width ..] of
 *  value[slab->n * width]. Collective. */
PetscErrorCode FwKernelShareSlab(MPI_Comm comm, const FwSlab *slab, PetscMPIInt width, double value[]);
