"""A real SMTP server on a free loopback port, which keeps the e-mails that it accepts.

    with serve(replies={"RCPT TO:<b@example.org>": "550 no such user"}) as server:
        server.port, server.emails

A reply stands for every command that begins so, in place of the usual one; `.` is the end of an e-mail, and the empty text
the greeting. The reply "" hangs up, and `None` is never given.
"""

import base64
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass(frozen=True, kw_only=True)
class Received:
    """An e-mail, and its envelope."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    secure: bool

    @property
    def email(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)


class Server(socketserver.ThreadingTCPServer):
    """The server: what it answers, what it has heard, and what it has accepted."""

    daemon_threads = False

    def __init__(
        self,
        *,
        replies: Mapping[str, str | None],
        tls: ssl.SSLContext | None,
        from_start: bool,
        login: tuple[str, str] | None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.replies, self.tls, self.from_start, self.login = replies, tls, from_start, login
        self.heard: list[str] = []
        self.emails: list[Received] = []
        self.closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.secure = False
        self.lines = self.request.makefile("rb")
        with suppress(OSError):  # a client that hangs up, or does not trust the certificate
            if self.server.from_start:
                self._secure()
            self._converse()
        # After TLS began, `request` is another object than the one that socketserver closes.
        self.lines.close()
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)
        self.request.close()

    def _converse(self) -> None:
        self.sender, self.recipients = "", list[str]()
        if not self._say("", "220 tests ESMTP"):
            return
        while line := self.lines.readline():
            command = line.decode(errors="replace").rstrip("\r\n")
            self.server.heard.append(command)
            if not self._answered(command):
                return

    def _answered(self, command: str) -> bool:
        """Answer; false if the conversation is over."""
        match command.upper().partition(" ")[0]:
            case "EHLO":
                offers = ["STARTTLS"] if self.server.tls and not self.secure else []
                offers += ["AUTH PLAIN"] if self.server.login else []
                return self._say(command, "".join(f"250-{each}\r\n" for each in ["tests", *offers]) + "250 8BITMIME")
            case "STARTTLS":
                said = self._say(command, "220 go on")
                self._secure()
                return said
            case "AUTH":
                given = base64.b64decode(command.split()[2]).decode().split("\0")[1:]
                return self._say(command, "235 hello" if given == list(self.server.login or ()) else "535 not you")
            case "MAIL":
                self.sender, self.recipients = command.partition("<")[2].partition(">")[0], []
                return self._say(command, "250 OK")
            case "RCPT":
                answer = self._reply(command, "250 OK")
                if answer and answer.startswith("250"):
                    self.recipients.append(command.partition("<")[2].partition(">")[0])
                return self._say(command, "250 OK")
            case "DATA":
                if self._say(command, "354 go on") and self._reply(command, "354").startswith("354"):
                    return self._receive()
                return True
            case "RSET" | "NOOP":
                return self._say(command, "250 OK")
            case "QUIT":
                self._say(command, "221 bye")
                return False
        return self._say(command, "502 what?")

    def _receive(self) -> bool:
        content = b""
        while (line := self.lines.readline()) and line != b".\r\n":
            content += line.removeprefix(b".")
        if self._reply(".", "250").startswith("250"):
            received = Received(
                sender=self.sender, recipients=tuple(self.recipients), content=content, secure=self.secure
            )
            self.server.emails.append(received)
        return self._say(".", "250 accepted")

    def _reply(self, command: str, usual: str) -> str:
        replies = self.server.replies
        found = next(
            (each for each in replies if (command.upper().startswith(each.upper()) if each else not command)), None
        )
        if found is None:
            return usual
        reply = replies[found]
        if reply is None:
            self.server.closing.wait()
        return reply or ""

    def _say(self, command: str, usual: str) -> bool:
        reply = self._reply(command, usual)
        if reply:
            self.request.sendall(reply.encode() + b"\r\n")
        return bool(reply)

    def _secure(self) -> None:
        assert self.server.tls
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.lines = self.request.makefile("rb")
        self.secure = True


@contextmanager
def serve(
    *,
    replies: Mapping[str, str | None] | None = None,
    tls: ssl.SSLContext | None = None,
    from_start: bool = False,
    login: tuple[str, str] | None = None,
) -> Iterator[Server]:
    """A server that offers STARTTLS, if it has `tls`, or speaks TLS `from_start`; with a `login`, its user and password."""
    with Server(replies=replies or {}, tls=tls, from_start=from_start, login=login) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
