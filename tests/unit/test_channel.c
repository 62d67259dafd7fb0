/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Output channels: normalisation, derivatives, limits, labels drawn.
 * ranks: 1
 */

#include <finwidth/channel.h>
#include "../support/collective_assert.h"

static const FwChannel channels[] = {
  {FW_CHANNEL_GAUSSIAN, 0.3,  1.0,  1.0, PETSC_FALSE},
  {FW_CHANNEL_PROBIT,   0.0,  1.0,  1.0, PETSC_FALSE},
  {FW_CHANNEL_PROBIT,   0.2,  1.0,  1.0, PETSC_FALSE},
  {FW_CHANNEL_LOGISTIC, 0.0,  1.5,  1.0, PETSC_FALSE},
  {FW_CHANNEL_LOGISTIC, 0.0,  60.0, 1.0, PETSC_FALSE},
  {FW_CHANNEL_ABS,      0.0,  1.0,  1.0, PETSC_FALSE},
  {FW_CHANNEL_ABS,      0.1,  1.0,  1.0, PETSC_FALSE},
  {FW_CHANNEL_TANH,     0.1,  1.0,  1.5, PETSC_FALSE},
  {FW_CHANNEL_ERF,      0.02, 1.0,  2.0, PETSC_FALSE},
  {FW_CHANNEL_ERF,      1e-4, 1.0,  2.0, PETSC_FALSE},
  {FW_CHANNEL_TANH,     0.0,  1.0,  1.5, PETSC_FALSE},
  {FW_CHANNEL_ERF,      0.0,  1.0,  0.7, PETSC_FALSE},
};

enum { CHANNELS = PETSC_STATIC_ARRAY_LENGTH(channels) };

static double log_z(const FwChannel *channel, double y, double w, double variance)
{
  double value;

  TestCall(FwChannelOutput(channel, 1, &y, &w, variance, &value, NULL, NULL));
  return value;
}

/* Labels that a channel can give: equal steps with their length, both signs with 1, or the inner points of (-1, 1) */
static int labels(const FwChannel *channel, int n, double y[], double weight[])
{
  const PetscBool is_inverted =
    (PetscBool)(channel->noise == 0.0 && (channel->kind == FW_CHANNEL_TANH || channel->kind == FW_CHANNEL_ERF));

  if (FwChannelIsDiscrete(channel)) {
    y[0] = -1.0, y[1] = 1.0;
    weight[0] = weight[1] = 1.0;
    return 2;
  }
  for (int i = 0; i < n; i++) {
    const double from = channel->kind == FW_CHANNEL_ABS ? 0.0 : -6.0, t = from + (6.0 - from) * (i + 0.5) / n;

    y[i]      = is_inverted ? tanh(t) : t;
    weight[i] = (6.0 - from) / n * (is_inverted ? 1.0 - y[i] * y[i] : 1.0);
  }
  return n;
}

static void labels_have_probability_one(void **state)
{
  enum { N = 3000 };
  static double y[N], weight[N];

  (void)state;
  for (int c = 0; c < CHANNELS; c++)
    for (double w = -0.9; w < 1.0; w += 0.6) {
      const int n   = labels(&channels[c], N, y, weight);
      double    sum = 0.0;

      for (int i = 0; i < n; i++) sum += weight[i] * exp(log_z(&channels[c], y[i], w, 0.4));
      assert_close(sum, 1.0, n == 2 ? 1e-14 : 1e-6);
    }
}

static void derivatives_are_those_of_log_z(void **state)
{
  const double h = 1e-3;

  (void)state;
  for (int c = 0; c < CHANNELS; c++)
    for (double w = -1.1; w < 1.2; w += 0.4)
      for (double y = -0.95; y < 1.0; y += 1.9) {
        const double label = channels[c].kind == FW_CHANNEL_ABS  ? y + 1.0
                             : FwChannelIsDiscrete(&channels[c]) ? (y > 0 ? 1 : -1)
                                                                 : y;
        double       value[7], g, slope;

        for (int k = 0; k < 7; k++) value[k] = log_z(&channels[c], label, w + (k - 3) * h, 0.5);
        TestCall(FwChannelOutput(&channels[c], 1, &label, &w, 0.5, NULL, &g, &slope));
        assert_close(g, (45.0 * (value[4] - value[2]) - 9.0 * (value[5] - value[1]) + value[6] - value[0]) / (60.0 * h),
                     1e-8);
        assert_close(slope,
                     (270.0 * (value[4] + value[2]) - 27.0 * (value[5] + value[1]) + 2.0 * (value[6] + value[0]) -
                      490.0 * value[3]) /
                       (180.0 * h * h),
                     1e-6);
      }
}

/* What comes of labels one by one: -sum Zc log Zc, E g^2 and the error of the guess, over m ~ N(0, Q) in equal steps */
typedef struct {
  double psi, square, error;
} Averages;

