# reg.exe as the agent reads types and deletes default values with it; it is how, not what, so its calls are not written down.
if (Test-Plus 'registry-tools-disabled') { 'ERROR: Registry editing has been disabled by your administrator.'; $global:LASTEXITCODE = 1; return }
$all = Read-StandIn 'registry'
$values = $null
$global:LASTEXITCODE = 1
if (-not $all.TryGetValue([string]$args[1], [ref]$values)) { 'ERROR: The system was unable to find the specified registry key or value.'; return }
$name = '(default)'
if ($args[2] -eq '/v') { $name = [string]$args[3] }
if (-not $values.ContainsKey($name)) { 'ERROR: The system was unable to find the specified registry key or value.'; return }
$global:LASTEXITCODE = 0
if ($args[0] -eq 'delete') { [void]$values.Remove($name); Save-StandIn 'registry' $all; return }
$words = @{ '0' = 'REG_NONE'; '1' = 'REG_SZ'; '2' = 'REG_EXPAND_SZ'; '3' = 'REG_BINARY'; '4' = 'REG_DWORD'; '6' = 'REG_LINK'; '7' = 'REG_MULTI_SZ'; '11' = 'REG_QWORD' }
$type, $hex = $values[$name] -split ':'
$shown = $hex
if ($type -eq '1' -or $type -eq '2') { $shown = ConvertFrom-TextBytes (ConvertFrom-HexText $hex) }
if ($type -eq '4' -or $type -eq '11') { $shown = '0x{0:x}' -f (ConvertFrom-Raw $values[$name]) }
''; [string]$args[1]; "    $name    $($words[$type])    $shown"; ''
