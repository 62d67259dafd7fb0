/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Records travel as bytes and come back the same; points of different sizes become one array; damaged bytes are refused.
 *
 * ranks: 1
 */

#include <finwidth/record.h>
#include "../support/collective_assert.h"

#include <string.h>

static FwRecord record_with(PetscInt64 n, double first)
{
  const FwShape shape     = {.n_dim = 1, .name = {"minimum"}, .size = {n}};
  double        value[16] = {first, 2.0, 3.0};
  FwRecord      record;

  TestCall(FwRecordCreate(&record));
  TestCall(FwRecordReals(record, "action", &shape, value, "1", "action at each minimum"));
  TestCall(FwRecordInteger(record, "converged", 1, "1", "1: converged"));
  TestCall(FwRecordSetPrefix(record, "/sample/"));
  TestCall(FwRecordReal(record, "rhat", 1.01, "1", ""));
  TestCall(FwRecordSetPrefix(record, ""));
  return record;
}

static void packed_record_comes_back_bit_by_bit(void **state)
{
  FwRecord record = record_with(3, 0.1), copy;
  size_t   n, n_copy;
  char    *bytes, *bytes_copy;

  (void)state;
  TestCall(FwRecordWarn(record, "second\nfirst\nsecond"));
  TestCall(FwRecordPack(record, &n, &bytes));
  TestCall(FwRecordUnpack(n, bytes, &copy));
  assert_string_equal(FwRecordWarnings(copy), "second\nfirst");
  TestCall(FwRecordPack(copy, &n_copy, &bytes_copy));
  assert_int_equal(n, n_copy);
  assert_memory_equal(bytes, bytes_copy, n);
  assert_close(FwRecordAt(copy, "action", 0), 0.1, 0.0);
  assert_close(FwRecordAt(copy, "/sample/rhat", 0), 1.01, 0.0);
  assert_true(isnan(FwRecordAt(copy, "rhat", 0)));
  assert_int_equal(FwRecordIntegerAt(copy, "converged", 0), 1);
  TestCall(PetscFree(bytes));
  TestCall(PetscFree(bytes_copy));
  TestCall(FwRecordDestroy(&record));
  TestCall(FwRecordDestroy(&copy));
}

/* What a checksum has let through must still not be read past its end */
static void cut_or_changed_bytes_are_refused_or_read_within_their_bounds(void **state)
{
  FwRecord record = record_with(3, 0.1), copy = NULL;
  size_t   n;
  char    *bytes;

  (void)state;
  TestCall(FwRecordPack(record, &n, &bytes));
  for (size_t cut = 1; cut < n; cut++) {
    char          *piece;
    PetscErrorCode code;

    TestCall(PetscMalloc1(cut, &piece));
    memcpy(piece, bytes, cut);
    code = FwRecordUnpack(cut, piece, &copy);
    assert_true(!code || FwExitOf(code) == FW_EXIT_FILE);
    TestCall(PetscFree(piece));
    TestCall(FwRecordDestroy(&copy));
  }
  for (size_t i = 0; i < n; i++)
    for (int bit = 0; bit < 8; bit++) {
      bytes[i] ^= (char)(1 << bit);
      (void)FwRecordUnpack(n, bytes, &copy);
      TestCall(FwRecordDestroy(&copy));
      bytes[i] ^= (char)(1 << bit);
    }
  FwErrorClear();
  TestCall(PetscFree(bytes));
  TestCall(FwRecordDestroy(&record));
}

static void points_of_different_sizes_are_padded(void **state)
{
  const FwShape axes     = {.n_dim = 1, .name = {"temperature"}, .size = {3}};
  FwRecord      point[3] = {record_with(1, 7.0), NULL, record_with(2, 9.0)}, all;

  (void)state;
  TestCall(FwRecordWarn(point[0], "here\nof the first"));
  TestCall(FwRecordWarn(point[2], "of\nhere"));
  TestCall(FwRecordStack(&axes, point, &all));
  assert_string_equal(FwRecordWarnings(all), "here\nof the first\nof");
  assert_close(FwRecordAt(all, "action", 0), 7.0, 0.0);
  assert_true(isnan(FwRecordAt(all, "action", 1)));
  assert_true(isnan(FwRecordAt(all, "action", 2)) && isnan(FwRecordAt(all, "action", 3)));
  assert_close(FwRecordAt(all, "action", 4), 9.0, 0.0);
  assert_close(FwRecordAt(all, "action", 5), 2.0, 0.0);
  assert_true(isnan(FwRecordAt(all, "action", 6)));
  assert_int_equal(FwRecordIntegerAt(all, "converged", 1), -1);
  for (int p = 0; p < 3; p++) TestCall(FwRecordDestroy(&point[p]));
  TestCall(FwRecordDestroy(&all));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(packed_record_comes_back_bit_by_bit),
    cmocka_unit_test(cut_or_changed_bytes_are_refused_or_read_within_their_bounds),
    cmocka_unit_test(points_of_different_sizes_are_padded),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("record", tests, NULL, NULL);
  return n_failed ? 1 : FwFinish(0);
}
