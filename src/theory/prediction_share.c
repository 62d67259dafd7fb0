/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A solution from the rank that found it to all: order parameters, actions, nodes of the average.
 */

#include "predictor_impl.h"

/* Walks over the fields of a solution, in one order for counting, packing and unpacking */
typedef enum { COUNT, PACK, UNPACK } Direction;

typedef struct {
  Direction direction;
  double   *data;
  size_t    n;
} Walk;

static void Visit(Walk *walk, double *value, PetscInt n)
{
  for (PetscInt i = 0; i < n; i++) {
    if (walk->direction == PACK) walk->data[walk->n] = value[i];
    if (walk->direction == UNPACK) value[i] = walk->data[walk->n];
    walk->n++;
  }
}

/* Numbers that are integers or truth values travel as doubles: all are below 2^53 */
#define VISIT_AS_REAL(walk, field, type) \
  do {                                   \
    double value_ = (double)(field);     \
    Visit(walk, &value_, 1);             \
    (field) = (type)value_;              \
  } while (0)

static PetscErrorCode VisitSizes(Walk *walk, FwPrediction *p)
{
  PetscFunctionBegin;
  VISIT_AS_REAL(walk, p->failure, PetscErrorCode);
  VISIT_AS_REAL(walk, p->saddle.n_minimum, PetscInt);
  VISIT_AS_REAL(walk, p->average.n, PetscInt);
  VISIT_AS_REAL(walk, p->n_curve, PetscInt);
  if (walk->direction == UNPACK) {
    PetscCall(PetscCalloc1(p->saddle.n_minimum, &p->saddle.minimum));
    PetscCall(PetscMalloc1((size_t)p->saddle.n_minimum * FwPredictionOrderSize(p), &p->order));
    if (p->request.with_mean) PetscCall(PetscMalloc1((size_t)p->saddle.n_minimum * p->depth, &p->shift));
    PetscCall(PetscMalloc2(p->average.n, &p->average.order, p->average.n, &p->average.weight));
    PetscCall(PetscMalloc2(p->n_curve, &p->curve_log_order, p->n_curve, &p->curve_action));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitAll(Walk *walk, FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(VisitSizes(walk, p));
  for (PetscInt i = 0; i < p->saddle.n_minimum; i++) {
    FwMinimum *m = &p->saddle.minimum[i];

    Visit(walk, &m->log_order, 1);
    Visit(walk, &m->value, 1);
    Visit(walk, &m->above, 1);
    Visit(walk, &m->residual, 1);
    VISIT_AS_REAL(walk, m->n_iteration, PetscInt);
    VISIT_AS_REAL(walk, m->reason, SNESConvergedReason);
  }
  VISIT_AS_REAL(walk, p->saddle.n_evaluation, PetscInt);
  VISIT_AS_REAL(walk, p->saddle.is_converged, PetscBool);
  VISIT_AS_REAL(walk, p->saddle.is_complete, PetscBool);
  Visit(walk, p->order, p->saddle.n_minimum * FwPredictionOrderSize(p));
  if (p->request.with_mean) Visit(walk, p->shift, p->saddle.n_minimum * p->depth);
  VISIT_AS_REAL(walk, p->average.is_available, PetscBool);
  Visit(walk, &p->average.log_evidence, 1);
  Visit(walk, &p->average.mean_order, 1);
  Visit(walk, p->average.order, p->average.n);
  Visit(walk, p->average.weight, p->average.n);
  Visit(walk, &p->log_evidence, 1);
  Visit(walk, &p->log_evidence_laplace, 1);
  Visit(walk, &p->infinite_log_evidence, 1);
  Visit(walk, p->curve_log_order, p->n_curve);
  Visit(walk, p->curve_action, p->n_curve);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionShare(MPI_Comm comm, PetscMPIInt owner, FwPrediction *p)
{
  Walk        walk = {.direction = COUNT};
  PetscMPIInt rank, n = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == owner) {
    PetscCall(VisitAll(&walk, p));
    PetscCall(PetscMPIIntCast((PetscInt)walk.n, &n));
  }
  PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, owner, comm));
  PetscCall(PetscMalloc1(n, &walk.data));
  walk.n         = 0;
  walk.direction = rank == owner ? PACK : UNPACK;
  if (rank == owner) PetscCall(VisitAll(&walk, p));
  PetscCallMPI(MPI_Bcast(walk.data, n, MPI_DOUBLE, owner, comm));
  if (rank != owner) PetscCall(VisitAll(&walk, p));
  PetscCall(PetscFree(walk.data));
  PetscFunctionReturn(PETSC_SUCCESS);
}
