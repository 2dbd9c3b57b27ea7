#!/bin/bash
# One state for each machine, at size: 50,000 machines with a recovery key each and 10 runs in one incident. `incident status` and
# `inventory list` as processes of their own: time and peak memory; of the status also right after one machine, key, case and probe changed,
# and the first time, when nothing is kept packed yet, which is what a whole sync or a new version leaves. And what the cases cost a run: the processor time of engine
# and journal for 10,000 outcomes with and without an incident, beside the processor time that a run of the simulated fleet takes for
# each machine that it only looks at, over real WinRM; a machine that is fixed takes more.
# CASES_MACHINES, CASES_OUTCOMES and CASES_FLEET make it smaller.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d) sim=
trap '[ -z "$sim" ] || kill "$sim"; rm -rf "$dir"' EXIT
n=${CASES_MACHINES:-50000} outcomes=${CASES_OUTCOMES:-10000} fleet=${CASES_FLEET:-1000}
"${GO:-go}" build -o "$dir/fleetmend" ./cmd/fleetmend
"${GO:-go}" build -o "$dir/caseload" ./test/bench/caseload
"${GO:-go}" build -o "$dir/dirread" ./test/bench/dirread

awk -v n="$n" 'BEGIN { split("LON PAR BER NYC SIN", site, " "); print "name,fqdn,serial,site"; for (i = 0; i < n; i++) printf "WS%06d,ws%06d.fleet.test,SER%06d,%s\n", i, i, i, site[1 + i % 5] }' >"$dir/machines.csv"
awk -v n="$n" 'BEGIN { srand(7); print "ComputerName,SerialNumber,KeyID,RecoveryPassword,Created"
  for (i = 0; i < n; i++) { p = ""; for (g = 0; g < 8; g++) p = p (g ? "-" : "") sprintf("%06d", int(rand() * 65536) * 11)
    printf "WS%06d,SER%06d,%08X-0001-4D3C-9B8A-%012X,%s,2024-07-01T10:00:00Z\n", i, i, int(rand() * 4294967295), i, p } }' >"$dir/keys.csv"
