"""The options that the runs of a bundle share, and the options of inference.

Each option is defined once, here or in `training_settings.py`. The values and comments in the configs of a bundle, the checks of typed
values, and the table of options on the page of a bundle follow from the definitions.
"""

# Annotations are evaluated here: they hold the definitions of the options.

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from mrh_monai.bundle.option_definition import Option, read_options
from mrh_monai.bundle.option_values import choice, flag, optional, path, slices as read_slices, text, whole_number
from mrh_monai.data import NAN_RULES, SUPPORTS
from mrh_monai.devices import PRECISIONS
from mrh_monai.errors import OptionError
from mrh_monai.network import head_path, sidecar_path
from mrh_monai.subjects import AnySubject, Datalist, Slices, checked_coronal_axis


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The options of every run.

    Attributes:
        datalist: Datalist, or patch file; None if the user gave no datalist.
        output_dir: Folder of the results; None if the user gave no folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32``, ``tf32``, ``bf16`` or ``auto``.
        slices: Coronal ranges (start, stop), counted from 0, the stop excluded; None for all slices.
        nan: ``refuse``, ``zero``, or None for the rule of the scaling.
        debug: Whether errors show tracebacks.
        overwrite: Whether files that no run wrote may be replaced.
        coronal_axis: Array axis of the coronal slices of files that do not say it; None for the axis that their affine names.
        intervals: Whether each voxel of a stain gets an interval.
    """

    datalist: Annotated[
        Path | None,
        Option(optional(path), "JSON file of the subjects, which `mrh datalist` writes; or a MAT file of patches", resume_may_differ=True),
    ]
    output_dir: Annotated[Path | None, Option(optional(path), "folder of the results", resume_may_differ=True)]
    device: Annotated[str, Option(text, "device that computes: auto, cpu, cuda or cuda:1", default="auto", resume_may_differ=True)]
    precision: Annotated[
        str,
        Option(
            choice(*PRECISIONS),
            "precision of the network: float32, tf32 (on CUDA devices), bf16, or auto (bf16 on CUDA devices that are built for it)",
            default="float32",
        ),
    ]
    slices: Annotated[
        Slices | None,
        Option(
            lambda name, value: read_slices(value, name),
            "coronal slices such as 117:159, counted from 0, the stop excluded",
            unset="all slices",
            source="Released code: slices 118 to 159, counted from 1",
        ),
    ]
    nan: Annotated[
        Literal["refuse", "zero"] | None,
        Option(
            optional(choice(*NAN_RULES)),
            "what is done with NaN and Inf inside the mask: refuse, or zero to set them to 0",
            unset="zero with published scaling, otherwise refuse",
        ),
    ]
    debug: Annotated[bool, Option(flag, "whether errors show tracebacks", default=False, resume_may_differ=True)]

    overwrite: Annotated[
        bool,
        Option(
            flag,
            "whether files in OUTPUT_DIR that no run wrote may be replaced; files that the run reads never are",
            default=False,
            resume_may_differ=True,
        ),
    ]

    coronal_axis: Annotated[
        int | None,
        Option(
            lambda name, value: checked_coronal_axis(value, name),
            "array axis (0, 1 or 2) along which coronal slices lie, for subjects whose datalist entry does not say it",
            unset="the axis that the affine of the files names, or 1",
        ),
    ]

    intervals: Annotated[
        bool,
        Option(
            flag,
            "whether voxels get intervals: training ends with an interval head, and inference writes the bounds where the weights have one",
            default=True,
            resume_may_differ=True,
        ),
    ]

    @property
    def output_folder(self) -> Path:
        """The folder of the results.

        Raises:
            OptionError: No folder was given.
        """
        if self.output_dir is None:
            raise OptionError("output_dir", "a folder for the results", "no folder", "give --output_dir FOLDER")
        return self.output_dir

    @property
    def listed(self) -> Datalist:
        """The datalist, its subjects with the coronal axis of the run where they do not state their own.

        Raises:
            DatalistError: The datalist cannot be read.
        """
        return Datalist.read(self.datalist).with_default_axis(self.coronal_axis)

    @property
    def datalist_folder(self) -> str:
        """The folder from which the relative paths of the datalist start."""
        return "." if self.datalist is None else str(self.datalist.parent)


@dataclass(frozen=True, kw_only=True)
class InferenceSettings(RunSettings):
    """The options of inference.

    Attributes:
        datalist_key: Section of the datalist.
        ckpt_path: Trained weights.
        batch_size: Number of patches in a batch.
        support: ``mask`` (FA > 0 where there is no mask), or ``fa`` to predict where FA > 0 even if there is a mask.
        residual_blocks: Number of residual blocks that the user expects; None for no expectation.
        report: Whether a report is written at the end.
    """

    datalist_key: Annotated[str, Option(text, "section of the datalist: training, validation or test", default="test")]
    ckpt_path: Annotated[
        Path,
        Option(
            path,
            "trained weights, with their sidecar beside them",
            default="models/model.pt",
            config_text="$@bundle_root + '/models/model.pt'",
        ),
    ]
    batch_size: Annotated[int, Option(whole_number(), "number of patches in a batch; only speed and memory depend on it", default=4096)]
    support: Annotated[
        Literal["mask", "fa"],
        Option(
            choice(*SUPPORTS),
            "voxels that are predicted: mask (FA > 0 where there is no mask), or fa (FA > 0 even if there is a mask)",
            default="mask",
        ),
    ]
    residual_blocks: Annotated[
        int | None,
        Option(
            optional(whole_number(0)),
            "number of residual blocks; a number that differs from that of the weights is an error",
            unset="that of the weights",
        ),
    ]
    report: Annotated[bool, Option(flag, "whether OUTPUT_DIR/report.html is written at the end", default=True)]

    @classmethod
    def from_options(cls, **typed: Any) -> Self:
        """Return the settings of a run, all values checked and in their proper types.

        Args:
            typed: The options as they were typed, or as they stand in the config.

        Raises:
            OptionError: A value is wrong.
        """
        return cls(**read_options(cls, typed))

    @property
    def inputs(self) -> list[Path]:
        """Every file that the run reads: the datalist, the files of all its subjects, and the weights with what lies beside them.

        Raises:
            DatalistError: The datalist cannot be read.
        """
        return [*Datalist.read(self.datalist).files, self.ckpt_path, sidecar_path(self.ckpt_path), head_path(self.ckpt_path)]

    def subjects(self) -> list[AnySubject]:
        """Return the subjects to predict.

        Raises:
            DatalistError: The datalist cannot be read, or has no subjects in the section.
            OptionError: A subject of the datalist does not have any of the chosen slices.
        """
        return [subject.within(self.slices) for subject in self.listed.section(self.datalist_key, self.datalist)]


@dataclass(frozen=True, kw_only=True)
class CohortSettings:
    """The options of inference by several processes.

    Attributes:
        shared: ``subjects``: each process predicts some of the subjects; ``slabs``: all processes work on every subject.
        redo: Whether finished subjects are predicted again.
    """

    shared: Annotated[
        Literal["subjects", "slabs"],
        Option(
            choice("subjects", "slabs"),
            "what the processes share: subjects (each predicts some of them), or slabs (all work on every subject, which needs fast disks)",
            default="subjects",
        ),
    ]
    redo: Annotated[bool, Option(flag, "whether finished subjects are predicted again", default=False)]

    @classmethod
    def from_options(cls, **typed: Any) -> Self:
        """Return the settings, all values checked and in their proper types, see `RunSettings.from_options`."""
        return cls(**read_options(cls, typed))

    @property
    def share_slabs(self) -> bool:
        """Whether all processes work on every subject."""
        return self.shared == "slabs"
