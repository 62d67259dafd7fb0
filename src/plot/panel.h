#pragma once

/** @file
 * A figure as data: panels side by side, each with series of points. Whoever fills one knows no gnuplot, and gnuplot.c
 * knows no physics. Not collective: rank 0 renders.
 */

#include <finwidth/figure.h>

enum { FW_PANEL_MAX = 4, FW_SERIES_MAX = 8, FW_TICK_MAX = 8, FW_LABEL_SIZE = 256 };

typedef enum {
  FW_MARK_LINE,
  FW_MARK_DASHED,
  FW_MARK_FILLED,    /**< filled dots */
  FW_MARK_OPEN,      /**< open circles */
  FW_MARK_ERROR_BAR, /**< small dots with bars of +- `error` */
  FW_MARK_BOX,       /**< boxes from the axis, `box_width` wide */
  FW_MARK_VERTICAL   /**< one dashed line over the whole height at x[0] */
} FwMark;

/** Colours that colour-blind readers can tell apart (Okabe and Ito). */
typedef enum { FW_BLUE, FW_ORANGE, FW_GREEN, FW_GRAY, FW_BLACK } FwColour;

typedef struct {
  FwMark     mark;
  FwColour   colour;
  char       title[FW_LABEL_SIZE]; /* in the legend; "" for no entry */
  PetscInt64 n;
  double    *x, *y, *error;
  double     box_width;
} FwSeries;

typedef struct {
  char      title[FW_LABEL_SIZE], x_label[FW_LABEL_SIZE], y_label[FW_LABEL_SIZE];
  PetscBool is_log_x, is_log_y, has_x_range, has_y_range, is_legend_outside;
  double    x_range[2], y_range[2];
  PetscInt  n_tick; /* names at x = 0, 1, ... instead of numbers */
  char      tick[FW_TICK_MAX][FW_LABEL_SIZE];
  PetscInt  n_series;
  FwSeries  series[FW_SERIES_MAX];
} FwPanel;

typedef struct {
  char     title[FW_LABEL_SIZE];
  PetscInt n_panel;
  FwPanel  panel[FW_PANEL_MAX];
} FwFigure;

/** Add a series; the numbers are copied. `y` and `error` may be NULL where the mark does not use them. */
PetscErrorCode FwPanelAdd(FwPanel *panel, FwMark mark, FwColour colour, const char title[], PetscInt64 n,
                          const double x[], const double y[], const double error[]);

/** A new, empty panel of a figure. Borrowed. */
PetscErrorCode FwFigureAddPanel(FwFigure *figure, FwPanel **panel);

/** Release what FwPanelAdd() copied. */
PetscErrorCode FwFigureClear(FwFigure *figure);

/** Draw a figure into PNG, SVG or PDF by extension, with gnuplot, beside the target and then renamed.
 * @error FW_ERR_INPUT  unknown extension
 * @error FW_ERR_FILE   gnuplot is not installed, or failed: with its first line */
PetscErrorCode FwFigureRender(const FwFigure *figure, const char output[]);

/** FW_ERR_INPUT unless the extension is one that can be drawn. */
PetscErrorCode FwFigureCheckExtension(const char output[]);

/** figure_predict.c: fill the panels that `name` asks for from the group /predict; collective on the store. */
PetscErrorCode FwFigureFill_Predict(FwStore store, const char name[], FwFigure *figure);
