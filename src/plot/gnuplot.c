/** @file
 * Figures through gnuplot, without a shell: the script goes in on stdin, the numbers as data blocks in it.
 *
 * gnuplot runs commands found in backquotes and macros inside double quotes. Every text of ours is therefore in single
 * quotes, in which only the quote itself has a meaning, and loses its control characters. A quote becomes a typographic
 * one: doubling it is the documented way, but 5.4 stumbles over `set multiplot title '''a'''`.
 */

#include "panel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { PANEL_WIDTH = 560, PANEL_HEIGHT = 420 }; /* px, before the doubling for PNG */

static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#666666", "#000000"};

/* --- script ------------------------------------------------------------------------------------------------- */

static void PutQuoted(FILE *script, const char text[])
{
  fputc('\'', script);
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c < 0x20 || *c == 0x7f) continue;
    if (*c == '\'')
      fputs("\u2019", script);
    else
      fputc(*c, script);
  }
  fputc('\'', script);
}

static void PutSetting(FILE *script, const char setting[], const char text[])
{
  fprintf(script, "set %s ", setting);
  PutQuoted(script, text);
  fputc('\n', script);
}

static void PutTerminal(FILE *script, const char extension[], PetscInt n_panel)
{
  const int width = PANEL_WIDTH * (int)n_panel, height = PANEL_HEIGHT;

  if (!strcasecmp(extension, "svg"))
    fprintf(script, "set terminal svg noenhanced size %d,%d font 'DejaVu Sans,12' background '#ffffff'\n", width,
            height);
  else if (!strcasecmp(extension, "pdf"))
    fprintf(script, "set terminal pdfcairo noenhanced size %.2fin,%.2fin font 'DejaVu Sans,12'\n", width / 100.0,
            height / 100.0);
  else
    fprintf(script,
            "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
            "  set terminal pngcairo noenhanced size %d,%d font 'DejaVu Sans,12' fontscale 2 linewidth 2 pointscale 2\n"
            "} else {\n  set terminal png noenhanced truecolor size %d,%d large linewidth 2\n}\n",
            2 * width, 2 * height, 2 * width, 2 * height);
}

static void PutNumber(FILE *script, double value)
{
  if (isfinite(value))
    fprintf(script, " %.9g", value);
  else
    fputs(" NaN", script);
}

static void PutData(FILE *script, const FwSeries *series, PetscInt p, PetscInt s)
{
  fprintf(script, "$data_%d_%d << END\n", (int)p, (int)s);
  for (PetscInt64 i = 0; i < series->n; i++) {
    PutNumber(script, series->x[i]);
    PutNumber(script, series->y ? series->y[i] : 0.0);
    PutNumber(script, series->error ? series->error[i] : 0.0);
    fputc('\n', script);
  }
  fputs("END\n", script);
}

static void PutSeries(FILE *script, const FwSeries *series, PetscInt p, PetscInt s)
{
  char        data[64];
  const char *colour = colours[series->colour];

  snprintf(data, sizeof data, "$data_%d_%d", (int)p, (int)s);
  switch (series->mark) {
    case FW_MARK_LINE:
      fprintf(script, "%s using 1:2 with lines lw 2 lc rgb '%s'", data, colour);
      break;
    case FW_MARK_DASHED:
      fprintf(script, "%s using 1:2 with lines lw 1.5 dt (8,6) lc rgb '%s'", data, colour);
      break;
    case FW_MARK_FILLED:
      fprintf(script, "%s using 1:2 with points pt 7 ps 1.2 lc rgb '%s'", data, colour);
      break;
    case FW_MARK_OPEN:
      fprintf(script, "%s using 1:2 with points pt 6 ps 1.2 lw 2 lc rgb '%s'", data, colour);
      break;
    case FW_MARK_ERROR_BAR:
      fprintf(script, "%s using 1:2:3 with yerrorbars pt 7 ps 0.4 lw 0.8 lc rgb '#80%s'", data, colour + 1);
      break;
    case FW_MARK_BOX:
      fprintf(script, "%s using 1:2:(%.9g) with boxes fill transparent solid 0.7 border lw 0.8 lc rgb '%s'", data,
              series->box_width, colour);
      break;
    case FW_MARK_VERTICAL: /* the line itself is an arrow; this is its entry in the legend */
      fprintf(script, "NaN with lines lw 1.5 dt (8,6) lc rgb '%s'", colour);
      break;
  }
  if (series->title[0]) {
    fputs(" title ", script);
    PutQuoted(script, series->title);
  } else {
    fputs(" notitle", script);
  }
}

