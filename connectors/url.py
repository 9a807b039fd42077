"""What is wrong with a source's URL before anybody connects by it. Pure.

Invariant: what is said holds no piece of the URL: a part of a password may stand where a host belongs.
"""

_ENCODED = "@ as %40, / as %2F, ? as %3F, # as %23, : as %3A, % as %25"


def misencoded(url: str) -> str | None:
    """Say what keeps a URL from being read in one way only; None where nothing does.

    A sign that ends a part, before the last @ or as another @, makes of a password a host, a port or a path.
    """
    before, at, _ = url.partition("://")[2].rpartition("@")
    if not at or not any(sign in before for sign in "@/?#"):
        return None
    return (
        f"there is more than one @ in it, or a /, ? or # before the last @; percent-encode these ({_ENCODED})"
    )
