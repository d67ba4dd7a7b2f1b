# SPDX-License-Identifier: BSD-3-Clause
"""Who includes whom, by #include lines alone: layering.py SOURCE_FOLDER. One test case per folder of include/voxgrad."""
import os
import re
import sys

CORE = {"core"}
ENGINE = CORE | {"autograd", "kernels", "ops", "nn", "optim", "pu"}
MAY_INCLUDE = {  # folder -> folders whose headers it may include, its own besides
    "core": set(),
    "kernels": CORE,
    "simd": CORE,
    "cuda": CORE | {"kernels"},
    "cpu": CORE | {"kernels", "simd"},
    "autograd": CORE | {"kernels"},  # gradients are added by a kernel
    "ops": CORE | {"autograd", "kernels"},
    "nn": CORE | {"autograd", "ops"},
    "optim": CORE | {"autograd", "kernels", "nn", "ops"},
    "pu": CORE | {"autograd", "kernels", "ops"},
    "models": ENGINE,
    "io": CORE,
    "data": CORE | {"io"},  # the published data set is an HDF5 file
    "metrics": CORE | {"data"},  # volumes
    "stardist": CORE | {"data"},
}
VOLUME = "data/volume.hpp"  # the common currency of what stands on core alone
MAY_NOT_INCLUDE = {"cuda": {"core/tensor.hpp"}, "cpu": {"core/tensor.hpp"}, "kernels": {"core/tensor.hpp"}, "simd": {"core/tensor.hpp"}}
BANNED = {"immintrin.h", "iostream", "filesystem", "regex", "thread", "format"}
MAY_USE_BANNED = {"simd", "cpu", "io"}
MANY_TIMES = {"simd/for_each_isa.hpp"}  # included once per kernel file, on purpose
EXCEPT = {("core/parallel.hpp", "thread")}  # the thread pool
APPS_ONLY = re.compile(r"^(nlohmann/|yaml-cpp/|CLI/|fmt/|png\.h)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def problems(root, folder):
    for base, _, files in os.walk(os.path.join(root, folder)):
        for name in sorted(files):
            path = os.path.join(base, name)
            short = os.path.relpath(path, root)
            lines = open(path, encoding="utf-8").read().splitlines()
            if not lines or lines[0] != "// SPDX-License-Identifier: BSD-3-Clause":
                yield f"{short}:1: no SPDX line"
            if name.endswith(".hpp") and short not in MANY_TIMES and "#pragma once" not in lines[:3]:
                yield f"{short}: no #pragma once"
            for number, line in enumerate(lines, 1):
                yield from (f"{short}:{number}: {text}" for text in line_problems(folder, short, line))


def line_problems(folder, short, line):
    if re.match(r"^\s*using\s+namespace\b", line):
        yield "using namespace in a header"
    found = INCLUDE.match(line)
    if not found:
        return
    quote, target = found.groups()
    if target.startswith("voxgrad/"):
        inner = target[len("voxgrad/"):]
        other = inner.split("/")[0] if "/" in inner else ""
        allowed = other in MAY_INCLUDE[folder] | {folder} or (folder == "io" and inner == VOLUME)
        if other and not allowed:
            yield f"{folder}/ may not include {other}/ ({target})"
        if inner in MAY_NOT_INCLUDE.get(folder, ()):
            yield f"{folder}/ may not include {inner}"
    elif APPS_ONLY.match(target):
        yield f"<{target}> belongs into apps/"
    elif quote == "<" and target in BANNED and folder not in MAY_USE_BANNED and (short, target) not in EXCEPT:
        yield f"<{target}> is not allowed in {folder}/"


def main():
    root = os.path.join(sys.argv[1], "include", "voxgrad")
    passed = failed = 0
    for folder in sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name))):
        found = [f"folder {folder}/ is in no layer"] if folder not in MAY_INCLUDE else list(problems(root, folder))
        for line in found:
            print(line)
        failed += bool(found)
        passed += not found
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
