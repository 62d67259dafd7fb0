/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Keys of the command that nothing in the run uses, given in the input or on the command line. Those of other commands that an
 * input keeps are no business of this one.
 */

#include "request.h"

PetscErrorCode FwRequestWarnUnused(const char key[], PetscBool is_used, const char user[])
{
  PetscBool is_chosen;

  PetscFunctionBegin;
  PetscCall(FwOptionIsChosen(key, &is_chosen));
  if (is_chosen && !is_used) PetscCall(FwWarn("%s has no meaning here: it is for %s", key, user));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In the order of the choices of teacher_kind, then what any point has */
typedef struct {
  PetscBool of_kind[5], has_teacher, has_hdf5;
} Uses;

enum { LINEAR, ONE_LAYER, SINGLE_INDEX, LOW_RANK, CLUSTERS };

static PetscErrorCode AddUses(Uses *uses)
{
  enum { SOURCE_TEACHER = 1, SOURCE_HDF5 = 4 }; /* choices of data_source */
  PetscInt  source, kind;
  PetscBool has_new;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("data_source", &source, NULL));
  PetscCall(FwOptionChoice("teacher_kind", &kind, NULL));
  PetscCall(FwOptionIsSet("data_predict", &has_new)); /* a file of the same kind */
  if (source == SOURCE_TEACHER) uses->has_teacher = uses->of_kind[kind] = PETSC_TRUE;
  if (source == SOURCE_HDF5 || has_new) uses->has_hdf5 = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutUses(const Uses *uses)
{
  const PetscBool has_noise =
    uses->of_kind[LINEAR] || uses->of_kind[ONE_LAYER] || uses->of_kind[SINGLE_INDEX] || uses->of_kind[LOW_RANK]
      ? PETSC_TRUE
      : PETSC_FALSE;
  const struct {
    const char *key;
    PetscBool   is_used;
    const char *user;
  } row[] = {
    {"data_inputs",      uses->has_hdf5,           "data_source 'hdf5' and data_predict"   },
    {"data_targets",     uses->has_hdf5,           "data_source 'hdf5'"                    },
    {"teacher_inputs",   uses->has_teacher,        "data_source 'teacher'"                 },
    {"teacher_kind",     uses->has_teacher,        "data_source 'teacher'"                 },
    {"teacher_width",    uses->of_kind[ONE_LAYER], "the teacher 'one-layer'"               },
    {"teacher_noise",    has_noise,                "data_source 'teacher', not of clusters"},
    {"teacher_spectrum", uses->has_teacher,        "data_source 'teacher'"                 },
    {"teacher_offset",   uses->has_teacher,        "data_source 'teacher'"                 },
    {"teacher_singular", uses->of_kind[LOW_RANK],  "the teacher 'low-rank'"                },
    {"teacher_spread",   uses->of_kind[CLUSTERS],  "the teacher 'clusters'"                },
  };

  PetscFunctionBegin;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(row); i++)
    PetscCall(FwRequestWarnUnused(row[i].key, row[i].is_used, row[i].user));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRequestWarnAboutData(FwScan scan, unsigned command)
{
  Uses     uses = {0};
  PetscInt n_point;

  PetscFunctionBegin;
  if (!(FwKeyFind("data_source")->commands & command)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    PetscCall(FwScanApply(scan, p));
    PetscCall(AddUses(&uses));
  }
  PetscCall(FwScanApply(scan, -1));
  PetscCall(WarnAboutUses(&uses));
  PetscFunctionReturn(PETSC_SUCCESS);
}
