# One case from its machine to its last step: '' or what is not as it says.
function Invoke-Case($Test, [bool]$Spawned) {
    $scratch = Join-Path ([IO.Path]::GetTempPath()) ('fleetmend-' + [Guid]::NewGuid().ToString('N'))
    $number = 0
    try {
        Assert-Fields $Test 'the case' @('about', 'skip', 'root', 'playbook', 'before', 'steps')
        if ($script:onWindows) { Set-RealState $scratch (Get-Field $Test 'before' $null) } else { New-Machine $scratch (Get-Field $Test 'before' $null) }
        if (@($Test.steps).Count -eq 0) { return 'the case has no steps' }
        foreach ($step in @($Test.steps)) {
            $number++
            $change = Get-Field $step 'change' $null
            if ($null -ne $change -and $script:onWindows) { Set-RealState $scratch $change }
            elseif ($null -ne $change) { Set-State $scratch $change }
            $ran = Invoke-Agent $scratch $Test $step $Spawned
            $result = Join-Result $ran.output
            if ($script:onWindows) {
                $result.message = $result.message.Replace("$scratch\", 'C:\').Replace("HKEY_CURRENT_USER\$($script:scratchKey)\", 'HKEY_LOCAL_MACHINE\')
            }
            if ([string]$result.language -cne "$($script:LanguageMode)Language") { return "step $number ran in $($result.language)" }
            $problem = Compare-Result $step $result $ran.code
            if ($problem -eq '') { $problem = Compare-Machine $scratch $Test $step }
            if ($problem -ne '') { return "step $number, $($step.mode): $problem" }
        }
        return ''
    }
    catch { return "step $($number): $($_.Exception.Message) ($([IO.Path]::GetFileName($_.InvocationInfo.ScriptName)) line $($_.InvocationInfo.ScriptLineNumber))" }
    finally {
        Remove-Item -Path "$scratch*" -Recurse -Force -ErrorAction SilentlyContinue
        if ($script:onWindows) { [Microsoft.Win32.Registry]::CurrentUser.DeleteSubKeyTree($script:scratchKey, $false) }
    }
}
