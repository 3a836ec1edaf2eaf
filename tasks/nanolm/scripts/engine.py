"""Train many small byte-level transformers at once on one GPU.

R independent replicas (own seed, learning rate, data order, length) of one shape are stacked:
all weights of a replica live in one row of a flat [R, P] tensor, so that every matrix product is
a batched product and the optimizer is one element-wise kernel.  A whole training step (batch
gather, forward, backward, clipping, AdamW, schedule) is captured in a CUDA graph and replayed.
Replicas never interact: the loss is a sum over replicas, clipping is per replica.
"""

import math
import os
import time

import torch
import torch.nn.functional as F

V = 256
CUDA = torch.cuda.is_available()
DEV = "cuda" if CUDA else "cpu"
TRITON = CUDA or os.environ.get("TRITON_INTERPRET") == "1"
WD, B1, B2, EPS, CLIP = 0.1, 0.9, 0.99, 1e-8, 1.0
CAP_FACTOR, AUX_W = 2, 0.01
BF = torch.bfloat16


def heads_for(d):
    hd = 16 if d <= 64 else (32 if d <= 192 else 64)
    return max(1, d // hd)


def layer_layout(d, L, E=0):
    res = 1 / math.sqrt(2 * L)
    out = [("wqkv", (d, 3 * d), d**-0.5, 1), ("wo", (d, d), d**-0.5 * res, 1)]
    if E:
        return out + [
            ("wr", (d, E), 0.02, 0),
            ("w1", (E, d, 4 * d), d**-0.5, 1),
            ("w2", (E, 4 * d, d), (4 * d) ** -0.5 * res, 1),
        ]
    return out + [("w1", (d, 4 * d), d**-0.5, 1), ("w2", (4 * d, d), (4 * d) ** -0.5 * res, 1)]


def layout(d, L, E=0):
    """[(name, shape, init_std, weight_decay)] of one replica."""
    return [("emb", (V, d), 0.3, 0)] + layer_layout(d, L, E) * L + [("head", (d, V), 0.0, 1)]


def count(d, L, E=0):
    """(total, non-embedding, non-embedding used by one token)"""
    tot = sum(math.prod(s) for _, s, _, _ in layout(d, L, E))
    non = tot - 2 * V * d
    act = non - (L * (E - 1) * 8 * d * d if E else 0)
    return tot, non, act


# ---------------------------------------------------------------- fused kernels
if TRITON:
    import triton
    import triton.language as tl

    @triton.jit
    def k_rms_f(X, Y, Rs, n, D: tl.constexpr, DP: tl.constexpr, BT: tl.constexpr):
        r = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
        c = tl.arange(0, DP)
        mk = (r[:, None] < n) & (c[None, :] < D)
        x = tl.load(X + r[:, None] * D + c[None, :], mask=mk, other=0.0).to(tl.float32)
        rs = 1.0 / tl.sqrt(tl.sum(x * x, 1) / D + 1e-5)
        tl.store(Y + r[:, None] * D + c[None, :], (x * rs[:, None]).to(tl.bfloat16), mask=mk)
        tl.store(Rs + r, rs, mask=r < n)

    @triton.jit
    def k_rms_b(DY, X, Rs, DX, n, D: tl.constexpr, DP: tl.constexpr, BT: tl.constexpr):
        r = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
        c = tl.arange(0, DP)
        mk = (r[:, None] < n) & (c[None, :] < D)
        x = tl.load(X + r[:, None] * D + c[None, :], mask=mk, other=0.0).to(tl.float32)
        dy = tl.load(DY + r[:, None] * D + c[None, :], mask=mk, other=0.0).to(tl.float32)
        rs = tl.load(Rs + r, mask=r < n, other=0.0)
        y = x * rs[:, None]
        dx = rs[:, None] * (dy - y * (tl.sum(dy * y, 1) / D)[:, None])
        tl.store(DX + r[:, None] * D + c[None, :], dx.to(tl.bfloat16), mask=mk)

    @triton.jit
    def k_rope(X, Y, Cos, Sin, n, T, sign, D: tl.constexpr, DP: tl.constexpr, HALF: tl.constexpr, BT: tl.constexpr):
        r = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
        p = tl.arange(0, DP)
        mk = (r[:, None] < n) & (p[None, :] < D)
        i = p % HALF
        c1 = (p // HALF) * (2 * HALF) + i
        o1 = r[:, None] * (3 * D) + c1[None, :]
        t = (r % T)[:, None] * HALF + i[None, :]
        cs = tl.load(Cos + t, mask=mk, other=0.0)
        sn = tl.load(Sin + t, mask=mk, other=0.0) * sign
        a = tl.load(X + o1, mask=mk, other=0.0).to(tl.float32)
        b = tl.load(X + o1 + HALF, mask=mk, other=0.0).to(tl.float32)
        tl.store(Y + o1, (a * cs - b * sn).to(tl.bfloat16), mask=mk)
        tl.store(Y + o1 + HALF, (a * sn + b * cs).to(tl.bfloat16), mask=mk)
        ov = r[:, None] * (3 * D) + 2 * D + p[None, :]
        tl.store(Y + ov, tl.load(X + ov, mask=mk, other=0.0), mask=mk)

    @triton.jit
    def k_ce(X, Tg, Ls, DX, n, scale, BT: tl.constexpr, VV: tl.constexpr):
        r = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
        c = tl.arange(0, VV)
        mk = (r[:, None] < n) & (c[None, :] >= 0)
        x = tl.load(X + r[:, None] * VV + c[None, :], mask=mk, other=0.0).to(tl.float32)
        tg = tl.load(Tg + r, mask=r < n, other=0)
        mx = tl.max(x, 1)
        e = tl.exp(x - mx[:, None])
        s = tl.sum(e, 1)
        hot = c[None, :] == tg[:, None]
        xt = tl.sum(tl.where(hot, x, 0.0), 1)
        tl.store(Ls + r, tl.log(s) + mx - xt, mask=r < n)
        dx = (e / s[:, None] - tl.where(hot, 1.0, 0.0)) * scale
        tl.store(DX + r[:, None] * VV + c[None, :], dx.to(tl.bfloat16), mask=mk)

    @triton.jit
    def k_emb_b(Tok, DX, DE, M: tl.constexpr, D: tl.constexpr, DB: tl.constexpr, BT: tl.constexpr, VV: tl.constexpr):
        g = tl.program_id(0).to(tl.int64)
        c = tl.program_id(1) * DB + tl.arange(0, DB)
        v = tl.arange(0, VV)
        acc = tl.zeros((VV, DB), tl.float32)
        for s in range(0, M, BT):
            r = s + tl.arange(0, BT)
            tok = tl.load(Tok + g * M + r, mask=r < M, other=-1)
            dx = tl.load(
                DX + (g * M + r)[:, None] * D + c[None, :], mask=(r[:, None] < M) & (c[None, :] < D), other=0.0
            )
            hot = (v[:, None] == tok[None, :]).to(tl.bfloat16)
            acc += tl.dot(hot, dx)
        tl.store(
            DE + (g * VV + v)[:, None] * D + c[None, :], acc.to(tl.bfloat16), mask=(v[:, None] >= 0) & (c[None, :] < D)
        )

    @triton.jit
    def k_adam(
        W,
        Wb,
        Mo,
        Vo,
        Gr,
        Wd,
        Gn,
        Peak,
        Steps,
        Warm,
        Tt,
        P,
        WDC: tl.constexpr,
        B1C: tl.constexpr,
        B2C: tl.constexpr,
        EPSC: tl.constexpr,
        CLIPC: tl.constexpr,
        BS: tl.constexpr,
    ):
        r = tl.program_id(1).to(tl.int64)
        c = tl.program_id(0) * BS + tl.arange(0, BS)
        mk = c < P
        s = tl.load(Tt) + 1.0
        peak, steps, warm = tl.load(Peak + r), tl.load(Steps + r), tl.load(Warm + r)
        gn = tl.sqrt(tl.load(Gn + r))
        fr = tl.minimum(tl.maximum((s - warm) / tl.maximum(steps - warm, 1.0), 0.0), 1.0)
        lr = peak * tl.where(s < warm, s / warm, 0.5 * (1.0 + tl.cos(3.141592653589793 * fr)))
        o = r * P + c
        w = tl.load(W + o, mask=mk, other=0.0)
        m = tl.load(Mo + o, mask=mk, other=0.0)
        v = tl.load(Vo + o, mask=mk, other=0.0)
        g = tl.load(Gr + o, mask=mk, other=0.0).to(tl.float32)
        wd = tl.load(Wd + c, mask=mk, other=0.0)
        g = g * (CLIPC / tl.where(gn > CLIPC, gn, CLIPC))
        g = tl.where(gn == gn, g, gn)
        m = B1C * m + (1 - B1C) * g
        v = B2C * v + (1 - B2C) * g * g
        mh = m / (1.0 - tl.exp(s * tl.log(B1C + 0.0 * s)))
        vh = v / (1.0 - tl.exp(s * tl.log(B2C + 0.0 * s)))
        w = w - lr * (mh / (tl.sqrt(vh) + EPSC) + WDC * wd * w)
        tl.store(W + o, w, mask=mk)
        tl.store(Wb + o, w.to(tl.bfloat16), mask=mk)
        tl.store(Mo + o, m, mask=mk)
        tl.store(Vo + o, v, mask=mk)


def p2(n):
    return 1 << (n - 1).bit_length()


class RMS(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        d = x.shape[-1]
        n = x.numel() // d
        y, rs = torch.empty_like(x), torch.empty(n, device=x.device)
        bt = max(1, 2048 // p2(d))
        k_rms_f[(-(-n // bt),)](x, y, rs, n, d, p2(d), bt)
        ctx.save_for_backward(x, rs)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, rs = ctx.saved_tensors
        d = x.shape[-1]
        n = x.numel() // d
        dy, dx = dy.contiguous(), torch.empty_like(x)
        bt = max(1, 2048 // p2(d))
        k_rms_b[(-(-n // bt),)](dy, x, rs, dx, n, d, p2(d), bt)
        return dx


def _rope(x, cos, sin, T, d, half, sign):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel() // (3 * d)
    bt = max(1, 1024 // p2(d))
    k_rope[(-(-n // bt),)](x, y, cos, sin, n, T, float(sign), d, p2(d), half, bt)
    return y


class Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, cos, sin, T, d, half):
        ctx.save_for_backward(cos, sin)
        ctx.a = (T, d, half)
        return _rope(x, cos, sin, T, d, half, 1)

    @staticmethod
    def backward(ctx, dy):
        cos, sin = ctx.saved_tensors
        return _rope(dy, cos, sin, *ctx.a, -1), None, None, None, None, None


class CE(torch.autograd.Function):
    """Losses per token; backward assumes that the total is sum(loss) * scale."""

    @staticmethod
    def forward(ctx, x, tgt, scale):
        n = x.numel() // V
        x = x.contiguous()
        ls, dx = torch.empty(n, device=x.device), torch.empty_like(x)
        k_ce[(-(-n // 8),)](x, tgt, ls, dx, n, scale, 8, V)
        ctx.save_for_backward(dx)
        return ls

    @staticmethod
    def backward(ctx, _):
        return ctx.saved_tensors[0], None, None


class Emb(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tok, emb):
        G, S, T = tok.shape
        ctx.save_for_backward(tok)
        off = torch.arange(G, device=tok.device)[:, None, None] * V
        return F.embedding((tok + off).view(-1), emb.view(G * V, -1)).view(G, S, T, -1)

    @staticmethod
    def backward(ctx, dx):
        (tok,) = ctx.saved_tensors
        G, S, T, d = dx.shape
        dx = dx.contiguous()
        de = torch.empty(G, V * d, device=dx.device, dtype=dx.dtype)
        db = min(64, p2(d))
        k_emb_b[(G, -(-d // db))](tok, dx, de, S * T, d, db, 64, V)
        return None, de


class Permute(torch.autograd.Function):
    """Rows of x [G, A, d] picked by fwd [G, B] (value A: a zero row); bwd [G, A] is the inverse map (value B: zero)."""

    @staticmethod
    def forward(ctx, x, fwd, bwd):
        ctx.save_for_backward(bwd)
        return Permute.pick(x, fwd)

    @staticmethod
    def pick(x, ix):
        G, A, d = x.shape
        xp = torch.cat((x, torch.zeros(G, 1, d, dtype=x.dtype, device=x.device)), 1)
        fl = ix + torch.arange(G, device=x.device)[:, None] * (A + 1)
        return xp.view(G * (A + 1), d).index_select(0, fl.view(-1)).view(G, ix.shape[1], d)

    @staticmethod
    def backward(ctx, dy):
        return Permute.pick(dy, ctx.saved_tensors[0]), None, None


# ---------------------------------------------------------------- model pieces
# x is [G, S, T, d]: G weight groups, S sequences of T bytes each; slab holds one layer's weights [G, P_layer]
def unpack(slab, d, E):
    out, o = [], 0
    for _, s, _, _ in layer_layout(d, 1, E):
        n = math.prod(s)
        out.append(slab[:, o : o + n].view(slab.shape[0], *s))
        o += n
    return out


def rms(x):
    if TRITON:
        return RMS.apply(x)
    xf = x.float()
    return (xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


def rope(qkv, cos, sin, T, d, half):
    if TRITON:
        return Rope.apply(qkv, cos, sin, T, d, half)
    z = qkv.view(-1, T, 3, d // (2 * half), 2 * half)

    def rot(u):
        a, b = u.float().chunk(2, -1)
        c, s = cos[None, :, None], sin[None, :, None]
        return torch.cat((a * c - b * s, a * s + b * c), -1).to(qkv.dtype)

    return torch.stack((rot(z[:, :, 0]), rot(z[:, :, 1]), z[:, :, 2]), 2).view_as(qkv)


def lin(x, w):
    G, S, T, d = x.shape
    return torch.bmm(x.view(G, S * T, d), w).view(G, S, T, w.shape[-1])


def attn(x, wqkv, wo, cos, sin, H):
    G, S, T, d = x.shape
    qkv = rope(lin(rms(x), wqkv), cos, sin, T, d, d // H // 2).view(G * S, T, 3, H, d // H)
    q, k, v = (z.transpose(1, 2) for z in qkv.unbind(2))
    o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return x + lin(o.transpose(1, 2).reshape(G, S, T, d), wo)


def block(x, slab, cos, sin, H):
    wqkv, wo, w1, w2 = unpack(slab, x.shape[-1], 0)
    x = attn(x, wqkv, wo, cos, sin, H)
    return x + lin(F.gelu(lin(rms(x), w1), approximate="tanh"), w2)


def moe_block(x, slab, cos, sin, H, E):
    """Top-1 routed experts (switch style), capacity 2x the mean load; dropped tokens pass through."""
    wqkv, wo, wr, w1, w2 = unpack(slab, x.shape[-1], E)
    x = attn(x, wqkv, wo, cos, sin, H)
    G, S, T, d = x.shape
    M = S * T
    cap = M if E == 1 else (CAP_FACTOR * M) // E
    h = rms(x).view(G, M, d)
    p = torch.softmax(torch.bmm(h, wr).float(), -1)
    gate, e = p.max(-1)
    oh = (e[..., None] == torch.arange(E, device=x.device)).int()
    pos = (oh.cumsum(1) * oh).sum(-1) - 1
    keep = pos < cap
    slot = torch.where(keep, e * cap + pos, E * cap)  # token -> slot
    inv = torch.full((G, E * cap + 1), M, dtype=torch.int64, device=x.device)
    inv = inv.scatter_(1, slot, torch.arange(M, device=x.device).expand(G, M))[:, : E * cap]  # slot -> token
    z = Permute.apply(h, inv, slot).view(G * E, cap, d)
    z = torch.bmm(F.gelu(torch.bmm(z, w1.reshape(G * E, d, 4 * d)), approximate="tanh"), w2.reshape(G * E, 4 * d, d))
    z = Permute.apply(z.view(G, E * cap, d), slot, inv)
    aux = E * (oh.float().mean(1) * p.mean(1)).sum(-1)
    return x + (z * gate[..., None].to(x.dtype)).view(G, S, T, d), aux


def head_loss(x, tail, tgt, scale):
    """Per-group mean loss; its gradient is scaled by `scale` per token (see CE)."""
    G, S, T, d = x.shape
    lg = lin(rms(x), tail.view(G, d, V))
    if TRITON:
        return CE.apply(lg, tgt, scale).view(G, S * T).mean(-1)
    lg = lg.float()
    return (torch.logsumexp(lg, -1) - lg.gather(-1, tgt[..., None]).squeeze(-1)).mean((1, 2))


def embed(tok, emb):
    if TRITON:
        return Emb.apply(tok, emb)
    G, S, T = tok.shape
    off = torch.arange(G, device=tok.device)[:, None, None] * V
    return F.embedding((tok + off).view(-1), emb.reshape(G * V, -1)).view(G, S, T, -1)


@torch.no_grad()
def adam(st, g, peak, steps, warm, t):
    """g [R, P] bf16; peak, steps, warm [R]; t: 0-d, steps already done."""
    gn = g.float().pow_(2).sum(1)
    if TRITON:
        R, P = st.W.shape
        k_adam[(-(-P // 1024), R)](
            st.W, st.Wb, st.m, st.v, g, st.wd, gn, peak, steps, warm, t, P, WD, B1, B2, EPS, CLIP, 1024
        )
        return
    peak, steps, warm = peak[:, None], steps[:, None], warm[:, None]
    g = g.float() * (CLIP / gn.sqrt().clamp(min=CLIP))[:, None]
    s = t + 1.0
    frac = ((s - warm) / (steps - warm).clamp(min=1.0)).clamp(0.0, 1.0)
    lr = peak * torch.where(s < warm, s / warm, 0.5 * (1 + torch.cos(math.pi * frac)))
    st.m.mul_(B1).add_(g, alpha=1 - B1)
    st.v.mul_(B2).add_(g * g, alpha=1 - B2)
    mh, vh = st.m / (1 - B1**s), st.v / (1 - B2**s)
    st.W.sub_(lr * (mh / (vh.sqrt() + EPS) + WD * st.wd[None] * st.W))
    st.Wb.copy_(st.W)


class Stack:
    """R replicas of shape (d, L, E) with context T and B sequences a step."""

    def __init__(self, d, L, T, B, seeds, E=0):
        self.d, self.L, self.T, self.B, self.E, self.H = d, L, T, B, E, heads_for(d)
        lay = layout(d, L, E)
        self.P = sum(math.prod(s) for _, s, _, _ in lay)
        self.slabs = [V * d] + [sum(math.prod(s) for _, s, _, _ in layer_layout(d, L, E))] * L + [V * d]
        rows = []
        for s in seeds:
            gen = torch.Generator(DEV).manual_seed(1000 + s)
            rows.append(
                torch.cat(
                    [
                        torch.zeros(math.prod(s), device=DEV)
                        if std == 0
                        else torch.randn(math.prod(s), generator=gen, device=DEV) * std
                        for _, s, std, _ in lay
                    ]
                )
            )
        self.W = torch.stack(rows)
        self.Wb = self.W.to(BF)
        self.m, self.v = torch.zeros_like(self.W), torch.zeros_like(self.W)
        self.wd = torch.cat([torch.full((math.prod(s),), float(w), device=DEV) for _, s, _, w in lay])
        hd = d // self.H
        fr = 1e4 ** (-torch.arange(0, hd // 2, device=DEV).float() * 2 / hd)
        ang = torch.arange(T, device=DEV).float()[:, None] * fr[None]
        self.cos, self.sin = ang.cos().contiguous(), ang.sin().contiguous()

    def keep(self, rows):
        for k in ("W", "Wb", "m", "v"):
            setattr(self, k, getattr(self, k)[rows].clone())

    def chunks(self, R, B):
        """Split each replica's batch into C groups so that weight-gradient products fill the GPU."""
        if self.E:
            return 1
        d, T = self.d, self.T
        tiles = max(1, d // 128) * max(1, 3 * d // 128)
        lo = 512 if d <= 32 else (1024 if d <= 64 else 2048)
        C = 1
        while B % (2 * C) == 0 and (B // (2 * C)) * T >= lo and R * C * tiles < 160:
            C *= 2
        return C

    def losses(self, Wb, win):
        """Wb [R,P] bf16; win [R,B,T+1] int64 -> (loss [R], aux [R] or None)."""
        R, B, T = win.shape[0], win.shape[1], self.T
        C = self.chunks(R, B)
        G, S = R * C, B // C
        sl = []
        for p in Wb.split(self.slabs, dim=1):
            sl.append(p[:, None].expand(R, C, p.shape[1]).clone(memory_format=torch.contiguous_format).view(G, -1))
        tok = win[..., :-1].reshape(G, S, T).contiguous()
        tgt = win[..., 1:].reshape(G, S, T).contiguous()
        x = embed(tok, sl[0])
        aux = 0
        for l in range(self.L):
            if self.E:
                x, ax = moe_block(x, sl[1 + l], self.cos, self.sin, self.H, self.E)
                aux = aux + ax
            else:
                x = block(x, sl[1 + l], self.cos, self.sin, self.H)
        ls = head_loss(x, sl[-1], tgt, 1.0 / (B * T)).view(R, C).mean(1)
        return ls, (aux.view(R, C).mean(1) / self.L if self.E else None)


def windows(data, idx, T):
    ar = torch.arange(T + 1, device=data.device)
    return data[(idx.long() * T)[..., None] + ar].long()


@torch.no_grad()
def evaluate(st, rows, val, T, max_tokens=1 << 19):
    """Mean loss of the given replicas over all windows of val (1-d uint8)."""
    n = (val.numel() - 1) // T
    Wb = st.Wb[rows]
    R = Wb.shape[0]
    nb = 1
    while R * nb * 2 * T <= max(max_tokens, R * 16 * T) and n % (nb * 2) == 0:
        nb *= 2
    tot = torch.zeros(R, device=DEV, dtype=torch.float64)
    for i in range(0, n, nb):
        idx = torch.arange(i, i + nb, device=DEV)
        tot += st.losses(Wb, windows(val, idx[None].expand(R, -1), T))[0].double() * nb
    return (tot / n).tolist()


def train(st, data, order, peak, steps, val_sets, deadline):
    """order: [R, maxsteps*B] int32 window ids.  Yields (replica, [val losses], train losses) as replicas end."""
    R, B, T = len(steps), st.B, st.T
    alive, Smax = list(range(R)), max(steps)
    peak_t = torch.tensor(peak, device=DEV, dtype=torch.float32)
    steps_t = torch.tensor(steps, device=DEV, dtype=torch.float32)
    warm_t = (0.05 * steps_t).round().clamp(min=5)
    t = torch.zeros((), device=DEV)
    ti = torch.zeros((1,), device=DEV, dtype=torch.int64)
    hist = torch.full((Smax, R), float("nan"), device=DEV)
    arB = torch.arange(B, device=DEV)
    done = 0
    for end in sorted(set(steps)):
        sel = torch.tensor(alive, device=DEV)
        pk, stp, wm = peak_t[sel], steps_t[sel], warm_t[sel]
        od = order[sel] if len(alive) < R else order
        hs = torch.full((Smax, len(alive)), float("nan"), device=DEV)

        def step():
            Wb = st.Wb.detach().requires_grad_(True)
            idx = od.index_select(1, ti * B + arB)
            ls, aux = st.losses(Wb, windows(data, idx, T))
            tot = ls.sum() if aux is None else ls.sum() + AUX_W * aux.sum()
            (g,) = torch.autograd.grad(tot, Wb)
            adam(st, g, pk, stp, wm, t)
            hs.index_copy_(0, ti, ls.detach()[None])
            t.add_(1.0)
            ti.add_(1)

        if CUDA:
            state = (st.W, st.Wb, st.m, st.v, t, ti)
            save = [z.clone() for z in state]
            s = torch.cuda.Stream()
            s.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(s):
                for _ in range(2):
                    step()
            torch.cuda.current_stream().wait_stream(s)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            for z, c in zip(state, save):
                z.copy_(c)
            del save
            for i in range(end - done):
                graph.replay()
                if i % 32 == 31:
                    torch.cuda.synchronize()
                    if time.time() > deadline:
                        raise TimeoutError
            torch.cuda.synchronize()
            del graph
        else:
            for i in range(end - done):
                step()
                if time.time() > deadline:
                    raise TimeoutError
        done = end
        hist[:, sel] = torch.where(torch.isnan(hs), hist[:, sel], hs)
        fin = [i for i, a in enumerate(alive) if steps[a] == end]
        rows = torch.tensor(fin, device=DEV)
        res = [evaluate(st, rows, v, T) for v in val_sets]
        for j, i in enumerate(fin):
            yield alive[i], [r[j] for r in res], hist[:end, alive[i]].cpu()
        left = [i for i, a in enumerate(alive) if steps[a] > end]
        alive = [alive[i] for i in left]
        if alive:
            st.keep(torch.tensor(left, device=DEV))
