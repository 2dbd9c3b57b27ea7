#!/bin/bash
# Reads 20,000 computers from a simulated directory (its own process, over LDAPS, in pages of 1,000): fleetmend inventory
# sync beside ldapsearch with the same filter and attributes. Budgets: 1.3 times as long for the reading, 4 times for the first
# sync, which also merges and stores. And a sync of changes, three of them, beside a whole one of the same machines: 0.6 times at
# most. DIRECTORY_MACHINES makes it smaller.
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/bench/alternate.bash
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

# alter changes three machines of the directory: the helper does it for each line it reads.
alter() { echo "round" >&3; read -r -t 60 line <"$dir/altered" && [ "$line" = "altered 3" ] || { echo "the directory was not changed"; exit 1; }; }
# sync_inventory ...: measured by the helper as well, for the memory.
sync_inventory() { "$dir/dirread" -measure "$dir/m" -- "$dir/fleetmend" --config "$dir/fleet/fleetmend.yaml" inventory sync -o json "$@"; }

# shellcheck disable=SC2086 # the attributes are words
theirs() { ldapsearch -LLL -x -o ldif-wrap=no -H "$ldaps" -D admin@fleet.test -y "$dir/fleet/password" -b DC=fleet,DC=test -E pr=1000/noprompt "$filter" $attributes; }
reading() { "$dir/dirread" -read "$dir/fleet"; }
before_first() { rm -rf "$dir/fleet/state"; }
first() { sync_inventory --full; }
whole() { sync_inventory --full; }
before_changes() { cp "$dir/m" "$dir/first.m"; alter; }
changes() { sync_inventory; }

beside=$sim
alternate 5 theirs reading first whole changes
grep -q '"read": 3,' "$dir/changes.log" && grep -q '"mode": "changes"' "$dir/changes.log" || { echo "the last sync did not read the three changes:"; cat "$dir/changes.log"; exit 1; }
echo "ldapsearch: $(grep -c '^dn: ' "$dir/theirs.log") objects; read: $(cat "$dir/reading.log") machines"
echo "medians of 5, alternating (time, processor time of both ends): ldapsearch $(took theirs) ms, $(used theirs) ms; reading $(took reading) ms, $(used reading) ms;" \
  "first sync $(took first) ms, $(used first) ms, $(cut -d' ' -f2 "$dir/first.m") KB; whole sync $(took whole) ms, $(used whole) ms; changes $(took changes) ms, $(used changes) ms"
compare "directory-read-$n" reading theirs 1.3 "the reading alone"
compare "directory-sync-$n" first theirs 4 "with merging and storing"
compare "directory-changes-$n" changes whole 0.6 "three changes beside a whole sync"
