/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A dataset of images from arrays, through an HDF5 file.
 */

#include "dataset_fixture.h"

#include <hdf5.h>

/** The formula of tests/reference/convolutional.json: r = (633907 (m + 1)(p + 1) + 774013 (m + 1) + 597537 (p + 1)) mod
 *  1048573, x_mp = sqrt 2 cos(2 pi r / 1048573), y = 1.2 sin(2 (x_m0 + x_m1)) + x_m,last / 2. */
static inline void fill_images(int n, int n_input, double x[], double y[])
{
  for (int m = 0; m < n; m++) {
    double *image = x + (size_t)m * (size_t)n_input;

    for (int p = 0; p < n_input; p++) {
      const long long r = (633907LL * (m + 1) * (p + 1) + 774013LL * (m + 1) + 597537LL * (p + 1)) % 1048573;

      image[p] = sqrt(2.0) * cos(2.0 * M_PI * (double)r / 1048573.0);
    }
    y[m] = 1.2 * sin(2.0 * (image[0] + image[1])) + 0.5 * image[n_input - 1];
  }
}

static inline void write_array(hid_t file, const char name[], int n_dimension, const hsize_t size[],
                               const double value[])
{
  const hid_t space = H5Screate_simple(n_dimension, size, NULL);
  const hid_t set   = H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

  H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
  H5Dclose(set);
  H5Sclose(space);
}

/** Examples in order, training first; x is [n_train + n_test][channels][height][width], y [n_train + n_test][n_output].
 *  Collective. */
static inline FwDataset dataset_from_outputs(int n_train, int n_test, int channels, int height, int width, int n_output,
                                             const double x[], const double y[])
{
  const hsize_t size[4]  = {(hsize_t)(n_train + n_test), (hsize_t)channels, (hsize_t)height, (hsize_t)width};
  const hsize_t label[2] = {(hsize_t)(n_train + n_test), (hsize_t)n_output};
  PetscMPIInt   rank;
  char          options[256];

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    const hid_t file = H5Fcreate(file_path("images.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    write_array(file, "x", 4, size, x);
    write_array(file, "y", n_output == 1 ? 1 : 2, label, y);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  snprintf(options, sizeof options,
           "-data_source hdf5 -data_path %%s/images.h5 -data_normalise none -data_gray false -data_train %d "
           "-data_test %d",
           n_train, n_test);
  return open_data(options);
}

static inline FwDataset dataset_from_images(int n_train, int n_test, int channels, int height, int width,
                                            const double x[], const double y[])
{
  return dataset_from_outputs(n_train, n_test, channels, height, width, 1, x, y);
}
