#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same full-batch gradients by PyTorch: one thread, double.

    peer_torch.py [P,N0,N ...]          default 500,784,500 1000,784,1000

One hidden erf layer, one output; `full` is the gradient of |theta|^2/2 + |y - f|^2/(2T) in all weights, `collapsed` that
of |w|^2/2 + log det A / 2 + y A^-1 y / 2 in those of the hidden layer, A the smaller of the two forms. Times are those of
the process, so that other programs on the machine do not count; the best of about two seconds.
"""
import math
import sys
import time

import torch

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
TEMPERATURE = 0.1


def full(x, y, w, v):
    f = torch.erf(x @ w.T) @ v / math.sqrt(len(v))
    return 0.5 * (w.square().sum() + v.square().sum()) + (y - f).square().sum() / (2 * TEMPERATURE)


def collapsed(x, y, w, _):
    phi = torch.erf(x @ w.T) / math.sqrt(len(w))
    p, n = phi.shape
    if p < n:
        factor = torch.linalg.cholesky(phi @ phi.T + TEMPERATURE * torch.eye(p))
        square = (y * torch.cholesky_solve(y[:, None], factor)[:, 0]).sum()
        log_det = 2 * factor.diagonal().log().sum()
    else:
        factor = torch.linalg.cholesky(phi.T @ phi + TEMPERATURE * torch.eye(n))
        z = phi.T @ y
        square = (y.square().sum() - (z * torch.cholesky_solve(z[:, None], factor)[:, 0]).sum()) / TEMPERATURE
        log_det = 2 * factor.diagonal().log().sum() + (p - n) * math.log(TEMPERATURE)
    return 0.5 * (w.square().sum() + log_det + square)


def best_time(potential, x, y, w, v):
    best, used = math.inf, 0.0
    while used < 2.0:
        begin = time.process_time()
        w.grad = v.grad = None
        potential(x, y, w, v).backward()
        took = time.process_time() - begin
        best, used = min(best, took), used + took
    return best


def main(sizes):
    torch.manual_seed(1)
    for p, n0, n in sizes:
        x = torch.randn(p, n0) / math.sqrt(n0)
        y = torch.randn(p)
        w = torch.randn(n, n0, requires_grad=True)
        v = torch.randn(n, requires_grad=True)
        for potential in (full, collapsed):
            took = best_time(potential, x, y, w, v)
            print(f"{p:6} {n0:6} {n:6}  {potential.__name__:9} torch   {1 / took:9.2f}", flush=True)


if __name__ == "__main__":
    main([tuple(map(int, arg.split(","))) for arg in sys.argv[1:]] or [(500, 784, 500), (1000, 784, 1000)])
