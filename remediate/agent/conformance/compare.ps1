# What a step of a case left behind, held against what the case says. Each function returns '' or what is not as it should be.
$script:stepFields = @('mode', 'run', 'record', 'room', 'agent', 'change', 'expect', 'agents', 'steps', 'files', 'registry', 'services', 'scm', 'bcd', 'bcd-other', 'sddl', 'ours', 'called')
$script:resultFields = @('run', 'outcome', 'changed', 'message', 'repeated', 'reboot', 'uptime', 'ps', 'language', 'record', 'clipped', 'kept', 'note')
function Compare-Lines([string]$What, $Seen, $Wanted) {
    # By their characters: -eq and Sort-Object ignore case, or a soft hyphen.
    $one = [string[]]@($Seen)
    $two = [string[]]@($Wanted)
    [Array]::Sort($one, [StringComparer]::Ordinal)
    [Array]::Sort($two, [StringComparer]::Ordinal)
    if (($one -join "`n").Equals($two -join "`n")) { return '' }
    return "$What`n$($one -join "`n")`nnot`n$($two -join "`n")"
}
# Lines of a result: all there, numbered, of one width, nothing else beside them.
function Join-Result($Output) {
    $lines = @($Output | ForEach-Object { [string]$_ })
    $chunks = @()
    for ($i = 0; $i -lt $lines.Count; $i++) {
        if ($lines[$i] -cnotmatch '^@@fm n-1 (\d+)/(\d+) ([\x20-\x7e]{1,48})\|$') { throw "a line that is no result: $($lines[$i]) (of $($lines -join ' / '))" }
        if ([int]$Matches[1] -ne $i + 1 -or [int]$Matches[2] -ne $lines.Count) { throw "result line $($i + 1) of $($lines.Count) says $($Matches[1])/$($Matches[2])" }
        $chunks += $Matches[3]
    }
    if ($chunks.Count -eq 0) { throw 'no result' }
    return (Read-Json (-join $chunks))
}
# A wanted object's fields must be there and equal; others are not looked at.
function Compare-Fields([string]$What, $Seen, $Wanted) {
    foreach ($field in $Wanted.PSObject.Properties) {
        $value = [string](Get-Field $Seen $field.Name '')
        # WMI is asked a moment after the case was read.
        if ($field.Name -ceq 'uptime' -and [long]$field.Value -ge 0 -and [long]$value -ge [long]$field.Value -and [long]$value -le [long]$field.Value + 30) { continue }
        if (-not $value.Equals([string]$field.Value)) { return "$What$($field.Name) is '$value', not '$($field.Value)'" }
    }
    return ''
}
function Compare-Result($Step, $Result, [int]$ExitCode) {
    Assert-Fields $Step 'a step' $script:stepFields
    Assert-Fields $Step.expect 'expect' $script:resultFields
    $problem = Compare-Fields '' $Result $Step.expect
    if ($problem -ne '') { return "$problem ($($Result.message))" }
    $wanted = 0
    if ($Result.outcome -eq 'failed') { $wanted = 1 }
    if ($ExitCode -ne $wanted) { return "exit code $ExitCode with $($Result.outcome)" }
    if ($null -eq $Step.PSObject.Properties['steps']) { return '' }
    $seen = @(Get-Field $Result 'steps' @())
    if ($seen.Count -ne @($Step.steps).Count) { return "the result has $($seen.Count) steps, not $(@($Step.steps).Count)" }
    for ($i = 0; $i -lt $seen.Count; $i++) {
        Assert-Fields @($Step.steps)[$i] 'a step of the result' @('action', 'target', 'changed', 'note', 'failed')
        $problem = Compare-Fields "step $($i + 1) of the result: " $seen[$i] @($Step.steps)[$i]
        if ($problem -ne '') { return $problem }
    }
    return ''
}
function Compare-Machine([string]$Scratch, $Test, $Step) {
    if ($null -ne $Step.PSObject.Properties['files']) {
        $wanted = @(@($Step.files) | ForEach-Object {
            "$($_.path) $($_.hex.ToUpperInvariant()) $((ConvertTo-Time $_.modified).ToString('s', [Globalization.CultureInfo]::InvariantCulture))"
        })
        $problem = Compare-Lines 'files are' @(Get-Snapshot $Scratch (Get-Field $Test 'root' '')) $wanted
        if ($problem -ne '') { return $problem }
    }
    if ($null -ne $Step.PSObject.Properties['agents']) {
        $folder = Get-CaseFile $Scratch 'C:\ProgramData\fleetmend\agent'
        $problem = Compare-Lines 'agents kept are' @(Get-ChildItem -LiteralPath $folder -Force -ErrorAction SilentlyContinue | ForEach-Object { $_.Name }) $Step.agents
        if ($problem -ne '') { return $problem }
    }
    $registry = Get-Field $Step 'registry' $null
    if ($null -ne $registry) {
        if ($script:onWindows) { $seen = @(Get-RealLines '') } else { $seen = @(Get-RegistryLines $Scratch) }
        $problem = Compare-Lines 'registry is' $seen @(Get-WantedLines $registry)
        if ($problem -ne '') { return $problem }
    }
    if ($script:onWindows) { return '' }
    return (Compare-StandIns $Scratch $Step)
}
function Compare-StandIns([string]$Scratch, $Step) {
    $services = Read-State $Scratch 'services'
    foreach ($service in @(Get-Properties $Step 'services')) {
        $state = [string](Get-Field $services $service.Name 'absent')
        if ($state -cne $script:serviceWords[[string]$service.Value]) { return "service $($service.Name) is $state, not $($service.Value)" }
    }
    $scm = Read-State $Scratch 'scm'
    foreach ($service in @(Get-Properties $Step 'scm')) {
        $known = [string](Get-Field $scm $service.Name 'absent')
        if ($known -cne [string]$service.Value) { return "the controller has start $known for $($service.Name), not $($service.Value)" }
    }
    foreach ($entry in 'bcd', 'bcd-other') {
        foreach ($element in @(Get-Properties $Step $entry)) {
            $line = [string]@([IO.File]::ReadAllLines("$Scratch.$entry") | Where-Object { $_ -like "$($element.Name) *" } | Select-Object -First 1)
            $state = ($line -replace '^\S+ ?', '')
            if ($state -cne $element.Value) { return "$entry $($element.Name) is '$state', not '$($element.Value)'" }
        }
    }
    $ours = Get-Field $Step 'ours' $null
    if ($null -ne $ours -and [IO.Directory]::Exists("$Scratch/ProgramData/fleetmend") -ne [bool]$ours) { return "our folder is there: $(-not $ours)" }
    if ([IO.File]::Exists("$Scratch.children")) {
        foreach ($id in [IO.File]::ReadAllLines("$Scratch.children")) {
            # One that nobody has buried yet is over, too.
            if ([IO.File]::Exists("/proc/$id/stat") -and [IO.File]::ReadAllText("/proc/$id/stat") -notmatch '\) Z ') { return "process $id, which a tool started, goes on" }
        }
    }
    foreach ($place in @(Get-Properties $Step 'sddl')) {
        $rights = [string](Get-Field (Read-State $Scratch 'sddl') $place.Name '')
        if ($rights -cne $place.Value) { return "$($place.Name) has the rights '$rights', not '$($place.Value)'" }
    }
    if ($null -ne $Step.PSObject.Properties['called']) {
        $seen = @()
        if (Test-Path -LiteralPath "$Scratch.called") { $seen = @([IO.File]::ReadAllLines("$Scratch.called")) }
        if (($seen -join '|') -cne (@($Step.called) -join '|')) { return "called $($seen -join ' | ')" }
    }
    return ''
}
