"""The experiments, as lists of runs.  K = 2**10, M = 2**20 tokens (bytes)."""

import csv
import math

import numpy as np

import engine as en

K, M = 1 << 10, 1 << 20
LADDER = [(16, 2), (32, 2), (32, 4), (64, 2), (64, 4), (96, 4), (128, 4), (192, 4), (256, 4), (256, 6), (384, 6)]


class LRRule:
    """log2 lr* = a + b log2(N/1e5) + c log2(D/8M) + e log2(B/16K), fitted to the per-cell optima of lr_batch runs."""

    def __init__(self, files):
        self.co, self.n, self.rms = [math.log2(0.008), -0.25, -0.1, 0.3], 0, float("nan")
        cells = {}
        for f in files:
            for r in csv.DictReader(open(f)):
                if r["exp"] != "lr_batch" or r["diverged"] == "1":
                    continue
                k = (int(r["n_params_non_embedding"]), int(r["tokens"]), int(r["batch_tokens"]))
                cells.setdefault(k, []).append((math.log2(float(r["lr"])), float(r["val_loss"])))
        X, y = [], []
        for (N, D, B), p in cells.items():
            p = sorted(p)
            i = int(np.argmin([q[1] for q in p]))
            if 0 < i < len(p) - 1:
                (x0, y0), (x1, y1), (x2, y2) = p[i - 1 : i + 2]
                q = np.polyfit([x0, x1, x2], [y0, y1, y2], 2)
                if q[0] > 0:
                    X.append([1, math.log2(N / 1e5), math.log2(D / (8 * M)), math.log2(B / (16 * K))])
                    y.append(-q[1] / (2 * q[0]))
        if len(y) >= 12:
            X, y = np.array(X), np.array(y)
            self.co = np.linalg.lstsq(X, y, rcond=None)[0].tolist()
            self.n, self.rms = len(y), float(np.sqrt(np.mean((X @ self.co - y) ** 2)))

    def __call__(self, N, D, BT):
        a, b, c, e = self.co
        return 2.0 ** min(
            -4.5, (a + b * math.log2(N / 1e5) + c * math.log2(D / (8 * M)) + e * math.log2(BT / (16 * K)))
        )

    def __repr__(self):
        return f"coef={[round(x, 4) for x in self.co]} cells={self.n} rms_log2={self.rms:.3f}"


def nn(d, L):
    return en.count(d, L)[1]


def batch_for(D):
    """Batch in tokens for a run of D tokens: 512 sqrt(D/1M), in whole sequences of 256 (2 at 1M, 23 at 128M)."""
    return 256 * max(2, round(2 * math.sqrt(D / M)))


LRS = [2.0**k for k in range(-12, -3)]


