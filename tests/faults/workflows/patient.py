"""A module for a worker whose BRPOP stays open for a minute, not for kombu's second: a frozen one is sent a message in time."""

from kombu.transport.redis import Transport

Transport.brpop_timeout = 60
