"""What is known of the five published data sets: names, places, folders, formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError

__all__ = ["DATA_SETS", "DataSet", "data_set"]


@dataclass(frozen=True)
class DataSet:
    """A published data set, as it is distributed.

    Attributes
    ----------
    name, title, about
        What it is called here, what it is called, and what is in it.
    source
        Where it is to be had, and what to do with what comes from there.
    folders
        Folders of images and of masks within the root, in the order in which they are looked for.
    suffixes
        Endings of the files in those folders.
    image_stem, mask_stem
        What a file's stem is for the case ``{}``.
    kind
        ``"picture"``: RGB; ``"volume"``: NIfTI.
    classes
        What is drawn, in order. Sets of several organs can also be read as one class, their union.
    splits
        The folder of its split files.
    schemes
        Its splits: the first keeps train, val and test apart; then those of the published code.
    published_scheme
        The one whose test set the published figures are of.
    """

    name: str
    title: str
    about: str
    source: str
    folders: tuple[tuple[str, str], ...]
    suffixes: tuple[str, ...]
    kind: Literal["picture", "volume"]
    classes: tuple[str, ...]
    splits: str
    schemes: tuple[str, ...]
    published_scheme: str
    image_stem: str = "{}"
    mask_stem: str = "{}"


_REFUGE2 = {
    "source": (
        "https://www.kaggle.com/datasets/victorlemosml/refuge2. Cut out the region around the optic "
        "disc as Step_1_Disc_Crop.py of https://github.com/HzFu/MNet_DeepCDR does (without its polar "
        "transform) and put images and masks of training, validation and test together: red is 255 "
        "on the disc, green on the cup. The size of the published crop is not known; its author "
        "suggests 600 to 800 pixels."
    ),
    "folders": (("Train_crop/images", "Train_crop/masks"), ("images", "masks")),
    "suffixes": (".png",),
    "kind": "picture",
    "splits": "refuge2",
    "schemes": ("sound", "published"),
    "published_scheme": "published",
}

_ALL = (
    DataSet(
        "btcv",
        "BTCV (Synapse)",
        "30 abdominal CT volumes with 13 organs, 8 of which are drawn; 12 are for testing",
        "https://www.synapse.org/#!Synapse:syn3193805/wiki/217752 (registration): Abdomen/RawData.zip, "
        "of which only Training is used.",
        folders=tuple(
            (f"{base}img", f"{base}label")
            for base in ("Abdomen/RawData/Training/", "RawData/Training/", "Training/", "")
        ),
        suffixes=(".nii.gz", ".nii"),
        kind="volume",
        classes=(
            "spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach", "aorta",
            "pancreas",
        ),
        splits="btcv",
        schemes=("sound", "published"),
        published_scheme="published",
        image_stem="img{}",
        mask_stem="label{}",
    ),
    DataSet(
        "sts3d",
        "STS-3D",
        "12 annotated dental cone-beam CT volumes; 3 are for testing",
        "https://toothfairychallenges.github.io (labelled.zip), also "
        "https://tianchi.aliyun.com/dataset/532087.",
        folders=(("labelled/image", "labelled/label"), ("image", "label")),
        suffixes=(".nii.gz", ".nii"),
        kind="volume",
        classes=("tooth",),
        splits="sts3d",
        schemes=("sound", "published"),
        published_scheme="published",
    ),
    DataSet(
        "refuge2-cup",
        "REFUGE2, optic cup",
        "1,200 fundus photographs cut to the optic disc; 400 are for testing",
        classes=("optic cup",),
        **_REFUGE2,  # type: ignore[arg-type]
    ),
    DataSet(
        "refuge2-disc",
        "REFUGE2, optic disc",
        "1,200 fundus photographs cut to the optic disc; 400 are for testing",
        classes=("optic disc",),
        **_REFUGE2,  # type: ignore[arg-type]
    ),
    DataSet(
        "cvc",
        "CVC-ClinicDB",
        "612 colonoscopy frames with polyps, of 29 video sequences",
        "https://www.kaggle.com/datasets/balraj98/cvcclinicdb, also "
        "https://polyp.grand-challenge.org/CVCClinicDB.",
        folders=tuple(
            (f"{base}Original", f"{base}Ground Truth") for base in ("", "PNG/", "TIF/", "CVC-ClinicDB/")
        ),
        suffixes=(".png", ".tif"),
        kind="picture",
        classes=("polyp",),
        splits="cvc",
        schemes=("sequence", "sorted"),
        published_scheme="sorted",
    ),
    DataSet(
        "kvasir",
        "Kvasir-SEG",
        "1,000 colonoscopy images with polyps",
        "https://datasets.simula.no/kvasir-seg (kvasir-seg.zip).",
        folders=(("images", "masks"), ("Kvasir-SEG/images", "Kvasir-SEG/masks")),
        suffixes=(".jpg",),
        kind="picture",
        classes=("polyp",),
        splits="kvasir",
        schemes=("sorted",),
        published_scheme="sorted",
    ),
)  # fmt: skip

#: The published data sets, by name.
DATA_SETS: dict[str, DataSet] = {d.name: d for d in _ALL}


#: What else the sets are called; the cup and the disc of REFUGE2 are in the same files.
_ALIASES = {
    "synapse": "btcv",
    "sts-3d": "sts3d",
    "refuge2": "refuge2-cup",
    "cvc-clinicdb": "cvc",
    "kvasir-seg": "kvasir",
    "kseg": "kvasir",
}


def data_set(name: str) -> DataSet:
    """Return a published data set by its name."""
    name = _ALIASES.get(name.lower(), name.lower())
    if name not in DATA_SETS:
        raise InputError(f"data set: got {name!r}; use one of {', '.join(DATA_SETS)}")
    return DATA_SETS[name]
