"""The same work on dask: a lazy array of labels, or a cluster's workers under one's eyes."""

from .lazy import lazy_labels, lazy_results
from .workers import connect, segment_slabs

__all__ = ["connect", "lazy_labels", "lazy_results", "segment_slabs"]
