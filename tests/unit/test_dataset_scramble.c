/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Controls made of data: what data_scramble moves, and what it leaves.
 */

#include "../support/dataset_fixture.h"

#define GLYPHS "-data_train 11 -data_test 5 -network_mask 4 "

static void scrambled_data_do_not_depend_on_ranks(void **state)
{
  (void)state;
  assert_digest_without_ranks(GLYPHS "-data_scramble pixels");
  assert_digest_without_ranks(GLYPHS "-data_scramble patches");
  assert_digest_without_ranks(GLYPHS "-data_scramble labels");
}

static int digest_differs(const char options[], const char other[])
{
  FwDataset   one = open_data(options), two = open_data(other);
  const char *digest[2];
  int         differs;

  TestCall(FwDatasetGetDigest(one, &digest[0]));
  TestCall(FwDatasetGetDigest(two, &digest[1]));
  differs = strcmp(digest[0], digest[1]) != 0;
  TestCall(FwDatasetDestroy(&one));
  TestCall(FwDatasetDestroy(&two));
  return differs;
}

static void the_digest_knows_what_was_scrambled(void **state)
{
  (void)state;
  assert_close(digest_differs(GLYPHS "-data_scramble none", GLYPHS), 0, 0);
  assert_close(digest_differs(GLYPHS "-data_scramble pixels", GLYPHS), 1, 0);
  assert_close(digest_differs(GLYPHS "-data_scramble patches", GLYPHS), 1, 0);
  assert_close(digest_differs(GLYPHS "-data_scramble labels", GLYPHS), 1, 0);
  assert_close(digest_differs(GLYPHS "-data_scramble patches",
                              "-data_train 11 -data_test 5 -network_mask 8 "
                              "-data_scramble patches"),
               1, 0);
}

/* Examples of one row of numbers that all differ */
enum { N_LINE = 30 };

/* Where pixel j has come from, the same in a training and a test example; -1 if from nowhere */
static int origin_of(FwDataset plain, FwDataset moved, int j)
{
  const double a = input_at(moved, FW_TRAIN, 0, j), b = input_at(moved, FW_TEST, 1, j);
  int          origin = -1;

  for (int i = 0; i < N_LINE; i++)
    if (input_at(plain, FW_TRAIN, 0, i) == a && input_at(plain, FW_TEST, 1, i) == b) origin = i;
  return origin;
}

static void write_lines(void)
{
  char text[20000], *end = text;

  for (int e = 0; e < 6; e++) {
    for (int j = 0; j < N_LINE; j++) end += sprintf(end, "%.17g,", cos(1.0 + 37.0 * e + 0.61 * j));
    end += sprintf(end, "%d\n", e * e);
  }
  write_text("lines.csv", text);
}

#define LINES "-data_source csv -data_path %s/lines.csv -data_train 3 -data_test 3 -data_normalise none "

static void pixels_are_in_one_other_order(void **state)
{
  FwDataset plain = open_data(LINES), moved = open_data(LINES "-data_scramble pixels");
  int       seen[N_LINE] = {0}, n_moved = 0;

  (void)state;
  for (int j = 0; j < N_LINE; j++) {
    const int i = origin_of(plain, moved, j);

    assert_close(i >= 0 && !seen[i], 1, 0);
    seen[i] = 1;
    n_moved += i != j;
  }
  assert_close(n_moved > N_LINE / 2, 1, 0);
  TestCall(FwDatasetDestroy(&plain));
  TestCall(FwDatasetDestroy(&moved));
}

/* Patches of 8 every 9: the ninth pixel and the last three are in none */
static void pixels_stay_in_their_patch_and_those_in_none_stay(void **state)
{
  FwDataset plain = open_data(LINES),
            moved = open_data(LINES "-data_scramble patches -network_mask 8 -network_stride 9");
  int order[2][8], n_same = 0;

  (void)state;
  for (int j = 0; j < N_LINE; j++) {
    const int i = origin_of(plain, moved, j);

    assert_close(i >= 0, 1, 0);
    assert_close(i / 9, j / 9, 0);
    if (j % 9 == 8 || j >= 27) assert_close(i, j, 0);
    if (j % 9 < 8 && j < 18) order[j / 9][j % 9] = i % 9;
  }
  for (int k = 0; k < 8; k++) n_same += order[0][k] == order[1][k];
  assert_close(n_same < 8, 1, 0);
  TestCall(FwDatasetDestroy(&plain));
  TestCall(FwDatasetDestroy(&moved));
}

