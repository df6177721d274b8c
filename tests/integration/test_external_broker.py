"""A broker at a URL: what is refused before work is given to it, in what words, and how soon."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.brokers import Broker, broker_warnings, connect, open_broker
from runner.errors import BrokerUnavailable, BrokerUnsafe
from runner.settings import read_settings
from tests.servers import Server, free_port
from tests.waiting import wait_until

Start = Callable[..., Server]


def use(url: str, *, insecure: bool = False) -> None:
    with open_broker(read_settings(broker_url=url, insecure=insecure)):
        pass


def silent(connection: socket.socket) -> None:
    connection.recv(1)
    time.sleep(60)


def dripping(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"+")
        time.sleep(0.5)


def hanging_up(connection: socket.socket) -> None:
    connection.recv(1024)


def a_web_server(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def without_tls(connection: socket.socket) -> None:
    connection.sendall(b"-ERR what?\r\n")


@dataclass(frozen=True)
class Authority:
    """A certificate for 127.0.0.1 that is its own authority."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tls"))
    (made.folder / "serial.pem").write_text("no certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def in_tls(
    authority: Authority, behind: Server, *, asks: bool = False, version: ssl.TLSVersion | None = None
) -> Callable[[socket.socket], None]:
    """TLS in front of a server, as the Valkey of the wheel is built without it; it may ask for a certificate of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    context.maximum_version = version or ssl.TLSVersion.MAXIMUM_SUPPORTED

    def treat(connection: socket.socket) -> None:
        with (
            context.wrap_socket(connection, server_side=True) as secured,
            socket.create_connection(("127.0.0.1", behind.port)) as plain,
        ):
            threading.Thread(target=pass_on, args=(plain, secured), daemon=True).start()
            pass_on(secured, plain)

    return treat


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while words := source.recv(65536):
            target.sendall(words)


def secure(url: str) -> str:
    return url.replace("redis://", "rediss://")


@contextmanager
def listening(treat: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of something that is no Redis, and treats each connection in its own way."""

    def accept() -> None:
        with suppress(OSError):  # it is closed when the test is over
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            treat(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://:s3cret@127.0.0.1:{server.getsockname()[1]}/0"
        server.shutdown(socket.SHUT_RDWR)


class TestOneThatServes:
    def test_a_broker_is_used_over_tcp(self, valkey: Server) -> None:
        with open_broker(read_settings(broker_url=valkey.url)) as broker:
            assert broker == Broker(valkey.url, embedded=False)

    def test_a_broker_is_used_over_its_socket(self, valkey: Server) -> None:
        with open_broker(read_settings(broker_url=f"unix://{valkey.socket}?db=3")) as broker:
            assert broker.url == f"redis+socket://{valkey.socket}?virtual_host=3"

    def test_a_broker_is_used_with_its_password(self, start_valkey: Start) -> None:
        server = start_valkey("--requirepass", "s3cret/@")

        use(f"redis://:s3cret%2F%40@127.0.0.1:{server.port}/0")

    def test_a_user_of_a_broker_need_not_be_allowed_to_read_info(self, valkey: Server) -> None:
        with valkey.client() as client:
            commands = ["+@all", "-info"]
            client.acl_setuser("app", enabled=True, passwords=["+x"], keys=["*"], channels=["*"], commands=commands)

        use(f"redis://app:x@127.0.0.1:{valkey.port}/0")

    def test_nothing_without_an_expiry_is_left_in_a_broker(self, valkey: Server) -> None:
        use(valkey.url)

        with valkey.client() as client:
            wait_until(lambda: client.dbsize() == 0, "the key of the check has expired")


class TestOneThatIsNotThere:
    def test_a_closed_port_of_a_broker_is_reported_in_one_line(self) -> None:
        """C08."""
        with pytest.raises(BrokerUnavailable) as refused:
            use("redis://:s3cret@127.0.0.1:1/0")

        assert str(refused.value) == "broker redis://:***@127.0.0.1:1/0: connection refused"
        assert refused.value.exit_code == 4

    def test_a_host_without_an_address_is_named(self) -> None:
        with pytest.raises(BrokerUnavailable, match=r"broker redis://nowhere\.invalid: no such host"):
            use("redis://nowhere.invalid")

    def test_a_socket_that_is_not_there_is_named(self, own_directory: Path) -> None:
        with pytest.raises(BrokerUnavailable, match="no such file or directory"):
            use(f"unix://{own_directory}/no.sock")

    def test_a_broker_that_accepts_and_says_nothing_is_given_up(self) -> None:
        """C09."""
        with listening(silent) as url, pytest.raises(BrokerUnavailable, match="no answer within 2 s"):
            use(url)

    def test_a_broker_that_says_a_byte_a_second_is_given_up(self) -> None:
        """No timeout of a socket sees it: each byte is in time."""
        with listening(dripping) as url, pytest.raises(BrokerUnavailable, match="no answer within 4 s"):
            use(url)

    def test_a_broker_that_is_frozen_is_given_up(self, valkey: Server) -> None:
        valkey.freeze()

        with pytest.raises(BrokerUnavailable, match="no answer within 2 s"):
            use(valkey.url)


class TestOneThatIsNoRedis:
    def test_a_web_server_in_place_of_a_broker_is_recognised(self) -> None:
        with (
            listening(a_web_server) as url,
            pytest.raises(BrokerUnavailable, match="the server there is no Redis or Valkey") as refused,
        ):
            use(url)

        assert "s3cret" not in str(refused.value)

    def test_a_broker_that_hangs_up_is_asked_for_tls(self) -> None:
        with (
            listening(hanging_up) as url,
            pytest.raises(BrokerUnavailable, match="it closes the connection") as refused,
        ):
            use(url)

        assert "rediss://" in refused.value.hint

    def test_a_broker_without_tls_is_distinguished_from_one_with_tls(self) -> None:
        with (
            listening(without_tls) as url,
            pytest.raises(BrokerUnavailable, match="does not speak TLS") as refused,
        ):
            use(url.replace("redis:", "rediss:"))

        assert "redis://" in refused.value.hint


class TestOneThatTakesNoWork:
    def test_a_missing_password_of_a_broker_is_named(self, start_valkey: Start) -> None:
        server = start_valkey("--requirepass", "s3cret")

        with pytest.raises(BrokerUnavailable, match="it asks for a password"):
            use(server.url)

    @pytest.mark.parametrize("user", ["", "someone"])
    def test_a_wrong_password_of_a_broker_is_named_and_not_shown(self, start_valkey: Start, user: str) -> None:
        server = start_valkey("--requirepass", "s3cret")

        with pytest.raises(BrokerUnavailable, match="wrong user or password") as refused:
            use(f"redis://{user}:wr0ng@127.0.0.1:{server.port}/0")

        assert f"redis://{user}:***@127.0.0.1:{server.port}/0" in str(refused.value)
        assert "wr0ng" not in str(refused.value)

    def test_a_broker_whose_user_may_not_write_is_reported_as_that(self, valkey: Server) -> None:
        with valkey.client() as client:
            client.acl_setuser("reader", enabled=True, passwords=["+x"], keys=["*"], commands=["+@read", "+info"])

        with pytest.raises(BrokerUnavailable, match="lacks rights that Celery and the ledger need"):
            use(f"redis://reader:x@127.0.0.1:{valkey.port}/0")

    @pytest.mark.parametrize("rights", ["-eval", "-@scripting", "-publish", "-psubscribe", "resetchannels"])
    def test_a_user_of_a_broker_without_the_rights_that_a_run_needs_is_refused_and_the_hint_mends_it(
        self, rights: str, valkey: Server
    ) -> None:
        """Without scripts the worker died with RestartFreqExceeded; without channels (`&*`) a run waited silently."""
        with valkey.client() as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">x", "+@all", "~*", "&*", rights)

            with pytest.raises(BrokerUnavailable, match="lacks rights that Celery and the ledger need") as refused:
                use(f"redis://app:x@127.0.0.1:{valkey.port}/0")

            mended = refused.value.hint.replace("…", "app").split()
            client.execute_command(*mended)
        use(f"redis://app:x@127.0.0.1:{valkey.port}/0")

    def test_a_broker_with_as_many_clients_as_it_takes_is_recognised(self, valkey: Server) -> None:
        with valkey.client() as client:
            client.config_set("maxclients", 1)

            with pytest.raises(BrokerUnavailable, match="its limit of clients"):
                use(valkey.url)

    def test_a_read_only_replica_is_recognised(self, start_valkey: Start) -> None:
        server = start_valkey("--replicaof", f"127.0.0.1 {free_port()}")

        with pytest.raises(BrokerUnavailable, match="a read-only replica"):
            use(server.url)

    def test_a_full_broker_is_refused_naming_maxmemory(self, start_valkey: Start) -> None:
        """F21 (a)."""
        server = start_valkey("--maxmemory", "100kb")

        with pytest.raises(BrokerUnavailable, match="it is full: maxmemory is reached"):
            use(server.url)

    def test_a_broker_that_evicts_is_refused_with_the_policy_it_must_have(self, start_valkey: Start) -> None:
        """F21 (b). Our keys all expire, so that volatile-lru would take them too."""
        server = start_valkey("--maxmemory-policy", "volatile-lru")

        with pytest.raises(BrokerUnsafe, match="is volatile-lru, and must be noeviction") as refused:
            use(server.url)

        assert refused.value.exit_code == 4

    def test_a_broker_that_is_a_cluster_is_refused(self, start_valkey: Start) -> None:
        server = start_valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port()))

        with pytest.raises(BrokerUnsafe, match="a cluster"):
            use(server.url)

    def test_a_database_that_the_broker_does_not_have_is_named(self, valkey: Server) -> None:
        with pytest.raises(BrokerUnavailable, match="DB index is out of range"):
            use(valkey.url.replace("/0", "/99"))


