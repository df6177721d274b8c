"""This worker process's settings and ledger, and the plans that it has to do with."""

import functools
import time

from celery import current_app

from runner import brokers
from runner import settings as all_settings
from runner.plan import Plan
from runner.settings import Settings
from runner.store import Store

KNOWN_FOR = 30  # seconds until a plan is read again: fewer than any run is kept after its last change (`ttl`)


@functools.cache
def settings() -> Settings:
    return all_settings.read()


@functools.cache
def ledger() -> Store:
    # An app that adopted us may have a broker of another kind; the ledger then has a URL of its own.
    url = settings().broker_url or current_app.conf.broker_url
    return Store.of(brokers.connect(url), settings())


def plan(run_id: str) -> Plan:
    """A run's plan, which never changes; but once the run has expired another may have its id, with another plan."""
    return _plan_for_a_while(run_id, time.monotonic() // KNOWN_FOR)


@functools.lru_cache(maxsize=32)
def _plan_for_a_while(run_id: str, _period: float) -> Plan:
    return ledger().plan(run_id)
