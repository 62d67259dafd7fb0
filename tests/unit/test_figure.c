/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures are drawn from a result file, or refused in words; no text in one can make gnuplot run a command.
 */

#include <finwidth/figure.h>
#include "../../src/plot/slice.h" /* what a picture would show is checked before it is a picture */
#include "../support/collective_assert.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, N_Q = 41, N_EXAMPLE = 60 };

static char        folder[1024], result[PATH_SIZE], picture[PATH_SIZE];
static PetscMPIInt rank;

/* --- support ------------------------------------------------------------------------------------------------ */

static void on_disk(const char name[], char path[PATH_SIZE])
{
  snprintf(path, PATH_SIZE, "%s/%s", folder, name);
}

static void put_scalar(FwStore store, const char path[], double value)
{
  TestCall(FwStoreReals(store, path, &(FwShape){0}, &value, "label^2", path));
}

static void put_action(FwStore store)
{
  const FwShape axis =
                  {
                    1, {"log_q"},
                     {N_Q    }
  },
                rows    = {2, {"minimum", "layer"}, {2, 1}};
  const double minima[] = {exp(-1.0), NAN};
  double       log_q[N_Q], curve[N_Q];

  for (int i = 0; i < N_Q; i++) {
    log_q[i] = -3.0 + 0.125 * i;
    curve[i] = 7.0 + (log_q[i] + 1.0) * (log_q[i] + 1.0);
  }
  TestCall(FwStoreReals(store, "/predict/log_q", &axis, log_q, "1", "log q"));
  TestCall(FwStoreReals(store, "/predict/action_curve", &axis, curve, "1", "action"));
  TestCall(FwStoreReals(store, "/predict/metastable_order_parameter", &rows, minima, "1", "minima"));
  put_scalar(store, "/predict/total_order_parameter", exp(-1.0));
  put_scalar(store, "/predict/action", 7.0);
}

static void put_predictions(FwStore store)
{
  const FwShape shape = {
    2, {"example", "output"},
     {N_EXAMPLE, 1       }
  };
  double mean[N_EXAMPLE], deviation[N_EXAMPLE], target[N_EXAMPLE];

  for (int i = 0; i < N_EXAMPLE; i++) {
    target[i]    = i % 2 ? 1.0 : -1.0;
    mean[i]      = 0.6 * target[i] + 0.3 * sin(7.0 * i);
    deviation[i] = 0.1;
  }
  TestCall(FwStoreReals(store, "/predict/test_mean", &shape, mean, "label", "mean"));
  TestCall(FwStoreReals(store, "/predict/test_std", &shape, deviation, "label", "deviation"));
  TestCall(FwStoreReals(store, "/predict/test_target", &shape, target, "label", "target"));
}

/* `test_error` NaN: a run without test examples */
static void write_result(double test_error, PetscBool has_predictions)
{
  FwStore store;

  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  put_action(store);
  put_scalar(store, "/predict/train_error", 0.002);
  put_scalar(store, "/predict/test_error", test_error);
  put_scalar(store, "/predict/test_bias", 0.8 * test_error);
  put_scalar(store, "/predict/test_variance", 0.2 * test_error);
  put_scalar(store, "/predict/infinite_train_error", 0.001);
  if (has_predictions) put_predictions(store);
  TestCall(FwStoreCommit(&store));
}

static PetscErrorCode draw(const char name[], const char file[])
{
  FwStore        store;
  PetscErrorCode code;

  on_disk(file, picture);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  code = FwFigureDraw(store, name, picture);
  TestCall(FwStoreDestroy(&store));
  return code;
}

static void assert_begins(const char start[], size_t n)
{
  char  found[16] = "";
  FILE *file;
  int   is_same = 1;

  if (rank == 0) {
    file    = fopen(picture, "rb");
    is_same = file && fread(found, 1, n, file) == n && !memcmp(found, start, n);
    if (file) fclose(file);
  }
  assert_close(is_same, 1, 0.0);
}

static void assert_refused(PetscErrorCode code, PetscErrorCode expected, const char text[])
{
  assert_close(code, expected, 0.0);
  if (!strstr(FwErrorMessage(), text)) print_error("message '%s' lacks '%s'\n", FwErrorMessage(), text);
  assert_close(strstr(FwErrorMessage(), text) != NULL, 1, 0.0);
  FwErrorClear();
}

