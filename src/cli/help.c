/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Manual pages and bash completion.
 */

#include "help.h"

#include <finwidth/option.h>
#include <finwidth/provenance.h>

#include <ctype.h>
#include <string.h>

/* --- manual -------------------------------------------------------------------------------------------------- */

/* Text for troff: no escapes, no request at the start of a line, hyphens that can be copied */
static PetscErrorCode Put(const char text[])
{
  PetscFunctionBegin;
  for (const char *c = text; *c; c++) {
    if (c > text && c[-1] == ',' && isalnum((unsigned char)*c))
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\\:")); /* a line may end here */
    if (*c == '\\')
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\\e"));
    else if (*c == '-')
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\\-"));
    else
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, c == text && (*c == '.' || *c == '\'') ? "\\&%c" : "%c", *c));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutItem(const char item[], const char text[])
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".TP\n.B "));
  PetscCall(Put(item));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscCall(Put(text));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutKeys(unsigned commands)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        ".SH KEYS\nA key stands on the command line as\n.B \\-network_width 500\n"
                        "and in the input file as\n.BR \"network: {width: 500}\" .\n"));
  for (PetscInt i = 0; i < n; i++) {
    char item[128], text[1024];

    if (!(keys[i].commands & commands)) continue;
    PetscCall(PetscSNPrintf(item, sizeof item, "-%s", keys[i].name));
    PetscCall(PetscSNPrintf(text, sizeof text, "%s%s%s%s%s%s%s%s%s%s", keys[i].help, keys[i].choices ? "; one of " : "",
                            keys[i].choices ? keys[i].choices : "", keys[i].unit ? " [" : "",
                            keys[i].unit ? keys[i].unit : "", keys[i].unit ? "]" : "",
                            keys[i].default_value ? " (" : "", keys[i].default_value ? keys[i].default_value : "",
                            keys[i].default_value ? ")" : "", "."));
    PetscCall(PutItem(item, text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutExitCodes(void)
{
  static const char *const meaning[] = {
    "done",
    "internal error",
    "bad input or usage",
    "file or disk",
    "numerical: not converged, not positive definite, NaN",
    "would not fit in memory",
    "stopped early with a checkpoint: run again with -resume",
    "the result exists, or another run holds it",
  };

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".SH EXIT STATUS\n"));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(meaning); i++) {
    const char item[2] = {(char)('0' + i), '\0'};

    PetscCall(PutItem(item, meaning[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutExample(const FwCommand *command)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".SH EXAMPLE\n.nf\n"));
  PetscCall(Put(command->example));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n.fi\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutCommand(const FwCommand *command)
{
  char line[512];

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".TH FINWIDTH-%s 1 \"\" \"finwidth %s\"\n.SH NAME\nfinwidth\\-%s \\- ",
                        command->name, FwVersion(), command->name));
  PetscCall(Put(command->summary));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n.SH SYNOPSIS\n"));
  PetscCall(PetscSNPrintf(line, sizeof line, "[mpirun -n R] finwidth %s %s", command->name, command->usage));
  PetscCall(Put(line));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  if (command->keys) PetscCall(PutKeys(command->keys));
  PetscCall(PutExitCodes());
  PetscCall(PutExample(command));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".SH SEE ALSO\n.BR finwidth (1)\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutProgram(size_t n, const FwCommand commands[])
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        ".TH FINWIDTH 1 \"\" \"finwidth %s\"\n.SH NAME\nfinwidth \\- learning in neural networks of "
                        "finite width\n.SH SYNOPSIS\n[mpirun \\-n R] finwidth COMMAND [FILE] [\\-key value ...]\n"
                        ".SH COMMANDS\n",
                        FwVersion()));
  for (size_t i = 0; i < n; i++) PetscCall(PutItem(commands[i].name, commands[i].summary));
  PetscCall(PutKeys(~0u));
  PetscCall(PutExitCodes());
  PetscCall(PutExample(&commands[0]));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".SH SEE ALSO\n"));
  for (size_t i = 0; i < n; i++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, ".BR finwidth\\-%s (1)%s\n", commands[i].name, i + 1 < n ? "," : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwHelpManual(size_t n, const FwCommand commands[], const FwCommand *command)
{
  PetscFunctionBegin;
  if (command)
    PetscCall(PutCommand(command));
  else
    PetscCall(PutProgram(n, commands));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- completion ---------------------------------------------------------------------------------------------- */

/* A list in which commas become blanks */
static PetscErrorCode PutWords(const char list[])
{
  PetscFunctionBegin;
  for (const char *c = list; *c; c++) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%c", *c == ',' ? ' ' : *c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutKeysOf(unsigned commands)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++)
    if (keys[i].commands & commands) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " -%s", keys[i].name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutValues(void)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  case $before in\n"));
  for (PetscInt i = 0; i < n; i++) {
    if (keys[i].type != FW_KEY_CHOICE && keys[i].type != FW_KEY_BOOLEAN) continue;
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "    -%s) words='", keys[i].name));
    PetscCall(PutWords(keys[i].type == FW_KEY_CHOICE ? keys[i].choices : "true,false"));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "' ;;\n"));
  }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  esac\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwHelpCompletion(size_t n, const FwCommand commands[])
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "# bash completion for finwidth, made by `finwidth help completion`\n"
                        "_finwidth()\n{\n  local here=${COMP_WORDS[COMP_CWORD]} "
                        "before=${COMP_WORDS[COMP_CWORD-1]} words='' keys=''\n"
                        "  case ${COMP_WORDS[1]} in\n"));
  for (size_t i = 0; i < n; i++) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "    %s) keys='", commands[i].name));
    PetscCall(PutKeysOf(commands[i].keys));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s' ;;\n",
                          commands[i].keys || !commands[i].wants_result ? "" : " -output -overwrite -figure"));
  }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  esac\n"));
  PetscCall(PutValues());
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  local commands='"));
  for (size_t i = 0; i < n; i++) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s ", commands[i].name));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "'\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    words=\"${commands}help version\"\n"
                        "  elif [ \"${COMP_WORDS[1]}\" = help ]; then\n    words=\"${commands}keys man completion\"\n"
                        "  elif [[ $here == -* ]]; then\n    words=$keys\n  fi\n"
                        "  COMPREPLY=()\n  local word\n"
                        "  while IFS= read -r word; do COMPREPLY+=(\"$word\"); done "
                        "< <(if [ -n \"$words\" ]; then compgen -W \"$words\" -- \"$here\"; "
                        "else compgen -f -- \"$here\"; fi)\n}\ncomplete -o filenames -F _finwidth finwidth\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
