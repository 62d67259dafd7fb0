/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Built-in pictures: a stroke, a ring, a cross or a corner on a noisy ground, drawn from a signed distance.
 *
 * The square of the picture is [-1, 1]^2. Nothing but the seed and the number of an example decides how it looks.
 */

#include "source.h"

#include <finwidth/random.h>

#include <math.h>

enum { DEFAULT_SIDE = 16, N_CLASS = 4, N_DEFAULT_CLASS = 2 };
enum { STROKE, RING, CROSS, CORNER };

/* Chosen so that kernel regression on 500 examples of two classes makes a few errors in 100 */
static const double max_shift = 0.30, min_size = 0.37, max_size = 0.72, min_pen = 0.08, max_pen = 0.18,
                    min_noise = 0.10, max_noise = 0.30;

typedef struct {
  PetscInt class;
  double x, y; /* centre */
  double cosine, sine;
  double size, pen; /* half length or radius; half thickness */
  double noise;     /* standard deviation of a pixel */
} Glyph;

static double Between(double low, double high, double u)
{
  return low + (high - low) * u;
}

static Glyph DrawGlyph(FwStream stream, PetscInt class)
{
  double u[6];
  Glyph  glyph = {.class = class};

  FwStreamUniform(stream, 0, 6, u);
  glyph.x      = Between(-max_shift, max_shift, u[0]);
  glyph.y      = Between(-max_shift, max_shift, u[1]);
  glyph.cosine = cos(2.0 * M_PI * u[2]);
  glyph.sine   = sin(2.0 * M_PI * u[2]);
  glyph.size   = Between(min_size, max_size, u[3]);
  glyph.pen    = Between(min_pen, max_pen, u[4]);
  glyph.noise  = Between(min_noise, max_noise, u[5]);
  return glyph;
}

/* Distance of (x, y) from the segment between (a, 0) and (b, 0) */
static double SegmentDistance(double x, double y, double a, double b)
{
  return hypot(x - fmin(fmax(x, a), b), y);
}

/* Signed distance of a point of the picture from the inked area; negative inside */
static double InkDistance(const Glyph *glyph, double px, double py)
{
  const double x = glyph->cosine * (px - glyph->x) + glyph->sine * (py - glyph->y);
  const double y = glyph->cosine * (py - glyph->y) - glyph->sine * (px - glyph->x);
  const double s = glyph->size;

  switch (glyph->class) {
    case RING:
      return fabs(hypot(x, y) - s) - glyph->pen;
    case CROSS:
      return fmin(SegmentDistance(x, y, -s, s), SegmentDistance(y, x, -s, s)) - glyph->pen;
    case CORNER: /* its two arms, moved so that the middle of the L lies in the centre */
      return fmin(SegmentDistance(x + 0.5 * s, y + 0.5 * s, 0.0, 1.5 * s),
                  SegmentDistance(y + 0.5 * s, x + 0.5 * s, 0.0, 1.5 * s)) -
             glyph->pen;
    default:
      return SegmentDistance(x, y, -s, s) - glyph->pen;
  }
}

/* Grey value: the share of the pixel that is inked, and noise, cut to what a pixel can show */
static double Shade(const Glyph *glyph, PetscInt side, PetscInt row, PetscInt column, double noise)
{
  const double pixel = 2.0 / side;
  const double ink   = 0.5 - InkDistance(glyph, (column + 0.5) * pixel - 1.0, (row + 0.5) * pixel - 1.0) / pixel;

  return fmin(fmax(fmin(fmax(ink, 0.0), 1.0) + glyph->noise * noise, 0.0), 1.0);
}

static PetscErrorCode OpenGlyphs(FwSource *source)
{
  const FwDataKeys *keys = source->keys;
  const PetscInt    side = keys->size ? keys->size : DEFAULT_SIDE;

  PetscFunctionBegin;
  source->info           = (FwSourceInfo){.channels = 1, .height = side, .width = side, .n_label = 1};
  source->info.n_example = source->info.n_training = keys->skip + FwLabelled(keys);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadGlyphs(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  const FwDataKeys *keys    = source->keys;
  const PetscInt    side    = source->info.width;
  const PetscInt64  n_pixel = (PetscInt64)side * side;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i++) {
    const FwStream   shape   = FwStreamCreate(keys->seed, FW_RANDOM_GLYPH, (uint64_t)example[i], 0, 0);
    const FwStream   grain   = FwStreamCreate(keys->seed, FW_RANDOM_GLYPH, (uint64_t)example[i], 1, 0);
    const PetscInt64 n_class = keys->n_class ? keys->n_class : N_DEFAULT_CLASS;
    const PetscInt   place   = (PetscInt)(example[i] % n_class);
    const PetscInt class     = keys->n_class ? keys->classes[place] : place;
    const Glyph glyph        = DrawGlyph(shape, class);
    double     *image        = raw + i * n_pixel;

    FwStreamNormal(grain, 0, (size_t)n_pixel, image);
    for (PetscInt64 p = 0; p < n_pixel; p++)
      image[p] = Shade(&glyph, side, (PetscInt)(p / side), (PetscInt)(p % side), image[p]);
    label[i] = class;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseGlyphs(FwSource *source)
{
  PetscFunctionBegin;
  (void)source;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Glyphs = {.name     = "glyphs",
                                        .is_drawn = PETSC_TRUE,
                                        .n_class  = N_CLASS,
                                        .divisor  = 1.0,
                                        .open     = OpenGlyphs,
                                        .read     = ReadGlyphs,
                                        .close    = CloseGlyphs};
