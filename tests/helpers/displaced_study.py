"""A study of small digital brains whose training stains are displaced."""

import json

from mrh_monai.data import ReadingOptions, load_subjects
from mrh_monai.io import write_analyze
from mrh_monai.phantom import write_phantom
from mrh_monai.protocol import MRH_NET
from mrh_monai.studies.random_displacement import misregistered
from mrh_monai.subjects import Datalist, find_subject

AF = "targets/AllenPathology2P60.img"


def write_displaced_study(root, shape=(40, 6, 32), rms_mm=0.1):
    """Three subjects and a datalist of two to train, whose stains are displaced, and one to validate; return the datalist's path."""
    folders = list(write_phantom(root, 3, shape, seed=3))
    images = [str(path.relative_to(folders[0])) for path in find_subject(folders[0]).image]
    entries = [
        {"subject": folder.name, "image": [f"{folder.name}/{image}" for image in images],
         "mask": f"{folder.name}/Masked_outline.img", "target": f"{folder.name}/{AF}"}
        for folder in folders
    ]  # fmt: skip
    path = root / "datalist.json"
    path.write_text(json.dumps({"training": entries[:2], "validation": entries[2:]}))
    loaded = load_subjects(Datalist.read(path).training, MRH_NET, ReadingOptions(need_target=True))
    for seed, (folder, subject) in enumerate(zip(folders, loaded, strict=False), 3):
        write_analyze(folder / AF, misregistered(subject, rms_mm, seed).target, subject.spacing[0])
    return path
