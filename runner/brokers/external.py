"""A broker's URL to a client, and to the errors and warnings about the server that answers there."""

import inspect
import ipaddress
import socket
import ssl
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis import connection, exceptions
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from runner.errors import BrokerUnavailable, BrokerUnsafe, Finding
from runner.settings.broker_url import celery_url, without_password

CONNECT_WITHIN = 2.0  # seconds
CHECK_WITHIN = 4.0  # seconds; with the start of the interpreter, less than 5
# OpenSSL's names of alerts, and its codes X509_V_ERR_….
ASKS_FOR_A_CERTIFICATE = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"}
CERTIFICATES = {
    10: "have its certificate renewed",
    62: "use the name that its certificate is for, or ?ssl_check_hostname=false",
    64: "use the name that its certificate is for, or ?ssl_check_hostname=false",
}
RIGHTS = "ACL SETUSER … +@all ~* &*"
# redis-py sends its name and its version, in a round trip each for every connection; versions differ in how to omit them.
UNNAMED: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(connection.AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)
# defence: ANSWERED_WITHIN
ONCE: dict[str, Any] = {"named": True, "socket_timeout": CONNECT_WITHIN, "retry": Retry(NoBackoff(), 0)}


def connect(url: str, *, named: bool = False, **options: Any) -> redis.Redis:
    """Return a client for any URL that Celery takes.

    A command whose connection breaks is retried for some two seconds, which covers a restart: it may be executed twice.
    One without an answer within 10 s is not retried, as the server may be frozen and a user waits.

    Args:
        url: as the user wrote it.
        named: send the client's name first. What the server sends unasked, such as "max number of clients reached", is then
            read as the reply; redis-py discards it otherwise.
        options: of redis-py; they override those set here.
    """
    url = celery_url(url)
    ours: dict[str, Any] = {
        "decode_responses": True,
        # Bytes that are not UTF-8, and half a surrogate pair, are escaped and do not raise: one bad text in a reply would
        # lose the replies to all other commands of its pipeline. JSON is then invalid, and reported as invalid JSON.
        "encoding_errors": "backslashreplace",
        "protocol": 2,  # redis-py 8 uses 3 by default, with which some replies have another shape than with 6 and 7
        **({} if named else UNNAMED),
        "socket_connect_timeout": CONNECT_WITHIN,
        "socket_timeout": 10.0,
        # defence: AGAIN
        "retry": Retry(ExponentialBackoff(cap=1, base=0.05), 5, supported_errors=(exceptions.ConnectionError,)),
    }
    if url.startswith("redis+socket:"):
        url = url.replace("redis+socket:", "unix:", 1).replace("?virtual_host=", "?db=", 1)
    else:
        ours["socket_keepalive"] = True
    return redis.Redis.from_url(url, **(ours | options))


def check_broker(url: str, *, insecure: bool = False) -> None:
    """Return if the broker has accepted a write, and will keep it.

    Args:
        url: of the broker.
        insecure: accept one at a public address without a password.

    Raises:
        BrokerUnavailable: no server answers, it is no Redis, or it accepts no writes.
        BrokerUnsafe: it may evict queued work, or (unless ``insecure``) anyone on the Internet could use it.
    """
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            _check(url, insecure=insecure)
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
            outcome.set_exception(error)

    # In a thread: nothing else limits the time of a DNS look-up, or of a server that sends one byte a second.
    Thread(target=work, name="broker check", daemon=True).start()
    try:
        outcome.result(CHECK_WITHIN)  # defence: CHECKED_WITHIN
    except TimeoutError:
        raise BrokerUnavailable(f"broker {without_password(url)}: no answer within {CHECK_WITHIN:g} s") from None