static int make_folder(void **state)
{
  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  strcpy(folder, "/tmp/finwidth-figure-XXXXXX");
  if (rank == 0 && !mkdtemp(folder)) return 1;
  MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD);
  on_disk("result.h5", result);
  return 0;
}

static int remove_folder(void **state)
{
  char command[PATH_SIZE];

  (void)state;
  MPI_Barrier(PETSC_COMM_WORLD);
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return rank == 0 ? system(command) : 0;
}

/* --- tests -------------------------------------------------------------------------------------------------- */

static void each_extension_gives_its_format(void **state)
{
  (void)state;
  write_result(0.25, PETSC_TRUE);
  TestCall(draw(NULL, "figure.png"));
  assert_begins("\x89PNG", 4);
  TestCall(draw("action", "figure.SVG"));
  assert_begins("<?xml", 5);
  TestCall(draw("errors", "figure.pdf"));
  assert_begins("%PDF", 4);
  TestCall(draw("prediction", "figure.png")); /* replaced without asking */
  assert_begins("\x89PNG", 4);
}

static void run_without_test_examples_has_its_figures(void **state)
{
  (void)state;
  write_result(NAN, PETSC_FALSE);
  TestCall(draw("errors", "bare.png"));
  assert_begins("\x89PNG", 4);
  TestCall(draw("overview", "bare.svg"));
  assert_begins("<?xml", 5);
}

static void unknown_figure_names_the_available_ones(void **state)
{
  (void)state;
  write_result(0.25, PETSC_FALSE);
  assert_refused(draw("nonsense", "figure.png"), FW_ERR_INPUT, "overview, action, errors");
  assert_refused(draw("prediction", "figure.png"), FW_ERR_INPUT, "overview, action, errors");
}

static void unknown_extension_names_the_possible_ones(void **state)
{
  (void)state;
  write_result(0.25, PETSC_FALSE);
  assert_refused(draw(NULL, "figure.gif"), FW_ERR_INPUT, ".png, .svg or .pdf");
  assert_refused(draw(NULL, "figure"), FW_ERR_INPUT, ".png, .svg or .pdf");
}

static void missing_folder_is_refused(void **state)
{
  (void)state;
  write_result(0.25, PETSC_FALSE);
  assert_refused(draw(NULL, "nowhere/figure.png"), FW_ERR_FILE, "No such file");
}

/* Without a program on the path; the path itself comes back */
static void missing_gnuplot_is_named(void **state)
{
  char          *path = strdup(getenv("PATH"));
  PetscErrorCode code;

  (void)state;
  write_result(0.25, PETSC_FALSE);
  setenv("PATH", folder, 1);
  code = draw(NULL, "figure.png");
  setenv("PATH", path, 1);
  free(path);
  assert_refused(code, FW_ERR_FILE, "gnuplot is not installed");
}

/* The picture of a line from x[0] to x[1] on logarithmic axes has a tick, or not */
static void assert_tick(const double x[2], const char text[], PetscBool is_expected)
{
  FwFigure *figure;
  FwPanel  *panel;
  char      drawn[65536] = "";
  FILE     *file;

  on_disk("ticks.svg", picture);
  if (rank == 0) {
    TestCall(PetscNew(&figure));
    TestCall(FwFigureAddPanel(figure, &panel));
    TestCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, "", 2, x, x, NULL));
    panel->is_log_x = panel->is_log_y = PETSC_TRUE;
    TestCall(FwFigureRender(figure, picture));
    TestCall(FwFigureClear(figure));
    TestCall(PetscFree(figure));
    file = fopen(picture, "r");
    if (file) drawn[fread(drawn, 1, sizeof drawn - 1, file)] = '\0';
    if (file) fclose(file);
  }
  assert_close(rank == 0 ? strstr(drawn, text) != NULL : is_expected, is_expected, 0.0);
}

static void short_logarithmic_axes_name_more_than_powers_of_ten(void **state)
{
  const double one_power[] = {20.0, 300.0}, none[] = {20.0, 40.0}, four[] = {1.0, 1000.0};

  (void)state;
  assert_tick(one_power, ">50<", PETSC_TRUE);
  assert_tick(none, ">30<", PETSC_TRUE);
  assert_tick(four, ">50<", PETSC_FALSE);
}

