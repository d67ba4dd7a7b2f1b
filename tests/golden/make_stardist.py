"""Golden values of small StarDist-3D networks with a U-Net backbone, from a PyTorch twin in float64.

    cd tests/golden && python3 make_stardist.py       (made with PyTorch 1.13.1 of Debian 12, NumPy 1.24.2)

stardist/<name>.npy: prob, dist (both channels last), the loss of the whole, of prob and of dist, then for each
parameter in order the L2 norm of its gradient and the gradient of the element with PyTorch's flat index 0. Weights,
input and targets are formulas: weights and biases as in make_unet.py; x[i] = sin(0.05 i + 0.3 sin(0.011 i)); target
probability max(0, sin(0.13 i)), -1 where cos(0.011 i) < -0.9; target distance 3 + 2 sin(0.03 i).
"""

import pathlib

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from make_unet import fill

EPSILON = 1e-7


class StarDist(nn.Module):
    def __init__(self, inp=1, rays=96, grid=(1, 1, 1), depth=2, kernel=(3, 3, 3), base=32, convs=2, pool=(2, 2, 2), features=128):
        super().__init__()
        self.layers = nn.ModuleList()
        self.steps = []  # "conv", ("pool", window), "keep", ("up", factor)
        channels, kept = inp, []

        def conv(out):
            nonlocal channels
            self.layers.append(nn.Conv3d(channels, out, kernel, padding=[k // 2 for k in kernel]))
            self.steps.append("conv")
            channels = out

        reached = [1, 1, 1]
        while reached != list(grid):
            for _ in range(convs):
                conv(base)
            window = [2 if r < g else 1 for r, g in zip(reached, grid)]
            reached = [r * w for r, w in zip(reached, window)]
            self.steps.append(("pool", window))
        for level in range(depth):
            for _ in range(convs):
                conv(base * 2 ** level)
            kept.append(channels)
            self.steps += ["keep", ("pool", pool)]
        for _ in range(convs - 1):
            conv(base * 2 ** depth)
        conv(base * 2 ** max(0, depth - 1))
        for level in reversed(range(depth)):
            self.steps.append(("up", pool))
            channels += kept.pop()
            for _ in range(convs - 1):
                conv(base * 2 ** level)
            conv(base * 2 ** max(0, level - 1))
        if features:
            conv(features)
        self.prob, self.dist = nn.Conv3d(channels, 1, 1), nn.Conv3d(channels, rays, 1)

    def forward(self, x):
        layers, kept = iter(self.layers), []
        for step in self.steps:
            if step == "conv":
                x = next(layers)(x).relu()
            elif step == "keep":
                kept.append(x)
            elif step[0] == "pool":
                x = F.max_pool3d(x, step[1])
            else:
                x = torch.cat([F.interpolate(x, scale_factor=[float(f) for f in step[1]]), kept.pop()], 1)
        return torch.sigmoid(self.prob(x)), self.dist(x)


def losses(p, d, tp, td):
    q = p.clamp(EPSILON, 1 - EPSILON)
    valid = tp >= 0
    bce = -(tp * torch.log(q + EPSILON) + (1 - tp) * torch.log(1 - q + EPSILON))[valid].mean()
    m = tp.clamp(min=0)
    mae = (m * (td - d).abs()).mean() / (m.mean() + EPSILON) + 1e-4 * ((1 - m) * d.abs()).mean()
    return bce + 0.2 * mae, bce, mae


CONFIGS = {
    "reference": (dict(base=4, rays=6, grid=(1, 2, 2), features=8), (2, 8, 16, 24)),
    "no_grid": (dict(inp=2, base=3, rays=5, depth=1, convs=3, features=0), (1, 4, 6, 8)),
    "axes": (dict(base=2, rays=4, grid=(2, 4, 4), depth=1, kernel=(1, 3, 5), pool=(1, 2, 2), features=5, convs=1), (1, 4, 16, 24)),
    "flat": (dict(base=3, rays=4, depth=0, features=4), (2, 3, 5, 7)),
}


def main():
    print("torch", torch.__version__, "numpy", np.__version__)
    folder = pathlib.Path(__file__).parent / "stardist"
    folder.mkdir(exist_ok=True)
    for name, (options, (n, d, h, w)) in CONFIGS.items():
        net = StarDist(**options).double()
        fill(net)
        channels, rays = options.get("inp", 1), options["rays"]
        i = torch.arange(n * d * h * w * channels, dtype=torch.float64)
        x = torch.sin(0.05 * i + 0.3 * torch.sin(0.011 * i)).reshape(n, d, h, w, channels)
        p, q = net(x.movedim(-1, 1))
        i = torch.arange(p.numel(), dtype=torch.float64)
        tp = torch.where(torch.cos(0.011 * i) < -0.9, torch.tensor(-1.0, dtype=torch.float64), torch.sin(0.13 * i).clamp(min=0))
        td = 3 + 2 * torch.sin(0.03 * torch.arange(q.numel(), dtype=torch.float64))
        shape = (n,) + tuple(p.shape[2:])
        total = losses(p, q, tp.reshape(shape + (1,)).movedim(-1, 1), td.reshape(shape + (rays,)).movedim(-1, 1))
        total[0].backward()
        parts = [t.detach().movedim(1, -1).reshape(-1) for t in (p, q)] + [torch.stack(total).detach()]
        parts += [torch.stack([t.grad.norm(), t.grad.reshape(-1)[0]]) for t in net.parameters()]
        np.save(folder / f"{name}.npy", torch.cat([t.contiguous() for t in parts]).numpy())


if __name__ == "__main__":
    main()
