"""How many threads the libraries below use: results are bit-identical at a fixed number."""

import torch
from threadpoolctl import threadpool_limits

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables of the environment that a library reads when it is loaded."""


def limit_threads(threads: int) -> None:
    """At most so many from now on, in this process."""
    threadpool_limits(threads)
    torch.set_num_threads(threads)
