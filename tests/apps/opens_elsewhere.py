# SPDX-License-Identifier: BSD-3-Clause
"""Models that voxgrad exported, in the programs they are for: opens_elsewhere.py PROGRAM SOURCE_DIR

Needs PyTorch, safetensors or h5py (with NumPy) in this Python, or in the one that VOXGRAD_PYTHON names; says which part is skipped without.
"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

from run_parts import Skip, run_parts

PROGRAM, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
GOLDEN = SOURCE / "tests/golden"
REFERENCE = GOLDEN / "torch_archive/reference"


def has(module):
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # a folder that is called so is no module


# A Python of one's own often hides the system's, which has the packages.
wanted = os.environ.get("VOXGRAD_PYTHON", "/usr/bin/python3")
if "VOXGRAD_AGAIN" not in os.environ and ("VOXGRAD_PYTHON" in os.environ or not has("torch")) and os.path.exists(wanted):
    os.environ["VOXGRAD_AGAIN"] = "1"
    os.execv(wanted, [wanted, *sys.argv])


def need(*modules):
    for m in modules:
        if not has(m):
            raise Skip(f"no {m} in {sys.executable}")


def convert(model, form, out):
    done = subprocess.run([PROGRAM, "convert", str(model), "--export", form, "--out", str(out)], text=True, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return pathlib.Path(out)


def open_in_torch(folder):
    """results.pt and checkpoint.pt, in safe mode too; the network has the golden output; Adam takes its state and steps."""
    need("torch", "numpy")
    import numpy as np
    import torch
    sys.path.insert(0, str(GOLDEN))
    from make_unet import UNet

    ours = convert(convert(REFERENCE, "voxgrad", folder / "ours"), "reference", folder / "theirs")
    first = torch.load(REFERENCE / "results.pt", weights_only=False)
    # The safe mode of PyTorch 1.13 knows no floating-point numbers at all, so no learning rate: not even its own checkpoints.
    modes = (False, True) if int(torch.__version__.split(".")[0]) >= 2 else (False,)
    for name in ("results.pt", "checkpoint.pt"):
        for safe in [torch.load(ours / name, weights_only=mode) for mode in modes]:
            state = safe
            assert list(state["model"]) == list(first["model"]), "names and their order"
            for key, tensor in first["model"].items():
                got = state["model"][key]
                assert got.dtype == tensor.dtype and got.shape == tensor.shape and torch.equal(got, tensor), key
            assert state["step"] == 2 and len(state["stats"]["train-loss"]) == 2, "step and statistics"
            assert state["stats"]["valid-loss"][1]["loss"] == float(first["stats"]["valid-loss"][1]["loss"]), "a loss to the bit"
    net = UNet(layers=2, width=1)
    net.load_state_dict(safe["model"])
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    adam.load_state_dict(safe["optimizer"])
    moments = first["optimizer"]["state"]
    for i, state in adam.state_dict()["state"].items():
        assert float(state["step"]) == 2 and torch.equal(state["exp_avg"], moments[i]["exp_avg"]), f"moments of parameter {i}"
        assert torch.equal(state["exp_avg_sq"], moments[i]["exp_avg_sq"]), f"moments of parameter {i}"
    assert len(adam.state_dict()["state"]) == len(moments) > 20
    x = torch.from_numpy(np.load(REFERENCE / "input.npy")).permute(0, 4, 1, 2, 3)
    net = net.double().eval()
    with torch.no_grad():
        y = net(x).permute(0, 2, 3, 4, 1).numpy()
    assert np.abs(y - np.load(REFERENCE / "output.npy")).max() < 1e-12, "output"
    net.float().train()(x.float()).mean().backward()
    adam.step()
    return f"PyTorch {torch.__version__}: results.pt and checkpoint.pt open{', also with weights_only=True' if len(modes) > 1 else ''}"


def safetensors_of(path):
    """Name -> array, read by hand."""
    import numpy as np

    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(raw[8 + size + v["data_offsets"][0] : 8 + size + v["data_offsets"][1]], "<f4").reshape(v["shape"]) for name, v in header.items()}


def in_torch_order(name, kernel):
    return kernel if kernel.ndim != 5 else kernel.transpose((3, 4, 0, 1, 2) if ".upconv." in name else (4, 3, 0, 1, 2))


def optimisers_go_on_in_torch(folder):
    """Trained with each of our optimisers for three steps, exported, taken by PyTorch's optimiser of that name, which steps on."""
    need("torch", "numpy")
    import numpy as np
    import torch
    sys.path.insert(0, str(GOLDEN))
    from make_unet import UNet

    def run(*words):
        done = subprocess.run([PROGRAM, *words, "--progress", "none"], text=True, capture_output=True, cwd=folder)
        if done.returncode != 0:
            raise AssertionError(done.stderr)

    run("simulate", "--out", "sim", "--train", "1", "--valid", "1", "--test", "0", "--size", "32,32,32", "--event-rate", "40", "--seed", "3")
    data = str(next(folder.glob("sim/**/*.h5")))
    kinds = {"adam": (torch.optim.Adam, {}), "adamw": (torch.optim.AdamW, {"weight_decay": 0.125}), "sgd": (torch.optim.SGD, {"momentum": 0.75, "weight_decay": 0.25})}
    for kind, (theirs, values) in kinds.items():
        sets = {"model_config.n_layer": 2, "model_config.nbf": 1, "training_config.crop_size": 16, "training_config.optimizer.name": kind}
        sets |= {"training_config.optimizer." + key: value for key, value in values.items()}
        run("train", data, "--out", kind, "--steps", "3", "--batch-size", "2", "--patch-size", "8", "--learning-rate", "0.0625", "--export", "reference",
            *[word for key, value in sets.items() for word in ("--set", f"{key}={value}")])
        state = torch.load(folder / kind / "reference/checkpoint.pt", **({"weights_only": True} if int(torch.__version__.split(".")[0]) >= 2 else {}))
        net = UNet(layers=2, width=1)
        net.load_state_dict(state["model"])
        optimiser = theirs(net.parameters(), lr=1)  # other values than the file's
        optimiser.load_state_dict(state["optimizer"])
        group = optimiser.param_groups[0]
        assert group["lr"] == 0.0625 and all(group[key] == value for key, value in values.items()), group
        assert set(optimiser.state_dict()["param_groups"][0]) >= set(theirs(net.parameters(), lr=1).state_dict()["param_groups"][0]), "keys of the group"
        assert kind == "sgd" or group["decoupled_weight_decay"] == (kind == "adamw"), group
        ours, compared, moved = safetensors_of(folder / kind / "checkpoint.safetensors"), 0, 0  # biases before a batch norm never move
        for name, parameter in net.named_parameters():
            for here, there in (("momentum", "momentum_buffer"),) if kind == "sgd" else (("exp_avg", "exp_avg"), ("exp_avg_sq", "exp_avg_sq")):
                got = optimiser.state[parameter][there].numpy()
                assert np.array_equal(got, in_torch_order(name, ours[f"optimizer/{here}/{name}"])), (name, here)
                compared += 1
                moved += np.abs(got).max() > 0
            assert kind == "sgd" or float(optimiser.state[parameter]["step"]) == 3, name
        assert compared == len(list(net.parameters())) * (1 if kind == "sgd" else 2) and moved > 20, (compared, moved)
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        optimiser.step()
        # With gradients of zero the step is known in closed form from the moments in our file.
        for name, p in net.named_parameters():
            old = before[name].double().numpy()
            if kind == "sgd":
                step = 0.75 * in_torch_order(name, ours["optimizer/momentum/" + name]).astype(float) + 0.25 * old
                wanted = old - 0.0625 * step
            else:
                m, v = (in_torch_order(name, ours[f"optimizer/{key}/{name}"]).astype(float) for key in ("exp_avg", "exp_avg_sq"))
                m, v = 0.9 * m / (1 - 0.9**4), 0.999 * v / (1 - 0.999**4)
                wanted = old * (1 - 0.0625 * 0.125 if kind == "adamw" else 1) - 0.0625 * m / (np.sqrt(v) + 1e-8)
            assert np.allclose(p.detach().numpy(), wanted, rtol=1e-5, atol=1e-6), (kind, name)
    return f"PyTorch {torch.__version__}: Adam, AdamW and SGD take their state"


def open_in_safetensors(folder):
    need("safetensors", "numpy")
    import numpy as np
    import safetensors
    from safetensors.numpy import load_file

    ours = convert(REFERENCE, "voxgrad", folder / "ours")
    state = load_file(ours / "checkpoint.safetensors")
    assert state["final_conv.weight"].shape == (1, 1, 1, 1, 1) and state["final_conv.weight"].dtype == np.float32
    assert state["optimizer/exp_avg/down_convs.0.convs.0.weight"].shape == (3, 3, 3, 1, 1)
    with safetensors.safe_open(ours / "checkpoint.safetensors", "numpy") as file:
        assert file.metadata()["step"] == "2", file.metadata()
    return f"safetensors {safetensors.__version__}: weights and checkpoint open"


def main():
    run_parts([open_in_torch, optimisers_go_on_in_torch, open_in_safetensors])


main()