static Averages average_by_labels(const FwChannel *channel, double Q, double variance)
{
  enum { N = 1200, M = 40 };
  static double y[N], weight[N], w[N], log_zc[N], g[N];
  Averages      sum = {0};

  for (int k = -M; k <= M; k++) {
    const double u = 0.15 * k, of_m = 0.15 * exp(-0.5 * u * u) / sqrt(2.0 * M_PI), m = sqrt(Q) * u;
    const int    n = labels(channel, N, y, weight);
    double       guess;

    for (int i = 0; i < n; i++) w[i] = m;
    TestCall(FwChannelOutput(channel, n, y, w, variance, log_zc, g, NULL));
    TestCall(FwChannelGuess(channel, 1, &m, variance, &guess));
    for (int i = 0; i < n; i++) {
      const double zc = of_m * weight[i] * exp(log_zc[i]);

      sum.psi += zc * log_zc[i];
      sum.square += zc * g[i] * g[i];
      sum.error += zc * (n == 2 ? (y[i] != guess) : (y[i] - guess) * (y[i] - guess));
    }
  }
  return sum;
}

static void averages_are_those_of_labels_one_by_one(void **state)
{
  const double Q = 0.3, variance = 0.25;

  (void)state;
  for (int c = 0; c < CHANNELS; c++) {
    const Averages expected = average_by_labels(&channels[c], Q, variance);
    double         psi, square, error, clean;

    if (channels[c].noise == 1e-4) continue; /* labels in steps that are too wide */
    TestCall(FwChannelMoments(&channels[c], Q, variance, &psi, &square));
    TestCall(FwChannelErrors(&channels[c], Q, variance, &error, &clean));
    assert_close(psi, expected.psi, 2e-4); /* the end of the labels without noise at +-1 */
    assert_close(square / expected.square, 1.0, 2e-4);
    assert_close(error / expected.error, 1.0, FwChannelIsDiscrete(&channels[c]) ? 5e-3 : 2e-4); /* a kink at m = 0 */
  }
}

/* Steep: a logistic channel becomes the sign, a readout erf(gain z) does, and little noise is none */
static void limits_agree(void **state)
{
  const FwChannel sign   = {FW_CHANNEL_PROBIT, 0.0, 1.0, 1.0, PETSC_FALSE},
                  steep  = {FW_CHANNEL_LOGISTIC, 0.0, 1e5, 1.0, PETSC_FALSE},
                  clean  = {FW_CHANNEL_TANH, 0.0, 1.0, 1.2, PETSC_FALSE},
                  quiet  = {FW_CHANNEL_TANH, 1e-7, 1.0, 1.2, PETSC_FALSE},
                  probit = {FW_CHANNEL_PROBIT, 0.3, 1.0, 1.0, PETSC_FALSE};

  (void)state;
  assert_close(log_z(&steep, 1.0, -0.7, 0.4), log_z(&sign, 1.0, -0.7, 0.4), 1e-8);
  assert_close(log_z(&quiet, 0.4, 0.1, 0.4), log_z(&clean, 0.4, 0.1, 0.4), 1e-5);
  assert_close(log_z(&probit, 1.0, 0.2, 0.7), log_z(&sign, 1.0, 0.2, 1.0), 1e-15);
  /* far out: log Phi(-40), and on the other side nothing is left */
  assert_close(log_z(&sign, 1.0, -40.0, 1.0), -804.608442013754, 1e-12);
  for (double w = 1.0; w < 1e200; w *= 1e3) {
    const double y = 1.0;
    double       g, slope;

    assert_close(log_z(&sign, y, w, 1.0) <= 0.0, 1, 0.0);
    TestCall(FwChannelOutput(&sign, 1, &y, &w, 1.0, NULL, &g, &slope));
    assert_close(g < 0.3 && g >= 0.0 && slope <= 0.0, 1, 0.0);
  }
}

/* By quadrature up to beta sqrt(V) = 1e4, above it as a probit channel: the two meet, and the end is the sign */
static void a_steep_logistic_channel_is_a_sign_with_little_noise(void **state)
{
  const FwChannel below  = {FW_CHANNEL_LOGISTIC, 0.0, 9.9e3, 1.0, PETSC_FALSE},
                  probit = {FW_CHANNEL_PROBIT, M_PI * M_PI / 3.0 / (9.9e3 * 9.9e3), 1.0, 1.0, PETSC_FALSE},
                  sign   = {FW_CHANNEL_PROBIT, 0.0, 1.0, 1.0, PETSC_FALSE};
  double psi[2], square[2], error[2], clean[2];

  (void)state;
  assert_close(log_z(&below, -1.0, 0.7, 1.0), log_z(&probit, -1.0, 0.7, 1.0), 1e-13);
  for (double Q = 1e-6; Q < 1e4; Q *= 37.0) {
    TestCall(FwChannelMoments(&below, Q, 1.0, &psi[0], &square[0]));
    TestCall(FwChannelMoments(&probit, Q, 1.0, &psi[1], &square[1]));
    TestCall(FwChannelErrors(&below, Q, 1.0, &error[0], &clean[0]));
    TestCall(FwChannelErrors(&probit, Q, 1.0, &error[1], &clean[1]));
    assert_close(psi[0], psi[1], 2e-13);
    assert_close(square[0] / square[1], 1.0, 2e-12);
    assert_close(error[0], error[1], 1e-13);
  }
  for (double beta = 1e10; beta <= 1e100; beta *= 1e15) {
    const FwChannel steep = {FW_CHANNEL_LOGISTIC, 0.0, beta, 1.0, PETSC_FALSE};

    TestCall(FwChannelMoments(&steep, 0.4, 0.6, &psi[0], &square[0]));
    TestCall(FwChannelMoments(&sign, 0.4, 0.6, &psi[1], &square[1]));
    assert_close(psi[0], psi[1], 1e-15);
    assert_close(square[0], square[1], 1e-15);
    TestCall(FwChannelMoments(&steep, 1.0, 0.0, &psi[0], &square[0])); /* z is known: so is its sign */
    assert_close(psi[0], 0.0, 2.0 / beta);
  }
}

