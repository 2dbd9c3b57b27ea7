# --- one at a time ------------------------------------------------------------------------------------------------------------------
# A shell outlives its connection, so a second request may come while the first is at work. lock.json is made by a rename that never
# overwrites; it is stale when its process is gone, or, where another computer made it (Windows PE, on the same disk), when it is two minutes
# old: that computer does not run any more.
function Get-Started([int]$Id) {
    $process = Get-Process -Id $Id -ErrorAction SilentlyContinue
    if ($null -eq $process) { return -1 }
    try { return [long](($process.StartTime.ToUniversalTime() - [DateTime]'1970-01-01').TotalSeconds) } catch { return 0 }
}
function Test-Stale($Lock) {
    $host_ = [string](Get-Field $Lock 'host' '')
    $id = [int](Get-Field $Lock 'pid' 0)
    if (-not $host_.Equals([Environment]::MachineName)) { return (Get-UnixTime) - [long](Get-Field $Lock 'taken' (Get-Field $Lock 'renewed' 0)) -gt 120 }
    if ($id -eq $PID -and ([string](Get-Field $Lock 'nonce' '')).Equals($script:Nonce)) { return $true }
    $started = Get-Started $id
    if ($started -lt 0) { return $true }
    $apart = $started - [long](Get-Field $Lock 'started' 0)
    return $started -ne 0 -and ($apart -gt 2 -or $apart -lt -2)
}
# The lock that another request holds, or $null; $script:StaleLock is the text of one that holds nobody any more.
function Get-Held {
    $script:StaleLock = ''
    $place = Get-RecordPlace 'lock.json'
    $item = Get-There $place
    if ($null -eq $item) { return $null }
    $text = ''
    $lock = $null
    try {
        $text = [string](Get-Content -LiteralPath $place -Raw -Encoding UTF8)
        $lock = Read-Json $text
    }
    catch { $lock = $null }
    if ($null -eq $lock -or -not (Test-Field $lock 'nonce')) {
        # It ended just now, is half written, or was left by a power cut.
        if (-not (Test-There $place)) { return $null }
        if (([DateTime]::UtcNow - $item.LastWriteTimeUtc).TotalSeconds -gt 120) {
            $script:StaleLock = "$text`n"
            return $null
        }
        return (New-Object PSObject -Property @{ nonce = ''; pid = 0 })
    }
    if (Test-Stale $lock) {
        $script:StaleLock = "$text`n"
        return $null
    }
    return $lock
}
# Moves a stale lock away. Of two requests that find it stale one gets it; the other may get hold of the lock that the first has made
# meanwhile, and gives it back.
function Clear-Stale([string]$Place, [string]$Old) {
    try { Move-Item -LiteralPath $Place -Destination $Old } catch { return }
    if (([string](Get-Content -LiteralPath $Old -Raw -Encoding UTF8) + "`n").Equals($script:StaleLock)) { return }
    Move-Item -LiteralPath $Old -Destination $Place
}
function Set-Busy($Lock) {
    $script:Result.outcome = 'busy'
    $script:Result.message = "another request of this run is at work on this machine (process $($Lock.pid))"
}
# $true when this request has the lock. Else the result says busy.
function Enter-Lock {
    if ($script:Locked) { return $true }
    $held = Get-Held
    $place = Get-RecordPlace 'lock.json'
    $mine = Get-RecordPlace ('lock-' + [guid]::NewGuid().ToString('N'))
    if ($null -eq $held) {
        if ($script:StaleLock -cne '') { Clear-Stale $place "$mine.old" }
        $boot = -1
        if ([long]$script:Result.uptime -ge 0) { $boot = (Get-UnixTime) - [long]$script:Result.uptime }
        Set-Content -LiteralPath "$mine.new" -Encoding UTF8 -Value (ConvertTo-Json -Compress -InputObject @{
                v = 1; nonce = $script:Nonce; by = $script:Result.ps; host = [Environment]::MachineName; boot = $boot; pid = $PID
                started = (Get-Started $PID); taken = (Get-UnixTime)
            })
        $made = $false
        try {
            Move-Item -LiteralPath "$mine.new" -Destination $place
            $made = $true
        }
        catch { $null = $_ }
        foreach ($end in '.new', '.old') { Remove-Item -LiteralPath "$mine$end" -Force -ErrorAction SilentlyContinue }
        $lock = $null
        try { $lock = Read-Json ([string](Get-Content -LiteralPath $place -Raw -Encoding UTF8)) } catch { $lock = $null }
        if ($null -ne $lock -and [int](Get-Field $lock 'pid' 0) -eq $PID -and ([string](Get-Field $lock 'nonce' '')).Equals($script:Nonce)) {
            $script:Locked = $true
            return $true
        }
        $held = $lock
        if ($null -eq $held -and $made) { Remove-Item -LiteralPath $place -Force -ErrorAction SilentlyContinue }
        if ($null -eq $held) { throw 'the lock of this run could not be written: is the disk full?' }
    }
    Set-Busy $held
    return $false
}
function Exit-Lock {
    if ($script:Locked) { Remove-Item -LiteralPath (Get-RecordPlace 'lock.json') -Force -ErrorAction SilentlyContinue }
    $script:Locked = $false
}
