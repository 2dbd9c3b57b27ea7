# Owner and rights of files and folders, for cases that speak of them (SCRATCH.sddl: {place: SDDL}): what Windows does when something is made,
# moved or removed, Get-Acl, and icacls.exe. What has no rights of its own has what its folder hands down.
$global:StandInRights = @{
    'C:' = 'O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)'
    'D:' = 'O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)'
    'C:\PROGRAMDATA' = 'O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)(A;CI;0x116;;;BU)'
}
# A place in Windows' words, whatever way it is written.
function Get-StandInPlace([string]$Place) {
    $real = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Place).Replace('\', '/').TrimEnd('/')
    $drive = 'C:'
    $top = $StandIn.Scratch
    if ($real.StartsWith("$top.D", [StringComparison]::Ordinal)) {
        $drive = 'D:'
        $top = "$top.D"
    }
    if (-not $real.StartsWith($top, [StringComparison]::Ordinal)) { return $real }
    return ($drive + $real.Substring($top.Length).Replace('/', '\'))
}
function Test-StandInFolder([string]$Place) { return [IO.Directory]::Exists($ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Place)) }
function Get-StandInRights($All, [string]$Place) {
    $given = $null
    if ($All.TryGetValue($Place, [ref]$given)) { return [string]$given }
    $given = $StandInRights[$Place.ToUpperInvariant()]
    if ($null -ne $given) { return $given }
    $at = $Place.LastIndexOf([char]'\')
    if ($at -lt 0) { throw "no such place: $Place" }
    $owner = 'BA'
    if (Test-Plus 'account-owns') { $owner = 'S-1-5-21-1-2-3-1001' }
    return ("O:$($owner)G:SYD:AI" + (Get-StandInHandedDown (Get-StandInRights $All $Place.Substring(0, $at)) (Test-StandInFolder $Place)))
}
# The entries that a folder hands down to a folder or a file in it.
function Get-StandInHandedDown([string]$Sddl, [bool]$Folder) {
    $entries = foreach ($entry in [regex]::Matches($Sddl.Substring($Sddl.IndexOf('D:', [StringComparison]::Ordinal)), '\(([^()]*)\)')) {
        $fields = $entry.Groups[1].Value.Split([char]';')
        if ($Folder -and $fields[1].Contains('CI')) { $fields[1] = $fields[1].Replace('IO', '').Replace('ID', '') + 'ID' }
        elseif (-not $Folder -and $fields[1].Contains('OI')) { $fields[1] = 'ID' }
        else { continue }
        '(' + ($fields -join ';') + ')'
    }
    return (-join $entries)
}
# What lies below keeps its own entries, and gets the new ones of its folder, unless it is closed to them.
function Save-StandInRights($All, [string]$Place, [string]$Sddl) {
    $All[$Place] = $Sddl
    foreach ($one in @($All.Keys | Sort-Object)) {
        if (-not $one.StartsWith("$Place\", [StringComparison]::OrdinalIgnoreCase) -or [string]$All[$one] -cmatch 'D:P') { continue }
        $owner = [regex]::Match([string]$All[$one], '^[^()]*?D:').Value
        $own = -join ([regex]::Matches([string]$All[$one], '\([^()]*\)') | ForEach-Object { $_.Value } | Where-Object { $_ -cnotmatch '^\([A-Z]+;[A-Z]*ID;' })
        $All[$one] = $owner + 'AI' + $own + (Get-StandInHandedDown (Get-StandInRights $All $one.Substring(0, $one.LastIndexOf([char]'\'))) (Test-StandInFolder $one))
    }
    Save-StandIn 'sddl' $All
}
# A move takes the rights along; what is made or gone has none of its own.
function Move-StandInRights([string]$From, [string]$To) {
    $all = Read-StandIn 'sddl'
    $source = Get-StandInPlace $From
    $target = Get-StandInPlace $To
    if (Test-StandInFolder $target) { $target += $source.Substring($source.LastIndexOf([char]'\')) }
    $all[$source] = Get-StandInRights $all $source
    $kept = @{}
    foreach ($one in @($all.Keys | Where-Object { $_ -eq $source -or $_.StartsWith("$source\", [StringComparison]::OrdinalIgnoreCase) })) {
        $kept[$target + $one.Substring($source.Length)] = $all[$one]
        [void]$all.Remove($one)
    }
    foreach ($one in $kept.Keys) { $all[$one] = $kept[$one] }
    return $all
}
function Clear-StandInRights([string]$Place) {
    $all = Read-StandIn 'sddl'
    $gone = Get-StandInPlace $Place
    foreach ($one in @($all.Keys | Where-Object { $_ -eq $gone -or $_.StartsWith("$gone\", [StringComparison]::OrdinalIgnoreCase) })) { [void]$all.Remove($one) }
    Save-StandIn 'sddl' $all
}
function Get-Acl { [CmdletBinding()] param([string]$LiteralPath)
    New-Object PSObject -Property @{ Sddl = (Get-StandInRights (Read-StandIn 'sddl') (Get-StandInPlace $LiteralPath)) }
}
