/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Keys: values of every type, and one clear line for each way of getting one wrong. What a job is given and writes: the
 * limit on its memory, the lines of its log.
 */

#include <finwidth/memory.h>
#include <finwidth/option.h>
#include <finwidth/progress.h>
#include "../support/collective_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int setup(void **state)
{
  (void)state;
  TestCall(PetscOptionsClear(NULL));
  FwErrorClear();
  return 0;
}

static void set(const char name[], const char value[])
{
  TestCall(PetscOptionsSetValue(NULL, name, value));
}

/* The check fails as bad input, with all the given words in its message */
static void assert_refused(const char *const words[])
{
  assert_close(FwOptionsCheck(FW_FOR_PREDICT), FW_ERR_INPUT, 0.0);
  for (; *words; words++) {
    if (!strstr(FwErrorMessage(), *words)) print_error("no '%s' in: %s\n", *words, FwErrorMessage());
    assert_close(strstr(FwErrorMessage(), *words) != NULL, 1, 0.0);
  }
}

static void defaults_and_given_values_are_read(void **state)
{
  double     temperature, prior[4];
  PetscInt64 width[4];
  PetscInt   n = 4, choice;
  PetscBool  is_set, flag;
  char       text[32];

  (void)state;
  TestCall(FwOptionReal("temperature", &temperature, &is_set));
  assert_close(temperature, 0.01, 0.0);
  set("-network_width", "40,80, 30");
  TestCall(FwOptionIntegers("network_width", &n, width));
  assert_close(n, 3, 0.0);
  assert_close(width[2], 30, 0.0);
  n = 4;
  set("-network_prior", "1e-1,2");
  TestCall(FwOptionReals("network_prior", &n, prior));
  assert_close(n, 2, 0.0);
  assert_close(prior[0], 0.1, 0.0);
  set("-data_source", "cifar10");
  TestCall(FwOptionChoice("data_source", &choice, NULL));
  assert_close(choice, 3, 0.0);
  set("-overwrite", "");
  TestCall(FwOptionBoolean("overwrite", &flag, NULL));
  assert_close(flag, 1, 0.0);
  set("-memory", "1.5G");
  TestCall(FwOptionReal("memory", &temperature, NULL));
  assert_close(temperature, 1.5 * 1073741824.0, 0.0);
  set("-walltime", "01:02:03");
  TestCall(FwOptionReal("walltime", &temperature, NULL));
  assert_close(temperature, 3723.0, 0.0);
  TestCall(FwOptionText("data_path", sizeof text, text, &is_set));
  assert_close(is_set, 0, 0.0);
  TestCall(FwOptionsCheck(FW_FOR_PREDICT));
}

static void misspelt_key_names_the_nearest(void **state)
{
  (void)state;
  set("-network_widht", "40");
  assert_refused((const char *[]){"network_widht", "'network_width'", NULL});
}

static void misspelt_key_of_a_scan_names_the_nearest(void **state)
{
  (void)state;
  set("-scan_temprature", "1,2");
  assert_refused((const char *[]){"scan_temprature", "'scan_temperature'", NULL});
}

static void of_keys_as_near_the_command_s_own_is_named(void **state)
{
  (void)state;
  set("-samplesx", "40");
  assert_close(FwOptionsCheck(FW_FOR_SAMPLE), FW_ERR_INPUT, 0.0);
  assert_close(strstr(FwErrorMessage(), "'sampler_samples'") != NULL, 1, 0.0);
  assert_close(strstr(FwErrorMessage(), "'mixture_samples'") != NULL, 0, 0.0);
}

static void petsc_options_pass_and_misspelt_ones_do_not(void **state)
{
  (void)state;
  set("-snes_monitor", "");
  set("-snes_view", "");
  set("-ksp_type", "preonly");
  TestCall(FwOptionsCheck(FW_FOR_PREDICT));
  set("-snes_montior", "");
  assert_refused((const char *[]){"snes_montior", NULL});
}

