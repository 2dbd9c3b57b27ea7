#!/bin/bash
# Reads 20,000 computers from a simulated directory (its own process, over LDAPS, in pages of 1,000): fleetmend inventory
# sync beside ldapsearch with the same filter and attributes. Budgets: 1.3 times as long for the reading, 4 times for the first
# sync, which also merges and stores. And a sync of changes, three of them, beside a whole one of the same machines: 0.6 times at
# most. DIRECTORY_MACHINES makes it smaller.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v ldapsearch >/dev/null || { echo "skip: ldapsearch is not installed (Debian: ldap-utils)"; exit 0; }
dir=$(mktemp -d)
sim=
trap '[ -z "$sim" ] || kill "$sim" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
n=${DIRECTORY_MACHINES:-20000}

"${GO:-go}" build -o "$dir/fleetmend" ./cmd/fleetmend
"${GO:-go}" build -o "$dir/dirread" ./test/bench/dirread
mkfifo "$dir/alter" "$dir/altered"
exec 3<>"$dir/alter"
"$dir/dirread" -serve "$dir/fleet" -machines "$n" -altered "$dir/altered" >"$dir/ready" 2>"$dir/sim.err" <"$dir/alter" &
sim=$!
for _ in $(seq 300); do [ -s "$dir/ready" ] && break; kill -0 "$sim" || { cat "$dir/sim.err"; exit 1; }; sleep 0.1; done
ldaps=ldaps://$(cat "$dir/ready")
export LDAPTLS_CACERT="$dir/fleet/ca.pem"

filter='(&(objectCategory=computer)(operatingSystem=*Windows*))'
attributes='objectGUID objectSid sAMAccountName dNSHostName operatingSystem operatingSystemVersion userAccountControl lastLogonTimestamp pwdLastSet whenCreated whenChanged servicePrincipalName distinguishedName msDS-SupportedEncryptionTypes msLAPS-PasswordExpirationTime ms-Mcs-AdmPwdExpirationTime objectClass primaryGroupID uSNChanged'

# measure NAME COMMAND...: best of three; the time in milliseconds and the peak memory in kilobytes go to $dir/NAME.
measure() {
  local name=$1 best= ms kb i; shift
  for i in 1 2 3; do
    [ "$name" != sync ] || rm -rf "$dir/fleet/state"
    [ "$name" != changes ] || alter "$i"
    "$dir/dirread" -measure "$dir/m" -- "$@" >"$dir/$name.out" 2>"$dir/$name.err" || { cat "$dir/$name.err"; exit 1; }
    read -r ms kb _ <"$dir/m"
    if [ -z "$best" ] || [ "$ms" -lt "${best% *}" ]; then best="$ms $kb"; fi
  done
  echo "$best" >"$dir/$name"
  echo "$name: ${best% *} ms, ${best#* } KB"
}
# alter changes three machines of the directory: the helper does it for each line it reads.
alter() { echo "round $1" >&3; read -r -t 60 line <"$dir/altered" && [ "$line" = "altered 3" ] || { echo "the directory was not changed"; exit 1; }; }

# shellcheck disable=SC2086 # the attributes are words
measure ldapsearch ldapsearch -LLL -x -o ldif-wrap=no -H "$ldaps" -D admin@fleet.test -y "$dir/fleet/password" -b DC=fleet,DC=test -E pr=1000/noprompt "$filter" $attributes
measure read "$dir/dirread" -read "$dir/fleet"
measure sync "$dir/fleetmend" --config "$dir/fleet/fleetmend.yaml" inventory sync --full -o json
measure whole "$dir/fleetmend" --config "$dir/fleet/fleetmend.yaml" inventory sync --full -o json
measure changes "$dir/fleetmend" --config "$dir/fleet/fleetmend.yaml" inventory sync -o json
grep -q '"read": 3,' "$dir/changes.out" && grep -q '"mode": "changes"' "$dir/changes.out" || { echo "the last sync did not read the three changes:"; cat "$dir/changes.out"; exit 1; }
echo "ldapsearch: $(grep -c '^dn: ' "$dir/ldapsearch.out") objects; read: $(cat "$dir/read.out") machines"

ratio() { awk -v a="$(cut -d' ' -f1 "$dir/$1")" -v b="$(cut -d' ' -f1 "$dir/${2:-ldapsearch}")" 'BEGIN { printf "%.2f", a / b }'; }
echo "ratio directory-read-$n $(ratio read) ldapsearch budget <= 1.3"
echo "ratio directory-sync-$n $(ratio sync) ldapsearch budget <= 4 (with merging and storing)"
echo "ratio directory-changes-$n $(ratio changes whole) whole-sync budget <= 0.6"