def broker_warnings(url: str) -> list[Finding]:
    """Return the warnings of `doctor` about a broker that can be used."""
    found = []
    if not _authenticates(url) and not all(ip.is_loopback for ip in _addresses(url)):
        found.append(
            Finding("no password: anyone who reaches its port can send work to the workers", "set requirepass")
        )
    try:
        with connect(url, **ONCE) as client:
            info = client.info()
    except exceptions.RedisError as error:
        return [
            *found,
            Finding(f"INFO cannot be read: {broker_problem(error)[0]}", "let its user read INFO: ACL SETUSER … +info"),
        ]
    if not info["aof_enabled"]:
        lost = "no append-only file: a restart loses the work since its last snapshot"
        found.append(Finding(lost, "set appendonly yes"))
    if info["role"] == "slave":
        found.append(Finding("a replica: what is written to it is lost", "use the address of its primary"))
    if (limit := info.get("maxmemory", 0)) and info["used_memory"] > 0.8 * limit:
        found.append(Finding(f"{info['used_memory'] / limit:.0%} of its maxmemory is used", "raise maxmemory"))
    version = str(info.get("valkey_version", info["redis_version"]))
    if [int(number) for number in version.split(".")[:2]] < [6, 2]:
        found.append(Finding(f"version {version}: tested are Redis 6.2 and later, and Valkey", "update it"))
    return found


def _check(url: str, *, insecure: bool) -> None:
    # Before anything is sent: anyone on the way could read it, and reply.
    if not insecure and not _authenticates(url) and any(ip.is_global for ip in _addresses(url)):
        raise BrokerUnsafe(
            f"broker {without_password(url)}: refusing an unauthenticated broker at a public address",
            "give it a password (requirepass) and put it into the URL, or pass --insecure",
        )
    try:
        with connect(url, **ONCE) as client:
            with suppress(exceptions.NoPermissionError):  # a user may be denied INFO; the other checks do not need it
                _refuse(client.info(), url)
            _try(client)
    except exceptions.RedisError as error:
        if isinstance(error.__cause__ or error.__context__, FileNotFoundError | PermissionError | ssl.SSLError):
            _check_tls_files(url)
        raise _unavailable(url, error) from error


def _try(client: redis.Redis) -> None:
    """Execute one command of each kind that Celery and the ledger need and a user can be denied: write, script, publish.

    The channel subscribed to is the one of Celery's `inspect`, as kombu names it; the one published to has no subscriber.
    """
    channel = f"/{client.get_connection_kwargs().get('db') or 0}.celery.pidbox"
    with client.pipeline(transaction=False) as pipe:
        pipe.set("runner:probe", 1, px=1)
        pipe.eval("return redis.call('SET', KEYS[1], 1, 'PX', 1)", 1, "runner:probe")
        pipe.publish(f"{channel}.runner", "")
        for command in ("PSUBSCRIBE", "PUNSUBSCRIBE"):
            pipe.execute_command(command, channel)  # type: ignore[no-untyped-call]
        pipe.execute()


def _check_tls_files(url: str) -> None:
    """Raise BrokerUnavailable with the name of a certificate file that cannot be used: redis-py does not name it."""
    options = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for names, load in (
        (("ssl_ca_certs",), context.load_verify_locations),
        (("ssl_certfile", "ssl_keyfile"), context.load_cert_chain),
    ):
        paths = [options[name] for name in names if name in options]
        try:
            for path in paths:
                Path(path).read_bytes()
            if names[0] in options:
                load(*paths)
        except OSError as error:  # SSLError is one
            reason = "no such certificates, or a key of others" if isinstance(error, ssl.SSLError) else error.strerror
            raise BrokerUnavailable(
                f"broker {without_password(url)}: {' and '.join(names)} in its URL: {', '.join(paths)}: {reason}",
                "name PEM files that this user can read",
            ) from error


