package playbook

import "github.com/fleetmend/fleetmend/remediate/playbook/shellread"

// scriptHarm is a row of the maintained list of what a script must not do to a machine that somebody wants back. A test holds every row to
// a source and to an example. A source is where a command is described; about forty of the pages were looked up in their public text on 30
// November 2026, the others are named from knowledge of the commands' own help and were not opened.
type scriptHarm struct {
	names   string // the commands, parted by blanks, as shellread names them
	needs   string // words that must be among the arguments, parted by blanks, each with alternatives a|b; "-x" is a switch -x or /x, short or whole
	spares  string // words any of which makes it harmless
	also    func(c shellread.Command, all []shellread.Command) bool
	warning bool
	breaks  string // what happens
	advice  string // what to do instead
	source  string // where it is documented
}

const (
	windowsCommands = "https://learn.microsoft.com/windows-server/administration/windows-commands/"
	moduleCommands  = "https://learn.microsoft.com/powershell/module/"
)

const (
	goneForGood = "what is on it is gone, and no undo brings it back"
	openDisk    = "the disk lies open, and the recovery keys that are kept no longer open it"
	noWayBack   = "the machine may not start, and nothing here takes it back"
	cutOff      = "the machine may not be reached again, not even for undo"
	noTraces    = "what would tell the cause of the trouble is gone"
)