static void PutAxes(FILE *script, const FwPanel *panel)
{
  fputs("reset\nset tics nomirror out\nset border 3 lw 1\n", script);
  fputs(panel->is_legend_outside ? "set key tmargin center horizontal Left reverse samplen 1.5 width -1 font ',10'\n"
                                 : "set key top right Left reverse samplen 2 spacing 1.2\n",
        script);
  PutSetting(script, "title", panel->title);
  PutSetting(script, "xlabel", panel->x_label);
  PutSetting(script, "ylabel", panel->y_label);
  if (panel->is_log_x) fputs("set logscale x\n", script);
  if (panel->is_log_y) fputs("set logscale y\nset format y '%g'\n", script);
  if (panel->has_x_range) fprintf(script, "set xrange [%.9g:%.9g]\n", panel->x_range[0], panel->x_range[1]);
  if (panel->has_y_range) fprintf(script, "set yrange [%.9g:%.9g]\n", panel->y_range[0], panel->y_range[1]);
  if (panel->n_tick) fputs("set xtics scale 0\n", script);
  for (PetscInt t = 0; t < panel->n_tick; t++) {
    fputs(t ? "set xtics add (" : "set xtics (", script);
    PutQuoted(script, panel->tick[t]);
    fprintf(script, " %d)\n", (int)t);
  }
}

static void PutPanel(FILE *script, const FwPanel *panel, PetscInt p)
{
  PutAxes(script, panel);
  for (PetscInt s = 0; s < panel->n_series; s++) {
    const FwSeries *series = &panel->series[s];

    if (series->mark == FW_MARK_VERTICAL)
      fprintf(script,
              "set arrow from first %.9g,graph 0 to first %.9g,graph 1 nohead back lw 1.5 dt (8,6) lc rgb '%s'\n",
              series->x[0], series->x[0], colours[series->colour]);
    else
      PutData(script, series, p, s);
  }
  fputs("plot ", script);
  for (PetscInt s = 0; s < panel->n_series; s++) {
    if (s) fputs(", ", script);
    PutSeries(script, &panel->series[s], p, s);
  }
  fputc('\n', script);
}

static void PutScript(FILE *script, const FwFigure *figure, const char extension[], const char target[])
{
  fputs("set encoding utf8\n", script);
  PutTerminal(script, extension, figure->n_panel);
  PutSetting(script, "output", target);
  fprintf(script, "set multiplot layout 1,%d", (int)figure->n_panel);
  if (figure->title[0]) {
    fputs(" title ", script);
    PutQuoted(script, figure->title);
  }
  fputc('\n', script);
  for (PetscInt p = 0; p < figure->n_panel; p++) PutPanel(script, &figure->panel[p], p);
  fputs("unset multiplot\nunset output\n", script);
}

/* --- gnuplot ------------------------------------------------------------------------------------------------ */

