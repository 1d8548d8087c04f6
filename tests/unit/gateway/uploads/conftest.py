import pytest
from aiohttp.test_utils import TestClient, TestServer
from uploads_world import UploadWorld


@pytest.fixture
def world():
    return UploadWorld()


@pytest.fixture
async def client(world):
    async with TestClient(TestServer(world.app())) as client:
        yield client
