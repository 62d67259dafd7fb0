/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Random numbers in bulk: Threefry 4x64 of 20 rounds on all lanes of the vector unit.
 *
 * A stream is cut into groups of 64 blocks, 256 words: word w of block b of a group is its number 64 w + b. Every loop
 * over a group keeps to integers, + - * / and to choosing between two values, and nothing is contracted: the same bits on
 * every processor. One word gives one number in all but about three cases in a thousand; these few are worked out one by one,
 * with words from a block of their own.
 */

#include <finwidth/random.h>
#include <finwidth/vector.h>

#include <Random123/threefry.h>
#include <math.h>
#include <string.h>

enum { BLOCKS = 64, GROUP = 4 * BLOCKS };

/* --- words ---------------------------------------------------------------------------------------------------- */

FW_VECTOR_HELPER uint64_t Rotate(uint64_t x, int n)
{
  return (x << n) | (x >> (64 - n));
}

#define MIX(a, b, n) (x##a += x##b, x##b = Rotate(x##b, n) ^ x##a)
#define INJECT(s) \
  (x0 += k[(s) % 5], x1 += k[((s) + 1) % 5], x2 += k[((s) + 2) % 5], x3 += k[((s) + 3) % 5] + (uint64_t)(s))
#define FOUR_ROUNDS_A                                                                                      \
  (MIX(0, 1, 14), MIX(2, 3, 16), MIX(0, 3, 52), MIX(2, 1, 57), MIX(0, 1, 23), MIX(2, 3, 40), MIX(0, 3, 5), \
   MIX(2, 1, 37))
#define FOUR_ROUNDS_B                                                                                       \
  (MIX(0, 1, 25), MIX(2, 3, 33), MIX(0, 3, 46), MIX(2, 1, 12), MIX(0, 1, 58), MIX(2, 3, 22), MIX(0, 3, 32), \
   MIX(2, 1, 32))

/* Salmon et al. 2011, with the rotations of Random123; counter (block, i, j, k), key (seed, purpose, kind, 0) */
FW_VECTOR static void DrawWords(FwStream stream, uint64_t kind, uint64_t group, uint64_t *restrict word)
{
  const uint64_t key[4] = {stream.key[0], stream.key[1], kind, 0}, parity = UINT64_C(0x1BD11BDAA9FC1A22);
  const uint64_t k[5] = {key[0], key[1], key[2], key[3], parity ^ key[0] ^ key[1] ^ key[2] ^ key[3]};
  const uint64_t c1 = stream.counter[0], c2 = stream.counter[1], c3 = stream.counter[2];

  for (int b = 0; b < BLOCKS; b++) {
    uint64_t x0 = group * BLOCKS + (uint64_t)b, x1 = c1, x2 = c2, x3 = c3;

    INJECT(0);
    FOUR_ROUNDS_A;
    INJECT(1);
    FOUR_ROUNDS_B;
    INJECT(2);
    FOUR_ROUNDS_A;
    INJECT(3);
    FOUR_ROUNDS_B;
    INJECT(4);
    FOUR_ROUNDS_A;
    INJECT(5);
    word[b]              = x0;
    word[BLOCKS + b]     = x1;
    word[2 * BLOCKS + b] = x2;
    word[3 * BLOCKS + b] = x3;
  }
}

/* --- uniform numbers ------------------------------------------------------------------------------------------ */

FW_VECTOR_HELPER double AsDouble(uint64_t bits)
{
  double value;

  memcpy(&value, &bits, sizeof value);
  return value;
}

/* The upper 52 bits, centred in their interval of (0, 1) */
FW_VECTOR_HELPER double ToUniform(uint64_t word)
{
  return AsDouble((word >> 12) | UINT64_C(0x3FF0000000000000)) - (1.0 - 0x1p-53);
}

FW_VECTOR static void UniformGroup(const uint64_t *restrict word, double *restrict value)
{
  for (int b = 0; b < GROUP; b++) value[b] = ToUniform(word[b]);
}

/* Words for a second and further attempts at number `number`: a block of their own for each */
static void Retry(FwStream stream, uint64_t number, uint64_t attempt, uint64_t word[4])
{
  const threefry4x64_ctr_t counter = {
    {number, stream.counter[0], stream.counter[1], stream.counter[2]}
  };
  const threefry4x64_key_t key = {
    {stream.key[0], stream.key[1], attempt, 0}
  };
  const threefry4x64_ctr_t drawn = threefry4x64(counter, key);

  for (int w = 0; w < 4; w++) word[w] = drawn.v[w];
}

