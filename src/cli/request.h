/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What every command that computes shares: where the result goes, the scan of points and its checkpoint, -resume, the
 * status of the result, saving it, its figure.
 *
 * A command reads its own keys, gives the function that computes a group of points (scan.h), and runs:
 *
 *     FwRequestCreate(input, "predict", FW_FOR_PREDICT, &request);
 *     ... check the keys of every point; with request.is_dry print the estimate instead of running ...
 *     FwRequestRun(&request, &plan);
 *     FwRequestDestroy(&request);
 *
 * Each point is a record. Its array `converged` (0 or 1) says whether the point can be trusted, `average_converged` and
 * `observables_converged` (optional) whether an average and observables in it can, `data_digest` (an integer, optional)
 * which data it saw. A name that begins with '/' leads into another group of the file.
 */

#include <finwidth/scan.h>

typedef struct {
  const char *command; /**< name of the command, also of its group in the file */
  PetscBool   overwrite, resume, is_dry;
  PetscBool   is_single; /**< no scan: one point */
  char        output[PETSC_MAX_PATH_LEN], checkpoint[PETSC_MAX_PATH_LEN];
  char       *resolved;  /**< every key with its value */
  char        tag[64];   /**< digest of the keys that say what, not how, to compute, and of files[] */
  char        files[17]; /**< digest of the files that the data come from, by content; "" where there are none */
  FwScan      scan;
} FwRequest;

/** What the points of a finished scan have in common. The same on every rank. */
typedef struct {
  PetscInt n_point, n_failed, n_missing; /**< missing: points of the whole grid not among scan_index */
  unsigned failed;                       /**< what has failed somewhere, for FwRequestRun() to say */
  char     digest[64];                   /**< of the data; "" where no point had any */
} FwRequestSummary;

/** How a command computes. */
typedef struct {
  const char *const *shared; /**< NULL-terminated: keys within which points form a group (scan.h) */
  const char *const *groups; /**< NULL-terminated paths of the groups that the records fill */
  FwScanFunction    *function;
  void              *context; /**< for the functions */
  const char        *failure; /**< where `converged` is 0, for exit 4: "the chains have not converged" */

  /** Refuse and print before anything is computed; may be NULL. Collective. */
  PetscErrorCode (*prepare)(const FwRequest *request, void *context);
  /** Print and warn about the finished scan; may be NULL. `all` is looked at on rank 0. Collective. */
  PetscErrorCode (*report)(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context);
  /** Write dimension scales and what is not a record, before the records are written; may be NULL. Collective. */
  PetscErrorCode (*describe)(const FwRequest *request, FwStore store, void *context);
} FwRequestPlan;

/** Read the keys that all commands share, and the scan.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]  input    path of the input file, or NULL
 * @param[in]  command  borrowed
 * @param[in]  keys     the command's FW_FOR_... bit
 * @param[out] request  release with FwRequestDestroy()
 * @error FW_ERR_INPUT  as FwScanCreate(); the output is a file that the run reads
 */
PetscErrorCode FwRequestCreate(const char *input, const char command[], unsigned keys, FwRequest *request);

/** request_unused.c: warn of a key that was given another value than its default and that no point uses; `user` is what it is for.
 *  And of keys of the data that no point uses, if the command (its FW_FOR_... bit) has data. Not collective, the same on every rank. */
PetscErrorCode FwRequestWarnUnused(const char key[], PetscBool is_used, const char user[]);
PetscErrorCode FwRequestWarnAboutData(FwScan scan, unsigned command);

/** Compute the points, save the result, draw its figure.
 *
 * With -resume a complete result of the same input is left as it is.
 *
 * @collective{PETSC_COMM_WORLD}
 * @error FW_ERR_EXISTS     the result exists, or another run holds it
 * @error FW_ERR_INPUT      -resume on the result or the checkpoint of another input
 * @error FW_ERR_STOPPED    asked to stop; checkpoints are written
 * @error FW_ERR_NUMERICAL  a point did not converge: the file is there, with status `failed`
 */
PetscErrorCode FwRequestRun(const FwRequest *request, const FwRequestPlan *plan);

/** What the points of a finished scan have in common. Collective; `all` is looked at on rank 0. */
PetscErrorCode FwRequestSummarise(const FwRequest *request, FwRecord all, FwRequestSummary *summary);

/** Write the result: axes, what the plan describes, the points, provenance; commit it and say so.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]     plan   its groups and its `describe` are used
 * @param[in]     all    looked at on rank 0
 * @param[in,out] store  from FwStoreCreate(); NULL afterwards
 * @error as FwStoreCommit()
 */
PetscErrorCode FwRequestSave(const FwRequest *request, const FwRequestPlan *plan, const FwRequestSummary *summary,
                             FwRecord all, FwStore *store);

/** Path and tag of the checkpoint that a long computation inside a point may keep; it is removed when the result stands.
 *  Only with -resume should one that is there be read. Not collective. */
PetscErrorCode FwRequestPointCheckpoint(const FwRequest *request, PetscInt point, size_t size, char path[]);

/** What the group of a scan that needs most needs on one rank. */
typedef struct {
  double seconds, rank_bytes;
} FwRequestCost;

/** cmd_mixture.c, cmd_optimal.c, cmd_ansatz.c: the cost of their scans, in the groups of FwScanGetGroups() with their shared
 *  keys; the keys that they set themselves are set. ansatz trains for some seconds. Collective.
 * @param[in,out] cost  zero on entry
 * @error as the command before anything is computed */
PetscErrorCode FwMixtureCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost);
PetscErrorCode FwOptimalCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost);
PetscErrorCode FwAnsatzCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost);

/** Seconds between checkpoints: 60, or the environment variable FINWIDTH_CHECKPOINT_SECONDS. Not collective. */
double FwRequestCheckpointSeconds(void);

/** Release. */
PetscErrorCode FwRequestDestroy(FwRequest *request);
