"""Weight files in the layouts that Keras wrote over the years, as h5py writes them: for the tests of the reader.

    cd tests/golden/stardist/keras && python3 make.py       (made with h5py 3.16.0, NumPy 2.4.6)

One tiny StarDist-3D (U-Net of depth 0, one convolution, 2 filters, 4 rays): layers conv3d (middle_1), features, prob, dist.
Element i of tensor p, counted over the file, is 100 p + i. Layers without weights are listed as Keras lists them.
keras2_fixed.h5: attribute strings of fixed length, oldest file format.  keras2_variable.h5: variable length.
keras3_model.h5: a whole model, everything below model_weights, names without ":0", an empty top_level_model_weights.
split.h5: layer_names in pieces.
"""

import h5py
import numpy as np

LAYERS = [("input", []), ("middle_1", [("kernel", (3, 3, 3, 1, 2)), ("bias", (2,))]), ("activation_5", []),
          ("features", [("kernel", (3, 3, 3, 2, 2)), ("bias", (2,))]), ("prob", [("kernel", (1, 1, 1, 2, 1)), ("bias", (1,))]),
          ("dist", [("kernel", (1, 1, 1, 2, 4)), ("bias", (4,))])]


def strings(values, fixed):
    return np.array([v.encode() for v in values]) if fixed else np.array(values, dtype=h5py.string_dtype())


def write(name, version, fixed=False, root="/", suffix=":0", layers=LAYERS, split=False, **options):
    with h5py.File(name, "w", **options) as f:
        f.attrs["backend"], f.attrs["keras_version"] = "tensorflow", version
        top = f.require_group(root)
        names = [n for n, _ in layers]
        if split:
            for i in range(0, len(names), 4):
                top.attrs[f"layer_names{i // 4}"] = strings(names[i:i + 4], fixed)
        else:
            top.attrs["layer_names"] = strings(names, fixed)
        tensor = 0
        for layer, weights in layers:
            group = top.create_group(layer)
            full = [f"{layer}/{n}{suffix}" for n, _ in weights]
            group.attrs["weight_names"] = strings(full, fixed) if full else np.zeros(0)
            for path, (_, shape) in zip(full, weights):
                group[path] = (100 * tensor + np.arange(np.prod(shape))).reshape(shape).astype("<f4")
                tensor += 1
        if version[0] == "3":
            top.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)


write("keras2_fixed.h5", "2.2.4", fixed=True, libver="earliest")
write("keras2_variable.h5", "2.13.1")
write("keras3_model.h5", "3.3.3", root="/model_weights", suffix="")
write("split.h5", "2.13.1", fixed=True, split=True)
