/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what one kind of channel provides. The functions are called with numbers that have been checked.
 */

#include <finwidth/channel.h>

typedef struct {
  double log_z, g, slope; /* log Zc, its first and second derivative in w */
} FwSeen;

typedef struct {
  double psi, square; /* as FwChannelMoments() */
} FwMoments;

typedef struct {
  double noisy, clean; /* as FwChannelErrors() */
} FwErrors;

struct FwChannelImpl {
  PetscBool is_discrete, is_even;
  PetscBool has_uniform; /* a label is drawn with a uniform number, else with a normal one */

  PetscErrorCode (*output)(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                           FwSeen seen[]);
  double (*draw)(const FwChannel *channel, double z, double random);
  PetscErrorCode (*guess)(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[]);
  PetscErrorCode (*moments)(const FwChannel *channel, double Q, double variance, FwMoments *moments);
  PetscErrorCode (*errors)(const FwChannel *channel, double Q, double variance, FwErrors *errors);
};

extern const struct FwChannelImpl FwChannel_Gaussian, FwChannel_Probit, FwChannel_Logistic, FwChannel_Abs,
  FwChannel_Readout;

/* The likelier label: that of the sign of w */
PetscErrorCode FwChannelGuessSign(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[]);
