"""Numerical check: fused kernels vs plain PyTorch, and one replica alone vs inside a stack."""

import torch

import engine as en

torch.manual_seed(0)
T = 256 if en.CUDA else 16
rel = lambda a, b: ((a.float() - b.float()).norm() / b.float().norm()).item()
for d, L, E in ((32, 1, 0), (96, 2, 0), (64, 2, 8)):
    st = en.Stack(d, L, T, 8, [0, 1, 2], E)
    Wb = (st.W + 0.05 * torch.randn_like(st.W)).to(torch.bfloat16)
    win = torch.randint(0, 256, (3, 8, T + 1), device=en.DEV)

    def run(Wb, win, tri):
        en.TRITON = tri
        W = Wb.clone().requires_grad_(True)
        ls, aux = st.losses(W, win)
        return ls.detach(), torch.autograd.grad(ls.sum(), W)[0]

    l1, g1 = run(Wb, win, True)
    l2, g2 = run(Wb, win, False)
    l3, g3 = run(Wb[1:2], win[1:2], True)
    out = []
    for tri in (True, False):
        en.TRITON = tri
        s2 = en.Stack(d, L, T, 8, [0, 1, 2], E)
        pk, sp, wm = (torch.tensor(z, device=en.DEV) for z in ([1e-2, 1e-3, 1e-2], [40.0, 40.0, 20.0], [5.0, 5.0, 5.0]))
        for i in range(3):
            en.adam(s2, g2, pk, sp, wm, torch.tensor(float(i), device=en.DEV))
        out.append((s2.W - en.Stack(d, L, T, 8, [0, 1, 2], E).W).clone())
    n = 256 * d
    print(
        "check",
        d,
        L,
        E,
        "loss",
        [round(x, 4) for x in l2.tolist()],
        "fused-plain loss %.1e grad %.1e emb %.1e head %.1e"
        % (rel(l1, l2), rel(g1, g2), rel(g1[:, :n], g2[:, :n]), rel(g1[:, -n:], g2[:, -n:])),
        "alone-stacked loss %.1e grad %.1e" % (rel(l3, l1[1:2]), rel(g3, g1[1:2])),
        "adam %.1e" % rel(out[0], out[1]),
        flush=True,
    )
