# SPDX-License-Identifier: BSD-3-Clause
"""Every header compiles by itself and twice: alone.py SOURCE_FOLDER [-Iextra...] -- COMPILER...

One translation unit per header, which includes it two times, checked for syntax and warnings only. Compilers that are not
there are named and left out; the first one must be there.
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
    compiler, flags, header = job
    unit = f'#include "voxgrad/{header}"\n#include "voxgrad/{header}"\n'
    run = subprocess.run(compiler.split() + flags + FLAGS, input=unit, text=True, capture_output=True)
    return f"{compiler}: {header}\n{run.stderr[:2000]}" if run.returncode else ""


def main():
    split = sys.argv.index("--")
    source, extra, compilers = sys.argv[1], sys.argv[2:split], sys.argv[split + 1:]
    root = os.path.join(source, "include", "voxgrad")
    headers = sorted(os.path.relpath(os.path.join(base, name), root)
                     for base, _, names in os.walk(root) for name in names if name.endswith(".hpp") and name not in PARTS)
    present = [c for c in compilers if c == compilers[0] or shutil.which(c.split()[-1])]
    for compiler in compilers:
        if compiler not in present:
            print(f"skipped: {compiler} is not here")
    flags = ["-I" + os.path.join(source, "include")] + extra
    jobs = [(compiler, flags, header) for compiler in present for header in headers]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(check, jobs))
    for text in filter(None, found):
        print(text)
    failed = sum(map(bool, found))
    print(f"{len(found) - failed} passed, {failed} failed")
    return 1 if failed or not found else 0


sys.exit(main())
