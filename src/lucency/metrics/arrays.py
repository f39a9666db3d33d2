"""Array types, and division that knows what it cannot say."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def ratio(part: ArrayLike, whole: ArrayLike) -> FloatArray:
    """Divide; 0/0 is nan without a warning."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    shares = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole != 0)
    return shares
