/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Minima of the action of several outputs.
 *
 * SNES sees the symmetric matrix H as a packed vector.
 */

#include <finwidth/matrix_saddle.h>
#include "symmetric.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { START_MAX = 20, DESCENT_MAX = 400, CHECK_MAX = 12 };

/* T = 0 with a readout bias has no lower end of the bracket: as low as a start need be */
static const double lowest_start = -12.0;

/* Two minima closer than this in log Q are one */
static const double nearest = 1e-6;

typedef struct {
  FwMatrixAction action;
  PetscInt       n;            /* D */
  FwMatrixPoint  point, tried; /* where the second derivative was taken; any other */
  double        *h, *out;      /* [D][D] */
  PetscInt       n_evaluation;
} Search;

static PetscErrorCode CreateSearch(FwMatrixAction action, Search *s)
{
  PetscFunctionBegin;
  s->action       = action;
  s->n            = FwMatrixActionSize(action);
  s->n_evaluation = 0;
  PetscCall(FwMatrixPointCreate(s->n, &s->point));
  PetscCall(FwMatrixPointCreate(s->n, &s->tried));
  PetscCall(PetscMalloc2((size_t)s->n * s->n, &s->h, (size_t)s->n * s->n, &s->out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroySearch(Search *s)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixPointDestroy(&s->point));
  PetscCall(FwMatrixPointDestroy(&s->tried));
  PetscCall(PetscFree2(s->h, s->out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Evaluate(Search *s, const double h[], FwOutputsLevel level, FwMatrixPoint *point)
{
  PetscFunctionBegin;
  s->n_evaluation++;
  PetscCall(FwMatrixActionEvaluate(s->action, h, level, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Norm(PetscInt n, const double x[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

/* --- SNES --------------------------------------------------------------------------------------------------- */

static PetscErrorCode UnpackVector(PetscInt n, Vec x, double matrix[])
{
  const PetscScalar *value;

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(x, &value));
  FwMatrixUnpack(n, value, matrix);
  PetscCall(VecRestoreArrayRead(x, &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PackVector(PetscInt n, const double matrix[], Vec x)
{
  PetscScalar *value;

  PetscFunctionBegin;
  PetscCall(VecGetArrayWrite(x, &value));
  FwMatrixPack(n, matrix, value);
  PetscCall(VecRestoreArrayWrite(x, &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormForce(SNES snes, Vec x, Vec force, void *context)
{
  Search *s = context;

  PetscFunctionBegin;
  (void)snes;
  PetscCall(UnpackVector(s->n, x, s->h));
  PetscCall(Evaluate(s, s->h, FW_OUTPUTS_SLOPE, &s->tried));
  PetscCall(PackVector(s->n, s->tried.force, force));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormCurve(SNES snes, Vec x, Mat curve, Mat preconditioner, void *context)
{
  Search *s = context;

  PetscFunctionBegin;
  (void)snes;
  (void)preconditioner;
  PetscCall(UnpackVector(s->n, x, s->h));
  PetscCall(Evaluate(s, s->h, FW_OUTPUTS_CURVE, &s->point));
  PetscCall(MatAssemblyBegin(curve, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(curve, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MultiplyCurve(Mat curve, Vec x, Vec y)
{
  Search *s;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(curve, &s));
  PetscCall(UnpackVector(s->n, x, s->h));
  PetscCall(FwMatrixActionCurve(s->action, &s->point, s->h, s->out));
  PetscCall(PackVector(s->n, s->out, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateSolver(Search *s, double tolerance, SNES *snes)
{
  const PetscInt size = s->n * (s->n + 1) / 2;
  Vec            residual;
  Mat            curve;
  KSP            ksp;
  PC             pc;

  PetscFunctionBegin;
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, size, &residual));
  PetscCall(MatCreateShell(PETSC_COMM_SELF, size, size, size, size, s, &curve));
  PetscCall(MatShellSetOperation(curve, MATOP_MULT, (void (*)(void))MultiplyCurve));
  PetscCall(SNESCreate(PETSC_COMM_SELF, snes));
  PetscCall(SNESSetFunction(*snes, residual, FormForce, s));
  PetscCall(SNESSetJacobian(*snes, curve, curve, FormCurve, s));
  PetscCall(SNESSetTolerances(*snes, tolerance, 0.0, 1e-15, 50, PETSC_DEFAULT));
  PetscCall(SNESGetKSP(*snes, &ksp));
  PetscCall(KSPSetType(ksp, KSPGMRES));
  PetscCall(KSPGMRESSetRestart(ksp, PetscMin(size, 200)));
  PetscCall(KSPSetTolerances(ksp, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 1000));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(SNESSetFromOptions(*snes));
  PetscCall(VecDestroy(&residual));
  PetscCall(MatDestroy(&curve));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From h, in place */
static PetscErrorCode Newton(Search *s, double tolerance, double h[], FwMinimum *minimum)
{
  SNES     snes;
  Vec      x;
  PetscInt n_step = 0;

  PetscFunctionBegin;
  PetscCall(CreateSolver(s, tolerance, &snes));
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, s->n * (s->n + 1) / 2, &x));
  PetscCall(PackVector(s->n, h, x));
  PetscCall(SNESSolve(snes, NULL, x));
  PetscCall(UnpackVector(s->n, x, h));
  PetscCall(SNESGetConvergedReason(snes, &minimum->reason));
  PetscCall(SNESGetIterationNumber(snes, &n_step));
  minimum->n_iteration += n_step;
  PetscCall(VecDestroy(&x));
  PetscCall(SNESDestroy(&snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- from one start to a minimum ---------------------------------------------------------------------------- */

/* Downhill from h, in place, until the force is `small` in units of N */
static PetscErrorCode Descend(Search *s, double small, double h[])
{
  const double width = FwMatrixActionModel(s->action)->width[0];

  PetscFunctionBegin;
  for (int step = 0; step < DESCENT_MAX; step++) {
    PetscCall(Evaluate(s, h, FW_OUTPUTS_SLOPE, &s->tried));
    if (Norm(s->n * s->n, s->tried.force) < small * width) break;
    PetscCall(FwMatrixActionDescend(s->action, &s->tried, h));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The lowest curvature in any direction, at a point with FW_OUTPUTS_CURVE */
static PetscErrorCode LowestCurvature(Search *s, const FwMatrixPoint *point, double *lowest)
{
  const PetscInt size = s->n * (s->n + 1) / 2;
  PetscScalar   *curve, *unit;
  double        *value, *image;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)size * size, &curve));
  PetscCall(PetscCalloc3(size, &unit, size, &value, (size_t)size * size, &image));
  for (PetscInt i = 0; i < size; i++) {
    unit[i] = 1.0;
    FwMatrixUnpack(s->n, unit, s->h);
    unit[i] = 0.0;
    PetscCall(FwMatrixActionCurve(s->action, point, s->h, s->out));
    FwMatrixPack(s->n, s->out, curve + (size_t)i * size);
  }
  PetscCall(FwSymmetricEigen(size, curve, value, image));
  *lowest = value[0];
  PetscCall(PetscFree(curve));
  PetscCall(PetscFree3(unit, value, image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Newton may end at a stationary point that is no minimum. A look in all directions is dear for many outputs, where
   descent before Newton has to do. */
static PetscErrorCode CheckMinimum(Search *s, const double h[], FwMinimum *minimum)
{
  double lowest = 0.0;

  PetscFunctionBegin;
  if (s->n > CHECK_MAX || minimum->reason < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Evaluate(s, h, FW_OUTPUTS_CURVE, &s->point));
  PetscCall(LowestCurvature(s, &s->point, &lowest));
  if (lowest <= 0.0) minimum->reason = SNES_DIVERGED_LOCAL_MIN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double MeanLogOrder(PetscInt n, const double h[])
{
  double sum = 0.0;

  for (PetscInt a = 0; a < n; a++) sum += h[a * n + a];
  return sum / (double)n;
}

/* Descent to ever smaller forces, until Newton from there arrives at a minimum */
static PetscErrorCode Refine(Search *s, double h[], FwMinimum *minimum)
{
  static const double small[] = {1e-2, 1e-4, 1e-6};
  const size_t        size    = (size_t)s->n * s->n;
  double             *start;

  PetscFunctionBegin;
  *minimum = (FwMinimum){.reason = SNES_DIVERGED_MAX_IT};
  PetscCall(PetscMalloc1(size, &start));
  PetscCall(PetscArraycpy(start, h, size));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(small) && minimum->reason < 0; i++) {
    PetscCall(Descend(s, small[i], start));
    PetscCall(PetscArraycpy(h, start, size));
    PetscCall(Newton(s, FwMatrixActionRoundOff(s->action, &s->tried), h, minimum));
    PetscCall(CheckMinimum(s, h, minimum));
  }
  PetscCall(PetscFree(start));
  PetscCall(Evaluate(s, h, FW_OUTPUTS_SLOPE, &s->tried));
  minimum->value     = s->tried.value;
  minimum->residual  = Norm(s->n * s->n, s->tried.force);
  minimum->log_order = MeanLogOrder(s->n, h);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- starts ------------------------------------------------------------------------------------------------- */

static void SetMultiple(PetscInt n, double value, double h[])
{
  for (PetscInt i = 0; i < n * n; i++) h[i] = 0.0;
  for (PetscInt a = 0; a < n; a++) h[a * n + a] = value;
}

/* One minimum: Q = 1 will do. Else also the ends of the bracket, and each eigenvector of the force at Q = 1 at its upper
   end */
static PetscErrorCode MakeStarts(Search *s, PetscBool is_unique, PetscInt *n_start, double start[])
{
  const PetscInt n    = s->n;
  const size_t   size = (size_t)n * n;
  double         low = 0.0, high = 0.0, *value, *vector;

  PetscFunctionBegin;
  SetMultiple(n, 0.0, start);
  *n_start = 1;
  if (is_unique) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMatrixActionBracket(s->action, &low, &high));
  low = PetscMax(low, lowest_start);
  SetMultiple(n, low, start + size);
  SetMultiple(n, high, start + 2 * size);
  *n_start = 3;
  PetscCall(PetscMalloc2(n, &value, size, &vector));
  PetscCall(Evaluate(s, start, FW_OUTPUTS_SLOPE, &s->tried));
  PetscCall(FwSymmetricEigen(n, s->tried.force, value, vector));
  for (PetscInt a = 0; a < n && n > 1 && *n_start < START_MAX; a++, (*n_start)++)
    for (PetscInt i = 0; i < n * n; i++)
      start[*n_start * size + i] = high * vector[a * n + i / n] * vector[a * n + i % n];
  PetscCall(PetscFree2(value, vector));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all of it ---------------------------------------------------------------------------------------------- */

/* Keep a minimum unless it is there already; failures only while there is nothing else */
static void Keep(PetscInt n, const FwMinimum *found, const double h[], FwSaddle *saddle, double kept[])
{
  const PetscInt size = n * n;

  if (found->reason < 0 && saddle->n_minimum) return;
  if (saddle->n_minimum == 1 && saddle->minimum[0].reason < 0) saddle->n_minimum = 0;
  for (PetscInt m = 0; m < saddle->n_minimum; m++) {
    double distance = 0.0;

    for (PetscInt i = 0; i < size; i++) distance = PetscMax(distance, fabs(kept[m * size + i] - h[i]));
    if (distance < nearest) return;
  }
  memcpy(kept + (size_t)saddle->n_minimum * size, h, (size_t)size * sizeof *h);
  saddle->minimum[saddle->n_minimum++] = *found;
}

/* Lowest action first: insertion, with the matrices alongside */
static void Sort(PetscInt n, FwSaddle *saddle, double kept[])
{
  const size_t size = (size_t)n * n;

  for (PetscInt m = 1; m < saddle->n_minimum; m++)
    for (PetscInt k = m; k > 0 && saddle->minimum[k].value < saddle->minimum[k - 1].value; k--) {
      const FwMinimum other = saddle->minimum[k];

      saddle->minimum[k]     = saddle->minimum[k - 1];
      saddle->minimum[k - 1] = other;
      for (size_t i = 0; i < size; i++) {
        const double entry = kept[k * size + i];

        kept[k * size + i]       = kept[(k - 1) * size + i];
        kept[(k - 1) * size + i] = entry;
      }
    }
}

static PetscErrorCode FindAll(Search *s, PetscBool is_unique, FwSaddle *saddle, double kept[])
{
  const size_t size    = (size_t)s->n * s->n;
  PetscInt     n_start = 0;
  double      *start;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(START_MAX * size, &start));
  PetscCall(MakeStarts(s, is_unique, &n_start, start));
  for (PetscInt i = 0; i < n_start; i++) {
    FwMinimum found;

    PetscCall(Refine(s, start + i * size, &found));
    Keep(s->n, &found, start + i * size, saddle, kept);
  }
  PetscCall(PetscFree(start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindCold(Search *s, FwSaddle *saddle, double kept[])
{
  PetscFunctionBegin;
  PetscCall(FwMatrixActionCold(s->action, kept));
  PetscCall(Evaluate(s, kept, FW_OUTPUTS_SLOPE, &s->tried));
  saddle->n_minimum  = 1;
  saddle->minimum[0] = (FwMinimum){.value     = s->tried.value,
                                   .residual  = Norm(s->n * s->n, s->tried.force),
                                   .reason    = SNES_CONVERGED_FNORM_ABS,
                                   .log_order = MeanLogOrder(s->n, kept)};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixSaddleFind(FwMatrixAction action, FwSaddle *saddle, double **order)
{
  const FwModel *model     = FwMatrixActionModel(action);
  PetscBool      is_unique = PETSC_FALSE;
  Search         s;

  PetscFunctionBegin;
  *saddle = (FwSaddle){.is_converged = PETSC_TRUE};
  PetscCall(CreateSearch(action, &s));
  PetscCall(PetscCalloc1(START_MAX, &saddle->minimum));
  PetscCall(PetscMalloc1(START_MAX * (size_t)s.n * s.n, order));
  PetscCall(FwMatrixActionIsUnique(action, &is_unique));
  if (model->temperature == 0.0 && model->bias[model->depth] == 0.0)
    PetscCall(FindCold(&s, saddle, *order));
  else
    PetscCall(FindAll(&s, is_unique, saddle, *order));
  Sort(s.n, saddle, *order);
  saddle->n_evaluation = s.n_evaluation;
  saddle->is_complete  = is_unique;
  for (PetscInt m = 0; m < saddle->n_minimum; m++) {
    if (saddle->minimum[m].reason < 0) saddle->is_converged = PETSC_FALSE;
    PetscCall(FwSymmetricApply(s.n, *order + (size_t)m * s.n * s.n, exp, *order + (size_t)m * s.n * s.n));
  }
  PetscCall(DestroySearch(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
