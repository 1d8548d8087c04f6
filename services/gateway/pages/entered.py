"""The page on which a browser arrives: it goes on to the reports. Pure."""

from services.gateway.operations import OPERATIONS


def entered_page() -> str:
    """HTML. The browser leaves it by itself, and takes no part of its address with it."""
    address = OPERATIONS["reports"].place.address
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>instep</title>'
        f'<meta http-equiv="refresh" content="0; url={address}"></head>'
        f'<body><p><a href="{address}">Reports</a></p></body></html>\n'
    )
