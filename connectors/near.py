"""Which servers are on this machine: what goes to them passes no network on which somebody could listen.

Invariant: pure; a name that isn't known to be this machine's is another's.
"""

import ipaddress


def local(host: str) -> bool:
    """Return whether a host's name, address or socket is this machine's."""
    host = host.removeprefix("[").removesuffix("]").rstrip(".").lower()
    if not host or host == "localhost" or host.endswith((".localhost", ".sock")) or host.startswith("/"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def in_clear(place: str, *, encrypted: bool, how: str) -> str:
    """Say of a connection to another machine that it can be listened to, or isn't proved; `how` mends it."""
    what = (
        "is encrypted, but nothing proves that the right server is at its other end"
        if encrypted
        else "isn't encrypted: the password and all that is read can be seen on the way"
    )
    return f"The connection to {place} {what}; {how}."
