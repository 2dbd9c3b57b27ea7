# --- the run's folder ---------------------------------------------------------------------------------------------------------------
# Ordinary users may write below ProgramData. What is read here is obeyed as administrator, so each folder on the way is proven at each use:
# no link, owner and rights of SYSTEM and administrators alone. One that is there already is never changed, only refused: who made it
# may have made it a trap, and rights set on it would be handed down to files that are kept in it.
function Get-Sddl([string]$Place) {
    # Asked once: to look for what is not there takes long.
    if ($null -eq $script:HasAcl) { $script:HasAcl = $null -ne (Get-Command -Name Get-Acl -ErrorAction SilentlyContinue) }
    if (-not $script:HasAcl) {
        if ([string]$env:OS -ceq 'Windows_NT') { throw "the rights of $Place cannot be read" }
        return ''
    }
    return [string](Get-Acl -LiteralPath $Place).Sddl
}
function Assert-Own([string]$Place) {
    $item = Get-There $Place
    if (([int]$item.Attributes -band 1024) -ne 0) { throw "$Place is a link: refused" }
    if (-not $item.PSIsContainer) { throw "$Place is no folder: refused" }
    Assert-OwnRights $Place
}
function Assert-OwnRights([string]$Place) {
    $sddl = Get-Sddl $Place
    if ($sddl -ceq '') { return }
    $parts = [regex]::Match($sddl, '^O:(BA|SY|S-1-5-18|S-1-5-32-544)(G:[A-Z0-9-]+?)?D:[A-Z]*((\([^()]*\))+)(S:.*)?\z')
    if (-not $parts.Success) { throw "$Place belongs to somebody else than SYSTEM and administrators, or its rights are unusual: refused ($sddl)" }
    foreach ($entry in [regex]::Matches($parts.Groups[3].Value, '\(([^()]*)\)')) {
        $fields = $entry.Groups[1].Value.Split(';')
        if ($fields[0] -ceq 'D') { continue }
        if ($fields[0] -cne 'A' -or $fields[5] -cnotmatch '^(BA|SY|S-1-5-18|S-1-5-32-544)\z') { throw "$Place can be used by others than SYSTEM and administrators: refused ($sddl)" }
    }
}
function Get-OwnFolders {
    $top = $script:Data.TrimEnd('\') + '\fleetmend'
    $top
    $top + '\runs'
    $script:Folder
}
# Proves what is there of the way to the run's folder; $true where all of it is there.
function Confirm-Folder {
    foreach ($place in @(Get-OwnFolders)) {
        if (-not (Test-There $place) -or (Test-Leftover $place)) { return $false }
        Assert-Own $place
    }
    return $true
}
# A folder below ProgramData that gets its rights there is open for a moment, in which a user can make it lead elsewhere. So it is made and
# closed in Windows' own folder, proven, and moved to its place with the rights that it has. Where that is another volume: in a closed folder
# beside its place, and in there once more, because on that one nobody else ever had a hand.
function New-OwnFolder([string]$Place) {
    foreach ($outer in '', ($Place + '-' + [guid]::NewGuid().ToString('N'))) {
        $stage = Get-Aside
        $closed = $false
        try {
            if ($outer -cne '') {
                New-Closed $outer
                $stage = "$outer\fleetmend"
            }
            New-Closed $stage
            $closed = $true
            if (-not (Test-There $Place)) { Move-Item -LiteralPath $stage -Destination $Place }
        }
        catch { if (-not $closed -or $outer -cne '') { throw "$Place could not be made: $($_.Exception.Message)" } }
        # Of two that make it at once the second has moved its own into the first's.
        finally { foreach ($one in $stage, ($Place + $stage.Substring($stage.LastIndexOf([char]'\'))), $outer) { Remove-Empty $one } }
        if (Test-Own $Place) { return }
    }
    throw "$Place could not be made"
}
function New-Closed([string]$Place) {
    [void](New-Item -ItemType Directory -Path $Place)
    if (Test-Path -LiteralPath (Join-Path (Join-Path $env:SystemRoot 'System32') 'icacls.exe')) {
        Set-Rights $Place @('/setowner', '*S-1-5-32-544')
        Set-Rights $Place @('/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')
    }
    Assert-Own $Place
}
# /L: of a link its own.
function Set-Rights([string]$Place, [string[]]$Arguments) {
    $ran = Invoke-Running 'icacls.exe' (@((Get-Item -LiteralPath $Place -Force).FullName) + $Arguments + @('/L'))
    if ($ran.code -ne 0) { throw "icacls.exe $($Arguments[0]) ended with $($ran.code): $($ran.output -join ' ')" }
}
function Test-Empty($Item) {
    return $null -ne $Item -and $Item.PSIsContainer -and ([int]$Item.Attributes -band 1024) -eq 0 -and @(Get-ChildItem -LiteralPath $Item.FullName -Force).Count -eq 0
}
function Remove-Empty([string]$Place) {
    if ($Place -ceq '') { return }
    try { if (Test-Empty (Get-There $Place)) { Remove-Item -LiteralPath $Place -Force } } catch { $null = $_ }
}
function Test-Owner([string]$Place) { return (Get-Sddl $Place) -cmatch '^(\z|O:(BA|SY|S-1-5-18|S-1-5-32-544)[GD]:)' }
# An empty folder of SYSTEM or administrators that is not closed is what a power cut left: it counts as none.
function Test-Leftover([string]$Place) {
    if (-not (Test-Empty (Get-There $Place)) -or -not (Test-Owner $Place)) { return $false }
    try { Assert-Own $Place } catch { return $true }
    return $false
}
function Test-Own([string]$Place) {
    if (-not (Test-There $Place)) { return $false }
    if (Test-Leftover $Place) {
        Remove-Item -LiteralPath $Place -Force
        return $false
    }
    Assert-Own $Place
    return $true
}
function New-RunFolder {
    $top, $below = @(Get-OwnFolders)
    if (-not (Test-Own $top)) { New-OwnFolder $top }
    # In a folder of ours what is made has its rights from the start; its owner may be the account.
    foreach ($place in @($below)) {
        if (-not (Test-There $place)) { [void](New-Item -ItemType Directory -Path $place) }
        if (-not (Test-Owner $place) -and (Test-Empty (Get-There $place))) { Set-Rights $place @('/setowner', '*S-1-5-32-544') }
        Assert-Own $place
    }
    Remove-Aside
}
# What requests that were ended left in Windows' own folder a day ago.
function Remove-Aside {
    foreach ($item in @(Get-ChildItem -LiteralPath $env:SystemRoot -Filter 'fleetmend-*' -Force -ErrorAction SilentlyContinue)) {
        if ($item.Name -cnotmatch '^fleetmend-[0-9a-f]{32}(\.out|\.err)?\z' -or ([DateTime]::UtcNow - $item.LastWriteTimeUtc).TotalDays -lt 1) { continue }
        if (([int]$item.Attributes -band 1024) -eq 0) { Remove-Item -LiteralPath $item.FullName -Recurse -Force -ErrorAction SilentlyContinue }
    }
}
function Get-RecordPlace([string]$Name) { return $script:Folder + '\' + $Name }
function Test-Record([string]$Name) { return (Test-There (Get-RecordPlace $Name)) }
# Never overwrites. Written aside, read back, then renamed: a cut leaves all of it or nothing, and a full disk is noticed although
# Set-Content says nothing when the last bytes do not fit.
function Write-Record([string]$Name, $Value) {
    $aside = Get-RecordPlace "$Name.new"
    $json = ConvertTo-Ascii (ConvertTo-Json -InputObject $Value -Depth 8 -Compress)
    $whole = $false
    try {
        Set-Content -LiteralPath $aside -Value $json -Encoding UTF8
        $whole = ([string](Get-Content -LiteralPath $aside -Raw -Encoding UTF8)).TrimEnd("`r", "`n").Equals($json)
    }
    catch { $whole = $false }
    if (-not $whole) {
        Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue
        throw "the record $Name could not be written whole: is the disk full?"
    }
    Rename-Item -LiteralPath $aside -NewName $Name
}
# A record holds at least this field; else it is damaged and is not obeyed.
function Read-Record([string]$Name, [string]$Field) {
    $value = $null
    try { $value = Read-Json ([string](Get-Content -LiteralPath (Get-RecordPlace $Name) -Raw -Encoding UTF8)) } catch { $value = $null }
    if ($null -eq $value -or -not (Test-Field $value $Field)) { Stop-Damaged "a record is damaged: $Name" }
    return $value
}
# What is damaged does not get better by being asked again: undo names it and goes on with the rest.
function Stop-Damaged([string]$Text) {
    $script:Damaged = $true
    throw $Text
}
function Get-UndoName([int]$Number) { return 'undo-{0:d4}.json' -f $Number }
# How many changes there are records of, by their numbers: a gap does not end the count, and neither does a lost last record.
function Get-Numbered {
    $total = 0
    foreach ($entry in @(Get-ChildItem -LiteralPath $script:Folder -Force)) {
        $found = [regex]::Match($entry.Name, '^(undo|done|undone|kept|taken|seal)-([0-9]{4,9})(\.json|-([0-9a-f]{64}))?\z')
        if (-not $found.Success) { continue }
        $number = [int]$found.Groups[2].Value
        if ($found.Groups[4].Success) { $script:Seals[$number] = $found.Groups[4].Value }
        if ($number -ge $total) { $total = $number + 1 }
    }
    return $total
}
# The record of a change, as it was sealed.
function Read-Change([int]$Number) {
    $name = Get-UndoName $Number
    if (-not (Test-Record $name)) { Stop-Damaged "a record is gone: $name" }
    $entry = Read-Record $name 'action'
    $known = $script:ChangeKinds | Where-Object { $_[0] -ceq [string]$entry.action }
    if ($null -ne $known -and $script:Seals.ContainsKey($Number) -and (Get-Sha256 (Get-RecordPlace $name)) -ne $script:Seals[$Number]) { Stop-Damaged "a record is damaged: $name" }
    return $entry
}
function Get-Total {
    $total = Get-Numbered
    if (Test-Record 'fix.json') {
        $count = [int](Get-Field (Read-Record 'fix.json' 'outcome') 'records' 0)
        if ($count -gt $total) { $total = $count }
    }
    return $total
}
# What is to be obeyed at undo, as one hash: "name LF sha256 LF" of the manifest and of each record.
function Get-RecordHash($Names) {
    $lines = ''
    foreach ($name in @($Names)) {
        if (-not (Test-Record $name)) { return '' }
        $lines += $name + "`n" + (Get-Sha256 (Get-RecordPlace $name)).ToLowerInvariant() + "`n"
    }
    $aside = Get-RecordPlace 'records.new'
    try {
        Set-Content -LiteralPath $aside -Value $lines -Encoding Ascii -NoNewline
        if ((Get-Item -LiteralPath $aside -Force).Length -ne $lines.Length) { return '' }
        return (Get-Sha256 $aside).ToLowerInvariant()
    }
    catch { return '' }
    finally { Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue }
}
function Get-RecordNames([int]$Total) {
    'manifest.json'
    for ($i = 0; $i -lt $Total; $i++) { Get-UndoName $i }
}
# Refuses records that are not those which the fix reported, and names what it can.
function Assert-Records([string]$Wanted, [int]$Total) {
    $names = @(Get-RecordNames $Total)
    foreach ($name in $names) { if (-not (Test-Record $name)) { throw "a record is gone: $name; nothing was taken back" } }
    if ((Get-RecordHash $names).Equals($Wanted)) { return }
    for ($i = $names.Count - 1; $i -gt 0 -and $i -ge $names.Count - 16; $i--) {
        if ((Get-RecordHash @($names[0..($i - 1)])).Equals($Wanted)) { throw "$($names[$i]) is not of this run: the fix reported no such record; nothing was taken back" }
    }
    throw "the records of this run ($($names[0]) to $($names[$names.Count - 1])) are not those that the fix reported; nothing was taken back"
}
# What undoes a change is written down before the change: a cut in between leaves a record whose work is not done, which undo notices. An empty
# file, whose name is its number and hash, seals it: so a record that is gone or changed is noticed where no fix came to its end.
function Add-Record($Entry) {
    Assert-Whole $Entry
    $Entry['step'] = $script:Step
    $name = Get-UndoName $script:Records
    Write-Record $name $Entry
    [void](New-Item -ItemType File -Path (Get-RecordPlace ('seal-{0:d4}-{1}' -f $script:Records, (Get-Sha256 (Get-RecordPlace $name)).ToLowerInvariant())))
    $script:Records++
    Add-Count $script:Step ([string]$Entry.target)
}
function Add-Count($Number, [string]$Target) { $script:Counted["$Number|" + $Target.ToUpperInvariant()] = $Number }
