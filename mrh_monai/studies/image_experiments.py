"""Experiments on images and patches: a map in which similar patches lie together, and the resolution of images and stains."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsRegressor

from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import SubjectError
from mrh_monai.evaluation import r2
from mrh_monai.figures import bars, coloured_points
from mrh_monai.network import MRHNet
from mrh_monai.patch_geometry import CORONAL_PATCH
from mrh_monai.patches import PatchDataset, sample_centres
from mrh_monai.progress import progress_bar
from mrh_monai.protocol import MT_OFF, MT_ON, T2
from mrh_monai.studies.image_resolution import resolution_of_slices, squares_of_slices
from mrh_monai.studies.study_networks import StudyData, StudyNetwork, train_study_network
from mrh_monai.studies.training_experiments import Finding, StudyEffort

PATCHES = 2000
NEIGHBOURS = 10
PERPLEXITY = 30
LEAST_PATCHES = 4 * PERPLEXITY


def feature_map_experiment(data: StudyData, effort: StudyEffort, seed: int, progress: bool = False) -> Finding:
    """Map 2,000 patches of the test subjects so that similar ones lie together: by their scaled images, and by a network's last features.

    Args:
        data: Subjects to train and to test on.
        effort: How thoroughly the experiment is done.
        seed: Random seed of the training, of the patches and of the maps.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        SubjectError: The test subjects have too few voxels.

    Source:
        van der Maaten and Hinton, J Mach Learn Res 2008;9:2579, by scikit-learn.
    """
    trained = train_study_network(data.training, data.protocol, effort.of_one_network(seed))
    centres = sample_centres(data.test, PATCHES, seed)
    coefficients = trained.scaling.training_coefficients(data.test)
    scaling = trained.scaling
    patches = PatchDataset(data.test, centres, coefficients, scaling.target_max, target_min=scaling.target_min)
    batch = patches.batch(torch.arange(len(centres)))
    assert isinstance(trained.network, MRHNet)
    hidden: list[torch.Tensor] = []
    trained.network.conv5.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    with torch.inference_mode():
        # The folded network skips the hook; the plain forward passes the input of the last convolution to it.
        MRHNet.forward(trained.network, batch["image"].to(effort.device))
    target = scaling.unscaled(batch["label"][:, 0, 1, 1].numpy())
    if len(centres) < LEAST_PATCHES:
        raise SubjectError(
            "study features", f"at least {LEAST_PATCHES} voxels of the test subjects", f"{len(centres)}", "use larger subjects"
        )
    spaces = {"images": batch["image"].flatten(1).numpy(), "network": hidden[0].flatten(1).cpu().numpy()}
    places = {
        name: TSNE(n_components=2, init="pca", perplexity=PERPLEXITY, random_state=seed).fit_transform(values)
        for name, values in progress_bar(spaces.items(), "map", progress)
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
        "trained network's last features. The higher the second number, the better the network has sorted the patches by stain. Distances "
        "between far clusters mean nothing in such maps."
    )
    panels = {f"{name}: R2 of neighbours {explained[name]:.2f}": place for name, place in places.items()}
    return Finding(rows, paragraph, lambda path: coloured_points(panels, target, path, "stain"))


def resolution_experiment(data: StudyData, effort: StudyEffort, seed: int, progress: bool = False) -> Finding:
    """Measure the resolution of MR images, of the stain and of a network's prediction, by decorrelation analysis of coronal slices.

    The arguments are those of `feature_map_experiment`.

    Raises:
        SubjectError: No slice has a large enough square of tissue.
    """
    trained = train_study_network(data.training, data.protocol, effort.of_one_network(seed))
    names = data.protocol.names
    chosen = [name for name in (T2, MT_ON, MT_OFF) if name in names] or names[:3]
    weighted = next((c.name for c in data.protocol if c.direction is not None), None)
    chosen += [weighted] if weighted is not None and weighted not in chosen else []
    rows: list[dict[str, Any]] = []
    finest: list[float] = []
    for subject in progress_bar(data.test, "subject", progress):
        squares = squares_of_slices(subject.mask)
        spacing = [1000 * subject.spacing[axis] for axis in CORONAL_PATCH.axes]
        finest.append(2 * max(spacing))
        for name, volume in _volumes(subject, trained, names, chosen):
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
        f"Resolution on {data.tested_on}, median over the largest squares of tissue in coronal slices: {words}. No resolution can be finer "
        f"than two voxels, {limits} um. The method finds the frequency where signal ends and noise begins; a smooth image without noise "
        f"may come out finer than it looks. Squares are {sides[0]} to {sides[1]} voxels wide; below about 64 voxels "
        "a single value is uncertain by a fifth or more."
    )
    return Finding(rows, paragraph, lambda path: bars(heights, path, "resolution (um), quartiles over slices", "Decorrelation analysis"))


def _volumes(subject: SubjectInMemory, trained: StudyNetwork, names: list[str], chosen: list[str]) -> list[tuple[str, np.ndarray]]:
    assert subject.target is not None
    images = [(name, subject.image[..., names.index(name)]) for name in chosen]
    return [*images, ("stain", subject.target), ("prediction", trained.predict(subject, subject.mask))]


def _explained(places: np.ndarray, target: np.ndarray) -> float:
    """Return the R2 of the stain of each patch, predicted as the mean of its nearest neighbours without the patch itself."""
    neighbours = KNeighborsRegressor(NEIGHBOURS).fit(places, target)
    index = neighbours.kneighbors(return_distance=False)
    return r2(target[index].mean(1), target)