/* --- normal numbers: the ziggurat of Marsaglia and Tsang 2000, 1024 layers ----------------------------------------- */

enum { LAYER_BITS = 10, LAYERS = 1 << LAYER_BITS };

static const double tail_start = 4.0388498461095045; /* makes the layers' areas equal */

/* Right ends of the layers, from the base strip with the tail to the top; heights of the density there */
static double edge[LAYERS + 1], height[LAYERS + 1];

static void MakeLayers(void)
{
  const double base = exp(-0.5 * tail_start * tail_start);
  const double area = tail_start * base + sqrt(M_PI / 2.0) * erfc(tail_start * M_SQRT1_2);

  if (edge[0] > 0.0) return;
  height[0] = 0.0;
  edge[1]   = tail_start;
  for (int i = 1; i < LAYERS; i++) {
    height[i]   = exp(-0.5 * edge[i] * edge[i]);
    edge[i + 1] = i + 1 < LAYERS ? sqrt(-2.0 * log(height[i] + area / edge[i])) : 0.0;
  }
  height[LAYERS] = 1.0;
  edge[0]        = area / base;
}

/* A word as a point of a layer: its lowest ten bits choose the layer, the upper 52 the place. Inside the layer above
   as well, it lies below the density for certain */
FW_VECTOR_HELPER double Candidate(uint64_t word, double right)
{
  return (2.0 * ToUniform(word) - 1.0) * right;
}

FW_VECTOR static void NormalGroup(const uint64_t *restrict word, double *restrict value, uint64_t *restrict is_open)
{
  for (int b = 0; b < GROUP; b++) {
    const uint64_t layer = word[b] & (LAYERS - 1);

    value[b]   = Candidate(word[b], edge[layer]);
    is_open[b] = fabs(value[b]) < edge[layer + 1] ? 0 : 1;
  }
}

/* Beyond the first edge: Marsaglia's exponential pair */
static double Tail(FwStream stream, uint64_t number, uint64_t attempt, double sign, uint64_t word[4])
{
  for (;;) {
    const double x = -log(ToUniform(word[0])) / tail_start, y = -log(ToUniform(word[1]));

    if (2.0 * y > x * x) return copysign(tail_start + x, sign);
    Retry(stream, number, ++attempt, word);
  }
}

/* A number whose first word has not decided it */
static double NormalSlow(FwStream stream, uint64_t number, uint64_t candidate)
{
  for (uint64_t attempt = 1;; attempt++) {
    const uint64_t layer = candidate & (LAYERS - 1);
    const double   x     = Candidate(candidate, edge[layer]);
    uint64_t       word[4];

    if (fabs(x) < edge[layer + 1]) return x;
    Retry(stream, number, attempt, word);
    if (layer == 0) return Tail(stream, number, attempt, x, word);
    if (height[layer] + ToUniform(word[0]) * (height[layer + 1] - height[layer]) < exp(-0.5 * x * x)) return x;
    candidate = word[2];
  }
}

FW_VECTOR_HELPER int AnyOpen(const uint64_t is_open[8])
{
  uint64_t any = 0;

  for (int i = 0; i < 8; i++) any |= is_open[i];
  return any != 0;
}

static void FillNormal(FwStream stream, uint64_t group, const uint64_t word[], double value[])
{
  uint64_t is_open[GROUP];

  NormalGroup(word, value, is_open);
  for (int b = 0; b < GROUP; b += 8) {
    for (int i = b; i < b + 8 && AnyOpen(is_open + b); i++) {
      if (is_open[i]) value[i] = NormalSlow(stream, group * GROUP + (uint64_t)i, word[i]);
      is_open[i] = 0;
    }
  }
}

/* --- gamma numbers: Marsaglia and Tsang 2000 -------------------------------------------------------- */

/* The uniform number of the acceptance test is known to 12 bits from bits of the word that a normal number has no use
   for (the lowest ten) or feels at the 44th binary digit; the rest is drawn in the few cases in which it matters */
enum { COARSE_BITS = 12 };

static const uint64_t gamma_attempts = UINT64_C(1) << 32, boost_words = UINT64_C(1) << 33; /* kinds of words */

FW_VECTOR_HELPER double Coarse(uint64_t word)
{
  return AsDouble(((word >> LAYER_BITS) & ((1 << COARSE_BITS) - 1)) | UINT64_C(0x4330000000000000)) - 0x1p52;
}