/* Each would make the file `canary` if any part of it were run */
static void hostile_texts_are_only_drawn(void **state)
{
  static const char *const texts[] = {
    "`touch %s`",    "' ; system('touch %s') ; '",     "\" ; system(\"touch %s\") ; \"", "'\nsystem 'touch %s'\n'",
    "\n!touch %s\n", "it''s 50 %% @macro {/Bold x} \\"};
  const double x[] = {0.0, 1.0};
  char         canary[PATH_SIZE], text[PATH_SIZE + 64];
  FwFigure    *figure;
  FwPanel     *panel;

  (void)state;
  on_disk("canary", canary);
  on_disk("hostile.png", picture);
  for (size_t t = 0; rank == 0 && t < PETSC_STATIC_ARRAY_LENGTH(texts); t++) {
    const char *hole = strstr(texts[t], "%s");

    snprintf(text, sizeof text, "%.*s%s%s", hole ? (int)(hole - texts[t]) : (int)strlen(texts[t]), texts[t],
             hole ? canary : "", hole ? hole + 2 : "");
    TestCall(PetscNew(&figure));
    TestCall(FwFigureAddPanel(figure, &panel));
    TestCall(PetscStrncpy(figure->title, text, FW_LABEL_SIZE));
    TestCall(PetscStrncpy(panel->title, text, FW_LABEL_SIZE));
    TestCall(PetscStrncpy(panel->x_label, text, FW_LABEL_SIZE));
    TestCall(PetscStrncpy(panel->legend_title, text, FW_LABEL_SIZE));
    panel->is_legend_right = PETSC_TRUE;
    TestCall(FwTicksAdd(&panel->x_tick, 0.0, text));
    TestCall(FwTicksAdd(&panel->y_tick, 1.0, text));
    TestCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, text, 2, x, x, NULL));
    TestCall(FwFigureRender(figure, picture));
    TestCall(FwFigureClear(figure));
    TestCall(PetscFree(figure));
  }
  assert_begins("\x89PNG", 4);
  assert_close(access(canary, F_OK) != 0, 1, 0.0);
}

/* --- scans -------------------------------------------------------------------------------------------------- */

typedef struct {
  const char        *name;
  PetscInt64         n;
  const double      *value;
  const char *const *text;
} Axis;

static const double      temperatures[] = {1.0, 0.001, 0.01, 0.1}; /* not in order */
static const double      widths[]       = {20.0, 50.0, 100.0};
static const double      depths[]       = {1.0, 2.0, 3.0};
static const char *const activations[]  = {"erf", "relu", "50%"};

#define TEMPERATURE                      \
  {                                      \
    "temperature", 4, temperatures, NULL \
  }
#define WIDTH                        \
  {                                  \
    "network_width", 3, widths, NULL \
  }
#define DEPTH                        \
  {                                  \
    "network_depth", 3, depths, NULL \
  }
#define ACTIVATION                             \
  {                                            \
    "network_activation", 3, NULL, activations \
  }

static void put_axis(FwStore store, const Axis *axis)
{
  const FwShape shape = {1, {axis->name}, {axis->n}};
  char          path[128];

  snprintf(path, sizeof path, "/predict/%s", axis->name);
  if (axis->text)
    TestCall(FwStoreTexts(store, path, &shape, axis->text, "1", axis->name));
  else
    TestCall(FwStoreReals(store, path, &shape, axis->value, "1", axis->name));
}

/* Entry p of each array is first + p; entry `gap` is NaN */
static void put_points(FwStore store, const char name[], const FwShape *shape, double first, PetscInt64 gap)
{
  char       path[128];
  PetscInt64 n = 1;
  double    *value;

  for (PetscInt d = 0; d < shape->n_dim; d++) n *= shape->size[d];
  TestCall(PetscMalloc1((size_t)n, &value));
  for (PetscInt64 p = 0; p < n; p++) value[p] = p == gap ? NAN : first + (double)p;
  snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : "/predict/", name);
  TestCall(FwStoreReals(store, path, shape, value, "1", name));
  TestCall(PetscFree(value));
}

