# fleetmend agent: does what one playbook says on this Windows. One static text, the playbook is data: nothing of it is ever run as code
# except the bodies of its script steps. Windows PowerShell 5.1 and PowerShell 7, Full and Constrained Language Mode: cmdlets and core types
# only. ASCII only. remediate/windows holds the same rules in Go; the cases in remediate/testdata/conformance hold both to each other.
# In:  $FleetmendEnvelope, JSON text: {run, nonce, mode: detect|fix|verify|undo, root, playbook}
# Out: lines "@@fm NONCE I/N CHUNK|" that join to the result's JSON; exit code 1 when the outcome is failed, else 0.
# Keeps everything it needs to take a fix back in %ProgramData%\fleetmend\runs\RUN (see remediate/windows/record.go).
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# --- reading data -------------------------------------------------------------------------------------------------------------------
# One value, not a list: a function's list of one would arrive as its element.
function Get-Field($Object, [string]$Name, $Default) {
    if ($null -eq $Object) { return $Default }
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return $Default }
    return $property.Value
}
# A list; call it inside @( ).
function Get-List($Object, [string]$Name) {
    if ($null -eq $Object) { return }
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return }
    foreach ($element in @($property.Value)) { $element }
}
function Test-Field($Object, [string]$Name) {
    $property = $Object.PSObject.Properties[$Name]
    return ($null -ne $property) -and ($null -ne $property.Value)
}
# From 7.5 on texts that look like dates can be left alone; 5.1 always does.
function Read-Json([string]$Text) {
    if ($script:HasDateKind) { return (ConvertFrom-Json -InputObject $Text -DateKind String) }
    return (ConvertFrom-Json -InputObject $Text)
}
function ConvertTo-Utc($Value) {
    if ($Value -is [DateTime]) { return $Value.ToUniversalTime() }
    return [DateTime]::Parse([string]$Value, $null, 'AssumeUniversal, AdjustToUniversal')
}
function Limit-Text([string]$Text) {
    if ($Text.Length -gt 2000) { return $Text.Substring(0, 2000) }
    return $Text
}
function Get-UnixTime {
    return [long](([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds)
}
# Texts in records stand behind a "=": no JSON reader takes them for a date then.
function Protect-Text($Texts) {
    foreach ($text in @($Texts)) { '=' + [string]$text }
}
function Unprotect-Text($Texts) {
    foreach ($text in @($Texts)) { ([string]$text).Substring(1) }
}
# By their characters: -eq follows a language's rules, which ignore a soft hyphen or a zero and may take one letter for two.
function Test-Text([string]$One, [string]$Two) {
    return $One.ToUpperInvariant().Equals($Two.ToUpperInvariant())
}
function Assert-NoDate($Value) {
    foreach ($one in @($Value)) {
        if ($one -is [DateTime]) { throw 'this PowerShell takes the text for a date: use Windows PowerShell 5.1 or PowerShell 7.5' }
    }
}
function Assert-Online([string]$What) {
    if ($script:Root -ne '') { throw "not possible on an offline installation: $What" }
}

# --- paths --------------------------------------------------------------------------------------------------------------------------
function Get-SystemVariable([string]$Name) {
    if ($script:Root -ne '') {
        $known = @{
            'systemdrive' = 'C:'; 'systemroot' = 'C:\Windows'; 'windir' = 'C:\Windows'; 'programdata' = 'C:\ProgramData'
            'allusersprofile' = 'C:\ProgramData'; 'programfiles' = 'C:\Program Files'; 'programw6432' = 'C:\Program Files'
            'programfiles(x86)' = 'C:\Program Files (x86)'; 'public' = 'C:\Users\Public'
        }
        return [string]$known[$Name]
    }
    $item = Get-Item -LiteralPath "Env:$Name" -ErrorAction SilentlyContinue
    if ($null -eq $item) { return '' }
    return [string]$item.Value
}
# A playbook's path with its variables, in the words of the running system.
function Expand-Path([string]$Path) {
    $full = $Path
    foreach ($name in @([regex]::Matches($Path, '%([^%]+)%') | ForEach-Object { $_.Groups[1].Value })) {
        $text = Get-SystemVariable $name
        if ($text -eq '' -or $text.Contains('%')) { throw "unknown variable in path '$Path'" }
        $full = $full.Replace("%$name%", $text)
    }
    if ($full -match '(^|[\\/])\.\.([\\/]|$)') { throw "path climbs: '$Path'" }
    # Off Windows, where the cases run too, a variable may begin with a slash.
    if ($Path -notmatch '^([A-Za-z]:\\.|%[^%]+%)' -or $full -notmatch '^([A-Za-z]:\\.|/)') { throw "not a full path: '$Path'" }
    if ($script:Root -ne '' -and $full -notmatch '^[Cc]:\\') { throw "path outside C: '$Path'" }
    return $full
}
# Where such a path is here: below the root of an offline installation.
function Resolve-Place([string]$Full) {
    if ($script:Root -eq '') { return $Full }
    return $script:Root.TrimEnd('\') + '\' + $Full.Substring(3)
}
function Get-Folder([string]$Full) {
    $folder = $Full.Substring(0, $Full.LastIndexOf('\'))
    if ($folder.EndsWith(':')) { return $folder + '\' }
    return $folder
}
# Wildcards in the last part only, * and ? alone: brackets are names, and *.sys does not find a.sysx or an 8.3 name.
function Find-File($Test, [string]$Path) {
    $full = Expand-Path $Path
    $at = $full.LastIndexOf('\')
    $folder = $full.Substring(0, $at)
    if ($folder -match '[*?]') { throw "wildcards only in the last part: '$Path'" }
    $wanted = '^' + [regex]::Escape($full.Substring($at + 1)).Replace('\*', '.*').Replace('\?', '.') + '\z'
    $place = Get-Folder (Resolve-Place $full)
    if (-not (Test-Path -LiteralPath $place -PathType Container)) { return }
    foreach ($entry in @(Get-ChildItem -LiteralPath $place -Force)) {
        if ($entry.PSIsContainer) { continue }
        if (-not [regex]::IsMatch($entry.Name, $wanted, 'IgnoreCase, CultureInvariant')) { continue }
        $file = New-Object PSObject -Property @{
            Path = $folder + '\' + $entry.Name; Place = Join-Path $place $entry.Name; Size = $entry.Length; Written = $entry.LastWriteTimeUtc
        }
        if (Test-File $Test $file) { $file }
    }
}
function Get-Header([string]$Place, [int]$Count) {
    if ($PSVersionTable.PSVersion.Major -ge 6) { $bytes = Get-Content -LiteralPath $Place -AsByteStream -TotalCount $Count }
    else { $bytes = Get-Content -LiteralPath $Place -Encoding Byte -TotalCount $Count }
    return -join (@($bytes) | ForEach-Object { '{0:X2}' -f $_ })
}
function Get-Sha256([string]$Place) {
    return [string](Get-FileHash -LiteralPath $Place -Algorithm SHA256).Hash
}
function Test-File($Test, $File) {
    $window = Get-Field $Test 'modified' $null
    if ($null -ne $window) {
        $after = Get-Field $window 'after' $null
        $before = Get-Field $window 'before' $null
        if ($null -ne $after -and $File.Written -lt (ConvertTo-Utc $after)) { return $false }
        if ($null -ne $before -and $File.Written -ge (ConvertTo-Utc $before)) { return $false }
    }
    $header = [string](Get-Field $Test 'header' '')
    if ($header -ne '') {
        $count = [int]($header.Length / 2)
        if ($File.Size -lt $count) { return $false }
        if ((Get-Header $File.Place $count) -ne $header) { return $false }
    }
    $sha256 = [string](Get-Field $Test 'sha256' '')
    if ($sha256 -ne '' -and (Get-Sha256 $File.Place) -ne $sha256) { return $false }
    return $true
}

# --- Windows' tools -----------------------------------------------------------------------------------------------------------------
# By full path, arguments as an array, output as text. No localised text is ever read. On 5.1 a line on stderr would be an error that stops
# the agent, so errors do not stop it in here; what a tool says is in its exit code.
function Invoke-Native([string]$Name, [string[]]$Arguments) {
    Assert-Online $Name
    $tool = Join-Path (Join-Path $env:SystemRoot 'System32') $Name
    if (-not (Test-Path -LiteralPath $tool)) { throw "no tool $Name" }
    $ErrorActionPreference = 'Continue'
    $global:LASTEXITCODE = -1
    $output = @(& $tool @Arguments 2>&1 | ForEach-Object { [string]$_ })
    return @{ code = $global:LASTEXITCODE; output = $output }
}
function Invoke-Tool([string]$Name, [string[]]$Arguments) {
    $ran = Invoke-Native $Name $Arguments
    if ($ran.code -ne 0) { throw "$Name $($Arguments -join ' ') ended with $($ran.code): $($ran.output -join ' ')" }
    return $ran.output
}

# --- registry -----------------------------------------------------------------------------------------------------------------------
# A value is @{ type; data }, data a list of protected texts: numbers decimal, bytes in hex. $null: it is absent.
function Get-RegistryData([string]$Key, [string]$Name) {
    Assert-Online 'registry'
    if (-not (Test-Path -LiteralPath "Registry::$Key")) { return $null }
    $shown = $Name
    if ($Name -eq '') { $shown = '(default)' }
    $all = Get-ItemProperty -LiteralPath "Registry::$Key"
    if ($null -eq $all) { return $null }
    $property = $all.PSObject.Properties[$shown]
    if ($null -eq $property) { return $null }
    $value = $property.Value
    if ($value -is [int] -or $value -is [uint32]) { return @{ type = 'dword'; data = @("=$value") } }
    if ($value -is [long] -or $value -is [uint64]) { return @{ type = 'qword'; data = @("=$value") } }
    if ($value -is [byte[]]) { return @{ type = 'binary'; data = @('=' + (-join (@($value) | ForEach-Object { '{0:X2}' -f $_ }))) } }
    if ($value -is [array]) { return @{ type = 'multi-string'; data = @(Protect-Text $value) } }
    return (Get-RegistryText $Key $Name ([string]$value))
}
# PowerShell hands a REG_EXPAND_SZ over with its variables replaced, and cannot tell it from a REG_SZ in Constrained Language Mode.
function Get-RegistryText([string]$Key, [string]$Name, [string]$Value) {
    if ($Name -eq '') { $arguments = @('query', $Key, '/ve') } else { $arguments = @('query', $Key, '/v', $Name) }
    foreach ($line in @(Invoke-Tool 'reg.exe' $arguments)) {
        if ($line -match '^ {4}.*? {4}REG_EXPAND_SZ( {4}(.*))?$') {
            $text = ''
            if ($Matches.ContainsKey(2)) { $text = $Matches[2] }
            return @{ type = 'expand-string'; data = @("=$text") }
        }
    }
    return @{ type = 'string'; data = @("=$Value") }
}
function Set-RegistryData([string]$Key, [string]$Name, $Data) {
    $shown = $Name
    if ($Name -eq '') { $shown = '(default)' }
    if ($null -eq $Data) {
        # Remove-ItemProperty does not find the default value.
        if ($Name -eq '') { [void](Invoke-Tool 'reg.exe' @('delete', $Key, '/ve', '/f')) }
        else { Remove-ItemProperty -LiteralPath "Registry::$Key" -Name $Name }
        return
    }
    $texts = @(Unprotect-Text $Data.data)
    switch -CaseSensitive ([string]$Data.type) {
        'dword' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([uint64]$texts[0]) -Type DWord }
        'qword' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([uint64]$texts[0]) -Type QWord }
        'string' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value $texts[0] -Type String }
        'expand-string' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value $texts[0] -Type ExpandString }
        'multi-string' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([string[]]$texts) -Type MultiString }
        'binary' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([byte[]]@(ConvertFrom-Hex $texts[0])) -Type Binary }
        default { throw "unknown type '$($Data.type)'" }
    }
}
function ConvertFrom-Hex([string]$Hex) {
    [regex]::Matches($Hex, '..') | ForEach-Object { [byte]('0x' + $_.Value) }
}
function Test-Same($One, $Two) {
    if ($null -eq $One -or $null -eq $Two) { return ($null -eq $One) -and ($null -eq $Two) }
    if ([string]$One.type -cne [string]$Two.type) { return $false }
    $first = @($One.data)
    $second = @($Two.data)
    if ($first.Count -ne $second.Count) { return $false }
    for ($i = 0; $i -lt $first.Count; $i++) { if (-not ([string]$first[$i]).Equals([string]$second[$i])) { return $false } }
    return $true
}
# The value that an action sets. The type follows from the value where the playbook gives none.
function New-RegistryData($Step) {
    $given = [string](Get-Field $Step 'type' '')
    if (-not (Test-Field $Step 'value')) { throw 'a value must be a whole number, a text or a list of texts' }
    $value = $Step.value
    Assert-NoDate $value
    $kind = ''
    if ($value -is [string]) { $kind = 'text' }
    elseif ($value -is [array]) {
        $kind = 'list'
        foreach ($element in $value) { if ($element -isnot [string]) { $kind = '' } }
    }
    elseif ($value -isnot [bool] -and [string]$value -match '^-?\d+$') { $kind = 'number' }
    if ($kind -eq '') { throw 'a value must be a whole number, a text or a list of texts' }
    if ($given -eq '') { $given = @{ number = 'dword'; text = 'string'; list = 'multi-string' }[$kind] }
    $fits = @{ 'dword' = 'number'; 'qword' = 'number'; 'string' = 'text'; 'expand-string' = 'text'; 'multi-string' = 'list' }[$given]
    if ($null -eq $fits -or $given -cne $given.ToLowerInvariant()) { throw "unknown type '$given'" }
    if ($fits -cne $kind) { throw "a $given cannot be set to a $kind" }
    if ($kind -ceq 'number') {
        $number = $null
        try { $number = [uint64][string]$value } catch { $null = $_ }
        if ($null -eq $number -or ($given -ceq 'dword' -and $number -gt 4294967295)) { throw "'$value' is no $given" }
    }
    return @{ type = $given; data = @(Protect-Text $value) }
}
function Test-Equal($Data, $Wanted) {
    Assert-NoDate $Wanted
    $texts = @(Unprotect-Text $Data.data)
    if ($Data.type -ceq 'multi-string') {
        if ($Wanted -isnot [array] -or $Wanted.Count -ne $texts.Count) { return $false }
        for ($i = 0; $i -lt $texts.Count; $i++) {
            if ($Wanted[$i] -isnot [string] -or -not (Test-Text $texts[$i] $Wanted[$i])) { return $false }
        }
        return $true
    }
    if ($Wanted -is [array]) { return $false }
    if ($Data.type -ceq 'dword' -or $Data.type -ceq 'qword') { return ($Wanted -isnot [string]) -and ([string]$Wanted -eq $texts[0]) }
    return ($Wanted -is [string]) -and (Test-Text $Wanted $texts[0])
}

# --- conditions ---------------------------------------------------------------------------------------------------------------------
$script:ServicesKey = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services'
function Get-StartNumber([string]$Start) {
    $number = @{ boot = 0; system = 1; auto = 2; manual = 3; disabled = 4 }[$Start]
    if ($null -eq $number -or $Start -cne $Start.ToLowerInvariant()) { throw "unknown start type '$Start'" }
    return $number
}
# $null where there is no such service.
function Get-Running([string]$Name) {
    $service = Get-Service -Name ([WildcardPattern]::Escape($Name)) -ErrorAction SilentlyContinue
    if ($null -eq $service) { return $null }
    return ([string]$service.Status -eq 'Running')
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
    $running = Get-Running $Name
    return ($null -ne $running) -and ($running -eq ($state -ceq 'running'))
}
# An element of the boot entry {default}: $null where it is not set.
function Get-BcdValue([string]$Name) {
    $wanted = '^' + [regex]::Escape($Name) + '\s+(.+?)\s*$'
    foreach ($line in @(Invoke-Tool 'bcdedit.exe' @('/enum', '{default}', '/v'))) { if ($line -match $wanted) { return $Matches[1] } }
    return $null
}
function Test-OsCondition($Condition) {
    $script:Words = 'os'
    Assert-Online 'os'
    $os = $Condition.os
    $version = Get-ItemProperty -LiteralPath 'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    $build = [int](Get-Field $version 'CurrentBuildNumber' '0')
    if ($build -eq 0) { throw 'the build number is unknown' }
    $least = [int](Get-Field $os 'min-build' 0)
    $most = [int](Get-Field $os 'max-build' 0)
    return ($least -eq 0 -or $build -ge $least) -and ($most -eq 0 -or $build -le $most)
}
# One row for each kind of condition: its name in the playbook and the function that looks. The same kinds as in playbook.ConditionKinds.
$script:TestKinds = @(
    @('file', 'Test-FileCondition'), @('no-file', 'Test-NoFileCondition'), @('registry', 'Test-RegistryCondition'), @('service', 'Test-ServiceCondition')
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
    $now = Get-RegistryData ([string]$Condition.registry) $name
    if (Test-Field $Condition 'equals') { return ($null -ne $now) -and (Test-Equal $now $Condition.equals) }
    return ($null -ne $now) -eq [bool](Get-Field $Condition 'present' $true)
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
    $now = Get-BcdValue ([string]$Condition.bcd)
    if (Test-Field $Condition 'equals') { return ($null -ne $now) -and (Test-Text $now ([string]$Condition.equals)) }
    return ($null -ne $now) -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-ScriptCondition($Condition) {
    $script:Words = 'script'
    $body = $Condition.script
    $ran = Invoke-Script ([string]$body.shell) ([string]$body.body) @(Get-List $body 'args') ([int](Get-Field $body 'timeout' 0))
    return $ran.code -eq [int](Get-Field $Condition 'exit-code' 0)
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

# --- script steps -------------------------------------------------------------------------------------------------------------------
# Starts a script file with its arguments as data. A .ps1 gets them as parameters; a .cmd in FLEETMEND_ARG1, FLEETMEND_ARG2, ...
$script:Starter = @'
$stem = $PSCommandPath -replace '\.run\.ps1$', ''
$list = @(ConvertFrom-Json -InputObject (Get-Content -LiteralPath "$stem.json" -Raw -Encoding UTF8) | ForEach-Object { $_ } | ForEach-Object { ([string]$_).Substring(1) })
$global:LASTEXITCODE = 0
& "$stem.ps1" @list
exit $global:LASTEXITCODE
'@
function Invoke-Script([string]$Shell, [string]$Body, $List, [int]$Seconds) {
    if ($Shell -cne 'powershell' -and $Shell -cne 'cmd') { throw "unknown shell '$Shell'" }
    Assert-Online 'script'
    if ($Seconds -le 0) { $Seconds = 300 }
    New-RunFolder
    $real = (Get-Item -LiteralPath $script:Folder).FullName
    $unique = 'script-' + [guid]::NewGuid().ToString('N')
    $stem = Join-Path $real $unique
    $ends = '.ps1', '.json', '.run.ps1', '.cmd', '.out', '.err'
    $names = @()
    $isCmd = $Shell -ceq 'cmd'
    try {
        if ($isCmd) {
            $program = Join-Path (Join-Path $env:SystemRoot 'System32') 'cmd.exe'
            $arguments = '/d /c ""' + $stem + '.cmd""'
            Set-Content -LiteralPath "$stem.cmd" -Value ("@echo off`r`n" + ($Body -replace "`r?`n", "`r`n")) -Encoding Oem
            $number = 0
            foreach ($text in @($List)) {
                $number++
                $names += "FLEETMEND_ARG$number"
                Set-Item -LiteralPath "Env:FLEETMEND_ARG$number" -Value ([string]$text)
            }
        }
        else {
            $program = (Get-Process -Id $PID).Path
            $arguments = '-NoLogo -NoProfile -NonInteractive '
            if ([string]$env:OS -eq 'Windows_NT') { $arguments += '-ExecutionPolicy Bypass ' }
            $arguments += '-File "' + $stem + '.run.ps1"'
            Set-Content -LiteralPath "$stem.ps1" -Value $Body -Encoding UTF8
            Set-Content -LiteralPath "$stem.json" -Value (ConvertTo-Json -InputObject @(Protect-Text $List) -Compress) -Encoding UTF8
            Set-Content -LiteralPath "$stem.run.ps1" -Value $script:Starter -Encoding UTF8
        }
        $process = Start-Process -FilePath $program -ArgumentList $arguments -PassThru -NoNewWindow -RedirectStandardOutput "$stem.out" -RedirectStandardError "$stem.err"
        $null = $process.Handle
        $inTime = $true
        # Also refused when the process has ended before.
        try { Wait-Process -Id $process.Id -Timeout $Seconds -ErrorAction Stop } catch { $inTime = [bool]$process.HasExited }
        if (-not $inTime) {
            Stop-Process -Id $process.Id -Force -ErrorAction SilentlyContinue
            Wait-Process -Id $process.Id -Timeout 10 -ErrorAction SilentlyContinue
        }
        $both = (Read-Output "$stem.out" $isCmd) + (Read-Output "$stem.err" $isCmd)
        $output = Limit-Text $both
        $output = $output.Trim()
        if (-not $inTime) { throw "script was stopped after $Seconds seconds: $output" }
        return @{ code = [int]$process.ExitCode; output = $output }
    }
    finally {
        foreach ($name in $names) { Remove-Item -LiteralPath "Env:$name" -ErrorAction SilentlyContinue }
        foreach ($end in $ends) { Remove-Item -LiteralPath "$stem$end" -Force -ErrorAction SilentlyContinue }
    }
}
function Read-Output([string]$Path, [bool]$Oem) {
    if (-not (Test-Path -LiteralPath $Path)) { return '' }
    if ($Oem -or $PSVersionTable.PSVersion.Major -lt 6) { return [string](Get-Content -LiteralPath $Path -Raw -Encoding Oem) }
    return [string](Get-Content -LiteralPath $Path -Raw)
}

# --- the run's folder ---------------------------------------------------------------------------------------------------------------
# Ordinary users may write below ProgramData. What undo reads must come from administrators alone.
function New-RunFolder {
    if (Test-Path -LiteralPath $script:Folder -PathType Container) { return }
    $top = Join-Path $script:Data 'fleetmend'
    $icacls = Join-Path (Join-Path $env:SystemRoot 'System32') 'icacls.exe'
    foreach ($place in $top, (Join-Path $top 'runs'), $script:Folder) {
        if (-not (Test-Path -LiteralPath $place -PathType Container)) { [void](New-Item -ItemType Directory -Path $place) }
        if (-not (Test-Path -LiteralPath $icacls)) { continue }
        $real = (Get-Item -LiteralPath $place).FullName
        if ($script:Root -eq '') {
            [void](Invoke-Tool 'icacls.exe' @($real, '/setowner', '*S-1-5-32-544'))
            [void](Invoke-Tool 'icacls.exe' @($real, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F'))
        }
    }
}
function Test-Record([string]$Name) {
    return [bool](Test-Path -LiteralPath (Join-Path $script:Folder $Name))
}
# Never overwrites. Written aside, then renamed, so a cut leaves all of it or nothing.
function Write-Record([string]$Name, $Value) {
    $aside = Join-Path $script:Folder "$Name.new"
    ConvertTo-Json -InputObject $Value -Depth 8 -Compress | Set-Content -LiteralPath $aside -Encoding UTF8
    Rename-Item -LiteralPath $aside -NewName $Name
}
function Read-Record([string]$Name) {
    return (Read-Json (Get-Content -LiteralPath (Join-Path $script:Folder $Name) -Raw -Encoding UTF8))
}
function Get-UndoName([int]$Number) { return 'undo-{0:d4}.json' -f $Number }
# What undoes a change is written down before the change: a cut in between leaves a record whose work is not done, which undo notices.
function Add-Record($Entry) {
    $Entry['step'] = $script:Step
    Write-Record (Get-UndoName $script:Records) $Entry
    $script:Records++
    $script:Counted["$($script:Step)|$($Entry.target)"] = $true
}

# --- actions ------------------------------------------------------------------------------------------------------------------------
function Invoke-Quarantine($Step, $Done) {
    $Done.target = [string]$Step.file
    foreach ($file in @(Find-File $Step ([string]$Step.file))) {
        $kept = 'kept-{0:d4}' -f $script:Records
        Add-Record @{ action = 'quarantine'; target = $file.Path; path = $file.Path; kept = $kept; sha256 = (Get-Sha256 $file.Place) }
        Move-Item -LiteralPath $file.Place -Destination (Join-Path $script:Folder $kept)
    }
}
function Invoke-Put($Step, $Done) {
    $Done.target = [string]$Step.file
    $path = Expand-Path ([string]$Step.file)
    if ($Step.file -match '[*?]') { throw "no wildcards here: '$($Step.file)'" }
    $hex = [string](Get-Field $Step 'hex' '')
    if ($hex -notmatch '^([0-9A-Fa-f]{2})*$') { throw "content of '$($Step.file)' is no hex" }
    $place = Resolve-Place $path
    $entry = @{ action = 'put'; target = $path; path = $path; newsha256 = ([string]$Step.sha256).ToUpperInvariant() }
    if (Test-Path -LiteralPath $place) {
        $entry['sha256'] = Get-Sha256 $place
        if ($entry['sha256'] -eq $entry['newsha256']) { return }
        $entry['kept'] = 'kept-{0:d4}' -f $script:Records
    }
    $aside = Join-Path $script:Folder ('put-{0:d4}' -f $script:Records)
    # Written aside first: what is in the way is moved only when its successor is whole.
    if ($hex -eq '') { [void](New-Item -ItemType File -Path $aside -Force) }
    elseif ($PSVersionTable.PSVersion.Major -ge 6) { Set-Content -LiteralPath $aside -Value ([byte[]]@(ConvertFrom-Hex $hex)) -AsByteStream }
    else { Set-Content -LiteralPath $aside -Value ([byte[]]@(ConvertFrom-Hex $hex)) -Encoding Byte }
    if ((Get-Sha256 $aside) -ne $entry.newsha256) { throw "content of '$($Step.file)' does not have the hash it should" }
    Add-Record $entry
    if ($entry.ContainsKey('kept')) { Move-Item -LiteralPath $place -Destination (Join-Path $script:Folder $entry['kept']) }
    Move-ToPlace $aside $place
}
function Move-ToPlace([string]$From, [string]$Place) {
    $folder = Get-Folder $Place
    if (-not (Test-Path -LiteralPath $folder -PathType Container)) { [void](New-Item -ItemType Directory -Path $folder -Force) }
    Move-Item -LiteralPath $From -Destination $Place
}
# Brings a value to what it should be ($null: absent) and records what it was.
function Update-Registry([string]$Key, [string]$Name, $Wanted) {
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
    if ([bool](Get-Field $Step 'delete' $false)) {
        Update-Registry $key $name $null
        return
    }
    $data = New-RegistryData $Step
    if (-not (Test-Path -LiteralPath "Registry::$key")) { throw "no key $key" }
    Update-Registry $key $name $data
}
function Invoke-ServiceChange($Step, $Done) { Invoke-StartChange $Step $Done 'service' }
function Invoke-DriverChange($Step, $Done) { Invoke-StartChange $Step $Done 'driver' }
function Invoke-StartChange($Step, $Done, [string]$What) {
    $Done.target = [string]$Step.name
    $number = Get-StartNumber ([string]$Step.start)
    Assert-Online 'registry'
    $name = [string]$Step.name
    $key = "$($script:ServicesKey)\$name"
    if (-not (Test-Path -LiteralPath "Registry::$key")) { throw "no $What '$name'" }
    Update-Registry $key 'Start' @{ type = 'dword'; data = @("=$number") }
    if ($What -cne 'service' -or -not [bool](Get-Field $Step 'stop' $false)) { return }
    if ((Get-Running $name) -ne $true) { return }
    Add-Record @{ action = 'stop'; target = "$name stopped"; name = $name }
    Stop-Service -Name ([WildcardPattern]::Escape($name)) -Force -WarningAction SilentlyContinue
}
function Invoke-BcdChange($Step, $Done) {
    $delete = [string](Get-Field $Step 'delete' '')
    $name = $delete + [string](Get-Field $Step 'set' '')
    $Done.target = $name
    $value = [string](Get-Field $Step 'value' '')
    $now = Get-BcdValue $name
    if ($delete -ne '' -and $null -eq $now) { return }
    if ($delete -eq '' -and $null -ne $now -and (Test-Text $now $value)) { return }
    $old = $null
    $new = $null
    if ($null -ne $now) { $old = @{ type = 'bcd'; data = @("=$now") } }
    if ($delete -eq '') { $new = @{ type = 'bcd'; data = @("=$value") } }
    Add-Record @{ action = 'bcd'; target = $name; name = $name; old = $old; new = $new }
    if ($delete -ne '') { [void](Invoke-Tool 'bcdedit.exe' @('/deletevalue', '{default}', $name)) }
    else { [void](Invoke-Tool 'bcdedit.exe' @('/set', '{default}', $name, $value)) }
}
function Invoke-ScriptStep($Step, $Done) {
    $Done.target = [string]$Step.shell
    $list = @(Get-List $Step 'args')
    $seconds = [int](Get-Field $Step 'timeout' 0)
    Add-Record @{ action = 'script'; target = 'script'; shell = [string]$Step.shell; undo = [string](Get-Field $Step 'undo' ''); args = @(Protect-Text $list); timeout = $seconds }
    $ran = Invoke-Script ([string]$Step.shell) ([string]$Step.body) $list $seconds
    $Done.note = $ran.output
    $good = @(Get-List $Step 'ok')
    if ($good.Count -eq 0) { $good = @(0) }
    if ($good -notcontains $ran.code) { throw "script ended with $($ran.code): $($ran.output)" }
}
# One row for each kind of action, as in playbook.ActionKinds.
$script:StepKinds = @(
    @('quarantine', 'Invoke-Quarantine'), @('put', 'Invoke-Put'), @('registry', 'Invoke-RegistryChange'), @('service', 'Invoke-ServiceChange')
    @('driver', 'Invoke-DriverChange'), @('bcd', 'Invoke-BcdChange'), @('script', 'Invoke-ScriptStep')
)
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
        $prefix = "$($script:Step)|"
        $done.changed = @($script:Counted.Keys | Where-Object { $_.StartsWith($prefix) }).Count
        $script:Steps += $done
    }
}

# --- undo ---------------------------------------------------------------------------------------------------------------------------
# Each returns whether it changed something; a change that was never done or is undone already changes nothing.
function Undo-Quarantine([int]$Number, $Entry) { return (Restore-Kept $Entry) }
function Restore-Kept($Entry) {
    $kept = Join-Path $script:Folder ([string]$Entry.kept)
    if (-not (Test-Path -LiteralPath $kept)) { return $false }
    $place = Resolve-Place ([string]$Entry.path)
    if (Test-Path -LiteralPath $place) { throw "will not overwrite $($Entry.path): it came back since" }
    if ((Get-Sha256 $kept) -ne $Entry.sha256) { throw "the kept copy of $($Entry.path) was changed" }
    Move-ToPlace $kept $place
    return $true
}
function Undo-Put([int]$Number, $Entry) {
    $place = Resolve-Place ([string]$Entry.path)
    $kept = [string](Get-Field $Entry 'kept' '')
    $keptThere = ($kept -ne '') -and (Test-Record $kept)
    $changed = $false
    if (Test-Path -LiteralPath $place) {
        $now = Get-Sha256 $place
        if ($kept -ne '' -and -not $keptThere -and $now -eq $Entry.sha256) { return $false }
        if ($now -ne $Entry.newsha256) { throw "will not overwrite $($Entry.path): it was changed since" }
        if ($kept -ne '' -and -not $keptThere) { throw "the kept copy of $($Entry.path) is gone" }
        Move-Item -LiteralPath $place -Destination (Join-Path $script:Folder ('taken-{0:d4}' -f $Number))
        $changed = $true
    }
    if ($kept -eq '') { return $changed }
    $back = Restore-Kept $Entry
    return ($back -or $changed)
}
function Undo-Registry([int]$Number, $Entry) {
    $key = [string]$Entry.key
    $name = [string](Get-Field $Entry 'name' '')
    $old = Get-Field $Entry 'old' $null
    $now = Get-RegistryData $key $name
    if (Test-Same $now $old) { return $false }
    if (-not (Test-Same $now (Get-Field $Entry 'new' $null))) { throw "will not overwrite $key $($name): it was changed since" }
    Set-RegistryData $key $name $old
    return $true
}
# What the fix deleted is simply set again; what it set is looked at first.
function Undo-Bcd([int]$Number, $Entry) {
    $name = [string]$Entry.name
    $old = Get-Field $Entry 'old' $null
    $text = ''
    if ($null -ne $old) { $text = @(Unprotect-Text $old.data)[0] }
    if ($null -ne (Get-Field $Entry 'new' $null)) {
        $now = Get-BcdValue $name
        if ($null -eq $now -and $null -eq $old) { return $false }
        if ($null -ne $now -and $null -ne $old -and (Test-Text $now $text)) { return $false }
    }
    if ($null -eq $old) { [void](Invoke-Tool 'bcdedit.exe' @('/deletevalue', '{default}', $name)) }
    else { [void](Invoke-Tool 'bcdedit.exe' @('/set', '{default}', $name, $text)) }
    return $true
}
# Services start when all start types are back: see Invoke-Undo.
function Undo-Stop([int]$Number, $Entry) {
    $name = [string]$Entry.name
    if ((Get-Running $name) -ne $false) { return $false }
    Start-Service -Name ([WildcardPattern]::Escape($name)) -WarningAction SilentlyContinue
    return $true
}
function Undo-Script([int]$Number, $Entry) {
    $body = [string](Get-Field $Entry 'undo' '')
    if ($body -eq '') { return $false }
    $list = @(Unprotect-Text @(Get-List $Entry 'args'))
    $ran = Invoke-Script ([string]$Entry.shell) $body $list ([int](Get-Field $Entry 'timeout' 0))
    if ($ran.code -ne 0) { throw "undo script ended with $($ran.code): $($ran.output)" }
    return $true
}
# One row for each kind of record, as in remediate/windows.
$script:ChangeKinds = @(
    @('quarantine', 'Undo-Quarantine'), @('put', 'Undo-Put'), @('registry', 'Undo-Registry'), @('stop', 'Undo-Stop'), @('bcd', 'Undo-Bcd'), @('script', 'Undo-Script')
)
function Undo-Change([int]$Number, $Entry) {
    foreach ($row in $script:ChangeKinds) { if ($row[0] -ceq [string]$Entry.action) { return (& $row[1] $Number $Entry) } }
    throw "unknown record '$($Entry.action)'"
}

# --- modes --------------------------------------------------------------------------------------------------------------------------
function Invoke-Fix($Playbook) {
    if (Test-Record 'manifest.json') {
        # Cut off in the middle: detect may not hold any more, but the rest of the work is still to be done.
        if (Test-Record 'undoing.json') { throw 'this run was taken back: use a new run' }
        while (Test-Record (Get-UndoName $script:Records)) {
            $entry = Read-Record (Get-UndoName $script:Records)
            $script:Counted["$($entry.step)|$($entry.target)"] = $true
            $script:Records++
        }
    }
    else {
        if (-not (Test-All $Playbook 'detect')) {
            $script:Result.outcome = 'clean'
            return
        }
        New-RunFolder
        Write-Record 'manifest.json' @{
            version = 1; run = $script:Result.run; playbook = [string](Get-Field $Playbook 'playbook' ''); reboot = $script:Policy
            by = $script:Result.ps; time = (Get-UnixTime); uptime = $script:Result.uptime
        }
    }
    $script:Step = 0
    foreach ($action in @(Get-List $Playbook 'fix')) {
        Invoke-Step $action
        $script:Step++
    }
    $changed = $script:Counted.Count
    $script:Restart = ($script:Policy -ceq 'always') -or ($script:Policy -ceq 'if-fixed' -and $changed -gt 0)
    if (-not (Test-All $Playbook 'verify')) {
        if (-not $script:Restart) { throw "verify does not hold after the fix: $($script:Words)" }
        $script:Result.message = "verify does not hold before the restart: $($script:Words)"
    }
    $script:Result.outcome = 'fixed'
    $script:Result.changed = $changed
    $script:Result.steps = $script:Steps
}
# The last change first. Stops at the first change that cannot be taken back safely; asked again it goes on there.
function Invoke-Undo {
    $script:Result.outcome = 'undone'
    if (-not (Test-Record 'manifest.json')) {
        $script:Result.message = 'this run changed nothing here'
        return
    }
    $continued = Test-Record 'undoing.json'
    if (-not $continued) { Write-Record 'undoing.json' @{ time = (Get-UnixTime) } }
    $total = 0
    while (Test-Record (Get-UndoName $total)) { $total++ }
    $stopped = @()
    for ($number = $total - 1; $number -ge 0; $number--) {
        $entry = Read-Record (Get-UndoName $number)
        if ($entry.action -ceq 'stop') {
            $stopped += $entry
            continue
        }
        $mark = 'undone-{0:d4}.json' -f $number
        if (Test-Record $mark) { $changed = [bool](Read-Record $mark).changed }
        else {
            $changed = [bool](Undo-Change $number $entry)
            Write-Record $mark @{ changed = $changed }
        }
        if ($changed) { $script:Counted["$number|$($entry.target)"] = $true }
    }
    # Services start when their start types are back.
    foreach ($entry in $stopped) { if (Undo-Change $total $entry) { $script:Counted["$total|$($entry.name)"] = $true } }
    $script:Result.changed = $script:Counted.Count
    $policy = [string](Get-Field (Read-Record 'manifest.json') 'reboot' '')
    $script:Restart = ($policy -ceq 'always' -or $policy -ceq 'if-fixed') -and ($script:Result.changed -gt 0 -or $continued)
}
function Get-SystemUptime {
    if ($script:Root -ne '') { return -1 }
    if ($null -eq (Get-Command -Name Get-CimInstance -ErrorAction SilentlyContinue)) { return -1 }
    try {
        $system = Get-CimInstance -ClassName Win32_OperatingSystem
        return [long](($system.LocalDateTime - $system.LastBootUpTime).TotalSeconds)
    }
    catch { return -1 }
}
# Whether a restart that a record wants has not happened: it was never scheduled, or the machine has been up since before it. Where the
# uptime is unknown a restart that was scheduled is taken as done.
function Test-RestartMissing($Record, [string]$Mark) {
    $uptime = [long]$script:Result.uptime
    $then = [long]$Record.uptime
    if ($uptime -lt 0 -or $then -lt 0) { return -not (Test-Record $Mark) }
    return ($uptime -ge $then) -and ($uptime -ge $then + (Get-UnixTime) - [long]$Record.time - 5)
}
# In ten seconds, so that the answer still gets out. 1190: a restart is scheduled already.
function Request-Restart([string]$Mark) {
    try {
        $ran = Invoke-Native 'shutdown.exe' @('/r', '/t', '10', '/d', 'p:2:4', '/c', "fleetmend $($script:Result.run)")
        if ($ran.code -ne 0 -and $ran.code -ne 1190) { throw "shutdown.exe ended with $($ran.code): $($ran.output -join ' ')" }
        $script:Result.reboot = 'scheduled'
    }
    catch {
        $script:Result.message = Limit-Text "restart refused: $($_.Exception.Message)"
        return
    }
    # Only a mark: without it the restart is asked for again.
    try { if (-not (Test-Record $Mark)) { Write-Record $Mark @{ time = (Get-UnixTime) } } } catch { $null = $_ }
}
# Fix and undo act once: a repeated request is answered from the record.
function Invoke-Once([string]$Mode, $Playbook) {
    $record = "$Mode.json"
    $mark = "$Mode-restart.json"
    if (Test-Record $record) {
        $old = Read-Record $record
        $script:Result.outcome = [string]$old.outcome
        $script:Result.changed = [int]$old.changed
        $script:Result.message = [string](Get-Field $old 'message' '')
        $script:Result.steps = @(Get-List $old 'steps')
        $script:Result.repeated = $true
        if ($Mode -ceq 'fix' -and (Test-Record 'undoing.json')) {
            $script:Result.message = 'this run was taken back since'
            return
        }
        if ([bool](Get-Field $old 'restart' $false) -and (Test-RestartMissing $old $mark)) { Request-Restart $mark }
        return
    }
    if ($Mode -ceq 'fix') { Invoke-Fix $Playbook } else { Invoke-Undo }
    if ($script:Result.outcome -ceq 'clean') { return }
    if (Test-Record 'manifest.json') {
        Write-Record $record @{
            run = $script:Result.run; outcome = $script:Result.outcome; changed = $script:Result.changed; message = $script:Result.message
            steps = @($script:Result.steps); restart = $script:Restart; time = (Get-UnixTime); uptime = $script:Result.uptime
        }
    }
    if ($script:Restart) { Request-Restart $mark }
}
function Invoke-Mode([string]$Mode, $Playbook) {
    if ($Mode -ceq 'detect') {
        if (Test-All $Playbook 'detect') { $script:Result.outcome = 'affected' } else { $script:Result.outcome = 'clean' }
        return
    }
    if ($Mode -ceq 'verify') {
        if (-not (Test-All $Playbook 'verify')) { throw "verify does not hold: $($script:Words)" }
        $script:Result.outcome = 'fixed'
        return
    }
    if ($Mode -ceq 'fix' -or $Mode -ceq 'undo') {
        Invoke-Once $Mode $Playbook
        return
    }
    throw "unknown mode '$Mode'"
}

$script:Result = @{
    run = ''; outcome = 'failed'; changed = 0; message = ''; repeated = $false; reboot = ''; uptime = -1; steps = @()
    ps = [string]$PSVersionTable.PSVersion; language = [string]$ExecutionContext.SessionState.LanguageMode
}
$script:Root = ''
$script:Words = ''
$script:Policy = ''
$script:Restart = $false
$script:Step = 0
$script:Records = 0
$script:Steps = @()
$script:Counted = @{}
$nonce = 'none'
try {
    $script:HasDateKind = @((Get-Command -Name ConvertFrom-Json).Parameters.Keys) -contains 'DateKind'
    $request = Read-Json $FleetmendEnvelope
    $nonce = [string]$request.nonce
    if ([string]$request.run -cnotmatch '^[0-9A-Za-z-]{1,64}\z') { throw 'bad run id' }
    $script:Result.run = [string]$request.run
    if ((Get-SystemVariable 'PROCESSOR_ARCHITEW6432') -ne '') { throw 'this is a 32-bit PowerShell on a 64-bit Windows: it sees other system files and another registry; start the 64-bit one' }
    $script:Root = [string](Get-Field $request 'root' '')
    $script:Result.uptime = Get-SystemUptime
    $playbook = $request.playbook
    $script:Policy = [string](Get-Field $playbook 'reboot' '')
    if ($script:Root -eq '') { $script:Data = Get-SystemVariable 'ProgramData' } else { $script:Data = $script:Root.TrimEnd('\') + '\ProgramData' }
    if ($script:Data -eq '') { throw '%ProgramData% is not set' }
    $script:Folder = Join-Path (Join-Path (Join-Path $script:Data 'fleetmend') 'runs') $script:Result.run
    [void](Invoke-Mode ([string]$request.mode) $playbook)
}
catch {
    $text = $_.Exception.Message
    # A text of our own says enough; for all else the line helps.
    if ([string]$_.FullyQualifiedErrorId -cne $text) { $text = "$text (line $($_.InvocationInfo.ScriptLineNumber))" }
    $script:Result.outcome = 'failed'
    $script:Result.message = Limit-Text $text
    $script:Result.changed = $script:Counted.Count
    $script:Result.steps = $script:Steps
}
$json = ConvertTo-Json -InputObject $script:Result -Depth 6 -Compress
if ($json -cmatch '[^\x20-\x7e]') {
    foreach ($code in @($json.ToCharArray() | ForEach-Object { [int]$_ } | Where-Object { $_ -gt 126 } | Sort-Object -Unique)) {
        $json = $json.Replace([string][char]$code, ('\u{0:x4}' -f $code))
    }
}
$chunks = @([regex]::Matches($json, '.{1,48}') | ForEach-Object { $_.Value })
$index = 0
foreach ($chunk in $chunks) {
    $index++
    Write-Output "@@fm $nonce $index/$($chunks.Count) $chunk|"
}
if ($script:Result.outcome -ceq 'failed') { exit 1 }
exit 0
