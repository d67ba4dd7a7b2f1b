# SPDX-License-Identifier: BSD-3-Clause
"""Triangle thresholds by scikit-image and arPLS baselines by a dense SciPy solve, for tests/data/preprocess.cpp.

python make.py > golden.txt      (needs numpy, scipy, scikit-image)
"""
import numpy as np
import scipy
import scipy.linalg
import skimage
from skimage.filters import threshold_triangle


def uniform(n, x=12345):
    out = np.empty(n, np.float32)
    for i in range(n):
        x = (1664525 * x + 1013904223) % 2**32
        out[i] = np.float32((x >> 8) / 2**24)
    return out


def arpls(y, lam, ratio):
    n = len(y)
    d = np.diff(np.eye(n), 2)
    k = lam * d @ d.T
    w = np.ones(n)
    for _ in range(100):
        z = scipy.linalg.solve(np.diag(w) + k, w * y, assume_a="pos")
        r = y - z
        neg = r[r < 0]
        m, s = neg.mean(), neg.std()
        with np.errstate(over="ignore"):
            wt = 1 / (1 + np.exp(2 * (r - (2 * s - m)) / s))
        if np.linalg.norm(w - wt) / np.linalg.norm(w) < ratio:
            break
        w = wt
    return z


print(f"# numpy {np.__version__} scipy {scipy.__version__} scikit-image {skimage.__version__}")
u = uniform(5000)
for name, v in {
    "cube": u * u * u,
    "mirror": np.float32(1) - u * u * u,
    "counts": np.floor(np.float32(100) + np.float32(1000) * u * u * u * u),
    "negative": (u - np.float32(0.75)) * u,
    "offset": np.float32(8) + u * u,
}.items():
    t = threshold_triangle(v)
    fg = v[v > t]
    print(f"triangle {name} {float(t)!r} {len(fg)} {float(fg.astype(np.float64).mean())!r}")
u = uniform(200, 777).astype(np.float64)
y = 100 + 0.05 * np.arange(200) + u
y[50:60] += 30
y[140:143] += 5
for lam, ratio in ((1e3, 1e-6), (1e6, 1e-10)):
    z = arpls(y, lam, ratio)
    print(f"arpls {lam!r} {ratio!r} " + " ".join(repr(float(z[i])) for i in range(0, 200, 9)))