/* The bits of the scaled inputs are those of the plain ones: scaling comes first */
static void glyphs_keep_their_pixels_patch_by_patch(void **state)
{
  FwDataset plain = open_data(GLYPHS), moved = open_data(GLYPHS "-data_scramble patches");

  (void)state;
  for (int patch = 0; patch < 16; patch += 5) {
    double sum[2] = {0.0, 0.0};

    for (int k = 0; k < 16; k++) {
      const int j = (patch / 4 * 4 + k / 4) * 16 + patch % 4 * 4 + k % 4;

      sum[0] += exp(input_at(plain, FW_TRAIN, 2, j));
      sum[1] += exp(input_at(moved, FW_TRAIN, 2, j));
    }
    assert_close(sum[1], sum[0], 1e-13 * sum[0]);
  }
  TestCall(FwDatasetDestroy(&plain));
  TestCall(FwDatasetDestroy(&moved));
}

/* Labels 0, 1, 4 are for training, 9, 16, 25 for testing */
static void labels_are_dealt_out_within_each_part(void **state)
{
  FwDataset moved   = open_data(LINES "-data_scramble labels -seed 3"), fewer;
  int       n_moved = 0;

  (void)state;
  fewer = open_data(
    "-data_source csv -data_path %s/lines.csv -data_train 3 -data_test 1 -data_normalise none "
    "-data_scramble labels -seed 3");
  for (int part = FW_TRAIN; part <= FW_TEST; part++) {
    double sum = 0.0;

    for (int e = 0; e < 3; e++) {
      const double label = target_at(moved, (FwPart)part, e);

      sum += pow(2.0, label);
      n_moved += label != (3 * part + e) * (3 * part + e);
      if (part == FW_TRAIN) assert_close(target_at(fewer, FW_TRAIN, e), label, 0);
    }
    assert_close(sum, part == FW_TEST ? 512.0 + 65536.0 + 33554432.0 : 1.0 + 2.0 + 16.0, 0);
  }
  assert_close(n_moved > 0, 1, 0);
  assert_close(input_at(moved, FW_TRAIN, 1, 4), cos(1.0 + 37.0 + 0.61 * 4), 1e-15);
  TestCall(FwDatasetDestroy(&moved));
  TestCall(FwDatasetDestroy(&fewer));
}

static void classes_move_with_their_labels(void **state)
{
  FwDataset       data = open_data("-data_train 40 -data_test 0 -data_scramble labels");
  const PetscInt *index;
  int             n_moved = 0;

  (void)state;
  TestCall(FwDatasetGetClasses(data, FW_TRAIN, &index));
  for (int i = 0; i < 40; i++) {
    assert_close(target_at(data, FW_TRAIN, i), index[i] ? 1.0 : -1.0, 0);
    n_moved += index[i] != i % 2;
  }
  assert_close(n_moved > 8 && n_moved < 32, 1, 0);
  TestCall(FwDatasetDestroy(&data));
}

static void patches_that_overlap_are_refused(void **state)
{
  (void)state;
  assert_refused(GLYPHS "-data_scramble patches -network_stride 2", FW_ERR_INPUT, "network_stride 2");
  assert_refused("-data_train 4 -data_scramble patches -network_mask 4,4 -network_stride 4,3", FW_ERR_INPUT,
                 "do not overlap");
  assert_refused("-data_train 4 -data_scramble patches -network_mask 17", FW_ERR_INPUT, "network_mask");
  assert_refused("-data_train 4 -data_scramble rows", FW_ERR_INPUT, "data_scramble");
}

static int set_up(void **state)
{
  (void)state;
  folder_create();
  write_lines();
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  folder_destroy();
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(scrambled_data_do_not_depend_on_ranks),
    cmocka_unit_test(the_digest_knows_what_was_scrambled),
    cmocka_unit_test(pixels_are_in_one_other_order),
    cmocka_unit_test(pixels_stay_in_their_patch_and_those_in_none_stay),
    cmocka_unit_test(glyphs_keep_their_pixels_patch_by_patch),
    cmocka_unit_test(labels_are_dealt_out_within_each_part),
    cmocka_unit_test(classes_move_with_their_labels),
    cmocka_unit_test(patches_that_overlap_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("dataset_scramble", tests, set_up, tear_down);
  return FwFinish(0) || n_failed;
}
