"""Where to compute and in which precision: a GPU if there is one, and less than float32 where that is faster."""

import torch


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for; else the first GPU where there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def working_dtype(device: torch.device) -> torch.dtype:
    """bf16 on GPUs from compute capability 8.0 and on CPUs with AVX512-BF16 or AMX, fp16 on older GPUs, else fp32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    gains = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and gains else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Compute in `working_dtype`."""
    dtype = working_dtype(device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
