"""The connection of a process to NATS: its identity, its trust, and its inbox.

Every connection is made of `arguments`, or of `broker_arguments` for FastStream.
"""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nats
from nats.aio.client import Client

from shared.bus.access.denials import watch
from shared.bus.access.permissions import ADMIN, CLI, IDENTITIES, inbox_of, source_of
from shared.domain.errors import ConfigurationError
from shared.settings import Bus

SEED: Final = re.compile(r"\bSU[A-Z2-7]{56}\b")
"""Of a user, also among the lines that other tools write around it."""


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials of one process.

    identity: names the inbox; with a key, the server's permissions.
    seed: of the nkey; None: the credentials in the address, if any.
    tls: None: the address and the server decide, with the certificates of the system.
    """

    identity: str = CLI
    seed: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def provisions(self) -> bool:
        """Whether it may make streams: by its key; without keys, every process may."""
        return self.seed is None or self.identity == ADMIN


def access_of(bus: Bus, role: str) -> Access:
    """The access that the settings give; the bundled server knows neither keys nor TLS.

    Args:
        role: identity of the process, unless its key file is named after another.

    Raises:
        ConfigurationError: a file is missing, or has other content than it should.
    """
    if bus.url is None:
        return Access(role)
    return Access(identity_of(bus.nkey, role), _seed(bus), _tls(bus))


def role_of(services: Sequence[str]) -> str:
    """Identity of a process that runs these services. Several need a key that may do all."""
    return services[0] if len(services) == 1 else ADMIN


def identity_of(key_file: Path | None, role: str) -> str:
    """The one that the key file is named after, if it is one of `instep keys`; else the role."""
    stem = key_file.stem if key_file else ""
    return stem if stem in IDENTITIES or source_of(stem) is not None else role


def arguments(access: Access) -> dict[str, Any]:
    """The arguments of `nats.connect` besides the address."""
    told: dict[str, Any] = {"inbox_prefix": inbox_of(access.identity).encode()}
    if access.seed is not None:
        told["nkeys_seed_str"] = access.seed
    if access.tls is not None:
        told["tls"] = access.tls
    return told


def broker_arguments(access: Access) -> dict[str, Any]:
    """The same for `NatsBroker`."""
    from faststream.nats.security import NatsNKey, NatsSecurity

    told: dict[str, Any] = {"inbox_prefix": inbox_of(access.identity).encode()}
    if access.seed is not None:
        told["security"] = NatsNKey.from_seed(access.seed, ssl_context=access.tls)
    elif access.tls is not None:
        told["security"] = NatsSecurity(ssl_context=access.tls)
    return told


async def connect(url: str, access: Access, **options: Any) -> Client:
    """A client of its own, for single jobs.

    Raises:
        nats.errors.Error, OSError, TimeoutError: as `nats.connect` does.
        ConfigurationError: the connection is not encrypted as the settings want.
    """
    client = await nats.connect(url, **options, **arguments(access))
    if client.is_connecting:  # nats-py takes the end of the connection for an answer
        await client.close()
        raise ConnectionResetError("the server ended the connection before it accepted the client")
    await checked(client, access)
    watch(client)
    return client


async def checked(client: Client, access: Access) -> None:
    """Close a connection that is not encrypted although the settings want that.

    The client encrypts when the server asks for it, which an attacker in between could hide.

    Raises ConfigurationError.
    """
    if is_plain(client, access):
        await client.close()
        raise ConfigurationError(
            "the NATS server does not encrypt, and bus.tls_ca is set: "
            "turn TLS on there (nats.conf has the lines), or remove bus.tls_ca"
        )


def is_plain(client: Client, access: Access) -> bool:
    """Whether the connection is not encrypted, against the settings."""
    return access.tls is not None and not client._server_info.get("tls_required")


def refusal(error: Exception) -> str:
    """Why trying again cannot help, as what follows "the NATS server"; empty where it may. Pure."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "has a certificate that this process does not trust: look at bus.tls_ca"
    if isinstance(error, ssl.SSLError):
        return f"does not speak TLS as instep does ({error.reason}): look at bus.tls_cert"
    if "authorization violation" in str(error).lower():
        return "refuses the key or password: look at bus.nkey and bus.url"
    return ""


def _seed(bus: Bus) -> str | None:
    if bus.nkey_seed is not None:
        return _checked_seed("bus.nkey_seed", bus.nkey_seed.get_secret_value())
    if bus.nkey is None:
        return None
    try:
        text = bus.nkey.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigurationError(f"bus.nkey: {bus.nkey}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    return _checked_seed(f"bus.nkey: {bus.nkey}", text)


def _checked_seed(where: str, text: str) -> str:
    """The seed in a text, which never goes into the message. Raises ConfigurationError."""
    import nkeys

    found = SEED.search(text)
    try:
        if found:
            nkeys.from_seed(bytearray(found[0].encode()))
            return found[0]
    except (nkeys.NkeysError, ValueError):
        pass
    raise ConfigurationError(f"{where}: not the seed of an nkey, as `instep keys` writes it")


def _tls(bus: Bus) -> ssl.SSLContext | None:
    if bus.tls_ca is None and bus.tls_cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=bus.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"bus.tls_ca: {bus.tls_ca}: {_why(error)}") from None
    if bus.tls_cert is not None:
        try:
            context.load_cert_chain(bus.tls_cert, bus.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"bus.tls_cert: {bus.tls_cert}: {_why(error)}") from None
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no certificate or key in it that fits ({error.reason or 'not PEM'})"
    return error.strerror or type(error).__name__
