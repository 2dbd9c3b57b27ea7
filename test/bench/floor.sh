#!/bin/bash
# What a run takes beside the least that a client can take: a bare one that sends the same requests and bytes and reads the answers.
# FLOOR_MACHINES, FLOOR_FIXED and FLOOR_FORKS make it smaller.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${GO:-go}" build -trimpath -o "$dir/floor" ./test/bench/floor
"${GO:-go}" build -trimpath -o "$dir/fleetmend" ./cmd/fleetmend
"$dir/floor" -fleetmend "$dir/fleetmend" -machines "${FLOOR_MACHINES:-10000}" -fixed "${FLOOR_FIXED:-1000}" -forks "${FLOOR_FORKS:-1000}" -sample "${FLOOR_SAMPLE:-40}"
