#!/bin/bash
# Runs every fuzz target, or those whose folder or name matches $1, one after the other, FUZZTIME each (default 20s) with
# FUZZPARALLEL workers (default 1), and prints one line for each: how many inputs were tried, how many of them reached
# something new, and the result. Each target holds every input to a bound of memory (internal/bounded), and Go ends one
# that takes ten seconds. What is found lies in testdata/fuzz beside the target, is tried by go test ever after, and
# makes this exit with 1. The tables begin with the files of all programs that are here, LibreOffice and PowerShell too.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0

built=
build() { # the tests of a folder, watched by the fuzzer
  [ "$built" = "$1" ] || { "${GO:-go}" test -c -fuzz=. -o "$out/bin" "./$1" >"$out/log" 2>&1 && built=$1; }
}

printf '%-34s %-22s %12s %8s  %s\n' folder target inputs new result
while read -r dir target; do
  if build "$dir" && cache=$(realpath -m "$("${GO:-go}" env GOCACHE)/fuzz/github.com/fleetmend/fleetmend/$dir") && mkdir -p "$cache" &&
    (cd "$dir" && { [ "$dir" != test/tables ] || export FLEETMEND_LONG=1; } && "$out/bin" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="${FUZZTIME:-20s}" -test.fuzzminimizetime=10x \
      -test.parallel="${FUZZPARALLEL:-1}" -test.fuzzcachedir="$cache") >"$out/log" 2>&1; then
    result=ok
  elif ! grep -q 'Failing input written' "$out/log" && grep -qx ' *context deadline exceeded' "$out/log"; then
    result=ok # the fuzzer of Go reports its own end as an error now and then
  else
    result=FAILED failed=1
  fi
  read -r inputs new < <(sed -n 's/.*execs: \([0-9]*\).*new interesting: \([0-9]*\).*/\1 \2/p' "$out/log" | tail -n 1)
  printf '%-34s %-22s %12s %8s  %s\n' "$dir" "$target" "${inputs:--}" "${new:--}" "$result"
  [ "$result" = ok ] || sed 's/^/    /' "$out/log" | tail -n 60
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's|^\./||; s|/[^/]*_test\.go:func | |' | sort | grep -E -- "${1:-.}")
exit $failed
