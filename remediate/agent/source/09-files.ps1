# --- actions ------------------------------------------------------------------------------------------------------------------------
# icacls leaves the group alone and adds marks.
function Get-Rights([string]$Sddl) {
    return [regex]::Replace($Sddl, '^(O:[A-Z0-9-]+?)?(G:[A-Z0-9-]+?)?D:(P?)[A-Z]*', '$1D:$3')
}
function Restore-Rights([string]$Place, [string]$Sddl) {
    if ($Sddl -ceq '' -or (Get-Rights (Get-Sddl $Place)).Equals((Get-Rights $Sddl))) { return }
    $list = [regex]::Match($Sddl, 'D:.*\z').Value
    $owner = [regex]::Match($Sddl, '^O:(BA|SY|S-1-[0-9-]+)').Groups[1].Value
    $owner = $owner.Replace('BA', 'S-1-5-32-544').Replace('SY', 'S-1-5-18')
    $item = Get-Item -LiteralPath $Place -Force
    $saved = Get-RecordPlace 'rights.new'
    try {
        Set-Content -LiteralPath $saved -Encoding Unicode -Value @($item.Name, $list)
        Set-Rights $item.DirectoryName @('/restore', (Get-Item -LiteralPath $saved -Force).FullName)
        if ($owner -cne '') { Set-Rights $Place @('/setowner', "*$owner") }
    }
    finally { Remove-Item -LiteralPath $saved -Force -ErrorAction SilentlyContinue }
    if (-not (Get-Rights (Get-Sddl $Place)).Equals((Get-Rights $Sddl))) { $script:Remarks += "the rights of $Place are not those that it had" }
}
# A file that was made in our folder has our folder's rights: it gets those of the folder where it lies.
function Reset-Rights([string]$Place) {
    if ((Get-Sddl $Place) -ceq '') { return }
    Set-Rights $Place @('/reset')
}
# What a file has beside its content and its times: owner, rights, and the attributes that a person sets.
function Add-Marks($Entry, [string]$Place) {
    $Entry['sddl'] = Get-Sddl $Place
    $Entry['marks'] = [int](Get-There $Place).Attributes -band 7
}
# The rights and attributes of what stood there, or, where nothing did, those that the folder gives.
function Restore-Marks($Entry, [string]$Place) {
    if ([string](Get-Field $Entry 'kept' '') -ceq '') {
        Reset-Rights $Place
        return
    }
    Restore-Rights $Place ([string](Get-Field $Entry 'sddl' ''))
    $marks = [int](Get-Field $Entry 'marks' -1)
    if ($marks -ge 0 -and [string]$env:OS -ceq 'Windows_NT' -and ([int](Get-There $Place).Attributes -band 7) -ne $marks) { Set-ItemProperty -LiteralPath $Place -Name Attributes -Value ($marks -bor 32) }
}
# Marks the newest record as one of nothing, and does not count it.
function Set-Void($Entry) {
    $script:Counted.Remove("$($script:Step)|" + ([string]$Entry['target']).ToUpperInvariant())
    Write-Record ('undone-{0:d4}.json' -f ($script:Records - 1)) @{ changed = $false; void = $true }
}
# Moves a file away. A link that came into its way since it was looked at is refused. What is not what the record says, because somebody
# wrote to it in that moment, is moved back at once, and the record is marked as void.
function Move-Kept($Entry, [string]$Place) {
    Assert-NoLink $Place
    $kept = Get-RecordPlace ([string]$Entry['kept'])
    try { Move-Item -LiteralPath $Place -Destination $kept }
    catch {
        # The file is where it was, and nothing of it in our folder: that is no change.
        if ((Test-There $Place) -and -not (Test-There $kept)) { Set-Void $Entry }
        throw
    }
    if ((Get-HashThere $kept).Equals([string]$Entry['sha256'])) { return }
    Move-Item -LiteralPath $kept -Destination $Place
    Set-Void $Entry
    throw "$($Entry['path']) was changed while it was moved away: it is back in its place"
}
function Invoke-Quarantine($Step, $Done) {
    $Done.target = [string]$Step.file
    foreach ($file in @(Find-File $Step ([string]$Step.file))) {
        Assert-NoLink $file.Place
        $entry = @{ action = 'quarantine'; target = $file.Path; path = $file.Path; kept = ('kept-{0:d4}' -f $script:Records); sha256 = (Get-Sha256 $file.Place) }
        Add-Marks $entry $file.Place
        Add-Record $entry
        Move-Kept $entry $file.Place
        if (Test-There $file.Place) { throw "$($file.Path) is still there after it was moved" }
    }
}
function Assert-Put($Step) {
    $path = Expand-Path ([string]$Step.file)
    if ([string]$Step.file -cmatch '[*?]') { throw "no wildcards here: '$($Step.file)'" }
    if ([string](Get-Field $Step 'hex' '') -cnotmatch '^([0-9A-Fa-f]{2})*\z') { throw "content of '$($Step.file)' is no hex" }
    $drive = $path.Substring(0, 2).ToUpperInvariant()
    if ($script:Root -ceq '' -and $drive -cmatch '^[ABD-Z]:' -and -not (Test-Path -LiteralPath "$drive\")) { throw "there is no drive $drive here: '$path'" }
}
function Invoke-Put($Step, $Done) {
    $Done.target = [string]$Step.file
    Assert-Put $Step
    $path = Expand-Path ([string]$Step.file)
    $hex = [string](Get-Field $Step 'hex' '')
    $place = Resolve-Place $path
    Assert-NoLink $place
    $entry = @{ action = 'put'; target = $path; path = $path; newsha256 = ([string]$Step.sha256).ToUpperInvariant() }
    $item = Get-There $place
    if ($null -ne $item) {
        if ($item.PSIsContainer) { throw "$path is a folder" }
        $entry['sha256'] = Get-Sha256 $place
        if ($entry['sha256'].Equals($entry['newsha256'])) {
            # An earlier request of this run may have put it, and ended before it had its rights.
            $before = $script:Puts[$path.ToUpperInvariant()]
            if ($null -ne $before) { Restore-Marks $before $place }
            return
        }
        $entry['kept'] = 'kept-{0:d4}' -f $script:Records
        Add-Marks $entry $place
    }
    else { $entry['made'] = @(Get-Missing $path) }
    $aside = Get-RecordPlace ('put-{0:d4}' -f $script:Records)
    Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue
    # Written aside first: what is in the way is moved only when its successor is whole.
    if ($hex -ceq '') { [void](New-Item -ItemType File -Path $aside -Force) }
    elseif ($PSVersionTable.PSVersion.Major -ge 6) { Set-Content -LiteralPath $aside -Value ([byte[]]@(ConvertFrom-Hex $hex)) -AsByteStream }
    else { Set-Content -LiteralPath $aside -Value ([byte[]]@(ConvertFrom-Hex $hex)) -Encoding Byte }
    if (-not (Get-Sha256 $aside).Equals($entry.newsha256)) {
        Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue
        throw "content of '$($Step.file)' does not have the hash it should"
    }
    Add-Record $entry
    if ($entry.ContainsKey('kept')) { Move-Kept $entry $place }
    Assert-NoLink $place
    Move-ToPlace $aside $place
    if (-not (Get-HashThere $place).Equals($entry['newsha256'])) { throw "$path is not what was put there" }
    Restore-Marks (New-Object PSObject -Property $entry) $place
}
# The folders of a path that are not there, the outermost first, in the words of the running system.
function Get-Missing([string]$Path) {
    $missing = @()
    $folder = Get-Folder $Path
    while ($folder.Length -gt 3 -and -not (Test-There (Resolve-Place $folder))) {
        $missing = @($folder) + $missing
        if ($folder.LastIndexOf([char]'\') -lt 2) { break }
        $folder = Get-Folder $folder
    }
    $missing
}
function Move-ToPlace([string]$From, [string]$Place) {
    $folder = Get-Folder $Place
    if (-not (Test-Path -LiteralPath $folder -PathType Container)) { [void](New-Item -ItemType Directory -Path $folder -Force) }
    Move-Item -LiteralPath $From -Destination $Place
}
