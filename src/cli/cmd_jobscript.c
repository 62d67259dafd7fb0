/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth jobscript`: a job script for an input, with nodes, memory and time from the estimate.
 */

#include "ansatz.h"
#include "command.h"
#include "optimal.h"
#include "posterior_group.h"
#include "predict.h"
#include "sample.h"

#include <finwidth/jobscript.h>
#include <finwidth/option.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREDICT, SAMPLE, MIXTURE, OPTIMAL, ANSATZ }; /* choices of job_command */
enum { TEXT_SIZE = 512, INDEX_SIZE = 8000 };        /* an option has at most 8191 characters */

static const double kernel_bytes_at_least = 256e6, time_factor = 2.0, time_least = 900.0, memory_factor = 1.2;

/* A scan as a job sees it: points in groups that share a kernel */
typedef struct {
  FwRequest request;
  PetscInt  n_point, n_group, *group;  /* [n_point] */
  double    group_seconds, rank_bytes; /* of one rank; negative where there is no estimate */
  double    first_bytes;               /* of a group's first rank, however many share it */
} Scan;

/* --- estimate ------------------------------------------------------------------------------------------------ */

/* An option for a while */
typedef struct {
  const char *name;
  char        given[64];
  PetscBool   is_given;
} Option;

static PetscErrorCode SetForNow(const char name[], const char value[], Option *option)
{
  PetscFunctionBegin;
  *option = (Option){.name = name};
  PetscCall(PetscOptionsGetString(NULL, NULL, name, option->given, sizeof option->given, &option->is_given));
  PetscCall(PetscOptionsSetValue(NULL, name, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutBack(const Option *option)
{
  PetscFunctionBegin;
  PetscCall(option->is_given ? PetscOptionsSetValue(NULL, option->name, option->given)
                             : PetscOptionsClearValue(NULL, option->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One kernel, and n points on it */
static PetscErrorCode AskFull(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint *point, Scan *group)
{
  const FwPredictUse use = {.n_point = (double)n, .temperature_lowest = point->model.temperature};
  FwDataSizes        sizes;
  FwEstimate         e;
  double             flops, seconds, bytes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwPredictEstimate(grid, &sizes, point, &use, &e));
  PetscCall(FwPredictLearnCost(grid, data, n, point, &flops, &seconds, &bytes));
  group->group_seconds = e.assembly_seconds + e.decomposition_seconds + e.use_seconds + seconds;
  group->rank_bytes    = e.peak_bytes + bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The machine that prints the script need not be the one that computes */
static PetscErrorCode EstimateFull(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint *point, Scan *group)
{
  Option         memory;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(SetForNow("-memory", "1000000G", &memory));
  code = AskFull(grid, data, n, point, group);
  PetscCall(PutBack(&memory));
  PetscFunctionReturn(code);
}

/* n points on one kernel or family of kernels, like the one whose keys are set. How many features of patches are kept depends
   on the memory that there is: on this machine, or of the key `memory`. */
static PetscErrorCode EstimatePrediction(FwGrid grid, FwDataset data, PetscInt n, Scan *group)
{
  FwPredictPoint one, *same;

  PetscFunctionBegin;
  PetscCall(FwPredictPointRead(&one));
  PetscCall(PetscMalloc1(n, &same));
  for (PetscInt i = 0; i < n; i++) same[i] = one;
  if (FwPredictIsLocal(&one.model))
    PetscCall(FwPredictLocalCost(grid, data, n, same, &group->group_seconds, &group->rank_bytes));
  else
    PetscCall(EstimateFull(grid, data, n, same, group));
  PetscCall(PetscFree(same));
  PetscCall(FwPredictPointDestroy(&one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A point is a group: its prediction, if it has one, then its chains */
static PetscErrorCode EstimateSampling(FwGrid grid, FwDataset data, Scan *group)
{
  PetscErrorCode code;
  Option         memory;
  FwDataSizes    sizes;
  FwSampledCost  cost;

  PetscFunctionBegin;
  code = EstimatePrediction(grid, data, 1, group);
  if (code && FwExitOf(code) != FW_EXIT_INPUT) PetscCall(code);
  if (code) group->group_seconds = 0.0;
  FwErrorClear();
  PetscCall(SetForNow("-memory", "1000000G", &memory));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwSampleEstimate(PETSC_COMM_WORLD, &sizes, &cost));
  group->group_seconds += cost.seconds;
  group->first_bytes = cost.peak_bytes;
  PetscCall(PutBack(&memory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EstimateGroup(PetscInt command, PetscInt n, Scan *group)
{
  FwDataset data;
  FwGrid    grid;

  PetscFunctionBegin;
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  PetscCall(FwPredictInspectData(&data)); /* no example is read or drawn */
  PetscCall(command == SAMPLE ? EstimateSampling(grid, data, group) : EstimatePrediction(grid, data, n, group));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwGridDestroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The longest time and the most memory, which need not be of the same group */
static PetscErrorCode TakeLargest(const Scan *group, Scan *scan)
{
  PetscFunctionBegin;
  scan->group_seconds = PetscMax(scan->group_seconds, group->group_seconds);
  scan->rank_bytes    = PetscMax(scan->rank_bytes, group->rank_bytes);
  scan->first_bytes   = PetscMax(scan->first_bytes, group->first_bytes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One point of each group stands for it */
static PetscErrorCode EstimateGroups(Scan *scan, PetscInt command)
{
  PetscInt next = 0, *n;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(scan->n_group, &n));
  for (PetscInt p = 0; p < scan->n_point; p++)
    if (scan->group[p] >= 0) n[scan->group[p]]++;
  for (PetscInt p = 0; p < scan->n_point; p++) {
    Scan group = {.group_seconds = 0.0};

    if (scan->group[p] != next) continue; /* not the first of its group */
    PetscCall(FwScanApply(scan->request.scan, p));
    PetscCall(EstimateGroup(command, n[next++], &group));
    PetscCall(TakeLargest(&group, scan));
  }
  PetscCall(FwScanApply(scan->request.scan, -1));
  PetscCall(PetscFree(n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Commands that know what their dearest group needs */
static PetscErrorCode AskCommand(PetscInt command, Scan *scan)
{
  static PetscErrorCode (*const ask[])(const FwRequest *, PetscInt, const PetscInt *, FwRequestCost *) = {
    [MIXTURE] = FwMixtureCost, [OPTIMAL] = FwOptimalCost, [ANSATZ] = FwAnsatzCost};
  Option        memory;
  FwRequestCost cost = {0.0, 0.0};

  PetscFunctionBegin;
  PetscCall(SetForNow("-memory", "1000000G", &memory));
  PetscCall(ask[command](&scan->request, scan->n_group, scan->group, &cost));
  PetscCall(PutBack(&memory));
  PetscCall(FwScanApply(scan->request.scan, -1));
  scan->group_seconds = cost.seconds;
  scan->rank_bytes    = cost.rank_bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the scan ------------------------------------------------------------------------------------------------ */

/* Keys within which points form a group, as the command itself has it */
static PetscErrorCode FindShared(PetscInt command, FwRequest *request, const char *const **shared)
{
  static const char *const nothing[] = {NULL};
  FwPredict                predict;
  PetscBool                has_posterior;

  PetscFunctionBegin;
  *shared = nothing;
  PetscCall(FwOptionBoolean("mixture_posterior", &has_posterior, NULL));
  if (command == MIXTURE && has_posterior) *shared = FwPosteriorSharedKeys;
  if (command == OPTIMAL) *shared = FwOptimalSharedKeys;
  if (command == ANSATZ) *shared = FwAnsatzSharedKeys;
  if (command != PREDICT) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPredictSetUp(request, &predict));
  *shared = predict.shared;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadScan(const char *input, PetscInt command, const char name[], Scan *scan)
{
  const char *const *shared;
  PetscBool          has_time, has_memory;

  PetscFunctionBegin;
  *scan = (Scan){.group_seconds = -1.0, .rank_bytes = -1.0};
  PetscCall(FwRequestCreate(input, name, 1u << command, &scan->request));
  PetscCall(FindShared(command, &scan->request, &shared));
  PetscCall(FwScanGetSize(scan->request.scan, NULL, &scan->n_point, NULL));
  PetscCall(PetscMalloc1(scan->n_point, &scan->group));
  PetscCall(FwScanGetGroups(scan->request.scan, shared, NULL, &scan->n_group, scan->group));
  PetscCall(FwOptionIsSet("job_time", &has_time));
  PetscCall(FwOptionIsSet("job_memory", &has_memory));
  if (has_time && has_memory) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(command <= SAMPLE ? EstimateGroups(scan, command) : AskCommand(command, scan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- tasks of an array --------------------------------------------------------------------------------------- */

/* Whole groups, as evenly as they go */
static PetscErrorCode FillTasks(const Scan *scan, FwJob *job)
{
  PetscInt *point;
  PetscBool fits;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(scan->n_point, &point));
  PetscCall(PetscCalloc1(job->n_task, &job->index));
  for (PetscInt t = 0; t < job->n_task; t++) {
    PetscInt n = 0;

    for (PetscInt p = 0; p < scan->n_point; p++)
      if (scan->group[p] >= 0 && (PetscInt)((PetscInt64)scan->group[p] * job->n_task / scan->n_group) == t)
        point[n++] = p;
    PetscCall(PetscMalloc1(INDEX_SIZE, &job->index[t]));
    PetscCall(FwScanPrintIndex(n, point, INDEX_SIZE, job->index[t], &fits));
    PetscCheck(fits, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "the points of one of %" PetscInt_FMT " tasks are too many to name: %s", job->n_task,
               job->n_task < scan->n_group ? "give more job_tasks, or another mode" : "use -mode single or farm");
  }
  PetscCall(PetscFree(point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a scheduler takes where the site has not set another limit: it refuses the script when it is submitted */
static PetscErrorCode WarnOfLongArray(const FwJob *job)
{
  static const struct {
    PetscInt    n_task;
    const char *limit;
  } most[] = {
    {1000,  "Slurm's MaxArraySize (scontrol show config)" },
    {10000, "PBS' max_array_size (qmgr -c 'print server')"},
    {1000,  "LSF's MAX_JOB_ARRAY_SIZE (bparams -a)"       }
  };

  PetscFunctionBegin;
  if (job->n_task > most[job->scheduler].n_task)
    PetscCall(FwWarn("an array of %" PetscInt_FMT
                     " tasks is above what %s allows unless the site has raised it, %" PetscInt_FMT
                     ": give fewer job_tasks where it has not",
                     job->n_task, most[job->scheduler].limit, most[job->scheduler].n_task));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeTasks(const Scan *scan, FwJob *job)
{
  enum { TASKS_BY_DEFAULT = 100 };
  PetscInt64 n_task;
  PetscBool  is_set, has_index;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("job_tasks", &n_task, &is_set));
  PetscCall(FwOptionIsSet("scan_index", &has_index));
  PetscCheck(!has_index, PETSC_COMM_WORLD, FW_ERR_INPUT, "mode array: scan_index is given by the tasks themselves");
  if (!is_set) n_task = TASKS_BY_DEFAULT;
  if (is_set && n_task > scan->n_group)
    PetscCall(FwWarn("the points of this scan are on %" PetscInt_FMT
                     " kernels, each of which is computed in one task: job_tasks %" PetscInt64_FMT " makes no more",
                     scan->n_group, n_task));
  job->n_task = (PetscInt)PetscMin(n_task, scan->n_group);
  PetscCall(WarnOfLongArray(job));
  PetscCall(FillTasks(scan, job));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- sizes --------------------------------------------------------------------------------------------------- */

/* Groups that one sub-communicator computes, one after the other */
static double GroupsInARow(const Scan *scan, const FwJob *job, double n_rank, double n_rank_group)
{
  const double n_worker = job->mode == FW_JOB_FARM ? PetscMax(1.0, n_rank - 1.0) : n_rank;
  const double n_group  = ceil((double)scan->n_group / (double)job->n_task);
  const double n_comm   = PetscMax(1.0, PetscMin(floor(n_worker / n_rank_group), n_group));

  return ceil(n_group / n_comm);
}

static PetscErrorCode ReadSizes(const Scan *scan, FwJob *job, char estimate[TEXT_SIZE])
{
  PetscInt64 n_node, n_rank, n_rank_group;
  PetscBool  has_rank;
  double     in_a_row, seconds, bytes;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("job_nodes", &n_node, NULL));
  PetscCall(FwOptionInteger("scan_ranks", &n_rank_group, NULL));
  PetscCall(FwOptionInteger("job_ranks", &n_rank, &has_rank));
  if (!has_rank)
    n_rank = job->mode == FW_JOB_ARRAY ? n_rank_group
                                       : PetscMin(32, n_rank_group * scan->n_group + (job->mode == FW_JOB_FARM));
  job->n_node      = (PetscInt)n_node;
  job->n_rank_node = (PetscInt)n_rank;
  in_a_row         = GroupsInARow(scan, job, (double)(n_node * n_rank), (double)n_rank_group);
  seconds          = scan->group_seconds * in_a_row / (double)n_rank_group;
  bytes            = kernel_bytes_at_least + PetscMax(scan->rank_bytes / (double)n_rank_group, scan->first_bytes);
  job->seconds     = ceil((time_least + time_factor * seconds) / 300.0) * 300.0;
  job->rank_bytes  = ceil(memory_factor * bytes / 104857600.0) * 104857600.0;
  PetscCall(FwOptionReal("job_time", &job->seconds, NULL));
  PetscCall(FwOptionReal("job_memory", &job->rank_bytes, NULL));
  if (scan->group_seconds >= 0.0)
    snprintf(estimate, TEXT_SIZE,
             "about %.2g s here on one rank and %.2f GiB for each of %" PetscInt_FMT " groups of points, with a margin",
             scan->group_seconds, PetscMax(scan->rank_bytes, scan->first_bytes) / 1073741824.0, scan->n_group);
  else
    snprintf(estimate, TEXT_SIZE, "as given (job_time, job_memory)");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- names and options --------------------------------------------------------------------------------------- */

/* The result's base name, with what a directive would misread replaced */
static void NameJob(const char output[], size_t size, char name[])
{
  const char *slash = strrchr(output, '/');

  snprintf(name, size, "%.60s", slash ? slash + 1 : output);
  if (strlen(name) > 3 && !strcmp(name + strlen(name) - 3, ".h5")) name[strlen(name) - 3] = '\0';
  for (char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && !strchr("._", *c)) *c = '_';
}

/* Options that the job itself takes from the script */
static PetscBool IsOfTheScript(const char word[])
{
  static const char *const names[] = {"scheduler", "mode",     "output",  "overwrite",
                                      "resume",    "walltime", "dry_run", "scan_farm"};
  const char              *name    = word + (word[1] == '-' ? 2 : 1);

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names); i++)
    if (!strcmp(name, names[i])) return PETSC_TRUE;
  return !strncmp(name, "job_", 4) ? PETSC_TRUE : PETSC_FALSE;
}

/* What stands beside the input on this command line goes on to the job's */
static PetscErrorCode PassOptions(int n_word, char **word, FwJob *job)
{
  PetscBool is_kept = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n_word + 1, &job->option));
  for (int i = 1; i < n_word; i++) {
    if (word[i][0] == '-' && (isalpha((unsigned char)word[i][1]) || word[i][1] == '-'))
      is_kept = IsOfTheScript(word[i]) ? PETSC_FALSE : PETSC_TRUE;
    if (is_kept) job->option[job->n_option++] = word[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which command ------------------------------------------------------------------------------------------- */

static const char *const commands[] = {"predict", "sample", "mixture", "optimal", "ansatz"};

/* The commands that take every key that the input gives or scans */
static PetscErrorCode FindTakersOf(PetscErrorCode (*is_given)(const char[], PetscBool *), unsigned *takers)
{
  PetscInt     n_key;
  const FwKey *key = FwKeyTable(&n_key);

  PetscFunctionBegin;
  *takers = FW_FOR_ALL;
  for (PetscInt k = 0; k < n_key; k++) {
    PetscBool is_set, is_scanned;
    char      option[64];

    if (!(key[k].commands & FW_FOR_ALL)) continue;
    PetscCall(PetscSNPrintf(option, sizeof option, "-scan_%s", key[k].name));
    PetscCall(PetscOptionsHasName(NULL, NULL, option, &is_scanned));
    PetscCall(is_given(key[k].name, &is_set));
    if (is_set || is_scanned) *takers &= key[k].commands;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A file for several commands, or a resolved input with all keys of one, is judged by those that differ from their default */
static PetscErrorCode FindTakers(unsigned *takers)
{
  PetscFunctionBegin;
  PetscCall(FindTakersOf(FwOptionIsSet, takers));
  if (!*takers) PetscCall(FindTakersOf(FwOptionIsChosen, takers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* That of job_command; else the first that takes the input, and `why` says so */
static PetscErrorCode ChooseCommand(const char input[], PetscInt *command, size_t size, char why[])
{
  unsigned    takers;
  PetscBool   is_given;
  char        others[64] = "";
  const char *begin      = "";

  PetscFunctionBegin;
  why[0] = '\0';
  PetscCall(FwOptionChoice("job_command", command, &is_given));
  if (is_given) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FindTakers(&takers));
  PetscCheck(takers, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "'%s' has keys of several commands: name the one that the job runs, as in 'finwidth jobscript sample %s'",
             input, input);
  *command = 0;
  while (!(takers & (1u << *command))) ++*command;
  for (PetscInt c = *command + 1; c < (PetscInt)PETSC_STATIC_ARRAY_LENGTH(commands); c++) {
    if (!(takers & (1u << c))) continue;
    snprintf(others + strlen(others), sizeof others - strlen(others), "%s%s", begin, commands[c]);
    begin = ", ";
  }
  snprintf(why, size,
           others[0] ? "The first command with all keys of the input; 'finwidth jobscript COMMAND INPUT.yaml' for: %s."
                     : "The command is the one that takes the keys of the input.%s",
           others);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the command --------------------------------------------------------------------------------------------- */

typedef struct {
  char name[TEXT_SIZE], account[TEXT_SIZE], queue[TEXT_SIZE], modules[TEXT_SIZE], estimate[TEXT_SIZE];
} Texts;

static PetscErrorCode ReadTexts(FwJob *job, const char output[], Texts *texts)
{
  PetscFunctionBegin;
  *texts = (Texts){.name = ""};
  NameJob(output, sizeof texts->name, texts->name);
  PetscCall(FwOptionText("job_name", TEXT_SIZE, texts->name, NULL));
  PetscCall(FwOptionText("job_account", TEXT_SIZE, texts->account, NULL));
  PetscCall(FwOptionText("job_queue", TEXT_SIZE, texts->queue, NULL));
  PetscCall(FwOptionText("job_modules", TEXT_SIZE, texts->modules, NULL));
  job->name     = texts->name;
  job->account  = texts->account;
  job->queue    = texts->queue;
  job->modules  = texts->modules;
  job->estimate = texts->estimate;
  job->output   = output;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintOnRoot(const char script[])
{
  PetscFunctionBegin;
  PetscCheck(fputs(script, stdout) >= 0 && !fflush(stdout), PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot write the script to the standard output: %s", strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintScript(const FwJob *job)
{
  char       *script;
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCall(FwJobScript(job, &script));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, rank ? PETSC_SUCCESS : PrintOnRoot(script)));
  free(script);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Jobscript(const char *input, int n_word, char **word)
{
  PetscInt  scheduler, mode, command;
  FwJob     job = {.n_task = 1};
  Scan      scan;
  Texts     texts;
  PetscBool has_scheduler;
  char      why[TEXT_SIZE];

  PetscFunctionBegin;
  PetscCheck(input, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "usage: finwidth jobscript [COMMAND] INPUT.yaml -scheduler slurm -mode array");
  PetscCall(FwOptionChoice("scheduler", &scheduler, &has_scheduler));
  PetscCheck(has_scheduler, PETSC_COMM_WORLD, FW_ERR_INPUT, "give -scheduler slurm, pbs or lsf");
  PetscCall(FwOptionChoice("mode", &mode, NULL));
  PetscCall(ChooseCommand(input, &command, sizeof why, why));
  job.scheduler = (FwScheduler)scheduler;
  job.mode      = (FwJobMode)mode;
  job.command   = commands[command];
  job.why       = why;
  job.input     = input;
  PetscCall(ReadScan(input, command, job.command, &scan));
  PetscCheck(!scan.request.is_single || job.mode == FW_JOB_SINGLE, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mode %s is for a scan, and '%s' has none", job.mode == FW_JOB_ARRAY ? "array" : "farm", input);
  PetscCall(ReadTexts(&job, scan.request.output, &texts));
  if (job.mode == FW_JOB_ARRAY) PetscCall(MakeTasks(&scan, &job));
  PetscCall(ReadSizes(&scan, &job, texts.estimate));
  PetscCall(PassOptions(n_word, word, &job));
  PetscCall(PrintScript(&job));
  for (PetscInt t = 0; job.index && t < job.n_task; t++) PetscCall(PetscFree(job.index[t]));
  PetscCall(PetscFree(job.index));
  PetscCall(PetscFree(job.option));
  PetscCall(PetscFree(scan.group));
  PetscCall(FwRequestDestroy(&scan.request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
