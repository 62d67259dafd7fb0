/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Eigenvalues of Q = A A^T, A = M diag(exp(x)), over any range of sizes: one-sided Jacobi rotations of the columns of A,
 * each kept as a unit vector u_j and the logarithm s_j of its length (Demmel and Veselic 1992: small singular values of
 * such a matrix to relative accuracy).
 */

#include <finwidth/mixture_law.h>

#include <math.h>

/* Columns of one root: length exp(s[j]), direction u[j * D ..] */
typedef struct {
  PetscInt n;
  double  *s, *u;
} Columns;

static double Dot(PetscInt n, const double a[], const double b[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* Put the length of a direction into its logarithm */
static void Normalise(Columns *c, PetscInt j)
{
  double      *u      = c->u + j * c->n;
  const double length = sqrt(Dot(c->n, u, u));

  for (PetscInt i = 0; i < c->n; i++) u[i] /= length;
  c->s[j] += log(length);
}

static void Swap(Columns *c, PetscInt p, PetscInt q)
{
  const double s = c->s[p];

  c->s[p] = c->s[q];
  c->s[q] = s;
  for (PetscInt i = 0; i < c->n; i++) {
    const double u = c->u[p * c->n + i];

    c->u[p * c->n + i] = c->u[q * c->n + i];
    c->u[q * c->n + i] = u;
  }
}

/* Make columns p and q orthogonal, the longer one first; 1 where they were not. With r = exp(s_q - s_p) <= 1 the tangent
   of the angle is r t, and t stays finite as r falls to 0 */
static int Rotate(Columns *c, PetscInt p, PetscInt q)
{
  const double tolerance = 1e-15;
  double       r, cosine, zeta, t, factor, *up = c->u + p * c->n, *uq = c->u + q * c->n;

  if (c->s[q] > c->s[p]) Swap(c, p, q);
  if (c->s[q] == -INFINITY) return 0;
  cosine = Dot(c->n, up, uq);
  if (fabs(cosine) < tolerance * (double)c->n) return 0;
  r      = exp(c->s[q] - c->s[p]);
  zeta   = (r * r - 1.0) / (2.0 * cosine);
  t      = copysign(1.0, zeta) / (fabs(zeta) + sqrt(r * r + zeta * zeta));
  factor = 1.0 / sqrt(1.0 + r * t * r * t);
  for (PetscInt i = 0; i < c->n; i++) {
    const double a = up[i], b = uq[i];

    up[i] = factor * (a - r * r * t * b);
    uq[i] = factor * (t * a + b);
  }
  Normalise(c, p);
  Normalise(c, q);
  return 1;
}

static PetscErrorCode Diagonalise(Columns *c)
{
  const int limit     = 60; /* sweeps; five to eight are usual */
  int       n_rotated = 1;

  PetscFunctionBegin;
  for (int sweep = 0; sweep < limit && n_rotated; sweep++) {
    n_rotated = 0;
    for (PetscInt p = 0; p < c->n; p++)
      for (PetscInt q = p + 1; q < c->n; q++) n_rotated += Rotate(c, p, q);
  }
  PetscCheck(!n_rotated, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "Jacobi rotations of a mixing matrix have not converged");
  for (PetscInt p = 0; p < c->n; p++) /* descending */
    for (PetscInt q = p + 1; q < c->n; q++)
      if (c->s[q] > c->s[p]) Swap(c, p, q);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Directions of the null space, from unit vectors, where Q is singular */
static void Complete(Columns *c)
{
  for (PetscInt j = 0; j < c->n; j++) {
    double *u = c->u + j * c->n, best = 0.0;

    if (c->s[j] > -INFINITY) continue;
    for (PetscInt e = 0; e < c->n && best < 0.5 / (double)c->n; e++) {
      for (PetscInt i = 0; i < c->n; i++) u[i] = i == e ? 1.0 : 0.0;
      for (int twice = 0; twice < 2; twice++)
        for (PetscInt k = 0; k < j; k++) {
          const double along = Dot(c->n, u, c->u + k * c->n);

          for (PetscInt i = 0; i < c->n; i++) u[i] -= along * c->u[k * c->n + i];
        }
      best = Dot(c->n, u, u);
    }
    for (PetscInt i = 0; i < c->n; i++) u[i] /= sqrt(best);
  }
}

PetscErrorCode FwMixtureEigen(PetscInt n_output, PetscInt n, const double x[], const double m[], double log_q[],
                              double vectors[])
{
  const PetscInt D = n_output;
  Columns        c = {.n = D};

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(D, &c.s, D * D, &c.u));
  for (PetscInt k = 0; k < n; k++) {
    for (PetscInt j = 0; j < D; j++) {
      c.s[j] = x[k * D + j];
      for (PetscInt i = 0; i < D; i++) c.u[j * D + i] = m[(k * D + i) * D + j];
      Normalise(&c, j);
    }
    PetscCall(Diagonalise(&c));
    if (vectors) Complete(&c);
    for (PetscInt j = 0; j < D; j++) log_q[k * D + j] = 2.0 * c.s[j];
    for (PetscInt i = 0; i < D * D && vectors; i++) vectors[k * D * D + i] = c.u[i % D * D + i / D];
  }
  PetscCall(PetscFree2(c.s, c.u));
  PetscFunctionReturn(PETSC_SUCCESS);
}
