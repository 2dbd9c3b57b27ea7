#!/bin/bash
# How long the program takes to say its version, with how much memory, beside git, which does little more at that point, and
# how large it is when built as for a release. Budgets: 50 ms, 60 MB.
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/bench/alternate.bash
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for system in linux windows darwin; do
  GOOS=$system GOARCH=amd64 CGO_ENABLED=0 "${GO:-go}" build -trimpath -ldflags '-s -w' -o "$dir/fleetmend-$system" ./cmd/fleetmend
  echo "figure size-$system $(($(wc -c <"$dir/fleetmend-$system") / 1000000)) MB budget <= 60"
done
"${GO:-go}" build -trimpath -ldflags '-s -w' -o "$dir/fleetmend" ./cmd/fleetmend
"${GO:-go}" build -o "$dir/dirread" ./test/bench/dirread
export FLEETMEND_STATE_DIR="$dir/state"

version() { "$dir/fleetmend" version; }
usage() { "$dir/fleetmend" --help; }
peer() { git --version; }
names="version usage"
command -v git >/dev/null && names="$names peer"
# shellcheck disable=SC2086 # words
alternate 21 $names
"$dir/dirread" -measure "$dir/m" -- "$dir/fleetmend" version >/dev/null
read -r _ kilobytes _ <"$dir/m"
echo "medians of 21: version $(took version) ms, --help $(took usage) ms; processor time $(used version) and $(used usage) ms"
echo "figure start-version $(took version) ms budget <= 50"
echo "figure start-help $(took usage) ms budget <= 50"
echo "figure start-memory $((kilobytes / 1000)) MB"
[ "$names" = "version usage" ] || echo "ratio start-version $(over "$(took version)" "$(took peer)") git--version"
