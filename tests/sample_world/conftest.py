"""One small world for all tests of it."""

import pytest

from sample_world.world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(str(folder), 0, "small", 1)
    return folder
