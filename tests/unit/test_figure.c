/** @file
 * Figures are drawn from a result file, or refused in words; no text in one can make gnuplot run a command.
 */

#include <finwidth/figure.h>
#include "../../src/plot/panel.h" /* the texts of a figure are not the user's: only here can they be hostile */
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
    TestCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, text, 2, x, x, NULL));
    TestCall(FwFigureRender(figure, picture));
    TestCall(FwFigureClear(figure));
    TestCall(PetscFree(figure));
  }
  assert_begins("\x89PNG", 4);
  assert_close(access(canary, F_OK) != 0, 1, 0.0);
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
    cmocka_unit_test(hostile_texts_are_only_drawn),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("figure", tests, make_folder, remove_folder);
  return n_failed ? 1 : FwFinish(0);
}
