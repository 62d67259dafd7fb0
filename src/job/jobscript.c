/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The text of job scripts: directives of each scheduler, and a body that is nearly the same for all.
 */

#include <finwidth/jobscript.h>
#include <finwidth/quote.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between the end of finwidth's own time and the scheduler's limit: to write a checkpoint, and to start */
static const double margin_seconds = 120.0;

static const char *const scheduler_names[] = {"slurm", "pbs", "lsf"};

/* --- what may stand in a directive --------------------------------------------------------------------------- */

static PetscErrorCode CheckWord(const char key[], const char text[], const char more[], size_t longest)
{
  char         allowed[128];
  const size_t n = strlen(text);

  PetscFunctionBegin;
  PetscCall(
    PetscSNPrintf(allowed, sizeof allowed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_%s", more));
  PetscCheck(n <= longest && text[0] != '-' && strspn(text, allowed) == n, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key '%s' is '%s', want at most %zu letters, digits, '_' and any of '%s', without '-' in front", key, text,
             longest, more);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckJob(const FwJob *job)
{
  PetscFunctionBegin;
  PetscCall(CheckWord("job_name", job->name, ".+-", 60));
  PetscCheck(job->name[0], PETSC_COMM_WORLD, FW_ERR_INPUT, "key 'job_name' is empty");
  PetscCall(CheckWord("job_account", job->account, ".+-@", 64));
  PetscCall(CheckWord("job_queue", job->queue, ".+-@", 64));
  PetscCall(CheckWord("job_modules", job->modules, ".+-@/,", 512));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- directives ---------------------------------------------------------------------------------------------- */

static void PutDuration(FILE *out, double seconds)
{
  const long whole = lround(seconds);

  fprintf(out, "%02ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

/* Schedulers count in minutes, or round up to them */
static double WholeMinutes(double seconds)
{
  return 60.0 * ceil(seconds / 60.0);
}

static void PutSlurm(FILE *out, const FwJob *job)
{
  fprintf(out, "#SBATCH --job-name=%s\n", job->name);
  fprintf(out, "#SBATCH --output=%s.%s.log\n", job->name, job->mode == FW_JOB_ARRAY ? "%A_%a" : "%j");
  fprintf(out, "#SBATCH --open-mode=append\n"); /* a job that is queued again goes on in its log */
  if (job->account[0]) fprintf(out, "#SBATCH --account=%s\n", job->account);
  if (job->queue[0]) fprintf(out, "#SBATCH --partition=%s\n", job->queue);
  fprintf(out, "#SBATCH --nodes=%d\n#SBATCH --ntasks-per-node=%d\n#SBATCH --cpus-per-task=1\n", (int)job->n_node,
          (int)job->n_rank_node);
  fprintf(out, "#SBATCH --mem-per-cpu=%.0fM\n#SBATCH --time=", ceil(job->rank_bytes / 1048576.0));
  PutDuration(out, WholeMinutes(job->seconds));
  fprintf(out, "\n#SBATCH --requeue\n#SBATCH --signal=B:USR2@90\n");
  if (job->mode == FW_JOB_ARRAY) fprintf(out, "#SBATCH --array=0-%d\n", (int)job->n_task - 1);
}

static void PutPbs(FILE *out, const FwJob *job)
{
  /* 15 letters: PBS takes no more; -V: the environment comes along, as it does with Slurm and LSF, and to what is queued again */
  fprintf(out, "#PBS -N %.15s\n#PBS -j oe\n#PBS -r y\n#PBS -V\n", job->name);
  if (job->account[0]) fprintf(out, "#PBS -A %s\n", job->account);
  if (job->queue[0]) fprintf(out, "#PBS -q %s\n", job->queue);
  fprintf(out, "#PBS -l select=%d:ncpus=%d:mpiprocs=%d:ompthreads=1:mem=%.0fmb\n#PBS -l walltime=", (int)job->n_node,
          (int)job->n_rank_node, (int)job->n_rank_node, ceil((double)job->n_rank_node * job->rank_bytes / 1048576.0));
  PutDuration(out, WholeMinutes(job->seconds));
  fprintf(out, "\n");
}

static void PutLsf(FILE *out, const FwJob *job)
{
  const long minutes = lround(ceil(job->seconds / 60.0));

  if (job->mode == FW_JOB_ARRAY)
    fprintf(out, "#BSUB -J %s[1-%d]\n#BSUB -o %s.%%J.%%I.log\n", job->name, (int)job->n_task, job->name);
  else
    fprintf(out, "#BSUB -J %s\n#BSUB -o %s.%%J.log\n", job->name, job->name);
  if (job->account[0]) fprintf(out, "#BSUB -P %s\n", job->account);
  if (job->queue[0]) fprintf(out, "#BSUB -q %s\n", job->queue);
  fprintf(out, "#BSUB -n %d\n#BSUB -R span[ptile=%d]\n", (int)(job->n_node * job->n_rank_node), (int)job->n_rank_node);
  fprintf(out,
          "# Memory of each host; where the site reserves memory for each task (RESOURCE_RESERVE_PER_TASK): mem=%.0fMB\n"
          "#BSUB -R rusage[mem=%.0fMB]\n#BSUB -W %02ld:%02ld\n",
          ceil(job->rank_bytes / 1048576.0), ceil((double)job->n_rank_node * job->rank_bytes / 1048576.0), minutes / 60,
          minutes % 60);
  fprintf(out, "#BSUB -r\n#BSUB -Q 6\n#BSUB -wa USR2\n#BSUB -wt 2\n");
}

/* --- head ---------------------------------------------------------------------------------------------------- */

static void PutSubmit(FILE *out, const FwJob *job)
{
  const char *file = scheduler_names[job->scheduler];

  fprintf(out, "# Save it as %s.%s.sh in the folder from which the input is named, and submit it there with\n#   ",
          job->name, file);
  if (job->scheduler == FW_SCHEDULER_SLURM) fprintf(out, "sbatch %s.%s.sh\n", job->name, file);
  if (job->scheduler == FW_SCHEDULER_LSF) fprintf(out, "bsub < %s.%s.sh\n", job->name, file);
  if (job->scheduler != FW_SCHEDULER_PBS) return;
  fprintf(out, "qsub ");
  if (job->mode == FW_JOB_ARRAY && job->n_task > 1) fprintf(out, "-J 0-%d ", (int)job->n_task - 1);
  fprintf(out, "%s.%s.sh\n", job->name, file);
}

static void PutHead(FILE *out, const FwJob *job)
{
  static const char *const what[] = {"one job", "a job array, each task with a result of its own",
                                     "a farm: one job in which rank 0 hands out the points to the others"};

  fprintf(out, "#!/bin/bash\n# finwidth %s as %s.\n", job->command, what[job->mode]);
  if (job->why[0]) fprintf(out, "# %s\n", job->why);
  PutSubmit(out, job);
  fprintf(out, "# Time and memory: %s\n", job->estimate);
  fprintf(out,
          "# A job that is stopped, killed or out of time loses at most the points it was computing: submitted\n"
          "# again, it goes on from its checkpoint.\n");
  if (job->scheduler == FW_SCHEDULER_SLURM) PutSlurm(out, job);
  if (job->scheduler == FW_SCHEDULER_PBS) PutPbs(out, job);
  if (job->scheduler == FW_SCHEDULER_LSF) PutLsf(out, job);
}

/* --- body ---------------------------------------------------------------------------------------------------- */

static void PutQuoted(FILE *out, const char before[], const char text[], const char after[])
{
  char *quoted = FwQuote(text);

  fprintf(out, "%s%s%s", before, quoted ? quoted : "''", after); /* no memory: ferror() below cannot tell, bash will */
  free(quoted);
}

static void PutModules(FILE *out, const FwJob *job)
{
  char *copy = strdup(job->modules), *rest = copy, *module;

  fprintf(out, "\n# Modules of the site that hold the program and its libraries\n");
  if (!job->modules[0]) fprintf(out, "# module load openmpi petsc hdf5 finwidth\n");
  while (rest && job->modules[0] && (module = strsep(&rest, ","))) PutQuoted(out, "module load ", module, "\n");
  free(copy);
}

static void PutSettings(FILE *out, const FwJob *job)
{
  static const char *const folder[] = {"SLURM_SUBMIT_DIR", "PBS_O_WORKDIR", "LS_SUBCWD"};

  fprintf(out, "\nset -eo pipefail\ncd \"${%s:-.}\"\n", folder[job->scheduler]);
  PutModules(out, job);
  fprintf(out, "set -u # after the modules, whose scripts may read what is not set\n");
  fprintf(out, "\nexport OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # one BLAS thread a rank\n");
  fprintf(out, "finwidth=${FINWIDTH:-finwidth} # the program, from PATH\n");
  PutQuoted(out, "input=", job->input, "\n");
  fprintf(out, "ranks=%d\n", (int)(job->n_node * job->n_rank_node));
}

/* Folder of the parts of an array: the result's name with .parts in place of .h5 */
static void PutParts(FILE *out, const FwJob *job)
{
  const size_t n     = strlen(job->output);
  const int    n_end = n > 3 && !strcmp(job->output + n - 3, ".h5") ? 3 : 0;
  char        *parts = malloc(n + 8);

  if (!parts) return;
  snprintf(parts, n + 8, "%.*s.parts", (int)n - n_end, job->output);
  PutQuoted(out, "parts=", parts, "\n");
  free(parts);
}

static void PutTasks(FILE *out, const FwJob *job)
{
  static const char *const task[] = {"${SLURM_ARRAY_TASK_ID:-0}", "${FINWIDTH_TASK:-${PBS_ARRAY_INDEX:-0}}",
                                     "$((${LSB_JOBINDEX:-1} - 1))"};

  fprintf(out, "\n# The points of each task: those that share a kernel are together\npoints=(\n");
  for (PetscInt t = 0; t < job->n_task; t++) PutQuoted(out, "  ", job->index[t], "\n");
  fprintf(out, ")\ntask=%s\n", task[job->scheduler]);
  PutQuoted(out, "result=", job->output, "\n");
  PutParts(out, job);
  fprintf(out, "mkdir -p -- \"$parts\"\noutput=$parts/$(printf '%%05d' \"$task\").h5\n");
}

static void PutCommand(FILE *out, const FwJob *job)
{
  fprintf(out, "command=(\"$finwidth\" ");
  PutQuoted(out, "", job->command, " \"$input\" -output \"$output\" -resume true -walltime ");
  PutDuration(out, PetscMax(0.5 * job->seconds, job->seconds - margin_seconds));
  if (job->mode == FW_JOB_ARRAY) fprintf(out, " -scan_index \"${points[$task]}\"");
  if (job->mode == FW_JOB_FARM) fprintf(out, " -scan_farm true");
  for (int i = 0; i < job->n_option; i++) PutQuoted(out, " ", job->option[i], "");
  fprintf(out, ")\n");
}

static const char launch[] =
  "\n"
  "# mpirun passes USR2 on to every rank, and finwidth then stops with a checkpoint; TERM would be followed by KILL\n"
  "mpirun -n \"$ranks\" \"${command[@]}\" &\n"
  "child=$!\n"
  "trap 'kill -USR2 \"$child\" 2>/dev/null || true' TERM USR2\n"
  "code=0\n"
  "wait \"$child\" || code=$?\n"
  "while kill -0 \"$child\" 2>/dev/null; do # wait was only interrupted by a signal\n"
  "  code=0\n"
  "  wait \"$child\" || code=$?\n"
  "done\n"
  "trap - TERM USR2\n";

static void PutRequeue(FILE *out, const FwJob *job)
{
  if (job->mode == FW_JOB_ARRAY)
    fprintf(out,
            "\nif [ \"$code\" = 0 ]; then\n  echo \"task $task is done; when all are: finwidth gather '$result' "
            "'$parts'\"\nfi\n");
  if (job->scheduler == FW_SCHEDULER_LSF) {
    fprintf(out, "\nexit \"$code\" # 6, stopped with a checkpoint, puts the job back into the queue (-Q 6 above)\n");
    return;
  }
  fprintf(out, "\n# 6: stopped with a checkpoint. Back into the queue, up to 100 times.\nif [ \"$code\" = 6 ]; then\n");
  if (job->scheduler == FW_SCHEDULER_SLURM) {
    fprintf(out,
            "  if [ \"${SLURM_RESTART_COUNT:-0}\" -lt 100 ]; then\n"
            "    scontrol requeue \"$SLURM_JOB_ID\"\n    exit 0\n  fi\n");
  } else {
    fprintf(out, "  restarts=$((${FINWIDTH_RESTARTS:-0} + 1))\n  if [ \"$restarts\" -le 100 ]; then\n    qsub -v ");
    fprintf(out, job->mode == FW_JOB_ARRAY ? "\"FINWIDTH_TASK=$task,FINWIDTH_RESTARTS=$restarts\""
                                           : "\"FINWIDTH_RESTARTS=$restarts\"");
    fprintf(out, " %s.pbs.sh\n    exit 0\n  fi\n", job->name);
  }
  fprintf(out, "fi\nexit \"$code\"\n");
}

PetscErrorCode FwJobScript(const FwJob *job, char **script)
{
  size_t size;
  FILE  *out;

  PetscFunctionBegin;
  PetscCall(CheckJob(job));
  out = open_memstream(script, &size);
  PetscCheck(out, PETSC_COMM_SELF, PETSC_ERR_MEM, "out of memory for a job script");
  PutHead(out, job);
  PutSettings(out, job);
  if (job->mode == FW_JOB_ARRAY)
    PutTasks(out, job);
  else
    PutQuoted(out, "output=", job->output, "\n");
  PutCommand(out, job);
  fputs(launch, out);
  PutRequeue(out, job);
  PetscCheck(!ferror(out) && !fclose(out), PETSC_COMM_SELF, PETSC_ERR_MEM, "out of memory for a job script");
  PetscFunctionReturn(PETSC_SUCCESS);
}
