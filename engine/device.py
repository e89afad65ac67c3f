"""What this machine trains on, found out without importing torch: GPU or CPU, memory, number formats."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
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
    count: int = 1  # of its kind in this machine; memory is that of one


def device(wish: str = "auto") -> Device:
    """The device that `wish` means here, with the memory that is free now (asked at most every two seconds)."""
    found = _probe(int(time.monotonic() / 2))
    return found if wish != "cpu" or found.kind == "cpu" else _cpu()


@lru_cache(maxsize=1)
def _probe(_tick: int) -> Device:
    return _nvidia() or (_apple() if platform.system() == "Darwin" and platform.machine() == "arm64" else _cpu())


def _nvidia() -> Device | None:
    """The first GPU that programs may use; None where there is none, or PyTorch was built without CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not _cuda_is_here(visible):
        return None
    chosen = ["-i", visible.split(",")[0].strip()] if visible else []
    asked = "name,memory.total,memory.free,compute_cap"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader,nounits", *chosen],  # noqa: S607 - where the driver put it
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # a driver that hangs would hang the training too
    if done.returncode != 0 or not done.stdout.strip():
        return None
    name, total, free, capability = (cell.strip() for cell in done.stdout.splitlines()[0].rsplit(",", 3))
    new = float(capability) >= 8.0 if capability.replace(".", "").isdigit() else False
    memory = psutil.virtual_memory()  # a GPU that shares the machine's memory names none of its own
    return Device(
        kind="cuda",
        name=name,
        cores=cores(),
        memory_total=int(total) << 20 if total.isdigit() else memory.total,
        memory_free=int(free) << 20 if free.isdigit() else memory.available,
        bf16=new,
        flash_attention=new and _installed("flash_attn"),
        quantization=_installed("bitsandbytes"),
        count=len(visible.split(",")) if visible else len(done.stdout.strip().splitlines()),
    )


def gpus() -> tuple[str, ...]:
    """Every NVIDIA GPU that programs may use, each by what CUDA_VISIBLE_DEVICES calls it; empty where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return _listed(visible) if _cuda_is_here(visible) else ()


@cache
def _listed(visible: str | None) -> tuple[str, ...]:
    """Asked once: cards neither come nor go while a program lives."""
    if visible:
        return tuple(one.strip() for one in visible.split(",") if one.strip())
    # by their own names: PyTorch numbers them by speed, nvidia-smi by their place in the machine
    asked = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()


def _cuda_is_here(visible: str | None) -> bool:
    """Whether there is a driver, a PyTorch that can use it, and nobody who hides the cards from us."""
    hidden = visible is not None and visible.strip() in ("", "-1")
    return not hidden and shutil.which("nvidia-smi") is not None and _torch_knows_cuda()


def _apple() -> Device:
    """Apple's GPU, which shares the machine's memory."""
    return replace(_cpu(), kind="mps", bf16=False)


def _cpu() -> Device:
    memory = psutil.virtual_memory()
    limit = _memory_limit()
    total = min(memory.total, limit or memory.total)
    return Device(
        kind="cpu",
        name=_cpu_name(),
        cores=cores(),
        memory_total=total,
        memory_free=min(memory.available, total),
        bf16=not _held_back() and any(flag in _cpu_flags() for flag in _CPU_BF16),
    )


def cores() -> int:
    """Processor cores that this process may use."""
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


@cache
def _torch_knows_cuda() -> bool:
    """Whether the installed PyTorch was built for NVIDIA's GPUs, read off its version file without importing it."""
    from importlib.util import find_spec

    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    return bool(file and file.is_file() and re.search(r"^cuda[^=]*= *['\"]", file.read_text(), re.MULTILINE))


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None
