#!/bin/bash
# The proofs at their full counts, which take too long for every change; .ci/run runs the same tests with smaller ones.
#   test/prove/run.sh [ONLY]   those whose name matches ONLY, a regular expression; GO names another go command
# One line of the registry for each: prove NAME VARIABLES... COMMAND...
set -uo pipefail
cd "$(dirname "$0")/../.."
only=${1:-} failed=()
go=${GO:-go}

prove() {
  local name=$1 began=$SECONDS; shift
  [[ $name =~ $only ]] || return 0
  printf '\n=== %s: %s\n' "$name" "$*"
  if env FLEETMEND_LONG=1 "$@"; then printf -- '--- proved: %s (%d s)\n' "$name" $((SECONDS - began))
  else printf -- '--- FAILED: %s (%d s)\n' "$name" $((SECONDS - began)); failed+=("$name"); fi
}

prove directory-syncs FLEETMEND_ROUNDS=200 "$go" test -count 1 -timeout 60m -v -run TestSyncsMissNothing ./internal/directory/dclab

# Ten thousand sequences of fix, undo, damage and power cuts; the agent ended at every outward call, and what breaks without a test that
# notices, with the laboratory's PowerShell.
[ -n "${FLEETMEND_LABS:-}" ] || [ ! -d ../shared/labs ] || export FLEETMEND_LABS=$(cd ../shared/labs && pwd)
prove real-agent-fleet FLEETMEND_PROVE=1 "$go" test -count 1 -timeout 3h -v -run TestKilledClientRealAgent ./cmd/internal/cli
prove undo-property FLEETMEND_PROVE=1 "$go" test -count 1 -v -run TestUndoSaysWhatIsOnDisk ./remediate/windows
prove undo-property-powershell FLEETMEND_PROVE=1 "$go" test -count 1 -timeout 3h -v -run TestUndoSaysWhatIsOnDisk ./remediate/agent
prove full-disk-powershell FLEETMEND_PROVE=1 "$go" test -count 1 -timeout 60m -v -run TestFullDisk ./remediate/agent
prove two-at-once-over-winrm FLEETMEND_SEEDS=20 "$go" test -count 1 -timeout 60m -run TestTwoRequestsAtOnceOverWinRM ./internal/simfleet
prove agent-ended-anywhere FLEETMEND_PROVE=1 "$go" test -count 1 -timeout 3h -v -run 'TestEndedAnywhere|TestWhatOnlyTheAgentDoes' ./remediate/agent
# Runs ended at random moments: killed, hung up on, unread, without a place on the disk.
prove disturbed-runs FLEETMEND_DISTURBANCES=40 "$go" test -count 1 -timeout 60m -v -run TestDisturbedRuns ./cmd/internal/cli
# Two thousand damaged WIMs: what is built of one and called good is good for wimlib too.
prove mutated-wims FLEETMEND_MUTANTS=2000 "$go" test -count 1 -timeout 3h -v -run TestMutatedSources ./remediate/media
for package in agent remediate/windows remediate/run remediate/journal remediate/route/winrm; do
  prove "mutants-${package//\//-}" "$go" run ./test/mutants -pkg "$package" -n 120
done

[ ${#failed[@]} = 0 ] || { printf '\nFAILED: %s\n' "${failed[@]}"; exit 1; }
