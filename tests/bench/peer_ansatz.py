#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The training steps of bench_ansatz by PyTorch: one thread, seconds per step and run.

`usual` is autograd over all examples and torch.optim; `autograd` the same for a loss of the moments x x^T and y x^T, all
that a linear network needs; `moments` the gradient of that by hand, as finwidth has it; `bmm` by hand for 64 (or 8) runs at
once by batched products: the fastest forms that we know. Gradient flow is by scipy's DOP853, per gradient. Times are those of
the process, so that other programs on the machine do not count; the best of about two seconds each.
"""
import sys
import time

import numpy as np
import torch
from scipy.integrate import solve_ivp

torch.set_num_threads(1)
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
STEP, DECAY = 1e-4, 1e-3


def best_time(step):
    best, used, n = float("inf"), 0.0, 1
    step()
    while used < SECONDS:
        begin = time.process_time()
        for _ in range(n):
            step()
        took = time.process_time() - begin
        best, used = min(best, took / n), used + took
        if took < 0.05 * SECONDS:
            n *= 2
    return best


def weights(widths, dtype, *batch):
    return [torch.randn(*batch, n, m, dtype=dtype) * 0.5 / widths[0] ** 0.5 for m, n in zip(widths, widths[1:])]


def usual(widths, n_example, dtype, act=None, batch=None, bias=False, adam=False):
    x, y = torch.randn(n_example, widths[0], dtype=dtype), torch.randn(n_example, widths[-1], dtype=dtype)
    layers = []
    for l, (m, n) in enumerate(zip(widths, widths[1:])):
        layers.append(torch.nn.Linear(m, n, bias=bias, dtype=dtype))
        if act and l < len(widths) - 2:
            layers.append(act())
    net = torch.nn.Sequential(*layers)
    kind = torch.optim.Adam if adam else torch.optim.SGD
    options = {} if adam else {"momentum": 0.9 if batch else 0.0}
    optimiser = kind(net.parameters(), lr=STEP, weight_decay=DECAY, **options)
    order, at = torch.randperm(n_example), [0]

    def step():
        xb, yb = x, y
        if batch:
            rows = order[at[0]:at[0] + batch]
            at[0] = (at[0] + batch) % (n_example - batch)
            xb, yb = x[rows], y[rows]
        optimiser.zero_grad(set_to_none=True)
        ((net(xb) - yb).square().sum() / (2 * len(xb))).backward()
        optimiser.step()

    return best_time(step)


def chain(mul, w, xx, yx, swap=lambda a: a.transpose(-1, -2)):
    """Gradients of a linear network through moments, every product with few rows: outputs come first."""
    above = [w[-1]]
    for v in reversed(w[:-1]):
        above.append(mul(above[-1], v))
    above.reverse()  # E, ..., W_L
    g = mul(above[0], xx) - yx
    gradients = []
    for l, v in enumerate(w):
        gradients.append(mul(swap(above[l + 1]), g) if l < len(w) - 1 else g)
        if l < len(w) - 1:
            g = mul(g, swap(v))
    return gradients


def moments(widths, n_example, dtype, n_run=None, adam=False):
    x, y = torch.randn(widths[0], n_example, dtype=dtype), torch.randn(widths[-1], n_example, dtype=dtype)
    xx, yx = x @ x.T / n_example, y @ x.T / n_example
    w = weights(widths, dtype, *([n_run] if n_run else []))
    if n_run:
        xx, yx = xx.expand(n_run, -1, -1).contiguous(), yx.expand(n_run, -1, -1).contiguous()
    mul = torch.bmm if n_run else torch.mm
    state = [[torch.zeros_like(v), torch.zeros_like(v)] for v in w]

    def step():
        for v, g, (m, s) in zip(w, chain(mul, w, xx, yx), state):
            if not adam:
                v.mul_(1 - STEP * DECAY).sub_(g, alpha=STEP)
                continue
            g.add_(v, alpha=DECAY)
            m.mul_(0.9).add_(g, alpha=0.1)
            s.mul_(0.999).addcmul_(g, g, value=0.001)
            v.addcdiv_(m, s.sqrt().add_(1e-8), value=-STEP)

    with torch.no_grad():
        return best_time(step) / (n_run or 1)


def many(widths, n_example, dtype, n_run, act):
    """Autograd for runs beside each other, by batched products over all examples."""
    x, y = torch.randn(n_example, widths[0], dtype=dtype), torch.randn(n_example, widths[-1], dtype=dtype)
    x, y = x.expand(n_run, -1, -1).contiguous(), y.expand(n_run, -1, -1).contiguous()
    w = [v.transpose(1, 2).contiguous().requires_grad_() for v in weights(widths, dtype, n_run)]
    optimiser = torch.optim.SGD(w, lr=STEP, weight_decay=DECAY)

    def step():
        h = x
        for v in w[:-1]:
            h = act(torch.bmm(h, v))
        optimiser.zero_grad(set_to_none=True)
        ((torch.bmm(h, w[-1]) - y).square().sum() / (2 * n_example)).backward()
        optimiser.step()

    return best_time(step) / n_run


def autograd(widths, n_example, dtype, adam=False):
    """Through moments, too, but their gradient by torch: E = W_L .. W_1, loss = tr(E xx E^T) / 2 - tr(E yx^T)."""
    x, y = torch.randn(widths[0], n_example, dtype=dtype), torch.randn(widths[-1], n_example, dtype=dtype)
    xx, yx = x @ x.T / n_example, y @ x.T / n_example
    w = [v.requires_grad_() for v in weights(widths, dtype)]
    kind = torch.optim.Adam if adam else torch.optim.SGD
    optimiser = kind(w, lr=STEP, weight_decay=DECAY)

    def step():
        product = w[-1]
        for v in reversed(w[:-1]):
            product = product @ v
        optimiser.zero_grad(set_to_none=True)
        (0.5 * (product @ xx * product).sum() - (product * yx).sum()).backward()
        optimiser.step()

    return best_time(step)


def flow(widths, n_example, act=None):
    """scipy's DOP853 on numpy's gradient, through moments where there is no activation: seconds per gradient."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((widths[0], n_example)), rng.standard_normal((widths[-1], n_example))
    xx, yx = x @ x.T / n_example, y @ x.T / n_example
    shapes = [(n, m) for m, n in zip(widths, widths[1:])]
    cuts = np.cumsum([n * m for n, m in shapes])[:-1]
    pack = lambda parts: np.concatenate([part.ravel() for part in parts])
    swap = lambda a: np.swapaxes(a, -1, -2)

    def linear(_, theta):
        w = [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes)]
        return -pack(chain(np.matmul, w, xx, yx, swap)) - DECAY * theta

    def nonlinear(_, theta):
        w = [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes)]
        h = [x]
        for v in w[:-1]:
            h.append(np.tanh(v @ h[-1]))
        delta = (w[-1] @ h[-1] - y) / n_example
        out = [None] * len(w)
        for l in range(len(w) - 1, -1, -1):
            out[l] = delta @ h[l].T
            if l:
                delta = (w[l].T @ delta) * (1 - h[l] ** 2)
        return -pack(out) - DECAY * theta

    start = rng.standard_normal(cuts[-1] + shapes[-1][0] * shapes[-1][1]) * 0.5 / widths[0] ** 0.5
    begin, counted = time.process_time(), 0
    while time.process_time() - begin < SECONDS:
        counted += solve_ivp(nonlinear if act else linear, (0.0, 2.0), start, method="DOP853", rtol=1e-10, atol=1e-10).nfev
    return (time.process_time() - begin) / counted


