#!/usr/bin/env bash
# The cases through the agent under a real PowerShell: run.sh PWSH [PATTERN...]. Full and Constrained Language Mode beside each other, then a
# third of the cases under each of other cultures whose rules differ most. Never in UTC. Ends with 1 when a case failed.
set -euo pipefail
cd "$(dirname "$0")/../.."
pwsh=${1:?usage: run.sh PWSH [PATTERN...]}
shift
cases=${*:-*}
export TZ=America/St_Johns DOTNET_TieredPGO=0 # what it would make quicker is over before it pays: a sixth less processor time
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# run NAME ARGUMENTS...: the runner in the background, its report in a file.
run() {
  local name=$1; shift
  "$pwsh" -NoLogo -NoProfile -NonInteractive -Command \
    "& remediate/agent/conformance.ps1 -Case '${cases// /,}' $*; exit \$LASTEXITCODE" >"$out/$name" 2>&1 &
  running+=("$name:$!")
}
bad=0
# ended: waits for those that run, and prints each last line with what failed.
ended() {
  local one code
  for one in "${running[@]}"; do
    code=0; wait "${one##*:}" || code=$?
    printf '%s: %s (%d s since the start)\n' "${one%%:*}" "$(tail -n 1 "$out/${one%%:*}")" "$SECONDS"
    [ "$code" = 0 ] || { bad=1; grep -v '^ok ' "$out/${one%%:*}" || true; }
  done
  running=()
}

running=()
run "Full, every twelfth case by processes" -LanguageMode Full -Spawn 12
run "Constrained" -LanguageMode Constrained
ended
if [ "${DOTNET_SYSTEM_GLOBALIZATION_INVARIANT:-}" = 1 ]; then
  echo "cultures: not done, there is no libicu"
else
  part=0
  for culture in tr-TR th-TH ar-SA; do
    mode=Constrained; [ $part != 1 ] || mode=Full
    run "$culture, a third, $mode" -LanguageMode $mode -Culture $culture -Part $part/3
    part=$((part + 1))
  done
  ended
fi
exit $bad
