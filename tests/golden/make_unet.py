"""Golden values of small 3-D U-Nets, from a PyTorch twin in float64.

    cd tests/golden && python3 make_unet.py       (made with PyTorch 1.13.1 of Debian 12, NumPy 1.24.2)

unet/<name>.keys: names and shapes of the state. One file unet/<name>.npy per configuration: output in evaluation mode, output in training mode (both
channels last), loss in training mode, then for each parameter the L2 norm of its gradient and the gradient of the
element with PyTorch's flat index 0. Weights and input are formulas, so that both sides make their own:
parameter id p, flat index j: s = sin(1 + 0.7 p + 0.37 j); five-dimensional weights 1.5 s / sqrt(f), f = size of
dimension 0 for transposed convolutions and of dimension 1 for others, times the kernel; BN weights 1 + 0.1 s; biases
0.05 s. Norm layer b, channel c: running mean 0.02 sin(0.5 + c + b), running variance 2 + 0.5 cos(0.25 + c + b).
"""

import pathlib

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inp, out, kernel, norm, slope):
        super().__init__()
        layers = []
        for i in (inp, out):
            layers.append(nn.Conv3d(i, out, kernel, padding=kernel // 2))
            if norm:
                layers.append(nn.BatchNorm3d(out))
            layers.append(nn.LeakyReLU(slope))
        self.convs = nn.Sequential(*layers)

    def forward(self, x):
        return self.convs(x)


class Bottleneck(nn.Module):
    def __init__(self, inp, out, r):
        super().__init__()
        self.dilated_conv = nn.ModuleList([nn.Conv3d(inp, out, 3, padding=d, dilation=d) for d in range(1, r + 1)])
        self.conv2 = nn.Conv3d(out * r, out, 3, padding=1)

    def forward(self, x):
        return self.conv2(torch.cat([conv(x).relu() for conv in self.dilated_conv], 1)).relu()


class Up(Block):
    def __init__(self, inp, out, norm):
        nn.Module.__init__(self)
        self.upconv = nn.ConvTranspose3d(inp, out, 3, stride=2, padding=1, output_padding=1)
        self.convs = Block(2 * out, out, 3, norm, 0.0).convs

    def forward(self, x, skip):
        return self.convs(torch.cat([skip, self.upconv(x)], 1))


class UNet(nn.Module):
    def __init__(self, inp=1, out=1, layers=5, width=8, r=1, kernel=3, norm=True, leaky=True):
        super().__init__()
        w = [width * 2 ** i for i in range(layers + 1)]
        self.bottleneck = Bottleneck(w[layers - 1], w[layers], r)
        self.down_convs = nn.ModuleList(
            [Block(inp if i == 0 else w[i - 1], w[i], kernel if i == 0 else 3, norm, 0.2 if leaky else 0.0)
             for i in range(layers)])
        self.up_convs = nn.ModuleList([Up(w[i + 1], w[i], norm) for i in reversed(range(layers))])
        self.final_conv = nn.Conv3d(width, out, 1)

    def forward(self, x):
        skips = []
        for down in self.down_convs:
            skips.append(down(x))
            x = nn.functional.max_pool3d(skips[-1], 2)
        x = self.bottleneck(x)
        for up in self.up_convs:
            x = up(x, skips.pop())
        return torch.sigmoid(self.final_conv(x))


def fill(net):
    transposed = {name + ".weight" for name, m in net.named_modules() if isinstance(m, nn.ConvTranspose3d)}
    with torch.no_grad():
        for p, (name, t) in enumerate(net.named_parameters()):
            s = torch.sin(1 + 0.7 * p + 0.37 * torch.arange(t.numel(), dtype=torch.float64)).reshape(t.shape)
            if t.dim() == 5:
                f = t.shape[0 if name in transposed else 1] * t[0, 0].numel()
                s = 1.5 * s / np.sqrt(f)
            else:
                s = 1 + 0.1 * s if name.endswith("weight") else 0.05 * s
            t.copy_(s)
        norms = [m for _, m in net.named_modules() if isinstance(m, nn.BatchNorm3d)]
        for b, m in enumerate(norms):
            c = torch.arange(m.num_features, dtype=torch.float64)
            m.running_mean.copy_(0.02 * torch.sin(0.5 + c + b))
            m.running_var.copy_(2 + 0.5 * torch.cos(0.25 + c + b))


CONFIGS = {
    "plain2": (dict(layers=2, width=4), (2, 8, 4, 12)),
    "dilated": (dict(layers=2, width=4, r=3), (1, 16, 16, 16)),
    "kernel5": (dict(layers=3, width=3, kernel=5), (1, 8, 16, 16)),
    "no_norm": (dict(layers=2, width=4, norm=False), (1, 8, 8, 8)),
    "relu": (dict(layers=2, width=5, leaky=False), (1, 8, 8, 8)),
    "channels": (dict(inp=2, out=3, layers=2, width=4), (2, 4, 8, 8)),
    "layers4": (dict(layers=4, width=2, r=2), (2, 16, 16, 16)),
    "layers5": (dict(layers=5, width=1), (2, 32, 32, 32)),
}


def write_keys(path, net):
    """The state's names in order, each with its extents as PyTorch stores them."""
    lines = [" ".join([key] + [str(e) for e in t.shape]) + "\n" for key, t in net.state_dict().items()]
    path.write_text("".join(lines))


def main():
    print("torch", torch.__version__, "numpy", np.__version__)
    folder = pathlib.Path(__file__).parent / "unet"
    write_keys(folder / "default.keys", UNet())
    for name, (options, (n, d, h, w)) in CONFIGS.items():
        net = UNet(**options).double()
        fill(net)
        channels = options.get("inp", 1)
        i = torch.arange(n * d * h * w * channels, dtype=torch.float64)
        x = torch.sin(0.05 * i + 0.3 * torch.sin(0.011 * i)).reshape(n, d, h, w, channels)
        out = options.get("out", 1)
        target = (torch.cos(0.07 * torch.arange(n * d * h * w * out, dtype=torch.float64)) > 0.5).double().reshape(n, d, h, w, out)
        first = x.movedim(-1, 1)
        net.eval()
        with torch.no_grad():
            evaluated = net(first).movedim(1, -1)
        net.train()
        y = net(first).movedim(1, -1)
        loss = nn.functional.mse_loss(y, target)
        loss.backward()
        parts = [evaluated.reshape(-1), y.detach().reshape(-1), loss.detach().reshape(1)]
        for t in net.parameters():
            parts.append(torch.stack([t.grad.norm(), t.grad.reshape(-1)[0]]))
        values = torch.cat([p.contiguous() for p in parts]).numpy()
        if name == "layers5":  # outputs are large here: every 16th voxel
            flat = n * d * h * w * out
            values = np.concatenate([values[:flat:16], values[flat:2 * flat:16], values[2 * flat:]])
        np.save(folder / f"{name}.npy", values)
        write_keys(folder / f"{name}.keys", net)
        print(name, "loss", float(loss.detach()), values.nbytes, "bytes")


if __name__ == "__main__":
    main()
