"""A source of rows that counts its listings."""

from services.producer.sources.port import Scan
from services.producer.sources.sql.table import SqlSource, open_table
from shared.settings import SqlSettings


class Counted:
    """As SqlSource, of which it is a part."""

    def __init__(self, settings: SqlSettings) -> None:
        self._source: SqlSource = open_table(settings)
        self.listings = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def scan(self) -> Scan:
        self.listings += 1
        return self._source.scan()
