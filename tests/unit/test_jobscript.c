/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Job scripts: what a user types arrives as it was typed and does nothing else, whatever it is.
 *
 * ranks: 1
 */

#include <finwidth/jobscript.h>
#include <finwidth/quote.h>
#include "../support/collective_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_TEXT = 20000, TEXT_MAX = 40 };

static FwJob plain_job(void)
{
  return (FwJob){.name        = "scan",
                 .account     = "",
                 .queue       = "",
                 .modules     = "",
                 .command     = "predict",
                 .why         = "",
                 .input       = "in.yaml",
                 .output      = "out.h5",
                 .estimate    = "as given",
                 .n_node      = 1,
                 .n_rank_node = 2,
                 .rank_bytes  = 1e9,
                 .seconds     = 3600.0,
                 .n_task      = 1};
}

/* Bytes that shells, YAML and terminals care about, and any others but NUL */
static void random_text(unsigned *state, char text[TEXT_MAX])
{
  static const char special[] = "'\"\\$`!*?[]{}()<>|&;~#\n\r\t =%-\xc3\xa9\xff";
  const unsigned    n         = rand_r(state) % (TEXT_MAX - 1);

  for (unsigned i = 0; i < n; i++) {
    const char byte = (char)(1 + rand_r(state) % 255);

    text[i] = rand_r(state) % 2 ? special[(unsigned)rand_r(state) % (sizeof special - 1)] : byte;
  }
  text[n] = '\0';
}

static void any_text_comes_through_bash_as_it_was(void **state)
{
  char  path[] = "/tmp/finwidth-quote-XXXXXX", command[128], (*text)[TEXT_MAX] = calloc(N_TEXT, TEXT_MAX);
  FILE *file = fdopen(mkstemp(path), "w"), *pipe;

  (void)state;
  assert_non_null(file);
  for (unsigned i = 0, seed = 1; i < N_TEXT; i++) {
    char *quoted;

    random_text(&seed, text[i]);
    quoted = FwQuote(text[i]);
    fprintf(file, "printf '%%s\\0' %s\n", quoted);
    free(quoted);
  }
  fclose(file);
  snprintf(command, sizeof command, "bash %s", path);
  pipe = popen(command, "r");
  for (int i = 0; i < N_TEXT; i++)
    for (const char *c = text[i];; c++) {
      assert_int_equal(fgetc(pipe), (unsigned char)*c);
      if (!*c) break;
    }
  assert_int_equal(fgetc(pipe), EOF);
  assert_int_equal(pclose(pipe), 0);
  unlink(path);
  free(text);
}

static void what_a_directive_could_misread_is_refused(void **state)
{
  static const char *const bad[] = {"a b", "a\nb", "$(id)", "a;b", "-x", "a'b", "\xc3\xa9", "a,b"};

  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    FwJob job[3] = {plain_job(), plain_job(), plain_job()};
    char *script;

    job[0].name    = bad[i];
    job[1].account = bad[i];
    job[2].queue   = bad[i];
    for (int k = 0; k < 3; k++) assert_int_equal(FwExitOf(FwJobScript(&job[k], &script)), FW_EXIT_INPUT);
  }
  FwErrorClear();
}

static void walltime_ends_before_the_limit(void **state)
{
  FwJob job = plain_job();
  char *script;

  (void)state;
  TestCall(FwJobScript(&job, &script));
  assert_non_null(strstr(script, "--time=01:00:00"));
  assert_non_null(strstr(script, "-walltime 00:58:00"));
  free(script);
  job.seconds = 90.0;
  TestCall(FwJobScript(&job, &script));
  assert_non_null(strstr(script, "--time=00:02:00"));
  assert_non_null(strstr(script, "-walltime 00:00:45"));
  free(script);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_text_comes_through_bash_as_it_was),
    cmocka_unit_test(what_a_directive_could_misread_is_refused),
    cmocka_unit_test(walltime_ends_before_the_limit),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("jobscript", tests, NULL, NULL);
  return n_failed ? 1 : FwFinish(0);
}