def lr_batch(rule):
    """Learning rate x batch grid at several (N, D); at least 64 steps a run."""
    for p, (d, L) in enumerate(((16, 2), (32, 2), (64, 2))):
        for D in (1 * M, 4 * M, 16 * M):
            for BT in (1 * K, 2 * K, 4 * K, 8 * K, 16 * K, 32 * K, 64 * K):
                if D // BT >= 64:
                    for lr in LRS:
                        yield dict(d=d, L=L, B=BT // 256, D=D, lr=lr, seed=0, prio=p)
    for D in (1 * M, 4 * M, 16 * M):
        for BT in (2 * K, 4 * K, 8 * K, 16 * K, 32 * K, 64 * K):
            if D // BT >= 64:
                for lr in LRS[1:8]:
                    yield dict(d=96, L=4, B=BT // 256, D=D, lr=lr, seed=0, prio=4)
    for BT in (4 * K, 8 * K, 16 * K, 32 * K, 64 * K):
        for lr in LRS[2:7]:
            yield dict(d=192, L=4, B=BT // 256, D=16 * M, lr=lr, seed=0, prio=5)


def mixture_points():
    pts = [(i / 5, j / 5, (5 - i - j) / 5) for i in range(6) for j in range(6 - i)]
    for a in (0.9, 0.04):
        b = (1 - a) / 2
        pts += [(a, b, b), (b, a, b), (b, b, a)]
    pts += [(0.1, 0.3, 0.6), (0.6, 0.1, 0.3), (0.3, 0.6, 0.1), (1 / 3, 1 / 3, 1 / 3)]
    return pts


def mixture_8k(rule):
    """Loss on three domains against the mixture of the training data, at four sizes; 8M tokens, batch 8K."""
    for p, (d, L) in enumerate(((32, 2), (64, 4), (128, 4), (192, 4))):
        for m in mixture_points():
            yield dict(exp="mixture", d=d, L=L, B=32, D=8 * M, lr=rule(nn(d, L), 8 * M, 8 * K), seed=0, mix=m, prio=p)


def mixture(rule):
    """The same at 16M tokens, batch 2K, and one size more."""
    for p, (d, L) in enumerate(((32, 2), (64, 4), (128, 4), (192, 4), (256, 4))):
        for m in mixture_points():
            yield dict(d=d, L=L, B=8, D=16 * M, lr=rule(nn(d, L), 16 * M, 2 * K), seed=0, mix=m, prio=p)


def _chin(rule, models, Ds, seeds, variants, p0=0):
    for p, (d, L) in enumerate(models):
        for D in Ds:
            BT = batch_for(D)
            lr = rule(nn(d, L), D, BT)
            base = dict(exp="chinchilla", d=d, L=L, B=BT // 256, D=D, prio=p0 + p)
            for s in range(seeds):
                yield dict(base, lr=lr, seed=s)
            if variants and D <= 16 * M:
                for f in (0.5, 2.0):
                    yield dict(base, lr=lr * f, seed=0)


DS = [M * 2**k for k in range(8)]


def chin_small(rule):
    yield from _chin(rule, LADDER[:7], DS, 2, True)


def chin_mid(rule):
    yield from _chin(rule, [(192, 4), (256, 4)], DS, 1, True)


def chin_big(rule):
    yield from _chin(rule, [(384, 6)], DS[:3], 1, False)


def chin_top(rule):
    yield from _chin(rule, [(384, 6)], DS[3:], 1, False)


def data_repeat(rule):
    """U unique bytes seen for several epochs, up to D tokens in all."""
    Us = [M // 4 * 2**k for k in range(8)]
    for p, (d, L, us, Dm) in enumerate(
        ((32, 2, Us, 64 * M), (64, 4, Us, 64 * M), (128, 4, Us, 64 * M), (192, 4, Us[::2] + Us[-1:], 32 * M))
    ):
        for U in us:
            D = max(M, U)
            while D <= Dm:
                BT = batch_for(D)
                yield dict(d=d, L=L, B=BT // 256, D=D, U=U, lr=rule(nn(d, L), D, BT), seed=0, prio=p)
                D *= 2


def moe(rule):
    """Top-1 mixture of experts; lr rule taken at the active size."""
    for p, (d, L, Ds, seeds) in enumerate(
        (
            (32, 2, (4 * M, 16 * M), 2),
            (64, 2, (4 * M, 16 * M), 2),
            (64, 4, (4 * M, 16 * M), 2),
            (128, 4, (4 * M, 16 * M), 1),
        )
    ):
        for E in (1, 2, 4, 8, 16, 32):
            for D in Ds:
                for s in range(seeds):
                    yield dict(d=d, L=L, E=E, B=32, D=D, lr=rule(nn(d, L), D, 8 * K), seed=s, prio=p)


def shape_16k(rule):
    """Depth and width at a fixed 8M tokens, batch 16K."""
    for d in (16, 32, 48, 64, 96, 128):
        for L in (1, 2, 3, 4, 6, 8, 12):
            for s in (0, 1):
                yield dict(exp="shape", d=d, L=L, B=64, D=8 * M, lr=rule(nn(d, L), 8 * M, 16 * K), seed=s, prio=d * L)


def shape(rule):
    """The same at batch 2K."""
    for d in (16, 32, 48, 64, 96, 128):
        for L in (1, 2, 3, 4, 6, 8, 12):
            for s in (0, 1):
                yield dict(d=d, L=L, B=8, D=8 * M, lr=rule(nn(d, L), 8 * M, 2 * K), seed=s, prio=d * L)


def context(rule):
    """Context length in training and evaluation, 16M tokens, 4K tokens a batch."""
    for p, (d, L) in enumerate(((32, 2), (64, 4), (128, 4), (192, 4))):
        for T in (16, 32, 64, 128, 256, 512, 1024):
            for s in (0, 1) if d < 128 else (0,):
                yield dict(d=d, L=L, T=T, B=4 * K // T, D=16 * M, lr=rule(nn(d, L), 16 * M, 4 * K), seed=s, prio=p)


def tiny(rule):
    for d, L in ((16, 1), (32, 1)):
        for D in (8 * K, 16 * K):
            for lr in (1e-2, 1e-3):
                yield dict(d=d, L=L, B=2, D=D, lr=lr, seed=0)
    yield dict(d=16, L=1, B=2, D=8 * K, lr=1e-2, seed=0, U=4 * K)
    yield dict(d=16, L=1, B=2, D=8 * K, lr=1e-2, seed=0, mix=(0.5, 0.25, 0.25))
    yield dict(d=16, L=1, B=2, D=8 * K, lr=1e-2, seed=0, E=4)
    yield dict(d=16, L=1, B=4, D=8 * K, lr=1e-2, seed=0, T=64)


def smoke(rule):
    """Throughput: three (d, L) at a full stack, one small stack, one mixture of experts."""
    for d, L, R, B in ((16, 2, 32, 64), (16, 2, 9, 4), (64, 4, 16, 64), (128, 4, 9, 64), (384, 6, 2, 128)):
        for i in range(R):
            yield dict(d=d, L=L, B=B, D=B * 256 * 60, lr=4e-3, seed=i)
    for i in range(8):
        yield dict(d=64, L=4, B=64, D=64 * 256 * 60, lr=4e-3, seed=i, E=8)
