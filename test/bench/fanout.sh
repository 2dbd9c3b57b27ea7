#!/bin/bash
# The main job at full size: 10,000 simulated machines, 1,000 in flight, client and fleet in two processes, beside Ansible on a
# sample of the same machines. FANOUT_MACHINES and FANOUT_FORKS make it smaller.
set -eu
cd "$(dirname "$0")/../.."
exec "${GO:-go}" run ./test/bench/fanout -machines "${FANOUT_MACHINES:-10000}" -forks "${FANOUT_FORKS:-1000}" -sample "${FANOUT_SAMPLE:-40}"
