# icacls.exe: /setowner, /reset, /restore, and /inheritance:r with /grant:r. It says nothing of a link that leads elsewhere but with /L.
$place = Get-StandInPlace ([string]$args[0])
$words = @($args | Select-Object -Skip 1 | ForEach-Object { ([string]$_).Replace($StandIn.Scratch, 'C:').Replace('/ProgramData', '\ProgramData').Replace('/fleetmend/', '\fleetmend\').Replace('/runs/', '\runs\') })
$line = [regex]::Replace("icacls.exe $place $($words -join ' ')", '[0-9a-f]{32}', '*')
[IO.File]::AppendAllText("$($StandIn.Scratch).called", "$line`n")
$global:LASTEXITCODE = 0
$failing = $StandIn.Plus.PSObject.Properties['icacls-fails']
if ($null -ne $failing -and $line.Contains([string]$failing.Value)) { 'Access is denied.'; $global:LASTEXITCODE = 5; return }
$idle = $StandIn.Plus.PSObject.Properties['icacls-idle'] # it says that it did it, and did not
if ($null -ne $idle -and $line.Contains([string]$idle.Value)) { return }
$all = Read-StandIn 'sddl'
$sids = @{ '*S-1-5-18' = 'SY'; '*S-1-5-32-544' = 'BA' }
$options = @($args | Select-Object -Skip 1)
if ($options[0] -ceq '/restore') {
    $lines = @([IO.File]::ReadAllLines($ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath([string]$options[1]), [Text.Encoding]::Unicode))
    $file = "$place\$($lines[0])"
    $now = Get-StandInRights $all $file
    Save-StandInRights $all $file ($now.Substring(0, $now.IndexOf('D:', [StringComparison]::Ordinal)) + $lines[1])
    return
}
$real = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath([string]$args[0])
if (-not [IO.File]::Exists($real) -and -not [IO.Directory]::Exists($real)) { 'The system cannot find the file specified.'; $global:LASTEXITCODE = 2; return }
$sddl = Get-StandInRights $all $place
$rights = $sddl.Substring($sddl.IndexOf('D:', [StringComparison]::Ordinal))
if ($options[0] -ceq '/setowner') {
    $owner = $sids[[string]$options[1]]
    if ($null -eq $owner) { $owner = ([string]$options[1]).TrimStart('*') }
    $all[$place] = [regex]::Replace($sddl, '^O:.+?(?=G:|D:)', "O:$owner")
    Save-StandIn 'sddl' $all
    return
}
$owner = $sddl.Substring(0, $sddl.Length - $rights.Length)
if ($options[0] -ceq '/reset') {
    [void]$all.Remove($place)
    $fresh = Get-StandInRights $all $place
    Save-StandInRights $all $place ($owner + $fresh.Substring($fresh.IndexOf('D:', [StringComparison]::Ordinal)))
    return
}
$entries = ''
for ($i = 2; $i -lt $options.Count -and $options[$i] -cne '/L'; $i++) {
    $found = [regex]::Match([string]$options[$i], '^(\*S-1-[0-9-]+):\(OI\)\(CI\)F$')
    $entries += "(A;OICI;FA;;;$($sids[$found.Groups[1].Value]))"
}
if ($options[0] -cne '/inheritance:r' -or $options[1] -cne '/grant:r' -or $entries -ceq '') { 'Invalid parameter'; $global:LASTEXITCODE = 87; return }
# Entries of its own stay.
$own = -join ([regex]::Matches($rights, '\([^()]*\)') | ForEach-Object { $_.Value } | Where-Object { $_ -cnotmatch '^\([A-Z]+;[A-Z]*ID;' -and -not $entries.Contains($_) })
Save-StandInRights $all $place ($owner + 'D:PAI' + $entries + $own)
