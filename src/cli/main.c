/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The program `finwidth`: take the command line apart, start MPI and PETSc, run the subcommand.
 */

#include "command.h"
#include "help.h"

#include <finwidth/blas.h>
#include <finwidth/memory.h>
#include <finwidth/option.h>
#include <finwidth/provenance.h>
#include <finwidth/stop.h>

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const FwCommand commands[] = {
  {.name    = "predict",
   .run     = FwCommandRun_Predict,
   .summary = "theory: order parameters, train and test error, evidence",
   .usage   = "[INPUT.yaml] [-key value ...]",
   .example = "mpirun -n 2 finwidth predict inputs/quickstart.yaml -network_width 200",
   .keys    = FW_FOR_PREDICT                                                                          },
  {.name    = "sample",
   .run     = FwCommandRun_Sample,
   .summary = "posterior sampling of the finite network, beside its prediction",
   .usage   = "[INPUT.yaml] [-key value ...]",
   .example = "mpirun -n 2 finwidth sample inputs/sample-glyphs.yaml",
   .keys    = FW_FOR_SAMPLE                                                                           },
  {.name    = "mixture",
   .run     = FwCommandRun_Mixture,
   .summary = "deep linear networks: finite widths and depth against their Gaussian-mixture limit",
   .usage   = "[INPUT.yaml] [-key value ...]",
   .example = "mpirun -n 2 finwidth mixture inputs/mixture.yaml -mixture_samples 20000",
   .keys    = FW_FOR_MIXTURE                                                                          },
  {.name    = "optimal",
   .run     = FwCommandRun_Optimal,
   .summary = "the best that any learner of a deep random network could do",
   .usage   = "[INPUT.yaml] [-key value ...]",
   .example = "finwidth optimal inputs/optimal-depth.yaml -optimal_noise 0.05",
   .keys    = FW_FOR_OPTIMAL                                                                          },
  {.name    = "ansatz",
   .run     = FwCommandRun_Ansatz,
   .summary = "networks in training, and the Neural Feature Ansatz measured on them",
   .usage   = "[INPUT.yaml] [-key value ...]",
   .example = "mpirun -n 2 finwidth ansatz inputs/ansatz.yaml -ansatz_decay 0.01",
   .keys    = FW_FOR_ANSATZ                                                                           },
  {.name         = "gather",
   .run_files    = FwCommandRun_Gather,
   .summary      = "merge the result files of a scan into one",
   .usage        = "OUT.h5 IN.h5|FOLDER ... [-overwrite]",
   .example      = "mpirun -n 2 finwidth gather scan.h5 scan.parts",
   .wants_result = PETSC_TRUE                                                                         },
  {.name      = "jobscript",
   .run_words = FwCommandRun_Jobscript,
   .summary   = "print a job script for an input",
   .usage     = "[COMMAND] INPUT.yaml -scheduler slurm|pbs|lsf [-mode single|array|farm] [-key value ...]",
   .example   = "finwidth jobscript inputs/scan-temperature-width.yaml -scheduler slurm -mode array",
   .keys      = FW_FOR_JOBSCRIPT                                                                      },
  {.name         = "plot",
   .run          = FwCommandRun_Plot,
   .summary      = "draw a figure of a result file",
   .usage        = "RESULT.h5 -output FIG.png [-figure NAME]",
   .example      = "finwidth plot quickstart.h5 -output action.svg -figure action",
   .wants_result = PETSC_TRUE                                                                         },
  {.name    = "selftest",
   .run     = FwCommandRun_Selftest,
   .summary = "check the installation: no network, no files, a few seconds",
   .usage   = "",
   .example = "mpirun -n 2 finwidth selftest"                                                       },
  {.name         = "verify",
   .run          = FwCommandRun_Verify,
   .summary      = "check a result file: schema, checksums, status",
   .usage        = "RESULT.h5",
   .example      = "finwidth verify quickstart.h5",
   .wants_result = PETSC_TRUE},
};

