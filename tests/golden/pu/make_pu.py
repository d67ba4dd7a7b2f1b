#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Golden tables of positive-unlabeled risks, priors and metrics: make_pu.py > pu.json

Risks are written as in the papers, with PyTorch's means, and differentiated by autograd in float64; estimators and metrics are
loops over sorted scores. Made with PyTorch 1.13.1, Python 3.11.
"""
import json
import math
import random

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
rng = random.Random(20241124)
sig, sp = torch.sigmoid, F.softplus

LOSS = {
    "sigmoid": lambda z: sig(-z),
    "ramp": lambda z: 0.5 * torch.clamp(1 - z, 0, 2),
    "logistic": lambda z: sp(-z, threshold=1e9),
    "squared": lambda z: 0.25 * (z - 1) ** 2,
    "double_hinge": lambda z: torch.maximum(-z, torch.clamp(0.5 - 0.5 * z, min=0)),
    "hinge": lambda z: torch.clamp(1 - z, min=0),
    "brier": lambda z: sig(-z) ** 2,
    "savage": lambda z: sig(-2 * z) ** 2,
    "focal2": lambda z: sig(-z) ** 2 * sp(-z, threshold=1e9),
    "focal0.5": lambda z: sig(-z) ** 0.5 * sp(-z, threshold=1e9),
}


def mean(values, weight, mask, denominator=None):
    """Weighted mean over the mask; 0 over nothing."""
    total = weight[mask].sum() if denominator is None else denominator
    return (weight[mask] * values[mask]).sum() / total if mask.any() else torch.zeros(())


def pu_risk(z, y, w, prior, surrogate="sigmoid", correction="kiryo", beta=0.0, gamma=1.0, leak=1.0, prior_prime=None, scenario="cc",
            den_p=None, den_u=None):
    loss, p, u = LOSS[surrogate], y == 1, (y == 0) | ((y == 1) if scenario == "ss" else False)
    rp, rn, ru = mean(loss(z), w, p, den_p), mean(loss(-z), w, p, den_p), mean(loss(-z), w, u, den_u)
    r = ru - prior * rn
    a, b = (prior, 1.0) if prior_prime is None else (prior_prime, (1 - prior_prime) / (1 - prior))
    below = r.item() < (0 if correction in ("abs", "leaky") else -beta)
    shown = objective = a * rp + b * r
    if below and correction == "clamp":
        shown = objective = a * rp - b * beta
    elif below and correction in ("abs", "leaky"):
        shown = objective = a * rp - b * (1 if correction == "abs" else leak) * r
    elif below and correction == "kiryo":
        shown, objective = a * rp - b * beta, -gamma * b * r
    branch = "corrected" if below and correction != "none" else "normal"
    return shown, objective, {"Rp_pos": rp, "Rp_neg": rn, "Ru_neg": ru, "r": r, "upu": a * rp + b * r, "branch": branch}


def method(name, z, y, w, e, **k):
    """(shown, objective, other numbers)"""
    p, u, n = y == 1, y == 0, y == 2
    loss = LOSS[k.get("surrogate", "sigmoid")]
    s = sig(z)
    if name == "pu_risk":
        return pu_risk(z, y, w, **k)
    if name == "pn":
        v = k["prior"] * mean(loss(z), w, p) + (1 - k["prior"]) * mean(loss(-z), w, n)
    elif name in ("naive_mse", "naive_bce"):
        t, m = (y == 1).double(), p | u
        v = mean((s - t) ** 2 if name == "naive_mse" else F.binary_cross_entropy_with_logits(z, t, reduction="none"), w, m)
    elif name == "naive_balanced":
        v = k["prior"] * mean(loss(z), w, p) + (1 - k["prior"]) * mean(loss(-z), w, u)
    elif name == "pnu":
        rp, neg = mean(loss(z), w, p), (1 - k["eta"]) * (1 - k["prior"]) * mean(loss(-z), w, n)
        neg = neg + k["eta"] * (mean(loss(-z), w, u) - k["prior"] * mean(loss(-z), w, p))
        if neg.item() < -k["beta"]:
            return k["prior"] * rp - k["beta"], -k["gamma"] * neg, {"neg": neg, "branch": "corrected"}
        return k["prior"] * rp + neg, k["prior"] * rp + neg, {"neg": neg, "branch": "normal"}
    elif name == "pubn":
        high = e > k["threshold"]
        extra = torch.where(high, (1 - e) / e, torch.zeros(()))
        v = (k["prior"] * mean(loss(z) + extra * loss(-z), w, p) + k["rho"] * mean(loss(-z) * (1 + extra), w, n)
             + mean(torch.where(high, torch.zeros(()), 1 - e) * loss(-z), w, u))
    elif name == "sar":
        total = w[p | u].sum()
        pos = (w * loss(z) / e)[p].sum() / total
        r = ((w * loss(-z))[u].sum() + (w * (1 - 1 / e) * loss(-z))[p].sum()) / total
        if r.item() < -k["beta"]:
            return pos - k["beta"], -k["gamma"] * r, {"pos": pos, "r": r, "branch": "corrected"}
        return pos + r, pos + r, {"pos": pos, "r": r, "branch": "normal"}
    elif name == "dist_pu":
        h = -(s * torch.log(s) + (1 - s) * torch.log(1 - s))
        v = 2 * k["prior"] * (mean(s, w, p) - 1).abs() + (mean(s, w, u) - k["prior"]).abs() + k["entropy"] * mean(h, w, u)
    elif name == "ge_kl":
        m, q = mean(s, w, u), k["prior"]
        v = mean(-torch.log(s), w, p) + k["slack"] * (q * torch.log(q / m) + (1 - q) * torch.log((1 - q) / (1 - m)))
    elif name == "ge_binomial":
        c, q = int(u.sum()), k["prior"]
        m, var = s[u].sum(), (s * (1 - s))[u].sum()
        counts = torch.arange(c + 1.0)
        weight = torch.softmax(-(m - counts) ** 2 / (2 * (var + 1e-10)), 0)
        bins = torch.tensor([math.log(math.comb(c, i)) + i * math.log(q) + (c - i) * math.log(1 - q) for i in range(c + 1)])
        v = mean(-torch.log(s), w, p) - k["slack"] * (weight * bins).sum()
    elif name == "vpu":
        v = torch.log(mean(s, w, p | u if k["union"] else u)) - mean(torch.log(s), w, p)
    elif name == "taylor_vpu":
        v = -mean(torch.log(s), w, p) - sum((1 - mean(s, w, u)) ** i / i for i in range(1, k["order"] + 1))
    elif name in ("pu_dice", "pu_tversky"):
        q, eps = k["prior"], k["eps"]
        tp = q * mean(s, w, p)
        d = mean(s, w, p | u if k.get("union") else u) - tp
        if name == "pu_dice":
            f = {"none": d, "clamp": torch.clamp(d, min=0), "abs": d.abs()}[k["correction"]]
            v = 1 - (2 * tp + eps) / (q + tp + f + eps)
        else:
            v = 1 - (tp + eps) / (tp + k["alpha"] * torch.clamp(d, min=0) + k["beta"] * (q - tp) + eps)
    elif name == "cvir":
        order = sorted((i for i in range(len(y)) if y[i] == 0), key=lambda i: -z[i].item())
        kept = u.clone()
        kept[order[:int(k["alpha"] * len(order))]] = False
        v = 0.5 * (mean(-torch.log(s), w, p) + mean(-torch.log(1 - s), w, kept))
        return v, v, {"kept": [int(b) for b in kept]}
    return v, v, {}


def draw(n, low, high, digits=2):
    return [round(rng.uniform(low, high), digits) for _ in range(n)]


def case(name, parameters, kind="mixed", weighted=False):
    """kind: how the logits lie. The labelled ones of `apart` are far above the others, so that r is negative."""
    classes = {"mixed": [1] * 5 + [0] * 12 + [255] * 2, "apart": [1] * 6 + [0] * 11, "checked": [1] * 4 + [0] * 8 + [2] * 5 + [255],
               "few": [1] * 3 + [0] * 37, "no_positive": [0] * 6 + [255], "no_unlabeled": [1] * 5 + [255]}[kind]
    label = classes[:]
    rng.shuffle(label)
    z = [v + (2.6 if kind == "apart" and y == 1 else -2.6 if kind == "apart" else 0) for v, y in zip(draw(len(label), -2.5, 2.5), label)]
    z = [round(v + 0.003, 3) for v in z]  # never on a kink
    weight = draw(len(label), 0, 2) if weighted else [1.0] * len(label)
    out = {"id": "-".join([name, kind] + [str(v) for v in parameters.values()] + (["weighted"] if weighted else [])), "method": name,
           "params": parameters, "z": z, "label": label, "weight": weight}
    e = None
    if name in ("sar", "pubn"):
        out["propensity"] = draw(len(label), 0.15, 0.95)
        e = torch.tensor(out["propensity"])
    logits = torch.tensor(z, requires_grad=True)
    shown, objective, others = method(name, logits, torch.tensor(label), torch.tensor(weight), e, **parameters)
    objective.backward()
    expected = {k: v.item() if torch.is_tensor(v) else v for k, v in others.items()}
    expected["reported"] = shown.item()
    expected["objective"] = objective.item()
    expected["grad"] = (logits.grad if logits.grad is not None else torch.zeros(len(z))).tolist()
    out["expected"] = expected
    return out


def risks():
    for surrogate in LOSS:
        for correction, kind in (("none", "mixed"), ("kiryo", "apart"), ("abs", "apart")):
            yield case("pu_risk", {"prior": 0.35, "surrogate": surrogate, "correction": correction}, kind, True)
    for more in ({"beta": 0.05}, {"beta": 0.9}, {"gamma": 0.3, "beta": 0.02}, {"prior_prime": 0.5}, {"prior_prime": 0.4, "gamma": 0.6},
                 {"scenario": "ss"}, {"den_p": 9.0, "den_u": 30.0}, {"correction": "clamp", "beta": 0.03}, {"correction": "leaky", "leak": 0.4},
                 {"correction": "abs", "prior_prime": 0.3}):
        for kind in ("mixed", "apart"):
            yield case("pu_risk", {"prior": 0.4, "surrogate": "brier", **more}, kind)
    for kind in ("no_positive", "no_unlabeled"):
        for correction in ("none", "kiryo", "abs"):
            yield case("pu_risk", {"prior": 0.2, "surrogate": "logistic", "correction": correction}, kind)
    yield case("pn", {"prior": 0.3, "surrogate": "logistic"}, "checked", True)
    yield case("naive_mse", {}, "mixed", True)
    yield case("naive_bce", {}, "mixed", True)
    yield case("naive_balanced", {"prior": 0.5, "surrogate": "logistic"})
    yield case("pnu", {"prior": 0.3, "surrogate": "brier", "eta": 0.7, "beta": 0.0, "gamma": 1.0}, "checked", True)
    yield case("pnu", {"prior": 0.4, "surrogate": "sigmoid", "eta": 1.0, "beta": 0.05, "gamma": 0.5}, "apart")
    yield case("pubn", {"prior": 0.25, "surrogate": "logistic", "rho": 0.1, "threshold": 0.5}, "checked", True)
    yield case("sar", {"surrogate": "logistic", "beta": 0.0, "gamma": 1.0}, "mixed", True)
    yield case("sar", {"surrogate": "sigmoid", "beta": 0.1, "gamma": 0.5}, "apart")
    yield case("dist_pu", {"prior": 0.2, "entropy": 0.05}, "mixed", True)
    yield case("dist_pu", {"prior": 0.4, "entropy": 0.0}, "apart")
    yield case("ge_kl", {"prior": 0.15, "slack": 10.0}, "mixed", True)
    yield case("ge_binomial", {"prior": 0.15, "slack": 1.0}, "few")
    yield case("vpu", {"union": True}, "mixed", True)
    yield case("vpu", {"union": False}, "apart")
    for order in (1, 3):
        yield case("taylor_vpu", {"order": order}, "mixed", True)
    for correction in ("none", "clamp", "abs"):
        for kind in ("mixed", "apart"):
            yield case("pu_dice", {"prior": 0.4, "eps": 1e-6, "union": kind == "mixed", "correction": correction}, kind)
    yield case("pu_tversky", {"prior": 0.3, "alpha": 0.4, "beta": 0.6, "eps": 1e-6})
    yield case("pu_tversky", {"prior": 0.45, "alpha": 0.4, "beta": 0.6, "eps": 1e-6}, "apart")
    yield case("cvir", {"alpha": 0.25})


def surrogates():
    z = [-700.5, -35.0, -4.25, -1.5, -0.4, 0.0, 0.3, 0.9, 2.2, 6.0, 33.0, 700.25]
    for name, loss in LOSS.items():
        x = torch.tensor(z, requires_grad=True)
        y = loss(x)
        y.sum().backward()
        if name == "focal0.5":  # autograd of 0^0.5 is infinite; the limit is 0
            x.grad[-1] = 0.0
        yield {"name": name, "z": z, "loss": y.tolist(), "dloss": x.grad.tolist()}


def dense():
    shape = [2, 1, 3, 2, 5]
    label = [rng.choice([0, 0, 0, 0, 1, 255]) for _ in range(60)]
    z = [round(v + (2 if i >= 30 and y == 1 else -2 if i >= 30 else 0), 2) for i, (v, y) in enumerate(zip(draw(60, -2, 2), label))]
    y, one = torch.tensor(label), torch.ones(60)
    out = {"shape": shape, "z": z, "label": label, "surrogate": "sigmoid", "prior": 0.3, "cases": []}
    x = torch.tensor(z, requires_grad=True)
    shown, objective, e = pu_risk(x, y, one, 0.3)
    objective.backward()
    out["cases"].append({"id": "per-batch", "reduction": "batch", "expected": {
        "r": e["r"].item(), "branch": e["branch"], "reported": shown.item(), "grad": x.grad.tolist()}})
    x = torch.tensor(z, requires_grad=True)
    priors, halves = [0.2, 0.4], (slice(0, 30), slice(30, 60))
    parts = [pu_risk(x[h], y[h], one[h], q) for h, q in zip(halves, priors)]
    (sum(part[1] for part in parts) / 2).backward()
    out["cases"].append({"id": "per-volume", "reduction": "volume-mean", "priors": priors, "expected": {
        "r": [part[2]["r"].item() for part in parts], "branch": [part[2]["branch"] for part in parts],
        "reported": sum(part[0].item() for part in parts) / 2, "grad": x.grad.tolist()}})
    return out


# ---- estimators and metrics, on plain lists

def bbe(p, u, n_p, n_u, g=0.01, delta=0.1):
    best = None
    curve = []
    for t in sorted(set(u), reverse=True):
        k_p, k_u = sum(s >= t for s in p), sum(s >= t for s in u)
        if k_p < 2 or k_u < 2:
            continue
        q_p, q_u = k_p / len(p), k_u / len(u)
        conf = (1 + g) / q_p * (math.sqrt(math.log(4 / delta) / (2 * n_u)) + math.sqrt(math.log(4 / delta) / (2 * n_p)))
        curve.append([t, q_u / q_p, q_u / q_p + conf])
        if best is None or q_u / q_p + conf < best["ucb"]:
            best = {"threshold": t, "k_u": k_u, "k_p": k_p, "prior": min(1, q_u / q_p), "ucb": q_u / q_p + conf}
    return {**best, "curve": curve}


def priors():
    p = [round(rng.betavariate(5, 2), 3) for _ in range(50)]
    u = [round(rng.betavariate(5, 2) if i < 45 else rng.betavariate(2, 6), 3) for i in range(180)]
    alpha = len(p) / (len(p) + len(u))
    c1, c2, c3 = sum(p) / len(p), sum(p) / (sum(p) + sum(u)), max(p + u)
    out = {"scores_p": p, "scores_u": u, "bbe": bbe(p, u, len(p), len(u)), "bbe_effective": {"n_eff_p": 8, "n_eff_u": 30, **bbe(p, u, 8, 30)},
           "elkan_noto": {"c_e1": c1, "c_e2": c2, "c_e3": c3, "prior_e1": alpha / c1, "prior_e2": alpha / c2, "prior_e3": alpha / c3,
                          "prior_u_ratio": sum(u) / len(u) / c1}}
    total, c = len(p) + len(u), 0.5
    delta = max(0.025, 1 / (1 + 0.004 * total))
    for _ in range(2):
        best = 0
        for t in set(p + u):
            labelled = sum(s >= t for s in p)
            k = labelled + sum(s >= t for s in u)
            if k >= 10:
                best = max(best, labelled / k - math.sqrt(c * (1 - c) * (1 - delta) / (delta * k)))
        c = best
    out["tice_1d"] = {"delta": delta, "c": c, "prior": alpha / c}
    prior, start, steps = 0.5, 0.5, 0
    while True:
        ratio, other = prior / start, (1 - prior) / (1 - start)
        new = sum(ratio * s / (ratio * s + other * (1 - s)) for s in u) / len(u)
        steps += 1
        done, prior = abs(new - prior) < 1e-12, new
        if done:
            break
    out["em_shift"] = {"prior0": start, "prior": prior, "iterations": steps}
    return out


def metrics(scenario, prior):
    p, u = draw(15, 0.3, 0.95), draw(40, 0.02, 0.9)
    everything = u + (p if scenario == "ss" else [])
    rows, ap, before = [], 0.0, 0.0
    for t in sorted(set(p + u), reverse=True):
        r, q = sum(s >= t for s in p) / len(p), sum(s >= t for s in everything) / len(everything)
        raw = prior * r / q if q > 0 else 0.0
        rows.append({"t": t, "recall": r, "rate": q, "precision_raw": raw, "precision": min(1.0, raw), "f1": 2 * prior * r / (prior + q),
                     "lee_liu": r * r / q if q > 0 else 0.0, "iou": prior * r / (prior + q - prior * r),
                     "fpr": max(0.0, (q - prior * r) / (1 - prior)), "zero_one": 2 * prior * (1 - r) + q - prior})
        ap += (r - before) * min(1.0, raw)
        before = r
    auc = sum((a > b) + 0.5 * (a == b) for a in p for b in everything) / (len(p) * len(everything))
    return {"id": scenario, "scores_p": p, "scores_u": u, "prior": prior, "scenario": scenario, "expected": {
        "rows": rows, "t_f1": max(rows, key=lambda x: (x["f1"], x["t"]))["t"], "t_lee_liu": max(rows, key=lambda x: (x["lee_liu"], x["t"]))["t"],
        "t_quantile": min((x["t"] for x in rows if x["rate"] <= prior), default=None), "auc_pu": auc, "auc": (auc - prior / 2) / (1 - prior),
        "average_precision": ap}}


# autograd's derivative of a sigmoid near 1 is good to about 1e-16, not to as many digits of itself
print(json.dumps({"note": "made by make_pu.py", "surrogate_tolerance": [1e-9, 2e-16], "surrogates": list(surrogates()), "risks": list(risks()), "dense": dense(),
                  "priors": priors(), "metrics": [metrics("cc", 0.3), metrics("ss", 0.45)]}))
