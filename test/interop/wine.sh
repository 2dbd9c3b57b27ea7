#!/bin/bash
# Runs the tests of the media packages and of fleetmend-pe's registry, built for Windows, under Wine: among them the one that pins the bytes of a WIM, a
# stick and a disc, which so are the same as on Linux. Then the locks of runs, and a run whose
# window is killed. Skips with one line when Wine is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
wine=$(command -v wine64 || command -v wine || { [ -x /usr/lib/wine/wine64 ] && echo /usr/lib/wine/wine64; } || true)
[ -n "$wine" ] || { echo "skip: Wine is not installed (Debian: wine64)"; exit 0; }
dir=$(mktemp -d)
export WINEPREFIX=$dir/prefix WINEDEBUG=-all
server=$(command -v wineserver || { [ -x /usr/lib/wine/wineserver ] && echo /usr/lib/wine/wineserver; } || echo true)
trap '"$server" -k >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT

"$wine" cmd /c exit >/dev/null 2>&1 || true # makes the prefix
system=$WINEPREFIX/drive_c/windows/system32
[ -d "$system" ] || { echo "skip: Wine makes no prefix here"; exit 0; }
[ -e "$system/bcryptprimitives.dll" ] || "${GO:-go}" run ./test/interop/bcryptprimitives "$system/bcryptprimitives.dll"
# Not the tests that leave files: Wine 8 cannot remove them in the way Go asks for since 1.25.
tests='Golden|SameInputSameBytes|EncodersAreDecoded|ReadsItself|FSRules|PlanStreams|TruncationSaysWhere|DamageIsFound|FirstErrorStays|Unsigned|AskedSizeIsEnough|UnbufferedFile|LocalDisks|WritesSeveralSticks|NeverTouched'
failed=
for pkg in content wim fat gpt iso pesign usb; do
  GOOS=windows GOARCH=amd64 CGO_ENABLED=0 "${GO:-go}" test -c -o "$dir/$pkg.test.exe" "./remediate/media/$pkg"
  if (cd "remediate/media/$pkg" && timeout 300 "$wine" "$dir/$pkg.test.exe" -test.v -test.run "$tests") >"$dir/out" 2>"$dir/err"; then
    echo "ok under Wine: remediate/media/$pkg, $(grep -c '^--- PASS' "$dir/out") tests"
  else
    echo "FAILED under Wine: remediate/media/$pkg"; tail -n 40 "$dir/out" "$dir/err"; failed=1
  fi
done
# The registry cases of both interpreters, through fleetmend-pe's registry, on Wine's own.
GOOS=windows GOARCH=amd64 CGO_ENABLED=0 "${GO:-go}" test -c -o "$dir/program.test.exe" ./remediate/media/pe/program
if (cd remediate/media/pe/program && timeout 300 "$wine" "$dir/program.test.exe" -test.v -test.run TestRegistryCases) >"$dir/out" 2>"$dir/err"; then
  echo "ok under Wine: remediate/media/pe/program, $(grep -c -- '--- PASS: TestRegistryCases/' "$dir/out") registry cases"
else
  echo "FAILED under Wine: remediate/media/pe/program"; tail -n 40 "$dir/out" "$dir/err"; failed=1
fi

# The journal's locks and claims, and the log of a runner. Their folders are left behind: see above; that alone is no failure.
lockTests='OneProcessForARun|QuietKeepsEveryRunOut|AClaimedMachineIsRefused|WishesOfAnEarlierLife'
for pair in "remediate/journal $lockTests" "internal/desk/runs ALogIsRenamedAndRemovedWhileItIsOpen"; do
  read -r pkg names <<<"$pair"
  GOOS=windows GOARCH=amd64 CGO_ENABLED=0 "${GO:-go}" test -c -o "$dir/part.test.exe" "./$pkg"
  (cd "$pkg" && timeout 300 "$wine" "$dir/part.test.exe" -test.v -test.run "$names") >"$dir/out" 2>"$dir/err" || true
  ran=$(grep -c '^=== RUN ' "$dir/out" || true)
  if [ "$ran" = "$(tr '|' '\n' <<<"$names" | wc -l)" ] && ! grep -vF 'TempDir RemoveAll cleanup' "$dir/out" | grep -qE '^ +[a-z_]+\.go:[0-9]+:|^panic|SKIP'; then
    echo "ok under Wine: $pkg, $ran tests"
  else
    echo "FAILED under Wine: $pkg"; tail -n 40 "$dir/out" "$dir/err"; failed=1
  fi
done

# A run whose window is killed: the runner, let go of with DETACHED_PROCESS, goes on to the end over real WinRM.
"${GO:-go}" build -o "$dir/fleetmend" ./cmd/fleetmend
GOOS=windows GOARCH=amd64 CGO_ENABLED=0 "${GO:-go}" build -o "$dir/fleetmend.exe" ./cmd/fleetmend
"$dir/fleetmend" sim --dir "$dir/sim" --machines 6 --seed 3 --plain >"$dir/sim.out" 2>&1 &
sim=$!
until grep -q '"event":"ready"' "$dir/sim.out"; do sleep 0.2; kill -0 $sim; done
here() { timeout 300 "$wine" "$dir/fleetmend.exe" --config "$dir/sim/fleetmend.yaml" "$@"; }
here inventory import "$dir/sim/machines.csv" >"$dir/out" 2>&1
"$wine" "$dir/fleetmend.exe" --config "$dir/sim/fleetmend.yaml" run crowdstrike-channel-file-291 --waves 1,100% --soak 5s --yes >"$dir/follower" 2>&1 &
follower=$!
until grep -q 'fixed' "$dir/follower"; do sleep 0.2; kill -0 $follower; done
kill -9 $follower; wait $follower 2>/dev/null || true
here runs watch last >"$dir/out" 2>&1 || true
if here runs list -o csv 2>"$dir/err" | tee "$dir/out" | grep -q ',done,6,4,2,'; then
  echo "ok under Wine: a run outlives its window, which is killed in its middle"
else
  echo "FAILED under Wine: a run and its killed window"; tail -n 30 "$dir/follower" "$dir/out" "$dir/err"; failed=1
fi
kill $sim
[ -z "$failed" ]
