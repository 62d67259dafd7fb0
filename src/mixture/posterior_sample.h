/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the two ways of sampling share: particles with their eigenvalues, divided over the ranks by index.
 */

#include "posterior_impl.h"

enum { FW_PARTICLE_BLOCK = 256 }; /* a group of the bulk generators */

/* This rank's particles first .. first + n_local - 1 of n */
typedef struct {
  MPI_Comm comm;
  PetscInt n_output, n, first, n_local;
  double  *log_q;          /* [n_local][D] descending */
  double  *rotation;       /* [n_local][D][D] */
  double  *log_likelihood; /* [n_local] */
} FwParticles;

PetscErrorCode FwParticlesCreate(MPI_Comm comm, PetscInt n_output, PetscInt n, FwParticles *particles);
PetscErrorCode FwParticlesDestroy(FwParticles *particles);

/* Eigenvalues and likelihoods of `count` particles from local index `at` on, from their roots (mixture_law.h) */
PetscErrorCode FwParticlesWeigh(FwParticles *particles, FwLikelihood *likelihood, PetscInt at, PetscInt count,
                                const double x[], const double m[]);

/* One number of each particle, from the ranks that have them to all: [n]. Collective */
PetscErrorCode FwParticlesGather(const FwParticles *particles, const double local[], double all[]);

/* log of the mean of exp(x), and the effective sample size of these weights */
double FwLogMeanExp(PetscInt n, const double x[]);
double FwEffectiveSize(PetscInt n, const double log_weight[]);

/* Particles with their weights [n], which sum to one, as nodes on every rank; those without weight are left out.
   Collective */
PetscErrorCode FwParticlesToNodes(const FwParticles *particles, const double weight[], FwNodeSet *nodes);
