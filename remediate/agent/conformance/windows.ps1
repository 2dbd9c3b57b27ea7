# A Windows for the agent where there is none: a drive C:, a registry, a service controller, WMI and Windows' tools, no kinder than the
# real ones. Functions win over cmdlets of the same name. Loaded into the agent's session before its language mode is set: they keep Full.
# All state lies in files beside the folder that is C:, so that a killed agent leaves what it did. remediate/agent/conformance/machine.ps1
# writes and reads the same files.
param([Parameter(Mandatory)][string]$Scratch, [switch]$Constrained)
. (Join-Path $PSScriptRoot 'registry.ps1')
$global:StandIn = @{ Scratch = $Scratch; Constrained = [bool]$Constrained; Plus = (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText("$Scratch.plus"))) }
[void](New-PSDrive -Name C -PSProvider FileSystem -Root $Scratch -Scope Global)
$env:SystemRoot = "$Scratch/Windows"
$env:SystemDrive = 'C:'
$env:ProgramData = 'C:\ProgramData'
if ([IO.Directory]::Exists("$Scratch.D")) {
    [void](New-PSDrive -Name D -PSProvider FileSystem -Root "$Scratch.D" -Scope Global)
    if ([IO.Directory]::Exists("$Scratch.D/Windows")) {
        $env:SystemRoot = 'D:\Windows'
        $env:SystemDrive = 'D:'
    }
}
function Read-StandIn([string]$Kind) {
    $all = New-Object 'System.Collections.Generic.Dictionary[string,object]' ([StringComparer]::OrdinalIgnoreCase)
    foreach ($entry in (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText("$($StandIn.Scratch).$Kind"))).PSObject.Properties) {
        if ($Kind -cne 'registry') {
            $all[$entry.Name] = $entry.Value
            continue
        }
        $values = New-Object 'System.Collections.Generic.Dictionary[string,string]' ([StringComparer]::OrdinalIgnoreCase)
        foreach ($value in $entry.Value.PSObject.Properties) { $values[$value.Name] = $value.Value }
        $all[$entry.Name] = $values
    }
    return , $all
}
function Save-StandIn([string]$Kind, $All) {
    [IO.File]::WriteAllText("$($StandIn.Scratch).$Kind", (ConvertTo-Json -InputObject $All -Depth 6 -Compress))
}
function Test-Plus([string]$Name) {
    $property = $StandIn.Plus.PSObject.Properties[$Name]
    return ($null -ne $property) -and ($property.Value -ne $false)
}

if (Test-Plus 'narrow') { $env:PROCESSOR_ARCHITEW6432 = 'AMD64' }

