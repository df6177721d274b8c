import pytest

from runner.settings.broker_url import celery_url, without_password


@pytest.mark.parametrize(
    ("given", "for_celery"),
    [
        ("redis://db", "redis://db"),
        ("redis://", "redis://localhost"),
        ("redis://:x@db:6380/3", "redis://:x@db:6380/3"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("valkey://db/0", "redis://db/0"),
        ("rediss://db/0", "rediss://db/0?ssl_cert_reqs=required"),
        ("valkeys://db?ssl_ca_certs=/etc/ca.pem", "rediss://db?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required"),
        ("rediss://db?ssl_cert_reqs=CERT_NONE", "rediss://db?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix://u:x@/run/a%20b.sock?db=2", "redis+socket://u:x@/run/a%20b.sock?virtual_host=2"),
        ("redis+socket:///run/redis.sock?virtual_host=1", "redis+socket:///run/redis.sock?virtual_host=1"),
    ],
)
def test_a_broker_url_is_turned_into_the_one_that_celery_takes(given: str, for_celery: str) -> None:
    assert celery_url(given) == for_celery


def test_a_broker_url_that_is_turned_twice_stays_the_same() -> None:
    once = celery_url("unix:///run/a%20b.sock?db=2")

    assert celery_url(once) == once


def test_a_url_is_shown_without_its_password() -> None:
    assert without_password("redis://:s3cret@db.example:6379/0") == "redis://:***@db.example:6379/0"


def test_a_password_in_the_query_of_a_url_is_not_shown() -> None:
    assert without_password("redis://db?password=s3cret&x=1") == "redis://db?password=***&x=1"