static void bad_values_are_refused_with_what_would_be_right(void **state)
{
  static const struct {
    const char *option, *value, *words[3];
  } bad[] = {
    {"-sampler_leapfrog",   "0.5",                  {"'sampler_leapfrog' is '0.5'", "an integer from 1 to 680"}},
    {"-sampler_chains",     "1001",                 {"'sampler_chains' is '1001'", "an integer from 2 to 1000"}},
    {"-network_width",      "-3",                   {"'network_width' is '-3'", "an integer >= 1"}             },
    {"-network_width",      "40,0",                 {"'0'", "or a list"}                                       },
    {"-network_width",      "40.5",                 {"'40.5'", "an integer"}                                   },
    {"-network_width",      "40,",                  {"'network_width' is '40,'", "empty"}                      },
    {"-network_width",      "99999999999999999999", {"'network_width'", "an integer from 1 to 2147483647"}     },
    {"-temperature",        "-1",                   {"'temperature' is '-1'", ">= 0"}                          },
    {"-temperature",        "nan",                  {"'nan'", "a number"}                                      },
    {"-temperature",        "inf",                  {"'inf'"}                                                  },
    {"-temperature",        "1e-2x",                {"'1e-2x'"}                                                },
    {"-temperature",        "",                     {"'temperature' has no value"}                             },
    {"-network_prior",      "0",                    {"> 0"}                                                    },
    {"-network_activation", "erff",                 {"'erff'", "one of erf,relu"}                              },
    {"-network_activation", "erf,tan",              {"'tan'"}                                                  },
    {"-data_gray",          "perhaps",              {"true or false"}                                          },
    {"-memory",             "8X",                   {"a size such as 8G"}                                      },
    {"-walltime",           "1:99:00",              {"HH:MM:SS"}                                               },
    {"-walltime",           "-1:00:00",             {"HH:MM:SS"}                                               },
    {"-walltime",           "999999:00:00",         {"HH:MM:SS"}                                               },
  };

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(bad); i++) {
    setup(state);
    set(bad[i].option, bad[i].value);
    assert_refused(bad[i].words);
  }
}

static void resolved_input_holds_defaults_and_quotes(void **state)
{
  char *text;

  (void)state;
  set("-data_path", "it's: here");
  set("-network_width", "7");
  TestCall(FwOptionsResolved(FW_FOR_PREDICT, &text));
  assert_close(strstr(text, "data_path: 'it''s: here'\n") != NULL, 1, 0.0);
  assert_close(strstr(text, "network_width: 7\n") != NULL, 1, 0.0);
  assert_close(strstr(text, "temperature: 0.01\n") != NULL, 1, 0.0);
  TestCall(PetscFree(text));
}

static void write_text(const char folder[], const char name[], const char text[])
{
  char  path[256];
  FILE *file;

  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (!text) {
    assert_int_equal(mkdir(path, 0777), 0);
    return;
  }
  file = fopen(path, "w");
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

/* The group is two below the one that a job was given, and has no limit itself; in version 1 it is not there at all */
static void the_least_limit_of_control_groups_counts(void **state)
{
  char folder[] = "/tmp/finwidth-cgroup-XXXXXX", groups[64], command[96];

  (void)state;
  assert_non_null(mkdtemp(folder));
  snprintf(groups, sizeof groups, "%s/cgroup", folder);
  assert_true(FwMemoryGroupLimit(groups, folder) == PETSC_MAX_REAL); /* there is no such file */
  write_text(folder, "cgroup", "12:cpu,cpuacct:/\n4:memory:/job_7/step_0\n0::/slurm/job_7/step_0\n");
  assert_true(FwMemoryGroupLimit(groups, folder) == PETSC_MAX_REAL);
  write_text(folder, "slurm", NULL);
  write_text(folder, "slurm/job_7", NULL);
  write_text(folder, "slurm/job_7/step_0", NULL);
  write_text(folder, "slurm/memory.max", "8000000000\n");
  write_text(folder, "slurm/job_7/memory.max", "4000000000\n");
  write_text(folder, "slurm/job_7/step_0/memory.max", "max\n");
  assert_true(FwMemoryGroupLimit(groups, folder) == 4e9);
  write_text(folder, "memory", NULL);
  write_text(folder, "memory/memory.limit_in_bytes", "3000000000\n");
  assert_true(FwMemoryGroupLimit(groups, folder) == 3e9);
  snprintf(command, sizeof command, "rm -r %s", folder);
  assert_int_equal(system(command), 0);
}

static void progress_in_a_log_is_seldom(void **state)
{
  double n_line = 0.0;

  (void)state;
  for (double t = 2.0; t < 86400.0; t += FwProgressInterval(t, PETSC_FALSE)) n_line++;
  assert_true(n_line > 100.0 && n_line < 220.0);
  assert_true(FwProgressInterval(86400.0, PETSC_TRUE) == 1.0);
  assert_true(FwProgressInterval(3.0, PETSC_FALSE) == 1.0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(defaults_and_given_values_are_read, setup),
    cmocka_unit_test_setup(misspelt_key_names_the_nearest, setup),
    cmocka_unit_test_setup(misspelt_key_of_a_scan_names_the_nearest, setup),
    cmocka_unit_test_setup(of_keys_as_near_the_command_s_own_is_named, setup),
    cmocka_unit_test_setup(petsc_options_pass_and_misspelt_ones_do_not, setup),
    cmocka_unit_test_setup(bad_values_are_refused_with_what_would_be_right, setup),
    cmocka_unit_test_setup(resolved_input_holds_defaults_and_quotes, setup),
    cmocka_unit_test(the_least_limit_of_control_groups_counts),
    cmocka_unit_test(progress_in_a_log_is_seldom),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("option", tests, NULL, NULL);
  TestCall(PetscOptionsClear(NULL));
  return FwFinish(0) || n_failed;
}
