"""Fixtures for all tests: the real samples, which are not part of the project and may be absent."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of real samples; tests that need it are skipped, visibly, where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real samples at {folder}")
    return folder