/* Point 1 has no result and point 2 has not converged where `has_gaps` */
static void put_converged(FwStore store, const FwShape *shape, PetscBool has_gaps)
{
  PetscInt64 value[256], n = 1;

  for (PetscInt d = 0; d < shape->n_dim; d++) n *= shape->size[d];
  for (PetscInt64 p = 0; p < n; p++) value[p] = 1;
  if (has_gaps) value[1] = -1;
  if (has_gaps && n > 2) value[2] = 0;
  TestCall(FwStoreIntegers(store, "/predict/converged", shape, value, "1", "1 if the solver converged"));
}

static void write_scan(PetscInt n_axis, const Axis axes[], PetscBool has_gaps)
{
  FwStore store;
  FwShape shape = {.n_dim = n_axis}, minima;

  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  for (PetscInt a = 0; a < n_axis; a++) {
    put_axis(store, &axes[a]);
    shape.name[a] = axes[a].name;
    shape.size[a] = axes[a].n;
  }
  minima                  = shape;
  minima.n_dim            = n_axis + 2;
  minima.name[n_axis]     = "minimum";
  minima.size[n_axis]     = 2;
  minima.name[n_axis + 1] = "layer";
  minima.size[n_axis + 1] = 2;
  put_points(store, "test_error", &shape, 10.0, has_gaps ? 1 : -1);
  put_points(store, "infinite_test_error", &shape, 20.0, has_gaps ? 1 : -1);
  put_points(store, "train_error", &shape, 1.0, has_gaps ? 1 : -1);
  put_points(store, "average_test_error", &shape, 11.0, has_gaps ? 1 : -1);
  put_points(store, "total_order_parameter", &shape, 2.0, has_gaps ? 1 : -1);
  put_points(store, "accuracy", &shape, 0.5, has_gaps ? 1 : -1);
  put_points(store, "metastable_order_parameter", &minima, 3.0, 1);
  put_converged(store, &shape, has_gaps);
  TestCall(FwStoreCommit(&store));
}

static void assert_drawn(const char name[])
{
  TestCall(draw(name, "scan.svg")); /* the quickest to make */
  assert_begins("<?xml", 5);
  if (rank == 0) unlink(picture);
}

static void assert_all_drawn(PetscBool has_map)
{
  assert_drawn(NULL);
  assert_drawn("errors");
  assert_drawn("order-parameter");
  assert_drawn("accuracy");
  if (has_map) {
    assert_drawn("map");
    assert_refused(draw("nonsense", "scan.png"), FW_ERR_INPUT, "overview, errors, order-parameter, map, accuracy");
  } else {
    assert_refused(draw("map", "scan.png"), FW_ERR_INPUT, "overview, errors, order-parameter, accuracy");
  }
}

static void scan_over_one_axis_has_its_figures(void **state)
{
  (void)state;
  write_scan(1, (Axis[]){TEMPERATURE}, PETSC_FALSE);
  assert_all_drawn(PETSC_FALSE);
  write_scan(1, (Axis[]){ACTIVATION}, PETSC_FALSE);
  assert_all_drawn(PETSC_FALSE);
}

static void scan_over_two_axes_has_its_figures(void **state)
{
  (void)state;
  write_scan(2, (Axis[]){WIDTH, TEMPERATURE}, PETSC_FALSE);
  assert_all_drawn(PETSC_TRUE);
  write_scan(2, (Axis[]){TEMPERATURE, ACTIVATION}, PETSC_FALSE);
  assert_all_drawn(PETSC_TRUE);
}

static void scan_with_gaps_has_its_figures(void **state)
{
  (void)state;
  write_scan(1, (Axis[]){TEMPERATURE}, PETSC_TRUE);
  assert_all_drawn(PETSC_FALSE);
  write_scan(3, (Axis[]){TEMPERATURE, WIDTH, DEPTH}, PETSC_TRUE);
  assert_all_drawn(PETSC_TRUE);
}

