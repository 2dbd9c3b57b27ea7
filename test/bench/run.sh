#!/bin/bash
# Runs the Go benchmarks of every package that has one, then every other script in this folder (or only those whose name
# matches $1), and ends with one table: what was measured, beside whom, the budget, and whether it was kept. See README.md
# beside this file. Exits 1 if something failed or a budget was missed.
set -u
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
: >"$out/lines"
failed=

packages=$(grep -rlE --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u)
if [ -n "$packages" ] && [[ go =~ ${1:-.} ]]; then
  # shellcheck disable=SC2086 # one word per package is meant
  "${GO:-go}" test -run=NONE -bench=. -benchmem -benchtime="${BENCHTIME:-1s}" -timeout 60m -p 1 $packages 2>&1 | tee "$out/go"
  [ "${PIPESTATUS[0]}" = 0 ] || failed=" go-benchmarks"
  # A benchmark that compares reports its ratio as a metric whose unit begins with "ratio-" (b.ReportMetric(x, "ratio-plain-copy"));
  # "ratio-of-20-ms" is the part of a budget that it used.
  awk '/^Benchmark/ { for (i = 3; i < NF; i++) if ($(i+1) ~ /^ratio-/) {
    peer = substr($(i+1), 7); print "ratio", $1, $i, peer, (peer ~ /^of-/ ? "budget <= 1" : "") } }' "$out/go" >>"$out/lines"
fi

for script in test/bench/*.sh; do
  name=$(basename "$script" .sh)
  [ "$name" = run ] || [[ ! $name =~ ${1:-.} ]] && continue
  echo "== $script"
  bash "$script" 2>&1 | tee "$out/script"
  [ "${PIPESTATUS[0]}" = 0 ] || failed="$failed $name"
  grep -E '^(ratio|figure|skip:) ' "$out/script" >>"$out/lines"
done

echo
printf '%-58s %12s  %-28s %10s\n' measured value "beside / unit" budget
awk '$1 == "skip:" { skipped = skipped "\n" $0; next }
  { budget = ""; for (i = 5; i < NF; i++) if ($i == "budget") budget = $(i+2)
    verdict = budget == "" ? "" : $3 + 0 <= budget + 0 ? "kept" : "MISSED"; if (verdict == "MISSED") missed = 1
    printf "%-58s %12s  %-28s %10s  %s\n", $2, $3, $4, (budget == "" ? "" : "<= " budget), verdict }
  END { if (NR == 0) print "nothing"; if (skipped != "") print skipped; exit missed }' "$out/lines" || failed="$failed budgets"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