/* What the words of the command line mean */
typedef struct {
  const FwCommand *command;
  const char      *word;   /* the first word, where it is no command */
  const char      *file;   /* input or result */
  int              n_file; /* words after the command that are not options */
  char           **files;
  const char      *stray;  /* a word that is neither an option nor its value */
  int              n_word; /* options: words[0 .. n_word), words[0] the program */
  char           **words;
  PetscBool        is_help, is_version, is_markdown, is_manual, is_completion;
} Call;

static const FwCommand *FindCommand(const char name[])
{
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(commands); i++)
    if (!strcmp(name, commands[i].name)) return &commands[i];
  return NULL;
}

static PetscBool IsOption(const char word[])
{
  if (word[0] == '-' && word[1] == '-') word++;
  return (word[0] == '-' && isalpha((unsigned char)word[1])) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool IsOneOf(const char word[], const char a[], const char b[], const char c[])
{
  return (!strcmp(word, a) || !strcmp(word, b) || !strcmp(word, c)) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool IsHelpWord(const char word[])
{
  return (IsOneOf(word, "help", "-help", "--help") || !strcmp(word, "-h")) ? PETSC_TRUE : PETSC_FALSE;
}

/* An option takes the next word as its value, unless that is an option too: PETSc reads it the same way */
static void SortOptions(int argc, char **argv, int begin, Call *call)
{
  PetscBool wants_value = PETSC_FALSE;

  for (int i = begin; i < argc; i++) {
    if (IsHelpWord(argv[i]) && argv[i][0] == '-') {
      call->is_help = PETSC_TRUE;
      continue;
    }
    if (!IsOption(argv[i]) && !wants_value && !call->stray) call->stray = argv[i];
    wants_value                 = IsOption(argv[i]);
    call->words[call->n_word++] = argv[i];
  }
}

/* help COMMAND, help keys, help man [COMMAND], help completion */
static void ReadHelpTopic(int argc, char **argv, Call *call)
{
  int n_word = 3;

  call->is_markdown   = !strcmp(argv[2], "keys") ? PETSC_TRUE : PETSC_FALSE;
  call->is_manual     = !strcmp(argv[2], "man") ? PETSC_TRUE : PETSC_FALSE;
  call->is_completion = !strcmp(argv[2], "completion") ? PETSC_TRUE : PETSC_FALSE;
  if (call->is_manual && argc > 3) n_word++;
  if (argc > n_word) call->stray = argv[n_word];
  if (call->is_markdown || call->is_completion || (call->is_manual && argc == 3)) return;
  call->word    = argv[n_word - 1];
  call->command = FindCommand(call->word);
}

/* jobscript COMMAND INPUT.yaml: as -job_command COMMAND */
static int ReadJobCommand(int argc, char **argv, Call *call)
{
  static char option[] = "-job_command";

  if (!call->command || !call->command->run_words || argc < 4 || IsOption(argv[3]) || !FindCommand(argv[2])) return 0;
  call->words[call->n_word++] = option;
  call->words[call->n_word++] = argv[2];
  return 1;
}

static void ReadWords(int argc, char **argv, char **words, Call *call)
{
  int next = 2;

  *call          = (Call){.words = words, .n_word = 1};
  call->words[0] = argv[0];
  if (argc < 2) return;
  call->word       = argv[1];
  call->is_help    = IsHelpWord(argv[1]);
  call->is_version = IsOneOf(argv[1], "version", "-version", "--version");
  if (call->is_help) {
    if (argc > 2) ReadHelpTopic(argc, argv, call);
    return;
  }
  call->command = FindCommand(argv[1]);
  next += ReadJobCommand(argc, argv, call);
  call->files = argv + next;
  while (next < argc && !IsOption(argv[next]) && call->n_file < (call->command && call->command->run_files ? argc : 1))
    next++, call->n_file++;
  if (call->n_file) call->file = call->files[0];
  SortOptions(argc, argv, next, call);
}

static PetscErrorCode PrintUsage(void)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "usage: [mpirun -n R] finwidth COMMAND [FILE] [-key value ...]\n\n"));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(commands); i++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-9s %s\n", commands[i].name, commands[i].summary));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "  %-9s this text; help COMMAND: its keys; help keys: all keys as a Markdown table;\n"
                        "  %-9s help man [COMMAND]: a manual page; help completion: for bash\n"
                        "  %-9s of the program and its libraries\n\nexample: %s\n",
                        "help", "", "version", commands[0].example));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintCommandHelp(const FwCommand *command)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "finwidth %s: %s\n\nusage:   finwidth %s %s\nexample: %s\n", command->name,
                        command->summary, command->name, command->usage, command->example));
  if (!command->keys) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(
    PETSC_COMM_WORLD,
    "\nkeys ('-network_width 500' on the command line is 'network: {width: 500}' in the file; nearly all can be\n"
    "scanned: '-scan_network_width 10,100,1000' or '10:1000:3:log', in the file below 'scan'):\n"));
  PetscCall(FwOptionsPrintHelp(command->keys));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintVersion(void)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "finwidth %s, commit %s\n%s", FwVersion(), FwCommit(), FwLibraries()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What follows a command that takes nothing at all, or NULL */