/* A scan of one point is a single run; an axis of one value is none */
static void axes_of_length_one_are_not_axes(void **state)
{
  const double one = 0.1;
  FwStore      store;
  FwSlice      slice;
  PetscBool    is_scan;

  (void)state;
  write_scan(1,
             (Axis[]){
               {"temperature", 1, &one, NULL}
  },
             PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureIsScan(store, &is_scan));
  assert_close(is_scan, 0, 0.0);
  TestCall(FwStoreDestroy(&store));
  write_scan(2,
             (Axis[]){
               {"temperature", 1, &one, NULL},
               WIDTH
  },
             PETSC_FALSE);
  assert_all_drawn(PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwSliceFind(store, &slice));
  assert_close(strcmp(slice.x.label, "width N"), 0, 0.0);
  assert_close(slice.family.n, 1, 0.0);
  TestCall(FwSliceClear(&slice));
  TestCall(FwStoreDestroy(&store));
  write_scan(3,
             (Axis[]){
               {"data_skip", 1, &one, NULL},
               WIDTH, TEMPERATURE
  },
             PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwSliceFind(store, &slice));
  assert_close(slice.x.n, 4, 0.0);
  assert_close(slice.family.n, 3, 0.0);
  assert_close(slice.fixed[0], '\0', 0.0);
  TestCall(FwSliceClear(&slice));
  TestCall(FwStoreDestroy(&store));
}

static void single_point_of_a_scan_is_drawn_as_a_single_run(void **state)
{
  const FwShape shape = {1, {"temperature"}, {1}};
  const double  one   = 0.1;
  FwStore       store;

  (void)state;
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  put_axis(store, &(Axis){"temperature", 1, &one, NULL});
  put_converged(store, &shape, PETSC_FALSE);
  put_points(store, "train_error", &shape, 1.0, -1);
  put_points(store, "infinite_train_error", &shape, 2.0, -1);
  TestCall(FwStoreCommit(&store));
  assert_drawn(NULL);
  assert_refused(draw("map", "scan.png"), FW_ERR_INPUT, "overview, errors");
}

static void failed_scan_has_no_figure(void **state)
{
  const FwShape shape = {1, {"temperature"}, {4}};
  FwStore       store;

  (void)state;
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  put_axis(store, &(Axis)TEMPERATURE);
  put_converged(store, &shape, PETSC_TRUE);
  TestCall(FwStoreCommit(&store));
  assert_refused(draw(NULL, "scan.png"), FW_ERR_INPUT, "no point of the scan has a result");
}

/* The longer axis is x, both ascend, the third stays at its middle value, and a point keeps its number on the way */
static void slice_finds_each_point(void **state)
{
  static const int order[] = {1, 2, 3, 0}; /* of the temperatures */
  FwStore          store;
  FwSlice          slice;
  PetscBool        has;
  double          *value;

  (void)state;
  write_scan(3, (Axis[]){WIDTH, TEMPERATURE, DEPTH}, PETSC_TRUE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwSliceFind(store, &slice));
  assert_close(slice.x.n, 4, 0.0);
  assert_close(slice.family.n, 3, 0.0);
  assert_close(slice.x.is_log, 1, 0.0);
  assert_close(slice.family.is_log, 0, 0.0);
  assert_close(strcmp(slice.fixed, "at depth L = 2"), 0, 0.0);
  TestCall(FwSliceGetMean(&slice, "test_error", &has, &value));
  for (int w = 0; w < 3; w++)
    for (int t = 0; t < 4; t++) {
      const int point = (w * 4 + order[t]) * 3 + 1;

      if (point == 1)
        assert_close(isnan(value[w * 4 + t]), 1, 0.0);
      else
        assert_close(value[w * 4 + t], 10.0 + point, 0.0);
    }
  TestCall(PetscFree(value));
  TestCall(FwSliceClear(&slice));
  TestCall(FwStoreDestroy(&store));
}

