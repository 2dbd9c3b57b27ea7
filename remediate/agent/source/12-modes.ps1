# --- modes --------------------------------------------------------------------------------------------------------------------------
function Invoke-Fix($Playbook) {
    if (-not (Test-Record 'manifest.json')) {
        if (-not (Test-All $Playbook 'detect')) {
            $script:Result.outcome = 'clean'
            # Another request of this run that began since may have cured it, and is at work yet.
            if (Test-Record 'manifest.json') { Set-Busy (New-Object PSObject -Property @{ pid = 0 }) }
            return
        }
        Assert-Possible $Playbook
        New-RunFolder
        if (-not (Enter-Lock)) { return }
        # Another request may have been quicker: it is answered from the record when it is asked again.
        if (Test-Record 'manifest.json') {
            Set-Busy (New-Object PSObject -Property @{ pid = 0 })
            return
        }
        if ((Get-Total) -gt 0) { throw 'there are records of this run, and no manifest.json: use a new run' }
        Write-Record 'manifest.json' @{
            version = 1; run = $script:Result.run; playbook = [string](Get-Field $Playbook 'playbook' ''); reboot = $script:Policy
            by = $script:Result.ps; time = (Get-UnixTime); uptime = $script:Result.uptime
        }
    }
    elseif (-not $script:Locked) {
        # Another request has begun just now.
        Set-Busy (New-Object PSObject -Property @{ pid = 0 })
        return
    }
    else {
        # Cut off in the middle: detect may not hold any more, but the rest of the work is still to be done.
        [void](Read-Record 'manifest.json' 'run')
        if (Test-Record 'undoing.json') { throw 'this run was taken back: use a new run' }
        Complete-Start
        $total = Get-Total
        for (; $script:Records -lt $total; $script:Records++) {
            $entry = Read-Change $script:Records
            if (-not (Test-Void $script:Records)) { Add-Count ([int]$entry.step) ([string]$entry.target) }
            if ([string]$entry.action -ceq 'put') { $script:Puts[([string]$entry.path).ToUpperInvariant()] = $entry }
            if ([string]$entry.action -ceq 'script') { $script:Scripts[[int]$entry.step] = $script:Records }
        }
    }
    $script:Step = 0
    foreach ($action in @(Get-List $Playbook 'fix')) {
        try { Invoke-Step $action }
        catch {
            if (-not [bool](Get-Field $action 'optional' $false)) { throw }
            $done = $script:Steps[$script:Steps.Count - 1]
            $done['failed'] = $true
            $done.note = Limit-Text $_.Exception.Message
            $script:Remarks += "an optional step failed: $($done.action) $($done.target): $($_.Exception.Message)"
        }
        $script:Step++
    }
    $changed = $script:Counted.Count
    $script:Restart = ($script:Policy -ceq 'always') -or ($script:Policy -ceq 'if-fixed' -and $changed -gt 0)
    if (-not (Test-All $Playbook 'verify')) {
        if (-not $script:Restart) { throw "verify does not hold after the fix: $($script:Words)" }
        $script:Remarks += "verify does not hold before the restart: $($script:Words)"
    }
    $script:Result.message = Limit-Text (@($script:Remarks) -join '; ')
    $script:Result.outcome = 'fixed'
    $script:Result.changed = $changed
    $script:Result.steps = $script:Steps
}
# The last change first. Stops at a change that somebody has made since; asked again it names it and goes on with the others. What is
# damaged or gone is named and left alone at once: it does not come back by asking.
function Invoke-Undo([string]$Wanted) {
    $script:Result.outcome = 'undone'
    $total = 0
    $problems = @()
    if (Confirm-Folder) {
        try { $total = Get-Total }
        catch {
            if (-not $script:Damaged) { throw }
            $total = Get-Numbered
            $problems += $_.Exception.Message
        }
    }
    if ($total -eq 0 -and $problems.Count -eq 0 -and -not (Test-Record 'manifest.json')) {
        if ($Wanted -cne '') { Assert-Records $Wanted 0 }
        $script:Result.message = 'this run changed nothing here'
        return
    }
    if (-not $script:Locked) {
        Set-Busy (New-Object PSObject -Property @{ pid = 0 })
        return
    }
    if ($Wanted -cne '') { Assert-Records $Wanted $total }
    $policy = ''
    if (-not (Test-Record 'manifest.json')) { $problems += 'manifest.json is gone' }
    else { try { $policy = [string](Get-Field (Read-Record 'manifest.json' 'run') 'reboot' '') } catch { $problems += $_.Exception.Message } }
    try { Complete-Start } catch { $problems += $_.Exception.Message }
    $continued = Test-Record 'undoing.json'
    if (-not $continued) { Write-Record 'undoing.json' @{ time = (Get-UnixTime) } }
    $stopped = @()
    $marked = @{}
    for ($number = $total - 1; $number -ge 0; $number--) {
        $script:Damaged = $false
        try {
            $entry = Read-Change $number
            if ([string]$entry.action -ceq 'stop') {
                $stopped += $entry
                continue
            }
            $mark = 'undone-{0:d4}.json' -f $number
            $done = $null
            if (Test-Record $mark) {
                try { $done = Read-Record $mark 'changed' }
                catch {
                    # Whatever it said: to take a change back begins with looking whether it is back.
                    if ([string]$entry.action -ceq 'script') { throw }
                    $script:Damaged = $false
                    Remove-Item -LiteralPath (Get-RecordPlace $mark) -Force
                }
            }
            if ($null -ne $done) {
                $changed = [bool]$done.changed
                $marked[$number] = $true
            }
            else {
                $changed = [bool](Undo-Change $number $entry)
                Write-Record $mark @{ changed = $changed }
            }
            if ($changed) { Add-Count $number ([string]$entry.target) }
        }
        catch {
            $stuck = 'stuck-{0:d4}.json' -f $number
            if (-not $script:Damaged -and -not (Test-Record $stuck)) {
                try { Write-Record $stuck @{ time = (Get-UnixTime) } } catch { $null = $_ }
                throw
            }
            $problems += $_.Exception.Message
        }
    }
    # Services start when their start types are back, in the order of their needs.
    foreach ($entry in $stopped) {
        try { if (Undo-Change $total $entry) { Add-Count $total ([string]$entry.name) } } catch { $problems += "$($entry.name): $($_.Exception.Message)" }
    }
    $problems += @(Get-Lost $total $marked)
    $script:Result.changed = $script:Counted.Count
    if ($problems.Count -gt 0) { throw ($problems -join '; ') }
    $script:Result.message = Limit-Text (@($script:Remarks) -join '; ')
    $script:Restart = ($policy -ceq 'always' -or $policy -ceq 'if-fixed') -and ($script:Result.changed -gt 0 -or $continued)
}
# Since the start, by clocks in UTC: a difference of local times is an hour off over a clock change. WMI that does not answer is not waited for.
function Get-SystemUptime {
    if ($script:Root -ne '') { return -1 }
    if ($null -eq (Get-Command -Name Get-CimInstance -ErrorAction SilentlyContinue)) { return -1 }
    try {
        $system = Get-CimInstance -ClassName Win32_OperatingSystem -OperationTimeoutSec 10
        return [long](($system.LocalDateTime.ToUniversalTime() - $system.LastBootUpTime.ToUniversalTime()).TotalSeconds)
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
# In ten seconds, so that the answer still gets out. 1190: a restart is scheduled already. 1115: the machine is going down.
function Request-Restart([string]$Mark) {
    try {
        $ran = Invoke-Native 'shutdown.exe' @('/r', '/t', '10', '/d', 'p:2:4', '/c', "fleetmend $($script:Result.run)")
        if ($ran.code -ne 0 -and $ran.code -ne 1190 -and $ran.code -ne 1115) { throw "shutdown.exe ended with $($ran.code): $($ran.output -join ' ')" }
        $script:Result.reboot = 'scheduled'
    }
    catch {
        $script:Result.message = Limit-Text "restart refused: $($_.Exception.Message)"
        return
    }
    # Only a mark: without it the restart is asked for again.
    try { if (-not (Test-Record $Mark)) { Write-Record $Mark @{ time = (Get-UnixTime) } } } catch { $null = $_ }
}
# Fix and undo act once: a repeated request is answered from the record, and an undo looks whether it is still so.
function Invoke-Once([string]$Mode, $Playbook, [string]$Wanted) {
    $record = "$Mode.json"
    $mark = "$Mode-restart.json"
    if (Test-Record $record) {
        $old = Read-Record $record 'outcome'
        $script:Result.outcome = [string]$old.outcome
        $script:Result.changed = [int]$old.changed
        $script:Result.message = [string](Get-Field $old 'message' '')
        $script:Result.steps = @(Get-List $old 'steps')
        $script:Result.repeated = $true
        if ($Mode -ceq 'fix' -and (Test-Record 'undoing.json')) {
            $script:Result.message = 'this run was taken back since'
            return
        }
        if ($Mode -ceq 'undo') {
            $marked = @{}
            $total = Get-Total
            for ($i = 0; $i -lt $total; $i++) { $marked[$i] = $true }
            $lost = @(Get-Lost $total $marked)
            if ($lost.Count -gt 0) {
                $script:Result.outcome = 'failed'
                $script:Result.message = Limit-Text ($lost -join '; ')
                return
            }
        }
        if ([bool](Get-Field $old 'restart' $false) -and (Test-RestartMissing $old $mark)) { Request-Restart $mark }
        return
    }
    if ($Mode -ceq 'fix') { Invoke-Fix $Playbook } else { Invoke-Undo $Wanted }
    if ($script:Result.outcome -cne 'fixed' -and $script:Result.outcome -cne 'undone') { return }
    if (Test-Record 'manifest.json') {
        Write-Record $record @{
            run = $script:Result.run; outcome = $script:Result.outcome; changed = $script:Result.changed; message = $script:Result.message
            steps = @($script:Result.steps); restart = $script:Restart; time = (Get-UnixTime); uptime = $script:Result.uptime; records = (Get-Total)
        }
    }
    if ($script:Restart) { Request-Restart $mark }
}
function Invoke-Acting([string]$Mode, $Playbook, [string]$Wanted) {
    if ((Confirm-Folder) -and -not (Enter-Lock)) { return }
    try { Invoke-Once $Mode $Playbook $Wanted }
    finally {
        if ($Mode -ceq 'fix' -and $script:Locked -and (Test-Record 'manifest.json')) {
            $script:Result.record = Get-RecordHash @(Get-RecordNames (Get-Total))
        }
        Exit-Lock
    }
}
# A look while another request changes the machine would be of neither state. A lock in a folder that is not ours holds nobody.
function Test-Busy {
    try { if (-not (Confirm-Folder)) { return $false } } catch { return $false }
    $held = Get-Held
    if ($null -eq $held) { return $false }
    Set-Busy $held
    return $true
}
function Invoke-Mode([string]$Mode, $Playbook, [string]$Wanted) {
    if ($Mode -ceq 'detect') {
        if (Test-Busy) { return }
        if (Test-All $Playbook 'detect') { $script:Result.outcome = 'affected' } else { $script:Result.outcome = 'clean' }
        return
    }
    if ($Mode -ceq 'verify') {
        if (Test-Busy) { return }
        if (-not (Test-All $Playbook 'verify')) { throw "verify does not hold: $($script:Words)" }
        $script:Result.outcome = 'fixed'
        return
    }
    if ($Mode -ceq 'fix' -or $Mode -ceq 'undo') {
        Invoke-Acting $Mode $Playbook $Wanted
        return
    }
    throw "unknown mode '$Mode'"
}
