# SPDX-License-Identifier: BSD-3-Clause
"""Prints an #include line for every header except the CPU kernels (slow to compile, and covered by tests/): list.py SOURCE"""
import os
import sys

PARTS = {"simd/for_each_isa.hpp"}  # included by kernel files after they have named their body
root = os.path.join(sys.argv[1], "include", "voxgrad")
for base, folders, names in os.walk(root):
    folders.sort()
    for name in sorted(names):
        short = os.path.relpath(os.path.join(base, name), root)
        if name.endswith(".hpp") and short not in PARTS and not short.startswith("cpu/") and short != "voxgrad.hpp":
            print(f'#include "voxgrad/{short}"')
