"""Threads for torch on a CPU that compute one image each, and what the processor can do; it knows no model."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def single_threads(torch: Any, threads: int | None) -> ThreadPoolExecutor:
    """A pool of ``threads``, by default one for each core: in each torch uses one thread, elsewhere as before."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, initializer=torch.set_num_threads, initargs=(1,))
    torch.set_num_threads(before)
    return pool


def cpu_has_bf16(torch: Any) -> bool:
    """Whether the processor computes in bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
