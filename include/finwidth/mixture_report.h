/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What samples say about the laws: goodness-of-fit tests with a verdict, moments beside their exact values, curves.
 */

#include <finwidth/mixture_experiment.h>
#include <finwidth/record.h>

/** Samplers by name; the first two draw a network of finite widths. */
typedef enum { FW_DRAWN_BRUTE, FW_DRAWN_BARTLETT, FW_DRAWN_LIMIT, FW_DRAWN_COUNT } FwMixtureDrawn;

extern const char *const FwMixtureDrawnNames[FW_DRAWN_COUNT];

enum { FW_TEST_NAME_SIZE = 64 };

/** What is expected of a test: laws that agree, laws so far apart that the number of samples must show it, or neither. */
typedef enum { FW_EXPECT_REJECTED = 0, FW_EXPECT_AGREES = 1, FW_EXPECT_OPEN = -1 } FwExpectation;

typedef struct {
  char          name[FW_TEST_NAME_SIZE]; /**< such as "ks bartlett log_q widths" */
  double        statistic, p_value;      /**< NaN where it does not apply at this point */
  double        distance;                /**< Kolmogorov distance of the two laws, exact or predicted; NaN if not known */
  FwExpectation expected;
} FwMixtureTest;

/** Which samplers and laws a run compares. */
typedef struct {
  PetscBool is_drawn[FW_DRAWN_COUNT];
  PetscBool has_exact; /**< exact laws of the widths too */
  PetscInt  order;     /**< of the moments */
} FwMixtureRequest;

/** Names of the tests of a request, the same at every point of a scan.
 * @param[out] n, name  release `name` with PetscFree() */
PetscErrorCode FwMixtureTestNames(const FwMixtureRequest *request, PetscInt *n, char (**name)[FW_TEST_NAME_SIZE]);

/** One point: laws, inputs, and the rows of its samples. */
typedef struct {
  FwMixtureRequest       request;
  FwMixtureLaw           finite, limit;
  const FwMixtureInputs *inputs;
  PetscInt               n_sample;
  double                *row[FW_DRAWN_COUNT]; /**< [n_sample, D + FW_COLUMN_COUNT]; NULL where not drawn */
} FwMixtureData;

/** Run the tests. On one rank alone.
 * @param[out] test  [n] of FwMixtureTestNames()
 * @error FW_ERR_STOPPED  asked to stop */
PetscErrorCode FwMixtureTests(const FwMixtureData *data, FwMixtureTest test[]);

/** A test is as expected with p > 1e-4 where laws agree and p < 1e-4 where they must be told apart. */
PetscBool FwMixtureTestIsAsExpected(const FwMixtureTest *test);

/** Put everything into a record as the data sets of /mixture. Not collective: on the rank that has the rows. */
PetscErrorCode FwMixtureRecord(const FwMixtureData *data, FwRecord record);