/* Point 2 has not converged: only its infinite width is left. The minima are products over two layers. */
static void values_of_points_that_did_not_converge_are_gaps(void **state)
{
  const double widths_now[] = {1.0, 2.0, 3.0, 4.0};
  FwStore      store;
  FwSlice      slice;
  PetscBool    has;
  PetscInt64   n_minimum;
  double      *value;

  (void)state;
  write_scan(1,
             (Axis[]){
               {"network_width", 4, widths_now, NULL}
  },
             PETSC_TRUE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwSliceFind(store, &slice));
  TestCall(FwSliceGetMean(&slice, "test_error", &has, &value));
  assert_close(value[0], 10.0, 0.0);
  assert_close(isnan(value[1]) && isnan(value[2]), 1, 0.0);
  assert_close(value[3], 13.0, 0.0);
  TestCall(PetscFree(value));
  TestCall(FwSliceGetMean(&slice, "infinite_test_error", &has, &value));
  assert_close(value[2], 22.0, 0.0);
  TestCall(PetscFree(value));
  TestCall(FwSliceGetMean(&slice, "nothing", &has, &value));
  assert_close(has, 0, 0.0);
  TestCall(PetscFree(value));
  TestCall(FwSliceGetMinima(&slice, &n_minimum, &value));
  assert_close(n_minimum, 2, 0.0);
  assert_close(value[0], 3.0, 0.0); /* its second layer is missing */
  assert_close(value[1], 5.0 * 6.0, 0.0);
  assert_close(isnan(value[2]), 1, 0.0);
  assert_close(value[7], 17.0 * 18.0, 0.0);
  TestCall(PetscFree(value));
  TestCall(FwSliceClear(&slice));
  TestCall(FwStoreDestroy(&store));
}

/* Numbers are better on x than texts, unless there are more texts than a legend holds */
static void texts_are_a_family_while_they_fit_a_legend(void **state)
{
  static const char *const many[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
  const double             two[]  = {0.1, 0.2};
  FwStore                  store;
  FwSlice                  slice;

  (void)state;
  for (PetscInt64 n = 8; n <= 9; n++) {
    write_scan(2,
               (Axis[]){
                 {"network_activation", n, NULL, many},
                 {"temperature",        2, two,  NULL}
    },
               PETSC_FALSE);
    assert_drawn(NULL);
    TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
    TestCall(FwSliceFind(store, &slice));
    assert_close(slice.x.text != NULL, n == 9, 0.0);
    TestCall(FwSliceClear(&slice));
    TestCall(FwStoreDestroy(&store));
  }
}

static void many_curves_are_thinned_to_eight(void **state)
{
  double    values[2][24];
  FwStore   store;
  FwFigure *figure;

  (void)state;
  for (int i = 0; i < 24; i++) values[0][i] = values[1][i] = i;
  write_scan(2,
             (Axis[]){
               {"network_width", 8,  values[0], NULL},
               {"temperature",   24, values[1], NULL}
  },
             PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(PetscNew(&figure));
  TestCall(FwFigureFill_Scan(store, "accuracy", figure));
  assert_close(figure->panel[0].n_series, 8, 0.0);
  TestCall(FwFigureClear(figure));
  write_scan(2,
             (Axis[]){
               {"network_width", 10, values[0], NULL},
               {"temperature",   24, values[1], NULL}
  },
             PETSC_FALSE);
  TestCall(FwStoreDestroy(&store));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureFill_Scan(store, "accuracy", figure));
  assert_close(figure->panel[0].n_series, 8, 0.0);
  assert_close(strcmp(figure->panel[0].series[7].title, "9"), 0, 0.0);
  TestCall(FwFigureClear(figure));
  TestCall(PetscFree(figure));
  TestCall(FwStoreDestroy(&store));
}

/* --- sampled order parameters ------------------------------------------------------------------------------- */

/* /predict/order_parameter and /sample/order_parameter of two paths, or of each of some widths */
static void write_orders(const FwShape *point)
{
  static const double predicted[] = {1.5, -0.3, -0.3, 1.7}, sampled[] = {1.6, -0.4, -0.4, 1.8}, two[] = {0.0, 1.0};
  static const double diagonal[] = {1.7, 1.6, 1.5}, bar[] = {0.01, 0.01, 0.01, 0.01};
  const FwShape       path   = {1, {"other_path"}, {2}};
  FwShape             matrix = {
                2, {"order_row", "order_column"},
                 {2,           2             }
  };
  FwStore store;

  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  if (point->n_dim) {
    put_axis(store, &(Axis)WIDTH);
    put_points(store, "total_order_parameter", point, 1.0, -1);
    put_points(store, "/sample/train_error", point, 1.0, -1);
    put_points(store, "/sample/order_parameter", point, -5.0, -1);
    put_points(store, "/sample/order_parameter_error_bar", point, 0.1, -1);
    TestCall(FwStoreReals(store, "/sample/order_parameter_diagonal", point, diagonal, "1", "diagonal"));
    TestCall(FwStoreReals(store, "/sample/order_parameter_diagonal_error_bar", point, bar, "1", "bar"));
    put_points(store, "/sample/converged", point, 1.0, -1);
    put_converged(store, point, PETSC_FALSE);
  } else {
    TestCall(FwStoreReals(store, "/predict/other_path", &path, two, "1", "path"));
    TestCall(FwStoreReals(store, "/predict/order_parameter", &matrix, predicted, "1", "predicted"));
    TestCall(FwStoreReals(store, "/sample/order_parameter", &matrix, sampled, "1", "sampled"));
    TestCall(FwStoreReals(store, "/sample/order_parameter_error_bar", &matrix, bar, "1", "bar"));
    TestCall(FwStoreReals(store, "/sample/order_parameter_z_score", &matrix, bar, "1", "z"));
  }
  TestCall(FwStoreCommit(&store));
}

static const FwSeries *series_called(const FwPanel *panel, const char title[])
{
  for (PetscInt s = 0; s < panel->n_series; s++)
    if (!strcmp(panel->series[s].title, title)) return &panel->series[s];
  return NULL;
}

static void sampled_entries_stand_over_predicted_ones(void **state)
{
  FwFigure       *figure;
  FwStore         store;
  const FwSeries *dots;

  (void)state;
  write_orders(&(FwShape){0});
  TestCall(PetscNew(&figure));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureFill_Predict(store, "order-sampled", figure));
  assert_close(figure->n_panel, 1, 0.0);
  dots = series_called(&figure->panel[0], "finite width");
  assert_close(dots && dots->n == 3, 1, 0.0); /* of a symmetric matrix the upper half */
  assert_close(dots->x[1], -0.3, 0.0);
  assert_close(dots->y[1], -0.4, 0.0);
  assert_close(dots->y[2], 1.8, 0.0);
  TestCall(FwFigureClear(figure));
  TestCall(PetscFree(figure));
  TestCall(FwStoreDestroy(&store));
}

