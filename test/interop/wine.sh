#!/bin/bash
# Runs the tests of the media packages and of fleetmend-pe's registry, built for Windows, under Wine: among them the one that pins the bytes of a WIM, a
# stick and a disc, which so are the same as on Linux. Skips with one line when Wine is not installed.
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
[ -z "$failed" ]
