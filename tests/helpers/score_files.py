"""Files of scores as `evaluate.yaml` writes them, beside the records of the predictions."""

import json

from mrh_monai.network.checkpoint import load_checkpoint


def write_scores(folder, bundle, weights=None, **scores):
    sha256 = load_checkpoint(bundle / "models" / "model.pt")[1].sha256
    for subject in scores:
        (folder / subject).mkdir(parents=True, exist_ok=True)
        (folder / subject / f"{subject}_nf.json").write_text(json.dumps({"made_by": {"weights": weights or sha256}}))
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder / "scores.json"
