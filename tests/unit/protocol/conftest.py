import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of histories would print hundreds of thousands of lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
