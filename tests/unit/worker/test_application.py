"""A Celery application to the reasons why it cannot execute steps, and to the URL of the ledger."""

import ssl
from typing import Any

import pytest
from celery import Celery

from runner.settings import Settings
from runner.worker import application


def made(**configuration: Any) -> Celery:
    app = Celery("shop", set_as_current=False)
    app.conf.update(configuration)
    return app


@pytest.mark.parametrize(
    ("configuration", "url"),
    [
        ({"broker_url": "redis://h:1/2"}, "redis://h:1/2"),
        ({"broker_url": "redis://h"}, "redis://h"),
        ({"broker_url": "redis+socket:///run/s?virtual_host=3"}, "redis+socket:///run/s?virtual_host=3"),
        ({"broker_url": "rediss://h:1/0"}, "rediss://h:1/0?ssl_cert_reqs=required"),
        ({"broker_url": "rediss://h:1/0", "broker_use_ssl": True}, "rediss://h:1/0?ssl_cert_reqs=required"),
        (
            {"broker_url": "redis://:p%40@h:1/0", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}},
            "rediss://:p%40@h:1/0?ssl_cert_reqs=none",
        ),
        (
            {
                "broker_url": "rediss://h:1/0?ssl_cert_reqs=none",
                "broker_use_ssl": {"ssl_cert_reqs": "CERT_REQUIRED", "ssl_ca_certs": "/ca.pem", "ssl_keyfile": "/k"},
            },
            "rediss://h:1/0?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem&ssl_keyfile=/k",
        ),
    ],
)
def test_the_ledger_is_on_its_broker(configuration: dict[str, Any], url: str) -> None:
    app = made(**configuration)

    assert application.ledger_url(app, Settings()) == url
    assert list(application.findings(app, Settings())) == []


def test_the_ledger_is_where_the_settings_say_if_they_do() -> None:
    app = made(broker_url="redis://h:1/0")

    assert application.ledger_url(app, Settings(broker_url="redis://other:2/0")) == "redis://other:2/0"


def test_a_broker_that_the_ledger_cannot_be_reached_by_is_a_finding() -> None:
    app = made(broker_url="redis://h:1/0", broker_use_ssl={"ssl_ca_data": "…"})

    (finding,) = application.findings(app, Settings())

    assert "none that the ledger can be reached by" in finding.problem
    assert "RUNNER_BROKER_URL" in finding.remedy


def test_the_password_of_a_broker_is_in_no_finding() -> None:
    found = application.findings(made(broker_url="sentinel://:s3cret@h:1;sentinel://:s3cret@i:1"), Settings())

    assert "s3cret" not in str(list(found))
