/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * exp, erf, tanh, sin and log(1 + t) without a branch and without the mathematics library, so that loops over them
 * vectorise and give the same bits at every vector width (vector.h). Errors are a few units in the last place; NaN and
 * what overflows come through as NaN or as the limit.
 *
 * Rational approximations of erf and tanh: Moshier, Cephes (ndtr.c, tanh.c); reduction by pi/2 in three parts: Cody & Waite.
 */

#include <finwidth/vector.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/** Adding it rounds to an integer, which is then in the low bits. */
#define FW_ROUNDER 0x1.8p52

FW_VECTOR_HELPER uint64_t BitsOf(double x)
{
  uint64_t bits;

  memcpy(&bits, &x, sizeof bits);
  return bits;
}

FW_VECTOR_HELPER double FromBits(uint64_t bits)
{
  double x;

  memcpy(&x, &bits, sizeof x);
  return x;
}

/** exp(x) for x <= 0, and 0 below -708, where it would be 3e-308. Taylor's polynomial of degree 13 on |r| <= log(2) / 2, where
 *  the next term is below 1e-17. */
FW_VECTOR_HELPER double ExpNegative(double x)
{
  const double bounded = x < -708.0 ? -708.0 : x;
  const double shifted = bounded * 0x1.71547652b82fep0 + FW_ROUNDER, k = shifted - FW_ROUNDER;
  const double r  = (bounded - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33; /* log 2 in two parts */
  const double r2 = r * r, r4 = r2 * r2;
  const double p01 = 1.0 + r, p23 = 1.0 / 2.0 + r * (1.0 / 6.0), p45 = 1.0 / 24.0 + r * (1.0 / 120.0);
  const double p67 = 1.0 / 720.0 + r * (1.0 / 5040.0), p89 = 1.0 / 40320.0 + r * (1.0 / 362880.0);
  const double pab = 1.0 / 3628800.0 + r * (1.0 / 39916800.0), pcd = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0);
  const double high   = (p45 + p67 * r2) + ((p89 + pab * r2) + pcd * r4) * r4;
  const double result = (p01 + (p23 * r2 + high * r4)) * FromBits((BitsOf(shifted) << 52) + (UINT64_C(1023) << 52));

  return x < -708.0 ? 0.0 : result;
}

/** erf(size) for 0 <= size < 1, and erfc(size) above; `decay` is exp(-size^2). */
FW_VECTOR_HELPER double ErfOrErfc(double size, double decay)
{
  const double m = size > 30.0 ? 30.0 : size, z = m * m; /* beyond, the powers would overflow and decay is 0 */
  const double t = ((((9.60497373987051638749e0 * z + 9.00260197203842689217e1) * z + 2.23200534594684319226e3) * z +
                     7.00332514112805075473e3) *
                      z +
                    5.55923013010394962768e4) *
                   m;
  const double u =
    ((((z + 3.35617141647503099647e1) * z + 5.21357949780152679795e2) * z + 4.59432382970980127987e3) * z +
     2.26290000613890934246e4) *
      z +
    4.92673942608635921086e4;
  const double p =
    (((((((2.46196981473530512524e-10 * m + 5.64189564831068821977e-1) * m + 7.46321056442269912687e0) * m +
         4.86371970985681366614e1) *
          m +
        1.96520832956077098242e2) *
         m +
       5.26445194995477358631e2) *
        m +
      9.34528527171957607540e2) *
       m +
     1.02755188689515710272e3) *
      m +
    5.57535335369399327526e2;
  const double q =
    (((((((m + 1.32281951154744992508e1) * m + 8.67072140885989742329e1) * m + 3.54937778887819891062e2) * m +
        9.75708501743205489753e2) *
         m +
       1.82390916687909736289e3) *
        m +
      2.24633760818710981792e3) *
       m +
     1.65666309194161350182e3) *
      m +
    5.57535340817727675546e2;

  return (m < 1.0 ? t : decay * p) / (m < 1.0 ? u : q);
}

/** tanh(z), and exp(-2|z|) with its share 1 / (1 + exp(-2|z|)), from which slopes come. */
FW_VECTOR_HELPER double Tanh(double z, double *decay, double *share)
{
  const double m = fabs(z), s = z * z;
  const double p = (-9.64399179425052238628e-1 * s - 9.92877231001918586564e1) * s - 1.61468768441708447952e3;
  const double q = ((s + 1.12811678491632931402e2) * s + 2.23548839060100448583e3) * s + 4.84406305325125486048e3;

  *decay = ExpNegative(-2.0 * m);
  *share = 1.0 / (1.0 + *decay);
  return copysign(m < 0.625 ? m + m * s * (p / q) : (1.0 - *decay) * *share, z);
}

/** log(1 + t) for 0 <= t <= 1: 2 atanh(s), s = t / (2 + t) <= 1/3; the series ends where (1/9)^17 / 35 is below 1e-17. */
FW_VECTOR_HELPER double LogOnePlus(double t)
{
  const double s = t / (2.0 + t), z = s * s, z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
  const double p01 = 1.0 / 3.0 + z * (1.0 / 5.0), p23 = 1.0 / 7.0 + z * (1.0 / 9.0);
  const double p45 = 1.0 / 11.0 + z * (1.0 / 13.0), p67 = 1.0 / 15.0 + z * (1.0 / 17.0);
  const double p89 = 1.0 / 19.0 + z * (1.0 / 21.0), pab = 1.0 / 23.0 + z * (1.0 / 25.0);
  const double pcd = 1.0 / 27.0 + z * (1.0 / 29.0), pef = 1.0 / 31.0 + z * (1.0 / 33.0);
  const double low = (p01 + p23 * z2) + (p45 + p67 * z2) * z4, high = (p89 + pab * z2) + (pcd + pef * z2) * z4;

  return 2.0 * s + 2.0 * s * z * (low + high * z8);
}

/** Beyond this the reduction by pi/2 loses digits: k times its first part is no longer exact. */
#define FW_SINE_MAX 1e6

/** sin(x) and cos(x) for |x| <= FW_SINE_MAX. */
FW_VECTOR_HELPER double SineCosine(double x, double *cosine)
{
  const double   shifted = x * M_2_PI + FW_ROUNDER, k = shifted - FW_ROUNDER;
  const uint64_t quadrant = BitsOf(shifted);
  const double   r        = ((x - k * 0x1.921fb544p0) - k * 0x1.0b4611a6p-34) - k * 0x1.3198a2e037073p-69;
  const double   z        = r * r;
  const double   sr =
    r +
    r * z *
      (-1.0 / 6.0 +
       z * (1.0 / 120.0 +
            z * (-1.0 / 5040.0 + z * (1.0 / 362880.0 + z * (-1.0 / 39916800.0 +
                                                            z * (1.0 / 6227020800.0 - z * (1.0 / 1307674368000.0)))))));
  const double cr =
    1.0 - 0.5 * z +
    z * z *
      (1.0 / 24.0 +
       z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0 +
                                                     z * (1.0 / 479001600.0 + z * (-1.0 / 87178291200.0 +
                                                                                   z * (1.0 / 20922789888000.0)))))));
  const int      is_odd = (int)(quadrant & 1);
  const double   s = is_odd ? cr : sr, c = is_odd ? sr : cr;
  const uint64_t sign_s = (quadrant & 2) << 62, sign_c = ((quadrant + 1) & 2) << 62;

  *cosine = FromBits(BitsOf(c) ^ sign_c);
  return FromBits(BitsOf(s) ^ sign_s);
}
