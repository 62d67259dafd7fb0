#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of bench_linalg done with NumPy, and SciPy where it is there, on one machine: what a scan costs there.

    peer_numpy.py [P ...]        (OMP_NUM_THREADS sets the cores that the BLAS uses)

Assembly of the kernel of one erf layer, Cholesky, one eigendecomposition, then points in its basis: 100 resolvents and
one prediction with variances for each.
"""
import sys
import time

try:
    import numpy as np
except ImportError:
    print("peer_numpy: NumPy is not installed, nothing is compared")
    sys.exit(0)
try:
    import scipy.linalg
except ImportError:
    scipy = None

INPUTS, TESTS, RESOLVENTS, TIMES, TEMPERATURE = 3072, 1000, 100, 3, 0.1


def clock(work):
    """Result, and the shortest of three times."""
    best = np.inf
    for _ in range(TIMES):
        begin = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - begin)
    return result, best


def erf_kernel(x, z):
    """2/pi arcsin(2 C / sqrt((1 + 2 C_xx)(1 + 2 C_zz))) with C = x.z / N_0; rows are examples."""
    c = x @ z.T / x.shape[1]
    a = 1.0 + 2.0 * np.einsum("ij,ij->i", x, x) / x.shape[1]
    b = 1.0 + 2.0 * np.einsum("ij,ij->i", z, z) / z.shape[1]
    return 2.0 / np.pi * np.arcsin(2.0 * c / np.sqrt(np.outer(a, b)))


def cholesky(a):
    return scipy.linalg.cholesky(a, lower=True, check_finite=False) if scipy else np.linalg.cholesky(a)


def eigh(a):
    return scipy.linalg.eigh(a, check_finite=False, driver="evd") if scipy else np.linalg.eigh(a)


def resolvent(k, w, order):
    """The numbers of FwResolvent at one (T, Q)."""
    d = TEMPERATURE + order * k
    p = order * k / d
    fit = w * w / d
    return [p.sum(), (p * TEMPERATURE / d).sum(), fit.sum(), (p * fit).sum(), (p * p * fit).sum(), (fit / d).sum(),
            np.log(d).sum()]


def predict(k, w, z, order):
    """Mean and explained variance of every test example."""
    d = TEMPERATURE + order * k
    return order * (w / d) @ z, order * order * (1.0 / d) @ (z * z)


def report(n, stage, seconds, flops=0.0, rate=0.0):
    line = f"{n:6d}  {stage:<28s} {seconds:10.4g} s"
    if flops:
        line += f" {flops / seconds * 1e-9:8.1f} GF/s {flops / seconds / rate:6.2f}"
    print(line, flush=True)


def run(n):
    random = np.random.default_rng(1)
    x, z = random.standard_normal((n, INPUTS)), random.standard_normal((TESTS, INPUTS))
    y = np.sign(random.standard_normal(n))
    square = random.standard_normal((1500, 1500))
    _, seconds = clock(lambda: square @ square.T.copy())
    rate = 2.0 * 1500.0**3 / seconds
    print(f"{n:6d}  {'dgemm, NumPy' + (' and SciPy' if scipy else ''):<28s} {rate * 1e-9:23.1f} GF/s")
    kernel, seconds = clock(lambda: erf_kernel(x, x))
    report(n, "assembly, erf", seconds, float(n) * n * INPUTS, rate)
    _, seconds = clock(lambda: cholesky(kernel + TEMPERATURE * np.eye(n)))
    report(n, "Cholesky", seconds, n**3 / 3.0, rate)
    begin = time.perf_counter()
    k, u = eigh(kernel)
    made = time.perf_counter() - begin
    report(n, "eigh", made, 10.0 / 3.0 * n**3, rate)
    begin = time.perf_counter()
    w, zt = u.T @ y, u.T @ erf_kernel(x, z)
    done = time.perf_counter() - begin
    report(n, "  labels and test examples", done, 2.0 * n * TESTS * (n + INPUTS), rate)
    _, first = clock(lambda: resolvent(k, w, 1.3))
    report(n, "  resolvent", first)
    _, second = clock(lambda: predict(k, w, zt, 1.3))
    report(n, "  prediction", second)
    point = RESOLVENTS * first + second
    print(f"{n:6d}  {'  point':<28s} {point:10.4g} s   {100.0 * point / (made + done):.3f} % of the decomposition")


if __name__ == "__main__":
    for size in [int(argument) for argument in sys.argv[1:]] or [1000, 2000]:
        run(size)
