# SPDX-License-Identifier: BSD-3-Clause
"""sample.safetensors, written by the reference package, for tests/io/safetensors.cpp.

python make.py      (needs numpy and safetensors; written with numpy 2.4.6, safetensors: see the metadata)
"""
import numpy as np
import safetensors
from safetensors.numpy import save_file

save_file(
    {
        "weight": np.array([[0.5, -1.25, 3e-8], [7, np.inf, -0.0]], np.float32),
        "moments/one": np.array([1 / 3, -2e300], np.float64),
        "half": np.array([1.5, -2, 6e-8, 65504], np.float16),
        "i64": np.array([-1, 2**62], np.int64),
        "i32": np.array([-7, 2**31 - 1], np.int32),
        "i16": np.array([-300, 5], np.int16),
        "i8": np.array([-128, 127], np.int8),
        "u8": np.array([[[255, 0, 3]]], np.uint8),
        "flag": np.array([True, False]),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        'name "quoted" µ': np.array([4], np.uint8),
    },
    "sample.safetensors",
    metadata={"step": "41200", "note": 'a "quoted" line\nand µ', "safetensors": safetensors.__version__},
)
