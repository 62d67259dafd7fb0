/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The keys of the input file and the command line: one table with type, default, unit, range and help line of each.
 *
 * Values live in PETSc's options database, where a nested YAML key `network: {width: 500}` is `-network_width 500`.
 * Every read goes through here, so that a value of the wrong type or out of range is one clear line and the value that
 * a run used can be written down. `finwidth help`, docs/keys.md and the resolved input in each result come from the
 * same table.
 *
 * All calls but the checks are not collective: the database is the same on every rank.
 */

#include <finwidth/base.h>

typedef enum {
  FW_KEY_INTEGER,
  FW_KEY_REAL,
  FW_KEY_BOOLEAN,
  FW_KEY_CHOICE,
  FW_KEY_TEXT,
  FW_KEY_BYTES,   /**< a size such as 8G */
  FW_KEY_DURATION /**< HH:MM:SS */
} FwKeyType;

/** Commands that read a key, as bits. */
enum {
  FW_FOR_PREDICT   = 1 << 0,
  FW_FOR_SAMPLE    = 1 << 1,
  FW_FOR_MIXTURE   = 1 << 2,
  FW_FOR_OPTIMAL   = 1 << 3,
  FW_FOR_ANSATZ    = 1 << 4,
  FW_FOR_ALL       = (1 << 5) - 1, /**< that compute */
  FW_FOR_JOBSCRIPT = 1 << 5
};

/** One row of the table. */
typedef struct {
  const char *name;
  FwKeyType   type;
  PetscBool   is_list;       /**< a comma-separated list of that type */
  const char *default_value; /**< as it would be typed; NULL when there is none */
  const char *unit;          /**< for the help line; NULL for none */
  double      minimum;       /**< smallest legal number */
  PetscBool   is_open;       /**< the minimum itself is not legal */
  double      maximum;       /**< largest legal number */
  const char *choices;       /**< comma-separated, for FW_KEY_CHOICE */
  unsigned    commands;      /**< FW_FOR_... */
  const char *help;
} FwKey;

/** The table: `*n_key` rows, in the order in which they are shown. Borrowed. */
const FwKey *FwKeyTable(PetscInt *n_key);

/** The row of a key; NULL when there is none. Borrowed. */
const FwKey *FwKeyFind(const char name[]);

/** Check a text as one value of a key (not a list).
 * @param[out] number  its value: a number, a truth value, or the index of a choice; 0 for a text
 * @error FW_ERR_INPUT  as for reading the key */
PetscErrorCode FwKeyParse(const FwKey *key, const char text[], double *number);

/** Whether the user gave the key. */
PetscErrorCode FwOptionIsSet(const char key[], PetscBool *is_set);

/** Whether the user gave the key another value than its default. A resolved input, which names all keys, chooses nothing. */
PetscErrorCode FwOptionIsChosen(const char key[], PetscBool *is_chosen);

/** Value of a key, or its default; `*is_set` (may be NULL) says whether there is either.
 *
 * @error FW_ERR_INPUT      the text is not of the key's type, or out of its range: says what would be right
 * @error PETSC_ERR_PLIB    the key is not in the table or of another type: a bug in the caller
 */
PetscErrorCode FwOptionInteger(const char key[], PetscInt64 *value, PetscBool *is_set);
PetscErrorCode FwOptionReal(const char key[], double *value, PetscBool *is_set);
PetscErrorCode FwOptionBoolean(const char key[], PetscBool *value, PetscBool *is_set);
/** As above; `value` is the index in the row's list of choices. */
PetscErrorCode FwOptionChoice(const char key[], PetscInt *value, PetscBool *is_set);
/** As above; `text` has room for `size` characters. */
PetscErrorCode FwOptionText(const char key[], size_t size, char text[], PetscBool *is_set);
/** As above, for lists; `*n_value` is the room on entry and the number of entries on return (0 when not set).
 *  A choice list gives indices. */
PetscErrorCode FwOptionIntegers(const char key[], PetscInt *n_value, PetscInt64 value[]);
PetscErrorCode FwOptionReals(const char key[], PetscInt *n_value, double value[]);
PetscErrorCode FwOptionChoices(const char key[], PetscInt *n_value, PetscInt value[]);

/** Check every option in the database before anything is computed.
 *
 * A name that is neither in the table nor an option of PETSc's own objects is an error that names the nearest key; so
 * is a value that its row does not allow, whichever command reads it.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in] command  FW_FOR_... bits: of keys that are equally near, those of these commands are named
 * @error FW_ERR_INPUT
 */
PetscErrorCode FwOptionsCheck(unsigned command);

/** Print the keys of a command (a bit of FW_FOR_...), one line each, on stdout from rank 0. Collective. */
PetscErrorCode FwOptionsPrintHelp(unsigned command);

/** The values that a command would use, one `key: value` line each, with defaults filled in, and the axes of a scan.
 * @param[out] text  owned by the caller, release with PetscFree() */
PetscErrorCode FwOptionsResolved(unsigned command, char **text);

/** The lines of a resolved input that say what to compute, without those that say how (output, walltime, ...): runs with
 *  the same ones give the same numbers.
 * @param[in]  of_scan  also without scan_index: what all parts of a scan have in common
 * @param[out] what     owned by the caller, release with PetscFree() */
PetscErrorCode FwOptionsWhat(const char resolved[], PetscBool of_scan, char **what);

/** Print the table as a Markdown page (docs/keys.md) on stdout from rank 0. Collective. */
PetscErrorCode FwOptionsPrintMarkdown(void);