static const char *Surplus(const Call *call)
{
  const PetscBool takes_nothing =
    (call->is_version || (call->command && !call->command->keys && !call->command->wants_result)) ? PETSC_TRUE
                                                                                                  : PETSC_FALSE;

  if (!takes_nothing) return NULL;
  return call->n_file ? call->file : call->words[1];
}

static PetscErrorCode CheckCall(const Call *call)
{
  const PetscBool is_known =
    (call->command || call->is_version || (call->is_help && call->word && IsHelpWord(call->word))) ? PETSC_TRUE
                                                                                                   : PETSC_FALSE;

  PetscFunctionBegin;
  PetscCheck(call->word, PETSC_COMM_WORLD, FW_ERR_INPUT, "no command: try 'finwidth help'");
  PetscCheck(is_known, PETSC_COMM_WORLD, FW_ERR_INPUT, "unknown command '%s': try 'finwidth help'", call->word);
  PetscCheck(!Surplus(call), PETSC_COMM_WORLD, FW_ERR_INPUT, "'%s' takes no further words: what is '%s' for?",
             call->word, Surplus(call));
  PetscCheck(!call->stray || call->file || !call->command || access(call->stray, F_OK), PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the file comes before the options: finwidth %s %s ...", call->word, call->stray);
  PetscCheck(!call->stray, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "stray word '%s' on the command line: options are '-key value'", call->stray);
  PetscCheck(!call->command || !call->command->wants_result || call->file || call->is_help, PETSC_COMM_WORLD,
             FW_ERR_INPUT, "usage: finwidth %s %s", call->command->name, call->command->usage);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys of other commands are no mistake in an input file, which several commands may share; on the command line they are */
static PetscErrorCode WarnOfForeignKeys(const Call *call)
{
  static const char *const of_results[] = {"output", "overwrite", "figure"};
  char                     names[256]   = "";

  PetscFunctionBegin;
  for (int i = 1; i < call->n_word && !call->command->run_words; i++) {
    const FwKey *key    = IsOption(call->words[i]) ? FwKeyFind(call->words[i] + strspn(call->words[i], "-")) : NULL;
    PetscBool    is_own = (!key || key->commands & call->command->keys) ? PETSC_TRUE : PETSC_FALSE;
    const size_t n      = strlen(names);

    for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(of_results) && !is_own && !call->command->keys; k++)
      if (!strcmp(key->name, of_results[k])) is_own = PETSC_TRUE;
    if (!is_own) snprintf(names + n, sizeof names - n, "%s-%s", n ? ", " : "", key->name);
  }
  if (names[0]) PetscCall(FwWarn("%s: without meaning for '%s'", names, call->command->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A pipe whose reader has seen enough */
static PetscBool ReaderHasLeft(void)
{
  struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

  return (poll(&out, 1, 0) == 1 && out.revents & POLLERR) ? PETSC_TRUE : PETSC_FALSE;
}

/* A result, or a figure, whose name is an option; jobscript looks after its script itself */
static PetscBool WritesFile(const Call *call)
{
  const FwCommand *command = call->command;

  if (!command || call->is_help) return PETSC_FALSE;
  return (command->keys || command->run_files || (command->wants_result && call->n_word > 1)) ? PETSC_TRUE
                                                                                              : PETSC_FALSE;
}

/* Where the printed text is all that there is, it must have come out */
static PetscErrorCode CheckPrinted(const Call *call)
{
  PetscBool      is_dry = PETSC_FALSE;
  PetscErrorCode code   = PETSC_SUCCESS;
  PetscMPIInt    rank;

  PetscFunctionBegin;
  PetscCall(FwOptionBoolean("dry_run", &is_dry, NULL));
  if (WritesFile(call) && !is_dry) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0 && (fflush(stdout) || ferror(stdout)) && !ReaderHasLeft())
    code = PetscError(PETSC_COMM_SELF, __LINE__, PETSC_FUNCTION_NAME, __FILE__, FW_ERR_FILE, PETSC_ERROR_INITIAL,
                      "the text cannot be written to standard output: %s", strerror(errno ? errno : EIO));
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const Call *call)
{
  PetscFunctionBegin;
  PetscCall(CheckCall(call));
  if (call->is_markdown)
    PetscCall(FwOptionsPrintMarkdown());
  else if (call->is_completion)
    PetscCall(FwHelpCompletion(PETSC_STATIC_ARRAY_LENGTH(commands), commands));
  else if (call->is_manual)
    PetscCall(FwHelpManual(PETSC_STATIC_ARRAY_LENGTH(commands), commands, call->command));
  else if (call->is_version)
    PetscCall(PrintVersion());
  else if (call->is_help && call->command)
    PetscCall(PrintCommandHelp(call->command));
  else if (call->is_help)
    PetscCall(PrintUsage());
  else {
    PetscCall(FwOptionsCheck(call->command->keys));
    PetscCall(WarnOfForeignKeys(call));
    PetscCall(FwStopSetUp());
    if (call->command->run_words)
      PetscCall(call->command->run_words(call->file, call->n_word, call->words));
    else if (call->command->run_files)
      PetscCall(call->command->run_files(call->n_file, (const char *const *)call->files));
    else
      PetscCall(call->command->run(call->file));
  }
  PetscCall(CheckPrinted(call));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Before MPI and BLAS ask for memory; one line of the ranks that mpirun or srun has started */
static int CheckAddressSpace(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"};
  const char              *rank    = NULL;
  char                     message[256];
  const int                code = FwMemoryCheckLimit(message, sizeof message);

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names) && !rank; i++) rank = getenv(names[i]);
  if (code && (!rank || !strcmp(rank, "0"))) fprintf(stderr, "finwidth: error: %s\n", message);
  return code;
}

static int exit_code;

static void LeaveAtOnce(int signal_number)
{
  (void)signal_number;
  _exit(exit_code);
}

/* A thread of one of MPI's libraries may still run in code that is gone when the process takes itself down. Everything is
   written by now, and that is no reason for another exit code. */
static int Leave(int code)
{
  (void)fflush(NULL);
  exit_code = code;
  (void)signal(SIGSEGV, LeaveAtOnce);
  return code;
}

int main(int argc, char **argv)
{
  char         **words = calloc((size_t)argc + 2, sizeof *words);
  Call           call;
  PetscErrorCode code;
  const char    *input;

  if (CheckAddressSpace()) return FW_EXIT_MEMORY;
  FwBlasTune(argv);
  FwStopCatch();
  if (!words || FwCommandLineSet(argc, argv)) return FW_EXIT_MEMORY;
  ReadWords(argc, argv, words, &call);
  input = call.command && call.command->keys && !call.command->wants_result && !call.is_help ? call.file : NULL;
  code  = FwStart(call.n_word, call.words, input);
  if (!code) code = Run(&call);
  free(words);
  return Leave(FwFinish(code));
}
