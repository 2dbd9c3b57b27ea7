# Trouble for the agent, loaded after windows.ps1: its process ends at the N-th outward call, or the disk is full after so many bytes.
# Outward is every cmdlet and tool that changes something. How the end comes: before the call, after it, or, where a file is written, half-way.
# An end is exit code 137, by `exit` (which no catch sees; what a finally still tries does nothing), or the real end of the process.
# With -Keep FOLDER nothing is disturbed: the machine is kept as it is before and after every call, and half-way, once for each that differs
# (FOLDER/1, FOLDER/2, ...); FOLDER/points has a line for every point: call, how, which of them.
param([int]$EndAt = 0, [ValidateSet('before', 'after', 'half')][string]$How = 'before', [long]$Room = -1, [switch]$Process, [string]$Keep = '')
$global:Trouble = @{ EndAt = $EndAt; How = $How; Room = $Room; Process = [bool]$Process; Keep = $Keep; Seen = @{}; Calls = 0; Ended = $false; Inner = @{} }
function Stop-Here {
    $Trouble.Ended = $true
    if ($Trouble.Process) { [Diagnostics.Process]::GetCurrentProcess().Kill() }
    exit 137
}
# What a full disk leaves of a file: as much as there is room for, and nobody says so.
function Limit-File([string]$Place) {
    $file = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Place)
    if (-not [IO.File]::Exists($file)) { return }
    $length = (New-Object IO.FileInfo $file).Length
    if ($Trouble.How -eq 'half' -and $call -eq $Trouble.EndAt) { $length = [Math]::Floor($length / 2) }
    if ($Trouble.Room -ge 0) {
        $length = [Math]::Min($length, $Trouble.Room)
        $Trouble.Room -= $length
    }
    $stream = [IO.File]::Open($file, 'Open')
    $stream.SetLength($length)
    $stream.Dispose()
}
function Save-Disk([string]$Way) {
    $sum = Get-DiskSum $StandIn.Scratch
    if (-not $Trouble.Seen.ContainsKey($sum)) {
        $Trouble.Seen[$sum] = 1 + $Trouble.Seen.Count
        Save-Copy $StandIn.Scratch "$($Trouble.Keep)/$($Trouble.Seen[$sum])"
    }
    [IO.File]::AppendAllText("$($Trouble.Keep)/points", "$call $Way $($Trouble.Seen[$sum])`n")
}
# The file as it is half-way, for a moment.
function Save-Half([string]$Place) {
    $file = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Place)
    if (-not [IO.File]::Exists($file)) { return }
    $bytes = [IO.File]::ReadAllBytes($file)
    $time = [IO.File]::GetLastWriteTimeUtc($file)
    $half = New-Object byte[] ([Math]::Floor($bytes.Length / 2))
    [Array]::Copy($bytes, $half, $half.Length)
    [IO.File]::WriteAllBytes($file, $half)
    Save-Disk 'half'
    [IO.File]::WriteAllBytes($file, $bytes)
    [IO.File]::SetLastWriteTimeUtc($file, $time)
}
if ($Keep -ne '') { . (Join-Path $PSScriptRoot 'kept-disk.ps1') }
$outward = {
    if ($Trouble.Ended) { exit 137 }
    # A stand-in's cmdlet may make calls of its own.
    $Trouble.Calls++
    $call = $Trouble.Calls
    if ($call -eq $Trouble.EndAt -and $Trouble.How -eq 'before') { Stop-Here }
    if ($Trouble.Keep -ne '') { Save-Disk 'before' }
    $name = $MyInvocation.MyCommand.Name
    $inner = $Trouble.Inner[$name]
    if ($MyInvocation.ExpectingInput) { $input | & $inner @args } else { & $inner @args }
    if ($name -eq 'Set-Content' -and ($Trouble.Room -ge 0 -or $Trouble.How -eq 'half')) { Limit-File $args[1 + [Array]::IndexOf($args, '-LiteralPath')] }
    if ($call -eq $Trouble.EndAt) { Stop-Here }
    if ($Trouble.Keep -eq '') { return }
    Save-Disk 'after'
    if ($name -eq 'Set-Content') { Save-Half $args[1 + [Array]::IndexOf($args, '-LiteralPath')] }
}
foreach ($name in 'Set-Content', 'Rename-Item', 'Move-Item', 'Copy-Item', 'New-Item', 'Remove-Item', 'Set-ItemProperty', 'New-ItemProperty',
    'Remove-ItemProperty', 'Stop-Service', 'Set-Service', 'Start-Process') {
    $command = Get-Command -Name $name -ErrorAction SilentlyContinue
    if ($null -eq $command) { continue }
    $Trouble.Inner[$name] = $command
    if ($command.CommandType -eq 'Function') { $Trouble.Inner[$name] = $command.ScriptBlock }
    Microsoft.PowerShell.Management\Set-Item -Path "Function:global:$name" -Value $outward
}
foreach ($tool in [IO.Directory]::GetFiles("$($StandIn.Scratch)/Windows/System32", '*.exe')) {
    $function = Get-Command -Name $tool -CommandType Function -ErrorAction SilentlyContinue
    $Trouble.Inner[$tool] = Get-Command -Name $tool -CommandType Application
    if ($null -ne $function) { $Trouble.Inner[$tool] = $function.ScriptBlock }
    [void](Microsoft.PowerShell.Management\New-Item -Path Function: -Name "global:$tool" -Value $outward -Force)
}
