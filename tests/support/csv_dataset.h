/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A dataset from arrays: inputs and one target per example go through a CSV file, digit by digit.
 */

#include "dataset_fixture.h"

/** Examples in order, training first; x is [n_train + n_test][n_input]. Collective. Release with FwDatasetDestroy(). */
static inline FwDataset dataset_from_arrays(int n_train, int n_test, int n_input, const double x[], const double y[])
{
  const size_t room = (size_t)(n_train + n_test) * (size_t)(n_input + 1) * 28 + 1;
  char        *text, options[256];
  size_t       used = 0;
  FwDataset    data;

  TestCall(PetscMalloc1(room, &text));
  for (int i = 0; i < n_train + n_test; i++) {
    for (int j = 0; j < n_input; j++) used += (size_t)snprintf(text + used, room - used, "%.17g,", x[i * n_input + j]);
    used += (size_t)snprintf(text + used, room - used, "%.17g\n", y[i]);
  }
  write_text("arrays.csv", text);
  TestCall(PetscFree(text));
  snprintf(options, sizeof options,
           "-data_source csv -data_path %%s/arrays.csv -data_normalise none -data_train %d -data_test %d", n_train,
           n_test);
  data = open_data(options);
  return data;
}
