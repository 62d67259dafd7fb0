/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A figure as data: panels side by side, each with series of points. Whoever fills one knows no gnuplot, and gnuplot.c
 * knows no physics. Not collective: rank 0 renders.
 */

#include <finwidth/figure.h>

enum { FW_PANEL_MAX = 8, FW_SERIES_MAX = 32, FW_CURVE_MAX = 8, FW_TICK_MAX = 24, FW_LABEL_SIZE = 256 };

typedef enum {
  FW_MARK_LINE,
  FW_MARK_DASHED,
  FW_MARK_THIN,      /**< a thin line */
  FW_MARK_LINE_DOT,  /**< a line through filled dots */
  FW_MARK_FILLED,    /**< filled dots */
  FW_MARK_OPEN,      /**< open circles */
  FW_MARK_CROSS,     /**< small crosses */
  FW_MARK_ERROR_BAR, /**< small dots with bars of +- `error` */
  FW_MARK_SAMPLED,   /**< open circles with bars of +- `error`, few and to be seen */
  FW_MARK_BOX,       /**< boxes from the axis, `box_width` wide */
  FW_MARK_VERTICAL   /**< one dashed line over the whole height at x[0] */
} FwMark;

/** Colours that colour-blind readers can tell apart (Okabe and Ito); FW_SHADE takes `shade` of the series instead. */
typedef enum { FW_BLUE, FW_ORANGE, FW_GREEN, FW_GRAY, FW_BLACK, FW_SHADE } FwColour;

typedef struct {
  FwMark     mark;
  FwColour   colour;
  char       title[FW_LABEL_SIZE]; /* in the legend; "" for no entry */
  PetscInt64 n;
  double    *x, *y, *error;
  double     box_width;
  double     shade; /* 0 (dark) to 1 (light) on the sequential palette */
} FwSeries;

/** Names at places of an axis, instead of numbers. */
typedef struct {
  PetscInt n;
  double   at[FW_TICK_MAX];
  char     text[FW_TICK_MAX][FW_LABEL_SIZE];
} FwTicks;

/** Coloured cells below the series; NaN leaves a gap. */
typedef struct {
  PetscInt64 n_x, n_y;           /* 0 for no map */
  double    *x_edge, *y_edge;    /* [n_x + 1], [n_y + 1] ascending */
  double    *value;              /* [n_y][n_x] */
  PetscBool  is_log, is_centred; /* centred: a diverging palette around 0 */
  double     range[2];
} FwMap;

typedef struct {
  char      title[FW_LABEL_SIZE], x_label[FW_LABEL_SIZE], y_label[FW_LABEL_SIZE];
  char      legend_title[FW_LABEL_SIZE]; /* for a legend on the right */
  PetscBool is_log_x, is_log_y, has_x_range, has_y_range, is_legend_outside, is_legend_right;
  PetscBool is_square;   /* cells of a map have equal sides */
  PetscBool has_numbers; /* written into the cells of a map, and above boxes */
  double    x_range[2], y_range[2];
  double    x_step; /* between ticks; 0 for gnuplot's choice */
  FwTicks   x_tick, y_tick;
  FwMap     map;
  PetscInt  n_series;
  FwSeries  series[FW_SERIES_MAX];
} FwPanel;

typedef struct {
  char     title[FW_LABEL_SIZE];
  PetscInt n_panel;
  PetscInt n_column; /* panels in a row; 0 for all */
  FwPanel  panel[FW_PANEL_MAX];
} FwFigure;

/** Add a series; the numbers are copied. `y` and `error` may be NULL where the mark does not use them. */
PetscErrorCode FwPanelAdd(FwPanel *panel, FwMark mark, FwColour colour, const char title[], PetscInt64 n,
                          const double x[], const double y[], const double error[]);

/** A new, empty panel of a figure. Borrowed. */
PetscErrorCode FwFigureAddPanel(FwFigure *figure, FwPanel **panel);

/** Give an axis a name at a place; beyond FW_TICK_MAX it is left out. */
PetscErrorCode FwTicksAdd(FwTicks *ticks, double at, const char text[]);

/** Name the places 0, 1, .. n - 1 of an axis, thinned out where they would not fit. */
PetscErrorCode FwTicksAddNumbers(FwTicks *ticks, PetscInt64 n);

/** Make a panel an image of square cells, its first row on top, with colours around 0.
 * @param[in] value  [n_y][n_x] becomes the panel's */
PetscErrorCode FwPanelSetGrid(FwPanel *panel, PetscInt64 n_x, PetscInt64 n_y, double *value);