/* With t = z / (3 sqrt d) the acceptance is exp(d (9/2 t^2 + 1 - (1+t)^3 + 3 log(1+t))) >= 1 - 3/4 d t^4 / (1 - |t|) */
FW_VECTOR static void GammaGroup(double d, double scale, const uint64_t *restrict word, const double *restrict normal,
                                 double *restrict value, uint64_t *restrict is_open)
{
  const double unit = 1.0 / (3.0 * sqrt(d)), size_of_one = d * scale;

  for (int b = 0; b < GROUP; b++) {
    const double t = normal[b] * unit, root = 1.0 + t, size = fabs(t), square = t * t;
    const double room = (1.0 - size) * (1.0 - (Coarse(word[b]) + 1.0) * 0x1p-12); /* negative beyond |t| = 1 */

    is_open[b] |= 0.75 * d * (square * square) <= room ? 0 : 2;
    value[b] = size_of_one * (root * root * root);
  }
}

static double GammaSlow(FwStream stream, uint64_t number, double d, uint64_t first_word, double z)
{
  for (uint64_t attempt = 1;; attempt++) {
    const double root = 1.0 + z / (3.0 * sqrt(d)), v = root * root * root;
    FwStream     again = stream;
    uint64_t     word[4];
    double       u;

    Retry(stream, number, gamma_attempts + attempt, word);
    u = attempt == 1 ? (Coarse(first_word) + ToUniform(word[0])) * 0x1p-12 : ToUniform(word[0]);
    if (v > 0.0 && log(u) < 0.5 * z * z + d - d * v + d * log(v)) return d * v;
    again.key[1] += attempt << 32;
    z = NormalSlow(again, number, word[1]);
  }
}

static void FillGamma(FwStream stream, uint64_t group, double d, double scale, const uint64_t word[], double value[])
{
  uint64_t is_open[GROUP];
  double   normal[GROUP];

  NormalGroup(word, normal, is_open);
  GammaGroup(d, scale, word, normal, value, is_open);
  for (int b = 0; b < GROUP; b += 8) {
    for (int i = b; i < b + 8 && AnyOpen(is_open + b); i++) {
      const uint64_t number = group * GROUP + (uint64_t)i;

      if (is_open[i] & 1) normal[i] = NormalSlow(stream, number, word[i]);
      if (is_open[i]) value[i] = scale * GammaSlow(stream, number, d, word[i], normal[i]);
      is_open[i] = 0;
    }
  }
}

/* A gamma number of a shape below 1 from one of shape + 1 */
static void Boost(FwStream stream, uint64_t group, double shape, double value[])
{
  uint64_t word[GROUP];

  DrawWords(stream, boost_words, group, word);
  for (int b = 0; b < GROUP; b++) value[b] *= pow(ToUniform(word[b]), 1.0 / shape);
}

/* --- the streams -------------------------------------------------------------------------------------------------- */

typedef enum { UNIFORM, NORMAL, GAMMA } Kind;

static void FillGroup(FwStream stream, Kind kind, double shape, double scale, uint64_t group, double value[])
{
  uint64_t word[GROUP];

  DrawWords(stream, 0, group, word);
  if (kind == UNIFORM) UniformGroup(word, value);
  if (kind == NORMAL) FillNormal(stream, group, word, value);
  if (kind == GAMMA) FillGamma(stream, group, (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0, scale, word, value);
  if (kind == GAMMA && shape < 1.0) Boost(stream, group, shape, value);
}

/* Whole groups go where they belong, the ends through a buffer */
static void Fill(FwStream stream, Kind kind, double shape, double scale, uint64_t first, size_t n, double value[])
{
  double part[GROUP];

  for (size_t done = 0; done < n;) {
    const uint64_t group = (first + done) / GROUP, skip = (first + done) % GROUP;
    const size_t   many = n - done < GROUP - skip ? n - done : (size_t)(GROUP - skip);

    FillGroup(stream, kind, shape, scale, group, many == GROUP ? value + done : part);
    if (many < GROUP) memcpy(value + done, part + skip, many * sizeof *value);
    done += many;
  }
}

void FwStreamUniformBulk(FwStream stream, uint64_t first, size_t n, double value[])
{
  Fill(stream, UNIFORM, 0.0, 0.0, first, n, value);
}

void FwStreamNormalBulk(FwStream stream, uint64_t first, size_t n, double value[])
{
  MakeLayers();
  Fill(stream, NORMAL, 0.0, 0.0, first, n, value);
}

void FwStreamGammaBulk(FwStream stream, double shape, double scale, uint64_t first, size_t n, double value[])
{
  MakeLayers();
  Fill(stream, GAMMA, shape, scale, first, n, value);
}
