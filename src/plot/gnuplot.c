/* SPDX-License-Identifier: GPL-3.0-or-later */
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
#include <float.h>
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

/* px, before the doubling for PNG; a legend beside the axes takes its own room */
enum { PANEL_WIDTH = 560, LEGEND_WIDTH = 80, PANEL_HEIGHT = 420 };

static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#666666", "#000000"};

/* Equal steps look equally large: viridis, and blue to red through white for signed numbers */
static const unsigned sequential[] = {0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c,
                                      0x28ae80, 0x5ec962, 0xaddc30, 0xfde725};
static const unsigned diverging[]  = {0x2166ac, 0x4393c3, 0x92c5de, 0xd1e5f0, 0xf7f7f7,
                                      0xfddbc7, 0xf4a582, 0xd6604d, 0xb2182b};

enum { N_STOP = PETSC_STATIC_ARRAY_LENGTH(sequential), COLOUR_SIZE = 16 };

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

static PetscBool HasLegendRight(const FwFigure *figure)
{
  for (PetscInt p = 0; p < figure->n_panel; p++)
    if (figure->panel[p].is_legend_right) return PETSC_TRUE;
  return PETSC_FALSE;
}

static void PutTerminal(FILE *script, const char extension[], const FwFigure *figure, PetscInt n_column, PetscInt n_row)
{
  const int panel_width = PANEL_WIDTH + (HasLegendRight(figure) ? LEGEND_WIDTH : 0);
  const int width = panel_width * (int)n_column, height = PANEL_HEIGHT * (int)n_row;

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

static void ColourOf(const FwSeries *series, char colour[COLOUR_SIZE])
{
  const double   place = fmin(fmax(series->shade, 0.0), 1.0) * (N_STOP - 1);
  const int      stop  = PetscMin((int)place, N_STOP - 2);
  const unsigned low = sequential[stop], high = sequential[stop + 1];
  unsigned       rgb = 0;

  if (series->colour != FW_SHADE) {
    snprintf(colour, COLOUR_SIZE, "%s", colours[series->colour]);
    return;
  }
  for (int shift = 16; shift >= 0; shift -= 8) {
    const double from = (low >> shift) & 255, to = (high >> shift) & 255;

    rgb |= (unsigned)lround(from + (place - stop) * (to - from)) << shift;
  }
  snprintf(colour, COLOUR_SIZE, "#%06x", rgb);
}

/* Without points there is only an entry in the legend */
static void PutSource(FILE *script, const FwSeries *series, PetscInt p, PetscInt s, const char columns[])
{
  if (series->n)
    fprintf(script, "$data_%d_%d using %s", (int)p, (int)s, columns);
  else
    fputs("NaN", script);
}

static void PutMark(FILE *script, const FwSeries *series, PetscInt p, PetscInt s)
{
  static const char *const styles[] = {
    [FW_MARK_LINE]     = "lines lw 2",
    [FW_MARK_DASHED]   = "lines lw 1.5 dt (8,6)",
    [FW_MARK_THIN]     = "lines lw 0.8",
    [FW_MARK_LINE_DOT] = "linespoints pt 7 ps 0.7 lw 2",
    [FW_MARK_FILLED]   = "points pt 7 ps 1.2",
    [FW_MARK_OPEN]     = "points pt 6 ps 1.2 lw 2",
    [FW_MARK_CROSS]    = "points pt 2 ps 0.8 lw 1",
  };
  char colour[COLOUR_SIZE];

  ColourOf(series, colour);
  switch (series->mark) {
    case FW_MARK_ERROR_BAR:
      PutSource(script, series, p, s, "1:2:3");
      fprintf(script, " with yerrorbars pt 7 ps 0.4 lw 0.8 lc rgb '#80%s'", colour + 1);
      break;
    case FW_MARK_SAMPLED:
      PutSource(script, series, p, s, "1:2:3");
      fprintf(script, " with yerrorbars pt 6 ps 1.2 lw 1.5 lc rgb '%s'", colour);
      break;
    case FW_MARK_BOX:
      PutSource(script, series, p, s, "1:2");
      fprintf(script, ":(%.9g) with boxes fill transparent solid 0.7 border lw 0.8 lc rgb '%s'", series->box_width,
              colour);
      break;
    case FW_MARK_VERTICAL: /* the line itself is an arrow; this is its entry in the legend */
      fprintf(script, "NaN with lines lw 1.5 dt (8,6) lc rgb '%s'", colour);
      break;
    default:
      PutSource(script, series, p, s, "1:2");
      fprintf(script, " with %s lc rgb '%s'", styles[series->mark], colour);
  }
}

static void PutSeries(FILE *script, const FwSeries *series, PetscInt p, PetscInt s)
{
  PutMark(script, series, p, s);
  if (series->title[0]) {
    fputs(" title ", script);
    PutQuoted(script, series->title);
  } else {
    fputs(" notitle", script);
  }
}

static void PutLegend(FILE *script, const FwPanel *panel)
{
  if (panel->is_legend_outside) {
    fputs("set key tmargin center horizontal Left reverse samplen 1.5 width -1 font ',10'\n", script);
    return;
  }
  if (!panel->is_legend_right) {
    fputs("set key top right Left reverse samplen 2 spacing 1.2\n", script);
    return;
  }
  fputs("set key at graph 1.04,graph 1 left top vertical Left reverse samplen 1.8 spacing 1.1 font ',10'", script);
  if (panel->legend_title[0]) {
    fputs(" title ", script);
    PutQuoted(script, panel->legend_title);
    fputs(" left font ',10'", script);
  }
  fputc('\n', script);
}

/* The text of a tick is a format for its place: a % in it is doubled. Many or long texts do not fit side by side. */
static void PutTicks(FILE *script, const FwTicks *ticks, char axis)
{
  size_t n_letter = 0;

  if (!ticks->n) return;
  for (PetscInt t = 0; t < ticks->n; t++) n_letter += strlen(ticks->text[t]) + 2;
  fprintf(script, "set %ctics scale 0%s\n", axis, axis == 'x' && n_letter > 60 ? " rotate by -30" : "");
  for (PetscInt t = 0; t < ticks->n; t++) {
    char  text[2 * FW_LABEL_SIZE];
    char *end = text;

    for (const char *c = ticks->text[t]; *c; c++) {
      if (*c == '%') *end++ = '%';
      *end++ = *c;
    }
    *end = '\0';
    fprintf(script, "set %ctics %s(", axis, t ? "add " : "");
    PutQuoted(script, text);
    fprintf(script, " %.9g)\n", ticks->at[t]);
  }
}

/* Of what is positive; low > high where nothing is */
static void FindRange(const FwPanel *panel, char axis, double range[2])
{
  const PetscBool is_x = axis == 'x' ? PETSC_TRUE : PETSC_FALSE;

  range[0] = INFINITY;
  range[1] = -INFINITY;
  for (PetscInt s = 0; s < panel->n_series; s++) {
    const double *value = is_x ? panel->series[s].x : panel->series[s].y;

    for (PetscInt64 i = 0; i < panel->series[s].n && value; i++) {
      if (!(value[i] > 0.0) || !isfinite(value[i])) continue;
      range[0] = fmin(range[0], value[i]);
      range[1] = fmax(range[1], value[i]);
    }
  }
  if (is_x ? panel->has_x_range : panel->has_y_range)
    for (int end = 0; end < 2; end++) range[end] = is_x ? panel->x_range[end] : panel->y_range[end];
}

/* Beside the powers of ten, as many as there is room for */
static PetscBool IsNamed(int digit, double ratio)
{
  if (digit == 2 || digit == 5 || ratio <= 2.0) return PETSC_TRUE;
  return ratio <= 4.0 && (digit == 3 || digit == 7) ? PETSC_TRUE : PETSC_FALSE;
}

/* gnuplot names powers of ten alone, of which a short axis has one or none */
static void PutDigits(FILE *script, const FwPanel *panel, char axis)
{
  double range[2];

  FindRange(panel, axis, range);
  if (!(range[0] >= DBL_MIN) || !(range[1] > range[0]) || floor(log10(range[1])) - ceil(log10(range[0])) >= 1.0) return;
  for (double power = pow(10.0, floor(log10(range[0]))); power <= range[1]; power *= 10.0)
    for (int digit = 2; digit < 10; digit++) {
      const double at = digit * power;

      if (at >= range[0] && at <= range[1] && IsNamed(digit, range[1] / range[0]))
        fprintf(script, "set %ctics add ('%g' %.9g)\n", axis, at, at);
    }
}

static void PutAxes(FILE *script, const FwPanel *panel, PetscBool is_aligned)
{
  fputs("reset\nset tics nomirror out\nset border 3 lw 1\n", script);
  if (is_aligned) fprintf(script, "set lmargin 11\nset rmargin %d\n", panel->map.n_x ? 14 : 22);
  if (panel->is_square) fputs("set size ratio -1\n", script);
  PutLegend(script, panel);
  PutSetting(script, "title", panel->title);
  PutSetting(script, "xlabel", panel->x_label);
  PutSetting(script, "ylabel", panel->y_label);
  if (panel->is_log_x) fputs("set logscale x\nset format x '%g'\n", script);
  if (panel->is_log_y) fputs("set logscale y\nset format y '%g'\n", script);
  if (panel->has_x_range) fprintf(script, "set xrange [%.9g:%.9g]\n", panel->x_range[0], panel->x_range[1]);
  if (panel->has_y_range) fprintf(script, "set yrange [%.9g:%.9g]\n", panel->y_range[0], panel->y_range[1]);
  if (panel->x_step > 0.0) fprintf(script, "set xtics %.9g\n", panel->x_step);
  if (panel->is_log_x && !panel->x_tick.n) PutDigits(script, panel, 'x');
  if (panel->is_log_y && !panel->y_tick.n) PutDigits(script, panel, 'y');
  PutTicks(script, &panel->x_tick, 'x');
  PutTicks(script, &panel->y_tick, 'y');
}

/* --- map ---------------------------------------------------------------------------------------------------- */

static void PutPalette(FILE *script, const FwMap *map)
{
  const unsigned *stops = map->is_centred ? diverging : sequential;

  fputs("set palette defined (", script);
  for (int i = 0; i < N_STOP; i++) fprintf(script, "%s%d '#%06x'", i ? ", " : "", i, stops[i]);
  fputs(")\n", script);
  if (map->is_log) fputs("set logscale cb\n", script);
  fprintf(script, "set cbrange [%.9g:%.9g]\nset format cb '%%g'\n", map->range[0], map->range[1]);
}

/* Cells may differ in size and lie on logarithmic axes: each is a box of its own. What stays gray has no number. */
static void PutMap(FILE *script, const FwMap *map, PetscInt p)
{
  PutPalette(script, map);
  fputs(
    "set border 15 lw 1\nset object rectangle from graph 0,graph 0 to graph 1,graph 1 behind fillcolor rgb '#c8c8c8' "
    "fillstyle solid noborder\n",
    script);
  fprintf(script, "$map_%d << END\n", (int)p);
  for (PetscInt64 j = 0; j < map->n_y; j++)
    for (PetscInt64 i = 0; i < map->n_x; i++) {
      const double value = map->value[j * map->n_x + i];

      if (!isfinite(value)) continue;
      fprintf(script, "%.9g %.9g %.9g %.9g %.9g %.9g %.9g\n", map->x_edge[i], map->y_edge[j], map->x_edge[i],
              map->x_edge[i + 1], map->y_edge[j], map->y_edge[j + 1], value);
    }
  fputs("END\n", script);
}

/* Into cells, dark on light and light on dark; above boxes, upright where they stand close */
static void PutNumbers(FILE *script, const FwPanel *panel, PetscInt p)
{
  const FwMap *map = &panel->map;

  if (map->n_x)
    fprintf(script,
            ", $map_%d using (($3 + $4) / 2):(($5 + $6) / 2):(sprintf('%%.3g', $7)):((abs($7) < %.9g) == %d ? 0x000000 "
            ": 0xffffff) with labels "
            "font ',9' textcolor rgb variable notitle",
            (int)p, 0.6 * map->range[1], map->is_centred ? 1 : 0);
  for (PetscInt s = 0; s < panel->n_series; s++)
    if (panel->series[s].mark == FW_MARK_BOX && panel->series[s].n)
      fprintf(
        script,
        ", $data_%d_%d using 1:2:(sprintf('%%.3g', $2)) with labels rotate by 90 left offset 0,0.6 font ',8' notitle",
        (int)p, (int)s);
}

static void PutPanel(FILE *script, const FwFigure *figure, PetscInt p)
{
  const FwPanel *panel = &figure->panel[p];

  PutAxes(script, panel, HasLegendRight(figure));
  if (panel->map.n_x) PutMap(script, &panel->map, p);
  for (PetscInt s = 0; s < panel->n_series; s++) {
    const FwSeries *series = &panel->series[s];
    char            colour[COLOUR_SIZE];

    ColourOf(series, colour);
    if (series->mark == FW_MARK_VERTICAL)
      fprintf(script,
              "set arrow from first %.9g,graph 0 to first %.9g,graph 1 nohead back lw 1.5 dt (8,6) lc rgb '%s'\n",
              series->x[0], series->x[0], colour);
    else if (series->n)
      PutData(script, series, p, s);
  }
  fputs("plot ", script);
  if (panel->map.n_x)
    fprintf(
      script,
      "$map_%d using 1:2:3:4:5:6:7 with boxxyerror linecolor palette linewidth 0.2 fillstyle solid border notitle%s",
      (int)p, panel->n_series ? ", " : "");
  for (PetscInt s = 0; s < panel->n_series; s++) {
    if (s) fputs(", ", script);
    PutSeries(script, &panel->series[s], p, s);
  }
  if (panel->has_numbers) PutNumbers(script, panel, p);
  fputc('\n', script);
}

static void PutScript(FILE *script, const FwFigure *figure, const char extension[], const char target[])
{
  const PetscInt n_column = figure->n_column ? figure->n_column : figure->n_panel;
  const PetscInt n_row    = (figure->n_panel + n_column - 1) / n_column;

  fputs("set encoding utf8\n", script);
  PutTerminal(script, extension, figure, n_column, n_row);
  PutSetting(script, "output", target);
  fprintf(script, "set multiplot layout %d,%d", (int)n_row, (int)n_column);
  if (figure->title[0]) {
    fputs(" title ", script);
    PutQuoted(script, figure->title);
  }
  fputc('\n', script);
  for (PetscInt p = 0; p < figure->n_panel; p++) PutPanel(script, figure, p);
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

/* gnuplot runs in the folder of the picture, whose name need not be one that it can write */
static PetscErrorCode RunGnuplot(int script, int complaints, const char folder[], const char output[])
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
  posix_spawn_file_actions_addchdir_np(&actions, folder);
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

static PetscErrorCode DrawTo(const FwFigure *figure, const char extension[], const char folder[], const char target[],
                             const char output[])
{
  int            script = -1, complaints = -1;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(OpenMemory("finwidth-script", &script));
  PetscCall(OpenMemory("finwidth-complaints", &complaints));
  code = WriteScript(figure, extension, target, script);
  if (!code) code = RunGnuplot(script, complaints, folder, output);
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

/* Pictures are drawn anew without a word, but what is no picture of that kind is another's */
static PetscErrorCode CheckReplaceable(const char output[])
{
  static const struct {
    const char *extension, *begin;
  } kinds[] = {
    {"png", "\x89PNG"},
    {"pdf", "%PDF"   },
    {"svg", "<?xml"  },
    {"svg", "<svg"   }
  };
  char      begin[8] = "";
  PetscBool is_same  = PETSC_FALSE;
  FILE     *file     = fopen(output, "rb");
  size_t    n        = file ? fread(begin, 1, sizeof begin - 1, file) : 0;

  PetscFunctionBegin;
  if (file) (void)fclose(file);
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(kinds); k++)
    if (!strcasecmp(kinds[k].extension, ExtensionOf(output)) && !strncmp(kinds[k].begin, begin, strlen(kinds[k].begin)))
      is_same = PETSC_TRUE;
  PetscCheck(!n || is_same, PETSC_COMM_SELF, FW_ERR_EXISTS,
             "'%s' exists and is no %s picture: give another name, or remove it yourself", output, ExtensionOf(output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureRender(const FwFigure *figure, const char output[])
{
  char           temporary[PATH_MAX], folder[PATH_MAX];
  const char    *slash  = strrchr(output, '/');
  const int      n_lead = slash ? (int)(slash + 1 - output) : 0;
  int            descriptor;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(CheckReplaceable(output));
  PetscCall(PetscSNPrintf(folder, sizeof folder, "%.*s", n_lead ? n_lead : 1, n_lead ? output : "."));
  PetscCall(PetscSNPrintf(temporary, sizeof temporary, "%.*s.finwidth-figure.XXXXXX.tmp", n_lead, output));
  descriptor = mkostemps(temporary, 4, O_CLOEXEC);
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': %s", output, strerror(errno));
  close(descriptor);
  code = DrawTo(figure, ExtensionOf(output), folder, temporary + n_lead, output);
  if (!code) code = Finish(temporary, output);
  if (code) unlink(temporary);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
