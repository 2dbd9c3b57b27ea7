# --- undo ---------------------------------------------------------------------------------------------------------------------------
# Back means in its place, by hash and value. Each returns whether it changed something: a change that was never done, or that is back already,
# changes nothing. What somebody changed since is not overwritten; what is kept is looked at before anything is moved.
function Assert-Kept($Entry) {
    $kept = Get-RecordPlace ([string]$Entry.kept)
    $item = Get-There $kept
    if ($null -eq $item) { Stop-Damaged "the kept copy of $($Entry.path) is gone" }
    if ($item.PSIsContainer -or (Test-Link $item) -or -not (Get-Sha256 $kept).Equals([string]$Entry.sha256)) { Stop-Damaged "the kept copy of $($Entry.path) was changed" }
}
# The hash of what stands in a place: '' for nothing, '-' for what is no file.
function Get-HashThere([string]$Place) {
    $item = Get-There $Place
    if ($null -eq $item) { return '' }
    if ($item.PSIsContainer -or (Test-Link $item)) { return '-' }
    return (Get-Sha256 $Place)
}
function Restore-Kept($Entry, [string]$Place) {
    Move-ToPlace (Get-RecordPlace ([string]$Entry.kept)) $Place
    if (-not (Get-HashThere $Place).Equals([string]$Entry.sha256)) { throw "$($Entry.path) is not as it was after it was moved back" }
    Restore-Marks $Entry $Place
    return $true
}
function Undo-Quarantine([int]$Number, $Entry) {
    $place = Resolve-Place ([string]$Entry.path)
    Assert-NoLink (Get-FolderPath $place)
    $now = Get-HashThere $place
    if ($now.Equals([string]$Entry.sha256)) {
        Restore-Marks $Entry $place
        return $false
    }
    if ($now -cne '') { throw "will not overwrite $($Entry.path): it came back since" }
    Assert-Kept $Entry
    return (Restore-Kept $Entry $place)
}
function Get-FolderPath([string]$Place) { return $Place.Substring(0, $Place.LastIndexOf([char]'\')) }
function Undo-Put([int]$Number, $Entry) {
    $place = Resolve-Place ([string]$Entry.path)
    Assert-NoLink (Get-FolderPath $place)
    $now = Get-HashThere $place
    $kept = [string](Get-Field $Entry 'kept' '')
    if ($kept -cne '') {
        if ($now.Equals([string]$Entry.sha256)) {
            Restore-Marks $Entry $place
            return $false
        }
        if ($now -cne '' -and -not $now.Equals([string]$Entry.newsha256)) { throw "will not overwrite $($Entry.path): it was changed since" }
        Assert-Kept $Entry
    }
    elseif ($now -cne '' -and -not $now.Equals([string]$Entry.newsha256)) { throw "will not overwrite $($Entry.path): it was changed since" }
    $changed = $now -cne ''
    if ($changed) { Move-Item -LiteralPath $place -Destination (Get-RecordPlace ('taken-{0:d4}' -f $Number)) }
    if ($kept -cne '') { return (Restore-Kept $Entry $place) }
    # The folders that were made for it go, unless somebody uses them.
    $made = @(Get-List $Entry 'made')
    for ($i = $made.Count - 1; $i -ge 0; $i--) {
        $folder = Get-There (Resolve-Place ([string]$made[$i]))
        if ($null -eq $folder) { continue }
        if (-not $folder.PSIsContainer -or (Test-Link $folder) -or @(Get-ChildItem -LiteralPath (Resolve-Place ([string]$made[$i])) -Force).Count -gt 0) { break }
        Remove-Item -LiteralPath (Resolve-Place ([string]$made[$i])) -Force
    }
    return $changed
}
function Undo-Registry([int]$Number, $Entry) {
    $key = [string]$Entry.key
    $name = [string](Get-Field $Entry 'name' '')
    $old = Get-Field $Entry 'old' $null
    $now = Get-RegistryData $key $name
    if (Test-Same $now $old) { return $false }
    if (-not (Test-Same $now (Get-Field $Entry 'new' $null))) { throw "will not overwrite $key $($name): it was changed since" }
    if ([bool](Get-Field $Entry 'service' $false) -and $null -ne $old) { Set-StartType $key.Substring($key.LastIndexOf([char]'\') + 1) $key $old $true }
    else { Set-RegistryData $key $name $old }
    if (-not (Test-Same (Get-RegistryData $key $name) $old)) { throw "$key $name is not as it was after it was set back" }
    return $true
}
# A key that was made for safe mode goes, unless somebody put more into it.
function Undo-Key([int]$Number, $Entry) {
    $key = [string]$Entry.key
    if (-not (Test-Path -LiteralPath "Registry::$key")) { return $false }
    $now = Get-RegistryValue $key ''
    if ($null -ne $now -and $now.data[0] -cne '=Service') { throw "will not remove $($key): it was changed since" }
    Remove-Item -LiteralPath "Registry::$key"
    return $true
}
# A key that was made goes, unless somebody uses it.
function Undo-MadeKey([int]$Number, $Entry) {
    $key = [string]$Entry.key
    if (-not (Test-Path -LiteralPath "Registry::$key")) { return $false }
    $item = Get-Item -LiteralPath "Registry::$key"
    if ([int]$item.ValueCount -gt 0 -or [int]$item.SubKeyCount -gt 0) {
        $script:Remarks += "$key stays: somebody has put more into it"
        return $false
    }
    Remove-Item -LiteralPath "Registry::$key"
    return $true
}
function Undo-Bcd([int]$Number, $Entry) {
    $name = [string]$Entry.name
    $old = Get-Field $Entry 'old' $null
    $new = Get-Field $Entry 'new' $null
    $boot = Read-BootEntry
    $now = Find-Element $boot $name
    if (Test-SameElement $now $old) { return $false }
    if (-not (Test-SameElement $now $new)) { throw "will not overwrite the boot element $($name): it was changed since" }
    Set-Element $boot.entry $name $old
    if (-not (Test-SameElement (Find-Element (Read-BootEntry) $name) $old)) { throw "the boot element $name is not as it was after it was set back" }
    return $true
}
function Test-SameElement($Now, $Data) {
    if ($null -eq $Now -or $null -eq $Data) { return ($null -eq $Now) -and ($null -eq $Data) }
    return (Test-Element ([string]$Now) (@(Unprotect-Text $Data.data)[0]))
}
# Services start when all start types are back: see Invoke-Undo. One that ran although it was disabled is let start for that moment.
function Undo-Stop([int]$Number, $Entry) {
    $name = [string]$Entry.name
    if ((Get-State $name) -cne 'Stopped') { return $false }
    $key = "$($script:ServicesKey)\$name"
    $start = Get-RegistryData $key 'Start'
    $off = $null -ne $start -and $start.data[0] -ceq '=4'
    if ($off) {
        $begun = Write-Start $name $key $start @('=3')
        Set-ServiceStart $key $begun @{ type = 'dword'; data = @('=3') }
    }
    # Start-Service waits without an end for one that never gets ready. 1056: it runs already.
    try {
        $ran = Invoke-Native 'sc.exe' @('start', $name)
        if ($ran.code -ne 0 -and $ran.code -ne 1056) { throw "service '$name' does not start: sc.exe ended with $($ran.code): $($ran.output -join ' ')" }
    }
    finally {
        if ($off) {
            Set-ServiceStart $key $begun $start
            Remove-Start
        }
    }
    Wait-State $name 'Running'
    return $true
}
function Undo-Script([int]$Number, $Entry) {
    $body = [string](Get-Field $Entry 'undo' '')
    if ($body -ceq '') { return $false }
    $list = @(Unprotect-Text @(Get-List $Entry 'args'))
    $ran = Invoke-Script ([string]$Entry.shell) $body $list ([int](Get-Field $Entry 'timeout' 0))
    if ($ran.code -ne 0) { throw "undo script ended with $($ran.code): $($ran.output)" }
    return $true
}
# One row for each kind of record, as in remediate/windows.
$script:ChangeKinds = @(
    @('quarantine', 'Undo-Quarantine'), @('put', 'Undo-Put'), @('registry', 'Undo-Registry'), @('key', 'Undo-Key'), @('made-key', 'Undo-MadeKey')
    @('stop', 'Undo-Stop'), @('bcd', 'Undo-Bcd'), @('script', 'Undo-Script')
)
function Undo-Change([int]$Number, $Entry) {
    foreach ($row in $script:ChangeKinds) { if ($row[0] -ceq [string]$Entry.action) { return (& $row[1] $Number $Entry) } }
    throw "unknown record '$($Entry.action)'"
}
# Whether what an earlier request took back is still so; only the oldest change of a thing tells how it was.
function Test-Back($Entry) {
    $place = ''
    if ($null -ne (Get-Field $Entry 'path' $null)) { $place = Resolve-Place ([string]$Entry.path) }
    switch -CaseSensitive ([string]$Entry.action) {
        'quarantine' { return (Get-HashThere $place).Equals([string]$Entry.sha256) }
        'put' {
            if ([string](Get-Field $Entry 'kept' '') -cne '') { return (Get-HashThere $place).Equals([string]$Entry.sha256) }
            return -not (Get-HashThere $place).Equals([string]$Entry.newsha256)
        }
        'registry' { return (Test-Same (Get-RegistryData ([string]$Entry.key) ([string](Get-Field $Entry 'name' ''))) (Get-Field $Entry 'old' $null)) }
        'bcd' { return (Test-SameElement (Find-Element (Read-BootEntry) ([string]$Entry.name)) (Get-Field $Entry 'old' $null)) }
    }
    return $true
}
# Whether the fix itself took a change back as soon as it was made.
function Test-Void([int]$Number) {
    $mark = 'undone-{0:d4}.json' -f $Number
    if (-not (Test-Record $mark)) { return $false }
    try { return [bool](Get-Field (Read-Record $mark 'changed') 'void' $false) } catch { return $false }
}
# What does not hold of that, as words; $From: the records that were marked before this request.
function Get-Lost([int]$Total, $Marked) {
    $seen = @{}
    for ($number = 0; $number -lt $Total; $number++) {
        try { $entry = Read-Change $number } catch { continue }
        if (Test-Void $number) { continue }
        $what = "$($entry.action)|" + ([string]$entry.target).ToUpperInvariant()
        if ($seen.ContainsKey($what)) { continue }
        $seen[$what] = $true
        if (-not $Marked.ContainsKey($number)) { continue }
        if (-not (Test-Back $entry)) { "$($entry.target) was taken back, and is not as it was any more" }
    }
}
