"""How fast this machine reads memory and multiplies matrices, with some threads, as JSON.

python benchmarks/serving_with_memory.py THREADS
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

# 128 MiB of float32: more than any cache holds.
_NUM_VALUES = 32 * 2**20
_SIDE = 2048
_NUM_TRIES = 5


def main() -> None:
    """Measure and print."""
    num_threads = int(sys.argv[1])
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    measured = {
        "bytes_per_second": triad(num_threads),
        **dict(zip(("flops_fp32", "ops_int8"), products(num_threads), strict=True)),
    }
    print(json.dumps(measured))


def triad(num_threads: int) -> float:
    """Return the bytes a second of `a = b + s c`, the triad of STREAM, in NumPy's two passes."""
    arrays = [tuple(np.ones(_NUM_VALUES, np.float32) for _ in range(3)) for _ in range(num_threads)]

    def work(number: int) -> None:
        a, b, c = arrays[number]
        np.multiply(c, np.float32(2), out=a)
        np.add(a, b, out=a)

    with ThreadPoolExecutor(num_threads) as threads:
        seconds = _best(lambda: list(threads.map(work, range(num_threads))))
    return num_threads * 5 * 4 * _NUM_VALUES / seconds


def products(num_threads: int) -> tuple[float, float]:
    """Return the operations a second of large matrix products in float32 and in int8."""
    import torch

    # The only product of int8 matrices on a CPU that needs no quantized model around it.
    product_int8: Any = vars(torch)["_int_mm"]
    torch.set_num_threads(num_threads)
    floats = torch.randn(2, _SIDE, _SIDE)
    integers = torch.randint(-127, 127, (2, _SIDE, _SIDE), dtype=torch.int8)
    return (
        2 * _SIDE**3 / _best(lambda: floats[0] @ floats[1]),
        2 * _SIDE**3 / _best(lambda: product_int8(integers[0], integers[1])),
    )


def _best(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(_NUM_TRIES))


if __name__ == "__main__":
    main()
