# Ends the agent at every outward call of a fix and of an undo, or fills the disk at every byte of what it writes, and asks again.
#   trouble.ps1 [-Path FOLDER] [-Case NAME,NAME] [-LanguageMode Full|Constrained] [-Step N] [-Really N] [-Disk] [-Agent FILE]
# Asked again, a fix ends as an undisturbed one, and undo brings back what was there before, whether the fix was asked again or not. What an end
# leaves is taken from one undisturbed request, which keeps the machine before and after every outward call and half-way through every file: a
# process that is gone does nothing more. What lies on the disk is all that is left of it, so that points that leave the same (names, contents,
# times of files) are tried once. At every -Really N-th point a process of its own is ended, what it leaves is held against what was kept, and
# the rest is done from there, too. On a full disk nothing is changed without its record: undo takes back all that was changed. -Step N tries
# every N-th machine, or byte. One line per case; the exit code is the number of those that failed. The case's own steps are not used: only its
# machine and its playbook.
param(
    [string]$Path = (Join-Path (Split-Path $PSScriptRoot -Parent) 'testdata/conformance'),
    [string]$Case = 'order-of-undo',
    [ValidateSet('Full', 'Constrained')][string]$LanguageMode = 'Constrained',
    [int]$Step = 1,
    [int]$Really = 50,
    [switch]$Disk,
    [string]$Culture = '',
    [string]$Agent = (Join-Path $PSScriptRoot 'agent.ps1')
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$onWindows = $false
foreach ($name in 'reading', 'registry', 'machine', 'compare', 'ask', 'kept-disk') { . (Join-Path $PSScriptRoot "conformance/$name.ps1") }

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
# The machine at every call of one undisturbed request, which is what a process that ends there leaves.
function Get-Points([string]$Scratch, $Test, [string]$Mode, [string]$Outcome, [string]$Wanted) {
    $folder = Join-Path ([IO.Path]::GetTempPath()) ('fleetmend-kept-' + [Guid]::NewGuid().ToString('N'))
    [void][IO.Directory]::CreateDirectory($folder)
    Save-Copy $Scratch "$folder/start"
    Assert-Ends (Invoke-Mode $Scratch $Test $Mode "-Keep '$folder'") $Outcome $Scratch $Wanted "$Mode, undisturbed"
    return $folder
}
# From one point on: asked again, undone; and undone without having been asked again.
function Test-Point([string]$Scratch, $Test, [string]$Mode, $States, [string]$Where) {
    if ($Mode -ceq 'fix') {
        $folder = Join-Path ([IO.Path]::GetTempPath()) ('fleetmend-kept-' + [Guid]::NewGuid().ToString('N'))
        Save-Copy $Scratch $folder
        Assert-Ends (Invoke-Mode $Scratch $Test 'undo' '') 'undone' $Scratch $States.before "$Where, undone"
        Restore-Copy $Scratch $folder
        Assert-Ends (Invoke-Mode $Scratch $Test 'fix' '') 'fixed' $Scratch $States.fixed "$Where, asked again"
    }
    Assert-Ends (Invoke-Mode $Scratch $Test 'undo' '') 'undone' $Scratch $States.before "$Where, asked again, undone"
}
# Without what differs between two runs of the same: names drawn by chance, times, processes, the order of a table's fields, which every
# process has for itself, and so where a file that is half there is cut.
function Get-DiskText([string]$Scratch) {
    $lines = foreach ($one in @(Get-DiskFiles $Scratch)) {
        $text = ''
        if ([IO.File]::Exists($one) -and $one -notmatch '/agent/[0-9a-f]{64}') { $text = [IO.File]::ReadAllText($one) }
        $text = [regex]::Replace([regex]::Replace("$one $text", '[0-9A-Fa-f]{32,}', 'X'), '(?<=[:= ])\d{5,}|(?<="pid": *)\d+', 'N')
        if ($text -cmatch ' \{"' -and $text -cnotmatch '\}\s*\z') { $text = "$($text.Substring(0, $text.IndexOf(' {'))) is cut" }
        $fields = $text.Split([char[]]',{}')
        [Array]::Sort($fields, [StringComparer]::Ordinal)
        $fields -join ','
    }
    $sorted = [string[]]@($lines)
    [Array]::Sort($sorted, [StringComparer]::Ordinal)
    return ($sorted -join "`n")
}
# How many points there were, and how many machines that differ. At some of them a process of its own is really ended.
function Test-Ends($Test) {
    $one = New-Scratch $Test
    $states = @{ before = (Get-State $one) }
    [void](Invoke-Mode $one $Test 'fix' '')
    $states.fixed = Get-State $one
    $one = New-Scratch $Test
    $count = 0
    $different = 0
    foreach ($mode in 'fix', 'undo') {
        if ($mode -ceq 'fix') { $folder = Get-Points $one $Test 'fix' 'fixed' $states.fixed }
        else {
            Restore-Copy $one "$folder/start"
            [void](Invoke-Mode $one $Test 'fix' '')
            $folder = Get-Points $one $Test 'undo' 'undone' $states.before
        }
        $seen = 0
        foreach ($line in [IO.File]::ReadAllLines("$folder/points")) {
            $call, $how, $kept = $line -split ' '
            $where = "$mode ended $how call $call"
            $count++
            if ($count % $script:Really -eq 0) {
                Restore-Copy $one "$folder/start"
                $ran = Invoke-Agent $one $Test (New-Object PSObject -Property @{ mode = $mode }) $true "-EndAt $call -How $how -Process"
                if ($ran.code -ne 137) { throw "$($where): ended with $($ran.code)" }
                $left = Get-DiskText $one
                Test-Point $one $Test $mode $states "$where, really"
                Restore-Copy $one "$folder/$kept"
                if ((Get-DiskText $one) -cne $left) { throw "$($where): a process that is ended leaves`n$left`nnot`n$(Get-DiskText $one)" }
            }
            if ([int]$kept -le $seen) { continue }
            $seen = [int]$kept
            if (($seen - 1) % $script:Step -ne 0) { continue }
            $different++
            Restore-Copy $one "$folder/$kept"
            Test-Point $one $Test $mode $states $where
        }
    }
    Remove-Item -Path (Join-Path ([IO.Path]::GetTempPath()) 'fleetmend-*') -Recurse -Force -ErrorAction SilentlyContinue
    return "$count points, $different machines"
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
        if ($Disk) { $points = "$(Test-Disk $test) points" } else { $points = Test-Ends $test }
        if ([int]($points -split ' ')[0] -lt 3) { throw "there were $points only" }
        Write-Output "ok   $($name): $points"
    }
    catch {
        $failed++
        Write-Output "FAIL $($name): $($_.Exception.Message)"
    }
}
exit $failed
