/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Smooth functions of one variable, computed where they are asked for: panels of equal width, each an interpolation
 * through 16 Chebyshev points, made at the first visit and kept.
 *
 * With singularities at a distance d of the real line, a panel of width w is exact to (2 d / w + sqrt(1 + 4 d^2 / w^2))
 * to the power -16. Not collective; nothing here is shared between ranks.
 */

#include <finwidth/base.h>

enum { FW_PANEL_POINTS = 16 };

/** Values of n_value functions at the 16 points of a panel: value[i * n_value + k] at x[i]. The context is the owner of
   the panels. */
typedef PetscErrorCode FwPanelFunction(const double x[FW_PANEL_POINTS], double value[], void *context);

typedef struct FwPanelsImpl *FwPanels;

/** Panels from `origin` on in both directions; release with FwPanelsDestroy(). */
PetscErrorCode FwPanelsCreate(double origin, double width, PetscInt n_value, FwPanelFunction *function, void *context,
                              FwPanels *panels);

/** The functions at x; FW_ERR_NUMERICAL where x is absurdly far from the origin. */
PetscErrorCode FwPanelsEvaluate(FwPanels panels, double x, double value[]);

/** Panel of x, its points and the weights of the interpolation at x: value(x) = sum_i weight[i] value(point[i]) */
PetscInt FwPanelsFind(double origin, double width, double x);
void     FwPanelsPoints(double origin, double width, PetscInt panel, double point[FW_PANEL_POINTS]);
void     FwPanelsWeights(double origin, double width, double x, double weight[FW_PANEL_POINTS]);

PetscErrorCode FwPanelsDestroy(FwPanels *panels);
