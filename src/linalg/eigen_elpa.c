/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Eigenvectors by ELPA, where it was found: its one-stage solver.
 */

#include "eigen_impl.h"

#ifdef FINWIDTH_HAVE_ELPA
const PetscBool fw_has_elpa = PETSC_TRUE;

  #include <elpa/elpa.h>

static PetscErrorCode Set(MPI_Comm comm, elpa_t solver, const char name[], int value)
{
  int error;

  PetscFunctionBegin;
  elpa_set_integer(solver, name, value, &error);
  PetscCheck(error == ELPA_OK, comm, PETSC_ERR_LIB, "ELPA does not take %s = %d: %s", name, value, elpa_strerr(error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Describe(FwMatrix a, elpa_t solver)
{
  const FwGrid   g    = a->grid;
  const MPI_Comm comm = g->comm;
  int            error;

  PetscFunctionBegin;
  PetscCall(Set(comm, solver, "na", a->n));
  PetscCall(Set(comm, solver, "nev", a->n));
  PetscCall(Set(comm, solver, "local_nrows", a->m_local));
  PetscCall(Set(comm, solver, "local_ncols", a->n_local));
  PetscCall(Set(comm, solver, "nblk", BLOCK));
  PetscCall(Set(comm, solver, "mpi_comm_parent", (int)MPI_Comm_c2f(comm)));
  PetscCall(Set(comm, solver, "process_row", g->my_row));
  PetscCall(Set(comm, solver, "process_col", g->my_col));
  error = elpa_setup(solver);
  PetscCheck(error == ELPA_OK, comm, PETSC_ERR_LIB, "ELPA: %s", elpa_strerr(error));
  PetscCall(Set(comm, solver, "solver", ELPA_SOLVER_1STAGE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEigenByElpa(FwMatrix a, double value[], FwMatrix z)
{
  const MPI_Comm comm = a->grid->comm;
  elpa_t         solver;
  int            error;

  PetscFunctionBegin;
  PetscCall(FwMatrixSymmetrise(a));
  PetscCheck(elpa_init(20211125) == ELPA_OK, comm, PETSC_ERR_LIB, "this ELPA is too old");
  solver = elpa_allocate(&error);
  PetscCheck(error == ELPA_OK, comm, PETSC_ERR_LIB, "ELPA: %s", elpa_strerr(error));
  PetscCall(Describe(a, solver));
  elpa_eigenvectors_double(solver, a->value, value, z->value, &error);
  PetscCheck(error == ELPA_OK, comm, FW_ERR_NUMERICAL, "the eigenvalues of the kernel did not converge (ELPA: %s)",
             elpa_strerr(error));
  elpa_deallocate(solver, &error);
  elpa_uninit(&error);
  PetscFunctionReturn(PETSC_SUCCESS);
}

#else
const PetscBool fw_has_elpa = PETSC_FALSE;

PetscErrorCode FwEigenByElpa(FwMatrix a, double value[], FwMatrix z)
{
  (void)value;
  (void)z;
  PetscFunctionBegin;
  SETERRQ(a->grid->comm, FW_ERR_INPUT, "FINWIDTH_EIGENSOLVER is 'elpa', and this program was built without it");
}
#endif
