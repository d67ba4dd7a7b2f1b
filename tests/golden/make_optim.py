"""Golden trajectories of optimisers, from PyTorch in float64.

    cd tests/golden && python3 make_optim.py      (made with PyTorch 1.13.1 of Debian 12, NumPy 1.24.2)

One file optim/<name>.npy per optimiser, [5, 7]: the parameter after each of five steps. It starts at
p[i] = cos(i), its gradient in step t = 0..4 is 0.1 p[i] + sin(0.3 i + t) (t + 1)^-1. schedules.npy, [3, 60]:
rates of StepLR, of CosineAnnealingLR, and of ReduceLROnPlateau, each from 0.1.
"""

import pathlib

import numpy as np
import torch

O = torch.optim
OPTIMISERS = {
    "sgd": lambda p: O.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: O.SGD(p, lr=0.1, momentum=0.9),
    "sgd_nesterov": lambda p: O.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "sgd_decay": lambda p: O.SGD(p, lr=0.1, weight_decay=0.1),
    "adam": lambda p: O.Adam(p, lr=2e-4),
    "adam_decay": lambda p: O.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    "adamw": lambda p: O.AdamW(p, lr=0.05, weight_decay=0.1),
}


def loss_at(step):  # falls, stalls, falls: what the plateau schedule watches
    return max(0.2, 1 - 0.06 * step) if step < 30 else 0.15


def main():
    print("torch", torch.__version__, "numpy", np.__version__)
    folder = pathlib.Path(__file__).parent / "optim"
    i = torch.arange(7, dtype=torch.float64)
    for name, make in OPTIMISERS.items():
        p = torch.nn.Parameter(torch.cos(i))
        optimiser, rows = make([p]), []
        for t in range(5):
            p.grad = 0.1 * p.detach() + torch.sin(0.3 * i + t) / (t + 1)
            optimiser.step()
            rows.append(p.detach().numpy().copy())
        np.save(folder / f"{name}.npy", np.array(rows))

    # Keras' Adam, epsilon outside the corrected root: lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
    p, m, v, rows = np.cos(np.arange(7.0)), np.zeros(7), np.zeros(7), []
    for t in range(5):
        g = 0.1 * p + np.sin(0.3 * np.arange(7) + t) / (t + 1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 3e-2 * np.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1)) * m / (np.sqrt(v) + 1e-3)
        rows.append(p)
    np.save(folder / "adam_keras.npy", np.array(rows))

    def rates(make, report):
        optimiser = O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        schedule, out = make(optimiser), []
        for step in range(60):
            optimiser.step()
            if report:  # the rate after the report
                schedule.step(loss_at(step))
                out.append(optimiser.param_groups[0]["lr"])
            else:  # the rate of this step
                out.append(optimiser.param_groups[0]["lr"])
                schedule.step()
        return out

    S = O.lr_scheduler
    np.save(folder / "schedules.npy", np.array([
        rates(lambda o: S.StepLR(o, 7, 0.5), False),
        # PyTorch's cosine starts to rise again after T_max: only 50 steps of it are compared.
        rates(lambda o: S.CosineAnnealingLR(o, 50, 0.01), False),
        # patience counts one more report here than in Keras, whose rule voxgrad follows: 4 there is 3 here
        rates(lambda o: S.ReduceLROnPlateau(o, factor=0.5, patience=3, threshold=0.001, threshold_mode="abs", min_lr=0.01), True)]))


if __name__ == "__main__":
    main()
