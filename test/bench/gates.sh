#!/bin/bash
# How often the default gate stops a run, for failure rates of 0.5 to 30 % of the treated machines, and what a stop costs. GATES_DRAWS
# makes it smaller or larger.
set -eu
cd "$(dirname "$0")/../.."
exec "${GO:-go}" run ./test/bench/gates -draws "${GATES_DRAWS:-10000}"
