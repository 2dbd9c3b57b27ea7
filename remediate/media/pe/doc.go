// Package pe is what happens on a machine that was started from a boot medium: find the medium and the Windows volumes,
// run the playbooks on each Windows, leave a result on the medium, say how it ended.
//
// [Run] does all of it; [Options.Drives] and [Options.System] are the seams to the machine. Playbooks run through the
// interpreter of remediate/windows on the files of the installation that does not run, on its registry, whose files are
// loaded for as long as a playbook runs, and on the boot configuration of the machine where bcdedit.exe is in the image.
// What is not possible there (whether a service runs, scripts) fails with a message that says so; nothing is skipped in silence. The package unlocks no volume and never writes to a volume on which no playbook acts.
package pe
