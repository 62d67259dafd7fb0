/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Comma-separated numbers, one example per line: inputs first, then targets.
 *
 * The whole file is checked when it is opened; of each line only its place and its targets are kept, and the inputs of
 * the examples used are read again from there.
 */

#include "source.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  FILE       *file;
  char       *line; /* of getline() */
  size_t      line_size;
  PetscInt64  line_number;
  PetscInt64  n_field; /* 0 until the first line is seen */
  PetscInt64 *place;   /* [n_example] offset of the line in the file */
  PetscInt64  n_room;  /* of place and labels */
  double     *value;   /* [n_field] of one line */
} Csv;

/* The next line without its end; *is_end after the last one */
static PetscErrorCode NextLine(Csv *csv, const char path[], PetscInt64 *place, PetscBool *is_end)
{
  ssize_t n;

  PetscFunctionBegin;
  *place  = (PetscInt64)ftello(csv->file);
  n       = getline(&csv->line, &csv->line_size, csv->file);
  *is_end = n < 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscCheck(n >= 0 || !ferror(csv->file), PETSC_COMM_SELF, FW_ERR_FILE, "'%s' cannot be read: %s", path,
             strerror(errno));
  if (n < 0) PetscFunctionReturn(PETSC_SUCCESS);
  csv->line_number++;
  PetscCheck(strlen(csv->line) == (size_t)n, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': line %" PetscInt64_FMT " has a zero byte: not a text file", path, csv->line_number);
  while (n > 0 && isspace((unsigned char)csv->line[n - 1])) csv->line[--n] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool ParseField(const char text[], double *value)
{
  char *end;

  *value = strtod(text, &end);
  if (end == text) return PETSC_FALSE;
  while (isspace((unsigned char)*end)) end++;
  return (*end == '\0' || *end == ',') ? PETSC_TRUE : PETSC_FALSE;
}

static PetscInt64 CountFields(const char line[])
{
  PetscInt64 n = 1;

  for (; *line; line++) n += *line == ',';
  return n;
}

/* A header has no number in any field; a line with some is an example with a mistake */
static PetscBool IsHeader(const char line[])
{
  double value;

  for (const char *field = line; field; field = strchr(field, ',') ? strchr(field, ',') + 1 : NULL)
    if (ParseField(field, &value)) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* 0,1,2,... or 1,2,3,...: what some programs write above columns without names; 1,2 may well be an example */
static PetscBool CountsColumns(const char line[])
{
  double     value, n;
  PetscInt64 n_field = 0;

  if (!ParseField(line, &n) || (n != 0.0 && n != 1.0)) return PETSC_FALSE;
  for (const char *field = line; field; field = strchr(field, ',') ? strchr(field, ',') + 1 : NULL) {
    if (!ParseField(field, &value) || value != n++) return PETSC_FALSE;
    n_field++;
  }
  return (n == (double)n_field || n_field > 2) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode ParseLine(Csv *csv, const char path[], PetscInt64 line_number)
{
  const char *field = csv->line;

  PetscFunctionBegin;
  PetscCheck(CountFields(csv->line) == csv->n_field, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': line %" PetscInt64_FMT " has %" PetscInt64_FMT " fields, the first has %" PetscInt64_FMT, path,
             line_number, CountFields(csv->line), csv->n_field);
  for (PetscInt64 i = 0; i < csv->n_field; i++) {
    const int length = (int)PetscMin(strcspn(field, ","), 40);

    PetscCheck(ParseField(field, &csv->value[i]) && isfinite(csv->value[i]), PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': line %" PetscInt64_FMT ", column %" PetscInt64_FMT ": '%.*s' is not a finite number", path,
               line_number, i + 1, length, field);
    field += strcspn(field, ",") + 1; /* past the end only after the last field */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Append(FwSource *source, Csv *csv, PetscInt64 place)
{
  FwSourceInfo *info = &source->info;

  PetscFunctionBegin;
  if (info->n_example == csv->n_room) {
    csv->n_room = 2 * csv->n_room + 64;
    PetscCall(PetscRealloc((size_t)csv->n_room * sizeof *csv->place, &csv->place));
    PetscCall(PetscRealloc((size_t)csv->n_room * (size_t)info->n_label * sizeof(double), &source->label));
  }
  csv->place[info->n_example] = place;
  PetscCall(PetscArraycpy(source->label + info->n_example * info->n_label, csv->value + info->width, info->n_label));
  info->n_example++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first line that is not a comment fixes the number of fields */
static PetscErrorCode SettleFields(FwSource *source, Csv *csv)
{
  FwSourceInfo *info = &source->info;

  PetscFunctionBegin;
  csv->n_field = CountFields(csv->line);
  PetscCheck(csv->n_field > info->n_label && csv->n_field <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': line %" PetscInt64_FMT " has %" PetscInt64_FMT
             " fields separated by commas, want inputs and then %" PetscInt_FMT " target%s",
             source->path, csv->line_number, csv->n_field, info->n_label, info->n_label > 1 ? "s" : "");
  info->width = (PetscInt)csv->n_field - info->n_label;
  PetscCall(PetscMalloc1(csv->n_field, &csv->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAll(FwSource *source, Csv *csv)
{
  PetscInt64 place;
  PetscBool  is_end;

  PetscFunctionBegin;
  for (;;) {
    PetscCall(NextLine(csv, source->path, &place, &is_end));
    if (is_end) break;
    if (csv->line_number == 1 && !strncmp(csv->line, "\xEF\xBB\xBF", 3)) { /* the mark that spreadsheets set */
      memmove(csv->line, csv->line + 3, strlen(csv->line + 3) + 1);
      place += 3;
    }
    if (!csv->line[0] || csv->line[0] == '#') continue;
    if (!csv->n_field) {
      PetscCall(SettleFields(source, csv));
      if (IsHeader(csv->line)) continue;
      PetscCheck(!CountsColumns(csv->line), PETSC_COMM_SELF, FW_ERR_INPUT,
                 "'%s': line %" PetscInt64_FMT
                 " counts its columns, as a header without names does: put '#' before "
                 "it, or if it is an example a header of names above it",
                 source->path, csv->line_number);
    }
    PetscCall(ParseLine(csv, source->path, csv->line_number));
    PetscCall(Append(source, csv, place));
  }
  PetscCheck(source->info.n_example, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' holds no example", source->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenCsv(FwSource *source)
{
  const FwDataKeys *keys = source->keys;
  PetscInt64        n_byte;
  Csv              *csv;

  PetscFunctionBegin;
  PetscCall(PetscNew(&csv));
  source->context = csv;
  source->info    = (FwSourceInfo){.channels = 1, .height = 1, .n_label = 1};
  /* classes stand in one column, however many outputs they become */
  if (keys->encoding >= FW_ENCODE_VALUE && keys->n_output) source->info.n_label = keys->n_output;
  PetscCall(FwFileSize(source->path, &n_byte));
  csv->file = fopen(source->path, "rb");
  PetscCheck(csv->file, PETSC_COMM_SELF, FW_ERR_FILE, "cannot open '%s': %s", source->path, strerror(errno));
  PetscCall(ReadAll(source, csv));
  source->info.n_training = source->info.n_example;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCsv(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  Csv           *csv   = source->context;
  const PetscInt width = source->info.width;

  PetscFunctionBegin;
  (void)label;
  for (PetscInt64 i = 0; i < n; i++) {
    PetscInt64 place;
    PetscBool  is_end;

    PetscCheck(!fseeko(csv->file, (off_t)csv->place[example[i]], SEEK_SET), PETSC_COMM_SELF, FW_ERR_FILE,
               "'%s' cannot be read: %s", source->path, strerror(errno));
    PetscCall(NextLine(csv, source->path, &place, &is_end));
    PetscCheck(!is_end, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' has changed while it was read", source->path);
    PetscCall(ParseLine(csv, source->path, example[i]));
    PetscCall(PetscArraycpy(raw + i * width, csv->value, width));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseCsv(FwSource *source)
{
  Csv *csv = source->context;

  PetscFunctionBegin;
  if (!csv) PetscFunctionReturn(PETSC_SUCCESS);
  if (csv->file) fclose(csv->file);
  free(csv->line); /* getline()'s */
  PetscCall(PetscFree(csv->place));
  PetscCall(PetscFree(csv->value));
  PetscCall(PetscFree(source->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Csv = {
  .name = "csv", .divisor = 1.0, .open = OpenCsv, .read = ReadCsv, .close = CloseCsv};
