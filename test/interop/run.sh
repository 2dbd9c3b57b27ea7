#!/bin/sh
# Holds the simulated fleet to pywinrm, pypsrp and Ansible. Needs Go and Python 3.11 with venv; the clients come from PyPI
# unless FLEETMEND_VENV names a virtual environment that has them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
venv=${FLEETMEND_VENV:-}
if [ -z "$venv" ]; then
	venv=$work/venv
	if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"; } >"$work/log" 2>&1; then
		echo "skip: no Python clients to be had: $(tail -n 1 "$work/log")"
		exit 0
	fi
fi
(cd "$here/../.." && go build -o "$work/fleetmend" ./cmd/fleetmend)
"$venv/bin/python" "$here/clients.py" --server "$work/fleetmend sim" --dir "$work/fleet" "$@"
