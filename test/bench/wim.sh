#!/bin/bash
# Injects 20 MB into a 400 MB boot.wim, beside wimlib-imagex update on a copy of the same file (the administrator's file
# is never changed, so wimlib has to copy it as well, and ours compares every file of it with its hash on the way, which wimlib does
# with verify). Budgets: 1.2 times as long, 100 MB of memory.
# QUICK=1: 60 MB instead of 400.
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/bench/alternate.bash
command -v wimlib-imagex >/dev/null || { echo "skip: wimlib-imagex is not installed (Debian: wimtools)"; exit 0; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
size=400
[ -z "${QUICK:-}" ] || size=60

"${GO:-go}" build -o "$dir/wiminject" ./test/bench/wiminject
mkdir -p "$dir/tree/Windows/System32"
for i in $(seq 1 $((size / 4))); do
  head -c 4000000 /dev/urandom >"$dir/tree/Windows/System32/file$i.bin"
done
for i in $(seq 1 3000); do
  echo "driver $i" >"$dir/tree/Windows/System32/driver$i.inf"
done
head -c 20000000 /dev/urandom >"$dir/fleetmend-pe.exe"
wimlib-imagex capture "$dir/tree" "$dir/boot.wim" "boot" --boot --check --compress=XPRESS >/dev/null 2>&1
rm -rf "$dir/tree"
cat "$dir/boot.wim" >/dev/null # both read it from memory

ours() { "$dir/wiminject" "$dir/boot.wim" "$dir/out.wim" "Windows/System32/fleetmend-pe.exe=$dir/fleetmend-pe.exe"; }
theirs() {
  wimlib-imagex verify "$dir/boot.wim"
  cp "$dir/boot.wim" "$dir/out.wim"
  wimlib-imagex update "$dir/out.wim" 1 --check --command="add $dir/fleetmend-pe.exe /Windows/System32/fleetmend-pe.exe"
  sync "$dir/out.wim" # ours ends on disk as well
}

alone() { # what it takes without looking
  cp "$dir/boot.wim" "$dir/out.wim"
  wimlib-imagex update "$dir/out.wim" 1 --check --command="add $dir/fleetmend-pe.exe /Windows/System32/fleetmend-pe.exe"
  sync "$dir/out.wim"
}

alternate 5 theirs alone ours
peak=$(awk '/peak_kib/ {print int($2 / 1024)}' "$dir/ours.log")
wimlib-imagex verify "$dir/out.wim" >/dev/null 2>&1 || { echo "wimlib-imagex verify refuses the result"; exit 1; }
ratio=$(over "$(took ours)" "$(took theirs)")
echo "WIM of $size MB + 20 MB, medians of 5, alternating (time, processor time):"
echo "  fleetmend $(took ours) ms, $(used ours) ms, ${peak:?no memory was measured} MB; wimlib-imagex verify, cp and update $(took theirs) ms, $(used theirs) ms"
echo "ratio wim-inject $ratio wimlib-imagex budget <= 1.2"
echo "ratio wim-inject-beside-unchecked $(over "$(took ours)" "$(took alone)") wimlib-imagex-without-verify"
echo "ratio wim-inject-memory $(over "$peak" 100) of-100-MB budget <= 1"
within "$ratio" 1.2 && within "$peak" 100 || { echo "budget missed"; exit 1; }
