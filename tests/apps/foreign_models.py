# SPDX-License-Identifier: BSD-3-Clause
"""A folder of the published pipeline through every subcommand, as it is: foreign_models.py PROGRAM SOURCE_DIR"""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from run_parts import run_parts

PROGRAM, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
REFERENCE = SOURCE / "tests/golden/torch_archive/reference"


class Lab:
    """A simulated data set and movie, and a copy of the model that nothing may change."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.good("simulate", "--out", "sim", "--train", "1", "--valid", "1", "--test", "1", "--size", "64,64,64", "--event-rate", "40", "--seed", "3")
        self.data = next(str(p) for p in self.folder.glob("sim/**/*.h5"))
        self.movie = next(str(p) for p in self.folder.glob("sim/**/raw-input/*.tif"))
        shutil.copytree(REFERENCE, self.folder / "published", ignore=shutil.ignore_patterns("*.npy"))

    def run(self, *words):
        return subprocess.run([PROGRAM, *words, "--progress", "none"], text=True, capture_output=True, timeout=250, cwd=self.folder)

    def good(self, *words):
        done = self.run(*words)
        if done.returncode != 0:
            raise AssertionError(f"{words}: {done.stderr}")
        return done

    def refused(self, code, says, *words):
        done = self.run(*words)
        expect((done.returncode, says in done.stderr), (code, True), f"{words}: {done.stderr}")
        expect(done.stderr.count("\n"), 1, f"lines of {done.stderr!r}")

    def train(self, *words):
        return self.good("train", self.data, "--batch-size", "2", "--threads", "1", *words)

    def rows(self, table):
        return [line.split(",") for line in (self.folder / table).read_text().splitlines()[1:]]


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, expected {wanted!r}")


def predicts_with_its_threshold(lab):
    done = lab.good("predict", lab.movie, "--model", "published", "--out", "p", "--mode", "fast")
    expect("threshold 0.3750" in done.stderr, True, done.stderr)
    expect(len(list((lab.folder / "p").rglob("*_prediction.tif"))), 1, "probability images")


def optimize_writes_thresholds_and_nothing_else(lab):
    before = {p.name: p.read_bytes() for p in (lab.folder / "published").iterdir()}
    shutil.copytree(lab.folder / "published", lab.folder / "chosen")
    lab.good("optimize", lab.data, "--model", "chosen")
    after = {p.name: p.read_bytes() for p in (lab.folder / "chosen").iterdir()}
    expect({n for n in after if after[n] != before.get(n)}, {"thresholds.json", "optimized-threshold-segmentation"}, "new or changed files")
    value = json.loads(after["thresholds.json"])["segmentation"]
    expect(float(after["optimized-threshold-segmentation"]), value, "both files")


def fine_tunes(lab):
    lab.good("convert", "published", "--bundle", "tune.zip")
    tuned = set()
    for source in ("published", "published/results.pt", "tune.zip"):
        lab.train("--init", source, "--config", "published/config.yaml", "--steps", "1", "--out", "tuned", "--overwrite")
        expect([r[0] for r in lab.rows("tuned/train.csv")], ["0"], "steps")
        tuned.add((lab.folder / "tuned/weights.safetensors").read_bytes())
    expect(len(tuned), 1, "different results of the same weights")


def stardist_starts_from_folder_bundle_and_files(lab):
    small = [word for key in ("unet_n_filter_base=2", "net_conv_after_unet=4", "n_rays=8", "train_patch_size=[16,16,16]", "train_n_val_patches=2")
             for word in ("--set", "stardist_config." + key)]
    how = ["--type", "stardist3d", *small, "--epochs", "1", "--steps-per-epoch", "1"]
    lab.train(*how, "--out", "star")
    lab.good("convert", "star", "--bundle", "star.zip")
    lab.good("convert", "star", "--export", "stardist", "--out", "star-keras")
    tuned = set()
    for source in ("star", "star.zip", "star-keras", "star/weights.safetensors", "star-keras/weights_best.h5"):
        lab.train(*how, "--init", source, "--out", "star-tuned", "--overwrite")
        tuned.add((lab.folder / "star-tuned/weights.safetensors").read_bytes())
    expect(len(tuned), 1, "different results of the same weights")
    lab.refused(1, "config.json", "train", lab.data, "--init", "star.zip", "--out", "x", "--steps", "1")


def goes_on_with_step_and_statistics(lab):
    lab.train("--continue", "published", "--steps", "4", "--valid-interval", "2", "--out", "longer")
    rows = lab.rows("longer/train.csv")
    expect([r[0] for r in rows], ["0", "1", "2", "3"], "steps of PyTorch's run and ours")
    expect(len(lab.rows("longer/valid.csv")), 3, "validations")
    lab.refused(2, "exists already. --continue writes into a new folder", "train", lab.data, "--continue", "published", "--out", "longer")
    lab.refused(2, "is a folder of the published pipeline, into which nothing is written.", "train", lab.data, "--out", "published", "--steps", "3")
    lab.refused(2, "--continue and --init exclude each other", "train", lab.data, "--continue", "published", "--init", "published", "--out", "x")
    # What voxgrad exports goes on exactly as if it had never left.
    lab.good("convert", "longer", "--export", "reference", "--out", "exported")
    lab.train("--continue", "longer", "--steps", "5", "--out", "straight")
    lab.train("--continue", "exported", "--steps", "5", "--out", "around")
    expect((lab.folder / "around/train.csv").read_bytes(), (lab.folder / "straight/train.csv").read_bytes(), "losses")
    expect((lab.folder / "around/checkpoint.safetensors").read_bytes() == (lab.folder / "straight/checkpoint.safetensors").read_bytes(), True, "the same checkpoint")


def train_exports_what_convert_would(lab):
    how = ["--config", "published/config.yaml", "--steps", "2", "--valid-interval", "1", "--export", "reference"]
    lab.train(*how, "--out", "both")
    lab.good("convert", "both", "--export", "reference", "--out", "apart")
    names = {"config.yaml", "results.pt", "checkpoint.pt", "Quality Control/train-stats.csv", "Quality Control/valid-stats.csv"}
    expect({str(p.relative_to(lab.folder / "apart")) for p in (lab.folder / "apart").rglob("*") if p.is_file()}, names, "files")
    for name in names:
        expect((lab.folder / "both/reference" / name).read_bytes() == (lab.folder / "apart" / name).read_bytes(), True, name)
    lab.good("predict", lab.movie, "--model", "both/reference", "--out", "e", "--mode", "fast")
    lab.train(*how[:-2], "--out", "both", "--overwrite")
    expect((lab.folder / "both/reference").exists(), False, "an export of the run that was overwritten")
    lab.refused(2, "--export reference goes with --type unet3d.", "train", lab.data, "--type", "stardist3d", "--export", "reference", "--out", "n")


def weights_alone_do_not_go_on(lab):
    lab.good("convert", "published", "--export", "voxgrad", "--out", "bare")
    (lab.folder / "bare/checkpoint.safetensors").unlink()
    lab.refused(1, "holds weights but no checkpoint to go on from. Start from them with --init.", "train", lab.data, "--continue", "bare", "--out", "y")
    expect((lab.folder / "y").exists(), False, "a folder")


def bundles_predict(lab):
    lab.good("convert", "published", "--bundle", "m.zip", "--example", lab.movie)
    expect("bundle of a model folder of the published pipeline" in lab.good("inspect", "m.zip").stdout, True, "inspect")
    lab.good("predict", lab.movie, "--model", "m.zip", "--out", "q", "--mode", "fast")
    one, two = (next((lab.folder / f).rglob("*_prediction.tif")).read_bytes() for f in ("p", "q"))
    expect(one == two, True, "the same probabilities")
    lab.refused(2, "is a bundle, which keeps no thresholds", "optimize", lab.data, "--model", "m.zip")


def what_is_no_model_is_one_line(lab):
    (lab.folder / "bad").mkdir()
    shutil.copy(REFERENCE / "config.yaml", lab.folder / "bad")
    path = lab.folder / "bad/results.pt"
    whole = (REFERENCE / "results.pt").read_bytes()
    for content, says in ((b"<!DOCTYPE html>\n<html>", "HTML page"), (whole[: len(whole) // 2], "the zip archive is incomplete"),
                          (b"\x08\x07\x12\x07pytorch\x1a\x051.13", "ONNX model"), (b"\x80\x04\x95\x10", "Python pickle"),
                          (whole.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3"), "does not agree with its checksum")):
        path.write_bytes(content)
        lab.refused(1, says, "predict", lab.movie, "--model", "bad")


def a_file_where_a_folder_belongs_is_told_which_folder(lab):
    shutil.copy(REFERENCE / "results.pt", lab.folder / "loose.pt")
    for file, says in (("star-keras/weights_best.h5", "give the folder that has both: star-keras"),
                       ("star/weights.safetensors", "is a file of weights, but a model folder is needed. Give the folder that it is in: star"),
                       ("published/results.pt", "Give the folder that it is in: published"),
                       ("loose.pt", "Make one: voxgrad convert loose.pt --export voxgrad --out DIR"),
                       (lab.movie, "is no model folder but: TIFF")):
        for words in (("predict", lab.movie), ("optimize", lab.data), ("prior", lab.data)):
            lab.refused(1, says, *words, "--model", file)
    lab.refused(1, "Keras' HDF5 weights are read into StarDist models.", "train", lab.data, "--init", "star-keras/weights_best.h5", "--out", "z")


def main():
    parts = [predicts_with_its_threshold, optimize_writes_thresholds_and_nothing_else, fine_tunes, stardist_starts_from_folder_bundle_and_files, goes_on_with_step_and_statistics, train_exports_what_convert_would,
             weights_alone_do_not_go_on, bundles_predict, a_file_where_a_folder_belongs_is_told_which_folder, what_is_no_model_is_one_line]
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(folder)
        run_parts(parts, lambda: contextlib.nullcontext(lab))


main()
