/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Fixed points at one alpha, and what is observed there.
 */

#include "optimal_impl.h"

#include <gsl/gsl_sf_log.h>
#include <math.h>

/* --- life --------------------------------------------------------------------------------------------------------------- */

/* A readout without noise says z, as the gaussian channel without noise does */
static PetscBool IsClosed(const FwChannel *channel)
{
  return (PetscBool)(channel->kind == FW_CHANNEL_GAUSSIAN ||
                     ((channel->kind == FW_CHANNEL_TANH || channel->kind == FW_CHANNEL_ERF) && channel->noise == 0.0));
}

static PetscErrorCode CheckRequest(const FwReduction *reduction, const FwChannel *channel, double least, double most)
{
  PetscFunctionBegin;
  PetscCall(FwChannelCheck(channel));
  PetscCheck(least > 0.0 && least <= most && isfinite(most), PETSC_COMM_SELF, FW_ERR_INPUT,
             "alpha from %g to %g: both are to be more than 0", least, most);
  PetscCheck(
    reduction->bias == 0.0 || channel->kind == FW_CHANNEL_GAUSSIAN, PETSC_COMM_SELF, FW_ERR_INPUT,
    "a network that is not odd gives every z a bias of its own, drawn once, on which the labels of the channel %s "
    "depend: want odd activations, or the gaussian channel",
    FwChannelNames[channel->kind]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(FwOptimal optimal)
{
  const FwChannel *channel = &optimal->channel;
  const double     R       = optimal->eta2 + optimal->gamma;
  double           square;

  PetscFunctionBegin;
  optimal->is_even   = FwChannelIsEven(channel);
  optimal->is_closed = IsClosed(channel);
  optimal->is_blind  = (PetscBool)(optimal->eta2 == 0.0);
  optimal->noise     = channel->kind == FW_CHANNEL_LOGISTIC ? 0.0 : channel->noise;
  optimal->is_exact  = (PetscBool)(!FwChannelIsDiscrete(channel) && optimal->gamma + optimal->noise == 0.0);
  if (optimal->is_closed && channel->noise == 0.0)
    optimal->psi_labels = INFINITY;
  else
    PetscCall(FwChannelMoments(channel, R, 0.0, &optimal->psi_labels, &square));
  if (optimal->is_exact)
    optimal->psi_linear = INFINITY;
  else
    PetscCall(FwChannelMoments(channel, optimal->eta2, optimal->gamma, &optimal->psi_linear, &square));
  if (!optimal->is_closed && !optimal->is_blind) PetscCall(FwCurveFind(optimal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalCreate(const FwReduction *reduction, const FwChannel *channel, double least, double most,
                               FwOptimal *optimal)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  *optimal = NULL;
  PetscCall(CheckRequest(reduction, channel, least, most));
  PetscCall(PetscNew(optimal));
  (*optimal)->channel = *channel;
  (*optimal)->eta2    = reduction->eta * reduction->eta;
  (*optimal)->gamma   = reduction->gamma;
  (*optimal)->least   = least;
  (*optimal)->most    = most;
  code                = SetUp(*optimal);
  if (code) PetscCall(FwOptimalDestroy(optimal));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalDestroy(FwOptimal *optimal)
{
  PetscFunctionBegin;
  if (!*optimal) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPanelsDestroy(&(*optimal)->panels));
  PetscCall(PetscFree((*optimal)->t));
  PetscCall(PetscFree((*optimal)->log_alpha));
  PetscCall(PetscFree(*optimal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- fixed points ------------------------------------------------------------------------------------------------------- */

/* q + log(1 - q) <= 0: what the weights that are known have cost */
static double Cost(double overlap, double remainder)
{
  return overlap < 0.5 ? gsl_sf_log_1plusx_mx(-overlap) : overlap + log(remainder);
}

static double FreeEntropy(double alpha, double overlap, double remainder, double psi)
{
  return 0.5 * Cost(overlap, remainder) / alpha + psi;
}

static PetscErrorCode AddFixed(FwOptimalPoint *point, double overlap, double remainder, double free_entropy,
                               PetscBool is_stable)
{
  PetscFunctionBegin;
  PetscCheck(point->n_fixed < FW_FIXED_MAX, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "the replica potential has more than %d stationary points", FW_FIXED_MAX);
  point->fixed[point->n_fixed++] = (FwFixedPoint){overlap, remainder, free_entropy, is_stable};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* E g^2 = 1 / (V + noise): a quadratic equation, of which neither root cancels, nor overflows its discriminant
   (s + alpha - 1)^2 + 4 s = (s + alpha + 1)^2 - 4 alpha */
double FwGaussianOverlap(double alpha, double s, double *remainder)
{
  const double most = 1e300, bounded = fmin(s, most), b = bounded + alpha - 1.0, root = hypot(b, 2.0 * sqrt(bounded));

  *remainder = b > 0.0 ? 2.0 * bounded / (b + root) : 0.5 * (root - b);
  return 2.0 * alpha / (1.0 + alpha + bounded + root);
}

static PetscErrorCode SolveClosed(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  double psi, square, overlap, remainder;

  PetscFunctionBegin;
  overlap = FwGaussianOverlap(alpha, (optimal->gamma + optimal->noise) / optimal->eta2, &remainder);
  PetscCall(FwChannelMoments(&optimal->channel, optimal->eta2 * overlap, optimal->gamma + optimal->eta2 * remainder,
                             &psi, &square));
  PetscCall(AddFixed(point, overlap, remainder,
                     remainder > 0.0 ? FreeEntropy(alpha, overlap, remainder, psi) : INFINITY, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddZero(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  double psi, square;

  PetscFunctionBegin;
  PetscCall(FwChannelMoments(&optimal->channel, 0.0, optimal->eta2 + optimal->gamma, &psi, &square));
  PetscCall(AddFixed(point, 0.0, 1.0, psi, (PetscBool)(optimal->is_blind || alpha <= optimal->alpha_zero)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveOnCurve(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  const double level = log(alpha), *height = optimal->log_alpha;
  FwCurvePoint at;
  double       t;

  PetscFunctionBegin;
  if (optimal->is_even) PetscCall(AddZero(optimal, alpha, point));
  for (PetscInt k = 0; k + 1 < optimal->n_knot; k++) {
    if ((height[k] < level) == (height[k + 1] < level)) continue;
    PetscCall(FwCurveInvert(optimal, k, level, &t));
    PetscCall(FwCurveEvaluate(optimal, t, &at));
    PetscCall(AddFixed(point, at.overlap, at.remainder, FreeEntropy(alpha, at.overlap, at.remainder, at.psi),
                       (PetscBool)(height[k] < height[k + 1])));
  }
  if (optimal->is_exact && alpha > 1.0) PetscCall(AddFixed(point, 1.0, 0.0, INFINITY, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From no information the overlap grows to the first fixed point above 0, unless 0 is stable */
static void Choose(FwOptimalPoint *point)
{
  point->best = 0;
  for (PetscInt i = 1; i < point->n_fixed; i++)
    if (point->fixed[i].free_entropy > point->fixed[point->best].free_entropy) point->best = i;
  point->amp = point->n_fixed > 1 && !point->fixed[0].is_stable ? 1 : 0;
}

/* --- what is observed ----------------------------------------------------------------------------------------------------- */

static PetscErrorCode ErrorsAt(FwOptimal optimal, const FwFixedPoint *fixed, double *error, double *clean)
{
  PetscFunctionBegin;
  PetscCall(FwChannelErrors(&optimal->channel, optimal->eta2 * fixed->overlap,
                            optimal->gamma + optimal->eta2 * fixed->remainder, error, clean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the gaussian channel the logarithms are put together: psi(R, 0) - psi(Q, V) = log(1 + V / noise) / 2. Others differ by
   rounding where labels are almost all noise */
static void Inform(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  const FwFixedPoint *best = &point->fixed[point->best];
  const double        cost = -0.5 * Cost(best->overlap, best->remainder) / alpha;

  point->free_entropy = best->free_entropy;
  if (optimal->channel.kind == FW_CHANNEL_GAUSSIAN && best->remainder > 0.0) {
    const double unknown = optimal->eta2 * best->remainder;

    point->information_network = optimal->noise > 0.0 ? cost + 0.5 * log1p(point->mmse / optimal->noise) : INFINITY;
    point->information_linear =
      optimal->is_exact ? INFINITY : cost + 0.5 * log1p(unknown / (optimal->gamma + optimal->noise));
    return;
  }
  point->information_network =
    isinf(optimal->psi_labels) ? INFINITY : fmax(0.0, optimal->psi_labels - best->free_entropy);
  point->information_linear =
    isinf(optimal->psi_linear) ? INFINITY : fmax(0.0, optimal->psi_linear - best->free_entropy);
}

static PetscErrorCode Observe(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  const FwFixedPoint *best        = &point->fixed[point->best];
  const PetscBool     is_gaussian = (PetscBool)(optimal->channel.kind == FW_CHANNEL_GAUSSIAN);
  double              clean;

  PetscFunctionBegin;
  point->mmse_weights  = best->remainder;
  point->mmse          = optimal->gamma + optimal->eta2 * best->remainder;
  point->ridge_penalty = is_gaussian && !optimal->is_blind ? (optimal->gamma + optimal->noise) / optimal->eta2 : NAN;
  point->mmse_train =
    is_gaussian ? (optimal->noise > 0.0 ? point->mmse / (1.0 + point->mmse / optimal->noise) : 0.0) : NAN;
  PetscCall(ErrorsAt(optimal, best, &point->error, &point->error_clean));
  point->error_amp = point->error;
  if (point->amp != point->best) PetscCall(ErrorsAt(optimal, &point->fixed[point->amp], &point->error_amp, &clean));
  Inform(optimal, alpha, point);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalFixedPoints(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  PetscFunctionBegin;
  point->n_fixed = 0;
  if (optimal->is_blind)
    PetscCall(AddZero(optimal, alpha, point));
  else
    PetscCall(optimal->is_closed ? SolveClosed(optimal, alpha, point) : SolveOnCurve(optimal, alpha, point));
  PetscCheck(point->n_fixed, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "no stationary point of the replica potential was found at alpha %g", alpha);
  Choose(point);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalSolve(FwOptimal optimal, double alpha, FwOptimalPoint *point)
{
  PetscFunctionBegin;
  PetscCheck(alpha >= optimal->least && alpha <= optimal->most, PETSC_COMM_SELF, FW_ERR_INPUT,
             "alpha %g is not between %g and %g", alpha, optimal->least, optimal->most);
  PetscCall(FwOptimalFixedPoints(optimal, alpha, point));
  PetscCall(Observe(optimal, alpha, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the curve as a whole --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwOptimalStep(FwOptimal optimal, double alpha, double overlap, double *next)
{
  double psi, square, known;

  PetscFunctionBegin;
  PetscCall(FwChannelMoments(&optimal->channel, optimal->eta2 * overlap,
                             optimal->gamma + optimal->eta2 * (1.0 - overlap), &psi, &square));
  known = alpha * optimal->eta2 * square;
  *next = isinf(known) ? 1.0 : known / (1.0 + known);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalProfile(FwOptimal optimal, double alpha, PetscInt n, const double t[], double curve[],
                                double potential[])
{
  FwCurvePoint at;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwCurveCompute(optimal, t[i], &at));
    curve[i]     = exp(at.log_alpha);
    potential[i] = alpha * FreeEntropy(alpha, at.overlap, at.remainder, at.psi);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