echo "AGE-SECRET-KEY-1M6K8UFMQ7QM82LCNLKH5E20XPFVYQA4ZWGXKLWHVPR2P8L4JPYES2LTPTY" >"$dir/identity" # of the tests
desk() { "$dir/fleetmend" --state-dir "$dir/state" "$@" >"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }; }
desk inventory import "$dir/machines.csv"
desk keys protect --recipient age1srgf7nasm3vraersayt5dh266dnzf09n9kawuhugk7ddp4yguq5sjfd5zw
desk keys import "$dir/keys.csv" --identity "$dir/identity"
"$dir/caseload" -state "$dir/state" -runs 10

# best NAME COMMAND...: the best of five; milliseconds, kilobytes and processor milliseconds go to $dir/NAME.
best() {
  local name=$1 line= found=; shift
  for _ in 1 2 3 4 5; do
    "$dir/dirread" -measure "$dir/m" -- "$@" >"$dir/$name.out" 2>"$dir/$name.err" || { cat "$dir/$name.err"; exit 1; }
    line=$(cat "$dir/m")
    if [ -z "$found" ] || [ "${line%% *}" -lt "${found%% *}" ]; then found=$line; fi
  done
  echo "$found" >"$dir/$name"
}
field() { cut -d' ' -f"$2" "$dir/$1"; }
"$dir/dirread" -measure "$dir/first" -- "$dir/fleetmend" --state-dir "$dir/state" incident status >/dev/null
best status "$dir/fleetmend" --state-dir "$dir/state" incident status
best list "$dir/fleetmend" --state-dir "$dir/state" inventory list 'case.next == "fix"' -o csv
# One of everything changes before each of five.
line=
for k in 1 2 3 4 5; do
  desk inventory tag "WS00010$k" changed
  desk incident mark "WS00020$k" --as excluded --reason bench
  (head -1 "$dir/keys.csv"; sed -n "30${k}p" "$dir/keys.csv" | sed 's/,[^,]*$/,2024-08-01T10:00:00Z/') >"$dir/key.csv"
  desk keys import "$dir/key.csv" --identity "$dir/identity"
  "$dir/dirread" -measure "$dir/m" -- "$dir/fleetmend" --state-dir "$dir/state" incident status >"$dir/changed.out"
  if [ -z "$line" ] || [ "$(cut -d' ' -f1 "$dir/m")" -lt "${line%% *}" ]; then line=$(cat "$dir/m"); fi
done
echo "$line" >"$dir/changed"
grep -q "not counted: 5 excluded" "$dir/changed.out" || { echo "the status does not show the marks"; cat "$dir/changed.out"; exit 1; }
cat "$dir/status.out"
echo "inventory list: $(($(wc -l <"$dir/list.out") - 1)) machines"
echo "figure incident-status-$n $(field status 1) ms budget <= 300"
echo "figure incident-status-$n-memory $(($(field status 2) / 1024)) MB budget <= 150"
echo "figure incident-status-$n-after-a-change $(field changed 1) ms budget <= 300"
echo "figure incident-status-$n-the-first-time $(field first 1) ms"
echo "figure incident-status-$n-the-first-time-memory $(($(field first 2) / 1024)) MB budget <= 150"
echo "figure inventory-list-$n-cases $(field list 1) ms budget <= 500"

# The two kinds of run in turn, and the medians of their processor time.
for round in 1 2 3 4 5; do
  for kind in without with; do
    incident=; [ "$kind" = without ] || incident=bench
    "$dir/dirread" -measure "$dir/m" -- "$dir/caseload" -journal "$dir/$kind-$round.db" -machines "$outcomes" -incident "$incident"
    cut -d' ' -f3 "$dir/m" >>"$dir/$kind.cpu"
  done
done
middle() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
with=$(middle "$dir/with.cpu") without=$(middle "$dir/without.cpu")

# A run as people do it, of which only its own process is measured: in the foreground, with the incident that it opens by itself.
mkdir "$dir/fleet"
(cd "$dir/fleet" && exec "$dir/fleetmend" sim --dir . --machines "$fleet" --plain --seed 7) >"$dir/ready" 2>"$dir/sim.err" &
sim=$!
for ((i = 0; i < 1200; i++)); do [ -s "$dir/ready" ] && break; kill -0 "$sim" || { cat "$dir/sim.err"; exit 1; }; sleep 0.1; done
(cd "$dir/fleet" && "$dir/fleetmend" inventory import machines.csv >"$dir/out" 2>&1) || { cat "$dir/out"; exit 1; }
for round in 1 2 3; do
  (cd "$dir/fleet" && "$dir/dirread" -measure "$dir/m" -- "$dir/fleetmend" run crowdstrike-channel-file-291 --dry-run --foreground --yes >"$dir/out" 2>&1) || true
  [ "$(cd "$dir/fleet" && "$dir/fleetmend" runs list -o name | wc -l)" = "$round" ] || { cat "$dir/out"; exit 1; } # its exit code tells what it found
  cut -d' ' -f3 "$dir/m" >>"$dir/real.cpu"
done
real=$(middle "$dir/real.cpu")
awk -v a="$with" -v b="$without" -v n="$outcomes" -v real="$real" -v fleet="$fleet" 'BEGIN {
  cost = (a - b) * 1000 / n; if (cost < 0) cost = 0
  printf "figure cases-per-outcome %.0f microseconds-of-processor-time\n", cost
  printf "figure run-per-machine %.0f microseconds-of-processor-time\n", real * 1000 / fleet
  printf "ratio run-with-cases-%d %.3f engine-and-journal-without\n", n, a / b
  printf "figure cases-part-of-a-run %.1f percent budget <= 5\n", 100 * cost / (real * 1000 / fleet) }'