/* The guess is the mean of what is drawn with z ~ N(w, V): 5 standard errors, and a stream in pieces */
static void labels_drawn_have_the_guessed_mean(void **state)
{
  enum { N = 20000 };
  static double z[N], y[N], again[N];
  const double  w = 0.35, variance = 0.5;

  (void)state;
  for (int c = 0; c < CHANNELS; c++) {
    const FwStream stream = FwStreamCreate(7, FW_RANDOM_TEACHER_NOISE, (uint64_t)c, 0, 0);
    double         mean = 0.0, square = 0.0, guess;

    FwStreamNormal(FwStreamCreate(7, FW_RANDOM_TEACHER_INPUT, (uint64_t)c, 0, 0), 0, N, z);
    for (int i = 0; i < N; i++) z[i] = w + sqrt(variance) * z[i];
    TestCall(FwChannelSample(&channels[c], stream, 0, N, z, y));
    TestCall(FwChannelSample(&channels[c], stream, 0, 1001, z, again));
    TestCall(FwChannelSample(&channels[c], stream, 1001, N - 1001, z + 1001, again + 1001));
    assert_memory_equal(y, again, sizeof y);
    TestCall(FwChannelGuess(&channels[c], 1, &w, variance, &guess));
    for (int i = 0; i < N; i++) {
      const double label = FwChannelIsDiscrete(&channels[c]) ? exp(log_z(&channels[c], y[i], w, variance)) : y[i];

      mean += label / N;
      square += label * label / N;
    }
    if (FwChannelIsDiscrete(&channels[c])) { /* the mean of p is p^2 + (1-p)^2 */
      const double p = exp(log_z(&channels[c], 1.0, w, variance));

      assert_close(guess, 1.0, 0.0);
      guess = p * p + (1.0 - p) * (1.0 - p);
    }
    assert_close((mean - guess) / sqrt((square - mean * mean) / N), 0.0, 5.0);
  }
}

static void bad_channels_and_labels_are_refused(void **state)
{
  const FwChannel abs   = {FW_CHANNEL_ABS, 0.0, 1.0, 1.0, PETSC_FALSE},
                  clean = {FW_CHANNEL_TANH, 0.0, 1.0, 1.0, PETSC_FALSE};
  const double minus = -1.0, two = 2.0, w = 0.0;
  double       g;

  (void)state;
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_GAUSSIAN, -0.1, 1.0, 1.0, PETSC_FALSE}), FW_ERR_INPUT);
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_LOGISTIC, -0.1, 0.0, 1.0, PETSC_FALSE}), FW_ERR_INPUT);
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_LOGISTIC, 0.1, 1e-300, 0.0, PETSC_FALSE}), FW_ERR_INPUT);
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_LOGISTIC, 0.1, 1e300, 0.0, PETSC_FALSE}), FW_ERR_INPUT);
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_ERF, 0.1, 0.0, 0.0, PETSC_FALSE}), FW_ERR_INPUT);
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_COUNT, 0.1, 0.0, 0.0, PETSC_FALSE}), FW_ERR_INPUT);
  assert_int_equal(FwChannelCheck(&(FwChannel){FW_CHANNEL_LOGISTIC, -0.1, 1.0, 0.0, PETSC_FALSE}), 0);
  assert_int_equal(FwChannelOutput(&abs, 1, &minus, &w, 1.0, NULL, &g, NULL), FW_ERR_NUMERICAL);
  assert_int_equal(FwChannelOutput(&clean, 1, &two, &w, 1.0, NULL, &g, NULL), FW_ERR_NUMERICAL);
  assert_int_equal(FwChannelOutput(&abs, 1, &two, &w, 0.0, NULL, &g, NULL), FW_ERR_NUMERICAL);
  FwErrorClear();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(labels_have_probability_one),
    cmocka_unit_test(derivatives_are_those_of_log_z),
    cmocka_unit_test(averages_are_those_of_labels_one_by_one),
    cmocka_unit_test(limits_agree),
    cmocka_unit_test(a_steep_logistic_channel_is_a_sign_with_little_noise),
    cmocka_unit_test(labels_drawn_have_the_guessed_mean),
    cmocka_unit_test(bad_channels_and_labels_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("channel", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
