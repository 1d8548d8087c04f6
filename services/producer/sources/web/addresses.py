"""The addresses of hosts that a server on the internet may have. Pure.

All others lead into the network of this machine, where services trust whoever can reach them.
"""

import ipaddress
from collections.abc import Collection, Iterable
from typing import Final

from shared.domain.addresses.web_address import normal_host

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_INTERNET_V6: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
        ),
    )
)
"""IANA's registries of special addresses; tunnels that embed an IPv4 address among them."""


def bare(address: Address) -> Address:
    """The IPv4 address that one of IPv6 stands for: mapped, or behind NAT64; else itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet."""
    found = bare(address)
    if found.version == 6 and found not in _INTERNET_V6:
        return False
    return not any(found in network for network in _NOT_PUBLIC if network.version == found.version)


class Reachable:
    """The hosts that may be asked, by the addresses that their names resolve to.

    Args:
        private: names, addresses and networks that are allowed though they are not public.

    Raises:
        ValueError: one of them is none.
    """

    def __init__(self, private: Iterable[str] = ()) -> None:
        names, networks = set[str](), list[ipaddress.IPv4Network | ipaddress.IPv6Network]()
        for one in private:
            try:
                networks.append(ipaddress.ip_network(one.strip("[]"), strict=False))
            except ValueError:
                names.add(normal_host(one))
        self._names: Collection[str] = names
        self._networks = networks

    def may_ask(self, host: str, address: str) -> bool:
        """
        Args:
            host: as `normal_host` spells it.
            address: one that it resolves to.
        """
        found = ipaddress.ip_address(address.partition("%")[0])
        if is_public(found):
            return True
        named = any(one in network for network in self._networks for one in (found, bare(found)))
        return named or host in self._names
