/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the figures of the group /ansatz share: trained networks of a point or of a slice of a scan, and which of them are
 * curves of a panel. Not collective where not said otherwise.
 */

#include "slice.h"

/** Arrays of a point are [seed][time][...]. A file of one point has a slice of one value. */
typedef struct {
  FwSlice    slice;
  PetscInt64 n_time, n_seed, n_alpha, n_layer;
  double    *time;                      /* [point of the slice][n_time], NaN behind the last */
  double    *alpha;                     /* [n_alpha] */
  double    *layers;                    /* [point of the slice] L */
  double    *collapsed;                 /* [point of the slice] above 1/2 where there is nothing left to compare */
  PetscBool  has_matrices, is_balanced; /* balanced: at all times, up to rounding */
} FwTrained;

/** Which points are curves: along the family, or along x; the other axis stays at one place. */
typedef struct {
  PetscBool          along_family;
  PetscInt64         fixed, n;
  const FwSliceAxis *axis;
} FwTrainedCurves;

/** Curves along the axis of that label, with the other at its last value at which none has collapsed; where there is none along
 *  the family, or along x, with the other at its first. */
FwTrainedCurves FwTrainedAlong(const FwTrained *f, const char label[]);

/** Of a curve: its place in the arrays of the slice, from end to end where there are more points than curves; L, also where
 *  its point has no result; its shade; its name, which for depth is L. */
PetscInt64 FwTrainedPlace(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i);
double     FwTrainedLayers(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i);
double     FwTrainedShade(const FwTrainedCurves *c, PetscInt64 i);
void       FwTrainedName(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, char text[FW_LABEL_SIZE]);

/** A series in the shade of curve i. */
PetscErrorCode FwTrainedAdd(const FwTrainedCurves *c, PetscInt64 i, FwMark mark, const char title[], PetscInt64 n,
                            const double x[], const double y[], FwPanel *panel);

/** A title that says where the other axis stands; and the legend that names the curves. */
PetscErrorCode FwTrainedTitle(const FwTrained *f, const FwTrainedCurves *c, const char title[], FwPanel *panel);
PetscErrorCode FwTrainedLegend(const FwTrainedCurves *c, FwPanel *panel);

/** Value i of an axis as "label = text", which for depth is "L = ..". */
void FwTrainedPoint(const FwSliceAxis *axis, PetscInt64 i, char text[FW_LABEL_SIZE]);

/** Make y a logarithmic axis over all positive numbers, with ticks enough however few decades these are. */
PetscErrorCode FwTrainedLogScale(FwPanel *panel);

/** Make x a logarithmic axis with its values as ticks, where these are few and positive. */
PetscErrorCode FwTrainedLogAxis(const FwSliceAxis *axis, FwPanel *panel);

/** The last time a point has been measured at. */
PetscInt64 FwTrainedLastTime(const FwTrained *f, PetscInt64 place);

/** Mean over runs of entry `e` of [seed][time][n_entry]. */
double FwTrainedMean(const FwTrained *f, const double value[], PetscInt64 n_entry, PetscInt64 place, PetscInt64 t,
                     PetscInt64 e);

/** figure_ansatz_power.c: similarity over alpha; fitted powers over depth and over layers; W_1^T W_1 over the AGOP along its
 *  eigenvectors; a counterexample. */
PetscErrorCode FwTrainedFill_Similarity(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Alpha(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Layers(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Directions(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Case(const FwTrained *f, FwFigure *figure);

/** figure_ansatz_balance.c: imbalance over time; the telescoping bound over time; drift over the step. */
PetscErrorCode FwTrainedFill_Imbalance(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Bound(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Drift(const FwTrained *f, FwFigure *figure);

/** figure_ansatz_mode.c: the modes over the weight decay; the update of W_1 beside W_1 over the scale of the start. */
PetscErrorCode FwTrainedFill_Collapse(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Update(const FwTrained *f, FwFigure *figure);

/** figure_ansatz_matrix.c: maps over two axes; the two matrices, of an image their diagonals on the pixels. The last says
 *  whether the input is an image. Collective on the store. */
PetscErrorCode FwTrainedFill_Map(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedFill_Matrices(const FwTrained *f, FwFigure *figure);
PetscErrorCode FwTrainedIsImage(const FwTrained *f, PetscBool *is_image);
