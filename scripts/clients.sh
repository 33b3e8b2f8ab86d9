#!/bin/sh
# Installs what the programs in clients/ need: Python's into .cache/clients, JavaScript's beside
# them. What is there already is left alone.
set -eu
cd "$(dirname "$0")/.."
venv=.cache/clients
stamp=$venv/$(cksum <clients/requirements.txt | tr ' ' -)
if [ ! -e "$stamp" ]; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install -q --disable-pip-version-check -r clients/requirements.txt
	touch "$stamp"
fi
stamp=clients/node_modules/.$(cksum <clients/package-lock.json | tr ' ' -)
if [ ! -e "$stamp" ]; then
	npm ci --prefix clients --no-audit --no-fund --loglevel=error >&2
	touch "$stamp"
fi
