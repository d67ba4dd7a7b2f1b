# SPDX-License-Identifier: BSD-3-Clause
"""Every header compiles by itself and twice: alone.py SOURCE_FOLDER [-Iextra...] -- COMPILER [SECOND_COMPILER]

One translation unit per header, which includes it two times, checked for syntax and warnings only. The second compiler, if
it is there, gets one unit per folder: enough to show what it does not accept, at a tenth of the time.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys

PARTS = {"for_each_isa.hpp"}  # included by kernel files after they have named their body
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wno-sign-conversion",
         "-Werror", "-x", "c++", "-"]


def check(job):
    compiler, flags, headers = job
    unit = "".join(f'#include "voxgrad/{header}"\n' for header in headers * 2)
    run = subprocess.run(compiler.split() + flags + FLAGS, input=unit, text=True, capture_output=True)
    return f"{compiler}: {' '.join(headers)}\n{run.stderr[:2000]}" if run.returncode else ""


def main():
    split = sys.argv.index("--")
    source, extra, (compiler, *others) = sys.argv[1], sys.argv[2:split], sys.argv[split + 1:]
    root = os.path.join(source, "include", "voxgrad")
    headers = sorted(os.path.relpath(os.path.join(base, name), root)
                     for base, _, names in os.walk(root) for name in names if name.endswith(".hpp") and name not in PARTS)
    flags = ["-I" + os.path.join(source, "include")] + [flag.replace("-I", "-isystem", 1) for flag in extra]
    jobs = [(compiler, flags, [header]) for header in headers]
    for other in others:
        if not shutil.which(other):
            print(f"skipped: {other} is not here")
            continue
        folders = sorted({os.path.dirname(header) for header in headers})
        jobs += [(other, flags, [h for h in headers if os.path.dirname(h) == folder]) for folder in folders]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(check, jobs))
    for text in filter(None, found):
        print(text)
    failed = sum(map(bool, found))
    print(f"{len(found) - failed} passed, {failed} failed")
    return 1 if failed or not found else 0


sys.exit(main())
