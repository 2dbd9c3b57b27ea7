#!/bin/sh
# Runs the Go benchmarks of every package that has one, then every other script in this folder, and repeats at the end
# what was compared: lines that begin with "ratio". See README.md beside this file.
set -eu
cd "$(dirname "$0")/../.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT INT TERM
failed=

packages=$(grep -rlE --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u)
if [ -n "$packages" ]; then
  # shellcheck disable=SC2086 # one word per package is meant
  "${GO:-go}" test -run=NONE -bench=. -benchmem -benchtime="${BENCHTIME:-1s}" $packages >"$out.go" 2>&1 || failed="go benchmarks"
  cat "$out.go"
  # A benchmark that compares reports its ratio as a metric whose unit begins with "ratio-" (b.ReportMetric(x, "ratio-plain-copy")).
  awk '/^Benchmark/ { for (i = 3; i < NF; i++) if ($(i+1) ~ /^ratio-/) print "ratio", $1, $i, $(i+1) }' "$out.go" >>"$out"
  rm -f "$out.go"
fi

for script in test/bench/*.sh; do
  [ "$script" = test/bench/run.sh ] && continue
  [ -e "$script" ] || continue
  echo "== $script"
  if bash "$script" >"$out.script" 2>&1; then :; else failed="$failed $script"; fi
  cat "$out.script"
  grep '^ratio ' "$out.script" >>"$out" || true
  rm -f "$out.script"
done

echo
echo "Ratios (1 = as much as the peer; budgets in the scripts)"
if [ -s "$out" ]; then sed 's/^ratio /  /' "$out"; else echo "  none: no benchmark here compares with a peer that is installed"; fi
[ -z "$failed" ] || { echo "failed: $failed"; exit 1; }
