#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""gates.py LOG FOLDER ARCHS: what the compiled kernels must be, told from nvcc's own words (cuda/compile.py).

On every card that the build has code for, no kernel keeps anything in local memory: no spills, no stack. The streaming
kernels move 16 bytes per access, reading and writing, for every element type that they are compiled for."""
import glob
import os
import re
import sys

# Names of the structs, and what of them has to be wide: FirstConv reads a single channel.
BOTH, READS, WRITES = ("ld", "st"), ("ld",), ("st",)
STREAMING = {
    "ChannelMoments": READS, "NormAct": BOTH, "NormActPool": BOTH, "BiasAct": BOTH, "NormBackwardSums": READS, "NormBackwardApply": BOTH,
    "ActBackward": BOTH, "MaxPool": BOTH, "MaxPoolBackward": BOTH, "Upsample": BOTH, "UpsampleBackward": BOTH, "MoveSlice": BOTH,
    "HeadLogits": READS, "FirstConv": WRITES, "FirstConvWeight": READS,
}
passed, failed = 0, []


def gate(good, message):
    global passed
    if good:
        passed += 1
    else:
        failed.append(message)


def readable(mangled):
    """NormAct<bf16> from _ZN7voxgrad4cuda6kernelINS0_7NormActINS0_4bf16EEEEEvNT_4ArgsE."""
    rest = mangled.split("6kernelI", 1)[-1].split("EEvNT_", 1)[0].replace("S0_", "_")
    yes = "Lb1E" in rest
    rest = re.sub("Lb[01]E", "E", rest)
    names = []
    while m := re.search(r"\d+(?=[A-Za-z])", rest):
        end = m.end() + int(m.group())
        names.append(rest[m.end():end])
        rest = rest[end:]
    if not names:
        return mangled
    arguments = names[1:] + (["float"] if re.match("If", rest) else []) + (["true"] if yes else [])
    return names[0] + (f"<{', '.join(arguments)}>" if arguments else "")


def no_local_memory(log, archs):
    compiled = {arch: 0 for arch in archs}
    kernel = arch = None
    for line in open(log):
        m = re.search(r"Compiling entry function '(\S+)' for 'sm_(\d+)'", line)
        if m:
            kernel, arch = m.groups()
        m = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
        if m and kernel:
            gate(m.groups() == ("0", "0", "0"), f"{readable(kernel)} for sm_{arch}: {line.strip()}")
            compiled[arch] = compiled.get(arch, 0) + 1
            kernel = None
    for arch, count in compiled.items():
        gate(count > 100, f"only {count} kernels were compiled for sm_{arch}: is {log} whole?")


def wide_accesses(ptx):
    text = open(ptx).read()
    seen = set()
    for m in re.finditer(r"^\.visible \.entry (\w+)\(.*?^\}", text, re.S | re.M):
        kernel = readable(m.group(1))
        body = m.group(0)
        stem = kernel.split("<")[0]
        where = f"{kernel} in {os.path.basename(ptx)}"
        gate(not re.search(r"\b(ld|st)\.local\b", body), f"{where}: local memory")
        if stem not in STREAMING:
            continue
        seen.add(stem)
        for way in STREAMING[stem]:
            wide = re.search(rf"\b{way}\.global\S*\.v4\.[a-z]32\b", body)
            gate(wide, f"{where}: no {way}.global of 16 bytes")
    gate(seen == set(STREAMING), f"{os.path.basename(ptx)} is without {sorted(set(STREAMING) - seen)}")


log, folder, *archs = sys.argv[1:]
no_local_memory(log, archs)
found = sorted(glob.glob(os.path.join(folder, "*.ptx")))
gate(found, f"no intermediate code in {folder}")
for ptx in found:
    wide_accesses(ptx)
for message in failed:
    print(message)
print(f"{passed} passed, {len(failed)} failed")
sys.exit(1 if failed else 0)
