# SPDX-License-Identifier: BSD-3-Clause
"""The built program as a user meets it: streams, exit codes, help, completion, man page. program.py PROGRAM"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]


def run(*words, **more):
    return subprocess.run([PROGRAM, *words], text=True, capture_output=True, timeout=60, **more)


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, expected {wanted!r}")


def subcommands():
    lines = run("--help").stdout.splitlines()
    begin = lines.index("Subcommands:") + 1
    return [line.split()[0] for line in lines[begin:lines.index("", begin)] if line.startswith("  ") and line[2] != " "]


def unknown_subcommand():
    done = run("evalute")
    expect(done.returncode, 2, "exit code")
    expect(done.stdout, "", "standard output")
    expect(done.stderr, "voxgrad: unknown subcommand 'evalute'. Did you mean 'evaluate'?\nSee voxgrad --help.\n", "message")


def every_help():
    names = subcommands()
    expect(len(names) > 0, True, "subcommands in the help")
    for name in names:
        one, two = run("help", name), run(name, "--help")
        expect((one.returncode, one.stderr, two.stdout), (0, "", one.stdout), f"help of {name}")
        for part in (f"Usage: voxgrad {name} ", "\nMessages:\n", "\nExamples:\n  voxgrad "):
            expect(part in one.stdout, True, f"{part!r} in the help of {name}")
    wide = run("help", names[0], env={**os.environ, "COLUMNS": "60"}).stdout
    longest = max(map(len, wide.split("\nExamples:\n")[0].splitlines()))
    expect(longest <= 60, True, f"a line of {longest} columns fits 60")


def every_example_parses():
    """An example must not name an option that its subcommand lacks."""
    for name in subcommands():
        text = run("help", name).stdout
        options = {word.split("=")[0].rstrip(",.;:)'") for word in text.split() if word.startswith("--")}
        for line in text.split("\nExamples:\n")[1].splitlines():
            if line.startswith(f"  voxgrad {name}"):
                for word in line.split():
                    if word.startswith("--"):
                        expect(word.split("=")[0] in options, True, f"{word} of the example {line.strip()!r}")


def unknown_options():
    for name in subcommands():
        done = run(name, "--no-such-option-here")
        expect((done.returncode, done.stdout), (2, ""), f"{name} with an unknown option")
        expect(done.stderr, f"voxgrad {name}: unknown option '--no-such-option-here'.\n", "message")
        done = run(name, "--json", "--no-such-option-here")
        last = json.loads(done.stdout.splitlines()[-1])
        expect((last["event"], last["exit_code"], last["command"]), ("error", 2, name), "JSON error")


def version():
    text, parsed = run("--version"), json.loads(run("--version", "--json").stdout)
    expect(text.stdout.splitlines()[0].split()[:2], ["voxgrad", parsed["version"]], "version")
    expect("HDF5" in parsed["libraries"], True, "HDF5 among the libraries")
    expect("\nCUDA:      " in text.stdout, True, "CUDA in the text")
    expect(isinstance(parsed["cuda_built"], bool), True, "cuda_built")
    if parsed["cuda_built"]:
        expect("\ncuDNN:     " in text.stdout and "\ncuBLAS:    " in text.stdout, True, "libraries of the GPU in the text")
        expect("reason" in parsed["cudnn"] or "path" in parsed["cudnn"], True, "where cuDNN is, or why not")


def no_cudnn():
    """A folder without cuDNN is named; the program starts all the same."""
    if not json.loads(run("--version", "--json").stdout)["cuda_built"]:
        print("skipped: a folder without cuDNN (built without CUDA)")
        return
    with tempfile.TemporaryDirectory() as folder:
        done = run("--version", env={**os.environ, "VOXGRAD_CUDNN_DIR": folder})
        expect(done.returncode, 0, "exit code")
        line = f"cuDNN:     not usable: cuDNN: libcudnn_graph.so.9 cannot be opened. Looked in VOXGRAD_CUDNN_DIR={folder}: no such file."
        expect(line in done.stdout, True, f"{line!r} in {done.stdout!r}")


def device():
    """cuda is never exchanged for the processor silently."""
    for words, name in (("train", "train"), ("predict", "predict"), ("optimize", "optimize")):
        done = run(words, "--device", "cuda:77", "nothing.tif")
        expect(done.returncode, 1, f"exit code of {name} on cuda:77 ({done.stderr!r})")
        expect(f"voxgrad {name}: --device cuda:77: " in done.stderr, True, f"message {done.stderr!r}")


def completion():
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(run("completion", "bash").stdout)
        file.write("COMP_WORDS=(voxgrad eval); COMP_CWORD=1; _voxgrad; echo \"${COMPREPLY[@]}\"\n"
                   "COMP_WORDS=(voxgrad evaluate --progress li); COMP_CWORD=3; _voxgrad; echo \"${COMPREPLY[@]}\"\n"
                   "COMP_WORDS=(voxgrad evaluate --verb); COMP_CWORD=2; _voxgrad; echo \"${COMPREPLY[@]}\"\n")
        file.flush()
        done = subprocess.run(["bash", file.name], text=True, capture_output=True)
    expect((done.stdout, done.stderr), ("evaluate\nlines\n--verbose\n", ""), "completions")


def man_page():
    page = run("manpage").stdout
    expect(page.startswith(".TH VOXGRAD 1 "), True, "title line")
    if not shutil.which("groff"):
        print("skipped: formatting of the man page (groff is not here)")
        return
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-b"], input=page, text=True, capture_output=True)
    expect((done.returncode, done.stderr), (0, ""), "groff's warnings")


def interrupted():
    """INT ends a running subcommand in order: 130, and with --json an error as the last line."""
    job = subprocess.Popen([PROGRAM, "bench", "--runs", "100000", "--batch", "1", "--json"], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(json.loads(job.stdout.readline())["event"], "start", "first event")
    job.send_signal(signal.SIGINT)
    rest = job.communicate(timeout=120)[0].splitlines()
    expect(job.returncode, 130, "exit code")
    last = json.loads(rest[-1])
    expect((last["event"], last["exit_code"], last["message"]), ("error", 130, "interrupted."), "last line")


def convolution_method():
    """VOXGRAD_CONV takes auto and direct; anything else is refused by name."""
    bench = ("bench", "--layers-deep", "1", "--width", "8", "--crop", "16", "--batch", "1", "--runs", "1", "--warmup", "0", "--progress", "none")
    for method in ("auto", "direct", ""):
        expect(run(*bench, env={**os.environ, "VOXGRAD_CONV": method}).returncode, 0, f"exit code with {method!r}")
    done = run(*bench, env={**os.environ, "VOXGRAD_CONV": "fast"})
    expect((done.returncode, "VOXGRAD_CONV is 'fast' (expected auto or direct)" in done.stderr), (2, True), f"refusal in {done.stderr!r}")


def bench_without_card():
    """bench computes on the CPU unless a card is named; a precision of cards is refused there, and a card that is absent by its reason."""
    done = run("bench", "--precision", "bf16")
    expect((done.returncode, "--precision bf16 needs a card" in done.stderr), (2, True), f"refusal in {done.stderr!r}")
    hidden = run("bench", "--device", "cuda", env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    expect((hidden.returncode, "--device cuda:" in hidden.stderr), (1, True), f"refusal in {hidden.stderr!r}")


def closed_output():
    """`voxgrad --help | head -1` ends without a message."""
    done = subprocess.run(["bash", "-c", f"set -o pipefail; '{PROGRAM}' manpage | head -1 >/dev/null"], text=True,
                          capture_output=True)
    expect(done.stderr, "", "standard error")


def main():
    passed = failed = 0
    for check in (unknown_subcommand, every_help, every_example_parses, unknown_options, version, no_cudnn, device, completion, man_page,
                  interrupted, convolution_method, bench_without_card, closed_output):
        try:
            check()
            passed += 1
        except (AssertionError, ValueError, KeyError, IndexError, subprocess.TimeoutExpired) as problem:
            print(f"{check.__name__}: {problem!r}")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
