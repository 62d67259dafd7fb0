/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The basis in which the second moments of the inputs are diagonal: <x x^T> = V diag(lambda) V^T.
 */

#include "learner_impl.h"

/* PETSc has no prototype of it */
extern void dsyevd_(const char *jobz, const char *uplo, const PetscBLASInt *n, double *a, const PetscBLASInt *lda,
                    double *w, double *work, const PetscBLASInt *lwork, PetscBLASInt *iwork, const PetscBLASInt *liwork,
                    PetscBLASInt *info);

/* `matrix` becomes its eigenvectors */
static PetscErrorCode Diagonalise(PetscInt n, double matrix[], double value[])
{
  PetscBLASInt n_work = -1, n_iwork = -1, iwork_size, info, *iwork;
  double       work_size, *work;

  PetscFunctionBegin;
  dsyevd_("V", "L", &n, matrix, &n, value, &work_size, &n_work, &iwork_size, &n_iwork, &info);
  n_work  = (PetscBLASInt)work_size;
  n_iwork = iwork_size;
  PetscCall(PetscMalloc2(n_work, &work, n_iwork, &iwork));
  dsyevd_("V", "L", &n, matrix, &n, value, work, &n_work, iwork, &n_iwork, &info);
  PetscCall(PetscFree2(work, iwork));
  PetscCheck(!info, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "the eigenvalues of the inputs' second moments did not converge (dsyevd: %" PetscInt_FMT
             "): are all inputs finite?",
             info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerBasisCreate(FwLearner learner)
{
  const FwLearnerMoments *moments = &learner->moments;
  FwLearnerBasis         *rotated = &learner->rotated;
  const PetscInt          d = learner->shape.width[0], c = learner->shape.width[learner->shape.n_layer], m = moments->m;

  PetscFunctionBegin;
  if (rotated->basis) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc5((size_t)d * d, &rotated->basis, FwNarrowSize(d, 1), &rotated->lambda, d, &rotated->mean, c * m,
                         &rotated->yx, FwNarrowSize(d, c), &rotated->target));
  PetscCall(PetscArrayzero(rotated->lambda, FwNarrowSize(d, 1)));
  for (PetscInt j = 0; j < d; j++)
    PetscCall(PetscArraycpy(rotated->basis + (size_t)j * d, moments->xx + (size_t)j * m, d));
  PetscCall(Diagonalise(d, rotated->basis, rotated->lambda));
  FwGemm("N", "N", c, d, d, 1.0, moments->yx, c, rotated->basis, d, 0.0, rotated->yx, c);
  FwNarrowPack(d, c, rotated->yx, rotated->target);
  if (m == d) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArraycpy(rotated->yx + (size_t)c * d, moments->yx + (size_t)c * d, c));
  FwGemm("T", "N", d, 1, d, 1.0, rotated->basis, d, moments->xx + (size_t)d * m, d, 0.0, rotated->mean, d);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerBasisDestroy(FwLearner learner)
{
  FwLearnerBasis *rotated = &learner->rotated;

  PetscFunctionBegin;
  if (rotated->basis)
    PetscCall(PetscFree5(rotated->basis, rotated->lambda, rotated->mean, rotated->yx, rotated->target));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerRotate(FwLearner learner, PetscBool is_back, const double theta[], double out[])
{
  const PetscInt d = learner->shape.width[0], n_1 = learner->shape.width[1], rest = n_1 * d;

  PetscFunctionBegin;
  FwGemm("N", is_back ? "T" : "N", n_1, d, d, 1.0, theta, n_1, learner->rotated.basis, d, 0.0, out, n_1);
  PetscCall(PetscArraycpy(out + rest, theta + rest, learner->n_theta - rest));
  PetscFunctionReturn(PETSC_SUCCESS);
}