class TestTls:
    """A server that speaks TLS, each mistake that a URL can make with it, and what the hint leads to."""

    @pytest.mark.parametrize("password", ["", ":s3cret@"])
    def test_a_url_without_tls_of_a_broker_with_tls_is_reported_as_that(
        self, password: str, authority: Authority, valkey: Server
    ) -> None:
        """The message said that the connection was reset, and to start a server, or to take a private one."""
        with (
            listening(in_tls(authority, valkey)) as url,
            pytest.raises(BrokerUnavailable, match="it requires TLS") as refused,
        ):
            use(url.replace("redis://", f"redis://{password}"))

        assert refused.value.hint.startswith("write rediss://")
        assert "s3cret" not in refused.value.hint

    @pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
    @pytest.mark.parametrize(
        ("file", "reason"), [("missing.pem", "No such file"), ("serial.pem", "no such certificates")]
    )
    def test_a_tls_file_that_is_missing_or_no_certificate_is_named(
        self, file: str, reason: str, option: str, authority: Authority, valkey: Server
    ) -> None:
        """The message said "no such file or directory", and to start a server, or that no TLS is spoken there."""
        path = authority.folder / file
        with (
            listening(in_tls(authority, valkey)) as url,
            pytest.raises(BrokerUnavailable, match=f"{option}.*{path}.*{reason}"),
        ):
            use(f"{secure(url)}?{option}={path}")

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_missing_client_certificate_is_asked_for(
        self, version: ssl.TLSVersion, authority: Authority, valkey: Server
    ) -> None:
        """The message said to write `redis://`."""
        with (
            listening(in_tls(authority, valkey, asks=True, version=version)) as url,
            pytest.raises(BrokerUnavailable) as refused,
        ):
            use(f"{secure(url)}?ssl_ca_certs={authority.certificate}")

        assert "ssl_certfile=" in refused.value.hint

    def test_a_host_that_the_certificate_is_not_for_is_named(self, authority: Authority, valkey: Server) -> None:
        with (
            listening(in_tls(authority, valkey)) as url,
            pytest.raises(BrokerUnavailable, match="mismatch") as refused,
        ):
            use(f"{secure(url).replace('127.0.0.1', '0.0.0.0')}?ssl_ca_certs={authority.certificate}")

        assert "the name that its certificate is for" in refused.value.hint

    def test_a_broker_with_tls_is_used_with_the_authority_and_a_certificate(
        self, authority: Authority, start_valkey: Start
    ) -> None:
        """The same server, so that the mistakes above are the URLs' own."""
        certificate = f"&ssl_certfile={authority.certificate}&ssl_keyfile={authority.key}"
        server = start_valkey("--requirepass", "s3cret")  # as `listening` has it in its URL
        with listening(in_tls(authority, server, asks=True)) as url:
            use(f"{secure(url)}?ssl_ca_certs={authority.certificate}{certificate}")


