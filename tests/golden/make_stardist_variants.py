"""Golden values of StarDist-3D networks with every option, and of all its losses and metrics, from a PyTorch twin in float64.

    cd tests/golden && python3 make_stardist_variants.py       (made with PyTorch 1.13.1 of Debian 12, NumPy 1.24.2)

stardist/<name>.npy, in training mode: prob, dist[, prob_class], channels last; the total loss and those of prob, dist[,
class], the metrics kld, mae, mse, iou; for each parameter in Keras' order the L2 norm of its gradient and the gradient of the
element with PyTorch's flat index 0; of each norm the sums of running mean and variance after the pass; then in evaluation
mode the L2 norms of the maps. Weights, input and targets are formulas as in make_stardist.py; class targets are one-hot,
class (i // 7) mod classes of voxel i, all channels -1 where i mod 11 = 3; class weights 1, 0.5, 1/3, ...
"""

import pathlib

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from make_unet import fill

EPSILON = 1e-7
ACTIVATIONS = {"relu": torch.relu, "elu": F.elu, "tanh": torch.tanh, "linear": lambda x: x, "selu": F.selu,
               "swish": F.silu, "softsign": F.softsign, "leaky_relu": lambda x: F.leaky_relu(x, 0.2)}


class Norm(nn.BatchNorm3d):
    """Keras': epsilon 1e-3, momentum 0.99, running variance from the biased one."""

    def forward(self, x):
        m, v = self.running_mean, self.running_var
        if self.training:
            m, v = x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4), unbiased=False)
            with torch.no_grad():
                self.running_mean.copy_(0.99 * self.running_mean + 0.01 * m)
                self.running_var.copy_(0.99 * self.running_var + 0.01 * v)
        shape = (1, -1, 1, 1, 1)
        x = (x - m.reshape(shape)) / torch.sqrt(v.reshape(shape) + 1e-3)
        return x * self.weight.reshape(shape) + self.bias.reshape(shape)