/** Heights of boxes from zero, or in decades where a training error of 1e-6 beside a test error of 0.3 would not be seen; each
 * box gets its number. */
PetscErrorCode FwPanelFitBoxes(FwPanel *panel);

/** A figure that a file may give. */
typedef struct {
  const char *name;
  PetscBool   is_available;   /* the file has what it needs */
  PetscBool   is_in_overview; /* is part of it, where available */
} FwFigureChoice;

/** Add the panels of figure `f` of a table from what was found in a file. Collective on the store. */
typedef PetscErrorCode FwFigureFill(const void *found, PetscInt f, FwFigure *figure);

/** Whether there is something to draw.
 * @param[in] names  ", NAME" of each figure that the file can give
 * @error FW_ERR_INPUT  there is not: says what the file can give */
PetscErrorCode FwFigureCheckFilled(const FwFigure *figure, const char name[], const char names[]);

/** Fill the figure of that name, or all of the overview (NULL or "overview"), in rows of about equal length.
 * @param[in] choice  [n] the table, in the order of the overview
 * @error FW_ERR_INPUT  the file cannot give it: names those that it can */
PetscErrorCode FwFigureFillChosen(const char name[], PetscInt n, const FwFigureChoice choice[], FwFigureFill *fill,
                                  const void *found, FwFigure *figure);

/** Release what the panels hold. */
PetscErrorCode FwFigureClear(FwFigure *figure);

/** Draw a figure into PNG, SVG or PDF by extension, with gnuplot, beside the target and then renamed.
 * @error FW_ERR_INPUT  unknown extension
 * @error FW_ERR_FILE   gnuplot is not installed, or failed: with its first line */
PetscErrorCode FwFigureRender(const FwFigure *figure, const char output[]);

/** FW_ERR_INPUT unless the extension is one that can be drawn. */
PetscErrorCode FwFigureCheckExtension(const char output[]);

/** Titles of a panel. */
PetscErrorCode FwPanelDescribe(FwPanel *panel, const char title[], const char x_label[], const char y_label[]);

/** slice.c: whether /predict holds more points than one. Collective on the store. */
PetscErrorCode FwFigureIsScan(FwStore store, PetscBool *is_scan);

/** figure_scan.c: as FwFigureFill_Predict() for a scan. */
PetscErrorCode FwFigureFill_Scan(FwStore store, const char name[], FwFigure *figure);

/** figure_posterior.c: the same from the group /mixture/posterior, of one point or a scan; none where it has no figure of
 *  that name. */
PetscErrorCode FwFigureFill_Posterior(FwStore store, const char name[], FwFigure *figure);

/** figure_predict.c: fill the panels that `name` asks for from the group /predict; collective on the store. */
PetscErrorCode FwFigureFill_Predict(FwStore store, const char name[], FwFigure *figure);

/** figure_prediction.c: what is predicted for test examples; collective on the store. */
PetscErrorCode FwFigureFill_Prediction(FwStore store, FwPanel *panel);

/** figure_outputs.c: the order parameter of several outputs as an image, and their test errors. Collective on the store. */
PetscErrorCode FwFigureFill_Order(FwStore store, FwPanel *panel);
PetscErrorCode FwFigureFill_Outputs(FwStore store, FwPanel *panel);

/** figure_patch.c: the order parameter between patches, and its diagonal on the image; collective on the store. */
PetscErrorCode FwFigureFill_OrderMatrix(FwStore store, FwPanel *panel);
PetscErrorCode FwFigureFill_OrderGrid(FwStore store, FwPanel *panel);
PetscErrorCode FwFigureFill_LearntMatrix(FwStore store, FwPanel *panel); /**< learnt, over its mean diagonal */

/** The same file: entries of the order parameter as sampled, against those predicted. Collective on the store. */
PetscErrorCode FwFigureFill_OrderSampled(FwStore store, FwPanel *panel);

/** figure_ansatz.c and its like: the panels of the group /ansatz, of a point or of a scan. Collective on the store. */
PetscErrorCode FwFigureFill_Ansatz(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure);

/** figure_mixture.c: the panels of the group /mixture, of a point or of a scan. Collective on the store. */
PetscErrorCode FwFigureFill_Mixture(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure);

/** figure_trial.c: message passing of one point of /optimal beside state evolution; no panel where the file has none.
 *  Collective on the store. */
PetscErrorCode FwFigureFill_Trajectory(FwStore store, FwFigure *figure);

/** figure_optimal.c: the panels of the group /optimal, of a point or of a scan. Collective on the store. */
PetscErrorCode FwFigureFill_Optimal(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure);