class TestAPublicAddress:
    """C10. 192.88.99.1 is a public address that nobody answers at since RFC 7526; here nobody is asked."""

    @pytest.mark.parametrize("host", ["192.88.99.1", "[::ffff:192.88.99.1]", "[2001:4860::1]"])
    def test_a_broker_at_a_public_address_without_a_password_is_refused_before_anything_is_sent(
        self, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[object] = []
        monkeypatch.setattr(socket.socket, "connect", lambda _, address: sent.append(address))

        with pytest.raises(BrokerUnsafe, match="refusing an unauthenticated broker") as refused:
            use(f"redis://{host}:6379/0")

        assert not sent
        assert refused.value.exit_code == 4

    @pytest.mark.parametrize(
        "url", ["redis://:s3cret@192.88.99.1:6379/0", "rediss://192.88.99.1:6379/0?ssl_certfile=/etc/hosts"]
    )
    def test_a_broker_at_a_public_address_with_a_password_or_a_certificate_is_tried(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket.socket, "connect", refuse)

        with pytest.raises(BrokerUnavailable, match="connection refused"):
            use(url)

    def test_a_broker_at_a_public_address_is_tried_with_insecure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket.socket, "connect", refuse)

        with pytest.raises(BrokerUnavailable, match="connection refused"):
            use("redis://192.88.99.1:6379/0", insecure=True)


