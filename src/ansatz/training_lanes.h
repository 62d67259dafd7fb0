/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: up to eight runs on their way into lanes and back. Lanes without a run repeat the first one.
 */

#include "lanes.h"
#include "training_impl.h"

/** Make the networks of n runs, with their weights and what they learn from. */
PetscErrorCode FwTrainLanesLoad(FwTraining training, PetscInt n, const FwTrainOne one[], FwLaneNet *net);

/** The runs take their weights back, and the networks go. */
PetscErrorCode FwTrainLanesStore(PetscInt n, FwTrainOne one[], FwLaneNet *net);
