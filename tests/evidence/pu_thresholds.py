# SPDX-License-Identifier: BSD-3-Clause
"""Thresholds that need no negatives (`voxgrad optimize --criterion`), of networks that pu_study.py has trained and kept."""
import os
import shutil
import tempfile

# name: (criterion, whether the prior is the true one of the validation movies or estimated from the same scores)
CRITERIA = {"pu_f1": ("pu_f1", "true"), "quantile": ("quantile", "true"), "lee_liu": ("lee_liu", "true"),
            "pu_f1_auto": ("pu_f1", "auto"), "quantile_auto": ("quantile", "auto")}


def chosen(study, data, model, prior):
    """The table of all criteria under a prior; nothing where none can be estimated."""
    try:
        return study.voxgrad("optimize", data, "--model", model, "--latest", "--mode", "fast", "--criterion", "pu_f1", "--prior", prior,
                             "--threads", study.threads)["pu"]
    except RuntimeError:
        if prior == "auto":
            return {}
        raise


def measure(study, row):
    """What the test movies say of each criterion's threshold, for detection and for voxels alike. The kept model is not written to:
    `optimize` works on a copy of its weights."""
    folder, _ = study.labels(row["seed"], row["condition"])
    complete, _ = study.labels(row["seed"], "complete")
    model = study.model(row["condition"], row["scheme"], row["seed"])
    out = {key: row[key] for key in ("condition", "scheme", "seed")}
    with tempfile.TemporaryDirectory(dir=study.folder("thresholds")) as work:
        for name in ("checkpoint.safetensors", "config.yaml"):
            shutil.copy(os.path.join(model, name), work)
        data = os.path.join(folder, "dataset.h5")
        found = {"true": chosen(study, data, work, row["prior_true"]), "auto": chosen(study, data, work, "auto")}
        out["prior_auto"] = found["auto"].get("prior")
        for name, (criterion, prior) in CRITERIA.items():
            threshold = found[prior].get(criterion + "-threshold")
            values = dict.fromkeys(("threshold", "f1", "precision", "recall", "dice"))
            if threshold is not None:
                total = study.scores(os.path.join(model, "test"), complete, threshold, os.path.join(work, "evaluation"))
                values = {"threshold": threshold, "f1": total["det-f1-score"], "precision": total["det-precision"],
                          "recall": total["det-recall"], "dice": total["seg-dice"]}
            out.update({"%s_%s" % (name, key): value for key, value in values.items()})
    return out
