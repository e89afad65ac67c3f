"""What this machine trains on, found out without importing torch: GPU or CPU, memory, number formats."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import psutil

# bfloat16 arithmetic in the processor; without it bf16 on a CPU is emulated and slower than fp32.
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")


@dataclass(frozen=True)
class Device:
    """One device to train on. Memory in bytes; `bf16` says whether it computes in bfloat16 natively."""

    kind: str  # "cuda" | "mps" | "cpu"
    name: str
    cores: int
    memory_total: int
    memory_free: int
    bf16: bool
    flash_attention: bool = False
    quantization: bool = False


def device() -> Device:
    """The device that `auto` means here, with the memory that is free now (asked at most every two seconds)."""
    return _probe(int(time.monotonic() / 2))


@lru_cache(maxsize=1)
def _probe(_tick: int) -> Device:
    return _nvidia() or _cpu()


def _nvidia() -> Device | None:
    if not shutil.which("nvidia-smi"):
        return None
    asked = "name,memory.total,memory.free,compute_cap"
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.strip():
        return None
    name, total, free, capability = (cell.strip() for cell in done.stdout.splitlines()[0].split(","))
    new = float(capability) >= 8.0
    return Device(
        kind="cuda",
        name=name,
        cores=_cores(),
        memory_total=int(total) << 20,
        memory_free=int(free) << 20,
        bf16=new,
        flash_attention=new and _installed("flash_attn"),
        quantization=_installed("bitsandbytes"),
    )


def _cpu() -> Device:
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    memory = psutil.virtual_memory()
    limit = _memory_limit()
    total = min(memory.total, limit or memory.total)
    return Device(
        kind="mps" if apple else "cpu",
        name=_cpu_name(),
        cores=_cores(),
        memory_total=total,
        memory_free=min(memory.available, total),
        bf16=not apple and not _held_back() and any(flag in _cpu_flags() for flag in _CPU_BF16),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_limit() -> int | None:
    """The container's memory limit in bytes, where there is one."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def _held_back() -> bool:
    """Whether oneDNN, which does PyTorch's matrix products on a CPU, was told not to use the bfloat16 units."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2", "AVX512_CORE", "AVX512_CORE_VNNI")


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.machine()


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None
