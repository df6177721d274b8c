"""This worker process's settings, ledger and plans: each read once."""

import functools

from celery import current_app

from runner import brokers
from runner import settings as all_settings
from runner.plan import Plan
from runner.settings import Settings
from runner.store import Store


@functools.cache
def settings() -> Settings:
    return all_settings.read()


@functools.cache
def ledger() -> Store:
    # An app that adopted us may have a broker of another kind; the ledger then has a URL of its own.
    url = settings().broker_url or current_app.conf.broker_url
    return Store.of(brokers.connect(url), settings())


@functools.lru_cache(maxsize=32)
def plan(run_id: str) -> Plan:
    """A plan never changes once it is accepted."""
    return ledger().plan(run_id)
