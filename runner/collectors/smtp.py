"""An e-mail to the recipients for which a mail server accepted it, or to a failure that says whether a retry helps."""

import smtplib
import ssl
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.errors import MessageError, ObsoleteHeaderDefect
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from ipaddress import ip_address
from typing import Literal

import httpx

from runner.language.redact import hide

Security = Literal["starttls", "tls", "none"]

PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
_SAID_SHOWN = 200  # characters of what a server says
_BREAKS = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of control characters, half characters and line ends


class EmailFailure(Exception):
    """An e-mail that was sent to nobody, as far as can be known.

    Args:
        message: what went wrong, naming the server, and never the password.
        smtp_code: what the server answered, if it answered.
        retryable: false where the same e-mail would fail again.
    """

    def __init__(self, message: str, smtp_code: int | None = None, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.smtp_code = smtp_code
        self.retryable = retryable


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A mail server, and how to talk to it.

    Args:
        timeout: seconds that each of its answers may take.
    """

    host: str
    port: int
    security: Security
    timeout: float
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.security not in PORTS:
            raise EmailFailure(f"security is starttls, tls or none, not {self.security!r}", retryable=False)
        if not isinstance(self.host, str) or not self.host or not _is_line(self.host):
            raise EmailFailure(f"host is the name or the address of a mail server, not {self.host!r}", retryable=False)
        if not isinstance(self.port, int) or not 0 < self.port < 2**16:
            raise EmailFailure(f"port is a number from 1 to 65535, not {self.port!r}", retryable=False)
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float) or not self.timeout > 0:
            raise EmailFailure(f"timeout is a number of seconds, not {self.timeout!r}", retryable=False)
        self._require_safe_login()

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    def _require_safe_login(self) -> None:
        if self.user is None and self.password is None:
            return
        if not isinstance(self.user, str) or not isinstance(self.password, str):
            raise EmailFailure("user and password are two texts, and one needs the other", retryable=False)
        if not (self.user + self.password).isascii() or not _is_line(self.user + self.password):
            # smtplib logs in with ASCII only (3.13), and its error would have the password.
            raise EmailFailure("user and password may have printable ASCII characters only", retryable=False)
        if self.security == "none" and not _is_loopback(self.host):
            message = f"the password would be sent to {self.name} in clear"
            raise EmailFailure(f"{message}: set security to starttls or tls", retryable=False)


def email_of(*, sender: str, to: Sequence[str], subject: str, text: str, message_id: str) -> EmailMessage:
    """Return an e-mail in plain text.

    Args:
        sender: an address, also with a name: ``Ann <ann@example.org>``.
        to: such addresses.
        message_id: the part before the @.

    Raises:
        EmailFailure: something is no address, or would be more than one header.
    """
    email = EmailMessage()
    from_address = _address(sender, "sender")
    email["From"] = from_address
    email["To"] = [_address(each, "to") for each in to]
    email["Subject"] = _line(subject, "subject")
    _line(str(email["Subject"]), "subject")  # with the encoded words (RFC 2047) in it decoded
    email["Date"] = format_datetime(localtime())
    domain = from_address.domain if from_address.domain.isascii() else "localhost"
    email["Message-ID"] = f"<{message_id}@{domain}>"
    email["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office notice is sent back
    try:
        email.set_content(text)
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise EmailFailure(f"text cannot be written as UTF-8: {error.reason}", retryable=False) from None
    return email


def send(email: EmailMessage, server: Server) -> tuple[list[str], dict[str, str]]:
    """Send an e-mail, and return the addresses that the server accepted, and those that it refused with its words.

    Raises:
        EmailFailure: it was accepted for nobody.
    """
    to = list(dict.fromkeys(each.addr_spec for each in email["To"].addresses))
    sender = email["From"].addresses[0].addr_spec
    try:
        with _session(server) as session:
            refused = session.send_message(email, from_addr=sender, to_addrs=to)
    except OSError as error:  # smtplib's are such, too
        # Not `from error`: a server may repeat the password, and a traceback has the words of the cause.
        raise _failure(error, server) from None
    except ValueError as error:  # an address that smtplib cannot write
        raise EmailFailure(f"{server.name} cannot be sent the e-mail: {error}", retryable=False) from None
    said = {address: _said(*answer, server) for address, answer in refused.items()}
    return [each for each in to if each not in said], said


@contextmanager
def _session(server: Server) -> Iterator[smtplib.SMTP]:
    """Yield a connection that is secured and logged in as the server wants it.

    smtplib's own context manager fails if the server does not answer QUIT: the e-mail, which it had accepted, would be sent
    again. Certificates are those that `http.get` trusts, but in a context of their own: httpx adds `http/1.1` to it.
    """
    context = httpx.create_ssl_context()
    if server.security == "tls":
        session: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout, context=context)
    else:
        session = smtplib.SMTP(server.host, server.port, timeout=server.timeout)
    try:
        if server.security == "starttls":
            session.starttls(context=context)  # raises if the server offers none: nothing is sent in clear
        if server.user is not None and server.password is not None:
            session.login(server.user, server.password)
        yield session
        with suppress(OSError):
            session.quit()
    finally:
        session.close()


def _failure(error: OSError, server: Server) -> EmailFailure:
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            said = "; ".join(f"{address}: {_said(*answer, server)}" for address, answer in recipients.items())
            codes = [code for code, _ in recipients.values()]
            message = f"{server.name} refused every recipient: {said}"
            return EmailFailure(message, codes[0], retryable=not all(map(_is_final, codes)))
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=words):
            message = f"{server.name} {_refused(error)}: {_said(code, words, server)}"
            return EmailFailure(message, code, retryable=not _is_final(code))
        case TimeoutError() | smtplib.SMTPServerDisconnected(__context__=TimeoutError()):
            message = f"{server.name} did not answer within {server.timeout:g} s (timeout)"
            return EmailFailure(f"{message}{_hint(error, server)}")
        case smtplib.SMTPServerDisconnected():
            return EmailFailure(f"{server.name} closed the connection{_hint(error, server)}")
        case smtplib.SMTPException():  # it has no STARTTLS, no AUTH, or none that smtplib knows
            return EmailFailure(f"{server.name} cannot be used: {error}", retryable=False)
        case ssl.SSLCertVerificationError():
            message = f"{server.name} has a certificate that is not trusted: {error.verify_message}"
            return EmailFailure(message, retryable=False)
        case _:
            reason = error.strerror or str(error) or type(error).__name__
            return EmailFailure(f"{server.name} cannot be reached: {reason}{_hint(error, server)}")


def _refused(error: OSError) -> str:
    match error:
        case smtplib.SMTPAuthenticationError():
            return "refused the user or the password"
        case smtplib.SMTPSenderRefused():
            return "refused the sender"
        case smtplib.SMTPDataError():
            return "refused the e-mail"
    return "refused the connection"


def _is_final(code: int) -> bool:
    """Whether a reply is permanent: 5xx is, 4xx is not (RFC 5321, 4.2.1)."""
    return 500 <= code < 600


def _hint(error: OSError, server: Server) -> str:
    """Name the likely mistake where one side speaks TLS from the start, and the other does not."""
    if server.security == "tls" and isinstance(error, ssl.SSLError):
        return " (it may not speak TLS from the start: try security: starttls)"
    if server.security != "tls" and server.port == PORTS["tls"]:
        return " (port 465 speaks TLS from the start: set security to tls)"
    return ""


def _said(code: int, words: bytes | str, server: Server) -> str:
    """Return a server's reply as one line, without the password, which it may repeat."""
    text = words if isinstance(words, str) else words.decode(errors="replace")
    line = " ".join(
        "".join(char if char.isprintable() else " " for char in hide(text, [server.password or ""])).split()
    )
    return f"{code} {line[:_SAID_SHOWN]}".strip()


def _address(text: object, name: str) -> Address:
    """Parse one address: with a list in one text, what fills a name could add a recipient."""
    line = _line(text, name)
    try:
        email = EmailMessage()
        email["To"] = line
        header, addresses = email["To"], email["To"].addresses
        is_one = (
            len(addresses) == 1
            and header.groups[0].display_name is None
            and all(isinstance(each, ObsoleteHeaderDefect) for each in header.defects)
        )
        address = Address(addresses[0].display_name, addresses[0].username, addresses[0].domain) if is_one else None
    # The parser raises others than its own for some texts (python/cpython#82170, #105802).
    except (MessageError, ValueError, LookupError, AttributeError, TypeError):
        address = None
    if address is None or not address.username or not address.domain or not _is_line(str(address)):
        message = f"{name} has {line!r:.80}, which is not one address, such as ann@example.org or Ann <ann@example.org>"
        raise EmailFailure(message, retryable=False)
    return address


def _line(text: object, name: str) -> str:
    if not isinstance(text, str):
        raise EmailFailure(f"{name} is a text, not a {type(text).__name__}", retryable=False)
    if not _is_line(text):
        message = f"{name} has a line end or another control character, and would be more than one header: {text!r:.80}"
        raise EmailFailure(message, retryable=False)
    return text


def _is_line(text: str) -> bool:
    return not any(unicodedata.category(char) in _BREAKS for char in text)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