static void sampled_matrix_of_a_scan_is_the_mean_of_its_diagonal(void **state)
{
  FwFigure       *figure;
  FwStore         store;
  const FwSeries *dots;

  (void)state;
  write_orders(&(FwShape){1, {"network_width"}, {3}});
  TestCall(PetscNew(&figure));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureFill_Scan(store, "order-parameter", figure));
  dots = series_called(&figure->panel[0], "sampled");
  assert_close(dots && dots->n == 3, 1, 0.0);
  assert_close(dots->y[0], 1.7, 0.0);
  TestCall(FwFigureClear(figure));
  TestCall(PetscFree(figure));
  TestCall(FwStoreDestroy(&store));
}

/* Point 1 of /predict rests on too few draws, and so does point 0 of /sample on too short chains */
static void write_averages(PetscBool has_theory)
{
  const PetscInt64 converged[] = {1, 0, 1}, chains[] = {0, 1, 1};
  const FwShape    point = {1, {"network_width"}, {3}};
  FwStore          store;

  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  put_axis(store, &(Axis)WIDTH);
  if (has_theory) {
    put_points(store, "test_error", &point, 1.0, -1);
    put_points(store, "average_test_error", &point, 2.0, -1);
    put_converged(store, &point, PETSC_FALSE);
    TestCall(FwStoreIntegers(store, "/predict/average_converged", &point, converged, "1", "1 if the draws suffice"));
  } else {
    TestCall(FwStoreReals(store, "/sample/network_width", &(FwShape){1, {"network_width"}, {3}}, widths, "1", "width"));
    put_points(store, "/sample/train_error", &point, 1.0, -1);
    put_points(store, "/sample/test_error", &point, 3.0, -1);
    put_points(store, "/sample/test_error_error_bar", &point, 0.1, -1);
    TestCall(FwStoreIntegers(store, "/sample/converged", &point, chains, "1", "1 if the chains converged"));
  }
  TestCall(FwStoreCommit(&store));
}

