# Ends the agent at every outward call of a fix and of an undo, or fills the disk at every byte of what it writes, and asks again.
#   trouble.ps1 [-Path FOLDER] [-Case NAME,NAME] [-LanguageMode Full|Constrained] [-Step N] [-Disk] [-Agent FILE]
# Asked again, a fix ends as an undisturbed one, and undo brings back what was there before, whether the fix was asked again or not. On a full
# disk nothing is changed without its record: undo takes back all that was changed. -Step N tries every N-th call, or byte. One line per case;
# the exit code is the number of those that failed. The case's own steps are not used: only its machine and its playbook.
param(
    [string]$Path = (Join-Path (Split-Path $PSScriptRoot -Parent) 'testdata/conformance'),
    [string]$Case = 'order-of-undo',
    [ValidateSet('Full', 'Constrained')][string]$LanguageMode = 'Constrained',
    [int]$Step = 1,
    [switch]$Disk,
    [string]$Culture = '',
    [string]$Agent = (Join-Path $PSScriptRoot 'agent.ps1')
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$onWindows = $false
foreach ($name in 'reading', 'registry', 'machine', 'compare', 'ask') { . (Join-Path $PSScriptRoot "conformance/$name.ps1") }

function New-Scratch($Test) {
    $scratch = Join-Path ([IO.Path]::GetTempPath()) ('fleetmend-' + [Guid]::NewGuid().ToString('N'))
    $before = Get-Field $Test 'before' $null
    New-Machine $scratch $before
    # The controller remembers what the machine started with.
    if ($null -eq (Get-Field $before 'scm' $null)) { Set-ServiceState $scratch (New-Object PSObject -Property @{ booted = $true }) }
    return $scratch
}
# All that the outside can see of a machine.
function Get-State([string]$Scratch) {
    # What an ended tool wrote is removed a day later.
    $lines = @(Get-Snapshot $Scratch '' | Where-Object { $_ -notmatch '^[CD]:\\Windows\\fleetmend-[0-9a-f]{32}\.(out|err) ' }) + @(Get-RegistryLines $Scratch)
    if ([IO.File]::Exists("$Scratch.sddl")) {
        foreach ($one in (Read-State $Scratch 'sddl').PSObject.Properties) { if ($one.Name -notmatch '\\fleetmend') { $lines += "sddl $($one.Name) $($one.Value)" } }
    }
    foreach ($one in (Read-State $Scratch 'services').PSObject.Properties) { $lines += "services $($one.Name) $($one.Value)" }
    foreach ($one in (Read-State $Scratch 'scm').PSObject.Properties) { $lines += "scm $($one.Name) $($one.Value)" }
    if ([IO.File]::Exists("$Scratch.bcd")) { $lines += @([IO.File]::ReadAllLines("$Scratch.bcd")) }
    $sorted = [string[]]@($lines)
    [Array]::Sort($sorted, [StringComparer]::Ordinal)
    return ($sorted -join "`n")
}
function Invoke-Mode([string]$Scratch, $Test, [string]$Mode, [string]$Trouble) {
    $ran = Invoke-Agent $Scratch $Test (New-Object PSObject -Property @{ mode = $Mode }) $false $Trouble
    if ($ran.code -eq 137) { return $null }
    return (Join-Result $ran.output)
}
function Assert-Ends($Result, [string]$Outcome, [string]$Scratch, [string]$Wanted, [string]$Where) {
    if ($Result.outcome -cne $Outcome) { throw "$($Where): $($Result.outcome), not $Outcome ($($Result.message))" }
    $now = Get-State $Scratch
    if ($Outcome -ceq 'fixed') {
        # What was put has the time of now.
        $now = $now -replace 'T\d\d:\d\d:\d\d', ''
        $Wanted = $Wanted -replace 'T\d\d:\d\d:\d\d', ''
    }
    if ($now -cne $Wanted) { throw "$($Where): the machine is`n$now`nnot`n$Wanted" }
}
# How many points there were.
function Test-Ends($Test) {
    $whole = New-Scratch $Test
    $before = Get-State $whole
    Assert-Ends (Invoke-Mode $whole $Test 'fix' '') 'fixed' $whole (Get-State $whole) 'undisturbed'
    $fixed = Get-State $whole
    Assert-Ends (Invoke-Mode $whole $Test 'undo' '') 'undone' $whole $before 'undisturbed undo'
    $points = 0
    foreach ($mode in 'fix', 'undo') {
        foreach ($how in 'before', 'after', 'half') {
            for ($n = 1; ; $n += $script:Step) {
                $where = "$mode ended $how call $n"
                $one = New-Scratch $Test
                if ($mode -ceq 'undo') { [void](Invoke-Mode $one $Test 'fix' '') }
                if ($null -ne (Invoke-Mode $one $Test $mode "-EndAt $n -How $how")) { break }
                $points++
                if ($mode -ceq 'fix') {
                    $two = New-Scratch $Test
                    [void](Invoke-Mode $two $Test 'fix' "-EndAt $n -How $how")
                    $seen = Get-State $two
                    Assert-Ends (Invoke-Mode $two $Test 'undo' '') 'undone' $two $before "$where, undone"
                    Assert-Ends (Invoke-Mode $one $Test 'fix' '') 'fixed' $one $fixed "$where, asked again"
                }
                Assert-Ends (Invoke-Mode $one $Test 'undo' '') 'undone' $one $before "$where, asked again, undone"
                Remove-Item -Path (Join-Path ([IO.Path]::GetTempPath()) 'fleetmend-*') -Recurse -Force -ErrorAction SilentlyContinue
            }
        }
    }
    return $points
}
# A fix with room for so many bytes changes nothing without its record, whatever it answers; with room again, undo brings everything back.
function Test-Disk($Test) {
    $points = 0
    for ($room = 1; ; $room += $script:Step) {
        $one = New-Scratch $Test
        $before = Get-State $one
        $result = Invoke-Mode $one $Test 'fix' "-Room $room"
        $points++
        $after = Get-State $one
        if ($result.outcome -cne 'fixed' -and $after -cne $before -or $result.outcome -ceq 'fixed') {
            Assert-Ends (Invoke-Mode $one $Test 'undo' '') 'undone' $one $before "fix ($($result.outcome)) with room for $room bytes, undone"
        }
        Remove-Item -Path (Join-Path ([IO.Path]::GetTempPath()) 'fleetmend-*') -Recurse -Force -ErrorAction SilentlyContinue
        if ($result.outcome -ceq 'fixed') { return $points }
    }
}

$failed = 0
foreach ($name in $Case -split ',') {
    $test = Read-Case (Join-Path $Path "$name.json")
    try {
        if ($Disk) { $points = Test-Disk $test } else { $points = Test-Ends $test }
        if ($points -lt 3) { throw "there were $points points only" }
        Write-Output "ok   $($name): $points points"
    }
    catch {
        $failed++
        Write-Output "FAIL $($name): $($_.Exception.Message)"
    }
}
exit $failed
