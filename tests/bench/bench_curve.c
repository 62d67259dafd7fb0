/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What a point of the theory of `finwidth optimal` costs: one alone, and each of 1000 on a learning curve, with the curve
 * itself. Beside it in one run: peer_curve.py, damped iteration of state evolution in NumPy.
 */

#include <finwidth/activation.h>
#include <finwidth/optimal.h>

#include <math.h>
#include <stdio.h>
#include <time.h>

/* Of this processor */
static double Seconds(void)
{
  struct timespec now;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds of one curve from 0.1 to 20 with n points of it; `sum` keeps the work from being left out */
static PetscErrorCode Curve(const FwReduction *r, const FwChannel *channel, PetscInt n, double *seconds, double *sum)
{
  const double   begin = Seconds();
  FwOptimal      optimal;
  FwOptimalPoint point;

  PetscFunctionBegin;
  PetscCall(FwOptimalCreate(r, channel, n > 1 ? 0.1 : 2.0, n > 1 ? 20.001 : 2.0, &optimal));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwOptimalSolve(optimal, n > 1 ? 0.1 * pow(200.0, (double)i / (double)(n - 1)) : 2.0, &point));
    *sum += point.error + point.information_network;
  }
  PetscCall(FwOptimalDestroy(&optimal));
  *seconds = Seconds() - begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The least of several runs: what others do on the machine only adds */
static PetscErrorCode Least(const FwReduction *r, const FwChannel *channel, PetscInt n, double *seconds, double *sum)
{
  PetscFunctionBegin;
  *seconds = INFINITY;
  for (int k = 0; k < 7; k++) {
    double once = 0.0;

    PetscCall(Curve(r, channel, n, &once, sum));
    *seconds = fmin(*seconds, once);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(void)
{
  static const FwChannel channels[] = {
    {FW_CHANNEL_GAUSSIAN, 0.1, 1.0, 1.0},
    {FW_CHANNEL_PROBIT,   0.1, 1.0, 1.0},
    {FW_CHANNEL_LOGISTIC, 0.0, 3.0, 1.0},
    {FW_CHANNEL_ABS,      0.1, 1.0, 1.0},
    {FW_CHANNEL_TANH,     0.1, 1.0, 1.0},
    {FW_CHANNEL_ERF,      0.1, 1.0, 2.0},
  };
  const PetscInt     activation[] = {FW_ACTIVATION_TANH, FW_ACTIVATION_TANH}, n = 1000;
  const double       gain[] = {1.0, 1.0};
  const FwDeepTarget target = {2, activation, gain, 1.0, 1.0};
  FwReduction        r;
  double             sum = 0.0;

  PetscFunctionBegin;
  PetscCall(FwReductionCreate(&target, &r));
  printf("%-10s%18s%28s\n", "channel", "one point alone", "each of 1000 on a curve");
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(channels); c++) {
    double one = 0.0, all = 0.0;

    PetscCall(Least(&r, &channels[c], 1, &one, &sum));
    PetscCall(Least(&r, &channels[c], n, &all, &sum));
    printf("%-10s%15.3g us%25.3g us\n", FwChannelNames[channels[c].kind], 1e6 * one, 1e6 * all / (double)n);
  }
  printf("(sum %.6g)\n", sum);
  PetscCall(FwReductionDestroy(&r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  const PetscErrorCode code = FwStart(argc, argv, NULL);

  return FwFinish(code ? code : Run());
}
