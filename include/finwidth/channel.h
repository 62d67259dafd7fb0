/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * How a label y comes from what a network says, z: the output channel P_out(y | z).
 *
 *     gaussian   y = z + sqrt(noise) zeta
 *     probit     y = sign( z + sqrt(noise) zeta ), noise 0 for sign(z)
 *     logistic   P(y | z) = 1 / (1 + exp(-beta y z)), y = -1 or 1
 *     abs        y = | z + sqrt(noise) zeta |
 *     tanh, erf  y = f(gain z) + sqrt(noise) zeta
 *
 * zeta ~ N(0, 1). Theory and message passing both need the channel seen through a Gaussian belief about z,
 *
 *     Zc(y; w, V) = E_t P_out(y | w + sqrt(V) t),      g = d log Zc / dw.
 *
 * Not collective; nothing is kept.
 */

#include <finwidth/random.h>

/** In the order of the choices of `optimal_channel`. */
typedef enum {
  FW_CHANNEL_GAUSSIAN,
  FW_CHANNEL_PROBIT,
  FW_CHANNEL_LOGISTIC,
  FW_CHANNEL_ABS,
  FW_CHANNEL_TANH,
  FW_CHANNEL_ERF,
  FW_CHANNEL_COUNT
} FwChannelKind;

extern const char *const FwChannelNames[FW_CHANNEL_COUNT];

typedef struct {
  FwChannelKind kind;
  double        noise;    /**< Delta >= 0; not read by logistic */
  double        beta;     /**< > 0, of logistic */
  double        gain;     /**< > 0, of tanh and erf */
  PetscBool     is_mixed; /**< stands in one array with channels of which FwChannelIsDiscrete() says otherwise */
} FwChannel;

/** Check the numbers that the kind reads.
 * @error FW_ERR_INPUT  says which, and what would be right */
PetscErrorCode FwChannelCheck(const FwChannel *channel);

/** Whether labels are -1 and 1. */
PetscBool FwChannelIsDiscrete(const FwChannel *channel);

/** Units of its errors: "label^2" of mean squares, "1" of the probability of a wrong label; of mixed ones both, in words. */
const char *FwChannelErrorUnits(const FwChannel *channel);

/** Whether z and -z give the same labels: nothing is learnt from no information at all (start from a small random one). */
PetscBool FwChannelIsEven(const FwChannel *channel);

/** log Zc, g and dg/dw of n labels, each with its mean w and all with the variance V > 0; NULL for what is not wanted.
 *
 * `log_z` is a density in y, or a probability where labels are discrete. Noiseless tanh and erf invert f; a label on the
 * wrong side of 1 is an error there. Cost per label: 50 ns, logistic, tanh and erf about 1 us.
 *
 * @error FW_ERR_NUMERICAL  V + noise is not positive, or a label that the channel cannot give
 */
PetscErrorCode FwChannelOutput(const FwChannel *channel, PetscInt n, const double y[], const double w[],
                               double variance, double log_z[], double g[], double slope[]);

/** Averages over labels, where z at a new input is m + sqrt(V) t with m ~ N(0, Q) known and t ~ N(0, 1) not:
 *
 *     psi = E_m INT dy Zc log Zc,        square = E g^2 = 2 dpsi/dQ at fixed Q + V.
 *
 * `psi` is minus the entropy of y given m, nats; at V = 0 it may be infinite, and `square` is not given.
 * Cost: gaussian 20 ns, probit 10 us, logistic 50 us, abs 0.3 ms, tanh and erf 0.5 ms (more where noise is small).
 *
 * @error FW_ERR_NUMERICAL  noise of tanh or erf so small, or their gain so large, that the quadrature would be too long
 */
PetscErrorCode FwChannelMoments(const FwChannel *channel, double Q, double variance, double *psi, double *square);

/** Error of the best guess, in the same setting: the probability to miss a label, or the mean squared error of y;
 *  `clean` is that on the label without noise, sign(z), |z| or f(gain z). */
PetscErrorCode FwChannelErrors(const FwChannel *channel, double Q, double variance, double *error, double *clean);

/** Labels of n outputs z; label i takes number first + i of the stream, and no other. `y` may be `z`. */
PetscErrorCode FwChannelSample(const FwChannel *channel, FwStream stream, uint64_t first, PetscInt n, const double z[],
                               double y[]);

/** The best guess of a new label where z has mean w[i] and variance V >= 0: the mean of y, or the likelier of -1 and 1. */
PetscErrorCode FwChannelGuess(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[]);
