#!/bin/bash
# What a machine costs: bytes on the wire for its first round and for later ones, and the controller's CPU beside that of an older commit
# (WIRE_AGAINST), both built here and run in turn. WIRE_MACHINES and WIRE_TURNS make it smaller.
set -eu
cd "$(dirname "$0")/../.."
exec "${GO:-go}" run ./test/bench/wire -machines "${WIRE_MACHINES:-1000}" -turns "${WIRE_TURNS:-3}" -against "${WIRE_AGAINST:-c3ee017}"