class TestWarnings:
    def test_a_broker_with_an_append_only_file_on_this_machine_is_not_warned_of(self, valkey: Server) -> None:
        assert broker_warnings(valkey.url) == []

    def test_a_broker_that_forgets_at_a_restart_is_warned_of(self, start_valkey: Start) -> None:
        assert "no append-only file" in broker_warnings(start_valkey().url)[0].problem

    def test_a_broker_without_a_password_at_a_private_address_is_warned_of(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A container, say. That it is not asked here is the second warning."""
        monkeypatch.setattr(socket.socket, "connect", refuse)

        assert "no password" in broker_warnings("redis://172.17.0.2:6379/0")[0].problem

    def test_a_broker_with_a_password_at_a_private_address_is_not_warned_of(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket.socket, "connect", refuse)

        warnings = broker_warnings("redis://:x@172.17.0.2:6379/0")

        assert [each.problem for each in warnings] == ["INFO cannot be read: connection refused"]


class TestTheClient:
    def test_a_restart_of_the_broker_is_waited_for(self, valkey: Server) -> None:
        with valkey.client() as client:
            client.set("kept", "yes")
            valkey.stop()
            restart = threading.Timer(0.5, valkey.start)
            restart.start()

            assert client.get("kept") == "yes"

            restart.join()

    def test_options_of_a_client_go_before_our_defaults(self, valkey: Server) -> None:
        with connect(valkey.url, decode_responses=False) as client:
            client.set("key", "value")

            assert client.get("key") == b"value"


def refuse(_socket: socket.socket, _address: object) -> None:
    raise ConnectionRefusedError(111, "Connection refused")