# --- registry -----------------------------------------------------------------------------------------------------------------------
function Test-RegistryPath([string]$Path) { return $Path.StartsWith('Registry::', [StringComparison]::OrdinalIgnoreCase) }
# The values of a key; $null where there is none. The provider takes a slash in a key's name for a backslash (PowerShell issue 5536).
function Get-StandInKey($All, [string]$Path) {
    $key = $Path.Substring(10)
    if ($key.Contains('/') -and (Test-Plus 'slash-is-backslash')) { return $null }
    $values = $null
    if ($All.TryGetValue($key, [ref]$values)) { return , $values }
    return $null
}
function Test-Path { [CmdletBinding()] param([string[]]$LiteralPath, $PathType = 'Any')
    if (-not (Test-RegistryPath $LiteralPath[0])) { return (Microsoft.PowerShell.Management\Test-Path @PSBoundParameters) }
    return ($null -ne (Get-StandInKey (Read-StandIn 'registry') $LiteralPath[0]))
}
function Get-ItemProperty { [CmdletBinding()] param([string]$LiteralPath, [string[]]$Name)
    if (-not (Test-RegistryPath $LiteralPath)) {
        # .NET reads the versions of Windows' programs on Windows alone.
        if ([string]$Name -ceq 'VersionInfo') { return (New-Object PSObject -Property @{ VersionInfo = (Read-StandInVersion $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($LiteralPath)) }) }
        return (Microsoft.PowerShell.Management\Get-ItemProperty @PSBoundParameters)
    }
    $values = Get-StandInKey (Read-StandIn 'registry') $LiteralPath
    if ($null -eq $values) {
        Write-Error "Cannot find path '$LiteralPath' because it does not exist."
        return
    }
    # Beside -LiteralPath the provider takes a name as it is; that one is not there it says only of a name without wildcards.
    $names = @($values.Keys)
    if ($PSBoundParameters.ContainsKey('Name')) { $names = @($names | Where-Object { $_.Equals($Name[0], [StringComparison]::OrdinalIgnoreCase) }) }
    if ($names.Count -eq 0) {
        if ($PSBoundParameters.ContainsKey('Name') -and -not [WildcardPattern]::ContainsWildcardCharacters($Name[0])) { Write-Error "Property $Name does not exist at path $LiteralPath." }
        return
    }
    $all = New-Object PSObject
    # One value that cannot be read spoils them all, unless it is not asked for.
    foreach ($one in $names) { Add-Member -InputObject $all -MemberType NoteProperty -Name $one -Value (ConvertFrom-Raw $values[$one]) }
    $all
}
# The version of a program, out of VS_FIXEDFILEINFO in its resources.
function Read-StandInVersion([string]$File) {
    $numbers = @(0, 0, 0, 0)
    $hex = [BitConverter]::ToString([IO.File]::ReadAllBytes($File)).Replace('-', '')
    $at = $hex.IndexOf('BD04EFFE', [StringComparison]::Ordinal)
    if ($hex.StartsWith('4D5A', [StringComparison]::Ordinal) -and $at -gt 0) {
        $numbers = @(10, 8, 14, 12 | ForEach-Object { [Convert]::ToInt32($hex.Substring($at + 2 * $_ + 2, 2) + $hex.Substring($at + 2 * $_, 2), 16) })
    }
    return (New-Object PSObject -Property @{ FileMajorPart = $numbers[0]; FileMinorPart = $numbers[1]; FileBuildPart = $numbers[2]; FilePrivatePart = $numbers[3] })
}
# A key with the two methods of .NET's that tell a type, which Constrained Language Mode does not let anybody call.
function Get-Item { [CmdletBinding()] param([string]$LiteralPath, [switch]$Force)
    if (-not (Test-RegistryPath $LiteralPath)) { return (Microsoft.PowerShell.Management\Get-Item @PSBoundParameters) }
    $values = Get-StandInKey (Read-StandIn 'registry') $LiteralPath
    if ($null -eq $values) {
        Write-Error "Cannot find path '$LiteralPath' because it does not exist."
        return
    }
    $below = @((Read-StandIn 'registry').Keys | Where-Object { $_.StartsWith($LiteralPath.Substring(10) + '\', [StringComparison]::OrdinalIgnoreCase) })
    $key = New-Object PSObject -Property @{ Name = $LiteralPath.Substring(10); Property = @($values.Keys); Values = $values; ValueCount = $values.Count; SubKeyCount = $below.Count }
    Add-Member -InputObject $key -MemberType ScriptMethod -Name GetValueKind -Value { param($Name)
        $kinds = @{ '0' = 'None'; '1' = 'String'; '2' = 'ExpandString'; '3' = 'Binary'; '4' = 'DWord'; '7' = 'MultiString'; '11' = 'QWord' }
        $kind = $kinds[(Get-StandInValue $this $Name).Split([char]':')[0]]
        if ($null -eq $kind) { return 'Unknown' }
        return $kind
    }
    Add-Member -InputObject $key -MemberType ScriptMethod -Name GetValue -Value { param($Name, $Default, $Options)
        $raw = Get-StandInValue $this $Name
        if ($raw.StartsWith('2:', [StringComparison]::Ordinal) -and [string]$Options -eq 'DoNotExpandEnvironmentNames') {
            return (ConvertFrom-TextBytes (ConvertFrom-HexText $raw.Substring(2)))
        }
        return (ConvertFrom-Raw $raw)
    }
    return $key
}
function Get-StandInValue($Key, [string]$Name) {
    if ($StandIn.Constrained) { throw 'Cannot invoke method. Method invocation is supported only on core types in this language mode.' }
    if ($Name -eq '') { $Name = '(default)' }
    if (-not $Key.Values.ContainsKey($Name)) { throw 'The specified registry key does not exist.' }
    return $Key.Values[$Name]
}
function Set-ItemProperty { [CmdletBinding()] param([string]$LiteralPath, [string]$Name, $Value, $Type)
    if (-not (Test-RegistryPath $LiteralPath)) { return (Microsoft.PowerShell.Management\Set-ItemProperty @PSBoundParameters) }
    $known = @{ DWord = 'dword'; QWord = 'qword'; String = 'string'; ExpandString = 'expand-string'; MultiString = 'multi-string'; Binary = 'binary'; None = 'none' }
    $all = Read-StandIn 'registry'
    $values = Get-StandInKey $all $LiteralPath
    if ($null -eq $values) {
        Write-Error "Cannot find path '$LiteralPath' because it does not exist."
        return
    }
    $values[$Name] = ConvertTo-Raw $known[[string]$Type] $Value
    Save-StandIn 'registry' $all
}
function New-ItemProperty { [CmdletBinding()] param([string]$LiteralPath, [string]$Name, $Value, $PropertyType, [switch]$Force)
    Set-ItemProperty -LiteralPath $LiteralPath -Name $Name -Value $Value -Type $PropertyType
}
function Remove-ItemProperty { [CmdletBinding()] param([string]$LiteralPath, [string]$Name)
    $all = Read-StandIn 'registry'
    $values = Get-StandInKey $all $LiteralPath
    # The default value is not found by its name, and any other as it is.
    if ($null -eq $values -or $Name -eq '(default)' -or -not $values.Remove($Name)) {
        Write-Error "Property $Name does not exist at path $LiteralPath."
        return
    }
    Save-StandIn 'registry' $all
}

function New-Item { [CmdletBinding()] param([string]$Path, [string]$Name, [string]$ItemType, $Value, [switch]$Force)
    if (-not (Test-RegistryPath $Path)) {
        if ($StandIn.Rights -and $ItemType -eq 'Directory') { Clear-StandInRights $Path }
        # A link comes into the way of a file as soon as its record is sealed.
        if ($Path -like '*seal-*' -and (Test-Plus 'linked-meanwhile')) {
            $from, $to = $StandIn.Plus.'linked-meanwhile'.path, $StandIn.Plus.'linked-meanwhile'.to | ForEach-Object { "$($StandIn.Scratch)/$($_.Substring(3).Replace('\', '/'))" }
            [IO.File]::Delete($from)
            [void][IO.File]::CreateSymbolicLink($from, $to)
        }
        return (Microsoft.PowerShell.Management\New-Item @PSBoundParameters)
    }
    $all = Read-StandIn 'registry'
    if ($null -ne (Get-StandInKey $all $Path)) {
        Write-Error 'A key in this path already exists.'
        return
    }
    $all[$Path.Substring(10)] = @{}
    Save-StandIn 'registry' $all
}
# A key goes only when no key is below it; a file that a program holds open can be read, not moved or removed.
function Remove-Item { [CmdletBinding()] param([string[]]$LiteralPath, [switch]$Force, [switch]$Recurse)
    if (-not (Test-RegistryPath $LiteralPath[0])) {
        foreach ($one in $LiteralPath) { Assert-NotInUse $one }
        Microsoft.PowerShell.Management\Remove-Item @PSBoundParameters
        if ($StandIn.Rights -and $LiteralPath[0] -notlike 'Env:*') { Clear-StandInRights $LiteralPath[0] }
        return
    }
    $all = Read-StandIn 'registry'
    $key = $LiteralPath[0].Substring(10)
    if (@($all.Keys | Where-Object { $_.StartsWith("$key\", [StringComparison]::OrdinalIgnoreCase) }).Count -gt 0 -and -not $Recurse) {
        Write-Error "The key $key has keys below it."
        return
    }
    if (-not $all.Remove($key)) {
        Write-Error "Cannot find path '$($LiteralPath[0])' because it does not exist."
        return
    }
    Save-StandIn 'registry' $all
}
function Move-Item { [CmdletBinding()] param([string]$LiteralPath, [string]$Destination, [switch]$Force)
    Assert-NotInUse $LiteralPath
    Update-Meanwhile $LiteralPath
    if ($Destination -like 'C:\*' -and $LiteralPath -like 'D:\*' -and (Test-Path -LiteralPath $LiteralPath -PathType Container)) {
        throw 'Source and destination path must have identical roots. Move will not work across volumes.'
    }
    $moved = $null
    if ($StandIn.Rights) { $moved = Move-StandInRights $LiteralPath $Destination }
    Microsoft.PowerShell.Management\Move-Item @PSBoundParameters
    if ($null -ne $moved) { Save-StandIn 'sddl' $moved }
}
# Once somebody writes to a file in the very moment in which it is moved: another last byte.
function Update-Meanwhile([string]$Place) {
    if (-not (Test-Plus 'written-meanwhile') -or [IO.File]::Exists("$($StandIn.Scratch).written")) { return }
    $file = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Place)
    if (-not $file.Equals("$($StandIn.Scratch)/$($StandIn.Plus.'written-meanwhile'.Substring(3).Replace('\', '/'))", [StringComparison]::OrdinalIgnoreCase)) { return }
    [IO.File]::WriteAllText("$($StandIn.Scratch).written", '')
    $bytes = [IO.File]::ReadAllBytes($file)
    $time = [IO.File]::GetLastWriteTimeUtc($file)
    $bytes[$bytes.Length - 1] = $bytes[$bytes.Length - 1] -bxor 1
    [IO.File]::WriteAllBytes($file, $bytes)
    [IO.File]::SetLastWriteTimeUtc($file, $time)
}
function Assert-NotInUse([string]$Place) {
    Assert-NotHeld $Place 'in-use'
    Assert-NotHeld $Place 'locked'
}
# One that is locked cannot be read either.
if (Test-Plus 'locked') {
    function Get-FileHash { [CmdletBinding()] param([string]$LiteralPath, [string]$Algorithm)
        Assert-NotHeld $LiteralPath 'locked'
        Microsoft.PowerShell.Utility\Get-FileHash -LiteralPath $LiteralPath
    }
    function Get-Content { [CmdletBinding()] param([string]$LiteralPath, [switch]$Raw, $Encoding = 'utf8', [switch]$AsByteStream, [long]$TotalCount = -1)
        Assert-NotHeld $LiteralPath 'locked'
        Microsoft.PowerShell.Management\Get-Content @PSBoundParameters
    }
}
function Assert-NotHeld([string]$Place, [string]$How) {
    if (-not (Test-Plus $How) -or $Place -notmatch '^([A-Z]:|/)') { return }
    $asked = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Place)
    foreach ($name in @($StandIn.Plus.$How)) {
        $held = "$($StandIn.Scratch)/$($name.Substring(3).Replace('\', '/'))"
        if ($held.Equals($asked, [StringComparison]::OrdinalIgnoreCase)) {
            throw 'The process cannot access the file because it is being used by another process.'
        }
    }
}

# --- services -----------------------------------------------------------------------------------------------------------------------
function Get-StandInService([string]$Name) {
    $all = Read-StandIn 'services'
    foreach ($one in $all.Keys) { if ($one.Equals($Name, [StringComparison]::OrdinalIgnoreCase)) { return $one } }
    return ''
}
function Set-StandInService([string]$Name, [string]$Status) {
    $all = Read-StandIn 'services'
    $all[$Name] = $Status
    Save-StandIn 'services' $all
}
# What depends on a service, and what depends on that.
function Get-StandInDependent([string]$Name) {
    $all = Read-StandIn 'dependents'
    $below = $null
    if (-not $all.TryGetValue($Name, [ref]$below)) { return }
    foreach ($one in @($below)) {
        [string]$one
        Get-StandInDependent ([string]$one)
    }
}
# The number that the controller read at the last start of the machine, or was told since; the registry's where the case says nothing.
function Get-ControllerStart([string]$Name) {
    $start = $null
    if ((Read-StandIn 'scm').TryGetValue($Name, [ref]$start)) { return [int]$start }
    $values = Get-StandInKey (Read-StandIn 'registry') "Registry::HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\$Name"
    if ($null -eq $values -or -not $values.ContainsKey('Start')) { return 3 }
    return [int](ConvertFrom-Raw $values['Start'])
}
function New-ServiceObject([string]$Name) {
    $words = @{ 0 = 'Boot'; 1 = 'System'; 2 = 'Automatic'; 3 = 'Manual'; 4 = 'Disabled' }
    $service = New-Object PSObject -Property @{
        Name = $Name; Status = [string](Read-StandIn 'services')[$Name]; StartType = $words[(Get-ControllerStart $Name)]; DependentServices = @()
    }
    $service.DependentServices = @(Get-StandInDependent $Name | ForEach-Object { New-ServiceObject $_ })
    return $service
}
function Get-Service { [CmdletBinding()] param([string[]]$Name, [switch]$DependentServices)
    foreach ($wanted in $Name) {
        $found = Get-StandInService ([WildcardPattern]::Unescape($wanted))
        if ($found -eq '') {
            Write-Error "Cannot find any service with service name '$wanted'."
            continue
        }
        if (-not $DependentServices) {
            New-ServiceObject $found
            continue
        }
        foreach ($one in @(Get-StandInDependent $found)) { New-ServiceObject $one }
    }
}
function Stop-Service { [CmdletBinding()] param([string[]]$Name, [switch]$Force, [switch]$NoWait)
    $found = Get-StandInService ([WildcardPattern]::Unescape($Name[0]))
    if ($found -eq '') {
        Write-Error "Cannot find any service with service name '$Name'."
        return
    }
    $all = Read-StandIn 'services'
    $running = @(Get-StandInDependent $found | Where-Object { $all[$_] -ne 'Stopped' })
    if ($running.Count -gt 0 -and -not $Force) {
        Write-Error "Cannot stop service '$found' because it has dependent services. It can only be stopped if the Force flag is set."
        return
    }
    if ($all[$found] -eq 'Stopped') { return }
    if ($all[$found] -like '*Pending') {
        Write-Error "Cannot stop service '$found': it is $($all[$found]) and takes no control."
        return
    }
    foreach ($one in $running) { Set-StandInService $one 'Stopped' }
    $stuck = $StandIn.Plus.PSObject.Properties['never-stops']
    if ($null -ne $stuck -and $stuck.Value -eq $found) {
        Set-StandInService $found 'StopPending'
        # The cmdlet waits without an end.
        while (-not $NoWait) { Start-Sleep -Seconds 1 }
        return
    }
    Set-StandInService $found 'Stopped'
}
# ChangeServiceConfig reaches the controller's memory and the registry; a number in the registry alone is read at the next start. PowerShell 7
# then says that the start is not delayed, whatever it was.
function Set-Service { [CmdletBinding()] param([string]$Name, [string]$StartupType)
    $found = Get-StandInService ([WildcardPattern]::Unescape($Name))
    $number = @{ Automatic = 2; Manual = 3; Disabled = 4 }[$StartupType]
    if ($found -eq '' -or $null -eq $number) {
        Write-Error "Cannot change service '$Name' to '$StartupType'."
        return
    }
    $key = "Registry::HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\$found"
    Set-ItemProperty -LiteralPath $key -Name 'Start' -Value $number -Type DWord
    $all = Read-StandIn 'scm'
    $all[$found] = $number
    Save-StandIn 'scm' $all
    Set-ItemProperty -LiteralPath $key -Name 'DelayedAutostart' -Value 0 -Type DWord
}

# --- WMI, tools ---------------------------------------------------------------------------------------------------------------------
if ((Test-Plus 'wmi-hangs') -or [IO.File]::Exists("$Scratch.uptime")) {
    function Get-CimInstance { [CmdletBinding()] param([string]$ClassName, $OperationTimeoutSec)
        if (Test-Plus 'wmi-hangs') {
            while ($null -eq $OperationTimeoutSec) { Start-Sleep -Seconds 1 }
            Start-Sleep -Seconds ([Math]::Min([int]$OperationTimeoutSec, 3))
            Write-Error 'The operation timed out.'
            return
        }
        # Local times, as WMI gives them: their difference is an hour off where a clock change lies in between.
        $now = [DateTime]::UtcNow
        $booted = $now.AddSeconds(-[long][IO.File]::ReadAllText("$($StandIn.Scratch).uptime"))
        New-Object PSObject -Property @{ LocalDateTime = $now.ToLocalTime(); LastBootUpTime = $booted.ToLocalTime() }
    }
}
# Tools with exit codes that a process of this system cannot have (1190) are functions by their path. Start-Process runs one to its end.
foreach ($file in [IO.Directory]::GetFiles($Scratch + '.functions')) {
    $tool = [IO.Path]::GetFileName($file)
    [void](Microsoft.PowerShell.Management\New-Item -Path Function: -Name "global:$($env:SystemRoot.Replace('\', '/'))/System32/$tool" -Value ([scriptblock]::Create([IO.File]::ReadAllText($file))))
}
function Start-Process { [CmdletBinding()] param([string]$FilePath, [string]$ArgumentList, [switch]$PassThru, [switch]$NoNewWindow, [string]$RedirectStandardOutput, [string]$RedirectStandardError)
    # A policy that constrains scripts, wherever they lie.
    if ((Test-Plus 'constrained-scripts') -and $ArgumentList.EndsWith('.run.ps1"')) {
        $starter = [regex]::Match($ArgumentList, '[^"]+(?="\z)').Value
        [IO.File]::WriteAllText($starter, "`$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'`n" + [IO.File]::ReadAllText($starter))
    }
    $function = Get-Command -Name $FilePath.Replace('\', '/') -CommandType Function -ErrorAction SilentlyContinue
    if ($null -eq $function) {
        $application = @(Get-Command -Name $FilePath -CommandType Application -ErrorAction SilentlyContinue)
        # On Windows a process writes into these files itself, and they are whole when it has ended. Elsewhere PowerShell copies its output into them,
        # and is not always done by then: a shell opens them here.
        if ($RedirectStandardOutput -ne '' -and $application.Count -gt 0) {
            $out, $err = $RedirectStandardOutput, $RedirectStandardError | ForEach-Object { $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($_) }
            $ArgumentList = '-c "exec \"$0\" \"$@\" >\"' + $out + '\" 2>\"' + $err + '\"" "' + $application[0].Source + '" ' + $ArgumentList
            return (Microsoft.PowerShell.Management\Start-Process -FilePath '/bin/sh' -ArgumentList $ArgumentList -PassThru:$PassThru -NoNewWindow:$NoNewWindow)
        }
        return (Microsoft.PowerShell.Management\Start-Process @PSBoundParameters)
    }
    $words = @([regex]::Matches($ArgumentList, '(?:"((?:[^"\\]|\\+"|\\+(?!"))*)"|([^\s"]+))(?:\s|$)') | ForEach-Object {
        if ($_.Groups[2].Success) { $_.Groups[2].Value } else { [regex]::Replace($_.Groups[1].Value, '(\\+)$', { param($m) $m.Value.Substring($m.Length / 2) }).Replace('\"', '"') }
    })
    $ErrorActionPreference = 'Continue'
    $output = @(& $function @words 2>&1 | ForEach-Object { [string]$_ })
    $place = $ExecutionContext.SessionState.Path
    [IO.File]::WriteAllLines($place.GetUnresolvedProviderPathFromPSPath($RedirectStandardOutput), [string[]]$output)
    [IO.File]::WriteAllText($place.GetUnresolvedProviderPathFromPSPath($RedirectStandardError), '')
    # A process whose handle was taken too late has no exit code.
    $code = $global:LASTEXITCODE
    if ((Test-Plus 'no-exit-code') -and $FilePath -like "*$($StandIn.Plus.'no-exit-code')") { $code = $null }
    New-Object PSObject -Property @{ Id = [int]::MaxValue; Handle = 0; HasExited = $true; ExitCode = $code }
}
# Whatever the agent says, nobody is ended but who has this machine in his environment, which is what was started on it.
$env:FLEETMEND_STANDIN = $Scratch
function Stop-Process { [CmdletBinding()] param([int]$Id, [switch]$Force)
    $environment = ''
    if ([IO.File]::Exists("/proc/$Id/environ")) {
        try { $environment = [IO.File]::ReadAllText("/proc/$Id/environ") } catch { return }
        if ($environment -ceq '') { return }
        if (-not ($environment + [char]0).Contains("FLEETMEND_STANDIN=$($StandIn.Scratch)$([char]0)")) { throw "process $Id is not one that was started here" }
    }
    Microsoft.PowerShell.Management\Stop-Process @PSBoundParameters
}
# A policy that forbids script files: elsewhere PowerShell has none.
if (Test-Plus 'execution-policy') {
    function Get-ExecutionPolicy { [CmdletBinding()] param($Scope)
        if ([string]$Scope -ne 'MachinePolicy') { return 'Undefined' }
        return [string]$StandIn.Plus.'execution-policy'
    }
}
# A minute is too long for a case, and so is half of one.
if ((Test-Plus 'never-stops') -or (Test-Plus 'never-starts')) {
    function Start-Sleep { [CmdletBinding()] param([int]$Milliseconds, [int]$Seconds)
        Microsoft.PowerShell.Utility\Start-Sleep -Milliseconds (($Milliseconds + 1000 * $Seconds) / 25)
    }
}
if (Test-Plus 'tool-hangs') {
    function Wait-Process { [CmdletBinding()] param([int]$Id, [int]$Timeout)
        Microsoft.PowerShell.Utility\Start-Sleep -Milliseconds (1000 * $Timeout / 30)
        if ($null -ne (Get-Process -Id $Id -ErrorAction SilentlyContinue)) { throw 'This command stopped the operation because the process is not stopped in the specified time-out.' }
    }
}
$StandIn.Rights = [IO.File]::Exists("$Scratch.sddl")
if ($StandIn.Rights) { . (Join-Path $PSScriptRoot 'rights.ps1') }
