"""The options of training: what users set, what recipes decide, and what follows from both."""
# Annotations are evaluated here: they hold the definitions of the options.

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from mrh_monai.bundle.option_definition import Option, options_of, read_options, recipe_value, refuse_unknown
from mrh_monai.bundle.option_values import (
    choice,
    flag,
    integer,
    none_if_unset,
    number,
    number_or_zero,
    optional,
    switch,
    text,
    whole_number,
)
from mrh_monai.bundle.run_settings import RunSettings
from mrh_monai.errors import OptionError
from mrh_monai.network import INITIALISATIONS, bundle_files, sidecar_path
from mrh_monai.patches import SAMPLING_METHODS
from mrh_monai.scaling import SCALING_MODES
from mrh_monai.subjects import Datalist
from mrh_monai.training import ALIGNMENT, ALIGNMENT_MODES, OPTIMIZERS, SCHEDULES, AlignmentOptions, OptimizerOptions, SamplingOptions

Recipes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class FewPatches:
    """The changes that a recipe makes if there are few patches.

    Attributes:
        below: Number of patches; the changes are made if there are fewer.
        changes: Values of the settings that are changed.
    """

    below: int
    changes: Mapping[str, Any]


def _read_few_patches(name: str, value: Any) -> tuple[FewPatches, ...]:
    """Return what a recipe changes for few patches, from a list with a mapping for each number of patches, or from a single mapping.

    Raises:
        OptionError: The recipe changes a value that is needed before the patches are counted, or does not give `below`.
    """
    if isinstance(value, list):
        return tuple(step for index, each in enumerate(value) for step in _read_few_patches(f"{name}::{index}", each))
    if value is None:
        return ()
    known = {each: definition for each, definition in options_of(TrainingSettings).items() if definition.few}
    if not isinstance(value, Mapping) or "below" not in value or not set(value) <= {"below", *known}:
        expected = f"`below`, a number of patches, and some of {', '.join(known)}"
        raise OptionError(name, expected, f"{value!r}", "correct the recipe")
    changes = {each: known[each].read(f"{name}::{each}", value[each]) for each in value if each != "below"}
    return (FewPatches(integer(f"{name}::below", value["below"]), changes),)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(RunSettings):
    """All options of a training run; what the user does not set comes from the recipe.

    Attributes:
        recipe: Name of the recipe.
        residual_blocks: Number of residual blocks of a network without a parent, or what the user typed.
        pretrained: Bundle folder, bundle zip or `.pt` file of the parent; None to train from scratch.
        new_channels: Whether channels that the parent does not have may start from random weights.
        validation_patches: Number of patches that validate.
        seed: Random seed of the patches, of their order and of the initial weights.
        resume: Whether to continue from the checkpoint in the output folder.
        epochs: Number of epochs.
        batch_size: Number of patches in a batch.
        learning_rate: Highest learning rate.
        patches: Number of patches that train; None for every voxel that fits.
        sampling: ``random`` or ``published``, see `mrh_monai.training.SamplingOptions`.
        scaling: Scaling mode of a network without a parent.
        align: Whether the stains of the training subjects are moved onto their MR images, see `mrh_monai.training.AlignmentOptions`.
        initialisation: Initial weights, see `mrh_monai.network.MRHNet`.
        optimizer: ``adamw`` or ``sgd``.
        weight_decay: Decay of the weights.
        momentum: Momentum of SGD.
        clip_norm: Largest l2 norm of each parameter's gradient; None for no limit.
        schedule: ``one_cycle`` or ``drop``, see `mrh_monai.training.make_schedule`.
        patience: Number of epochs without a gain after which training stops; None to run all epochs.
        loss: Function from predictions and targets (B, 1, 3, 3) to the loss.
        frozen: Number of convolutions that are not trained, see `mrh_monai.training.start_from_parent`.
        replaced: Number of convolutions that do not start from the parent's.
        head_factor: Number by which the learning rate of replaced convolutions is multiplied.
        least_steps: Smallest number of steps of an epoch.
        root_steps: How much this number grows with the square root of the number of patches.
        mirror: Whether batches are mirrored at random.
        mixup: Parameter of the mixing of patches; 0 for no mixing.
        few_patches: What the recipe changes for few patches; where several of them hold, the last one decides.
        typed: Names of the options for which the user or the config gave a value that replaces the value of the recipe.
    """

    recipe: Annotated[
        str, Option(text, "recipe of the training: fast, paper or released; `recipes` has their values", default="fast", recorded=True)
    ]
    residual_blocks: Annotated[
        int | None,
        Option(
            optional(whole_number(0)),
            "number of residual blocks B",
            default="none",  # in recipes of older bundles, which do not have it
            config_text="null",
            unset="that of the parent; without a parent the recipe's value",
            source='Paper: 30. The published "5layer" network: 5',
            in_table="the parent's, or the recipe's",
            by_recipe=True,
        ),
    ]
    pretrained: Annotated[
        str | None,
        Option(
            optional(text),
            "where training starts: a bundle folder, a bundle zip, or a .pt file with its sidecar beside it; none: from scratch",
            config_text="<<pretrained>>",
            in_table="`<<parent>>`",
            resume_may_differ=True,
        ),
    ]
    new_channels: Annotated[
        bool,
        Option(
            flag,
            "whether channels that the parent does not have may start from random weights; shared channels are copied by name",
            default=False,
        ),
    ]
    validation_patches: Annotated[
        int,
        Option(
            whole_number(),
            "number of patches that are scored after each epoch; held out from the training patches where no subject validates",
            default=4000,
            source="Paper: 1,000",
        ),
    ]
    seed: Annotated[
        int,
        Option(whole_number(0, 2**32), "random seed of the patches, of their order and of the initial weights", default=0, recorded=True),
    ]
    resume: Annotated[bool, Option(flag, "whether the run continues from OUTPUT_DIR/checkpoint.pt", default=False, resume_may_differ=True)]

    epochs: Annotated[int, Option(whole_number(), "number of epochs", by_recipe=True, recorded=True)]
    batch_size: Annotated[int, Option(whole_number(), "number of patches in a batch", by_recipe=True, few=True, recorded=True)]
    learning_rate: Annotated[float, Option(number, "highest learning rate", by_recipe=True, few=True, recorded=True)]
    patches: Annotated[
        int | None,
        Option(
            optional(whole_number()), "number of training patches, which are drawn once from all training subjects together", by_recipe=True
        ),
    ]
    sampling: Annotated[
        str,
        Option(
            choice(*SAMPLING_METHODS),
            "how patches are drawn: random (any voxel of the masks) or published (by the rules of the released code)",
            by_recipe=True,
        ),
    ]
    scaling: Annotated[
        str,
        Option(
            choice(*SCALING_MODES),
            "how intensities are scaled: " + "; ".join(f"{name} ({mode.description})" for name, mode in SCALING_MODES.items()),
            by_recipe=True,
        ),
    ]
    align: Annotated[
        str,
        Option(
            switch(*ALIGNMENT_MODES),
            "whether training stains are moved onto their MR images: off, on, or auto (only where held-out voxels show that it helps)",
            default="off",
            config_text="null",
            by_recipe=True,
            recorded=True,
        ),
    ]

    initialisation: Annotated[str, recipe_value(choice(*INITIALISATIONS))]
    optimizer: Annotated[str, recipe_value(choice(*OPTIMIZERS))]
    weight_decay: Annotated[float, recipe_value(number_or_zero, few=True)]
    momentum: Annotated[float, recipe_value(number_or_zero)]
    clip_norm: Annotated[float | None, recipe_value(optional(number))]
    schedule: Annotated[str, recipe_value(choice(*SCHEDULES))]
    patience: Annotated[int | None, recipe_value(optional(whole_number()))]
    loss: Annotated[Any, recipe_value(lambda name, value: value)]
    frozen: Annotated[int, recipe_value(whole_number(-math.inf), few=True)]
    replaced: Annotated[int, recipe_value(whole_number(0))]
    head_factor: Annotated[float, recipe_value(number)]
    least_steps: Annotated[int, recipe_value(whole_number())]
    root_steps: Annotated[float, recipe_value(number_or_zero, default=0.0)]
    mirror: Annotated[bool, recipe_value(flag, few=True)]
    mixup: Annotated[float, recipe_value(number_or_zero, few=True)]
    few_patches: Annotated[tuple[FewPatches, ...], recipe_value(_read_few_patches)]
    typed: frozenset[str] = frozenset()

    @classmethod
    def from_options(cls, recipes: Recipes, transfers: Recipes | None = None, **typed: Any) -> Self:
        """Return all settings of a training run, checked and in their proper types.

        Args:
            recipes: The recipes of the config by name. Every recipe has the same values.
            transfers: What each recipe changes where training starts from a parent.
            typed: The options as they were typed, or as they stand in the config; null where the recipe decides.

        Raises:
            OptionError: A value is wrong; a recipe lacks a value, or has one that no recipe has.
        """
        own = read_options(cls, typed)
        recipe = choice(*recipes)("recipe", own["recipe"])
        by_recipe = {name: each for name, each in options_of(cls).items() if each.by_recipe}
        for name, values in recipes.items():
            refuse_unknown(values, by_recipe, f"recipes::{name}", "only values that every recipe has")
        chosen = {name: (f"recipes::{recipe}::{name}", value) for name, value in recipes[recipe].items()}
        if own["pretrained"] is not None:
            changes = (transfers or {}).get(recipe, {})
            refuse_unknown(changes, by_recipe, f"transfers::{recipe}", "only values that every recipe has")
            chosen |= {name: (f"transfers::{recipe}::{name}", value) for name, value in changes.items()}
        given = {name: value for name, value in typed.items() if name in by_recipe and none_if_unset(value) is not None}
        chosen |= {name: (name, value) for name, value in given.items()}
        decided = {}
        for name, each in by_recipe.items():
            if name not in chosen and each.default is None:
                raise OptionError(f"recipes::{recipe}", f"a value of {name}, as every recipe has", "no such value", f"add {name}")
            decided[name] = each.read(*chosen.get(name, (name, each.default)))
        return cls(**own, **decided, typed=frozenset(given))

    def for_patches(self, count: int) -> Self:
        """Return the settings of a run on so many patches: least steps, and what the recipe changes that the user did not type.

        Args:
            count: Number of training patches.

        Raises:
            OptionError: The user typed a batch size that is larger than the number of patches.
        """
        if "batch_size" in self.typed and self.batch_size > count:
            remedy = "give a smaller --batch_size, or leave it out"
            raise OptionError("batch_size", f"at most the {count} patches that there are", f"{self.batch_size}", remedy)
        few = [pair for each in self.few_patches if count < each.below for pair in each.changes.items()]
        changes = {name: value for name, value in few if name not in self.typed}
        least_steps = self.least_steps + round(self.root_steps * math.sqrt(count))
        return replace(self, least_steps=least_steps, root_steps=0.0, **changes)

    def typed_value(self, name: str) -> Any:
        """Return the value of an option that the recipe decides, if the user typed one; otherwise None."""
        return getattr(self, name) if name in self.typed else None

    def resume_key(self, **more: Any) -> dict[str, Any]:
        """Return the settings that must be the same in a resumed run: every option on which the result depends.

        Args:
            more: Other values that must be the same, such as the digest of the data and the SHA-256 of the parent.
        """
        return {name: getattr(self, name) for name, each in options_of(type(self)).items() if not each.resume_may_differ} | more

    @property
    def listed(self) -> Datalist:
        """The datalist, see `RunSettings.listed`, which must have training subjects."""
        listed = super().listed
        listed.section("training", self.datalist)
        return listed

    @property
    def inputs(self) -> list[Path]:
        """Every file that the run reads: the datalist, the files of its subjects, and the parent's weights.

        Raises:
            DatalistError: The datalist cannot be read.
        """
        parent = None if self.pretrained is None else Path(self.pretrained)
        weights = [] if parent is None else bundle_files(parent) if parent.is_dir() else [parent, sidecar_path(parent)]
        listed = Datalist.read(self.datalist).files
        return [*weights, *listed, *([] if self.datalist is None else [self.datalist])]

    @property
    def recorded(self) -> dict[str, Any]:
        """What the sidecar of the weights records of the settings, as plain values."""
        return {name: getattr(self, name) for name, each in options_of(type(self)).items() if each.recorded}

    @property
    def sampling_options(self) -> SamplingOptions:
        """How many patches are drawn, and where. A resumed run moves the stains as it moved them before."""
        alignment = AlignmentOptions(self.align, self.seed, self.output_folder / ALIGNMENT if self.resume else None)
        return SamplingOptions(self.patches, self.validation_patches, self.sampling, self.seed, alignment)

    @property
    def optimizer_options(self) -> OptimizerOptions:
        """How weights are changed from step to step."""
        return OptimizerOptions(self.optimizer, self.learning_rate, self.weight_decay, self.momentum, self.clip_norm, self.head_factor)
