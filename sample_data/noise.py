"""Random fields with the spectra that the generators need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing: Sequence[float] | npt.NDArray[np.float64],
    length: float,
    high_pass: float | None = None,
) -> npt.NDArray[np.float64]:
    """Gaussian random field of zero mean and unit standard deviation, band-limited.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    shape : tuple of int
        Shape of the field.
    spacing : sequence of float
        Voxel size along each axis.
    length : float
        Standard deviation of the Gaussian that smooths white noise, in the unit of `spacing`:
        structure finer than this is absent.
    high_pass : float, optional
        Standard deviation of a second, wider Gaussian whose result is subtracted: structure coarser
        than this is absent.
    """
    white = rng.standard_normal(shape)
    field: npt.NDArray[np.float64] = ndimage.gaussian_filter(
        white, [length / s for s in spacing], mode="wrap"
    )
    if high_pass is not None:
        field -= ndimage.gaussian_filter(white, [high_pass / s for s in spacing], mode="wrap")
    field -= field.mean()
    field /= field.std() or 1.0
    return field


def ramp_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], cutoff: float = 1.0
) -> npt.NDArray[np.float64]:
    """Noise as filtered back-projection makes it, plane by plane, of unit standard deviation.

    Independent noise in the projections becomes noise with a power spectrum
    ``|f| * A(f)**2`` in the plane, where *A* is the apodisation of the ramp filter, here a Hann
    window [1]_: none at frequency 0, most at middle frequencies. It makes the grain of a CT image.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    shape : tuple of int
        (Z, Y, X).
    cutoff : float
        Where the Hann window reaches zero, as a multiple of the Nyquist frequency: small for a
        soft kernel, 1 or more for a sharp one.

    References
    ----------
    .. [1] S. J. Riederer, N. J. Pelc, D. A. Chesler. The noise power spectrum in computed X-ray
       tomography. Physics in Medicine and Biology 23 (1978) 446.
    """
    frequency = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])[None, :])
    hann = np.where(frequency < 0.5 * cutoff, np.cos(np.pi * frequency / cutoff) ** 2, 0.0)
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * np.sqrt(frequency) * hann
    field: npt.NDArray[np.float64] = np.fft.irfft2(spectrum, s=shape[1:])
    field /= field.std()
    return field