class Same(nn.Conv3d):
    """Keras' padding="same": for stride s and size n, ceil(n / s) outputs, the odd zero at the end."""

    def __init__(self, inp, out, kernel, stride=(1, 1, 1), bias=True):
        super().__init__(inp, out, kernel, stride=stride, bias=bias)

    def forward(self, x):
        pads = []
        for n, k, s in zip(x.shape[2:], self.kernel_size, self.stride):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads.insert(0, (total // 2, total - total // 2))
        return super().forward(F.pad(x, [p for pair in pads for p in pair]))


def grid_steps(grid):
    reached = [1, 1, 1]
    while reached != list(grid):
        step = [2 if r < g else 1 for r, g in zip(reached, grid)]
        reached = [r * s for r, s in zip(reached, step)]
        yield step


class Conv(nn.Module):
    def __init__(self, inp, out, kernel, act="linear", norm=False, stride=(1, 1, 1), bias=True):
        super().__init__()
        self.conv = Same(inp, out, kernel, stride, bias)
        if norm:
            self.norm = Norm(out)
        self.act = ACTIVATIONS[act]

    def forward(self, x):
        x = self.conv(x)
        return self.act(self.norm(x) if hasattr(self, "norm") else x)


class UNet(nn.Module):
    def __init__(self, inp, grid, depth=2, kernel=(3, 3, 3), base=32, convs=2, pool=(2, 2, 2), act="relu", last="relu", norm=False):
        super().__init__()
        self.pool, channels, skips = pool, inp, []

        def level(outs, acts, norm):
            nonlocal channels
            stage = nn.ModuleList()
            for out, a in zip(outs, acts):
                stage.append(Conv(channels, out, kernel, a, norm))
                channels = out
            return stage

        width = lambda k: base * 2 ** max(0, k)
        self.steps = list(grid_steps(grid))
        self.before = nn.ModuleList([level([base] * convs, [act] * convs, False) for _ in self.steps])
        self.down = nn.ModuleList()
        for k in range(depth):
            self.down.append(level([width(k)] * convs, [act] * convs, norm))
            skips.append(channels)
        self.middle = level([width(depth)] * (convs - 1) + [width(depth - 1)], [act] * convs, norm)
        self.up = nn.ModuleList()
        for k in reversed(range(depth)):
            channels += skips[k]
            acts = [act] * (convs - 1) + [last if k == 0 else act]
            self.up.append(level([width(k)] * (convs - 1) + [width(k - 1)], acts, norm))
        self.channels = channels

    def forward(self, x):
        def run(stage, x):
            for conv in stage:
                x = conv(x)
            return x

        for stage, step in zip(self.before, self.steps):
            x = F.max_pool3d(run(stage, x), step)
        kept = []
        for stage in self.down:
            kept.append(run(stage, x))
            x = F.max_pool3d(kept[-1], self.pool)
        x = run(self.middle, x)
        for stage in self.up:
            for axis, factor in enumerate(self.pool):
                x = x.repeat_interleave(factor, axis + 2)
            x = run(stage, torch.cat([x, kept.pop()], 1))
        return x


class Block(nn.Module):
    def __init__(self, inp, out, kernel, stride, convs, act, norm):
        super().__init__()
        self.act = ACTIVATIONS[act]
        project = inp != out or list(stride) != [1, 1, 1]
        for i in range(convs):
            last = i == convs - 1
            conv = Same(inp if i == 0 else out, out, kernel, stride if i == 0 else (1, 1, 1), bias=not norm)
            shortcut = [("projection", Same(inp, out, (1, 1, 1), stride, bias=not norm))] if last and project else []
            own = [(f"conv{i}", conv)]
            for name, module in own + shortcut if norm else shortcut + own:  # Keras' order
                self.add_module(name, module)
            if norm:
                self.add_module(f"norm{i}", Norm(out))
        self.convs = convs

    def forward(self, x):
        y = x
        for i in range(self.convs):
            y = getattr(self, f"conv{i}")(y)
            if hasattr(self, f"norm{i}"):
                y = getattr(self, f"norm{i}")(y)
            if i < self.convs - 1:
                y = self.act(y)
        return self.act((self.projection(x) if hasattr(self, "projection") else x) + y)


class ResNet(nn.Module):
    def __init__(self, inp, grid, blocks=4, kernel=(3, 3, 3), base=32, convs=3, act="relu", norm=False):
        super().__init__()
        self.first, self.second = Same(inp, base, (7, 7, 7)), Same(base, base, (3, 3, 3))
        self.blocks, channels, steps = nn.ModuleList(), base, list(grid_steps(grid))
        for i in range(blocks):
            out = 2 * channels if i < len(steps) else channels
            self.blocks.append(Block(channels, out, kernel, steps[i] if i < len(steps) else [1, 1, 1], convs, act, norm))
            channels = out
        self.channels = channels

    def forward(self, x):
        x = self.second(self.first(x))
        for block in self.blocks:
            x = block(x)
        return x


class StarDist(nn.Module):
    def __init__(self, backbone, inp=1, rays=4, grid=(1, 1, 1), features=8, classes=0, act="relu", kernel=(3, 3, 3), **rest):
        super().__init__()
        self.backbone = backbone(inp, grid, kernel=kernel, act=act, **rest)
        channels = self.backbone.channels
        if features:
            self.features = Conv(channels, features, kernel, act)
            if classes:
                self.features_class = Conv(channels, features, kernel, act)
        self.prob, self.dist = nn.Conv3d(features or channels, 1, 1), nn.Conv3d(features or channels, rays, 1)
        if classes:
            self.prob_class = nn.Conv3d(features or channels, classes + 1, 1)

    def forward(self, x):
        x = self.backbone(x)
        f = self.features(x) if hasattr(self, "features") else x
        maps = [torch.sigmoid(self.prob(f)), self.dist(f)]
        if hasattr(self, "prob_class"):
            maps.append(torch.softmax(self.prob_class(self.features_class(x) if hasattr(self, "features_class") else x), 1))
        return [m.movedim(1, -1) for m in maps]


def losses(maps, tp, td, tc, kind, weights):
    p, d = maps[:2]
    valid, t = tp >= 0, tp.clamp(min=0)

    def bce(q):
        q = q.clamp(EPSILON, 1 - EPSILON)
        return -(tp * torch.log(q + EPSILON) + (1 - tp) * torch.log(1 - q + EPSILON))[valid].mean()

    def masked(value):
        return (t[..., 0] * value).mean() / (t.mean() + EPSILON)

    def overlap(d, sign):
        inter = (sign * torch.minimum(td, d) ** 2).mean(-1)
        return inter / ((torch.maximum(td, d) ** 2).mean(-1) + EPSILON)

    mae, mse, iou = (td - d).abs().mean(-1), ((td - d) ** 2).mean(-1), 1 - overlap(d, torch.sign(d))
    dist = masked({"mae": mae, "mse": mse, "iou": iou}[kind]) + 1e-4 * ((1 - t[..., 0]) * d.abs().mean(-1)).mean()
    total, parts = bce(p) + 0.2 * dist, [bce(p), dist]
    if len(maps) > 2:
        q = maps[2] / (maps[2] + EPSILON).sum(-1, keepdim=True)
        q = q.clamp(EPSILON, 1 - EPSILON)
        parts.append(-(weights * (tc >= 0) * tc * torch.log(q)).sum(-1).mean())
        total = total + parts[-1]
    # kld: binary cross-entropies clip the target to [epsilon, 1] first
    ct, cq = tp.clamp(EPSILON, 1)[valid], p.clamp(EPSILON, 1)[valid]
    entropy = lambda a, b: -(a * torch.log(b.clamp(EPSILON, 1 - EPSILON) + EPSILON)
                             + (1 - a) * torch.log(1 - b.clamp(EPSILON, 1 - EPSILON) + EPSILON)).mean()
    metrics = [entropy(ct, cq) - entropy(ct, ct), masked(mae), masked(mse), masked(overlap(d.clamp(min=0), 1.0))]
    return total, parts, metrics


# name: (StarDist's options, input, distance loss)
CONFIGS = {
    "resnet": (dict(backbone=ResNet, base=3, rays=5, grid=(1, 2, 2), blocks=3, features=6), (2, 3, 6, 10), "mse"),
    "resnet_norm": (dict(backbone=ResNet, base=2, rays=4, grid=(2, 2, 2), blocks=2, convs=2, features=0, classes=1, norm=True),
                    (2, 4, 6, 8), "iou"),
    "resnet_even": (dict(backbone=ResNet, inp=2, base=2, rays=4, grid=(1, 4, 2), blocks=3, convs=2, kernel=(2, 4, 2), features=3,
                         act="swish"), (1, 3, 8, 12), "mae"),
    "unet_norm": (dict(backbone=UNet, base=2, rays=4, grid=(1, 2, 1), depth=1, convs=3, pool=(1, 2, 2), kernel=(1, 3, 5), features=4,
                       classes=2, norm=True, act="elu", last="tanh"), (2, 3, 8, 6), "iou"),
    "unet_even": (dict(backbone=UNet, base=3, rays=4, depth=1, kernel=(2, 3, 4), pool=(1, 3, 2), features=4, act="selu",
                       last="softsign", classes=1), (1, 3, 9, 8), "mse"),
}


def main():
    print("torch", torch.__version__, "numpy", np.__version__)
    folder = pathlib.Path(__file__).parent / "stardist"
    for name, (options, (n, d, h, w), kind) in CONFIGS.items():
        net = StarDist(**options).double()
        fill(net)
        channels, rays, classes = options.get("inp", 1), options["rays"], options.get("classes", 0) + 1
        i = torch.arange(n * d * h * w * channels, dtype=torch.float64)
        x = torch.sin(0.05 * i + 0.3 * torch.sin(0.011 * i)).reshape(n, d, h, w, channels).movedim(-1, 1)
        maps = net(x)
        i = torch.arange(maps[0].numel())
        tp = torch.where(torch.cos(0.011 * i.double()) < -0.9, -torch.ones(i.shape).double(), torch.sin(0.13 * i.double()).clamp(min=0))
        td = 3 + 2 * torch.sin(0.03 * torch.arange(maps[1].numel(), dtype=torch.float64))
        tc = F.one_hot((i // 7) % classes, classes).double()
        tc[i % 11 == 3] = -1
        weights = 1 / (1 + torch.arange(classes, dtype=torch.float64))
        shape = maps[0].shape[:-1]
        total, parts, metrics = losses(maps, tp.reshape(shape + (1,)), td.reshape(shape + (rays,)), tc.reshape(shape + (classes,)),
                                       kind, weights)
        total.backward()
        out = [m.detach().reshape(-1) for m in maps] + [torch.stack([total] + parts + metrics).detach()]
        out += [torch.stack([t.grad.norm(), t.grad.reshape(-1)[0]]) for t in net.parameters()]
        out += [torch.stack([m.running_mean.sum(), m.running_var.sum()]) for m in net.modules() if isinstance(m, Norm)]
        net.eval()
        out.append(torch.stack([m.detach().norm() for m in net(x)]))
        np.save(folder / f"{name}.npy", torch.cat([t.contiguous() for t in out]).numpy())
        print(name, float(total), [tuple(m.shape) for m in maps])


if __name__ == "__main__":
    main()
