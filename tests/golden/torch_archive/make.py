"""Archives of torch.save, small, and what is in them.

    cd tests/golden/torch_archive && python3 make.py       (made with PyTorch 1.13.1 of Debian 12, NumPy 1.24.2)

layouts.pt, layouts_legacy.pt: views, strides and element types, in the zip format and in the one before 1.6.
reference/: a model folder as the published training leaves it: results.pt (model, optimizer, step, stats with NumPy numbers), config.yaml,
    optimized-threshold. input.npy and output.npy: the network in evaluation mode (running statistics), both [N,D,H,W,C], float64.
tensors.csv: per tensor its type, shape and the CRC-32 of its elements in row-major order, little-endian. scalars.csv: the other values.
"""

import collections
import csv
import pathlib
import sys
import zlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from make_unet import UNet, fill  # noqa: E402


def layouts():
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) * 0.5 - 3
    d = collections.OrderedDict()
    d["base"] = base
    d["alias"] = base
    d["slice"] = base[1:, ::2, 1:4]
    d["permuted"] = base.permute(2, 0, 1)
    d["expanded"] = torch.tensor([[1.5], [-2.0]]).expand(2, 3)
    d["channels_last"] = torch.arange(48, dtype=torch.float32).reshape(1, 2, 2, 3, 4).contiguous(memory_format=torch.channels_last_3d)
    d["scalar"] = torch.tensor(2.25)
    d["empty"] = torch.zeros(0, 7)
    d["parameter"] = torch.nn.Parameter(torch.tensor([[1.0, -0.0], [float("inf"), 3e-39]]))
    d["f64"] = torch.tensor([1 / 3, -2e300], dtype=torch.float64)
    d["f16"] = torch.tensor([1.5, -2, 6e-8, 65504], dtype=torch.float16)
    d["bf16"] = torch.tensor([1.5, -2, 1e-30], dtype=torch.bfloat16)
    d["i64"] = torch.tensor([-1, 2**62])
    d["i32"] = torch.tensor([-7, 2**31 - 1], dtype=torch.int32)
    d["i16"] = torch.tensor([-300, 5], dtype=torch.int16)
    d["i8"] = torch.tensor([-128, 127], dtype=torch.int8)
    d["u8"] = torch.tensor([255, 0, 3], dtype=torch.uint8)
    d["bool"] = torch.tensor([True, False, True])
    d["nested"] = {"list": [torch.ones(2), 7, None], 5: "text µ", "pair": (True, 0.1), "big": 2**40, "negative": -3}
    return d


def flat(value, name=""):
    if isinstance(value, dict):
        for key, v in value.items():
            yield from flat(v, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from flat(v, f"{name}.{i}")
    else:
        yield name, value


def raw(t):
    t = t.detach().contiguous()
    return (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()


def train(net):
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    x, stats = torch.randn(2, 1, 4, 8, 4), collections.defaultdict(list)
    for step in range(2):
        loss = ((net(x) - 0.25) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stats["train-loss"].append({"step": step, "loss": loss.item()})
        two = np.array([loss.item(), loss.item() / 3])
        stats["valid-loss"].append({"step": step, "loss": np.mean(two), "std-loss": np.std(two)})
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 2, "stats": stats}


CONFIG = """model_config:
  first_kernel_size: 3
  inC: 1
  n_layer: 2
  nbf: 1
  outC: 1
  r: 1
  use_batch_norm: true
  use_leaky_relu: true
"""


def main():
    print("torch", torch.__version__, "numpy", np.__version__)
    torch.set_num_threads(1)
    saved = {"layouts.pt": layouts()}
    torch.save(saved["layouts.pt"], HERE / "layouts.pt")
    torch.save(saved["layouts.pt"], HERE / "layouts_legacy.pt", _use_new_zipfile_serialization=False)
    net = UNet(layers=2, width=1)
    fill(net)
    (HERE / "reference").mkdir(exist_ok=True)
    saved["reference/results.pt"] = train(net)
    torch.save(saved["reference/results.pt"], HERE / "reference/results.pt")
    (HERE / "reference/config.yaml").write_text(CONFIG)
    (HERE / "reference/optimized-threshold").write_text("0.375")
    net = net.double().eval()
    x = torch.sin(torch.arange(2 * 8 * 4 * 12, dtype=torch.float64)).reshape(2, 1, 8, 4, 12)
    for name, t in (("input", x), ("output", net(x))):
        np.save(HERE / "reference" / f"{name}.npy", np.ascontiguousarray(t.detach().permute(0, 2, 3, 4, 1).numpy()))
    with open(HERE / "tensors.csv", "w") as tensors, open(HERE / "scalars.csv", "w") as scalars:
        tensors, scalars = csv.writer(tensors, lineterminator="\n"), csv.writer(scalars, lineterminator="\n")
        tensors.writerow(["file", "tensor", "dtype", "shape", "crc"])
        scalars.writerow(["file", "name", "type", "value"])
        for file, content in saved.items():
            for name, value in flat(content):
                if isinstance(value, torch.Tensor):
                    shape = "x".join(str(n) for n in value.shape) or "scalar"
                    tensors.writerow([file, name, str(value.dtype)[6:], shape, zlib.crc32(raw(value))])
                else:
                    kind = "float" if isinstance(value, float) else type(value).__name__  # numpy.float64 is a float too
                    scalars.writerow([file, name, kind, repr(float(value)) if kind == "float" else value])


main()
