/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Rows of tests/reference/optimal.json: the network and the channel that they are about.
 */

#include "reference.h"

#include <finwidth/activation.h>
#include <finwidth/channel.h>

enum { REFERENCE_DEPTH = 8 };

/** Network of a row. */
typedef struct {
  PetscInt depth, activation[REFERENCE_DEPTH];
  double   gain[REFERENCE_DEPTH];
} ReferenceNetwork;

/** tanh2x is tanh with a gain of 2. */
static inline PetscInt reference_activation(Reference name, double *gain)
{
  const char *text = (const char *)name.node->data.scalar.value;

  *gain = strcmp(text, "tanh2x") ? 1.0 : 2.0;
  if (!strcmp(text, "tanh2x")) return FW_ACTIVATION_TANH;
  for (PetscInt t = 0; t < FW_ACTIVATION_COUNT; t++)
    if (!strcmp(text, FwActivationNames[t])) return t;
  abort();
}

/** One activation, or a list. */
static inline ReferenceNetwork reference_network(Reference row)
{
  Reference        phi     = reference_get(row, "activation");
  ReferenceNetwork network = {.depth = (PetscInt)reference_value(row, "L")};

  for (int l = 0; l < network.depth; l++)
    network.activation[l] = reference_activation(reference_size(phi) ? reference_at(phi, l) : phi, &network.gain[l]);
  return network;
}

static inline FwChannel reference_channel(Reference row)
{
  static const struct {
    const char   *name;
    FwChannelKind kind;
  } names[] = {
    {"gaussian",     FW_CHANNEL_GAUSSIAN},
    {"sign_probit",  FW_CHANNEL_PROBIT  },
    {"logistic",     FW_CHANNEL_LOGISTIC},
    {"abs",          FW_CHANNEL_ABS     },
    {"readout_erf2", FW_CHANNEL_ERF     },
  };
  Reference   channel = reference_get(row, "channel");
  const char *name    = (const char *)reference_get(channel, "kind").node->data.scalar.value;

  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i].name))
      return (FwChannel){names[i].kind, reference_value(channel, "Delta"), reference_value(channel, "beta"), 2.0,
                         PETSC_FALSE};
  abort();
}
