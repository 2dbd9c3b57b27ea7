# --- conditions ---------------------------------------------------------------------------------------------------------------------
$script:ServicesKey = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services'
function Get-StartNumber([string]$Start) {
    $number = @{ boot = 0; system = 1; auto = 2; manual = 3; disabled = 4 }[$Start]
    if ($null -eq $number -or -not $Start.Equals($Start.ToLowerInvariant())) { throw "unknown start type '$Start'" }
    return $number
}
# The state in Windows' own words (Running, Stopped, StartPending, StopPending, Paused, ...); '' where there is no such service.
function Get-State([string]$Name) {
    $service = Get-Service -Name ([WildcardPattern]::Escape($Name)) -ErrorAction SilentlyContinue
    if ($null -eq $service) { return '' }
    return [string]$service.Status
}
# A wait with an end: the state after it is there, or half a minute is over.
function Wait-State([string]$Name, [string]$Wanted) {
    for ($i = 0; $i -lt 120; $i++) {
        if ((Get-State $Name).Equals($Wanted)) { return }
        Start-Sleep -Milliseconds 250
    }
    throw "service '$Name' is $(Get-State $Name), not $Wanted, after half a minute"
}
function Test-Start([string]$Name, $Condition, [bool]$IsService) {
    Assert-Online 'registry'
    $key = "$($script:ServicesKey)\$Name"
    $there = [bool](Test-Path -LiteralPath "Registry::$key")
    $present = Get-Field $Condition 'present' $null
    $start = [string](Get-Field $Condition 'start' '')
    $state = [string](Get-Field $Condition 'state' '')
    if ($null -ne $present -and [bool]$present -ne $there) { return $false }
    if (-not $there) { return ($null -ne $present) -and ($start -eq '') -and ($state -eq '') }
    if ($start -ne '') {
        $number = Get-StartNumber $start
        $now = Get-RegistryData $key 'Start'
        if ($null -eq $now -or $now.data[0] -ne "=$number") { return $false }
    }
    if ($state -eq '') { return $true }
    if (-not $IsService) { throw 'a driver has no state' }
    if ($state -cne 'running' -and $state -cne 'stopped') { throw "unknown state '$state'" }
    return (Get-State $Name).Equals(@{ running = 'Running'; stopped = 'Stopped' }[$state])
}
# The boot entry of the Windows that runs. {default} is what the boot menu starts, which may be another Windows: it is taken only where
# {current} is not answered and {default} names the drive that this Windows runs from. A listing names its entry, {a GUID}, before anything
# else: one that does not is no answer, whatever its exit code, and says of no element that it is not set.
function Read-BootEntry {
    $current = Invoke-Native 'bcdedit.exe' @('/enum', '{current}', '/v')
    if ($current.code -eq 0 -and @($current.output | Where-Object { [regex]::IsMatch($_, '\S\s+\{[^{}]+\}\s*\z') }).Count -gt 0) { return @{ entry = '{current}'; lines = $current.output } }
    $default = Invoke-Native 'bcdedit.exe' @('/enum', '{default}', '/v')
    $drive = Get-SystemVariable 'SystemDrive'
    if ($drive -ceq '') { $drive = 'C:' }
    if ($default.code -eq 0 -and @($default.output | Where-Object { Test-Pattern $_ ('^device\s+partition=' + [regex]::Escape($drive) + '\s*\z') }).Count -gt 0) {
        return @{ entry = '{default}'; lines = $default.output }
    }
    $script:Unread = $true
    throw "the boot configuration could not be read: bcdedit.exe /enum {current} /v ended with $($current.code): $($current.output -join ' ')"
}
# An element of it: $null where it is not set.
function Find-Element($Entry, [string]$Name) {
    $wanted = '^' + [regex]::Escape($Name) + '\s+(.+?)\s*$'
    foreach ($line in $Entry.lines) {
        $found = [regex]::Match($line, $wanted, 'IgnoreCase, CultureInvariant')
        if ($found.Success) { return $found.Groups[1].Value }
    }
    return $null
}
# bcdedit takes on and off and shows Yes and No.
function Get-ElementWord([string]$Value) {
    $word = @{ 'YES' = 'ON'; 'TRUE' = 'ON'; 'NO' = 'OFF'; 'FALSE' = 'OFF' }[$Value.ToUpperInvariant()]
    if ($null -ne $word) { return $word }
    return $Value.ToUpperInvariant()
}
function Test-Element([string]$One, [string]$Two) {
    $first = Get-ElementWord $One
    $second = Get-ElementWord $Two
    if ($first -ceq 'ON' -or $first -ceq 'OFF') { $second = $second.Replace('1', 'ON').Replace('0', 'OFF') }
    return $first.Equals($second)
}
function Test-OsCondition($Condition) {
    $script:Words = 'os'
    Assert-Online 'os'
    $os = $Condition.os
    $version = Get-ItemProperty -LiteralPath 'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    $build = [int](Get-Field $version 'CurrentBuildNumber' '0')
    if ($build -eq 0) { throw 'the build number is unknown' }
    # What updates make of a build: 7623 of 26100.7623. One that nothing has updated has none.
    $revision = Get-Field $version 'UBR' 0
    if ($revision -isnot [int]) { $revision = 0 }
    $least = [int](Get-Field $os 'min-build' 0)
    $most = [int](Get-Field $os 'max-build' 0)
    $lowest = [int](Get-Field $os 'min-revision' 0)
    $highest = [int](Get-Field $os 'max-revision' 0)
    if ($build -lt $least -or ($build -eq $least -and $revision -lt $lowest)) { return $false }
    return $most -eq 0 -or $build -lt $most -or ($build -eq $most -and ($highest -eq 0 -or $revision -le $highest))
}
# One row for each kind of condition: its name in the playbook and the function that looks. The same kinds as in playbook.ConditionKinds.
$script:TestKinds = @(
    @('file', 'Test-FileCondition'), @('no-file', 'Test-NoFileCondition'), @('registry', 'Test-RegistryCondition')
    @('registry-key', 'Test-KeyCondition'), @('service', 'Test-ServiceCondition')
    @('driver', 'Test-DriverCondition'), @('bcd', 'Test-BcdCondition'), @('os', 'Test-OsCondition'), @('script', 'Test-ScriptCondition')
)
function Test-FileCondition($Condition) {
    $script:Words = "file $($Condition.file)"
    return @(Find-File $Condition ([string]$Condition.file)).Count -gt 0
}
function Test-NoFileCondition($Condition) {
    $script:Words = "no-file $($Condition.'no-file')"
    return @(Find-File $Condition ([string]$Condition.'no-file')).Count -eq 0
}
function Test-RegistryCondition($Condition) {
    $name = [string](Get-Field $Condition 'name' '')
    $script:Words = "registry $($Condition.registry) $name"
    $now = Get-ComparedData ([string]$Condition.registry) $name
    if (Test-Field $Condition 'equals') { return ($null -ne $now) -and (Test-Equal $now $Condition.equals) }
    return ($null -ne $now) -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-KeyCondition($Condition) {
    $key = [string]$Condition.'registry-key'
    $script:Words = "registry-key $key"
    Assert-Online 'registry'
    Assert-NoSlash $key
    return [bool](Test-Path -LiteralPath "Registry::$key") -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-ServiceCondition($Condition) {
    $script:Words = "service $($Condition.service)"
    return (Test-Start ([string]$Condition.service) $Condition $true)
}
function Test-DriverCondition($Condition) {
    $script:Words = "driver $($Condition.driver)"
    return (Test-Start ([string]$Condition.driver) $Condition $false)
}
function Test-BcdCondition($Condition) {
    $script:Words = "bcd $($Condition.bcd)"
    $now = Find-Element (Read-BootEntry) ([string]$Condition.bcd)
    if (Test-Field $Condition 'equals') { return ($null -ne $now) -and (Test-Element $now ([string]$Condition.equals)) }
    return ($null -ne $now) -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-ScriptCondition($Condition) {
    $script:Words = 'script'
    $body = $Condition.script
    $ran = Invoke-Script ([string]$body.shell) ([string]$body.body) @(Get-List $body 'args') ([int](Get-Field $body 'timeout' 0))
    if ($ran.code -eq (Get-ExitNumber (Get-Field $Condition 'exit-code' 0))) { return $true }
    $others = @(Get-List $Condition 'other-codes' | ForEach-Object { Get-ExitNumber $_ })
    if ($others.Count -gt 0 -and $others -notcontains $ran.code) { throw "script ended with $($ran.code), which says neither yes nor no: $($ran.output)" }
    return $false
}
# An exit code as Windows hands it over: what is written as 3221225481, 0xC0000009, is -1073741815.
function Get-ExitNumber($Code) {
    if ([long]$Code -gt 2147483647) { return [int]([long]$Code - 4294967296) }
    return [int]$Code
}
function Test-Condition($Condition) {
    foreach ($row in $script:TestKinds) {
        $what = Get-Field $Condition $row[0] $null
        if ($null -ne $what -and -not ($what -is [string] -and $what -eq '')) { return (& $row[1] $Condition) }
    }
    throw 'unknown condition'
}
# All must hold; $script:Words names the first that does not.
function Test-All($Playbook, [string]$Name) {
    foreach ($condition in @(Get-List $Playbook $Name)) { if (-not (Test-Condition $condition)) { return $false } }
    return $true
}
