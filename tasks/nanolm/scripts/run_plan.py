#!/usr/bin/env python3
"""Run a plan (a list of training runs) and append one CSV row per finished run.

    python run_plan.py PLAN[,PLAN...] --corpus DIR --out DIR [--seconds S] [--lr-from results_*.csv]

PLAN names a function of plans.py.  Runs of one shape and batch size are trained stacked (engine.py).
"""

import argparse
import csv
import glob
import json
import lzma
import math
import os
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

import engine as en
import plans

DOMS = ("english", "python", "c")
FIELDS = (
    "run_id exp d_model n_layers n_heads context experts n_params_non_embedding n_params_total "
    "n_params_active tokens unique_tokens epochs batch_tokens steps lr seed mix_english mix_python mix_c "
    "val_loss val_loss_python val_loss_c train_loss_last5pct flops diverged stack_size wall_s"
).split()


def load(corpus, dom, part):
    p = os.path.join(corpus, f"{dom}_{part}.bin")
    if os.path.exists(p):
        return open(p, "rb").read()
    parts = sorted(glob.glob(os.path.join(corpus, f"{dom}_{part}.part*.xz")))
    with ThreadPoolExecutor(12) as ex:
        return b"".join(ex.map(lambda f: lzma.open(f).read(), parts))


def order_for(run, off, nwin, rng):
    """Window ids of one run.  off/nwin: first window and number of windows of each domain."""
    n = run["steps"] * run["B"]
    if run.get("mix"):
        ks = [int(round(r * n)) for r in run["mix"]]
        ks[int(np.argmax(ks))] += n - sum(ks)
        out = []
        for o, w, k in zip(off, nwin, ks):
            if k > w:
                raise ValueError("domain exhausted")
            out.append(o + rng.choice(w, k, replace=False))
        out = np.concatenate(out)
        rng.shuffle(out)
        return out.astype(np.int32)
    u = n if not run.get("U") else run["U"] // run["T"]
    base = off[0] + rng.choice(nwin[0], min(u, nwin[0]), replace=False)
    reps = -(-n // len(base))
    return np.concatenate([base if reps == 1 else rng.permutation(base) for _ in range(reps)])[:n].astype(np.int32)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("plan")
    ap.add_argument("--corpus", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seconds", type=float, default=1e9)
    ap.add_argument("--lr-from", default="")
    ap.add_argument("--tag", default="")
    ap.add_argument("--max-tokens", type=float, default=786432)
    a = ap.parse_args()
    t00 = time.time()
    deadline = t00 + a.seconds
    os.makedirs(a.out, exist_ok=True)
    tr = {d: np.frombuffer(load(a.corpus, d, "train"), np.uint8) for d in DOMS}
    va = {d: torch.from_numpy(np.frombuffer(load(a.corpus, d, "val"), np.uint8).copy()).to(en.DEV) for d in DOMS}
    sizes = [len(tr[d]) for d in DOMS]
    data = torch.from_numpy(np.concatenate([tr[d] for d in DOMS])).to(en.DEV)
    print(f"data ready {time.time() - t00:.1f}s {en.DEV} {torch.__version__}", flush=True)
    fres = open(os.path.join(a.out, f"results_{a.tag or a.plan.replace(',', '-')}.csv"), "w", newline="")
    fcur = open(os.path.join(a.out, f"curves_{a.tag or a.plan.replace(',', '-')}.csv"), "w", newline="")
    wr, wc = csv.DictWriter(fres, FIELDS), csv.writer(fcur)
    wr.writeheader()
    wc.writerow(("run_id", "step", "tokens", "train_loss"))

    def groups_of(name, rule):  # runs of equal shape and batch, in plan order
        loc = {}
        for r in getattr(plans, name)(rule):
            r.update(exp=r.get("exp", name), E=r.get("E", 0), T=r.get("T", 256))
            r["steps"] = max(1, round(r["D"] / (r["B"] * r["T"])))
            loc.setdefault(
                (r.get("prio", 0), r["exp"], bool(r.get("mix")), r["d"], r["L"], r["E"], r["T"], r["B"]), []
            ).append(r)
        return [loc[k] for k in sorted(loc, key=lambda k: k[0])]

    def all_groups():
        for name in a.plan.split(","):
            fres.flush()
            rule = plans.LRRule(sorted(glob.glob(a.lr_from) if a.lr_from else []) + [fres.name])
            print(name, "lr rule", rule, flush=True)
            yield from groups_of(name, rule)

    uid, skipped = 0, 0
    for runs in all_groups():
        r0 = runs[0]
        d, L, E, T, B = (r0[k] for k in "dLETB")
        tot, non, act = en.count(d, L, E)
        per_tok = L * 48 * d * (2 if E else 1) + 5000
        cap = max(1, int(min(a.max_tokens, 36e9 / per_tok) // (B * T)))
        runs.sort(key=lambda r: -r["steps"])
        nch = -(-len(runs) // cap)
        for ch in np.array_split(np.arange(len(runs)), nch):
            part = [runs[i] for i in ch]
            if time.time() > deadline - 3:
                skipped += len(part)
                continue
            t0 = time.time()
            try:
                off, nwin, o = [], [], 0
                for s in sizes:
                    off.append(-(-o // T))
                    nwin.append((o + s - 1) // T - off[-1])
                    o += s
                S = max(r["steps"] for r in part)
                order = np.zeros((len(part), S * B), np.int32)
                for i, r in enumerate(part):
                    w = order_for(r, off, nwin, np.random.default_rng([r["seed"], 77]))
                    order[i, : len(w)] = w
                order = torch.from_numpy(order).to(en.DEV)
                vals = [va[x] for x in (DOMS if r0.get("mix") else DOMS[:1])]
                st = en.Stack(d, L, T, B, [r["seed"] for r in part], E)
                t1, nd = time.time(), 0
                toks = sum(r["steps"] for r in part) * B * T
                for i, ls, cur in en.train(
                    st, data, order, [r["lr"] for r in part], [r["steps"] for r in part], vals, deadline
                ):
                    r = part[i]
                    rid = f"{a.tag or r['exp']}-{uid:05d}"
                    uid += 1
                    D = r["steps"] * B * T
                    bad = not math.isfinite(ls[0]) or min(ls) > math.log(256)
                    nd += bad
                    mix = r.get("mix") or (1, 0, 0)
                    U = min(r.get("U") or D, D)
                    tl = cur[-max(1, len(cur) // 20) :].mean().item()
                    wr.writerow(
                        dict(
                            run_id=rid,
                            exp=r["exp"],
                            d_model=d,
                            n_layers=L,
                            n_heads=en.heads_for(d),
                            context=T,
                            experts=E,
                            n_params_non_embedding=non,
                            n_params_total=tot,
                            n_params_active=act,
                            tokens=D,
                            unique_tokens=U,
                            epochs=round(D / U, 4),
                            batch_tokens=B * T,
                            steps=r["steps"],
                            lr=f"{r['lr']:.6g}",
                            seed=r["seed"],
                            mix_english=round(mix[0], 5),
                            mix_python=round(mix[1], 5),
                            mix_c=round(mix[2], 5),
                            val_loss=f"{ls[0]:.6f}",
                            val_loss_python=f"{ls[1]:.6f}" if len(ls) > 1 else "",
                            val_loss_c=f"{ls[2]:.6f}" if len(ls) > 2 else "",
                            train_loss_last5pct=f"{tl:.6f}",
                            flops=6 * act * D,
                            diverged=int(bad),
                            stack_size=len(part),
                            wall_s=f"{(time.time() - t1) * D / toks:.3f}",
                        )
                    )
                    n = len(cur)
                    for s in sorted(
                        {int(round(n ** (k / 15) * 8 ** (1 - k / 15))) for k in range(16)} if n > 16 else {n}
                    ):
                        lo = min(s - 1, int(0.9 * s))
                        wc.writerow((rid, s, s * B * T, f"{cur[lo:s].mean().item():.5f}"))
                dt = time.time() - t1
                print(
                    f"{time.time() - t00:6.1f}s {r0['exp']} d={d} L={L} E={E} T={T} B={B * T} R={len(part)} S={S} "
                    f"{toks / 1e6:.0f}Mtok {dt:.1f}s {toks / dt / 1e6:.1f}Mtok/s {6 * act * toks / dt / 1e12:.1f}TF/s div={nd} "
                    f"mem={torch.cuda.max_memory_allocated() / 2**30 if en.CUDA else 0:.0f}G",
                    flush=True,
                )
                del st, order
            except TimeoutError:
                print("deadline reached inside a group", flush=True)
                skipped += len(part)
            except Exception:
                skipped += len(part)
                print("FAILED", r0["exp"], d, L, E, T, B, flush=True)
                traceback.print_exc()
                st = order = None
            fres.flush()
            fcur.flush()
            if en.CUDA:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
    print(f"end {time.time() - t00:.1f}s rows={uid} skipped={skipped}", flush=True)


if __name__ == "__main__":
    main()
