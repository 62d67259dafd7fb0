# SPDX-License-Identifier: GPL-3.0-or-later
"""The same points by the published notebooks' way: state evolution iterated with damping, integrals in NumPy and SciPy."""
import time

import numpy as np
from scipy.integrate import quad
from scipy.special import erf, log_ndtr

t, weight = np.polynomial.hermite_e.hermegauss(200)
weight = weight / weight.sum()
rho1 = np.sum(weight * t * np.tanh(t))
sigma1 = np.sum(weight * np.tanh(t) ** 2)
rho2 = np.sum(weight * t * np.tanh(np.sqrt(sigma1) * t)) / np.sqrt(sigma1)
sigma2 = np.sum(weight * np.tanh(np.sqrt(sigma1) * t) ** 2)
ETA2, R, NOISE = (rho1 * rho2) ** 2, sigma2, 0.1


def gaussian(Q, V):
    return 1 / (V + NOISE)


def probit(Q, V):
    kappa = np.sqrt(Q / (V + NOISE))
    return quad(lambda v: 2 * np.exp(-0.5 * v * v - (kappa * v) ** 2 - log_ndtr(kappa * v)) / (2 * np.pi) ** 1.5, -12, 12)[0] / (V + NOISE)


def readout(Q, V):
    """erf(2 z) + noise: labels, z and m on grids, two matrix products."""
    dx, dm, dy = min(np.sqrt(V) / 3, 0.04), np.sqrt(Q) / 8, np.sqrt(NOISE) / 4
    m = np.arange(-8 * np.sqrt(Q), 8 * np.sqrt(Q) + dm / 2, dm)
    x = np.arange(m[0] - 8 * np.sqrt(V), m[-1] + 8 * np.sqrt(V), dx)
    y = np.arange(-1 - 8 * np.sqrt(NOISE), 1 + 8 * np.sqrt(NOISE), dy)
    K = np.exp(-(y[:, None] - erf(2 * x)) ** 2 / (2 * NOISE)) / np.sqrt(2 * np.pi * NOISE)
    G = np.exp(-(x[:, None] - m) ** 2 / (2 * V)) / np.sqrt(2 * np.pi * V) * dx
    Z, Z1 = K @ G, K @ (G * (x[:, None] - m) / V)
    return np.exp(-m * m / (2 * Q)) / np.sqrt(2 * np.pi * Q) * dm @ (dy * (Z1**2 / np.maximum(Z, 1e-300)).sum(0))


def solve(square, alpha, damping=0.5, tolerance=1e-10):
    q = 0.5
    for _ in range(10000):
        qhat = alpha * ETA2 * square(ETA2 * q, R - ETA2 * q)
        new = damping * q + (1 - damping) * qhat / (1 + qhat)
        if abs(new - q) < tolerance:
            return new
        q = new
    raise RuntimeError("no fixed point")


print(f"{'channel':10}{'one point, NumPy':>20}")
for square, repeat in ((gaussian, 20), (probit, 3), (readout, 1)):
    begin = time.process_time()
    for _ in range(repeat):
        q = solve(square, 2.0)
    print(f"{square.__name__:10}{1e6 * (time.process_time() - begin) / repeat:17.4g} us   q = {q:.9f}")
