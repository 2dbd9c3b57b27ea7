# Brings a value to what it should be ($null: absent) and records what it was.
function Update-Registry([string]$Key, [string]$Name, $Wanted) {
    Assert-NoSlash $Key
    $old = Get-RegistryData $Key $Name
    if (Test-Same $old $Wanted) { return }
    Add-Record @{ action = 'registry'; target = "$Key $Name"; key = $Key; name = $Name; old = $old; new = $Wanted }
    Set-RegistryData $Key $Name $Wanted
}
function Invoke-RegistryChange($Step, $Done) {
    $key = [string]$Step.key
    $name = [string](Get-Field $Step 'name' '')
    $Done.target = "$key $name"
    Assert-Online 'registry'
    Assert-NoSlash $key
    # A start type may be set as a plain value as well, and what this Windows starts from is not touched there either.
    $own = [regex]::Match($key, '^HKEY_LOCAL_MACHINE\\SYSTEM\\(?:CurrentControlSet|ControlSet[0-9]{3})\\Services\\([^\\]+)\z', 'IgnoreCase, CultureInvariant')
    $vital = $own.Success -and (Test-Text $name 'Start')
    if ([bool](Get-Field $Step 'delete' $false)) {
        if ($vital) { Assert-NotVital $own.Groups[1].Value $key 4 }
        Update-Registry $key $name $null
        return
    }
    $data = New-RegistryData $Step
    if ($vital) {
        $number = 4
        if ([string]$data.type -ceq 'dword') { $number = [long]@(Unprotect-Text $data.data)[0] }
        Assert-NotVital $own.Groups[1].Value $key $number
    }
    if (-not (Test-Path -LiteralPath "Registry::$key")) { throw "no key $key" }
    Update-Registry $key $name $data
}
# Makes a key with those above it that are not there, each on its record. One that is there is never touched: New-Item -Force would empty it.
function Invoke-KeyChange($Step, $Done) {
    $key = [string]$Step.key
    $Done.target = $key
    Assert-Online 'registry'
    Assert-NoSlash $key
    $missing = @()
    for ($at = $key; -not (Test-Path -LiteralPath "Registry::$at"); $at = $at.Substring(0, $at.LastIndexOf([char]'\'))) {
        if ($at.Split([char]'\').Count -lt 3) { throw "no key $at" }
        $missing = @($at) + $missing
    }
    foreach ($one in $missing) {
        Add-Record @{ action = 'made-key'; target = $one; key = $one }
        [void](New-Item -Path "Registry::$one")
    }
}
function Invoke-ServiceChange($Step, $Done) { Invoke-StartChange $Step $Done 'service' }
function Invoke-DriverChange($Step, $Done) { Invoke-StartChange $Step $Done 'driver' }
# What the machine itself says of a driver that it cannot start without: its group, and the filter lists of the classes of disks and input.
$script:VitalGroups = 'SCSI MINIPORT', 'SCSI CLASS', 'PRIMARY DISK', 'SYSTEM BUS EXTENDER', 'BOOT BUS EXTENDER', 'BOOT FILE SYSTEM'
$script:VitalClasses = '4d36e967-e325-11ce-bfc1-08002be10318', '71a27cdd-812a-11d0-bec7-08002be2092f', '4d36e96b-e325-11ce-bfc1-08002be10318',
'4d36e96f-e325-11ce-bfc1-08002be10318', '4d36e96a-e325-11ce-bfc1-08002be10318', '4d36e97b-e325-11ce-bfc1-08002be10318',
'4d36e97d-e325-11ce-bfc1-08002be10318', '745a17a0-74d3-11d0-b6fe-00a0c90f57da', '36fc9e60-c465-11cf-8056-444553540000'
function Assert-NotVital([string]$Name, [string]$Key, [long]$Number) {
    if ($Number -lt 2) { return }
    $start = Get-RegistryValue $Key 'Start'
    $group = Get-RegistryValue $Key 'Group'
    if ($null -ne $start -and $null -ne $group -and $start.data[0] -ceq '=0' -and $script:VitalGroups -ccontains $group.data[0].Substring(1).ToUpperInvariant()) {
        throw "this Windows starts from driver '$Name' (group $($group.data[0].Substring(1))): its start type is not changed"
    }
    if ($Number -ne 4) { return }
    foreach ($class in $script:VitalClasses) {
        foreach ($list in 'UpperFilters', 'LowerFilters') {
            $value = Get-RegistryValue "HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{$class}" $list
            if ($null -eq $value) { continue }
            foreach ($text in @(Unprotect-Text $value.data)) {
                if (Test-Text $text $Name) { throw "driver '$Name' stands in $list of the device class {$class}: without it those devices do not start; take it out of the list first" }
            }
        }
    }
}
# To change the start type of a service takes more than one move: the controller reads the registry at its own start only, so a service is set
# through it, and what runs although it is disabled is let start for a moment. What it is to be in the end is written down first; whoever
# comes after a request that was ended in between brings it there. Drivers are no services to the controller: theirs is a value like others.
function Set-StartType([string]$Name, [string]$Key, $Data, [bool]$IsService) {
    if (-not $IsService) {
        Set-RegistryData $Key 'Start' $Data
        return
    }
    $begun = Write-Start $Name $Key $Data @()
    Set-ServiceStart $Key $begun $Data
    Remove-Start
}
function Write-Start([string]$Name, [string]$Key, $Data, $Between) {
    Complete-Start
    $seen = @($Data.data) + @($Between)
    $now = Get-RegistryData $Key 'Start'
    if ($null -ne $now) { $seen += $now.data }
    $begun = @{ name = $Name; wanted = $Data; seen = $seen; delayed = (Get-RegistryData $Key 'DelayedAutostart') }
    Write-Record 'start.json' $begun
    return (New-Object PSObject -Property $begun)
}
function Set-ServiceStart([string]$Key, $Begun, $Data) {
    $name = [string]$Begun.name
    $word = @{ '=2' = 'Automatic'; '=3' = 'Manual'; '=4' = 'Disabled' }[[string]@($Data.data)[0]]
    if ($null -ne $word -and (Get-State $name) -cne '' -and $null -ne (Get-Command -Name Set-Service -ErrorAction SilentlyContinue)) {
        # One that is marked for deletion is refused: its key is still there.
        try { Set-Service -Name $name -StartupType $word } catch { $null = $_ }
        # PowerShell 7 takes the delay away along with the start type.
        $delayed = Get-Field $Begun 'delayed' $null
        if (-not (Test-Same (Get-RegistryData $Key 'DelayedAutostart') $delayed)) { Set-RegistryData $Key 'DelayedAutostart' $delayed }
    }
    if (-not (Test-Same (Get-RegistryData $Key 'Start') $Data)) { Set-RegistryData $Key 'Start' $Data }
}
# What a request that was ended has begun; what somebody changed since stays as he made it.
function Complete-Start {
    if (-not (Test-Record 'start.json')) { return }
    $begun = Read-Record 'start.json' 'wanted'
    $key = "$($script:ServicesKey)\$($begun.name)"
    $now = Get-RegistryData $key 'Start'
    if ($null -ne $now -and @($begun.seen) -ccontains $now.data[0]) { Set-ServiceStart $key $begun $begun.wanted }
    Remove-Start
}
function Remove-Start { Remove-Item -LiteralPath (Get-RecordPlace 'start.json') -Force -ErrorAction SilentlyContinue }
function Invoke-StartChange($Step, $Done, [string]$What) {
    $Done.target = [string]$Step.name
    $number = Get-StartNumber ([string]$Step.start)
    Assert-Online 'registry'
    $name = [string]$Step.name
    $key = "$($script:ServicesKey)\$name"
    if (-not (Test-Path -LiteralPath "Registry::$key")) { throw "no $What '$name'" }
    $isService = $What -ceq 'service'
    if (-not $isService) { Assert-NotVital $name $key $number }
    $data = @{ type = 'dword'; data = @("=$number") }
    $old = Get-RegistryData $key 'Start'
    if (-not (Test-Same $old $data)) {
        Add-Record @{ action = 'registry'; target = "$key Start"; key = $key; name = 'Start'; old = $old; new = $data; service = $isService }
        Set-StartType $name $key $data $isService
    }
    if (-not $isService -or -not [bool](Get-Field $Step 'stop' $false)) { return }
    foreach ($one in @(Get-Running $name 0)) {
        Add-Record @{ action = 'stop'; target = "$one stopped"; name = $one }
        if ((Get-State $one) -cne 'StopPending') { Stop-Service -Name ([WildcardPattern]::Escape($one)) -Force -NoWait -WarningAction SilentlyContinue }
        Wait-State $one 'Stopped'
    }
}
# A service that is not stopped, after those that depend on it: they would be stopped along.
function Get-Running([string]$Name, [int]$Depth) {
    $service = Get-Service -Name ([WildcardPattern]::Escape($Name)) -ErrorAction SilentlyContinue
    if ($null -eq $service -or [string]$service.Status -ceq 'Stopped' -or $Depth -gt 20) { return }
    foreach ($below in @(Get-List $service 'DependentServices')) { Get-Running ([string]$below.Name) ($Depth + 1) }
    $Name
}
function Invoke-BcdChange($Step, $Done) {
    $delete = [string](Get-Field $Step 'delete' '')
    $name = $delete + [string](Get-Field $Step 'set' '')
    $Done.target = $name
    $value = [string](Get-Field $Step 'value' '')
    Assert-Online 'bcdedit.exe'
    try { $entry = Read-BootEntry }
    catch {
        # What cannot be looked at cannot be set. To delete what is set on few machines is no reason to leave the rest undone: verify decides.
        if ($delete -ceq '' -or -not $script:Unread) { throw }
        $Done.note = Limit-Text $_.Exception.Message
        $script:Remarks += $Done.note
        return
    }
    $now = Find-Element $entry $name
    if ($delete -cne '' -and $null -eq $now) { return }
    if ($delete -ceq '' -and $null -ne $now -and (Test-Element $now $value)) { return }
    if ($delete -ceq '' -and (Test-Text $name 'safeboot') -and (Test-Text $value 'network')) { Register-SafeMode 'WinRM' 0 }
    $old = $null
    $new = $null
    if ($null -ne $now) { $old = @{ type = 'bcd'; data = @("=$now") } }
    if ($delete -ceq '') { $new = @{ type = 'bcd'; data = @("=$value") } }
    Add-Record @{ action = 'bcd'; target = $name; name = $name; old = $old; new = $new; entry = $entry.entry }
    Set-Element $entry.entry $name $new
}
function Set-Element([string]$Entry, [string]$Name, $Data) {
    if ($null -eq $Data) {
        [void](Invoke-Tool 'bcdedit.exe' @('/deletevalue', $Entry, $Name))
        return
    }
    $value = @(Unprotect-Text $Data.data)[0]
    if ((Test-Text $value 'yes') -or (Test-Text $value 'no')) { $value = (Get-ElementWord $value).ToLowerInvariant() }
    [void](Invoke-Tool 'bcdedit.exe' @('/set', $Entry, $Name, $value))
}
# In safe mode only what stands below SafeBoot\Network starts. The service by which the machine is reached, and what it needs, is put there
# before the way back is needed; undo takes it out.
function Register-SafeMode([string]$Service, [int]$Depth) {
    $key = "HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SafeBoot\Network\$Service"
    $own = "$($script:ServicesKey)\$Service"
    if (-not (Test-Path -LiteralPath "Registry::$own")) {
        if ($Depth -gt 0) { return }
        throw "no service '$Service': in safe mode nobody would reach this machine"
    }
    $needs = Get-RegistryValue $own 'DependOnService'
    if ($null -ne $needs -and $Depth -lt 5) { foreach ($one in @(Unprotect-Text $needs.data)) { if ($one -cne '') { Register-SafeMode $one ($Depth + 1) } } }
    if (Test-Path -LiteralPath "Registry::$key") {
        # A request that was ended may have made it, and no more.
        if (-not $script:Counted.ContainsKey("$($script:Step)|" + $key.ToUpperInvariant()) -or $null -ne (Get-RegistryValue $key '')) { return }
    }
    else {
        Add-Record @{ action = 'key'; target = $key; key = $key }
        [void](New-Item -Path "Registry::$key")
    }
    Set-ItemProperty -LiteralPath "Registry::$key" -Name '(default)' -Value 'Service' -Type String
}
# A script that ended well is not run again when the fix is asked again, and its undo is recorded once.
function Invoke-ScriptStep($Step, $Done) {
    $Done.target = [string]$Step.shell
    $list = @(Get-List $Step 'args')
    $seconds = [int](Get-Field $Step 'timeout' 0)
    $number = $script:Records
    if ($script:Scripts.ContainsKey($script:Step)) { $number = $script:Scripts[$script:Step] }
    else { Add-Record @{ action = 'script'; target = 'script'; shell = [string]$Step.shell; undo = [string](Get-Field $Step 'undo' ''); args = @(Protect-Text $list); timeout = $seconds } }
    $mark = 'done-{0:d4}.json' -f $number
    if (Test-Record $mark) {
        $Done.note = ([string](Read-Record $mark 'output').output).Substring(1)
        return
    }
    $ran = Invoke-Script ([string]$Step.shell) ([string]$Step.body) $list $seconds
    $Done.note = $ran.output
    $good = @(Get-List $Step 'ok' | ForEach-Object { Get-ExitNumber $_ })
    if ($good.Count -eq 0) { $good = @(0) }
    if ($good -notcontains $ran.code) { throw "script ended with $($ran.code): $($ran.output)" }
    Write-Record $mark @{ code = $ran.code; output = '=' + $ran.output }
}
# One row for each kind of action, as in playbook.ActionKinds: what does it, and what says ahead that it cannot be done here.
$script:StepKinds = @(
    @('quarantine', 'Invoke-Quarantine', 'Assert-Quarantine'), @('put', 'Invoke-Put', 'Assert-Put')
    @('registry', 'Invoke-RegistryChange', 'Assert-RegistryChange'), @('registry-key', 'Invoke-KeyChange', 'Assert-KeyChange')
    @('service', 'Invoke-ServiceChange', 'Assert-ServiceChange'), @('driver', 'Invoke-DriverChange', 'Assert-DriverChange')
    @('bcd', 'Invoke-BcdChange', 'Assert-BcdChange'), @('script', 'Invoke-ScriptStep', 'Assert-ScriptStep')
)
function Assert-Quarantine($Step) { [void](Expand-Pattern ([string]$Step.file)) }
function Assert-RegistryChange($Step) {
    Assert-Online 'registry'
    Assert-NoSlash ([string]$Step.key)
    if (-not [bool](Get-Field $Step 'delete' $false)) { [void](New-RegistryData $Step) }
}
function Assert-KeyChange($Step) {
    Assert-Online 'registry'
    Assert-NoSlash ([string]$Step.key)
}
function Assert-ServiceChange($Step) {
    [void](Get-StartNumber ([string]$Step.start))
    Assert-Online 'registry'
}
function Assert-DriverChange($Step) {
    Assert-ServiceChange $Step
    Assert-NotVital ([string]$Step.name) "$($script:ServicesKey)\$($Step.name)" (Get-StartNumber ([string]$Step.start))
}
function Assert-BcdChange($Step) { Assert-Online 'bcdedit.exe' }
function Assert-ScriptStep($Step) {
    $list = @(Get-List $Step 'args')
    foreach ($body in [string]$Step.body, [string](Get-Field $Step 'undo' '')) { Assert-Script ([string]$Step.shell) $body $list }
}
# Refuses a fix of which any step cannot be done here, whatever stands before it.
function Assert-Possible($Playbook) {
    foreach ($action in @(Get-List $Playbook 'fix')) {
        $row = @($script:StepKinds | Where-Object { $null -ne (Get-Field $action $_[0] $null) })
        if ($row.Count -eq 0) { throw 'unknown action' }
        & $row[0][2] (Get-Field $action $row[0][0] $null)
    }
}
function Invoke-Action($Action, $Done) {
    foreach ($row in $script:StepKinds) {
        $step = Get-Field $Action $row[0] $null
        if ($null -eq $step) { continue }
        $Done.action = $row[0]
        & $row[1] $step $Done
        return
    }
    throw 'unknown action'
}
# Notes what the action changed, also when it fails in the middle.
function Invoke-Step($Action) {
    $done = @{ action = 'unknown'; target = ''; changed = 0; note = '' }
    try { [void](Invoke-Action $Action $done) }
    finally {
        $done.changed = @($script:Counted.Values | Where-Object { $_ -eq $script:Step }).Count
        $script:Steps += $done
    }
}
