#!/bin/bash
# What a look at a machine costs the controller beside the program of an earlier commit, each with a simulated fleet of its own build, in turns.
# BEFORE is that commit; the last before agent.ps1 was worked over (issue 13). BEFORE_MACHINES and BEFORE_ROUNDS make it smaller.
set -eu
cd "$(dirname "$0")/../.."
before=${BEFORE:-0cc0da4}
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/tree" 2>"$dir/log" || true; rm -rf "$dir"' EXIT
if ! git worktree add --detach "$dir/tree" "$before" >"$dir/log" 2>&1; then
  echo "skip: the program of $before was not measured: $(tail -n 1 "$dir/log")"
  exit 0
fi
(cd "$dir/tree" && "${GO:-go}" build -trimpath -o "$dir/before" ./cmd/fleetmend)
"${GO:-go}" build -trimpath -o "$dir/fleetmend" ./cmd/fleetmend
"${GO:-go}" build -trimpath -o "$dir/floor" ./test/bench/floor
"$dir/floor" -fleetmend "$dir/fleetmend" -before "$dir/before" -machines "${BEFORE_MACHINES:-5000}" -forks 500 -rounds "${BEFORE_ROUNDS:-3}"
