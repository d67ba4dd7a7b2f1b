# SPDX-License-Identifier: BSD-3-Clause
"""Installs the headers into a temporary prefix, moves it, and builds a program against it three ways: run.py SOURCE VERSION"""
import os
import shutil
import sys
import tempfile

from checks import Problem, compiler, expect, run, run_checks

SOURCE, VERSION = sys.argv[1], sys.argv[2]
PROGRAM = os.path.join(SOURCE, "tests", "consumer", "uses.cpp")
SERIES = ".".join(VERSION.split(".")[:2])
CMAKE = """cmake_minimum_required(VERSION 3.18)
project(consumer CXX C)
find_package(voxgrad {wanted} REQUIRED)
add_executable(uses {program})
target_link_libraries(uses PRIVATE voxgrad::voxgrad)
"""
MESON = """project('consumer', 'cpp', default_options: 'cpp_std=c++20')
executable('uses', 'uses.cpp', dependencies: dependency('voxgrad', version: '>={version}'))
"""


def install(work):
    """The headers alone, into a prefix that is then moved: nothing may remember where it was."""
    first, prefix = os.path.join(work, "first"), os.path.join(work, "prefix")
    run(["meson", "setup", os.path.join(work, "build"), SOURCE, "--prefix", first, "-Dapps=disabled", "-Dtests=disabled",
         "-Dgpu=disabled", "-Dhdf5=disabled", "-Dtiff=disabled"])
    run(["meson", "install", "-C", os.path.join(work, "build"), "--quiet"])
    for base, _, names in os.walk(first):
        for name in names:
            if work in open(os.path.join(base, name), errors="replace").read() and not name.endswith(".pc"):
                raise Problem(f"{name} holds an absolute path")
    shutil.move(first, prefix)
    return prefix


def by_pkgconfig(work, prefix):
    # pkg-config's own switch for moved trees: the prefix from the .pc file's place is two folders up.
    path = {"PKG_CONFIG_PATH": os.path.join(prefix, "share", "pkgconfig")}
    flags = run(["pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs", f"voxgrad >= {VERSION}"], **path)
    program = os.path.join(work, "by-pkgconfig")
    run(compiler() + ["-std=c++20", PROGRAM, "-o", program] + flags.split())
    expect(run([program]), f"voxgrad {VERSION} sum 5460")


def cmake_build(work, prefix, wanted):
    folder = tempfile.mkdtemp(dir=work)
    with open(os.path.join(folder, "CMakeLists.txt"), "w") as file:
        file.write(CMAKE.format(wanted=wanted, program=PROGRAM))
    run(["cmake", "-S", folder, "-B", os.path.join(folder, "build"), f"-DCMAKE_PREFIX_PATH={prefix}"])
    return os.path.join(folder, "build")


def by_cmake(work, prefix):
    build = cmake_build(work, prefix, SERIES)
    run(["cmake", "--build", build])
    expect(run([os.path.join(build, "uses")]), f"voxgrad {VERSION} sum 5460")


def cmake_refuses_newer(work, prefix):
    try:
        cmake_build(work, prefix, "0.9")
    except Problem as problem:
        expect(str(problem), "requested version \"0.9\"")
        return
    raise Problem("find_package(voxgrad 0.9) succeeded")


def by_meson(work, prefix):
    folder = tempfile.mkdtemp(dir=work)
    with open(os.path.join(folder, "meson.build"), "w") as file:
        file.write(MESON.format(version=VERSION))
    shutil.copy(PROGRAM, folder)
    # Meson asks pkg-config without the switch; a tree that stays where it was installed needs none.
    shutil.move(prefix, os.path.join(work, "first"))
    try:
        first = os.path.join(work, "first")
        run(["meson", "setup", "build"], cwd=folder, PKG_CONFIG_PATH=os.path.join(first, "share", "pkgconfig"))
        run(["meson", "compile", "-C", "build"], cwd=folder)
    finally:
        shutil.move(os.path.join(work, "first"), prefix)
    expect(run([os.path.join(folder, "build", "uses")]), f"voxgrad {VERSION} sum 5460")


sys.exit(run_checks(install, (by_pkgconfig, by_cmake, cmake_refuses_newer, by_meson)))