static void average_over_draws_is_called_so_and_left_out_where_it_has_not_converged(void **state)
{
  FwFigure       *figure;
  FwStore         store;
  const FwSeries *line;

  (void)state;
  write_averages(PETSC_TRUE);
  TestCall(PetscNew(&figure));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureFill_Scan(store, "errors", figure));
  line = series_called(&figure->panel[0], "test, average over draws");
  assert_close(line && line->y[0] == 2.0 && isnan(line->y[1]) && line->y[2] == 4.0, 1, 0.0);
  assert_close(series_called(&figure->panel[0], "gaps: not converged") != NULL, 1, 0.0);
  line = series_called(&figure->panel[0], "test");
  assert_close(line && line->y[1] == 2.0, 1, 0.0);
  TestCall(FwFigureClear(figure));
  TestCall(PetscFree(figure));
  TestCall(FwStoreDestroy(&store));
}

static void samples_without_a_theory_are_drawn(void **state)
{
  FwFigure       *figure;
  FwStore         store;
  const FwSeries *dots;

  (void)state;
  write_averages(PETSC_FALSE);
  TestCall(PetscNew(&figure));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureFill_Scan(store, "overview", figure));
  assert_close(figure->n_panel, 1, 0.0);
  dots = series_called(&figure->panel[0], "test, sampled");
  assert_close(dots && dots->y[0] == 3.0 && dots->error[2] == 2.1, 1, 0.0);
  assert_close(series_called(&figure->panel[0], "test") == NULL, 1, 0.0);
  dots = series_called(&figure->panel[0], "not converged");
  assert_close(dots && dots->n == 1 && dots->y[0] == 3.0, 1, 0.0);
  TestCall(FwFigureClear(figure));
  TestCall(FwStoreDestroy(&store));
  TestCall(draw("overview", "scan.svg"));
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
  put_scalar(store, "/sample/train_error", 0.1);
  put_scalar(store, "/sample/train_error_error_bar", 0.01);
  TestCall(FwStoreCommit(&store));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwFigureFill_Predict(store, "overview", figure));
  dots = series_called(&figure->panel[0], "sampled");
  assert_close(dots && dots->n == 1 && dots->error[0] == 0.01 && figure->panel[0].x_tick.n == 1, 1, 0.0);
  TestCall(FwFigureClear(figure));
  TestCall(PetscFree(figure));
  TestCall(FwStoreDestroy(&store));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_extension_gives_its_format),
    cmocka_unit_test(run_without_test_examples_has_its_figures),
    cmocka_unit_test(unknown_figure_names_the_available_ones),
    cmocka_unit_test(unknown_extension_names_the_possible_ones),
    cmocka_unit_test(missing_folder_is_refused),
    cmocka_unit_test(missing_gnuplot_is_named),
    cmocka_unit_test(short_logarithmic_axes_name_more_than_powers_of_ten),
    cmocka_unit_test(hostile_texts_are_only_drawn),
    cmocka_unit_test(scan_over_one_axis_has_its_figures),
    cmocka_unit_test(scan_over_two_axes_has_its_figures),
    cmocka_unit_test(scan_with_gaps_has_its_figures),
    cmocka_unit_test(axes_of_length_one_are_not_axes),
    cmocka_unit_test(single_point_of_a_scan_is_drawn_as_a_single_run),
    cmocka_unit_test(failed_scan_has_no_figure),
    cmocka_unit_test(slice_finds_each_point),
    cmocka_unit_test(values_of_points_that_did_not_converge_are_gaps),
    cmocka_unit_test(texts_are_a_family_while_they_fit_a_legend),
    cmocka_unit_test(many_curves_are_thinned_to_eight),
    cmocka_unit_test(sampled_entries_stand_over_predicted_ones),
    cmocka_unit_test(sampled_matrix_of_a_scan_is_the_mean_of_its_diagonal),
    cmocka_unit_test(average_over_draws_is_called_so_and_left_out_where_it_has_not_converged),
    cmocka_unit_test(samples_without_a_theory_are_drawn),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("figure", tests, make_folder, remove_folder);
  return n_failed ? 1 : FwFinish(0);
}
