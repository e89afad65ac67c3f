"""What needs an NVIDIA GPU: skipped where PyTorch has none."""

from __future__ import annotations

from pathlib import Path

import pytest

# tiny runs inside this process, as the contracts have them
from tests.contract.conftest import trainings  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    missing = pytest.mark.skip(reason="needs an NVIDIA GPU")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(missing)
