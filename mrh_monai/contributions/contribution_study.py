"""The contribution of the MR images to the prediction of a bundle: noise on one image at a time, and networks with fewer images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrh_monai.contributions.best_images import check_counts, retrain_on_best_images
from mrh_monai.contributions.image_contribution import (
    DEFAULT_NOISE,
    Contribution,
    NoiseOptions,
    groups_of_images,
    perturb_images,
    single_images,
)
from mrh_monai.data import SubjectInMemory, input_kind, load_subject, need_grid
from mrh_monai.evaluation import LabelFiles, Regions
from mrh_monai.inference import Predictor, load_bundle
from mrh_monai.studies import StudyData, TrainingEffort, load_study_data
from mrh_monai.subjects import AnySubject, as_subject, with_default_axis


@dataclass(frozen=True)
class RetrainingOptions:
    """Networks that are trained again on the most important images.

    Attributes:
        counts: Numbers of images, one for each network; a network on all images is added.
        datalist: Datalist with the subjects to train and to test on.
        steps: Number of optimiser steps of each network.
        patches: Number of patches on which each network is trained.
    """

    counts: Sequence[int]
    datalist: Path | str
    steps: int = 600
    patches: int = 40_000


@dataclass(frozen=True)
class ContributionResult:
    """Result of `contribution`; `mrh_monai.contributions.write_contribution` writes its tables and pictures.

    Attributes:
        about: Bundle, weights, stain, units, subject and noise.
        images: Contribution of single images.
        groups: Contribution of groups of images that are alike.
        retrained: Scores of networks with fewer images, see `RetrainingOptions`; empty without them.
    """

    about: dict[str, Any]
    images: Contribution
    groups: Contribution
    retrained: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class ContributionPlan:
    """Everything that `contribution` needs, read and checked. `plan_contribution` makes it.

    Attributes:
        predictor: Loaded bundle.
        subject: Subject in memory.
        perturbed: Channel of every image to perturb.
        noise: The noise, and the number of voxels at which its effect is measured.
        regions: Regions in which the effect is also measured; None for no regions.
        retraining: Networks to train again; None for no networks.
        data: Subjects for these networks; None without networks.
    """

    predictor: Predictor
    subject: SubjectInMemory
    perturbed: dict[str, list[int]]
    noise: NoiseOptions
    regions: Regions | None = None
    retraining: RetrainingOptions | None = None
    data: StudyData | None = None

    def compute(self, progress: bool = False) -> ContributionResult:
        """Add the noise, measure how far the stain changes, and train the networks with fewer images.

        Args:
            progress: Whether to show progress bars on a terminal.
        """
        predictor, noise = self.predictor, self.noise
        sidecar, network = predictor.sidecar, predictor.network
        single = perturb_images(network, sidecar, self.subject, self.perturbed, noise, self.regions, progress)
        alike = groups_of_images(predictor.protocol)
        groups = perturb_images(network, sidecar, self.subject, alike, noise, self.regions, progress)
        about = {
            "bundle": predictor.name,
            "weights": sidecar.sha256,
            "stain": sidecar.stain,
            "units": sidecar.units,
            "subject": self.subject.name,
            "noise": noise.noise,
            "draws": noise.draws,
            "voxels": single.voxels,
        }
        retrained = []
        if self.retraining is not None and self.data is not None:
            ranking = [self.perturbed[single.names[index]][0] for index in single.ranking]
            options = self.retraining
            effort = TrainingEffort(options.patches, options.steps, sidecar.residual_blocks, noise.seed, device=predictor.device)
            retrained = retrain_on_best_images(self.data, ranking, options.counts, effort, progress)
        return ContributionResult(about, single, groups, retrained)


def plan_contribution(
    bundle: Path | str | Predictor,
    subject: Path | str | AnySubject,
    images: Sequence[str] | None = None,
    noise: NoiseOptions = DEFAULT_NOISE,
    labels: LabelFiles | None = None,
    retraining: RetrainingOptions | None = None,
) -> ContributionPlan:
    """Read and check everything that `contribution` needs; the arguments and errors are those of `contribution`."""
    predictor = bundle if isinstance(bundle, Predictor) else load_bundle(bundle)
    perturbed = single_images(predictor.protocol, images)
    check_counts([] if retraining is None else retraining.counts, len(perturbed))
    axis = predictor.options.coronal_axis
    (files,) = with_default_axis([as_subject(subject)], axis)
    need_grid([files], "to add noise to")
    headers = input_kind(files).image_headers(files, predictor.protocol)
    regions = None if labels is None else labels.read(headers[:1])
    data = None if retraining is None else load_study_data(retraining.datalist, predictor.protocol, coronal_axis=axis)
    loaded = load_subject(files, predictor.protocol, predictor.reading())
    return ContributionPlan(predictor, loaded, perturbed, noise, regions, retraining, data)


def contribution(
    bundle: Path | str | Predictor,
    subject: Path | str | AnySubject,
    images: Sequence[str] | None = None,
    noise: NoiseOptions = DEFAULT_NOISE,
    labels: LabelFiles | None = None,
    retraining: RetrainingOptions | None = None,
    progress: bool = False,
) -> ContributionResult:
    """Measure which MR images the prediction of a bundle depends on: add noise to one image at a time, and measure the change of the stain.

    Args:
        bundle: Bundle folder with trained weights, or the result of `mrh_monai.load_bundle`.
        subject: Subject's folder, 4D image with its mask beside it, manifest, `Subject`, or `SubjectArrays`.
        images: Names of the images to perturb; None for all images.
        noise: The noise, and the number of voxels at which its effect is measured.
        labels: Label volume; the effect is also measured in each of its regions. None for no regions.
        retraining: Networks to train again on the most important images only; None for no networks.
        progress: Whether to show progress bars on a terminal.

    Raises:
        OptionError: An image is unknown, or a number of images is impossible.
        SubjectError: A subject cannot be read, is a patch file, or has no voxel in a region.
        CheckpointError: The bundle has no trained weights.

    Example:
        >>> result = contribution("bundles/mrh_af", "brains/subject04", images=["t2", "mt_on", "mt_off"])  # doctest: +SKIP
        >>> result.images.rows()[0]["image"]  # doctest: +SKIP
        'mt_on'
    """
    return plan_contribution(bundle, subject, images, noise, labels, retraining).compute(progress)
