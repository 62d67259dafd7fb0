# SPDX-License-Identifier: GPL-3.0-or-later
"""The same draws as bench_mixture.c with NumPy, in batches: samples per second of processor time."""
import time

import numpy as np

WIDTH, DEPTH = 100, 50
rng = np.random.default_rng(1)


def rate(draw, n):
    draw(max(1, n // 10))
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        draw(n)
        best = max(best, n / (time.process_time() - start))
    return best


def brute(n, D):
    for _ in range(n):
        g = rng.standard_normal((D, WIDTH)) / np.sqrt(WIDTH)
        for _ in range(DEPTH - 1):
            g = g @ (rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH))
        g @ g.T


def bartlett(n, D):
    """x and M of Q = M diag(exp 2x) M^T, batched over samples."""
    x, m = np.zeros((n, D)), np.broadcast_to(np.eye(D), (n, D, D)).copy()
    shape = 0.5 * (WIDTH - np.arange(D))
    lower = np.tril_indices(D, -1)
    for _ in range(DEPTH):
        square = rng.standard_gamma(shape, (n, D)) / (0.5 * WIDTH)
        x += 0.5 * np.log(square)
        if D == 1:
            continue
        diagonal = np.sqrt(square)
        f = np.zeros((n, D, D))
        f[:, lower[0], lower[1]] = rng.standard_normal((n, len(lower[0]))) / np.sqrt(WIDTH)
        f[:, np.arange(D), np.arange(D)] = diagonal
        m = f @ m / diagonal[:, None, :]


def limit(n, D, a=0.5):
    if D == 1:
        return -a / 2 + np.sqrt(a / 2) * rng.standard_normal(n)
    g = -1.5 * a + np.sqrt(a) * rng.standard_normal(n)
    v = np.sqrt(a) * rng.standard_normal((n, 3)) + [a / 2, 0, 0]
    s = np.sqrt((v * v).sum(1))
    r = 2 * np.arcsinh(np.sqrt(1 - rng.random(n)**2) * np.sinh(s / 2))
    t = np.pi * rng.random(n)
    c, e = np.cos(t)**2, np.exp(-2 * r)
    first = c + e * (1 - c)
    x1 = 0.5 * (g + r + np.log(first))
    return x1, g - x1, (1 - e) * np.sin(t) * np.cos(t) / first


if __name__ == "__main__":
    print(f"NumPy {np.__version__}: samples per second of processor time, N = {WIDTH}, L = {DEPTH}")
    print(f"{'D':>4}{'brute':>12}{'bartlett':>12}{'limit':>12}")
    for D in (1, 2, 4, 10):
        print(f"{D:4}{rate(lambda n: brute(n, D), 20):12.4g}{rate(lambda n: bartlett(n, D), 20000 // D):12.4g}"
              + (f"{rate(lambda n: limit(n, D), 200000):12.4g}" if D < 3 else f"{'-':>12}"))
