"""Where to compute and in which precision: on a GPU if there is one, below float32 where that is faster."""

import torch


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return ``device``; without one, the first GPU if there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def working_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest dtype of a device.

    bf16 on GPUs from compute capability 8.0 and on CPUs with AVX512-BF16 or AMX, fp16 on older GPUs, else fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    bf16_is_faster = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and bf16_is_faster else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Return a context that computes in `working_dtype`."""
    dtype = working_dtype(device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
