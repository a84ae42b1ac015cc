"""The paper's experiments that look at images and patches: which patches are alike, and how fine images are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsRegressor

from mrh_monai.data import CORONAL_PLANE, LoadedSubject
from mrh_monai.errors import SubjectError
from mrh_monai.evaluation import r2
from mrh_monai.figures import bars, coloured_points
from mrh_monai.network import MRHNet
from mrh_monai.patches import PatchDataset, sample_centres
from mrh_monai.protocol import MT_OFF, MT_ON, T2
from mrh_monai.scaling import training_coefficients
from mrh_monai.studies.image_resolution import resolution_of_slices, squares_of_slices
from mrh_monai.studies.study_networks import StudyData, Trained, predict_small
from mrh_monai.studies.training_studies import Effort, Finding, Progress, train_once

PATCHES = 2000
NEIGHBOURS = 10
PERPLEXITY = 30
LEAST_PATCHES = 4 * PERPLEXITY


def features(data: StudyData, effort: Effort, seed: int, progress: Progress) -> Finding:
    """A map of 2,000 patches of the test subjects in which alike ones lie together: as scaled images, and as a network's last features.

    Source:
        van der Maaten and Hinton, J Mach Learn Res 2008;9:2579, by scikit-learn.
    """
    trained = train_once(data.training, data, effort, seed=seed)
    centres = sample_centres(data.test, PATCHES, seed)
    coefficients = training_coefficients(trained.scaling, data.test)
    batch = PatchDataset(data.test, centres, coefficients, trained.scaling.target_max).batch(torch.arange(len(centres)))
    network: Any = trained.network
    hidden: list[torch.Tensor] = []
    network.conv5.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    with torch.inference_mode():
        MRHNet.forward(network, batch["image"].to(effort.device))  # by its convolutions, of which the last is listened to
    target = batch["label"][:, 0, 1, 1].numpy() * trained.scaling.target_max
    if len(centres) < LEAST_PATCHES:
        raise SubjectError("study features", f"at least {LEAST_PATCHES} voxels of the test subjects", f"{len(centres)}", "use larger ones")
    spaces = {"images": batch["image"].flatten(1).numpy(), "network": hidden[0].flatten(1).cpu().numpy()}
    places = {
        name: TSNE(n_components=2, init="pca", perplexity=PERPLEXITY, random_state=seed).fit_transform(values)
        for name, values in progress(list(spaces.items()))
    }
    explained = {name: _explained(place, target) for name, place in places.items()}
    rows = [
        {
            "subject": data.test[index].name, "x": x, "y": y, "z": z, "target": float(target[row]),
            **{f"{name}_{axis}": float(places[name][row, column]) for name in places for column, axis in enumerate(("tsne1", "tsne2"))},
        }
        for row, (index, x, y, z) in enumerate(centres.tolist())
    ]  # fmt: skip
    paragraph = (
        f"t-SNE of {len(rows)} patches of {data.tested_on}: the {NEIGHBOURS} nearest neighbours on the map predict a patch's stain with R2 "
        f"{explained['images']:.3f} where the map is made of the scaled images, and {explained['network']:.3f} where it is made of the "
        "trained network's last features. The higher the second, the more the network has sorted patches by stain; distances between far "
        "clusters mean nothing in such maps."
    )
    panels = {f"{name}: R2 of neighbours {explained[name]:.2f}": place for name, place in places.items()}
    return Finding(rows, paragraph, lambda path: coloured_points(panels, target, path, "stain"))


def resolution(data: StudyData, effort: Effort, seed: int, progress: Progress) -> Finding:
    """The resolution of MR images, of the stain and of a network's prediction, by decorrelation analysis of coronal slices."""
    trained = train_once(data.training, data, effort, seed=seed)
    names = data.protocol.names
    chosen = [name for name in (T2, MT_ON, MT_OFF) if name in names] or names[:3]
    weighted = next((c.name for c in data.protocol if c.direction is not None), None)
    chosen += [weighted] if weighted is not None and weighted not in chosen else []
    rows, finest = [], []
    for subject in progress(data.test):
        squares = squares_of_slices(subject.mask)
        spacing = [1000 * subject.spacing[axis] for axis in CORONAL_PLANE]
        finest.append(2 * max(spacing))
        for name, volume in _volumes(subject, trained, names, chosen, effort):
            found = resolution_of_slices(volume, subject.mask, spacing)
            for (y, (side, _)), value in zip(squares.items(), found, strict=True):
                width = side.stop - side.start
                rows.append({"subject": subject.name, "image": name, "y": y, "side": width, "um": float(value)})
    sides = min(row["side"] for row in rows), max(row["side"] for row in rows)
    images = list(dict.fromkeys(row["image"] for row in rows))
    medians, heights = {}, []
    for image in images:
        values = np.array([row["um"] for row in rows if row["image"] == image])
        values = values[np.isfinite(values)]
        medians[image] = float(np.median(values)) if len(values) else float("nan")
        ends = np.quantile(values, [0.25, 0.75]) if len(values) else (float("nan"), float("nan"))
        heights.append((image, medians[image], float(ends[0]), float(ends[1])))
    words = ", ".join(f"{image} {value:.0f} um" if np.isfinite(value) else f"{image} not found" for image, value in medians.items())
    limits = " or ".join(dict.fromkeys(f"{edge:.0f}" for edge in finest))
    paragraph = (
        f"Resolution on {data.tested_on}, median over the largest squares of tissue in coronal slices: {words}. Nothing can be finer than "
        f"two voxels, {limits} um. The method looks at where signal ends and noise begins; a smooth image without noise may come out finer "
        f"than it looks. Squares are {sides[0]} to {sides[1]} voxels wide; below about 64 a single one is uncertain by a fifth and more."
    )
    return Finding(rows, paragraph, lambda path: bars(heights, path, "resolution (um), quartiles over slices", "Decorrelation analysis"))


def _volumes(subject: LoadedSubject, trained: Trained, names: list[str], chosen: list[str], effort: Effort) -> list[tuple[str, np.ndarray]]:
    assert subject.target is not None
    images = [(name, subject.image[..., names.index(name)]) for name in chosen]
    return [*images, ("stain", subject.target), ("prediction", predict_small(trained, subject, subject.mask, effort.device))]


def _explained(places: np.ndarray, target: np.ndarray) -> float:
    """R2 of each patch's stain as the mean of its nearest neighbours', itself left out."""
    neighbours = KNeighborsRegressor(NEIGHBOURS).fit(places, target)
    index = neighbours.kneighbors(return_distance=False)
    return r2(target[index].mean(1), target)
