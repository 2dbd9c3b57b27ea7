# sc.exe start NAME: it gives the order and does not wait; it is how, not what, so its calls are not written down.
$found = Get-StandInService ([string]$args[1])
$global:LASTEXITCODE = 0
if ($found -eq '') { $global:LASTEXITCODE = 1060; 'The specified service does not exist as an installed service.'; return }
if ((Get-ControllerStart $found) -eq 4) { $global:LASTEXITCODE = 1058; 'The service cannot be started because it is disabled.'; return }
if ((Read-StandIn 'services')[$found] -eq 'Running') { $global:LASTEXITCODE = 1056; 'An instance of the service is already running.'; return }
$stuck = $StandIn.Plus.PSObject.Properties['never-starts']
if ($null -ne $stuck -and $stuck.Value -eq $found) { Set-StandInService $found 'StartPending' } else { Set-StandInService $found 'Running' }
