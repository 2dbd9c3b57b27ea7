# The machine of a case off Windows: written, changed and read by the runner. windows.ps1 holds what the agent sees of it.
# Beside the folder SCRATCH, which is C:, lie SCRATCH.registry ({key: {name: "TYPE:HEX"}}), .services, .dependents, .scm, .plus, .bcd,
# .bcd-other, .uptime, .called, .functions (tools that are functions), SCRATCH.D (which is D:).
$script:stateFields = @('files', 'remove', 'move', 'damage', 'links', 'sddl', 'registry', 'services', 'dependents', 'scm', 'booted', 'bcd', 'bcd-other', 'tools', 'scripts', 'uptime', 'plus')
$script:plusFields = @('never-stops', 'never-starts', 'in-use', 'locked', 'wmi-hangs', 'slash-is-backslash', 'registry-tools-disabled', 'icacls-fails', 'icacls-idle', 'tool-hangs', 'written-meanwhile', 'no-exit-code', 'execution-policy', 'constrained-scripts', 'linked-meanwhile', 'narrow', 'account-owns')
$script:serviceWords = @{
    'stopped' = 'Stopped'; 'running' = 'Running'; 'Paused' = 'Paused'; 'StartPending' = 'StartPending'; 'StopPending' = 'StopPending'
    'ContinuePending' = 'ContinuePending'; 'PausePending' = 'PausePending'
}
function Get-CaseFile([string]$Scratch, [string]$Name) {
    if ($Name -notmatch '^[CD]:\\.') { throw "a case's file must be on C: or D:, not '$Name'" }
    $top = $Scratch
    if ($Name.StartsWith('D:', [StringComparison]::Ordinal)) { $top = "$Scratch.D" }
    return (Join-Path $top $Name.Substring(3).Replace('\', [string][IO.Path]::DirectorySeparatorChar))
}
function Read-State([string]$Scratch, [string]$Kind) { return (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText("$Scratch.$Kind"))) }
function Write-State([string]$Scratch, [string]$Kind, $All) {
    [IO.File]::WriteAllText("$Scratch.$Kind", (ConvertTo-Json -InputObject $All -Depth 6 -Compress))
}
function Set-Member($Object, [string]$Name, $Value) { Add-Member -InputObject $Object -MemberType NoteProperty -Name $Name -Value $Value -Force }

# --- Windows' tools -----------------------------------------------------------------------------------------------------------------
# A tool answers from the case by its arguments and writes down that it was called.
function New-Tool([string]$Scratch, [string]$Name, $Answers) {
    $text = "#!/bin/sh`necho `"$Name `$*`" >> '$Scratch.called'`ncase `"`$*`" in`n"
    $function = "[IO.File]::AppendAllText('$Scratch.called', `"$Name `$args``n`")`n"
    $large = $false
    foreach ($answer in @($Answers)) {
        Assert-Fields $answer "tool $Name" @('arguments', 'output', 'exit')
        $code = [int](Get-Field $answer 'exit' 0)
        if ($code -gt 255) { $large = $true }
        $lines = @(@(Get-Field $answer 'output' @()) | ForEach-Object { "'" + $_ + "'" })
        $text += "  '$($answer.arguments)') "
        if ($lines.Count -gt 0) { $text += "printf '%s\n' $($lines -join ' '); " }
        $text += "exit $($code % 256) ;;`n"
        $function += "if (`"`$args`" -ceq '$($answer.arguments)') { $($lines -join ';'); `$global:LASTEXITCODE = $code; return }`n"
    }
    Set-Tool $Scratch $Name ($text + "  *) echo unexpected; exit 99 ;;`nesac`n")
    if ($large) { Set-ToolFunction $Scratch $Name ($function + "'unexpected'; `$global:LASTEXITCODE = 99") }
}
function Set-Tool([string]$Scratch, [string]$Name, [string]$Text) {
    $file = Join-Path $Scratch "Windows/System32/$Name"
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($file))
    [IO.File]::WriteAllText($file, $Text.Replace("`r`n", "`n").Replace('@SCRATCH@', $Scratch))
    [IO.File]::AppendAllText("$Scratch.own", "$file`n")
    [IO.File]::Delete("$Scratch.functions/$Name")
    try { [IO.File]::SetUnixFileMode($file, 493) } catch { & chmod 755 $file } # .NET before 7 has no such method
}
function Set-ToolFunction([string]$Scratch, [string]$Name, [string]$Text) {
    [IO.File]::WriteAllText("$Scratch.functions/$Name", $Text)
}
# --- written ------------------------------------------------------------------------------------------------------------------------
function New-Machine([string]$Scratch, $Before) {
    [void][IO.Directory]::CreateDirectory((Join-Path $Scratch 'ProgramData'))
    [void][IO.Directory]::CreateDirectory("$Scratch.functions")
    foreach ($kind in 'registry', 'services', 'dependents', 'scm', 'plus') { [IO.File]::WriteAllText("$Scratch.$kind", '{}') }
    foreach ($tool in 'reg.exe', 'sc.exe') {
        Set-Tool $Scratch $tool '#!/bin/sh'
        Set-ToolFunction $Scratch $tool ([IO.File]::ReadAllText((Join-Path $PSScriptRoot "tools/$tool.ps1")))
    }
    Set-State $Scratch $Before
}
function Write-CaseFile([string]$Scratch, $File) {
    Assert-Fields $File 'a file' @('path', 'hex', 'modified')
    $target = Get-CaseFile $Scratch $File.path
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
    [IO.File]::WriteAllBytes($target, (ConvertFrom-HexText $File.hex))
    [IO.File]::SetLastWriteTimeUtc($target, (ConvertTo-Time $File.modified))
}
function Set-State([string]$Scratch, $State) {
    Assert-Fields $State 'the machine' $script:stateFields
    foreach ($file in @(Get-Field $State 'files' @())) { Write-CaseFile $Scratch $file }
    foreach ($name in @(Get-Field $State 'remove' @())) { [IO.File]::Delete((Get-CaseFile $Scratch $name)) }
    foreach ($moved in @(Get-Field $State 'move' @())) {
        Assert-Fields $moved 'a move' @('from', 'to')
        $to = Get-CaseFile $Scratch $moved.to
        [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($to))
        Move-Item -LiteralPath (Get-CaseFile $Scratch $moved.from) -Destination $to
    }
    # Another last byte.
    foreach ($name in @(Get-Field $State 'damage' @())) {
        $bytes = [IO.File]::ReadAllBytes((Get-CaseFile $Scratch $name))
        $bytes[$bytes.Length - 1] = $bytes[$bytes.Length - 1] -bxor 1
        [IO.File]::WriteAllBytes((Get-CaseFile $Scratch $name), $bytes)
    }
    foreach ($link in @(Get-Field $State 'links' @())) { Set-Link $Scratch $link }
    Set-RegistryState $Scratch $State
    Set-ServiceState $Scratch $State
    foreach ($kind in 'bcd', 'bcd-other') {
        if ($null -eq (Get-Field $State $kind $null)) { continue }
        $lines = @(@(Get-Properties $State $kind) | Where-Object { $_.Value -ne '' } | ForEach-Object { "$($_.Name) $($_.Value)`n" })
        [IO.File]::WriteAllText("$Scratch.$kind", (-join $lines))
        Set-Tool $Scratch 'bcdedit.exe' ([IO.File]::ReadAllText((Join-Path $PSScriptRoot 'tools/bcdedit.exe')))
    }
    foreach ($tool in @(Get-Properties $State 'tools')) { New-Tool $Scratch $tool.Name $tool.Value }
    $stuck = [string](Get-Field (Get-Field $State 'plus' $null) 'tool-hangs' '')
    if ($stuck -ne '') { Set-Tool $Scratch $stuck "#!/bin/sh`nsleep 600 & echo `$! >> '$Scratch.children'`nsleep 600`n" }
    foreach ($script in @(Get-Field $State 'scripts' @())) { Assert-Fields $script 'a script' @('body', 'output', 'exit', 'hangs', 'ends', 'files', 'remove') }
    $rights = Get-Field $State 'sddl' $null
    if ($null -ne $rights) { Set-RightsState $Scratch $rights }
    $uptime = Get-Field $State 'uptime' $null
    if ($null -ne $uptime) { [IO.File]::WriteAllText("$Scratch.uptime", [string]$uptime) }
    $plus = Get-Field $State 'plus' $null
    if ($null -ne $plus) {
        Assert-Fields $plus 'plus' $script:plusFields
        Write-State $Scratch 'plus' $plus
    }
}
# Machines whose rights are spoken of have an icacls.exe.
function Set-RightsState([string]$Scratch, $Rights) {
    if (-not [IO.File]::Exists("$Scratch.sddl")) {
        [IO.File]::WriteAllText("$Scratch.sddl", '{}')
        Set-Tool $Scratch 'icacls.exe' '#!/bin/sh'
        Set-ToolFunction $Scratch 'icacls.exe' ([IO.File]::ReadAllText((Join-Path $PSScriptRoot 'tools/icacls.exe.ps1')))
        if ([IO.Directory]::Exists("$Scratch.D/Windows")) {
            [void][IO.Directory]::CreateDirectory("$Scratch.D/Windows/System32")
            [IO.File]::Copy("$Scratch/Windows/System32/icacls.exe", "$Scratch.D/Windows/System32/icacls.exe")
            [IO.File]::AppendAllText("$Scratch.own", "$Scratch.D/Windows/System32/icacls.exe`n")
        }
    }
    $all = Read-State $Scratch 'sddl'
    foreach ($one in $Rights.PSObject.Properties) { Set-Member $all $one.Name $one.Value }
    Write-State $Scratch 'sddl' $all
}
# A link to a folder or a file; what was there before goes. A folder is made if need be.
function Set-Link([string]$Scratch, $Link) {
    Assert-Fields $Link 'a link' @('path', 'to')
    $from = Get-CaseFile $Scratch $Link.path
    $to = Get-CaseFile $Scratch $Link.to
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($from))
    if (-not [IO.File]::Exists($to)) { [void][IO.Directory]::CreateDirectory($to) }
    if ([IO.Directory]::Exists($from)) { [IO.Directory]::Delete($from, $true) }
    [IO.File]::Delete($from)
    [void](New-Item -ItemType SymbolicLink -Path $from -Value $to)
}
function Set-RegistryState([string]$Scratch, $State) {
    $all = Read-State $Scratch 'registry'
    foreach ($key in @(Get-Properties $State 'registry')) {
        if ($null -eq $all.PSObject.Properties[$key.Name]) { Set-Member $all $key.Name (New-Object PSObject) }
        $values = $all.PSObject.Properties[$key.Name].Value
        foreach ($entry in @($key.Value.PSObject.Properties)) {
            if ($null -eq $entry.Value) { $values.PSObject.Properties.Remove($entry.Name) }
            else { Set-Member $values $entry.Name (ConvertFrom-CaseValue $entry.Value) }
        }
    }
    Write-State $Scratch 'registry' $all
}
function Set-ServiceState([string]$Scratch, $State) {
    $services = Read-State $Scratch 'services'
    foreach ($service in @(Get-Properties $State 'services')) {
        $word = $script:serviceWords[[string]$service.Value]
        if ($null -eq $word) { throw "unknown state '$($service.Value)' of a service" }
        Set-Member $services $service.Name $word
    }
    Write-State $Scratch 'services' $services
    foreach ($kind in 'dependents', 'scm') {
        $more = Get-Field $State $kind $null
        if ($null -ne $more) { Write-State $Scratch $kind $more }
    }
    if (-not [bool](Get-Field $State 'booted' $false)) { return }
    # The controller reads the registry once, when the machine starts.
    $scm = New-Object PSObject
    foreach ($key in @((Read-State $Scratch 'registry').PSObject.Properties)) {
        $start = $key.Value.PSObject.Properties['Start']
        if ($key.Name -match '\\Services\\([^\\]+)$' -and $null -ne $start) { Set-Member $scm $Matches[1] ([int](ConvertFrom-Raw $start.Value)) }
    }
    Write-State $Scratch 'scm' $scm
}