def _speaks_tls(url: str) -> bool:
    """Whether a server that has closed a plain connection speaks TLS; its certificate is not checked here."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "localhost", parts.port or 6379), CONNECT_WITHIN / 2) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # for example, it requires a client certificate
    except OSError:
        return False


def _refuse(info: dict[str, Any], url: str) -> None:
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":  # defence: NO_EVICTION
        raise BrokerUnsafe(
            f"broker {without_password(url)}: its maxmemory-policy is {policy}, and must be noeviction: it would delete queued work",
            "CONFIG SET maxmemory-policy noeviction",
        )
    if info.get("cluster_enabled"):
        raise BrokerUnsafe(f"broker {without_password(url)}: it is a cluster; Celery needs a single Redis or Valkey")


def _authenticates(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password or "ssl_certfile" in parse_qs(parts.query))


def _addresses(url: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    parts = urlsplit(url)
    if not parts.hostname:  # a socket
        return []
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 6379, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _unavailable(url, error) from error
    addresses = [ipaddress.ip_address(address[0]) for *_, address in found]
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]


def _unavailable(url: str, error: Exception) -> BrokerUnavailable:
    why, hint = broker_problem(error)
    hung_up = isinstance(error, exceptions.InvalidResponse | exceptions.ConnectionError)
    if hung_up and url.startswith("redis://") and "refused" not in why and _speaks_tls(url):
        why, hint = "it requires TLS", f"write {without_password(url).replace('redis:', 'rediss:', 1)}"
    return BrokerUnavailable(f"broker {without_password(url)}: {why}", hint)


def broker_problem(error: BaseException) -> tuple[str, str]:
    """Return why the broker cannot be used, and how to fix it; the second is empty if nothing general can be said.

    Args:
        error: of redis-py, of the socket, or of TLS.
    """
    said = (str(error) or type(error).__name__).splitlines()[0][:200]
    match error:
        case exceptions.AuthenticationError() if "authenticat" in said.lower():  # "… required", or what HELLO says
            return "it asks for a password", "write it into the URL: redis://:PASSWORD@HOST:PORT/0"
        case exceptions.AuthenticationError():
            return "wrong user or password", 'characters such as "@" and "/" in a password are written percent-encoded'
        case exceptions.NoPermissionError():
            return f"its user lacks rights that Celery and the ledger need ({said})", RIGHTS
        case exceptions.ReadOnlyError():
            return "a read-only replica", "use the address of its primary"
        case exceptions.MasterDownError():
            return "a replica that has lost its primary", "use the address of the primary"
        case exceptions.ConnectionError() if "max number of clients" in said:
            return (
                "it has reached its limit of clients (maxclients)",
                "raise maxclients, or disconnect idle clients",
            )
        case exceptions.OutOfMemoryError():
            return "it is full: maxmemory is reached", "raise maxmemory, or delete data"
        case exceptions.BusyLoadingError():
            return "it is still loading its data", "try again in a moment"
        case exceptions.InvalidResponse():
            return (
                "the server there is no Redis or Valkey",
                "check the port; if it requires TLS, write rediss://",
            )
        case exceptions.ResponseError() if said.startswith("UNBLOCKED"):
            return "it has become a replica", "use the address of its primary"
        case exceptions.ResponseError() if said.startswith("MISCONF"):
            return "it refuses writes, as it cannot write to its disk (MISCONF)", "see its log; the disk may be full"
        case exceptions.TimeoutError():
            return (
                f"no answer within {CONNECT_WITHIN:g} s",
                "check host, port and firewall, and whether it requires TLS",
            )
        case ssl.SSLCertVerificationError():
            return (
                f"its TLS certificate is not trusted: {error.verify_message}",
                CERTIFICATES.get(error.verify_code, "name its authority: ?ssl_ca_certs=/path/to/ca.pem"),
            )
        case ssl.SSLError() if error.reason in ASKS_FOR_A_CERTIFICATE:
            return (
                "it asks for a client certificate",
                "name one: ?ssl_certfile=/path/cert.pem&ssl_keyfile=/path/key.pem",
            )
        case ssl.SSLError() if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            return "it does not speak TLS", "write redis://"
        case ssl.SSLError():
            remedy = "if it asks for a client certificate, name one: ?ssl_certfile=…&ssl_keyfile=…"
            return f"TLS fails ({error.reason or said})", f"{remedy}; if it does not speak TLS, write redis://"
        case socket.gaierror():
            return f"no such host ({error.strerror})", ""
        case OSError():
            return (error.strerror or said).lower(), "start it, or unset RUNNER_BROKER_URL to use a private Valkey"
        case exceptions.ConnectionError() if cause := error.__cause__ or error.__context__:
            return broker_problem(cause)
        case exceptions.ConnectionError():
            return f"it closes the connection ({said})", "check the port; if it requires TLS, write rediss://"
        case _:
            return said, ""
