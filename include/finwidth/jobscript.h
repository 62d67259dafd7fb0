/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Job scripts for batch systems: a bash script that runs a command of finwidth on an input, as one job, as an array whose
 * tasks each compute some points into a file of their own, or as one job that hands out points (a farm).
 *
 * What the scripts rely on, measured with Open MPI 4.1: mpirun passes USR2 on to every rank at once; TERM it follows with
 * KILL. finwidth stops on USR2, and before -walltime, with a checkpoint and exit code 6; -resume goes on from it. A script
 * turns the scheduler's warnings into USR2, and on 6 puts the job back into the queue.
 */

#include <finwidth/base.h>

typedef enum { FW_SCHEDULER_SLURM, FW_SCHEDULER_PBS, FW_SCHEDULER_LSF } FwScheduler;
typedef enum { FW_JOB_SINGLE, FW_JOB_ARRAY, FW_JOB_FARM } FwJobMode;

/** A job. Texts are borrowed. */
typedef struct {
  FwScheduler scheduler;
  FwJobMode   mode;
  const char *name;     /**< letters, digits and ._+- */
  const char *account;  /**< account or project, "" for none */
  const char *queue;    /**< partition or queue, "" for the default */
  const char *modules;  /**< separated by commas; "" leaves a line to fill in */
  const char *command;  /**< "predict", ... */
  const char *why;      /**< one line for a comment: why this command; "" for none */
  const char *input;    /**< path of the input file; any text */
  const char *output;   /**< path of the result, ending in ".h5"; any text */
  const char *estimate; /**< one line for a comment: what time and memory were taken from */
  int         n_option; /**< further options for the command */
  char      **option;
  PetscInt    n_node, n_rank_node; /**< nodes, and ranks on each; of each task of an array */
  double      rank_bytes;          /**< memory of a rank */
  double      seconds;             /**< limit of the job, or of each task */
  PetscInt    n_task;              /**< of an array */
  char      **index;               /**< [n_task] scan_index of each task */
} FwJob;

/** The script.
 *
 * Not collective. Every text goes into it in single quotes; what must stand in a directive, where there are no quotes, is
 * checked against a strict pattern.
 *
 * @param[out] script  release with free()
 * @error FW_ERR_INPUT  a name, account, queue or module that could be misread: says what may be in it
 */
PetscErrorCode FwJobScript(const FwJob *job, char **script);