var scriptHarms = []scriptHarm{
	// Disks and volumes
	{names: "format-volume", breaks: "it formats a volume: " + goneForGood, advice: "leave disks to a person in front of the machine", source: moduleCommands + "storage/format-volume"},
	{names: "format format.com", needs: `[a-z]:\\?`, breaks: "it formats a volume: " + goneForGood, advice: "leave disks to a person in front of the machine", source: windowsCommands + "format"},
	{names: "clear-disk initialize-disk reset-physicaldisk", breaks: "it clears a disk: " + goneForGood, advice: "leave disks to a person in front of the machine", source: moduleCommands + "storage/clear-disk"},
	{names: "remove-partition set-partition resize-partition", breaks: "it changes the partitions of a disk: " + noWayBack, advice: "leave disks to a person in front of the machine", source: moduleCommands + "storage/remove-partition"},
	{names: "diskpart", also: diskpartChanges, breaks: "diskpart changes disks, and what it is told is not all in sight: " + goneForGood, advice: "read with Get-Disk, Get-Partition and Get-Volume; change disks by hand", source: windowsCommands + "diskpart"},
	{names: "cipher", needs: "-w", breaks: "cipher /w writes the free space over for hours, and deleted files are beyond recovery", advice: "leave it away", source: windowsCommands + "cipher"},
	{names: "sdelete sdelete64", breaks: "it deletes beyond recovery", advice: "use the action quarantine, which undo takes back", source: "https://learn.microsoft.com/sysinternals/downloads/sdelete"},
	{names: "mountvol", needs: "-d|-p|-r", breaks: "volumes lose their letters, that of Windows or of the page file as well", advice: "leave the letters to Windows", source: windowsCommands + "mountvol"},
	{names: "set-content clear-content out-file copy-item dd", needs: `\\\\\.\\(?:physicaldrive\d+|[a-z]:)`, breaks: "it writes over a disk: " + goneForGood, advice: "leave disks to a person in front of the machine", source: "https://learn.microsoft.com/windows/win32/fileio/naming-a-file"},

	// Files
	{names: "remove-item .delete", also: deletesCrowdStrike, breaks: "the folder of CrowdStrike's sensor goes, with good files: the sensor ends, and does not protect itself again", advice: "use the playbook crowdstrike-channel-file-291, which moves the bad file alone, and puts it back by undo", source: "https://www.crowdstrike.com/falcon-content-update-remediation-and-guidance-hub/"},
	{names: "remove-item clear-content .delete .deletefolder .deletefile [io.directory]::delete [system.io.directory]::delete [io.file]::delete [system.io.file]::delete", also: deletesSystem, breaks: "it deletes what Windows, programs or users need, for good", advice: "name the one file in the action quarantine, with \"header\", \"sha256\" or \"modified\"; undo takes that back", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/remove-item"},
	{names: "move-item rename-item", also: movesSystem, breaks: "it moves or renames a folder that Windows, programs or users need", advice: "name the one file in the action quarantine; undo takes that back", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/move-item"},
	{names: "remove-item", also: deletesByWildcard, breaks: "the script deletes by a wildcard: good files go as well, and for good", advice: "use the action quarantine with \"header\", \"sha256\" or \"modified\", which undo takes back", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/remove-item"},
	{names: "remove-item [io.file]::delete [system.io.file]::delete .delete", also: deletesOneOfWindows, warning: true, breaks: "it deletes a file of Windows for good", advice: "use the action quarantine, which undo takes back", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/remove-item"},
	{names: "> copy-item set-content add-content out-file clear-content new-item", also: overwritesVital, breaks: "it writes over a file without which Windows does not start", advice: "find the file that really is at fault, and write it by the action put, which undo takes back", source: "https://learn.microsoft.com/troubleshoot/windows-client/performance/windows-boot-issues-troubleshooting"},
	{names: "robocopy", needs: "-mir|-purge", also: mirrorsOverSystem, breaks: "robocopy deletes all in the target that the source has not", advice: "copy without /MIR and /PURGE", source: windowsCommands + "robocopy"},
	{names: "takeown icacls cacls set-acl", also: rightsOfSystem, breaks: "the rights of Windows' own files are lost, and nothing here gives them back", advice: "name the one file or folder", source: windowsCommands + "icacls"},
	{names: "remove-item", needs: `cert:\\localmachine\\(?:root|authroot|ca|my|trustedpublisher|disallowed)(?:\\\*)?\\?`, breaks: "a whole store of certificates goes: nothing is trusted that it vouched for", advice: "name the one certificate by its thumbprint", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.security/about/about_certificate_provider"},

	// Start
	{names: "bcdedit", needs: "-delete|-import|-createstore", breaks: "the boot configuration loses its entry, or is another one: " + noWayBack, advice: "use the action bcd, which keeps what was there", source: "https://learn.microsoft.com/windows-hardware/manufacture/desktop/bcdedit-command-line-options"},
	{names: "bcdedit", needs: "-set|-deletevalue device|osdevice|path|systemroot|winpe|detecthal", breaks: "Windows is looked for in another place: " + noWayBack, advice: "leave it to bcdboot, from a medium", source: "https://learn.microsoft.com/windows-hardware/drivers/devtest/bcdedit--set"},
	{names: "bcdedit", needs: "-set recoveryenabled no|off|false|0", warning: true, breaks: "a machine that does not start no longer goes to its recovery environment", advice: "use the playbook no-automatic-repair, which undo takes back", source: "https://learn.microsoft.com/windows-hardware/drivers/devtest/bcdedit--set"},
	{names: "bootsect bootrec", breaks: "it writes boot code: " + noWayBack, advice: "repair the boot files of one machine from a medium", source: "https://learn.microsoft.com/windows-hardware/manufacture/desktop/bootsect-command-line-options"},
	{names: "reagentc", needs: "-disable", warning: true, breaks: "the recovery environment is off, which is the way back when Windows does not start", advice: "leave it on, or enable it at the end of the same script", source: "https://learn.microsoft.com/windows-hardware/manufacture/desktop/reagentc-command-line-options"},
	{names: "verifier", needs: "-standard|-all|-flags|-driver", breaks: "Driver Verifier stops the machine with a blue screen at the first fault, at every start", advice: "try it at one machine that somebody sits at", source: "https://learn.microsoft.com/windows-hardware/drivers/devtest/verifier-command-line"},
	{names: "sysprep", breaks: "the machine loses its identity, its domain and its users' settings", advice: "leave it away", source: "https://learn.microsoft.com/windows-hardware/manufacture/desktop/sysprep-command-line-options"},
	{names: "systemreset", breaks: "Windows is set up anew", advice: "leave it to a person in front of the machine", source: "https://learn.microsoft.com/windows-hardware/manufacture/desktop/push-button-reset-overview"},
	{names: "dism", needs: "-resetbase", breaks: "no update that is installed can be taken away any more", advice: "clean up without /ResetBase", source: "https://learn.microsoft.com/windows-hardware/manufacture/desktop/clean-up-the-winsxs-folder"},
	{names: "pnputil dism", needs: "-delete-driver|-d|-remove-driver", warning: true, breaks: "the driver's package is gone, and undo does not bring it back", advice: "use the playbook disable-driver, which undo takes back", source: "https://learn.microsoft.com/windows-hardware/drivers/devtest/pnputil-command-syntax"},
	{names: "remove-windowsdriver", warning: true, breaks: "the driver's package is gone, and undo does not bring it back", advice: "use the playbook disable-driver, which undo takes back", source: moduleCommands + "dism/remove-windowsdriver"},

	// Power
	{names: "stop-computer", breaks: "the machine is off, and nobody starts it again from afar", advice: "restart it instead, with \"reboot: if-fixed\"", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/stop-computer"},
	{names: "shutdown psshutdown", needs: "-s|-sg|-p|-h|-k", breaks: "the machine is off, and nobody starts it again from afar", advice: "restart it instead, with \"reboot: if-fixed\"", source: windowsCommands + "shutdown"},
	{names: "shutdown psshutdown", needs: "-r|-g", spares: "-s|-p|-h", warning: true, breaks: "the machine may restart before it has answered, and then nobody knows what became of it", advice: "write \"reboot: if-fixed\" or \"reboot: always\" in a playbook; after `run --script` or `--command` use --reboot", source: windowsCommands + "shutdown"},
	{names: "restart-computer", warning: true, breaks: "the machine may restart before it has answered, and then nobody knows what became of it", advice: "write \"reboot: if-fixed\" or \"reboot: always\" in a playbook; after `run --script` or `--command` use --reboot", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/restart-computer"},
	{names: "rundll32", needs: ".*powrprof.*", breaks: "the machine sleeps, and nobody wakes it from afar", advice: "restart it instead, with \"reboot: if-fixed\"", source: "https://learn.microsoft.com/windows/win32/api/powrprof/nf-powrprof-setsuspendstate"},
	{names: "wmic invoke-wmimethod invoke-cimmethod", needs: "shutdown|reboot|win32shutdown", breaks: "the machine goes off or restarts before it has answered", advice: "write \"reboot: if-fixed\" in a playbook", source: "https://learn.microsoft.com/windows/win32/cimwin32prov/win32shutdown-method-in-class-win32-operatingsystem"},
	{names: ".win32shutdown .shutdown .reboot", breaks: "the machine goes off or restarts before it has answered", advice: "write \"reboot: if-fixed\" in a playbook", source: "https://learn.microsoft.com/windows/win32/cimwin32prov/win32shutdown-method-in-class-win32-operatingsystem"},
	{names: "stop-process taskkill .kill", also: endsVitalProcess, breaks: "Windows stops with a blue screen when that process ends, or nobody is served any more", advice: "leave Windows' own processes alone", source: windowsCommands + "taskkill"},

	// BitLocker
	{names: "manage-bde", needs: "-off", breaks: "it decrypts the disk: " + openDisk, advice: "suspend protection for one start, if need be: manage-bde -protectors -disable C: -RebootCount 1", source: windowsCommands + "manage-bde-off"},
	{names: "disable-bitlocker", breaks: "it decrypts the disk: " + openDisk, advice: "suspend protection for one start, if need be: Suspend-BitLocker -RebootCount 1", source: moduleCommands + "bitlocker/disable-bitlocker"},
	{names: "manage-bde", needs: "-protectors -delete", also: deletesProtector, breaks: "a key protector goes, and with it the keys that are kept", advice: "use the playbook rotate-recovery-password, which stores the new password first", source: windowsCommands + "manage-bde-protectors"},
	{names: "remove-bitlockerkeyprotector", breaks: "a key protector goes, and with it the keys that are kept", advice: "use the playbook rotate-recovery-password, which stores the new password first", source: moduleCommands + "bitlocker/remove-bitlockerkeyprotector"},
	{names: "manage-bde", needs: "-lock|-forcerecovery|-fr|-changekey|-wipefreespace|-w", breaks: "the next start asks for the recovery key, or the volume is closed", advice: "leave it to a person in front of the machine, with its key at hand", source: windowsCommands + "manage-bde-forcerecovery"},
	{names: "lock-bitlocker clear-bitlockerautounlock", breaks: "volumes are closed, and programs on them end", advice: "leave it to a person in front of the machine, with its key at hand", source: moduleCommands + "bitlocker/lock-bitlocker"},
	{names: "manage-bde", needs: "-protectors -disable", spares: "-rebootcount|-rc", warning: true, breaks: "protection is suspended until somebody resumes it, and the disk lies open", advice: "add -RebootCount 1", source: windowsCommands + "manage-bde-protectors"},
	{names: "suspend-bitlocker", needs: "-rebootcount 0", warning: true, breaks: "protection is suspended until somebody resumes it, and the disk lies open", advice: "write -RebootCount 1", source: moduleCommands + "bitlocker/suspend-bitlocker"},

	// Services and the way to the machine
	{names: "sc .stop .pause stop-service set-service suspend-service remove-service net wmic remove-ciminstance restart-service", also: stopsVital, breaks: "a service ends or does not start again without which Windows does not start, nobody signs in, or " + cutOff, advice: "find the service that really is at fault, and use the action service, which undo takes back", source: windowsCommands + "sc-config"},
	{names: "netsh", needs: "firewall|advfirewall set .*profiles?|currentprofile firewallpolicy .*blockinbound.*", breaks: "the firewall lets nobody in: " + cutOff, advice: "block by a rule for the one port", source: windowsCommands + "netsh-advfirewall"},
	{names: "netsh", needs: "firewall|advfirewall reset", breaks: "the firewall has the rules of a new Windows, in which WinRM is closed: " + cutOff, advice: "take back the one rule", source: windowsCommands + "netsh-advfirewall"},
	{names: "set-netfirewallprofile", needs: "-defaultinboundaction block", breaks: "the firewall lets nobody in: " + cutOff, advice: "block by a rule for the one port, with New-NetFirewallRule", source: moduleCommands + "netsecurity/set-netfirewallprofile"},
	{names: "new-netfirewallrule netsh", also: blocksLifeline, breaks: "the port by which the machine is reached is closed: " + cutOff, advice: "name another port, or a program", source: moduleCommands + "netsecurity/new-netfirewallrule"},
	{names: "netsh", needs: "firewall|advfirewall set .*profiles?|opmode state|mode off|disable", warning: true, breaks: "the firewall is off until somebody turns it on", advice: "open the one port by a rule", source: windowsCommands + "netsh-advfirewall"},
	{names: "set-netfirewallprofile", needs: "-enabled false|\\$false", warning: true, breaks: "the firewall is off until somebody turns it on", advice: "open the one port by a rule, with New-NetFirewallRule", source: moduleCommands + "netsecurity/set-netfirewallprofile"},
	{names: "netsh", needs: "interface|int disable|disabled|admin=disable|admin=disabled", breaks: "the network is off: " + cutOff, advice: "disable the adapter by hand, at the machine", source: windowsCommands + "netsh-interface"},
	{names: "netsh", needs: "interface|int|winsock ip|ipv4|ipv6|reset reset|catalog|all", warning: true, breaks: "fixed addresses are lost with the rest of what the network was set to", advice: "try it at one machine that gets its address by DHCP", source: windowsCommands + "netsh-interface"},
	{names: "disable-netadapter remove-netipaddress remove-netroute uninstall-netadapter disable-netadapterbinding", breaks: "the network is off: " + cutOff, advice: "change the network by hand, at the machine", source: moduleCommands + "netadapter/disable-netadapter"},
	{names: "ipconfig", needs: "-release", breaks: "the machine gives its address back: " + cutOff, advice: "use ipconfig /renew alone", source: windowsCommands + "ipconfig"},
	{names: "route", needs: "-f|delete", breaks: "the machine loses its way to the network: " + cutOff, advice: "change routes by hand, at the machine", source: windowsCommands + "route_ws2008"},
	{names: "disable-psremoting", breaks: "PowerShell takes no calls from outside any more: " + cutOff, advice: "leave remoting on until the machine is mended", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.core/disable-psremoting"},
	{names: "winrm", needs: "delete|invoke .*winrm/config.*|restore", breaks: "WinRM loses its listener or its settings: " + cutOff, advice: "leave WinRM alone until the machine is mended", source: "https://learn.microsoft.com/windows/win32/winrm/installation-and-configuration-for-windows-remote-management"},
	{names: "remove-computer dsregcmd netdom", also: leavesDomain, breaks: "the machine leaves its domain: nobody signs in with an account of it, and " + cutOff, advice: "mend the secure channel with Test-ComputerSecureChannel -Repair", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/remove-computer"},
	{names: "uninstall-windowsfeature remove-windowsfeature", needs: "ad-domain-services|dns|dhcp|adcs-.*|failover-clustering", breaks: "a role of the server goes with what it serves: others lose their domain, names or addresses", advice: "leave roles to a person who knows the server", source: moduleCommands + "servermanager/uninstall-windowsfeature"},
	{names: "mshta", breaks: "it runs script text that nobody looks into", advice: "write it as a script of PowerShell or cmd", source: "https://attack.mitre.org/techniques/T1218/005/"},
	{names: "set-mppreference", needs: "-disable.* true|\\$true|1", warning: true, breaks: "protection against malware is off until somebody turns it on", advice: "exclude the one file or process, with Add-MpPreference", source: moduleCommands + "defender/set-mppreference"},

	// What is kept
	{names: "vssadmin diskshadow", needs: "delete|resize shadows|shadowstorage", breaks: "the shadow copies go, which are the way back", advice: "leave them alone", source: windowsCommands + "vssadmin-delete-shadows"},
	{names: "wmic", needs: "shadowcopy|win32_shadowcopy delete", breaks: "the shadow copies go, which are the way back", advice: "leave them alone", source: "https://learn.microsoft.com/previous-versions/windows/desktop/vsswmi/win32-shadowcopy"},
	{names: "get-wmiobject get-ciminstance remove-wmiobject remove-ciminstance .delete", also: deletesShadows, breaks: "the shadow copies go, which are the way back", advice: "leave them alone", source: "https://learn.microsoft.com/previous-versions/windows/desktop/vsswmi/win32-shadowcopy"},
	{names: "wbadmin", needs: "delete", breaks: "backups go, which are the way back", advice: "leave them alone", source: windowsCommands + "wbadmin-delete-catalog"},
	{names: "disable-computerrestore", breaks: "the restore points go, which are the way back", advice: "leave them alone", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/disable-computerrestore?view=powershell-5.1"},
	{names: "wevtutil", needs: "cl|clear-log|sl|set-log", also: clearsLog, breaks: "the event log is emptied: " + noTraces, advice: "export with wevtutil epl, and leave the log", source: windowsCommands + "wevtutil"},
	{names: "clear-eventlog remove-eventlog", breaks: "the event log is emptied: " + noTraces, advice: "export with wevtutil epl, and leave the log", source: "https://learn.microsoft.com/powershell/module/microsoft.powershell.management/clear-eventlog?view=powershell-5.1"},
	{names: "auditpol", needs: "-clear|-remove", breaks: "the audit policy is emptied: " + noTraces, advice: "leave it alone", source: windowsCommands + "auditpol-clear"},
	{names: "fsutil", needs: "usn deletejournal", breaks: "the change journal of the volume goes: backup and replication begin anew", advice: "leave it alone", source: windowsCommands + "fsutil-usn"},
}
