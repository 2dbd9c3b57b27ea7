# Runs case files through bootstrap.ps1 and agent.ps1: by default all in this process, each request in a session of its own, which takes a tenth
# of a second; with -Spawn N every N-th case as a route does, with a new PowerShell for every request, -EncodedCommand, lines on stdin.
# Windows PowerShell 5.1 and PowerShell 7, no modules.
#   conformance.ps1 [-Path FOLDER] [-Case NAME,NAME] [-LanguageMode Full|Constrained] [-Culture th-TH] [-Part I/N] [-Spawn N] [-First] [-Agent FILE]
# -First ends with the first case that fails. One line per case, "N passed, N failed" at the end, exit code = cases failed. The case format: docs/playbooks-cases.md.
# Off Windows a drive C:, a registry, services, the uptime and Windows' tools are stood in for; the agent itself is untouched.
# On Windows files and registry are real ones, inside a scratch folder and a scratch key; a case that needs more is skipped and says why.
param(
    [string]$Path = (Join-Path (Split-Path $PSScriptRoot -Parent) 'testdata/conformance'),
    [string]$Case = '*',
    [ValidateSet('Full', 'Constrained')][string]$LanguageMode = 'Full',
    [string]$Culture = '',
    [ValidatePattern('^[0-9]+/[1-9][0-9]*$')][string]$Part = '0/1',
    [int]$Spawn = 0,
    [switch]$First,
    [string]$Agent = (Join-Path $PSScriptRoot 'agent.ps1')
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$onWindows = [string]$env:OS -eq 'Windows_NT'
foreach ($name in 'reading', 'registry', 'machine', 'real', 'compare', 'ask', 'case') { . (Join-Path $PSScriptRoot "conformance/$name.ps1") }

function Get-SkipReason($Test) {
    $skip = Get-Field $Test 'skip' $null
    Assert-Fields $skip 'skip' @('windows', 'elsewhere')
    if (-not $script:onWindows) { return [string](Get-Field $skip 'elsewhere' '') }
    $given = [string](Get-Field $skip 'windows' '')
    if ($given -ne '') { return $given }
    return (Get-RealSkipReason $Test)
}

$failed = 0
$passed = 0
$number = -1
$at, $of = $Part -split '/'
foreach ($file in @(Get-ChildItem -LiteralPath $Path -Filter '*.json' | Sort-Object Name)) {
    $number++
    if ($number % [int]$of -ne [int]$at) { continue }
    if (@($Case -split ',' | Where-Object { $file.BaseName -like $_ }).Count -eq 0) { continue }
    try {
        $test = Read-Case $file.FullName
        $reason = Get-SkipReason $test
        if ($reason -ne '') {
            Write-Output "skip $($file.BaseName): $reason"
            continue
        }
        $problem = Invoke-Case $test ($Spawn -gt 0 -and $number % $Spawn -eq 0)
    }
    catch { $problem = $_.Exception.Message }
    if ($problem -eq '') {
        $passed++
        Write-Output "ok   $($file.BaseName)"
    }
    else {
        $failed++
        Write-Output "FAIL $($file.BaseName): $problem"
        if ($First) { break }
    }
}
if ($passed + $failed -eq 0) {
    Write-Output "no case in $Path is called $Case"
    exit 1
}
Write-Output "$passed passed, $failed failed"
exit $failed