/* Files in memory instead of pipes: neither side can wait for the other, and there is no SIGPIPE */
static PetscErrorCode OpenMemory(const char name[], int *descriptor)
{
  PetscFunctionBegin;
  *descriptor = memfd_create(name, MFD_CLOEXEC);
  PetscCheck(*descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot draw: no memory file: %s", strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteScript(const FwFigure *figure, const char extension[], const char target[], int descriptor)
{
  FILE *script = fdopen(dup(descriptor), "w");
  int   failed;

  PetscFunctionBegin;
  PetscCheck(script, PETSC_COMM_SELF, FW_ERR_FILE, "cannot draw: %s", strerror(errno));
  PutScript(script, figure, extension, target);
  failed = ferror(script);
  failed = fclose(script) || failed;
  PetscCheck(!failed && lseek(descriptor, 0, SEEK_SET) == 0, PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot draw: the script for gnuplot cannot be written");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first line that says something: gnuplot begins with a blank one, the command and a caret */
static void FirstComplaint(int descriptor, size_t size, char complaint[])
{
  char          text[4096], *rest = text, *line;
  const ssize_t n = pread(descriptor, text, sizeof text - 1, 0);

  text[n > 0 ? n : 0] = '\0';
  snprintf(complaint, size, "it gives no reason");
  while ((line = strsep(&rest, "\n"))) {
    if (!line[strspn(line, " \t^")]) continue;
    snprintf(complaint, size, "%s", line);
    if (strstr(line, "line ")) break;
  }
}

static PetscErrorCode RunGnuplot(int script, int complaints, const char output[])
{
  char                       program[] = "gnuplot", no_init_file[] = "-d", stdin_name[] = "-", complaint[512];
  char *const                arguments[] = {program, no_init_file, stdin_name, NULL};
  posix_spawn_file_actions_t actions;
  pid_t                      child;
  int                        failed, status = 0;

  PetscFunctionBegin;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  failed = posix_spawnp(&child, program, &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  PetscCheck(!failed, PETSC_COMM_SELF, FW_ERR_FILE, "cannot draw '%s': gnuplot is not installed or cannot run (%s)",
             output, strerror(failed));
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  FirstComplaint(complaints, sizeof complaint, complaint);
  PetscCheck(WIFEXITED(status) && !WEXITSTATUS(status), PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot draw '%s': gnuplot failed: %s", output, complaint);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawTo(const FwFigure *figure, const char extension[], const char target[], const char output[])
{
  int            script = -1, complaints = -1;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(OpenMemory("finwidth-script", &script));
  PetscCall(OpenMemory("finwidth-complaints", &complaints));
  code = WriteScript(figure, extension, target, script);
  if (!code) code = RunGnuplot(script, complaints, output);
  close(script);
  close(complaints);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- output ------------------------------------------------------------------------------------------------- */

static const char *ExtensionOf(const char output[])
{
  const char *name = strrchr(output, '/'), *dot = strrchr(name ? name : output, '.');

  return dot ? dot + 1 : "";
}

PetscErrorCode FwFigureCheckExtension(const char output[])
{
  const char *extension = ExtensionOf(output);

  PetscFunctionBegin;
  PetscCheck(!strcasecmp(extension, "png") || !strcasecmp(extension, "svg") || !strcasecmp(extension, "pdf"),
             PETSC_COMM_WORLD, FW_ERR_INPUT, "figure '%s': want a name that ends in .png, .svg or .pdf", output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* gnuplot has written to the name, not to this descriptor: what counts is what stands there now */
static PetscErrorCode Finish(const char temporary[], const char output[])
{
  const mode_t mask = umask(0);
  struct stat  status;

  PetscFunctionBegin;
  umask(mask);
  PetscCheck(!stat(temporary, &status) && status.st_size > 0, PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot draw '%s': gnuplot wrote nothing", output);
  PetscCheck(!chmod(temporary, 0666 & ~mask) && !rename(temporary, output), PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot write '%s': %s", output, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureRender(const FwFigure *figure, const char output[])
{
  char           temporary[PATH_MAX];
  const char    *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output;
  int            descriptor;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(temporary, sizeof temporary, "%.*s.%s.XXXXXX.tmp", (int)(name - output), output, name));
  descriptor = mkostemps(temporary, 4, O_CLOEXEC);
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': %s", output, strerror(errno));
  close(descriptor);
  code = DrawTo(figure, ExtensionOf(output), temporary, output);
  if (!code) code = Finish(temporary, output);
  if (code) unlink(temporary);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
