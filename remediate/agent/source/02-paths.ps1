# --- paths --------------------------------------------------------------------------------------------------------------------------
function Get-SystemVariable([string]$Name) {
    if ($script:Root -ne '') {
        $known = @{
            'systemdrive' = 'C:'; 'systemroot' = 'C:\Windows'; 'windir' = 'C:\Windows'; 'programdata' = 'C:\ProgramData'
            'allusersprofile' = 'C:\ProgramData'; 'programfiles' = 'C:\Program Files'; 'programw6432' = 'C:\Program Files'
            'programfiles(x86)' = 'C:\Program Files (x86)'; 'public' = 'C:\Users\Public'
        }
        return [string]$known[$Name.ToLowerInvariant()]
    }
    $item = Get-Item -LiteralPath "Env:$Name" -ErrorAction SilentlyContinue
    if ($null -eq $item) { return '' }
    return [string]$item.Value
}
# A playbook's path with its variables, in the words of the running system. Where Windows is on another drive, the folders of Windows on
# C: are those of that drive: C:\Windows is the Windows that runs.
function Expand-Path([string]$Path) {
    $full = $Path
    foreach ($name in @([regex]::Matches($Path, '%([^%]+)%') | ForEach-Object { $_.Groups[1].Value })) {
        $text = Get-SystemVariable $name
        if ($text -eq '' -or $text.Contains('%')) { throw "unknown variable in path '$Path'" }
        $full = $full.Replace("%$name%", $text)
    }
    if (Test-Pattern $full '(^|[\\/])\.\.([\\/]|$)') { throw "path climbs: '$Path'" }
    # Off Windows, where the cases run too, a variable may begin with a slash.
    if (-not (Test-Pattern $Path '^([A-Z]:\\.|%[^%]+%)') -or -not (Test-Pattern $full '^([A-Z]:\\.|/)')) { throw "not a full path: '$Path'" }
    if ($script:Root -ne '') {
        if (-not (Test-Pattern $full '^C:\\')) { throw "path outside C: '$Path'" }
        return $full
    }
    $drive = Get-SystemVariable 'SystemDrive'
    if ((Test-Pattern $drive '^[ABD-Z]:\z') -and (Test-Pattern $full '^C:\\(Windows|Program Files|Program Files \(x86\)|ProgramData|Users)\\')) {
        return $drive + $full.Substring(2)
    }
    return $full
}
# Where such a path is here: below the root of an offline installation.
function Resolve-Place([string]$Full) {
    if ($script:Root -eq '') { return $Full }
    return $script:Root.TrimEnd('\') + '\' + $Full.Substring(3)
}
function Get-Folder([string]$Full) {
    $folder = $Full.Substring(0, $Full.LastIndexOf([char]'\'))
    if ($folder.Length -eq 2) { return $folder + '\' }
    return $folder
}
# Also a link that leads nowhere is something that is there.
function Get-There([string]$Place) { return (Get-Item -LiteralPath $Place -Force -ErrorAction SilentlyContinue) }
function Test-There([string]$Place) { return $null -ne (Get-There $Place) }
function Test-Link($Item) { return ([int]$Item.Attributes -band 1024) -ne 0 -and ($Item.PSIsContainer -or [string]$Item.LinkType -ceq 'SymbolicLink') }
# Nothing is moved or written through a link: who made it decides where it leads.
function Assert-NoLink([string]$Place) {
    $item = Get-There $Place
    if ($null -ne $item -and (Test-Link $item)) { throw "$Place is a link: nothing is done through it" }
    $folder = $Place
    while ($true) {
        $at = $folder.LastIndexOf([char]'\')
        if ($at -le 2) { return }
        $folder = $folder.Substring(0, $at)
        $item = Get-There $folder
        if ($null -ne $item -and ([int]$item.Attributes -band 1024) -ne 0) { throw "$folder is a link: nothing is done through it" }
    }
}
function Expand-Pattern([string]$Path) {
    $full = Expand-Path $Path
    if ($full.Substring(0, $full.LastIndexOf([char]'\')) -cmatch '[*?]') { throw "wildcards only in the last part: '$Path'" }
    return $full
}
# Wildcards in the last part only, * and ? alone: brackets are names, and *.sys does not find a.sysx or an 8.3 name.
function Find-File($Test, [string]$Path) {
    $full = Expand-Pattern $Path
    $at = $full.LastIndexOf([char]'\')
    $folder = $full.Substring(0, $at)
    $wanted = '^' + [regex]::Escape($full.Substring($at + 1).ToUpperInvariant()).Replace('\*', '.*').Replace('\?', '.') + '\z'
    $place = Get-Folder (Resolve-Place $full)
    if (-not (Test-Path -LiteralPath $place -PathType Container)) { return }
    foreach ($entry in @(Get-ChildItem -LiteralPath $place -Force)) {
        if ($entry.PSIsContainer -or (Test-Link $entry)) { continue }
        if (-not [regex]::IsMatch($entry.Name.ToUpperInvariant(), $wanted, 'CultureInvariant, Singleline')) { continue }
        $file = New-Object PSObject -Property @{
            Path = $folder + '\' + $entry.Name; Place = $place.TrimEnd('\') + '\' + $entry.Name; Size = $entry.Length; Written = $entry.LastWriteTimeUtc
        }
        if (Test-File $Test $file) { $file }
    }
}
function Get-Header([string]$Place, [int]$Count) {
    if ($PSVersionTable.PSVersion.Major -ge 6) { $bytes = Get-Content -LiteralPath $Place -AsByteStream -TotalCount $Count }
    else { $bytes = Get-Content -LiteralPath $Place -Encoding Byte -TotalCount $Count }
    return -join (@($bytes) | ForEach-Object { '{0:X2}' -f $_ })
}
function Get-Sha256([string]$Place) {
    return [string](Get-FileHash -LiteralPath $Place -Algorithm SHA256).Hash
}
function Test-File($Test, $File) {
    $window = Get-Field $Test 'modified' $null
    if ($null -ne $window) {
        $after = Get-Field $window 'after' $null
        $before = Get-Field $window 'before' $null
        if ($null -ne $after -and $File.Written -lt (ConvertTo-Utc $after)) { return $false }
        if ($null -ne $before -and $File.Written -ge (ConvertTo-Utc $before)) { return $false }
    }
    $header = [string](Get-Field $Test 'header' '')
    if ($header -ne '') {
        $count = [int]($header.Length / 2)
        if ($File.Size -lt $count) { return $false }
        if ((Get-Header $File.Place $count) -ne $header) { return $false }
    }
    $sha256 = [string](Get-Field $Test 'sha256' '')
    if ($sha256 -ne '' -and (Get-Sha256 $File.Place) -ne $sha256) { return $false }
    $version = Get-Field $Test 'version' $null
    return $null -eq $version -or (Test-Version $File.Place $version)
}
# Both ends are included. A file without a version is in no range.
function Test-Version([string]$Place, $Range) {
    $info = (Get-ItemProperty -LiteralPath $Place -Name VersionInfo).VersionInfo
    if ($null -eq $info) { return $false }
    $now = @([int]$info.FileMajorPart, [int]$info.FileMinorPart, [int]$info.FileBuildPart, [int]$info.FilePrivatePart)
    if (($now -join '.') -ceq '0.0.0.0') { return $false }
    $least = [string](Get-Field $Range 'min' '')
    $most = [string](Get-Field $Range 'max' '')
    return ($least -ceq '' -or (Compare-Version $now $least) -ge 0) -and ($most -ceq '' -or (Compare-Version $now $most) -le 0)
}
function Compare-Version($Now, [string]$Limit) {
    if ($Limit -cnotmatch '^[0-9]{1,5}(\.[0-9]{1,5}){3}\z') { throw "'$Limit' is no version of four numbers" }
    $numbers = @($Limit.Split([char]'.') | ForEach-Object { [int]$_ })
    for ($i = 0; $i -lt 4; $i++) { if ($Now[$i] -ne $numbers[$i]) { return ($Now[$i] - $numbers[$i]) } }
    return 0
}