# --- read ---------------------------------------------------------------------------------------------------------------------------
# Every file but the runner's own, what is ours, links and what lies behind them.
function Get-Snapshot([string]$Scratch, [string]$Root) {
    $own = @()
    if ([IO.File]::Exists("$Scratch.own")) { $own = @([IO.File]::ReadAllLines("$Scratch.own")) }
    $ours = 'C:\ProgramData\fleetmend\'
    if ($Root -ne '') { $ours = $Root.TrimEnd('\') + '\ProgramData\fleetmend\' }
    foreach ($top in $Scratch, "$Scratch.D") {
        if (-not (Test-Path -LiteralPath $top)) { continue }
        $drive = 'C:\'
        if ($top -cne $Scratch) { $drive = 'D:\' }
        # The temporary folder may be given by a short name (RUNNER~1); what is found in it is named in full.
        $full = (Get-Item -LiteralPath $top).FullName
        foreach ($file in @(Get-ChildItem -LiteralPath $top -Recurse -File -Force)) {
            if ($own -ccontains $file.FullName -or ([int]$file.Attributes -band 1024) -ne 0) { continue }
            $place = $drive + $file.FullName.Substring($full.Length + 1).Replace('/', '\')
            if ($place.StartsWith($ours, [StringComparison]::OrdinalIgnoreCase)) { continue }
            "$place $(ConvertTo-HexText ([IO.File]::ReadAllBytes($file.FullName))) $($file.LastWriteTimeUtc.ToString('s', [Globalization.CultureInfo]::InvariantCulture))"
        }
    }
}
# Names of keys without case, everything else by its characters.
function Get-RegistryLines([string]$Scratch) {
    foreach ($key in @((Read-State $Scratch 'registry').PSObject.Properties)) {
        foreach ($entry in @($key.Value.PSObject.Properties)) { "$($key.Name.ToUpperInvariant()) $($entry.Name)=$($entry.Value)" }
    }
}
function Get-WantedLines($Registry) {
    foreach ($key in @($Registry.PSObject.Properties)) {
        foreach ($entry in @($key.Value.PSObject.Properties)) { "$($key.Name.ToUpperInvariant()) $($entry.Name)=$(ConvertFrom-CaseValue $entry.Value)" }
    }
}
