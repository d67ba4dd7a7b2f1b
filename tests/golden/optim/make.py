# Writes golden.txt: 5 parameters after 1 and 4 steps of PyTorch's optimisers, in double precision.
# Run: python3 make.py > golden.txt
import torch

print(f"# PyTorch {torch.__version__}; name, then the parameters after step 1 and after step 4")
CASES = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.99), eps=1e-6),
    "adam_decay": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
}
for name, make in CASES.items():
    w = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    optimiser = make([w])
    out = []
    for step in range(1, 5):
        w.grad = torch.tensor([0.1 * step, -1.0, 0.01 * (step - 2), 2.0 / step, -0.2], dtype=torch.float64)
        optimiser.step()
        if step in (1, 4):
            out += w.tolist()
    print(name, *(f"{v:.17g}" for v in out))
