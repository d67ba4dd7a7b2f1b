# SPDX-License-Identifier: BSD-3-Clause
"""Installs the library voxgrad_app of a finished build and makes a program of one's own with it: app.py BUILD SOURCE VERSION MESON..."""
import os
import sys
import tempfile

from checks import Problem, compiler, expect, run, run_checks

BUILD, SOURCE, VERSION, MESON = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
PROGRAM = os.path.join(SOURCE, "tests", "consumer", "own_risk.cpp")
CMAKE = """cmake_minimum_required(VERSION 3.18)
project(consumer CXX C)
find_package(voxgrad {version} REQUIRED COMPONENTS app)
add_executable(own_risk {program})
target_link_libraries(own_risk PRIVATE voxgrad::app)
"""


def installed(work):
    """Header, library, pkg-config and CMake files below another root, as a package is made; the prefix is found in it."""
    root = os.path.join(work, "root")
    run(MESON + ["install", "-C", BUILD, "--destdir", root, "--no-rebuild", "--tags", "devel", "--quiet"])
    for base, folders, _ in os.walk(root):
        if "include" in folders and "share" in folders:
            return base
    raise Problem(f"nothing was installed below {root}")


def by_pkgconfig(work, prefix):
    path = {"PKG_CONFIG_PATH": os.path.join(prefix, "share", "pkgconfig")}
    flags = run(["pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs", f"voxgrad_app >= {VERSION}"], **path)
    program = os.path.join(work, "own_risk")
    run(compiler() + ["-std=c++20", "-O1", PROGRAM, "-o", program] + flags.split())
    use(work, program)


def by_cmake(work, prefix):
    folder = tempfile.mkdtemp(dir=work)
    with open(os.path.join(folder, "CMakeLists.txt"), "w") as file:
        file.write(CMAKE.format(version=".".join(VERSION.split(".")[:2]), program=PROGRAM))
    run(["cmake", "-S", folder, "-B", os.path.join(folder, "build"), f"-DCMAKE_PREFIX_PATH={prefix}"])
    run(["cmake", "--build", os.path.join(folder, "build")])
    expect(" ".join(run([os.path.join(folder, "build", "own_risk"), "train", "--help-config"]).split()), " mine, naive,")


def use(work, program):
    """The risk is a choice of train, takes the options of any other, and is in the model folder's files."""
    expect(run([program, "--version"]), VERSION)
    choices = " ".join(run([program, "train", "--help-config"]).split())
    expect(choices, " mine,")
    expect(run([program, "train", "--loss", "mine", "--help"]), "--prior")
    expect(run([program, "train", "none.h5", "--loss", "mine"], code=2), "loss mine needs the class prior")
    expect(run([program, "train", "none.h5", "--loss", "yours", "--prior", "0.1"], code=2), "training_config.loss is 'yours'")
    run([program, "simulate", "--out", "data", "--train", "1", "--valid", "1", "--test", "0", "--size", "64,64,64", "--event-rate", "60",
         "--seed", "3", "--progress", "none"], cwd=work)
    data = next(os.path.join(base, name) for base, _, names in os.walk(os.path.join(work, "data")) for name in names if name.endswith(".h5"))
    run([program, "train", data, "--loss", "mine", "--prior", "0.01", "--steps", "2", "--batch-size", "2", "--patch-size", "8",
         "--set", "model_config.n_layer=2", "--set", "model_config.nbf=2", "--out", "model", "--progress", "none"], cwd=work)
    expect(open(os.path.join(work, "model", "risk.csv")).read(), "step,objective,corrected,r\n0,")
    expect(open(os.path.join(work, "model", "config.yaml")).read(), "loss: mine")


sys.exit(run_checks(installed, (by_pkgconfig, by_cmake)))
