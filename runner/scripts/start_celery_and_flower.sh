#!/bin/sh
# Starts a Celery worker, and Flower at http://127.0.0.1:5555; Ctrl-C ends both.
#
# The broker is the Docker container named "redis" if one runs here, else the one that RUNNER_BROKER_URL names,
# else a private Valkey. What follows on the command line goes to `python -m runner up` (--help lists it).
set -eu

# A published port first: on macOS and Windows a container's own address cannot be reached.
published=$(docker port redis 6379/tcp 2>/dev/null | head -n 1) || published=
address=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' redis 2>/dev/null) || address=
address=${address%% *} # of the first network, if it is in several

case $published in
*:*[0-9])
    host=${published%:*}
    case $host in
    0.0.0.0 | '[::]') host=localhost ;;
    esac
    RUNNER_BROKER_URL=redis://$host:${published##*:}/0
    ;;
*)
    [ -z "$address" ] || RUNNER_BROKER_URL=redis://$address:6379/0
    ;;
esac
[ -z "${RUNNER_BROKER_URL-}" ] || export RUNNER_BROKER_URL

# The active virtual environment, else the one of this checkout, else what is on PATH (conda's, say).
venv=${VIRTUAL_ENV:-$(cd -- "$(dirname -- "$0")/../.." && pwd)/.venv}
[ ! -x "$venv/bin/python" ] || PATH=$venv/bin:$PATH
exec "$(command -v python || command -v python3)" -P -m runner up "$@"
