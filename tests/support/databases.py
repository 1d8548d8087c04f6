"""Addresses of databases for the engines of tests."""

from sqlalchemy import make_url

from shared.domain.addresses.sql_address import DRIVERS


def with_driver(url: str) -> str:
    """The address for `create_engine`, with the driver that a source takes."""
    address = make_url(url)
    driver = DRIVERS[address.drivername]
    return address.set(drivername=driver).render_as_string(hide_password=False)
