"""A broker's URL, in any form that a user may write, to the form that Celery takes, or to one without its password."""

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMES = "redis://, rediss://, valkey://, valkeys://, redis+socket:///path, unix:///path"
TLS_OPTIONS = {"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}


def celery_url(url: str) -> str:
    """Convert a broker's URL to the form that Celery, kombu and redis-py all accept.

    Raises:
        ValueError: it is no URL, or one of another kind of broker. The message never contains the password.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # it is parsed, and may raise, only here
    except ValueError:
        raise ValueError('not a URL; in a password "/", "?", "#", "@" and ";" are written percent-encoded') from None
    query = dict(parse_qsl(parts.query))
    user, at, address = parts.netloc.rpartition("@")
    match parts.scheme:
        case "redis" | "valkey":
            allowed: set[str] = set()
        case "rediss" | "valkeys":
            allowed = TLS_OPTIONS
            # Without it kombu 5.7 does not verify the certificate, and Celery's result backend refuses the URL.
            query["ssl_cert_reqs"] = query.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
        case "redis+socket" | "unix" if not address and parts.path.startswith("/"):
            allowed = {"virtual_host"}
            query = {"virtual_host": query.pop("db", "0")} | query
        case "redis+socket" | "unix":
            raise ValueError("the path of a socket is absolute: redis+socket:///path/to/socket")
        case _ if re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?(/\d*)?", url):
            raise ValueError(f"a URL has a scheme: redis://{url}")
        case _:
            raise ValueError(f"supported are {SCHEMES}")
    if unknown := set(query) - allowed:
        raise ValueError(
            f'unknown option "{min(unknown)}" in the URL'
            + (f"; known: {', '.join(sorted(allowed))}" if allowed else "")
        )
    if ";" in url or parts.fragment:  # kombu reads ";" as the start of a second URL
        raise ValueError('";" and "#" are written percent-encoded (%3B, %23)')
    options = f"?{urlencode(query, safe='/')}" if query else ""
    if allowed == {"virtual_host"}:
        return f"redis+socket://{user}{at}{quote(unquote(parts.path))}{options}"
    if not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError("what follows the host is the number of a database: redis://host:6379/0")
    scheme = parts.scheme.replace("valkey", "redis")
    return f"{scheme}://{user}{at}{address or 'localhost'}{parts.path}{options}"


def without_password(url: str) -> str:
    """The URL with ``***`` for its password; also one that is no valid URL, and one with the password in its query.

    >>> without_password("redis://:s3cret@db.example:6379/0")
    'redis://:***@db.example:6379/0'
    """
    # Up to the last "@": a password in which "/" or "@" was left unescaped must not show either.
    # Without a scheme, or with half of one (`redis:/:pw@host`), from the first colon on.
    url = re.sub(r'^("?[\w+.-]*://[^:/@]*|[^:@]*):(.*)@', r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r'([?&]\w*password=)[^&"]*', r"\1***", url)