def line(task, runs, by, seconds):
    print(f"{task:28} {runs:5}  {by:12} {seconds:.3e}", flush=True)


def linear(task, widths, n_example, n_run, adam=False):
    f64 = torch.float64
    line(task, 1, "usual", usual(widths, n_example, f64, adam=adam))
    line(task, 1, "autograd", autograd(widths, n_example, f64, adam))
    line(task, 1, "moments", moments(widths, n_example, f64, adam=adam))
    if n_run > 1:
        line(task, n_run, "bmm", moments(widths, n_example, f64, n_run, adam))


def main():
    linear("linear 16-14-14-5", [16, 14, 14, 5], 200, 64)
    linear("linear 20-12-12-6", [20, 12, 12, 6], 300, 64)
    linear("linear 20-12-12-6 adam", [20, 12, 12, 6], 300, 64, adam=True)
    line("linear 20-12-12-6 flow", 1, "DOP853", flow([20, 12, 12, 6], 300))
    linear("linear 64-64-64-10", [64, 64, 64, 10], 1000, 8)
    linear("linear 784-256-256-10", [784, 256, 256, 10], 2000, 1)
    line("tanh 20-12-12-6", 1, "usual", usual([20, 12, 12, 6], 300, torch.float64, torch.nn.Tanh))
    line("tanh 20-12-12-6", 64, "bmm", many([20, 12, 12, 6], 300, torch.float64, 64, torch.tanh))
    line("tanh 20-12-12-6 flow", 1, "DOP853", flow([20, 12, 12, 6], 300, np.tanh))
    for dtype, name in ((torch.float64, "usual"), (torch.float32, "usual f32")):
        line("relu 784-256-256-10 b 128", 1, name,
             usual([784, 256, 256, 10], 2000, dtype, torch.nn.ReLU, batch=128, bias=True))


main()
