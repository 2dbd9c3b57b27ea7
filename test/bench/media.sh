#!/bin/bash
# Builds a USB image and an ISO from a 500 MB boot.wim, beside a plain copy of that file; all end on disk. The build changes
# the WIM, lays a FAT32 volume and a partition table (or a disc) around it and hashes every byte (SHA-256). Budget for the USB
# image: 1.5 times as long. "checked" is a WIM with an integrity table, which the build checks on the way (SHA-1 as well).
# QUICK=1: 60 MB instead of 500.
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/bench/alternate.bash
command -v wimlib-imagex >/dev/null || { echo "skip: wimlib-imagex is not installed (Debian: wimtools)"; exit 0; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
size=500
[ -z "${QUICK:-}" ] || size=60

"${GO:-go}" build -o "$dir/fleetmend" ./cmd/fleetmend
GOOS=windows GOARCH=amd64 CGO_ENABLED=0 "${GO:-go}" build -trimpath -ldflags "-s -w" -o "$dir/pe.exe" ./cmd/fleetmend-pe
mkdir -p "$dir/tree/Windows/System32" "$dir/tree/Windows/Boot/EFI" "$dir/tree/Windows/Boot/DVD/EFI" "$dir/tree/Windows/Boot/Fonts"
for f in winpeshl.exe manage-bde.exe fveapi.dll bcdedit.exe; do echo "$f" >"$dir/tree/Windows/System32/$f"; done
cp "$dir/pe.exe" "$dir/tree/Windows/Boot/EFI/bootmgfw.efi" # only its format matters here
for f in EFI/boot.stl DVD/EFI/BCD DVD/EFI/boot.sdi Fonts/a.ttf; do echo "$f" >"$dir/tree/Windows/Boot/$f"; done
for i in $(seq 1 $((size / 4))); do
  head -c 4000000 /dev/urandom >"$dir/tree/Windows/System32/file$i.bin"
done
wimlib-imagex capture "$dir/tree" "$dir/boot.wim" "boot" --boot --compress=XPRESS >/dev/null 2>&1
wimlib-imagex capture "$dir/tree" "$dir/checked.wim" "boot" --boot --check --compress=XPRESS >/dev/null 2>&1
rm -rf "$dir/tree"
cat "$dir/boot.wim" "$dir/checked.wim" >/dev/null # all are read from memory

ours() { "$dir/fleetmend" media build "$dir/boot.wim" --agent "$dir/pe.exe" -p crowdstrike-channel-file-291 --out "$dir/out.img"; }
checked() { "$dir/fleetmend" media build "$dir/checked.wim" --agent "$dir/pe.exe" -p crowdstrike-channel-file-291 --out "$dir/out.img"; }
disc() { "$dir/fleetmend" media build "$dir/boot.wim" --iso --agent "$dir/pe.exe" -p crowdstrike-channel-file-291 --out "$dir/out.iso"; }
copy() { cp --reflink=never "$dir/boot.wim" "$dir/out.img"; sync "$dir/out.img"; }

alternate 5 copy ours checked disc
"$dir/fleetmend" media verify "$dir/out.iso" >/dev/null || { echo "the disc does not verify"; exit 1; }
ours >/dev/null
"$dir/fleetmend" media verify "$dir/out.img" >/dev/null || { echo "the image does not verify"; exit 1; }

echo "medians of 5, alternating, with a WIM of $size MB (time, processor time):"
echo "  cp $(took copy) ms, $(used copy) ms; USB image $(took ours) ms, $(used ours) ms; with an integrity table $(took checked) ms, $(used checked) ms; ISO $(took disc) ms, $(used disc) ms"
ratio=$(over "$(took ours)" "$(took copy)")
budget="budget <= 1.5"
[ -z "${QUICK:-}" ] || budget= # so little is built that the start of the program is a large part
echo "ratio media-build $ratio plain-copy $budget"
echo "ratio media-build-checked $(over "$(took checked)" "$(took copy)") plain-copy"
echo "ratio media-build-iso $(over "$(took disc)" "$(took copy)") plain-copy"
[ -z "$budget" ] || within "$ratio" 1.5 || { echo "budget missed"; exit 1; }
