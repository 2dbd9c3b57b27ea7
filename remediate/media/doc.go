// Package media builds boot media for machines that no longer start: a USB image or an ISO with the administrator's own
// Windows PE, the repair program, playbooks, drivers and sealed keys. It verifies and inspects media too.
//
// [Build] makes one from a [Spec]; [Verify] compares a medium with its list of hashes; [Inspect] says what any medium,
// also one made by others, starts on and holds. Same input, same bytes: only the sealed key bundle differs from build to
// build, because its encryption is random; it is not in the list of hashes.
//
// The package never changes the administrator's files, needs no administrator rights, no ADK and no DISM, downloads
// nothing, and writes to no disk.
package media
