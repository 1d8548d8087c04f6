import pytest
from gateway_world import Index


@pytest.fixture
def index():
    return Index()
