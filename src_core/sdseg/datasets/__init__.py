"""Data sets: folders of image and mask pairs, and the five sets that SDSeg was published on.

A folder of pairs has ``images/`` and ``masks/`` (`pairs`). The published sets keep the folders and
formats that they are distributed in (`DATA_SETS`); `cases` reads them with the published
preprocessing, by split files that are kept here, and `check` says what of a set is there.
"""

from __future__ import annotations

from ._cases import SetCase, Square, cases
from ._check import Report, check
from ._folder import Case, Pair, pairs
from ._published import scipy_zoom
from ._sets import DATA_SETS, DataSet, data_set
from ._splits import CVC_SEQUENCES, PARTS, sequence_of, split_names

__all__ = [
    "CVC_SEQUENCES",
    "DATA_SETS",
    "PARTS",
    "Case",
    "DataSet",
    "Pair",
    "Report",
    "SetCase",
    "Square",
    "cases",
    "check",
    "data_set",
    "pairs",
    "scipy_zoom",
    "sequence_of",
    "split_names",
]
