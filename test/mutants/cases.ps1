# Tries texts of the agent with cases, one line of JSON in, lines of JSON out, all in one process:
#   cases.ps1 CONFORMANCE-FOLDER
# In:  {agent, mode, cases: [{file, most}], marks}, most: the milliseconds of processor time that a request may take. Out: {marks: [[start, end], ...], functions: [names]} where marks are asked for, then {case} as each begins and
# {case, problem, cost, met: [numbers of marks]} as it ends, with the processor time in milliseconds; {over: true} after the first that fails,
# or the last. With marks nothing is broken: each statement of the text writes down that it was reached, and a case that fails ends nothing.
param([Parameter(Mandatory)][string]$Folder)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$onWindows = $false
$LanguageMode = 'Constrained'
$Culture = ''
$Agent = Join-Path $Folder 'agent.ps1'
foreach ($name in 'reading', 'registry', 'machine', 'compare', 'ask', 'case') { . (Join-Path $Folder "conformance/$name.ps1") }
$self = [Diagnostics.Process]::GetCurrentProcess()
function Get-Cost {
    $self.Refresh()
    return $self.TotalProcessorTime.TotalMilliseconds
}
# What is broken may loop or wait for ever. Processor time is the same on a busy machine; four minutes are enough for every wait.
$script:most = 0
$script:waiting = { param($Asked)
    $from = Get-Cost
    for ($i = 0; $i -lt 480; $i++) {
        if ($Asked.AsyncWaitHandle.WaitOne(500)) { return $true }
        if ((Get-Cost) - $from -gt $script:most) { return $false }
    }
    return $false
}

function Write-Line($Value) {
    [Console]::Out.WriteLine((ConvertTo-Json -InputObject $Value -Depth 4 -Compress))
    [Console]::Out.Flush()
}
# The statements of blocks, by their places in the text.
function Get-Statements([string]$File) {
    $problems = $null
    $tree = [Management.Automation.Language.Parser]::ParseFile($File, [ref]$null, [ref]$problems)
    $tree.FindAll({ param($node)
        $node -is [Management.Automation.Language.StatementAst] -and
        ($node.Parent -is [Management.Automation.Language.StatementBlockAst] -or $node.Parent -is [Management.Automation.Language.NamedBlockAst]) -and
        $node.Parent.Parent -isnot [Management.Automation.Language.ArrayExpressionAst] -and $node.Parent.Parent -isnot [Management.Automation.Language.SubExpressionAst]
    }, $true)
}
function Set-Marked([string]$File) {
    $places = @(Get-Statements $File)
    $text = New-Object Text.StringBuilder ([IO.File]::ReadAllText($File))
    for ($i = $places.Count - 1; $i -ge 0; $i--) { [void]$text.Insert($places[$i].Extent.StartOffset, "`$FleetmendMarks[$i]=1;") }
    $marked = Join-Path ([IO.Path]::GetTempPath()) 'marked.ps1'
    [IO.File]::WriteAllText($marked, $text.ToString())
    Set-Agent $marked
    return , $places
}
while ($null -ne ($line = [Console]::In.ReadLine())) {
    $asked = ConvertFrom-Json -InputObject $line
    $LanguageMode = $asked.mode
    $places = @()
    $script:marks = $null
    if ($asked.marks) {
        $places = Set-Marked $asked.agent
        $names = @($places | ForEach-Object { if ($_ -is [Management.Automation.Language.FunctionDefinitionAst]) { $_.Name } else { '' } })
        Write-Line @{ marks = @($places | ForEach-Object { , @($_.Extent.StartOffset, $_.Extent.EndOffset) }); functions = $names }
    }
    else { Set-Agent $asked.agent }
    foreach ($case in $asked.cases) {
        $file = $case.file
        $script:most = $case.most
        Write-Line @{ case = $file }
        if ($asked.marks) { $script:marks = New-Object byte[] $places.Count }
        $begun = Get-Cost
        $problem = Invoke-Case (Read-Case $file) $false
        $met = @(for ($i = 0; $i -lt $places.Count; $i++) { if ($script:marks[$i] -ne 0) { $i } })
        Write-Line @{ case = $file; problem = $problem; cost = [int]((Get-Cost) - $begun); met = $met; ended = $true }
        if ($problem -ne '' -and -not $asked.marks) { break }
    }
    Write-Line @{ over = $true }
}
