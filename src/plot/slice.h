/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What a figure shows of a scan: the values over one axis x, once for each value of a second axis, the family; further
 * axes stay at their middle value. Of three axes and more the readout's prior is one of those, and a figure may ask for the
 * best over it instead. Collective on the store; every rank holds the same.
 *
 * Axes of length one are not axes. Values are in ascending order along both axes, whatever the order in the file.
 */

#include "panel.h"

typedef struct {
  char        label[FW_LABEL_SIZE]; /* with its unit */
  PetscInt64  n, stride;            /* length; step in the numbers of the points */
  double     *value;                /* [n] ascending; of texts their places 0, 1, ... */
  PetscInt64 *position;             /* [n] of each value in the file */
  char      **text;                 /* [n] in the order of the file; NULL for numbers */
  PetscBool   is_log;               /* better shown on a logarithmic axis */
} FwSliceAxis;

typedef struct {
  FwStore     store;
  char        group[FW_LABEL_SIZE]; /* where the axes are, such as "/predict/" */
  PetscInt64  n_point;              /* of the whole scan */
  PetscInt64  base;                 /* the point at the middle of the other axes */
  double     *converged;            /* [n_point] */
  double     *average_converged;    /* [n_point]; NULL where no average rests on draws */
  FwSliceAxis x, family;            /* family.n = 1 where the scan has one axis */
  FwSliceAxis prior;                /* of the readout, where it is a further axis; else n = 0 */
  PetscBool   is_best;              /* means are the smallest over `prior` */
  char        fixed[FW_LABEL_SIZE]; /* "name = value, ..." of the other axes */
} FwSlice;

/** Choose the slice of a file for which FwFigureIsScan() is true; release with FwSliceClear().
 * @error FW_ERR_FILE  the axes do not fit the arrays */
PetscErrorCode FwSliceFind(FwStore store, FwSlice *slice);

/** The slice of one value that a file of one point has in a group such as "/mixture/"; release with FwSliceClear(). */
PetscErrorCode FwSlicePoint(FwStore store, const char group[], FwSlice *slice);

/** The one or the other. */
PetscErrorCode FwSliceOpen(FwStore store, const char group[], PetscBool is_scan, FwSlice *slice);

/** Whether an axis of several values has a label that begins so. */
PetscBool FwSliceIsAxis(const FwSliceAxis *axis, const char label[]);

/** An array of the slice, [family.n][x.n][n_each] with n_each entries per point; NaN where a point has no result, and
 *  n_each = 0 where the file has no such array. A name that begins with '/' is a path; others are of the slice's group. Release
 *  with PetscFree(). */
PetscErrorCode FwSliceGet(const FwSlice *slice, const char name[], PetscInt64 *n_each, double **value);

/** The same as a mean over the entries of a point (outputs), or its smallest value (is_best), [family.n][x.n]; `has` says whether any is finite. */
PetscErrorCode FwSliceGetMean(const FwSlice *slice, const char name[], PetscBool *has, double **mean);

/** The order parameters of other minima, multiplied over layers, [family.n][x.n][n_minimum]; NaN for none. */
PetscErrorCode FwSliceGetMinima(const FwSlice *slice, PetscInt64 *n_minimum, double **order);

/** Value `i` of an axis as a text. */
void FwSliceFormat(const FwSliceAxis *axis, PetscInt64 i, char text[FW_LABEL_SIZE]);

/** Name the values of an axis, where numbers of gnuplot's choice would not do. */
PetscErrorCode FwSliceTicks(const FwSliceAxis *axis, FwTicks *ticks);

/** Release. */
PetscErrorCode FwSliceClear(FwSlice *slice);

/** figure_sampled.c: put the sampled values of a quantity of a group such as /sample, with error bars, over curve `curve` of a
 *  panel; those that did not converge are crosses. Nothing where the file has none; `title` goes into the legend. */
PetscErrorCode FwPanelAddSampled(const FwSlice *slice, const char group[], const char name[], PetscInt64 curve,
                                 FwColour colour, double shade, const char title[], FwPanel *panel);

/** Whether the file holds sampled values too. */
PetscErrorCode FwSliceHasSamples(const FwSlice *slice, PetscBool *has);

/** figure_sampled.c: where the theory holds, over both axes of a slice: how far the predicted test error is off, and the
 *  same in error bars. */
PetscErrorCode FwFigureFill_Agreement(const FwSlice *slice, FwFigure *figure);

/** figure_map.c: a map of numbers over both axes, [family.n][x.n], which become the figure's; centred: around 0. */
PetscErrorCode FwFigureAddMap(const FwSlice *slice, const char title[], PetscBool is_centred, double *value,
                              FwFigure *figure);

/** figure_scan.c: a panel over the first axis; and its vertical range when all series are there. */
PetscErrorCode FwSlicePanel(const FwSlice *slice, const char title[], const char y_label[], FwFigure *figure,
                            FwPanel **panel);
void           FwPanelScale(PetscBool from_zero, FwPanel *panel);

/** figure_scan.c: values of the second axis that get a curve, with their shades from dark to light; and such a curve. */
typedef struct {
  PetscInt   n;
  PetscInt64 at[FW_CURVE_MAX];
  double     shade[FW_CURVE_MAX];
} FwFamily;

FwFamily       FwSliceFamily(const FwSliceAxis *axis);
PetscErrorCode FwPanelAddShaded(FwPanel *panel, FwMark mark, double shade, const char title[], PetscInt64 n,
                                const double x[], const double y[]);

/** figure_trial.c: measured errors of the experiments of /optimal over the curves of a panel, and those over theory's in a
 *  panel of their own. Nothing where the file has none. */
PetscErrorCode FwPanelAddTrials(const FwSlice *slice, FwPanel *panel);
PetscErrorCode FwFigureFill_Trials(const FwSlice *slice, FwFigure *figure);

/** figure_map.c: heat maps of a slice with a family. */
PetscErrorCode FwFigureFill_Map(const FwSlice *slice, FwFigure *figure);
