/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Pixels to inputs: luminance, area average onto a square, division.
 *
 * Cell i of S covers the stretch [i H / S, (i + 1) H / S) of H pixels. In units of 1 / S of a pixel its overlap with
 * pixel h is the whole number |[i H, (i + 1) H) n [h S, (h + 1) S)|, so that the average is exact for every ratio, also
 * where the image grows, and integer pixels give the correctly rounded mean.
 */

#include "dataset_impl.h"

#include <string.h>

void FwPixelsGetShape(const FwPixels *pixels, PetscInt *channels, PetscInt *height, PetscInt *width)
{
  *channels = pixels->to_gray ? 1 : pixels->channels;
  *height   = pixels->size ? pixels->size : pixels->height;
  *width    = pixels->size ? pixels->size : pixels->width;
}

static void ToGray(const FwPixels *pixels, const double rgb[], double gray[])
{
  const PetscInt64 n = (PetscInt64)pixels->height * pixels->width;

  for (PetscInt64 i = 0; i < n; i++) gray[i] = 0.299 * rgb[i] + 0.587 * rgb[n + i] + 0.114 * rgb[2 * n + i];
}

/* Overlap of cell i of `size` with pixel p of `n_pixel`, in units of 1 / size of a pixel */
static double Overlap(PetscInt64 i, PetscInt64 p, PetscInt64 size, PetscInt64 n_pixel)
{
  const PetscInt64 begin = PetscMax(i * n_pixel, p * size), end = PetscMin((i + 1) * n_pixel, (p + 1) * size);

  return (double)(end - begin);
}

static double CellMean(const FwPixels *pixels, const double plane[], PetscInt64 row, PetscInt64 column)
{
  const PetscInt64 height = pixels->height, width = pixels->width, size = pixels->size;
  double           sum = 0.0;

  for (PetscInt64 h = row * height / size; h * size < (row + 1) * height; h++) {
    double line = 0.0;

    for (PetscInt64 w = column * width / size; w * size < (column + 1) * width; w++)
      line += Overlap(column, w, size, width) * plane[h * width + w];
    sum += Overlap(row, h, size, height) * line;
  }
  return sum / ((double)height * (double)width);
}

static void ResizePlane(const FwPixels *pixels, const double plane[], double x[])
{
  for (PetscInt64 row = 0; row < pixels->size; row++)
    for (PetscInt64 column = 0; column < pixels->size; column++)
      x[row * pixels->size + column] = CellMean(pixels, plane, row, column);
}

void FwPixelsConvert(const FwPixels *pixels, const double raw[], double work[], double x[])
{
  const PetscBool is_same =
    (!pixels->size || (pixels->size == pixels->height && pixels->size == pixels->width)) ? PETSC_TRUE : PETSC_FALSE;
  const double    *planes  = raw;
  const PetscInt64 n_plane = (PetscInt64)pixels->height * pixels->width;
  PetscInt         channels, height, width;

  FwPixelsGetShape(pixels, &channels, &height, &width);
  if (pixels->to_gray) {
    ToGray(pixels, raw, work);
    planes = work;
  }
  if (is_same) {
    memcpy(x, planes, (size_t)(channels * n_plane) * sizeof *x);
  } else {
    for (PetscInt64 c = 0; c < channels; c++)
      ResizePlane(pixels, planes + c * n_plane, x + c * pixels->size * pixels->size);
  }
  for (PetscInt64 i = 0; i < (PetscInt64)channels * height * width; i++) x[i] /= pixels->divisor;
}
