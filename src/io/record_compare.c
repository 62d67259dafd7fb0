/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The first place at which two records of the same point differ.
 */

#include "record_impl.h"

#include <math.h>
#include <string.h>

static double Largest(const FwRecordEntry *e)
{
  double largest = 0.0;

  for (PetscInt64 i = 0; i < e->head.n; i++)
    if (fabs(FwRecordNumberAt(e, i)) > largest) largest = fabs(FwRecordNumberAt(e, i));
  return largest;
}

/* What stands in `e`, which may be NULL, at the place of entry i of `box`; padding outside */
static double NumberBehind(const FwRecordEntry *e, const FwRecordEntry *box, PetscInt64 i)
{
  PetscInt64 at = 0, stride = 1;

  for (PetscInt64 d = box->head.n_dim - 1; d >= 0 && e; d--) {
    const PetscInt64 place = i % box->size[d];

    if (place >= e->size[d]) e = NULL;
    if (e) at += place * stride;
    if (e) stride *= e->size[d];
    i /= box->size[d];
  }
  return e ? FwRecordNumberAt(e, at) : box->head.type == FW_STORE_REAL ? NAN : -1.0;
}

/* Every number of `a` against that of `b` */
static PetscBool FindDifference(const FwRecordEntry *a, const FwRecordEntry *b, double tolerance, double value[2])
{
  const double scale = a->head.type == FW_STORE_REAL ? tolerance * Largest(a) : 0.0;

  if (b && (b->head.n_dim != a->head.n_dim || b->head.type != a->head.type)) b = NULL;
  for (PetscInt64 i = 0; i < a->head.n; i++) {
    value[0] = FwRecordNumberAt(a, i);
    value[1] = NumberBehind(b, a, i);
    if (!(isnan(value[0]) && isnan(value[1])) && value[0] != value[1] && !(fabs(value[0] - value[1]) <= scale))
      return PETSC_TRUE;
    if (a->head.type == FW_STORE_INTEGER && b && value[0] == value[1] && a->head.n == b->head.n &&
        a->value[i].integer != b->value[i].integer)
      return PETSC_TRUE; /* more digits than a double has */
  }
  return PETSC_FALSE;
}

/* By the last part of the path, or by its end: "*_z_score" */
static PetscBool IsIgnored(const char path[], const char *const ignored[])
{
  const char  *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  const size_t n = strlen(name);

  for (; *ignored; ignored++) {
    const char  *word   = *ignored + (**ignored == '*');
    const size_t n_word = strlen(word);

    if (n_word <= n && !strcmp(word, **ignored == '*' ? name + n - n_word : name)) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

PetscErrorCode FwRecordCompare(FwRecord a, FwRecord b, const char *const ignored[], double tolerance,
                               FwRecordDifference *difference)
{
  const FwRecord record[2] = {a, b};

  PetscFunctionBegin;
  *difference = (FwRecordDifference){0};
  for (int k = 0; k < 2; k++)
    for (const FwRecordEntry *e = record[k]->first; e; e = e->next) {
      double value[2];

      if (IsIgnored(e->text, ignored) || !FindDifference(e, FwRecordFind(record[1 - k], e->text), tolerance, value))
        continue;
      *difference = (FwRecordDifference){
        .name = e->text, .value = {value[k], value[1 - k]}
      };
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}
