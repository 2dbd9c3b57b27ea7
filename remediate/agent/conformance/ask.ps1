# Hands a request to the agent: bootstrap and all, in a session of its own.
$script:bootstrapFile = Join-Path (Split-Path $PSScriptRoot -Parent) 'bootstrap.ps1'
$script:keptFile = Join-Path (Split-Path $PSScriptRoot -Parent) 'kept.ps1'
# For who measures the agent: a table that its text may write to, and whether a request has ended in time.
$script:marks = $null
$script:waiting = { param($Asked) $Asked.AsyncWaitHandle.WaitOne() }
$script:shell = (Get-Process -Id $PID).Path
$script:sessionState = [Management.Automation.Runspaces.InitialSessionState]::CreateDefault()
function Get-Envelope([string]$Scratch, $Test, $Step, [bool]$Named) {
    $request = @{ run = (Get-Field $Step 'run' 'r-1'); nonce = 'n-1'; mode = $Step.mode; root = (Get-Field $Test 'root' ''); playbook = $Test.playbook; record = (Get-Field $Step 'record' ''); room = (Get-Field $Step 'room' 0) }
    $json = ConvertTo-Json -InputObject $request -Depth 20 -Compress
    if ($script:onWindows) { $json = Convert-Playbook $Scratch $json }
    $json = [regex]::Replace($json, '[^\x20-\x7e]', { param($m) '\u{0:x4}' -f [int][char]$m.Value })
    $parts = @([regex]::Matches($json, '.{1,400}') | ForEach-Object { $_.Value })
    # One array, and not its lines one after another: that takes longer than what they are for.
    $count = $script:agentLines.Count
    if ($Named) { $count = 0 }
    $lines = New-Object 'System.Collections.Generic.List[string]'
    $lines.Add("fleetmend/2 $($script:agentHash) $count $($parts.Count)")
    # Without a ~ the text stands for itself; that it is packed elsewhere is for the routes' tests.
    if (-not $Named) { $lines.AddRange([string[]]$script:agentLines) }
    $lines.AddRange([string[]]$parts)
    $lines.Add('fleetmend/end')
    return , $lines.ToArray()
}
# What comes before the bootstrap: the stand-ins, the culture, and last the language mode.
function Get-Prelude([string]$Scratch, [string]$Trouble = '') {
    $prelude = ''
    if ($script:Culture -ne '') {
        $prelude += "`$culture = [Globalization.CultureInfo]::GetCultureInfo('$($script:Culture)')`n"
        $prelude += "[Threading.Thread]::CurrentThread.CurrentCulture = `$culture; [Threading.Thread]::CurrentThread.CurrentUICulture = `$culture`n"
    }
    if ($script:onWindows) { $prelude += "`$env:ProgramData = '$(Join-Path $Scratch 'ProgramData')'`n" }
    else {
        $prelude += ". '$(Join-Path $PSScriptRoot 'windows.ps1')' -Scratch '$Scratch' -Constrained:`$$($script:LanguageMode -eq 'Constrained')`n"
    }
    if ($Trouble -ne '') { $prelude += ". '$(Join-Path $PSScriptRoot 'trouble.ps1')' $Trouble`n" }
    if ($script:LanguageMode -eq 'Constrained') { $prelude += "`$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'`n" }
    return $prelude
}
# @{ output = lines of standard output; code = exit code }. Where the step says so the agent is only named, and sent where the machine asks for it.
function Invoke-Agent([string]$Scratch, $Test, $Step, [bool]$Spawned, [string]$Trouble = '') {
    $way = [string](Get-Field $Step 'agent' '')
    if ($way -ceq '') { return (Invoke-Bootstrap $Scratch $Test $Step $Spawned $Trouble $false) }
    if ($way -cne 'named' -and $way -cne 'asked') { throw "agent is '$way', not named or asked" }
    $ran = Invoke-Bootstrap $Scratch $Test $Step $Spawned $Trouble $true
    if ($way -ceq 'named') { return $ran }
    if ($ran.code -ne 92 -or ($ran.output -join "`n") -cne "fleetmend: send $($script:agentHash)") { throw "the machine does not ask for the agent: $($ran.code) $($ran.output)" }
    return (Invoke-Bootstrap $Scratch $Test $Step $Spawned $Trouble $false)
}
function Invoke-Bootstrap([string]$Scratch, $Test, $Step, [bool]$Spawned, [string]$Trouble, [bool]$Named) {
    $lines = Get-Envelope $Scratch $Test $Step $Named
    $file = $script:bootstrapFile
    if ($Named) { $file = $script:keptFile }
    if ($Spawned) {
        $command = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes((Get-Prelude $Scratch $Trouble) + [IO.File]::ReadAllText($file)))
        $output = @($lines | & $script:shell -NoLogo -NoProfile -NonInteractive -EncodedCommand $command)
        return @{ output = $output; code = $LASTEXITCODE }
    }
    $kept = @{}
    foreach ($name in 'SystemRoot', 'SystemDrive', 'ProgramData', 'PROCESSOR_ARCHITEW6432') { $kept[$name] = [Environment]::GetEnvironmentVariable($name) }
    $session = [Management.Automation.Runspaces.RunspaceFactory]::CreateRunspace($script:sessionState)
    $session.Open()
    $one = [Management.Automation.PowerShell]::Create()
    $one.Runspace = $session
    try {
        # A script file that exits ends alone and leaves its code; what it writes to the error stream is nothing a result has.
        $text = (Get-Prelude $Scratch $Trouble) + "`$lines | & '$file'`n`$global:FleetmendCode = `$LASTEXITCODE"
        $session.SessionStateProxy.SetVariable('lines', $lines)
        if ($null -ne $script:marks) { $session.SessionStateProxy.SetVariable('FleetmendMarks', $script:marks) }
        $asked = $one.AddScript($text).BeginInvoke()
        if (-not (& $script:waiting $asked)) {
            $one.Stop()
            throw 'the request did not end'
        }
        $output = @($one.EndInvoke($asked))
        if ($one.Streams.Error.Count -gt 0) { throw "said on stderr: $($one.Streams.Error[0])" }
        return @{ output = $output; code = [int]$session.SessionStateProxy.GetVariable('FleetmendCode') }
    }
    finally {
        $one.Dispose()
        $session.Dispose()
        foreach ($name in $kept.Keys) { [Environment]::SetEnvironmentVariable($name, $kept[$name]) }
    }
}
