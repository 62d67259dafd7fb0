/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Checkpoints: the last one, or the one before where it is damaged, and never anything else.
 *
 * ranks: 1
 */

#include <finwidth/checkpoint.h>
#include "../support/collective_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 300, PATH_SIZE = 256 };

static char folder[64], path[PATH_SIZE], previous[PATH_SIZE];

static void write_both(void)
{
  char first[N], second[N];

  memset(first, 'a', N);
  memset(second, 'b', N);
  TestCall(FwCheckpointWrite(PETSC_COMM_SELF, path, "input-1", N, first));
  TestCall(FwCheckpointWrite(PETSC_COMM_SELF, path, "input-1", N, second));
}

/* First letter of what is read; 0 for nothing, and the exit code, negative, of an error */
static int read_letter(const char tag[])
{
  size_t         n;
  char          *bytes;
  PetscErrorCode code   = FwCheckpointRead(PETSC_COMM_SELF, path, tag, &n, &bytes);
  int            letter = 0;

  FwErrorClear();
  if (code) return -(int)FwExitOf(code);
  if (bytes) {
    assert_int_equal(n, N);
    for (int i = 1; i < N; i++) assert_int_equal(bytes[i], bytes[0]);
    letter = bytes[0];
  }
  TestCall(PetscFree(bytes));
  return letter;
}

static long change(const char name[], long at, int bit)
{
  FILE *file = fopen(name, "r+b");
  int   byte;
  long  size;

  fseek(file, 0, SEEK_END);
  size = ftell(file);
  if (at >= 0) {
    fseek(file, at, SEEK_SET);
    byte = fgetc(file) ^ (1 << bit);
    fseek(file, at, SEEK_SET);
    fputc(byte, file);
  }
  fclose(file);
  return size;
}

static void every_flipped_bit_leads_to_the_checkpoint_before(void **state)
{
  long size;
  int  n_flip = 0;

  (void)state;
  write_both();
  assert_int_equal(read_letter("input-1"), 'b');
  size = change(path, -1, 0);
  assert_non_null(freopen("/dev/null", "w", stderr)); /* a warning for each */
  for (long at = 0; at < size; at++)
    for (int bit = 0; bit < 8; bit++, n_flip++) {
      change(path, at, bit);
      assert_int_equal(read_letter("input-1"), 'a');
      change(path, at, bit);
    }
  printf("%d flips\n", n_flip);
  assert_int_equal(read_letter("input-1"), 'b');
}

static void every_cut_leads_to_the_checkpoint_before(void **state)
{
  (void)state;
  write_both();
  for (long size = change(path, -1, 0) - 1; size >= 0; size--) {
    assert_int_equal(truncate(path, size), 0);
    assert_int_equal(read_letter("input-1"), 'a');
  }
}

static void two_damaged_ones_are_an_error(void **state)
{
  (void)state;
  write_both();
  change(path, 120, 3);
  change(previous, 120, 3);
  assert_int_equal(read_letter("input-1"), -FW_EXIT_FILE);
}

static void checkpoint_of_another_input_is_refused(void **state)
{
  (void)state;
  write_both();
  assert_int_equal(read_letter("input-2"), -FW_EXIT_INPUT);
}

static int remove_both(void **state)
{
  (void)state;
  TestCall(FwCheckpointRemove(PETSC_COMM_SELF, path));
  return 0;
}

static void memory_that_is_not_there_is_exit_5(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
  (void)state; /* which would end the program */
  skip();
#else
  const size_t huge = (size_t)1 << 50;
  void        *p;

  (void)state;
  FwErrorClear();
  assert_int_equal(FwExitOf(PetscMalloc(huge, &p)), FW_EXIT_MEMORY);
  assert_non_null(strstr(FwErrorMessage(), "out of memory in memory_that_is_not_there_is_exit_5()"));
  assert_int_equal(PetscError(PETSC_COMM_SELF, __LINE__, __func__, __FILE__, FW_ERR_FILE, PETSC_ERROR_INITIAL, "so"),
                   PETSC_ERR_MEM); /* what follows from it is not said */
  assert_non_null(strstr(FwErrorMessage(), "out of memory"));
  FwErrorClear();
#endif
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(checkpoint_of_another_input_is_refused, remove_both),
    cmocka_unit_test_teardown(two_damaged_ones_are_an_error, remove_both),
    cmocka_unit_test_teardown(every_flipped_bit_leads_to_the_checkpoint_before, remove_both),
    cmocka_unit_test_teardown(every_cut_leads_to_the_checkpoint_before, remove_both),
    cmocka_unit_test(memory_that_is_not_there_is_exit_5),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  strcpy(folder, "/tmp/finwidth-checkpoint-XXXXXX");
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/run.chk", folder);
  snprintf(previous, sizeof previous, "%s/run.chk.previous", folder);
  n_failed = cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
  rmdir(folder);
  return n_failed ? 1 : FwFinish(0);
}
