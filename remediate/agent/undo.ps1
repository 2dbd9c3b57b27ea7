# Draws sequences of fix, undo, ends of the agent, changes by others and damage to records and kept files, and holds what the agent says against
# what is on disk: the Go interpreter's TestUndoSaysWhatIsOnDisk, for the agent.
#   undo.ps1 [-First N] [-Count N] [-LanguageMode Full|Constrained] [-Agent FILE]
# Whatever happened: "undone" means that everything the fix changed is as it was before; an undo never writes over what somebody else made
# since; and where nobody interfered, undo does succeed. The number of a sequence is its seed. The exit code is the number of those that failed.
param(
    [int]$First = 0,
    [int]$Count = 10,
    [ValidateSet('Full', 'Constrained')][string]$LanguageMode = 'Constrained',
    [string]$Culture = '',
    [string]$Agent = (Join-Path $PSScriptRoot 'agent.ps1')
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$onWindows = $false
foreach ($name in 'reading', 'registry', 'machine', 'compare', 'ask') { . (Join-Path $PSScriptRoot "conformance/$name.ps1") }

$key = 'HKEY_LOCAL_MACHINE\SOFTWARE\Example'
$spooler = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Spooler'
$newSum = '11507A0E2F5E69D5DFA40A62A1BD7B6EE57E6BCD85C67C9B8431B36FFF21C437' # of "new"
$test = Read-Json (@'
{"playbook": {"playbook": "property", "detect": [], "verify": [], "reboot": "never", "fix": [
  {"quarantine": {"file": "C:\\Data\\q*.sys"}},
  {"put": {"file": "C:\\Data\\p.cfg", "hex": "6E6577", "sha256": "SUM"}},
  {"put": {"file": "C:\\New\\n.cfg", "hex": "6E6577", "sha256": "SUM"}},
  {"registry": {"key": "KEY", "name": "Num", "value": 5}},
  {"registry": {"key": "KEY", "name": "Text", "delete": true}},
  {"service": {"name": "Spooler", "start": "disabled", "stop": true}},
  {"bcd": {"set": "safeboot", "value": "Minimal"}}]},
 "before": {"files": [
  {"path": "C:\\Data\\q1.sys", "hex": "31", "modified": "2024-07-19T04:20:00Z"}, {"path": "C:\\Data\\q2.sys", "hex": "32", "modified": "2024-07-19T04:20:00Z"},
  {"path": "C:\\Data\\p.cfg", "hex": "6F6C64", "modified": "2024-07-19T04:20:00Z"}, {"path": "C:\\Data\\other", "hex": "78", "modified": "2024-07-19T04:20:00Z"}],
  "registry": {"KEY": {"Num": 4, "Text": "old"}, "SPOOLER": {"Start": 2}}, "services": {"Spooler": "running"}, "bcd": {"nx": "OptIn"}}}
'@.Replace('SUM', $newSum).Replace('KEY', $key.Replace('\', '\\')).Replace('SPOOLER', $spooler.Replace('\', '\\')))
$files = 'C:\Data\q1.sys', 'C:\Data\q2.sys', 'C:\Data\p.cfg', 'C:\New\n.cfg'
$values = @{ 'Num' = $key; 'Text' = $key; 'Start' = $spooler }
$items = $files + @('Num', 'Text', 'Start', 'safeboot')

# All that the playbook changes, as words by name.
function Get-Items([string]$Scratch) {
    $all = @{}
    foreach ($path in $script:files) {
        $all[$path] = 'absent'
        $place = Get-CaseFile $Scratch $path
        if ([IO.File]::Exists($place)) { $all[$path] = "$([IO.File]::ReadAllText($place)) $([IO.File]::GetLastWriteTimeUtc($place).Ticks)" }
    }
    $registry = Read-State $Scratch 'registry'
    foreach ($name in $script:values.Keys) { $all[$name] = [string](Get-Field (Get-Field $registry $script:values[$name] $null) $name 'absent') }
    $all['safeboot'] = -join @([IO.File]::ReadAllLines("$Scratch.bcd") | Where-Object { $_ -clike 'safeboot *' })
    return $all
}
# Somebody else changes a thing.
function Set-Foreign([string]$Scratch, [string]$Name, [int]$Number) {
    if ($script:files -ccontains $Name) {
        $place = Get-CaseFile $Scratch $Name
        [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($place))
        [IO.File]::WriteAllText($place, "foreign $Number")
        return
    }
    if ($Name -ceq 'safeboot') {
        $kept = @([IO.File]::ReadAllLines("$Scratch.bcd") | Where-Object { $_ -cnotlike 'safeboot *' })
        [IO.File]::WriteAllText("$Scratch.bcd", (-join @(($kept + "safeboot Foreign$Number") | ForEach-Object { "$_`n" })))
        return
    }
    $all = Read-State $Scratch 'registry'
    Set-Member $all.PSObject.Properties[$script:values[$Name]].Value $Name (ConvertFrom-CaseValue "foreign $Number")
    Write-State $Scratch 'registry' $all
}
# Spoils a record or a kept file; says what it did, or nothing where there is nothing to spoil.
function Set-Damage([string]$Scratch, $Random, [string]$Record) {
    $folder = Get-CaseFile $Scratch 'C:\ProgramData\fleetmend\runs\r-1'
    if (-not [IO.Directory]::Exists($folder)) { return '' }
    $ours = [string[]]@([IO.Directory]::GetFiles($folder) | Where-Object { [IO.Path]::GetFileName($_) -cmatch '^(undo-|kept-|manifest\.json$)' })
    if ($ours.Length -eq 0) { return '' }
    [Array]::Sort($ours, [StringComparer]::Ordinal)
    $one = $ours[$Random.Next($ours.Length)]
    $name = [IO.Path]::GetFileName($one)
    $last = @($ours | Where-Object { [IO.Path]::GetFileName($_) -clike 'undo-*' } | Select-Object -Last 1)
    if ($Record -eq '' -and $last.Count -gt 0 -and $one -ceq $last[0]) { return '' } # of a fix that was cut nothing else tells that there was one more
    $bytes = [IO.File]::ReadAllBytes($one)
    $how = $Random.Next(3)
    if ($how -eq 0) {
        [IO.File]::Delete($one)
        return "removed $name"
    }
    if ($how -eq 1 -or $Record -eq '') { # without the journal's hash nothing but the form of a record can be judged
        $half = New-Object byte[] ([Math]::Floor($bytes.Length / 2))
        [Array]::Copy($bytes, $half, $half.Length)
        [IO.File]::WriteAllBytes($one, $half)
        return "cut $name"
    }
    $at = $Random.Next($bytes.Length)
    $bytes[$at] = $bytes[$at] -bxor 1
    [IO.File]::WriteAllBytes($one, $bytes)
    return "changed byte $at of $name"
}
# One request, sometimes to an agent that is ended on the way, and what it did and said.
function Invoke-Request($S, [string]$Mode) {
    $trouble = ''
    $cut = $S.random.Next(3) -eq 0
    if ($cut) { $trouble = "-EndAt $(1 + $S.random.Next(40)) -How $(@('before', 'after', 'half')[$S.random.Next(3)])" }
    $was = Get-Items $S.scratch
    $ran = Invoke-Agent $S.scratch $script:test (New-Object PSObject -Property @{ mode = $Mode; record = $S.record }) $false $trouble
    $result = New-Object PSObject -Property @{ outcome = 'ended'; message = ''; repeated = $false; record = '' }
    if ($ran.code -ne 137) {
        $result = Join-Result $ran.output
        $cut = $false
    }
    $now = Get-Items $S.scratch
    $S.steps += "$Mode $($trouble): $($result.outcome) '$($result.message)'"
    foreach ($i in $script:items) {
        if ($was[$i] -ceq $now[$i]) { continue }
        if ($Mode -ceq 'undo' -and $S.foreign[$i] -and ($now[$i] -cne $S.before[$i] -or $was[$i] -cne $S.before[$i])) { throw "undo wrote over what somebody made of $($i): '$($was[$i])' became '$($now[$i])'" }
        if ($Mode -ceq 'fix') {
            if (-not $S.touched[$i]) { $S.before[$i] = $was[$i] }
            $S.touched[$i] = $true
            $S.foreign[$i] = $false
        }
    }
    if ($Mode -ceq 'fix') {
        if ($result.outcome -ceq 'fixed') {
            if ($S.record -eq '') { $S.record = [string](Get-Field $result 'record' '') }
            if (-not $result.repeated -and -not $S.meddled) { Assert-Fixed $S $now }
        }
        return
    }
    $running = [string](Get-Field (Read-State $S.scratch 'services') 'Spooler' '')
    if ($result.outcome -ceq 'undone') {
        $S.undone = 1
        foreach ($i in $script:items) {
            if ($S.touched[$i] -and $now[$i] -cne $S.before[$i]) { throw "undone is said, and $i is '$($now[$i])', not '$($S.before[$i])'" }
        }
        if ($S.touched['Start'] -and -not $S.meddled -and $running -cne 'Running') { throw "undone is said, and the service is $running" }
    }
    elseif (-not $S.meddled -and -not $cut) { throw "nobody interfered, and undo says $($result.outcome): $($result.message)" }
    # What is made of a thing that is back is no business of this run.
    foreach ($i in $script:items) { $S.touched[$i] = $S.touched[$i] -and $now[$i] -cne $S.before[$i] }
}
function Assert-Fixed($S, $Now) {
    if ($Now['C:\Data\q1.sys'] -cne 'absent' -or $Now['C:\Data\q2.sys'] -cne 'absent' -or $Now['safeboot'] -cne 'safeboot Minimal' -or
        $Now['C:\Data\p.cfg'] -cnotlike 'new *' -or $Now['C:\New\n.cfg'] -cnotlike 'new *' -or $Now['Text'] -cne 'absent') { throw "fixed is said, and the machine is $($Now | Out-String)" }
}
function Test-Sequence([int]$Seed) {
    $s = @{ random = (New-Object Random $Seed); record = ''; steps = @(); meddled = $false; undone = 0; foreign = @{}; touched = @{} }
    $s.scratch = Join-Path ([IO.Path]::GetTempPath()) ('fleetmend-' + [Guid]::NewGuid().ToString('N'))
    try {
        New-Machine $s.scratch $script:test.before
        $s.before = Get-Items $s.scratch
        foreach ($i in $script:items) {
            $s.foreign[$i] = $false
            $s.touched[$i] = $false
        }
        Invoke-Request $s 'fix'
        $many = 1 + $s.random.Next(6)
        for ($n = 0; $n -lt $many; $n++) {
            $what = $s.random.Next(8)
            if ($what -eq 0) { Invoke-Request $s 'fix' }
            elseif ($what -le 3) { Invoke-Request $s 'undo' }
            elseif ($what -le 5) {
                $i = $script:items[$s.random.Next($script:items.Count)]
                Set-Foreign $s.scratch $i $s.random.Next(1000)
                $s.foreign[$i] = $true
                $s.meddled = $true
                $s.steps += "somebody changes $i"
            }
            else {
                $did = Set-Damage $s.scratch $s.random $s.record
                if ($did -ne '') {
                    $s.meddled = $true
                    $s.steps += $did
                }
            }
        }
        Invoke-Request $s 'undo'
        return $s.undone
    }
    catch { throw "$($_.Exception.Message) (line $($_.InvocationInfo.ScriptLineNumber))`n    after: $($s.steps -join "`n    ")" }
    finally { Remove-Item -Path "$($s.scratch)*" -Recurse -Force -ErrorAction SilentlyContinue }
}

$failed = 0
$undone = 0
for ($seed = $First; $seed -lt $First + $Count; $seed++) {
    try { $undone += Test-Sequence $seed }
    catch {
        $failed++
        Write-Output "FAIL $($seed): $($_.Exception.Message)"
    }
}
if ($failed -eq 0 -and $Count -ge 10 -and 5 * $undone -lt $Count) {
    $failed++
    Write-Output "only $undone of $Count sequences had an undo that succeeded"
}
Write-Output "$($Count - $failed) sequences held, $failed failed, $undone were undone"
exit $failed
